//! `regex-provision schema`

use super::output::print;
use crate::model::schema;

/// Print the JSON Schema of cluster.toml, for editors.
///
/// An editor that knows it completes keys, shows what they mean, and marks mistakes. With the
/// extension Even Better TOML, or with taplo, write it beside the file and name it in the first line:
/// #:schema ./cluster.schema.json
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision schema > cluster.schema.json")]
pub(super) struct Args {}

pub(super) fn run() -> anyhow::Result<()> {
    print(&format!("{:#}\n", schema()))
}
