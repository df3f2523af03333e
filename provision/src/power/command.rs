//! A site's own commands, one a node and action.

use std::process::Command;
use std::time::Duration;

use super::{Action, PowerError, Reply, success};
use crate::model::Node;
use crate::process::capture;

/// The most that is kept of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The commands of a node; see [`crate::model::BmcKind::Command`].
pub(super) struct Commands<'a> {
    pub(super) on: &'a [String],
    pub(super) off: Option<&'a [String]>,
    pub(super) cycle: Option<&'a [String]>,
    pub(super) status: Option<&'a [String]>,
}

impl Commands<'_> {
    pub(super) fn act(
        &self,
        node: &Node,
        action: Action,
        limit: Duration,
    ) -> Result<Reply, PowerError> {
        let missing = || PowerError::Cannot {
            kind: "command",
            what: format!("{action}: cluster.toml has no command for it"),
        };
        match (action, self.cycle) {
            (Action::On, _) => tell(node, self.on, limit).map(|_| Reply::Told),
            (Action::Off, _) => {
                tell(node, self.off.ok_or_else(missing)?, limit).map(|_| Reply::Told)
            }
            (Action::Cycle, Some(cycle)) => tell(node, cycle, limit).map(|_| Reply::Told),
            (Action::Cycle, None) => {
                tell(node, self.off.ok_or_else(missing)?, limit)?;
                tell(node, self.on, limit).map(|_| Reply::Told)
            }
            (Action::Status, _) => {
                let answer = tell(node, self.status.ok_or_else(missing)?, limit)?;
                match answer.trim().to_lowercase().as_str() {
                    "on" => Ok(Reply::On),
                    "off" => Ok(Reply::Off),
                    _ => Err(PowerError::Answer {
                        address: "the status command".to_owned(),
                        answer: format!("{:?}; it must print on or off", shortened(&answer)),
                    }),
                }
            }
        }
    }
}

fn shortened(answer: &str) -> String {
    answer.trim().chars().take(200).collect()
}

/// Runs a command with the node's values in it; what it prints.
fn tell(node: &Node, template: &[String], limit: Duration) -> Result<String, PowerError> {
    let mut words = template.iter().map(|word| filled(word, node));
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(words);
    let ended =
        capture(&mut command, limit, MAX_ANSWER_BYTES).map_err(|source| PowerError::Run {
            program: program.clone(),
            hint: "",
            source,
        })?;
    let captured = success(&program, &program, limit, ended)?;
    Ok(String::from_utf8_lossy(&captured.out).into_owned())
}

/// A word with the node's values in place of `{node}`, `{address}` and `{mac}`. None of them can hold a brace.
fn filled(word: &str, node: &Node) -> String {
    word.replace("{node}", node.name.as_str())
        .replace("{address}", &node.address.to_string())
        .replace("{mac}", &node.mac.to_string())
}
