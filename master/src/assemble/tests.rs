//! Parts in any order give what a scan at once gives.

use proptest::prelude::*;
use regexctl_proto::domain::Weight;
use regexctl_proto::v1::{BinaryEnd, BinaryMode, RecordKind, Want};

use super::*;

const NOW: Duration = Duration::from_secs(1);
const LARGE: u64 = 1 << 30;

fn assembler(want: Want, binary: BinaryMode, output_bytes: u64) -> Assembler {
    let spec = v1::JobSpec {
        search: Some(v1::SearchSpec {
            want: want.into(),
            binary: binary.into(),
            ..v1::SearchSpec::default()
        }),
        ..v1::JobSpec::default()
    };
    Assembler::new(&spec, output_bytes, NOW)
}

fn lines() -> Assembler {
    assembler(Want::Lines, BinaryMode::Search, LARGE)
}

/// A part of `f` of `lines` lines, of which those of `hits` match.
fn part(start: u64, end: u64, lines: u64, last: bool, hits: &[u64]) -> v1::FileMatches {
    v1::FileMatches {
        path: b"f".to_vec(),
        line_numbers: hits.to_vec(),
        lengths: vec![2; hits.len()],
        text: b"x\n".repeat(hits.len()),
        matched_lines: hits.len() as u64,
        matches: hits.len() as u64,
        bytes_searched: end - start,
        elapsed_ns: 1,
        part: Some(v1::Part {
            start,
            end,
            lines,
            last,
        }),
        ..v1::FileMatches::default()
    }
}

fn whole(path: &str) -> v1::FileMatches {
    v1::FileMatches {
        path: path.into(),
        matched_lines: 1,
        lengths: vec![2],
        text: b"x\n".to_vec(),
        ..v1::FileMatches::default()
    }
}

/// Adds files as one commit; returns what comes out.
fn add(assembler: &mut Assembler, files: Vec<v1::FileMatches>) -> Output {
    let mut out = Output::default();
    let batch = v1::ResultBatch {
        files,
        ..v1::ResultBatch::default()
    };
    assembler.add(NOW, 7, &"node".into(), vec![batch], &mut out);
    out
}

fn files(out: &mut Output) -> Vec<v1::FileMatches> {
    let batches = out.take_batches();
    for (batch, _) in &batches {
        for file in &batch.files {
            assert_eq!(batch.nodes[file.node as usize], "node");
            assert_eq!(file.shard, 7);
            assert_eq!(file.part, None);
        }
    }
    batches
        .into_iter()
        .flat_map(|(batch, _)| batch.files)
        .collect()
}

/// The path, the line numbers, and whether it goes on.
fn brief(files: &[v1::FileMatches]) -> Vec<(String, Vec<u64>, bool)> {
    files
        .iter()
        .map(|file| {
            let path = String::from_utf8_lossy(&file.path).into_owned();
            (path, file.line_numbers.clone(), file.continues)
        })
        .collect()
}

fn told(path: &str, lines: &[u64], continues: bool) -> (String, Vec<u64>, bool) {
    (path.to_owned(), lines.to_vec(), continues)
}

#[test]
fn whole_files_pass() {
    let mut assembler = lines();
    let mut out = add(&mut assembler, vec![whole("a"), whole("b")]);
    assert_eq!(brief(&files(&mut out)).len(), 2);
    assert_eq!(out.matched, 0, "the worker counted them");
    assert_eq!(assembler.held(), Held::default());
}

#[test]
fn parts_are_held_until_all_are_there() {
    let mut assembler = lines();
    let mut out = add(&mut assembler, vec![part(20, 30, 3, true, &[1, 3])]);
    assert!(files(&mut out).is_empty());
    let held = assembler.held();
    assert!(held.bytes > 0);
    assert_eq!(held.head.expect("something is held").offset, 0);

    let mut out = add(&mut assembler, vec![part(0, 10, 4, false, &[2])]);
    assert!(files(&mut out).is_empty());
    assert_eq!(assembler.held().head.expect("more is held").offset, 10);
    assert_eq!(out.matched, 1);

    let mut out = add(&mut assembler, vec![part(10, 20, 5, false, &[])]);
    let files = files(&mut out);
    assert_eq!(
        brief(&files),
        [
            told("f", &[2], true),
            told("f", &[4 + 5 + 1, 4 + 5 + 3], false)
        ]
    );
    assert_eq!(out.matched, 0, "counted once");
    let searched: u64 = files.iter().map(|file| file.bytes_searched).sum();
    assert_eq!(searched, 30, "the part without a hit is accounted for");
    assert_eq!(assembler.held(), Held::default());
}

#[test]
fn a_file_without_a_hit_is_not_told() {
    let mut assembler = lines();
    let parts = vec![part(10, 20, 1, true, &[]), part(0, 10, 1, false, &[])];
    let mut out = add(&mut assembler, parts);
    assert!(files(&mut out).is_empty());
    assert_eq!(out.matched, 0);
    assert!(out.dropped_bytes > 0);
    assert_eq!(assembler.held(), Held::default());
}

#[test]
fn a_quiet_stream_opens_a_file_and_others_wait_for_its_end() {
    let mut assembler = lines();
    let mut out = add(&mut assembler, vec![part(0, 10, 4, false, &[2])]);
    assembler.tick(NOW + QUIET / 2, &mut out);
    assert!(files(&mut out).is_empty());
    assembler.tick(NOW + QUIET, &mut out);
    assert_eq!(brief(&files(&mut out)), [told("f", &[2], true)]);

    let mut out = add(&mut assembler, vec![whole("other")]);
    assert!(files(&mut out).is_empty());
    assert!(assembler.held().bytes > 0);
    let mut out = add(&mut assembler, vec![part(10, 20, 5, false, &[1])]);
    assert_eq!(brief(&files(&mut out)), [told("f", &[5], true)]);
    // The end has no hit, but has to be told.
    let mut out = add(&mut assembler, vec![part(20, 30, 5, true, &[])]);
    let files = files(&mut out);
    assert_eq!(
        brief(&files),
        [told("f", &[], false), told("other", &[], false)]
    );
    assert_eq!(files[0].bytes_searched, 10);
    assert_eq!(assembler.held(), Held::default());
}

#[test]
fn a_file_with_much_ready_is_opened() {
    let mut assembler = lines();
    let mut large = part(0, 10, 1, false, &[1]);
    large.text = vec![b'x'; 300 << 10];
    large.lengths = vec![300 << 10];
    let mut out = add(&mut assembler, vec![large]);
    assert_eq!(brief(&files(&mut out)), [told("f", &[1], true)]);
}

#[test]
fn a_crowd_of_held_parts_opens_a_file() {
    let mut assembler = assembler(Want::Lines, BinaryMode::Search, 4000);
    let other = |start, end| v1::FileMatches {
        path: b"g".to_vec(),
        ..part(start, end, 1, false, &[1])
    };
    let mut out = add(&mut assembler, vec![part(0, 10, 1, false, &[1])]);
    assert!(files(&mut out).is_empty());
    let mut out = add(&mut assembler, vec![other(10, 20), other(20, 30)]);
    assert_eq!(brief(&files(&mut out)), [told("f", &[1], true)]);
    // What blocks now is the open file, though more is held of the other.
    assert_eq!(assembler.held().head.expect("it is held").path, b"f");
}

#[test]
fn a_match_behind_a_nul_of_an_earlier_part_ends_the_file() {
    let mut assembler = lines();
    let nul = v1::FileMatches {
        binary_offset: Some(12),
        ..part(10, 20, 2, false, &[])
    };
    let mut behind = part(20, 30, 2, false, &[1, 2]);
    behind.submatch_counts = vec![3, 1];
    let parts = vec![
        part(30, 40, 2, true, &[1]),
        behind,
        nul,
        part(0, 10, 2, false, &[1]),
    ];
    let mut out = add(&mut assembler, parts);
    let files = files(&mut out);
    assert_eq!(
        brief(&files),
        [told("f", &[1], true), told("f", &[], false)]
    );
    assert_eq!(files[1].binary_end(), BinaryEnd::Matched);
    assert_eq!(files[1].binary_offset, Some(12));
    assert_eq!((files[1].matched_lines, files[1].matches), (1, 3));
    assert!(files[1].text.is_empty());
    assert_eq!(out.dropped_lines, 2, "one in the part, one behind it");
    assert_eq!(assembler.held(), Held::default());
}

#[test]
fn what_follows_a_match_told_as_binary_is_dropped() {
    let mut assembler = lines();
    let mut first = part(0, 10, 2, false, &[]);
    first.binary_offset = Some(3);
    first.set_binary_end(BinaryEnd::Matched);
    let mut out = add(&mut assembler, vec![first, part(10, 20, 2, true, &[1])]);
    let files = files(&mut out);
    assert_eq!(brief(&files), [told("f", &[], false)]);
    assert_eq!(files[0].binary_end(), BinaryEnd::Matched);
}

#[test]
fn a_skipped_file_is_told_when_it_had_a_hit_before() {
    for (hits, expected) in [(&[1][..], 2), (&[][..], 0)] {
        let mut assembler = assembler(Want::Lines, BinaryMode::Skip, LARGE);
        let mut skipped = part(10, 20, 2, false, &[]);
        skipped.binary_offset = Some(12);
        skipped.set_binary_end(BinaryEnd::Skipped);
        let parts = vec![
            part(0, 10, 2, false, hits),
            skipped,
            part(20, 30, 2, true, &[1]),
        ];
        let mut out = add(&mut assembler, parts);
        assert_eq!(files(&mut out).len(), expected);
    }
}

#[test]
fn in_text_a_nul_is_nothing() {
    let mut assembler = assembler(Want::Lines, BinaryMode::Text, LARGE);
    let mut first = part(0, 10, 2, false, &[]);
    first.binary_offset = Some(3);
    let mut out = add(&mut assembler, vec![first, part(10, 20, 2, true, &[1])]);
    assert_eq!(brief(&files(&mut out)), [told("f", &[3], false)]);
}

#[test]
fn counts_are_summed_up_and_told_once() {
    let mut assembler = assembler(Want::CountLines, BinaryMode::Search, LARGE);
    let count = |start, n, last| v1::FileMatches {
        line_numbers: Vec::new(),
        lengths: Vec::new(),
        text: Vec::new(),
        matched_lines: n,
        ..part(start, start + 10, 0, last, &[])
    };
    let mut out = add(
        &mut assembler,
        vec![count(10, 3, false), count(0, 2, false)],
    );
    assembler.tick(NOW + QUIET, &mut out);
    assert!(files(&mut out).is_empty(), "a sum is not told in part");
    let mut out = add(&mut assembler, vec![count(20, 5, true)]);
    let files = files(&mut out);
    assert_eq!(brief(&files), [told("f", &[], false)]);
    assert_eq!((files[0].matched_lines, files[0].bytes_searched), (10, 30));
    assert_eq!(out.matched, 1);
    assert_eq!(assembler.held(), Held::default());

    let none = vec![count(0, 0, false), count(10, 0, true)];
    let mut out = add(&mut assembler, none);
    assert!(super::tests::files(&mut out).is_empty());
    assert_eq!(out.matched, 0);
}

#[test]
fn an_abandoned_part_ends_the_file() {
    let mut assembler = lines();
    let parts = vec![part(0, 10, 2, false, &[1]), part(20, 30, 2, true, &[1])];
    add(&mut assembler, parts);
    let task = Task {
        root: 0,
        weight: Weight(0),
        kind: TaskKind::Range {
            path: b"f".to_vec(),
            start: 10,
            end: 20,
            size: 30,
        },
    };
    let mut out = Output::default();
    assembler.abandon(&[task], &mut out);
    assert_eq!(brief(&files(&mut out)), [told("f", &[1], false)]);
    assert_eq!(assembler.held(), Held::default());
}

#[test]
fn a_file_named_twice_is_told_twice() {
    let mut assembler = lines();
    let parts = vec![
        part(0, 10, 2, false, &[1]),
        part(0, 10, 2, false, &[1]),
        part(10, 20, 2, true, &[2]),
        part(10, 20, 2, true, &[2]),
    ];
    let mut out = add(&mut assembler, parts);
    let expected = [told("f", &[1], true), told("f", &[4], false)];
    assert_eq!(
        brief(&files(&mut out)),
        [&expected[..], &expected[..]].concat()
    );
    assert_eq!(out.matched, 2);
}

#[test]
fn parts_that_never_meet_are_released_as_they_are() {
    let mut assembler = lines();
    let parts = vec![
        part(0, 10, 2, false, &[1]),
        part(25, 30, 2, true, &[1]),
        part(12, 20, 2, false, &[1]),
    ];
    let mut out = add(&mut assembler, parts);
    assert!(files(&mut out).is_empty());
    assembler.release_all(&mut out);
    assert_eq!(
        brief(&files(&mut out)),
        [
            told("f", &[1], true),
            told("f", &[3], true),
            told("f", &[5], false)
        ]
    );
    assert_eq!(assembler.held(), Held::default());
}

#[test]
fn a_break_between_groups_has_no_line_number() {
    let mut assembler = lines();
    let mut second = part(10, 20, 5, true, &[1, 0, 5]);
    let (hit, gap) = (RecordKind::Match as u8, RecordKind::Break as u8);
    second.kinds = vec![hit, gap, hit];
    let mut out = add(&mut assembler, vec![part(0, 10, 4, false, &[]), second]);
    assert_eq!(brief(&files(&mut out)), [told("f", &[5, 0, 9], false)]);
}

/// What a client makes of a stream: the lines of each file; a file's parts have nothing in between.
fn read(files: &[v1::FileMatches]) -> BTreeMap<Vec<u8>, Vec<u64>> {
    let mut all: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    let mut open: Option<Vec<u8>> = None;
    for file in files {
        match open.take() {
            Some(path) => assert_eq!(path, file.path, "something lies between the parts"),
            None => assert!(!all.contains_key(&file.path), "it was over"),
        }
        all.entry(file.path.clone())
            .or_default()
            .extend(&file.line_numbers);
        open = file.continues.then(|| file.path.clone());
    }
    assert_eq!(open, None, "the last one has an end");
    all
}

proptest! {
    /// Files of random parts, added in a random order, with ticks in between: the client sees each file in its
    /// order, and every byte is held, released or dropped.
    #[test]
    fn any_order_gives_the_files_as_they_are(
        sizes in prop::collection::vec(prop::collection::vec((1_u64..20, any::<u32>()), 1..12), 1..6),
        order in prop::collection::vec(any::<u32>(), 80),
        output in 1000_u64..100_000,
        ticks: u64,
    ) {
        let mut parts = Vec::new();
        let mut expected: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        for (i, file) in sizes.iter().enumerate() {
            let path = format!("f{i}").into_bytes();
            let (mut start, mut line) = (0, 0);
            for (j, &(lines, bits)) in file.iter().enumerate() {
                // A line is a byte; sparse hits, so that some parts and files have none.
                let hit = |n: &u64| (bits & bits >> 7) >> n & 1 == 1;
                let hits: Vec<u64> = (1..=lines).filter(hit).collect();
                if !hits.is_empty() {
                    let told = expected.entry(path.clone()).or_default();
                    told.extend(hits.iter().map(|n| n + line));
                }
                parts.push(v1::FileMatches {
                    path: path.clone(),
                    ..part(start, start + lines, lines, j + 1 == file.len(), &hits)
                });
                start += lines;
                line += lines;
            }
        }
        let mut keyed: Vec<_> = order.iter().zip(parts).collect();
        keyed.sort_by_key(|(key, _)| **key);
        let mut assembler = assembler(Want::Lines, BinaryMode::Search, output);
        let (mut seen, mut added, mut gone, mut matched) = (Vec::new(), 0, 0, 0);
        for (i, (_, file)) in keyed.into_iter().enumerate() {
            added += matches_cost(&file);
            let mut out = add(&mut assembler, vec![file]);
            if ticks >> (i % 64) & 1 == 1 {
                assembler.tick(NOW * 2, &mut out);
            }
            matched += out.matched;
            let batches = out.take_batches();
            gone += out.dropped_bytes + batches.iter().map(|(_, cost)| cost).sum::<u64>();
            prop_assert_eq!(added, gone + assembler.held().bytes);
            seen.extend(batches.into_iter().flat_map(|(batch, _)| batch.files));
        }
        prop_assert_eq!(assembler.held(), Held::default());
        prop_assert_eq!(matched, expected.len() as u64);
        prop_assert_eq!(read(&seen), expected);
    }
}
