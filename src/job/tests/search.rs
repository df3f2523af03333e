//! Patterns, filters, search and printing.

use super::*;

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
        "--iglob I -g G -g !H -T py -t rust -T c -d 3 --max-filesize 1K -L --no-hidden --ignore P",
    );
    let globs: Vec<_> = all
        .globs
        .iter()
        .map(|g| (g.pattern.as_str(), g.case_insensitive))
        .collect();
    assert_eq!(globs, [("G", false), ("!H", false), ("I", true)]);
    let types: Vec<_> = all.types.iter().map(|of| (&*of.name, of.exclude)).collect();
    assert_eq!(types, [("py", true), ("rust", false), ("c", true)]);
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
