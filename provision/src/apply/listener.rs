//! Who listens at an address: a service is only up when it is the one that answers there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// What `/proc/net/tcp` says of a socket that listens.
const LISTENS: &str = "0A";

/// A socket that takes the connections to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Socket {
    inode: u64,
}

/// The socket that listens at an address: the one with just this address, else one with any.
pub(super) fn at(address: SocketAddr) -> io::Result<Option<Socket>> {
    let mut tables = String::new();
    for table in ["tcp", "tcp6"] {
        match fs::read_to_string(Path::new("/proc/net").join(table)) {
            Ok(text) => tables.push_str(&text),
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let listening = tables.lines().filter_map(listener);
    let mut fitting: Vec<_> = listening
        .filter(|(at, _)| {
            at.port() == address.port() && (at.ip() == address.ip() || at.ip().is_unspecified())
        })
        .collect();
    fitting.sort_by_key(|(at, _)| at.ip() != address.ip());
    Ok(fitting.first().map(|(_, socket)| *socket))
}

/// The address and the socket of a line of `/proc/net/tcp` or `tcp6`, if it listens.
fn listener(line: &str) -> Option<(SocketAddr, Socket)> {
    let mut words = line.split_whitespace();
    let (ip, port) = words.nth(1)?.split_once(':')?;
    if words.nth(1)? != LISTENS {
        return None;
    }
    let inode = words.nth(5)?.parse().ok()?;
    // Words of 32 bits, each in the order of this machine.
    let mut bytes = Vec::new();
    for at in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(ip, port), Socket { inode }))
}

/// The processes of a unit: its main one, and those of its control group.
pub(super) fn processes(main: u32, group: &str) -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    if main != 0 {
        all.insert(main);
    }
    if !group.is_empty() {
        let group = Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/'));
        for entry in walkdir::WalkDir::new(group).into_iter().flatten() {
            if entry.file_name() == "cgroup.procs" {
                // A group that is gone meanwhile has no processes.
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                all.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            }
        }
    }
    all
}

impl Socket {
    /// Whether one of these processes has it.
    pub(super) fn is_of(self, processes: &BTreeSet<u32>) -> bool {
        processes.iter().any(|process| self.is_open_in(*process))
    }

    fn is_open_in(self, process: u32) -> bool {
        let link = PathBuf::from(format!("socket:[{}]", self.inode));
        // Processes end, and others than root may not look into all of them.
        let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else {
            return false;
        };
        open.flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|target| target == link))
    }

    /// Who has it, for people.
    pub(super) fn holder(self) -> String {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let Some(process) = processes.find(|process| self.is_open_in(*process)) else {
            return "the kernel, or a process that cannot be seen,".into();
        };
        let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        format!("process {process} ({})", name.trim())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};
    use std::{process, thread};

    use super::*;

    #[test]
    fn a_listener_is_found_with_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let socket = at(address).expect("it can be read").expect("it listens");
        assert!(socket.is_of(&processes(process::id(), "")));
        assert!(!socket.is_of(&processes(1, "")));
        assert!(
            socket
                .holder()
                .starts_with(&format!("process {} (", process::id())),
            "{}",
            socket.holder()
        );
        drop(listener);
        // A program that another test begins to run has its files until it is the program.
        let until = Instant::now() + Duration::from_secs(60);
        while at(address).expect("it can be read").is_some() {
            assert!(Instant::now() < until, "it listens still");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn any_address_stands_for_each() {
        for bind in ["0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(bind) else {
                continue;
            };
            let port = listener.local_addr().expect("it has one").port();
            let socket = at(([127, 0, 0, 1], port).into()).expect("it can be read");
            let socket = socket.expect("it listens");
            assert!(socket.is_of(&processes(process::id(), "")), "{bind}");
        }
    }
}
