//! The result of one file, in columns.
//!
//! A record is a matching line (several lines when a match spans them), a line of context,
//! or a break between two groups of context. Each column has one entry a record, and a column that
//! was not asked for is empty. The columns are those of `FileMatches` on the wire, with the
//! same types, so that they are moved there.

/// Kind of a record: a match.
pub const KIND_MATCH: u8 = 0;
/// Kind of a record: context before a match.
pub const KIND_CONTEXT_BEFORE: u8 = 1;
/// Kind of a record: context after a match.
pub const KIND_CONTEXT_AFTER: u8 = 2;
/// Kind of a record: a break, with no text and 0 in every column.
pub const KIND_BREAK: u8 = 3;

/// What was found in a file.
///
/// Cleared by [`Matches::clear`], which keeps what is allocated; a vector may be taken out
/// with `mem::take`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// `KIND_*` of each record; empty when all are matches.
    pub kinds: Vec<u8>,
    /// Of the record's first line, from 1.
    pub line_numbers: Vec<u64>,
    /// Of the record's first byte, from the start of the file (of its text, when it is transcoded).
    pub offsets: Vec<u64>,
    /// Bytes of the record in `text`.
    pub lengths: Vec<u32>,
    /// The records end to end, with their line terminators.
    pub text: Vec<u8>,
    /// How many submatches a record has.
    pub submatch_counts: Vec<u32>,
    /// Where each begins, from the record's first byte.
    pub submatch_starts: Vec<u32>,
    /// The byte behind its last.
    pub submatch_ends: Vec<u32>,
    /// Bytes of what replaces each submatch, in `replacement_text`.
    pub replacement_lengths: Vec<u32>,
    /// The replacements end to end.
    pub replacement_text: Vec<u8>,
    /// Lines that match, told or not. With `Want::CountLines` the count; when matches span
    /// lines that is the number of matches, as in ripgrep. With `Want::FilesWithMatch`, 1.
    pub matched_lines: u64,
    /// Single matches, where they were asked for.
    pub matches: u64,
    /// Bytes searched.
    pub bytes_searched: u64,
    /// Where the first NUL is, as far as the scan came, in a file that is not searched as text.
    pub binary_offset: Option<u64>,
    /// What is to be said about it.
    pub binary_end: BinaryEnd,
}

/// What is to be said about a binary file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BinaryEnd {
    /// Nothing.
    #[default]
    None,
    /// It matches; matching lines from some place on are not told.
    Matched,
    /// The scan ended at the NUL.
    Skipped,
}

impl Matches {
    /// Nothing found, nothing allocated.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties every column and keeps its capacity.
    pub fn clear(&mut self) {
        self.clear_found();
        self.bytes_searched = 0;
        self.binary_offset = None;
        self.binary_end = BinaryEnd::None;
    }

    /// Empties what tells of matches, and leaves what tells of the file.
    pub(crate) fn clear_found(&mut self) {
        self.kinds.clear();
        self.line_numbers.clear();
        self.offsets.clear();
        self.lengths.clear();
        self.text.clear();
        self.submatch_counts.clear();
        self.submatch_starts.clear();
        self.submatch_ends.clear();
        self.replacement_lengths.clear();
        self.replacement_text.clear();
        self.matched_lines = 0;
        self.matches = 0;
    }

    /// How many bytes the columns take in memory, without room to spare: the measure of every limit
    /// on results.
    pub fn cost(&self) -> u64 {
        let wide = self.line_numbers.len() + self.offsets.len();
        let narrow = self.lengths.len()
            + self.submatch_counts.len()
            + self.submatch_starts.len()
            + self.submatch_ends.len()
            + self.replacement_lengths.len();
        let bytes = self.kinds.len() + self.text.len() + self.replacement_text.len();
        (wide * size_of::<u64>() + narrow * size_of::<u32>() + bytes) as u64
    }

    /// The number of records.
    pub fn records(&self) -> usize {
        self.lengths.len()
    }

    /// Adds the kind of a record that is about to be added to `lengths`.
    pub(crate) fn push_kind(&mut self, kind: u8) {
        if kind == KIND_MATCH && self.kinds.is_empty() {
            return;
        }
        // All records before the first that is not a match were matches.
        self.kinds.resize(self.lengths.len(), KIND_MATCH);
        self.kinds.push(kind);
    }
}
