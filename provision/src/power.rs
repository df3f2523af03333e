//! Switching nodes on and off, and asking whether they are.
//!
//! A node's [`Bmc`] says how: IPMI (`ipmi`) and the commands of a site (`command`) are programs that are run, Redfish
//! (`redfish`) is spoken over HTTP, a Wake-on-LAN packet (`wol`) is sent by ourselves. Passwords
//! ([`secret`]) never appear in arguments, messages or results.
//!
//! Invariants: every node that was asked for gets one [`Answer`]; a BMC that does not answer costs its time limit
//! and no other node's; nodes that are switched on begin one after the other, with the pause that `[power]` says.

mod command;
mod ipmi;
mod redfish;
pub mod secret;
mod wol;

use std::fmt;
use std::io;
use std::time::Duration;

use crate::model::{Bmc, BmcKind, Cluster, Node};
use crate::parallel;
use crate::process::{Captured, End, is_interrupted, programs_at_once};
use secret::SecretError;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Switch on. What is on stays on.
    On,
    /// Switch off, at once. What is off stays off.
    Off,
    /// Switch off and on. What is off is switched on.
    Cycle,
    /// Ask.
    Status,
}

impl Action {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Cycle => "cycle",
            Self::Status => "status",
        }
    }

    /// Whether it starts a machine, so that it is spread over time.
    fn starts(self) -> bool {
        matches!(self, Self::On | Self::Cycle)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// It is on.
    On,
    /// It is off.
    Off,
    /// It was told to switch on, off, or both.
    Told,
    /// A packet was sent, which nobody acknowledges.
    Sent,
}

/// A node and what came of it.
pub type Answer<'c> = (&'c Node, Result<Reply, PowerError>);

/// Why a node could not be switched or asked.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    /// cluster.toml does not say how.
    #[error("cluster.toml says no bmc for it; write one into its section or its profile")]
    NoBmc,
    /// This kind of switch cannot do that.
    #[error("{kind} cannot {what}")]
    Cannot {
        /// The kind.
        kind: &'static str,
        /// What was wanted.
        what: String,
    },
    /// The password.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A program could not be run.
    #[error("cannot run {program}{hint}")]
    Run {
        /// Its name.
        program: String,
        /// What to do, if that is known.
        hint: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program}: {words}")]
    Failed {
        /// Its name.
        program: String,
        /// Its own last words.
        words: String,
    },
    /// Nobody answers.
    #[error("{address} does not answer: {words}")]
    Unreachable {
        /// Who was asked.
        address: String,
        /// What was heard.
        words: String,
    },
    /// The user or the password is wrong.
    #[error("{address} refuses the user or the password: {words}")]
    Refused {
        /// Who was asked.
        address: String,
        /// Its own words.
        words: String,
    },
    /// It took too long.
    #[error("no answer from {address} within {} s", .limit.as_secs_f32())]
    TimedOut {
        /// Who was asked.
        address: String,
        /// How long it was given: `timeout` in `[power]`.
        limit: Duration,
    },
    /// We were told to end.
    #[error("not done, for this was interrupted; ask whether it is on")]
    Interrupted,
    /// It answered something that cannot be understood.
    #[error("{address} answered what is not understood: {answer}")]
    Answer {
        /// Who was asked.
        address: String,
        /// The answer, shortened.
        answer: String,
    },
    /// A packet could not be sent.
    #[error("cannot send a Wake-on-LAN packet from {from}; is that an address of this machine?")]
    Send {
        /// The master's address.
        from: String,
        /// Why.
        source: io::Error,
    },
}

impl PowerError {
    /// Whether the node's switch was asked, and this is what came of it. All else says nothing of the node.
    pub fn is_of_node(&self) -> bool {
        match self {
            Self::Failed { .. }
            | Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::TimedOut { .. }
            | Self::Answer { .. } => true,
            Self::NoBmc
            | Self::Cannot { .. }
            | Self::Secret(_)
            | Self::Run { .. }
            | Self::Interrupted
            | Self::Send { .. } => false,
        }
    }
}

/// How an action is carried out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The next start boots from the network, whatever the firmware's order is.
    pub netboot: bool,
}

/// Does it for all nodes, as many at once as `[power]` says; `told` gets each answer as it comes.
pub fn run<'c>(
    cluster: &'c Cluster,
    nodes: &[&'c Node],
    action: Action,
    options: Options,
    mut told: impl FnMut(Answer<'c>),
) {
    let power = &cluster.power;
    let pause = if action.starts() {
        power.stagger
    } else {
        Duration::ZERO
    };
    parallel::each(
        nodes,
        programs_at_once(usize::from(power.parallel).min(nodes.len())),
        pause,
        |node, send| {
            send(if is_interrupted() {
                Err(PowerError::Interrupted)
            } else {
                one(cluster, node, action, options)
            });
        },
        |at, result| told((nodes[at], result)),
    );
}

/// Does it for one node.
fn one(
    cluster: &Cluster,
    node: &Node,
    action: Action,
    options: Options,
) -> Result<Reply, PowerError> {
    let Bmc { kind, credentials } = node.bmc.as_ref().ok_or(PowerError::NoBmc)?;
    let limit = cluster.power.timeout;
    match kind {
        BmcKind::Ipmi { address, port } => {
            let bmc = ipmi::Ipmi {
                address: address.to_string(),
                port: *port,
                secret: credentials.load()?,
                limit,
            };
            bmc.act(action, options.netboot)
        }
        BmcKind::Redfish {
            url,
            system,
            verify,
        } => {
            let secret = credentials.load()?;
            redfish::Redfish::new(url.as_str(), system.as_deref(), *verify, secret, limit)
                .act(action, options.netboot)
        }
        BmcKind::Wol { port } if action == Action::On && !options.netboot => {
            wol::wake(&cluster.network, node.mac, *port)
        }
        BmcKind::Wol { .. } => Err(PowerError::Cannot {
            kind: "wol",
            what: match action {
                Action::On => "choose what a node boots from".to_owned(),
                _ => format!("do {action:?}; it can only switch on").to_lowercase(),
            },
        }),
        BmcKind::Command { .. } if options.netboot => Err(PowerError::Cannot {
            kind: "command",
            what: "choose what a node boots from".to_owned(),
        }),
        BmcKind::Command {
            on,
            off,
            cycle,
            status,
        } => command::Commands {
            on,
            off: off.as_deref(),
            cycle: cycle.as_deref(),
            status: status.as_deref(),
        }
        .act(node, action, limit),
    }
}

/// What a program printed, if it ended well.
fn success(
    program: &str,
    address: &str,
    limit: Duration,
    (end, captured): (End, Captured),
) -> Result<Captured, PowerError> {
    match end {
        End::TimedOut => Err(PowerError::TimedOut {
            address: address.to_owned(),
            limit,
        }),
        End::Interrupted => Err(PowerError::Interrupted),
        End::Exited(status) if status.success() => Ok(captured),
        End::Exited(status) => Err(PowerError::Failed {
            program: program.to_owned(),
            words: format!("{} ({status})", captured.last_words()),
        }),
    }
}
