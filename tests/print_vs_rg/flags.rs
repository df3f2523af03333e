//! ripgrep's flags, as far as the tests use them, to a search and a printer.

use regexctl::print::{ColorSpec, Colors, LineTerminator, Mode, PrintConfig};
use regexctl_scan::{Binary, CaseMode, Pattern, PatternSpec, SearchSpec, Want};

/// One command line.
pub(crate) struct Run {
    pub(crate) args: Vec<String>,
    pub(crate) compiled: Pattern,
    pub(crate) search: SearchSpec,
    pub(crate) print: PrintConfig,
    pattern: PatternSpec,
}

impl Run {
    pub(crate) fn new(pattern: &str, flags: &str) -> Self {
        let mut run = Self {
            args: flags.split_whitespace().map(str::to_owned).collect(),
            pattern: PatternSpec {
                patterns: vec![pattern.to_owned()],
                ..PatternSpec::default()
            },
            search: SearchSpec::default(),
            print: PrintConfig {
                with_filename: true,
                ..PrintConfig::default()
            },
            compiled: Pattern::compile(&PatternSpec::default()).expect("no pattern is valid"),
        };
        let args = run.args.clone();
        let mut words = args.iter().map(String::as_str);
        let mut seen = Seen::default();
        while let Some(flag) = words.next() {
            if !run.switch(flag, &mut seen) {
                let value = words.next().expect("the flag takes a value");
                run.value(flag, value, &mut seen);
            }
        }
        run.resolve(&seen);
        if run.print.mode == Mode::Files {
            run.args.push("--sort=path".to_owned());
        } else {
            run.args.extend([
                "--sort=path".to_owned(),
                "-e".to_owned(),
                pattern.to_owned(),
            ]);
        }
        run
    }

    /// Whether the records may be given to the printer in several messages.
    pub(crate) fn can_be_cut(&self) -> bool {
        matches!(self.print.mode, Mode::Standard | Mode::Json)
    }

    /// Flags without a value; false when `flag` has one.
    fn switch(&mut self, flag: &str, seen: &mut Seen) -> bool {
        let (print, search) = (&mut self.print, &mut self.search);
        match flag {
            "-n" => seen.line_number = Some(true),
            "-N" => seen.line_number = Some(false),
            "-I" => print.with_filename = false,
            "--heading" => print.heading = true,
            "-b" => print.byte_offset = true,
            "--column" => print.column = true,
            "--vimgrep" => print.per_match = true,
            "-0" => print.null = true,
            "--trim" => print.trim = true,
            "--max-columns-preview" => print.max_columns_preview = true,
            "--stats" => print.stats = true,
            "-o" => print.only_matching = true,
            "-v" => search.invert = true,
            "--no-context-separator" => print.context_separator = None,
            "--crlf" => self.pattern.crlf = true,
            "--null-data" => self.pattern.null_data = true,
            "-a" => search.binary = Binary::Text,
            "--no-binary" => search.binary = Binary::Skip,
            "-i" => self.pattern.case = CaseMode::Insensitive,
            "-w" => self.pattern.word = true,
            "-U" => self.pattern.multi_line = true,
            "-c" => print.mode = Mode::CountLines,
            "--count-matches" => print.mode = Mode::CountMatches,
            "-l" => print.mode = Mode::FilesWithMatch,
            "--files-without-match" => print.mode = Mode::FilesWithoutMatch,
            "--files" => print.mode = Mode::Files,
            "-q" => print.mode = Mode::Quiet,
            "--json" => print.mode = Mode::Json,
            _ => return false,
        }
        true
    }

    fn value(&mut self, flag: &str, value: &str, seen: &mut Seen) {
        let number = || value.parse().expect("the flag takes a number");
        let (print, search) = (&mut self.print, &mut self.search);
        match flag {
            "--color" => seen.color = true,
            "--colors" => seen
                .colors
                .push(value.parse().expect("the test's spec is valid")),
            "-M" => print.max_columns = Some(number()),
            "--field-match-separator" => print.field_match_separator = value.into(),
            "--field-context-separator" => print.field_context_separator = value.into(),
            "--context-separator" => print.context_separator = Some(value.into()),
            "--path-separator" => print.path_separator = value.bytes().next(),
            "-r" => search.replacement = Some(value.into()),
            "-A" => search.after_context = value.parse().expect("a number"),
            "-B" => search.before_context = value.parse().expect("a number"),
            "-C" => {
                search.after_context = value.parse().expect("a number");
                search.before_context = search.after_context;
            }
            "-m" => search.max_count = Some(number()),
            _ => panic!("{flag} is not known to the test"),
        }
    }

    /// What ripgrep derives from several flags.
    fn resolve(&mut self, seen: &Seen) {
        let (print, search) = (&mut self.print, &mut self.search);
        if seen.color {
            print.colors = Colors::on(&seen.colors);
        }
        if print.per_match {
            print.column = true;
            print.heading = false;
        }
        print.mode = match print.mode {
            Mode::CountMatches if search.invert => Mode::CountLines,
            Mode::CountLines if print.only_matching => Mode::CountMatches,
            mode => mode,
        };
        let by_default = match print.mode {
            Mode::Json => true,
            Mode::Standard => print.column,
            _ => false,
        };
        print.line_number = seen.line_number.unwrap_or(by_default);
        print.line_terminator = if self.pattern.crlf {
            LineTerminator::CrLf
        } else if self.pattern.null_data {
            LineTerminator::Nul
        } else {
            LineTerminator::Lf
        };
        print.replaced = search.replacement.is_some();
        print.invert = search.invert;
        print.has_context = search.before_context + search.after_context > 0;
        self.compiled = Pattern::compile(&self.pattern).expect("the test's pattern is valid");
        print.multi_line = self.compiled.spans_lines();
        search.want = match print.mode {
            Mode::Standard | Mode::Json => Want::Lines,
            Mode::CountLines if print.stats => Want::CountMatches,
            Mode::CountLines => Want::CountLines,
            Mode::CountMatches => Want::CountMatches,
            Mode::FilesWithMatch | Mode::Files | Mode::Quiet => Want::FilesWithMatch,
            Mode::FilesWithoutMatch => Want::FilesWithoutMatch,
        };
        if print.mode == Mode::Json && search.binary == Binary::Search {
            search.binary = Binary::Report;
        }
    }
}

/// Flags whose meaning depends on others.
#[derive(Default)]
struct Seen {
    line_number: Option<bool>,
    color: bool,
    colors: Vec<ColorSpec>,
}
