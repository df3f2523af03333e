//! Our names against ripgrep's: whatever both have must be spelled and take values alike.

use std::process::Command;

use super::*;

/// The flags that ripgrep does not have.
const OURS: &[&str] = &[
    "files-from",
    "files0-from",
    "map",
    "master",
    "max-line-size",
    "max-pattern-size",
    "progress",
];

/// `None` when ripgrep is not installed.
fn is_accepted(words: &[String], dir: &std::path::Path) -> Option<bool> {
    let rg = std::env::var_os("RG").unwrap_or_else(|| "rg".into());
    let output = Command::new(rg)
        .args(words)
        .args(["--files", "--"])
        .arg(dir)
        .output()
        .ok()?;
    Some(output.status.code() != Some(2))
}

fn words(name: String, flag: &Flag) -> Vec<String> {
    let value = flag.value_form().map(|form| match form.name {
        "SPEC" => "path:none".to_owned(),
        "ENCODING" => "latin1".to_owned(),
        "TYPE" => "rust".to_owned(),
        _ => form.choices.first().unwrap_or(&"1").to_string(),
    });
    std::iter::once(name).chain(value).collect()
}

#[test]
fn ripgrep_accepts_what_we_accept() {
    let dir = tempfile::tempdir().unwrap();
    if is_accepted(&[], dir.path()).is_none() {
        eprintln!("not compared: ripgrep is neither in RG nor in PATH");
        return;
    }
    let accepted = |words: &[String]| is_accepted(words, dir.path()) == Some(true);
    for flag in groups().iter().flat_map(|group| group.flags) {
        let ours = OURS.contains(&flag.long);
        assert_eq!(
            accepted(&words(format!("--{}", flag.long), flag)),
            !ours,
            "--{}",
            flag.long
        );
        if let Some(short) = flag.short {
            assert!(accepted(&words(format!("-{short}"), flag)), "-{short}");
        }
        if let Some(alias) = flag.alias {
            assert!(accepted(&words(format!("--{alias}"), flag)), "--{alias}");
        }
        if let Some(undo) = flag.undo {
            assert_eq!(
                accepted(&[format!("--{}", undo.long)]),
                !ours,
                "--{}",
                undo.long
            );
            if let Some(short) = undo.short {
                assert!(accepted(&[format!("-{short}")]), "-{short}");
            }
        }
    }
}
