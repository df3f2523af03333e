//! How images are told to people.

use std::fmt::Write as _;

use super::super::output::{counted, table};
use crate::apply::{KEPT_GENERATIONS, generation};
use crate::image::{Change, Contents, Difference};
use crate::initramfs;
use crate::store::{Damaged, Digest, Manifest, Need, Store};

/// A number of bytes, rounded: `86.3 MB`.
pub(super) fn bytes(count: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let count = count as f64;
    match units.into_iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", count / size),
        None => format!("{count} B"),
    }
}

/// A time in UTC: `2026-11-24 09:08`.
pub(super) fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from the first of March of the year 0, so that a leap day comes last (Howard Hinnant's method).
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year_of_era + carry;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        rest / 3_600,
        rest % 3_600 / 60
    )
}

/// Manifests that cannot be read: what each of them is needed by, and what ends that.
pub(super) fn damaged<'a>(store: &Store, all: impl Iterator<Item = &'a Damaged>) -> String {
    // What cannot be read is told by who has to go by it.
    let current = generation::current_number(store).ok().flatten();
    let is_current = |number: &str| current.is_some_and(|current| current.to_string() == number);
    let mut text = String::new();
    for Damaged { why, needed_by } in all {
        writeln!(text, "  {why}").expect("writing to a String cannot fail");
        if needed_by.is_empty() {
            text.push_str("    nobody needs it; `regex-provision image prune` removes it\n");
        }
        for need in needed_by {
            let told = match need {
                Need::Name(name) => {
                    format!(
                        "the name {name}, until `regex-provision image build {name}`, or the same import again"
                    )
                }
                Need::Generation(number) if is_current(number) => {
                    format!(
                        "generation {number}, which is in force, until the image is built again and `regex-provision apply`"
                    )
                }
                Need::Generation(number) => format!(
                    "generation {number}, until {KEPT_GENERATIONS} newer ones are applied; or remove {}, to which nobody can go \
                     back",
                    store.generations().join(number).display()
                ),
                Need::Machine(mac) => format!(
                    "the machine {mac}, which has booted it, until it boots another one; or, if it is not in cluster.toml, until \
                     `regex-provision node forget {mac}`"
                ),
                Need::Journal => format!(
                    "a line of {} that cannot be read, until the boot endpoint writes that file anew",
                    store.nodes().join("journal").display()
                ),
            };
            writeln!(text, "    needed by {told}").expect("writing to a String cannot fail");
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// An image and its contents.
pub(super) fn shown(
    digest: Digest,
    manifest: &Manifest,
    contents: &Contents,
    top: usize,
) -> String {
    let root = &manifest.root;
    let mut rows: Vec<(&str, String)> = vec![
        ("image", manifest.image.to_string()),
        ("digest", digest.to_string()),
        ("built", format!("{} UTC", time(manifest.created))),
        (
            "kernel",
            format!(
                "{}, {}",
                manifest.kernel_version,
                bytes(manifest.kernel.size)
            ),
        ),
        (
            "initramfs",
            format!(
                "{}, {}",
                bytes(manifest.initramfs.size),
                counted(manifest.initramfs_contents.modules.len(), "module")
            ),
        ),
        (
            "root",
            format!(
                "{} as {}, {} and {} unpacked",
                bytes(root.size),
                root.format.as_str(),
                bytes(root.unpacked),
                counted(usize::try_from(root.entries).unwrap_or(usize::MAX), "entry")
                    .replace("entrys", "entries")
            ),
        ),
    ];
    let modules = &manifest.initramfs_contents.modules;
    let firmware = manifest.initramfs_contents.firmware.len();
    rows.push(("network", drivers(modules, initramfs::network_modules())));
    rows.push(("disks", drivers(modules, initramfs::storage_modules())));
    rows.push(("firmware", counted(firmware, "file")));
    if let Some(ramdisk) = manifest.ramdisk {
        rows.push(("ramdisk", bytes(ramdisk.size)));
    }
    if let Some(without) = manifest.without_usr {
        rows.push(("without /usr", bytes(without.root.size)));
    }
    if manifest.tree.is_some() {
        rows.push(("tree", "unpacked, for NFS".to_owned()));
    }
    if let Some(worker) = &manifest.worker {
        rows.push((
            "worker",
            format!("{}, {}", worker.version, bytes(worker.size)),
        ));
    }
    let mut text = String::new();
    for (name, value) in rows {
        writeln!(text, "{name:<14}{value}").expect("writing to a String cannot fail");
    }
    for (heading, sizes) in [
        ("PACKAGE", &contents.packages),
        ("DIRECTORY", &contents.directories),
    ] {
        if sizes.is_empty() || top == 0 {
            continue;
        }
        let mut rows = vec![vec!["SIZE".to_owned(), heading.to_owned()]];
        for (name, size) in sizes.iter().take(top) {
            rows.push(vec![format!("{:>8}", bytes(*size)), name.clone()]);
        }
        text.push('\n');
        text.push_str(&table(&rows));
    }
    text
}

/// The names of those drivers that an initramfs has.
fn drivers(has: &[String], known: impl Iterator<Item = &'static str>) -> String {
    let mut names: Vec<&str> = known
        .filter(|name| has.iter().any(|module| module == name))
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        return "no drivers but those in the kernel itself".to_owned();
    }
    names.join(" ")
}

/// What is different between two images.
pub(super) fn different(difference: &Difference) -> String {
    let mut text = String::new();
    for (heading, changes) in [
        ("", &difference.facts),
        ("packages:\n", &difference.packages),
        ("files:\n", &difference.files),
    ] {
        if !changes.is_empty() {
            text.push_str(heading);
        }
        for Change {
            name,
            before,
            after,
        } in changes
        {
            let line = match (before, after) {
                (Some(before), Some(after)) => format!("~ {name}: {before} -> {after}"),
                (Some(before), None) => format!("- {name}: {before}"),
                (None, Some(after)) => format!("+ {name}: {after}"),
                (None, None) => continue,
            };
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(time(0), "1970-01-01 00:00");
        assert_eq!(time(951_782_400), "2000-02-29 00:00");
        assert_eq!(time(1_700_000_000), "2023-11-14 22:13");
        assert_eq!(time(4_107_542_399), "2100-02-28 23:59");
    }

    #[test]
    fn sizes_are_rounded() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(86_349_000), "86.3 MB");
        assert_eq!(bytes(1_500_000_000), "1.5 GB");
    }
}
