//! What is searched for.

use clap::ValueHint;

use crate::flags::args::{Boundary, CaseMode, PatternSource};
use crate::flags::flag::Flag;
use crate::flags::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag::list("regexp", "PATTERN", |args, value| {
        if let Some(value) = value {
            args.patterns
                .push(PatternSource::Pattern(value::pattern(value)?));
        }
        Ok(())
    })
    .short('e')
    .help("Search for PATTERN; may be given several times")
    .more(
        "A line matches when any of the patterns does. With this flag or -f every argument \
         that is not a flag is a path. It also helps with a pattern that begins with a \
         dash:\n\n    regexctl run -e -foo src",
    ),
    Flag::list("file", "FILE", |args, value| {
        if let Some(value) = value {
            args.patterns.push(PatternSource::File(value.into()));
        }
        Ok(())
    })
    .short('f')
    .hint(ValueHint::FilePath)
    .help("Search for the patterns in FILE, one a line; - is standard input")
    .more(
        "An empty line is a pattern that matches everything; an empty file has no pattern \
         and matches nothing. May be given several times and together with -e.",
    ),
    Flag::switch("fixed-strings", |args, on| args.fixed_strings = on)
        .short('F')
        .undo("no-fixed-strings")
        .help("Patterns are plain text, not regular expressions"),
    Flag::switch("ignore-case", |args, _| args.case = CaseMode::Insensitive)
        .short('i')
        .help("Upper and lower case are the same")
        .more("Of -i, -s and -S the last one counts."),
    Flag::switch("case-sensitive", |args, _| args.case = CaseMode::Sensitive)
        .short('s')
        .help("Upper and lower case differ; the default")
        .more("Of -i, -s and -S the last one counts."),
    Flag::switch("smart-case", |args, _| args.case = CaseMode::Smart)
        .short('S')
        .help("Ignore case unless a pattern has an upper-case letter")
        .more("Letters of escapes such as \\W do not count. Of -i, -s and -S the last one counts."),
    Flag::switch("word-regexp", |args, _| {
        args.boundary = Some(Boundary::Word);
    })
    .short('w')
    .help("Only matches that are whole words")
    .more("Of -w and -x the last one counts."),
    Flag::switch("line-regexp", |args, _| {
        args.boundary = Some(Boundary::Line);
    })
    .short('x')
    .help("Only matches that are whole lines")
    .more("Of -w and -x the last one counts."),
    Flag::switch("invert-match", |args, on| args.invert = on)
        .short('v')
        .undo("no-invert-match")
        .help("Lines that do not match"),
    Flag::switch("multiline", |args, on| args.multiline = on)
        .short('U')
        .undo("no-multiline")
        .help("A match may span lines")
        .more(
            "Each file is then held in memory as a whole, and is never split between cores \
             or nodes. For example, function heads that are broken over lines:\n\n    \
             regexctl run -U 'fn \\w+\\([^)]*\\)' src",
        ),
    Flag::switch("multiline-dotall", |args, on| args.multiline_dotall = on)
        .undo("no-multiline-dotall")
        .help("With -U, `.` also matches the end of a line"),
    Flag::switch("crlf", |args, on| {
        args.crlf = on;
        args.null_data &= !on;
    })
    .undo("no-crlf")
    .help("A line may end with CR LF, and `$` matches before it")
    .more("Overrides --null-data, and is overridden by it."),
    Flag::switch("null-data", |args, _| {
        args.null_data = true;
        args.crlf = false;
    })
    .help("Lines end with NUL instead of a newline")
    .more("Files are then searched as text, as with -a. Overrides --crlf."),
    Flag::switch("no-unicode", |args, on| args.no_unicode = on)
        .undo("unicode")
        .help("Classes, boundaries and case are ASCII only")
        .more(
            "Counted classes such as \\w{50} compile to much smaller automata; other bytes \
             are matched as (?-u)\\xFF.",
        ),
];
