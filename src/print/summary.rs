//! One line a file: its count, or its name.

use super::config::{Mode, PrintConfig};
use super::out::decimal;
use regexctl_proto::v1::{BinaryEnd, FileMatches};

/// Prints counts and names. Counts of a file that comes in several messages are summed up.
#[derive(Debug)]
pub(super) struct Counts {
    config: PrintConfig,
    count: u64,
    binary_skipped: bool,
}

impl Counts {
    pub(super) fn new(config: PrintConfig) -> Self {
        Self {
            config,
            count: 0,
            binary_skipped: false,
        }
    }

    /// The first message of a file follows.
    pub(super) fn begin(&mut self) {
        self.count = 0;
        self.binary_skipped = false;
    }

    /// One message.
    pub(super) fn add(&mut self, file: &FileMatches) {
        self.binary_skipped |= file.binary_end() == BinaryEnd::Skipped;
        self.count = self.count.saturating_add(match self.config.mode {
            Mode::CountMatches => file.matches,
            _ => file.matched_lines,
        });
    }

    /// The file's last message has come.
    pub(super) fn end(&self, path: &[u8], buf: &mut Vec<u8>) {
        // A file that was left at a NUL is as if it had not been searched.
        if self.binary_skipped {
            return;
        }
        match self.config.mode {
            Mode::CountLines | Mode::CountMatches => self.count(path, buf),
            Mode::FilesWithMatch | Mode::FilesWithoutMatch => {
                self.name(path, self.config.line_terminator.bytes(), buf);
            }
            Mode::Files => self.name(path, b"\n", buf),
            Mode::Standard | Mode::Json | Mode::Quiet => {}
        }
    }

    fn count(&self, path: &[u8], buf: &mut Vec<u8>) {
        if self.count == 0 {
            return;
        }
        if self.config.with_filename {
            self.name(path, b":", buf);
        }
        decimal(buf, self.count);
        buf.extend_from_slice(self.config.line_terminator.bytes());
    }

    /// The path, and what follows it unless that is NUL.
    fn name(&self, path: &[u8], follows: &[u8], buf: &mut Vec<u8>) {
        self.config.colors.put_path(buf, path);
        buf.extend_from_slice(if self.config.null { b"\0" } else { follows });
    }
}
