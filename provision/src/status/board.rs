//! What was heard of all machines, and what it means.
//!
//! A pure state machine: events in, with the moments at which they were heard; no clock, no
//! disk, no network. What has changed is drained as [`Line`]s, which the journal keeps.
//!
//! Decided here:
//! - when a new boot begins. A machine asks for addresses several times in one boot (its
//!   firmware, its loader, its initramfs, its system), so only a question of the firmware or the loader that does
//!   not fit behind what was heard last begins one;
//! - which boot a report belongs to: by its id, which the initramfs draws at random;
//! - that two machines have one Ethernet address: reports of two boots take turns.
//!
//! `kept` hands out what is to be written down, and takes it back; `tried` knows what came of trying to reach nodes.

mod changes;
mod kept;
mod tried;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use changes::{Change, Changes};

use super::{
    At, Boot, Client, Dhcp, Duplicate, Event, Offer, PROBE, Record, Report, Stage, Unknown, Words,
};
use crate::model::MacAddr;

/// How far the log of dnsmasq may be behind what nodes ask over HTTP, when many boot at once. No machine begins to boot
/// again in that time.
const LOG_LAG: Duration = Duration::from_secs(5);

/// How long after the last time a machine may ask for its script again, for the same boot: its
/// loader tries again what has failed.
pub const RETRY_WINDOW: Duration = Duration::from_secs(15);

/// The same, where its loader did not get all that it was to load: scripts let it ask again after up to 30 s, and loading
/// takes a while.
const FAILED_WINDOW: Duration = Duration::from_secs(45);

/// The most addresses of which it is remembered who was last heard from there.
pub(super) const MAX_ADDRESSES: usize = 1 << 18;

/// How long an empty pool is told of: who had no address may be gone.
pub const POOL_TOLD: Duration = Duration::from_secs(10 * 60);

/// Everything that was heard.
#[derive(Debug, Default)]
pub struct Board {
    known: HashSet<MacAddr>,
    records: HashMap<MacAddr, Record>,
    unknown: HashMap<MacAddr, Unknown>,
    max_unknown: usize,
    /// Only of machines in one of the two above.
    addresses: HashMap<Ipv4Addr, MacAddr>,
    /// Of nodes, as the cluster has them: until something is heard from there.
    fixed: HashMap<Ipv4Addr, MacAddr>,
    pool: Option<Pool>,
    changed: Changes,
}

/// The DHCP server had no address for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// When it last happened.
    pub at: At,
    /// Who asked last.
    pub mac: MacAddr,
    /// How often it has happened since it last worked.
    pub times: u64,
}

impl Board {
    /// A board for unknown machines up to that many.
    pub fn new(max_unknown: usize) -> Self {
        Self {
            max_unknown,
            ..Self::default()
        }
    }

    /// From now on these are the nodes. What was heard of others is forgotten; a machine that was
    /// not known begins anew.
    pub fn set_known(&mut self, known: impl IntoIterator<Item = MacAddr>, max_unknown: usize) {
        self.known = known.into_iter().collect();
        self.max_unknown = max_unknown;
        let gone = |mac: &MacAddr| !self.known.contains(mac);
        let forgotten: Vec<_> = self.records.keys().copied().filter(gone).collect();
        let approved: Vec<_> = self
            .unknown
            .keys()
            .copied()
            .filter(|mac| !gone(mac))
            .collect();
        for mac in forgotten.into_iter().chain(approved) {
            self.forget(mac);
        }
        let is_known = |pool: &Pool| self.known.contains(&pool.mac);
        if self.pool.as_ref().is_some_and(is_known) {
            self.pool = None;
        }
        self.fixed.clear();
        self.evict(max_unknown);
    }

    /// The addresses that nodes are to have: where nobody hears DHCP, they tell who asks.
    pub fn set_fixed(&mut self, fixed: impl IntoIterator<Item = (Ipv4Addr, MacAddr)>) {
        self.fixed = fixed.into_iter().collect();
    }

    /// Forgets a machine that is not in the cluster. Tells whether there was one.
    pub fn forget_unknown(&mut self, mac: MacAddr) -> bool {
        let is_there = self.unknown.contains_key(&mac);
        if is_there {
            self.forget(mac);
        }
        is_there
    }

    /// What is known of a node.
    pub fn record(&self, mac: MacAddr) -> Option<&Record> {
        self.records.get(&mac)
    }

    /// The machines that are not in the cluster, the one seen last first.
    pub fn unknown(&self) -> Vec<&Unknown> {
        let mut unknown: Vec<_> = self.unknown.values().collect();
        unknown.sort_by_key(|machine| (std::cmp::Reverse(machine.last), machine.mac));
        unknown
    }

    /// Whether the DHCP server has run out of addresses lately.
    pub fn pool(&self, now: At) -> Option<&Pool> {
        let is_fresh = |pool: &&Pool| now.since(pool.at) <= POOL_TOLD;
        self.pool.as_ref().filter(is_fresh)
    }

    /// Who was last heard from an address; else whose it is to be.
    pub fn who(&self, address: Ipv4Addr) -> Option<MacAddr> {
        let heard = self.addresses.get(&address);
        heard.or_else(|| self.fixed.get(&address)).copied()
    }

    /// Takes note of what was heard.
    pub fn hear(&mut self, at: At, event: Event) {
        match event {
            Event::Dhcp { mac, .. } if mac.bytes() == PROBE => {}
            Event::Dhcp { mac, client, said } => self.dhcp(at, mac, client, &said),
            Event::Tftp { address, file, mac } => {
                let stage = if mac.is_some() {
                    Stage::Script
                } else {
                    Stage::Loader
                };
                if let Some(mac) = mac.or_else(|| self.who(address)) {
                    self.loading(at, mac, address, stage, file);
                }
            }
            Event::FirstScript { address } => {
                if let Some(mac) = self.who(address) {
                    let words = Words::new("iPXE");
                    self.loading(at, mac, address, Stage::Loader, words);
                }
            }
            Event::Script {
                mac,
                address,
                offer,
                words,
            } => {
                self.script(at, mac, address, offer, words);
            }
            Event::Stopped {
                mac,
                address,
                words,
            } => self.stopped(at, mac, address, words),
            Event::Fetched { address, digest } => {
                let Some(mac) = self.who(address) else { return };
                let Some(boot) = self.current(mac) else {
                    return;
                };
                let Some(offer) = &boot.offer else { return };
                if digest == offer.kernel {
                    boot.kernel_sent.get_or_insert(at);
                } else if digest == offer.initramfs {
                    boot.initramfs_sent.get_or_insert(at);
                } else {
                    return;
                }
                boot.last = boot.last.max(at);
                let number = boot.number;
                self.boot_changed(mac, number);
            }
            Event::Report {
                mac,
                address,
                report,
            } => self.report(at, mac, address, report),
            Event::Machine {
                mac,
                address,
                inventory,
            } => {
                if !self.known.contains(&mac) {
                    let machine = self.see_unknown(at, mac, Some(address));
                    machine.words = Words::new("waits to be approved");
                    machine.inventory = Some(inventory);
                }
            }
            Event::Tried {
                mac,
                means,
                problem,
            } => self.tried(at, mac, means, problem),
            Event::Registered { mac, since, words } => {
                let Some(boot) = self.current(mac) else {
                    return;
                };
                if !boot.may_have_worker(since) {
                    return;
                }
                if boot.arrived(Stage::Worker).is_some() && boot.failure.is_none() {
                    return;
                }
                boot.hear(Stage::Worker, at).words = words;
                boot.failure = None;
                let number = boot.number;
                self.boot_changed(mac, number);
            }
        }
    }

    fn dhcp(&mut self, at: At, mac: MacAddr, client: Client, said: &Dhcp) {
        if *said == Dhcp::NoAddress {
            let times = self.pool(at).map_or(0, |pool| pool.times) + 1;
            self.pool = Some(Pool { at, mac, times });
        }
        if !self.known.contains(&mac) {
            // Whatever else is on the network asks for addresses, too.
            if client != Client::Other || *said == Dhcp::NoAddress {
                let address = match said {
                    Dhcp::Ack(address) => Some(*address),
                    _ => None,
                };
                self.see_unknown(at, mac, address).words = described(said);
            }
            if matches!(said, Dhcp::Ack(_)) {
                // Somebody from the range has got one.
                self.pool = None;
            }
            return;
        }
        if client == Client::Other {
            // The initramfs or the system renews; but what is refused must be seen.
            match said {
                Dhcp::Refused(_) | Dhcp::NoAddress => {}
                Dhcp::Ack(address) => return self.set_address(mac, *address),
                _ => return,
            }
        }
        let asks = matches!(said, Dhcp::Discover | Dhcp::Request);
        let record = self.records.entry(mac).or_default();
        let goes_on = record.current().is_some_and(|boot| match client {
            _ if !asks => true,
            _ if at.since(boot.began) <= LOG_LAG => true,
            Client::Firmware => !boot.is_at_least(Stage::Loader),
            // Its own loader asks, or one that the firmware has fetched.
            Client::Ipxe | Client::Other => !boot.is_at_least(Stage::Script),
        });
        let boot = record.go_on(goes_on, at);
        let number = boot.number;
        match said {
            Dhcp::Refused(_) | Dhcp::NoAddress => {
                boot.fail(Stage::Dhcp, at, described(said));
            }
            _ => {
                boot.hear(Stage::Dhcp, at).words = described(said);
                boot.failure = None;
            }
        }
        if let Dhcp::Ack(address) = said {
            boot.address = Some(*address);
            self.set_address(mac, *address);
        }
        self.boot_changed(mac, number);
    }

    /// A stage before the kernel: what is loaded. Gives the boot, if it is a node's.
    fn loading(
        &mut self,
        at: At,
        mac: MacAddr,
        address: Ipv4Addr,
        stage: Stage,
        words: Words,
    ) -> Option<&mut Boot> {
        if !self.known.contains(&mac) {
            self.see_unknown(at, mac, Some(address)).words = words;
            return None;
        }
        self.set_address(mac, address);
        let record = self.records.entry(mac).or_default();
        let goes_on = record.current().is_some_and(|boot| {
            let heard = boot.steps.get(&stage);
            let window = if boot.kernel_sent.is_some() && boot.initramfs_sent.is_some() {
                RETRY_WINDOW
            } else {
                FAILED_WINDOW
            };
            let lately = heard.is_none_or(|step| at.since(step.last) <= window);
            match stage {
                // The loader's pieces follow each other; behind the script comes a kernel.
                Stage::Loader => !boot.is_at_least(Stage::Script),
                _ => !boot.is_at_least(Stage::Kernel) && lately,
            }
        });
        let boot = record.go_on(goes_on, at);
        boot.address = Some(address);
        boot.hear(stage, at).words = words;
        boot.failure = None;
        let number = boot.number;
        self.boot_changed(mac, number);
        self.records.get_mut(&mac)?.boots.back_mut()
    }

    fn boot_changed(&mut self, mac: MacAddr, number: u64) {
        let boots = self.records.get(&mac).map(|record| &record.boots);
        let kept = boots.into_iter().flatten().map(|boot| boot.number);
        self.changed.add_boot(mac, number, kept);
    }

    /// A machine was told what to load.
    fn script(
        &mut self,
        at: At,
        mac: MacAddr,
        address: Ipv4Addr,
        offer: Option<Arc<Offer>>,
        words: Words,
    ) {
        let record = self.records.get(&mac);
        let offer = offer.map(|offer| match record {
            Some(record) => record.share(offer),
            None => offer,
        });
        if let Some(boot) = self.loading(at, mac, address, Stage::Script, words) {
            boot.offer = offer;
        }
    }

    fn stopped(&mut self, at: At, mac: MacAddr, address: Ipv4Addr, words: Words) {
        if let Some(boot) = self.loading(at, mac, address, Stage::Script, words.clone()) {
            boot.fail(Stage::Script, at, words);
        }
    }

    fn report(&mut self, at: At, mac: MacAddr, address: Ipv4Addr, report: Report) {
        if !self.known.contains(&mac) {
            self.see_unknown(at, mac, Some(address)).words = report.words;
            return;
        }
        self.set_address(mac, address);
        let record = self.records.entry(mac).or_default();
        let at_place = place(record, at, &report);
        if let Some(id) = &report.boot {
            let seen = record.boots[at_place].id.as_ref() == Some(id);
            if seen
                && let Some(other) = record.reporter.as_ref()
                && other != id
            {
                let address_of = |id| {
                    let boot = record
                        .boots
                        .iter()
                        .find(|boot| boot.id.as_ref() == Some(id));
                    boot.and_then(|boot| boot.address)
                };
                let mut addresses: Vec<_> =
                    address_of(other).into_iter().chain([address]).collect();
                addresses.dedup();
                record.duplicate = Some(Duplicate {
                    at,
                    boots: [other.clone(), id.clone()],
                    addresses,
                });
                self.changed.add(mac, Change::Duplicate);
            }
            record.reporter = Some(id.clone());
        }
        let boot = &mut record.boots[at_place];
        boot.id = report.boot.or(boot.id.take());
        boot.address = Some(address);
        if report.ok {
            let step = boot.hear(report.stage, at);
            step.percent = step.percent.max(report.percent.min(100));
            step.words = report.words;
            boot.failure = None;
        } else {
            boot.fail(report.stage, at, report.words).percent = report.percent.min(100);
        }
        let number = boot.number;
        self.boot_changed(mac, number);
    }

    fn current(&mut self, mac: MacAddr) -> Option<&mut Boot> {
        self.records.get_mut(&mac)?.boots.back_mut()
    }

    fn set_address(&mut self, mac: MacAddr, address: Ipv4Addr) {
        if address.is_unspecified() {
            return;
        }
        if self.pool.as_ref().is_some_and(|pool| pool.mac == mac) {
            self.pool = None;
        }
        self.remember(address, mac);
    }

    fn remember(&mut self, address: Ipv4Addr, mac: MacAddr) {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            // No cluster has so many: somebody makes them up. Whoever is there is heard again.
            self.addresses.clear();
        }
        self.addresses.insert(address, mac);
    }

    fn see_unknown(&mut self, at: At, mac: MacAddr, address: Option<Ipv4Addr>) -> &mut Unknown {
        if !self.unknown.contains_key(&mac) {
            self.evict(self.max_unknown.max(1) - 1);
        }
        if let Some(address) = address {
            self.set_address(mac, address);
        }
        self.changed.add(mac, Change::Unknown);
        let machine = self.unknown.entry(mac).or_insert_with(|| Unknown {
            mac,
            first: at,
            last: at,
            address: None,
            words: Words::default(),
            inventory: None,
        });
        machine.last = machine.last.max(at);
        machine.address = address.or(machine.address);
        machine
    }

    /// Forgets the unknown machines that are more than that, those seen longest ago first.
    fn evict(&mut self, most: usize) {
        while self.unknown.len() > most {
            let oldest = self
                .unknown
                .values()
                .min_by_key(|machine| (machine.last, machine.mac));
            let Some(mac) = oldest.map(|machine| machine.mac) else {
                return;
            };
            self.forget(mac);
        }
    }

    fn forget(&mut self, mac: MacAddr) {
        self.records.remove(&mac);
        self.unknown.remove(&mac);
        self.addresses.retain(|_, other| *other != mac);
        self.changed.forget(mac);
    }
}

/// Which boot a report belongs to. Begins one, if it belongs to none.
fn place(record: &mut Record, at: At, report: &Report) -> usize {
    let by_id = |boot: &Boot| boot.id.is_some() && boot.id == report.boot;
    let found = match &report.boot {
        None => record.boots.len().checked_sub(1),
        // Else the boot that was told what to load and has not spoken yet.
        Some(_) => record.boots.iter().rposition(by_id).or_else(|| {
            record
                .boots
                .iter()
                .rposition(|boot| boot.id.is_none() && is_fresh(boot, at))
        }),
    };
    found.unwrap_or_else(|| {
        record.begin(at);
        record.boots.len() - 1
    })
}

/// Whether the kernel of a boot may still come up.
fn is_fresh(boot: &Boot, at: At) -> bool {
    at.since(boot.last) <= Stage::Script.patience() * 2
}

fn described(said: &Dhcp) -> Words {
    match said {
        Dhcp::Discover => Words::new("asks for an address"),
        Dhcp::Offer(address) => Words::new(&format!("was offered {address}")),
        Dhcp::Request => Words::new("wants its address"),
        Dhcp::Ack(address) => Words::new(&format!("has {address}")),
        Dhcp::Refused(words) => Words::new(&format!("was refused an address: {words}")),
        Dhcp::NoAddress => Words::new("there is no free address for it"),
    }
}
