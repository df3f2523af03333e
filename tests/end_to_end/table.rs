//! Patterns and flags on real trees, compared with ripgrep, embedded and on a cluster of three workers.

mod rows;

use std::path::{Path, PathBuf};

use crate::harness::cluster::Cluster;
use crate::harness::command::{self, run_with};
use crate::harness::normal::{Form, Paths, difference};
use crate::harness::scratch::{Scratch, write};
use crate::trees;
use rows::{Row, Tree};

/// The trees of the table.
struct Trees {
    scratch: Scratch,
    every_kind: Paths,
    sources: Paths,
    large: Paths,
}

impl Trees {
    fn new() -> Self {
        let scratch = Scratch::new();
        let every_kind = scratch.dir("every-kind");
        trees::every_kind(&every_kind);
        let sources = scratch.dir("sources");
        trees::sources(&sources);
        let large = scratch.dir("large");
        trees::large(&large);
        std::fs::write(scratch.path().join("patterns"), "foo\nlease\nlast$\n")
            .expect("it can be written");
        Self {
            every_kind: Paths::below(&every_kind, "."),
            sources: Paths::below(&sources, "."),
            large: Paths::below(&large, "."),
            scratch,
        }
    }

    fn of(&self, tree: Tree) -> (PathBuf, &Paths) {
        match tree {
            Tree::EveryKind => (self.scratch.dir("every-kind"), &self.every_kind),
            Tree::Sources => (self.scratch.dir("sources"), &self.sources),
            Tree::Large => (self.scratch.dir("large"), &self.large),
        }
    }
}

/// Runs one row with both programs; an error tells the difference.
fn compare(row: &Row, cwd: &Path, paths: &Paths, master: Option<&str>) -> Result<(), String> {
    let ours = run_with_input(command::search(cwd, master, &row.args), row);
    let mut rg = command::rg(cwd);
    rg.args(&row.rg_args);
    let theirs = run_with_input(rg, row);
    if theirs.code() == Some(2) && !row.may_err {
        return Err(format!("the row is no command line of ripgrep:\n{theirs}"));
    }
    // We tell a job that could not run from files that could not be read.
    let expected = if theirs.code() == Some(2) {
        Some(3)
    } else {
        theirs.code()
    };
    if ours.code() != expected {
        return Err(format!("the exit code should be {expected:?}:\n{ours}"));
    }
    let form = Form::of(&row.args);
    let of_ours = form
        .apply(&ours.stdout, paths)
        .map_err(|error| format!("{error}\n{ours}"))?;
    let of_theirs = form
        .apply(&theirs.stdout, paths)
        .map_err(|error| format!("{error}\n{theirs}"))?;
    if of_ours != of_theirs {
        let difference = difference(&of_ours, &of_theirs);
        return Err(format!(
            "differs from ripgrep in {difference}\n{}",
            ours.stderr
        ));
    }
    if ours.stderr.is_empty() != theirs.stderr.is_empty() {
        return Err(format!("they complain differently:\n{ours}\n{theirs}"));
    }
    Ok(())
}

fn run_with_input(command: std::process::Command, row: &Row) -> command::Finished {
    match row.input {
        Some(input) => run_with(command, input),
        None => command::run(command),
    }
}

/// Runs all rows, and tells of all that differ.
fn compare_all(trees: &Trees, master: Option<&str>) {
    let mut failures = Vec::new();
    let rows = rows::rows();
    for row in &rows {
        let (cwd, paths) = trees.of(row.tree);
        if let Err(failure) = compare(row, &cwd, paths, master) {
            failures.push(format!("regexctl run {}\n{failure}", row.args.join(" ")));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} rows differ\n\n{}",
        failures.len(),
        rows.len(),
        failures.join("\n\n")
    );
}

#[test]
fn embedded_output_is_ripgreps() {
    compare_all(&Trees::new(), None);
}

#[test]
fn cluster_output_is_ripgreps() {
    let trees = Trees::new();
    let cluster = Cluster::start(&trees.scratch.path(), 3);
    compare_all(&trees, Some(&cluster.url));
}

/// Of a file with a late NUL, what is printed does not depend on what its thread has searched before. (ripgrep's depends
/// on it: see [`command::rg`].)
#[test]
fn a_late_nul_is_found_in_the_same_place_behind_a_long_line() {
    let scratch = Scratch::new();
    let root = scratch.dir("tree");
    let long = "x".repeat(300_000) + "\n";
    let late = "a line that matches\n".repeat(10_000) + "\0\n";
    write(&root, "a-long", &long);
    write(&root, "b-late", &late);
    write(&root, "c-long", &long);
    write(&root, "d-late", &late);
    let cluster = Cluster::start(&root, 1);
    for name in ["b-late", "d-late"] {
        let args = ["-n", "-H", "-e", "line"];
        let mut rg = command::rg(&root);
        rg.arg("-uuu").args(args).arg(name);
        let expected = command::run(rg);
        expected.expect_code(0);
        assert!(
            expected.stdout.len() > 100_000,
            "lines are told: {expected}"
        );
        for master in [None, Some(cluster.url.as_str())] {
            let flags = ["-j1", "--sort=path"];
            let ours = command::search(&root, master, flags.into_iter().chain(args));
            let ours = command::run(ours);
            ours.expect_code(0);
            let of_file: Vec<_> = ours
                .stdout
                .split_inclusive(|&b| b == b'\n')
                .filter(|line| line.starts_with(name.as_bytes()))
                .collect();
            assert!(of_file.concat() == expected.stdout, "{name}: {ours}");
        }
    }
}

/// `--files-from` in its forms: what ripgrep prints when the paths are its arguments.
#[test]
fn lists_of_paths_are_searched_as_paths() {
    let scratch = Scratch::new();
    let root = scratch.dir("tree");
    trees::every_kind(&root);
    let cluster = Cluster::start(&root, 2);
    let paths = [
        "plain.txt",
        "./src/code.rs",
        "names/with space",
        "enc/utf16le.txt",
        "binary",
    ];
    let absolute = root.join("crlf.txt");
    let absolute = absolute.to_str().expect("it is text");
    let all = [&paths[..], &[absolute]].concat();
    let lines = all.join("\n") + "\n";
    let nuls = all.join("\0");
    std::fs::write(scratch.path().join("lines"), &lines).expect("it can be written");
    std::fs::write(scratch.path().join("nuls"), &nuls).expect("it can be written");

    let mut rg = command::rg(&root);
    rg.args(["-uuu", "-n", "--sort", "path", "foo"]).args(&all);
    let expected = command::run(rg);
    expected.expect_code(0);
    let forms: [(&[&str], Option<&str>); 4] = [
        (&["--files-from", "../lines"], None),
        (&["--files-from", "-"], Some(&lines)),
        (&["--files0-from", "../nuls"], None),
        (&["--files0-from", "-"], Some(&nuls)),
    ];
    for master in [None, Some(cluster.url.as_str())] {
        for (form, input) in forms {
            let mut ours = command::search(&root, master, ["-n", "foo"]);
            ours.args(form);
            let ours = match input {
                Some(input) => run_with(ours, input.as_bytes()),
                None => command::run(ours),
            };
            ours.expect_code(0);
            let sorted = |output: &[u8]| {
                let mut lines: Vec<_> = output.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
                lines.sort();
                lines
            };
            assert_eq!(
                sorted(&ours.stdout),
                sorted(&expected.stdout),
                "{ours}\n{expected}"
            );
        }
    }
}
