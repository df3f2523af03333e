//! Large results: they end a shard wherever they are met, and nothing is told twice or not at all.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use regexctl_proto::domain::Budget;
use regexctl_proto::v1;
use regexctl_source::name_hash;

use crate::rig::{Rig, TINY, UNLIMITED, oracle, spec};

/// A budget that only results end.
fn results(result_bytes: u64) -> Budget {
    Budget {
        time: Duration::from_secs(3600),
        result_bytes,
        remainder_bytes: 1 << 20,
    }
}

#[test]
fn large_results_end_a_shard_in_the_middle_of_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let text = "foo and more\n".repeat(1000);
    for i in 0..1000 {
        if i % 100 == 0 {
            fs::create_dir(dir.path().join(format!("sub{i}"))).unwrap();
        }
        fs::write(dir.path().join(format!("n{i}")), &text).unwrap();
    }
    let budget = Budget {
        time: Duration::from_secs(60),
        result_bytes: 100_000,
        remainder_bytes: 1 << 20,
    };
    for threads in [1, 4] {
        let outcome = Rig::new(threads).root(&spec(dir.path(), "foo", v1::Want::Lines), budget);
        assert_eq!((outcome.paths().len(), outcome.tally.scanned), (1000, 1000));
        assert_eq!(outcome.tally.dirs_listed, 11);
        // The budget, and a file of each thread that was begun before it ended.
        let most = 100_000 + (threads + 1) * text.len();
        assert!(outcome.largest <= most, "{} > {most}", outcome.largest);
    }
}

#[test]
fn large_results_end_a_shard_in_the_middle_of_a_small_directory() {
    let dir = tempfile::tempdir().unwrap();
    let text = "foo and more\n".repeat(1000);
    for d in 0..10 {
        for f in 0..50 {
            let sub = dir.path().join(format!("d{d}/sub{f}"));
            if f % 10 == 0 {
                fs::create_dir_all(&sub).unwrap();
                fs::write(sub.join("x"), &text).unwrap();
            }
            fs::write(dir.path().join(format!("d{d}/n{f}")), &text).unwrap();
        }
    }
    for (threads, budget) in [(1, 50_000), (4, 50_000), (1, 1)] {
        let spec = spec(dir.path(), "foo", v1::Want::Lines);
        let outcome = Rig::new(threads).root(&spec, results(budget));
        assert_eq!((outcome.paths().len(), outcome.tally.scanned), (550, 550));
        assert_eq!(outcome.lines(), oracle(dir.path(), "foo"));
        // The slices of a directory are not directories of their own.
        let dirs = (outcome.tally.dirs_seen, outcome.tally.dirs_listed);
        assert_eq!(dirs, (61, 61));
        let most = 50_000 + (threads + 1) * text.len();
        assert!(outcome.largest <= most, "{} > {most}", outcome.largest);
    }
}

/// Two names that no slice can tell apart.
fn same_hash() -> [String; 2] {
    let mut seen = HashMap::new();
    (0..)
        .find_map(|i| {
            let name = format!("n{i}");
            let other = seen.insert(name_hash(name.as_bytes()), name.clone());
            other.map(|other| [other, name])
        })
        .expect("there are more names than hashes")
}

#[test]
fn names_with_the_same_hash_are_scanned_once() {
    let pair = same_hash();
    let scan = |root: &Path| {
        let spec = spec(root, "foo", v1::Want::Lines);
        let outcome = Rig::new(1).root(&spec, TINY);
        assert_eq!(outcome.lines(), oracle(root, "foo"));
        assert_eq!(outcome.paths().len() as u64, outcome.tally.scanned);
        outcome.tally.scanned
    };
    // Whichever of them is met first, and where nothing or something stands between.
    for others in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        for name in pair
            .iter()
            .cloned()
            .chain((0..others).map(|i| format!("o{i}")))
        {
            fs::write(dir.path().join(name), "foo\n").unwrap();
        }
        assert_eq!(scan(dir.path()), 2 + others);
    }
}

#[test]
fn large_results_end_a_shard_in_the_middle_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for i in 0..200_000 {
        writeln!(text, "foo {i} {}", "x".repeat(i % 50)).expect("writing to a String cannot fail");
    }
    text.push_str("foo at the end");
    assert!(text.len() > 6 << 20 && text.len() < 32 << 20);
    fs::write(dir.path().join("a"), &text).unwrap();
    fs::write(dir.path().join("b"), &text).unwrap();
    let spec = spec(dir.path(), "foo", v1::Want::Lines);
    for threads in [1, 2] {
        let outcome = Rig::new(threads).root(&spec, results(100_000));
        assert_eq!(outcome.lines(), oracle(dir.path(), "foo"));
        let tally = outcome.tally;
        assert_eq!((tally.seen, tally.scanned), (2, 2));
        assert_eq!(tally.matched_lines, 2 * 200_001);
        assert_eq!(tally.bytes_searched, 2 * text.len() as u64);
        assert!(outcome.largest < (threads + 1) << 20, "{}", outcome.largest);
        for name in [b"a", b"b"] {
            let of_file = outcome.files.iter().filter(|file| file.path == name);
            let mut parts: Vec<v1::Part> = of_file.filter_map(|file| file.part).collect();
            parts.sort_by_key(|part| part.start);
            assert!(parts.len() > 4, "{parts:?}");
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(parts.iter().map(|part| part.lines).sum::<u64>(), 200_000);
            let last = parts.last().map(|part| (part.end, part.last));
            assert_eq!(last, Some((text.len() as u64, true)));
        }
    }
}

#[test]
fn results_take_no_more_memory_than_they_are_counted_for() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..300 {
        fs::write(dir.path().join(format!("{i}")), "foo\nbar\n".repeat(i)).unwrap();
    }
    fs::write(dir.path().join("large"), "foo\n".repeat(500_000)).unwrap();
    let outcome = Rig::new(1).root(&spec(dir.path(), "foo", v1::Want::Lines), UNLIMITED);
    assert!(outcome.files.len() >= 300);
    for file in &outcome.files {
        assert_eq!(file.text.capacity(), file.text.len());
        assert_eq!(file.lengths.capacity(), file.lengths.len());
        assert_eq!(file.offsets.capacity(), file.offsets.len());
        assert_eq!(file.line_numbers.capacity(), file.line_numbers.len());
    }
}
