//! The usual ills of a master, found by looking and by asking.
//!
//! Each module asks one question in the way a node would: a DHCP discovery is sent to hear who answers, a loader is
//! asked for over TFTP, the boot endpoint over HTTP. Nothing is changed, and nothing is sent but to the cluster's own
//! subnet and to this machine.
//!
//! Invariant: what cannot be looked at is a finding, too; a question that nobody could answer is never silently fine.

mod clock;
mod dhcp;
mod disk;
mod firewall;
mod images;
mod network;
mod services;

use std::time::Duration;

use crate::model::Cluster;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Fine,
    /// It could not be looked at, or may be meant so.
    Unknown,
    /// Nodes may not boot, or not all.
    Warning,
    /// Nodes do not boot.
    Problem,
}

impl Level {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, such as `dhcp`.
    pub topic: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is so.
    pub what: String,
    /// What to do; none where nothing is to be done.
    pub fix: Option<String>,
}

impl Finding {
    fn fine(topic: &'static str, what: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Fine,
            what: what.into(),
            fix: None,
        }
    }

    fn bad(
        topic: &'static str,
        level: Level,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            topic,
            level,
            what: what.into(),
            fix: Some(fix.into()),
        }
    }
}

/// How long who answers is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// For every DHCP server to answer; they may look for the address first.
    pub dhcp_wait: Duration,
    /// For any other service.
    pub wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dhcp_wait: Duration::from_secs(4),
            wait: Duration::from_secs(2),
        }
    }
}

/// Looks at everything, for a cluster and the machine this runs on.
pub fn examine(cluster: &Cluster, options: Options) -> Vec<Finding> {
    let mut findings = network::look(cluster);
    findings.extend(dhcp::ask(cluster, options.dhcp_wait));
    findings.extend(services::ask(cluster, options.wait));
    findings.extend(firewall::look(cluster));
    findings.extend(clock::look(cluster));
    findings.extend(disk::look(cluster));
    findings.extend(images::look(cluster));
    findings
}
