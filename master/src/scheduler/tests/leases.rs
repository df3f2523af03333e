//! Workers come, go, and hold leases.

use super::*;

/// A world with a worker of one slot that holds the only shard of a job.
fn leased() -> (World, WorkerKey, Grant) {
    let mut world = World::new();
    let worker = world.attach(1);
    world.submit_dirs(1, 1);
    let grant = world.grants(worker).pop().expect("it is leased");
    (world, worker, grant)
}

fn next_attempt(lease: LeaseId) -> LeaseId {
    LeaseId {
        attempt: Attempt(lease.attempt.0 + 1),
        ..lease
    }
}

#[test]
fn a_worker_that_attaches_is_given_work_that_waits() {
    let mut world = World::new();
    assert_eq!(world.submit_dirs(1, 3), []);
    let (worker, orders) = world.attach_as("a", 1, 2);
    assert!(orders.contains(&Order::Changed(worker)));
    let orders = world.orders(worker);
    assert_eq!(orders.held.len(), 2, "as many as it has slots");
    assert_eq!(orders.grants.len(), 2);
    assert_eq!(orders.jobs, [JobId(1)]);
}

#[test]
fn what_is_reported_is_not_granted_again() {
    let (mut world, worker, grant) = leased();
    let before = world.orders(worker);
    assert_eq!(
        world.orders(worker),
        before,
        "the state, until a report says otherwise"
    );
    world.report(worker, &[(grant.lease, 0)]);
    let orders = world.orders(worker);
    assert_eq!(orders.held, [grant.lease]);
    assert!(orders.grants.is_empty());
    let report = Report {
        revision: orders.revision,
        slots: 2,
        leases: Vec::new(),
        jobs: vec![JobId(1)],
        draining: false,
    };
    world.handle(Event::Reported { worker, report });
    let orders = world.orders(worker);
    assert_eq!(orders.grants, [grant], "it is missing, so it is told again");
    assert!(orders.jobs.is_empty(), "the spec is known");
}

#[test]
fn a_lease_is_renewed_by_ticks_only() {
    let (mut world, worker, grant) = leased();
    for ticks in 1..4 {
        world.report(worker, &[(grant.lease, ticks)]);
        world.tick_after(ms(20_000));
    }
    assert_eq!(world.orders(worker).held, [grant.lease]);
    // Alive, but it stands still.
    world.report(worker, &[(grant.lease, 3)]);
    world.tick_after(ms(9_000));
    assert_eq!(world.orders(worker).held, [grant.lease]);
    world.report(worker, &[(grant.lease, 3)]);
    let orders = world.tick_after(ms(1_000));
    assert!(orders.contains(&Order::Changed(worker)));
    assert_eq!(world.orders(worker).held, [next_attempt(grant.lease)]);
}

#[test]
fn an_expired_shard_goes_to_another_worker() {
    let (mut world, worker, grant) = leased();
    let other = world.attach(1);
    world.now += ms(30_000);
    // Both are alive, and the one with the lease stands still.
    world.report(worker, &[(grant.lease, 0)]);
    world.report(other, &[]);
    world.tick_after(ms(0));
    assert!(world.orders(worker).held.is_empty());
    assert_eq!(world.orders(other).held, [next_attempt(grant.lease)]);
    // It comes last until it has made progress.
    world.submit_dirs(2, 1);
    let lease = world.orders(worker).held[0];
    world.commit(lease, Vec::new());
    world.commit(next_attempt(grant.lease), Vec::new());
    world.submit_dirs(3, 1);
    assert_eq!(world.orders(worker).held.len(), 1);
}

#[test]
fn a_silent_worker_is_given_nothing() {
    let mut world = World::new();
    let silent = world.attach(1);
    world.tick_after(ms(2000));
    let other = world.attach(1);
    world.submit_dirs(1, 2);
    assert!(world.orders(silent).held.is_empty());
    assert_eq!(world.orders(other).held.len(), 1);
    world.report(silent, &[]);
    assert_eq!(world.orders(silent).held.len(), 1);
}

#[test]
fn a_broken_stream_keeps_its_leases_for_the_grace() {
    let (mut world, worker, grant) = leased();
    world.handle(Event::Gone { worker });
    assert_eq!(world.tick_after(ms(999)), []);
    let (again, orders) = world.attach_as("w1", 1, 1);
    assert!(!orders.contains(&Order::Superseded(worker)));
    let wanted = world.orders(again);
    assert_eq!(wanted.held, [grant.lease]);
    assert_eq!(wanted.grants, [grant], "until it reports to hold it");
    assert!(world.scheduler.orders(worker).is_none());
    world.tick_after(ms(5000));
    assert_eq!(world.orders(again).held.len(), 1);
}

#[test]
fn after_the_grace_the_leases_are_lost() {
    let (mut world, worker, grant) = leased();
    let other = world.attach(1);
    world.handle(Event::Gone { worker });
    let orders = world.tick_after(ms(1000));
    assert!(orders.contains(&Order::Changed(other)));
    assert_eq!(world.orders(other).held, [next_attempt(grant.lease)]);
    assert!(world.scheduler.orders(worker).is_none());
    assert_eq!(world.grants(other)[0].tasks, grant.tasks);
}

#[test]
fn a_new_boot_id_loses_the_leases_at_once() {
    let (mut world, worker, grant) = leased();
    world.handle(Event::Gone { worker });
    let (new, _) = world.attach_as("w1", 77, 1);
    assert_eq!(world.orders(new).held, [next_attempt(grant.lease)]);
}

#[test]
fn a_new_boot_id_buries_a_silent_namesake_but_not_a_live_one() {
    let (mut world, worker, grant) = leased();
    world.now += ms(1999);
    let (second, orders) = world.attach_as("w1", 77, 1);
    assert!(!orders.contains(&Order::Superseded(worker)));
    assert_eq!(world.orders(worker).held, [grant.lease]);
    world.now += ms(1);
    world.report(second, &[]);
    let (third, orders) = world.attach_as("w1", 78, 1);
    assert!(orders.contains(&Order::Superseded(worker)));
    assert!(world.scheduler.orders(second).is_some());
    let held = [second, third].map(|key| world.orders(key).held.len());
    assert_eq!(held.iter().sum::<usize>(), 1);
}

#[test]
fn the_same_boot_id_supersedes_a_stream_not_yet_known_to_be_broken() {
    let (mut world, worker, grant) = leased();
    let (again, orders) = world.attach_as("w1", 1, 1);
    assert!(orders.contains(&Order::Superseded(worker)));
    assert_eq!(world.orders(again).held, [grant.lease]);
    // What the old stream still says does not matter.
    assert_eq!(world.handle(Event::Gone { worker }), []);
    world.tick_after(ms(1500));
    assert_eq!(world.orders(again).held, [grant.lease]);
}

#[test]
fn a_lease_that_reports_lack_is_lost_after_a_while() {
    let (mut world, worker, grant) = leased();
    world.report(worker, &[]);
    assert_eq!(
        world.orders(worker).held,
        [grant.lease],
        "its commit may be on its way"
    );
    world.now += ms(500);
    world.report(worker, &[(grant.lease, 0)]);
    world.now += ms(600);
    world.report(worker, &[]);
    assert_eq!(
        world.orders(worker).held,
        [grant.lease],
        "it was there in between"
    );
    world.now += ms(1000);
    world.report(worker, &[]);
    assert_eq!(world.orders(worker).held, [next_attempt(grant.lease)]);
}

#[test]
fn a_report_that_has_not_acted_on_the_grant_says_nothing_about_it() {
    let (mut world, worker, grant) = leased();
    for _ in 0..5 {
        world.now += ms(1000);
        let report = Report {
            revision: 0,
            slots: 1,
            ..Report::default()
        };
        world.handle(Event::Reported { worker, report });
    }
    assert_eq!(world.orders(worker).held, [grant.lease]);
}

#[test]
fn a_revision_of_another_master_does_not_count() {
    let (mut world, worker, grant) = leased();
    let report = Report {
        revision: 1_000_000,
        slots: 1,
        ..Report::default()
    };
    let orders = world.handle(Event::Reported { worker, report });
    assert!(orders.contains(&Order::Changed(worker)));
    assert_eq!(world.orders(worker).revision, 1_000_001);
    assert_eq!(world.grants(worker), [grant]);
}

#[test]
fn a_lease_that_is_not_wanted_is_told_to_be_dropped() {
    let (mut world, worker, grant) = leased();
    let stale = LeaseId {
        job: JobId(99),
        ..grant.lease
    };
    let revision = world.orders(worker).revision;
    let orders = world.report(worker, &[(grant.lease, 1), (stale, 1)]);
    assert_eq!(orders, [Order::Changed(worker)]);
    assert!(world.orders(worker).revision > revision);
    assert_eq!(world.orders(worker).held, [grant.lease]);
    assert_eq!(world.report(worker, &[(grant.lease, 2)]), []);
}

#[test]
fn a_draining_worker_gets_nothing_new_and_keeps_what_it_has() {
    let mut world = World::new();
    let worker = world.attach(1);
    world.submit_dirs(1, 5);
    let lease = world.orders(worker).held[0];
    let report = Report {
        revision: world.orders(worker).revision,
        slots: 1,
        draining: true,
        leases: vec![LeaseReport {
            lease,
            ticks: 1,
            files: 0,
            bytes: 0,
        }],
        jobs: Vec::new(),
    };
    world.handle(Event::Reported { worker, report });
    assert_eq!(world.orders(worker).held, [lease]);
    assert_eq!(
        settled(&world.commit(lease, Vec::new())),
        Settlement::Accepted
    );
    assert!(world.orders(worker).held.is_empty());
    let other = world.attach(1);
    assert_eq!(world.orders(other).held.len(), 1);
}

#[test]
fn fewer_slots_take_no_lease_away() {
    let mut world = World::new();
    let worker = world.attach(3);
    world.submit_dirs(1, 50);
    let held = world.orders(worker).held;
    assert_eq!(held.len(), 3);
    let leases: Vec<_> = held.iter().map(|&lease| (lease, 1)).collect();
    world.report(worker, &leases);
    assert_eq!(world.orders(worker).held, held);
    world.commit(held[0], Vec::new());
    assert_eq!(world.orders(worker).held, held[1..]);
}

#[test]
fn leases_are_spread_over_the_workers() {
    let mut world = World::new();
    let workers: Vec<_> = (0..4).map(|_| world.attach(2)).collect();
    world.submit_dirs(1, 4);
    for worker in workers {
        assert_eq!(world.orders(worker).held.len(), 1);
    }
}

#[test]
fn events_of_unknown_workers_are_ignored() {
    let mut world = World::new();
    let worker = WorkerKey(9);
    assert_eq!(world.handle(Event::Gone { worker }), []);
    let report = Report::default();
    assert_eq!(world.handle(Event::Reported { worker, report }), []);
    assert!(world.scheduler.orders(worker).is_none());
}
