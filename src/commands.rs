//! The small subcommands: each asks one thing and prints it.

use std::env;
use std::io;
use std::path::Path;

use anyhow::Context as _;

use crate::client;
use crate::config::{Config, MASTER_VARIABLE};
use crate::flags::{NodesArgs, Shell};
use crate::{help, nodes};

/// Prints through `print` to standard output; one that nobody reads any more is no error.
pub fn print(print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = Vec::new();
    let printed = print(&mut out).and_then(|()| io::stdout().write_all(&out));
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// `regexctl nodes`
pub fn nodes(args: &NodesArgs) -> anyhow::Result<()> {
    let config = if args.no_config {
        Config::default()
    } else {
        Config::load(|name| env::var_os(name))?
    };
    let url = config
        .master(&args.master, env::var_os(MASTER_VARIABLE))?
        .context(
            "no master is configured; give --master http://HOST:PORT or set REGEXCTL_MASTER",
        )?;
    let workers = client::nodes(&url)?;
    print(|out| {
        if args.json {
            nodes::json(&workers, out)
        } else {
            nodes::table(&workers, out)
        }
    })
}

/// `regexctl completions SHELL`
pub fn completions(shell: Shell) -> anyhow::Result<()> {
    print(|out| help::completions(shell, out))
}

/// `regexctl man [DIR]`
pub fn man(dir: Option<&Path>) -> anyhow::Result<()> {
    let Some(dir) = dir else {
        return print(help::page);
    };
    let pages = help::install(dir)?;
    print(|out| {
        use std::io::Write as _;
        pages
            .iter()
            .try_for_each(|page| writeln!(out, "{}", page.display()))
    })
}
