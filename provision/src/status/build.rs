//! From what was heard to what is told. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::conclude::{Attached, arrival, conclude};
use super::view::{
    BootStatus, DaemonStatus, Digests, MasterStatus, NodeStatus, StageStatus, Status,
    UnknownStatus, WorkerStatus,
};
use super::{At, Board, Boot, Duplicate, NoOffer, Offer, for_people, maker, reboot_reason, timing};
use crate::model::{Cluster, Dhcp, MacAddr, Node};

/// How long two machines with one Ethernet address are told of after they were last seen.
const DUPLICATE_TOLD: Duration = Duration::from_secs(3600);

/// A machine that is not in the cluster and was not seen for this long does not want to boot any more.
const UNKNOWN_TOLD: Duration = Duration::from_secs(24 * 3600);

/// Whether a machine that is not in the cluster was not seen for a day.
pub(super) fn is_old(last: At, now: At) -> bool {
    now.since(last) > UNKNOWN_TOLD
}

/// How long regex-master may be silent before what it said last counts no more.
const MASTER_FRESH: Duration = Duration::from_secs(15);

/// What regex-master knows of workers.
#[derive(Debug, Clone, Default)]
pub struct Workers {
    /// What is told of it.
    pub status: MasterStatus,
    /// The workers of nodes.
    pub attached: HashMap<MacAddr, WorkerStatus>,
    /// When workers that are gone were last there.
    pub left: HashMap<MacAddr, At>,
    /// When it first answered.
    pub since: Option<At>,
}

impl Workers {
    /// What is known of a node's worker.
    fn of(&self, mac: MacAddr, now: At) -> Attached {
        let is_fresh = |answered| now.since(answered) <= MASTER_FRESH;
        let (Some(since), true) = (self.since, self.status.answered.is_some_and(is_fresh)) else {
            return Attached::Unknown;
        };
        if self.attached.contains_key(&mac) {
            return Attached::Yes;
        }
        Attached::NotSince(self.left.get(&mac).copied().unwrap_or(since))
    }
}

/// What a status is made from.
pub struct Known<'a> {
    /// Now.
    pub at: At,
    /// Since when the boot endpoint runs, if it does.
    pub serving_since: Option<At>,
    /// The generation in force.
    pub generation: Option<u32>,
    /// Its cluster.
    pub cluster: &'a Cluster,
    /// What each node would boot now, in the order of the cluster; the error says why it could
    /// not.
    pub offers: &'a [Result<Arc<Offer>, NoOffer>],
    /// What was heard.
    pub board: &'a Board,
    /// What regex-master says.
    pub workers: &'a Workers,
    /// The daemons that are supervised.
    pub daemons: Vec<DaemonStatus>,
    /// What is wrong with the boot endpoint itself.
    pub warnings: Vec<String>,
}

/// Puts everything together.
pub fn build(known: Known<'_>) -> Status {
    let Known {
        at,
        cluster,
        board,
        workers,
        ..
    } = known;
    let mut warnings = known.warnings;
    warnings.extend(of_cluster(at, cluster, board));
    for daemon in known
        .daemons
        .iter()
        .filter(|daemon| daemon.wanted && daemon.pid.is_none())
    {
        let ended = daemon.ended.as_deref().unwrap_or("it was not started yet");
        warnings.push(format!("{} does not run: {ended}", daemon.name));
    }
    if let (Some(url), Some(error)) = (&workers.status.url, &workers.status.error) {
        warnings.push(format!("regex-master at {url} does not answer: {error}"));
    }
    let mut nodes = Vec::with_capacity(cluster.nodes().len());
    for (node, offer) in cluster.nodes().iter().zip(known.offers) {
        let status = of_node(node, offer, known.at, cluster, board, workers);
        if let Some(duplicate) = &status.duplicate {
            warnings.push(format!("{}: {duplicate}", node.name));
        }
        nodes.push(status);
    }
    let boots = cluster.nodes().iter().flat_map(|node| {
        let record = board.record(node.mac).into_iter();
        record.flat_map(move |record| record.boots.iter().map(move |boot| (boot, arrival(node))))
    });
    Status {
        cluster: cluster.name.to_string(),
        at,
        serving_since: known.serving_since,
        generation: known.generation,
        warnings,
        daemons: known.daemons,
        master: workers.status.clone(),
        nodes,
        unknown: unknown(board),
        timing: timing(boots),
    }
}

fn of_cluster(at: At, cluster: &Cluster, board: &Board) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(pool) = board.pool(at) {
        let range = match &cluster.dhcp {
            Dhcp::Full {
                range: Some(range), ..
            } => format!("the dynamic range {range} has no free address"),
            _ => "there is no dynamic range for machines that are not known".to_owned(),
        };
        warnings.push(format!(
            "{range}: {} asked in vain, {} ago last; widen `range` below [dhcp], or approve machines",
            counted(pool.times, pool.mac),
            for_people(at.since(pool.at)),
        ));
    }
    let unknown = board.unknown();
    let lately = unknown.iter().filter(|machine| !is_old(machine.last, at));
    match lately.count() {
        0 => {}
        1 => warnings.push(
            "a machine that is not in cluster.toml wants to boot; see `regex-provision node discover`".into(),
        ),
        count => warnings.push(format!(
            "{count} machines that are not in cluster.toml want to boot; see `regex-provision node discover`"
        )),
    }
    warnings
}

fn counted(times: u64, mac: MacAddr) -> String {
    match times {
        1 => mac.to_string(),
        _ => format!("{mac} and others, {times} times,"),
    }
}

fn of_node(
    node: &Node,
    offer: &Result<Arc<Offer>, NoOffer>,
    at: At,
    cluster: &Cluster,
    board: &Board,
    workers: &Workers,
) -> NodeStatus {
    let record = board.record(node.mac);
    let boot = record.and_then(|record| record.current());
    let attached = workers.of(node.mac, at);
    let url = cluster.network.master_url();
    let conclusion = conclude(node, record, attached, &url, at);
    // What somebody else was told in its name, it does not run.
    let own = if conclusion.is_anothers {
        record.and_then(|record| record.last_arrived(arrival(node)))
    } else {
        boot
    };
    let booted = own.and_then(|boot| boot.offer.as_deref());
    let reboot = match (booted, offer) {
        (Some(booted), Ok(wanted)) => reboot_reason(booted, wanted),
        (_, Err(none)) if none.is_denied => Some(format!(
            "cannot tell what it would boot now: {} (run it with sudo)",
            none.why
        )),
        (_, Err(none)) => Some(format!("it could not boot now: {}", none.why)),
        (None, Ok(_)) => None,
    };
    let duplicate = record
        .and_then(|record| record.duplicate.as_ref())
        .filter(|duplicate| at.since(duplicate.at) <= DUPLICATE_TOLD);
    let duplicate = duplicate.map(|duplicate| two_machines(node, duplicate, at));
    let unreached = record.map(|record| record.unreached.clone());
    let unreached = unreached.unwrap_or_default();
    let not_reached = unreached.iter().map(|(means, problem)| {
        let (means, ago) = (means.as_str(), for_people(at.since(problem.at)));
        format!("{means}: {} ({ago} ago)", problem.words)
    });
    let reasons: Vec<String> = duplicate
        .iter()
        .cloned()
        .chain([conclusion.reason])
        .chain(not_reached)
        .collect();
    NodeStatus {
        name: node.name.to_string(),
        mac: node.mac.to_string(),
        address: node.address.get(),
        image: node.settings.image.to_string(),
        state: conclusion.state,
        reason: reasons.join("; "),
        heard: boot.map(|boot| boot.last),
        attempts: conclusion.attempts,
        boot: boot.map(boot_status),
        booted: booted.map(digests),
        wanted: offer.as_ref().ok().map(|offer| digests(offer)),
        reboot,
        worker: match attached {
            Attached::Yes => workers.attached.get(&node.mac).cloned(),
            Attached::Unknown | Attached::NotSince(_) => None,
        },
        duplicate,
        unreached,
    }
}

fn two_machines(node: &Node, duplicate: &Duplicate, at: At) -> String {
    let addresses: Vec<_> = duplicate
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    let [a, b] = &duplicate.boots;
    format!(
        "two machines have the MAC {}: the boots {a} and {b} report in turns from {}, {} ago last; \
         give each its own",
        node.mac,
        addresses.join(" and "),
        for_people(at.since(duplicate.at)),
    )
}

fn boot_status(boot: &Boot) -> BootStatus {
    let times: HashMap<_, _> = boot.times().collect();
    let stage = |(stage, step): (&super::Stage, &super::Step)| StageStatus {
        stage: *stage,
        at: step.first,
        took: times
            .get(stage)
            .map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        percent: step.percent,
        failures: step.failures,
        words: step.words.clone(),
    };
    BootStatus {
        number: boot.number,
        id: boot.id.clone(),
        address: boot.address,
        began: boot.began,
        stage: boot.reached(),
        stages: boot.steps.iter().map(stage).collect(),
        failed: boot.failure.as_ref().map(|failure| failure.stage),
    }
}

fn digests(offer: &Offer) -> Digests {
    Digests {
        image: offer.image.to_string(),
        manifest: offer.manifest.to_string(),
        overlay: offer.overlay.to_string(),
    }
}

fn unknown(board: &Board) -> Vec<UnknownStatus> {
    let machine = |machine: &super::Unknown| UnknownStatus {
        mac: machine.mac.to_string(),
        maker: maker(machine.mac).map(str::to_owned),
        address: machine.address,
        first: machine.first,
        last: machine.last,
        words: machine.words.clone(),
        inventory: machine.inventory.clone(),
    };
    board.unknown().into_iter().map(machine).collect()
}
