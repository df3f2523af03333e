//! Command lines in a known environment, against the jobs that they become.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::flags::{self, Action};
use crate::print::Mode as Print;

/// A working directory, with surroundings that a test may change.
struct Place {
    dir: tempfile::TempDir,
    environment: Environment,
    config: Config,
    master: bool,
    stdin: &'static [u8],
}

impl Place {
    /// `a.txt`, `b.txt`, `src/`, `src/deep/` and `link`, a symbolic link to `src/deep`.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cwd = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(cwd.join("src/deep")).unwrap();
        std::fs::write(cwd.join("a.txt"), "a").unwrap();
        std::fs::write(cwd.join("b.txt"), "b").unwrap();
        symlink("src/deep", cwd.join("link")).unwrap();
        Self {
            dir,
            environment: Environment {
                cwd,
                stdout_is_terminal: false,
                stderr_is_terminal: false,
                shows_colors: false,
                stdin_is_readable: false,
                global_ignore: b"*.bak\n".to_vec(),
            },
            config: Config::default(),
            master: false,
            stdin: b"",
        }
    }

    fn terminal(mut self) -> Self {
        self.environment.stdout_is_terminal = true;
        self.environment.shows_colors = true;
        self
    }

    fn try_run(&self, line: &str) -> Result<Request, JobError> {
        let words = ["regexctl", "run"]
            .into_iter()
            .chain(line.split_whitespace());
        let Ok(Action::Run(typed)) = flags::parse(words.map(OsString::from)) else {
            panic!("{line}: not a run");
        };
        let args = typed.resolve(&self.config).unwrap();
        let mut stdin = self.stdin;
        let work = Work::new(
            args,
            &self.config,
            &self.environment,
            self.master,
            &mut stdin,
        )?;
        match work {
            Work::Search(request) => Ok(*request),
            Work::TypeList => panic!("{line}: a list of types"),
        }
    }

    fn run(&self, line: &str) -> Request {
        self.try_run(line)
            .unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn error(&self, line: &str) -> String {
        self.try_run(line)
            .expect_err("the line is wrong")
            .to_string()
    }

    fn path(&self, below: &str) -> String {
        let path = if below.is_empty() {
            self.environment.cwd.clone()
        } else {
            self.environment.cwd.join(below)
        };
        path.to_str().unwrap().to_owned()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn roots(request: &Request) -> Vec<String> {
    assert_eq!(request.spec.roots.len(), request.roots.len());
    assert_eq!(request.spec.roots.len(), request.walk.len());
    request
        .spec
        .roots
        .iter()
        .map(|root| text(&root.path))
        .collect()
}

fn shown(request: &Request, root: usize, path: &str) -> String {
    let mut out = Vec::new();
    request.roots[root].path(path.as_bytes(), &mut out);
    text(&out)
}

fn search(request: &Request) -> &v1::SearchSpec {
    request.spec.search.as_ref().unwrap()
}

#[test]
fn paths_are_absolute_for_nodes_and_as_typed_for_people() {
    let place = Place::new();
    for (typed, path, below, printed) in [
        ("src", "src", "x", "src/x"),
        ("src/", "src", "x", "src/x"),
        ("./src", "src", "x", "./src/x"),
        (".", "", "x/y", "./x/y"),
        ("./", "", "x", "./x"),
        ("src//deep/.", "src/deep", "x", "src//deep/./x"),
        ("a.txt", "a.txt", "", "a.txt"),
        ("src/../a.txt", "a.txt", "", "src/../a.txt"),
        // The parent of a link's target, not of the link.
        ("link/..", "src", "x", "link/../x"),
        ("link", "link", "x", "link/x"),
    ] {
        let request = place.run(&format!("P {typed}"));
        assert_eq!(roots(&request), [place.path(path)], "{typed}");
        assert_eq!(shown(&request, 0, below), printed, "{typed}");
        assert_eq!(request.walk, [true]);
    }
    let request = place.run("P /");
    assert_eq!(roots(&request), ["/"]);
    assert_eq!(shown(&request, 0, "etc/fstab"), "/etc/fstab");
}

#[test]
fn without_a_path_the_working_directory_is_searched() {
    let place = Place::new();
    let request = place.run("P");
    assert_eq!(roots(&request), [place.path("")]);
    assert_eq!(shown(&request, 0, "src/x"), "src/x");
    assert!(!request.stdin);
    assert!(request.print.with_filename);
}

#[test]
fn piped_input_is_searched_when_no_path_is_given() {
    let mut place = Place::new();
    place.environment.stdin_is_readable = true;
    let request = place.run("P");
    assert!(request.stdin && request.roots.is_empty());
    assert!(!request.print.with_filename);
    assert!(!place.run("P src").stdin);
    assert!(!place.run("--files").stdin);
    let request = place.run("P - src");
    assert!(request.stdin && request.print.with_filename);
    assert_eq!(roots(&request), [place.path("src")]);
    // What -f has read is not searched as well.
    place.stdin = b"one\ntwo\n";
    let request = place.run("-f -");
    assert!(!request.stdin);
    assert_eq!(roots(&request), [place.path("")]);
    assert_eq!(
        place.error("-f - -"),
        "standard input cannot be read by both -f and the path -"
    );
    assert_eq!(
        place.error("-f - --files-from -"),
        "standard input cannot be read by both -f and --files-from"
    );
}

#[test]
fn missing_paths_are_told_unless_a_master_knows_better() {
    let mut place = Place::new();
    let request = place.run("P src nope a.txt");
    assert_eq!(roots(&request), [place.path("src"), place.path("a.txt")]);
    assert_eq!(request.missing.len(), 1);
    assert_eq!(request.missing[0].path, b"nope");
    assert_eq!(
        request.missing[0].error.kind(),
        std::io::ErrorKind::NotFound
    );
    place.master = true;
    let request = place.run("P nope");
    assert_eq!(roots(&request), [place.path("nope")]);
    assert!(request.missing.is_empty());
    assert!(request.print.with_filename, "it may be a directory there");
}

#[test]
fn paths_are_translated_for_a_master_only() {
    let mut place = Place::new();
    let cwd = place.path("");
    let line = format!("P src src/deep link/.. --map {cwd}=/export --map {cwd}/src/deep=/deep");
    assert_eq!(
        place.run(&line).spec.roots[0].path,
        place.path("src").into_bytes()
    );
    place.master = true;
    let request = place.run(&line);
    assert_eq!(roots(&request), ["/export/src", "/deep", "/export/src"]);
    assert_eq!(shown(&request, 1, "x"), "src/deep/x");
    assert_eq!(text(&request.spec.filter.as_ref().unwrap().base), "/export");
    // Whole components, and the command line's before the configuration's.
    place.config.maps = vec![crate::flags::mapping(format!("{cwd}=/config").as_ref()).unwrap()];
    assert_eq!(roots(&place.run("P src")), ["/config/src"]);
    assert_eq!(
        roots(&place.run(&format!("P src --map {cwd}=/typed"))),
        ["/typed/src"]
    );
    let partial = format!("P src --map {}=/x", &cwd[..cwd.len() - 1]);
    assert_eq!(roots(&place.run(&partial)), ["/config/src"]);
    assert_eq!(roots(&place.run(&format!("P . --map {cwd}=/"))), ["/"]);
}

#[test]
fn listed_paths_are_handed_over_as_they_are() {
    let mut place = Place::new();
    place.stdin = b"a.txt\n./src/x\n\n/etc/fstab\nno newline at the end";
    let request = place.run("P --files-from -");
    assert_eq!(roots(&request), [place.path("")]);
    assert_eq!(request.walk, [false]);
    assert_eq!(request.paths.len(), 1);
    assert_eq!(request.paths[0].root, 0);
    let paths: Vec<_> = request.paths[0]
        .paths
        .iter()
        .map(|path| text(path))
        .collect();
    assert_eq!(
        paths,
        ["a.txt", "./src/x", "/etc/fstab", "no newline at the end"]
    );
    for path in &paths {
        assert_eq!(&shown(&request, 0, path), path);
    }
    assert!(request.print.with_filename && !request.stdin);
    // Beside PATHs.
    let request = place.run("P src --files-from -");
    assert_eq!(roots(&request), [place.path("src"), place.path("")]);
    assert_eq!(request.walk, [true, false]);
    assert_eq!(request.paths[0].root, 1);
}

#[test]
fn listed_paths_may_end_with_nul_and_hold_newlines() {
    let mut place = Place::new();
    place.stdin = b"a\nb\0c\0";
    let request = place.run("P --files0-from -");
    assert_eq!(request.paths[0].paths, [b"a\nb".to_vec(), b"c".to_vec()]);
    assert_eq!(
        place.error("P --files-from -"),
        "standard input: path 2 holds a NUL byte; is the list one for --files0-from?"
    );
    place.stdin = b"a\0\0";
    assert_eq!(
        place.error("P --files0-from -"),
        "standard input: path 2 is empty"
    );
    assert!(
        place
            .error("P --files-from /nope/list")
            .contains("/nope/list")
    );
    let long: &'static [u8] = vec![b'x'; 70_000].leak();
    place.stdin = long;
    assert!(
        place
            .error("P --files-from -")
            .contains("path 1 is longer than 65536 bytes")
    );
}

#[test]
fn listed_paths_with_parents_or_mappings_get_roots_of_their_own() {
    let mut place = Place::new();
    place.stdin = b"link/../x\nsrc/../a.txt\nb.txt\n..\nlink/../y\n";
    let request = place.run("P --files-from -");
    let parent = place.environment.cwd.parent().unwrap().to_str().unwrap();
    assert_eq!(
        roots(&request),
        [
            place.path("src"),
            place.path(""),
            place.path(""),
            parent.to_owned()
        ]
    );
    let printed: Vec<_> = request
        .paths
        .iter()
        .flat_map(|named| {
            named
                .paths
                .iter()
                .map(|path| shown(&request, named.root as usize, &text(path)))
        })
        .collect();
    assert_eq!(
        printed,
        ["link/../x", "link/../y", "src/../a.txt", "b.txt", ".."]
    );

    place.master = true;
    place.stdin = b"src/deep/x\n/home//me/y\nb.txt\n/etc/z\n";
    let cwd = place.path("");
    let line = format!("P --files-from - --map {cwd}=/export --map {cwd}/src=/src --map /home=/h");
    let request = place.run(&line);
    assert_eq!(roots(&request), ["/src", "/h", "/export"]);
    let sent: Vec<_> = request
        .paths
        .iter()
        .flat_map(|named| {
            named.paths.iter().map(|path| {
                (
                    text(path),
                    shown(&request, named.root as usize, &text(path)),
                )
            })
        })
        .collect();
    let expected = [
        ("deep/x", "src/deep/x"),
        ("me/y", "/home//me/y"),
        ("b.txt", "b.txt"),
        ("/etc/z", "/etc/z"),
    ];
    assert_eq!(sent, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn patterns_come_from_flags_files_or_the_first_argument() {
    let mut place = Place::new();
    let file = place.dir.path().join("patterns");
    std::fs::write(&file, "two\r\n\nthree\ntwo\n").unwrap();
    place.stdin = b"four";
    let patterns = |request: Request| request.spec.pattern.unwrap().patterns;
    assert_eq!(patterns(place.run("P src")), ["P"]);
    let line = format!("-e one -f {} -e two -f - a.txt", file.display());
    let request = place.run(&line);
    assert_eq!(roots(&request), [place.path("a.txt")]);
    assert_eq!(patterns(request), ["one", "two", "", "three", "four"]);
    std::fs::write(&file, "").unwrap();
    let request = place.run(&format!("-f {}", file.display()));
    assert!(!request.can_match);
    assert!(place.run(&format!("-v -f {}", file.display())).can_match);
    assert!(!place.run("-m 0 P").can_match);
    assert!(place.run("--files").can_match);

    std::fs::write(&file, b"ok\nbad\xff\n").unwrap();
    let error = place.error(&format!("-f {}", file.display()));
    assert!(
        error.contains("patterns:2: the pattern is not UTF-8 at byte 3"),
        "{error}"
    );
    let error = place.error(&format!("--max-pattern-size 3 -f {}", file.display()));
    assert!(error.contains("longer than 3 bytes"), "{error}");
    assert!(place.error("-f /nope").contains("/nope"));
    assert!(place.error("").contains("no pattern"));
}

/// ripgrep's rules for what is printed beside the line.
#[test]
fn names_headings_and_line_numbers_depend_on_what_is_searched_where() {
    // Flags, whether on a terminal, then: filename, heading, line number, column.
    for (line, terminal, expected) in [
        ("P a.txt", false, (false, false, false, false)),
        ("P a.txt", true, (false, true, true, false)),
        ("P a.txt b.txt", false, (true, false, false, false)),
        ("P src", false, (true, false, false, false)),
        ("P nope", false, (false, false, false, false)),
        ("P", true, (true, true, true, false)),
        ("-n P", false, (true, false, true, false)),
        ("-N P", true, (true, true, false, false)),
        ("-I P", true, (false, true, true, false)),
        ("-H P a.txt", false, (true, false, false, false)),
        ("--column P", false, (true, false, true, true)),
        ("--column -N P", false, (true, false, false, true)),
        ("--no-heading P", true, (true, false, true, false)),
        ("--vimgrep P a.txt", true, (true, false, true, true)),
        ("--vimgrep --heading P", true, (true, false, true, true)),
        ("--vimgrep --no-column P", false, (true, false, true, false)),
        ("-c P", true, (true, true, false, false)),
        ("-c -n P", true, (true, true, false, false)),
        ("-q -n P", true, (true, true, false, false)),
        ("--json P", false, (true, false, true, false)),
        ("--json -N P", true, (true, true, false, false)),
        ("P -", true, (false, true, false, false)),
    ] {
        let place = if terminal {
            Place::new().terminal()
        } else {
            Place::new()
        };
        let print = place.run(line).print;
        let found = (
            print.with_filename,
            print.heading,
            print.line_number,
            print.column,
        );
        assert_eq!(found, expected, "{line}, terminal: {terminal}");
    }
}

#[test]
fn the_kind_of_result_follows_the_mode() {
    use v1::Want;
    for (line, printed, want, submatches) in [
        ("P", Print::Standard, Want::Lines, false),
        ("-o P", Print::Standard, Want::Lines, true),
        ("--column P", Print::Standard, Want::Lines, true),
        ("--vimgrep P", Print::Standard, Want::Lines, true),
        ("-r X P", Print::Standard, Want::Lines, true),
        ("--color always P", Print::Standard, Want::Lines, true),
        (
            "--color always --colors match:none P",
            Print::Standard,
            Want::Lines,
            false,
        ),
        ("--stats P", Print::Standard, Want::Lines, true),
        ("--json P", Print::Json, Want::Lines, true),
        ("-c P", Print::CountLines, Want::CountLines, false),
        ("-c --stats P", Print::CountLines, Want::CountLines, true),
        ("-co P", Print::CountMatches, Want::CountMatches, false),
        (
            "--count-matches P",
            Print::CountMatches,
            Want::CountMatches,
            false,
        ),
        (
            "--count-matches -v P",
            Print::CountLines,
            Want::CountLines,
            false,
        ),
        ("-l P", Print::FilesWithMatch, Want::FilesWithMatch, false),
        (
            "-l --stats P",
            Print::FilesWithMatch,
            Want::CountLines,
            true,
        ),
        (
            "--files-without-match P",
            Print::FilesWithoutMatch,
            Want::FilesWithoutMatch,
            false,
        ),
        ("-q P", Print::Quiet, Want::FilesWithMatch, false),
        ("-q --json P", Print::Quiet, Want::FilesWithMatch, false),
        (
            "-q --files-without-match P",
            Print::Quiet,
            Want::FilesWithoutMatch,
            false,
        ),
        ("-q --stats P", Print::Quiet, Want::CountLines, true),
        ("--files", Print::Files, Want::Files, false),
        ("-q --files", Print::Quiet, Want::Files, false),
        ("--files -l", Print::Files, Want::Files, false),
    ] {
        let request = Place::new().run(line);
        assert_eq!(request.print.mode, printed, "{line}");
        assert_eq!(search(&request).want(), want, "{line}");
        assert_eq!(search(&request).submatches, submatches, "{line}");
        assert_eq!(
            request.quit_after_match,
            line.starts_with("-q") && !line.contains("stats"),
            "{line}"
        );
    }
}

#[test]
fn the_search_is_what_the_flags_say() {
    let place = Place::new();
    let request = place.run("-vUx --multiline-dotall -i --crlf -m 3 -C2 -A1 -b -E latin1 P");
    let pattern = request.spec.pattern.as_ref().unwrap();
    assert!(pattern.multi_line && pattern.dot_matches_new_line && pattern.crlf);
    assert!(pattern.whole_line && !pattern.word && !pattern.null_data);
    assert_eq!(pattern.case(), v1::CaseMode::Insensitive);
    let spec = search(&request);
    assert!(spec.invert && spec.offsets && !spec.line_numbers && !spec.timing);
    assert_eq!((spec.before_context, spec.after_context), (2, 1));
    assert_eq!(
        (spec.max_count, spec.encoding.as_str()),
        (Some(3), "latin1")
    );
    assert_eq!(spec.binary(), v1::BinaryMode::Search);
    assert!(request.print.has_context && request.print.invert && request.print.multi_line);

    let binary = |line: &str| search(&place.run(line)).binary();
    assert_eq!(binary("--no-binary P"), v1::BinaryMode::Skip);
    assert_eq!(binary("-a P"), v1::BinaryMode::Text);
    assert_eq!(binary("--null-data P"), v1::BinaryMode::Text);
    // Context counts for -c only as far as -m makes it count.
    assert_eq!(search(&place.run("-c -A2 P")).after_context, 0);
    assert_eq!(search(&place.run("-c -A2 -m1 P")).after_context, 2);
    assert_eq!(search(&place.run("-l -r X P")).replacement, None);

    let limits =
        "--max-pattern-size 1K --regex-size-limit 2K --dfa-size-limit 3K --max-line-size 4K P";
    let request = place.run(limits);
    let pattern = request.spec.pattern.as_ref().unwrap();
    assert_eq!(
        (pattern.max_pattern_bytes, pattern.max_compiled_bytes),
        (1024, 2048)
    );
    assert_eq!(
        (pattern.max_dfa_bytes, search(&request).max_line_bytes),
        (3072, 4096)
    );
}

#[test]
fn the_filter_is_what_the_flags_say() {
    let place = Place::new();
    let filter = |line: &str| place.run(line).spec.filter.unwrap();
    let open = filter("P");
    let expected = v1::FilterSpec {
        base: place.path("").into_bytes(),
        ..v1::FilterSpec::default()
    };
    assert_eq!(open, expected);
    let all = filter(
        "--iglob I -g G -g !H -t rust -T py -d 3 --max-filesize 1K -L --no-hidden --ignore P",
    );
    let globs: Vec<_> = all
        .globs
        .iter()
        .map(|g| (g.pattern.as_str(), g.case_insensitive))
        .collect();
    assert_eq!(globs, [("G", false), ("!H", false), ("I", true)]);
    assert_eq!(
        (all.types, all.types_not),
        (vec!["rust".to_owned()], vec!["py".to_owned()])
    );
    assert_eq!((all.max_depth, all.max_filesize), (Some(3), Some(1024)));
    assert!(all.follow && all.skip_hidden && all.ignore);
    assert_eq!(all.global_ignore, b"*.bak\n");
    assert!(filter("--glob-case-insensitive -g G P").globs[0].case_insensitive);
}

#[test]
fn the_list_of_types_is_no_search() {
    let place = Place::new();
    let Ok(Action::Run(typed)) = flags::parse(["regexctl", "run", "--type-list"]) else {
        panic!("a run");
    };
    let args = typed.resolve(&place.config).unwrap();
    let work = Work::new(
        args,
        &place.config,
        &place.environment,
        false,
        &mut &b""[..],
    );
    assert!(matches!(work, Ok(Work::TypeList)));
}

/// Every accepted job is one that the workers accept.
#[test]
fn plans_compile() {
    let place = Place::new();
    for line in [
        "P",
        "-F ( src",
        "-E utf-16le P",
        "--files",
        "-g *.rs -t rust P",
        "-U a\\nb",
    ] {
        let request = place.run(line);
        if let Err(error) = regexctl_worker::plan::Plan::compile(&request.spec) {
            panic!("{line}: {error}");
        }
    }
    for line in ["(", "-E nope P", "-t nope P", "-g [ P", "a\\nb"] {
        assert!(
            regexctl_worker::plan::Plan::compile(&place.run(line).spec).is_err(),
            "{line}"
        );
    }
}

#[test]
fn a_link_in_the_middle_is_kept_and_one_before_a_parent_is_resolved() {
    let place = Place::new();
    let absolute = |typed: &str| {
        PathBuf::from(text(&paths::absolute(
            &place.environment.cwd,
            typed.as_bytes(),
        )))
    };
    let cwd = Path::new(&place.environment.cwd);
    assert_eq!(absolute("link/x"), cwd.join("link/x"));
    assert_eq!(absolute("link/../x"), cwd.join("src/x"));
    assert_eq!(absolute("nope/../x"), cwd.join("x"));
    assert_eq!(absolute("/../.."), Path::new("/"));
}
