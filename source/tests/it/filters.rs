//! Globs, file types and limits.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;

use regexctl_source::{
    EntryKind, Filter, FilterError, FilterSpec, GlobSpec, Links, LocalSource, Opened, Roots, Scope,
    SkipReason, Source, Verdict, type_list,
};

use crate::oracle::{Tree, defaults, glob, globs, ripgrep, source_tree, types};

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
    let lists: [&[&str]; 12] = [
        &["rust"],
        &["rust", "c"],
        &["!rust"],
        // The order decides.
        &["rust", "!rust"],
        &["!rust", "rust"],
        &["rust", "!rust", "c", "rust"],
        &["!all", "c"],
        &["all", "!c"],
        &["!c", "all"],
        &["make", "markdown"],
        &["!all"],
        &["txt"],
    ];
    for names in lists {
        for base in [FilterSpec::default(), defaults()] {
            tree.compare(&FilterSpec {
                types: types(names),
                ..base.clone()
            });
            tree.compare(&FilterSpec {
                types: types(names),
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
fn the_reason_of_a_skip() {
    let tree = Tree::with(&[(".ignore", "ignored\n")]);
    let spec = FilterSpec {
        globs: globs(&["!globbed"]),
        types: types(&["!rust"]),
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
        types: types(&["nonsense"]),
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
