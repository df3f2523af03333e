//! What is heard of machines.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{At, BootId, Inventory, Means, Offer, Stage, Words};
use crate::model::MacAddr;
use crate::store::Digest;

/// The Ethernet address in whose name `doctor` asks who answers DHCP: local, and no machine's. What is heard of it means
/// nothing.
pub const PROBE: [u8; 6] = [0x02, b'r', b'e', b'g', b'e', b'x'];

/// Something that was heard of a machine. Made by those who listen (the HTTP endpoint, the
/// reader of dnsmasq's log, the one who asks regex-master); what it means is decided by the
/// [`Board`](super::Board).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The DHCP server and a machine said something.
    Dhcp {
        /// Who.
        mac: MacAddr,
        /// What asks.
        client: Client,
        /// What was said.
        said: Dhcp,
    },
    /// A file was sent over TFTP.
    Tftp {
        /// To whom.
        address: Ipv4Addr,
        /// Which, without the directory.
        file: Words,
        /// The machine that the file is for, where its name tells: then it says what to load.
        mac: Option<MacAddr>,
    },
    /// iPXE has asked for the script that is the same for all.
    FirstScript {
        /// Who.
        address: Ipv4Addr,
    },
    /// A machine was told what to load.
    Script {
        /// Who.
        mac: MacAddr,
        /// From where it asked.
        address: Ipv4Addr,
        /// What it was offered; none if it is not known.
        offer: Option<Arc<Offer>>,
        /// How it was told.
        words: Words,
    },
    /// A machine was told to stop, or to try again later.
    Stopped {
        /// Who.
        mac: MacAddr,
        /// From where it asked.
        address: Ipv4Addr,
        /// Why.
        words: Words,
    },
    /// A whole artifact was sent.
    Fetched {
        /// To whom.
        address: Ipv4Addr,
        /// Which.
        digest: Digest,
    },
    /// A node reports a stage.
    Report {
        /// Who.
        mac: MacAddr,
        /// From where.
        address: Ipv4Addr,
        /// The report.
        report: Report,
    },
    /// An unknown machine tells what it is.
    Machine {
        /// Who.
        mac: MacAddr,
        /// From where.
        address: Ipv4Addr,
        /// What it is.
        inventory: Inventory,
    },
    /// A command has tried to reach a node.
    Tried {
        /// The node.
        mac: MacAddr,
        /// By what.
        means: Means,
        /// Why it was not reached; none if it was.
        problem: Option<Words>,
    },
    /// regex-master has the node's worker.
    Registered {
        /// The node.
        mac: MacAddr,
        /// Since when.
        since: At,
        /// Under which name.
        words: Words,
    },
}

/// What asks for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// The firmware's network boot.
    Firmware,
    /// iPXE.
    Ipxe,
    /// Anything else: an initramfs, an installed system, another machine altogether.
    Other,
}

/// What DHCP was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dhcp {
    /// The machine looks for a server.
    Discover,
    /// It was offered an address.
    Offer(Ipv4Addr),
    /// It wants an address.
    Request,
    /// It has got an address.
    Ack(Ipv4Addr),
    /// It was refused, for this reason.
    Refused(Words),
    /// There is no address for it: all of the range are taken, or there is no range.
    NoAddress,
}

/// What a node says of its boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The id of the boot, if there is one yet.
    pub boot: Option<BootId>,
    /// What it has reached, or failed in.
    pub stage: Stage,
    /// How far it is with it, 0 to 100.
    pub percent: u8,
    /// Its own words.
    pub words: Words,
    /// Whether it goes well.
    pub ok: bool,
}
