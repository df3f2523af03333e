//! What was typed after `regexctl run`, as values: one field a decision, after all
//! overrides between flags, before anything is known of the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use super::value::Mapping;
use crate::print::ColorSpec;

/// The arguments of `regexctl run`. [`Default`] is the command line without a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunArgs {
    /// What is not a flag: the pattern, unless one comes from elsewhere, and the paths.
    pub positional: Vec<OsString>,
    /// `-e` and `-f`, in the order typed.
    pub patterns: Vec<PatternSource>,
    /// `-F`
    pub fixed_strings: bool,
    /// `-i`, `-s`, `-S`
    pub case: CaseMode,
    /// `-w`, `-x`
    pub boundary: Option<Boundary>,
    /// `-v`
    pub invert: bool,
    /// `-U`
    pub multiline: bool,
    /// `--multiline-dotall`
    pub multiline_dotall: bool,
    /// `--crlf`; never set together with `null_data`.
    pub crlf: bool,
    /// `--null-data`
    pub null_data: bool,
    /// `--no-unicode`
    pub no_unicode: bool,

    /// `-g`, in the order typed.
    pub globs: Vec<String>,
    /// `--iglob`, in the order typed.
    pub iglobs: Vec<String>,
    /// `--glob-case-insensitive`
    pub glob_case_insensitive: bool,
    /// `-t` and `-T`, in the order typed.
    pub types: Vec<FileType>,
    /// `-d`
    pub max_depth: Option<u64>,
    /// `--max-filesize`, in bytes.
    pub max_filesize: Option<u64>,
    /// `-L`
    pub follow: bool,
    /// `--no-hidden`
    pub skip_hidden: bool,
    /// `--ignore`
    pub ignore: bool,
    /// How many `-u` there were.
    pub unrestricted: u8,
    /// `--files-from`, `--files0-from`, in the order typed.
    pub files_from: Vec<FilesFrom>,

    /// `-a`, `--binary`, `--no-binary`
    pub binary: Binary,
    /// `-E`: `auto`, `none` or a label.
    pub encoding: String,
    /// `-m`
    pub max_count: Option<u64>,

    /// What kind of output: `-c`, `-l`, `--json`, `--files`, ...
    pub mode: Mode,
    /// `-q`
    pub quiet: bool,
    /// `-o`
    pub only_matching: bool,
    /// `-r`
    pub replace: Option<Vec<u8>>,
    /// `--stats`
    pub stats: bool,
    /// `--no-messages`
    pub no_messages: bool,
    /// `-A`, `-B`, `-C`
    pub context: Context,
    /// `--context-separator`; none with `--no-context-separator`.
    pub context_separator: Option<Vec<u8>>,

    /// `-n`, `-N`
    pub line_number: Option<bool>,
    /// `--column`
    pub column: Option<bool>,
    /// `-b`
    pub byte_offset: bool,
    /// `-H`, `-I`
    pub with_filename: Option<bool>,
    /// `--heading`
    pub heading: Option<bool>,
    /// `--color`
    pub color: ColorChoice,
    /// `--colors`, in the order typed.
    pub colors: Vec<ColorSpec>,
    /// `--vimgrep`
    pub vimgrep: bool,
    /// `--trim`
    pub trim: bool,
    /// `-M`, in bytes.
    pub max_columns: Option<u64>,
    /// `--max-columns-preview`
    pub max_columns_preview: bool,
    /// `-0`
    pub null: bool,
    /// `--sort`
    pub sort: Sort,
    /// `--field-match-separator`
    pub field_match_separator: Vec<u8>,
    /// `--field-context-separator`
    pub field_context_separator: Vec<u8>,
    /// `--progress`, `--no-progress`
    pub progress: Option<bool>,

    /// `--master`, `--no-master`
    pub master: Master,
    /// `--map`, in the order typed.
    pub maps: Vec<Mapping>,
    /// `-j`
    pub threads: Option<usize>,
    /// `--no-config`
    pub no_config: bool,

    /// `--max-pattern-size`, in bytes.
    pub max_pattern_size: Option<u64>,
    /// `--regex-size-limit`, in bytes.
    pub regex_size_limit: Option<u64>,
    /// `--dfa-size-limit`, in bytes.
    pub dfa_size_limit: Option<u64>,
    /// `--max-line-size`, in bytes.
    pub max_line_size: Option<u64>,
}

impl Default for RunArgs {
    fn default() -> Self {
        Self {
            positional: Vec::new(),
            patterns: Vec::new(),
            fixed_strings: false,
            case: CaseMode::default(),
            boundary: None,
            invert: false,
            multiline: false,
            multiline_dotall: false,
            crlf: false,
            null_data: false,
            no_unicode: false,
            globs: Vec::new(),
            iglobs: Vec::new(),
            glob_case_insensitive: false,
            types: Vec::new(),
            max_depth: None,
            max_filesize: None,
            follow: false,
            skip_hidden: false,
            ignore: false,
            unrestricted: 0,
            files_from: Vec::new(),
            binary: Binary::default(),
            encoding: "auto".to_owned(),
            max_count: None,
            mode: Mode::default(),
            quiet: false,
            only_matching: false,
            replace: None,
            stats: false,
            no_messages: false,
            context: Context::default(),
            context_separator: Some(b"--".to_vec()),
            line_number: None,
            column: None,
            byte_offset: false,
            with_filename: None,
            heading: None,
            color: ColorChoice::default(),
            colors: Vec::new(),
            vimgrep: false,
            trim: false,
            max_columns: None,
            max_columns_preview: false,
            null: false,
            sort: Sort::default(),
            field_match_separator: b":".to_vec(),
            field_context_separator: b"-".to_vec(),
            progress: None,
            master: Master::default(),
            maps: Vec::new(),
            threads: None,
            no_config: false,
            max_pattern_size: None,
            regex_size_limit: None,
            dfa_size_limit: None,
            max_line_size: None,
        }
    }
}

/// Where patterns come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternSource {
    /// `-e PATTERN`
    Pattern(String),
    /// `-f FILE`; `-` is standard input.
    File(PathBuf),
}

/// A file type that was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileType {
    /// As in `--type-list`, or `all`.
    pub name: String,
    /// `-T`, not `-t`.
    pub exclude: bool,
}

/// A list of paths to search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesFrom {
    /// The list; `-` is standard input.
    pub list: PathBuf,
    /// What ends a path: a newline or a NUL.
    pub terminator: u8,
}

/// Upper and lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaseMode {
    /// `a` does not match `A`.
    #[default]
    Sensitive,
    /// `a` matches `A`.
    Insensitive,
    /// Insensitive unless a pattern holds an upper-case literal.
    Smart,
}

/// What a match must be bounded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// `-w`
    Word,
    /// `-x`
    Line,
}

/// What a NUL byte in a file means. `--text` does not forget which of the other two was
/// chosen, so that `--no-text` can return to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Binary {
    /// A byte like any other (`-a`).
    pub text: bool,
    /// The end of a file that was not named (`--no-binary`).
    pub skip: bool,
}

/// What is done and printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Files are searched.
    Search(SearchMode),
    /// `--files`
    Files,
    /// `--type-list`
    TypeList,
}

impl Default for Mode {
    fn default() -> Self {
        Self::Search(SearchMode::Standard)
    }
}

impl Mode {
    /// Sets another mode, as ripgrep does: the later wins, but no way of searching
    /// replaces a mode that does not search.
    pub(super) fn update(&mut self, new: Self) {
        if matches!(self, Self::Search(_)) || !matches!(new, Self::Search(_)) {
            *self = new;
        }
    }
}

/// What is printed of a searched file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchMode {
    /// Its matching lines.
    Standard,
    /// `-c`
    Count,
    /// `--count-matches`
    CountMatches,
    /// `-l`
    FilesWithMatches,
    /// `--files-without-match`
    FilesWithoutMatch,
    /// `--json`
    Json,
}

/// Lines around a match. `-A` and `-B` win over `-C`, wherever they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Context {
    /// `-B`
    pub before: Option<u32>,
    /// `-A`
    pub after: Option<u32>,
    /// `-C`
    pub both: Option<u32>,
}

impl Context {
    /// Lines before and after each match.
    pub fn lines(self) -> (u32, u32) {
        let both = self.both.unwrap_or(0);
        (self.before.unwrap_or(both), self.after.unwrap_or(both))
    }
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// When standard output is a terminal that shows colours.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Never.
    Never,
}

/// The order of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// As results come.
    #[default]
    None,
    /// By path.
    Path,
}

/// Which master runs the job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Master {
    /// Not said: the environment or the configuration file decide.
    #[default]
    Unset,
    /// `--master URL`, checked.
    Url(String),
    /// `--no-master`: this process.
    Embedded,
}

/// The arguments of `regexctl nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodesArgs {
    /// `--master`
    pub master: Master,
    /// `--json`
    pub json: bool,
    /// `--no-config`
    pub no_config: bool,
}
