//! One measured run of one program.
//!
//! Wall time is from before the start to the end of the process, with its output drained
//! through a pipe meanwhile. CPU time and peak memory are those of the process and all
//! its descendants that were waited for, as `wait4` tells them.
//!
//! The peak that the kernel tells of a process is never below that of the process which
//! started it, at that moment. This benchmark therefore keeps itself small: it streams.
#![expect(
    unsafe_code,
    reason = "wait4 and the CPU clock of another process have no safe wrapper in the crates used here"
)]

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, ErrorKind, Read, Seek};
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use serde::Serialize;

/// A run that takes longer is ended.
const TIME_LIMIT: Duration = Duration::from_secs(900);

/// The most of a program's standard error that is quoted, in bytes.
const MAX_QUOTED_BYTES: u64 = 400;

/// What a run cost and what it printed.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds of all cores, user and system.
    pub(crate) cpu: f64,
    /// Largest resident set of one process, bytes.
    pub(crate) peak_rss: u64,
    /// The same of the master alone, when there is one.
    pub(crate) master_rss: Option<u64>,
    /// Seconds from start to the first byte of output.
    pub(crate) first_output: Option<f64>,
    /// What was printed.
    pub(crate) output: Output,
}

/// What a program printed, without keeping it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Output {
    /// Lines.
    pub(crate) lines: u64,
    /// Bytes.
    pub(crate) bytes: u64,
    /// The sum of the hashes of the lines: the same for the same lines in any order. Only
    /// when it was asked for.
    pub(crate) hash: Option<u64>,
}

/// Whether to hash the output, which takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Count only.
    Count,
    /// Count and hash.
    Hash,
}

/// Runs `command` to its end. Its standard error is quoted when it ends with a status that
/// `accept` refuses.
pub(crate) fn measure(
    mut command: Command,
    check: Check,
    accept: impl FnOnce(i32) -> bool,
) -> anyhow::Result<Sample> {
    let mut errors = tempfile::tempfile()?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors.try_clone()?)
        // A group of its own, so that a pipeline can be ended as a whole.
        .process_group(0);
    let name = command.get_program().display().to_string();
    let start = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let pid = Pid::from_child(&child);
    let (done, watched) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let late = watched.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout);
        if late {
            // The child is not yet reaped, so the group is still its own.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        late
    });
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let drained = drain(stdout, check, start);
    rustix::process::waitid(
        WaitId::Pid(pid),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    )?;
    let wall = start.elapsed();
    drop(done);
    let late = watchdog.join().expect("the watchdog does not panic");
    let (status, cpu, peak_rss) = reap(child)?;
    let (output, first_output) = drained?;

    if late {
        bail!(
            "{name} took longer than {} s and was ended",
            TIME_LIMIT.as_secs()
        );
    }
    if !status.code().is_some_and(accept) {
        bail!("{name}: {status}: {}", quote(&mut errors)?);
    }
    Ok(Sample {
        wall: wall.as_secs_f64(),
        cpu: cpu.as_secs_f64(),
        peak_rss,
        master_rss: None,
        first_output: first_output.map(|time| time.as_secs_f64()),
        output,
    })
}

/// The beginning of what a program wrote to its standard error.
pub(crate) fn quote(errors: &mut File) -> io::Result<String> {
    let mut text = Vec::new();
    errors.rewind()?;
    errors.take(MAX_QUOTED_BYTES).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// Reads a program's output to its end, and when its first byte came.
fn drain(
    mut stdout: ChildStdout,
    check: Check,
    start: Instant,
) -> io::Result<(Output, Option<Duration>)> {
    let mut buffer = vec![0; 256 << 10];
    let mut output = Output::default();
    let mut first = None;
    let mut hash = LineHash::default();
    loop {
        let length = match stdout.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        first.get_or_insert_with(|| start.elapsed());
        let chunk = &buffer[..length];
        output.bytes += length as u64;
        output.lines += count_lines(chunk);
        if check == Check::Hash {
            hash.update(chunk);
        }
    }
    output.hash = (check == Check::Hash).then(|| hash.finish());
    Ok((output, first))
}

fn count_lines(chunk: &[u8]) -> u64 {
    // In pieces whose count fits a byte, which the compiler turns into vector code.
    chunk
        .chunks(255)
        .map(|piece| u64::from(piece.iter().map(|&b| u8::from(b == b'\n')).sum::<u8>()))
        .sum()
}

/// The sum of the hashes of lines that come in chunks.
#[derive(Default)]
struct LineHash {
    sum: u64,
    line: DefaultHasher,
    begun: bool,
}

impl LineHash {
    fn update(&mut self, chunk: &[u8]) {
        for piece in chunk.split_inclusive(|&b| b == b'\n') {
            self.begun = true;
            self.line.write(piece);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        self.sum = self
            .sum
            .wrapping_add(std::mem::take(&mut self.line).finish());
        self.begun = false;
    }

    fn finish(mut self) -> u64 {
        if self.begun {
            self.end_line();
        }
        self.sum
    }
}

/// Waits for a child; its status, CPU time and peak resident set in bytes.
fn reap(child: Child) -> io::Result<(ExitStatus, Duration, u64)> {
    let pid = libc::pid_t::try_from(child.id()).expect("pids are positive and small");
    // From here on the process is ours to wait for: `Child` neither waits nor kills when dropped.
    drop(child);
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    loop {
        // SAFETY: both pointers are to writable memory of the right type, live during the call.
        if unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) } == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: wait4 has returned a pid, so it has filled the structure.
    let usage = unsafe { usage.assume_init() };
    let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
    let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10;
    Ok((ExitStatus::from_raw(status), cpu, peak))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// The CPU time that a running process has used, all threads, user and system.
pub(crate) fn cpu_of(child: &Child) -> anyhow::Result<Duration> {
    let pid = libc::pid_t::try_from(child.id()).expect("pids are positive and small");
    let mut clock = 0;
    // SAFETY: the pointer is to a live clock id.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error)).context("no CPU clock of a daemon");
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error()).context("cannot read the CPU clock of a daemon");
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Ok(Duration::from_secs(seconds) + Duration::from_nanos(nanos))
}

/// The peak resident set of a running process, bytes.
pub(crate) fn peak_rss_of(child: &Child) -> anyhow::Result<u64> {
    let path = format!("/proc/{}/status", child.id());
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kibibytes: u64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .strip_suffix("kB")?
                .trim()
                .parse()
                .ok()
        })
        .with_context(|| format!("no VmHWM in {path}"))?;
    Ok(kibibytes << 10)
}

/// Starts a daemon that the kernel ends when this benchmark's main thread ends, however it
/// does. Its standard error goes to `log`.
pub(crate) fn start_daemon(mut command: Command, log: &File) -> anyhow::Result<Child> {
    let name = command.get_program().display().to_string();
    // SAFETY: the closure makes one system call, which is async-signal-safe, and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        });
    }
    command
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {name}"))
}
