//! DHCP as the firmware of nodes speaks it: a discovery, a request for what is offered, and each again where no answer comes.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// UDP ports of servers and of clients.
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// How long firmware waits for an answer before it asks again (PXE 2.1, 2.2.2); after the last it gives up.
const WAITS: [Duration; 4] = [
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
];

/// Within which time all machines first ask: no two need as long for their self-test. RFC 2131 (4.4.1) would have them wait up
/// to ten seconds.
const SPREAD: Duration = Duration::from_secs(1);

/// How often it is looked who is to ask.
const POLL: Duration = Duration::from_millis(5);

/// What may wait to be read: an answer to each of thousands of nodes at once.
const RECEIVE_BYTES: usize = 16 << 20;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// The options that firmware sends: what it wants to know, its architecture (UEFI x86-64) and its class.
const FIRMWARE: &[u8] =
    b"\x37\x06\x01\x03\x36\x42\x43\x3c\x5d\x02\x00\x07\x3c\x20PXEClient:Arch:00007:UNDI:003016";

/// Where the options begin, behind the fixed fields and the cookie (RFC 2131).
const OPTIONS_AT: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// A node that has no address yet.
struct Asking {
    mac: [u8; 6],
    /// What it was offered, and by whom.
    offer: Option<(Ipv4Addr, Ipv4Addr)>,
    /// When it asks next.
    next: Instant,
    /// How often it has asked this.
    asked: usize,
    /// What sets it apart from the others: added to each wait.
    jitter: Duration,
}

impl Asking {
    /// Says what it has to say now.
    fn ask(&mut self, socket: &UdpSocket, number: u32) -> Result<(), String> {
        let Some(wait) = WAITS.get(self.asked) else {
            return Err(format!("node {number} got no answer to DHCP"));
        };
        self.asked += 1;
        self.next = Instant::now() + *wait + self.jitter;
        send(socket, number, self)
    }
}

/// All of these machines ask at once on an interface. `got` is told the number of each that has an address, and the address.
/// The error names one that gave up.
pub(crate) fn all_ask(
    interface: &str,
    macs: &[[u8; 6]],
    mut got: impl FnMut(usize, Ipv4Addr),
) -> Result<(), String> {
    let socket = socket(interface).map_err(|error| format!("a socket on {interface}: {error}"))?;
    let mut asking: HashMap<u32, Asking> = HashMap::new();
    let began = Instant::now();
    for (number, mac) in (1..).zip(macs) {
        // Spread evenly, in no order; the same in each run.
        let jitter = SPREAD * (number * 617 % 1000) / 1000;
        let node = Asking {
            mac: *mac,
            offer: None,
            next: began + jitter,
            asked: 0,
            jitter,
        };
        asking.insert(number, node);
    }
    let mut buffer = [0; 1500];
    while !asking.is_empty() {
        match socket.recv(&mut buffer) {
            Ok(len) => {
                let Some(answer) = Answer::read(&buffer[..len]) else {
                    continue;
                };
                let Some(node) = asking.get_mut(&answer.number) else {
                    continue;
                };
                match (answer.kind, node.offer) {
                    (OFFER, None) => {
                        node.offer = Some((answer.address, answer.server));
                        node.asked = 0;
                        node.ask(&socket, answer.number)?;
                    }
                    (ACK, Some((address, _))) if address == answer.address => {
                        asking.remove(&answer.number);
                        let number = usize::try_from(answer.number).expect("there are few");
                        got(number - 1, address);
                    }
                    _ => {}
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(format!("cannot receive: {error}")),
        }
        let now = Instant::now();
        for (number, node) in asking.iter_mut().filter(|(_, node)| node.next <= now) {
            node.ask(&socket, *number)?;
        }
    }
    Ok(())
}

/// A machine for which there is no address.
pub(crate) struct Vain {
    socket: UdpSocket,
    node: Asking,
}

impl Vain {
    pub(crate) fn new(interface: &str, mac: [u8; 6]) -> Result<Self, String> {
        let socket =
            socket(interface).map_err(|error| format!("a socket on {interface}: {error}"))?;
        let node = Asking {
            mac,
            offer: None,
            next: Instant::now(),
            asked: 0,
            jitter: Duration::ZERO,
        };
        Ok(Self { socket, node })
    }

    /// Asks once, and waits for no answer.
    pub(crate) fn ask(&self) -> Result<(), String> {
        send(&self.socket, 0x7777, &self.node)
    }
}

fn socket(interface: &str) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_broadcast(true)?;
    socket.set_reuse_address(true)?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT).into())?;
    socket.set_read_timeout(Some(POLL))?;
    Ok(socket.into())
}

fn send(socket: &UdpSocket, number: u32, node: &Asking) -> Result<(), String> {
    let mut message = vec![0; OPTIONS_AT];
    // A request, over Ethernet, whose addresses have 6 bytes; to be answered by broadcast.
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[4..8].copy_from_slice(&number.to_be_bytes());
    message[10] = 0x80;
    message[28..34].copy_from_slice(&node.mac);
    message[236..240].copy_from_slice(&COOKIE);
    match node.offer {
        None => message.extend([53, 1, DISCOVER]),
        Some((address, server)) => {
            message.extend([53, 1, REQUEST, 50, 4]);
            message.extend(address.octets());
            message.extend([54, 4]);
            message.extend(server.octets());
        }
    }
    message.extend(FIRMWARE);
    message.push(255);
    let sent = socket.send_to(&message, (Ipv4Addr::BROADCAST, SERVER_PORT));
    sent.map(drop)
        .map_err(|error| format!("cannot send: {error}"))
}

/// What a server says.
struct Answer {
    number: u32,
    kind: u8,
    address: Ipv4Addr,
    server: Ipv4Addr,
}

impl Answer {
    fn read(message: &[u8]) -> Option<Self> {
        let fixed = message.first_chunk::<OPTIONS_AT>()?;
        if fixed[0] != 2 || fixed[236..] != COOKIE {
            return None;
        }
        let mut rest = &message[OPTIONS_AT..];
        let (mut kind, mut server) = (None, None);
        while let [code @ 1..=254, len, tail @ ..] = rest {
            let (value, after) = tail.split_at_checked(usize::from(*len))?;
            match (code, value) {
                (53, [said]) => kind = Some(*said),
                (54, [a, b, c, d]) => server = Some(Ipv4Addr::new(*a, *b, *c, *d)),
                _ => {}
            }
            rest = after;
        }
        Some(Self {
            number: u32::from_be_bytes(*fixed[4..].first_chunk()?),
            kind: kind?,
            address: Ipv4Addr::from(*fixed[16..].first_chunk::<4>()?),
            server: server?,
        })
    }
}
