//! How results look.

use crate::flags::args::{ColorChoice, Sort};
use crate::flags::flag::{Flag, Undo};
use crate::flags::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag::switch("line-number", |args, on| args.line_number = Some(on))
        .short('n')
        .opposite(Undo {
            long: "no-line-number",
            short: Some('N'),
            help: Some("Do not print line numbers; the default elsewhere"),
        })
        .help("Print line numbers; the default on a terminal"),
    Flag::switch("column", |args, on| args.column = Some(on))
        .undo("no-column")
        .help("Print the column of the first match of each line")
        .more("In bytes, from 1. Turns line numbers on."),
    Flag::switch("byte-offset", |args, on| args.byte_offset = on)
        .short('b')
        .undo("no-byte-offset")
        .help("Print the byte offset of each line, or with -o of each match")
        .more("From the start of the file, from 0."),
    Flag::switch("with-filename", |args, on| args.with_filename = Some(on))
        .short('H')
        .opposite(Undo {
            long: "no-filename",
            short: Some('I'),
            help: Some("Do not print the path; the default for one file"),
        })
        .help("Print the path with each match; the default for many files"),
    Flag::switch("heading", |args, on| args.heading = Some(on))
        .opposite(Undo {
            long: "no-heading",
            short: None,
            help: Some("Print the path on every line; the default elsewhere"),
        })
        .help("Print the path once above its matches; the default on a terminal"),
    Flag::value("color", "WHEN", |args, value| {
        args.color = match value.map(value::text).transpose()? {
            Some("always" | "ansi") => ColorChoice::Always,
            Some("never") => ColorChoice::Never,
            _ => ColorChoice::Auto,
        };
        Ok(())
    })
    .choices(&["auto", "always", "ansi", "never"])
    .help("When to use colours")
    .more(
        "auto, the default: on a terminal, unless TERM is dumb or NO_COLOR is set. ansi is \
         the same as always.",
    ),
    Flag::list("colors", "SPEC", |args, value| {
        if let Some(value) = value {
            let spec = value::text(value)?.parse();
            args.colors
                .push(spec.map_err(|error: crate::print::ColorError| error.to_string())?);
        }
        Ok(())
    })
    .help("Change a colour, such as match:fg:magenta or path:none")
    .more(
        "TYPE:fg:COLOR, TYPE:bg:COLOR, TYPE:style:STYLE or TYPE:none, where TYPE is path, \
         line, column, match or highlight, COLOR is a name, a number of 0 to 255 or \
         RED,GREEN,BLUE, and STYLE is bold, nobold, intense, nointense, underline, \
         nounderline, italic or noitalic. May be given several times.",
    ),
    Flag::switch("pretty", |args, _| {
        args.color = ColorChoice::Always;
        args.heading = Some(true);
        args.line_number = Some(true);
    })
    .short('p')
    .help("The same as --color always --heading --line-number")
    .more("To keep the look of a terminal in a pager:\n\n    regexctl run -p TODO | less -R"),
    Flag::switch("vimgrep", |args, _| args.vimgrep = true)
        .help("Print every match as path:line:column:text")
        .more("A line with several matches is printed several times."),
    Flag::switch("trim", |args, on| args.trim = on)
        .undo("no-trim")
        .help("Leave out white space at the beginning of lines"),
    Flag::value("max-columns", "NUM", |args, value| {
        args.max_columns = value
            .map(value::number)
            .transpose()?
            .filter(|&columns: &u64| columns != 0);
        Ok(())
    })
    .short('M')
    .help("Do not print lines longer than NUM bytes")
    .more("They are told without their text; 0 is no limit. See --max-columns-preview."),
    Flag::switch("max-columns-preview", |args, on| {
        args.max_columns_preview = on;
    })
    .undo("no-max-columns-preview")
    .help("With -M, print the beginning of lines that are too long"),
    Flag::switch("null", |args, _| args.null = true)
        .short('0')
        .help("Print NUL after paths")
        .more("For xargs -0:\n\n    regexctl run -l0 TODO | xargs -0 wc -l"),
    Flag::value("sort", "BY", |args, value| {
        args.sort = match value.map(value::text).transpose()? {
            Some("path") => Sort::Path,
            _ => Sort::None,
        };
        Ok(())
    })
    .choices(&["none", "path"])
    .help("Sort the results")
    .more(
        "The search stays parallel; results wait until their turn has come, so the first \
         ones appear later.",
    ),
    Flag::value("field-match-separator", "TEXT", |args, value| {
        args.field_match_separator = value.map_or_else(|| Ok(b":".to_vec()), value::unescaped)?;
        Ok(())
    })
    .help("Print TEXT instead of : between the fields of a match")
    .more("Escapes such as \\t and \\x7F are understood."),
    Flag::value("field-context-separator", "TEXT", |args, value| {
        args.field_context_separator = value.map_or_else(|| Ok(b"-".to_vec()), value::unescaped)?;
        Ok(())
    })
    .help("Print TEXT instead of - between the fields of a context line")
    .more("Escapes such as \\t and \\x7F are understood."),
    Flag::switch("progress", |args, on| args.progress = Some(on))
        .opposite(Undo {
            long: "no-progress",
            short: None,
            help: Some("Do not show progress"),
        })
        .help("Show progress on standard error; the default on a terminal"),
];
