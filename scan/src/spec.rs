//! What is asked for: patterns, the kind of result, and the limits.
//!
//! Plain values without behaviour of their own. They mirror what a user types, and
//! [`crate::Pattern::compile`] and [`crate::Scanner::new`] check them.

/// The default of [`Limits::pattern_bytes`]: 1 MiB.
pub const MAX_PATTERN_BYTES: usize = 1 << 20;

/// The default of [`Limits::compiled_bytes`]: 32 MiB.
pub const MAX_COMPILED_BYTES: usize = 32 << 20;

/// The default of [`Limits::dfa_bytes`]: 8 MiB. The cache grows only as a pattern needs it, and
/// `\w{5}\s+\w{5}\s+\w{5}` over source text is matched as fast as with 1 GiB.
pub const MAX_DFA_BYTES: usize = 8 << 20;

/// The default of [`SearchSpec::max_line_bytes`]: 128 MiB.
pub const MAX_LINE_BYTES: usize = 128 << 20;

/// The most bytes of results, as [`crate::Matches::cost`] counts them, that one file may have
/// when it is not scanned in parts: 1 GiB.
pub const MAX_FILE_RESULT_BYTES: u64 = 1 << 30;

/// How deep groups, classes and repetitions of a pattern may nest.
pub const MAX_PATTERN_NESTING: u32 = 250;

/// Patterns, and how they become one matcher. A line matches when any of them does; when
/// there is none, nothing matches.
#[derive(Debug, Clone, Default)]
pub struct PatternSpec {
    /// In the syntax of the `regex` crate.
    pub patterns: Vec<String>,
    /// They are literal strings instead.
    pub fixed_strings: bool,
    /// Only matches with no word character at their sides.
    pub word: bool,
    /// Only matches that span a whole line; stronger than `word`.
    pub whole_line: bool,
    /// Upper and lower case.
    pub case: CaseMode,
    /// A match may span lines.
    pub multi_line: bool,
    /// `.` matches a line terminator; only with `multi_line`.
    pub dot_matches_new_line: bool,
    /// `\r\n` ends a line as `\n` does.
    pub crlf: bool,
    /// NUL ends a line, `\n` does not. Files are searched as text.
    pub null_data: bool,
    /// Classes and case folding are ASCII only.
    pub no_unicode: bool,
    /// What compiling and matching may take.
    pub limits: Limits,
}

/// How upper and lower case are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaseMode {
    /// They differ.
    #[default]
    Sensitive,
    /// They do not.
    Insensitive,
    /// They differ when a pattern holds an upper-case literal.
    Smart,
}

/// What a pattern may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All patterns together, with one byte for the end of each.
    pub pattern_bytes: usize,
    /// The compiled automaton.
    pub compiled_bytes: usize,
    /// The cache of the lazy DFA, once a thread. A pattern that needs more is matched slower.
    pub dfa_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pattern_bytes: MAX_PATTERN_BYTES,
            compiled_bytes: MAX_COMPILED_BYTES,
            dfa_bytes: MAX_DFA_BYTES,
        }
    }
}

/// What the result of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Want {
    /// Matching lines and their context.
    #[default]
    Lines,
    /// How many lines match.
    CountLines,
    /// How many matches there are; with `invert`, how many lines.
    CountMatches,
    /// Only whether anything matches; the scan ends at the first match.
    FilesWithMatch,
    /// Only whether nothing matches; likewise.
    FilesWithoutMatch,
}

/// What a NUL byte in a file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Binary {
    /// The file is binary: the first match once a NUL is known ends the scan, and its line is
    /// not told.
    #[default]
    Search,
    /// The file is binary: the scan ends at the NUL, unless the user named the file, which is
    /// then searched as `Search` does.
    Skip,
    /// Nothing.
    Text,
    /// The file is binary, NUL ends lines, and matching lines are told before and after it.
    Report,
}

/// How bytes become text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encoding {
    /// UTF-16 when a byte order mark says so; a mark of UTF-8 is dropped.
    #[default]
    Auto,
    /// The bytes as they are.
    Raw,
    /// A label of the WHATWG Encoding Standard. A byte order mark is stronger.
    Label(String),
}

/// How a file is searched and what is gathered.
#[derive(Debug, Clone)]
pub struct SearchSpec {
    /// The kind of result.
    pub want: Want,
    /// Fill the submatch columns.
    pub submatches: bool,
    /// Fill the column of line numbers.
    pub line_numbers: bool,
    /// Fill the column of offsets.
    pub offsets: bool,
    /// Lines that do not match.
    pub invert: bool,
    /// Lines of context before each match.
    pub before_context: usize,
    /// Lines of context after each match.
    pub after_context: usize,
    /// A file's scan ends after this many matching lines.
    pub max_count: Option<u64>,
    /// What NUL means.
    pub binary: Binary,
    /// How bytes become text.
    pub encoding: Encoding,
    /// Fill the replacement columns, and those of submatches. `$1` and `${name}` expand.
    pub replacement: Option<Vec<u8>>,
    /// A file with a longer line, in bytes with its terminator, fails; with matches that span
    /// lines, a longer file. At most `u32::MAX`, and more counts as that.
    pub max_line_bytes: usize,
}

impl Default for SearchSpec {
    fn default() -> Self {
        Self {
            want: Want::default(),
            submatches: false,
            line_numbers: false,
            offsets: false,
            invert: false,
            before_context: 0,
            after_context: 0,
            max_count: None,
            binary: Binary::default(),
            encoding: Encoding::default(),
            replacement: None,
            max_line_bytes: MAX_LINE_BYTES,
        }
    }
}

/// Whether a file may be searched in independent parts, cut at line ends, with the result of
/// an unsplit scan.
///
/// What follows from other lines is in the way: context, matches over lines, a limit on
/// matches, a label of an encoding (whose state runs on), and results for which a scan ends
/// early; so are patterns that anchor to the text's ends. `Skip` is, too, because what it tells of a file
/// depends on a NUL further on. One thing that follows from the line before remains: of a line that begins in the middle
/// of a character, the regex engine takes the bytes before it for the character's start when it decides about Unicode's
/// word boundaries, so there the first line of a part may differ, as the first of a line buffer does in ripgrep.
/// The caller asks [`needs_transcoding`] about the file's first bytes.
pub fn splittable(pattern: &PatternSpec, search: &SearchSpec) -> bool {
    splits(pattern.multi_line, pattern.null_data, search) && !may_anchor_text(pattern)
}

/// Whether a pattern may hold an anchor whose submatches ripgrep finds only where its buffer begins
/// or ends: `\A`, `\z` or their equals (`(?-m:^)`), and where NUL ends lines each anchor, as it is
/// one of `\n`. May say yes for a pattern that holds none.
pub(crate) fn may_anchor_text(pattern: &PatternSpec) -> bool {
    if pattern.null_data && pattern.whole_line {
        return true;
    }
    let anchors = |text: &String| {
        let has = |sign: &str| text.contains(sign);
        has("\\A")
            || has("\\z")
            || (has("(?") && has("-") && has("m"))
            || (pattern.null_data && (has("^") || has("$")))
    };
    !pattern.fixed_strings && pattern.patterns.iter().any(anchors)
}

pub(crate) fn splits(multi_line: bool, null_data: bool, search: &SearchSpec) -> bool {
    let wanted = match search.want {
        Want::Lines | Want::CountLines | Want::CountMatches => true,
        Want::FilesWithMatch | Want::FilesWithoutMatch => false,
    };
    wanted
        && !multi_line
        && search.before_context == 0
        && search.after_context == 0
        && search.max_count.is_none()
        && !matches!(search.encoding, Encoding::Label(_))
        && (null_data || search.binary != Binary::Skip)
}

/// Whether a file that begins with these bytes, three of them or all it has, begins with a byte order
/// mark, so that with [`Encoding::Auto`] it cannot be searched in parts.
pub fn needs_transcoding(first_bytes: &[u8]) -> bool {
    const MARKS: [&[u8]; 3] = [b"\xEF\xBB\xBF", b"\xFF\xFE", b"\xFE\xFF"];
    MARKS.iter().any(|mark| first_bytes.starts_with(mark))
}
