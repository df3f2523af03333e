//! The programs, where they are, and how each is told to do the same thing.
//!
//! All print `PATH:LINE:TEXT` for every matching line of every file below a path, binary,
//! hidden and ignored ones included, on all cores where they can. All run in the locale
//! C.UTF-8, where `\w` and `\s` are Unicode's.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, bail};
use serde::{Serialize, Serializer};

use crate::cases::Case;
use crate::cluster::Binaries;

/// A way to run a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// regexctl alone.
    Regexctl,
    /// regexctl, a master and two workers.
    Cluster,
    /// ripgrep.
    Rg,
    /// ugrep.
    Ugrep,
    /// GNU grep, which has one thread.
    Grep,
    /// As many processes of GNU grep as there are cores.
    XargsGrep,
    /// Read and do nothing.
    Floor,
    /// `regexctl --version`.
    RegexctlVersion,
    /// `rg --version`.
    RgVersion,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Regexctl => "regexctl",
            Self::Cluster => "regexctl cluster",
            Self::Rg => "rg",
            Self::Ugrep => "ugrep",
            Self::Grep => "grep -r",
            Self::XargsGrep => "xargs -P grep",
            Self::Floor => "floor",
            Self::RegexctlVersion => "regexctl --version",
            Self::RgVersion => "rg --version",
        })
    }
}

/// As its name.
impl Serialize for Tool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Tool {
    /// Whether it is ours, so that its failure is the benchmark's.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Regexctl | Self::Cluster | Self::RegexctlVersion)
    }

    /// Whether its output is to be the same as that of the others.
    pub(crate) fn searches(self) -> bool {
        !matches!(self, Self::Floor | Self::RegexctlVersion | Self::RgVersion)
    }

    /// Whether an exit status is one that a run without errors has.
    pub(crate) fn accepts(self, status: i32) -> bool {
        match self {
            Self::Floor | Self::RegexctlVersion | Self::RgVersion => status == 0,
            // 123: one of its greps found nothing.
            Self::XargsGrep => matches!(status, 0 | 123),
            _ => matches!(status, 0 | 1),
        }
    }
}

/// What there is on this machine.
pub(crate) struct Tools {
    regexctl: PathBuf,
    master: PathBuf,
    worker: PathBuf,
    /// Why there is no cluster.
    no_cluster: Option<String>,
    rg: PathBuf,
    cores: usize,
}

impl Tools {
    /// Finds the programs, and builds those of this workspace that Cargo has not built for a
    /// benchmark of the root package.
    pub(crate) fn find(
        regexctl: &Path,
        target: &Path,
        rg: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let bin = regexctl
            .parent()
            .context("the binary of regexctl is not in a directory")?;
        let no_cluster = build_daemons(target)
            .err()
            .map(|error| format!("{error:#}"));
        Ok(Self {
            regexctl: regexctl.to_owned(),
            master: bin.join("regex-master"),
            worker: bin.join("regex-worker"),
            no_cluster,
            rg: rg
                .or_else(|| env::var_os("RG").map(PathBuf::from))
                .unwrap_or_else(|| PathBuf::from("rg")),
            cores: thread::available_parallelism()?.get(),
        })
    }

    /// How many cores there are.
    pub(crate) fn cores(&self) -> usize {
        self.cores
    }

    /// What a cluster is started from.
    pub(crate) fn cluster(&self) -> anyhow::Result<Binaries<'_>> {
        if let Some(why) = &self.no_cluster {
            bail!("{why}");
        }
        Ok(Binaries {
            regexctl: &self.regexctl,
            master: &self.master,
            worker: &self.worker,
        })
    }

    /// The command with which `tool` does a case; `url` is the cluster's master.
    pub(crate) fn command(&self, tool: Tool, case: &Case, url: &str) -> anyhow::Result<Command> {
        let path = &case.corpus.path;
        let mut command = match tool {
            Tool::Regexctl => {
                let mut command = plain(&self.regexctl, &["run", "-nH", "-e", case.pattern]);
                command.arg(path);
                command
            }
            Tool::Cluster => {
                let mut command = plain(&self.regexctl, &["run", "--master", url]);
                command.args(["-nH", "-e", case.pattern]).arg(path);
                command
            }
            Tool::Rg => {
                let mut command = plain(&self.rg, &["-uuu", "-nH", "--no-config"]);
                command.arg(format!("-j{}", self.cores));
                command.args(["-e", case.pattern]).arg(path);
                command
            }
            Tool::Ugrep => {
                let mut command = plain("ugrep", &["-rnH"]);
                command.arg(format!("-J{}", self.cores));
                command.args(["-e", case.ugrep_pattern]).arg(path);
                command
            }
            Tool::Grep => {
                let mut command = plain("grep", &["-rnHE", "-e", case.pattern]);
                command.arg(path);
                command
            }
            Tool::XargsGrep => {
                let script =
                    r#"find "$1" -type f -print0 | xargs -0 -n 500 -P "$3" grep -nHE -e "$2""#;
                let mut command = plain("sh", &["-c", script, "sh"]);
                command
                    .arg(path)
                    .args([case.pattern, &self.cores.to_string()]);
                command
            }
            Tool::Floor => {
                let mut command = Command::new(env::current_exe()?);
                command.arg("--floor").arg(path);
                if let Some(contents) = case.corpus.contents {
                    command.arg(format!("--floor-files={}", contents.files));
                }
                command
            }
            Tool::RegexctlVersion => plain(&self.regexctl, &["--version"]),
            Tool::RgVersion => plain(&self.rg, &["--version"]),
        };
        command
            .env("LC_ALL", "C.UTF-8")
            .env_remove("RIPGREP_CONFIG_PATH")
            .env_remove("GREP_COLORS")
            .env_remove("REGEXCTL_MASTER")
            .env("REGEXCTL_CONFIG", "/dev/null");
        Ok(command)
    }

    /// Name and version of every program that is there.
    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let programs: [(&str, &OsStr); 4] = [
            ("regexctl", self.regexctl.as_os_str()),
            ("rg", self.rg.as_os_str()),
            ("ugrep", "ugrep".as_ref()),
            ("grep", "grep".as_ref()),
        ];
        let version = |program: &OsStr| {
            let output = Command::new(program).arg("--version").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout);
            text.lines().next().map(str::to_owned)
        };
        programs
            .into_iter()
            .map(|(name, program)| {
                let version = version(program).unwrap_or_else(|| "not installed".to_owned());
                (name.to_owned(), version)
            })
            .collect()
    }
}

fn plain(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Builds regex-master and regex-worker as they are now; quick when nothing has changed.
fn build_daemons(target: &Path) -> anyhow::Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let what: &[&str] = if cfg!(debug_assertions) {
        // `cargo test`, which measures nothing: as tests/run has built them.
        &["--workspace", "--bins", "--tests"]
    } else {
        &[
            "--release",
            "-p",
            "regexctl-master",
            "-p",
            "regexctl-worker",
        ]
    };
    // What Cargo tells the benchmark of its own package, ring's build script would take for a change.
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            command.env_remove(&name);
        }
    }
    let status = command
        .args(["build", "--quiet"])
        .args(what)
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .status()
        .context("cannot start cargo to build the daemons")?;
    if !status.success() {
        bail!("the daemons were not built: cargo: {status}");
    }
    Ok(())
}
