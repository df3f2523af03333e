//! Clients that fetch an artifact over and over and keep nothing of it.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use regexctl_provision::store::Digest;
use rustix::net::{RecvFlags, recv};

use crate::serve::client::{connect, get};

/// What a client reads at once. One that copies stays within a core's own cache.
const RECEIVE: usize = 256 << 10;

/// More than any head has.
const HEAD: usize = 4096;

/// What clients do with what arrives. Both wait in `recv(2)` and use one buffer over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// `MSG_TRUNC`: the kernel takes the bytes out of the socket, and copies none of them.
    ThrowAway,
    /// They are copied into the buffer.
    Copy,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThrowAway => "throw away (MSG_TRUNC)",
            Self::Copy => "copy",
        })
    }
}

/// Panics unless what comes has the digest that it was asked for by.
pub(crate) fn check(server: SocketAddr, digest: Digest) {
    let answer = get(server, &format!("/artifact/{digest}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(Digest::of(&answer.body), digest, "something else was sent");
}

/// Has so many clients fetch an artifact of so many bytes so many times each, all beginning at once, each over one
/// connection. Gives how long it took until the last had all.
pub(crate) fn all(
    server: SocketAddr,
    digest: Digest,
    bytes: usize,
    clients: usize,
    fetches: usize,
    reading: Reading,
) -> Duration {
    let begin = Barrier::new(clients + 1);
    thread::scope(|scope| {
        let start = |_| {
            scope.spawn(|| {
                let mut stream = connect(server);
                let mut buffer = vec![0; RECEIVE];
                begin.wait();
                for _ in 0..fetches {
                    fetch(&mut stream, digest, bytes, &mut buffer, reading);
                }
            })
        };
        let threads: Vec<_> = (0..clients).map(start).collect();
        begin.wait();
        let began = Instant::now();
        for thread in threads {
            thread.join().expect("every client gets all");
        }
        began.elapsed()
    })
}

fn fetch(
    stream: &mut TcpStream,
    digest: Digest,
    bytes: usize,
    buffer: &mut [u8],
    reading: Reading,
) {
    let request = format!("GET /artifact/{digest} HTTP/1.1\r\nHost: master\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("it can be sent");
    let mut left = bytes - head(stream, bytes, &mut buffer[..HEAD]);
    while left > 0 {
        let most = left.min(buffer.len());
        let count = match reading {
            Reading::ThrowAway => recv(&*stream, &mut buffer[..most], RecvFlags::TRUNC)
                .map(|(_, count)| count)
                .expect("it can be received"),
            Reading::Copy => stream
                .read(&mut buffer[..most])
                .expect("it can be received"),
        };
        assert!(count > 0, "the body ended {left} bytes before its end");
        left -= count;
    }
}

/// Reads the head of an answer, which is to have a body of so many bytes. Gives how much of the body came with it.
fn head(stream: &mut TcpStream, bytes: usize, buffer: &mut [u8]) -> usize {
    let mut have = 0;
    let end = loop {
        let count = stream
            .read(&mut buffer[have..])
            .expect("it can be received");
        assert!(count > 0, "the head ended, or is too long");
        have += count;
        let ends = |bytes: &[u8]| bytes == b"\r\n\r\n";
        if let Some(end) = buffer[..have].windows(4).position(ends) {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&buffer[..end]);
    let length = format!("\r\nContent-Length: {bytes}\r\n");
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.contains(&length),
        "{text}"
    );
    have - end
}
