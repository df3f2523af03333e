//! What is wrong with a `cluster.toml`: where, what, and what to do.
//!
//! A problem is printed in one line, `FILE:LINE:COLUMN: WHAT; FIX`, which editors understand,
//! or for a person at a terminal with the line itself and a mark below it.

use std::collections::HashSet;
use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// The most problems that are reported of one file; the rest is only counted.
pub const MAX_PROBLEMS: usize = 1000;

/// The longest part of a line that is shown below a problem, in bytes.
const MAX_SHOWN_BYTES: usize = 2000;

/// A place in the file, in bytes.
pub(crate) type Span = Range<usize>;

/// Whether the file can be used nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but something looks unintended.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the file can be used nevertheless.
    pub severity: Severity,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, with the values.
    pub what: String,
    /// What to do.
    pub fix: String,
    /// Another place that belongs to it, and what is there.
    pub related: Option<(usize, &'static str)>,
    span: Span,
    related_span: Option<Span>,
}

/// `LINE:COLUMN: WHAT; FIX`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        let Self {
            line,
            column,
            what,
            fix,
            ..
        } = self;
        write!(f, "{line}:{column}: {warning}{what}; {fix}")
    }
}

/// Everything that is wrong with a file, in its order. At least one error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// At most [`MAX_PROBLEMS`]; no error is left out for a warning.
    pub list: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
    errors: usize,
}

impl Problems {
    /// How many errors there are, listed or not.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// One line each: `FILE:LINE:COLUMN: WHAT; FIX`.
    pub fn short(&self, file: &str) -> String {
        let mut out = String::new();
        for problem in &self.list {
            writeln!(out, "{file}:{problem}").expect("writing to a String cannot fail");
        }
        out
    }

    /// For a terminal: each with its line and a mark below it. `text` is the file.
    pub fn pretty(&self, file: &str, text: &str, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        // Places are those of the text without it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut out = String::new();
        for problem in &self.list {
            let report = problem.report(file, text);
            writeln!(out, "{}\n", renderer.render(&report))
                .expect("writing to a String cannot fail");
        }
        out
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Problem {
    fn report<'a>(&'a self, file: &'a str, text: &'a str) -> Vec<Group<'a>> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let primary = snippet(
            file,
            text,
            self.line,
            &self.span,
            AnnotationKind::Primary,
            "",
        );
        let mut group = level.primary_title(&*self.what).element(primary);
        if let (Some((line, label)), Some(span)) = (self.related, &self.related_span) {
            let kind = AnnotationKind::Context;
            group = group.element(snippet(file, text, line, span, kind, label));
        }
        vec![group.element(Level::HELP.message(&*self.fix))]
    }
}

/// The line that a span begins in, and a mark below the span, as far as it is in that line.
fn snippet<'a>(
    file: &'a str,
    text: &'a str,
    line: usize,
    span: &Span,
    kind: AnnotationKind,
    label: &'a str,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let begin = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let length = text[begin..].find('\n').unwrap_or(text.len() - begin);
    let mut end = begin + length.min(MAX_SHOWN_BYTES.max(span.start - begin + 80));
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let shown = text[begin..end].trim_end();
    let from = (span.start - begin).min(shown.len());
    let to = (span.end - begin).clamp(from, shown.len());
    let mark = kind.span(from..to);
    let mark = if label.is_empty() {
        mark
    } else {
        mark.label(label)
    };
    Snippet::source(shown)
        .line_start(line)
        .path(file)
        .annotation(mark)
}

/// The halves of a message of the values' parsers, `WHAT; FIX`.
pub(crate) fn what_and_fix(message: &str) -> (&str, &str) {
    message.rsplit_once("; ").unwrap_or((message, "correct it"))
}

/// Collects problems while a file is read and checked.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    found: Vec<Found>,
    errors: usize,
    has_syntax: bool,
    /// Whether sections may be missing only because the TOML is broken.
    pub(crate) names_lost: bool,
}

#[derive(Debug)]
struct Found {
    severity: Severity,
    /// The line could not be read, so what else is said of it means nothing.
    is_syntax: bool,
    span: Span,
    what: String,
    fix: String,
    related: Option<(Span, &'static str)>,
}

impl Reporter {
    /// An error at a place.
    pub(crate) fn error(&mut self, span: Span, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Error, span, what.into(), fix.into(), None);
    }

    /// A line that is no TOML.
    pub(crate) fn syntax(&mut self, span: Span, what: String, fix: &str) {
        self.add(Severity::Error, span, what, fix.into(), None);
        self.found
            .iter_mut()
            .rev()
            .take(1)
            .for_each(|found| found.is_syntax = true);
        self.has_syntax = true;
    }

    /// A reference to something that is not there, unless it may stand where the TOML is broken.
    pub(crate) fn missing(&mut self, span: Span, what: impl Into<String>, fix: impl Into<String>) {
        if self.names_lost {
            // The file is not right, and it was said why.
            self.errors += 1;
        } else {
            self.error(span, what, fix);
        }
    }

    /// An error at a place that has to do with another one.
    pub(crate) fn error_with(
        &mut self,
        span: Span,
        what: impl Into<String>,
        fix: impl Into<String>,
        related: (Span, &'static str),
    ) {
        self.add(
            Severity::Error,
            span,
            what.into(),
            fix.into(),
            Some(related),
        );
    }

    /// Something that looks unintended, unless what makes it so may stand where the TOML is broken.
    pub(crate) fn warning(&mut self, span: Span, what: impl Into<String>, fix: impl Into<String>) {
        if self.has_syntax {
            return;
        }
        self.add(Severity::Warning, span, what.into(), fix.into(), None);
    }

    fn add(
        &mut self,
        severity: Severity,
        span: Span,
        what: String,
        fix: String,
        related: Option<(Span, &'static str)>,
    ) {
        self.errors += usize::from(severity == Severity::Error);
        self.found.push(Found {
            severity,
            is_syntax: false,
            span,
            what,
            fix,
            related,
        });
    }

    /// Whether there was no error so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors == 0
    }

    /// All of them in the order of the file, with lines and columns.
    pub(crate) fn finish(mut self, text: &str) -> Problems {
        self.found
            .sort_by_key(|found| (found.span.start, found.severity));
        let lines = Lines::new(text);
        let line = |found: &Found| lines.line(clamped(text, &found.span).start);
        let broken = self.found.iter().filter(|found| found.is_syntax);
        let broken: HashSet<usize> = broken.map(line).collect();
        self.found
            .retain(|found| found.is_syntax || !broken.contains(&line(found)));
        // A mistake of a profile is found for each section that has it.
        self.found
            .dedup_by(|a, b| (&a.span, &a.what) == (&b.span, &b.what));
        let all = self.found.len();
        let is_error = |found: &&Found| found.severity == Severity::Error;
        let errors = self.found.iter().filter(is_error).count();
        // Many warnings must not hide the one error behind them.
        let mut warnings = MAX_PROBLEMS.saturating_sub(errors);
        self.found.retain(|found| match found.severity {
            Severity::Error => true,
            Severity::Warning => {
                let has_room = warnings > 0;
                warnings -= usize::from(has_room);
                has_room
            }
        });
        self.found.truncate(MAX_PROBLEMS);
        let omitted = all - self.found.len();
        let place = |found: Found| {
            let span = clamped(text, &found.span);
            let (line, column) = lines.place(text, span.start);
            let related_span = found.related.as_ref().map(|(span, _)| clamped(text, span));
            let related = found.related.map(|(span, label)| {
                let (line, _) = lines.place(text, span.start.min(text.len()));
                (line, label)
            });
            Problem {
                severity: found.severity,
                line,
                column,
                what: found.what,
                fix: found.fix,
                related,
                span,
                related_span,
            }
        };
        let list = self.found.into_iter().map(place).collect();
        Problems {
            list,
            omitted,
            errors,
        }
    }
}

/// The span, inside the text and at the bounds of characters.
fn clamped(text: &str, span: &Span) -> Span {
    let inside = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = inside(span.start);
    start..inside(span.end).max(start)
}

/// Where the lines of a text begin.
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        Self(
            std::iter::once(0)
                .chain(ends.map(|(at, _)| at + 1))
                .collect(),
        )
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.0.partition_point(|&begin| begin <= at)
    }

    /// Line and column of a byte, from 1; the column in characters.
    fn place(&self, text: &str, at: usize) -> (usize, usize) {
        let line = self.line(at);
        let begin = self.0[line - 1];
        (line, text[begin..at].chars().count() + 1)
    }
}
