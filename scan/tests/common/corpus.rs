//! Files of every kind.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Writes the haystacks and tells their names in order, with their bytes.
pub(crate) fn corpus(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = haystacks()
        .into_iter()
        .map(|(name, bytes)| {
            let path = Path::new("./").join(name);
            std::fs::write(dir.join(name), &bytes).expect("the directory is writable");
            (path, bytes)
        })
        .collect::<Vec<_>>();
    files.sort();
    files
}

const SHERLOCK: &str = "\
For the Doctor Watsons of this world, as opposed to the Sherlock
Holmeses, success in the province of detective work must always
be, to a very large extent, the result of luck. Sherlock Holmes
can extract a clew from a wisp of straw or a flake of cigar ash;

but Doctor Watson has to have it taken out for him and dusted,
and exhibited clearly, with a label attached.
";

fn haystacks() -> Vec<(&'static str, Vec<u8>)> {
    let many = |n: usize| {
        let mut text = String::new();
        for i in 0..n {
            let word = ["alpha", "beta", "Sherlock", "", "gamma delta", "\tfoo_bar"][i % 6];
            let filler = "0123456789".repeat(35);
            writeln!(text, "line {i:04} {word} {filler}").expect("memory does not fail");
        }
        text.into_bytes()
    };
    let at = |mut bytes: Vec<u8>, at: usize, with: &[u8]| {
        bytes.splice(at..at, with.iter().copied());
        bytes
    };
    let utf16 = |mark: bool| {
        let mark = mark.then_some(0xFEFF);
        let units = mark.into_iter().chain(SHERLOCK.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    let sherlock = SHERLOCK.as_bytes().to_vec();
    // The large files have long lines, so that there are few. A line longer than ripgrep's buffer makes it read further ahead in each later file, and so
    // find a NUL earlier; so the file that has one comes last.
    vec![
        ("sherlock", sherlock.clone()),
        ("no-last-terminator", SHERLOCK.trim_end().into()),
        ("crlf", SHERLOCK.replace('\n', "\r\n").into()),
        (
            "cr-inside",
            b"a\rb\nfoo\r\n\r\nSherlock\r\r\nlast\r".to_vec(),
        ),
        ("empty", Vec::new()),
        ("one-terminator", b"\n".to_vec()),
        ("terminators", b"\n\n\n\nfoo\n\n".to_vec()),
        ("one-byte", b"a".to_vec()),
        ("mark-utf8", at(sherlock.clone(), 0, b"\xEF\xBB\xBF")),
        ("mark-only", b"\xEF\xBB\xBF".to_vec()),
        ("utf16", utf16(true)),
        ("utf16-no-mark", utf16(false)),
        (
            "latin1",
            b"caf\xE9 Sherlock\n\xE9t\xE9 foo\n\xFF\xFE\n".to_vec(),
        ),
        (
            "unicode",
            "δέλτα Δέλτα foo\nстрока ❤ bar\nſherlock K k\n".into(),
        ),
        ("nuls", vec![0; 5000]),
        ("nul-first", at(sherlock.clone(), 0, b"\0")),
        ("nul-middle", at(sherlock.clone(), 200, b"x\0y")),
        ("nul-last", at(sherlock.clone(), SHERLOCK.len(), b"\0")),
        (
            "nul-records",
            b"foo one\0bar\ntwo Sherlock\0\0foo\0last".to_vec(),
        ),
        ("nul-late", at(many(400), 140_000, b"\0 Sherlock foo")),
        ("nul-late-unmatched", at(many(400), 140_000, b"zz\0zz")),
        ("nul-at-64k", at(many(400), 65_536, b"\0")),
        ("many", many(400)),
        ("zz-long-lines", {
            let mut text = "x".repeat(100_000) + " Sherlock " + &"y".repeat(70_000) + "\nfoo\n";
            text.push_str(&"ab ".repeat(1000));
            text.into_bytes()
        }),
        (
            "words",
            b"foo foobar barfoo foo_bar foo-bar -2 --2 2-\nFoo FOO foo\n".to_vec(),
        ),
        (
            "spans",
            b"start\nmid\nend foo\nstart end\nx\nstart\n\nend\nfoo\nfoo foo".to_vec(),
        ),
    ]
}
