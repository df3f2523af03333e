//! Who answers DHCP on the network: a discovery is sent, as a machine that is switched on would send it.
//!
//! The Ethernet address in the question is [`PROBE`], which `serve` takes for no machine: no node's lease is touched, and no
//! offer is accepted. A master that gives strangers no address does not answer such a question; so where it made no offer it is
//! asked for what any machine with an address may ask (DHCPINFORM), too.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Finding, Level};
use crate::model::{Cluster, Dhcp};
use crate::status::PROBE;

const TOPIC: &str = "dhcp";

/// UDP ports of servers and of clients.
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// The largest answer that is read, in bytes.
const MAX_MESSAGE_BYTES: usize = 1500;

/// Types of messages (RFC 2132, 9.6).
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const ACK: u8 = 5;
const INFORM: u8 = 8;

/// The most servers that are told.
const MAX_SERVERS: usize = 64;

/// Where the options begin, behind the fixed fields and the cookie (RFC 2131).
const OPTIONS_AT: usize = 240;

/// What stands before the options.
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Who offered, and which address; none for a server that only says where to boot from.
type Offers = BTreeMap<Ipv4Addr, Option<Ipv4Addr>>;

pub(super) fn ask(cluster: &Cluster, wait: Duration) -> Vec<Finding> {
    let network = &cluster.network;
    let (interface, master) = (network.interface.as_str(), network.master.get());
    let asked = offers(interface, wait).and_then(|offers| {
        let is_silent = matches!(cluster.dhcp, Dhcp::Full { .. }) && !offers.contains_key(&master);
        let answers = !is_silent || informs(interface, master, wait)?;
        Ok((offers, answers))
    });
    match asked {
        Ok((offers, answers)) => judge(cluster, &offers, answers),
        Err(error) => vec![Finding::bad(
            TOPIC,
            Level::Unknown,
            format!("cannot ask on {interface} who answers DHCP: {error}"),
            match error.kind() {
                ErrorKind::PermissionDenied => "run this as root",
                ErrorKind::AddrInUse => {
                    "stop the DHCP client of that interface, which holds UDP port 68"
                }
                ErrorKind::AddrNotAvailable => {
                    "give the interface the master's address; see what is said of the network"
                }
                _ => "see what is said of the network",
            },
        )],
    }
}

/// `answers` is whether the master does anything at all, which only matters where it gives addresses.
fn judge(cluster: &Cluster, offers: &Offers, answers: bool) -> Vec<Finding> {
    let master = cluster.network.master.get();
    let is_ours = |server: Ipv4Addr, address: Option<Ipv4Addr>| match cluster.dhcp {
        Dhcp::Full { .. } => server == master,
        // The proxy gives no addresses, so whoever does so from the master is the site's server.
        Dhcp::Proxy => server == master && address.is_none(),
        Dhcp::External => false,
    };
    let (ours, others): (Vec<_>, Vec<_>) = offers
        .iter()
        .partition(|(server, address)| is_ours(**server, **address));
    let gives = |server: &Ipv4Addr, address: &Option<Ipv4Addr>| match address {
        Some(address) => format!("{server} offers {address}"),
        None => format!("{server} answers without an address"),
    };
    let told: Vec<_> = others.iter().map(|(s, a)| gives(s, a)).collect();
    let told = told.join(", ");
    let leases = others.iter().any(|(_, address)| address.is_some());
    let mut findings = Vec::new();
    match cluster.dhcp {
        Dhcp::Full { .. } if !others.is_empty() => findings.push(Finding::bad(
            TOPIC,
            Level::Problem,
            format!("a second DHCP server: {told}"),
            "stop it, or write mode = \"proxy\" below [dhcp]: nodes boot from whoever answers first",
        )),
        _ => {}
    }
    match cluster.dhcp {
        Dhcp::Full { .. } if !answers => findings.push(Finding::bad(
            TOPIC,
            Level::Problem,
            "the master does not answer DHCP",
            "run `regex-provision apply` or `serve`, and look at the log of dnsmasq",
        )),
        Dhcp::Full { range: Some(_), .. } if ours.is_empty() => findings.push(Finding::bad(
            TOPIC,
            Level::Problem,
            "the master answers DHCP, but has no address to offer",
            "make `range` in [dhcp] larger: its addresses are used up; the log of dnsmasq says by whom",
        )),
        Dhcp::Full { .. } if !others.is_empty() => {}
        // Without a range only the nodes themselves are given one.
        Dhcp::Full { range: None, .. } => findings.push(Finding::fine(
            TOPIC,
            "the master answers, and nobody else; it gives strangers no address",
        )),
        Dhcp::Full { .. } => findings.push(Finding::fine(TOPIC, "the master answers, and nobody else")),
        Dhcp::Proxy | Dhcp::External if !leases => findings.push(Finding::bad(
            TOPIC,
            Level::Warning,
            "no DHCP server of the site offered an address",
            "start it, or write mode = \"full\" below [dhcp]; a server that only knows its own machines is as it should be",
        )),
        Dhcp::Proxy | Dhcp::External => {
            findings.push(Finding::fine(TOPIC, format!("the site's server answers: {told}")));
        }
    }
    findings
}

/// Sends a discovery and hears all answers that come in time.
fn offers(interface: &str, wait: Duration) -> io::Result<Offers> {
    let question = Question::new(DISCOVER, None)?;
    let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
    let mut offers = Offers::new();
    question.ask(interface, from, wait, |message| {
        if let Some((server, address)) = answer(message, question.xid, OFFER) {
            // Two servers may have one address, of which one only says where to boot from.
            let known = offers.entry(server).or_default();
            *known = known.or(address);
        }
        offers.len() < MAX_SERVERS
    })?;
    Ok(offers)
}

/// Whether the DHCP server at that address of ours answers anything.
fn informs(interface: &str, master: Ipv4Addr, wait: Duration) -> io::Result<bool> {
    let question = Question::new(INFORM, Some(master))?;
    let mut answers = false;
    // The answer comes to where the question came from, so the port of clients need not be ours.
    question.ask(interface, SocketAddrV4::new(master, 0), wait, |message| {
        let server = answer(message, question.xid, ACK).map(|(server, _)| server);
        answers = server == Some(master);
        !answers
    })?;
    Ok(answers)
}

/// What is asked, of everybody on a network.
struct Question {
    xid: [u8; 4],
    message: Vec<u8>,
}

impl Question {
    fn new(kind: u8, address: Option<Ipv4Addr>) -> io::Result<Self> {
        let mut xid = [0; 4];
        File::open("/dev/urandom")?.read_exact(&mut xid)?;
        let message = message(kind, xid, address);
        Ok(Self { xid, message })
    }

    /// Sends it and hands on what comes in time, for as long as more is wanted.
    fn ask(
        &self,
        interface: &str,
        from: SocketAddrV4,
        wait: Duration,
        mut heard: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_broadcast(true)?;
        socket.set_reuse_address(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.bind(&from.into())?;
        let socket = UdpSocket::from(socket);
        socket.send_to(&self.message, (Ipv4Addr::BROADCAST, SERVER_PORT))?;
        let deadline = Instant::now() + wait;
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut buffer) {
                Ok(len) if heard(&buffer[..len]) => {}
                Ok(_) => return Ok(()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A message as PXE firmware sends it, to be answered by broadcast where the machine has no address.
fn message(kind: u8, xid: [u8; 4], address: Option<Ipv4Addr>) -> Vec<u8> {
    let mut message = vec![0; OPTIONS_AT];
    // A request, over Ethernet, whose addresses have 6 bytes.
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[4..8].copy_from_slice(&xid);
    match address {
        Some(address) => message[12..16].copy_from_slice(&address.octets()),
        None => message[10] = 0x80,
    }
    message[28..34].copy_from_slice(&PROBE);
    message[236..240].copy_from_slice(&COOKIE);
    // The type; wanted: mask, router, server; a BIOS client's architecture and class.
    message.extend_from_slice(&[53, 1, kind, 55, 4, 1, 3, 54, 67, 93, 2, 0, 0]);
    message.extend_from_slice(&[60, 32]);
    message.extend_from_slice(b"PXEClient:Arch:00000:UNDI:002001");
    message.push(255);
    message
}

/// Who answered the question like that, and which address was offered.
fn answer(message: &[u8], xid: [u8; 4], kind: u8) -> Option<(Ipv4Addr, Option<Ipv4Addr>)> {
    let is_answer = message.len() > OPTIONS_AT
        && message[0] == 2
        && message[4..8] == xid
        && message[236..240] == COOKIE;
    if !is_answer {
        return None;
    }
    let mut rest = &message[OPTIONS_AT..];
    let (mut is_wanted, mut server) = (false, None);
    while let [code, tail @ ..] = rest {
        match code {
            0 => rest = tail,
            255 => break,
            code => {
                let (len, tail) = tail.split_first()?;
                let value = tail.get(..usize::from(*len))?;
                rest = &tail[usize::from(*len)..];
                match (code, value) {
                    (53, [said]) => is_wanted = *said == kind,
                    (54, [a, b, c, d]) => server = Some(Ipv4Addr::new(*a, *b, *c, *d)),
                    _ => {}
                }
            }
        }
    }
    let address = Ipv4Addr::new(message[16], message[17], message[18], message[19]);
    let address = (!address.is_unspecified()).then_some(address);
    is_wanted.then_some((server?, address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_answer_breaks_it(head in prop::collection::vec(any::<u8>(), 0..8), tail in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut message = message(DISCOVER, [1, 2, 3, 4], None);
            message[0] = 2;
            message.truncate(OPTIONS_AT);
            message.splice(..head.len().min(4), head.iter().copied().take(4));
            message.extend(tail);
            let _ = answer(&message, [1, 2, 3, 4], OFFER);
            let _ = answer(&head, [1, 2, 3, 4], OFFER);
        }
    }

    #[test]
    fn an_offer_tells_server_and_address() {
        let mut message = message(DISCOVER, [1, 2, 3, 4], None);
        message[0] = 2;
        message[16..20].copy_from_slice(&[10, 0, 0, 9]);
        message.truncate(OPTIONS_AT);
        message.extend_from_slice(&[0, 53, 1, 2, 54, 4, 10, 0, 0, 1, 255, 54]);
        let told = answer(&message, [1, 2, 3, 4], OFFER);
        assert_eq!(
            told,
            Some(([10, 0, 0, 1].into(), Some([10, 0, 0, 9].into())))
        );
        assert_eq!(answer(&message, [4, 3, 2, 1], OFFER), None);
    }
}
