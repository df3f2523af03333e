//! Whether there is room for images and logs.

use std::path::Path;

use rustix::fs::statvfs;

use super::{Finding, Level};
use crate::model::{Cluster, Log};

const TOPIC: &str = "disk";

/// What a build of an image takes, in bytes: its root, twice, and what comes of it.
const ROOM_BYTES: u64 = 3 << 30;

/// The least share of a file system that is to be free, in percent.
const ROOM_PERCENT: u64 = 5;

pub(super) fn look(cluster: &Cluster) -> Vec<Finding> {
    let mut paths = vec![("images", cluster.serve.directory.as_path())];
    if let Log::Master { directory, .. } = &cluster.log {
        paths.push(("logs", directory.as_path()));
    }
    paths
        .into_iter()
        .map(|(what, path)| room(what, path))
        .collect()
}

fn room(what: &str, path: &Path) -> Finding {
    // It is made when it is needed: then the nearest directory above it tells.
    let there = path
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let stat = match statvfs(there) {
        Ok(stat) => stat,
        Err(error) => {
            return Finding::bad(
                TOPIC,
                Level::Unknown,
                format!("cannot look at {}: {error}", there.display()),
                "run this as root",
            );
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let all = stat.f_blocks.saturating_mul(stat.f_frsize);
    let inodes = (stat.f_favail, stat.f_files);
    judge(what, there, (free, all), inodes)
}

fn judge(what: &str, path: &Path, (free, all): (u64, u64), inodes: (u64, u64)) -> Finding {
    let path = path.display();
    let fix = format!(
        "make room on the file system of {path}; `regex-provision image prune` removes old images"
    );
    let mib = free >> 20;
    let least = |whole: u64| whole / 100 * ROOM_PERCENT;
    // Some file systems have no number of files.
    if inodes.1 > 0 && inodes.0 < least(inodes.1) {
        let what = format!("{path} ({what}) can hold only {} more files", inodes.0);
        return Finding::bad(TOPIC, Level::Warning, what, fix);
    }
    if free == 0 {
        return Finding::bad(
            TOPIC,
            Level::Problem,
            format!("{path} ({what}) is full"),
            fix,
        );
    }
    if free < ROOM_BYTES.min(least(all).max(ROOM_BYTES / 3)) {
        let what = format!("{path} ({what}) has only {mib} MiB free");
        return Finding::bad(TOPIC, Level::Warning, what, fix);
    }
    Finding::fine(TOPIC, format!("{path} ({what}) has {mib} MiB free"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_one_without_inodes_are_told() {
        let judge = |free, all, inodes| judge("images", Path::new("/x"), (free, all), inodes).level;
        let gib = 1 << 30;
        assert_eq!(judge(100 * gib, 1000 * gib, (0, 0)), Level::Fine);
        assert_eq!(judge(0, 1000 * gib, (50, 100)), Level::Problem);
        assert_eq!(judge(gib / 2, 10 * gib, (50, 100)), Level::Warning);
        assert_eq!(judge(100 * gib, 1000 * gib, (4, 1000)), Level::Warning);
    }
}
