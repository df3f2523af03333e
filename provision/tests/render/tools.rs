//! Programs and files of the system that judge what is rendered.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regexctl_provision::render::File;

/// Says that a test is skipped, and why; in CI that is a failure.
pub(crate) fn skipped(what: &str, why: &str) {
    assert!(
        env::var_os("CI").is_none(),
        "{what}: {why}; tests/run fetches it"
    );
    // Not with `eprintln!`, which a test that passes says to nobody.
    let _ = writeln!(io::stderr(), "SKIPPED: {what}: {why}");
}

/// A program, or nothing where it is not here, which is told.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        skipped(name, "it is not on this machine");
    }
    found
}

/// Whether we are root; else what needs it is skipped, which is told.
pub(crate) fn is_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skipped(what, "only root can do that");
    }
    is_root
}

/// What a program that judges says: all that it printed, as an error if it refuses.
pub(crate) fn ask(command: &mut Command) -> Result<String, String> {
    let command = command.stdin(Stdio::null());
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        Ok(said)
    } else {
        Err(said)
    }
}

/// The text of a file.
pub(crate) fn text_of(file: &File) -> &str {
    std::str::from_utf8(&file.bytes).expect("configuration is text")
}

/// Puts a text into a file of a directory, and tells its path.
pub(crate) fn put(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    let parent = path.parent().expect("it is in a directory");
    std::fs::create_dir_all(parent).expect("a directory");
    std::fs::write(&path, text).expect("a file");
    path
}
