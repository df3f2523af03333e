//! The files that are searched, made from a seed once and kept.
//!
//! Invariants: the same specification gives the same bytes, whatever the number of threads;
//! a tree under its final name is complete, because it is made under another name and
//! renamed, and beside it stands a stamp that says what it holds. Nothing that was not made
//! here is ever removed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, bail};

use crate::text::{Rng, Style};

/// Changes when the text that is made changes.
const VERSION: u32 = 1;

/// Where the corpora are, and which.
pub(crate) struct Corpora {
    /// The directory that holds them.
    pub(crate) dir: PathBuf,
    /// A hundredth of the files.
    pub(crate) quick: bool,
    /// Searched in place of the generated source tree.
    pub(crate) source_tree: Option<PathBuf>,
}

/// A directory to search.
#[derive(Debug, Clone)]
pub(crate) struct Corpus {
    /// Its path.
    pub(crate) path: PathBuf,
    /// What is in it, when it was made here.
    pub(crate) contents: Option<Contents>,
}

/// What a generated corpus holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Contents {
    /// Regular files.
    pub(crate) files: u64,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
    /// Lines that the selective pattern matches.
    pub(crate) planted: u64,
}

/// A generated tree: `outer` directories with `inner` directories each, with `files` files each.
#[derive(Debug)]
struct Spec {
    seed: u64,
    style: Style,
    outer: u64,
    inner: u64,
    files: u64,
    /// The 17 sixteenths (0 to 16) of the distribution of file sizes, in bytes.
    sizes: [u64; 17],
    /// One file of so many has a planted line. In a file of more than one segment,
    /// one segment of so many.
    planted_every: u64,
}

/// A log-normal distribution with a mean of 1.5 KB, cut to 200 bytes .. 5 KB.
const SMALL_SIZES: [u64; 17] = [
    200, 461, 591, 702, 806, 909, 1016, 1128, 1250, 1384, 1537, 1717, 1937, 2225, 2640, 3388, 5200,
];

/// A log-normal distribution with a mean of 14.5 KB, as the files of Linux.
const SOURCE_SIZES: [u64; 17] = [
    400, 2388, 3373, 4275, 5177, 6118, 7131, 8245, 9500, 10_944, 12_655, 14_749, 17_432, 21_109,
    26_751, 37_788, 90_000,
];

/// Large files are made in segments of this size, bytes, each from its own seed.
const SEGMENT_BYTES: u64 = 1 << 20;

impl Corpora {
    /// Small log files: 500,000 in 10,000 directories.
    pub(crate) fn small(&self) -> anyhow::Result<Corpus> {
        let side = if self.quick { 10 } else { 100 };
        self.tree(
            "small",
            &Spec {
                seed: 1,
                style: Style::Log,
                outer: side,
                inner: side,
                files: 50,
                sizes: SMALL_SIZES,
                planted_every: 1000,
            },
        )
    }

    /// The source tree that was given, or one of the size of Linux: 60,000 files.
    pub(crate) fn source(&self) -> anyhow::Result<Corpus> {
        if let Some(tree) = &self.source_tree {
            let path = fs::canonicalize(tree)
                .with_context(|| format!("cannot find the source tree {}", tree.display()))?;
            return Ok(Corpus {
                path,
                contents: None,
            });
        }
        let (outer, inner) = if self.quick { (4, 5) } else { (40, 50) };
        self.tree(
            "source",
            &Spec {
                seed: 2,
                style: Style::Source,
                outer,
                inner,
                files: 30,
                sizes: SOURCE_SIZES,
                planted_every: 100,
            },
        )
    }

    /// 200 MB of log files, for a pattern that matches every line.
    pub(crate) fn lines(&self) -> anyhow::Result<Corpus> {
        self.tree(
            "lines",
            &Spec {
                seed: 3,
                style: Style::Log,
                outer: if self.quick { 1 } else { 20 },
                inner: 10,
                files: 10,
                sizes: [100_000; 17],
                planted_every: 1000,
            },
        )
    }

    /// One file of 2 GB.
    pub(crate) fn big(&self) -> anyhow::Result<Corpus> {
        let bytes = if self.quick { 20 << 20 } else { 2000 << 20 };
        self.tree(
            "big",
            &Spec {
                seed: 4,
                style: Style::Log,
                outer: 1,
                inner: 1,
                files: 1,
                sizes: [bytes; 17],
                planted_every: 10,
            },
        )
    }

    /// An empty directory.
    pub(crate) fn empty(&self) -> anyhow::Result<Corpus> {
        let path = self.dir.join("empty");
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Corpus {
            path: fs::canonicalize(path)?,
            contents: Some(Contents::default()),
        })
    }

    /// The tree of a specification, made now unless it is there.
    fn tree(&self, name: &str, spec: &Spec) -> anyhow::Result<Corpus> {
        fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot create {}", self.dir.display()))?;
        let dir = fs::canonicalize(&self.dir)?;
        let size = if self.quick { "quick" } else { "full" };
        let path = dir.join(format!("{name}-{size}-v{VERSION}"));
        let stamp = path.with_extension("stamp");
        let contents = match fs::read_to_string(&stamp) {
            Ok(text) => read_stamp(spec, &text).with_context(|| {
                format!(
                    "{} belongs to another corpus; remove it and {}",
                    stamp.display(),
                    path.display()
                )
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let contents = spec
                    .make(&path)
                    .with_context(|| format!("cannot make the corpus {}", path.display()))?;
                fs::write(&stamp, write_stamp(spec, contents))
                    .with_context(|| format!("cannot write {}", stamp.display()))?;
                contents
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", stamp.display()));
            }
        };
        Ok(Corpus {
            path,
            contents: Some(contents),
        })
    }
}

fn write_stamp(spec: &Spec, contents: Contents) -> String {
    let Contents {
        files,
        bytes,
        planted,
    } = contents;
    format!("{spec:?}\n{files} files\n{bytes} bytes\n{planted} planted\n")
}

/// The contents that a stamp names, or none if it is of another specification.
fn read_stamp(spec: &Spec, stamp: &str) -> Option<Contents> {
    let number = |unit: &str| {
        let line = stamp.lines().find_map(|line| line.strip_suffix(unit))?;
        line.trim_end().parse().ok()
    };
    let contents = Contents {
        files: number("files")?,
        bytes: number("bytes")?,
        planted: number("planted")?,
    };
    (write_stamp(spec, contents) == stamp).then_some(contents)
}

impl Spec {
    /// Makes the tree under another name and renames it.
    fn make(&self, path: &Path) -> anyhow::Result<Contents> {
        if path.exists() {
            bail!("it exists without a stamp; remove it");
        }
        let partial = path.with_extension("partial");
        match fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        fs::create_dir(&partial)?;
        self.check_space(&partial)?;
        eprintln!("making {} ({} files)", path.display(), self.count());

        let threads = thread::available_parallelism()?.get() as u64;
        let next = AtomicU64::new(0);
        let parts = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| self.make_directories(&partial, &next)))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("a maker of files does not panic"))
                .collect::<io::Result<Vec<_>>>()
        })?;
        fs::rename(&partial, path)?;
        Ok(parts
            .iter()
            .fold(Contents::default(), |sum, part| Contents {
                files: sum.files + part.files,
                bytes: sum.bytes + part.bytes,
                planted: sum.planted + part.planted,
            }))
    }

    fn count(&self) -> u64 {
        self.outer * self.inner * self.files
    }

    /// Refuses to fill a file system: a tenth more than the corpus must be free.
    fn check_space(&self, dir: &Path) -> anyhow::Result<()> {
        let free = rustix::fs::statvfs(dir)?;
        let mean = self.sizes.iter().sum::<u64>() / 17;
        let bytes = self.count() * (mean + free.f_frsize) * 11 / 10;
        let bytes_free = free.f_bavail * free.f_frsize;
        if bytes > bytes_free {
            bail!(
                "it takes {} MiB and {} MiB are free; name another place with --corpus",
                bytes >> 20,
                bytes_free >> 20
            );
        }
        let inodes = self.count() + self.outer * self.inner;
        // File systems without a fixed number of inodes say 0.
        if free.f_files > 0 && inodes > free.f_favail {
            bail!(
                "it takes {inodes} inodes and {} are free; name another place with --corpus",
                free.f_favail
            );
        }
        Ok(())
    }

    /// Makes directories, numbered by `next`, until all are made.
    fn make_directories(&self, root: &Path, next: &AtomicU64) -> io::Result<Contents> {
        let mut contents = Contents::default();
        let mut buffer = Vec::new();
        loop {
            let directory = next.fetch_add(1, Ordering::Relaxed);
            if directory >= self.outer * self.inner {
                return Ok(contents);
            }
            let mut path = root.join(format!("d{:03}", directory / self.inner));
            path.push(format!("s{:03}", directory % self.inner));
            fs::create_dir_all(&path)?;
            let mut name = String::new();
            for index in 0..self.files {
                name.clear();
                let extension = match self.style {
                    Style::Log => "log",
                    Style::Source => "c",
                };
                write!(name, "f{index:05}.{extension}").expect("a String takes any text");
                let number = directory * self.files + index;
                self.make_file(&path.join(&name), number, &mut buffer, &mut contents)?;
            }
        }
    }

    fn make_file(
        &self,
        path: &Path,
        number: u64,
        buffer: &mut Vec<u8>,
        contents: &mut Contents,
    ) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        let mut rng = Rng::new(self.seed, number << 32);
        let sixteenth = usize::try_from(rng.below(16)).expect("below 16");
        let (least, most) = (self.sizes[sixteenth], self.sizes[sixteenth + 1]);
        let size = least + rng.below(most - least + 1);
        for segment in 0..size.div_ceil(SEGMENT_BYTES) {
            let length = SEGMENT_BYTES.min(size - segment * SEGMENT_BYTES);
            let mut rng = Rng::new(self.seed, (number << 32) + 1 + segment);
            let planted = (number + segment) % self.planted_every == self.planted_every / 2;
            self.make_segment(&mut rng, length, planted, buffer);
            file.write_all(buffer)?;
            contents.bytes += buffer.len() as u64;
            contents.planted += u64::from(planted);
        }
        contents.files += 1;
        Ok(())
    }

    /// Whole lines of about `length` bytes; a planted one in the middle.
    fn make_segment(&self, rng: &mut Rng, length: u64, planted: bool, buffer: &mut Vec<u8>) {
        buffer.clear();
        let mut plant = planted;
        while (buffer.len() as u64) < length {
            if plant && buffer.len() as u64 >= length / 2 {
                self.style.planted_line(rng, buffer);
                plant = false;
            }
            self.style.line(rng, buffer);
        }
        if plant {
            self.style.planted_line(rng, buffer);
        }
    }
}
