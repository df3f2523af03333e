//! What the tests against ripgrep share: flags, and ripgrep itself.

pub(crate) mod found;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use regexctl_scan::{
    Binary, CaseMode, Encoding, Matches, PatternSpec, ScanError, Scanner, SearchSpec, Want,
};

/// The ripgrep to compare with: `$RG`, or `rg` of the `PATH`; of version 15, as others differ.
fn ripgrep() -> Command {
    static NAME: LazyLock<OsString> = LazyLock::new(|| {
        let name = std::env::var_os("RG").unwrap_or_else(|| "rg".into());
        let output = Command::new(&name).arg("--version").output();
        let output = output.expect("these tests need ripgrep 15: in PATH, or named by RG");
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            version.starts_with("ripgrep 15."),
            "these tests need ripgrep 15, name it by the variable RG; {} is {version}",
            name.display()
        );
        name
    });
    Command::new(&*NAME)
}

/// Runs ripgrep below `dir`, reading files as a stream and in the order of their names.
pub(crate) fn run_ripgrep(dir: &Path, flags: &[&str], pattern: &str) -> Output {
    ripgrep()
        .args(["--no-config", "--no-mmap", "--sort=path", "--color=never"])
        .args(flags)
        .arg("-e")
        .arg(pattern)
        .arg("--")
        .arg(".")
        .current_dir(dir)
        .output()
        .expect("ripgrep has just run")
}

/// The specifications that mean what these flags of ripgrep mean. `--json` stands for the search
/// of binary files that ripgrep's JSON printer does.
pub(crate) fn specs(flags: &[&str], pattern: &str) -> (PatternSpec, SearchSpec) {
    let mut p = PatternSpec {
        patterns: vec![pattern.to_owned()],
        ..PatternSpec::default()
    };
    let mut s = SearchSpec {
        binary: Binary::Skip,
        offsets: true,
        ..SearchSpec::default()
    };
    let json = flags.contains(&"--json");
    s.submatches = json;
    s.line_numbers = json;
    for flag in flags {
        match *flag {
            "-i" => p.case = CaseMode::Insensitive,
            "-S" => p.case = CaseMode::Smart,
            "-F" => p.fixed_strings = true,
            "-w" => p.word = true,
            "-x" => p.whole_line = true,
            "-v" => s.invert = true,
            "-U" => p.multi_line = true,
            "--multiline-dotall" => p.dot_matches_new_line = true,
            "--crlf" => p.crlf = true,
            "--null-data" => p.null_data = true,
            "--no-unicode" => p.no_unicode = true,
            "-a" => s.binary = Binary::Text,
            "-uuu" | "--binary" => {
                s.binary = if json { Binary::Report } else { Binary::Search };
            }
            "-c" => s.want = Want::CountLines,
            "--count-matches" => s.want = Want::CountMatches,
            "-l" => s.want = Want::FilesWithMatch,
            "--files-without-match" => s.want = Want::FilesWithoutMatch,
            "-n" => s.line_numbers = true,
            "--json" | "-uu" | "-b" | "-H" | "--no-heading" => {}
            _ => value_flag(flag, &mut p, &mut s),
        }
    }
    (p, s)
}

fn value_flag(flag: &str, p: &mut PatternSpec, s: &mut SearchSpec) {
    let number = || {
        flag[2..]
            .parse::<usize>()
            .expect("a number behind the flag")
    };
    match &flag[..2] {
        "-A" => s.after_context = number(),
        "-B" => s.before_context = number(),
        "-C" => (s.before_context, s.after_context) = (number(), number()),
        "-m" => s.max_count = Some(number() as u64),
        "-r" => s.replacement = Some(flag[2..].into()),
        "-E" if &flag[2..] == "none" => s.encoding = Encoding::Raw,
        "-E" => s.encoding = Encoding::Label(flag[2..].to_owned()),
        _ => panic!("{flag} is not known here: {p:?}"),
    }
}

/// Joins parts cut after about `size` bytes, as the master does.
pub(crate) fn scan_in_parts(
    scanner: &mut Scanner,
    bytes: &[u8],
    size: usize,
) -> Result<Matches, ScanError> {
    let mut joined = Matches::new();
    let (mut start, mut lines) = (0, 0);
    while start < bytes.len() {
        let from = bytes.len().min(start + size);
        let term = scanner.line_terminator();
        let rest = bytes[from..].iter().position(|&b| b == term);
        let end = rest.map_or(bytes.len(), |i| from + i + 1);
        let mut part = Matches::new();
        let scan = scanner.scan_part(&bytes[start..end], start as u64, 300, &mut part)?;
        assert!(scan.consumed > 0 && scan.consumed <= end - start);
        let lines_before = lines;
        lines += scan.lines;
        start += scan.consumed;
        joined
            .line_numbers
            .extend(part.line_numbers.iter().map(|n| n + lines_before));
        joined.offsets.extend(part.offsets);
        joined.lengths.extend(part.lengths);
        joined.text.extend(part.text);
        joined.submatch_counts.extend(part.submatch_counts);
        joined.submatch_starts.extend(part.submatch_starts);
        joined.submatch_ends.extend(part.submatch_ends);
        joined.replacement_lengths.extend(part.replacement_lengths);
        joined.replacement_text.extend(part.replacement_text);
        joined.matched_lines += part.matched_lines;
        joined.matches += part.matches;
        joined.bytes_searched += part.bytes_searched;
        joined.binary_offset = joined.binary_offset.or(part.binary_offset);
    }
    Ok(joined)
}
