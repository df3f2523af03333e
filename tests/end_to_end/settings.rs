//! The configuration file, the variables and `--map`, as the program that a person types finds them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::cluster::Cluster;
use crate::harness::command::{Finished, regexctl, run, search};
use crate::harness::scratch::{Scratch, write};

/// `command` with this configuration file.
fn with_config(mut command: Command, file: &Path) -> Command {
    command.env("REGEXCTL_CONFIG", file);
    command
}

#[track_caller]
fn assert_prints(told: &Finished, expected: &[u8]) {
    told.expect_code(0);
    assert_eq!(told.stdout, expected, "{told}");
    assert_eq!(told.stderr, "", "{told}");
}

/// The nodes see the files below another directory than the client does.
#[test]
fn mapped_paths_are_searched_there_and_printed_as_typed() {
    let scratch = Scratch::new();
    let (here, there) = (scratch.dir("here"), scratch.dir("there"));
    write(&here, "dir/file", "not these\n");
    write(&there, "dir/file", "foo there\n");
    write(&there, "special/file", "foo elsewhere\n");
    // Only the mapped directory may be read, so a path that is not translated is refused.
    let cluster = Cluster::start(&there, 1);
    let master = Some(cluster.url.as_str());
    let text = |path: &Path| path.to_str().expect("it is text").to_owned();
    let map = format!("{}={}", text(&here), text(&there));

    let mapped = |args: &[&str]| run(search(&here, master, [&["--map", &map], args].concat()));
    assert_prints(&mapped(&["foo", "dir"]), b"dir/file:foo there\n");
    assert_prints(
        &mapped(&["foo", "./dir/../dir"]),
        b"./dir/../dir/file:foo there\n",
    );
    let absolute = text(&here.join("dir/file"));
    let expected = format!("{absolute}:foo there\n");
    assert_prints(&mapped(&["-H", "foo", &absolute]), expected.as_bytes());
    mapped(&["foo", &text(&scratch.path())])
        .expect_code(3)
        .expect_error("not below a directory that may be read");

    // The longest that fits counts.
    let longer = format!(
        "{}={}",
        text(&here.join("dir")),
        text(&there.join("special"))
    );
    let told = mapped(&["--map", &longer, "foo", "dir"]);
    assert_prints(&told, b"dir/file:foo elsewhere\n");

    let file = scratch.path().join("config.toml");
    let config = format!("master = {:?}\nmap = [{map:?}]\n", cluster.url);
    fs::write(&file, config).expect("it can be written");
    let told = run(with_config(search(&here, None, ["foo", "dir"]), &file));
    assert_prints(&told, b"dir/file:foo there\n");
}

#[test]
fn the_configuration_file_sets_the_master_and_flags() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    write(&tree, "a", "foo\nfoo\n");
    write(&tree, ".b", "foo\n");
    let cluster = Cluster::start(&tree, 1);
    let file = scratch.path().join("config.toml");
    let config = format!(
        "master = {:?}\nflags = [\"--no-hidden\", \"-c\"]\n",
        cluster.url
    );
    fs::write(&file, config).expect("it can be written");

    let configured = |args: &[&str]| with_config(search(&tree, None, args), &file);
    assert_prints(&run(configured(&["foo", "."])), b"./a:2\n");
    let told = run(configured(&["--json", "foo", "."]));
    // On the cluster, which the name of the node tells.
    let stdout = String::from_utf8(told.stdout).expect("JSON is UTF-8");
    assert!(stdout.contains(r#""node":"worker-0""#), "{stdout}");
    // The command line comes after the file, and may do without it.
    let told = run(configured(&["--hidden", "--sort", "path", "foo", "."]));
    assert_prints(&told, b"./.b:1\n./a:2\n");
    let told = run(configured(&["--no-config", "--sort", "path", "foo", "."]));
    assert_prints(&told, b"./.b:foo\n./a:foo\n./a:foo\n");

    let mut nodes = regexctl(&tree);
    nodes.arg("nodes");
    let told = run(with_config(nodes, &file));
    told.expect_code(0);
    let table = String::from_utf8(told.stdout).expect("names are UTF-8");
    let (head, row) = table.split_once('\n').expect("a line of names");
    for column in ["NODE", "CORES", "LOAD", "FILES/S"] {
        assert!(head.contains(column), "{table}");
    }
    assert!(row.starts_with("worker-0 "), "{table}");
}

#[test]
fn mistakes_in_the_configuration_are_named_and_nothing_runs() {
    let scratch = Scratch::new();
    write(&scratch.path(), "file", "foo\n");
    let config = scratch.path().join("config.toml");
    let cases = [
        ("mastr = \"http://m:1\"\n", "mastr", "line 1"),
        ("\nmaster = \"m\"\n", "the port is missing", "config.toml:2"),
        (
            "map = [\n  \"/a=/b\",\n  \"c\"\n]\n",
            "not FROM=TO",
            "config.toml:3",
        ),
        ("flags = [\"--no-such\"]\n", "--no-such", "`flags`"),
        ("flags = [\"-A\", \"x\"]\n", "--after-context", "`flags`"),
        (
            "flags = [\n  \"--sort\",\n  \"size\"\n]\n",
            "none, path",
            "`flags`",
        ),
        ("flags = [\"foo\"]\n", "'foo' is not a flag", "`flags`"),
        ("flags = 3\n", "integer", "line 1"),
        ("master =\n", "master", "line 1"),
    ];
    for (text, what, place) in cases {
        fs::write(&config, text).expect("it can be written");
        let told = run(with_config(
            search(&scratch.path(), None, ["foo", "."]),
            &config,
        ));
        told.expect_code(2)
            .expect_error("config.toml")
            .expect_error(what)
            .expect_error(place);
        assert!(told.stdout.is_empty(), "{told}");
    }
    // A file that a variable names must be there.
    let missing = scratch.path().join("missing.toml");
    let told = run(with_config(
        search(&scratch.path(), None, ["foo", "."]),
        &missing,
    ));
    told.expect_code(2).expect_error("missing.toml");
    let mut command = search(&scratch.path(), None, ["foo", "."]);
    command.env("REGEXCTL_MASTER", "m");
    run(command).expect_code(2).expect_error("REGEXCTL_MASTER");
}
