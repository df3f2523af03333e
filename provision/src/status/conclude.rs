//! Where a node is, and why. Pure.

use std::time::Duration;

use super::{At, Boot, Record, Stage, for_people, view::State};
use crate::model::Node;

/// What is known of a node's worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// regex-master was not asked, or did not answer.
    Unknown,
    /// It is attached.
    Yes,
    /// It is not, since that moment at least.
    NotSince(At),
}

/// How long a worker may be away: it reconnects by itself, and regex-master may be restarted.
const WORKER_GRACE: Duration = Duration::from_secs(30);

/// A conclusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// Where the node is.
    pub state: State,
    /// Why, and what to do.
    pub reason: String,
    /// Boots in a row, the last one included, that did not arrive.
    pub attempts: u32,
}

/// The last stage of a node's boot.
pub fn arrival(node: &Node) -> Stage {
    if node.settings.worker.is_some() {
        Stage::Worker
    } else {
        Stage::System
    }
}

/// Where a node is, by what was heard of it.
pub fn conclude(
    node: &Node,
    record: Option<&Record>,
    worker: Attached,
    master_url: &str,
    now: At,
) -> Conclusion {
    let Some((record, boot)) = record.and_then(|record| Some((record, record.current()?))) else {
        let (state, reason) = if worker == Attached::Yes {
            (
                State::Up,
                "its worker is registered; its boot was not heard",
            )
        } else {
            let reason = "nothing was heard of it yet; is it switched on, does it boot from the \
                          network, and is its MAC right?";
            (State::Never, reason)
        };
        return Conclusion {
            state,
            reason: reason.into(),
            attempts: 0,
        };
    };
    let arrival = arrival(node);
    let lost = record
        .boots
        .iter()
        .rev()
        .take_while(|boot| !boot.is_at_least(arrival));
    let attempts = u32::try_from(lost.count()).unwrap_or(u32::MAX);
    let (state, reason) = of_boot(boot, arrival, worker, master_url, now);
    let reason = match state {
        State::Failed | State::Stuck if attempts > 1 => {
            format!("{reason} (boot {attempts} in a row that did not arrive)")
        }
        _ => reason,
    };
    Conclusion {
        state,
        reason,
        attempts,
    }
}

fn of_boot(
    boot: &Boot,
    arrival: Stage,
    worker: Attached,
    master_url: &str,
    now: At,
) -> (State, String) {
    if let Some(failure) = &boot.failure {
        let (stage, words) = (failure.stage, &failure.words);
        let ago = for_people(now.since(failure.at));
        return (State::Failed, format!("{stage}: {words} ({ago} ago)"));
    }
    let Some((stage, step)) = boot.step() else {
        return (State::Booting, "it has begun".into());
    };
    if stage >= arrival {
        return match worker {
            Attached::NotSince(since)
                if arrival == Stage::Worker && now.since(since.max(boot.last)) > WORKER_GRACE =>
            {
                let ago = for_people(now.since(since.max(boot.last)));
                let reason = format!(
                    "its worker left {master_url} {ago} ago; is the node off, does it hang, did \
                     regex-worker end (`systemctl status regex-worker`)?"
                );
                (State::Lost, reason)
            }
            _ => {
                let took = for_people(step.first.since(boot.began));
                (State::Up, format!("booted in {took}"))
            }
        };
    }
    let silent = now.since(boot.last);
    if silent > patience(boot, stage) {
        return (State::Stuck, stuck(boot, stage, master_url, now));
    }
    let percent = match step.percent {
        0 => String::new(),
        percent => format!(" {percent}%"),
    };
    let words = match step.words.as_str() {
        "" => String::new(),
        words => format!(": {words}"),
    };
    (State::Booting, format!("{stage}{percent}{words}"))
}

/// How long a kernel may take from being sent, with its initramfs, until the initramfs reports.
const KERNEL_PATIENCE: Duration = Duration::from_secs(120);

/// How long a boot may be silent before it is called stuck.
fn patience(boot: &Boot, stage: Stage) -> Duration {
    if stage == Stage::Script && boot.kernel_sent.is_some() && boot.initramfs_sent.is_some() {
        // Nothing is left to be fetched slowly.
        return KERNEL_PATIENCE;
    }
    stage.patience()
}

/// What a node that has been silent for too long may suffer from.
fn stuck(boot: &Boot, stage: Stage, master_url: &str, now: At) -> String {
    let silent = for_people(now.since(boot.last));
    let address = boot
        .address
        .map_or_else(String::new, |address| format!(" {address}"));
    let words = boot
        .steps
        .get(&stage)
        .map_or("", |step| step.words.as_str());
    match stage {
        Stage::Dhcp => format!(
            "dhcp: it {}, and asked for no loader in {silent}; does its firmware boot from the \
             network, is UDP port 69 open?",
            if words.is_empty() {
                "asked for an address"
            } else {
                words
            }
        ),
        Stage::Loader => format!(
            "loader: it has {}, and asked for no boot script in {silent}; is the HTTP port open, does \
             this loader work on its firmware (loader = \"ipxe\", \"pxelinux\" or \"grub\")?",
            if words.is_empty() { "a loader" } else { words }
        ),
        Stage::Script => match (boot.kernel_sent, boot.initramfs_sent) {
            (None, _) => format!(
                "script: it was told what to load {silent} ago, and has not fetched the whole kernel; \
                 look at its console"
            ),
            (Some(_), None) => format!(
                "script: it has the kernel, and not the whole initramfs, for {silent}; has it too \
                 little memory?"
            ),
            (Some(_), Some(sent)) => format!(
                "script: it was sent kernel and initramfs {} ago, and the kernel never reported: it hangs \
                 in the kernel, or its network card has no driver in the initramfs; look at its console",
                for_people(now.since(sent))
            ),
        },
        Stage::Kernel => format!(
            "kernel: its initramfs runs{address} and has said nothing for {silent}; look at its console"
        ),
        Stage::Image => {
            let percent = boot.steps.get(&stage).map_or(0, |step| step.percent);
            format!(
                "image: {percent}% of its root, and no more for {silent}; is the network cut, is the \
                 node off?"
            )
        }
        Stage::Verified => format!(
            "verified: it has its root, and could not put it together in {silent}; has it too little \
             memory? look at its console"
        ),
        Stage::Root => format!(
            "root: its system was started {silent} ago, and is not up; look at its console \
             (`systemctl list-jobs`)"
        ),
        Stage::System | Stage::Worker => format!(
            "system: its system is up for {silent}, and its regex-worker is not registered with \
             {master_url}; `systemctl status regex-worker` on the node says why"
        ),
    }
}
