//! A power loss at any step leaves what was published before.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use regexctl_provision::image::fail::STEPS;
use regexctl_provision::store::Store;

use crate::rig::{Rig, can_build, text, tiny_root, worker, write};

/// Everything that the published image names is there, and is what its name says.
fn is_whole(rig: &Rig) {
    let store = Store::at(rig.store());
    let (_, manifest) = store
        .image(&"tiny".parse().expect("a name"))
        .expect("it is published");
    for digest in manifest.artifacts() {
        store.verify(digest).expect("it is whole");
    }
    if let Some(tree) = manifest.tree {
        assert!(store.tree_path(tree).join("etc/passwd").exists());
    }
}

#[test]
fn a_kill_at_any_step_leaves_the_old_image_or_the_new_one() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let program = rig.path("regex-worker");
    worker(&program, 1);
    let import = [
        "import",
        "tiny",
        "--directory",
        text(&root),
        "--worker",
        text(&program),
        "--tree",
        "--ramdisk",
    ];
    rig.run(&import);
    let mut killed = 0;
    for step in STEPS {
        // A base root is only made of packages.
        if step == "base made" {
            continue;
        }
        let before = rig.published("tiny");
        write(&root.join("etc/motd"), step);
        let output = rig
            .command(&import)
            .env("REGEX_PROVISION_DIE_AT", step)
            .output()
            .expect("it can be started");
        assert_eq!(output.status.signal(), Some(9), "{step}");
        killed += 1;
        assert_eq!(
            rig.published("tiny") != before,
            step == "published",
            "{step}"
        );
        is_whole(&rig);
        // The next command cleans up, and finishes the work.
        rig.run(&import);
        assert_eq!(rig.names("tmp"), Vec::<String>::new(), "{step}");
        is_whole(&rig);
        let built = rig.json(&["show", "tiny"]);
        let unpacked = rig.unpacked(&built["manifest"], step);
        assert_eq!(
            fs::read_to_string(unpacked.join("etc/motd")).expect("it is there"),
            step
        );
    }
    assert_eq!(killed, STEPS.len() - 1);
    // What the killed ones have put and nobody names is removed by the next prune, and nothing else.
    rig.run(&["prune"]);
    is_whole(&rig);
    assert_eq!(rig.names("manifests").len(), 1);
    assert_eq!(rig.names("trees").len(), 1);
}

#[test]
fn two_builds_of_one_image_do_not_mix() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    rig.cluster(&format!(
        "[image.tiny]\nworker = false\nsource = {{ kind = \"directory\", path = \"{}\" }}\n\
         post-script = '''\n#!/bin/sh\nwhile [ ! -e /opt/go ]; do sleep 0.05; done\n'''\n",
        root.display()
    ));
    let mut first = rig
        .command(&["build", "tiny"])
        .spawn()
        .expect("it can be started");
    // It runs its script as soon as the root for work is there.
    let script = loop {
        let found = rig.names("tmp").into_iter().find_map(|name| {
            let root = rig.store().join("tmp").join(name).join("stage/root");
            root.join(".regexctl-post-script").exists().then_some(root)
        });
        if let Some(root) = found {
            break root;
        }
        assert_eq!(
            first.try_wait().expect("it is ours"),
            None,
            "it waits for us"
        );
        std::thread::yield_now();
    };
    let told = rig.fails(&["build", "tiny"]);
    assert!(
        told.contains("the image tiny is being built by somebody else"),
        "{told}"
    );
    let told = rig.fails(&["prune", "--cache"]);
    assert!(told.contains("the image tiny is being built"), "{told}");
    write(&script.join("opt/go"), "");
    let output = first.wait_with_output().expect("it is ours");
    assert!(output.status.success());
    is_whole(&rig);
}
