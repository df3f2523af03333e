//! What systemd would run on the master besides, with what `apply` wrote for it: the clock and the receiver of logs.

use std::fs;
use std::path::{Path, PathBuf};

use super::rig::{self, Daemon, text};

/// Both of them.
pub(crate) struct Services {
    _clock: Daemon,
    _logs: Daemon,
}

/// Where the nodes' logs go, below the directory of the run.
pub(crate) fn logs(directory: &Path) -> PathBuf {
    directory.join("node-logs")
}

impl Services {
    /// Starts them with configurations that say nothing but where the files of `apply` are.
    pub(crate) fn start(directory: &Path) -> Services {
        let write = |name: &str, content: &str| {
            let path = directory.join(name);
            fs::write(&path, content).expect("the directory is ours");
            path
        };
        let clock = write("chrony.conf", "confdir /etc/chrony/conf.d\n");
        let mut chronyd = rig::command("chronyd");
        // In the foreground, and without touching this machine's clock.
        chronyd.args(["-d", "-x", "-u", "root", "-f", &text(&clock)]);
        let receiver = write("rsyslog.conf", "include(file=\"/etc/rsyslog.d/*.conf\")\n");
        let pid = directory.join("rsyslog.pid");
        let mut rsyslogd = rig::command("rsyslogd");
        rsyslogd.args(["-n", "-f", &text(&receiver), "-i", &text(&pid)]);
        Services {
            _clock: Daemon::start(&mut chronyd, directory.join("chronyd.log")),
            _logs: Daemon::start(&mut rsyslogd, directory.join("rsyslogd.log")),
        }
    }
}

/// How many nodes have logged this.
pub(crate) fn loggers(directory: &Path, what: &str) -> usize {
    let entries = fs::read_dir(logs(directory))
        .into_iter()
        .flatten()
        .flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter(|text| text.contains(what)).count()
}
