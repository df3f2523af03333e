//! Who answers DHCP on this machine: who has a socket on UDP port 67.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use super::{Interface, read, text};

/// Servers that read packets past the sockets, so that they may have none on port 67.
const KNOWN: [&str; 2] = ["dhcpd", "kea-dhcp4"];

/// The unit of the dnsmasq that `apply` sets up, and what it reads, below the store's directory.
const OWN_UNIT: &str = "regex-provision-dnsmasq.service";
const OWN_FILE: &str = "/current/files/dnsmasq/dnsmasq.conf";

/// Something that answers DHCP on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpServer {
    /// Number and name of the process; none if it belongs to somebody else.
    pub process: Option<(u32, String)>,
    /// The address it listens on; none if it was known by its name.
    pub address: Option<Ipv4Addr>,
    /// The interfaces that it was told to answer on; none if that is not known.
    pub interfaces: Vec<String>,
    /// Whether it is the one that `apply` has set up.
    pub is_own: bool,
}

impl DhcpServer {
    /// Whether it is in the way of a server for nodes behind an interface.
    pub fn is_conflict(&self, interface: &Interface) -> bool {
        let has_address = |address: Ipv4Addr| {
            address.is_unspecified()
                || address.is_broadcast()
                || interface.addresses.iter().any(|(own, _)| *own == address)
        };
        // dnsmasq takes a star at the end for any name that begins so.
        let is_it = |named: &String| match named.strip_suffix('*') {
            Some(begin) => interface.name.as_str().starts_with(begin),
            None => interface.name.as_str() == named,
        };
        !self.is_own
            && self.address.is_none_or(has_address)
            && (self.interfaces.is_empty() || self.interfaces.iter().any(is_it))
    }
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
    let mut seen = HashSet::new();
    for (address, inode) in sockets {
        let link = format!("socket:[{inode}]");
        let owner = processes.iter().find(|p| has_open(&p.files, &link));
        let process = owner.map(|owner| (owner.pid, owner.name.clone()));
        let told_of = owner.map(|owner| told(proc, owner)).unwrap_or_default();
        // A server may have a socket for each interface.
        if seen.insert((process.clone(), address)) {
            servers.push(DhcpServer {
                process,
                address: Some(address),
                interfaces: told_of.interfaces,
                is_own: told_of.is_own,
            });
        }
    }
    for process in processes {
        let known = KNOWN.contains(&process.name.as_str());
        let named =
            |server: &DhcpServer| server.process.as_ref().is_some_and(|p| p.0 == process.pid);
        if known && !servers.iter().any(named) {
            let Told { interfaces, is_own } = told(proc, &process);
            servers.push(DhcpServer {
                process: Some((process.pid, process.name)),
                address: None,
                interfaces,
                is_own,
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

/// What a server was told.
#[derive(Default)]
struct Told {
    interfaces: Vec<String>,
    is_own: bool,
}

/// Reads a server's command line and, of dnsmasq, the configuration that it names. What cannot be
/// read leaves the interfaces open.
fn told(proc: &Path, process: &Process) -> Told {
    let directory = proc.join(process.pid.to_string());
    let line = read(directory.join("cmdline"));
    let arguments: Vec<&str> = line.split('\0').skip(1).collect();
    let is_unit = read(directory.join("cgroup")).contains(OWN_UNIT);
    if process.name != "dnsmasq" {
        return Told::default();
    }
    let files = values(&arguments, "-C", "--conf-file");
    let mut interfaces = values(&arguments, "-i", "--interface");
    // Without a file named, what is in /etc counts.
    let files = match &files[..] {
        [] => vec!["/etc/dnsmasq.conf".to_owned()],
        files => files.to_vec(),
    };
    let is_own = is_unit || files.iter().any(|file| file.ends_with(OWN_FILE));
    let keyed = |text: &str, key: &str| -> Vec<String> {
        let value = |line: &str| {
            let (found, value) = line.split_once('=')?;
            (found.trim() == key).then(|| value.trim().to_owned())
        };
        text.lines().filter_map(value).collect()
    };
    let mut directories = values(&arguments, "-7", "--conf-dir");
    for text in files.iter().map(read) {
        interfaces.extend(keyed(&text, "interface"));
        directories.extend(keyed(&text, "conf-dir"));
    }
    for directory in directories {
        // Behind a comma stands which files of it are left out.
        let directory = directory.split(',').next().unwrap_or_default();
        let entries = fs::read_dir(directory).into_iter().flatten();
        for entry in entries.filter_map(Result::ok) {
            interfaces.extend(keyed(&read(entry.path()), "interface"));
        }
    }
    // An option may name several.
    let interfaces = interfaces
        .iter()
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    Told { interfaces, is_own }
}

/// The values of an option in its spellings: `-i x`, `-ix`, `--interface=x`, `--interface x`.
fn values(arguments: &[&str], short: &str, long: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let value = if *argument == short || *argument == long {
            rest.next().copied()
        } else if let Some(value) = argument.strip_prefix(long) {
            value.strip_prefix('=')
        } else if argument.starts_with("--") {
            None
        } else {
            argument.strip_prefix(short)
        };
        values.extend(value.map(str::to_owned));
    }
    values
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

    fn interface(name: &str, address: &str) -> Interface {
        Interface {
            name: name.parse().expect("a name"),
            kind: crate::machine::InterfaceKind::Bridge,
            has_carrier: true,
            addresses: vec![(address.parse().expect("an address"), 24)],
            gateway: None,
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn only_who_answers_on_the_interface_is_in_the_way() {
        let proc = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| proc.path().join(name).display().to_string();
        let write = |name: &str, text: &str| {
            let path = proc.path().join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("ours");
            fs::write(path, text).expect("ours");
        };
        // What libvirt starts; ours; one for a network interface; one for any; one on an address.
        write(
            "default.conf",
            "strict-order\nexcept-interface=lo\nbind-dynamic\ninterface=virbr0\n",
        );
        let files = "srv/provision/current/files/dnsmasq/dnsmasq.conf";
        write(files, "interface=eth1\n");
        write("empty.conf", &format!("conf-dir={}\n", path("more")));
        write("more/site.conf", "# interface=eth9\n");
        let lines = [
            format!("--conf-file={}", path("default.conf")),
            format!("--conf-file={}", path(files)),
            format!("-C\0{}\0-ieth1\0--interface=vnet*", path("empty.conf")),
            format!(
                "--conf-file\0{}\0--interface-name=a,eth1",
                path("empty.conf")
            ),
            format!("-C{}\0--bind-interfaces", path("empty.conf")),
        ];
        let mut udp = "  sl\n".to_owned();
        for (at, line) in lines.iter().enumerate() {
            let pid = at + 1;
            let address = if pid == 5 { "0101000A" } else { "00000000" };
            udp.extend([format!(
                "1: {address}:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 {pid} 2 0 0\n"
            )]);
            write(&format!("{pid}/comm"), "dnsmasq\n");
            write(&format!("{pid}/cmdline"), &format!("dnsmasq\0{line}\0"));
            fs::create_dir_all(proc.path().join(format!("{pid}/fd"))).expect("ours");
            symlink(
                format!("socket:[{pid}]"),
                proc.path().join(format!("{pid}/fd/4")),
            )
            .expect("ours");
        }
        write("net/udp", &udp);
        let servers = running(proc.path());
        let conflicts = |interface: &Interface| {
            let conflicts = servers
                .iter()
                .filter(|server| server.is_conflict(interface));
            let pid = |server: &DhcpServer| server.process.as_ref().map_or(0, |process| process.0);
            conflicts.map(pid).collect::<Vec<_>>()
        };
        assert_eq!(conflicts(&interface("eth1", "10.0.0.1")), [3, 4]);
        assert_eq!(conflicts(&interface("eth2", "10.0.1.1")), [4, 5]);
        assert_eq!(conflicts(&interface("virbr0", "10.0.2.1")), [1, 4]);
        assert_eq!(conflicts(&interface("vnet7", "10.0.3.1")), [3, 4]);
    }

    #[test]
    fn without_proc_nothing_runs() {
        assert_eq!(running(Path::new("/nonexistent")), []);
    }
}
