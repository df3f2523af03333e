//! The hub over gRPC: messages become hub calls, and what those return becomes messages.
//!
//! Nothing is decided here but what a message may be: sizes, versions, rules of the protocol. A message that
//! breaks one ends its stream with a status; it never ends the process, nor another stream.

mod commit;
mod jobs;
mod workers;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use regexctl_proto::domain::BadMessage;
use regexctl_proto::limits::{MAX_MESSAGE_BYTES, PROTOCOL};
use regexctl_proto::v1::jobs_server::JobsServer;
use regexctl_proto::v1::workers_server::WorkersServer;
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tonic::Status;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::hub::Hub;

/// The hub's ticks.
const TICK: Duration = Duration::from_millis(100);
/// HTTP/2 pings on a connection, and how long the answer may take before it counts as broken.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls at a time on one connection: a worker has one a lease, and its `Attach`.
const MAX_STREAMS: u32 = 256;
/// What a peer may send ahead: of one stream, and of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// How long a peer may leave a call half sent.
const IDLE: Duration = Duration::from_secs(60);
/// How long the streams may take to end when the master stops.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Serves `hub` on `listener` until `stop` resolves; then jobs fail with "master is stopping", workers' streams
/// end, and the connections are closed.
pub async fn serve(
    hub: Hub,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let jobs = JobsServer::new(jobs::JobsService::new(hub.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let workers = WorkersServer::new(workers::WorkersService::new(hub.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .add_service(jobs)
        .add_service(workers)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            async move {
                // An error says that `stopping` is gone, which is a stop as well.
                let _ = stopped.wait_for(|&stopped| stopped).await;
            },
        );
    tokio::pin!(server, stop);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = &mut server => return ended,
            _ = ticks.tick() => hub.tick(),
            () = &mut stop => break,
        }
    }
    hub.stop("master is stopping");
    stopping.send_replace(true);
    // A peer that does not read its last message does not keep the master.
    match tokio::time::timeout(STOP_GRACE, server).await {
        Ok(ended) => ended,
        Err(_) => Ok(()),
    }
}

/// Refuses a peer that speaks another version.
fn check_protocol(theirs: u32) -> Result<(), Status> {
    if theirs == PROTOCOL {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "protocol version {theirs}, but this master speaks {PROTOCOL}"
    )))
}

/// A message that breaks a rule.
fn refuse(error: &BadMessage) -> Status {
    Status::invalid_argument(error.to_string())
}

/// The next message of a stream that a peer is to send without long pauses.
async fn next_of<T>(stream: &mut tonic::Streaming<T>) -> Result<Option<T>, Status> {
    tokio::time::timeout(IDLE, stream.message())
        .await
        .map_err(|_| Status::deadline_exceeded(format!("nothing came for {IDLE:?}")))?
}

/// Where a peer is, for people.
fn address<T>(request: &tonic::Request<T>) -> String {
    request
        .remote_addr()
        .map_or_else(String::new, |address: SocketAddr| address.to_string())
}
