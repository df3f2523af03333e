//! How many files may be open: each program that runs, and each connection, has some.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The files of a program that runs: two pipes, what tells of its end, what ssh says, and while it is started as many again.
const FILES_A_PROGRAM: u64 = 12;

/// The files of this process besides.
const OWN_FILES: u64 = 40;

/// Lets this process, and what it runs, have so many files open, or as many as the system allows it; how many that are.
pub(crate) fn allow_open_files(wanted: u64) -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit.
    let current = current.unwrap_or(u64::MAX);
    let allowed = wanted.min(maximum.unwrap_or(u64::MAX));
    if current >= allowed {
        return Ok(current);
    }
    let raised = Rlimit {
        current: Some(allowed),
        maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(allowed)
}

/// How many of so many programs may run at once: all of them, unless the system allows too few open files.
pub(crate) fn programs_at_once(wanted: usize) -> usize {
    let most = u64::try_from(wanted).unwrap_or(u64::MAX);
    let files = most
        .saturating_mul(FILES_A_PROGRAM)
        .saturating_add(OWN_FILES);
    // What may not be raised may be enough.
    let allowed = allow_open_files(files)
        .unwrap_or_else(|_| getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));
    let room = allowed.saturating_sub(OWN_FILES) / FILES_A_PROGRAM;
    usize::try_from(room)
        .unwrap_or(usize::MAX)
        .clamp(1, wanted.max(1))
}
