//! Where the programs are: ours, and ripgrep, which says what is right.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The client.
pub(crate) fn regexctl() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_regexctl"))
}

/// The master's daemon.
pub(crate) fn master() -> PathBuf {
    daemon("regex-master")
}

/// The worker's daemon.
pub(crate) fn worker() -> PathBuf {
    daemon("regex-worker")
}

/// ripgrep 15: the program named by the variable `RG`, else `rg` of the PATH.
pub(crate) fn rg() -> &'static Path {
    static RG: OnceLock<PathBuf> = OnceLock::new();
    RG.get_or_init(|| {
        let program = env::var_os("RG").map_or_else(|| PathBuf::from("rg"), PathBuf::from);
        let version = Command::new(&program).arg("--version").output();
        let version = version.unwrap_or_else(|error| {
            panic!(
                "cannot run ripgrep as {}: {error}; set RG to ripgrep 15, or run tests/run, which fetches it",
                program.display()
            )
        });
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        assert!(
            version.starts_with("ripgrep 15."),
            "{} is not ripgrep 15 but {version}",
            program.display()
        );
        program
    })
}

/// A daemon of another package of the workspace. Cargo builds it beside the client when the workspace
/// is built, as tests/run does; when it is not there, it is built here, once.
fn daemon(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let directory = regexctl().parent().expect("a program is in a directory");
    let names = ["regex-master", "regex-worker"];
    BUILT.get_or_init(|| {
        if names.iter().all(|name| directory.join(name).exists()) {
            return;
        }
        let profile = match directory.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--locked", "--profile", profile])
            .args(["-p", "regexctl-master", "-p", "regexctl-worker", "--bins"])
            .arg("--target-dir")
            .arg(
                directory
                    .parent()
                    .expect("a profile is in the target directory"),
            )
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs, since it has built this test");
        assert!(status.success(), "cargo cannot build the daemons");
    });
    directory.join(name)
}
