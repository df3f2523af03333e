//! What a printer is asked to print.

use super::color::Colors;

/// What is printed of each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The matching lines, and their context.
    Standard,
    /// How many lines match (`-c`).
    CountLines,
    /// How many matches there are (`--count-matches`).
    CountMatches,
    /// The names of the files that match (`-l`).
    FilesWithMatch,
    /// The names of the files that do not match (`--files-without-match`).
    FilesWithoutMatch,
    /// The names of the files that would be searched (`--files`).
    Files,
    /// JSON Lines.
    Json,
    /// Nothing but, when asked for, the statistics (`-q`).
    Quiet,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineTerminator {
    /// `\n`.
    #[default]
    Lf,
    /// `\r\n` or `\n` in the files, `\r\n` where the printer adds one (`--crlf`).
    CrLf,
    /// NUL (`--null-data`).
    Nul,
}

impl LineTerminator {
    /// The byte that a line ends with.
    #[inline]
    pub fn byte(self) -> u8 {
        match self {
            Self::Lf | Self::CrLf => b'\n',
            Self::Nul => 0,
        }
    }

    /// What the printer adds.
    #[inline]
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::Nul => b"\0",
        }
    }

    /// `line` without its terminator.
    pub(super) fn trim(self, line: &[u8]) -> &[u8] {
        match line.strip_suffix(&[self.byte()]) {
            Some(rest) if self == Self::CrLf => rest.strip_suffix(b"\r").unwrap_or(rest),
            Some(rest) => rest,
            None => line,
        }
    }
}

/// Everything that decides how results become bytes. The names and the meanings are those of
/// ripgrep's flags; conflicts between flags were resolved by whoever fills this in.
#[derive(Debug, Clone)]
pub struct PrintConfig {
    /// What is printed of each file.
    pub mode: Mode,
    /// The path stands on a line of its own above the file's lines.
    pub heading: bool,
    /// Paths are printed with lines and counts.
    pub with_filename: bool,
    /// Line numbers are printed.
    pub line_number: bool,
    /// The column of the first match is printed: bytes, from 1.
    pub column: bool,
    /// The offset of the line, or with `only_matching` of the match, is printed: bytes, from 0.
    pub byte_offset: bool,
    /// Each match stands on a line of its own, without the rest of its line (`-o`).
    pub only_matching: bool,
    /// The line is printed once for each match in it (`--vimgrep`).
    pub per_match: bool,
    /// A NUL follows each path, instead of what would (`-0`).
    pub null: bool,
    /// White space at the beginning of lines is left out.
    pub trim: bool,
    /// Longer lines are left out: bytes, the terminator included (`-M`).
    pub max_columns: Option<u64>,
    /// Of lines left out, the first `max_columns` characters are printed.
    pub max_columns_preview: bool,
    /// Escape sequences.
    pub colors: Colors,
    /// Stands between groups of context; `None` prints none.
    pub context_separator: Option<Vec<u8>>,
    /// Follows each field before a matching line.
    pub field_match_separator: Vec<u8>,
    /// Follows each field before a line of context.
    pub field_context_separator: Vec<u8>,
    /// Replaces `/` in paths.
    pub path_separator: Option<u8>,
    /// What ends a line.
    pub line_terminator: LineTerminator,
    /// Matches are printed as their replacements (`-r`).
    pub replaced: bool,
    /// The lines of context are those that match (`-v`).
    pub invert: bool,
    /// `-A`, `-B` or `-C` asked for context.
    pub has_context: bool,
    /// A record may hold several lines: `-U` was given and the pattern can match a line
    /// terminator. Where it cannot, ripgrep works and prints line by line in spite of `-U`.
    pub multi_line: bool,
    /// The statistics are printed at the end (`--stats`; JSON always has them).
    pub stats: bool,
}

impl Default for PrintConfig {
    /// Lines, as `rg` prints those of one file into a pipe.
    fn default() -> Self {
        Self {
            mode: Mode::Standard,
            heading: false,
            with_filename: false,
            line_number: false,
            column: false,
            byte_offset: false,
            only_matching: false,
            per_match: false,
            null: false,
            trim: false,
            max_columns: None,
            max_columns_preview: false,
            colors: Colors::off(),
            context_separator: Some(b"--".to_vec()),
            field_match_separator: b":".to_vec(),
            field_context_separator: b"-".to_vec(),
            path_separator: None,
            line_terminator: LineTerminator::Lf,
            replaced: false,
            invert: false,
            has_context: false,
            multi_line: false,
            stats: false,
        }
    }
}

/// The columns of `FileMatches` that a printer reads. Those that it does not read need not be
/// filled; the ones it does read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// `submatch_*`, and with `-r` the replacements.
    pub submatches: bool,
    /// `line_numbers`.
    pub line_numbers: bool,
    /// `offsets`.
    pub offsets: bool,
    /// `elapsed_ns`.
    pub timing: bool,
}

impl PrintConfig {
    /// What the search must fill in.
    pub fn columns(&self) -> Columns {
        let lines = self.mode == Mode::Standard;
        let json = self.mode == Mode::Json;
        Columns {
            submatches: json || self.stats || (lines && self.marks_matches()),
            line_numbers: (lines || json) && self.line_number,
            offsets: json || (lines && self.byte_offset),
            timing: json || self.stats,
        }
    }

    /// Whether lines are printed with regard to the single matches in them.
    pub(super) fn marks_matches(&self) -> bool {
        (self.colors.on && !self.colors.matched.none)
            || self.column
            || self.replaced
            || self.per_match
            || self.only_matching
            || self.stats
    }

    /// What stands between two files' lines.
    pub(super) fn file_separator(&self) -> Option<&[u8]> {
        if self.heading {
            Some(b"")
        } else if self.has_context {
            self.context_separator.as_deref()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminators_are_trimmed_once() {
        assert_eq!(LineTerminator::Lf.trim(b"a\r\n"), b"a\r");
        assert_eq!(LineTerminator::CrLf.trim(b"a\r\n"), b"a");
        assert_eq!(LineTerminator::CrLf.trim(b"a\n"), b"a");
        assert_eq!(LineTerminator::CrLf.trim(b"a\r"), b"a\r");
        assert_eq!(LineTerminator::Nul.trim(b"a\n\0"), b"a\n");
        assert_eq!(LineTerminator::Lf.trim(b""), b"");
    }

    #[test]
    fn a_plain_search_needs_no_columns() {
        let needed = PrintConfig::default().columns();
        assert_eq!(
            needed,
            Columns {
                submatches: false,
                line_numbers: false,
                offsets: false,
                timing: false
            }
        );
    }

    #[test]
    fn json_needs_all_columns() {
        let config = PrintConfig {
            mode: Mode::Json,
            line_number: true,
            ..PrintConfig::default()
        };
        let needed = config.columns();
        assert!(needed.submatches && needed.line_numbers && needed.offsets && needed.timing);
    }
}
