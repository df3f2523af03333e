//! Command lines that cannot run, and output that cannot be written.

use std::fs;

use crate::harness::cluster::Cluster;
use crate::harness::command::{self, run, search};
use crate::harness::scratch::{Scratch, write};

#[test]
fn an_invalid_pattern_shows_where() {
    let scratch = Scratch::new();
    // Nobody listens there, and nobody is asked.
    for master in [None, Some("http://127.0.0.1:1")] {
        for pattern in ["a(b", "[z-a]", "a{5,2}", r"\q", "*"] {
            let told = run(search(&scratch.path(), master, [pattern, "."]));
            told.expect_code(2).expect_error("^");
            let marked = told
                .stderr
                .lines()
                .any(|line| line.trim_start().starts_with('^'));
            assert!(marked, "no caret: {told}");
            told.expect_error(pattern);
            assert!(told.stdout.is_empty(), "{told}");
        }
    }
}

#[test]
fn bad_flags_are_named() {
    let scratch = Scratch::new();
    write(&scratch.path(), "file", "foo\n");
    let cases: &[(&[&str], &str)] = &[
        (&["-t", "no-such-type", "foo"], "no-such-type"),
        (&["-g", "a{b", "foo"], "a{b"),
        (&["-E", "no-such-encoding", "foo"], "no-such-encoding"),
        (&["--max-filesize", "12Q", "foo"], "12Q"),
        (&["-A", "many", "foo"], "many"),
        (&["--no-such-flag", "foo"], "--no-such-flag"),
        (&["-f", "no-such-file"], "no-such-file"),
        (&["--files-from", "no-such-list", "foo"], "no-such-list"),
        (&["-j", "1025", "foo"], "1024"),
        (&[r"\w{1000}"], "--regex-size-limit sets another"),
        (
            &["--max-pattern-size", "2", "foo"],
            "--max-pattern-size sets another",
        ),
        (&[], "pattern"),
    ];
    for (args, named) in cases {
        let told = run(search(&scratch.path(), None, *args));
        told.expect_code(2).expect_error(named);
        assert!(told.stdout.is_empty(), "{told}");
    }
}

#[test]
fn a_full_disk_is_told() {
    let scratch = Scratch::new();
    write(&scratch.path(), "file", "foo\n");
    let cluster = Cluster::start(&scratch.path(), 1);
    let cases: &[&[&str]] = &[
        &["--help"],
        &["--version"],
        &["run", "-h"],
        &["run", "foo", "."],
        &["run", "-c", "--sort", "path", "foo", "."],
        &["run", "--json", "foo", "."],
        &["run", "--stats", "nothing", "."],
        &["run", "--files", "."],
        &["run", "--type-list"],
        &["run", "--master", &cluster.url, "foo", "."],
        &["nodes", "--master", &cluster.url],
        &["completions", "bash"],
        &["man"],
    ];
    for case in cases {
        let full = fs::File::options().write(true).open("/dev/full");
        let mut command = command::regexctl(&scratch.path());
        command.args(*case).stdout(full.expect("it is there"));
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{case:?}: {said}");
        assert!(
            said.contains("cannot write to standard output: No space left"),
            "{case:?}: {said}"
        );
    }
}
