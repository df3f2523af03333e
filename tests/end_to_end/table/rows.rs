//! The rows of the table: every flag of `regexctl run` that ripgrep has, at least once.

/// What a row searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tree {
    EveryKind,
    Sources,
    Large,
}

/// One command line.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) tree: Tree,
    pub(super) args: Vec<String>,
    /// The same, for ripgrep.
    pub(super) rg_args: Vec<String>,
    /// Files fail in it, as ripgrep also finds.
    pub(super) may_err: bool,
    /// What is piped in.
    pub(super) input: Option<&'static [u8]>,
}

/// Each with every one of [`FORMS`], on the tree of every kind of file.
const PATTERNS: &[&str] = &[
    "foo",
    r"\w+",
    "^",
    r"(\w+) = (\d+)",
    "é",
    "nothing-like-this",
];

/// What is printed of the matches.
const FORMS: &[&str] = &[
    "",
    "-n",
    "-n --column -b",
    "-i -n",
    "-w -n",
    "-x -n",
    "-v -n",
    "-o -n",
    "-o -b",
    "-c",
    "-v -c",
    "-o -c",
    "--count-matches",
    "-l",
    "--files-without-match",
    "-n -C 1",
    "-n -A 2 -B 1",
    "-n -C 2 --heading",
    "-n -v -C 1",
    "--vimgrep",
    "-m 1 -n -A 2",
    "-r <$0> -n",
    "-n -a",
    "--json",
    "--json -C 1",
    "-q",
];

/// Flags and a pattern, on the tree of every kind of file.
const SINGLES: &[&str] = &[
    // Which patterns.
    "-e foo -e bar -n",
    "-f ../patterns -n",
    "-f ../patterns -e lease -n",
    "-F -e a.b -e foo( -n",
    "-F -x -n -e foo",
    "-F -i -n -e FOO",
    "-w -i -n -e foo",
    "-S -n -e foo",
    "-S -n -e Foo",
    "-i -s -n -e Foo",
    "-x -v -n -e foo",
    "--no-unicode -n -e \\w+é?",
    "-e (?i)STRASSE|straße -n",
    // Lines.
    "-U -n -e foo\\n.*foo",
    "-U -n -e (?s)foo.*lease",
    "-U --multiline-dotall -n -e foo.*lease",
    "-U --json -e holds[^.]*\\.\\nfoo",
    "-U -c -e foo\\n",
    "-U --count-matches -e foo\\n",
    "-U -o -n -b -e foo\\s+\\w+",
    "-U -r X -n -e foo\\n",
    "-U -C 1 -n -e foo\\n",
    "-U -v -n -e foo\\n",
    "--crlf -n -e foo$",
    "--crlf -o -n -e foo$",
    "--crlf -v -c -e foo$",
    "--crlf -x -n -e foo",
    "--sort path --null-data -n -e ^foo$",
    "--sort path --null-data -c -e foo",
    "--sort path --null-data -o -e foo",
    // Bytes.
    "-E utf-16le -n -e foo",
    "-E utf-16be -c -e foo",
    "-E latin1 -n -e été",
    "-E none -n -e foo",
    "-E none -c -e (?-u)\\xff",
    "-a -n -e foo",
    "-a -c -e foo",
    "-a -v -c -e foo",
    "--binary -n -e foo",
    "-a -o -b -e foo",
    // What of them.
    "-r $2:$1 -n -e (\\w+)~=~(\\d+)",
    "-o -r ${name}! -e (?P<name>[a-z]+)\\s+bar",
    "-r $$ --column -n -e foo",
    "--json -r <$1> -e (fo+)",
    "-m 2 -c -e foo",
    "-m 0 -n -e foo",
    "-m 3 --count-matches -e foo",
    "-m 1 -l -e foo",
    "-m 1 -v -n -e foo",
    "-m 1 -o -n -e foo",
    "-m 2 -C 1 -n -e foo",
    // How they are printed.
    "-H -n -e foo",
    "-N -e foo",
    "-I -n -e foo",
    "-I -c -e foo",
    "--no-heading -n -e foo",
    "--heading -n -e foo",
    "--heading --color always -n -e foo",
    "--color always -n -e foo",
    "--color always -o --column -e \\w+o",
    "--color always --colors match:fg:blue -n -e foo",
    "--color always -r bar -n -e foo",
    "--color always -C 1 -n -e foo",
    "-p -e foo",
    "-0 -n -e foo",
    "--sort path -0 -l -e foo",
    "-0 -c -e foo",
    "--sort path -0 --files-without-match -e foo",
    "--trim -n -e foo",
    "--trim -o -e \\s+\\w+",
    "--trim --vimgrep -e indented",
    "-M 40 -n -e foo",
    "-M 40 --max-columns-preview -n -e foo",
    "-M 10 -o -n -e foo",
    "-M 20 -r much-longer-than-it-was -n -e foo",
    "--sort path --context-separator ### -C 1 -n -e foo",
    "--no-context-separator -C 1 -n -e foo",
    "--sort path --field-match-separator = -n -e foo",
    "--sort path --field-context-separator + -C 1 -n -e foo",
    "--vimgrep -c -e foo",
    "-n --column -C 1 -e foo",
    "-b -C 1 -e foo",
    "--json -v -e foo",
    "--json -o -e foo",
    "--json -m 1 -e foo",
    "--json -a -e foo",
    "--json -e nothing-like-this",
    "--sort path -n -e foo",
    "--sort path -l -e foo",
    "--sort path --heading -n -C 1 -e foo",
    "--sort path -c -e foo",
    "--sort path --vimgrep -e foo",
    "--sort path -C 2 -n -e foo",
    "--sort path --files",
    "-q -v -e foo",
    // Which files.
    "--files",
    "--sort path --files -0",
    "--files -g *.txt",
    "--files -t rust",
    "--files -d 2",
    "-g *.rs -n -e foo",
    "-g !*.rs -n -e foo",
    "-g *.txt -g !long* -n -e foo",
    "-g src/** -n -e foo",
    "-g /src/*.rs -l -e foo",
    "-g !/src -l -e foo",
    "-g {names,words}/** -l -e foo",
    "--iglob *.TXT -l -e foo",
    "--glob-case-insensitive -g *.TXT -l -e foo",
    "-t rust -n -e foo",
    "-t rust -t py -l -e foo",
    "-T rust -l -e foo",
    "-t txt -T txt -l -e foo",
    "-T txt -t txt -l -e foo",
    "-T rust -t txt -t rust -T py -l -e foo",
    "-t all -T txt -T py -t py --files",
    "-t all -l -e foo",
    "-d 1 -l -e foo",
    "-d 2 -l -e foo",
    "-d 30 -l -e foo",
    "--max-filesize 1K -l -e foo",
    "--max-filesize 400000 -l -e foo",
    "--max-filesize 0 -l -e ^",
    "-L -l -e foo",
    "-L -n -d 2 -e foo",
    "-L --files",
    "-j 1 -n -e foo",
    "-j 3 -c -e foo",
];

/// Flags and a pattern, and the base flags of ripgrep that mean the same.
const FILTERED: &[(&str, &str)] = &[
    ("--ignore --no-hidden --no-binary -n -e foo", ""),
    ("--ignore --no-hidden --no-binary --files", ""),
    ("--ignore --no-hidden --no-binary -c -v -e foo", ""),
    ("--ignore --no-hidden --no-binary --json -e foo", ""),
    ("--ignore --no-hidden --no-binary -t rust -l -e foo", ""),
    ("--ignore --no-hidden --no-binary -g *.log -l -e foo", ""),
    ("--ignore --no-hidden --no-binary -L -l -e foo", ""),
    ("--ignore --no-hidden --no-binary --sort path -n -e foo", ""),
    ("--ignore -l -e foo", "--hidden --binary"),
    ("--ignore --files", "--hidden"),
    ("--no-hidden -l -e foo", "--no-ignore --binary"),
    ("--no-hidden --files", "--no-ignore"),
    ("--no-binary -n -e foo", "--no-ignore --hidden"),
    ("--no-binary -c -e foo", "--no-ignore --hidden"),
    ("--no-binary -l -e foo", "--no-ignore --hidden"),
    ("--no-binary -v -c -e foo", "--no-ignore --hidden"),
    (
        "--no-binary --files-without-match -e foo",
        "--no-ignore --hidden",
    ),
    ("--no-binary -a -c -e foo", "--no-ignore --hidden"),
    ("--ignore --no-ignore -l -e foo", "-uuu"),
    ("--no-hidden --hidden -l -e foo", "-uuu"),
    ("--no-binary --binary -n -e foo", "-uuu"),
    ("--ignore --no-hidden -u -l -e foo", "--binary"),
    ("--ignore --no-hidden --no-binary -uu -l -e foo", ""),
    ("--ignore --no-hidden --no-binary -uuu -n -e foo", ""),
];

/// Paths that are not `.`; the output is compared as it is.
const PATHS: &[&str] = &[
    "-e foo plain.txt",
    "-n -e foo plain.txt",
    "-H -n -e foo plain.txt",
    "-c -e foo binary",
    "-n -e foo binary",
    "-n -e foo binary-late",
    "-l -e foo enc/utf16le.txt",
    "-n -e foo names/-n",
    "--sort path -n -e foo src plain.txt",
    "--sort path -n -e foo src/",
    "--sort path -n -e foo ./src/../src",
    "--sort path -l -e foo names",
    "--sort path -n -e foo links/to-dir",
    "-n -e foo links/to-file",
    "--sort path -n -g *.py -e foo src plain.txt",
    "--sort path -d 0 -n -e foo plain.txt",
    "--sort path --files src",
];

/// On the copy of this repository's sources.
const SOURCES: &[&str] = &[
    "-n -e fn\\s+\\w+",
    "-n -w -e Task",
    "-c -e unwrap|expect",
    "-o -n -e [A-Z_]{4,}",
    "-i -l -e scheduler",
    "-n -C 2 -e impl.*for",
    "-U -n -e struct\\s+\\w+\\s*\\{\\n",
    "--json -e lease",
    "-v -c -e ^\\s*//",
    "-t rust -n -r fn:$1 -e fn\\s+(\\w+)",
    "-n -e \\w{5}\\s+\\w{5}\\s+\\w{5}",
    "--sort path -n -e lease",
    "--files-without-match -e unsafe",
    "-n -e ^",
];

/// On a file large enough to be split.
const LARGE: &[&str] = &[
    "-n -e rare",
    "-n -b --column -e rare",
    "-c -e rare",
    "-n -C 2 -e rare",
    "-m 3 -n -e rare",
    "-v -c -e lorem",
    "--json -e rare",
    "-l -e rare",
    "-n -e rare large.txt",
    "-o -b -e rare\\s\\w+",
];

/// With something piped in and no path, or with `-`.
const INPUT: &[&str] = &[
    "-n -e foo",
    "-c -e foo",
    "-e foo -",
    "-n -H -e foo -",
    "-v -n -e foo",
    "--json -e foo",
];

fn row(tree: Tree, flags: &str, base: &str, paths: &[&str]) -> Row {
    // `~` stands for a space in an argument.
    let words = |text: &str| -> Vec<String> {
        text.split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| word.replace('~', " "))
            .collect()
    };
    let mut args = words(flags);
    args.extend(paths.iter().map(|&path| path.to_owned()));
    let mut rg_args = words(base);
    rg_args.extend(args.iter().cloned());
    Row {
        tree,
        may_err: args.contains(&"-L".to_owned()),
        args,
        rg_args,
        input: None,
    }
}

/// The whole table.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for pattern in PATTERNS {
        for form in FORMS {
            let mut row = row(Tree::EveryKind, form, "-uuu", &[]);
            for args in [&mut row.args, &mut row.rg_args] {
                args.extend(["-e", pattern, "."].map(str::to_owned));
            }
            rows.push(row);
        }
    }
    rows.extend(
        SINGLES
            .iter()
            .map(|flags| row(Tree::EveryKind, flags, "-uuu", &["."])),
    );
    rows.extend(
        FILTERED
            .iter()
            .map(|(flags, base)| row(Tree::EveryKind, flags, base, &["."])),
    );
    rows.extend(
        PATHS
            .iter()
            .map(|flags| row(Tree::EveryKind, flags, "-uuu", &[])),
    );
    rows.extend(
        SOURCES
            .iter()
            .map(|flags| row(Tree::Sources, flags, "-uuu", &["."])),
    );
    rows.extend(LARGE.iter().map(|flags| {
        let named: &[&str] = if flags.ends_with(".txt") { &[] } else { &["."] };
        row(Tree::Large, flags, "-uuu", named)
    }));
    rows.extend(INPUT.iter().map(|flags| Row {
        input: Some(b"a foo\nnone\nfoo again\n"),
        ..row(Tree::EveryKind, flags, "-uuu", &[])
    }));
    rows
}
