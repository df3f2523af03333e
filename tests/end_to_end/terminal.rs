//! What a person sees on a terminal: headings, line numbers and colours as ripgrep shows them, and the progress line.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::cluster::Cluster;
use crate::harness::command::{self, Process, search};
use crate::harness::scratch::{Scratch, write};
use crate::harness::terminal::{Terminal, screen};
use crate::harness::until;

/// Three files, of which two match.
fn tree(scratch: &Scratch) -> std::path::PathBuf {
    let tree = scratch.dir("tree");
    write(&tree, "a.txt", "foo\nbar\nand foo foo\n");
    write(&tree, "b/c.rs", "nothing\n\u{e9}t\u{e9} foo\nlast\n");
    write(&tree, "d", "nothing\n");
    tree
}

/// What a program writes to the terminal that is its standard output.
fn shown(mut command: Command, term: &str) -> Vec<u8> {
    let terminal = Terminal::new();
    let status = command
        .env("TERM", term)
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(terminal.stdio())
        .stderr(Stdio::null())
        .status();
    status.expect("it starts");
    // It holds the terminal, too.
    drop(command);
    terminal.finish()
}

#[test]
fn output_on_a_terminal_is_ripgreps() {
    let scratch = Scratch::new();
    let tree = tree(&scratch);
    let cluster = Cluster::start(&tree, 1);
    let rows: &[&[&str]] = &[
        &["foo", "."],
        &["foo", "a.txt"],
        &["-C1", "foo"],
        &["-o", "foo"],
        &["-c", "foo"],
        &["-l", "foo"],
        &["--files"],
        &["-N", "foo"],
        &["--no-heading", "foo"],
        &["--color", "never", "foo"],
        &["--column", "foo", "b"],
        &["--vimgrep", "foo"],
        &["-r", "bar", "foo"],
        &["-I", "foo"],
        &["--colors", "path:fg:blue", "foo"],
    ];
    for term in ["xterm-256color", "dumb"] {
        for row in rows {
            let mut rg = command::rg(&tree);
            rg.args(["-uuu", "--sort", "path"]).args(*row);
            let expected = shown(rg, term);
            assert!(!expected.is_empty(), "{row:?}");
            for master in [None, Some(cluster.url.as_str())] {
                let args = [&["--sort", "path"], *row].concat();
                let ours = shown(search(&tree, master, args), term);
                let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
                assert_eq!(text(&ours), text(&expected), "{row:?} on {term}");
            }
        }
    }
}

/// A search on a cluster without workers, with progress, and with lines on the same terminal or not: it stands until
/// something is done about it.
fn standing(cluster: &Cluster, tree: &Path, same: bool) -> (Process, Terminal) {
    let terminal = Terminal::new();
    let args = ["--sort", "path", "--color", "never", "-n", "foo", "."];
    let mut command = search(tree, Some(&cluster.url), args);
    command.env("TERM", "xterm-256color");
    let stdout = if same {
        terminal.stdio()
    } else {
        Stdio::piped()
    };
    let process = Process::on_terminal(command, stdout, terminal.stdio());
    until("the progress line tells what is waited for", || {
        let lines = screen(&terminal.so_far());
        let [line] = lines.as_slice() else {
            return None;
        };
        (line.contains("0% [")
            && line.contains("0 files")
            && line.ends_with("waiting for a worker"))
        .then_some(())
    });
    (process, terminal)
}

#[test]
fn progress_is_shown_and_taken_away() {
    let scratch = Scratch::new();
    let tree = tree(&scratch);
    let expected = "a.txt\n1:foo\n3:and foo foo\n\nb/c.rs\n2:\u{e9}t\u{e9} foo\n";
    for same in [true, false] {
        let mut cluster = Cluster::master(&[&tree]);
        let (process, terminal) = standing(&cluster, &tree, same);
        cluster.add_worker();
        let told = process.finish();
        told.expect_code(0);
        let left = screen(&terminal.finish());
        if same {
            let expected = expected.replace("a.txt", "./a.txt").replace("b/c", "./b/c");
            assert_eq!(left.join("\n") + "\n", expected);
        } else {
            assert_eq!(left, [""; 0], "only progress was there");
            let stdout = String::from_utf8(told.stdout).expect("it is UTF-8");
            assert_eq!(
                stdout,
                "./a.txt:1:foo\n./a.txt:3:and foo foo\n./b/c.rs:2:\u{e9}t\u{e9} foo\n"
            );
        }
    }
}

#[test]
fn an_interrupted_search_leaves_no_progress_line() {
    let scratch = Scratch::new();
    let tree = tree(&scratch);
    let cluster = Cluster::master(&[&tree]);
    let (process, terminal) = standing(&cluster, &tree, true);
    process.signal(Signal::INT);
    process.finish().expect_code(130);
    assert_eq!(screen(&terminal.finish()), [""; 0]);
}

#[test]
fn a_search_whose_master_dies_leaves_only_the_reason() {
    let scratch = Scratch::new();
    let tree = tree(&scratch);
    let cluster = Cluster::master(&[&tree]);
    let (process, terminal) = standing(&cluster, &tree, true);
    cluster.master.signal(Signal::KILL);
    process.finish().expect_code(2);
    let left = screen(&terminal.finish());
    let said = left.join("\n");
    assert!(said.starts_with("regexctl: the master at "), "{said}");
    assert!(said.contains(&cluster.url) && !said.contains('%'), "{said}");
}
