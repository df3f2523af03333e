//! Ignore files, of a directory and of those above it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use proptest::prelude::*;
use regexctl_source::{
    Filter, FilterSpec, Links, Listing, LocalSource, NameSlice, Opened, Roots, Source,
};

use crate::oracle::{Scoping, Tree, Walk, defaults, glob, globs, source_tree, types};

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
            types: types(&["c"]),
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
