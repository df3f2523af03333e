//! Where `cluster.toml` is, and what is said when it is not right.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::output::{counted, stderr_has_colours, stderr_is_terminal, tell};
use crate::model::{self, Cluster, LoadError, Problems};

/// The name of the file in the directory where a command is run.
pub const LOCAL_FILE: &str = "cluster.toml";

/// The file of a machine that is a master.
pub const SYSTEM_FILE: &str = "/etc/regex-provision/cluster.toml";

/// The environment variable that names the file.
pub const FILE_VARIABLE: &str = "REGEX_PROVISION_FILE";

/// Which file a command works with.
#[derive(Debug, Clone, clap::Args)]
pub struct FileArgs {
    /// The description of the cluster [default: ./cluster.toml if it is there, else
    /// /etc/regex-provision/cluster.toml]
    #[arg(long, short, value_name = "FILE", env = FILE_VARIABLE, hide_env_values = true)]
    pub file: Option<PathBuf>,
}

impl FileArgs {
    /// The path of the file.
    pub fn path(&self) -> PathBuf {
        match &self.file {
            Some(path) => path.clone(),
            None if Path::new(LOCAL_FILE).exists() => LOCAL_FILE.into(),
            None => SYSTEM_FILE.into(),
        }
    }

    /// Reads and checks the file. Every mistake is told before the error is returned.
    pub fn load(&self) -> anyhow::Result<Cluster> {
        load(&self.path())
    }
}

/// Reads and checks a file. Every mistake is told before the error is returned.
pub fn load(path: &Path) -> anyhow::Result<Cluster> {
    load_text(path).map(|(_, cluster)| cluster)
}

/// The same, with the text that the cluster was read from.
pub fn load_text(path: &Path) -> anyhow::Result<(String, Cluster)> {
    let text = model::read(path).map_err(missing)?;
    match model::parse(&text) {
        Ok(cluster) => Ok((text, cluster)),
        Err(problems) => {
            tell_problems(&problems, &path.display().to_string(), &text);
            bail!("{}; nothing was done", summary(&problems, path))
        }
    }
}

/// An error of reading, with what to do if there is no file.
pub fn missing(error: LoadError) -> anyhow::Error {
    let path = match &error {
        LoadError::Read { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            path.clone()
        }
        _ => return error.into(),
    };
    let error = anyhow::Error::from(error);
    // The usual places are only read where nothing names another one.
    if path == Path::new(SYSTEM_FILE) {
        error.context(
            "no cluster.toml here; `regex-provision init` writes one, --file names another",
        )
    } else {
        let file = path.display();
        error.context(format!(
            "there is no {file}; `regex-provision init {file}` writes one"
        ))
    }
}

/// "3 mistakes in FILE"
pub fn summary(problems: &Problems, path: &Path) -> String {
    let mistakes = counted(problems.errors(), "mistake");
    format!("{mistakes} in {}", path.display())
}

/// Prints problems to standard error: with their lines for a person, one line each otherwise.
pub fn tell_problems(problems: &Problems, file: &str, text: &str) {
    let told = if stderr_is_terminal() {
        problems.pretty(file, text, stderr_has_colours())
    } else {
        problems.short(file)
    };
    tell(&told);
    if problems.omitted > 0 {
        tell(&format!("{file}: and {} more\n", problems.omitted));
    }
}
