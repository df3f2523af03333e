//! IPMI over the network, by `ipmitool`.
//!
//! Always with cipher suite 3: versions of the program wait for ten seconds when they are to find one out. And always verbose:
//! otherwise a wrong password sounds like a machine that is not there. The password goes through the environment,
//! which others cannot read.

use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use super::secret::Secret;
use super::{Action, PowerError, Reply, success};
use crate::process::capture;

const PROGRAM: &str = "ipmitool";

/// The most that is kept of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// What ipmitool says when a session is refused, in small letters.
const REFUSALS: [&str; 5] = [
    "unauthorized name",
    "hmac is invalid",
    "invalid user name",
    "password",
    "insufficient privilege",
];

/// A BMC that is spoken to.
#[derive(Debug)]
pub(super) struct Ipmi {
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) secret: Secret,
    pub(super) limit: Duration,
}

impl Ipmi {
    pub(super) fn act(&self, action: Action, netboot: bool) -> Result<Reply, PowerError> {
        if netboot {
            self.ask(&["chassis", "bootdev", "pxe"])?;
        }
        let verb = match action {
            Action::Status => return self.status(),
            Action::On => "on",
            Action::Off => "off",
            // A machine that is off refuses to be cycled.
            Action::Cycle if self.status()? == Reply::Off => "on",
            Action::Cycle => "cycle",
        };
        self.ask(&["chassis", "power", verb])?;
        Ok(Reply::Told)
    }

    fn status(&self) -> Result<Reply, PowerError> {
        let answer = self.ask(&["chassis", "power", "status"])?;
        let state = answer
            .lines()
            .find_map(|line| line.trim().strip_prefix("Chassis Power is "));
        match state {
            Some("on") => Ok(Reply::On),
            Some("off") => Ok(Reply::Off),
            _ => Err(PowerError::Answer {
                address: self.address.clone(),
                answer: answer.chars().take(200).collect(),
            }),
        }
    }

    fn ask(&self, words: &[&str]) -> Result<String, PowerError> {
        let mut command = Command::new(PROGRAM);
        command
            .args(["-v", "-I", "lanplus", "-C", "3", "-H", &self.address, "-p"])
            .arg(self.port.to_string())
            .args(["-U", &self.secret.user, "-E"])
            .args(words)
            .env("IPMI_PASSWORD", &self.secret.password)
            .env_remove("IPMITOOL_PASSWORD");
        let ended = capture(&mut command, self.limit, MAX_ANSWER_BYTES).map_err(|source| {
            PowerError::Run {
                program: PROGRAM.to_owned(),
                hint: match source.kind() {
                    ErrorKind::NotFound => "; the Debian package is ipmitool",
                    _ => "",
                },
                source,
            }
        })?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&ended.1.err),
            String::from_utf8_lossy(&ended.1.out)
        );
        match success(PROGRAM, &self.address, self.limit, ended) {
            Ok(captured) => Ok(String::from_utf8_lossy(&captured.out).into_owned()),
            Err(PowerError::Failed { words, .. }) => Err(self.failure(&said, words)),
            Err(error) => Err(error),
        }
    }

    /// What a failure of the program means.
    fn failure(&self, said: &str, words: String) -> PowerError {
        let address = self.address.clone();
        let refusal = said.lines().find(|line| {
            let line = line.to_lowercase();
            REFUSALS.iter().any(|refusal| line.contains(refusal))
        });
        let said = said.to_lowercase();
        if let Some(refusal) = refusal {
            let words = refusal.trim_start_matches(['>', ' ']).to_owned();
            PowerError::Refused { address, words }
        } else if said.contains("unable to establish") || said.contains("could not open socket") {
            PowerError::Unreachable { address, words }
        } else {
            PowerError::Failed {
                program: PROGRAM.to_owned(),
                words,
            }
        }
    }
}
