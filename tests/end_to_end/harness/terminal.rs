//! A terminal for programs that behave otherwise on one: a pseudo-terminal, and what is seen on its screen.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The screen is as wide as this: nothing that tests show is broken there.
const COLUMNS: u16 = 200;

/// A terminal, and all that was written to it.
pub(crate) struct Terminal {
    /// What programs write to.
    inner: File,
    written: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// A new one, with an empty screen.
    pub(crate) fn new() -> Self {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&outer)
            .and_then(|()| unlockpt(&outer))
            .expect("it is ours");
        let name = ptsname(&outer, Vec::new()).expect("it has a name");
        let inner = File::options()
            .read(true)
            .write(true)
            .open(OsStr::from_bytes(name.to_bytes()))
            .expect("it is there");
        let size = Winsize {
            ws_row: 50,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&inner, size).expect("it is a terminal");
        let written = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&written);
        let reader = thread::spawn(move || {
            let mut outer = File::from(outer);
            let mut buf = [0; 4096];
            loop {
                match outer.read(&mut buf) {
                    // EIO: nobody has it open any more.
                    Ok(0) => return,
                    Ok(read) => {
                        let mut written = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        written.extend_from_slice(&buf[..read]);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        Self {
            inner,
            written,
            reader,
        }
    }

    /// For the standard output or error of a program.
    pub(crate) fn stdio(&self) -> Stdio {
        self.inner
            .try_clone()
            .expect("there are descriptors")
            .into()
    }

    /// What was written so far.
    pub(crate) fn so_far(&self) -> Vec<u8> {
        let written = self.written.lock();
        written.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All that was written, once every program that had it has ended.
    pub(crate) fn finish(self) -> Vec<u8> {
        drop(self.inner);
        self.reader.join().expect("the reader does not panic");
        let written = self.written.lock();
        written.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The lines that a screen shows after `bytes`, without blanks at their ends, for what programs use here: carriage returns, line
/// feeds, erasing a line, moving up and down, and colours, which are left out.
pub(crate) fn screen(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                if row == lines.len() {
                    lines.push(Vec::new());
                }
            }
            '\x1b' => {
                assert_eq!(chars.next(), Some('['), "only CSI is known: {text:?}");
                let mut number = String::new();
                let last = loop {
                    match chars.next() {
                        Some(char @ ('0'..='9' | ';' | '?')) => number.push(char),
                        last => break last,
                    }
                };
                match last {
                    Some('K') if number == "2" => lines[row].clear(),
                    Some('K') => lines[row].truncate(column),
                    Some('B') => {
                        row += number.parse::<usize>().unwrap_or(1);
                        lines.resize(lines.len().max(row + 1), Vec::new());
                    }
                    Some('A') => row -= number.parse::<usize>().unwrap_or(1).min(row),
                    Some('G') => column = number.parse::<usize>().unwrap_or(1) - 1,
                    Some('m' | 'h' | 'l') => {}
                    other => panic!("{other:?} with {number:?} is not known: {text:?}"),
                }
            }
            char => {
                let line = &mut lines[row];
                if line.len() <= column {
                    line.resize(column + 1, ' ');
                }
                line[column] = char;
                column += 1;
            }
        }
    }
    let seen = |line: Vec<char>| String::from_iter(line).trim_end().to_owned();
    let mut lines: Vec<String> = lines.into_iter().map(seen).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}
