//! One split file: its parts into its order, by the rules of a scan at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use regexctl_proto::v1::{self, BinaryEnd, BinaryMode, RecordKind, Want};

use super::output::{Output, Piece};

/// What of the job's search decides how parts join.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) want: Want,
    pub(super) binary: BinaryMode,
}

/// A part that has arrived.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) end: u64,
    /// Line terminators in it.
    pub(super) lines: u64,
    pub(super) last: bool,
    /// What was found in it; none when nobody could scan it.
    pub(super) piece: Option<Piece>,
}

impl Part {
    pub(super) fn new(part: &v1::Part, piece: Piece) -> Self {
        Self {
            end: part.end,
            lines: part.lines,
            last: part.last,
            piece: Some(piece),
        }
    }

    fn cost(&self) -> u64 {
        self.piece.as_ref().map_or(0, |piece| piece.cost)
    }
}

/// See the module's comment.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Where the next part begins.
    expected: u64,
    /// Line terminators before it.
    lines: u64,
    /// Parts that wait for earlier ones, by their first byte, and their cost.
    waiting: BTreeMap<u64, Part>,
    waiting_bytes: u64,
    /// What can be told, in order, and its cost.
    ready: VecDeque<Piece>,
    ready_bytes: u64,
    /// For a count or a name, instead: the sum of the parts so far.
    sum: Option<Piece>,
    /// The first NUL.
    nul: Option<u64>,
    /// A scan at once would not have gone on: what follows is dropped.
    ended: bool,
    /// No part will come any more.
    complete: bool,
    /// It counts as a file with a result.
    hit: bool,
    /// Some of it went out, and said that more follows.
    begun: bool,
    /// Searched in parts that are not told.
    quiet_bytes: u64,
    quiet_nanos: u64,
    /// Where the last part was scanned.
    last_seen: Option<(Arc<str>, u64)>,
}

impl File {
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The cost of what can be told.
    pub(super) fn ready(&self) -> u64 {
        self.ready_bytes
    }

    /// The cost of what is here.
    pub(super) fn held(&self) -> u64 {
        self.ready_bytes + self.waiting_bytes + self.sum.as_ref().map_or(0, |sum| sum.cost)
    }

    /// Whether a part that begins at `start` can be of this file, or is of another copy.
    pub(super) fn fits(&self, start: u64) -> bool {
        !self.complete && start >= self.expected && !self.waiting.contains_key(&start)
    }

    /// Adds a part.
    pub(super) fn add(&mut self, start: u64, part: Part, rules: Rules, out: &mut Output) {
        self.waiting_bytes += part.cost();
        self.waiting.insert(start, part);
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.expected {
                break;
            }
            let part = entry.remove();
            self.take(part, rules, out);
        }
        if self.complete {
            self.conclude(rules, out);
        }
    }

    /// Takes all parts as they are, whatever is missing between them. Returns the cost of
    /// what that dropped.
    pub(super) fn complete(&mut self, rules: Rules, out: &mut Output) -> u64 {
        let before = self.held();
        self.conclude(rules, out);
        before - self.held()
    }

    /// Lets go of what is ready; returns its cost. When the file is complete, nothing of it follows.
    pub(super) fn stream(&mut self, path: &[u8], root: u32, out: &mut Output) -> u64 {
        let cost = self.ready_bytes;
        self.ready_bytes = 0;
        let nothing = self.ready.is_empty();
        while let Some(mut piece) = self.ready.pop_front() {
            piece.file.continues = !self.complete || !self.ready.is_empty();
            self.begun = piece.file.continues;
            out.push(piece);
        }
        if nothing && self.complete && self.begun {
            let (node, shard) = self.last_seen.take().unwrap_or_default();
            let file = v1::FileMatches {
                root,
                path: path.to_vec(),
                bytes_searched: std::mem::take(&mut self.quiet_bytes),
                elapsed_ns: std::mem::take(&mut self.quiet_nanos),
                shard,
                ..v1::FileMatches::default()
            };
            out.push(Piece {
                file,
                node,
                cost: 0,
            });
        }
        cost
    }

    /// The next part of the file.
    fn take(&mut self, part: Part, rules: Rules, out: &mut Output) {
        self.waiting_bytes -= part.cost();
        let lines = self.lines;
        let nul = self.nul;
        self.expected = self.expected.max(part.end);
        self.lines = self.lines.saturating_add(part.lines);
        self.complete |= part.last;
        let Some(mut piece) = part.piece else {
            self.ended = true;
            return;
        };
        self.last_seen = Some((Arc::clone(&piece.node), piece.file.shard));
        if self.ended {
            self.drop_quiet(&piece, out);
            return;
        }
        self.nul = self.nul.or(piece.file.binary_offset);
        if rules.want == Want::Lines {
            rebase(&mut piece.file, lines);
            self.take_lines(piece, nul, rules, out);
        } else {
            self.take_summary(piece, rules, out);
        }
    }

    /// Lines: `nul` was found in an earlier part.
    fn take_lines(&mut self, mut piece: Piece, nul: Option<u64>, rules: Rules, out: &mut Output) {
        let file = &mut piece.file;
        let hit = is_hit(file);
        match (nul, file.binary_end()) {
            (Some(nul), _) if hit && rules.binary == BinaryMode::Search => {
                out.dropped_lines += file.matched_lines.saturating_sub(1);
                let told = file
                    .submatch_counts
                    .first()
                    .map_or(file.matches.min(1), |&count| u64::from(count));
                out.dropped_matches += file.matches.saturating_sub(told);
                *file = v1::FileMatches {
                    root: file.root,
                    path: std::mem::take(&mut file.path),
                    matched_lines: 1,
                    matches: told,
                    bytes_searched: file.bytes_searched,
                    elapsed_ns: file.elapsed_ns,
                    binary_offset: Some(nul),
                    binary_end: BinaryEnd::Matched.into(),
                    shard: file.shard,
                    ..v1::FileMatches::default()
                };
                self.ended = true;
            }
            (_, BinaryEnd::Matched | BinaryEnd::Skipped) => self.ended = true,
            _ => {}
        }
        if hit || (self.hit && piece.file.binary_end() == BinaryEnd::Skipped) {
            self.make_ready(piece, out);
        } else {
            self.drop_quiet(&piece, out);
        }
    }

    /// A count or a name: one piece, into which all are summed up.
    fn take_summary(&mut self, piece: Piece, rules: Rules, out: &mut Output) {
        let skipped = piece.file.binary_end() == BinaryEnd::Skipped;
        self.ended |= skipped;
        if rules.want == Want::FilesWithMatch && piece.file.matched_lines > 0 {
            self.ended = true;
        }
        let Some(sum) = &mut self.sum else {
            self.sum = Some(piece);
            return;
        };
        let (total, file) = (&mut sum.file, &piece.file);
        total.matched_lines = total.matched_lines.saturating_add(file.matched_lines);
        total.matches = total.matches.saturating_add(file.matches);
        total.bytes_searched = total.bytes_searched.saturating_add(file.bytes_searched);
        total.elapsed_ns = total.elapsed_ns.saturating_add(file.elapsed_ns);
        total.binary_offset = total.binary_offset.or(file.binary_offset);
        if total.binary_end() == BinaryEnd::None {
            total.binary_end = file.binary_end;
        }
        out.dropped_bytes += piece.cost;
    }

    /// No part will come any more.
    fn conclude(&mut self, rules: Rules, out: &mut Output) {
        // There are some only when the file changed while it was read.
        while let Some((_, part)) = self.waiting.pop_first() {
            self.take(part, rules, out);
        }
        self.complete = true;
        if let Some(sum) = self.sum.take() {
            // As in grep-printer: a file whose scan ended at a NUL has no count.
            let skipped = sum.file.binary_end() == BinaryEnd::Skipped;
            let told = match rules.want {
                Want::FilesWithoutMatch => sum.file.matched_lines == 0 && !skipped,
                Want::FilesWithMatch => sum.file.matched_lines > 0,
                _ => sum.file.matched_lines > 0 && !skipped,
            };
            if told {
                self.make_ready(sum, out);
            } else {
                out.dropped_bytes += sum.cost;
            }
        } else if let Some(last) = self.ready.back_mut() {
            let file = &mut last.file;
            file.bytes_searched = file.bytes_searched.saturating_add(self.quiet_bytes);
            file.elapsed_ns = file.elapsed_ns.saturating_add(self.quiet_nanos);
            (self.quiet_bytes, self.quiet_nanos) = (0, 0);
        }
    }

    fn make_ready(&mut self, mut piece: Piece, out: &mut Output) {
        if !self.hit {
            self.hit = true;
            out.matched += 1;
        }
        let file = &mut piece.file;
        file.bytes_searched = file.bytes_searched.saturating_add(self.quiet_bytes);
        file.elapsed_ns = file.elapsed_ns.saturating_add(self.quiet_nanos);
        (self.quiet_bytes, self.quiet_nanos) = (0, 0);
        self.ready_bytes += piece.cost;
        self.ready.push_back(piece);
    }

    /// Drops what need not be told, but for what it searched.
    fn drop_quiet(&mut self, piece: &Piece, out: &mut Output) {
        out.drop_piece(piece);
        if !self.ended {
            let file = &piece.file;
            self.quiet_bytes = self.quiet_bytes.saturating_add(file.bytes_searched);
            self.quiet_nanos = self.quiet_nanos.saturating_add(file.elapsed_ns);
        }
    }
}

fn is_hit(file: &v1::FileMatches) -> bool {
    file.matched_lines > 0 || !file.lengths.is_empty() || file.binary_end() == BinaryEnd::Matched
}

/// Line numbers that count from the part's start become those of the file.
fn rebase(file: &mut v1::FileMatches, lines: u64) {
    let is_break = |index: usize| {
        file.kinds
            .get(index)
            .is_some_and(|&kind| i32::from(kind) == RecordKind::Break as i32)
    };
    if lines == 0 {
        return;
    }
    let numbers = std::mem::take(&mut file.line_numbers);
    file.line_numbers = numbers
        .into_iter()
        .enumerate()
        .map(|(index, number)| {
            if is_break(index) {
                number
            } else {
                number.saturating_add(lines)
            }
        })
        .collect();
}
