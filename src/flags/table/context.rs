//! Lines around a match.

use crate::flags::flag::Flag;
use crate::flags::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag::value("after-context", "NUM", |args, value| {
        args.context.after = value.map(value::number).transpose()?;
        Ok(())
    })
    .short('A')
    .help("Print NUM lines after each match"),
    Flag::value("before-context", "NUM", |args, value| {
        args.context.before = value.map(value::number).transpose()?;
        Ok(())
    })
    .short('B')
    .help("Print NUM lines before each match"),
    Flag::value("context", "NUM", |args, value| {
        args.context.both = value.map(value::number).transpose()?;
        Ok(())
    })
    .short('C')
    .help("Print NUM lines before and after each match")
    .more("-A and -B win over -C, wherever they stand."),
    Flag::value("context-separator", "TEXT", |args, value| {
        args.context_separator = value.map(value::unescaped).transpose()?;
        Ok(())
    })
    .undo("no-context-separator")
    .help("Print TEXT between groups of context lines instead of --")
    .more("Escapes such as \\t and \\x7F are understood."),
];
