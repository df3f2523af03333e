//! The engine, driven as a master drives it, against `walkdir` and the crate `regex` as oracles.

mod rig;
mod shrinks;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use regexctl_proto::domain::{Attempt, Budget, Grant, JobId, LeaseId, ShardId, Task, Weight};
use regexctl_proto::v1;
use regexctl_worker::plan::Plan;

use rig::{Rig, TINY, UNLIMITED, spec};

fn relative(root: &Path, path: &Path) -> Vec<u8> {
    let path = path
        .strip_prefix(root)
        .expect("walkdir stays below its root");
    path.as_os_str().as_bytes().to_vec()
}

/// Matching lines of every regular file below `root`.
fn oracle(root: &Path, pattern: &str) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let regex = regex::bytes::Regex::new(pattern).expect("the test's own pattern");
    let mut all = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.expect("nothing vanishes in this test");
        if !entry.file_type().is_file() {
            continue;
        }
        let text = fs::read(entry.path()).expect("the test made it");
        let lines: Vec<Vec<u8>> = text
            .split_inclusive(|&b| b == b'\n')
            .filter(|line| regex.is_match(line))
            .map(<[u8]>::to_vec)
            .collect();
        if !lines.is_empty() {
            all.insert(relative(root, entry.path()), lines);
        }
    }
    all
}

#[test]
fn one_shard_scans_a_tree() {
    let dir = tempfile::tempdir().unwrap();
    for d in 0..20 {
        let sub = dir.path().join(format!("d{}/e{d}", d % 3));
        fs::create_dir_all(&sub).unwrap();
        for f in 0..30 {
            fs::write(sub.join(format!("f{f}")), format!("line {f}\nfoo {d}\n")).unwrap();
        }
    }
    for threads in [1, 4] {
        let rig = Rig::new(threads);
        let outcome = rig.root(
            &spec(dir.path(), "foo 1|line 7", v1::Want::Lines),
            UNLIMITED,
        );
        assert_eq!(outcome.lines(), oracle(dir.path(), "foo 1|line 7"));
        assert_eq!((outcome.tally.seen, outcome.shards), (600, 1));
        assert_eq!(outcome.tally.dirs_listed, 24);
    }
}

#[test]
fn an_oversized_directory_is_given_back_in_slices() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..9000 {
        if i % 100 == 0 {
            fs::create_dir(dir.path().join(format!("sub{i}"))).unwrap();
            fs::write(dir.path().join(format!("sub{i}/x")), "").unwrap();
        }
        fs::write(dir.path().join(format!("n{i}")), "foo\n").unwrap();
    }
    let rig = Rig::new(1);
    // The least results that the scheduler grants.
    let budget = Budget {
        result_bytes: 64 << 10,
        ..TINY
    };
    let outcome = rig.root(&spec(dir.path(), "foo|^$", v1::Want::CountLines), budget);
    let paths = outcome.paths();
    assert_eq!((paths.len(), outcome.tally.scanned), (9000, 9090));
    assert!(paths.windows(2).all(|pair| pair[0] != pair[1]));
    // In more than one piece, and not a listing for every few files.
    let pieces = outcome.shards.saturating_sub(91);
    assert!((1..150).contains(&pieces), "{pieces} pieces");
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
fn a_full_remainder_makes_the_shard_go_on() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..200 {
        fs::create_dir(dir.path().join(format!("sub{i}"))).unwrap();
        fs::write(dir.path().join(format!("sub{i}/x")), "").unwrap();
    }
    let rig = Rig::new(2);
    let budget = Budget {
        remainder_bytes: 1000,
        ..TINY
    };
    let outcome = rig.root(&spec(dir.path(), "", v1::Want::Files), budget);
    assert_eq!(outcome.paths().len(), 200);
}

#[test]
fn a_large_file_is_split_and_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = Vec::new();
    let mut i = 0_u64;
    while text.len() < 40 << 20 {
        i += 1;
        let filler = "x".repeat(usize::try_from(i * 7919 % 300).unwrap());
        text.extend_from_slice(format!("{i} {filler}\n").as_bytes());
        if i == 1000 {
            // A line that spans more than one range.
            text.extend(std::iter::repeat_n(b'y', 17 << 20));
            text.push(b'\n');
        }
    }
    text.extend_from_slice(b"12399 the end, without a terminator");
    fs::write(dir.path().join("large"), &text).unwrap();
    let spec = spec(dir.path(), "99 |y{20}", v1::Want::Lines);
    let rig = Rig::new(3);
    for budget in [UNLIMITED, TINY] {
        let outcome = rig.root(&spec, budget);
        assert_eq!(outcome.lines(), oracle(dir.path(), "99 |y{20}"));
        assert!(outcome.errors.is_empty());
        let mut parts: Vec<_> = outcome.files.iter().filter_map(|f| f.part).collect();
        parts.sort_by_key(|part| part.start);
        // Parts tile the file.
        assert_eq!(parts[0].start, 0);
        assert!(
            parts
                .windows(2)
                .all(|p| p[0].end == p[1].start && !p[0].last)
        );
        assert_eq!(
            parts.last().map(|p| (p.end, p.last)),
            Some((text.len() as u64, true))
        );
        // Line numbers count from each part's start.
        let lines: u64 = parts.iter().map(|part| part.lines).sum();
        assert_eq!(lines, i + 1);
        assert_eq!(outcome.tally.bytes_searched, text.len() as u64);
    }
}

#[test]
fn what_cannot_be_scanned_is_told_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::write(root.join("plain"), "foo\n").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"caf\xe9")), "foo\n").unwrap();
    fs::write(root.join("n".repeat(255)), "foo\n").unwrap();
    fs::write(root.join("nuls"), vec![0; 100_000]).unwrap();
    std::os::unix::fs::symlink("plain", root.join("link")).unwrap();
    std::os::unix::fs::symlink(".", root.join("loop")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("broken")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("fifo"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let rig = Rig::new(2);
    let mut job = spec(root, "foo", v1::Want::Lines);
    let outcome = rig.root(&job, UNLIMITED);
    let tally = outcome.tally;
    assert_eq!((tally.seen, tally.scanned, tally.matched), (9, 4, 3));
    assert_eq!((tally.skipped_symlink, tally.skipped_special), (3, 2));
    assert_eq!(outcome.lines().len(), 3);

    job.filter = Some(v1::FilterSpec {
        follow: true,
        ..v1::FilterSpec::default()
    });
    let outcome = rig.root(&job, UNLIMITED);
    let mut kinds: Vec<_> = outcome
        .errors
        .iter()
        .map(|e| (e.path.clone(), e.kind()))
        .collect();
    kinds.sort();
    let expected = [
        (b"broken".to_vec(), v1::FileErrorKind::NotFound),
        (b"loop".to_vec(), v1::FileErrorKind::Loop),
    ];
    assert_eq!(kinds, expected);
    assert_eq!((outcome.tally.scanned, outcome.tally.dirs_failed), (5, 1));

    job.roots[0].path = root.join("missing").into_os_string().into_vec();
    let outcome = rig.root(&job, UNLIMITED);
    assert_eq!(outcome.errors[0].kind(), v1::FileErrorKind::NotFound);
    assert_eq!(outcome.tally.failed, 1);
}

#[test]
fn named_paths_are_scanned_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let mut paths = vec![b"sub".to_vec(), b"gone".to_vec()];
    for i in 0..500 {
        fs::write(dir.path().join(format!("sub/{i}")), "foo\n").unwrap();
        paths.push(format!("sub/../sub/{i}").into_bytes());
    }
    let task = Task {
        root: 0,
        weight: Weight::WHOLE,
        kind: regexctl_proto::domain::TaskKind::Paths { paths },
    };
    let rig = Rig::new(3);
    let spec = spec(dir.path(), "foo", v1::Want::CountLines);
    for budget in [UNLIMITED, TINY] {
        let outcome = rig.run(&spec, vec![task.clone()], budget, 8);
        assert_eq!(outcome.paths().len(), 500);
        assert_eq!(outcome.tally.matched_lines, 500);
        assert_eq!(outcome.errors.len(), 1);
        assert_eq!(outcome.tally.dirs_skipped, 1);
    }
}

#[test]
fn a_revoked_shard_is_silent_and_a_cancelled_one_ends() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..100 {
        fs::write(dir.path().join(format!("{i}")), "foo\n").unwrap();
    }
    let rig = Rig::new(2);
    let plan = Arc::new(Plan::compile(&spec(dir.path(), "foo", v1::Want::Lines)).unwrap());
    plan.cancel();
    let lease = LeaseId {
        job: JobId(7),
        shard: ShardId(1),
        attempt: Attempt(1),
    };
    let grant = Grant {
        lease,
        budget: UNLIMITED,
        tasks: vec![Task::root(0, Weight::WHOLE)],
    };
    rig.engine.grant(grant, plan);
    while !rig.engine.progress().is_empty() {
        std::thread::yield_now();
    }
    assert!(rig.finished.try_recv().is_err());
}

/// A random tree: each entry a directory or a file, by its path.
fn tree() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let component = prop_oneof![Just("a"), Just("b"), Just("c"), Just("d"), Just("e")];
    let path = prop::collection::vec(component, 1..5).prop_map(|c| c.join("/").into_bytes());
    prop::collection::vec(path, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However a job is cut into shards, every file is scanned exactly once.
    #[test]
    fn shards_cover_every_file_once(
        paths in tree(),
        threads in 1_usize..4,
        micros in 0_u64..300,
        result_bytes in 1_u64..3000,
        remainder_bytes in 200_u64..4000,
        per_shard in 1_usize..6,
    ) {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(OsStr::from_bytes(&path));
            // A name may be in use already, as a file or as a directory.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
                fs::write(path, "x\nfoo\ny\n").unwrap();
            }
        }
        let budget = Budget { time: Duration::from_micros(micros), result_bytes, remainder_bytes };
        let rig = Rig::new(threads);
        let spec = spec(dir.path(), "foo", v1::Want::Lines);
        let outcome = rig.run(&spec, vec![Task::root(0, Weight::WHOLE)], budget, per_shard);
        prop_assert_eq!(outcome.paths().len() as u64, outcome.tally.scanned);
        prop_assert_eq!(outcome.lines(), oracle(dir.path(), "foo"));
    }
}

#[test]
fn a_line_that_is_too_long_fails_its_range_and_keeps_the_line_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = b"short\n".repeat(100_000);
    text.extend(std::iter::repeat_n(b'y', 5 << 20));
    text.push(b'\n');
    text.extend(b"short\n".repeat(5_500_000));
    text.extend_from_slice(b"the end\n");
    fs::write(dir.path().join("large"), &text).unwrap();
    let mut spec = spec(dir.path(), "the end", v1::Want::Lines);
    spec.search.as_mut().unwrap().max_line_bytes = 1 << 20;
    let outcome = Rig::new(2).root(&spec, UNLIMITED);
    let kinds: Vec<_> = outcome.errors.iter().map(v1::FileError::kind).collect();
    assert_eq!(kinds, [v1::FileErrorKind::Limit]);
    let lines: u64 = outcome
        .files
        .iter()
        .filter_map(|f| f.part)
        .map(|part| part.lines)
        .sum();
    assert_eq!(
        lines, 5_600_002,
        "the long line and the last one are counted"
    );
}
