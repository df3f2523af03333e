//! Who answers DHCP on this machine: who has a socket on UDP port 67.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use super::{read, text};

/// Servers that read packets past the sockets, so that they may have none on port 67.
const KNOWN: [&str; 2] = ["dhcpd", "kea-dhcp4"];

/// Something that answers DHCP on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpServer {
    /// Number and name of the process; none if it belongs to somebody else.
    pub process: Option<(u32, String)>,
    /// The address it listens on; none if it was known by its name.
    pub address: Option<Ipv4Addr>,
}

impl fmt::Display for DhcpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, name)) => write!(f, "{name} (process {pid})")?,
            None => f.write_str("a process of another user")?,
        }
        match self.address {
            Some(address) => write!(f, " on UDP {address}:67"),
            None => Ok(()),
        }
    }
}

/// What runs, by the sockets below a `/proc`.
pub(super) fn running(proc: &Path) -> Vec<DhcpServer> {
    let sockets = sockets(&read(proc.join("net/udp")));
    let processes = processes(proc);
    let mut servers = Vec::new();
    let mut told = HashSet::new();
    for (address, inode) in sockets {
        let link = format!("socket:[{inode}]");
        let owner = processes.iter().find(|p| has_open(&p.files, &link));
        let process = owner.map(|owner| (owner.pid, owner.name.clone()));
        // A server may have a socket for each interface.
        if told.insert((process.clone(), address)) {
            let address = Some(address);
            servers.push(DhcpServer { process, address });
        }
    }
    for process in processes {
        let known = KNOWN.contains(&process.name.as_str());
        let named =
            |server: &DhcpServer| server.process.as_ref().is_some_and(|p| p.0 == process.pid);
        if known && !servers.iter().any(named) {
            let process = Some((process.pid, process.name));
            servers.push(DhcpServer {
                process,
                address: None,
            });
        }
    }
    servers
}

/// Address and inode of each UDP socket on port 67 (0x43).
fn sockets(udp: &str) -> Vec<(Ipv4Addr, String)> {
    let socket = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (address, port) = words.get(1)?.split_once(':')?;
        let inode = (*words.get(9)?).to_owned();
        (port == "0043").then_some((text::address(address)?, inode))
    };
    udp.lines().skip(1).filter_map(socket).collect()
}

struct Process {
    pid: u32,
    name: String,
    /// The directory of its open files.
    files: std::path::PathBuf,
}

fn processes(proc: &Path) -> Vec<Process> {
    let Ok(entries) = fs::read_dir(proc) else {
        return Vec::new();
    };
    let process = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let name = read(entry.path().join("comm")).trim().to_owned();
        let files = entry.path().join("fd");
        Some(Process { pid, name, files })
    };
    let mut processes: Vec<_> = entries.filter_map(|entry| process(entry.ok()?)).collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

fn has_open(files: &Path, link: &str) -> bool {
    let Ok(entries) = fs::read_dir(files) else {
        return false;
    };
    let is_it =
        |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(link));
    entries.filter_map(Result::ok).any(is_it)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_server_is_named_by_its_socket_or_its_name() {
        let proc = tempfile::tempdir().expect("a temporary directory");
        let write = |path: &str, text: &str| {
            let path = proc.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("ours");
            fs::write(path, text).expect("ours");
        };
        write(
            "net/udp",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             10: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 111 2 0 0\n\
             11: 0100000A:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 222 2 0 0\n\
             12: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 333 2 0 0\n",
        );
        write("7/comm", "dnsmasq\n");
        fs::create_dir_all(proc.path().join("7/fd")).expect("ours");
        symlink("socket:[111]", proc.path().join("7/fd/4")).expect("ours");
        symlink("socket:[333]", proc.path().join("7/fd/5")).expect("ours");
        write("8/comm", "dhclient\n");
        write("9/comm", "kea-dhcp4\n");
        write("self/comm", "regex-provision\n");
        let told: Vec<_> = running(proc.path())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "dnsmasq (process 7) on UDP 0.0.0.0:67",
                "a process of another user on UDP 10.0.0.1:67",
                "kea-dhcp4 (process 9)",
            ]
        );
    }

    #[test]
    fn without_proc_nothing_runs() {
        assert_eq!(running(Path::new("/nonexistent")), []);
    }
}
