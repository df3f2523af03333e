//! The rendered texts: as people read them, and as shells and `man` do.

use std::io::Write as _;
use std::process::{Command, Stdio};

use clap::ValueEnum;

use super::*;

/// What a program says about `input`, or nothing when it is not installed.
fn check(program: &str, arguments: &[&str], input: &[u8]) -> Option<String> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("not checked with {program}: {error}");
            return None;
        }
    };
    let mut stdin = child.stdin.take().expect("the input is a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("the program ends");
    writer
        .join()
        .expect("the writer does not panic")
        .expect("the program reads its input");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program}: {error}");
    Some(error)
}

#[test]
fn completions_name_every_flag_in_every_shell() {
    for &shell in Shell::value_variants() {
        let mut script = Vec::new();
        completions(shell, &mut script).unwrap();
        let script = String::from_utf8(script).unwrap();
        for flag in crate::flags::groups().iter().flat_map(|group| group.flags) {
            let undo = flag.undo.map(|undo| undo.long);
            for name in std::iter::once(flag.long).chain(undo) {
                assert!(script.contains(name), "{shell}: --{name}");
            }
        }
    }
}

#[test]
fn bash_accepts_its_completions() {
    let mut script = Vec::new();
    completions(Shell::Bash, &mut script).unwrap();
    if let Some(complaints) = check("bash", &["-n"], &script) {
        assert_eq!(complaints, "");
    }
}

#[test]
fn manual_pages_are_complete_and_render_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let pages = install(&dir.path().join("man1")).unwrap();
    let names: Vec<_> = pages
        .iter()
        .map(|page| page.file_name().unwrap().to_str().unwrap())
        .collect();
    let expected = [
        "regexctl.1",
        "regexctl-run.1",
        "regexctl-nodes.1",
        "regexctl-completions.1",
        "regexctl-man.1",
    ];
    assert_eq!(names, expected);
    for page in &pages {
        let text = std::fs::read(page).unwrap();
        let arguments = ["-man", "-Tutf8", "-Kutf8", "-ww", "-z", "-rLL=78n"];
        if let Some(complaints) = check("groff", &arguments, &text) {
            assert_eq!(complaints, "", "{}", page.display());
        }
    }
    let run = std::fs::read_to_string(&pages[1]).unwrap();
    for flag in crate::flags::groups().iter().flat_map(|group| group.flags) {
        let name = flag.long.replace('-', "\\-");
        assert!(run.contains(&format!("\\-\\-{name}")), "--{}", flag.long);
    }
    for section in ["EXAMPLES", "EXIT STATUS", "WHICH FILES"] {
        assert!(run.contains(&format!(".SH \"{section}\"")), "{section}");
    }
}

#[test]
fn pages_that_cannot_be_written_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = install(&file.join("man1")).unwrap_err();
    assert!(error.to_string().contains("file/man1"), "{error}");
}

#[test]
fn types_are_listed_as_by_ripgrep() {
    let mut out = Vec::new();
    type_list(&mut out).unwrap();
    let list = String::from_utf8(out).unwrap();
    assert!(list.lines().any(|line| line == "rust: *.rs"), "{list}");
    let rg = std::env::var_os("RG").unwrap_or_else(|| "rg".into());
    match Command::new(&rg).arg("--type-list").output() {
        Ok(output) => assert_eq!(list, String::from_utf8(output.stdout).unwrap()),
        Err(error) => eprintln!("not compared with {}: {error}", rg.display()),
    }
}

/// As wide as help is on a terminal of 100 columns, whatever the test runs on.
fn help(name: &str, long: bool) -> String {
    let mut command = command().term_width(100);
    command.build();
    let command = if name.is_empty() {
        &mut command
    } else {
        command.find_subcommand_mut(name).expect("a subcommand")
    };
    let help = if long {
        command.render_long_help()
    } else {
        command.render_help()
    };
    help.to_string()
}

#[test]
fn help_reads_as_it_should() {
    insta::assert_snapshot!("help", help("", false));
    insta::assert_snapshot!("help_run_short", help("run", false));
    insta::assert_snapshot!("help_run", help("run", true));
    insta::assert_snapshot!("help_nodes", help("nodes", true));
}
