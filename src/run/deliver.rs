//! From a job's events to what a person reads: paths as typed, lines on standard output, errors and progress on
//! standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use regexctl_proto::v1;
use regexctl_proto::v1::results_reply::Event;

use super::Exit;
use super::signals::Signals;
use super::sorted::Sorted;
use crate::client::Job;
use crate::flags::Sort;
use crate::job::Request;
use crate::print::progress::ProgressLine;
use crate::print::{PrintConfig, Printer, Summary};

/// How long a job may be without a worker before that is told.
const WORKER_PATIENCE: Duration = Duration::from_secs(2);

/// Why delivery ends before the job does.
#[derive(Debug)]
pub(super) enum Stop {
    /// What was wanted is known (`-q`).
    Enough,
    /// Nobody reads standard output any more.
    Closed,
    /// A signal.
    Interrupted,
    /// An error.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::Failed(anyhow::Error::from(error).context("cannot write to standard output"))
    }
}

impl Stop {
    /// How the program ends by it.
    pub(super) fn exit(self, delivery: &Delivery<'_>) -> anyhow::Result<Exit> {
        match self {
            Self::Enough => Ok(Exit::Match),
            // As ripgrep: whoever closed the pipe has got what it wanted.
            Self::Closed if delivery.matched => Ok(Exit::Match),
            Self::Closed => Ok(Exit::NoMatch),
            Self::Interrupted => Ok(Exit::Interrupted),
            Self::Failed(error) => Err(error),
        }
    }
}

/// Where results go.
pub(super) struct Delivery<'a> {
    request: &'a Request,
    printer: Printer<io::StdoutLock<'static>>,
    progress: ProgressLine,
    /// Lines and the progress line share a terminal.
    same_terminal: bool,
    sorted: Option<Sorted>,
    /// The path in hand.
    path: Vec<u8>,
    matched: bool,
    /// Errors told.
    errors: u64,
    /// Roots that are not there, of those in the job.
    roots_missing: usize,
    /// Since when the job has had no worker; none once it had one, or that was told.
    idle_since: Option<Instant>,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        let config: PrintConfig = request.print.clone();
        let progress = ProgressLine::new(request.progress);
        let stdout = io::stdout();
        Self {
            request,
            same_terminal: progress.is_visible() && stdout.is_terminal(),
            printer: Printer::new(config, stdout.lock()),
            progress,
            sorted: (request.sort == Sort::Path).then(Sorted::default),
            path: Vec::new(),
            matched: false,
            errors: 0,
            roots_missing: 0,
            idle_since: Some(Instant::now()),
        }
    }

    /// Delivers a job up to its end.
    pub(super) fn events(
        &mut self,
        job: &mut dyn Job,
        signals: &Signals,
    ) -> Result<v1::JobEnd, Stop> {
        loop {
            let event = job.next().map_err(anyhow::Error::from)?;
            if signals.interrupted() {
                return Err(Stop::Interrupted);
            }
            match event {
                Some(Event::Batch(batch)) => self.batch(batch)?,
                Some(Event::Progress(progress)) => self.went_on(&progress),
                Some(Event::Finished(end)) => return ended(end),
                None => {
                    let error = anyhow::anyhow!("the job ended without saying how");
                    return Err(Stop::Failed(error));
                }
            }
        }
    }

    fn batch(&mut self, batch: v1::ResultBatch) -> Result<(), Stop> {
        let mut path = std::mem::take(&mut self.path);
        for file in batch.files {
            path.clear();
            self.display(file.root, &file.path, &mut path);
            self.file(&path, file, &batch.nodes)?;
        }
        for error in &batch.errors {
            path.clear();
            self.display(error.root, &error.path, &mut path);
            // Of a part: it was there when the search began.
            let missing = error.kind() == v1::FileErrorKind::NotFound
                && error.path.is_empty()
                && !error.of_part;
            self.roots_missing += usize::from(missing);
            self.failed(&path, &error.message);
        }
        self.path = path;
        self.flush()
    }

    /// Shows the progress, or once, where no progress is shown, that there is nobody to make any.
    fn went_on(&mut self, progress: &v1::Progress) {
        self.progress.update(progress);
        if progress.workers > 0 {
            self.idle_since = None;
        }
        let waited = self.idle_since.map(|since| since.elapsed());
        if waited.is_some_and(|waited| waited >= WORKER_PATIENCE) {
            self.idle_since = None;
            if self.request.messages && !self.progress.is_visible() {
                let message = "no worker is attached to the master; the job waits for one";
                // Without a standard error there is nobody to tell.
                let _ = writeln!(io::stderr(), "regexctl: {message}");
            }
        }
    }

    fn display(&self, root: u32, path: &[u8], out: &mut Vec<u8>) {
        match self.request.roots.get(root as usize) {
            Some(root) => root.path(path, out),
            // Only a master that does not keep the rules names a root that there is not.
            None => out.extend_from_slice(path),
        }
    }

    /// Delivers one file's results, or the next part of them.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        file: v1::FileMatches,
        nodes: &[String],
    ) -> Result<(), Stop> {
        self.matched = true;
        if self.request.quit_after_match {
            return Err(Stop::Enough);
        }
        if let Some(sorted) = &mut self.sorted {
            let kept = sorted.keep(path.to_vec(), file, nodes);
            return kept.map_err(|error| Stop::Failed(error.into()));
        }
        let printer = &mut self.printer;
        if self.same_terminal {
            return Ok((self.progress).suspend(|| {
                printer.file(path, &file, nodes)?;
                printer.flush()
            })?);
        }
        Ok(printer.file(path, &file, nodes)?)
    }

    /// Writes out what was printed.
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        Ok(self.printer.flush()?)
    }

    /// Tells that something could not be read.
    pub(super) fn failed(&mut self, path: &[u8], message: &str) {
        self.errors += 1;
        if !self.request.messages {
            return;
        }
        let mut line = b"regexctl: ".to_vec();
        line.extend_from_slice(path);
        line.extend_from_slice(b": ");
        line.extend_from_slice(message.as_bytes());
        line.push(b'\n');
        // Without a standard error there is nobody to tell.
        let _ = self.progress.suspend(|| io::stderr().write_all(&line));
    }

    /// Prints what stands at the end, and says how the program ends.
    pub(super) fn finish(self, end: &v1::JobEnd, summary: &Summary) -> anyhow::Result<Exit> {
        drop(self.progress);
        let mut printer = self.printer;
        let printed = (|| {
            for kept in self.sorted.into_iter().flat_map(Sorted::finish) {
                let nodes: Vec<String> = kept.node.into_iter().collect();
                let file = v1::FileMatches {
                    node: 0,
                    ..kept.file
                };
                printer.file(&kept.path, &file, &nodes)?;
            }
            printer.finish(summary).map(drop)
        })();
        match printed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(error).context("cannot write to standard output");
            }
            _ => {}
        }
        let failed = end.tally.is_some_and(|t| t.failed > 0 || t.dirs_failed > 0);
        let roots = self.request.roots.len();
        Ok(
            if roots > 0 && self.roots_missing == roots && !self.request.stdin {
                Exit::Failed
            } else if self.errors > 0 || failed {
                Exit::Unread
            } else if self.matched {
                Exit::Match
            } else {
                Exit::NoMatch
            },
        )
    }
}

fn ended(end: v1::JobEnd) -> Result<v1::JobEnd, Stop> {
    match end.outcome() {
        v1::JobOutcome::Complete => Ok(end),
        v1::JobOutcome::Cancelled => {
            let error = anyhow::anyhow!("the job was cancelled; the results are not all there are");
            Err(Stop::Failed(error))
        }
        v1::JobOutcome::Failed => {
            let error = anyhow::anyhow!(
                "the job failed: {}; the results are not all there are",
                end.reason
            );
            Err(Stop::Failed(error))
        }
    }
}
