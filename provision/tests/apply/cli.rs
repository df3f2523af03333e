//! The commands as a person types them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::fake::{Fake, LAB};

struct Lab {
    fake: Fake,
}

impl Lab {
    fn new() -> Self {
        let fake = Fake::new();
        fs::write(fake.path.join("cluster.toml"), LAB).expect("a file");
        Self { fake }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regex-provision"));
        command
            .args(arguments)
            .args(["--file", "cluster.toml", "--root", "."])
            .current_dir(&self.fake.path);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it starts")
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).expect("it is text")
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_exit_status_tells_whether_there_is_something_to_do() {
    let lab = Lab::new();
    assert_eq!(lab.run(&["plan"]).status.code(), Some(10));
    let applied = lab.text(&["apply"]);
    assert!(applied.ends_with("generation 1 is in force\n"), "{applied}");
    let nothing = lab.run(&["plan"]);
    assert_eq!(nothing.status.code(), Some(0));
    let told = String::from_utf8_lossy(&nothing.stdout);
    assert_eq!(told, "nothing to do: generation 1 is in force\n");
    fs::write(
        lab.fake.path.join("cluster.toml"),
        LAB.replace("base", "other"),
    )
    .expect("a file");
    let obstacle = lab.run(&["plan"]);
    assert_eq!(obstacle.status.code(), Some(2));
    let told = stderr(&obstacle);
    assert!(
        told.contains("this cannot be applied, for 1 reason"),
        "{told}"
    );
    let refused = lab.run(&["apply"]);
    let told = stderr(&refused);
    assert_eq!(
        (refused.status.code(), &*refused.stdout),
        (Some(2), &b""[..])
    );
    assert!(
        told.contains("the image other has not been built"),
        "{told}"
    );
}

#[test]
fn programs_get_json() {
    let lab = Lab::new();
    let parse = |text: &[u8]| serde_json::from_slice::<Value>(text).expect("it is JSON");
    let plan = parse(&lab.run(&["plan", "--json"]).stdout);
    assert_eq!(
        (&plan["changed"], &plan["from"]),
        (&Value::Bool(true), &Value::Null)
    );
    let hosts = plan["changes"].as_array().expect("a list").iter();
    let hosts = hosts
        .clone()
        .find(|change| change["name"] == "dnsmasq/hosts");
    let hosts = hosts.expect("it is made");
    assert_eq!(
        (&hosts["kind"], &hosts["service"]),
        (&"create".into(), &"dnsmasq".into())
    );
    let diff = hosts["diff"].as_str().expect("text");
    assert!(
        diff.contains("+52:54:00:00:00:10,10.77.0.10,s0\n"),
        "{diff}"
    );
    let applied = parse(&lab.run(&["apply", "--json"]).stdout);
    assert_eq!(applied["generation"], 1);
    let plan = parse(&lab.run(&["plan", "--json"]).stdout);
    assert_eq!(plan["changed"], false);
    let list = parse(&lab.run(&["generations", "--json"]).stdout);
    assert_eq!(
        (&list[0]["generation"], &list[0]["nodes"]),
        (&1.into(), &4.into())
    );
}

#[test]
fn generations_are_listed_and_returned_to() {
    let lab = Lab::new();
    let path = lab.fake.path.join("cluster.toml");
    assert_eq!(
        lab.text(&["generations"]),
        "no generations: nothing has been applied yet\n"
    );
    let nowhere = lab.run(&["rollback"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(
        stderr(&nowhere).contains("nothing has been applied yet"),
        "{nowhere:?}"
    );
    lab.text(&["apply"]);
    fs::write(&path, format!("{LAB}# more\n")).expect("a file");
    lab.text(&["apply"]);
    // One may want back because the file is not right any more.
    fs::write(&path, "[cluster]\n").expect("a file");
    let back = lab.text(&["rollback"]);
    assert!(back.ends_with("generation 1 is in force\n"), "{back}");
    let list = lab.text(&["generations"]);
    let starts: Vec<_> = list
        .lines()
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>())
        .collect();
    assert_eq!(
        starts,
        [["GENERATION", "MADE"], ["2", "0"], ["*", "1"]],
        "{list}"
    );
    let missing = lab.run(&["rollback", "9"]);
    assert!(
        stderr(&missing).contains("there is no generation 9; there is 1, 2"),
        "{missing:?}"
    );
}

#[test]
fn a_daemon_that_refuses_its_file_stops_everything() {
    let lab = Lab::new();
    let before = lab.fake.everything();
    // A dnsmasq that finds fault with everything.
    let bin = tempfile::TempDir::new().expect("a temporary directory");
    let dnsmasq = bin.path().join("dnsmasq");
    fs::write(
        &dnsmasq,
        "#!/bin/sh\necho 'bad option at line 7' >&2\nexit 1\n",
    )
    .expect("a file");
    make_executable(&dnsmasq);
    let path = std::env::var("PATH").unwrap_or_default();
    let output = lab
        .command(&["apply"])
        .env("PATH", format!("{}:{path}", bin.path().display()))
        .output()
        .expect("it starts");
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("nothing was changed, for a daemon refuses its new file"),
        "{told}"
    );
    assert!(
        told.contains("dnsmasq/dnsmasq.conf: ") && told.contains("bad option at line 7"),
        "{told}"
    );
    assert_eq!(lab.fake.everything(), before);
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// Whoever is not root is told so before anything is read or written.
#[test]
fn without_root_nothing_is_touched() {
    if !rustix::process::geteuid().is_root() {
        let lab = Lab::new();
        let output = Command::new(env!("CARGO_BIN_EXE_regex-provision"))
            .args(["apply", "--file"])
            .arg(lab.fake.path.join("cluster.toml"))
            .output()
            .expect("it starts");
        assert!(
            stderr(&output).contains("only root may change this system"),
            "{output:?}"
        );
        return;
    }
    let lab = Lab::new();
    open_to_all(&lab.fake.path);
    let before = lab.fake.everything();
    let program = lab.fake.path.join("regex-provision");
    fs::copy(env!("CARGO_BIN_EXE_regex-provision"), &program).expect("it can be copied");
    make_executable(&program);
    for command in ["apply", "rollback"] {
        let output = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&program)
            .args([command, "--file"])
            .arg(lab.fake.path.join("cluster.toml"))
            .output()
            .expect("setpriv is part of util-linux");
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(
            told.contains("only root may change this system; run it with sudo"),
            "{told}"
        );
    }
    fs::remove_file(program).expect("it is ours");
    assert_eq!(lab.fake.everything(), before);
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}
