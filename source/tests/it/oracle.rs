//! ripgrep as the oracle of filters: on the same tree, `rg --files` and our walk must take the same
//! files.
//!
//! ripgrep 15 is found by the variable `RG`, or else on the `PATH`.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use regexctl_source::{
    Dir, EntryKind, Filter, FilterSpec, GlobSpec, Links, Listing, LocalSource, NameSlice, Opened,
    Roots, Scope, Source, TypeSpec, Verdict,
};

/// The command that runs ripgrep, or `None`, loudly, when there is none of the right version.
pub(crate) fn ripgrep() -> Option<PathBuf> {
    let rg = std::env::var_os("RG").map_or_else(|| PathBuf::from("rg"), PathBuf::from);
    let version = Command::new(&rg).arg("--version").output().ok();
    if version.is_some_and(|out| out.stdout.starts_with(b"ripgrep 15.")) {
        return Some(rg);
    }
    eprintln!(
        "SKIPPED: ripgrep 15 is neither in RG nor on the PATH; there is nothing to compare with"
    );
    None
}

/// A tree to search, and a home directory for ripgrep's global ignore file.
pub(crate) struct Tree {
    _guard: tempfile::TempDir,
    pub(crate) base: PathBuf,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let guard = tempfile::tempdir().expect("a writable temporary directory");
        let base = guard.path().canonicalize().expect("it exists");
        fs::create_dir(base.join("tree")).expect("writable");
        fs::create_dir(base.join("home")).expect("writable");
        Self {
            _guard: guard,
            base,
        }
    }

    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let tree = Self::new();
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.base.join("tree")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    pub(crate) fn global_ignore(&self, text: &str) {
        let dir = self.base.join("home/.config/git");
        fs::create_dir_all(&dir).expect("writable");
        fs::write(dir.join("ignore"), text).expect("writable");
    }

    /// What `rg --files` prints, run in `cwd` with these arguments.
    pub(crate) fn rg(&self, rg: &Path, cwd: &Path, args: &[String]) -> BTreeSet<PathBuf> {
        let out = Command::new(rg)
            .args(["--no-config", "--files", "-0"])
            .args(args)
            .current_dir(cwd)
            .env_clear()
            .env("HOME", self.base.join("home"))
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .expect("it ran for --version");
        let paths = out
            .stdout
            .split(|&b| b == 0)
            .filter(|path| !path.is_empty());
        paths
            .map(|path| cwd.join(OsStr::from_bytes(path)))
            .collect()
    }

    /// Compares for a walk from `root`, run in `cwd`.
    pub(crate) fn compare_from(&self, cwd: &Path, root: &Path, spec: &FilterSpec) {
        let Some(rg) = ripgrep() else { return };
        let mut spec = spec.clone();
        spec.base = cwd.as_os_str().as_bytes().to_vec();
        let mut args = flags(&spec);
        args.push(root.to_str().expect("ours are UTF-8").to_owned());
        let expected = self.rg(&rg, cwd, &args);
        for source in [
            LocalSource::new(Roots::everything()),
            LocalSource::new(Roots::open(&[PathBuf::from("/")]).expect("it exists")),
        ] {
            for how in [Scoping::Carried, Scoping::Listed, Scoping::Rebuilt] {
                let walk = Walk::new(&source, &spec, how);
                assert_eq!(walk.files(root), expected, "rg {args:?} ({how:?})");
            }
        }
    }

    pub(crate) fn compare(&self, spec: &FilterSpec) {
        self.compare_from(&self.root(), &self.root(), spec);
    }
}

/// The flags by which ripgrep does what the filter says.
pub(crate) fn flags(spec: &FilterSpec) -> Vec<String> {
    let mut args = Vec::new();
    for glob in &spec.globs {
        let flag = if glob.case_insensitive {
            "--iglob"
        } else {
            "--glob"
        };
        args.push(format!("{flag}={}", glob.pattern));
    }
    for TypeSpec { name, exclude } in &spec.types {
        args.push(format!("-{}{name}", if *exclude { 'T' } else { 't' }));
    }
    args.extend(spec.max_depth.map(|depth| format!("--max-depth={depth}")));
    args.extend(
        spec.max_filesize
            .map(|size| format!("--max-filesize={size}")),
    );
    for (on, flag) in [
        (spec.follow, "--follow"),
        (!spec.skip_hidden, "--hidden"),
        (!spec.ignore, "--no-ignore"),
    ] {
        args.extend(on.then(|| flag.to_owned()));
    }
    args
}

/// Where the scope of a directory comes from: all must be the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scoping {
    /// From its parent's, by looking for each ignore file.
    Carried,
    /// From its parent's, by what the listing has.
    Listed,
    /// Anew for each directory, as for a task that came over the wire.
    Rebuilt,
}

/// A walk as a worker does it.
pub(crate) struct Walk<'a> {
    source: &'a dyn Source,
    pub(crate) filter: Filter,
    how: Scoping,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(source: &'a dyn Source, spec: &FilterSpec, how: Scoping) -> Self {
        Self {
            source,
            filter: Filter::new(spec).expect("the filter compiles"),
            how,
        }
    }

    pub(crate) fn files(&self, root: &Path) -> BTreeSet<PathBuf> {
        let mut out = BTreeSet::new();
        let path = root.as_os_str().as_bytes();
        let Ok(Opened::Dir(dir)) = self.source.open(path, Links::Follow) else {
            panic!("the root opens");
        };
        let scope = self.filter.root_scope(self.source, path);
        self.dir(&*dir, root, Path::new(""), &scope, &mut vec![], &mut out);
        out
    }

    pub(crate) fn dir(
        &self,
        dir: &dyn Dir,
        root: &Path,
        below: &Path,
        parent: &Scope,
        above: &mut Vec<(u64, u64)>,
        out: &mut BTreeSet<PathBuf>,
    ) {
        if self
            .filter
            .max_depth()
            .is_some_and(|max| above.len() as u64 >= max)
        {
            return;
        }
        let identity = dir.identity().expect("known");
        if above.contains(&identity) {
            return;
        }
        let path = if below.as_os_str().is_empty() {
            root.to_path_buf()
        } else {
            root.join(below)
        };
        let bytes = path.as_os_str().as_bytes();
        let mut listing = Listing::new();
        dir.list(NameSlice::WHOLE, 1 << 20, &mut listing)
            .expect("it lists");
        let scope = match self.how {
            Scoping::Carried => self.filter.enter(parent, dir, bytes),
            Scoping::Listed => self.filter.enter_listed(parent, dir, bytes, &listing),
            Scoping::Rebuilt => {
                let (root, below) = (root.as_os_str().as_bytes(), below.as_os_str().as_bytes());
                let parent = self.filter.scope_below(self.source, root, below);
                self.filter.enter(&parent, dir, bytes)
            }
        };
        above.push(identity);
        for entry in listing.iter() {
            let name = OsStr::from_bytes(entry.name.to_bytes());
            let (kind, opened) = self.resolve(dir, entry.name, entry.kind);
            if self.filter.check(&scope, bytes, name.as_bytes(), kind) != Verdict::Take {
                continue;
            }
            match (kind, opened) {
                (EntryKind::Dir, Some(Opened::Dir(child))) => {
                    self.dir(&*child, root, &below.join(name), &scope, above, out);
                }
                (EntryKind::File, _) if self.fits(dir, entry.name) => {
                    out.insert(path.join(name));
                }
                _ => {}
            }
        }
        above.pop();
    }

    /// What an entry is, behind a link when links are followed.
    pub(crate) fn resolve(
        &self,
        dir: &dyn Dir,
        name: &CStr,
        kind: EntryKind,
    ) -> (EntryKind, Option<Opened>) {
        let links = if self.filter.follow() {
            Links::Follow
        } else {
            Links::Refuse
        };
        if kind == EntryKind::File || (kind == EntryKind::Symlink && !self.filter.follow()) {
            return (kind, None);
        }
        match dir.open_child(name, links) {
            Ok(Opened::Dir(dir)) => (EntryKind::Dir, Some(Opened::Dir(dir))),
            Ok(Opened::File(_)) => (EntryKind::File, None),
            _ => (EntryKind::Special, None),
        }
    }

    pub(crate) fn fits(&self, dir: &dyn Dir, name: &CStr) -> bool {
        let size = || dir.file_size(name, Links::Follow).expect("it is there");
        self.filter.max_filesize().is_none_or(|max| size() <= max)
    }
}

pub(crate) fn glob(pattern: &str) -> GlobSpec {
    GlobSpec {
        pattern: pattern.to_owned(),
        case_insensitive: false,
    }
}

pub(crate) fn globs(patterns: &[&str]) -> Vec<GlobSpec> {
    patterns.iter().map(|pattern| glob(pattern)).collect()
}

/// File types, to be excluded behind a `!`.
pub(crate) fn types(names: &[&str]) -> Vec<TypeSpec> {
    let of = |&text: &&str| {
        let name = text.strip_prefix('!');
        TypeSpec {
            name: name.unwrap_or(text).to_owned(),
            exclude: name.is_some(),
        }
    };
    names.iter().map(of).collect()
}

/// ripgrep's own defaults.
pub(crate) fn defaults() -> FilterSpec {
    FilterSpec {
        skip_hidden: true,
        ignore: true,
        ..FilterSpec::default()
    }
}

pub(crate) fn source_tree() -> Tree {
    Tree::with(&[
        ("a.rs", "fn"),
        ("b.c", "int"),
        ("README.MD", "#"),
        ("Makefile", "all:"),
        (".hidden", "h"),
        (".config/x.rs", "x"),
        ("src/main.rs", "fn main"),
        ("src/lib.c", "int"),
        ("src/deep/er/x.rs", "x"),
        ("src/deep/er/y.txt", "yyyyyyyyyyyyyyyyyyyy"),
        ("target/debug/out.o", "o"),
        ("target/keep.me", "k"),
        ("docs/a b.txt", "space"),
        ("docs/.hidden.txt", "h"),
        ("other/src/main.rs", "again"),
    ])
}
