//! What is told of a cluster: the JSON of `status --json` and of `/status.json`, and what the
//! tables are made from.
//!
//! Times are milliseconds, moments milliseconds since 1970. Fields are added, never renamed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{At, BootId, Inventory, Means, Stage, Unreached, Words};

/// Everything that is known, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// When this was put together.
    pub at: At,
    /// Since when the boot endpoint runs; none if it does not, and this is what it has kept.
    pub serving_since: Option<At>,
    /// The generation that nodes boot.
    pub generation: Option<u32>,
    /// What is wrong with more than one node.
    pub warnings: Vec<String>,
    /// The daemons that the boot endpoint runs itself.
    pub daemons: Vec<DaemonStatus>,
    /// What regex-master says.
    pub master: MasterStatus,
    /// Every node, in the order of `cluster.toml`.
    pub nodes: Vec<NodeStatus>,
    /// Machines that are not in `cluster.toml`, the one seen last first.
    pub unknown: Vec<UnknownStatus>,
    /// How long stages took in the last boots of all nodes.
    pub timing: Vec<Timing>,
}

/// Where a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It said why it does not go on.
    Failed,
    /// It has been silent for too long.
    Stuck,
    /// It was up, and its worker is gone.
    Lost,
    /// Nothing was ever heard of it.
    Never,
    /// It is on its way.
    Booting,
    /// It has arrived.
    Up,
}

impl State {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Stuck => "stuck",
            Self::Lost => "lost",
            Self::Never => "never",
            Self::Booting => "booting",
            Self::Up => "up",
        }
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// The Ethernet address it boots from.
    pub mac: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The image that it is to boot.
    pub image: String,
    /// Where it is.
    pub state: State,
    /// Why, and what to do.
    pub reason: String,
    /// When it was last heard of.
    pub heard: Option<At>,
    /// Boots in a row, the last one included, that did not arrive.
    pub attempts: u32,
    /// Its last boot.
    pub boot: Option<BootStatus>,
    /// The digests that it has booted.
    pub booted: Option<Digests>,
    /// The digests that it would boot now; none if it could not.
    pub wanted: Option<Digests>,
    /// Why it would have to be rebooted to be what it is to be; none if it need not.
    pub reboot: Option<String>,
    /// Its worker at regex-master; none if it has none there, or regex-master did not answer.
    pub worker: Option<WorkerStatus>,
    /// Two machines have its Ethernet address.
    pub duplicate: Option<String>,
    /// By what it was not reached when a command last tried, and why.
    #[serde(default)]
    pub unreached: BTreeMap<Means, Unreached>,
}

/// A boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BootStatus {
    /// Counted from 1.
    pub number: u64,
    /// The id that the node has given it.
    pub id: Option<BootId>,
    /// From where it was last heard of.
    pub address: Option<Ipv4Addr>,
    /// When it began.
    pub began: At,
    /// The furthest stage.
    pub stage: Option<Stage>,
    /// Its stages, in their order.
    pub stages: Vec<StageStatus>,
    /// In which stage it failed, if it does not go on.
    pub failed: Option<Stage>,
}

/// A stage of a boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    /// Which.
    pub stage: Stage,
    /// When it was reached.
    pub at: At,
    /// How long after the stage before it; none for the first one.
    pub took: Option<u64>,
    /// How far it is, 0 to 100.
    pub percent: u8,
    /// How often it failed.
    pub failures: u32,
    /// The last that was said in it.
    pub words: Words,
}

/// What a node boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// The image's name.
    pub image: String,
    /// The image's digest.
    pub manifest: String,
    /// The digest of the node's own files.
    pub overlay: String,
}

/// A node's worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Since when it is attached.
    pub since: At,
    /// Its version.
    pub version: Words,
    /// It takes no more work.
    pub draining: bool,
}

/// What regex-master says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MasterStatus {
    /// Where it was asked; none if it was not, for no node has a worker.
    pub url: Option<String>,
    /// When it last answered.
    pub answered: Option<At>,
    /// Why it does not.
    pub error: Option<String>,
    /// How many workers are attached, those of other machines included.
    pub workers: usize,
}

/// A daemon that the boot endpoint runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// The program's name.
    pub name: String,
    /// Whether it is to run.
    pub wanted: bool,
    /// Its process, if it runs.
    pub pid: Option<u32>,
    /// Since when it is like this.
    pub since: At,
    /// How often it had to be started again.
    pub restarts: u32,
    /// How it ended the last time, and the last that it said.
    pub ended: Option<String>,
}

/// A machine that is not in `cluster.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnknownStatus {
    /// Its Ethernet address.
    pub mac: String,
    /// Who the address was given to, as far as that can be told.
    pub maker: Option<String>,
    /// Where it was last seen.
    pub address: Option<Ipv4Addr>,
    /// When it was first seen.
    pub first: At,
    /// When it was last seen.
    pub last: At,
    /// What was last heard of it.
    pub words: Words,
    /// What it is, once it waits.
    pub inventory: Option<Inventory>,
}

/// How long a stage took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// The stage; `total` for the whole boot.
    pub stage: String,
    /// In how many boots it was measured.
    pub boots: usize,
    /// Half of them took at most this long.
    pub p50: u64,
    /// 95 of 100 took at most this long.
    pub p95: u64,
}
