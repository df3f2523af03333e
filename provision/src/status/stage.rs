//! The stages of a boot, in their order.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a node has reached. Stages are ordered; a root mode skips those that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It has asked for an address.
    Dhcp,
    /// It has fetched a loader, or the loader has asked for the first script.
    Loader,
    /// It was told what to load: kernel, initramfs, command line.
    Script,
    /// Its kernel and initramfs run, and it has an address.
    Kernel,
    /// It fetches its root.
    Image,
    /// The root is the one that was asked for.
    Verified,
    /// The root is put together; the system starts.
    Root,
    /// The system is up.
    System,
    /// Its regex-worker is registered with regex-master.
    Worker,
}

/// A text that names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such stage; the stages are dhcp, loader, script, kernel, image, verified, root, system, worker"
)]
pub struct NoStage;

impl Stage {
    /// All, in their order.
    pub const ALL: [Self; 9] = [
        Self::Dhcp,
        Self::Loader,
        Self::Script,
        Self::Kernel,
        Self::Image,
        Self::Verified,
        Self::Root,
        Self::System,
        Self::Worker,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Loader => "loader",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::Image => "image",
            Self::Verified => "verified",
            Self::Root => "root",
            Self::System => "system",
            Self::Worker => "worker",
        }
    }

    /// How long a node may be silent after it has reached the stage, before it is called stuck.
    ///
    /// Above what slow machines need: firmware fetches kernel and initramfs at 2 MB/s and worse;
    /// an initramfs reports at least every 30 seconds while it cannot fetch.
    pub fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Dhcp | Self::Loader => 90,
            Self::Script | Self::Image => 300,
            Self::Kernel | Self::Verified => 120,
            Self::Root | Self::System => 240,
            // It has arrived.
            Self::Worker => return Duration::MAX,
        })
    }
}

impl FromStr for Stage {
    type Err = NoStage;

    fn from_str(text: &str) -> Result<Self, NoStage> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or(NoStage)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_order_are_those_of_the_wire() {
        for pair in Stage::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
        }
        for stage in Stage::ALL {
            assert_eq!(stage.as_str().parse(), Ok(stage));
            assert_eq!(
                serde_json::to_string(&stage).expect("a name"),
                format!("\"{stage}\"")
            );
        }
        assert_eq!("Kernel".parse::<Stage>(), Err(NoStage));
    }
}
