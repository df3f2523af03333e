//! From the words of the command line to [`RunArgs`].
//!
//! clap tells which flags were given and where; [`Typed::resolve`] applies them in that
//! order. A switch that is given several times is applied once, where it was given last:
//! every switch sets what it sets outright, so the earlier ones could not be told apart.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Error};

use super::args::{Master, NodesArgs, RunArgs};
use super::command::{self, Shell, command};
use super::flag::{Flag, Form};
use super::table::groups;
use super::value;
use crate::config::Config;

/// What `regexctl` was asked to do.
#[derive(Debug)]
pub enum Action {
    /// `regexctl run`
    Run(Typed),
    /// `regexctl nodes`
    Nodes(NodesArgs),
    /// `regexctl completions`
    Completions(Shell),
    /// `regexctl man`; without a directory, to standard output.
    Man(Option<PathBuf>),
}

/// Reads a command line, program name first. The error is also how `--help` and
/// `--version` come back: [`clap::Error::exit`] prints all of them where they belong and
/// leaves with 0 or 2.
pub fn parse<I>(words: I) -> Result<Action, Error>
where
    I: IntoIterator<Item: Into<OsString> + Clone>,
{
    let mut matches = command().try_get_matches_from(words)?;
    let Some((name, matches)) = matches.remove_subcommand() else {
        return Err(command().error(ErrorKind::MissingSubcommand, "no subcommand"));
    };
    match name.as_str() {
        "run" => Ok(Action::Run(Typed::new(matches))),
        "nodes" => nodes(&matches).map(Action::Nodes),
        "completions" => {
            let shell = matches.get_one::<Shell>(command::SHELL);
            Ok(Action::Completions(
                *shell.expect("clap requires the argument"),
            ))
        }
        _ => Ok(Action::Man(
            matches.get_one::<PathBuf>(command::DIR).cloned(),
        )),
    }
}

fn nodes(matches: &ArgMatches) -> Result<NodesArgs, Error> {
    let master = match matches.get_one::<OsString>(command::MASTER) {
        None => Master::Unset,
        Some(url) => Master::Url(
            value::master_url(url).map_err(|problem| invalid("--master <URL>", url, &problem))?,
        ),
    };
    Ok(NodesArgs {
        master,
        json: matches.get_flag(command::JSON),
        no_config: matches.get_flag(command::NO_CONFIG),
    })
}

/// `regexctl run` as it was typed: flags not yet applied.
#[derive(Debug)]
pub struct Typed {
    uses: Vec<Use>,
    positional: Vec<OsString>,
    no_config: bool,
}

/// One use of a flag.
#[derive(Debug)]
struct Use {
    /// Where it stood; only the order counts.
    index: usize,
    flag: &'static Flag,
    given: Given,
}

#[derive(Debug)]
enum Given {
    Switch(bool),
    Times(u8),
    Value(Option<OsString>),
}

impl Typed {
    fn new(mut matches: ArgMatches) -> Self {
        let mut uses = Vec::new();
        for flag in groups().iter().flat_map(|group| group.flags) {
            collect(flag, &matches, &mut uses);
        }
        uses.sort_by_key(|used| used.index);
        let no_config = matches.get_flag(command::NO_CONFIG);
        let mut positional: Vec<OsString> = Vec::new();
        for id in [command::PATTERN, command::PATH] {
            positional.extend(matches.remove_many::<OsString>(id).into_iter().flatten());
        }
        Self {
            uses,
            positional,
            no_config,
        }
    }

    /// Whether the configuration file is not to be read.
    pub fn no_config(&self) -> bool {
        self.no_config
    }

    /// Applies the flags of the configuration file, then those of the command line.
    pub fn resolve(self, config: &Config) -> Result<RunArgs, Error> {
        let mut args = RunArgs::default();
        if !config.flags.is_empty() {
            let typed = from_config(config)?;
            apply(typed.uses, &mut args).map_err(|error| in_config(config, &error))?;
        }
        apply(self.uses, &mut args)?;
        args.positional = self.positional;
        Ok(args)
    }
}

/// Finds the uses of a flag and of its opposite.
fn collect(flag: &'static Flag, matches: &ArgMatches, uses: &mut Vec<Use>) {
    let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let indices = |id: &str| matches.indices_of(id).into_iter().flatten();
    if typed(flag.long) {
        match flag.form {
            Form::Switch(_) => uses.extend(indices(flag.long).map(|index| Use {
                index,
                flag,
                given: Given::Switch(true),
            })),
            Form::Count(_) => uses.extend(indices(flag.long).map(|index| Use {
                index,
                flag,
                given: Given::Times(matches.get_count(flag.long)),
            })),
            Form::Value(..) | Form::List(..) => {
                let values = matches.get_raw(flag.long).into_iter().flatten();
                uses.extend(indices(flag.long).zip(values).map(|(index, value)| Use {
                    index,
                    flag,
                    given: Given::Value(Some(value.to_owned())),
                }));
            }
        }
    }
    let Some(undo) = flag.undo else { return };
    if typed(undo.long) {
        uses.extend(indices(undo.long).map(|index| Use {
            index,
            flag,
            given: match flag.form {
                Form::Switch(_) | Form::Count(_) => Given::Switch(false),
                Form::Value(..) | Form::List(..) => Given::Value(None),
            },
        }));
    }
}

fn apply(uses: Vec<Use>, args: &mut RunArgs) -> Result<(), Error> {
    for Use { flag, given, .. } in uses {
        match (flag.form, given) {
            (Form::Switch(set), Given::Switch(on)) => set(args, on),
            (Form::Count(set), Given::Times(times)) => {
                for _ in 0..times {
                    set(args).map_err(|problem| {
                        command::run().error(
                            ErrorKind::TooManyValues,
                            format!("--{} {problem}", flag.long),
                        )
                    })?;
                }
            }
            (Form::Value(form, set) | Form::List(form, set), Given::Value(value)) => {
                set(args, value.as_deref()).map_err(|problem| {
                    let value = value.unwrap_or_default();
                    invalid(
                        &format!("--{} <{}>", flag.long, form.name),
                        &value,
                        &problem,
                    )
                })?;
            }
            _ => unreachable!("`collect` gives each form what it takes"),
        }
    }
    Ok(())
}

fn invalid(flag: &str, value: &OsStr, problem: &str) -> Error {
    command::run().error(
        ErrorKind::ValueValidation,
        format!(
            "invalid value '{}' for '{flag}': {problem}",
            value.display()
        ),
    )
}

fn from_config(config: &Config) -> Result<Typed, Error> {
    let words = std::iter::once("run").chain(config.flags.iter().map(String::as_str));
    let typed = command::run()
        .try_get_matches_from(words)
        .map(Typed::new)
        .map_err(|error| in_config(config, &error))?;
    match typed.positional.first() {
        None => Ok(typed),
        Some(word) => Err(command::run().error(
            ErrorKind::UnknownArgument,
            format!(
                "in `flags` of {}: '{}' is not a flag; a flag and its value are written as \
                 \"--flag=value\" or as two strings",
                config.place(),
                word.display()
            ),
        )),
    }
}

/// The same error, with its place.
fn in_config(config: &Config, error: &Error) -> Error {
    let problem = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            "--help and --version are for the command line only".to_owned()
        }
        _ => {
            // What is wrong, and what would be right; the rest is of the command line.
            let text = error.to_string();
            let paragraph = text.split("\n\n").next().unwrap_or_default();
            let paragraph = paragraph.strip_prefix("error: ").unwrap_or(paragraph);
            paragraph.trim_end().to_owned()
        }
    };
    command::run().error(
        ErrorKind::ValueValidation,
        format!("in `flags` of {}: {problem}", config.place()),
    )
}
