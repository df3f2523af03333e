//! `regex-provision check`

use std::env;
use std::path::PathBuf;

use anyhow::bail;

use super::file::{FILE_VARIABLE, FileArgs, missing, summary, tell_problems};
use super::output::{counted, print};
use crate::model::{self, Checked, Cluster, Hostname};
use crate::nodeset::fold;

/// Check cluster.toml and report every mistake at once.
///
/// Each is told with file, line and column, what is wrong, and what to do; on a terminal with the
/// line itself. Warnings are told, too, but only mistakes make the exit status 2. Nothing but the
/// file is looked at, so it can be checked on any machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision check
  regex-provision check lab.toml && sudo regex-provision apply --file lab.toml")]
pub(super) struct Args {
    /// The same as --file, for short
    #[arg(value_name = "FILE")]
    path: Option<PathBuf>,

    #[command(flatten)]
    file: FileArgs,
}

impl Args {
    /// The one file that is named. One on the command line goes before the environment's.
    fn path(&self) -> anyhow::Result<PathBuf> {
        match (&self.path, &self.file.file) {
            (Some(path), Some(other))
                if path != other && env::var_os(FILE_VARIABLE).is_none_or(|it| it != **other) =>
            {
                bail!(
                    "two files are named, {} and {}: name one",
                    path.display(),
                    other.display()
                )
            }
            (Some(path), _) => Ok(path.clone()),
            (None, _) => Ok(self.file.path()),
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let path = args.path()?;
    let text = model::read(&path).map_err(missing)?;
    let name = path.display().to_string();
    let Checked { cluster, problems } = model::check(&text);
    tell_problems(&problems, &name, &text);
    match cluster {
        Some(cluster) => print(&format!("{name}: {}\n", described(&cluster))),
        None => bail!("{}", summary(&problems, &path)),
    }
}

/// What is in the file, in one line.
fn described(cluster: &Cluster) -> String {
    let nodes = match cluster.nodes() {
        [] => "no nodes yet".to_owned(),
        nodes => {
            let names = fold(nodes.iter().map(|node| Hostname::as_str(&node.name)));
            let count = counted(nodes.len(), "node");
            if names.len() > 60 {
                count
            } else {
                format!("{count} {names}")
            }
        }
    };
    format!(
        "no mistakes; cluster {}, {nodes}, {}, {}",
        cluster.name,
        counted(cluster.images.len(), "image"),
        counted(cluster.exports.len(), "export"),
    )
}
