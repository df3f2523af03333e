//! Whether this machine's clock can be right: a node that is told a wrong time refuses certificates and confuses every log.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Finding, Level};
use crate::model::Cluster;
use crate::process::{End, capture};

const TOPIC: &str = "clock";

/// 2026-01-01, before which this program was not there.
const EARLIEST: u64 = 1_767_225_600;

/// How long chronyc may take.
const WAIT: Duration = Duration::from_secs(3);

const MAX_ANSWER_BYTES: usize = 64 << 10;

pub(super) fn look(cluster: &Cluster) -> Vec<Finding> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs());
    if seconds < EARLIEST {
        return vec![Finding::bad(
            TOPIC,
            Level::Problem,
            format!("the clock stands at {seconds} s after 1970, which is long ago"),
            "set it, and see to the battery: date -s ...; hwclock --systohc",
        )];
    }
    if !cluster.time.enabled {
        return Vec::new();
    }
    let tracking = capture(
        Command::new("chronyc").args(["-n", "tracking"]),
        WAIT,
        MAX_ANSWER_BYTES,
    );
    match tracking {
        Ok((End::Exited(status), said)) if status.success() => {
            vec![judge(&String::from_utf8_lossy(&said.out))]
        }
        Ok((_, said)) => vec![Finding::bad(
            TOPIC,
            Level::Unknown,
            format!(
                "chrony does not say whether the clock is set: {}",
                said.last_words()
            ),
            "start chrony: systemctl start chrony",
        )],
        Err(error) => vec![Finding::bad(
            TOPIC,
            Level::Unknown,
            format!("cannot run chronyc: {error}"),
            "install it: apt install chrony; or write enabled = false below [time]",
        )],
    }
}

/// What `chronyc tracking` means.
fn judge(said: &str) -> Finding {
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim())
    };
    match field("Leap status") {
        Some("Not synchronised") | None => Finding::bad(
            TOPIC,
            Level::Warning,
            "the clock is not set by anybody",
            "see `chronyc sources`; name `servers` below [time] that can be reached",
        ),
        Some(_) => {
            let offset = field("System time").unwrap_or("unknown");
            Finding::fine(TOPIC, format!("the clock is set: {offset}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nobody_sets_is_told() {
        let set = "Reference ID    : C0248F97 (192.36.143.151)\nStratum         : 2\n\
                   System time     : 0.000012 seconds fast of NTP time\nLeap status     : Normal\n";
        assert_eq!(judge(set).level, Level::Fine);
        assert_eq!(
            judge(&set.replace("Normal", "Not synchronised")).level,
            Level::Warning
        );
        assert_eq!(judge("").level, Level::Warning);
    }
}
