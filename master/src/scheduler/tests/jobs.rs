//! Jobs are submitted, committed, cancelled, held up and given up.

use super::*;

const HALF: Weight = Weight(Weight::WHOLE.0 / 2);

#[test]
fn a_job_goes_from_submission_to_its_end() {
    let mut world = World::new();
    let worker = world.attach(1);
    let orders = world.submit_dirs(1, 1);
    assert_eq!(orders, [Order::Changed(worker)]);
    let grant = world.grants(worker).pop().expect("it is leased");
    assert_eq!(grant.tasks, dirs("d", 1, Weight::WHOLE));
    let first = LeaseId {
        job: JobId(1),
        shard: ShardId(1),
        attempt: Attempt(1),
    };
    assert_eq!(grant.lease, first);

    // Half of it is given back.
    let orders = world.commit(first, dirs("d0/", 2, HALF));
    assert_eq!(settled(&orders), Settlement::Accepted);
    assert_eq!(finished(&orders), None);
    assert_eq!(world.progress(1).done, HALF);
    let grant = world.grants(worker).pop().expect("the remainder is leased");
    assert_eq!(grant.lease.shard, ShardId(2));
    assert_eq!(total(&grant.tasks), Weight(HALF.0 / 2), "a share of it");

    world.commit(grant.lease, Vec::new());
    let last = world.grants(worker).pop().expect("the rest is leased");
    let orders = world.commit(last.lease, Vec::new());
    let (complete, stats) = finished(&orders).expect("nothing is left");
    assert!(complete);
    assert_eq!(stats.shards, 3);
    assert_eq!((stats.retries, stats.duplicates), (0, 0));
    assert!(world.scheduler.progress(JobId(1)).is_none());
}

#[test]
fn a_job_without_tasks_is_over_at_once() {
    let mut world = World::new();
    let orders = world.submit(1, Vec::new());
    assert_eq!(finished(&orders).map(|(complete, _)| complete), Some(true));
}

#[test]
fn progress_tells_what_leases_have_done() {
    let mut world = World::new();
    let worker = world.attach(1);
    world.submit_dirs(1, 8);
    let lease = world.orders(worker).held[0];
    world.report(worker, &[(lease, 5)]);
    let progress = world.progress(1);
    assert_eq!(
        (progress.leased, progress.files, progress.bytes),
        (1, 5, 50)
    );
    assert!(progress.waiting > 0);
    assert_eq!(progress.done, Weight(0));
}

#[test]
fn the_first_commit_wins_and_a_late_one_of_an_open_shard_counts() {
    let mut world = World::new();
    let slow = world.attach(1);
    world.submit_dirs(1, 1);
    let first = world.orders(slow).held[0];
    let other = world.attach(1);
    world.handle(Event::Gone { worker: slow });
    world.tick_after(ms(1000));
    let second = world.orders(other).held[0];
    assert_eq!(second.attempt, Attempt(2));

    // The worker that was lost commits after all, before the other.
    let orders = world.commit(first, dirs("rest", 1, HALF));
    assert_eq!(settled(&orders), Settlement::Accepted);
    assert!(
        orders.contains(&Order::Changed(other)),
        "it is to drop its attempt"
    );
    let held = world.orders(other).held;
    assert!(!held.contains(&second));
    assert_eq!(held.len(), 1, "and has the remainder instead");

    let orders = world.commit(second, Vec::new());
    assert_eq!(settled(&orders), Settlement::Duplicate);
    let orders = world.commit(held[0], Vec::new());
    let (complete, stats) = finished(&orders).expect("nothing is left");
    assert!(complete);
    assert_eq!((stats.retries, stats.duplicates), (1, 1));
}

#[test]
fn a_late_commit_of_a_shard_that_waits_counts() {
    let mut world = World::new();
    let worker = world.attach(1);
    world.submit_dirs(1, 1);
    let lease = world.orders(worker).held[0];
    world.handle(Event::Gone { worker });
    world.tick_after(ms(1000));
    assert_eq!(world.progress(1).waiting, 1);
    let orders = world.commit(lease, Vec::new());
    assert_eq!(settled(&orders), Settlement::Accepted);
    assert_eq!(finished(&orders).map(|(complete, _)| complete), Some(true));
}

#[test]
fn commits_for_unknown_jobs_and_shards_are_dropped() {
    let mut world = World::new();
    let worker = world.attach(1);
    world.submit_dirs(1, 1);
    let lease = world.orders(worker).held[0];
    let job = LeaseId {
        job: JobId(2),
        ..lease
    };
    assert_eq!(settled(&world.commit(job, Vec::new())), Settlement::Unknown);
    for shard in [0, 2, u64::MAX] {
        let shard = LeaseId {
            shard: ShardId(shard),
            ..lease
        };
        assert_eq!(
            settled(&world.commit(shard, Vec::new())),
            Settlement::Unknown
        );
    }
}

#[test]
fn a_commit_that_breaks_a_rule_changes_nothing() {
    let mut world = World::new();
    let worker = world.attach(1);
    world.submit(1, dirs("d", 1, HALF));
    let lease = world.orders(worker).held[0];
    let heavy = dirs("x", 2, Weight(HALF.0 + 1));
    let stranger = Task {
        root: 1,
        ..tree("x", Weight(0))
    };
    let huge = Task {
        root: 0,
        weight: Weight(0),
        kind: TaskKind::Paths {
            paths: vec![vec![b'x'; 60 << 10]; 20],
        },
    };
    let flood: Vec<Task> = vec![tree(&"x".repeat(60_000), Weight(0)); 300];
    for (remainder, field) in [
        (heavy, "Task.weight"),
        (vec![stranger], "Task.root"),
        (vec![huge], "Task"),
        (flood, "CommitRemainder.tasks"),
    ] {
        let error = world.try_commit(lease, remainder, 0).expect_err(field);
        assert_eq!(error.field, field);
    }
    let future = LeaseId {
        attempt: Attempt(2),
        ..lease
    };
    let error = world.try_commit(future, Vec::new(), 0).expect_err("future");
    assert_eq!(error.field, "Lease.attempt");
    assert_eq!(world.orders(worker).held, [lease]);
    assert_eq!(world.progress(1).done, HALF, "what no task carries is done");
    assert!(finished(&world.commit(lease, Vec::new())).is_some());
}

#[test]
fn a_submission_that_breaks_a_rule_is_refused() {
    let mut world = World::new();
    let submit = |roots, tasks| Event::Submitted {
        job: JobId(1),
        roots,
        tasks,
    };
    let heavy = dirs("d", 2, Weight(Weight::WHOLE.0 + 1));
    for event in [submit(1, heavy), submit(0, dirs("d", 1, HALF))] {
        let refused = world.scheduler.handle(ms(0), event);
        assert!(refused.is_err());
        assert!(world.scheduler.progress(JobId(1)).is_none());
    }
}

#[test]
fn a_cancelled_job_takes_its_leases_away() {
    let mut world = World::new();
    let worker = world.attach(2);
    world.submit_dirs(1, 20);
    let lease = world.orders(worker).held[0];
    let orders = world.handle(Event::Cancelled { job: JobId(1) });
    assert!(orders.contains(&Order::Changed(worker)));
    assert_eq!(finished(&orders).map(|(complete, _)| complete), Some(false));
    assert!(world.orders(worker).held.is_empty());
    assert_eq!(
        settled(&world.commit(lease, Vec::new())),
        Settlement::Unknown
    );
    assert_eq!(world.handle(Event::Cancelled { job: JobId(1) }), []);
}

#[test]
fn jobs_take_turns() {
    let mut world = World::new();
    world.submit_dirs(1, 100);
    world.submit_dirs(2, 100);
    world.submit_dirs(3, 100);
    let worker = world.attach(6);
    let mut jobs: Vec<_> = world
        .orders(worker)
        .held
        .iter()
        .map(|lease| lease.job.0)
        .collect();
    jobs.sort_unstable();
    assert_eq!(jobs, [1, 1, 2, 2, 3, 3]);
}

#[test]
fn a_shard_that_is_lost_too_often_is_given_up() {
    let mut world = World::new();
    world.submit(1, dirs("d", 1, Weight::WHOLE));
    let mut last = Vec::new();
    for boot in 1..=8 {
        let (worker, _) = world.attach_as("w", boot, 1);
        assert_eq!(world.orders(worker).held[0].attempt, Attempt(boot.into()));
        world.handle(Event::Gone { worker });
        last = world.tick_after(ms(1000));
    }
    let abandoned = Order::Abandoned {
        job: JobId(1),
        tasks: dirs("d", 1, Weight::WHOLE),
    };
    assert_eq!(last[0], abandoned);
    let (complete, stats) = finished(&last).expect("the job goes on, and ends");
    assert!(complete);
    assert_eq!((stats.shards, stats.retries), (1, 7));
}

#[test]
fn a_slow_reader_stops_the_granting() {
    let mut world = World::with(Config {
        output_bytes: 1 << 20,
        ..Config::default()
    });
    let worker = world.attach(8);
    world.submit_dirs(1, 1000);
    // Each lease reserves 64 KiB, and uses them up.
    let mut commits = 0;
    while let Some(&lease) = world.orders(worker).held.first() {
        world
            .try_commit(lease, Vec::new(), 64 << 10)
            .expect("the commit keeps the rules");
        commits += 1;
    }
    assert_eq!(commits, 16, "1 MiB, and nobody reads");
    let delivered = |bytes| Event::Delivered {
        job: JobId(1),
        bytes,
    };
    world.handle(delivered((64 << 10) - 1));
    assert!(world.orders(worker).held.is_empty());
    world.handle(delivered(1));
    assert_eq!(world.orders(worker).held.len(), 1);
    world.handle(delivered(1 << 20));
    assert_eq!(world.orders(worker).held.len(), 8);
}

#[test]
fn a_result_above_the_limit_does_not_stop_the_job_for_ever() {
    let mut world = World::with(Config {
        output_bytes: 1,
        ..Config::default()
    });
    let worker = world.attach(2);
    world.submit_dirs(1, 100);
    assert_eq!(world.orders(worker).held.len(), 1);
    let lease = world.orders(worker).held[0];
    world
        .try_commit(lease, Vec::new(), 1 << 30)
        .expect("the commit keeps the rules");
    assert!(world.orders(worker).held.is_empty());
    world.handle(Event::Delivered {
        job: JobId(1),
        bytes: 1 << 30,
    });
    assert_eq!(world.orders(worker).held.len(), 1);
}

fn held(bytes: u64, offset: u64) -> Event {
    Event::Held {
        job: JobId(1),
        held: Held {
            bytes,
            head: Some(Head {
                root: 0,
                path: b"big".to_vec(),
                offset,
            }),
        },
    }
}

/// A job of which `bytes` of 1 MiB are held for the parts of a file, whose ranges and a directory wait.
fn held_up(bytes: u64) -> (World, WorkerKey) {
    let mut world = World::with(Config {
        output_bytes: 1 << 20,
        ..Config::default()
    });
    // Many slots, so that a lease reserves little of the output.
    let worker = world.attach(8);
    let quarter = Weight(Weight::WHOLE.0 / 4);
    world.submit(1, vec![tree("d", Weight::WHOLE)]);
    let lease = world.orders(worker).held[0];
    // Held parts first, so that the next grant obeys them.
    world.handle(held(bytes, 0));
    let remainder = vec![
        tree("e", quarter),
        range(50, 100, quarter),
        range(0, 50, quarter),
    ];
    world
        .try_commit(lease, remainder, bytes)
        .expect("the commit keeps the rules");
    (world, worker)
}

#[test]
fn held_parts_that_fill_half_let_only_their_file_go_on() {
    let (mut world, worker) = held_up((1 << 20) * 3 / 4);
    let starts: Vec<_> = world
        .grants(worker)
        .iter()
        .flat_map(|grant| &grant.tasks)
        .map(|task| match task.kind {
            TaskKind::Range { start, .. } => Some(start),
            _ => None,
        })
        .collect();
    assert_eq!(
        starts,
        [Some(0), Some(50)],
        "there is room, and not for a directory"
    );
    world.handle(held(0, 100));
    world.handle(Event::Delivered {
        job: JobId(1),
        bytes: 1 << 20,
    });
    let last = world.grants(worker).pop().expect("nothing is held");
    assert_eq!(last.tasks, [tree("e", Weight(Weight::WHOLE.0 / 4))]);
}

#[test]
fn an_output_full_of_held_parts_lets_the_head_go_on() {
    let (mut world, worker) = held_up(1 << 20);
    let grant = world.grants(worker).pop().expect("or nothing ever moves");
    assert_eq!(grant.tasks.len(), 1);
    assert!(matches!(
        grant.tasks[0].kind,
        TaskKind::Range { start: 0, .. }
    ));
    // Even when its first attempt is lost.
    world.handle(Event::Gone { worker });
    world.tick_after(ms(1000));
    let other = world.attach(1);
    assert_eq!(world.grants(other)[0].tasks, grant.tasks);
}

#[test]
fn a_head_that_does_not_exist_releases_what_is_held() {
    let (mut world, worker) = held_up(1 << 20);
    let lease = world.orders(worker).held[0];
    world.handle(held(1 << 20, 40));
    let orders = world
        .try_commit(lease, Vec::new(), 0)
        .expect("the commit keeps the rules");
    assert!(orders.contains(&Order::ReleaseHeld(JobId(1))));
    assert!(world.orders(worker).held.is_empty());
    assert_eq!(world.tick_after(ms(100)), [], "told once");
    world.handle(Event::Held {
        job: JobId(1),
        held: Held::default(),
    });
    world.handle(Event::Delivered {
        job: JobId(1),
        bytes: 1 << 20,
    });
    assert_eq!(world.orders(worker).held.len(), 2, "all that waits");
}

#[test]
fn the_remainder_budgets_share_what_is_left_of_the_frontier() {
    let mut world = World::with(Config {
        frontier_bytes: 100_000,
        ..Config::default()
    });
    let worker = world.attach(4);
    world.submit_dirs(1, 400);
    let grants = world.grants(worker);
    let cost = |grant: &Grant| grant.tasks.iter().map(Task::cost).sum::<u64>();
    let extra: u64 = grants
        .iter()
        .map(|grant| grant.budget.remainder_bytes - cost(grant))
        .sum();
    let used: u64 = dirs("d", 400, Weight::WHOLE).iter().map(Task::cost).sum();
    assert!(extra > 0);
    assert!(used + extra <= 100_000, "{used} + {extra}");

    // A frontier that is full from the beginning: nobody may give back more than he got.
    let mut world = World::with(Config {
        frontier_bytes: 100,
        ..Config::default()
    });
    let worker = world.attach(1);
    world.submit_dirs(1, 400);
    let grant = &world.grants(worker)[0];
    assert_eq!(grant.budget.remainder_bytes, cost(grant));
}

#[test]
fn budgets_grow_in_the_middle_of_a_job() {
    let mut world = World::new();
    let workers: Vec<_> = (0..4).map(|_| world.attach(1)).collect();
    world.submit_dirs(1, 100_000);
    assert_eq!(world.grants(workers[0])[0].budget.time, ms(10));
    world.now += ms(2000);
    let grant = world.grants(workers[0]).remove(0);
    world.commit(grant.lease, Vec::new());
    let grant = world.grants(workers[0]).remove(0);
    assert_eq!(grant.budget.time, ms(500));
}
