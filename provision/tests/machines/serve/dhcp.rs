//! DHCP as the firmware of nodes speaks it: a discovery, a request for what is offered, and each again where no answer comes.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
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

/// Where a server that gives no addresses is asked for a file (PXE 2.1, 2.2.3).
const BOOT_PORT: u16 = 4011;

/// How long whoever only wants to know a file waits before asking again, and how often.
const AGAIN: Duration = Duration::from_millis(500);
const TRIES: usize = 120;

/// What asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Firmware {
    /// The kind of machine, option 93: 0 is a BIOS, 7 and 9 are UEFI on x86-64.
    pub(crate) arch: u16,
    /// Whether it is iPXE, which says so in option 175.
    pub(crate) is_ipxe: bool,
}

impl Firmware {
    const UEFI: Self = Self {
        arch: 7,
        is_ipxe: false,
    };

    /// The options that it sends: what it wants to know, its architecture and its class.
    fn options(self) -> Vec<u8> {
        let mut options = vec![55, 7, 1, 3, 43, 54, 66, 67, 60];
        options.extend([93, 2]);
        options.extend(self.arch.to_be_bytes());
        options.extend([60, 32]);
        options.extend(format!("PXEClient:Arch:{:05}:UNDI:003016", self.arch).bytes());
        if self.is_ipxe {
            // It knows HTTP.
            options.extend([175, 3, 19, 1, 1]);
        }
        options
    }
}

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
    firmware: Firmware,
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
            firmware: Firmware::UEFI,
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
            firmware: Firmware::UEFI,
        };
        Ok(Self { socket, node })
    }

    /// Asks once, and waits for no answer.
    pub(crate) fn ask(&self) -> Result<(), String> {
        send(&self.socket, 0x7777, &self.node)
    }
}

/// The file that a machine is to load. It asks, as its firmware does, again and again until it is told. If it is only told that
/// there is something to boot, it asks for that from `address`, which it has by then.
pub(crate) fn boot_file(
    interface: &str,
    address: Ipv4Addr,
    mac: [u8; 6],
    firmware: Firmware,
) -> Result<String, String> {
    // What comes late is for whoever asked before.
    static NUMBER: AtomicU32 = AtomicU32::new(0x4242);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let socket = socket(interface).map_err(|error| format!("a socket on {interface}: {error}"))?;
    let mut buffer = [0; 1500];
    let node = Asking {
        mac,
        offer: None,
        next: Instant::now(),
        asked: 0,
        jitter: Duration::ZERO,
        firmware,
    };
    for _ in 0..TRIES {
        send(&socket, number, &node)?;
        let asked = Instant::now();
        while asked.elapsed() < AGAIN {
            let Ok(len) = socket.recv(&mut buffer) else {
                continue;
            };
            let Some(answer) = Answer::read(&buffer[..len]).filter(|it| it.number == number) else {
                continue;
            };
            match answer.file {
                Some(file) => return Ok(file),
                // It is to be asked of whoever has added that there is something to boot.
                None if answer.kind == OFFER && answer.is_pxe => {
                    let message = choice(number, address, &node, &answer);
                    let sent = socket.send_to(&message, (answer.server, BOOT_PORT));
                    sent.map_err(|error| format!("cannot send: {error}"))?;
                }
                None => {}
            }
        }
    }
    Err(format!("{firmware:?} was told no file to load"))
}

/// What firmware answers to a menu: it takes the first.
fn choice(number: u32, address: Ipv4Addr, node: &Asking, menu: &Answer) -> Vec<u8> {
    let mut message = head(number, node);
    message[12..16].copy_from_slice(&address.octets());
    message.extend([53, 1, REQUEST, 54, 4]);
    message.extend(menu.server.octets());
    message.extend(node.firmware.options());
    if let Some([high, low]) = menu.first_item {
        message.extend([43, 7, 71, 4, high, low, 0, 0, 255]);
    }
    message.push(255);
    message
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

/// The fixed fields, and the cookie before the options.
fn head(number: u32, node: &Asking) -> Vec<u8> {
    let mut message = vec![0; OPTIONS_AT];
    // A request, over Ethernet, whose addresses have 6 bytes; to be answered by broadcast.
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[4..8].copy_from_slice(&number.to_be_bytes());
    message[10] = 0x80;
    message[28..34].copy_from_slice(&node.mac);
    message[236..240].copy_from_slice(&COOKIE);
    message
}

fn send(socket: &UdpSocket, number: u32, node: &Asking) -> Result<(), String> {
    let mut message = head(number, node);
    match node.offer {
        None => message.extend([53, 1, DISCOVER]),
        Some((address, server)) => {
            message.extend([53, 1, REQUEST, 50, 4]);
            message.extend(address.octets());
            message.extend([54, 4]);
            message.extend(server.octets());
        }
    }
    message.extend(node.firmware.options());
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
    /// The file to load.
    file: Option<String>,
    /// Whether it says that it has something to boot.
    is_pxe: bool,
    /// The type of the first item of its menu.
    first_item: Option<[u8; 2]>,
}

impl Answer {
    fn read(message: &[u8]) -> Option<Self> {
        let fixed = message.first_chunk::<OPTIONS_AT>()?;
        if fixed[0] != 2 || fixed[236..] != COOKIE {
            return None;
        }
        // By either place; in neither is it ended by anything but a zero.
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0);
            let bytes = &bytes[..end.unwrap_or(bytes.len())];
            let text = String::from_utf8_lossy(bytes).into_owned();
            (!text.is_empty()).then_some(text)
        };
        let (mut kind, mut server) = (None, None);
        let mut file = text(&fixed[108..236]);
        let (mut is_pxe, mut first_item) = (false, None);
        for (code, value) in options(&message[OPTIONS_AT..])? {
            match (code, value) {
                (53, [said]) => kind = Some(*said),
                (54, [a, b, c, d]) => server = Some(Ipv4Addr::new(*a, *b, *c, *d)),
                (60, b"PXEClient") => is_pxe = true,
                (67, name) => file = text(name).or(file),
                (43, menu) => {
                    let menu = options(menu)?;
                    let items = menu.into_iter().find(|(code, _)| *code == 9);
                    first_item = items.and_then(|(_, items)| items.first_chunk().copied());
                }
                _ => {}
            }
        }
        Some(Self {
            number: u32::from_be_bytes(*fixed[4..].first_chunk()?),
            kind: kind?,
            address: Ipv4Addr::from(*fixed[16..].first_chunk::<4>()?),
            server: server?,
            file,
            is_pxe,
            first_item,
        })
    }
}

/// Codes and values; none if one is cut off.
fn options(mut rest: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut options = Vec::new();
    while let [code @ 1..=254, len, tail @ ..] = rest {
        let (value, after) = tail.split_at_checked(usize::from(*len))?;
        options.push((*code, value));
        rest = after;
    }
    Some(options)
}
