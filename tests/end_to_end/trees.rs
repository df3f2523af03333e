//! The trees that are searched, with all that file systems and editors leave behind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use walkdir::WalkDir;

use crate::harness::Seeded;
use crate::harness::scratch::{WORDS, write};

/// Text in which all patterns of the table find something.
const TEXT: &str = "\
The frontier holds every task not yet done.
foo bar foo
  indented foo = 12
FOO and Foo, foobar and barfoo

été ÉTÉ straße
a line without it
lease = 7; shard = 12345; attempt = 3
foo
last foo";

/// A tree with a file of every kind.
pub(crate) fn every_kind(root: &Path) {
    text(root);
    encodings(root);
    names(root);
    ignored(root);
    links_and_special(root);
}

fn text(root: &Path) {
    write(root, "plain.txt", TEXT.to_owned() + "\n");
    write(root, "no-newline-at-end.txt", TEXT);
    write(root, "crlf.txt", TEXT.replace('\n', "\r\n"));
    write(root, "empty", "");
    write(root, "one-newline", "\n");
    write(root, "nuls-only", vec![0; 70_000]);
    write(root, "null-data", TEXT.replace('\n', "\0"));
    let mut binary = TEXT.as_bytes().to_vec();
    binary.extend_from_slice(b"\n\0\x01\x02foo\nmore foo\n");
    write(root, "binary", &binary);
    write(
        root,
        "binary-at-once",
        [b"\0foo\n", TEXT.as_bytes()].concat(),
    );
    // The NUL is behind the first buffer of any searcher that has not met a long line before, as ripgrep has not: in the order
    // of paths, this comes before the file with one.
    let mut late = "no match here at all, only a NUL far behind, behind all that a buffer holds\n"
        .repeat(4000)
        .into_bytes();
    late.extend_from_slice(b"foo before\n\0\nfoo behind\n");
    write(root, "binary-late", &late);
    write(
        root,
        "src/code.rs",
        format!("fn foo() -> u32 {{\n    12\n}}\n\n// {TEXT}\n"),
    );
    write(
        root,
        "src/code.py",
        format!("def foo():\n    return 12\n\n'''{TEXT}'''\n"),
    );
    write(root, "src/code.c", "int foo(void)\n{\n\treturn 12;\n}\n");
    write(root, "src/UPPER.TXT", TEXT);
    let long = format!(
        "{} foo {}\nfoo short\n",
        "- ".repeat(35_000),
        "- ".repeat(100_000)
    );
    write(root, "long-line.txt", long);
    write(root, "many-in-a-line.txt", "foo ".repeat(600) + "\n");
    let mut deep = root.join("deep");
    for level in 0..60 {
        deep.push(format!("level-{level}"));
        if level % 10 == 0 {
            write(&deep, "file.txt", format!("foo at {level}\nnothing\n"));
        }
    }
    let mut seeded = Seeded(7);
    for file in 0..40 {
        let lines = (0..seeded.below(200)).map(|_| {
            let words = (0..seeded.below(6)).map(|_| WORDS[seeded.below(WORDS.len())]);
            words.collect::<Vec<_>>().join(" ") + "\n"
        });
        write(
            root,
            format!("words/{}/{file}", file % 5),
            lines.collect::<String>(),
        );
    }
}

fn encodings(root: &Path) {
    let utf16 = |text: &str, swap: bool| -> Vec<u8> {
        let units = text.encode_utf16();
        units
            .flat_map(|unit| {
                if swap {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            })
            .collect()
    };
    let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
    write(
        root,
        "enc/utf8-bom.txt",
        marked(b"\xef\xbb\xbf", TEXT.as_bytes()),
    );
    write(
        root,
        "enc/utf16le.txt",
        marked(b"\xff\xfe", &utf16(TEXT, false)),
    );
    write(
        root,
        "enc/utf16be.txt",
        marked(b"\xfe\xff", &utf16(TEXT, true)),
    );
    write(root, "enc/utf16le-no-bom.txt", utf16(TEXT, false));
    write(
        root,
        "enc/latin1.txt",
        b"foo \xe9t\xe9 caf\xe9\nplain foo\n\xff\xfe foo\n",
    );
}

fn names(root: &Path) {
    let named = |name: &[u8]| {
        write(
            root,
            Path::new("names").join(OsStr::from_bytes(name)),
            "foo in a name\nand not\n",
        );
    };
    named(b"with space");
    named(b"with\nnewline");
    named(b"with:colon");
    named(b"with-dash:12:34");
    named(b"not-utf8-\xff\xfe\x80");
    named(b"-n");
    named("\u{e9}t\u{e9}".as_bytes());
    named(&[b'n'; 255]);
    named(b"sp ace\xff/in:side\n/file");
    named(b"*[glob]?");
}

fn ignored(root: &Path) {
    fs::create_dir_all(root.join(".git/info")).expect("it can be written");
    write(root, ".git/HEAD", "foo\n");
    write(root, ".git/info/exclude", "excluded.txt\n");
    write(root, ".gitignore", "*.log\n/build/\n!keep.log\nignored-*\n");
    write(root, "app.log", "foo in a log\n");
    write(root, "keep.log", "foo is kept\n");
    write(root, "build/out.txt", "foo is built\n");
    write(root, "src/build/out.txt", "foo is not at the top\n");
    write(root, "src/excluded.txt", "foo is excluded\n");
    write(
        root,
        "src/.gitignore",
        "generated/\n*.tmp\n!/important.tmp\n",
    );
    write(root, "src/generated/a.rs", "foo is generated\n");
    write(root, "src/scratch.tmp", "foo\n");
    write(root, "src/important.tmp", "foo\n");
    write(root, "src/.ignore", "by-ignore\n");
    write(root, "src/by-ignore", "foo\n");
    write(root, "src/.rgignore", "!by-ignore\nby-rgignore\n");
    write(root, "src/by-rgignore", "foo\n");
    write(root, "ignored-dir/file", "foo\n");
    write(root, ".hidden", "foo is hidden\n");
    write(root, ".hidden-dir/file", "foo is hidden\n");
}

fn links_and_special(root: &Path) {
    fs::create_dir_all(root.join("links")).expect("it can be written");
    let link = |target: &str, name: &str| {
        symlink(target, root.join("links").join(name)).expect("links can be made");
    };
    link("../plain.txt", "to-file");
    link("../src", "to-dir");
    link("../nowhere", "broken");
    let fifo = root.join("links/fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from(0o600), 0).expect("FIFOs can be made");
    // The socket stays when the listener goes. Its path may be too long for an address.
    drop(UnixListener::bind(root.join("links/socket")));
}

/// A copy of this repository's own sources, which somebody may be changing.
pub(crate) fn sources(root: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in ["src", "proto", "scan", "source", "worker", "master", "docs"] {
        for entry in WalkDir::new(repository.join(part))
            .into_iter()
            .filter_map(Result::ok)
        {
            let path = entry.path().strip_prefix(repository).expect("it is below");
            // What vanishes meanwhile is not copied.
            if entry.file_type().is_file()
                && let Ok(contents) = fs::read(entry.path())
            {
                write(root, path, contents);
            }
        }
    }
    write(root, ".gitignore", "*.proto\ntests/\n");
    fs::create_dir_all(root.join(".git")).expect("it can be written");
}

/// One text file of 40 MB, which is split between threads and workers, and a small one beside it.
pub(crate) fn large(root: &Path) {
    let mut seeded = Seeded(11);
    let mut text = String::with_capacity(41 << 20);
    let mut number = 0;
    while text.len() < 40 << 20 {
        number += 1;
        let word = WORDS[seeded.below(WORDS.len())];
        let filler = "lorem ipsum dolor sit amet ".repeat(seeded.below(24));
        text.push_str(&format!("{number} {word} {filler}\n"));
        if number % 5000 == 0 {
            text.push_str("a rare line\n");
        }
    }
    text.push_str("the rare end without a newline");
    write(root, "large.txt", text);
    write(root, "small.txt", "a rare line\nand another\n");
}
