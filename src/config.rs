//! The configuration file: defaults of a person or a machine.
//!
//! It is found at `$REGEXCTL_CONFIG`, else at `regexctl/config.toml` below
//! `$XDG_CONFIG_HOME` or `~/.config`, and may set:
//!
//! ```toml
//! master = "http://10.0.0.1:7411"       # as --master
//! map = ["/home=/export/home"]          # as --map
//! flags = ["--ignore", "--no-hidden"]   # put before those of the command line
//! ```
//!
//! A key that is not known, or a value that is wrong, is an error with its file and line:
//! a default that is silently not applied would be worse than none.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::flags::Master;
use crate::flags::value::{self, Mapping};

/// The variable that names the configuration file; empty: there is none.
pub const CONFIG_VARIABLE: &str = "REGEXCTL_CONFIG";

/// The variable that names the master; empty: there is none.
pub const MASTER_VARIABLE: &str = "REGEXCTL_MASTER";

/// What the configuration file says. [`Default`] is no file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The file.
    pub path: Option<PathBuf>,
    /// `http://HOST:PORT`
    pub master: Option<String>,
    /// In the order written.
    pub maps: Vec<Mapping>,
    /// Flags of `regexctl run`.
    pub flags: Vec<String>,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key that is not known.
    #[error("{path}: {problem}")]
    Syntax {
        /// The file.
        path: String,
        /// The parser's message, with line, column and the line itself.
        problem: String,
    },
    /// A value is wrong.
    #[error("{path}:{line}: invalid {key} {value:?}: {problem}")]
    Value {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The variable [`MASTER_VARIABLE`] is wrong.
    #[error("invalid value {value:?} of the variable {MASTER_VARIABLE}: {problem}")]
    MasterVariable {
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The file as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Written {
    master: Option<Spanned<String>>,
    map: Vec<Spanned<String>>,
    flags: Vec<String>,
}

impl Config {
    /// Finds and reads the file. `variable` is how environment variables are looked up.
    /// A file that no variable names need not exist.
    pub fn load(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let filled = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (path, must_exist) = match variable(CONFIG_VARIABLE) {
            Some(path) if path.is_empty() => return Ok(Self::default()),
            Some(path) => (PathBuf::from(path), true),
            None => {
                let base = filled("XDG_CONFIG_HOME")
                    .map(PathBuf::from)
                    .filter(|base| base.is_absolute())
                    .or_else(|| filled("HOME").map(|home| Path::new(&home).join(".config")));
                match base {
                    Some(base) => (base.join("regexctl/config.toml"), false),
                    None => return Ok(Self::default()),
                }
            }
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
                Ok(Self::default())
            }
            Err(source) => Err(ConfigError::Read {
                path: path.display().to_string(),
                source,
            }),
        }
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let written: Written = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: name.clone(),
            problem: error.to_string().trim_end().to_owned(),
        })?;
        let wrong = |key, value: &Spanned<String>, problem| ConfigError::Value {
            path: name.clone(),
            line: 1 + text[..value.span().start].matches('\n').count(),
            key,
            value: value.get_ref().clone(),
            problem,
        };
        let master = written
            .master
            .filter(|url| !url.get_ref().is_empty())
            .map(|url| {
                value::master_url(OsStr::new(url.get_ref()))
                    .map_err(|problem| wrong("master", &url, problem))
            })
            .transpose()?;
        let maps = written
            .map
            .iter()
            .map(|map| {
                value::mapping(OsStr::new(map.get_ref()))
                    .map_err(|problem| wrong("map", map, problem))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            path: Some(path),
            master,
            maps,
            flags: written.flags,
        })
    }

    /// The file, for messages.
    pub fn place(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "the configuration file".to_owned(),
        }
    }

    /// The address of the master: what the flag says, else the variable
    /// [`MASTER_VARIABLE`], else the file; none means this process.
    pub fn master(
        &self,
        flag: &Master,
        variable: Option<OsString>,
    ) -> Result<Option<String>, ConfigError> {
        match (flag, variable) {
            (Master::Embedded, _) => Ok(None),
            (Master::Url(url), _) => Ok(Some(url.clone())),
            (Master::Unset, Some(url)) if url.is_empty() => Ok(None),
            (Master::Unset, Some(url)) => {
                value::master_url(&url)
                    .map(Some)
                    .map_err(|problem| ConfigError::MasterVariable {
                        value: url.to_string_lossy().into_owned(),
                        problem,
                    })
            }
            (Master::Unset, None) => Ok(self.master.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(PathBuf::from("config.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn all_keys_are_read() {
        let config = parse(
            "master = \"http://m:7411\"\nmap = [\"/a=/b\", \"/c=/d\"]\nflags = [\"--ignore\"]\n",
        )
        .unwrap();
        assert_eq!(config.master.as_deref(), Some("http://m:7411"));
        assert_eq!(config.maps.len(), 2);
        assert_eq!(config.maps[1].to, Path::new("/d"));
        assert_eq!(config.flags, ["--ignore"]);
        assert_eq!(parse("").unwrap().flags, [""; 0]);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let error = parse("flags = []\nmastr = \"http://m:1\"\n").unwrap_err();
        assert!(error.contains("config.toml"), "{error}");
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains("mastr"), "{error}");

        let error = parse("flags = []\n\nmap = [\n  \"/a=/b\",\n  \"b\",\n]\n").unwrap_err();
        assert_eq!(error, "config.toml:5: invalid map \"b\": not FROM=TO");

        let error = parse("master = \"m\"\n").unwrap_err();
        assert!(
            error.starts_with("config.toml:1: invalid master \"m\": "),
            "{error}"
        );

        assert!(
            parse("flags = \"--ignore\"")
                .unwrap_err()
                .contains("line 1")
        );
    }

    #[test]
    fn the_file_is_found_where_variables_say() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("regexctl")).unwrap();
        std::fs::write(
            dir.path().join("regexctl/config.toml"),
            "flags = [\"--xdg\"]",
        )
        .unwrap();
        let other = dir.path().join("other.toml");
        std::fs::write(&other, "flags = [\"--other\"]").unwrap();
        let load = |variables: &[(&str, &OsStr)]| {
            Config::load(|name| {
                let found = variables.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| value.to_os_string())
            })
        };
        let xdg = ("XDG_CONFIG_HOME", dir.path().as_os_str());
        assert_eq!(load(&[xdg]).unwrap().flags, ["--xdg"]);
        let named = (CONFIG_VARIABLE, other.as_os_str());
        assert_eq!(load(&[xdg, named]).unwrap().flags, ["--other"]);
        let none = (CONFIG_VARIABLE, OsStr::new(""));
        assert_eq!(load(&[xdg, none]).unwrap(), Config::default());
        let home = ("HOME", dir.path().as_os_str());
        assert_eq!(load(&[home]).unwrap(), Config::default());
        let missing = dir.path().join("missing.toml");
        let missing = (CONFIG_VARIABLE, missing.as_os_str());
        let error = load(&[xdg, missing]).unwrap_err();
        assert!(error.to_string().contains("missing.toml"), "{error}");
    }

    #[test]
    fn the_flag_wins_over_the_variable_over_the_file() {
        let config = Config {
            master: Some("http://file:1".to_owned()),
            ..Config::default()
        };
        let url = |flag: &Master, variable: Option<&str>| {
            config.master(flag, variable.map(OsString::from)).unwrap()
        };
        let flag = Master::Url("http://flag:1".to_owned());
        assert_eq!(url(&flag, Some("var:1")).as_deref(), Some("http://flag:1"));
        assert_eq!(
            url(&Master::Unset, Some("var:1")).as_deref(),
            Some("http://var:1")
        );
        assert_eq!(url(&Master::Unset, Some("")), None);
        assert_eq!(url(&Master::Unset, None).as_deref(), Some("http://file:1"));
        assert_eq!(url(&Master::Embedded, Some("var:1")), None);
        let error = config.master(&Master::Unset, Some("x".into())).unwrap_err();
        assert!(error.to_string().contains(MASTER_VARIABLE), "{error}");
    }
}
