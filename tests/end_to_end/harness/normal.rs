//! Brings outputs whose order of files is free into a form that can be compared byte for byte.
//!
//! The lines of one file keep their order and must stand together; only the files are sorted. So a
//! file that is printed in two halves, or with its lines out of order, is seen.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use walkdir::WalkDir;

use super::scratch::bytes;

/// How the output of a command line is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is: `--sort path`, or one file.
    Exact,
    /// Every line begins with its file's path, or a heading does.
    Blocks,
    /// Lines do not say where they are from.
    Lines,
    /// JSON Lines.
    Json,
}

impl Form {
    /// What the flags make of the output.
    pub(crate) fn of(args: &[String]) -> Self {
        let has = |wanted: &[&str]| args.iter().any(|arg| wanted.contains(&arg.as_str()));
        if has(&["--json"]) {
            Self::Json
        } else if has(&["--sort", "--sort=path"]) {
            Self::Exact
        } else if has(&["-I", "--no-filename"]) {
            Self::Lines
        } else {
            Self::Blocks
        }
    }

    /// The output in a form that does not depend on the order of files.
    pub(crate) fn apply(self, output: &[u8], paths: &Paths) -> Result<Vec<u8>, String> {
        match self {
            Self::Exact => Ok(output.to_vec()),
            Self::Lines => Ok(lines(output)),
            Self::Blocks => blocks(output, paths),
            Self::Json => json(output),
        }
    }
}

/// The paths of a tree, as a search of `.` prints them.
pub(crate) struct Paths {
    /// From the longest to the shortest, so that the first that fits is the right one.
    paths: Vec<Vec<u8>>,
}

impl Paths {
    /// Of all that is below `root`, as it is printed when `typed` is what was typed for the root.
    pub(crate) fn below(root: &Path, typed: &str) -> Self {
        let below = |entry: walkdir::DirEntry| {
            let path = entry
                .path()
                .strip_prefix(root)
                .expect("it is below")
                .to_path_buf();
            bytes(&Path::new(typed).join(path)).to_vec()
        };
        let entries = WalkDir::new(root).follow_links(true).into_iter();
        // With links followed, loops are errors.
        let mut paths: Vec<_> = entries.filter_map(Result::ok).map(below).collect();
        paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
        Self { paths }
    }

    /// The path that a line begins with, when one does, and what of the line is behind it. With colours,
    /// the path is inside of escapes.
    fn of<'a, 'b>(&'a self, line: &'b [u8]) -> Option<(&'a [u8], &'b [u8])> {
        let line = line.strip_prefix(b"\x1b[0m\x1b[35m").unwrap_or(line);
        self.paths.iter().find_map(|path| {
            let rest = line.strip_prefix(path.as_slice())?;
            let ends = matches!(rest.first(), Some(b':' | b'-' | b'\n' | b'\x1b' | 0) | None);
            ends.then_some((path.as_slice(), rest))
        })
    }
}

fn newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&b| b == b'\n')
}

fn lines(output: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = output.split_inclusive(|&b| b == b'\n').collect();
    lines.sort_unstable();
    lines.concat()
}

/// Sorts the blocks of files by path. An error when a file has two.
fn blocks(output: &[u8], paths: &Paths) -> Result<Vec<u8>, String> {
    let mut blocks: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
    let mut current: &[u8] = b"";
    let mut rest = output;
    while !rest.is_empty() {
        let (path, behind) = paths
            .of(rest)
            .map_or((None, rest), |(path, rest)| (Some(path), rest));
        // A path may hold line terminators.
        let end = newline(behind).map_or(rest.len(), |end| rest.len() - behind.len() + end + 1);
        let (line, tail) = rest.split_at(end);
        if let Some(path) = path
            && path != current
        {
            if blocks.contains_key(path) {
                let path = String::from_utf8_lossy(path);
                return Err(format!("the lines of {path} do not stand together"));
            }
            current = path;
        }
        blocks.entry(current).or_default().extend_from_slice(line);
        rest = tail;
    }
    let mut sorted = Vec::with_capacity(output.len());
    for block in blocks.values() {
        // What separates two files ends the first of them, so the last has none.
        let separators: [&[u8]; 2] = [b"\n--\n", b"\n\n"];
        let cut = separators
            .iter()
            .find(|separator| block.ends_with(separator));
        let end = block.len() - cut.map_or(0, |separator| separator.len() - 1);
        sorted.extend_from_slice(&block[..end]);
    }
    Ok(sorted)
}

/// The messages of each file in their order, the files sorted; without times, without our additions,
/// and without the number of bytes printed, which counts both.
fn json(output: &[u8]) -> Result<Vec<u8>, String> {
    let mut files = Vec::new();
    let mut open = String::new();
    for line in output
        .split(|&b| b == b'\n')
        .filter(|line| !line.is_empty())
    {
        let mut message: Value = serde_json::from_slice(line)
            .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(line)))?;
        let kind = message["type"].as_str().unwrap_or_default().to_owned();
        let data = message["data"]
            .as_object_mut()
            .ok_or("a message has no data")?;
        if kind == "begin" && !open.is_empty() {
            return Err("a file begins before the last one has ended".to_owned());
        }
        for ours in ["node", "shard", "tally", "shards", "retries", "duplicates"] {
            data.remove(ours);
        }
        data.remove("elapsed_total");
        if let Some(stats) = data.get_mut("stats").and_then(Value::as_object_mut) {
            stats.remove("elapsed");
            stats.remove("bytes_printed");
        }
        open.push_str(&message.to_string());
        open.push('\n');
        if kind == "end" || kind == "summary" {
            files.push(std::mem::take(&mut open));
        }
    }
    if !open.is_empty() {
        return Err("the last file does not end".to_owned());
    }
    files.sort_unstable();
    Ok(files.concat().into_bytes())
}

/// The first line in which two outputs differ, for a failure message.
pub(crate) fn difference(ours: &[u8], theirs: &[u8]) -> String {
    let mut ours = ours.split_inclusive(|&b| b == b'\n');
    let mut theirs = theirs.split_inclusive(|&b| b == b'\n');
    let mut number = 0;
    loop {
        number += 1;
        let (a, b) = (ours.next(), theirs.next());
        if a != b {
            let shown = |line: Option<&[u8]>| {
                line.map_or("(nothing)".to_owned(), |line| {
                    line[..line.len().min(300)].escape_ascii().to_string()
                })
            };
            return format!("line {number}\n  ours: {}\n  rg's: {}", shown(a), shown(b));
        }
        if a.is_none() {
            return "none".to_owned();
        }
    }
}
