//! What is wrong with an image, or should be known before it is served to whoever asks.

mod files;
mod waiting;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

pub(super) use files::private_keys;

use super::clean::{binds_to_a_machine, network_settings};
use super::inside;
use super::root::Root;
use super::users::Users;
use super::{equip, kernel, modules};
use crate::initramfs;

/// Drivers that the kernels of current distributions do not have: that is nothing to be told of each image.
const RARE_DRIVERS: [&str; 2] = ["fm10k", "ionic"];

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A node may not want it.
    Warning,
    /// A node does not boot, or does not work.
    Error,
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its kind, such as `private-key`.
    pub kind: &'static str,
    /// What, where.
    pub what: String,
    /// What to do.
    pub fix: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}: {}; {}", self.kind, self.what, self.fix)
    }
}

/// What is expected of a root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// Whether the kernel is still in it, as in a root that is not packed yet; else its release.
    pub(super) kernel: Option<&'a str>,
    /// Whether regex-worker must run in it.
    pub(super) worker: bool,
    /// Whether host keys are wanted in it.
    pub(super) host_keys: bool,
}

/// Looks at a root. Errors come first.
pub(super) fn look(root: &Root, expected: Expected<'_>) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Findings(Vec::new());
    merged_usr(root, &mut findings)?;
    init(root, &mut findings)?;
    kernel_and_drivers(root, expected.kernel, &mut findings);
    passwords(root, &mut findings)?;
    if expected.host_keys {
        host_key(root, &mut findings)?;
    }
    files::look(root, expected.host_keys, &mut findings)?;
    waiting::look(root, &mut findings)?;
    bindings(root, &mut findings)?;
    if expected.worker {
        worker(root, &mut findings);
    }
    let mut findings = findings.0;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}

struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, kind: &'static str, what: impl Into<String>, fix: &'static str) {
        self.add(Severity::Error, kind, what.into(), fix);
    }

    fn warning(&mut self, kind: &'static str, what: impl Into<String>, fix: &'static str) {
        self.add(Severity::Warning, kind, what.into(), fix);
    }

    fn add(&mut self, severity: Severity, kind: &'static str, what: String, fix: &'static str) {
        self.0.push(Finding {
            severity,
            kind,
            what,
            fix,
        });
    }
}

/// `/bin`, `/sbin`, `/lib` and `/lib64` are either all directories or all links into /usr.
fn merged_usr(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
    const FIX: &str =
        "make each a link: bin -> usr/bin, and so on; with tar and rsync keep links as links";
    let mut directories = Vec::new();
    let mut links = 0;
    for name in ["bin", "sbin", "lib", "lib64"] {
        let place = root.path().join(name);
        let Ok(metadata) = fs::symlink_metadata(&place) else {
            if root.exists(format!("usr/{name}")) && name != "lib64" {
                findings.error(
                    "merged-usr",
                    format!("/{name} is missing, /usr/{name} is there"),
                    FIX,
                );
            }
            continue;
        };
        if !metadata.is_symlink() {
            directories.push(name);
            continue;
        }
        links += 1;
        let target =
            fs::read_link(&place).with_context(|| format!("cannot read {}", place.display()))?;
        let target = target.display();
        if root.resolve(name)? != root.resolve(format!("usr/{name}"))? {
            let what = format!("/{name} leads to {target}, not to usr/{name}");
            findings.error("merged-usr", what, FIX);
        } else if !root.exists(name) {
            let what = format!("/{name} leads to {target}, which is not there");
            findings.error("merged-usr", what, FIX);
        }
    }
    if links > 0 && !directories.is_empty() {
        let what = format!(
            "/{} is a directory where others are links into /usr",
            directories.join(", /")
        );
        findings.error("merged-usr", what, FIX);
    }
    Ok(())
}

fn init(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
    for path in [
        "sbin/init",
        "usr/sbin/init",
        "usr/lib/systemd/systemd",
        "lib/systemd/systemd",
    ] {
        if let Some(metadata) = root.metadata(path)?
            && metadata.is_file()
            && is_executable(&metadata)
        {
            return Ok(());
        }
    }
    findings.error(
        "no-init",
        "there is no program at /sbin/init, and no systemd",
        "add the package systemd-sysv, or another init",
    );
    Ok(())
}

fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o111 != 0
}

fn kernel_and_drivers(root: &Root, release: Option<&str>, findings: &mut Findings) {
    let release = match release {
        Some(release) => release.to_owned(),
        None => match kernel::newest(root) {
            Ok(kernel) => kernel.release,
            Err(error) => {
                findings.error(
                    "no-kernel",
                    format!("{error:#}"),
                    "without one nothing boots",
                );
                return;
            }
        },
    };
    let Ok(has) = modules::names(root, &release) else {
        let what = format!("there are no modules of the kernel {release}");
        findings.error(
            "no-kernel",
            what,
            "take kernel and modules from the same package",
        );
        return;
    };
    let missing: Vec<&str> = initramfs::network_modules()
        .filter(|name| !has.contains(*name) && !RARE_DRIVERS.contains(name))
        .collect();
    if !missing.is_empty() {
        findings.warning(
            "no-driver",
            format!("the kernel {release} has no {}", missing.join(", ")),
            "nodes with these network cards do not boot; take another kernel if there are such",
        );
    }
}

fn passwords(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
    let users = Users::read(root)?;
    let names: BTreeSet<&str> = users.with_passwords().into_iter().collect();
    if !names.is_empty() {
        let names: Vec<&str> = names.into_iter().collect();
        findings.warning(
            "password",
            format!("hashes of passwords in the image, of {}", names.join(", ")),
            "whoever can fetch the image can try to guess them; log in by keys, and lock these with `passwd -l`",
        );
    }
    let old = root.read_text("etc/security/opasswd")?.unwrap_or_default();
    // User, number, how many, hashes.
    let names: BTreeSet<&str> = old
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(|fields| fields.get(3).is_some_and(|hashes| !hashes.is_empty()))
        .filter_map(|fields| fields.first().copied())
        .collect();
    if !names.is_empty() {
        let names: Vec<&str> = names.into_iter().collect();
        findings.warning(
            "password",
            format!(
                "hashes of earlier passwords in /etc/security/opasswd, of {}",
                names.join(", ")
            ),
            "whoever can fetch the image can try to guess them; empty the file by `post-script`",
        );
    }
    Ok(())
}

/// Cleaning leaves those that the declaration asks for.
fn bindings(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
    for path in network_settings(root)? {
        if binds_to_a_machine(&root.read_text(&path)?.unwrap_or_default()) {
            let what = format!("/{path} names the Ethernet address of one machine");
            findings.warning(
                "mac",
                what,
                "all nodes that boot the image have it; leave it out unless that is meant",
            );
        }
    }
    Ok(())
}

/// Where the image is to bring the key of all nodes, sshd ends without one.
fn host_key(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
    const WHAT: &str = "there is no /etc/ssh/ssh_host_*_key, and host-keys = \"image\": sshd of a node ends, and nobody gets in";
    const FIX: &str =
        "make one by `ssh-keygen -A` in `post-script`, or write host-keys = \"boot\" under [ssh]";
    let is_key = |name: &String| name.starts_with("ssh_host_") && name.ends_with("_key");
    if !root.exists("usr/sbin/sshd") || root.names("etc/ssh")?.iter().any(is_key) {
        return Ok(());
    }
    let mut settings = vec!["etc/ssh/sshd_config".to_owned()];
    let mut more = root.names("etc/ssh/sshd_config.d")?;
    more.retain(|name| Path::new(name).extension().is_some_and(|end| end == "conf"));
    settings.extend(
        more.iter()
            .map(|name| format!("etc/ssh/sshd_config.d/{name}")),
    );
    for path in settings {
        let text = root.read_text(&path)?.unwrap_or_default();
        for line in text.lines() {
            let mut words = line
                .split(|c: char| c.is_whitespace() || c == '=')
                .filter(|word| !word.is_empty())
                .map(|word| word.trim_matches('"'));
            let is_key = words
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case("HostKey"));
            let Some(key) = words.next().filter(|_| is_key) else {
                continue;
            };
            if root.exists(key) {
                return Ok(());
            }
        }
    }
    findings.error("no-host-key", WHAT, FIX);
    Ok(())
}

/// Whether the worker runs: by running it.
fn worker(root: &Root, findings: &mut Findings) {
    const FIX: &str =
        "build the image again with a --worker that fits it, or write `worker = false`";
    if !root.exists(equip::WORKER) {
        findings.error("worker", format!("there is no /{}", equip::WORKER), FIX);
        return;
    }
    if let Err(error) = inside::quiet(root, &["/usr/bin/regex-worker", "--version"], &[]) {
        findings.error("worker", format!("{error:#}"), FIX);
    }
    // The worker waits until what it searches is mounted; mount.nfs reads both.
    for (path, fix) in [
        ("sbin/mount.nfs", "add the package nfs-common"),
        ("etc/protocols", "add the package netbase"),
    ] {
        if !root.exists(path) {
            let what = format!("there is no /{path}, so data cannot be mounted over NFS");
            findings.warning("no-nfs", what, fix);
        }
    }
}
