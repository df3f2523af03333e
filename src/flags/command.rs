//! The definition as clap has it: made from the table, used to parse, to print help, and
//! to render completions and manual pages.

use clap::{Arg, ArgAction, Command, ValueHint, builder::PossibleValuesParser, value_parser};

use super::flag::{Flag, Form, Undo, ValueForm};
use super::table::groups;

/// The shells that completions can be made for.
pub use clap_complete::Shell;

/// Ids of the arguments that are not in the table.
pub(super) const PATTERN: &str = "PATTERN";
pub(super) const PATH: &str = "PATH";
pub(super) const MASTER: &str = "master";
pub(super) const JSON: &str = "json";
pub(super) const NO_CONFIG: &str = "no-config";
pub(super) const SHELL: &str = "SHELL";
pub(super) const DIR: &str = "DIR";

const ABOUT: &str =
    "Run a regular expression over millions of files, on one machine or on a cluster";

const RUN_USAGE: &str = "\
regexctl run [OPTIONS] PATTERN [PATH]...
       regexctl run [OPTIONS] -e PATTERN ... [PATH]...
       regexctl run [OPTIONS] -f FILE ... [PATH]...
       regexctl run [OPTIONS] --files [PATH]...
       regexctl run --type-list
       command | regexctl run [OPTIONS] PATTERN";

const RUN_ABOUT: &str = "Print the lines that match PATTERN in the files below PATH";

const RUN_LONG_ABOUT: &str = "\
Print the lines that match PATTERN in the files below PATH.

A PATH is a file, a directory, or - for standard input. Without a PATH the working \
directory is searched, or standard input when something is piped into it. \
Nothing is left out unless a flag says so: hidden files, binary files and those that git \
ignores are searched, too.

The names and meanings of the flags are ripgrep's. Where two flags contradict each other the last one \
counts.";

const RUN_EXAMPLES: &str = "\
Examples:
  regexctl run 'ERROR|FATAL' /var/log
      lines with either word, on this machine
  regexctl run --master http://10.0.0.1:7411 -l 'BEGIN [A-Z ]*PRIVATE KEY' /srv
      the same files on all nodes of a cluster; only the paths
  regexctl run --ignore --no-hidden --no-binary TODO
      with ripgrep's filters, below the working directory
  regexctl run -c --sort path -t c '^#include <linux/' drivers
      how many lines in each C file, sorted
  regexctl run --json -C2 panic | jq -r 'select(.type == \"match\").data.path.text'
      for other programs

Exit status:
  0  something matched
  1  nothing matched
  2  the job could not run: a wrong flag or pattern, no PATH, no master
  3  the job ran, but some files could not be read";

const EXAMPLES: &str = "\
Examples:
  regexctl run 'ERROR|FATAL' /var/log
      search on this machine
  regexctl run --master http://10.0.0.1:7411 'ERROR|FATAL' /srv/log
      search on a cluster
  regexctl nodes --master http://10.0.0.1:7411
      the workers of that cluster
  regexctl completions bash > ~/.local/share/bash-completion/completions/regexctl
      complete flags in the shell
  regexctl man ~/.local/share/man/man1
      install the manual pages";

/// The whole command line.
pub fn command() -> Command {
    Command::new("regexctl")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .subcommand(run())
        .subcommand(nodes())
        .subcommand(completions())
        .subcommand(man())
}

/// `regexctl run`.
pub(super) fn run() -> Command {
    let command = Command::new("run")
        .bin_name("regexctl run")
        .about(RUN_ABOUT)
        .long_about(RUN_LONG_ABOUT)
        .override_usage(RUN_USAGE)
        .after_help(RUN_EXAMPLES)
        .args_override_self(true)
        .max_term_width(100)
        .arg(
            Arg::new(PATTERN)
                .value_parser(value_parser!(std::ffi::OsString))
                .help("What to search for, a regular expression")
                .long_help(
                    "What to search for, a regular expression in the syntax of \
                     https://docs.rs/regex/#syntax. With -e, -f, --files or --type-list \
                     there is no PATTERN, and the first argument is a PATH, too.",
                ),
        )
        .arg(
            Arg::new(PATH)
                .value_parser(value_parser!(std::ffi::OsString))
                .num_args(0..)
                .value_hint(ValueHint::AnyPath)
                .help("Files and directories to search; - is standard input")
                .long_help(
                    "Files and directories to search; - is standard input. A file that is \
                     named here is searched whatever the filters say.",
                ),
        );
    groups().iter().fold(command, |command, group| {
        group
            .flags
            .iter()
            .fold(command.next_help_heading(group.heading), |command, flag| {
                let command = command.arg(main_argument(flag));
                match flag.undo {
                    Some(undo) => command.arg(undo_argument(flag, undo)),
                    None => command,
                }
            })
    })
}

fn main_argument(flag: &Flag) -> Arg {
    let argument = Arg::new(flag.long)
        .long(flag.long)
        .help(flag.help)
        .long_help(long_help(flag));
    let argument = match flag.short {
        Some(short) => argument.short(short),
        None => argument,
    };
    let argument = match flag.alias {
        Some(alias) => argument.alias(alias),
        None => argument,
    };
    match flag.form {
        Form::Switch(_) => argument.action(ArgAction::SetTrue),
        Form::Count(_) => argument.action(ArgAction::Count),
        Form::Value(form, _) => with_value(argument.action(ArgAction::Set), form),
        Form::List(form, _) => with_value(argument.action(ArgAction::Append), form),
    }
}

fn with_value(argument: Arg, form: ValueForm) -> Arg {
    let argument = argument
        .value_name(form.name)
        .value_hint(form.hint)
        // What follows is the value, whatever it looks like: `-e -foo`.
        .allow_hyphen_values(true);
    if form.choices.is_empty() {
        argument.value_parser(value_parser!(std::ffi::OsString))
    } else {
        argument.value_parser(PossibleValuesParser::new(form.choices))
    }
}

fn undo_argument(flag: &Flag, undo: Undo) -> Arg {
    let argument = Arg::new(undo.long)
        .long(undo.long)
        .action(ArgAction::SetTrue)
        .help(
            undo.help
                .map_or_else(|| format!("Undo --{}", flag.long), str::to_owned),
        )
        .hide(undo.help.is_none());
    match undo.short {
        Some(short) => argument.short(short),
        None => argument,
    }
}

/// The one line, the paragraphs, and the name of an opposite that has no entry of its own.
fn long_help(flag: &Flag) -> String {
    let mut text = flag.help.to_owned();
    if !flag.more.is_empty() {
        text.push_str(".\n\n");
        text.push_str(flag.more);
    }
    if let Some(Undo {
        long, help: None, ..
    }) = flag.undo
    {
        text.push_str(if flag.more.is_empty() {
            ".\n\n"
        } else {
            "\n\n"
        });
        text.push_str("Undone by --");
        text.push_str(long);
        text.push('.');
    }
    text
}

fn nodes() -> Command {
    Command::new("nodes")
        .about("List the workers of a cluster")
        .args_override_self(true)
        .arg(
            Arg::new(MASTER)
                .long(MASTER)
                .value_name("URL")
                .value_parser(value_parser!(std::ffi::OsString))
                .value_hint(ValueHint::Url)
                .help("The master, as http://HOST:PORT [default: as for `regexctl run`]"),
        )
        .arg(
            Arg::new(JSON)
                .long(JSON)
                .action(ArgAction::SetTrue)
                .help("Print one JSON object a worker"),
        )
        .arg(
            Arg::new(NO_CONFIG)
                .long(NO_CONFIG)
                .action(ArgAction::SetTrue)
                .help("Do not read the configuration file"),
        )
}

fn completions() -> Command {
    Command::new("completions")
        .about("Print a script that completes regexctl's flags in a shell")
        .arg(
            Arg::new(SHELL)
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("The shell"),
        )
}

fn man() -> Command {
    Command::new("man").about("Write the manual pages").arg(
        Arg::new(DIR)
            .value_parser(value_parser!(std::path::PathBuf))
            .value_hint(ValueHint::DirPath)
            .help("Write a file a page into DIR; without it, print regexctl(1)"),
    )
}
