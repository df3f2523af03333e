//! What workers ask: attach, commit.

use std::pin::Pin;
use std::sync::Arc;

use regexctl_proto::domain::{BadMessage, BootId, JobId, LeaseId, check_slots};
use regexctl_proto::limits::MAX_SLOTS;
use regexctl_proto::v1;
use regexctl_proto::v1::commit_chunk::Part;
use regexctl_proto::v1::workers_server::Workers;
use tokio::sync::{Notify, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::commit::Chunks;
use super::{address, check_protocol, next_of, refuse};
use crate::hub::{AttachError, Hello, Hub, Load, WorkerOrders};
use crate::scheduler::{LeaseReport, Report, WorkerKey};

/// The longest name and version of a worker, in bytes; they are for people.
const MAX_NAME_BYTES: usize = 255;
/// The most leases and jobs in a report: what a worker may hold, and what it may not yet know to be over.
const MAX_REPORTED: usize = 4 * MAX_SLOTS as usize;

/// The service of the workers.
pub(super) struct WorkersService {
    hub: Hub,
}

impl WorkersService {
    pub(super) fn new(hub: Hub) -> Self {
        Self { hub }
    }
}

#[tonic::async_trait]
impl Workers for WorkersService {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<v1::WorkerOrders, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::WorkerReport>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let address = address(&request);
        let mut reports = request.into_inner();
        let first = next_of(&mut reports)
            .await?
            .ok_or_else(|| Status::invalid_argument("the stream has no report"))?;
        check_protocol(first.protocol)?;
        let session = Session::attach(self.hub.clone(), first, address)?;
        // One at a time: the newest state is made when the connection can take it.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(session.run(reports, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn commit(
        &self,
        request: Request<Streaming<v1::CommitChunk>>,
    ) -> Result<Response<v1::CommitReply>, Status> {
        let mut stream = request.into_inner();
        let first = next_of(&mut stream).await?.and_then(|chunk| chunk.part);
        let Some(Part::Header(header)) = first else {
            return Err(Status::invalid_argument("the first chunk is no header"));
        };
        check_protocol(header.protocol)?;
        let mut chunks = Chunks::new(&header).map_err(|error| refuse(&error))?;
        loop {
            let chunk = next_of(&mut stream).await?.ok_or_else(|| {
                refuse(&BadMessage::new(
                    "CommitChunk.end",
                    "the stream ended before it",
                ))
            })?;
            if chunks.push(chunk).map_err(|error| refuse(&error))? {
                break;
            }
        }
        let commit = chunks.finish().map_err(|error| refuse(&error))?;
        let lease = commit.lease;
        let outcome = self.hub.commit(commit).map_err(|error| refuse(&error))?;
        tracing::debug!(%lease, ?outcome, "commit");
        Ok(Response::new(v1::CommitReply {
            outcome: outcome.into(),
        }))
    }
}

/// One worker's stream.
struct Session {
    hub: Hub,
    key: WorkerKey,
    boot: BootId,
    name: String,
    /// Its orders have changed.
    changed: Arc<Notify>,
}

impl Session {
    fn attach(hub: Hub, first: v1::WorkerReport, address: String) -> Result<Self, Status> {
        let (boot, report, load) = check_report(&first).map_err(|error| refuse(&error))?;
        for (field, text) in [
            ("WorkerReport.name", &first.name),
            ("WorkerReport.version", &first.version),
        ] {
            if text.len() > MAX_NAME_BYTES || text.contains(char::is_control) {
                let problem = format!("longer than {MAX_NAME_BYTES} bytes, or not plain text");
                return Err(refuse(&BadMessage::new(field, problem)));
            }
        }
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let hello = Hello {
            name: first.name.clone(),
            address,
            boot_id: boot,
            version: first.version,
            threads: first.threads,
            slots: first.slots,
        };
        let key = hub
            .attach(hello, move || notify.notify_one())
            .map_err(|error| match error {
                AttachError::Bad(bad) => refuse(&bad),
                AttachError::TooMany(_) => Status::resource_exhausted(error.to_string()),
                AttachError::Stopping => Status::unavailable(error.to_string()),
            })?;
        tracing::info!(name = first.name, "worker attached");
        // From here on, whatever happens ends with `detach`.
        let session = Self {
            hub,
            key,
            boot,
            name: first.name,
            changed,
        };
        session
            .hub
            .report(key, report, load)
            .map_err(|error| refuse(&error))?;
        Ok(session)
    }

    async fn run(
        self,
        mut reports: Streaming<v1::WorkerReport>,
        orders: mpsc::Sender<Result<v1::WorkerOrders, Status>>,
    ) {
        let end = self.exchange(&mut reports, &orders).await;
        match end {
            Ok(()) => tracing::info!(name = self.name, "worker's stream ended"),
            Err(status) => {
                tracing::warn!(
                    name = self.name,
                    error = status.message(),
                    "worker's stream broke"
                );
                // The peer may be gone; there is nobody else to tell.
                let _ = orders.send(Err(status)).await;
            }
        }
    }

    /// Reports in, orders out, until one side ends it.
    async fn exchange(
        &self,
        reports: &mut Streaming<v1::WorkerReport>,
        orders: &mpsc::Sender<Result<v1::WorkerOrders, Status>>,
    ) -> Result<(), Status> {
        let mut due = true;
        loop {
            tokio::select! {
                message = reports.message() => match message? {
                    None => return Ok(()),
                    Some(message) => self.report(&message).map_err(|error| refuse(&error))?,
                },
                () = self.changed.notified(), if !due => due = true,
                permit = orders.reserve(), if due => {
                    let Ok(permit) = permit else { return Ok(()) };
                    let Some(wanted) = self.hub.orders(self.key) else {
                        return Err(Status::unavailable("the worker attached anew, or the master is stopping"));
                    };
                    permit.send(Ok(into_message(wanted)));
                    due = false;
                }
            }
        }
    }

    fn report(&self, message: &v1::WorkerReport) -> Result<(), BadMessage> {
        let (boot, report, load) = check_report(message)?;
        if boot != self.boot {
            return Err(BadMessage::new(
                "WorkerReport.boot_id",
                "changed within a stream",
            ));
        }
        self.hub.report(self.key, report, load)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hub.detach(self.key);
    }
}

fn check_report(message: &v1::WorkerReport) -> Result<(BootId, Report, Load), BadMessage> {
    let boot = BootId::try_from(message.boot_id.as_slice())?;
    if message.leases.len() > MAX_REPORTED {
        let problem = format!("{}, the limit is {MAX_REPORTED}", message.leases.len());
        return Err(BadMessage::new("WorkerReport.leases", problem));
    }
    if message.jobs.len() > MAX_REPORTED {
        let problem = format!("{}, the limit is {MAX_REPORTED}", message.jobs.len());
        return Err(BadMessage::new("WorkerReport.jobs", problem));
    }
    let leases = message
        .leases
        .iter()
        .map(|progress| {
            let lease = progress
                .lease
                .ok_or_else(|| BadMessage::missing("LeaseProgress.lease"))?;
            Ok(LeaseReport {
                lease: LeaseId::try_from(lease)?,
                ticks: progress.ticks,
                files: progress.files,
                bytes: progress.bytes,
            })
        })
        .collect::<Result<_, BadMessage>>()?;
    let report = Report {
        revision: message.revision,
        slots: check_slots(message.slots)?,
        draining: message.draining,
        leases,
        jobs: message.jobs.iter().copied().map(JobId).collect(),
    };
    let load = Load {
        load_centi: message.load_centi,
        files_per_second: message.files_per_second,
        bytes_per_second: message.bytes_per_second,
    };
    Ok((boot, report, load))
}

fn into_message(orders: WorkerOrders) -> v1::WorkerOrders {
    v1::WorkerOrders {
        revision: orders.revision,
        held: orders.held.into_iter().map(Into::into).collect(),
        grants: orders.grants.into_iter().map(Into::into).collect(),
        jobs: orders
            .jobs
            .into_iter()
            .map(|(job, spec)| v1::JobEntry {
                job: job.0,
                spec: Some(v1::JobSpec::clone(&spec)),
            })
            .collect(),
    }
}
