//! Where a node is, and why. Pure.

use std::time::Duration;

use super::{At, BOOTS_KEPT, Boot, Failure, Record, Stage, for_people, view::State};
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

/// How long regex-master may take to miss the worker of a node that was switched off.
const MASTER_GRACE: Duration = Duration::from_secs(90);

/// So many boots in a row that come no further than each other are no progress.
const ROUNDS: usize = 3;

/// Boots that follow each other within this time are rounds of one machine that boots by itself: the longest self-test of a
/// server's firmware, and more.
const ROUND: Duration = Duration::from_secs(30 * 60);

/// A conclusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// Where the node is.
    pub state: State,
    /// Why, and what to do.
    pub reason: String,
    /// Boots in a row, the last one included, that did not arrive.
    pub attempts: u32,
    /// Whether the last boot is not the node's: somebody else has asked in its name, and the node runs what it booted before.
    pub is_anothers: bool,
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
            is_anothers: false,
        };
    };
    let arrival = arrival(node);
    let attempts = attempts(record, arrival);
    let (mut state, mut reason) = of_boot(boot, arrival, worker, master_url, now);
    if state == State::Booting
        && let Some(furthest) = goes_round(record, arrival)
    {
        // Its own initramfs or system speaks, so it may arrive this time and must not be cut off; before that, only a
        // loader has asked.
        if boot.is_at_least(Stage::Kernel) {
            reason.push_str(&suspicion(furthest));
        } else {
            (state, reason) = (State::Stuck, round(furthest, master_url));
        }
    }
    // Whoever only loads may be told to stop, or that there is nothing for it. An address that it was refused is the node's own
    // trouble, or that of two machines: its system may have asked.
    let was_told = |failure: &Failure| failure.stage == Stage::Script;
    let may_be_another = state == State::Stuck
        || !boot.is_at_least(Stage::Kernel) && boot.failure.as_ref().is_some_and(was_told);
    if may_be_another && worker == Attached::Yes && now.since(boot.began) > MASTER_GRACE {
        // Its worker is that of the boot before, and is there: the node has never stopped.
        let stage = boot.reached().map_or("a new boot", Stage::as_str);
        let ago = for_people(now.since(boot.last));
        let said = said(boot);
        let reason = format!(
            "its worker is attached; {stage} was heard {ago} ago, and nothing came of it{said}: somebody else, or \
             another loader, has asked in its name"
        );
        return Conclusion {
            state: State::Up,
            reason,
            attempts: 0,
            is_anothers: true,
        };
    }
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
        is_anothers: false,
    }
}

/// Boots in a row, the last one included, that did not arrive.
fn attempts(record: &Record, arrival: Stage) -> u32 {
    let lost = lost(record, arrival).count();
    let all = u32::try_from(lost).unwrap_or(u32::MAX);
    match record.current() {
        // There were more, which are not kept; one that the node runs may be, in front of them.
        Some(boot) if lost + 1 >= BOOTS_KEPT => {
            all.max(boot.lost_before.before(arrival).saturating_add(1))
        }
        _ => all,
    }
}

/// The boots in a row that did not arrive, the last one first.
fn lost(record: &Record, arrival: Stage) -> impl Iterator<Item = &Boot> {
    let boots = record.boots.iter().rev();
    boots.take_while(move |boot| boot.arrived(arrival).is_none())
}

/// If the last boots followed each other and the last one has come no further than those before it: the one that
/// came furthest.
fn goes_round(record: &Record, arrival: Stage) -> Option<&Boot> {
    let how_far = |boot: &Boot| {
        let sent = (boot.kernel_sent.is_some(), boot.initramfs_sent.is_some());
        (boot.reached(), sent)
    };
    let current = record.current()?;
    let mut next = current.began;
    let before: Vec<&Boot> = lost(record, arrival)
        .skip(1)
        .take_while(|boot| {
            let follows = next.since(boot.last) <= ROUND;
            next = boot.began;
            follows
        })
        .collect();
    // Of those that came as far the last one.
    let furthest = before.iter().rev().max_by_key(|boot| how_far(boot))?;
    let goes_round = before.len() + 1 >= ROUNDS && how_far(current) <= how_far(furthest);
    goes_round.then_some(*furthest)
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
    if let Some(arrived) = boot.arrived(arrival) {
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
                let took = for_people(arrived.since(boot.began));
                (State::Up, format!("booted in {took}"))
            }
        };
    }
    if now.since(last_progress(boot, stage)) > patience(boot, stage) {
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

/// When a boot has last come further. A loader that asks the same again and again comes no further; an initramfs
/// that reports does what it can.
fn last_progress(boot: &Boot, stage: Stage) -> At {
    let first = boot.steps.get(&stage).map_or(boot.began, |step| step.first);
    match stage {
        Stage::Dhcp | Stage::Loader => first,
        Stage::Script => {
            let sent = boot.kernel_sent.max(boot.initramfs_sent);
            sent.map_or(first, |sent| sent.max(first))
        }
        _ => boot.last,
    }
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
    let silent = for_people(now.since(last_progress(boot, stage)));
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

/// What is said of a boot on its way, where those before it came as far as this one, or further, and did not arrive.
fn suspicion(furthest: &Boot) -> String {
    let stage = furthest.reached().map_or("nothing", Stage::as_str);
    let said = said(furthest);
    format!("; the boots before this one came no further than {stage}{said}")
}

/// In parentheses, why a boot failed; nothing if it did not say.
fn said(boot: &Boot) -> String {
    boot.failure.as_ref().map_or_else(String::new, |failure| {
        format!(" ({}: {})", failure.stage, failure.words)
    })
}

/// What a node may suffer from that boots again and again, and comes as far as in this boot.
fn round(boot: &Boot, master_url: &str) -> String {
    let Some((stage, step)) = boot.step() else {
        return "it begins to boot again and again; look at its console".into();
    };
    match stage {
        Stage::Dhcp => "dhcp: it asks for an address again and again, and for no loader; does its firmware boot from \
                        the network, is UDP port 69 open?"
            .into(),
        Stage::Loader => format!(
            "loader: it has {}, and boots again without asking for its boot script; is the HTTP port open, does this \
             loader work on its firmware (loader = \"ipxe\", \"pxelinux\" or \"grub\")?",
            match step.words.as_str() {
                "" => "a loader",
                words => words,
            }
        ),
        Stage::Script if boot.kernel_sent.is_some() && boot.initramfs_sent.is_some() => {
            "script: it has kernel and initramfs; the kernel starts and the machine boots again (does it panic? see \
             its console)"
                .into()
        }
        Stage::Script => "script: it was told what to load, and boots again before it has all of the kernel and the \
                          initramfs; look at its console"
            .into(),
        Stage::System | Stage::Worker => format!(
            "{stage}: its system comes up, and it boots again before its regex-worker is registered with {master_url}; \
             `systemctl status regex-worker` on the node says why"
        ),
        Stage::Kernel | Stage::Image | Stage::Verified | Stage::Root => {
            let said = said(boot);
            format!("{stage}: it comes no further, and boots again{said}; look at its console")
        }
    }
}
