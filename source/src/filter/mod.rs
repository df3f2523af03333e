//! Which entries a job is about, decided exactly as ripgrep does.
//!
//! The matchers are those of the `ignore` crate, which ripgrep is made of; the walk is ours. So what
//! ripgrep keeps in its walker is a [`Scope`] here, which the caller carries along: the ignore rules
//! that are in force in one directory.
//!
//! The order of decisions:
//!
//! 1. `-g` globs: one that matches ends the matter, whether it takes or excludes. With at least one
//!    glob that takes, a file that none matches is excluded.
//! 2. Ignore files, see `ignore_files`. Excluding ends the matter; taking (`!`) is remembered.
//! 3. File types, for files only. Likewise.
//! 4. Names that begin with a dot, unless something took them.
//!
//! What is not decided here, since it needs more than a name: sizes and depths. Their limits are
//! handed through.
//!
//! Invariant: the root of a walk is never asked about; what a person names is taken.

mod ignore_files;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ignore::Match;
use ignore::gitignore::Gitignore;
use ignore::overrides::{Override, OverrideBuilder};
use ignore::types::{Types, TypesBuilder};

use crate::{Dir, EntryKind, Links, Listing, Opened, Source};

pub use ignore_files::{MAX_IGNORE_FILE_BYTES, Scope};

/// How many notes about ignore files are kept; further ones are dropped.
pub const MAX_NOTES: usize = 100;

thread_local! {
    /// Where paths to match are put together.
    static PATH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Which files a job is about. The default takes everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterSpec {
    /// `-g` and `--iglob`; the last one that matches decides.
    pub globs: Vec<GlobSpec>,
    /// `-t` and `-T`; the last one that a file is of decides.
    pub types: Vec<TypeSpec>,
    /// How deep below a root directories are listed: 0 lists none, 1 the root alone.
    pub max_depth: Option<u64>,
    /// The largest size, in bytes, of a file that is taken.
    pub max_filesize: Option<u64>,
    /// Follow symbolic links.
    pub follow: bool,
    /// Exclude names that begin with a dot.
    pub skip_hidden: bool,
    /// Honour ignore files.
    pub ignore: bool,
    /// The lines of the user's global ignore file; used with `ignore`.
    pub global_ignore: Vec<u8>,
    /// The absolute directory that the globs and the global ignore file are relative to.
    pub base: Vec<u8>,
}

/// A glob; a leading `!` excludes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobSpec {
    /// As in a line of `.gitignore`, with the meaning of `!` turned round.
    pub pattern: String,
    /// Upper and lower case are the same.
    pub case_insensitive: bool,
}

/// A file type to take or to exclude.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeSpec {
    /// As in [`type_list`], or `all`.
    pub name: String,
    /// Exclude what is of it.
    pub exclude: bool,
}

/// A filter that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A glob that cannot be parsed.
    #[error("{message}")]
    Glob {
        /// As it was typed.
        pattern: String,
        /// The parser's own words, which name the glob.
        message: String,
    },
    /// A file type that does not exist.
    #[error("unrecognized file type: {name}")]
    Type {
        /// As it was typed.
        name: String,
    },
    /// The globs or the file types are too much together.
    #[error("the filters cannot be compiled: {message}")]
    Compile {
        /// The compiler's own words.
        message: String,
    },
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is what the job is about; a directory is entered.
    Take,
    /// It is not.
    Skip(SkipReason),
}

/// Why an entry is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// By a glob or a file type.
    Filter,
    /// By an ignore file.
    Ignore,
    /// Its name begins with a dot.
    Hidden,
    /// A symbolic link, and links are not followed.
    Symlink,
    /// A FIFO, a device or a socket.
    Special,
    /// Larger than the limit. Never from [`Filter::check`].
    Size,
    /// Deeper than the limit. Never from [`Filter::check`].
    Depth,
}

/// A compiled [`FilterSpec`].
#[derive(Debug)]
pub struct Filter {
    overrides: Override,
    types: Types,
    /// The user's global ignore file.
    global: Gitignore,
    /// Without a slash at its end.
    base: Vec<u8>,
    max_depth: Option<u64>,
    max_filesize: Option<u64>,
    follow: bool,
    skip_hidden: bool,
    ignore: bool,
    open: bool,
    notes: Mutex<Vec<String>>,
}

impl Filter {
    /// Compiles the filter. Lines of the global ignore file that make no sense are noted, not errors.
    pub fn new(spec: &FilterSpec) -> Result<Self, FilterError> {
        let overrides = compile_globs(&spec.globs)?;
        let types = compile_types(&spec.types)?;
        let mut notes = Vec::new();
        let global = if spec.ignore {
            ignore_files::parse(&spec.global_ignore, "global ignore file", &mut notes)
        } else {
            Gitignore::empty()
        };
        let open = overrides.is_empty() && types.is_empty() && !spec.ignore && !spec.skip_hidden;
        let filter = Self {
            overrides,
            types,
            global,
            base: without_end_slash(&spec.base).to_vec(),
            max_depth: spec.max_depth,
            max_filesize: spec.max_filesize,
            follow: spec.follow,
            skip_hidden: spec.skip_hidden,
            ignore: spec.ignore,
            open,
            notes: Mutex::default(),
        };
        filter.note(notes);
        Ok(filter)
    }

    /// Whether no name is ever excluded: then only the kind of an entry counts.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The largest size, in bytes, of a file that is taken.
    pub fn max_filesize(&self) -> Option<u64> {
        self.max_filesize
    }

    /// Whether symbolic links are followed.
    pub fn follow(&self) -> bool {
        self.follow
    }

    /// How deep below a root directories are listed. The root is at depth 0, and a directory is
    /// listed when its depth is less than this.
    pub fn max_depth(&self) -> Option<u64> {
        self.max_depth
    }

    /// Takes the notes made so far about lines of ignore files that make no sense.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, new: Vec<String>) {
        if new.is_empty() {
            return;
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_NOTES.saturating_sub(notes.len());
        notes.extend(new.into_iter().take(room));
    }

    /// The rules that are in force for the root of a walk, from the directories above it. The root's own
    /// are added by [`enter`](Self::enter).
    ///
    /// Directories above that cannot be read, such as those outside the roots of a source, have no
    /// rules.
    pub fn root_scope(&self, source: &dyn Source, abs_dir: &[u8]) -> Scope {
        if !self.ignore {
            return Scope::default();
        }
        let mut notes = Vec::new();
        let scope = Scope::above(source, abs_dir, &mut notes);
        self.note(notes);
        scope
    }

    /// The rules from above a directory that lies at `below` (relative) under the root of a walk, as if
    /// the walk had come there from `root`: the scope to give to [`enter`](Self::enter) for it.
    pub fn scope_below(&self, source: &dyn Source, root: &[u8], below: &[u8]) -> Scope {
        let mut scope = self.root_scope(source, root);
        if !self.ignore || below.is_empty() {
            return scope;
        }
        let links = if self.follow {
            Links::Follow
        } else {
            Links::Refuse
        };
        let mut path = without_end_slash(root).to_vec();
        let mut opened = source.open(root, Links::Follow);
        for name in below.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            let Ok(Opened::Dir(dir)) = opened else {
                return scope; // it is gone, and so is what is below
            };
            scope = self.enter(&scope, &*dir, &path);
            path.push(b'/');
            path.extend_from_slice(name);
            let Ok(name) = std::ffi::CString::new(name) else {
                return scope;
            };
            opened = dir.open_child(&name, links);
        }
        scope
    }

    /// The rules in force in `dir`: those of `scope`, which is its parent's, and those in its own
    /// ignore files. Looks for each by name.
    pub fn enter(&self, scope: &Scope, dir: &dyn Dir, abs_dir: &[u8]) -> Scope {
        self.enter_with(scope, dir, abs_dir, None)
    }

    /// As [`enter`](Self::enter), but looks only for the files that `listing` has, which must be
    /// the whole of the directory.
    pub fn enter_listed(
        &self,
        scope: &Scope,
        dir: &dyn Dir,
        abs_dir: &[u8],
        listing: &Listing,
    ) -> Scope {
        self.enter_with(scope, dir, abs_dir, Some(listing))
    }

    fn enter_with(
        &self,
        scope: &Scope,
        dir: &dyn Dir,
        abs_dir: &[u8],
        listing: Option<&Listing>,
    ) -> Scope {
        if !self.ignore {
            return scope.clone();
        }
        let mut notes = Vec::new();
        let entered = scope.enter(dir, abs_dir, listing, &mut notes);
        self.note(notes);
        entered
    }

    /// Decides about the entry `name` of the directory `abs_dir`, whose own scope is given.
    ///
    /// When links are followed, open a link first and ask with the kind of what it leads to, as
    /// ripgrep does; asked about the link itself, this takes it.
    pub fn check(&self, scope: &Scope, abs_dir: &[u8], name: &[u8], kind: EntryKind) -> Verdict {
        match kind {
            EntryKind::Symlink if self.follow => return Verdict::Take,
            EntryKind::Symlink => return Verdict::Skip(SkipReason::Symlink),
            EntryKind::Special => return Verdict::Skip(SkipReason::Special),
            EntryKind::File | EntryKind::Dir => {}
        }
        if self.open {
            return Verdict::Take;
        }
        self.check_name(scope, abs_dir, name, kind == EntryKind::Dir)
    }

    fn check_name(&self, scope: &Scope, abs_dir: &[u8], name: &[u8], is_dir: bool) -> Verdict {
        if !self.overrides.is_empty() {
            let matched = self.with_path(abs_dir, name, |path| {
                Decision::from(&self.overrides.matched(path, is_dir))
            });
            match matched {
                Decision::Exclude => return Verdict::Skip(SkipReason::Filter),
                Decision::Take => return Verdict::Take,
                Decision::None => {}
            }
        }
        let mut taken = false;
        if self.ignore {
            let matched = scope
                .matched(abs_dir, name, is_dir)
                .or_else(|| self.matched_global(scope, abs_dir, name, is_dir));
            match matched {
                Decision::Exclude => return Verdict::Skip(SkipReason::Ignore),
                Decision::Take => taken = true,
                Decision::None => {}
            }
        }
        match Decision::from(
            &self
                .types
                .matched(Path::new(OsStr::from_bytes(name)), is_dir),
        ) {
            Decision::Exclude => return Verdict::Skip(SkipReason::Filter),
            Decision::Take => taken = true,
            Decision::None => {}
        }
        if self.skip_hidden && !taken && name.first() == Some(&b'.') {
            return Verdict::Skip(SkipReason::Hidden);
        }
        Verdict::Take
    }

    /// The global ignore file is git's, and counts in repositories only.
    fn matched_global(&self, scope: &Scope, abs_dir: &[u8], name: &[u8], is_dir: bool) -> Decision {
        if self.global.is_empty() || !scope.in_repository() {
            return Decision::None;
        }
        self.with_path(abs_dir, name, |path| {
            Decision::from(&self.global.matched(path, is_dir))
        })
    }

    /// Calls `f` with the path of an entry: relative to the base where it lies below it.
    fn with_path<T>(&self, abs_dir: &[u8], name: &[u8], f: impl FnOnce(&Path) -> T) -> T {
        let dir = without_end_slash(abs_dir);
        let below = match dir.strip_prefix(self.base.as_slice()) {
            Some([]) => return f(Path::new(OsStr::from_bytes(name))),
            Some([b'/', below @ ..]) => below,
            _ => dir,
        };
        PATH.with_borrow_mut(|path| {
            path.clear();
            path.extend_from_slice(below);
            path.push(b'/');
            path.extend_from_slice(name);
            f(Path::new(OsStr::from_bytes(path)))
        })
    }
}

/// What a matcher says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    None,
    Take,
    Exclude,
}

impl Decision {
    fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::None => other(),
            decided => decided,
        }
    }
}

impl<T> From<&Match<T>> for Decision {
    fn from(matched: &Match<T>) -> Self {
        match matched {
            Match::None => Self::None,
            Match::Ignore(_) => Self::Exclude,
            Match::Whitelist(_) => Self::Take,
        }
    }
}

/// Every known file type with its globs, as `--type-list` shows them.
pub fn type_list() -> Vec<(String, Vec<String>)> {
    let mut builder = TypesBuilder::new();
    builder.add_defaults();
    builder
        .definitions()
        .into_iter()
        .map(|def| (def.name().to_owned(), def.globs().to_vec()))
        .collect()
}

/// The matcher's own root is `.`, by which it takes paths as they are; relative to what they are is
/// decided in [`Filter::with_path`] and [`Scope`], component by component.
const MATCHER_ROOT: &str = ".";

fn compile_globs(globs: &[GlobSpec]) -> Result<Override, FilterError> {
    let mut builder = OverrideBuilder::new(MATCHER_ROOT);
    for glob in globs {
        let error = |error: ignore::Error| FilterError::Glob {
            pattern: glob.pattern.clone(),
            message: error.to_string(),
        };
        builder
            .case_insensitive(glob.case_insensitive)
            .map_err(error)?;
        builder.add(&glob.pattern).map_err(error)?;
    }
    builder.build().map_err(compile_error)
}

fn compile_types(types: &[TypeSpec]) -> Result<Types, FilterError> {
    if types.is_empty() {
        return Ok(Types::empty());
    }
    let mut builder = TypesBuilder::new();
    builder.add_defaults();
    for TypeSpec { name, exclude } in types {
        if *exclude {
            builder.negate(name);
        } else {
            builder.select(name);
        }
    }
    builder.build().map_err(|error| match error {
        ignore::Error::UnrecognizedFileType(name) => FilterError::Type { name },
        error => compile_error(error),
    })
}

fn compile_error(error: impl std::fmt::Display) -> FilterError {
    FilterError::Compile {
        message: error.to_string(),
    }
}

fn without_end_slash(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |i| i + 1);
    &path[..end]
}

/// A path for a note.
fn shown(path: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(path)
}
