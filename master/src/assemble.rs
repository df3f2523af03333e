//! Results in the order in which the client is to have them.
//!
//! Whole files pass as they come. A split file arrives in **parts**, in any order and from any worker, and is to look
//! as if it had been scanned at once: the parts in the file's order, true line numbers, one
//! rule for binary data, and nothing else in between, for a reader prints a file under one
//! heading. So parts are **held**, and a file is released
//!
//! * at once when all of its parts are there, or
//! * part by part once it is **opened**: while a file is open, all other results wait. One is opened when much of it is
//!   ready, when much is held altogether, or when the stream has been quiet for a while, so that
//!   a single huge file shows its matches as they are found.
//!
//! A worker sends a `FileMatches` for each part, with records or without; that is how the parts' line
//! counts arrive. Parts tile the file: each begins where another ends. Of a file that changed while it was
//! read some may never meet: they are released as they are by [`Assembler::release_all`].
//!
//! For a count or a name there is nothing to stream: the parts are summed up and
//! told once.
//!
//! Invariant: what was added is held, released or dropped; `held` is the cost of the first.

mod file;
mod output;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::domain::{Task, TaskKind, batch_cost, matches_cost};
use regexctl_proto::v1;

use crate::scheduler::{Head, Held};
use file::{File, Part, Rules};
pub use output::Output;
use output::Piece;

/// A file of which so much is ready is opened.
const OPEN_BYTES: u64 = 256 << 10;
/// A file is opened when nothing was released for so long.
const QUIET: Duration = Duration::from_millis(250);

/// A split file; `copy` tells two of the same path apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FileId {
    root: u32,
    path: Vec<u8>,
    copy: u32,
}

/// See the module's comment.
#[derive(Debug)]
pub struct Assembler {
    rules: Rules,
    /// Open a file when more than this is held.
    crowded: u64,
    files: BTreeMap<FileId, File>,
    /// Files that have all their parts, and wait for the open one.
    complete: VecDeque<FileId>,
    open: Option<FileId>,
    /// What came while a file was open.
    deferred: VecDeque<(v1::ResultBatch, u64)>,
    held: u64,
    /// When something was last released.
    released: Duration,
}

impl Assembler {
    /// For a job that began at `now` and may have `output_bytes` under way.
    pub fn new(spec: &v1::JobSpec, output_bytes: u64, now: Duration) -> Self {
        let search = spec.search.clone().unwrap_or_default();
        Self {
            rules: Rules {
                want: search.want(),
                binary: search.binary(),
            },
            crowded: output_bytes / 4,
            files: BTreeMap::new(),
            complete: VecDeque::new(),
            open: None,
            deferred: VecDeque::new(),
            held: 0,
            released: now,
        }
    }

    /// Adds the results of a shard that `node` has committed.
    pub fn add(
        &mut self,
        now: Duration,
        shard: u64,
        node: &Arc<str>,
        batches: Vec<v1::ResultBatch>,
        out: &mut Output,
    ) {
        for mut batch in batches {
            if batch.files.iter().any(|file| file.part.is_some()) {
                let (parts, whole) = batch
                    .files
                    .into_iter()
                    .partition(|file| file.part.is_some());
                batch.files = whole;
                self.add_parts(shard, node, parts, out);
            }
            for file in &mut batch.files {
                file.node = 0;
                file.shard = shard;
            }
            batch.nodes = vec![node.to_string()];
            self.pass(batch, out);
        }
        self.pump(out);
        if out.has_batches() {
            self.released = now;
        }
    }

    /// The shard of these tasks was given up. A file that misses a part ends before it: what
    /// follows cannot be told with true line numbers.
    pub fn abandon(&mut self, tasks: &[Task], out: &mut Output) {
        for task in tasks {
            if let TaskKind::Range {
                path,
                start,
                end,
                size,
            } = &task.kind
            {
                let part = Part {
                    end: *end,
                    lines: 0,
                    last: end == size,
                    piece: None,
                };
                self.add_part(task.root, path.clone(), *start, part, out);
            }
        }
        self.pump(out);
    }

    /// Time passed: a quiet stream opens a file.
    pub fn tick(&mut self, now: Duration, out: &mut Output) {
        if self.held == 0 || self.open.is_some() || now.saturating_sub(self.released) < QUIET {
            return;
        }
        self.open_fullest();
        self.pump(out);
        if out.has_batches() {
            self.released = now;
        }
    }

    /// Releases all that is held, in the order of each file, whatever is missing.
    pub fn release_all(&mut self, out: &mut Output) {
        for (id, file) in &mut self.files {
            if !file.is_complete() {
                self.held -= file.complete(self.rules, out);
                self.complete.push_back(id.clone());
            }
        }
        self.pump(out);
    }

    /// What is held, and what it waits for.
    pub fn held(&self) -> Held {
        if self.held == 0 {
            return Held::default();
        }
        let blocking = match &self.open {
            Some(id) => self.files.get_key_value(id),
            None => self.files.iter().max_by_key(|(_, file)| file.held()),
        };
        Held {
            bytes: self.held,
            head: blocking.map(|(id, file)| Head {
                root: id.root,
                path: id.path.clone(),
                offset: file.expected(),
            }),
        }
    }

    /// Results of whole files.
    fn pass(&mut self, batch: v1::ResultBatch, out: &mut Output) {
        if batch.files.is_empty() && batch.errors.is_empty() {
            return;
        }
        let cost = batch_cost(&batch);
        if self.open.is_some() {
            self.held += cost;
            self.deferred.push_back((batch, cost));
        } else {
            out.push_batch(batch, cost);
        }
    }

    fn add_parts(
        &mut self,
        shard: u64,
        node: &Arc<str>,
        files: Vec<v1::FileMatches>,
        out: &mut Output,
    ) {
        for mut file in files {
            let Some(part) = file.part.take() else {
                continue;
            };
            let cost = matches_cost(&file);
            file.shard = shard;
            let (root, path) = (file.root, file.path.clone());
            let piece = Piece {
                file,
                node: Arc::clone(node),
                cost,
            };
            self.add_part(root, path, part.start, Part::new(&part, piece), out);
        }
    }

    fn add_part(&mut self, root: u32, path: Vec<u8>, start: u64, part: Part, out: &mut Output) {
        let mut id = FileId {
            root,
            path,
            copy: 0,
        };
        // A file that was named twice has each part twice.
        while self.files.get(&id).is_some_and(|file| !file.fits(start)) {
            id.copy += 1;
        }
        let file = self.files.entry(id.clone()).or_default();
        let before = file.held();
        file.add(start, part, self.rules, out);
        self.held = self.held + file.held() - before;
        if file.is_complete() {
            self.complete.push_back(id);
        }
    }

    /// Releases what may be released now.
    fn pump(&mut self, out: &mut Output) {
        loop {
            if let Some(id) = self.open.take() {
                let Some(file) = self.files.get_mut(&id) else {
                    continue;
                };
                self.held -= file.stream(&id.path, id.root, out);
                if !file.is_complete() {
                    self.open = Some(id);
                    return;
                }
                self.files.remove(&id);
                self.complete.retain(|other| *other != id);
                for (batch, cost) in self.deferred.drain(..) {
                    self.held -= cost;
                    out.push_batch(batch, cost);
                }
            }
            while let Some(id) = self.complete.pop_front() {
                if let Some(mut file) = self.files.remove(&id) {
                    self.held -= file.stream(&id.path, id.root, out);
                }
            }
            let full = self.files.values().any(|file| file.ready() >= OPEN_BYTES);
            if full || self.held > self.crowded {
                self.open_fullest();
            }
            if self.open.is_none() {
                return;
            }
        }
    }

    /// Opens the file of which most is ready, if something is.
    fn open_fullest(&mut self) {
        self.open = self
            .files
            .iter()
            .filter(|(_, file)| file.ready() > 0)
            .max_by_key(|(_, file)| file.ready())
            .map(|(id, _)| id.clone());
    }
}
