//! Archives and directories that would reach out of the image that is made of them, or that cost more than they may.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::rig::{RELEASE, Rig, can_build, text, tiny_root, worker, write};

#[test]
fn an_archive_cannot_reach_out_of_the_image() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let outside = rig.path("outside");
    fs::create_dir(&outside).expect("a directory");
    std::os::unix::fs::symlink(&outside, root.join("etc/leads-out")).expect("a link");
    let archive = rig.path("bad.tar");
    let tar = |arguments: &[&str]| {
        let status = Command::new("tar")
            .args(arguments)
            .status()
            .expect("tar is there");
        assert!(status.success());
    };
    tar(&["--create", "--file", text(&archive), "-C", text(&root), "."]);
    // A file behind the link, by a name that goes through it.
    let other = rig.path("other");
    write(&other.join("etc/leads-out/planted"), "planted");
    tar(&[
        "--append",
        "--file",
        text(&archive),
        "-C",
        text(&other),
        "./etc/leads-out/planted",
    ]);
    let told = rig.fails(&["import", "tiny", "--no-worker", "--tar", text(&archive)]);
    assert!(
        told.contains("cannot make the directory /etc/leads-out"),
        "{told}"
    );
    assert!(!outside.join("planted").exists());
}

/// A directory is laid over a root whose links are somebody else's.
#[test]
fn what_is_laid_over_a_root_stays_in_the_image() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let (root, outside, tools) = (rig.path("root"), rig.path("outside"), rig.path("tools"));
    tiny_root(&root);
    write(&outside.join("hosts"), "the master's");
    for name in ["hosts", "link"] {
        fs::create_dir_all(root.join("srv/tools")).expect("a directory");
        symlink(outside.join("hosts"), root.join("srv/tools").join(name)).expect("a link");
    }
    // One within the image is followed.
    fs::create_dir_all(root.join("srv/real")).expect("a directory");
    symlink("/srv/real", root.join("srv/tools/inner")).expect("a link");
    write(&root.join("srv/tools/other"), "of somebody else");
    std::os::unix::fs::chown(root.join("srv/tools/other"), Some(7), Some(8)).expect("we are root");
    write(&tools.join("hosts"), "the image's");
    symlink("hosts", tools.join("link")).expect("a link");
    write(&tools.join("inner/file"), "inside");
    let cluster = |more: &str| {
        rig.cluster(&format!(
            "[image.tiny]\nworker = false\nsource = {{ kind = \"directory\", path = \"{}\" }}\n\
             [[image.tiny.file]]\npath = \"/srv/tools\"\ncopy = \"{}\"\nowner = \"nobody\"\n{more}",
            root.display(),
            tools.display()
        ));
    };
    cluster("");
    let built = rig.json(&["build", "tiny"]);
    let unpacked = rig.unpacked(&built["manifest"], "tree");
    let read = |path: &str| fs::read_to_string(unpacked.join(path)).expect("it is there");
    assert_eq!(read("srv/tools/hosts"), "the image's");
    assert_eq!(read("srv/real/file"), "inside");
    let link = fs::read_link(unpacked.join("srv/tools/link")).expect("a link");
    assert_eq!(link, Path::new("hosts"));
    let owner = |path: &str| {
        let metadata = fs::symlink_metadata(unpacked.join(path)).expect("it is there");
        std::os::unix::fs::MetadataExt::uid(&metadata)
    };
    assert_eq!(owner("srv/tools/hosts"), 65534);
    assert_eq!(owner("srv/tools/other"), 7, "that was there before");

    // One that leads out of it leads nowhere.
    fs::remove_file(root.join("srv/tools/inner")).expect("ours");
    symlink(&outside, root.join("srv/tools/inner")).expect("a link");
    let told = rig.fails(&["build", "tiny"]);
    assert!(
        told.contains("cannot copy") && told.contains("inner"),
        "{told}"
    );
    let names: Vec<_> = fs::read_dir(&outside).expect("ours").collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let hosts = fs::read_to_string(outside.join("hosts")).expect("ours");
    assert_eq!(hosts, "the master's");
}

/// The worker is laid behind the root.
#[test]
fn a_link_where_the_worker_goes_is_refused() {
    if !can_build() {
        return;
    }
    for (format, link) in [
        ("squashfs", "opt"),
        ("erofs", "opt/regexctl"),
        ("erofs", "opt"),
    ] {
        let rig = Rig::new();
        let (root, outside) = (rig.path("root"), rig.path("outside"));
        tiny_root(&root);
        fs::create_dir(&outside).expect("a directory");
        let place = root.join(link);
        fs::create_dir_all(place.parent().expect("it has one")).expect("a directory");
        if place.is_dir() {
            fs::remove_dir_all(&place).expect("ours");
        }
        symlink("/evil/sub", &place).expect("a link");
        symlink(&outside, root.join("evil")).expect("a link");
        rig.cluster(&format!(
            "[image.tiny]\nformat = \"{format}\"\nsource = {{ kind = \"directory\", path = \"{}\" }}\n",
            root.display()
        ));
        let program = rig.path("regex-worker");
        worker(&program, 1);
        let told = rig.fails(&["build", "tiny", "--tree", "--worker", text(&program)]);
        assert!(told.contains("link"), "{format}, {link}: {told}");
        assert_eq!(fs::read_dir(&outside).expect("ours").count(), 0);
    }
}

/// The index of the modules is made by a program of the master.
#[test]
fn the_index_of_modules_is_written_into_the_image() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let (root, outside) = (rig.path("root"), rig.path("outside"));
    tiny_root(&root);
    fs::create_dir(&outside).expect("a directory");
    let index = format!("usr/lib/modules/{RELEASE}/modules.dep");
    fs::remove_file(root.join(&index)).expect("it has one");
    fs::remove_file(root.join("lib")).expect("it is a link");
    fs::create_dir_all(root.join("lib/modules")).expect("a directory");
    symlink(&outside, root.join("lib/modules").join(RELEASE)).expect("a link");
    let told = rig.fails(&["import", "tiny", "--no-worker", "--directory", text(&root)]);
    assert!(told.contains("merged-usr: /lib is a directory"), "{told}");
    assert_eq!(fs::read_dir(&outside).expect("ours").count(), 0);
    // As long as nobody runs it as its root, this one leads to the master's, too.
    fs::remove_dir_all(root.join("lib")).expect("ours");
    symlink("/usr/lib", root.join("lib")).expect("a link");
    let built = rig.import(&root);
    let unpacked = rig.unpacked(&built["manifest"], "unpacked");
    assert!(unpacked.join(index).exists());
}

/// What is refused is refused at once, whatever comes behind it.
#[test]
fn a_large_archive_is_refused_at_its_first_entry() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, size) in [("a/../../x", 1), ("large", 20 << 20)] {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        let bytes = vec![0; usize::try_from(size).expect("it is small")];
        archive.append(&header, &*bytes).expect("into memory");
    }
    let path = rig.path("bad.tar");
    fs::write(&path, archive.into_inner().expect("into memory")).expect("a file");
    let import = rig.command(&["import", "tiny", "--no-worker", "--tar", text(&path)]);
    let output = Command::new("timeout")
        .arg("60")
        .arg(import.get_program())
        .args(import.get_args())
        .current_dir(rig.directory.path())
        .output()
        .expect("timeout is there");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("with `..`"), "{told}");
}

/// As `tar -S --format=posix` writes them: what the archive holds of the file is not the file.
#[test]
fn a_sparse_file_in_a_posix_archive_is_refused() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    write(&root.join("etc/end"), "");
    let sparse = fs::File::create(root.join("etc/sparse")).expect("a file");
    sparse.set_len(8 << 20).expect("ours");
    std::os::unix::fs::FileExt::write_at(&sparse, b"data", 4 << 20).expect("ours");
    let archive = rig.path("sparse.tar");
    for (format, is_good) in [("gnu", true), ("posix", false)] {
        let packed = Command::new("tar")
            .args(["--create", "--sparse", "--format", format, "--file"])
            .args([text(&archive), "-C", text(&root), "."])
            .status()
            .expect("tar is there");
        assert!(packed.success());
        let import = ["import", "tiny", "--no-worker", "--tar", text(&archive)];
        if is_good {
            let built = rig.json(&import);
            let unpacked = rig.unpacked(&built["manifest"], format);
            let same = fs::read(unpacked.join("etc/sparse")).expect("it is there")
                == fs::read(root.join("etc/sparse")).expect("it is there");
            assert!(same);
        } else {
            let told = rig.fails(&import);
            assert!(told.contains("etc/sparse"), "{told}");
            assert!(told.contains("--format=gnu"), "{told}");
        }
    }
}
