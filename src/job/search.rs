//! Filters, search and printing: the flags that depend on each other, settled as ripgrep
//! settles them.

use regexctl_proto::v1;

use super::Environment;
use super::paths::Paths;
use crate::flags::{ColorChoice, Mode, RunArgs, SearchMode};
use crate::print::{Colors, LineTerminator, Mode as Print, PrintConfig};

/// Which files.
pub(super) fn filter(args: &RunArgs, environment: &Environment, base: Vec<u8>) -> v1::FilterSpec {
    // Those of --iglob come last, wherever they stand, as in ripgrep.
    let glob = |case_insensitive| {
        move |pattern: &String| v1::Glob {
            pattern: pattern.clone(),
            case_insensitive,
        }
    };
    let globs = args.globs.iter().map(glob(args.glob_case_insensitive));
    let iglobs = args.iglobs.iter().map(glob(true));
    v1::FilterSpec {
        globs: globs.chain(iglobs).collect(),
        types: args
            .types
            .iter()
            .map(|of| v1::FileType {
                name: of.name.clone(),
                exclude: of.exclude,
            })
            .collect(),
        max_depth: args.max_depth,
        max_filesize: args.max_filesize,
        follow: args.follow,
        skip_hidden: args.skip_hidden,
        ignore: args.ignore,
        global_ignore: if args.ignore {
            environment.global_ignore.clone()
        } else {
            Vec::new()
        },
        base,
    }
}

/// How results are printed.
pub(super) fn print(args: &RunArgs, environment: &Environment, paths: &Paths) -> PrintConfig {
    let mode = mode(args);
    let column = args.column.unwrap_or(args.vimgrep);
    let heading = !args.vimgrep && args.heading.unwrap_or(environment.stdout_is_terminal);
    let (before, after) = args.context.lines();
    let colored = match args.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => environment.shows_colors,
    };
    PrintConfig {
        mode,
        heading,
        with_filename: args
            .with_filename
            .unwrap_or(args.vimgrep || !paths.one_file),
        line_number: match mode {
            Print::Json => args.line_number.unwrap_or(true),
            Print::Standard => args.line_number.unwrap_or(
                column || args.vimgrep || (environment.stdout_is_terminal && !paths.only_stdin),
            ),
            _ => false,
        },
        column,
        byte_offset: args.byte_offset,
        only_matching: args.only_matching,
        per_match: args.vimgrep,
        null: args.null,
        trim: args.trim,
        max_columns: args.max_columns,
        max_columns_preview: args.max_columns_preview,
        colors: if colored {
            Colors::on(&args.colors)
        } else {
            Colors::off()
        },
        context_separator: args.context_separator.clone(),
        field_match_separator: args.field_match_separator.clone(),
        field_context_separator: args.field_context_separator.clone(),
        path_separator: None,
        line_terminator: if args.crlf {
            LineTerminator::CrLf
        } else if args.null_data {
            LineTerminator::Nul
        } else {
            LineTerminator::Lf
        },
        replaced: args.replace.is_some(),
        invert: args.invert,
        has_context: before > 0 || after > 0,
        multi_line: args.multiline,
        stats: args.stats && matches!(args.mode, Mode::Search(_)),
    }
}

/// What is printed of each file.
fn mode(args: &RunArgs) -> Print {
    match args.mode {
        _ if args.quiet => Print::Quiet,
        Mode::Files | Mode::TypeList => Print::Files,
        Mode::Search(mode) => match mode {
            SearchMode::Standard => Print::Standard,
            SearchMode::Json => Print::Json,
            SearchMode::FilesWithMatches => Print::FilesWithMatch,
            SearchMode::FilesWithoutMatch => Print::FilesWithoutMatch,
            SearchMode::CountMatches if args.invert => Print::CountLines,
            SearchMode::Count if !args.only_matching => Print::CountLines,
            SearchMode::Count | SearchMode::CountMatches => Print::CountMatches,
        },
    }
}

/// How files are searched, so that the printer finds what it needs.
pub(super) fn search(args: &RunArgs, print: &PrintConfig) -> v1::SearchSpec {
    let columns = print.columns();
    let want = want(args, print);
    // Where no line is printed, context tells only how far the search goes on behind the last
    // match that -m allows.
    let (before_context, after_context) = match want {
        v1::Want::Lines => args.context.lines(),
        _ if args.max_count.is_some() => args.context.lines(),
        _ => (0, 0),
    };
    let binary = if args.binary.text || args.null_data {
        v1::BinaryMode::Text
    } else if args.binary.skip {
        v1::BinaryMode::Skip
    } else if print.mode == Print::Json {
        v1::BinaryMode::Report
    } else {
        v1::BinaryMode::Search
    };
    v1::SearchSpec {
        want: want.into(),
        submatches: columns.submatches,
        line_numbers: columns.line_numbers,
        offsets: columns.offsets,
        invert: args.invert,
        before_context,
        after_context,
        max_count: args.max_count,
        binary: binary.into(),
        encoding: args.encoding.clone(),
        replacement: match want {
            v1::Want::Lines => args.replace.clone(),
            _ => None,
        },
        max_line_bytes: args.max_line_size.unwrap_or(0),
        timing: columns.timing,
    }
}

/// What a file's result is. Statistics need counts even where only paths are printed.
fn want(args: &RunArgs, print: &PrintConfig) -> v1::Want {
    match print.mode {
        Print::Standard | Print::Json => v1::Want::Lines,
        Print::CountLines => v1::Want::CountLines,
        Print::CountMatches => v1::Want::CountMatches,
        Print::FilesWithoutMatch => v1::Want::FilesWithoutMatch,
        Print::FilesWithMatch if print.stats => v1::Want::CountLines,
        Print::FilesWithMatch => v1::Want::FilesWithMatch,
        Print::Files => v1::Want::Files,
        Print::Quiet => match args.mode {
            Mode::Files | Mode::TypeList => v1::Want::Files,
            Mode::Search(SearchMode::FilesWithoutMatch) => v1::Want::FilesWithoutMatch,
            Mode::Search(_) if print.stats => v1::Want::CountLines,
            Mode::Search(_) => v1::Want::FilesWithMatch,
        },
    }
}

/// Whether any line could match at all.
pub(super) fn can_match(args: &RunArgs, spec: &v1::JobSpec) -> bool {
    let patterns = spec.pattern.as_ref().map_or(0, |spec| spec.patterns.len());
    !matches!(args.mode, Mode::Search(_))
        || ((patterns > 0 || args.invert) && args.max_count != Some(0))
}
