//! The command line as a person types it, against what it means.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::config::Config;

/// What `regexctl run WORDS` means, or the first line of the error.
fn run<S: AsRef<str>>(words: &[S]) -> Result<RunArgs, String> {
    let words = words.iter().map(|word| OsString::from(word.as_ref()));
    with_config(words, &Config::default())
}

fn with_config(
    words: impl IntoIterator<Item = OsString>,
    config: &Config,
) -> Result<RunArgs, String> {
    let program = ["regexctl", "run"].map(OsString::from);
    let first_line = |error: clap::Error| {
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string().lines().next().unwrap().to_owned()
    };
    match parse(program.into_iter().chain(words)).map_err(first_line)? {
        Action::Run(typed) => typed.resolve(config).map_err(first_line),
        other => panic!("not a run: {other:?}"),
    }
}

/// The flags of a line of words; panics when they are wrong.
fn flags(line: &str) -> RunArgs {
    let words: Vec<&str> = line.split_whitespace().collect();
    run(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn without_flags_everything_is_the_default() {
    let args = flags("PATTERN a b");
    let expected = RunArgs {
        positional: ["PATTERN", "a", "b"].map(OsString::from).to_vec(),
        ..RunArgs::default()
    };
    assert_eq!(args, expected);
}

/// The list of the first issue, word for word.
#[test]
fn every_flag_of_the_core_set_is_accepted() {
    for line in [
        "-e P",
        "-f F",
        "-i",
        "-s",
        "-S",
        "-F",
        "-w",
        "-x",
        "-v",
        "-m 1",
        "-U",
        "--multiline-dotall",
        "--crlf",
        "--null-data",
        "-E latin1",
        "-a",
        "--binary",
        "-A 1",
        "-B 1",
        "-C 1",
        "-n",
        "-N",
        "--column",
        "-b",
        "-o",
        "-r X",
        "-c",
        "--count-matches",
        "-l",
        "--files-without-match",
        "-q",
        "-H",
        "-I",
        "--heading",
        "--no-heading",
        "--color always",
        "--sort path",
        "--json",
        "--stats",
        "--max-columns 9",
        "--trim",
        "-0",
        "--vimgrep",
        "-g G",
        "--iglob G",
        "-t rust",
        "-T rust",
        "--type-list",
        "-d 1",
        "--max-filesize 1K",
        "-L",
        "--hidden",
        "--ignore",
        "--no-ignore",
        "-u",
        "--files",
        "--files-from F",
        "--files0-from F",
        "-j 2",
        "--no-hidden",
        "--no-binary",
        "--master http://127.0.0.1:1",
        "--map /a=/b",
        "--no-config",
        "--progress",
        "--no-progress",
        "--no-messages",
        "--no-unicode",
        "--context-separator X",
        "--field-match-separator X",
        "--field-context-separator X",
        "--regex-size-limit 1M",
        "--dfa-size-limit 1M",
        "--max-pattern-size 1M",
        "--max-line-size 1M",
        "-p",
        "-.",
        "-uuu",
        "--colors match:fg:blue",
        "--max-columns-preview",
        "--maxdepth 1",
    ] {
        flags(line);
    }
}

#[test]
fn every_flag_and_its_opposite_is_known_to_the_parser() {
    for flag in groups().iter().flat_map(|group| group.flags) {
        let long = match flag.value_form() {
            None => format!("--{}", flag.long),
            Some(form) => {
                let value = form.choices.first().copied().unwrap_or(match form.name {
                    "URL" => "http://m:1",
                    "FROM=TO" => "/a=/b",
                    "SPEC" => "path:none",
                    _ => "1",
                });
                format!("--{}={value}", flag.long)
            }
        };
        let undo = flag.undo.map(|undo| format!("--{}", undo.long));
        let words: Vec<String> = std::iter::once(long).chain(undo).collect();
        let undone = run(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        if flag.undo.is_some_and(|undo| undo.help.is_none()) {
            let expected = match flag.long {
                "master" => RunArgs {
                    master: Master::Embedded,
                    ..RunArgs::default()
                },
                "column" => RunArgs {
                    column: Some(false),
                    ..RunArgs::default()
                },
                "context-separator" => RunArgs {
                    context_separator: None,
                    ..RunArgs::default()
                },
                _ => RunArgs::default(),
            };
            assert_eq!(undone, expected, "{words:?}");
        }
    }
}

#[test]
fn the_last_of_contradicting_flags_counts() {
    assert_eq!(flags("-i -s").case, CaseMode::Sensitive);
    assert_eq!(flags("-s -i").case, CaseMode::Insensitive);
    assert_eq!(flags("-i -s -i").case, CaseMode::Insensitive);
    assert_eq!(flags("-isS").case, CaseMode::Smart);
    assert_eq!(flags("-w -x").boundary, Some(Boundary::Line));
    assert_eq!(flags("-x -w").boundary, Some(Boundary::Word));
    assert_eq!(flags("--heading --no-heading").heading, Some(false));
    assert_eq!(flags("--no-heading --heading").heading, Some(true));
    assert_eq!(flags("-n -N").line_number, Some(false));
    assert_eq!(flags("-N -n").line_number, Some(true));
    assert_eq!(flags("-H -I").with_filename, Some(false));
    assert_eq!(flags("-IH").with_filename, Some(true));
    assert!(!flags("--ignore --no-ignore").ignore);
    assert!(flags("--no-ignore --ignore").ignore);
    assert!(flags("--hidden --no-hidden").skip_hidden);
    assert!(!flags("--no-hidden -.").skip_hidden);
    assert_eq!(flags("-m1 -m 2 --max-count=3").max_count, Some(3));
    assert_eq!(
        flags("--color never --color=always").color,
        ColorChoice::Always
    );
    assert_eq!(flags("--sort path --sort none").sort, Sort::None);
    let args = flags("--crlf --null-data");
    assert!(args.null_data && !args.crlf);
    let args = flags("--null-data --crlf");
    assert!(args.crlf && !args.null_data);
    assert!(flags("--null-data --no-crlf").null_data);
    assert_eq!(flags("-p --no-heading").heading, Some(false));
    assert_eq!(flags("--no-heading -p").heading, Some(true));
    assert_eq!(flags("-E latin1 --no-encoding").encoding, "auto");
    assert_eq!(flags("--no-encoding -E latin1").encoding, "latin1");
    assert_eq!(flags("-M 5 -M 0").max_columns, None);
    assert_eq!(flags("-j 5 -j 0").threads, None);
    assert_eq!(flags("--master m:1 --no-master").master, Master::Embedded);
}

#[test]
fn binary_modes_override_each_other() {
    let binary = |line: &str| flags(line).binary;
    assert_eq!(
        binary(""),
        Binary {
            text: false,
            skip: false
        }
    );
    assert_eq!(
        binary("--no-binary"),
        Binary {
            text: false,
            skip: true
        }
    );
    assert_eq!(
        binary("--no-binary --binary"),
        Binary {
            text: false,
            skip: false
        }
    );
    assert_eq!(
        binary("-a --binary"),
        Binary {
            text: false,
            skip: false
        }
    );
    assert_eq!(
        binary("--no-binary -a"),
        Binary {
            text: true,
            skip: true
        }
    );
    assert_eq!(
        binary("--no-binary -a --no-text"),
        Binary {
            text: false,
            skip: true
        }
    );
}

#[test]
fn modes_override_each_other_as_in_ripgrep() {
    let mode = |line: &str| flags(line).mode;
    assert_eq!(mode("-c -l"), Mode::Search(SearchMode::FilesWithMatches));
    assert_eq!(mode("-l -c"), Mode::Search(SearchMode::Count));
    assert_eq!(
        mode("-l --files-without-match"),
        Mode::Search(SearchMode::FilesWithoutMatch)
    );
    assert_eq!(mode("--json -c"), Mode::Search(SearchMode::Count));
    assert_eq!(mode("-c --json"), Mode::Search(SearchMode::Json));
    assert_eq!(mode("-c --no-json"), Mode::Search(SearchMode::Count));
    assert_eq!(mode("--json --no-json"), Mode::Search(SearchMode::Standard));
    assert_eq!(mode("--files -l"), Mode::Files);
    assert_eq!(mode("-l --files"), Mode::Files);
    assert_eq!(mode("--files --type-list"), Mode::TypeList);
    assert_eq!(mode("--type-list --files"), Mode::Files);
}

#[test]
fn unrestricted_undoes_one_filter_after_the_other() {
    let filters = |line: &str| {
        let args = flags(&format!("--ignore --no-hidden --no-binary {line}"));
        (args.ignore, args.skip_hidden, args.binary.skip)
    };
    assert_eq!(filters(""), (true, true, true));
    assert_eq!(filters("-u"), (false, true, true));
    assert_eq!(filters("-uu"), (false, false, true));
    assert_eq!(filters("-u -u"), (false, false, true));
    assert_eq!(filters("-uuu"), (false, false, false));
    assert_eq!(filters("-u --ignore"), (true, true, true));
    let error = run(&["-uuuu"]).unwrap_err();
    assert_eq!(error, "error: --unrestricted is given more than 3 times");
}

#[test]
fn context_sides_win_over_both() {
    assert_eq!(flags("").context.lines(), (0, 0));
    assert_eq!(flags("-C 3").context.lines(), (3, 3));
    assert_eq!(flags("-A1 -C3").context.lines(), (3, 1));
    assert_eq!(flags("-C3 -B0").context.lines(), (0, 3));
    assert_eq!(flags("-C=2").context.lines(), (2, 2));
}

#[test]
fn lists_keep_their_order() {
    let args = flags("-e a -f b -e c -g x -g !y --iglob z -t rust -T c -t py");
    let pattern = |text: &str| PatternSource::Pattern(text.to_owned());
    let file = PatternSource::File("b".into());
    assert_eq!(args.patterns, [pattern("a"), file, pattern("c")]);
    assert_eq!(args.globs, ["x", "!y"]);
    assert_eq!(args.iglobs, ["z"]);
    let types: Vec<_> = args
        .types
        .iter()
        .map(|of| (&*of.name, of.exclude))
        .collect();
    assert_eq!(types, [("rust", false), ("c", true), ("py", false)]);
    let args = flags("--files-from a --files0-from - --files-from b");
    let lists: Vec<_> = args
        .files_from
        .iter()
        .map(|from| (from.list.to_str().unwrap(), from.terminator))
        .collect();
    assert_eq!(lists, [("a", b'\n'), ("-", 0), ("b", b'\n')]);
}

#[test]
fn values_and_positionals_may_look_like_flags() {
    let args = run(&["-e", "-foo", "-r", "--", "--", "-x", "--files"]).unwrap();
    assert_eq!(args.patterns, [PatternSource::Pattern("-foo".to_owned())]);
    assert_eq!(args.replace.as_deref(), Some(&b"--"[..]));
    assert_eq!(args.positional, ["-x", "--files"]);
    let args = run(&["P", "-", "-i", "dir"]).unwrap();
    assert_eq!(args.positional, ["P", "-", "dir"]);
    assert_eq!(args.case, CaseMode::Insensitive);
    assert_eq!(run(&["", "x"]).unwrap().positional, ["", "x"]);
}

#[test]
fn paths_need_not_be_utf8_but_patterns_must() {
    let latin = || OsString::from_vec(b"caf\xe9".to_vec());
    let args = with_config(["P".into(), latin()], &Config::default()).unwrap();
    assert_eq!(args.positional[1], latin());
    let error = with_config(["-e".into(), latin()], &Config::default()).unwrap_err();
    assert!(error.contains("'--regexp <PATTERN>': not UTF-8"), "{error}");
}

#[test]
fn wrong_values_say_which_and_what_is_right() {
    for (words, expected) in [
        (
            &["-A", "x"][..],
            "invalid value 'x' for '--after-context <NUM>': not a whole number in range",
        ),
        (
            &["-m-1"],
            "invalid value '-1' for '--max-count <NUM>': not a whole number in range",
        ),
        (
            &["--max-filesize", "1T"],
            "invalid value '1T' for '--max-filesize <SIZE>': not a size such as 4096, 64K, 10M or 1G",
        ),
        (
            &["--dfa-size-limit", "0"],
            "invalid value '0' for '--dfa-size-limit <SIZE>': must be more than 0",
        ),
        (
            &["--map", "a"],
            "invalid value 'a' for '--map <FROM=TO>': not FROM=TO",
        ),
        (
            &["--master", "m"],
            "invalid value 'm' for '--master <URL>': not the address of a master, such as http://10.0.0.1:7411: the port is missing",
        ),
        (
            &["--color", "blue"],
            "invalid value 'blue' for '--color <WHEN>'",
        ),
        (
            &["--sort", "size"],
            "invalid value 'size' for '--sort <BY>'",
        ),
        (&["--no-such"], "unexpected argument '--no-such' found"),
        (
            &["-e"],
            "a value is required for '--regexp <PATTERN>' but none was supplied",
        ),
    ] {
        let error = run(words).expect_err("wrong value");
        assert_eq!(error, format!("error: {expected}"), "{words:?}");
    }
}

#[test]
fn flags_of_the_configuration_come_first() {
    let config = Config {
        path: Some("c.toml".into()),
        flags: ["--ignore", "-i", "-A", "3"].map(str::to_owned).to_vec(),
        ..Config::default()
    };
    let args = with_config(["-s", "P"].map(OsString::from), &config).unwrap();
    assert!(args.ignore);
    assert_eq!(args.case, CaseMode::Sensitive);
    assert_eq!(args.context.lines(), (0, 3));
    assert_eq!(args.positional, ["P"]);
    // -u of both are counted together.
    let config = Config {
        flags: vec!["-u".to_owned()],
        ..Config::default()
    };
    let args = with_config(["--no-hidden", "-u"].map(OsString::from), &config).unwrap();
    assert!(!args.skip_hidden);
}

#[test]
fn mistakes_in_the_configuration_are_told_with_the_file() {
    for (flag, expected) in [
        (
            "--nope",
            "error: in `flags` of c.toml: unexpected argument '--nope' found",
        ),
        (
            "-A=x",
            "error: in `flags` of c.toml: invalid value 'x' for '--after-context <NUM>': not a whole number in range",
        ),
        (
            "--help",
            "error: in `flags` of c.toml: --help and --version are for the command line only",
        ),
        (
            "src",
            "error: in `flags` of c.toml: 'src' is not a flag; a flag and its value are written as \"--flag=value\" or as two strings",
        ),
    ] {
        let config = Config {
            path: Some("c.toml".into()),
            flags: vec![flag.to_owned()],
            ..Config::default()
        };
        assert_eq!(with_config([], &config).unwrap_err(), expected);
    }
}

#[test]
fn the_other_subcommands() {
    let parse = |words: &[&str]| parse(words.iter().copied());
    assert!(matches!(
        parse(&["regexctl", "completions", "bash"]),
        Ok(Action::Completions(Shell::Bash))
    ));
    assert!(matches!(parse(&["regexctl", "man"]), Ok(Action::Man(None))));
    assert!(
        matches!(parse(&["regexctl", "man", "d"]), Ok(Action::Man(Some(dir))) if dir.ends_with("d"))
    );
    let Ok(Action::Nodes(args)) = parse(&["regexctl", "nodes", "--json", "--master", "m:1"]) else {
        panic!("nodes is parsed");
    };
    assert_eq!(
        args,
        NodesArgs {
            master: Master::Url("http://m:1".to_owned()),
            json: true,
            no_config: false
        }
    );
    for (words, code) in [
        (&["regexctl"][..], 2),
        (&["regexctl", "--version"], 0),
        (&["regexctl", "--help"], 0),
        (&["regexctl", "run", "-h"], 0),
        (&["regexctl", "completions", "tcsh"], 2),
        (&["regexctl", "frob"], 2),
    ] {
        assert_eq!(
            parse(words).expect_err("not an action").exit_code(),
            code,
            "{words:?}"
        );
    }
}
