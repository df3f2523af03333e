//! What is told of a file.

use crate::flags::args::{Mode, SearchMode};
use crate::flags::flag::Flag;
use crate::flags::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag::switch("only-matching", |args, _| args.only_matching = true)
        .short('o')
        .help("Print only the matching parts, each on its own line"),
    Flag::value("replace", "TEXT", |args, value| {
        args.replace = value
            .map(|value| value::text(value).map(|text| text.as_bytes().to_vec()))
            .transpose()?;
        Ok(())
    })
    .short('r')
    .help("Print TEXT in place of every match; files are not changed")
    .more(
        "$1 and ${name} stand for groups of the pattern, $$ for a dollar:\n\n    \
         regexctl run -o -r '$1' 'version = \"([^\"]+)\"' Cargo.toml",
    ),
    Flag::switch("count", |args, _| {
        args.mode.update(Mode::Search(SearchMode::Count));
    })
    .short('c')
    .help("Print how many lines match, for each file with a match")
    .more("With -o, how many matches there are."),
    Flag::switch("count-matches", |args, _| {
        args.mode.update(Mode::Search(SearchMode::CountMatches));
    })
    .help("Print how many matches there are, for each file with a match")
    .more("With -v, how many lines do not match."),
    Flag::switch("files-with-matches", |args, _| {
        args.mode.update(Mode::Search(SearchMode::FilesWithMatches));
    })
    .short('l')
    .help("Print only the paths of files with a match"),
    Flag::switch("files-without-match", |args, _| {
        args.mode
            .update(Mode::Search(SearchMode::FilesWithoutMatch));
    })
    .help("Print only the paths of files without a match"),
    Flag::switch("json", |args, on| {
        if on {
            args.mode.update(Mode::Search(SearchMode::Json));
        } else if args.mode == Mode::Search(SearchMode::Json) {
            args.mode = Mode::default();
        }
    })
    .undo("no-json")
    .help("Print JSON Lines, in ripgrep's format")
    .more(
        "One object a line: begin, match, context and end for each file, and a summary. Its \
         fields are ripgrep's; `node` and `shard` are added and tell where a file was \
         searched. Of --json, -c, --count-matches, -l and --files-without-match the last \
         one counts.",
    ),
    Flag::switch("quiet", |args, _| args.quiet = true)
        .short('q')
        .help("Print nothing; stop at the first match")
        .more("The exit status tells. With --stats the search goes on to its end."),
    Flag::switch("stats", |args, on| args.stats = on)
        .undo("no-stats")
        .help("Print statistics at the end, with every file accounted for")
        .more(
            "Besides what ripgrep counts: the files seen, scanned, skipped and for what \
             reason, and failed, which add up.",
        ),
    Flag::switch("no-messages", |args, on| args.no_messages = on)
        .undo("messages")
        .help("Do not print errors about files that cannot be read")
        .more("The exit status is still 3 when there were any."),
];
