//! What a printed line costs: run with `cargo bench --bench printer`.
//!
//! One iteration prints `LINES` lines in messages of `LINES_A_MESSAGE`; the throughput shown is
//! lines a second. What matters most is the search in which every line of a large tree matches.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use regexctl::print::{Colors, Mode, PrintConfig, Printer, Summary};
use regexctl_proto::v1::FileMatches;

const LINES: usize = 1 << 18;
const LINES_A_MESSAGE: usize = 1 << 12;
const LINE: &[u8] = b"static int suspend(struct device *dev, pm_message_t state)\n";

fn main() {
    divan::main();
}

/// A file in which every line matches, once.
fn file() -> FileMatches {
    let lines = LINES_A_MESSAGE as u64;
    let length = u32::try_from(LINE.len()).expect("a short line");
    FileMatches {
        line_numbers: (100_000..100_000 + lines).collect(),
        offsets: (0..lines).map(|i| i * u64::from(length)).collect(),
        lengths: vec![length; LINES_A_MESSAGE],
        text: LINE.repeat(LINES_A_MESSAGE),
        submatch_counts: vec![1; LINES_A_MESSAGE],
        submatch_starts: vec![11; LINES_A_MESSAGE],
        submatch_ends: vec![18; LINES_A_MESSAGE],
        matched_lines: lines,
        matches: lines,
        ..FileMatches::default()
    }
}

fn run(bencher: Bencher<'_, '_>, config: &PrintConfig) {
    let file = file();
    bencher.counter(ItemsCount::new(LINES)).bench(|| {
        let mut printer = Printer::new(config.clone(), std::io::sink());
        for _ in 0..LINES / LINES_A_MESSAGE {
            printer
                .file(b"drivers/net/ethernet/suspend.c", black_box(&file), &[])
                .expect("a sink takes everything");
        }
        printer
            .finish(&Summary::default())
            .expect("a sink takes everything");
    });
}

#[divan::bench]
fn text_only(bencher: Bencher<'_, '_>) {
    run(bencher, &PrintConfig::default());
}

#[divan::bench]
fn path(bencher: Bencher<'_, '_>) {
    let config = PrintConfig {
        with_filename: true,
        ..PrintConfig::default()
    };
    run(bencher, &config);
}

#[divan::bench]
fn path_and_line_number(bencher: Bencher<'_, '_>) {
    let config = PrintConfig {
        with_filename: true,
        line_number: true,
        ..PrintConfig::default()
    };
    run(bencher, &config);
}

#[divan::bench]
fn colors(bencher: Bencher<'_, '_>) {
    let config = PrintConfig {
        with_filename: true,
        line_number: true,
        colors: Colors::on(&[]),
        ..PrintConfig::default()
    };
    run(bencher, &config);
}

#[divan::bench]
fn only_matching_with_column(bencher: Bencher<'_, '_>) {
    let config = PrintConfig {
        with_filename: true,
        line_number: true,
        column: true,
        only_matching: true,
        ..PrintConfig::default()
    };
    run(bencher, &config);
}

#[divan::bench]
fn json(bencher: Bencher<'_, '_>) {
    let config = PrintConfig {
        mode: Mode::Json,
        line_number: true,
        ..PrintConfig::default()
    };
    run(bencher, &config);
}
