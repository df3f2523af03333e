//! What `exec` and `copy` print, and what they say of nodes that failed.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use anyhow::Context as _;

use super::super::output::{counted, print, tell};
use super::Done;
use crate::fanout::{Event, Gathered, Group, MAX_OUTPUT_BYTES, Outcome};
use crate::model::{Cluster, Node};
use crate::nodeset::fold;
use crate::process::Stream;
use crate::serve::tell_tried;
use crate::status::{Means, TriedNode, Words};

fn names(places: &[usize], nodes: &[&Node]) -> String {
    fold(places.iter().map(|&at| nodes[at].name.as_str()))
}

/// Prints each group's output below its nodes, and says who failed.
pub(super) fn gathered(gathered: Gathered, cluster: &Cluster, nodes: &[&Node]) -> Done {
    let is_full = gathered.is_full();
    let groups = gathered.into_groups();
    // Whether they can be printed has nothing to do with how many failed.
    let mut failures = Failures::default();
    for group in &groups {
        failures.add(&group.nodes, group.outcome.clone());
    }
    let printed = match print_groups(&groups, nodes) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    };
    if is_full {
        let most = MAX_OUTPUT_BYTES >> 20;
        tell(&format!(
            "regex-provision: of all output together {most} MiB are kept, what came later is cut; --stream prints all\n"
        ));
    }
    let failed = failures.tell(cluster, nodes);
    Done { failed, printed }
}

fn print_groups(groups: &[Group], nodes: &[&Node]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for group in groups {
        // What ssh says of a connection is told with the failure.
        let is_said = match &group.outcome {
            Outcome::Unreachable(_) => true,
            Outcome::Lost(words) => group.output.trim_ascii() == words.as_bytes(),
            _ => false,
        };
        if group.output.is_empty() || is_said {
            continue;
        }
        let names = names(&group.nodes, nodes);
        writeln!(out, "--- {names} ({})", group.nodes.len())?;
        out.write_all(&group.output)?;
        if !group.output.ends_with(b"\n") {
            writeln!(out)?;
        }
        if group.truncated {
            writeln!(out, "--- cut after {} bytes", group.output.len())?;
        }
    }
    out.flush()
}

/// Who failed, by how.
#[derive(Default)]
struct Failures {
    by_how: BTreeMap<Outcome, Vec<usize>>,
    /// Whom ssh has reached, and whom not.
    tried: Vec<(usize, Option<String>)>,
}

impl Failures {
    fn add(&mut self, places: &[usize], outcome: Outcome) {
        let problem = match &outcome {
            Outcome::Exited(_) => Some(None),
            Outcome::Unreachable(words) => Some(Some(words.clone())),
            // It may have been the connection, or the command.
            Outcome::TimedOut(_)
            | Outcome::Broken(_)
            // It was reached, and may not be any more.
            | Outcome::Lost(_)
            | Outcome::Interrupted
            | Outcome::NotBegun => None,
        };
        if let Some(problem) = problem {
            self.tried
                .extend(places.iter().map(|&at| (at, problem.clone())));
        }
        if !outcome.is_success() {
            self.by_how.entry(outcome).or_default().extend(places);
        }
    }

    /// Tells them, also to the boot endpoint; how many.
    fn tell(self, cluster: &Cluster, nodes: &[&Node]) -> usize {
        let tried = self.tried.into_iter().map(|(at, problem)| TriedNode {
            mac: nodes[at].mac,
            problem: problem.map(|problem| Words::new(&format!("cannot log in: {problem}"))),
        });
        tell_tried(cluster, Means::Ssh, &tried.collect::<Vec<_>>());
        let mut failed = 0;
        for (outcome, mut places) in self.by_how {
            failed += places.len();
            places.sort_unstable();
            tell(&format!(
                "regex-provision: {}: {outcome}\n",
                names(&places, nodes)
            ));
        }
        if failed > 0 {
            let all = counted(nodes.len(), "node");
            tell(&format!("regex-provision: {failed} of {all} failed\n"));
        }
        failed
    }
}

/// Lines as they come, each behind its node's name.
pub(super) struct Streams<'a> {
    nodes: &'a [&'a Node],
    /// What has no line feed yet, of each node's two streams.
    partial: Vec<[Vec<u8>; 2]>,
    failures: Failures,
    printed: anyhow::Result<()>,
}

/// The longest line that is kept together, in bytes.
const MAX_LINE_BYTES: usize = 64 << 10;

impl<'a> Streams<'a> {
    pub(super) fn new(nodes: &'a [&'a Node]) -> Self {
        Self {
            nodes,
            partial: vec![Default::default(); nodes.len()],
            failures: Failures::default(),
            printed: Ok(()),
        }
    }

    pub(super) fn hear(&mut self, at: usize, event: Event) {
        match event {
            Event::Output(stream, bytes) => {
                let partial = &mut self.partial[at][usize::from(stream == Stream::Err)];
                partial.extend_from_slice(&bytes);
                let end = match partial.iter().rposition(|&b| b == b'\n') {
                    Some(last) => last + 1,
                    None if partial.len() > MAX_LINE_BYTES => partial.len(),
                    None => return,
                };
                let whole: Vec<u8> = partial.drain(..end).collect();
                self.lines(at, stream, &whole);
            }
            Event::Ended(outcome) => {
                for (stream, which) in [(Stream::Out, 0), (Stream::Err, 1)] {
                    let rest = std::mem::take(&mut self.partial[at][which]);
                    self.lines(at, stream, &rest);
                }
                self.failures.add(&[at], outcome);
            }
        }
    }

    fn lines(&mut self, at: usize, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut told = Vec::new();
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            told.extend_from_slice(format!("{}: ", self.nodes[at].name).as_bytes());
            told.extend_from_slice(line);
        }
        if told.last() != Some(&b'\n') {
            told.push(b'\n');
        }
        let told = String::from_utf8_lossy(&told);
        match stream {
            Stream::Err => tell(&told),
            Stream::Out if self.printed.is_ok() => self.printed = print(&told),
            Stream::Out => {}
        }
    }

    /// Says who failed.
    pub(super) fn finish(self, cluster: &Cluster) -> Done {
        Done {
            failed: self.failures.tell(cluster, self.nodes),
            printed: self.printed,
        }
    }
}
