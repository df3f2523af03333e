//! Whether the master's services answer, each asked as a node asks it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Duration;

use super::{Finding, Level};
use crate::model::{Cluster, ExportServer, NfsVersion, RootMode, UsrMode};
use crate::render::needed_loaders;

/// Well-known ports.
const TFTP_PORT: u16 = 69;
const NTP_PORT: u16 = 123;
const NFS_PORT: u16 = 2049;
const RPCBIND_PORT: u16 = 111;

pub(super) fn ask(cluster: &Cluster, wait: Duration) -> Vec<Finding> {
    let master = cluster.network.master.get();
    let mut findings = vec![boot_endpoint(cluster, wait), regex_master(cluster, wait)];
    // Those that nodes are sent to, and what they load themselves: whoever gives addresses, they are fetched from this master.
    findings.extend(needed_loaders(cluster).map(|needed| loader(master, needed.name, wait)));
    if cluster.time.enabled {
        findings.push(time(master, wait));
    }
    let kernel = serves(cluster, &ExportServer::Kernel);
    let roots = cluster
        .nodes()
        .iter()
        .any(|node| node.settings.root == RootMode::Nfs || node.settings.usr == UsrMode::Nfs);
    if kernel || roots || serves(cluster, &ExportServer::Ganesha) {
        findings.push(port(
            "nfs",
            master,
            NFS_PORT,
            "start the NFS server; `regex-provision apply` sets it up",
            wait,
        ));
    }
    let v3 = cluster.exports.values().any(|export| {
        export.version == NfsVersion::V3 && !matches!(export.server, ExportServer::External(_))
    });
    if v3 {
        findings.push(port(
            "nfs",
            master,
            RPCBIND_PORT,
            "start rpcbind, which mounts of NFS version 3 ask first",
            wait,
        ));
    }
    for export in cluster.exports.values() {
        let is_ours = !matches!(export.server, ExportServer::External(_));
        if is_ours && !export.path.as_path().is_dir() {
            findings.push(Finding::bad(
                "nfs",
                Level::Problem,
                format!(
                    "the export {} is not a directory here: {}",
                    export.name, export.path
                ),
                "mount what belongs there, or correct `path` in its section",
            ));
        }
    }
    if kernel && !std::path::Path::new("/proc/fs/nfsd").exists() {
        findings.push(Finding::bad(
            "nfs",
            Level::Problem,
            "the kernel of this machine has no NFS server (module nfsd)",
            "run: modprobe nfsd; or write server = \"ganesha\" into the export",
        ));
    }
    findings
}

fn serves(cluster: &Cluster, server: &ExportServer) -> bool {
    cluster
        .exports
        .values()
        .any(|export| export.server == *server)
}

/// Asks for a file, reads its first block, and says that this is enough.
fn loader(master: Ipv4Addr, name: &str, wait: Duration) -> Finding {
    const TOPIC: &str = "tftp";
    match tftp(master, name, wait) {
        Ok(Tftp::Data) => Finding::fine(TOPIC, format!("{name} is served")),
        Ok(Tftp::Error(words)) => Finding::bad(
            TOPIC,
            Level::Problem,
            format!("{name} is not served: {words}"),
            "run `regex-provision apply`; dnsmasq's user must be able to read the TFTP directory and all above it",
        ),
        Err(error) => Finding::bad(
            TOPIC,
            Level::Problem,
            format!(
                "nobody answers at {master}:{TFTP_PORT} over UDP: {}",
                heard(&error)
            ),
            "is dnsmasq running? `regex-provision apply` or `serve` starts it",
        ),
    }
}

enum Tftp {
    Data,
    Error(String),
}

fn tftp(server: Ipv4Addr, name: &str, wait: Duration) -> io::Result<Tftp> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(wait))?;
    let mut request = vec![0, 1];
    request.extend_from_slice(name.as_bytes());
    request.extend_from_slice(b"\0octet\0");
    socket.send_to(&request, (server, TFTP_PORT))?;
    let mut buffer = [0; 1024];
    let (len, from) = socket.recv_from(&mut buffer)?;
    match buffer[..len] {
        [0, 3, ..] => {
            // "Enough": so that the server does not send it again and again.
            socket.send_to(b"\0\x05\0\0enough\0", from)?;
            Ok(Tftp::Data)
        }
        [0, 5, _, _, ref words @ ..] => {
            let words = String::from_utf8_lossy(words);
            Ok(Tftp::Error(words.trim_end_matches('\0').to_owned()))
        }
        _ => Err(io::Error::new(
            ErrorKind::InvalidData,
            "the answer is not TFTP",
        )),
    }
}

fn boot_endpoint(cluster: &Cluster, wait: Duration) -> Finding {
    const TOPIC: &str = "http";
    let network = &cluster.network;
    let (master, port) = (network.master.get(), network.http_port);
    let fix = "start it with `regex-provision serve`, or let `regex-provision apply` do it";
    match http(master, port, "/boot.ipxe", wait) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") && answer.contains("#!ipxe") => {
            Finding::fine(
                TOPIC,
                format!("the boot endpoint answers at {}", network.http_url()),
            )
        }
        Ok(answer) => Finding::bad(
            TOPIC,
            Level::Problem,
            format!(
                "what answers at {master}:{port} is not the boot endpoint: {:?}",
                answer.lines().next().unwrap_or_default()
            ),
            "stop what holds the port, or write another `http-port` into [cluster]",
        ),
        Err(error) => Finding::bad(
            TOPIC,
            Level::Problem,
            format!(
                "nobody answers at {master}:{port} over TCP: {}",
                heard(&error)
            ),
            fix,
        ),
    }
}

/// An error in words: what the system says of an answer that did not come in time is not one.
fn heard(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

fn connect(server: Ipv4Addr, port: u16, wait: Duration) -> io::Result<TcpStream> {
    let address = SocketAddr::V4(SocketAddrV4::new(server, port));
    let stream = TcpStream::connect_timeout(&address, wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    Ok(stream)
}

/// The beginning of an answer.
fn http(server: Ipv4Addr, port: u16, path: &str, wait: Duration) -> io::Result<String> {
    const MAX_ANSWER_BYTES: u64 = 16 << 10;
    let mut stream = connect(server, port, wait)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {server}:{port}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn regex_master(cluster: &Cluster, wait: Duration) -> Finding {
    let network = &cluster.network;
    let fix = "start it: regex-master serve; `regex-provision apply` installs its unit";
    port(
        "master",
        network.master.get(),
        network.master_port,
        fix,
        wait,
    )
}

fn port(
    topic: &'static str,
    server: Ipv4Addr,
    port: u16,
    fix: &'static str,
    wait: Duration,
) -> Finding {
    match connect(server, port, wait) {
        Ok(_) => Finding::fine(topic, format!("{server}:{port} answers over TCP")),
        Err(error) => Finding::bad(
            topic,
            Level::Problem,
            format!(
                "nobody answers at {server}:{port} over TCP: {}",
                heard(&error)
            ),
            fix,
        ),
    }
}

/// Asks for the time, as a node's chrony does.
fn time(master: Ipv4Addr, wait: Duration) -> Finding {
    const TOPIC: &str = "time";
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(wait))?;
        // Version 4, a client.
        let mut request = [0; 48];
        request[0] = 0x23;
        socket.send_to(&request, (master, NTP_PORT))?;
        let mut answer = [0; 48];
        let len = socket.recv(&mut answer)?;
        Ok::<_, io::Error>((len, answer))
    };
    match ask() {
        Ok((48, answer)) if answer[0] & 7 == 4 && answer[0] >> 6 != 3 => Finding::fine(
            TOPIC,
            format!("{master} tells the time, stratum {}", answer[1]),
        ),
        Ok(_) => Finding::bad(
            TOPIC,
            Level::Warning,
            format!("{master} answers, but does not know the time itself"),
            "see `chronyc sources`; a master without any source needs `local stratum 10`, which apply writes",
        ),
        Err(error) => Finding::bad(
            TOPIC,
            Level::Warning,
            format!(
                "nobody answers at {master}:{NTP_PORT} over UDP: {}",
                heard(&error)
            ),
            "start chrony; `regex-provision apply` sets it up",
        ),
    }
}
