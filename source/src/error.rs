//! What can go wrong when a source is read.
//!
//! An error does not hold the path it is about: the caller knows it, and adds it where it reports.

use std::borrow::Cow;

use rustix::io::Errno;

/// Why something could not be opened, listed or read. Its text is what the system says, in lower
/// case and without the path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What the caller decides by.
    pub kind: ErrorKind,
    /// For a person.
    pub message: Cow<'static, str>,
}

/// The kinds of [`SourceError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// There is no such entry, or no longer.
    NotFound,
    /// The process may not read it.
    Permission,
    /// The path lies, or leads, outside the directories that the source may open.
    OutsideRoots,
    /// The device or the server failed: a read error, a stale handle, a timeout.
    Io,
    /// Too many symbolic links on the way.
    Loop,
    /// A name is longer than the file system allows.
    TooLong,
    /// The entry is not any more what the listing said, such as a file that became a directory.
    Changed,
    /// Anything else, such as running out of descriptors.
    Other,
}

impl SourceError {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn outside_roots() -> Self {
        Self::new(
            ErrorKind::OutsideRoots,
            "not below a directory that may be read here",
        )
    }

    pub(crate) fn changed(message: &'static str) -> Self {
        Self::new(ErrorKind::Changed, message)
    }
}

impl From<Errno> for SourceError {
    fn from(errno: Errno) -> Self {
        let kind = match errno {
            Errno::NOENT => ErrorKind::NotFound,
            Errno::ACCESS | Errno::PERM => ErrorKind::Permission,
            Errno::LOOP => ErrorKind::Loop,
            Errno::NAMETOOLONG => ErrorKind::TooLong,
            Errno::IO | Errno::STALE | Errno::TIMEDOUT | Errno::REMOTEIO | Errno::HOSTDOWN => {
                ErrorKind::Io
            }
            _ => ErrorKind::Other,
        };
        Self::new(kind, system_message(errno))
    }
}

/// The system's text for an error number: lower case, without the number.
fn system_message(errno: Errno) -> String {
    let mut text = std::io::Error::from(errno).to_string();
    if let Some(end) = text.rfind(" (os error") {
        text.truncate(end);
    }
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_systems_in_lower_case() {
        let error = SourceError::from(Errno::NOENT);
        assert_eq!(error.to_string(), "no such file or directory");
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert_eq!(SourceError::from(Errno::STALE).kind, ErrorKind::Io);
        assert_eq!(SourceError::from(Errno::MFILE).kind, ErrorKind::Other);
    }
}
