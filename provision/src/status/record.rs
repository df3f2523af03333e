//! What is known of a node: its last boots, and what was heard in each.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::words::text;
use super::{At, BootId, Inventory, Means, Stage, Unreached, Words};
use crate::model::{ImageName, MacAddr};
use crate::store::Digest;

/// The boots of a node that are kept.
pub const BOOTS_KEPT: usize = 8;

/// What a node was told to load.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offer {
    /// The number of the generation that said so.
    pub generation: u64,
    /// The image's name.
    #[serde(with = "text")]
    pub image: ImageName,
    /// The image's digest.
    pub manifest: Digest,
    /// The digest of the kernel.
    pub kernel: Digest,
    /// The digest of the initramfs.
    pub initramfs: Digest,
    /// The digest of the node's own files.
    pub overlay: Digest,
    /// The kernel's command line.
    pub arguments: String,
}

/// Why a node cannot be told what to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoOffer {
    /// Why.
    pub why: String,
    /// Who asks may not read what it is made from; that says nothing of the node.
    pub is_denied: bool,
}

impl From<String> for NoOffer {
    fn from(why: String) -> Self {
        Self {
            why,
            is_denied: false,
        }
    }
}

/// What was heard of one stage of one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When it was first heard of.
    pub first: At,
    /// When it was last heard of.
    pub last: At,
    /// How often it was.
    pub times: u32,
    /// How far it was, 0 to 100.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub percent: u8,
    /// The last words.
    #[serde(default, skip_serializing_if = "Words::is_empty")]
    pub words: Words,
    /// How often it failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// When it first went well, if it failed before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<At>,
}

impl Step {
    /// When it first went well; none if all that was heard of it were failures.
    pub fn reached(&self) -> Option<At> {
        let at_first = || (self.times > self.failures).then_some(self.first);
        self.recovered.or_else(at_first)
    }
}

/// Boots in a row that did not arrive, by where a node arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lost {
    /// Its system did not come up.
    pub system: u32,
    /// Its worker was not registered.
    pub worker: u32,
}

impl Lost {
    /// Those of a node that arrives at this stage.
    pub fn before(self, arrival: Stage) -> u32 {
        if arrival == Stage::Worker {
            self.worker
        } else {
            self.system
        }
    }

    /// With one boot more.
    fn and(self, boot: &Boot) -> Self {
        let count = |lost: u32, arrival| match boot.arrived(arrival) {
            Some(_) => 0,
            None => lost.saturating_add(1),
        };
        Self {
            system: count(self.system, Stage::System),
            worker: count(self.worker, Stage::Worker),
        }
    }
}

fn is_zero<T: PartialEq + Default>(number: &T) -> bool {
    *number == T::default()
}

/// Why a boot does not go on, in the node's own words or in ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In which stage.
    pub stage: Stage,
    /// When.
    pub at: At,
    /// Why.
    pub words: Words,
}

/// One boot of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// Counted from 1 for each node.
    pub number: u64,
    /// The id that the initramfs has given it; none before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<BootId>,
    /// The address that it was last heard from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// What was heard of each stage.
    pub steps: BTreeMap<Stage, Step>,
    /// When anything was first heard of it.
    pub began: At,
    /// When anything was last heard of it.
    pub last: At,
    /// What it was told to load; boots of one node that were told the same share it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "shared")]
    pub offer: Option<Arc<Offer>>,
    /// When it had the whole kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_sent: Option<At>,
    /// When it had the whole initramfs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initramfs_sent: Option<At>,
    /// Why it does not go on; none if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The boots right before it that did not arrive, those included that are kept no more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_before: Lost,
}

impl Boot {
    pub(super) fn new(number: u64, at: At) -> Self {
        Self {
            number,
            id: None,
            address: None,
            steps: BTreeMap::new(),
            began: at,
            last: at,
            offer: None,
            kernel_sent: None,
            initramfs_sent: None,
            failure: None,
            lost_before: Lost::default(),
        }
    }

    /// When it first was where a node arrives, or further; none if it was not.
    pub fn arrived(&self, arrival: Stage) -> Option<At> {
        let mut steps = self.steps.range(arrival..);
        steps.find_map(|(_, step)| step.reached())
    }

    /// When it had all that it was to load, over HTTP or TFTP; none if it had not.
    pub fn sent(&self) -> Option<At> {
        Some(self.kernel_sent?.max(self.initramfs_sent?))
    }

    /// Whether a worker that is registered since that moment may be the one of this boot.
    ///
    /// A machine that only asked what to load runs nothing of it: somebody may have asked in the node's name. Where no stage
    /// report was heard, as when the boot endpoint was away meanwhile, a machine that was sent the whole kernel and the whole
    /// initramfs counts, too, or its boot would never arrive. Where neither was heard, the worker is taken for that of the boot
    /// before: the node is up all the same, and what it runs is told by that boot until the next one.
    pub fn may_have_worker(&self, since: At) -> bool {
        // A master takes a while to miss the worker of the boot before.
        let is_later = since >= self.began;
        let was_sent = self.sent().is_some_and(|sent| since >= sent);
        is_later && (self.is_at_least(Stage::Kernel) || was_sent)
    }

    /// The furthest stage that it has reached.
    pub fn reached(&self) -> Option<Stage> {
        self.steps.keys().next_back().copied()
    }

    /// Whether it has reached the stage, or a later one.
    pub fn is_at_least(&self, stage: Stage) -> bool {
        self.reached().is_some_and(|reached| reached >= stage)
    }

    /// What was heard of the furthest stage.
    pub fn step(&self) -> Option<(Stage, &Step)> {
        self.steps
            .iter()
            .next_back()
            .map(|(stage, step)| (*stage, step))
    }

    /// How long each stage took: from when the stage before it was reached until it was itself. The
    /// first stage has no time, nor has one that only failed.
    pub fn times(&self) -> impl Iterator<Item = (Stage, Duration)> {
        let reached = || {
            let steps = self.steps.iter();
            steps.filter_map(|(stage, step)| Some((*stage, step.reached()?)))
        };
        let pairs = reached().zip(reached().skip(1));
        pairs.map(|((_, before), (stage, at))| (stage, at.since(before)))
    }

    /// Notes that a stage goes well.
    pub(super) fn hear(&mut self, stage: Stage, at: At) -> &mut Step {
        let step = self.note(stage, at);
        if step.failures > 0 && step.times == step.failures + 1 {
            step.recovered = Some(at);
        }
        step
    }

    /// Notes that something was heard of a stage.
    fn note(&mut self, stage: Stage, at: At) -> &mut Step {
        self.last = self.last.max(at);
        let step = self.steps.entry(stage).or_insert_with(|| Step {
            first: at,
            last: at,
            times: 0,
            percent: 0,
            words: Words::default(),
            failures: 0,
            recovered: None,
        });
        step.last = step.last.max(at);
        step.times = step.times.saturating_add(1);
        step
    }

    /// Notes that something went wrong in a stage.
    pub(super) fn fail(&mut self, stage: Stage, at: At, words: Words) -> &mut Step {
        self.failure = Some(Failure {
            stage,
            at,
            words: words.clone(),
        });
        let step = self.note(stage, at);
        step.failures = step.failures.saturating_add(1);
        step.words = words;
        step
    }
}

/// Two machines that answer to one Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// When it was last seen.
    pub at: At,
    /// The ids of the two boots.
    pub boots: [BootId; 2],
    /// Their addresses, as far as they are known; often the same.
    pub addresses: Vec<Ipv4Addr>,
}

/// A node's last boots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The oldest first; never more than [`BOOTS_KEPT`].
    pub boots: VecDeque<Boot>,
    /// Whether its Ethernet address is somebody else's, too.
    pub duplicate: Option<Duplicate>,
    /// By what it was not reached when a command last tried.
    pub unreached: BTreeMap<Means, Unreached>,
    /// When a command last tried to reach it, by what; whatever came of it.
    pub(super) tried: BTreeMap<Means, At>,
    /// Which boot has reported last.
    pub(super) reporter: Option<BootId>,
}

impl Record {
    /// Its last boot.
    pub fn current(&self) -> Option<&Boot> {
        self.boots.back()
    }

    /// The last boot that was where the node arrives, of those that are kept.
    pub fn last_arrived(&self, arrival: Stage) -> Option<&Boot> {
        let mut boots = self.boots.iter().rev();
        boots.find(|boot| boot.arrived(arrival).is_some())
    }

    /// When a command last tried to reach it; none if that is not known. A time that has not come yet tells nothing: the clock
    /// was set back since.
    pub(super) fn last_tried(&self, means: Means, now: At) -> Option<At> {
        let last = self.tried.get(&means).copied();
        last.filter(|last| *last <= now)
    }

    /// Notes what came of trying to reach it. Tells whether that changes what is known.
    pub(super) fn tried(&mut self, at: At, means: Means, problem: Option<Words>) -> bool {
        self.tried.insert(means, at);
        match problem {
            Some(words) => {
                let unreached = Unreached { at, words };
                self.unreached.insert(means, unreached.clone()) != Some(unreached)
            }
            None => self.unreached.remove(&means).is_some(),
        }
    }

    /// An offer as a boot is to have it: that of another boot, if it is the same.
    pub(super) fn share(&self, offer: Arc<Offer>) -> Arc<Offer> {
        let mut known = self.boots.iter().filter_map(|boot| boot.offer.as_ref());
        known
            .find(|known| **known == offer)
            .cloned()
            .unwrap_or(offer)
    }

    /// Begins a boot.
    pub(super) fn begin(&mut self, at: At) -> &mut Boot {
        let mut boot = Boot::new(1, at);
        if let Some(before) = self.boots.back() {
            boot.number = before.number + 1;
            boot.lost_before = before.lost_before.and(before);
        }
        self.put(boot)
    }

    /// The last boot, if it goes on; else a new one.
    pub(super) fn go_on(&mut self, goes_on: bool, at: At) -> &mut Boot {
        match self.boots.len() {
            count if goes_on && count > 0 => &mut self.boots[count - 1],
            _ => self.begin(at),
        }
    }

    /// Which boot goes first: the oldest, but not the last that came as far as its kernel. That is what the node runs, however often
    /// somebody asks in its name.
    fn first_to_go(&self) -> usize {
        let runs = self
            .boots
            .iter()
            .rposition(|boot| boot.is_at_least(Stage::Kernel));
        usize::from(runs == Some(0))
    }

    /// Puts a boot in its place, in the stead of the one with its number. One that is older than those that are kept is not.
    pub(super) fn put(&mut self, mut boot: Boot) -> &mut Boot {
        boot.offer = boot.offer.take().map(|offer| self.share(offer));
        let mut place = self
            .boots
            .partition_point(|other| other.number < boot.number);
        let is_full = self.boots.len() == BOOTS_KEPT;
        let goes = self.first_to_go();
        match self.boots.get_mut(place) {
            Some(other) if other.number == boot.number => *other = boot,
            _ if is_full && place <= goes => place = goes,
            _ => {
                if is_full {
                    // First, or the list would grow, and never shrink again.
                    self.boots.remove(goes);
                    place -= 1;
                }
                self.boots.insert(place, boot);
            }
        }
        &mut self.boots[place]
    }
}

/// Offers in the journal, where each boot has its own.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Offer;

    #[expect(clippy::ref_option, reason = "serde hands the field over like this")]
    pub(super) fn serialize<S: Serializer>(
        offer: &Option<Arc<Offer>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        offer.as_deref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<Offer>>, D::Error> {
        Ok(Option::<Offer>::deserialize(deserializer)?.map(Arc::new))
    }
}

/// A machine that is not in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Its Ethernet address.
    #[serde(with = "text")]
    pub mac: MacAddr,
    /// When it was first seen.
    pub first: At,
    /// When it was last seen.
    pub last: At,
    /// Where it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// What was last heard of it, or what it said.
    #[serde(default)]
    pub words: Words,
    /// What it is, once it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
}
