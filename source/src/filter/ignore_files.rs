//! Ignore files: `.rgignore`, `.ignore`, `.gitignore` and `.git/info/exclude`, of a directory and
//! of all those above it.
//!
//! Precedence, as in ripgrep: by the kind of file in the order named, whatever the distance; among
//! files of one kind the nearest directory's decides. The rules of git reach up to the nearest
//! repository (a directory with `.git` or `.jj`) and no further, and count only inside one.
//!
//! The root of a walk may be reached through links. The directories above it are those of its true
//! path; below it paths count as walked. So a scope knows both, and matches every rule against the
//! part of the path that is below the rule's directory.

use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::{Dir, ErrorKind, File, Links, Listing, Opened, Source};

use super::{Decision, MATCHER_ROOT, shown, without_end_slash};

/// The largest ignore file that is read, in bytes; of a larger one nothing is used, and a note
/// says so.
pub const MAX_IGNORE_FILE_BYTES: u64 = 16 << 20;

thread_local! {
    static PATH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The ignore rules in force in one directory: its own and those of the directories above. Cheap to
/// clone.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// `None` when ignore files are not honoured.
    root: Option<Arc<WalkRoot>>,
    /// The nearest directory that has rules.
    nearest: Option<Arc<Rules>>,
    in_repository: bool,
}

/// Where a walk began.
#[derive(Debug)]
struct WalkRoot {
    /// Its true path; no slash at the end.
    real: Vec<u8>,
    /// How long its path is as the caller gives it.
    walked_len: usize,
}

/// The rules of one directory.
#[derive(Debug)]
struct Rules {
    above: Option<Arc<Rules>>,
    /// Where, in the true path of an entry, its path relative to this directory begins.
    skip: usize,
    rgignore: Gitignore,
    ignore: Gitignore,
    gitignore: Gitignore,
    exclude: Gitignore,
    is_repository: bool,
}

impl Scope {
    /// The rules from above `abs_dir`.
    pub(super) fn above(source: &dyn Source, abs_dir: &[u8], notes: &mut Vec<String>) -> Self {
        let walked = without_end_slash(abs_dir);
        // Without a true path there is nothing above that could be read.
        let real = source.canonical(abs_dir).ok();
        let above = real.clone().unwrap_or_default();
        let mut scope = Self {
            root: Some(Arc::new(WalkRoot {
                real: without_end_slash(&real.unwrap_or_else(|| walked.to_vec())).to_vec(),
                walked_len: walked.len(),
            })),
            nearest: None,
            in_repository: false,
        };
        let mut dir: Option<Box<dyn Dir>> = None;
        for end in (0..above.len()).filter(|&i| above[i] == b'/') {
            let path = if end == 0 { b"/" } else { &above[..end] };
            if end + 1 == above.len() {
                break; // the root of the walk is / itself
            }
            let opened = match (&dir, last_name(path)) {
                (Some(parent), Some(name)) => parent.open_child(&name, Links::Refuse),
                _ => source.open(path, Links::Refuse),
            };
            dir = match opened {
                Ok(Opened::Dir(dir)) => Some(dir),
                _ => None, // outside the source's roots, for one
            };
            if let Some(dir) = &dir {
                scope = scope.with_rules(&**dir, path, end + 1, None, notes);
            }
        }
        scope
    }

    /// The rules in `dir`, whose parent's scope this is.
    pub(super) fn enter(
        &self,
        dir: &dyn Dir,
        abs_dir: &[u8],
        listing: Option<&Listing>,
        notes: &mut Vec<String>,
    ) -> Self {
        let Some(root) = &self.root else {
            return self.clone();
        };
        let below = without_end_slash(abs_dir)
            .len()
            .saturating_sub(root.walked_len);
        self.with_rules(dir, abs_dir, root.real.len() + below + 1, listing, notes)
    }

    fn with_rules(
        &self,
        dir: &dyn Dir,
        abs_dir: &[u8],
        skip: usize,
        listing: Option<&Listing>,
        notes: &mut Vec<String>,
    ) -> Self {
        let found = Found::among(listing);
        let mut read = |wanted: bool, name: &CStr| {
            if !wanted {
                return Gitignore::empty();
            }
            read_rules(dir, name, abs_dir, notes)
        };
        let rgignore = read(found.rgignore, c".rgignore");
        let ignore = read(found.ignore, c".ignore");
        let gitignore = read(found.gitignore, c".gitignore");
        let (is_git, exclude) = if found.git {
            read_exclude(dir, abs_dir, notes)
        } else {
            (false, Gitignore::empty())
        };
        let is_repository = is_git || (found.jj && exists(dir, c".jj"));
        let matchers = [&rgignore, &ignore, &gitignore, &exclude];
        if !is_repository && matchers.iter().all(|matcher| matcher.is_empty()) {
            return self.clone();
        }
        Self {
            root: self.root.clone(),
            nearest: Some(Arc::new(Rules {
                above: self.nearest.clone(),
                skip,
                rgignore,
                ignore,
                gitignore,
                exclude,
                is_repository,
            })),
            in_repository: self.in_repository || is_repository,
        }
    }

    /// Whether the directory, or one above, is a repository.
    pub(super) fn in_repository(&self) -> bool {
        self.in_repository
    }

    /// What the rules say of the entry `name` of the directory whose scope this is.
    pub(super) fn matched(&self, abs_dir: &[u8], name: &[u8], is_dir: bool) -> Decision {
        let (Some(root), Some(_)) = (&self.root, &self.nearest) else {
            return Decision::None;
        };
        PATH.with_borrow_mut(|path| {
            let below = without_end_slash(abs_dir).get(root.walked_len..);
            path.clear();
            path.extend_from_slice(&root.real);
            path.extend_from_slice(below.unwrap_or_default());
            path.push(b'/');
            path.extend_from_slice(name);
            self.matched_path(path, is_dir)
        })
    }

    fn matched_path(&self, path: &[u8], is_dir: bool) -> Decision {
        let [mut rgignore, mut ignore, mut gitignore, mut exclude] = [Decision::None; 4];
        let mut git = self.in_repository;
        let mut next = self.nearest.as_deref();
        while let Some(rules) = next {
            let below = Path::new(OsStr::from_bytes(
                path.get(rules.skip..).unwrap_or_default(),
            ));
            let ask = |matcher: &Gitignore| Decision::from(&matcher.matched(below, is_dir));
            rgignore = rgignore.or_else(|| ask(&rules.rgignore));
            ignore = ignore.or_else(|| ask(&rules.ignore));
            if git {
                gitignore = gitignore.or_else(|| ask(&rules.gitignore));
                exclude = exclude.or_else(|| ask(&rules.exclude));
            }
            git &= !rules.is_repository;
            next = rules.above.as_deref();
        }
        rgignore
            .or_else(|| ignore)
            .or_else(|| gitignore)
            .or_else(|| exclude)
    }
}

impl Drop for Rules {
    /// Link by link: the chain is as long as the tree is deep, which the stack may not be.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(mut rules) = above.and_then(Arc::into_inner) {
            above = rules.above.take();
        }
    }
}

/// Which files may be there.
#[derive(Debug, Clone, Copy)]
struct Found {
    rgignore: bool,
    ignore: bool,
    gitignore: bool,
    git: bool,
    jj: bool,
}

impl Found {
    /// Those in a listing; all of them where there is none.
    fn among(listing: Option<&Listing>) -> Self {
        let all = listing.is_none();
        let mut found = Self {
            rgignore: all,
            ignore: all,
            gitignore: all,
            git: all,
            jj: all,
        };
        for entry in listing.into_iter().flat_map(Listing::iter) {
            match entry.name.to_bytes() {
                b".rgignore" => found.rgignore = true,
                b".ignore" => found.ignore = true,
                b".gitignore" => found.gitignore = true,
                b".git" => found.git = true,
                b".jj" => found.jj = true,
                _ => {}
            }
        }
        found
    }
}

fn last_name(path: &[u8]) -> Option<CString> {
    let start = path.iter().rposition(|&b| b == b'/')? + 1;
    CString::new(&path[start..])
        .ok()
        .filter(|name| !name.is_empty())
}

/// Whether there is such an entry, and where it is a link, its target.
fn exists(dir: &dyn Dir, name: &CStr) -> bool {
    dir.open_child(name, Links::Follow)
        .map_or_else(|error| error.kind == ErrorKind::Permission, |_| true)
}

fn open_file(dir: &dyn Dir, name: &CStr) -> Option<Box<dyn File>> {
    match dir.open_child(name, Links::Follow) {
        Ok(Opened::File(file)) => Some(file),
        _ => None, // as in ripgrep, what cannot be opened has no rules
    }
}

/// The rules in the file `name` of `dir`; none when it cannot be read.
fn read_rules(dir: &dyn Dir, name: &CStr, abs_dir: &[u8], notes: &mut Vec<String>) -> Gitignore {
    let Some(file) = open_file(dir, name) else {
        return Gitignore::empty();
    };
    let shown = format!(
        "{}/{}",
        shown(without_end_slash(abs_dir)),
        shown(name.to_bytes())
    );
    match read_all(&*file) {
        Ok(Some(bytes)) => parse(&bytes, &shown, notes),
        Ok(None) => {
            notes.push(format!(
                "{shown}: larger than {MAX_IGNORE_FILE_BYTES} bytes, not used"
            ));
            Gitignore::empty()
        }
        Err(error) => {
            notes.push(format!("{shown}: {error}"));
            Gitignore::empty()
        }
    }
}

/// The whole file, or `None` when it is too large.
fn read_all(file: &dyn File) -> Result<Option<Vec<u8>>, crate::SourceError> {
    const STEP: usize = 16 << 10;
    let mut bytes = Vec::new();
    loop {
        let filled = bytes.len();
        bytes.resize(filled + STEP, 0);
        let got = file.read_at(&mut bytes[filled..], filled as u64)?;
        bytes.truncate(filled + got);
        if got == 0 {
            return Ok(Some(bytes));
        }
        if bytes.len() as u64 > MAX_IGNORE_FILE_BYTES {
            return Ok(None);
        }
    }
}

/// The rules in the lines of an ignore file; `shown` is its name in notes.
///
/// As in ripgrep, a line that is no glob is left out, and one that is not UTF-8 ends the file.
pub(super) fn parse(bytes: &[u8], shown: &str, notes: &mut Vec<String>) -> Gitignore {
    let mut builder = GitignoreBuilder::new(MATCHER_ROOT);
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    for (i, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let Ok(line) = str::from_utf8(line) else {
            notes.push(format!(
                "{shown}: line {}: not UTF-8; it and what follows is not used",
                i + 1
            ));
            break;
        };
        if let Err(error) = builder.add_line(None, line) {
            notes.push(format!("{shown}: line {}: {error}", i + 1));
        }
    }
    builder.build().unwrap_or_else(|error| {
        notes.push(format!("{shown}: {error}"));
        Gitignore::empty()
    })
}

/// Whether `dir` holds `.git`, and the rules of its `info/exclude`.
fn read_exclude(dir: &dyn Dir, abs_dir: &[u8], notes: &mut Vec<String>) -> (bool, Gitignore) {
    let info = match dir.open_child(c".git", Links::Follow) {
        Ok(Opened::Dir(git)) => git.open_child(c"info", Links::Follow).ok(),
        Ok(Opened::File(file)) => common_dir(dir.source(), &*file, abs_dir).and_then(|common| {
            dir.source()
                .open(&join(&common, b"info"), Links::Follow)
                .ok()
        }),
        Ok(Opened::Symlink | Opened::Special(_)) => None,
        Err(error) => return (error.kind == ErrorKind::Permission, Gitignore::empty()),
    };
    let Some(Opened::Dir(info)) = info else {
        return (true, Gitignore::empty());
    };
    let shown = join(abs_dir, b".git/info");
    (true, read_rules(&*info, c"exclude", &shown, notes))
}

/// Where the repository of a work tree is whose `.git` is a file: it names a directory, in which
/// `commondir` names the repository, absolute or relative to that directory.
fn common_dir(source: &dyn Source, dot_git: &dyn File, abs_dir: &[u8]) -> Option<Vec<u8>> {
    let line = first_line(dot_git)?;
    let git_dir = join(abs_dir, line.strip_prefix(b"gitdir: ")?);
    let Ok(Opened::File(file)) = source.open(&join(&git_dir, b"commondir"), Links::Follow) else {
        return None;
    };
    Some(join(&git_dir, &first_line(&*file)?))
}

fn first_line(file: &dyn File) -> Option<Vec<u8>> {
    let mut bytes = read_all(file).ok()??;
    if let Some(end) = bytes.iter().position(|&b| b == b'\n') {
        bytes.truncate(end);
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Some(bytes)
}

/// `path` as seen from `dir`.
fn join(dir: &[u8], path: &[u8]) -> Vec<u8> {
    if path.first() == Some(&b'/') {
        return path.to_vec();
    }
    let mut joined = without_end_slash(dir).to_vec();
    joined.push(b'/');
    joined.extend_from_slice(path);
    joined
}
