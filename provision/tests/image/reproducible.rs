//! The same inputs give the same digest.

use std::fs;

use crate::rig::{Rig, can_build, text, tiny_root, worker, write};

#[test]
fn two_builds_of_the_same_are_the_same() {
    if !can_build() {
        return;
    }
    let rigs = [Rig::new(), Rig::new()];
    // Paths are part of a declaration, so both import from the same one.
    let shared = tempfile::tempdir().expect("a directory");
    let root = shared.path().join("root");
    let program = shared.path().join("regex-worker");
    let mut digests = Vec::new();
    for (round, rig) in rigs.iter().enumerate() {
        if round == 1 {
            fs::remove_dir_all(&root).expect("ours");
        }
        tiny_root(&root);
        if round == 1 {
            // Made in another order, and so found in another one.
            fs::rename(root.join("etc/group"), root.join("etc/moved")).expect("ours");
            write(&root.join("etc/filler"), "x");
            fs::rename(root.join("etc/moved"), root.join("etc/group")).expect("ours");
            fs::remove_file(root.join("etc/filler")).expect("ours");
        }
        worker(&program, 1);
        for format in ["squashfs", "erofs"] {
            rig.cluster(&format!(
                "[image.tiny]\nformat = \"{format}\"\nsource = {{ kind = \"directory\", path = \"{}\" }}\n\
                 post-script = '''\n#!/bin/sh\ntouch /etc/made-now\n'''\n\
                 [[image.tiny.user]]\nname = \"ann\"\nshell = \"/bin/sh\"\n",
                root.display()
            ));
            let built = rig.json(&[
                "build",
                "tiny",
                "--worker",
                text(&program),
                "--tree",
                "--ramdisk",
                "--without-usr",
            ]);
            digests.push((format, built["digest"].clone(), built["manifest"].clone()));
        }
    }
    for format in ["squashfs", "erofs"] {
        let of: Vec<_> = digests
            .iter()
            .filter(|(name, ..)| *name == format)
            .collect();
        assert_eq!(of[0].2, of[1].2, "{format}");
        assert_eq!(of[0].1, of[1].1, "{format}");
    }
}

#[test]
fn another_time_is_another_image() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let first = rig.import(&root);
    let rig = rig.with("SOURCE_DATE_EPOCH", "1700000001");
    let second = rig.import(&root);
    assert_eq!(second["manifest"]["created"], 1_700_000_001);
    assert_ne!(first["digest"], second["digest"]);
    let rig = rig.with("SOURCE_DATE_EPOCH", "yesterday");
    let told = rig.fails(&["import", "tiny", "--no-worker", "--directory", text(&root)]);
    assert!(
        told.contains("SOURCE_DATE_EPOCH=yesterday: not a number"),
        "{told}"
    );
}
