//! What is searched for: the patterns of the flags, of files, or of the first argument.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use regexctl_proto::v1;

use super::Stdin;
use super::error::JobError;
use crate::flags::{Boundary, CaseMode, Mode, PatternSource, RunArgs};

/// The patterns, each once, in the order typed. Takes the first argument away when it is
/// the pattern.
pub(super) fn read(args: &mut RunArgs, stdin: &mut Stdin<'_>) -> Result<Vec<String>, JobError> {
    if !matches!(args.mode, Mode::Search(_)) {
        return Ok(Vec::new());
    }
    if args.patterns.is_empty() {
        if args.positional.is_empty() {
            return Err(JobError::NoPattern);
        }
        let pattern = OsString::into_string(args.positional.remove(0));
        return Ok(vec![pattern.map_err(|_| JobError::PatternNotUtf8)?]);
    }
    let limit = args
        .max_pattern_size
        .unwrap_or(regexctl_scan::MAX_PATTERN_BYTES as u64);
    let mut seen = HashSet::new();
    let mut patterns = Vec::new();
    let mut add = |pattern: &str| {
        if seen.insert(pattern.to_owned()) {
            patterns.push(pattern.to_owned());
        }
    };
    for source in &args.patterns {
        match source {
            PatternSource::Pattern(pattern) => add(pattern),
            PatternSource::File(path) => {
                let (name, bytes) = read_file(path, limit, stdin)?;
                for (index, line) in lines(&bytes).enumerate() {
                    let pattern =
                        std::str::from_utf8(line).map_err(|error| JobError::PatternLine {
                            path: name.clone(),
                            line: index + 1,
                            offset: error.valid_up_to(),
                        })?;
                    add(pattern);
                }
            }
        }
    }
    Ok(patterns)
}

/// The name for messages, and the bytes.
fn read_file(
    path: &Path,
    limit: u64,
    stdin: &mut Stdin<'_>,
) -> Result<(String, Vec<u8>), JobError> {
    let mut bytes = Vec::new();
    let is_stdin = path == Path::new("-");
    let name = if is_stdin {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    // One byte more than is allowed tells that there is more than is allowed.
    let result = if is_stdin {
        let reader = stdin.take("-f")?;
        reader.take(limit + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
    };
    match result {
        Err(source) => Err(JobError::PatternFile { path: name, source }),
        Ok(length) if length as u64 > limit => Err(JobError::PatternsTooLong { path: name, limit }),
        Ok(_) => Ok((name, bytes)),
    }
}

/// Lines without their ends, which are LF or CR LF. An empty file has none.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|&b| b == b'\n')
        .map(|line| match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        })
}

/// The patterns and what the flags say of them.
pub(super) fn spec(args: &RunArgs, patterns: Vec<String>) -> v1::PatternSpec {
    let case = match args.case {
        CaseMode::Sensitive => v1::CaseMode::Sensitive,
        CaseMode::Insensitive => v1::CaseMode::Insensitive,
        CaseMode::Smart => v1::CaseMode::Smart,
    };
    v1::PatternSpec {
        patterns,
        fixed_strings: args.fixed_strings,
        word: args.boundary == Some(Boundary::Word),
        whole_line: args.boundary == Some(Boundary::Line),
        case: case.into(),
        multi_line: args.multiline,
        dot_matches_new_line: args.multiline && args.multiline_dotall,
        crlf: args.crlf,
        null_data: args.null_data,
        no_unicode: args.no_unicode,
        // 0 is the default of the scanner.
        max_pattern_bytes: args.max_pattern_size.unwrap_or(0),
        max_compiled_bytes: args.regex_size_limit.unwrap_or(0),
        max_dfa_bytes: args.dfa_size_limit.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn lines_are_those_of_ripgrep() {
        let lines = |text: &'static str| -> Vec<&str> {
            lines(text.as_bytes())
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect()
        };
        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("\n"), [""]);
        assert_eq!(lines("a"), ["a"]);
        assert_eq!(lines("a\nb\n"), ["a", "b"]);
        assert_eq!(lines("a\r\n\n b"), ["a", "", " b"]);
        assert_eq!(lines("a\n\n"), ["a", ""]);
    }
}
