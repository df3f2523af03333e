//! Cutting a [`v1::FileMatches`] that is too large for one message into pieces, and joining
//! them again. Only the edges of the wire do this: everything else holds whole files.

use crate::v1;
use crate::v1::FileMatches;

/// The most bytes of one file's result that a receiver joins. A result is at most as long as
/// its file was, and files this long are split into parts long before.
pub const MAX_JOINED_BYTES: usize = 1 << 30;

/// Cuts `file` into pieces of about `max_bytes` of records each. A file that fits comes back as it is.
pub fn cut(file: FileMatches, max_bytes: usize) -> Vec<FileMatches> {
    if crate::domain::matches_cost(&file) <= max_bytes as u64 {
        return vec![file];
    }
    let mut cutter = Cutter::new(&file, max_bytes);
    for record in 0..file.lengths.len() {
        cutter.record(record);
    }
    let (mut pieces, last) = (cutter.pieces, cutter.piece);
    pieces.push(with_columns_of(last, file));
    pieces
}

/// Copies records of `file` into pieces.
struct Cutter<'a> {
    file: &'a FileMatches,
    max_bytes: usize,
    pieces: Vec<FileMatches>,
    piece: FileMatches,
    /// Bytes in `piece`.
    size: usize,
    text: usize,
    submatch: usize,
    replacement: usize,
}

impl<'a> Cutter<'a> {
    /// What a record costs beside its text.
    const RECORD: usize = 16;

    fn new(file: &'a FileMatches, max_bytes: usize) -> Self {
        Self {
            file,
            max_bytes: max_bytes.max(Self::RECORD * 2),
            pieces: Vec::new(),
            piece: Self::empty(file),
            size: 0,
            text: 0,
            submatch: 0,
            replacement: 0,
        }
    }

    fn empty(file: &FileMatches) -> FileMatches {
        FileMatches {
            root: file.root,
            path: file.path.clone(),
            cut: true,
            ..FileMatches::default()
        }
    }

    fn close(&mut self, inside_record: bool) {
        self.piece.cut_record = inside_record;
        let next = Self::empty(self.file);
        self.pieces.push(std::mem::replace(&mut self.piece, next));
        self.size = 0;
    }

    fn record(&mut self, record: usize) {
        let file = self.file;
        let length = file.lengths[record] as usize;
        if self.size > 0 && self.size + length + Self::RECORD > self.max_bytes {
            self.close(false);
        }
        push_copy(&mut self.piece.kinds, &file.kinds, record);
        push_copy(&mut self.piece.line_numbers, &file.line_numbers, record);
        push_copy(&mut self.piece.offsets, &file.offsets, record);
        self.size += Self::RECORD;
        // The text of a record may itself need several pieces.
        let mut rest = length;
        loop {
            let now = rest.min(self.max_bytes.saturating_sub(self.size).max(1));
            let now = if rest == 0 { 0 } else { now };
            self.piece
                .text
                .extend_from_slice(&file.text[self.text..self.text + now]);
            self.piece
                .lengths
                .push(u32::try_from(now).expect("no more than the record's own u32 length"));
            self.text += now;
            self.size += now;
            rest -= now;
            if rest == 0 {
                break;
            }
            self.close(true);
        }
        // Submatches stand in the record's last piece: they are relative to its first byte.
        if let Some(&count) = file.submatch_counts.get(record) {
            self.piece.submatch_counts.push(count);
            for _ in 0..count {
                push_copy(
                    &mut self.piece.submatch_starts,
                    &file.submatch_starts,
                    self.submatch,
                );
                push_copy(
                    &mut self.piece.submatch_ends,
                    &file.submatch_ends,
                    self.submatch,
                );
                if let Some(&length) = file.replacement_lengths.get(self.submatch) {
                    let end = self.replacement + length as usize;
                    self.piece.replacement_lengths.push(length);
                    self.piece
                        .replacement_text
                        .extend_from_slice(&file.replacement_text[self.replacement..end]);
                    self.replacement = end;
                    self.size += length as usize;
                }
                self.submatch += 1;
                self.size += 8;
            }
        }
    }
}

/// `file` with the columns of `columns`.
fn with_columns_of(columns: FileMatches, file: FileMatches) -> FileMatches {
    FileMatches {
        kinds: columns.kinds,
        line_numbers: columns.line_numbers,
        offsets: columns.offsets,
        lengths: columns.lengths,
        text: columns.text,
        submatch_counts: columns.submatch_counts,
        submatch_starts: columns.submatch_starts,
        submatch_ends: columns.submatch_ends,
        replacement_lengths: columns.replacement_lengths,
        replacement_text: columns.replacement_text,
        ..file
    }
}

fn push_copy<T: Copy>(to: &mut Vec<T>, from: &[T], index: usize) {
    to.extend(from.get(index).copied());
}

/// Joins the pieces of a stream.
#[derive(Debug, Default)]
pub struct Joiner {
    open: Option<FileMatches>,
}

/// A stream of pieces that breaks the rules of [`v1::FileMatches`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// A piece of another file, or none, came where one of the same file was due.
    #[error("the pieces of a file are torn")]
    Torn,
    /// More than [`MAX_JOINED_BYTES`].
    #[error("a file's result exceeds {MAX_JOINED_BYTES} bytes")]
    TooLarge,
    /// The columns of the message contradict each other.
    #[error("the columns of a file's result do not fit each other")]
    Columns,
}

impl Joiner {
    /// Takes the next message; gives the whole file when it is complete.
    pub fn push(&mut self, piece: FileMatches) -> Result<Option<FileMatches>, JoinError> {
        let whole = match self.open.take() {
            None => piece,
            Some(open) => Self::join(open, piece)?,
        };
        if whole.cut {
            self.open = Some(whole);
            return Ok(None);
        }
        check_columns(&whole)?;
        Ok(Some(whole))
    }

    /// Errs when a file is not complete at the end of the stream.
    pub fn finish(self) -> Result<(), JoinError> {
        match self.open {
            None => Ok(()),
            Some(_) => Err(JoinError::Torn),
        }
    }

    fn join(mut open: FileMatches, mut piece: FileMatches) -> Result<FileMatches, JoinError> {
        if open.root != piece.root || open.path != piece.path {
            return Err(JoinError::Torn);
        }
        if open.text.len() + piece.text.len() > MAX_JOINED_BYTES {
            return Err(JoinError::TooLarge);
        }
        let mut lengths = std::mem::take(&mut piece.lengths).into_iter();
        if open.cut_record {
            let first = lengths.next().ok_or(JoinError::Torn)?;
            let last = open.lengths.last_mut().ok_or(JoinError::Torn)?;
            *last = last.checked_add(first).ok_or(JoinError::TooLarge)?;
        }
        open.lengths.extend(lengths);
        open.kinds.append(&mut piece.kinds);
        open.line_numbers.append(&mut piece.line_numbers);
        open.offsets.append(&mut piece.offsets);
        open.text.append(&mut piece.text);
        open.submatch_counts.append(&mut piece.submatch_counts);
        open.submatch_starts.append(&mut piece.submatch_starts);
        open.submatch_ends.append(&mut piece.submatch_ends);
        open.replacement_lengths
            .append(&mut piece.replacement_lengths);
        open.replacement_text.append(&mut piece.replacement_text);
        Ok(with_columns_of(open, piece))
    }
}

/// Checks that every column is empty or has an entry for each record, that the lengths sum up
/// to the text and that submatches lie within their records, so that whoever reads a file's result
/// may index its columns.
pub fn check_columns(file: &v1::FileMatches) -> Result<(), JoinError> {
    let records = file.lengths.len();
    let fits = |column: usize| column == 0 || column == records;
    let sum = |lengths: &[u32]| lengths.iter().map(|&l| u64::from(l)).sum::<u64>();
    let submatches = sum(&file.submatch_counts);
    let replacements = file.replacement_lengths.len() as u64;
    let sound = fits(file.kinds.len())
        && fits(file.line_numbers.len())
        && fits(file.offsets.len())
        && fits(file.submatch_counts.len())
        && sum(&file.lengths) == file.text.len() as u64
        && submatches == file.submatch_starts.len() as u64
        && submatches == file.submatch_ends.len() as u64
        && (replacements == 0 || replacements == submatches)
        && sum(&file.replacement_lengths) == file.replacement_text.len() as u64;
    if !sound {
        return Err(JoinError::Columns);
    }
    let mut submatch = 0;
    for (&count, &length) in file.submatch_counts.iter().zip(&file.lengths) {
        for _ in 0..count {
            let (start, end) = (file.submatch_starts[submatch], file.submatch_ends[submatch]);
            if start > end || end > length {
                return Err(JoinError::Columns);
            }
            submatch += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(lines: Vec<Vec<u8>>, submatches: bool) -> FileMatches {
        let mut file = FileMatches {
            path: b"a/b".to_vec(),
            matched_lines: lines.len() as u64,
            binary_offset: Some(7),
            continues: true,
            ..FileMatches::default()
        };
        for (i, line) in lines.into_iter().enumerate() {
            file.line_numbers.push(i as u64 + 1);
            file.lengths.push(u32::try_from(line.len()).unwrap());
            if submatches {
                let length = u32::try_from(line.len()).unwrap();
                file.submatch_counts.push(2);
                file.submatch_starts.extend([0, length / 2]);
                file.submatch_ends.extend([length / 2, length]);
                file.replacement_lengths.extend([1, 2]);
                file.replacement_text.extend_from_slice(b"xyz");
            }
            file.text.extend(line);
        }
        file
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_whole(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..40),
            max in 1_usize..300,
            submatches: bool,
        ) {
            let whole = file(lines, submatches);
            let mut joiner = Joiner::default();
            let mut joined = Vec::new();
            for piece in cut(whole.clone(), max) {
                joined.extend(joiner.push(piece).unwrap());
            }
            joiner.finish().unwrap();
            prop_assert_eq!(joined, vec![whole]);
        }
    }

    #[test]
    fn a_record_longer_than_a_message_is_cut_inside() {
        let whole = file(vec![vec![b'x'; 1000]], true);
        let pieces = cut(whole, 100);
        assert!(pieces.len() >= 10);
        assert!(pieces.iter().all(|p| p.text.len() <= 100));
    }

    #[test]
    fn torn_pieces_and_false_columns_are_errors() {
        let mut pieces = cut(file(vec![vec![b'x'; 1000]], false), 100);
        pieces[1].path = b"other".to_vec();
        let mut joiner = Joiner::default();
        joiner.push(pieces[0].clone()).unwrap();
        assert_eq!(joiner.push(pieces[1].clone()), Err(JoinError::Torn));

        let mut lies = file(vec![b"abc\n".to_vec()], true);
        lies.submatch_ends[1] = 5;
        assert_eq!(check_columns(&lies), Err(JoinError::Columns));
        lies.submatch_ends.pop();
        assert_eq!(check_columns(&lies), Err(JoinError::Columns));
    }
}
