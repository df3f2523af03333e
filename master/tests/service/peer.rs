//! A master in this process, and peers that speak to it over loopback.

use std::time::Duration;

use regexctl_master::Hub;
use regexctl_master::hub::HubConfig;
use regexctl_master::service;
use regexctl_proto::cut::{Joiner, cut};
use regexctl_proto::limits::{MAX_BATCH_BYTES, PROTOCOL};
use regexctl_proto::v1::commit_chunk::Part;
use regexctl_proto::v1::jobs_client::JobsClient;
use regexctl_proto::v1::results_reply::Event;
use regexctl_proto::v1::workers_client::WorkersClient;
use regexctl_proto::v1::{self, CommitOutcome};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Master {
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Master {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut HubConfig)) -> Self {
        let mut config = HubConfig::default();
        change(&mut config);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(service::serve(Hub::new(config), listener, async move {
            let _ = stopped.await;
        }));
        Self {
            url: format!("http://{address}"),
            stop: Some(stop),
            task,
        }
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn stopped(self) {
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        let ended = ended.expect("it stops").expect("it does not panic");
        ended.expect("it ends well");
    }
}

async fn connect(master: &Master) -> Channel {
    Channel::from_shared(master.url.clone())
        .expect("a URL of loopback")
        .connect()
        .await
        .expect("the master listens")
}

pub(crate) async fn client(master: &Master) -> JobsClient<Channel> {
    JobsClient::new(connect(master).await)
}

pub(crate) fn spec(roots: usize) -> v1::JobSpec {
    v1::JobSpec {
        pattern: Some(v1::PatternSpec {
            patterns: vec!["x".to_owned()],
            ..v1::PatternSpec::default()
        }),
        roots: (0..roots)
            .map(|i| v1::Root {
                path: format!("/r{i}").into_bytes(),
            })
            .collect(),
        ..v1::JobSpec::default()
    }
}

pub(crate) fn header(roots: usize) -> v1::SubmitHeader {
    v1::SubmitHeader {
        protocol: PROTOCOL,
        spec: Some(spec(roots)),
        walk: vec![true; roots],
    }
}

async fn send_submit(
    client: &mut JobsClient<Channel>,
    parts: Vec<v1::submit_request::Part>,
) -> Result<u64, Status> {
    let messages = parts
        .into_iter()
        .map(|part| v1::SubmitRequest { part: Some(part) });
    let reply = client
        .submit(tokio_stream::iter(messages.collect::<Vec<_>>()))
        .await?;
    Ok(reply.into_inner().job)
}

pub(crate) async fn submit_walk(
    client: &mut JobsClient<Channel>,
    header: v1::SubmitHeader,
) -> Result<u64, Status> {
    send_submit(client, vec![v1::submit_request::Part::Header(header)]).await
}

pub(crate) async fn submit(client: &mut JobsClient<Channel>, roots: usize) -> u64 {
    submit_walk(client, header(roots))
        .await
        .expect("it is taken")
}

/// A job of one root that only carries paths.
pub(crate) async fn submit_paths(
    client: &mut JobsClient<Channel>,
    paths: Vec<v1::SubmitPaths>,
) -> Result<u64, Status> {
    let header = v1::SubmitHeader {
        walk: vec![false],
        ..header(1)
    };
    let mut parts = vec![v1::submit_request::Part::Header(header)];
    parts.extend(paths.into_iter().map(v1::submit_request::Part::Paths));
    send_submit(client, parts).await
}

pub(crate) fn matches(path: &str) -> v1::FileMatches {
    v1::FileMatches {
        path: path.into(),
        matched_lines: 1,
        lengths: vec![2],
        text: b"x\n".to_vec(),
        ..v1::FileMatches::default()
    }
}

/// Reads results to their end, and joins what was cut.
pub(crate) async fn end_of(
    results: &mut Streaming<v1::ResultsReply>,
) -> (Vec<v1::FileMatches>, v1::JobEnd) {
    let (mut files, mut joiner) = (Vec::new(), Joiner::default());
    loop {
        let reply = tokio::time::timeout(PATIENCE, results.message()).await;
        let reply = reply.expect("it comes").expect("the stream is whole");
        match reply.and_then(|reply| reply.event).expect("an event") {
            Event::Batch(batch) => {
                for piece in batch.files {
                    files.extend(joiner.push(piece).expect("the pieces fit"));
                }
            }
            Event::Progress(_) => {}
            Event::Finished(end) => {
                let after = results.message().await.expect("the stream is whole");
                assert_eq!(after, None);
                return (files, end);
            }
        }
    }
}

pub(crate) async fn nodes(master: &Master) -> Vec<v1::NodeStatus> {
    let request = v1::NodesRequest { protocol: PROTOCOL };
    let reply = client(master).await.nodes(request).await;
    reply.expect("it can always be asked").into_inner().nodes
}

pub(crate) fn lease(job: u64, shard: u64, attempt: u32) -> v1::Lease {
    v1::Lease {
        job,
        shard,
        attempt,
    }
}

pub(crate) fn progress(lease: v1::Lease) -> v1::LeaseProgress {
    v1::LeaseProgress {
        lease: Some(lease),
        ticks: 1,
        files: 0,
        bytes: 0,
    }
}

pub(crate) fn report(name: &str, boot: u8) -> v1::WorkerReport {
    v1::WorkerReport {
        protocol: PROTOCOL,
        name: name.to_owned(),
        boot_id: vec![boot; 16],
        version: "test".to_owned(),
        threads: 4,
        slots: 1,
        ..v1::WorkerReport::default()
    }
}

pub(crate) fn grants(orders: &v1::WorkerOrders) -> Vec<v1::Lease> {
    orders
        .grants
        .iter()
        .map(|grant| grant.lease.expect("a grant has a lease"))
        .collect()
}

/// A worker of one slot that does what the test says.
pub(crate) struct Worker {
    client: WorkersClient<Channel>,
    reports: mpsc::Sender<v1::WorkerReport>,
    orders: Streaming<v1::WorkerOrders>,
    first: v1::WorkerReport,
    /// Committed, so that a repeated grant is not taken for new.
    done: Vec<v1::Lease>,
}

impl Worker {
    pub(crate) async fn attach(master: &Master, name: &str, boot: u8) -> Self {
        Self::try_attach(master, report(name, boot))
            .await
            .expect("it attaches")
    }

    pub(crate) async fn try_attach(
        master: &Master,
        first: v1::WorkerReport,
    ) -> Result<Self, Status> {
        let mut client =
            WorkersClient::new(connect(master).await).max_encoding_message_size(usize::MAX);
        let (reports, receiver) = mpsc::channel(16);
        let sent = reports.try_send(first.clone());
        sent.expect("there is room for one");
        let orders = client.attach(ReceiverStream::new(receiver)).await?;
        Ok(Self {
            client,
            reports,
            orders: orders.into_inner(),
            first,
            done: Vec::new(),
        })
    }

    pub(crate) async fn report(&self, report: v1::WorkerReport) {
        let sent = self.reports.send(report).await;
        sent.expect("the stream is open");
    }

    /// The next orders for which `wanted` holds; it is reported that they were acted on.
    pub(crate) async fn orders_until(
        &mut self,
        wanted: impl Fn(&v1::WorkerOrders) -> bool,
    ) -> v1::WorkerOrders {
        loop {
            let orders = tokio::time::timeout(PATIENCE, self.orders.message()).await;
            let orders = orders.expect("they come").expect("the stream is whole");
            let orders = orders.expect("the stream is open");
            self.report(v1::WorkerReport {
                revision: orders.revision,
                leases: orders.held.iter().copied().map(progress).collect(),
                ..self.first.clone()
            })
            .await;
            if wanted(&orders) {
                return orders;
            }
        }
    }

    pub(crate) async fn orders_with_grants(&mut self) -> v1::WorkerOrders {
        let done = self.done.clone();
        self.orders_until(|orders| grants(orders).iter().any(|lease| !done.contains(lease)))
            .await
    }

    /// A new lease, if one comes within `time`.
    pub(crate) async fn next_lease(&mut self, time: Duration) -> Option<v1::Lease> {
        let orders = tokio::time::timeout(time, self.orders_with_grants());
        let orders = orders.await.ok()?;
        let new = |lease: &v1::Lease| !self.done.contains(lease);
        grants(&orders).into_iter().find(new)
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> Code {
        loop {
            let orders = tokio::time::timeout(PATIENCE, self.orders.message()).await;
            match orders.expect("the end comes") {
                Ok(Some(_)) => {}
                Ok(None) => return Code::Ok,
                Err(status) => return status.code(),
            }
        }
    }

    pub(crate) fn commit_header(&self, lease: v1::Lease) -> Part {
        Part::Header(v1::CommitHeader {
            protocol: PROTOCOL,
            lease: Some(lease),
            boot_id: self.first.boot_id.clone(),
            tally: Some(v1::Tally::default()),
            millis: 10,
        })
    }

    pub(crate) async fn send_commit(&self, parts: Vec<Part>) -> Result<CommitOutcome, Status> {
        let chunks = parts
            .into_iter()
            .map(|part| v1::CommitChunk { part: Some(part) });
        let stream = tokio_stream::iter(chunks.collect::<Vec<_>>());
        let reply = self.client.clone().commit(stream).await?;
        Ok(reply.into_inner().outcome())
    }

    /// A commit as a worker makes it: one batch a file, cut where it has to be.
    pub(crate) async fn commit(
        &mut self,
        lease: v1::Lease,
        files: Vec<v1::FileMatches>,
        remainder: Vec<v1::Task>,
    ) -> Result<CommitOutcome, Code> {
        let mut parts = vec![self.commit_header(lease)];
        for piece in files
            .into_iter()
            .flat_map(|file| cut(file, MAX_BATCH_BYTES))
        {
            parts.push(Part::Results(v1::ResultBatch {
                files: vec![piece],
                ..v1::ResultBatch::default()
            }));
        }
        parts.push(Part::Remainder(v1::CommitRemainder { tasks: remainder }));
        parts.push(Part::End(v1::CommitEnd {
            chunks: parts.len() as u64,
        }));
        self.done.push(lease);
        self.send_commit(parts)
            .await
            .map_err(|status| status.code())
    }
}
