//! `regex-provision completions` and `regex-provision man`

use clap_complete::Shell;
use clap_mangen::Man;

use super::command;
use super::output::print;

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision completions bash > ~/.local/share/bash-completion/completions/regex-provision
  source <(regex-provision completions zsh)")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "regex-provision", &mut out);
    print(&String::from_utf8(out)?)
}

/// Print the manual page, of the whole program or of one command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision man | man -l -
  regex-provision man node list | man -l -")]
pub(super) struct ManArgs {
    /// The command
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
}

pub(super) fn man(args: &ManArgs) -> anyhow::Result<()> {
    let mut root = command().disable_help_subcommand(true);
    root.build();
    let mut page = &root;
    for word in &args.path {
        page = page.find_subcommand(word).ok_or_else(|| {
            let known: Vec<_> = page
                .get_subcommands()
                .filter(|command| !command.is_hide_set())
                .map(clap::Command::get_name)
                .collect();
            anyhow::anyhow!("no command {word}; the commands are: {}", known.join(", "))
        })?;
    }
    let mut out = Vec::new();
    Man::new(page.clone())
        .manual("regexctl manual")
        .source(concat!("regexctl ", env!("CARGO_PKG_VERSION")))
        .render(&mut out)?;
    print(&String::from_utf8(out)?)
}
