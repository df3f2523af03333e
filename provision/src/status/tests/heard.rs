//! A board that has heard what a test says, a second after another.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::super::*;
use crate::model::{self, Cluster, MacAddr};
use crate::store::Digest;

pub(super) const NODES: usize = 18;

pub(super) fn cluster() -> Cluster {
    let macs: Vec<_> = (1..=NODES)
        .map(|number| format!("\"52:54:00:00:00:{number:02x}\""))
        .collect();
    let text = format!(
        r#"
[cluster]
name = "lab"
interface = "br0"
subnet = "10.77.0.0/24"
master = "10.77.0.1"
[dhcp]
range = "10.77.0.200-10.77.0.201"
[image.base]
source = {{ kind = "debootstrap", suite = "bookworm" }}
[export.data]
path = "/srv/data"
[profile.default]
image = "base"
[[node]]
name = "s[01-{NODES}]"
mac = [{}]
address = "10.77.0.11"
"#,
        macs.join(", ")
    );
    model::parse(&text).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(super) fn mac(number: u8) -> MacAddr {
    MacAddr::new([0x52, 0x54, 0, 0, 0, number]).expect("an address of one machine")
}

pub(super) fn offer(what: &str) -> Offer {
    Offer {
        generation: 7,
        image: "base".parse().expect("a name"),
        manifest: Digest::of(what.as_bytes()),
        kernel: Digest::of(b"kernel"),
        initramfs: Digest::of(b"initramfs"),
        overlay: Digest::of(b"overlay"),
        arguments: "quiet".into(),
    }
}

pub(super) struct Heard {
    pub(super) board: Board,
    number: u8,
    at: u64,
}

impl Heard {
    pub(super) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 10 + self.number)
    }

    /// From now on it is about this node, which begins at that second.
    pub(super) fn node(&mut self, number: u8, at: u64) -> &mut Self {
        (self.number, self.at) = (number, at);
        self
    }

    pub(super) fn hear(&mut self, event: Event) -> &mut Self {
        self.board.hear(At(self.at * 1000), event);
        self.at += 1;
        self
    }

    pub(super) fn dhcp(&mut self, said: Dhcp) -> &mut Self {
        let (mac, client) = (mac(self.number), Client::Firmware);
        self.hear(Event::Dhcp { mac, client, said })
    }

    pub(super) fn address_given(&mut self) -> &mut Self {
        let address = self.address();
        self.dhcp(Dhcp::Discover).dhcp(Dhcp::Ack(address))
    }

    pub(super) fn script(&mut self, offered: &str) -> &mut Self {
        let event = Event::Script {
            mac: mac(self.number),
            address: self.address(),
            offer: Some(Arc::new(offer(offered))),
            words: Words::new("iPXE"),
        };
        self.hear(event)
    }

    pub(super) fn fetched(&mut self, what: &[u8]) -> &mut Self {
        let (address, digest) = (self.address(), Digest::of(what));
        self.hear(Event::Fetched { address, digest })
    }

    pub(super) fn report(
        &mut self,
        boot: &str,
        stage: Stage,
        percent: u8,
        ok: bool,
        words: &str,
    ) -> &mut Self {
        let report = Report {
            boot: boot.parse().ok(),
            stage,
            percent,
            words: Words::new(words),
            ok,
        };
        let event = Event::Report {
            mac: mac(self.number),
            address: self.address(),
            report,
        };
        self.hear(event)
    }

    /// All stages up to one.
    pub(super) fn reach(&mut self, last: Stage) -> &mut Self {
        self.address_given()
            .script("new")
            .fetched(b"kernel")
            .fetched(b"initramfs");
        for stage in [
            Stage::Kernel,
            Stage::Image,
            Stage::Verified,
            Stage::Root,
            Stage::System,
        ] {
            if stage <= last {
                self.report("b-1", stage, 0, true, "");
            }
        }
        self
    }
}
pub(super) fn nothing_heard(cluster: &Cluster) -> Heard {
    let mut board = Board::new(8);
    board.set_known(cluster.nodes().iter().map(|node| node.mac), 8);
    Heard {
        board,
        number: 1,
        at: 0,
    }
}
