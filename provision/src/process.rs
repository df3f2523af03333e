//! Running programs of the system: to their end, or to a time limit.
//!
//! A program is an absolute list of arguments, never a line for a shell. Its output is read as it comes,
//! so that it never waits for us, and what is kept of it has a limit.
//!
//! A program that we may have to end is the head of a process group of its own, so that what it has started ends with
//! it. What a terminal sends does not come to such a group: commands that run programs for long call [`heed_signals`].
//!
//! Invariant: when [`run`] returns, the program has ended and is reaped; what it started itself and left
//! running is not waited for.

mod interrupt;
mod limit;
mod signals;

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

pub use interrupt::{heed_signals, is_interrupted, rest};
pub(crate) use limit::{allow_open_files, programs_at_once};
pub(crate) use signals::on_signals;

/// How much is read from a pipe at once, in bytes.
const READ_BYTES: usize = 16 << 10;

/// How much is read from a pipe before the clock is looked at again, in bytes: what a pipe holds, unless its program has
/// made it larger.
const PIPE_BYTES: usize = 64 << 10;

/// How much of the errors that a program printed is told, in bytes.
const TOLD_BYTES: usize = 600;

/// Where a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, or by somebody's signal.
    Exited(ExitStatus),
    /// By us, because its time was over.
    TimedOut,
    /// By us, because we were told to end.
    Interrupted,
}

/// What a program printed, up to a limit a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: Vec<u8>,
    /// There was more than the limit allowed.
    pub truncated: bool,
}

impl Captured {
    /// The last line that says anything, of standard error or else of standard output, shortened.
    pub fn last_words(&self) -> String {
        let last = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
            line.map(|line| line.chars().take(TOLD_BYTES).collect::<String>())
        };
        last(&self.err)
            .or_else(|| last(&self.out))
            .unwrap_or_else(|| "it printed nothing".to_owned())
    }
}

/// Runs a program and keeps what it prints, at most `limit` bytes of each stream.
pub fn capture(
    command: &mut Command,
    timeout: Duration,
    limit: usize,
) -> io::Result<(End, Captured)> {
    let mut captured = Captured::default();
    let end = run(command, Some(timeout), &mut |stream, bytes| {
        let kept = match stream {
            Stream::Out => &mut captured.out,
            Stream::Err => &mut captured.err,
        };
        let room = limit.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
        captured.truncated |= room < bytes.len();
    })?;
    Ok((end, captured))
}

/// Runs a program without input, and hands on what it prints as it comes. An error means that it could
/// not be started or watched; then it does not run.
pub fn run(
    command: &mut Command,
    timeout: Option<Duration>,
    told: &mut dyn FnMut(Stream, &[u8]),
) -> io::Result<End> {
    let stop = interrupt::fd();
    let may_end = timeout.is_some() || stop.is_some();
    if may_end {
        command.process_group(0);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut running = Running {
        child,
        is_group: may_end,
        is_reaped: false,
    };
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    running.watch(deadline, stop, told)
}

/// A time as the kernel takes it.
fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// A program that is ended and reaped however we leave.
struct Running {
    child: Child,
    /// It is the head of a process group.
    is_group: bool,
    is_reaped: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = self.end();
    }
}

impl Running {
    /// Ends it and what it has started, unless it has ended by itself.
    fn end(&mut self) -> io::Result<()> {
        if self.is_reaped {
            return Ok(());
        }
        if self.is_group {
            // Until it is reaped its number is nobody else's.
            kill_process_group(Pid::from_child(&self.child), Signal::KILL)?;
        } else {
            self.child.kill()?;
        }
        self.reap().map(drop)
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.is_reaped = true;
        Ok(status)
    }

    fn watch(
        &mut self,
        deadline: Option<Instant>,
        stop: Option<BorrowedFd<'_>>,
        told: &mut dyn FnMut(Stream, &[u8]),
    ) -> io::Result<End> {
        let ended = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let mut out = Pipe::new(self.child.stdout.take(), Stream::Out)?;
        let mut err = Pipe::new(self.child.stderr.take(), Stream::Err)?;
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                self.end()?;
                return Ok(End::TimedOut);
            }
            let mut fds = vec![PollFd::new(&ended, PollFlags::IN)];
            fds.extend(stop.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            fds.extend(
                out.fd()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
            fds.extend(
                err.fd()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
            let left = left.map(timespec);
            match poll(&mut fds, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let has_ended = !fds[0].revents().is_empty();
            let is_over = stop.is_some() && !fds[1].revents().is_empty();
            drop(fds);
            if has_ended {
                // What it printed before its end is in the pipes by now.
                out.drain(out.held()?, told)?;
                err.drain(err.held()?, told)?;
                return Ok(End::Exited(self.reap()?));
            }
            // One that prints faster than it is read would keep us here for ever.
            out.drain(PIPE_BYTES, told)?;
            err.drain(PIPE_BYTES, told)?;
            if is_over {
                self.end()?;
                return Ok(End::Interrupted);
            }
        }
    }
}

/// One of the program's pipes, until its end.
struct Pipe<R> {
    reader: Option<R>,
    stream: Stream,
}

impl<R: Read + AsFd> Pipe<R> {
    fn new(reader: Option<R>, stream: Stream) -> io::Result<Self> {
        if let Some(reader) = &reader {
            let flags = fcntl_getfl(reader)?;
            fcntl_setfl(reader, flags | OFlags::NONBLOCK)?;
        }
        Ok(Self { reader, stream })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.reader.as_ref().map(AsFd::as_fd)
    }

    /// How much is in it, in bytes.
    fn held(&self) -> io::Result<usize> {
        let Some(reader) = &self.reader else {
            return Ok(0);
        };
        Ok(usize::try_from(ioctl_fionread(reader)?).unwrap_or(usize::MAX))
    }

    /// Reads what there is, at most so much.
    fn drain(&mut self, most: usize, told: &mut dyn FnMut(Stream, &[u8])) -> io::Result<()> {
        let mut buffer = [0; READ_BYTES];
        let mut left = most;
        while left > 0
            && let Some(reader) = &mut self.reader
        {
            let room = left.min(READ_BYTES);
            match reader.read(&mut buffer[..room]) {
                Ok(0) => self.reader = None,
                Ok(len) => {
                    left -= len;
                    told(self.stream, &buffer[..len]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn both_streams_and_the_status_are_kept() {
        let line = "echo out; echo err >&2; exit 3";
        let (end, captured) = capture(&mut shell(line), LONG, 100).unwrap();
        let End::Exited(status) = end else {
            panic!("{end:?}")
        };
        assert_eq!(status.code(), Some(3));
        assert_eq!(
            (&*captured.out, &*captured.err),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert!(!captured.truncated);
        assert_eq!(captured.last_words(), "err");
    }

    #[test]
    fn more_than_the_limit_and_than_a_pipe_holds_is_read_and_dropped() {
        let line = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2";
        let (end, captured) = capture(&mut shell(line), LONG, 1000).unwrap();
        assert!(matches!(end, End::Exited(status) if status.success()));
        assert_eq!((captured.out.len(), captured.err.len()), (1000, 1000));
        assert!(captured.truncated);
    }

    #[test]
    fn one_that_goes_on_is_ended_at_its_time() {
        let (end, captured) = capture(
            &mut shell("echo on; exec sleep 1000"),
            Duration::from_millis(300),
            100,
        )
        .unwrap();
        assert_eq!(end, End::TimedOut);
        assert_eq!(captured.out, b"on\n");
    }

    /// Whoever hears it is slower than whoever prints.
    #[test]
    fn one_that_prints_without_end_is_ended_at_its_time() {
        let mut bytes = 0;
        let end = run(
            &mut shell("exec yes"),
            Some(Duration::from_millis(300)),
            &mut |_, printed| {
                bytes += printed.len();
                // Without its limit it would go on until this test is told to be too slow.
                assert!(bytes < 1 << 30, "it was not ended");
                std::thread::sleep(Duration::from_millis(1));
            },
        );
        assert_eq!(end.unwrap(), End::TimedOut);
        assert!(bytes > 0);
    }

    /// What it leaves running prints on, faster than it is read.
    #[test]
    fn what_is_in_the_pipe_at_its_end_is_read_and_no_more() {
        let line = "head -c 60000 /dev/zero | tr '\\0' x; yes & echo $! >&2";
        let (mut whole, mut words) = (Vec::new(), Vec::new());
        let end = run(
            &mut shell(line),
            Some(LONG),
            &mut |stream, printed| match stream {
                Stream::Out => {
                    whole.extend_from_slice(printed);
                    assert!(whole.len() < 1 << 28, "it is read for ever");
                    std::thread::sleep(Duration::from_millis(1));
                }
                Stream::Err => words.extend_from_slice(printed),
            },
        );
        let pid = String::from_utf8(words).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        // Without a reader it may have ended by itself.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        assert!(matches!(end, Ok(End::Exited(status)) if status.success()));
        assert!(whole.starts_with(&vec![b'x'; 60000]));
    }

    /// A shell waits for what it runs, which holds its pipes.
    #[test]
    fn what_it_has_started_ends_with_it_at_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("alive");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        // Whoever holds its end of the pipe lives.
        let line = format!("exec 9<>{}; echo on; sleep 1000; true", fifo.display());
        let (end, captured) = capture(&mut shell(&line), Duration::from_millis(300), 100).unwrap();
        assert_eq!((end, &*captured.out), (End::TimedOut, &b"on\n"[..]));
        // Without a reader it cannot be opened for writing.
        let begun = Instant::now();
        while let Ok(_open) = rustix::fs::open(
            &fifo,
            OFlags::WRONLY | OFlags::NONBLOCK,
            rustix::fs::Mode::empty(),
        ) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it still runs");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_it_leaves_running_is_not_waited_for() {
        let begun = Instant::now();
        let (end, captured) = capture(&mut shell("sleep 20 & echo $!"), LONG, 100).unwrap();
        assert!(matches!(end, End::Exited(status) if status.success()));
        assert!(begun.elapsed() < Duration::from_secs(15));
        let pid = String::from_utf8(captured.out).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn one_that_is_not_there_is_an_error() {
        let error = capture(&mut Command::new("/not/there"), LONG, 100).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
