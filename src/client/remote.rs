//! A master somewhere else, over gRPC.

use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::cut::{JoinError, Joiner};
use regexctl_proto::limits::{MAX_MESSAGE_BYTES, PROTOCOL};
use regexctl_proto::peer::{causes, other_version};
use regexctl_proto::v1;
use regexctl_proto::v1::jobs_client::JobsClient;
use regexctl_proto::v1::results_reply::Event;
use regexctl_proto::v1::submit_request::Part;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use super::{Canceller, Job};
use crate::job::Request;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// HTTP/2 pings while the stream is silent, and how long their answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the end of a cancelled job is waited for.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes of paths in one message.
const PATHS_BYTES: usize = 256 << 10;

/// Why a job cannot go on, or not begin, on a master.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It is not a URL.
    #[error("{url} is not a URL of a master; give http://HOST:PORT")]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        source: tonic::transport::Error,
    },
    /// Nobody answers.
    #[error("cannot reach the master at {url}: {why}; is regex-master serving there?")]
    Connect {
        /// Where.
        url: String,
        /// All that the transport says of it.
        why: String,
    },
    /// It speaks another version of the protocol.
    #[error(
        "the master at {url} refuses this client: {message}; install the same version of regexctl on both"
    )]
    Version {
        /// Where.
        url: String,
        /// In its words.
        message: String,
    },
    /// It does not take the job.
    #[error("the master at {url} refuses the job: {message}")]
    Refused {
        /// Where.
        url: String,
        /// In its words.
        message: String,
    },
    /// It went away in the middle.
    #[error(
        "the master at {url} went away: {message}; the results so far are not all there are, submit the job again"
    )]
    Lost {
        /// Where.
        url: String,
        /// What the connection says.
        message: String,
    },
    /// It does not keep the rules of the protocol.
    #[error("the master at {url} sends what makes no sense")]
    Protocol {
        /// Where.
        url: String,
        /// What.
        source: JoinError,
    },
    /// No runtime.
    #[error("cannot start the network runtime")]
    Runtime(#[from] std::io::Error),
}

/// A connection to a master.
struct Master {
    url: String,
    runtime: Runtime,
    client: JobsClient<Channel>,
}

impl Master {
    fn connect(url: &str) -> Result<Self, RemoteError> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|source| RemoteError::Url {
                url: url.to_owned(),
                source,
            })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let channel =
            runtime
                .block_on(endpoint.connect())
                .map_err(|error| RemoteError::Connect {
                    url: url.to_owned(),
                    why: causes(&error),
                })?;
        let client = JobsClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self {
            url: url.to_owned(),
            runtime,
            client,
        })
    }

    /// An answer that is not a result.
    fn refused(&self, status: &tonic::Status) -> RemoteError {
        let url = self.url.clone();
        if let Some(message) = other_version(status) {
            return RemoteError::Version { url, message };
        }
        let message = status.message().to_owned();
        match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => {
                RemoteError::Lost { url, message }
            }
            _ => RemoteError::Refused { url, message },
        }
    }
}

/// The workers of a master.
pub fn nodes(url: &str) -> Result<Vec<v1::NodeStatus>, RemoteError> {
    let mut master = Master::connect(url)?;
    let request = v1::NodesRequest { protocol: PROTOCOL };
    let reply = master.runtime.block_on(master.client.nodes(request));
    match reply {
        Ok(reply) => Ok(reply.into_inner().nodes),
        Err(status) => Err(master.refused(&status)),
    }
}

/// A job that runs on a master's workers.
pub struct Remote {
    master: Master,
    job: u64,
    stream: Streaming<v1::ResultsReply>,
    joiner: Joiner,
    cancel: Arc<Notify>,
    /// Cancelled: what is still to come is waited for only so long.
    cancelled: bool,
    over: bool,
}

impl Remote {
    /// Connects and submits.
    pub fn submit(url: &str, request: &Request) -> Result<Self, RemoteError> {
        let mut master = Master::connect(url)?;
        let messages = submission(request);
        let submitted = master.runtime.block_on(async {
            let reply = master.client.submit(tokio_stream::iter(messages)).await?;
            let job = reply.into_inner().job;
            let stream = master.client.results(v1::ResultsRequest { job }).await?;
            Ok((job, stream.into_inner()))
        });
        match submitted {
            Ok((job, stream)) => Ok(Self {
                master,
                job,
                stream,
                joiner: Joiner::default(),
                cancel: Arc::new(Notify::new()),
                cancelled: false,
                over: false,
            }),
            Err(status) => Err(master.refused(&status)),
        }
    }

    /// The next message, or `None` when the job is to be cancelled first.
    fn message(&mut self) -> Option<Result<Option<v1::ResultsReply>, tonic::Status>> {
        let (stream, cancel, cancelled) = (&mut self.stream, &self.cancel, self.cancelled);
        self.master.runtime.block_on(async {
            if cancelled {
                let message = tokio::time::timeout(CANCEL_TIMEOUT, stream.message()).await;
                return Some(message.unwrap_or(Ok(None)));
            }
            tokio::select! {
                biased;
                () = cancel.notified() => None,
                message = stream.message() => Some(message),
            }
        })
    }

    fn send_cancel(&mut self) {
        self.cancelled = true;
        let request = v1::CancelRequest { job: self.job };
        let cancel = self.master.client.cancel(request);
        // Should it not arrive, the master notices that nobody reads the results.
        let _ = self
            .master
            .runtime
            .block_on(async { tokio::time::timeout(CANCEL_TIMEOUT, cancel).await });
    }

    /// Joins what was cut for the wire.
    fn joined(&mut self, mut batch: v1::ResultBatch) -> Result<v1::ResultBatch, JoinError> {
        let mut files = Vec::with_capacity(batch.files.len());
        for piece in batch.files {
            files.extend(self.joiner.push(piece)?);
        }
        batch.files = files;
        Ok(batch)
    }
}

impl Job for Remote {
    fn next(&mut self) -> Result<Option<Event>, RemoteError> {
        if self.over {
            return Ok(None);
        }
        loop {
            let Some(message) = self.message() else {
                self.send_cancel();
                continue;
            };
            let url = || self.master.url.clone();
            let event = match message {
                Ok(Some(reply)) => reply.event,
                Ok(None) if self.cancelled => {
                    self.over = true;
                    return Ok(Some(Event::Finished(v1::JobEnd {
                        outcome: v1::JobOutcome::Cancelled.into(),
                        ..v1::JobEnd::default()
                    })));
                }
                Ok(None) => {
                    let message = "it ended the stream before the job".to_owned();
                    return Err(RemoteError::Lost {
                        url: url(),
                        message,
                    });
                }
                Err(status) => return Err(self.master.refused(&status)),
            };
            match event {
                // A kind of event that this version does not know.
                None => {}
                Some(Event::Batch(batch)) => {
                    let joined = self.joined(batch);
                    let url = self.master.url.clone();
                    return joined
                        .map(|batch| Some(Event::Batch(batch)))
                        .map_err(|source| RemoteError::Protocol { url, source });
                }
                Some(Event::Finished(end)) => {
                    self.over = true;
                    return Ok(Some(Event::Finished(end)));
                }
                Some(progress) => return Ok(Some(progress)),
            }
        }
    }

    fn canceller(&self) -> Canceller {
        let cancel = Arc::clone(&self.cancel);
        Canceller::new(move || cancel.notify_one())
    }
}

/// The header, then the paths.
fn submission(request: &Request) -> Vec<v1::SubmitRequest> {
    let mut parts = vec![Part::Header(v1::SubmitHeader {
        protocol: PROTOCOL,
        spec: Some(request.spec.clone()),
        walk: request.walk.clone(),
    })];
    for named in &request.paths {
        let mut open = Vec::new();
        let mut bytes = 0;
        for path in &named.paths {
            bytes += path.len() + 8;
            open.push(path.clone());
            if bytes >= PATHS_BYTES {
                parts.push(paths(named.root, &mut open));
                bytes = 0;
            }
        }
        if !open.is_empty() {
            parts.push(paths(named.root, &mut open));
        }
    }
    parts
        .into_iter()
        .map(|part| v1::SubmitRequest { part: Some(part) })
        .collect()
}

fn paths(root: u32, open: &mut Vec<Vec<u8>>) -> Part {
    Part::Paths(v1::SubmitPaths {
        root,
        paths: std::mem::take(open),
    })
}
