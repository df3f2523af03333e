//! Master and worker in this process: the hub and the engine, and one thread that carries orders and commits between
//! them. No runtime, no socket, no copy.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use regexctl_master::Hub;
use regexctl_master::hub::{Commit, Hello, HubConfig, Load, ResultsReader, initial_tasks};
use regexctl_master::scheduler::{LeaseReport, Report, WorkerKey};
use regexctl_proto::domain::{BootId, JobId, LeaseId};
use regexctl_proto::v1::results_reply::Event;
use regexctl_source::{LocalSource, Roots};
use regexctl_worker::engine::{Engine, EngineConfig, Finished};
use regexctl_worker::plan::Plan;

use super::{Canceller, Job, RemoteError};
use crate::job::Request;

/// Leases at once: while one shard ends, the next begins.
const SLOTS: u32 = 2;

/// How often the hub looks at the time.
const TICK: Duration = Duration::from_millis(100);

/// The boot id of the one worker.
const BOOT: BootId = BootId([0; 16]);

/// A job that runs in this process.
pub struct Embedded {
    hub: Hub,
    job: JobId,
    reader: ResultsReader,
    plan: Arc<Plan>,
    messages: mpsc::Sender<Message>,
    link: Option<JoinHandle<()>>,
}

/// What the link waits for.
enum Message {
    /// Orders have changed.
    Wake,
    Finished(Box<Finished>),
    Stop,
}

impl Embedded {
    /// Starts the threads and submits the job, whose plan is `plan`.
    pub fn start(request: &Request, plan: Arc<Plan>) -> anyhow::Result<Self> {
        let threads = match request.threads {
            Some(threads) => threads,
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        let hub = Hub::new(HubConfig::embedded());
        // Holds at most a message a lease, and one for each change of orders that was not looked at.
        let (messages, inbox) = mpsc::channel();
        let config = EngineConfig {
            threads,
            source: Arc::new(LocalSource::new(Roots::everything())),
        };
        let finished = messages.clone();
        let engine = Engine::new(config, move |done| {
            // The link is gone only when the job is over.
            let _ = finished.send(Message::Finished(Box::new(done)));
        })?;
        let hello = Hello {
            name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            address: String::new(),
            boot_id: BOOT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
            slots: SLOTS,
        };
        let wake = messages.clone();
        let worker = hub.attach(hello, move || {
            let _ = wake.send(Message::Wake);
        })?;
        let named = request
            .paths
            .iter()
            .map(|named| (named.root, named.paths.clone()));
        let tasks = initial_tasks(&request.walk, named.collect());
        let job = hub.submit(request.spec.clone(), tasks)?;
        let reader = hub.results(job)?;
        let link = Link {
            hub: hub.clone(),
            worker,
            engine,
            plans: HashMap::from([(job, Arc::clone(&plan))]),
            revision: 0,
        };
        let link = thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || link.run(&inbox))
            .context("cannot start a thread")?;
        Ok(Self {
            hub,
            job,
            reader,
            plan,
            messages,
            link: Some(link),
        })
    }
}

impl Job for Embedded {
    fn next(&mut self) -> Result<Option<Event>, RemoteError> {
        Ok(self.reader.blocking_recv())
    }

    fn canceller(&self) -> Canceller {
        let (hub, job, plan) = (self.hub.clone(), self.job, Arc::clone(&self.plan));
        Canceller::new(move || {
            plan.cancel();
            hub.cancel(job);
        })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The link may have ended already.
        let _ = self.messages.send(Message::Stop);
        if let Some(link) = self.link.take() {
            // A panic there was printed there.
            let _ = link.join();
        }
    }
}

/// Carries the worker's state to the hub, and the hub's orders to the engine.
struct Link {
    hub: Hub,
    worker: WorkerKey,
    engine: Engine,
    plans: HashMap<JobId, Arc<Plan>>,
    revision: u64,
}

impl Link {
    fn run(mut self, inbox: &mpsc::Receiver<Message>) {
        let mut due = Instant::now() + TICK;
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            let mut next = match inbox.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if Instant::now() >= due {
                self.hub.tick();
                due = Instant::now() + TICK;
            }
            // In this order no lease is missed: the engine tells of an end before it forgets the shard.
            let running = self.engine.progress();
            let mut committed = HashSet::new();
            while let Some(message) = next.take().or_else(|| inbox.try_recv().ok()) {
                match message {
                    Message::Wake => {}
                    Message::Finished(done) => {
                        committed.insert(done.lease);
                        self.commit(*done);
                    }
                    Message::Stop => return,
                }
            }
            let leases = running
                .into_iter()
                .filter(|progress| !committed.contains(&progress.lease))
                .map(|progress| LeaseReport {
                    lease: progress.lease,
                    ticks: progress.ticks,
                    files: progress.files,
                    bytes: progress.bytes,
                });
            self.exchange(leases.collect());
        }
    }

    fn commit(&self, done: Finished) {
        let commit = Commit {
            lease: done.lease,
            boot_id: BOOT,
            tally: done.tally,
            time: done.time,
            remainder: done.remainder,
            results: done.results,
        };
        self.hub
            .commit(commit)
            .expect("the engine of this process keeps the rules of the protocol");
    }

    /// Reports, and does what the hub wants then.
    fn exchange(&mut self, leases: Vec<LeaseReport>) {
        let report = Report {
            revision: self.revision,
            slots: SLOTS,
            draining: false,
            leases,
            jobs: self.plans.keys().copied().collect(),
        };
        (self.hub)
            .report(self.worker, report, Load::default())
            .expect("the number of slots is a constant within its limits");
        let Some(orders) = self.hub.orders(self.worker) else {
            return;
        };
        let held: HashSet<LeaseId> = orders.held.into_iter().collect();
        for progress in self.engine.progress() {
            if !held.contains(&progress.lease) {
                self.engine.revoke(progress.lease);
            }
        }
        for grant in orders.grants {
            if let Some(plan) = self.plans.get(&grant.lease.job) {
                self.engine.grant(grant, Arc::clone(plan));
            }
        }
        self.revision = orders.revision;
    }
}
