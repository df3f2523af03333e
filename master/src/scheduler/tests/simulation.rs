//! Random trees, random faults: every file exactly once, within the limits.
//!
//! Workers are modelled: they scan a task of a modelled tree under a number of steps, and give the rest back. What goes wrong is drawn
//! from a seed: streams break and come back, processes die and start again, leases stand still,
//! commits come late, twice, or never.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::model::{Model, Random, UNIT_BYTES, Unit};
use super::*;

/// A modelled worker process.
struct Process {
    name: String,
    boot: u8,
    slots: u32,
    key: Option<WorkerKey>,
    revision: u64,
    holds: BTreeMap<LeaseId, (Grant, u64)>,
    /// Scanned, and kept until the commit is answered.
    done: BTreeSet<LeaseId>,
}

/// A commit on its way.
#[derive(Clone)]
struct Flight {
    worker: usize,
    boot: u8,
    lease: LeaseId,
    units: Vec<Unit>,
    remainder: Vec<Task>,
}

struct Simulation {
    world: World,
    config: Config,
    random: Random,
    model: Model,
    processes: Vec<Process>,
    flights: Vec<Flight>,
    boots: u8,
    delivered: Vec<Unit>,
    undelivered: u64,
    initial: u64,
    over: Option<bool>,
}

const JOB: JobId = JobId(1);

impl Simulation {
    fn new(seed: u64, workers: usize) -> Self {
        let mut random = Random(seed | 1);
        let config = Config {
            frontier_bytes: 500 + random.below(20_000),
            output_bytes: (128 << 10) + random.below(1 << 20),
            max_attempts: u32::MAX,
            ..Config::default()
        };
        let model = Model::random(&mut random);
        let mut world = World::with(config.clone());
        let task = Task::root(0, Weight::WHOLE);
        let initial = task.cost();
        world.submit(JOB.0, vec![task]);
        let processes = (0..workers)
            .map(|i| Process {
                name: format!("w{i}"),
                boot: u8::try_from(i).expect("few workers"),
                slots: 1 + u32::try_from(random.below(3)).expect("small"),
                key: None,
                revision: 0,
                holds: BTreeMap::new(),
                done: BTreeSet::new(),
            })
            .collect();
        Self {
            world,
            config,
            random,
            model,
            processes,
            flights: Vec::new(),
            boots: u8::try_from(workers).expect("few workers"),
            delivered: Vec::new(),
            undelivered: 0,
            initial,
            over: None,
        }
    }

    fn apply(&mut self, event: Event) -> Vec<Order> {
        let orders = self.world.handle(event);
        for order in &orders {
            match order {
                Order::Finished { complete, .. } => {
                    assert!(self.over.is_none(), "it ends once");
                    self.over = Some(*complete);
                }
                Order::Superseded(key) => {
                    let ended = |process: &&mut Process| process.key == Some(*key);
                    if let Some(process) = self.processes.iter_mut().find(ended) {
                        process.key = None;
                    }
                }
                Order::Abandoned { .. } => panic!("no limit of attempts was set"),
                Order::ReleaseHeld(_) => panic!("nothing is held"),
                Order::Changed(_) | Order::Settled(_) => {}
            }
        }
        self.check();
        orders
    }

    fn check(&self) {
        let Some(job) = self.world.scheduler.jobs.get(&JOB) else {
            return;
        };
        let limit = self.config.frontier_bytes.max(self.initial);
        assert!(
            job.frontier_bytes() <= limit,
            "frontier {}",
            job.frontier_bytes()
        );
        let limit = self.config.output_bytes;
        assert!(job.output_bytes() <= limit, "output {}", job.output_bytes());
    }

    fn attach(&mut self, i: usize) {
        if self.processes[i].key.is_some() && !self.random.one_in(4) {
            return;
        }
        self.world.workers += 1;
        let worker = WorkerKey(self.world.workers);
        let process = &mut self.processes[i];
        process.key = None;
        process.revision = 0;
        let event = Event::Attached {
            worker,
            name: process.name.as_str().into(),
            boot: BootId([process.boot; 16]),
            slots: process.slots,
        };
        self.apply(event);
        self.processes[i].key = Some(worker);
        self.report(i);
    }

    fn obey(&mut self, i: usize) {
        let process = &mut self.processes[i];
        let Some(orders) = process.key.and_then(|key| self.world.scheduler.orders(key)) else {
            return;
        };
        process.revision = orders.revision;
        process.holds.retain(|lease, _| orders.held.contains(lease));
        process.done.retain(|lease| orders.held.contains(lease));
        for grant in orders.grants {
            process.holds.entry(grant.lease).or_insert((grant, 0));
        }
    }

    fn report(&mut self, i: usize) {
        let process = &mut self.processes[i];
        let Some(worker) = process.key else { return };
        let leases = process
            .holds
            .iter_mut()
            .map(|(&lease, (_, ticks))| {
                *ticks += 1;
                LeaseReport {
                    lease,
                    ticks: *ticks,
                    files: 0,
                    bytes: 0,
                }
            })
            .collect();
        let report = Report {
            revision: process.revision,
            slots: process.slots,
            draining: false,
            leases,
            jobs: Vec::new(),
        };
        self.apply(Event::Reported { worker, report });
    }

    fn scan(&mut self, i: usize, steps: u64) {
        let process = &mut self.processes[i];
        let next = |lease: &&LeaseId| !process.done.contains(lease);
        let Some(&lease) = process.holds.keys().find(next) else {
            return;
        };
        process.done.insert(lease);
        let (units, remainder) = self.model.scan(&process.holds[&lease].0, steps);
        self.flights.push(Flight {
            worker: i,
            boot: process.boot,
            lease,
            units,
            remainder,
        });
    }

    fn land(&mut self, index: usize, again: bool) {
        let flight = if again {
            self.flights[index].clone()
        } else {
            self.flights.swap_remove(index)
        };
        let bytes = flight.units.len() as u64 * UNIT_BYTES;
        let orders = self.apply(Event::Committed(Committed {
            lease: flight.lease,
            time: ms(10),
            remainder: flight.remainder,
            // What goes beyond the budget is the model's: a directory is listed whole.
            result_bytes: 0,
        }));
        if settled(&orders) == Settlement::Accepted {
            self.delivered.extend(flight.units);
            self.undelivered += bytes;
        }
        let process = &mut self.processes[flight.worker];
        if process.boot == flight.boot {
            process.holds.remove(&flight.lease);
            process.done.remove(&flight.lease);
        }
    }

    fn fault(&mut self, i: usize) {
        match self.random.below(5) {
            // The stream breaks, and the master sees it.
            0 => {
                if let Some(worker) = self.processes[i].key.take() {
                    self.apply(Event::Gone { worker });
                }
            }
            // The process dies, and starts anew; the master may or may not see the stream break.
            1 => {
                if let Some(worker) = self.processes[i].key.take()
                    && self.random.one_in(2)
                {
                    self.apply(Event::Gone { worker });
                }
                self.boots += 1;
                let process = &mut self.processes[i];
                process.boot = self.boots;
                process.holds.clear();
                process.done.clear();
            }
            // A commit is lost on its way.
            2 if !self.flights.is_empty() => {
                let index = self.random.below(self.flights.len() as u64);
                let index = usize::try_from(index).expect("an index");
                let flight = self.flights.swap_remove(index);
                let process = &mut self.processes[flight.worker];
                process.done.remove(&flight.lease);
            }
            // The worker forgets a lease.
            3 => {
                if let Some(lease) = self.processes[i].holds.keys().next().copied() {
                    self.processes[i].holds.remove(&lease);
                    self.processes[i].done.remove(&lease);
                }
            }
            // Everything stands still.
            _ => {
                self.world.now += ms(self.random.below(40_000));
                self.apply(Event::Tick);
            }
        }
    }

    fn step(&mut self) {
        let i = usize::try_from(self.random.below(self.processes.len() as u64)).expect("an index");
        match self.random.below(12) {
            0 | 1 => self.attach(i),
            2 | 3 => self.obey(i),
            4 => self.report(i),
            5 | 6 => {
                let steps = self.random.below(20);
                self.scan(i, steps);
            }
            7..10 if !self.flights.is_empty() => {
                let index = self.random.below(self.flights.len() as u64);
                let again = self.random.one_in(5);
                self.land(usize::try_from(index).expect("an index"), again);
            }
            10 => {
                self.world.now += ms(self.random.below(300));
                self.apply(Event::Tick);
            }
            11 => self.fault(i),
            _ => {}
        }
    }

    /// From here on all goes well, so the job has to end.
    fn calm(&mut self) {
        for _ in 0..20_000 {
            if self.over.is_some() {
                return;
            }
            self.world.now += ms(200);
            self.apply(Event::Tick);
            for i in 0..self.processes.len() {
                if self.processes[i].key.is_none() {
                    self.attach(i);
                }
                self.obey(i);
                self.report(i);
                self.scan(i, 50);
                while !self.flights.is_empty() {
                    self.land(0, false);
                }
            }
        }
        panic!("the job does not end: {:?}", self.world.progress(JOB.0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_file_is_delivered_exactly_once(seed: u64, workers in 1_usize..6, steps in 0_usize..600) {
        let mut simulation = Simulation::new(seed, workers);
        for _ in 0..steps {
            if simulation.over.is_some() || simulation.boots > 250 {
                break;
            }
            simulation.step();
        }
        if simulation.over.is_none() {
            let done = simulation.world.progress(JOB.0).done;
            prop_assert!(done <= Weight::WHOLE);
        }
        simulation.calm();
        prop_assert_eq!(simulation.over, Some(true));
        let delivered = simulation.delivered;
        let once: BTreeSet<Unit> = delivered.iter().cloned().collect();
        prop_assert_eq!(once.len(), delivered.len(), "something was delivered twice");
        prop_assert_eq!(once, simulation.model.units());
    }
}
