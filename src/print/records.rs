//! The columns of one `FileMatches`, checked, as records.
//!
//! Invariant: once [`Records::new`] has accepted a message, iterating over it cannot panic and
//! every span lies in its record, whatever a peer sent.

use regexctl_proto::cut::{JoinError, check_columns};
use regexctl_proto::v1::{FileMatches, RecordKind};

/// Bytes `start..end` of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    #[inline]
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..self.end]
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Match,
    Context,
    Break,
}

impl Kind {
    #[inline]
    fn of(byte: u8) -> Self {
        match i32::from(byte) {
            k if k == RecordKind::Match as i32 => Self::Match,
            k if k == RecordKind::Break as i32 => Self::Break,
            _ => Self::Context,
        }
    }
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    /// From 1; `None` when the column is empty.
    pub(super) line_number: Option<u64>,
    /// 0 when the column is empty.
    pub(super) offset: u64,
    pub(super) text: &'a [u8],
    starts: &'a [u32],
    ends: &'a [u32],
    replacement_lengths: &'a [u32],
    replacements: &'a [u8],
}

impl<'a> Record<'a> {
    /// The matches in `text`.
    pub(super) fn spans(&self) -> impl ExactSizeIterator<Item = Span> + use<'a> {
        self.starts
            .iter()
            .zip(self.ends)
            .map(|(&start, &end)| Span {
                start: start as usize,
                end: end as usize,
            })
    }

    /// What each match is replaced by; nothing when there are no replacements.
    pub(super) fn replacements(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.replacements;
        self.replacement_lengths.iter().map(move |&len| {
            // The lengths of a record sum up to what it was given.
            let (this, behind) = rest.split_at(len as usize);
            rest = behind;
            this
        })
    }

    /// The record with each match replaced: the text into `text`, where the replacements stand
    /// in it into `spans`. False, and nothing is written, when there is nothing to replace.
    pub(super) fn replace_into(&self, text: &mut Vec<u8>, spans: &mut Vec<Span>) -> bool {
        text.clear();
        spans.clear();
        if self.replacement_lengths.is_empty() {
            return false;
        }
        let mut behind = 0;
        for (span, replacement) in self.spans().zip(self.replacements()) {
            text.extend_from_slice(&self.text[behind..span.start.max(behind)]);
            let start = text.len();
            text.extend_from_slice(replacement);
            spans.push(Span {
                start,
                end: text.len(),
            });
            behind = span.end.max(behind);
        }
        text.extend_from_slice(&self.text[behind..]);
        true
    }
}

/// The records of one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Records<'a> {
    file: &'a FileMatches,
}

impl<'a> Records<'a> {
    /// Checks that the columns fit together.
    pub(super) fn new(file: &'a FileMatches) -> Result<Self, JoinError> {
        check_columns(file)?;
        Ok(Self { file })
    }

    /// The columns.
    pub(super) fn file(self) -> &'a FileMatches {
        self.file
    }

    /// Whether a line of the file is among the records, or was found to match.
    pub(super) fn any_match(self) -> bool {
        self.file.matched_lines > 0
            || self.file.matches > 0
            || if self.file.kinds.is_empty() {
                !self.file.lengths.is_empty()
            } else {
                self.file.kinds.contains(&(RecordKind::Match as u8))
            }
    }

    /// One after the other.
    pub(super) fn iter(self) -> Iter<'a> {
        Iter {
            file: self.file,
            index: 0,
            text: &self.file.text,
            starts: &self.file.submatch_starts,
            ends: &self.file.submatch_ends,
            replacement_lengths: &self.file.replacement_lengths,
            replacements: &self.file.replacement_text,
        }
    }
}

/// See [`Records::iter`].
#[derive(Debug, Clone)]
pub(super) struct Iter<'a> {
    file: &'a FileMatches,
    index: usize,
    // What is left of the columns whose entries are not one a record.
    text: &'a [u8],
    starts: &'a [u32],
    ends: &'a [u32],
    replacement_lengths: &'a [u32],
    replacements: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let i = self.index;
        let len = *self.file.lengths.get(i)?;
        self.index += 1;
        let count = self.file.submatch_counts.get(i).map_or(0, |&n| n as usize);
        let replaced = count.min(self.replacement_lengths.len());
        let replacement_lengths = take(&mut self.replacement_lengths, replaced);
        let replacement_bytes: usize = replacement_lengths.iter().map(|&n| n as usize).sum();
        Some(Record {
            kind: self
                .file
                .kinds
                .get(i)
                .map_or(Kind::Match, |&byte| Kind::of(byte)),
            line_number: self.file.line_numbers.get(i).copied(),
            offset: self.file.offsets.get(i).copied().unwrap_or(0),
            text: take(&mut self.text, len as usize),
            starts: take(&mut self.starts, count),
            ends: take(&mut self.ends, count),
            replacement_lengths,
            replacements: take(&mut self.replacements, replacement_bytes),
        })
    }
}

/// Cuts the first `n` off. They are there: `check_columns` has compared the sums.
#[inline]
fn take<'a, T>(rest: &mut &'a [T], n: usize) -> &'a [T] {
    let (taken, left) = rest.split_at(n);
    *rest = left;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_lines() -> FileMatches {
        FileMatches {
            lengths: vec![4, 3],
            text: b"abc\nde\n".to_vec(),
            submatch_counts: vec![2, 1],
            submatch_starts: vec![0, 2, 1],
            submatch_ends: vec![1, 3, 2],
            replacement_lengths: vec![2, 0, 1],
            replacement_text: b"XYZ".to_vec(),
            ..FileMatches::default()
        }
    }

    #[test]
    fn records_are_cut_from_the_columns() {
        let file = two_lines();
        let records: Vec<_> = Records::new(&file).expect("well formed").iter().collect();
        assert_eq!(records[0].text, b"abc\n");
        assert_eq!(records[1].text, b"de\n");
        let mut text = Vec::new();
        let mut spans = Vec::new();
        assert!(records[0].replace_into(&mut text, &mut spans));
        assert_eq!(text, b"XYb\n");
        assert_eq!(
            spans,
            [Span { start: 0, end: 2 }, Span { start: 3, end: 3 }]
        );
        assert!(records[1].replace_into(&mut text, &mut spans));
        assert_eq!(text, b"dZ\n");
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let break_it: [fn(&mut FileMatches); 9] = [
            |f| f.kinds = vec![0],
            |f| f.line_numbers = vec![1],
            |f| f.offsets = vec![1, 2, 3],
            |f| f.lengths[0] = 5,
            |f| f.submatch_counts = vec![3, 1],
            |f| f.submatch_ends.truncate(1),
            |f| f.submatch_ends[2] = 4,
            |f| f.replacement_lengths[1] = 1,
            |f| f.replacement_lengths.truncate(1),
        ];
        for break_it in break_it {
            let mut file = two_lines();
            break_it(&mut file);
            assert!(Records::new(&file).is_err(), "{file:?}");
        }
    }
}
