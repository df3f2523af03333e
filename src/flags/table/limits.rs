//! How much one job may take.

use crate::flags::flag::Flag;
use crate::flags::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag::value("regex-size-limit", "SIZE", |args, value| {
        args.regex_size_limit = value.map(value::limit).transpose()?;
        Ok(())
    })
    .help("How large the compiled patterns may be")
    .more("In bytes, or with K, M or G behind the number. A larger one is an error."),
    Flag::value("dfa-size-limit", "SIZE", |args, value| {
        args.dfa_size_limit = value.map(value::limit).transpose()?;
        Ok(())
    })
    .help("How large the cache of the lazy DFA of each thread may be")
    .more(
        "In bytes, or with K, M or G behind the number. When it is too small for a pattern, \
         the search is slower.",
    ),
    Flag::value("max-pattern-size", "SIZE", |args, value| {
        args.max_pattern_size = value.map(value::limit).transpose()?;
        Ok(())
    })
    .help("How long all patterns together may be")
    .more("In bytes, or with K, M or G behind the number."),
    Flag::value("max-line-size", "SIZE", |args, value| {
        args.max_line_size = value.map(value::limit).transpose()?;
        Ok(())
    })
    .help("How long a line may be; a file with a longer one is an error")
    .more("In bytes, or with K, M or G behind the number."),
];
