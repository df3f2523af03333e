//! Filters, with ripgrep as the oracle: on the same tree, `rg --files` and our walk must take the
//! same files.
//!
//! ripgrep 15 is found by the variable `RG`, or else on the `PATH`.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use regexctl_source::{
    Dir, EntryKind, Filter, FilterError, FilterSpec, GlobSpec, Links, Listing, LocalSource,
    NameSlice, Opened, Roots, Scope, SkipReason, Source, Verdict, type_list,
};

/// The command that runs ripgrep, or `None`, loudly, when there is none of the right version.
fn ripgrep() -> Option<PathBuf> {
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
struct Tree {
    _guard: tempfile::TempDir,
    base: PathBuf,
}

impl Tree {
    fn new() -> Self {
        let guard = tempfile::tempdir().expect("a writable temporary directory");
        let base = guard.path().canonicalize().expect("it exists");
        fs::create_dir(base.join("tree")).expect("writable");
        fs::create_dir(base.join("home")).expect("writable");
        Self {
            _guard: guard,
            base,
        }
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let tree = Self::new();
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    fn root(&self) -> PathBuf {
        self.base.join("tree")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    fn global_ignore(&self, text: &str) {
        let dir = self.base.join("home/.config/git");
        fs::create_dir_all(&dir).expect("writable");
        fs::write(dir.join("ignore"), text).expect("writable");
    }

    /// What `rg --files` prints, run in `cwd` with these arguments.
    fn rg(&self, rg: &Path, cwd: &Path, args: &[String]) -> BTreeSet<PathBuf> {
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
    fn compare_from(&self, cwd: &Path, root: &Path, spec: &FilterSpec) {
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

    fn compare(&self, spec: &FilterSpec) {
        self.compare_from(&self.root(), &self.root(), spec);
    }
}

/// The flags by which ripgrep does what the filter says.
fn flags(spec: &FilterSpec) -> Vec<String> {
    let mut args = Vec::new();
    for glob in &spec.globs {
        let flag = if glob.case_insensitive {
            "--iglob"
        } else {
            "--glob"
        };
        args.push(format!("{flag}={}", glob.pattern));
    }
    args.extend(spec.types.iter().map(|name| format!("-t{name}")));
    args.extend(spec.types_not.iter().map(|name| format!("-T{name}")));
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
enum Scoping {
    /// From its parent's, by looking for each ignore file.
    Carried,
    /// From its parent's, by what the listing has.
    Listed,
    /// Anew for each directory, as for a task that came over the wire.
    Rebuilt,
}

/// A walk as a worker does it.
struct Walk<'a> {
    source: &'a dyn Source,
    filter: Filter,
    how: Scoping,
}

impl<'a> Walk<'a> {
    fn new(source: &'a dyn Source, spec: &FilterSpec, how: Scoping) -> Self {
        Self {
            source,
            filter: Filter::new(spec).expect("the filter compiles"),
            how,
        }
    }

    fn files(&self, root: &Path) -> BTreeSet<PathBuf> {
        let mut out = BTreeSet::new();
        let path = root.as_os_str().as_bytes();
        let Ok(Opened::Dir(dir)) = self.source.open(path, Links::Follow) else {
            panic!("the root opens");
        };
        let scope = self.filter.root_scope(self.source, path);
        self.dir(&*dir, root, Path::new(""), &scope, &mut vec![], &mut out);
        out
    }

    fn dir(
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
    fn resolve(&self, dir: &dyn Dir, name: &CStr, kind: EntryKind) -> (EntryKind, Option<Opened>) {
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

    fn fits(&self, dir: &dyn Dir, name: &CStr) -> bool {
        let size = || dir.file_size(name, Links::Follow).expect("it is there");
        self.filter.max_filesize().is_none_or(|max| size() <= max)
    }
}

fn glob(pattern: &str) -> GlobSpec {
    GlobSpec {
        pattern: pattern.to_owned(),
        case_insensitive: false,
    }
}

fn globs(patterns: &[&str]) -> Vec<GlobSpec> {
    patterns.iter().map(|pattern| glob(pattern)).collect()
}

/// ripgrep's own defaults.
fn defaults() -> FilterSpec {
    FilterSpec {
        skip_hidden: true,
        ignore: true,
        ..FilterSpec::default()
    }
}

fn source_tree() -> Tree {
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

#[test]
fn nothing_is_filtered_by_default() {
    source_tree().compare(&FilterSpec::default());
    source_tree().compare(&defaults());
}

#[test]
fn globs_decide_as_in_ripgrep() {
    let tree = source_tree();
    for patterns in [
        &["*.rs"][..],
        &["!*.rs"],
        &["*.rs", "!src/**"],
        &["!src/**", "*.rs"],
        &["/src/*.rs"],
        &["src/*.rs"],
        &["src"],
        &["!src"],
        &["!src/"],
        &["/a.rs"],
        &["**/er/*"],
        &["*.{c,txt}"],
        &["[ab].*"],
        &[".*"],
        &["!.*"],
        &[".hidden"],
        &["**"],
        &["!**"],
        &["*.none"],
        &["docs/a b.txt"],
    ] {
        for base in [FilterSpec::default(), defaults()] {
            let globs = globs(patterns);
            tree.compare(&FilterSpec { globs, ..base });
        }
    }
    let insensitive = GlobSpec {
        pattern: "readme.*".to_owned(),
        case_insensitive: true,
    };
    tree.compare(&FilterSpec {
        globs: vec![glob("*.rs"), insensitive],
        ..FilterSpec::default()
    });
}

#[test]
fn globs_are_relative_to_the_base() {
    let tree = source_tree();
    let root = tree.root();
    for patterns in [
        &["/src/*.rs"][..],
        &["/main.rs"],
        &["!/src"],
        &["/deep/**"],
        &["src/main.rs"],
    ] {
        let spec = FilterSpec {
            globs: globs(patterns),
            ..FilterSpec::default()
        };
        // Run above, at, below and beside what is walked.
        for cwd in [&tree.base, &root, &root.join("src"), &root.join("other")] {
            tree.compare_from(cwd, &root.join("src"), &spec);
            tree.compare_from(cwd, &root, &spec);
        }
    }
}

/// A directory whose name merely begins with the base's is not below it. ripgrep's own answer
/// depends on how the path was typed, so there is no oracle.
#[test]
fn a_name_that_begins_like_the_base_is_not_below_it() {
    let spec = FilterSpec {
        globs: globs(&["!/bc"]),
        base: b"/a".to_vec(),
        ..FilterSpec::default()
    };
    let filter = Filter::new(&spec).expect("it compiles");
    let check = |dir: &[u8], name| filter.check(&Scope::default(), dir, name, EntryKind::File);
    assert_eq!(check(b"/a", b"bc"), Verdict::Skip(SkipReason::Filter));
    assert_eq!(check(b"/a/", b"bc"), Verdict::Skip(SkipReason::Filter));
    assert_eq!(check(b"/ab", b"c"), Verdict::Take);
    assert_eq!(check(b"/a/x", b"bc"), Verdict::Take);
}

#[test]
fn file_types_decide_as_in_ripgrep() {
    let tree = source_tree();
    tree.write(".gitignore", "!*.o\n");
    let lists: [(&[&str], &[&str]); 8] = [
        (&["rust"], &[]),
        (&["rust", "c"], &[]),
        (&[], &["rust"]),
        (&["rust"], &["rust"]),
        (&["all"], &["c"]),
        (&["make", "markdown"], &[]),
        (&[], &["all"]),
        (&["txt"], &[]),
    ];
    for (types, types_not) in lists {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        for base in [FilterSpec::default(), defaults()] {
            tree.compare(&FilterSpec {
                types: own(types),
                types_not: own(types_not),
                ..base.clone()
            });
            tree.compare(&FilterSpec {
                types: own(types),
                types_not: own(types_not),
                globs: globs(&["!deep"]),
                ..base
            });
        }
    }
}

#[test]
fn depth_and_size_limits() {
    let tree = source_tree();
    for max_depth in 0..5 {
        tree.compare(&FilterSpec {
            max_depth: Some(max_depth),
            ..FilterSpec::default()
        });
    }
    for max_filesize in [0, 1, 2, 3, 20, 100] {
        tree.compare(&FilterSpec {
            max_filesize: Some(max_filesize),
            ..FilterSpec::default()
        });
    }
}

#[test]
fn symbolic_links() {
    let tree = source_tree();
    let root = tree.root();
    symlink("src", root.join("link")).expect("writable");
    symlink("../a.rs", root.join("src/up.rs")).expect("writable");
    symlink("..", root.join("src/loop")).expect("writable");
    symlink("nowhere", root.join("dangling")).expect("writable");
    symlink(root.join("docs"), root.join("target/.docs")).expect("writable");
    tree.write("src/.ignore", "*.c\n/deep/er/y.txt\n");
    for follow in [false, true] {
        for base in [FilterSpec::default(), defaults()] {
            tree.compare(&FilterSpec { follow, ..base });
        }
    }
    // The root itself may be a link; the rules above are those above what it leads to.
    tree.write(".ignore", "main.rs\n/src/lib.c\n");
    let link = tree.base.join("elsewhere");
    symlink(root.join("src"), &link).expect("writable");
    tree.compare_from(&tree.base, &link, &defaults());
    tree.compare_from(&tree.base, &link.join("deep"), &defaults());
}

#[test]
fn ignore_files_of_all_kinds() {
    let tree = source_tree();
    fs::create_dir_all(tree.root().join(".git/info")).expect("writable");
    tree.write(
        ".gitignore",
        "target/\n*.c\n!lib.c\n# comment\n\\#not\n /x\n\n",
    );
    tree.write(".ignore", "!b.c\nother/src\n");
    tree.write(".rgignore", "!other/src\nREADME*\n");
    tree.write(".git/info/exclude", "Makefile\n*.txt\n");
    tree.write(
        "src/.gitignore",
        "/main.rs\r\n!/deep/er/y.txt\r\n.hidden\r\n",
    );
    tree.write("src/deep/.ignore", "er/x.rs\n");
    tree.write("docs/.gitignore", "!.hidden.txt\n");
    tree.write("target/.gitignore", "!keep.me\n");
    for skip_hidden in [false, true] {
        let spec = FilterSpec {
            skip_hidden,
            ..defaults()
        };
        tree.compare(&spec);
        // From below, the rules of the directories above hold.
        for root in [
            "src",
            "src/deep",
            "src/deep/er",
            "target",
            "docs",
            "other/src",
        ] {
            tree.compare_from(&tree.root(), &tree.root().join(root), &spec);
        }
        tree.compare(&FilterSpec {
            globs: globs(&["*.o", "!a.rs"]),
            ..spec.clone()
        });
        tree.compare(&FilterSpec {
            types: vec!["c".to_owned()],
            ..spec
        });
    }
}

#[test]
fn rules_of_git_need_a_repository_and_end_at_it() {
    let tree = Tree::with(&[
        (".gitignore", "*.log\n"),
        (".ignore", "*.tmp\n"),
        ("a.log", ""),
        ("a.tmp", ""),
        ("repo/a.log", ""),
        ("repo/a.tmp", ""),
        ("repo/.gitignore", "*.o\n"),
        ("repo/a.o", ""),
        ("repo/sub/a.o", ""),
        ("repo/sub/a.log", ""),
        ("repo/sub/inner/a.o", ""),
        ("repo/sub/inner/a.log", ""),
    ]);
    tree.global_ignore("*.log\nsub/inner/a.o\n");
    let roots = ["", "repo", "repo/sub", "repo/sub/inner"];
    let global = FilterSpec {
        global_ignore: b"*.log\nsub/inner/a.o\n".to_vec(),
        ..defaults()
    };
    let compare = || {
        for root in roots {
            tree.compare_from(&tree.root(), &tree.root().join(root), &global);
        }
        tree.compare_from(
            &tree.root().join("repo"),
            &tree.root().join("repo"),
            &global,
        );
    };
    compare();
    fs::create_dir(tree.root().join("repo/.git")).expect("writable");
    compare();
    fs::create_dir(tree.root().join("repo/sub/inner/.jj")).expect("writable");
    compare();
    fs::create_dir(tree.root().join(".git")).expect("writable");
    compare();
}

#[test]
fn a_work_tree_whose_git_is_a_file() {
    let tree = Tree::with(&[
        ("main/.git/info/exclude", "secret\n"),
        ("main/.git/worktrees/w/commondir", "../..\n"),
        ("w/secret", ""),
        ("w/a.o", ""),
        ("w/.gitignore", "*.o\n"),
        ("broken/.git", "nonsense\n"),
        ("broken/.gitignore", "*.o\n"),
        ("broken/a.o", ""),
    ]);
    let git_dir = tree.root().join("main/.git/worktrees/w");
    tree.write("w/.git", &format!("gitdir: {}\n", git_dir.display()));
    for root in ["", "w", "broken"] {
        tree.compare_from(&tree.root(), &tree.root().join(root), &defaults());
    }
}

#[test]
fn bad_lines_are_noted_and_the_others_count() {
    let tree = Tree::with(&[("a.log", ""), ("b.log", ""), ("c", ""), ("d", "")]);
    tree.write(".ignore", "\u{feff}a.log\n{b\n\nc\n");
    tree.compare(&defaults());

    let source = LocalSource::new(Roots::everything());
    let walk = Walk::new(&source, &defaults(), Scoping::Carried);
    let root = tree.root();
    assert_eq!(
        walk.files(&root),
        BTreeSet::from([root.join("b.log"), root.join("d")])
    );
    let notes = walk.filter.take_notes();
    let [note] = notes.as_slice() else {
        panic!("one note: {notes:?}");
    };
    let place = format!("{}/.ignore: line 2: ", root.display());
    assert!(note.starts_with(&place) && note.contains("{b"), "{note}");
    assert!(walk.filter.take_notes().is_empty());

    fs::write(root.join(".ignore"), b"a.log\n\xff\nc\n").expect("writable");
    tree.compare(&defaults());
}

#[test]
fn names_that_are_not_utf8_are_matched() {
    let tree = Tree::new();
    for name in [b"\xff.log".as_slice(), b"\xffx", b"ok.log"] {
        fs::write(tree.root().join(OsStr::from_bytes(name)), b"").expect("writable");
    }
    tree.write(".ignore", "*.log\n");
    tree.compare(&defaults());
    tree.compare(&FilterSpec {
        globs: globs(&["?x"]),
        ..FilterSpec::default()
    });
}

#[test]
fn a_restricted_source_has_no_rules_from_above_its_roots() {
    let tree = Tree::with(&[
        (".ignore", "*.log\n"),
        ("sub/a.log", ""),
        ("sub/.ignore", "*.tmp\n"),
        ("sub/a.tmp", ""),
    ]);
    let sub = tree.root().join("sub");
    let source = LocalSource::new(Roots::open(std::slice::from_ref(&sub)).expect("it exists"));
    let walk = Walk::new(&source, &defaults(), Scoping::Rebuilt);
    assert_eq!(walk.files(&sub), BTreeSet::from([sub.join("a.log")]));
}

/// A chain of scopes as long as the tree is deep is dropped without using up the stack.
#[test]
fn a_long_chain_of_scopes_is_dropped() {
    const SMALL_STACK: usize = 64 << 10;
    let tree = Tree::with(&[(".ignore", "x\n")]);
    let source = LocalSource::new(Roots::everything());
    let root = tree.root();
    let root = root.as_os_str().as_bytes();
    let Ok(Opened::Dir(dir)) = source.open(root, Links::Follow) else {
        panic!("the root opens");
    };
    let mut listing = Listing::new();
    dir.list(NameSlice::WHOLE, 1 << 20, &mut listing)
        .expect("it lists");
    let filter = Filter::new(&defaults()).expect("it compiles");
    let mut scope = filter.root_scope(&source, root);
    for _ in 0..5_000 {
        scope = filter.enter_listed(&scope, &*dir, root, &listing);
    }
    let thread = std::thread::Builder::new().stack_size(SMALL_STACK);
    let dropped = thread.spawn(move || drop(scope)).expect("a thread starts");
    dropped.join().expect("it ends");
}

#[test]
fn the_reason_of_a_skip() {
    let tree = Tree::with(&[(".ignore", "ignored\n")]);
    let spec = FilterSpec {
        globs: globs(&["!globbed"]),
        types_not: vec!["rust".to_owned()],
        ..defaults()
    };
    let source = LocalSource::new(Roots::everything());
    let filter = Filter::new(&spec).expect("it compiles");
    let root = tree.root();
    let root = root.as_os_str().as_bytes();
    let Ok(Opened::Dir(dir)) = source.open(root, Links::Follow) else {
        panic!("the root opens");
    };
    let scope = filter.enter(&filter.root_scope(&source, root), &*dir, root);
    for (name, kind, reason) in [
        ("globbed", EntryKind::File, SkipReason::Filter),
        ("a.rs", EntryKind::File, SkipReason::Filter),
        ("ignored", EntryKind::Dir, SkipReason::Ignore),
        (".dot", EntryKind::Dir, SkipReason::Hidden),
        ("link", EntryKind::Symlink, SkipReason::Symlink),
        ("fifo", EntryKind::Special, SkipReason::Special),
    ] {
        let verdict = filter.check(&scope, root, name.as_bytes(), kind);
        assert_eq!(verdict, Verdict::Skip(reason), "{name}");
    }
    assert_eq!(
        filter.check(&scope, root, b"a.rs", EntryKind::Dir),
        Verdict::Take
    );
    assert!(!filter.is_open());
    assert!(
        Filter::new(&FilterSpec::default())
            .expect("it compiles")
            .is_open()
    );
}

#[test]
fn filters_that_make_no_sense() {
    let bad_glob = FilterSpec {
        globs: globs(&["a{b"]),
        ..FilterSpec::default()
    };
    let error = Filter::new(&bad_glob).expect_err("an alternation that is not closed");
    assert!(matches!(&error, FilterError::Glob { pattern, .. } if pattern == "a{b"));
    assert!(error.to_string().contains("a{b"), "{error}");
    let bad_type = FilterSpec {
        types: vec!["nonsense".to_owned()],
        ..FilterSpec::default()
    };
    let error = Filter::new(&bad_type).expect_err("no such type");
    assert_eq!(error.to_string(), "unrecognized file type: nonsense");
}

#[test]
fn the_list_of_types_is_ripgreps() {
    let Some(rg) = ripgrep() else { return };
    let out = Command::new(rg)
        .args(["--no-config", "--type-list"])
        .output()
        .expect("it runs");
    let ours: Vec<String> = type_list()
        .into_iter()
        .map(|(name, globs)| format!("{name}: {}", globs.join(", ")))
        .collect();
    // A newer release of the crate may know more; what ripgrep prints, we have.
    let theirs = String::from_utf8(out.stdout).expect("it is text");
    let names = |lines: &[&str]| {
        lines
            .iter()
            .map(|l| l.split(':').next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(names(&ours), names(&theirs));
    assert!(theirs.contains(&"rust: *.rs") && ours.contains(&"rust: *.rs"));
}

/// A few names and a few rules, in all combinations that chance makes.
fn any_rule() -> impl Strategy<Value = String> {
    prop::sample::select(
        [
            "a", "/a", "a/", "!a", "!/a/b", "b/c", "*.x", "!*.x", "/b/", "**/c", "a/**", "!.h",
            ".h", "*", "!b",
        ]
        .as_slice(),
    )
    .prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn random_rules_on_random_trees(
        files in prop::collection::btree_set(
            prop::collection::vec(prop::sample::select(["a", "b", "c", "a.x", ".h"].as_slice()), 1..4), 1..12),
        rules in prop::collection::vec(
            (prop::sample::select(["", "a/", "b/", "a/b/", "../"].as_slice()),
             prop::sample::select([".ignore", ".gitignore", ".rgignore"].as_slice()),
             prop::collection::vec(any_rule(), 1..4)), 0..5),
        patterns in prop::collection::vec(any_rule(), 0..3),
        git: bool,
        skip_hidden: bool,
    ) {
        let tree = Tree::new();
        for names in &files {
            let path = names.iter().collect::<PathBuf>();
            let path = tree.root().join(path);
            // Where a file is already what should be a directory, there is one file less.
            if fs::create_dir_all(path.parent().expect("below the root")).is_ok() {
                let _ = fs::File::create_new(&path);
            }
        }
        for (dir, name, lines) in &rules {
            // Likewise where the directory of an ignore file does not exist.
            let _ = fs::write(tree.root().join(dir).join(name), lines.join("\n"));
        }
        if git {
            fs::create_dir_all(tree.root().join(".git")).expect("writable");
        }
        let globs = patterns.iter().map(|pattern| glob(pattern)).collect();
        tree.compare(&FilterSpec { globs, skip_hidden, ..defaults() });
    }
}
