//! Where the programs are: ours, and ripgrep, which says what is right.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The client.
pub(crate) fn regexctl() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_regexctl"))
}

/// The daemon of the master.
pub(crate) fn master() -> PathBuf {
    sibling("regex-master")
}

/// The provisioner. It finds the worker that it puts into images beside itself.
pub(crate) fn provision() -> PathBuf {
    sibling("regex-provision")
}

/// ripgrep 15: the program named by the variable `RG`, else `rg` of the PATH.
pub(crate) fn rg() -> PathBuf {
    env::var_os("RG").map_or_else(|| PathBuf::from("rg"), PathBuf::from)
}

/// A program of another package of the workspace. Cargo builds them beside the client when the whole workspace is
/// built, as tests/run does; for a benchmark it is made sure here that they are those of this source.
fn sibling(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let directory = regexctl().parent().expect("a program is in a directory");
    BUILT.get_or_init(|| {
        let names = ["regex-master", "regex-worker", "regex-provision"];
        // tests/run has just built them, with the tests. Nobody does so before a benchmark.
        if cfg!(debug_assertions) && names.iter().all(|name| directory.join(name).exists()) {
            return;
        }
        let profile = match directory.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let target = directory
            .parent()
            .expect("a profile is in the target directory");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        // What Cargo tells a benchmark of its own package, ring's build script would take for a change.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
                command.env_remove(&name);
            }
        }
        let status = command
            .args([
                "build",
                "--locked",
                "--workspace",
                "--bins",
                "--profile",
                profile,
            ])
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs, since it has built this test");
        assert!(status.success(), "cargo cannot build the programs");
    });
    directory.join(name)
}
