//! What the printers print, compared byte for byte with ripgrep's output.
//!
//! The files are made here, searched by `regexctl_scan`, and printed; ripgrep searches the same files with
//! the same flags. The program is the one named by the variable `RG`, or `rg` in the PATH; it
//! must be of version 15.

mod print_vs_rg {
    pub(crate) mod fixture;
    pub(crate) mod flags;
}

use std::sync::LazyLock;

use print_vs_rg::fixture::Fixture;
use print_vs_rg::flags::Run;
use regex::bytes::Regex;
use regexctl::print::Mode;

/// Patterns with many, few, empty, overlapping and no matches.
const PATTERNS: &[&str] = &["foo", "", r"\w+", "a*", r"foo|bar|\s+$", "é", "not there"];

/// How lines are printed.
const LAYOUTS: &[&str] = &[
    "",
    "-n",
    "-I",
    "-n -I",
    "--heading -n",
    "--heading --color always -n",
    "-b",
    "-b -n -I",
    "--column",
    "--column -b",
    "--vimgrep",
    "--vimgrep --color always",
    "--color always",
    "--color always -n --column -b",
    "--color always --colors match:none",
    "--color always --colors match:none --colors highlight:bg:blue",
    "--color always --colors highlight:style:underline --colors path:fg:0x1F",
    "--color always --colors line:none --colors column:fg:1,2,3",
    "-0",
    "-0 -n",
    "-0 --heading",
    "--trim",
    "--trim -n --color always",
    "--trim -o",
    "--trim --vimgrep",
    "-M 20",
    "-M 20 --column",
    "-M 20 --color always",
    "-M 20 --max-columns-preview",
    "-M 20 --max-columns-preview --column",
    "-M 20 --max-columns-preview --color always",
    "-M 20 --max-columns-preview --trim --color always",
    "-M 5 -o",
    "-M 2 --max-columns-preview -o --color always",
    "-M 20 --vimgrep",
    "--field-match-separator = --field-context-separator ~ -n",
    "--path-separator +",
    "--stats",
    "--stats --heading -n",
];

/// Which lines, and what of them.
const CONTENTS: &[&str] = &[
    "",
    "-o",
    "-v",
    "-o -v",
    "-r <$0>",
    "-r X -o",
    "-C 1",
    "-A 2 -v",
    "-B 1 -o",
    "-C 1 -v -r [$0]",
    "-C 1 --context-separator XX",
    "-C 1 --no-context-separator",
    "-m 2",
    "--crlf",
    "--crlf -o",
    "--null-data",
    "-a",
    "--no-binary",
    "--no-binary -C 1",
    "-i -w",
];

/// Outputs of another shape.
const SHAPES: &[&str] = &[
    "-c",
    "-c -I",
    "-c -0",
    "-c --color always",
    "-c --null-data",
    "-c --no-binary",
    "-c -v",
    "--count-matches",
    "--count-matches --crlf",
    "--count-matches --no-binary",
    "-l",
    "-l -0",
    "-l --color always",
    "-l --null-data",
    "-l --no-binary",
    "--files-without-match",
    "--files-without-match -0",
    "--files-without-match --no-binary",
    "-q",
    "--json",
    "--json -C 1",
    "--json -v -C 1",
    "--json -r <$0>",
    "--json -r <$0> -v -C 1",
    "--json -N",
    "--json --null-data",
    "--json --no-binary",
    "--json -a",
];

/// Patterns over lines, for `-U`; the last but one needs no such thing.
const MULTI_LINE_PATTERNS: &[&str] = &[
    r"o\n\s*b",
    r"(?s-u:foo.{0,60}bar)",
    r"a*\n",
    "foo",
    r"(?m)^\s*$",
];

#[test]
fn layouts_of_lines() {
    let mut comparison = Comparison::new(Fixture::small());
    for pattern in PATTERNS {
        for layout in LAYOUTS {
            comparison.check(pattern, layout);
        }
    }
    comparison.finish();
}

#[test]
fn contents_of_lines() {
    let mut comparison = Comparison::new(Fixture::small());
    for pattern in PATTERNS {
        for content in CONTENTS {
            for layout in ["-n --column", "--heading --color always", "-M 12 -b"] {
                comparison.check(pattern, &format!("{content} {layout}"));
            }
        }
    }
    comparison.finish();
}

#[test]
fn layouts_with_contents() {
    let mut comparison = Comparison::new(Fixture::small());
    for (i, layout) in LAYOUTS.iter().enumerate() {
        // Every other pair: each meets half of the others.
        for content in CONTENTS.iter().skip(i % 2).step_by(2) {
            comparison.check("foo|bar", &format!("{layout} {content}"));
        }
    }
    comparison.finish();
}

#[test]
fn shapes() {
    let mut comparison = Comparison::new(Fixture::small());
    for pattern in PATTERNS {
        for shape in SHAPES {
            comparison.check(pattern, shape);
        }
    }
    comparison.finish();
}

#[test]
fn several_lines() {
    let mut comparison = Comparison::new(Fixture::small());
    for pattern in MULTI_LINE_PATTERNS {
        for flags in LAYOUTS.iter().chain(SHAPES) {
            comparison.check(pattern, &format!("-U {flags}"));
        }
        for content in CONTENTS {
            for layout in ["-n --column --color always", "-M 12 --vimgrep"] {
                comparison.check(pattern, &format!("-U {content} {layout}"));
            }
        }
    }
    comparison.finish();
}

#[test]
fn late_nuls() {
    let mut comparison = Comparison::new(Fixture::with_late_nul());
    for pattern in ["foo", "here", "^"] {
        for what in ["", "-U", "--no-binary", "-a"] {
            for flags in [
                "",
                "-n",
                "-C 1",
                "-v",
                "--heading",
                "-I",
                "-0",
                "-c",
                "--count-matches",
                "-l",
                "--files-without-match",
                "--json",
                "--color always",
                "--stats",
            ] {
                comparison.check(pattern, &format!("{what} {flags}"));
            }
        }
    }
    comparison.finish();
}

/// Runs both programs and gathers where they differ.
struct Comparison {
    fixture: Fixture,
    checked: usize,
    differences: Vec<String>,
}

impl Comparison {
    /// How many differences are shown.
    const SHOWN: usize = 20;

    fn new(fixture: Fixture) -> Self {
        Self {
            fixture,
            checked: 0,
            differences: Vec::new(),
        }
    }

    /// Compares what is printed for one command line.
    fn check(&mut self, pattern: &str, flags: &str) {
        self.checked += 1;
        let run = Run::new(pattern, flags);
        let varies = run.print.stats || run.print.mode == Mode::Json;
        let normal = |output: Vec<u8>| if varies { normal(&output) } else { output };
        let expected = normal(self.fixture.ripgrep(&run));
        // The same from columns that are not needed, or in several messages; in turn, for time.
        let variant = match self.checked % 2 {
            0 if run.can_be_cut() => (false, 7),
            _ => (true, usize::MAX),
        };
        for (all_columns, records) in [(false, usize::MAX), variant] {
            let printed = normal(self.fixture.print(&run, all_columns, records));
            if let Some(difference) = difference(&expected, &printed) {
                self.differences.push(format!(
                    "rg {flags} -e {pattern:?}, all columns {all_columns}, {records} records a \
                     message: {difference}"
                ));
                return;
            }
        }
    }

    fn finish(self) {
        let (differ, checked) = (self.differences.len(), self.checked);
        for difference in self.differences.iter().take(Self::SHOWN) {
            eprintln!("{difference}");
        }
        assert!(differ == 0, "{differ} of {checked} differ");
    }
}

/// The first line that differs, if one does.
fn difference(expected: &[u8], printed: &[u8]) -> Option<String> {
    if expected == printed {
        return None;
    }
    let mut theirs = expected.split(|&b| b == b'\n');
    let mut ours = printed.split(|&b| b == b'\n');
    let show = |line: Option<&[u8]>| {
        line.map_or("nothing".to_owned(), |line| {
            line[..line.len().min(500)].escape_ascii().to_string()
        })
    };
    for number in 1.. {
        let (their_line, our_line) = (theirs.next(), ours.next());
        if their_line != our_line {
            return Some(format!(
                "line {number}\n  rg:   {}\n  ours: {}",
                show(their_line),
                show(our_line)
            ));
        }
    }
    unreachable!("the outputs differ, so a line does")
}

/// The output without what differs from run to run, and without our additions.
fn normal(output: &[u8]) -> Vec<u8> {
    static EDITS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            // Additions.
            (r#","node":null,"shard":0\}\}\n"#, "}}\n"),
            (r#"\{"data":\{"duplicates":0,"#, r#"{"data":{"#),
            (r#","retries":0,"shards":0,"stats":"#, r#","stats":"#),
            (
                r#","tally":\{[^}]*\}\},"type":"summary"\}"#,
                r#"},"type":"summary"}"#,
            ),
            (r"(?s)( seconds total\n)\n\d+ entries seen.*", "$1"),
            // Times, and the size of what the additions belong to.
            (r#""elapsed(_total)?":\{[^}]*\}"#, r#""elapsed":0"#),
            (r#""bytes_printed":\d+"#, r#""bytes_printed":0"#),
            (r"\d+\.\d{6} seconds", "0 seconds"),
        ]
        .map(|(pattern, text)| (Regex::new(pattern).expect("the test's own pattern"), text))
        .into()
    });
    EDITS.iter().fold(output.to_vec(), |text, (pattern, by)| {
        pattern.replace_all(&text, by.as_bytes()).into_owned()
    })
}

#[test]
fn additions_of_json_have_names_of_their_own() {
    let fixture = Fixture::small();
    let run = Run::new("foo", "--json");
    let output = fixture.print(&run, false, usize::MAX);
    let text = String::from_utf8(output).expect("JSON is UTF-8");
    let messages: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    for (message, name) in [("begin", "shard"), ("end", "shard"), ("summary", "tally")] {
        let found = messages
            .iter()
            .find(|m| m["type"] == message)
            .expect("there is one");
        assert!(!found["data"][name].is_null(), "{found}");
    }
}

#[test]
fn files_are_listed_as_by_ripgrep() {
    let fixture = Fixture::small();
    for flags in [
        "--files",
        "--files -0",
        "--files --color always",
        "--files --null-data",
    ] {
        let run = Run::new("", flags);
        let printed = fixture.print(&run, false, usize::MAX);
        assert_eq!(
            difference(&fixture.ripgrep(&run), &printed),
            None,
            "{flags}"
        );
        assert!(printed.windows(5).any(|w| w == b"a.txt"));
    }
}
