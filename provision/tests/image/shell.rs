//! Commands in an image: what they see, what stays, and that nothing is left behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use crate::rig::{Rig, can_build, text, tiny_root, worker};

fn with_image() -> Rig {
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let program = rig.path("regex-worker");
    worker(&program, 1);
    rig.run(&[
        "import",
        "tiny",
        "--directory",
        text(&root),
        "--worker",
        text(&program),
    ]);
    rig
}

#[test]
fn a_command_sees_the_image_and_nothing_of_the_master() {
    if !can_build() {
        return;
    }
    let rig = with_image();
    let run = |command: &[&str]| rig.run(&[&["shell", "tiny", "--"], command].concat());
    assert_eq!(run(&["/bin/cat", "/etc/os-release"]), "ID=tiny\n");
    // Its processes are its own, and the first one is the command.
    assert_eq!(run(&["/bin/sh", "-c", "echo $$"]), "1\n");
    let devices = run(&["/bin/ls", "/dev"]);
    let devices: Vec<&str> = devices.split_whitespace().collect();
    for device in ["null", "urandom", "pts", "shm", "fd"] {
        assert!(devices.contains(&device), "{devices:?}");
    }
    for entry in fs::read_dir("/sys/class/block").expect("it is there") {
        let disk = entry
            .expect("listed")
            .file_name()
            .into_string()
            .expect("text");
        assert!(!devices.contains(&&*disk), "{disk}");
    }
    let output = rig.output(&["shell", "tiny", "--", "/bin/sh", "-c", "exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    let output = rig.output(&["shell", "tiny", "--", "/bin/missing"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("cannot run /bin/missing in the image"),
        "{stderr}"
    );
    let told = rig.fails(&["shell", "other", "--", "/bin/true"]);
    assert!(
        told.contains("there is no image other; there is tiny"),
        "{told}"
    );
}

#[test]
fn changes_stay_only_if_they_are_committed() {
    if !can_build() {
        return;
    }
    let rig = with_image();
    let before = rig.published("tiny");
    rig.run(&["shell", "tiny", "--", "/bin/touch", "/etc/thrown-away"]);
    let output = rig.output(&[
        "shell",
        "tiny",
        "--commit",
        "--",
        "/bin/sh",
        "-c",
        "touch /etc/failed; exit 3",
    ]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(rig.published("tiny"), before);
    rig.run(&[
        "shell",
        "tiny",
        "--commit",
        "--",
        "/bin/touch",
        "/etc/kept",
        "/tmp/gone",
        "/run/gone",
    ]);
    assert_ne!(rig.published("tiny"), before);
    let shown = rig.json(&["show", "tiny"]);
    let manifest = &shown["manifest"];
    let root = rig.unpacked(manifest, "unpacked");
    assert!(root.join("etc/kept").exists());
    for path in [
        "etc/thrown-away",
        "etc/failed",
        "tmp/gone",
        "run/gone",
        "usr/sbin/policy-rc.d",
    ] {
        assert!(!root.join(path).exists(), "{path}");
    }
    // The worker and the kernel are still those of the image.
    assert!(root.join("opt/regexctl/bin/regex-worker").exists());
    assert_eq!(manifest["worker"]["version"], "unknown");
    let kernel = fs::read_to_string(rig.artifact(&manifest["kernel"]["sha256"]));
    assert_eq!(kernel.expect("an artifact"), "a kernel");
    // A change that breaks the image is not published.
    let before = rig.published("tiny");
    let told = rig.fails(&[
        "shell",
        "tiny",
        "--commit",
        "--",
        "/bin/busybox",
        "rm",
        "/sbin/init",
    ]);
    assert!(told.contains("error: no-init"), "{told}");
    assert_eq!(rig.published("tiny"), before);
    // What was committed is not what is declared: the next build makes that again.
    let program = rig.path("regex-worker");
    rig.run(&[
        "import",
        "tiny",
        "--directory",
        text(&rig.path("root")),
        "--worker",
        text(&program),
    ]);
    let shown = rig.json(&["show", "tiny"]);
    let root = rig.unpacked(&shown["manifest"], "again");
    assert!(!root.join("etc/kept").exists());
}

#[test]
fn nothing_is_left_of_a_shell_that_was_killed() {
    if !can_build() {
        return;
    }
    let rig = with_image();
    let mut child = rig
        .command(&[
            "shell",
            "tiny",
            "--",
            "/bin/sh",
            "-c",
            "echo ready; exec sleep 600",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("it says so");
    assert_eq!(line, "ready\n");
    let root = rig
        .store()
        .join("tmp")
        .join(&rig.names("tmp")[0])
        .join("stage/root");
    assert!(root.join("etc/os-release").exists());
    child.kill().expect("it is ours");
    let status = child.wait().expect("it is ours");
    assert_eq!(status.signal(), Some(9));
    // The pipe's end is closed when the last process in the image has gone.
    line.clear();
    assert_eq!(stdout.read_line(&mut line).expect("it ends"), 0);
    let store = rig.store().canonicalize().expect("it is there");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("proc is there");
    assert!(!mounts.contains(text(&store)), "{mounts}");
    assert_eq!(
        fs::read_dir(root.join("proc"))
            .expect("it is there")
            .count(),
        0
    );
    // The next command removes what it was working with.
    rig.run(&["prune"]);
    assert_eq!(rig.names("tmp"), Vec::<String>::new());
    assert!(Path::new("/dev/null").exists());
}

#[test]
fn a_commit_keeps_all_that_belongs_to_files() {
    if !can_build() {
        return;
    }
    // What `setcap cap_net_raw+ep` writes.
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    for format in ["squashfs", "erofs"] {
        let rig = Rig::new();
        let root = rig.path("root");
        tiny_root(&root);
        let ping = root.join("usr/bin/ping");
        fs::write(&ping, "x").expect("a file");
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(&ping, "security.capability", &capability, flags)
            .expect("we are root");
        fs::hard_link(root.join("etc/group"), root.join("etc/second")).expect("a link");
        rig.cluster(&format!(
            "[image.tiny]\nworker = false\nformat = \"{format}\"\nsource = {{ kind = \"directory\", path = \"{}\" }}\n",
            root.display()
        ));
        rig.run(&["build", "tiny"]);
        rig.run(&["shell", "tiny", "--commit", "--", "/bin/touch", "/etc/kept"]);
        let shown = rig.json(&["show", "tiny"]);
        let packed = rig.artifact(&shown["manifest"]["root"]["sha256"]);
        // As a node sees it. The mount is gone with the process that made it.
        let copy = rig.path("copy");
        let script = "mount -o loop,ro \"$1\" /mnt && cp -a /mnt \"$2\"";
        let output = std::process::Command::new("unshare")
            .args(["--mount", "sh", "-ec", script, "sh"])
            .args([&packed, &copy])
            .output()
            .expect("unshare is there");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{format}: {told}");
        assert!(copy.join("etc/kept").exists(), "{format}");
        let links = fs::metadata(copy.join("etc/group"))
            .expect("it is there")
            .nlink();
        assert_eq!(links, 2, "{format}");
        let mut value = [0; 64];
        let ping = copy.join("usr/bin/ping");
        let length = rustix::fs::lgetxattr(ping, "security.capability", &mut value[..]);
        assert_eq!(value[..length.expect(format)], capability, "{format}");
    }
}
