//! The daemon's half of the protocol: attach to the master, report, obey, commit.
//!
//! One loop owns everything: the engine, the plans of the jobs, and the commits under way. It reports the state
//! of this node, and moves the engine towards the state that the master wants. The engine goes on while
//! the connection is down; what it finishes is committed after the next attach, and it is the master that decides whether
//! that commit still counts. Scanning never happens on an async thread.

mod commit;
mod notify;
mod plans;
mod rate;

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::domain::{BadMessage, BootId, Grant, LeaseId};
use regexctl_proto::limits::{MAX_MESSAGE_BYTES, PROTOCOL, REPORT_INTERVAL_MILLIS};
use regexctl_proto::peer::{causes, other_version};
use regexctl_proto::v1;
use regexctl_proto::v1::workers_client::WorkersClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use tracing::{error, info, warn};

use crate::engine::{Engine, EngineConfig, EngineError, Finished};
use commit::Pending;
use plans::Plans;
use rate::Rate;

/// The first pause before the master is tried again; doubled each time, up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// The longest pause.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the master may take to hear that a drained worker goes.
const GOODBYE: Duration = Duration::from_secs(1);

/// HTTP/2 pings while the stream is silent, and how long their answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Reports waiting to be sent: the newest state is what counts, so few.
const REPORT_QUEUE: usize = 4;

/// What the daemon is told at its start.
pub struct SessionConfig {
    /// `http://HOST:PORT`.
    pub master: String,
    /// This node's name, for people.
    pub name: String,
    /// Leases held at once.
    pub slots: u32,
    /// The engine.
    pub engine: EngineConfig,
}

/// Why the daemon ends.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The URL cannot be used.
    #[error("--master {url}: not a URL of the form http://HOST:PORT")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// The scanning threads do not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The master speaks another version.
    #[error(
        "master {master} refuses this worker: {message}; install the same version of regexctl on both"
    )]
    Version {
        /// Its URL.
        master: String,
        /// In its words.
        message: String,
    },
    /// No randomness for the boot id.
    #[error("cannot make a boot id: {0}")]
    Random(rustix::io::Errno),
}

/// Why one connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("cannot connect: {}", causes(.0))]
    Connect(tonic::transport::Error),
    #[error("{}", .0.message())]
    Status(#[from] tonic::Status),
    #[error(transparent)]
    Message(#[from] BadMessage),
    #[error("the master closed the stream")]
    Closed,
}

/// Serves the master until `shutdown` resolves; then takes no more leases, finishes those it holds,
/// and returns. Errors are those that trying again does not mend.
pub async fn serve(
    config: SessionConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SessionError> {
    let endpoint = Endpoint::from_shared(config.master.clone())
        .map_err(|source| SessionError::Url {
            url: config.master.clone(),
            source,
        })?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let mut boot_id = [0; 16];
    rustix::rand::getrandom(&mut boot_id, rustix::rand::GetRandomFlags::empty())
        .map_err(SessionError::Random)?;
    // Never holds more than the leases, `slots` of them; the engine's threads must not wait for the network.
    let (finished_tx, finished) = mpsc::unbounded_channel();
    let threads = config.engine.threads;
    let engine = Engine::new(config.engine, move |done| {
        // The receiver is gone only when the daemon ends.
        let _ = finished_tx.send(done);
    })?;
    let mut session = Session {
        name: config.name,
        slots: config.slots,
        threads: u32::try_from(threads).unwrap_or(u32::MAX),
        boot_id: BootId(boot_id),
        engine,
        finished,
        plans: Plans::default(),
        pending: Vec::new(),
        commits: JoinSet::new(),
        rate: Rate::new(),
        revision: 0,
        draining: false,
    };
    tokio::pin!(shutdown);
    let mut backoff = MIN_BACKOFF;
    loop {
        if session.draining && session.is_idle() {
            return Ok(());
        }
        let attached = tokio::select! {
            biased;
            () = &mut shutdown, if !session.draining => {
                session.draining = true;
                continue;
            }
            attached = session.attach(&endpoint) => attached,
        };
        let ended = match attached {
            Ok(connection) => {
                let ended = session.exchange(connection, shutdown.as_mut(), &mut backoff);
                ended.await
            }
            Err(lost) => Err(lost),
        };
        let Err(lost) = ended else { return Ok(()) };
        if let Lost::Status(status) = &lost
            && let Some(message) = other_version(status)
        {
            return Err(SessionError::Version {
                master: config.master,
                message,
            });
        }
        let pause = jittered(backoff);
        warn!(
            master = config.master,
            "{lost}; trying again in {pause:.1?}"
        );
        backoff = (backoff * 2).min(MAX_BACKOFF);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut shutdown, if !session.draining => session.draining = true,
        }
    }
}

/// Between half of `pause` and all of it, so that a room of nodes does not come back in step.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the whole pause is right, too.
    let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK);
    pause.mul_f64(1.0 - f64::from(byte[0]) / 512.0)
}

struct Session {
    name: String,
    slots: u32,
    threads: u32,
    boot_id: BootId,
    engine: Engine,
    finished: mpsc::UnboundedReceiver<Finished>,
    plans: Plans,
    /// Finished shards whose commit the master has not answered.
    pending: Vec<Pending>,
    /// Commits under way; each ends with its lease and whether it was answered.
    commits: JoinSet<(LeaseId, Result<v1::CommitOutcome, tonic::Status>)>,
    rate: Rate,
    /// The newest orders acted upon.
    revision: u64,
    draining: bool,
}

/// An attached worker's way to the master.
struct Connection {
    channel: Channel,
    reports: mpsc::Sender<v1::WorkerReport>,
    orders: Streaming<v1::WorkerOrders>,
}

impl Session {
    /// Connects, and attaches with a first report.
    async fn attach(&mut self, endpoint: &Endpoint) -> Result<Connection, Lost> {
        let channel = endpoint.connect().await.map_err(Lost::Connect)?;
        let mut client = client(channel.clone());
        let (reports, outbound) = mpsc::channel(REPORT_QUEUE);
        self.revision = 0;
        self.commits.abort_all();
        while self.commits.join_next().await.is_some() {}
        for pending in &mut self.pending {
            pending.sending = false;
        }
        // Room for one: the queue is empty.
        let _ = reports.try_send(self.report());
        let orders = client
            .attach(ReceiverStream::new(outbound))
            .await?
            .into_inner();
        info!(name = self.name, "attached");
        notify::ready();
        Ok(Connection {
            channel,
            reports,
            orders,
        })
    }

    /// One connection, up to its loss; `Ok` when the worker has drained.
    async fn exchange(
        &mut self,
        connection: Connection,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
        backoff: &mut Duration,
    ) -> Result<(), Lost> {
        let Connection {
            channel,
            reports,
            mut orders,
        } = connection;
        let mut interval = tokio::time::interval(Duration::from_millis(REPORT_INTERVAL_MILLIS));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.send_commits(&channel);
            if self.draining && self.is_idle() {
                let _ = reports.try_send(self.report());
                drop(reports);
                goodbye(&mut orders).await;
                return Ok(());
            }
            tokio::select! {
                message = orders.next() => {
                    let orders = message.ok_or(Lost::Closed)??;
                    *backoff = MIN_BACKOFF;
                    self.obey(orders)?;
                }
                Some(done) = self.finished.recv() => {
                    self.finished(done);
                    continue;
                }
                Some(ended) = self.commits.join_next() => match ended {
                    Ok((lease, result)) => self.committed(lease, result)?,
                    Err(join) => error!("a commit task failed: {join}"),
                },
                () = shutdown.as_mut(), if !self.draining => self.draining = true,
                _ = interval.tick() => self.rate.tick(),
            }
            // A full queue holds a report as good as this one, but for the newest changes, which the next tick tells.
            let _ = reports.try_send(self.report());
        }
    }

    /// Moves the engine to the state that the master wants.
    fn obey(&mut self, orders: v1::WorkerOrders) -> Result<(), Lost> {
        let held: HashSet<LeaseId> = orders
            .held
            .into_iter()
            .map(LeaseId::try_from)
            .collect::<Result<_, _>>()?;
        let running = self.engine.progress();
        for progress in running.into_iter().filter(|progress| !progress.ended) {
            if !held.contains(&progress.lease) {
                info!(lease = %progress.lease, "revoked");
                self.engine.revoke(progress.lease);
                if !held.iter().any(|lease| lease.job == progress.lease.job) {
                    self.plans.ended(progress.lease.job);
                }
            }
        }
        // A finished shard that is not wanted any more was given to another worker, or its job has ended.
        (self.pending).retain(|pending| pending.sending || held.contains(&pending.lease));
        for entry in orders.jobs {
            self.plans.learn(entry)?;
        }
        for grant in orders.grants {
            let grant = Grant::try_from(grant)?;
            if self.pending.iter().any(|p| p.lease == grant.lease) {
                continue;
            }
            match self.plans.get(&grant)? {
                Ok(plan) => self.engine.grant(grant, plan),
                Err(refusal) => {
                    let done = plans::refused(&grant, &refusal);
                    self.pending.push(Pending::new(done, self.boot_id));
                }
            }
        }
        self.revision = orders.revision;
        Ok(())
    }

    /// Keeps what the engine has finished, to be committed.
    fn finished(&mut self, done: Finished) {
        self.rate.add(done.tally.scanned, done.tally.bytes_searched);
        self.pending.push(Pending::new(done, self.boot_id));
    }

    /// Starts the commits that are not under way.
    fn send_commits(&mut self, channel: &Channel) {
        for pending in self.pending.iter_mut().filter(|p| !p.sending) {
            pending.sending = true;
            let (lease, chunks) = (pending.lease, Arc::clone(&pending.chunks));
            let mut client = client(channel.clone());
            self.commits.spawn(async move {
                let indices = 0..chunks.len();
                let stream = tokio_stream::iter(indices).map(move |i| chunks[i].clone());
                let result = client.commit(stream).await;
                (lease, result.map(|reply| reply.into_inner().outcome()))
            });
        }
    }

    /// A commit was answered, or failed with the connection.
    fn committed(
        &mut self,
        lease: LeaseId,
        result: Result<v1::CommitOutcome, tonic::Status>,
    ) -> Result<(), Lost> {
        match result {
            Ok(outcome) => {
                if outcome != v1::CommitOutcome::Accepted {
                    info!(%lease, ?outcome, "commit dropped by the master");
                }
                self.pending.retain(|pending| pending.lease != lease);
                Ok(())
            }
            // It would be refused again; without it the lease expires and is given to another.
            Err(status) if status.code() == tonic::Code::InvalidArgument => {
                error!(%lease, "the master refuses a commit: {}", status.message());
                self.pending.retain(|pending| pending.lease != lease);
                Ok(())
            }
            Err(status) => {
                if let Some(pending) = self.pending.iter_mut().find(|p| p.lease == lease) {
                    pending.sending = false;
                }
                Err(status.into())
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.engine.progress().is_empty() && self.finished.is_empty()
    }

    /// The state of this node, now.
    fn report(&mut self) -> v1::WorkerReport {
        // In this order no lease is missed: the engine tells of an end before it forgets the shard.
        let running = self.engine.progress();
        while let Ok(done) = self.finished.try_recv() {
            self.finished(done);
        }
        let ended: HashSet<LeaseId> = self.pending.iter().map(|p| p.lease).collect();
        let running = running
            .into_iter()
            .filter(|p| !ended.contains(&p.lease))
            .map(|p| v1::LeaseProgress {
                lease: Some(p.lease.into()),
                ticks: p.ticks,
                files: p.files,
                bytes: p.bytes,
            });
        let leases = running
            .chain(self.pending.iter().map(Pending::progress))
            .collect();
        let (files_per_second, bytes_per_second) = self.rate.per_second();
        v1::WorkerReport {
            protocol: PROTOCOL,
            name: self.name.clone(),
            boot_id: self.boot_id.0.to_vec(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            threads: self.threads,
            slots: self.slots,
            revision: self.revision,
            leases,
            jobs: self.plans.known(),
            draining: self.draining,
            load_centi: load_centi(),
            files_per_second,
            bytes_per_second,
        }
    }
}

/// Waits until the master has ended its side too, so that it sees the stream end, not break.
async fn goodbye(orders: &mut Streaming<v1::WorkerOrders>) {
    let ended = async { while let Ok(Some(_)) = orders.message().await {} };
    // A master that does not answer is left as it is.
    let _ = tokio::time::timeout(GOODBYE, ended).await;
}

fn client(channel: Channel) -> WorkersClient<Channel> {
    WorkersClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// The load average of the last minute, in hundredths.
fn load_centi() -> u32 {
    // The kernel's fixed point has 16 bits behind the point.
    let load = rustix::system::sysinfo().loads[0];
    u32::try_from((load * 100) >> 16).unwrap_or(u32::MAX)
}
