//! The floor under every search: lists a tree and reads each file, on one thread, and tells the time
//! it took for each: by the clock, and of the CPU, which counts on a machine that does other things.
//!
//!     cargo run --release -p regexctl-source --example floor -- DIR [ROUNDS]

use std::collections::VecDeque;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::time::{Duration, Instant};

use regexctl_source::{
    EntryKind, Links, Listing, LocalSource, NameSlice, Opened, Read, ReadBuf, Roots, Source,
};

const LISTING_BYTES: usize = 8 << 20;

/// What one pass over the tree saw.
#[derive(Default)]
struct Pass {
    dirs: u64,
    files: u64,
    bytes: u64,
    failed: u64,
    took: Duration,
    cpu: Duration,
}

fn pass(source: &dyn Source, root: &[u8], read: bool) -> Pass {
    let (start, cpu_start) = (Instant::now(), cpu_time());
    let mut pass = Pass::default();
    let mut listing = Listing::new();
    let mut buf = ReadBuf::new();
    let mut todo = VecDeque::from([(root.to_vec(), NameSlice::WHOLE)]);
    while let Some((path, slice)) = todo.pop_back() {
        let Ok(Opened::Dir(dir)) = source.open(&path, Links::Follow) else {
            pass.failed += 1;
            continue;
        };
        let Ok(covered) = dir.list(slice, LISTING_BYTES, &mut listing) else {
            pass.failed += 1;
            continue;
        };
        if let Some(start) = covered.end.checked_add(1) {
            let end = slice.end;
            todo.push_back((path.clone(), NameSlice { start, end }));
        }
        pass.dirs += 1;
        for entry in listing.iter() {
            match entry.kind {
                EntryKind::Dir => {
                    let child = [path.as_slice(), b"/", entry.name.to_bytes()].concat();
                    todo.push_back((child, NameSlice::WHOLE));
                }
                EntryKind::File if !read => pass.files += 1,
                EntryKind::File => match dir.read(entry.name, &mut buf) {
                    Ok(Read::Whole(len)) => {
                        pass.files += 1;
                        pass.bytes += len as u64;
                    }
                    Ok(Read::Longer(_)) => {
                        pass.files += 1;
                        pass.bytes += buf.capacity() as u64;
                    }
                    Err(_) => pass.failed += 1,
                },
                EntryKind::Symlink | EntryKind::Special => {}
            }
        }
    }
    pass.took = start.elapsed();
    pass.cpu = cpu_time().saturating_sub(cpu_start);
    pass
}

/// What this thread has used so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("the clock of a thread does not go below zero")
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let Some(root) = args.next() else {
        eprintln!("usage: floor DIR [ROUNDS]");
        std::process::exit(2);
    };
    let root = std::path::absolute(root)?.into_os_string().into_vec();
    let rounds = args.next().and_then(|n| n.to_str()?.parse().ok());
    let sources = [
        ("everything", LocalSource::new(Roots::everything())),
        (
            "below a root",
            LocalSource::new(
                Roots::open(&[std::ffi::OsString::from_vec(root.clone()).into()])
                    .map_err(std::io::Error::other)?,
            ),
        ),
    ];
    let mut out = std::io::stdout();
    for _ in 0..rounds.unwrap_or(3) {
        for (name, source) in &sources {
            for (what, read) in [("list", false), ("list + open + read + close", true)] {
                let pass = pass(source, &root, read);
                let per_file =
                    |time: Duration| time.as_secs_f64() * 1e6 / (pass.files.max(1) as f64);
                writeln!(
                    out,
                    "{name:12}  {what:26}  {:.3} us/file  {:.3} us CPU  {} files  {} dirs  {} bytes  {} failed",
                    per_file(pass.took),
                    per_file(pass.cpu),
                    pass.files,
                    pass.dirs,
                    pass.bytes,
                    pass.failed,
                )?;
            }
        }
    }
    Ok(())
}
