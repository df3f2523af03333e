//! Who we are to a BMC: read from a file that only its owner can read, or from the environment.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::model::Credentials;
use crate::model::node::PASSWORD_VARIABLE;

/// The user of a BMC where nothing says another one.
const DEFAULT_USER: &str = "ADMIN";

/// The largest file of credentials, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// A user and a password. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Nothing names a file, and the variable is not set.
    #[error(
        "no password for the bmc; name a file with `credentials`, or set {PASSWORD_VARIABLE} in the environment"
    )]
    Nowhere,
    /// The file cannot be read.
    #[error("cannot read the credentials {}: {source}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the file.
    #[error("the credentials {0} have mode {1:04o}, so others can read them; run: chmod 0600 {0}", .path.display(), .mode)]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no password.
    #[error(
        "the credentials {} hold no password; write it, or user:password, into the first line",
        .0.display()
    )]
    Empty(PathBuf),
}

impl Credentials {
    /// The user and the password.
    pub fn load(&self) -> Result<Secret, SecretError> {
        let user = || self.user.clone().unwrap_or_else(|| DEFAULT_USER.to_owned());
        let Some(path) = &self.file else {
            let password = env::var(PASSWORD_VARIABLE).map_err(|_| SecretError::Nowhere)?;
            return Ok(Secret {
                user: user(),
                password,
            });
        };
        let path = path.as_path().to_owned();
        let read = |source| SecretError::Read {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(read)?;
        let mode = file.metadata().map_err(read)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SecretError::Open { path, mode });
        }
        let mut text = String::new();
        file.take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(read)?;
        let line = text.lines().next().unwrap_or_default();
        // With `user` in cluster.toml the whole line is the password, which may hold a colon.
        let secret = match (&self.user, line.split_once(':')) {
            (None, Some((user, password))) => Secret {
                user: user.to_owned(),
                password: password.to_owned(),
            },
            _ => Secret {
                user: user(),
                password: line.to_owned(),
            },
        };
        if secret.password.is_empty() {
            return Err(SecretError::Empty(path));
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn load(text: &str, mode: u32, user: Option<&str>) -> Result<Secret, SecretError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bmc");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Credentials {
            user: user.map(str::to_owned),
            file: Some(path.to_str().unwrap().parse().unwrap()),
        }
        .load()
    }

    #[test]
    fn a_file_holds_a_password_or_both() {
        let pair = |user: &str, password: &str| Secret {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        assert_eq!(
            load("s3cret\n", 0o600, None).unwrap(),
            pair("ADMIN", "s3cret")
        );
        assert_eq!(load("root:a:b", 0o400, None).unwrap(), pair("root", "a:b"));
        assert_eq!(
            load("a:b\nmore\n", 0o600, Some("op")).unwrap(),
            pair("op", "a:b")
        );
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_by_its_mode() {
        for mode in [0o640, 0o604, 0o660] {
            let told = load("s3cret", mode, None).unwrap_err().to_string();
            assert!(told.contains("chmod 0600"), "{told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn a_file_without_a_password_is_told() {
        for text in ["", "\n", "root:"] {
            assert!(matches!(
                load(text, 0o600, None),
                Err(SecretError::Empty(_))
            ));
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = load("s3cret", 0o600, None).unwrap();
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
