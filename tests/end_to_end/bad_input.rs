//! What bad input gets: a message that says which, where and what to do, the right exit code, and an account of
//! every entry.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::harness::cluster::Cluster;
use crate::harness::command::{self, Finished, Process, run, search};
use crate::harness::scratch::{Scratch, linked_files, small_files, write};
use crate::harness::tally::Tally;

/// Embedded, and on the cluster.
fn ways(cluster: &Cluster) -> [Option<&str>; 2] {
    [None, Some(cluster.url.as_str())]
}

fn lines(told: &Finished) -> Vec<&[u8]> {
    let mut lines: Vec<_> = told.stdout.split_inclusive(|&b| b == b'\n').collect();
    lines.sort_unstable();
    lines
}

/// The output is ripgrep's, its lines sorted.
#[track_caller]
fn assert_ripgreps(ours: &Finished, cwd: &Path, args: &[&str]) {
    let mut rg = command::rg(cwd);
    rg.arg("-uuu").args(args);
    let theirs = run(rg);
    assert!(lines(ours) == lines(&theirs), "{ours}\n{theirs}");
}

/// Every entry below `cwd` is accounted for, as the text and as JSON tell it.
#[track_caller]
fn accounted(cwd: &Path, master: Option<&str>, flags: &[&str]) -> Tally {
    let args = |first: &'static str| [&[first], flags, &["foo", "."]].concat();
    let text = Tally::of_stats(&run(search(cwd, master, args("--stats"))));
    let json = Tally::of_json(&run(search(cwd, master, args("--json"))));
    assert_eq!(text, json);
    text.expect_all_of(cwd)
}

#[test]
fn a_missing_path_is_named() {
    let scratch = Scratch::new();
    write(&scratch.path(), "there", "foo\n");
    let cluster = Cluster::start(&scratch.path(), 1);
    for master in ways(&cluster) {
        let some = run(search(
            &scratch.path(),
            master,
            ["foo", "there", "not-there"],
        ));
        some.expect_code(3).expect_error("not-there");
        assert_eq!(some.stdout, b"there:foo\n", "{some}");
        let none = run(search(
            &scratch.path(),
            master,
            ["foo", "not-there", "nor/this"],
        ));
        none.expect_code(2)
            .expect_error("not-there")
            .expect_error("nor/this");
        let quiet = run(search(
            &scratch.path(),
            master,
            ["--no-messages", "foo", "there", "not-there"],
        ));
        quiet.expect_code(3);
        assert_eq!(quiet.stderr, "", "{quiet}");
    }
}

#[test]
fn a_path_outside_the_roots_is_named() {
    let scratch = Scratch::new();
    let (inside, outside) = (scratch.dir("inside"), scratch.dir("outside"));
    write(&inside, "file", "foo\n");
    write(&outside, "secret", "foo\n");
    symlink("../outside", inside.join("escape")).expect("links can be made");
    let cluster = Cluster::start(&inside, 1);
    let master = Some(cluster.url.as_str());
    let told = run(search(
        &scratch.path(),
        master,
        ["foo", "inside", "outside"],
    ));
    told.expect_code(3);
    assert_eq!(told.stdout, b"inside/file:foo\n", "{told}");
    told.expect_error("outside: not below a directory that may be read");
    for escape in [
        "../outside",
        "escape",
        "escape/secret",
        "../inside/../outside/secret",
    ] {
        let told = run(search(&inside, master, ["foo", "file", escape]));
        told.expect_code(3).expect_error(escape);
        assert_eq!(told.stdout, b"file:foo\n", "{told}");
    }
    let followed = run(search(&inside, master, ["-L", "foo", "."]));
    followed.expect_code(3).expect_error("escape");
    assert_eq!(followed.stdout, b"./file:foo\n", "{followed}");
}

/// Runs `test` on a thread whose programs are not root's any more, if this one is: permissions are those of the owner for them.
/// What a thread gives up is gone for its children, and only for them.
fn without_rights_of_root(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            for capability in [CapabilitySet::DAC_OVERRIDE, CapabilitySet::DAC_READ_SEARCH] {
                remove_capability_from_bounding_set(capability).expect("root may give it up");
            }
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn what_cannot_be_read_is_named_and_counted() {
    without_rights_of_root(unreadable);
}

fn unreadable() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    small_files(&tree, 50, 2, 1);
    write(&tree, "closed", "foo\n");
    write(&tree, "shut/inside", "foo\n");
    let closed = |mode| {
        fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(mode))?;
        fs::set_permissions(tree.join("shut"), fs::Permissions::from_mode(mode))
    };
    let cluster = Cluster::start(&tree, 1);
    closed(0o000).expect("they are ours");
    for master in ways(&cluster) {
        let told = run(search(&tree, master, ["--json", "foo", "."]));
        told.expect_code(3)
            .expect_error("./closed")
            .expect_error("./shut");
        let tally = Tally::of_json(&told).expect_sums();
        assert_eq!((tally.failed, tally.dirs_failed), (1, 1), "{tally:?}");
    }
    closed(0o700).expect("they are ours");
}

#[test]
fn special_files_are_skipped_and_counted() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    write(&tree, "file", "foo\n");
    mknodat(CWD, tree.join("fifo"), FileType::Fifo, Mode::from(0o600), 0)
        .expect("FIFOs can be made");
    let socket = UnixListener::bind(tree.join("s")).expect("the path is short enough");
    symlink("/dev/zero", tree.join("device")).expect("links can be made");
    let cluster = Cluster::start(&tree, 1);
    for master in ways(&cluster) {
        let tally = accounted(&tree, master, &[]);
        assert_eq!(
            (tally.scanned, tally.skipped, tally.failed),
            (1, 3, 0),
            "{tally:?}"
        );
    }
    // Named by the user, a pipe is a stream of this machine, as for `<(command)`; no node waits for a writer.
    let writer = {
        let fifo = tree.join("fifo");
        std::thread::spawn(move || fs::write(fifo, "foo in a pipe\n"))
    };
    let told = run(search(&tree, None, ["foo", "fifo", "file"]));
    told.expect_code(0);
    assert_eq!(
        lines(&told),
        [&b"fifo:foo in a pipe\n"[..], b"file:foo\n"],
        "{told}"
    );
    writer
        .join()
        .expect("it does not panic")
        .expect("somebody reads");
    let told = run(search(&tree, Some(&cluster.url), ["foo", "fifo", "file"]));
    told.expect_code(3).expect_error("fifo");
    assert_eq!(told.stdout, b"file:foo\n", "{told}");
    let told = run(search(&tree, None, ["foo", "/dev/zero", "file"]));
    told.expect_code(3).expect_error("/dev/zero");
    let told = run(search(&tree, None, ["-L", "-l", "foo", "."]));
    assert_eq!(told.stdout, b"./file\n", "{told}");
    drop(socket);
}

/// Files of devices, which only root can make, are where they always are.
#[test]
fn devices_are_skipped_and_counted() {
    let cluster = Cluster::start(Path::new("/dev"), 1);
    for master in ways(&cluster) {
        let told = run(search(
            Path::new("/dev"),
            master,
            ["--json", "-d", "1", "foo", "."],
        ));
        let tally = Tally::of_json(&told).expect_sums();
        // At least null, zero, full, random, urandom, tty.
        assert!(tally.skipped >= 6, "{tally:?}");
        assert_eq!((tally.scanned, tally.failed), (0, 0), "{tally:?}");
    }
}

#[test]
fn a_loop_of_links_is_told_and_ends() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    write(&tree, "a/b/file", "foo\n");
    symlink("..", tree.join("a/b/up")).expect("links can be made");
    symlink(".", tree.join("a/self")).expect("links can be made");
    symlink("itself", tree.join("itself")).expect("links can be made");
    let cluster = Cluster::start(&tree, 2);
    for master in ways(&cluster) {
        let told = run(search(&tree, master, ["-L", "--json", "foo", "."]));
        told.expect_code(3)
            .expect_error("./a/b/up")
            .expect_error("./a/self")
            .expect_error("./itself");
        Tally::of_json(&told).expect_sums();
        let told = run(search(&tree, master, ["-L", "foo", "."]));
        assert_ripgreps(&told, &tree, &["-L", "foo", "."]);
        // Not followed, links are no loops.
        accounted(&tree, master, &[]);
    }
}

#[test]
fn every_kind_of_file_is_accounted_for() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    crate::trees::every_kind(&tree);
    let cluster = Cluster::start(&tree, 3);
    for master in ways(&cluster) {
        let all = accounted(&tree, master, &[]);
        assert_eq!((all.failed, all.dirs_failed), (0, 0), "{all:?}");
        for flags in [
            &["-g", "*.txt"] as &[_],
            &["-t", "rust"],
            &["--max-filesize", "100"],
            &["--no-hidden"],
            &["-m", "1"],
        ] {
            let told = run(search(
                &tree,
                master,
                [&["--json"], flags, &["foo", "."]].concat(),
            ));
            Tally::of_json(&told).expect_sums();
        }
        // Whole directories are skipped, and what is in them is not seen.
        let told = run(search(
            &tree,
            master,
            ["--json", "--ignore", "-d", "3", "foo", "."],
        ));
        let tally = Tally::of_json(&told).expect_sums();
        assert!(tally.dirs_skipped > 0 && tally.seen < all.seen, "{tally:?}");
    }
}

/// A tree whose output stands still long before its end, so that something can happen to the rest.
fn stalling(tree: &Path) {
    let line = format!("foo {}\n", "x".repeat(8000));
    linked_files(tree, 2000, line.repeat(31).as_bytes());
    for number in 0..500 {
        write(tree, format!("many/{number}/file"), "foo in one of many\n");
    }
}

/// Starts a search, does something while it stands still, and then reads to the end.
fn disturbed(cwd: &Path, master: Option<&str>, disturb: impl FnOnce()) -> Finished {
    let mut client = Process::start(search(cwd, master, ["-n", "--stats", "foo", "."]), None);
    let mut stdout = BufReader::new(client.stdout());
    stdout.fill_buf().expect("it can be read");
    disturb();
    let mut output = Vec::new();
    stdout.read_to_end(&mut output).expect("it can be read");
    let told = client.finish();
    // The account stands at the end, and is all that is looked at.
    let tail = output.len().saturating_sub(4096);
    Finished {
        stdout: output[tail..].to_vec(),
        ..told
    }
}

#[test]
fn a_tree_that_vanishes_is_told() {
    let scratch = Scratch::new();
    let cluster = Cluster::start(&scratch.path(), 2);
    for (number, master) in ways(&cluster).into_iter().enumerate() {
        let tree = scratch.dir(&format!("tree-{number}"));
        stalling(&tree);
        let told = disturbed(&tree, master, || {
            for entry in fs::read_dir(&tree).expect("it is there") {
                fs::remove_dir_all(entry.expect("it is there").path()).expect("it is ours");
            }
        });
        let tally = Tally::of_stats(&told).expect_sums();
        assert!(tally.failed + tally.dirs_failed > 0, "{tally:?}\n{told}");
        told.expect_code(3)
            .expect_error("no such file or directory");
    }
}

#[test]
fn directories_that_become_files_and_files_that_become_directories_are_told() {
    let scratch = Scratch::new();
    let cluster = Cluster::start(&scratch.path(), 2);
    for (number, master) in ways(&cluster).into_iter().enumerate() {
        let tree = scratch.dir(&format!("tree-{number}"));
        stalling(&tree);
        let told = disturbed(&tree, master, || {
            for number in 0..500 {
                let dir = tree.join(format!("many/{number}"));
                if number % 2 == 0 {
                    fs::remove_dir_all(&dir).expect("it is ours");
                    fs::write(&dir, "foo\n").expect("it can be written");
                } else {
                    fs::remove_file(dir.join("file")).expect("it is ours");
                    fs::create_dir(dir.join("file")).expect("it can be written");
                }
            }
        });
        Tally::of_stats(&told).expect_sums();
        assert!(matches!(told.code(), Some(0 | 3)), "{told}");
    }
}

#[test]
fn a_file_that_is_truncated_while_it_is_read_is_told() {
    let scratch = Scratch::new();
    let cluster = Cluster::start(&scratch.path(), 2);
    for (number, master) in ways(&cluster).into_iter().enumerate() {
        let tree = scratch.dir(&format!("tree-{number}"));
        let line = format!("foo {}\n", "x".repeat(8000));
        write(&tree, "shrinks", line.repeat(25_000));
        let told = disturbed(&tree, master, || {
            let file = fs::File::options().write(true).open(tree.join("shrinks"));
            file.expect("it is there")
                .set_len(100_000)
                .expect("it is ours");
        });
        let tally = Tally::of_stats(&told).expect_sums();
        assert_eq!((tally.seen, tally.failed), (1, 1), "{tally:?}");
        told.expect_code(3);
        let shrank = told.stderr.matches("./shrinks: shrank").count();
        assert_eq!(shrank, 1, "{told}");
    }
}

#[test]
fn a_line_of_100_megabytes_is_a_line() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    let mut line = vec![b'x'; 100 << 20];
    line.extend_from_slice(b"needle\nneedle in the next\n");
    write(&tree, "long", &line);
    drop(line);
    let cluster = Cluster::start(&tree, 2);
    for master in ways(&cluster) {
        for args in [
            ["-n", "needle", "."],
            ["-o", "needle", "."],
            ["-c", "needle", "."],
        ] {
            let told = run(search(&tree, master, args));
            assert_eq!(told.code(), Some(0), "{}", told.stderr);
            let mut rg = command::rg(&tree);
            rg.arg("-uuu").args(args);
            let same = lines(&told) == lines(&run(rg));
            assert!(
                same,
                "{args:?}: {} bytes: {}",
                told.stdout.len(),
                told.stderr
            );
        }
        let tally = accounted(&tree, master, &[]);
        assert_eq!((tally.seen, tally.scanned), (1, 1), "{tally:?}");
        let told = run(search(
            &tree,
            master,
            ["--max-line-size", "1M", "--stats", "-l", "needle", "."],
        ));
        told.expect_code(3)
            .expect_error("./long")
            .expect_error("--max-line-size");
        let tally = Tally::of_stats(&told).expect_sums();
        assert_eq!(tally.seen, 1, "{tally:?}");
    }
}

#[test]
fn a_directory_of_very_many_files_is_searched() {
    let files = if std::env::var_os("REGEXCTL_SLOW_TESTS").is_some() {
        1_000_000
    } else {
        300_000
    };
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    // Links, because they are made faster than files; a file may have only so many.
    for number in 0..files {
        let path = tree.join(format!("file-{number}"));
        if number % 50_000 == 0 {
            fs::write(&path, format!("foo {number}\n")).expect("it can be written");
        } else {
            let first = tree.join(format!("file-{}", number / 50_000 * 50_000));
            fs::hard_link(first, &path).expect("the file system has hard links");
        }
    }
    let cluster = Cluster::start(&tree, 3);
    for master in ways(&cluster) {
        let told = run(search(&tree, master, ["-c", "--stats", "foo", "."]));
        told.expect_code(0);
        let tally = Tally::of_stats(&told).expect_sums();
        let files = u64::try_from(files).expect("it is not that many");
        assert_eq!(
            (tally.seen, tally.scanned, tally.dirs_listed),
            (files, files, 1)
        );
        let mut names: Vec<&[u8]> = told.stdout.split(|&b| b == b'\n').collect();
        names.retain(|line| line.starts_with(b"./file-") && line.ends_with(b":1"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len() as u64, files, "each file once");
    }
}
