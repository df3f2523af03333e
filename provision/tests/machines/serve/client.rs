//! HTTP as nodes speak it, byte by byte, so that nothing is hidden.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream
}

/// A connection over which several requests go.
pub(crate) struct Connection {
    stream: TcpStream,
    left: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            stream: connect(address),
            left: Vec::new(),
        }
    }

    /// One that comes from another address of this machine.
    pub(crate) fn from(address: Ipv4Addr, server: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from = SocketAddr::from((address, 0));
        socket
            .bind(&from.into())
            .expect("all of 127.0.0.0/8 is this machine");
        socket.connect(&server.into()).expect("it listens");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self {
            stream,
            left: Vec::new(),
        }
    }

    /// Whether nothing comes for so long.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("a time");
        let came = self.stream.read(&mut [0]);
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time");
        came.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Sends a request line, fields and a body, and reads the answer.
    pub(crate) fn ask(&mut self, line: &str, fields: &str, body: &[u8]) -> Answer {
        self.send(line, fields, body);
        self.answer(line.starts_with("HEAD "))
    }

    pub(crate) fn send(&mut self, line: &str, fields: &str, body: &[u8]) {
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!("{line} HTTP/1.1\r\nHost: master\r\n{length}{fields}\r\n");
        let all = [head.as_bytes(), body].concat();
        self.stream.write_all(&all).expect("it can be sent");
    }

    /// Reads an answer; one to HEAD has no body.
    pub(crate) fn answer(&mut self, is_head: bool) -> Answer {
        let end = loop {
            if let Some(end) = self.left.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            assert!(
                self.more() > 0,
                "the connection ended: {:?}",
                String::from_utf8_lossy(&self.left)
            );
        };
        let head = String::from_utf8(self.left.drain(..end + 4).collect()).expect("heads are text");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .expect("a status");
        let fields: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            fields,
            body: Vec::new(),
        };
        if is_head || status == 304 {
            return answer;
        }
        let length: usize = answer
            .field("content-length")
            .and_then(|text| text.parse().ok())
            .expect("a length");
        while self.left.len() < length {
            assert!(
                self.more() > 0,
                "the body ended after {} of {length} bytes",
                self.left.len()
            );
        }
        answer.body = self.left.drain(..length).collect();
        answer
    }

    fn more(&mut self) -> usize {
        let mut buffer = vec![0; 64 << 10];
        let count = self.stream.read(&mut buffer).expect("it answers in time");
        self.left.extend_from_slice(&buffer[..count]);
        count
    }

    /// Whether the other side has ended it.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.left.is_empty() && self.more() == 0
    }
}

/// What iPXE sends with each request.
pub(crate) const IPXE: &str = "User-Agent: iPXE/1.21.1+git-20220113.fbbdc3926-0ubuntu1\r\n";

/// Asks over a connection of its own, as iPXE does.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    ask_with(address, &format!("GET {path}"), IPXE)
}

/// Asks over a connection of its own, with these fields.
pub(crate) fn ask_with(address: SocketAddr, line: &str, fields: &str) -> Answer {
    let fields = format!("{fields}Connection: close\r\n");
    Connection::new(address).ask(line, &fields, b"")
}

/// The same as busybox, which asks while it waits.
pub(crate) fn get_as_wget(address: SocketAddr, path: &str) -> Answer {
    ask_with(address, &format!("GET {path}"), "User-Agent: Wget\r\n")
}

pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    Connection::new(address).ask(
        &format!("POST {path}"),
        "Connection: close\r\n",
        body.as_bytes(),
    )
}
