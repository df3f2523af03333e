//! `regex-provision check|node|schema|completions|man` as a person runs them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const CLUSTER: &str = r#"# The lab.
[cluster]
name = "lab"
interface = "eth1"
subnet = "10.0.0.0/24"
master = "10.0.0.1"

[dhcp]
range = "10.0.0.200-10.0.0.250"

[profile.default]
image = "base"
[profile.rack1]
tags = ["rack1"]

[[node]]             # the first two
name = "s[0-1]"
mac = ["52:54:00:00:00:00", "52:54:00:00:00:01"]
address = "10.0.0.10"
profile = "rack1"
bmc = { kind = "ipmi", address = "{node}-bmc", user = "admin", credentials = "/etc/secret" }

# What they boot.
[image.base]
source = { kind = "tar", path = "/srv/base.tar" }

[export.data]
path = "/data"
"#;

/// A directory with a `cluster.toml`.
fn directory(text: &str) -> TempDir {
    let dir = TempDir::new().expect("a temporary directory");
    fs::write(dir.path().join("cluster.toml"), text).expect("the directory is ours");
    dir
}

fn text(dir: &TempDir) -> String {
    fs::read_to_string(dir.path().join("cluster.toml")).expect("it is there")
}

fn run_with(dir: &Path, arguments: &[&str], environment: &[(&str, &str)], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_regex-provision"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("REGEX_PROVISION_FILE")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary under test starts");
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    // The program may end without reading its input.
    let _ = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    child.wait_with_output().expect("the child is ours")
}

/// Standard output of a run that did what it should, without a word to standard error.
#[track_caller]
fn done(dir: &TempDir, arguments: &[&str], stdin: &str) -> String {
    let output = run_with(dir.path(), arguments, &[], stdin);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""));
    String::from_utf8(output.stdout).expect("the output is text")
}

/// Standard error of a run that failed, and printed nothing else.
#[track_caller]
fn failed(dir: &TempDir, arguments: &[&str], stdin: &str) -> String {
    let output = run_with(dir.path(), arguments, &[], stdin);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), &*stdout), (Some(2), ""));
    String::from_utf8(output.stderr).expect("messages are text")
}

#[test]
fn a_right_file_is_described() {
    let dir = directory(CLUSTER);
    insta::assert_snapshot!(done(&dir, &["check"], ""), @"cluster.toml: no mistakes; cluster lab, 2 nodes s[0-1], 1 image, 1 export");
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let text = CLUSTER
        .replace("name = \"lab\"", "name = \"lab\"\ngatway = \"10.0.0.9\"")
        .replace("\"10.0.0.10\"", "\"10.0.0.249\"")
        .replace("\"/data\"", "\"data\"");
    let dir = directory(&text);
    insta::assert_snapshot!(failed(&dir, &["check"], ""));
    insta::assert_snapshot!(failed(&dir, &["node", "list"], ""));
}

#[test]
fn warnings_are_no_mistakes() {
    let dir = directory(&CLUSTER.replace("[profile.rack1]", "[profile.rack2]\n[profile.rack1]"));
    let output = run_with(dir.path(), &["check"], &[], "");
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @"cluster.toml:13:10: warning: profile rack2: no node has it; name it in `profile` of a node, or remove it");
}

#[test]
fn the_file_is_found() {
    let dir = directory(CLUSTER);
    let other = directory(&CLUSTER.replace("\"lab\"", "\"other\""));
    let path = other.path().join("cluster.toml");
    let path = path.to_str().expect("temporary paths are UTF-8");
    let named = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = run_with(dir.path(), arguments, environment, "");
        String::from_utf8(output.stdout).expect("the output is text")
    };
    assert!(named(&["check"], &[]).contains("cluster lab"));
    assert!(named(&["check", path], &[]).contains("cluster other"));
    let variable = [("REGEX_PROVISION_FILE", path)];
    assert!(named(&["check"], &variable).contains("cluster other"));
    assert!(named(&["check", "cluster.toml"], &variable).contains("cluster lab"));
    assert!(named(&["check", "--file", path], &[]).contains("cluster other"));
    assert!(named(&["check", "--file", "cluster.toml"], &variable).contains("cluster lab"));
    let two = failed(&dir, &["check", "cluster.toml", "--file", "b.toml"], "");
    assert_eq!(
        two,
        "regex-provision: two files are named, cluster.toml and b.toml: name one\n"
    );

    let empty = TempDir::new().expect("a temporary directory");
    let stderr = failed(&empty, &["node", "list", "--file", "none.toml"], "");
    insta::assert_snapshot!(stderr, @"regex-provision: there is no none.toml; `regex-provision init none.toml` writes one: cannot read none.toml: No such file or directory (os error 2)");
    fs::write(empty.path().join("cluster.toml"), b"a = \"\xff\"").expect("ours");
    insta::assert_snapshot!(failed(&empty, &["check"], ""), @"regex-provision: cannot read cluster.toml: line 1 is not UTF-8; save the file as UTF-8");
}

#[test]
fn nodes_are_listed() {
    let dir = directory(CLUSTER);
    insta::assert_snapshot!(done(&dir, &["node", "list"], ""), @r"
    NAME  ADDRESS    MAC                IMAGE  ROOT  PROFILE        TAGS
    s0    10.0.0.10  52:54:00:00:00:00  base   ram   default,rack1  rack1
    s1    10.0.0.11  52:54:00:00:00:01  base   ram   default,rack1  rack1
    ");
    let fold = |set: &[&str]| done(&dir, &[&["node", "list", "--fold"][..], set].concat(), "");
    assert_eq!(fold(&[]), "s[0-1]\n");
    assert_eq!(fold(&["@rack1,!s0"]), "s1\n");
    assert_eq!(fold(&["@all", "-x", "s0", "-x", "s1"]), "\n");
    insta::assert_snapshot!(done(&dir, &["node", "list", "--json", "s1"], ""));
    insta::assert_snapshot!(failed(&dir, &["node", "list", "s[0-3]"], ""), @"regex-provision: no node is named s[2-3]; the nodes are s[0-1]");
    let stderr = failed(&dir, &["node", "list", "s[0-"], "");
    assert!(stderr.contains("the bracket is not closed"), "{stderr}");
}

#[test]
fn hosts_are_imported() {
    let dir = directory(CLUSTER);
    let path = dir.path().join("cluster.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
    let list = "# rack 1\ns2 10.0.0.12 52:54:00:00:00:02\nN001  10.0.0.20  52-54-00-00-01-00\n";
    let dry = done(
        &dir,
        &["node", "import", "--profile", "rack1", "--dry-run"],
        list,
    );
    assert_eq!(text(&dir), CLUSTER);
    insta::assert_snapshot!(done(&dir, &["node", "import", "--profile", "rack1"], list), @"2 nodes added to cluster.toml: n001,s2");
    assert_eq!(text(&dir), dry);
    insta::assert_snapshot!(text(&dir));
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!(done(&dir, &["node", "list", "--fold"], ""), "n001,s[0-2]\n");
    assert_eq!(fs::read_dir(dir.path()).expect("ours").count(), 1);

    insta::assert_snapshot!(done(&dir, &["node", "import"], "# nobody\n"), @"stdin names no nodes; cluster.toml is as it was");
    assert_eq!(text(&dir), dry);
}

#[test]
fn hosts_that_do_not_fit_are_refused_with_their_places() {
    let dir = directory(CLUSTER);
    let list = "\
# name address mac
s1   10.0.0.20  52:54:00:00:00:20
s2   10.0.0.10  52:54:00:00:00:21
s3   10.0.0.21  52:54:00:00:00:01   # the same card
s4   10.0.1.4   52:54:00:00:00:22
s5   10.0.0.200 52:54:00:00:00:23
s6   10.0.0.1   52:54:00:00:00:24
s7   10.0.0.27  52:54:00:00:00:27
";
    insta::assert_snapshot!(failed(&dir, &["node", "import"], list));
    insta::assert_snapshot!(failed(&dir, &["node", "import"], "s1\ns_2 10.0.0 x\n"));
    let profile = ["node", "import", "--profile", "none"];
    insta::assert_snapshot!(failed(&dir, &profile, "s7 10.0.0.27 52:54:00:00:00:27\n"));
    insta::assert_snapshot!(failed(&dir, &["node", "import", "absent.txt"], ""), @"regex-provision: cannot read the host list absent.txt: No such file or directory (os error 2)");
    assert_eq!(text(&dir), CLUSTER);
    assert_eq!(fs::read_dir(dir.path()).expect("ours").count(), 1);
}

#[test]
fn more_problems_than_are_told_are_counted() {
    let dir = directory(CLUSTER);
    let line = |n: u32| {
        format!(
            "x{n} 10.9.{}.{} 52:54:00:01:{:02x}:{:02x}\n",
            n / 256,
            n % 256,
            n / 256,
            n % 256
        )
    };
    let list: String = (0..1300).map(line).collect::<Vec<_>>().concat();
    let stderr = failed(&dir, &["node", "import"], &list);
    assert_eq!(stderr.lines().count(), 1001);
    assert!(
        stderr.ends_with("1300 problems in the host list stdin; nothing was written\n"),
        "{stderr}"
    );
}

#[test]
fn into_a_wrong_file_nothing_is_imported() {
    let wrong = CLUSTER.replace("\"10.0.0.10\"", "\"10.9.0.10\"");
    let dir = directory(&wrong);
    insta::assert_snapshot!(failed(
        &dir,
        &["node", "import"],
        "s7 10.0.0.27 52:54:00:00:00:27\n"
    ));
    assert_eq!(text(&dir), wrong);
}

#[test]
fn sections_by_name_grow_by_name() {
    let by_name = CLUSTER.replace(
        "[[node]]             # the first two\nname = \"s[0-1]\"",
        "[node.\"s[0-1]\"]",
    );
    let dir = directory(&by_name);
    done(
        &dir,
        &["node", "import"],
        "s2 10.0.0.12 52:54:00:00:00:02\n",
    );
    let text = text(&dir);
    assert!(
        text.contains("\n[node.s2]\naddress = \"10.0.0.12\"\nmac = \"52:54:00:00:00:02\"\n"),
        "{text}"
    );
    assert_eq!(done(&dir, &["node", "list", "--fold"], ""), "s[0-2]\n");
    insta::assert_snapshot!(failed(&dir, &["node", "import"], "\ns2 10.0.0.13 52:54:00:00:00:03\n"), @r"
    stdin:2:1: node s2 is in the cluster already; a node has one section
    regex-provision: 1 problem in the host list stdin; nothing was written
    ");
}

#[test]
fn help_for_editors_shells_and_readers() {
    let dir = TempDir::new().expect("a temporary directory");
    let schema = done(&dir, &["schema"], "");
    assert!(
        schema.starts_with("{\n") && schema.contains("\"kernel-args\""),
        "{schema}"
    );
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = done(&dir, &["completions", shell], "");
        assert!(completions.contains("dhcp-hosts"), "{shell}");
    }
    assert!(done(&dir, &["man"], "").contains("regex\\-provision"));
    assert!(done(&dir, &["man", "node", "list"], "").contains("\\-\\-fold"));
    insta::assert_snapshot!(failed(&dir, &["man", "nod"], ""), @"regex-provision: no command nod; the commands are: init, check, plan, apply, rollback, generations, node, serve, status, image, power, exec, copy, ssh, doctor, schema, dhcp-hosts, completions, man");
}

#[test]
fn what_help_says() {
    let dir = TempDir::new().expect("a temporary directory");
    let help = |arguments: &&[&str]| {
        let help = done(&dir, arguments, "");
        format!("$ regex-provision {}\n{help}\n", arguments.join(" "))
    };
    let commands = [
        &["--help"][..],
        &["init", "--help"],
        &["check", "--help"],
        &["plan", "--help"],
        &["apply", "--help"],
        &["rollback", "--help"],
        &["generations", "--help"],
        &["node", "list", "--help"],
        &["node", "import", "--help"],
        &["node", "discover", "--help"],
        &["node", "approve", "--help"],
        &["serve", "--help"],
        &["status", "--help"],
        &["image", "--help"],
        &["image", "build", "--help"],
        &["image", "import", "--help"],
        &["image", "lint", "--help"],
        &["image", "list", "--help"],
        &["image", "show", "--help"],
        &["image", "diff", "--help"],
        &["image", "prune", "--help"],
        &["power", "--help"],
        &["power", "on", "--help"],
        &["power", "off", "--help"],
        &["power", "cycle", "--help"],
        &["power", "status", "--help"],
        &["exec", "--help"],
        &["copy", "--help"],
        &["ssh", "--help"],
        &["doctor", "--help"],
        &["schema", "--help"],
    ];
    insta::assert_snapshot!(commands.iter().map(help).collect::<Vec<_>>().concat());
}

/// So says the guide.
#[test]
fn every_command_has_examples() {
    fn look(command: &clap::Command, path: &str) {
        let help = command.get_after_help().map(ToString::to_string);
        let has = help.is_some_and(|help| help.contains("Examples:\n  "));
        assert!(has, "{path} has no examples");
        for sub in command.get_subcommands() {
            if !sub.is_hide_set() {
                look(sub, &format!("{path} {}", sub.get_name()));
            }
        }
    }
    look(&regexctl_provision::cli::command(), "regex-provision");
}

/// Where nobody listens any more, the exit status remains.
#[test]
fn messages_that_cannot_be_written_do_no_harm() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let status = Command::new(env!("CARGO_BIN_EXE_regex-provision"))
        .args(["check", "/nowhere/cluster.toml"])
        .stderr(full.expect("Linux has it"))
        .status()
        .expect("the binary under test starts");
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_fake_root_must_be_there() {
    let dir = TempDir::new().expect("a temporary directory");
    let told = failed(&dir, &["plan", "--root", "nowhere"], "");
    assert!(
        told.contains("there is no such directory; make it first"),
        "{told}"
    );
}
