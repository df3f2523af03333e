//! Random trees, patterns and flags: the outputs of the embedded search and of the cluster are ripgrep's.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::harness::cluster::Cluster;
use crate::harness::command::{self, run, search};
use crate::harness::normal::{Form, Paths, difference};
use crate::harness::scratch::{Scratch, write};
use crate::harness::tally::Tally;

/// Each is three searches by processes.
const CASES: u32 = 48;

/// Files by path: a few directories, so that names meet.
fn trees() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let name = prop_oneof![
        4 => "[ab]{1,2}",
        1 => "\\.[ab]",
        1 => "[ab] [ab:é-]{1,3}",
        1 => "[ab]\\.(rs|txt)",
    ];
    let path = prop::collection::vec(name, 1..5);
    // A file is never in the way of a directory: their names end differently.
    let path = path.prop_map(|parts| {
        let (file, dirs) = parts.split_last().expect("it has a part");
        let dirs: String = dirs.iter().map(|dir| format!("{dir}.d/")).collect();
        dirs + file
    });
    let word = prop::sample::select(vec![
        "foo", "bar", "foobar", " ", "", "é", "F", "oo", "\t", "\r", "0", "_", "x y", "-",
    ]);
    let line = prop::collection::vec(word, 0..6).prop_map(|words| words.concat());
    let text = (prop::collection::vec(line, 0..30), any::<bool>()).prop_map(|(lines, end)| {
        let mut text = lines.join("\n").into_bytes();
        if end {
            text.push(b'\n');
        }
        text
    });
    let contents = prop_oneof![
        8 => text.clone(),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (text.clone(), text).prop_map(|(a, b)| [a, b"\0".to_vec(), b].concat()),
    ];
    prop::collection::btree_map(path, contents, 0..40)
}

fn patterns() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(vec![
        "foo", "bar", "o", "f", "[fb]", ".", r"\w", r"\s", r"\b", "é", "(?i:f)", r"\d", "-",
    ]);
    let repeat = prop::sample::select(vec!["", "", "", "+", "*", "?", "{2}"]);
    let part = (atom, repeat).prop_map(|(atom, repeat)| match atom {
        r"\b" => atom.to_owned(),
        atom => format!("(?:{atom}){repeat}"),
    });
    let branch = prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat());
    let anchored = (any::<bool>(), branch, any::<bool>()).prop_map(|(start, branch, end)| {
        let start = if start { "^" } else { "" };
        let end = if end { "$" } else { "" };
        format!("{start}{branch}{end}")
    });
    prop::collection::vec(anchored, 1..3).prop_map(|branches| branches.join("|"))
}

fn flags() -> impl Strategy<Value = Vec<&'static str>> {
    let what = prop::sample::select(vec![
        "",
        "",
        "-c",
        "-o",
        "-l",
        "--files-without-match",
        "--count-matches",
        "--json",
        "--vimgrep",
    ]);
    let lines = prop::sample::select(vec!["", "", "-v", "-w", "-x", "-i", "-S", "-a"]);
    let more = prop::sample::select(vec![
        "", "", "-C1", "-A1", "-m2", "-b", "--column", "-r<$0>", "-U",
    ]);
    let files = prop::sample::select(vec![
        "",
        "",
        "-g*.rs",
        "-g!*.rs",
        "-trust",
        "-d2",
        "--max-filesize=40",
    ]);
    (what, lines, more, files).prop_map(|(what, lines, more, files)| {
        let flags = ["-n", what, lines, more, files].into_iter();
        flags.filter(|flag| !flag.is_empty()).collect()
    })
}

#[test]
fn random_searches_are_ripgreps() {
    let scratch = Scratch::new();
    let cluster = Cluster::start(&scratch.path(), 3);
    // What fails is told whole; there is no file of earlier failures to keep.
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    let cases = (trees(), patterns(), flags());
    let result = TestRunner::new(config).run(&cases, |(tree, pattern, flags)| {
        let root = tempfile::tempdir_in(scratch.path())?;
        let root = root.path();
        for (path, contents) in &tree {
            write(root, path, contents);
        }
        compare(root, &cluster, &pattern, &flags)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn compare(
    root: &Path,
    cluster: &Cluster,
    pattern: &str,
    flags: &[&str],
) -> Result<(), TestCaseError> {
    let args = [flags, &["-e", pattern, "."]].concat();
    let mut rg = command::rg(root);
    rg.arg("-uuu").args(&args);
    let theirs = run(rg);
    prop_assert_ne!(theirs.code(), Some(2), "{}", theirs);
    let words: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let (form, paths) = (Form::of(&words), Paths::below(root, "."));
    for master in [None, Some(cluster.url.as_str())] {
        let ours = run(search(root, master, &args));
        prop_assert_eq!(ours.code(), theirs.code(), "{}\n{}", ours, theirs);
        let normal = |output: &[u8]| form.apply(output, &paths).map_err(TestCaseError::fail);
        let (a, b) = (normal(&ours.stdout)?, normal(&theirs.stdout)?);
        prop_assert!(a == b, "{}\n{}\n{}", difference(&a, &b), ours, theirs);
        if form == Form::Json {
            Tally::of_json(&ours).expect_sums();
        }
    }
    Ok(())
}
