//! One connection: artifacts are sent here, everything else is handed to hyper.
//!
//! An artifact goes from the page cache to the socket (`sendfile(2)`), so what a thousand nodes
//! fetch at once takes no memory here, and on a network card a third less processor time. hyper cannot do
//! that; and this part is small enough to do it right: a request without a body, an answer with a length.
//! A connection that was handed to hyper ends with that answer.
//!
//! Invariant: no client holds a connection for long without doing something: each wait has a limit.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::Request;
use bytes::{Buf as _, Bytes, BytesMut};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::net::SendFlags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tower_service::Service as _;

use super::answer::{answer, damaged};
use super::app::App;
use super::head::{Look, MAX_HEAD_BYTES, Wanted, look};
use super::joined::Joined;
use crate::status::Event;

/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(30);

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);

/// How long a request may take that is not for an artifact, with its answer.
const OTHER: Duration = Duration::from_secs(60);

/// How long a client may take nothing of an artifact.
const STALL: Duration = Duration::from_secs(30);

/// In each such time ...
const PACE_TIME: Duration = Duration::from_secs(60);

/// ... it must take so much: far below what any loader does.
const PACE_BYTES: u64 = 256 << 10;

/// The most that is sent at once: one client does not keep a thread from others.
const CHUNK: u64 = 512 << 10;

/// The memory that hyper may take for what a client sends, and for an answer in the making.
const BUFFER: usize = 64 << 10;

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) Ipv4Addr);

impl Peer {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address),
            // Nodes boot over IPv4.
            IpAddr::V6(_) => Self(Ipv4Addr::UNSPECIFIED),
        }
    }
}

/// An artifact that is there.
pub(super) enum Source {
    File(File, u64),
    Memory(Bytes),
    /// It is not what it should be, and why that is known.
    Damaged(String),
}

impl Source {
    fn length(&self) -> u64 {
        match self {
            Self::File(_, length) => *length,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Damaged(_) => 0,
        }
    }
}

/// Serves a connection to its end. Errors are those of the client, and nobody's business.
pub(super) async fn serve(
    mut stream: TcpStream,
    peer: Peer,
    app: Arc<App>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    loop {
        let next = tokio::select! {
            next = next(&mut stream, &mut buffer) => next?,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        match next {
            Look::Partial => return Ok(()),
            Look::Other => {
                let stream = Joined {
                    first: buffer.freeze(),
                    stream,
                };
                return timeout(OTHER, other(stream, peer, router)).await?;
            }
            Look::Artifact(wanted, length) => {
                buffer.advance(length);
                artifact(&mut stream, peer, &app, &wanted).await?;
                if !wanted.keep {
                    return stream.shutdown().await;
                }
            }
        }
    }
}

/// Reads the head of the next request into the buffer. `Partial` when the connection has ended.
async fn next(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Look> {
    if buffer.is_empty() {
        // Nothing is kept of a connection that waits.
        *buffer = BytesMut::new();
        timeout(IDLE, stream.readable()).await??;
        buffer.reserve(1024);
    }
    let read = async {
        loop {
            match look(buffer) {
                Look::Partial if buffer.len() < MAX_HEAD_BYTES => {}
                found => return Ok(found),
            }
            if stream.read_buf(buffer).await? == 0 {
                return Ok(Look::Partial);
            }
        }
    };
    timeout(HEAD, read).await?
}

/// One request and its answer, by hyper.
async fn other(stream: Joined, peer: Peer, router: Router) -> io::Result<()> {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(peer);
        // A router is always ready.
        router.clone().call(request)
    });
    let serve = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    serve.await.map_err(io::Error::other)
}

async fn artifact(
    stream: &mut TcpStream,
    peer: Peer,
    app: &Arc<App>,
    wanted: &Wanted,
) -> io::Result<()> {
    let source = app.artifact(wanted.digest).await?;
    if let Some(Source::Damaged(problem)) = &source {
        let head = damaged(wanted, problem, SystemTime::now());
        return send_head(stream, head.as_bytes(), SendFlags::empty()).await;
    }
    let length = source.as_ref().map(Source::length);
    let answer = answer(wanted, length, SystemTime::now());
    let body = answer.body.clone();
    match (source, answer.body) {
        (Some(Source::File(file, _)), Some(part)) => {
            send_head(stream, answer.head.as_bytes(), SendFlags::MORE).await?;
            send_file(stream, &file, part).await?;
        }
        (Some(Source::Memory(bytes)), Some(part)) => {
            let mut all = BytesMut::from(answer.head.as_bytes());
            // What is in memory is small.
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            all.extend_from_slice(&bytes[place(part.start)..place(part.end)]);
            timeout(STALL, stream.write_all(&all)).await??;
        }
        _ => send_head(stream, answer.head.as_bytes(), SendFlags::empty()).await?,
    }
    if body.is_some_and(|part| Some(part.end) == length) {
        app.hear(Event::Fetched {
            address: peer.0,
            digest: wanted.digest,
        });
    }
    Ok(())
}

/// Sends the head of an answer; `MORE` if the body follows, so that both leave in one packet.
async fn send_head(stream: &TcpStream, mut head: &[u8], flags: SendFlags) -> io::Result<()> {
    while !head.is_empty() {
        let send = || {
            Ok(rustix::net::send(
                stream,
                head,
                flags | SendFlags::NOSIGNAL,
            )?)
        };
        let sent = timeout(STALL, stream.async_io(Interest::WRITABLE, send)).await??;
        head = &head[sent..];
    }
    Ok(())
}

async fn send_file(stream: &TcpStream, file: &File, part: Range<u64>) -> io::Result<()> {
    let mut at = part.start;
    let (mut pace_since, mut pace_at) = (Instant::now(), at);
    while at < part.end {
        let count = usize::try_from((part.end - at).min(CHUNK)).unwrap_or(usize::MAX);
        let send = || Ok(rustix::fs::sendfile(stream, file, Some(&mut at), count)?);
        if timeout(STALL, stream.async_io(Interest::WRITABLE, send)).await?? == 0 {
            // An artifact never changes; a damaged disk does.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if pace_since.elapsed() > PACE_TIME {
            if at - pace_at < PACE_BYTES {
                return Err(io::ErrorKind::TimedOut.into());
            }
            (pace_since, pace_at) = (Instant::now(), at);
        }
        tokio::task::consume_budget().await;
    }
    Ok(())
}
