//! A power loss at any step leaves what was published before.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use regexctl_provision::image::fail::{PRUNE_STEPS, STEPS};
use regexctl_provision::store::Store;

use crate::oci::Layout;
use crate::rig::{BUSYBOX, RELEASE, Rig, can_build, text, tiny_root, worker, write};

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
        // A base root is only made of packages: that is below.
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

/// What stands for mmdebstrap makes a tiny root; all around it is as with the real one.
#[test]
fn a_kill_when_the_base_root_is_made_leaves_the_old_image() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let programs = rig.path("programs");
    let script = format!(
        "#!/bin/sh\nwhile [ \"${{1#--}}\" != \"$1\" ]; do shift; done\ncp -a '{}/.' \"$2\"\n",
        root.display()
    );
    write(&programs.join("mmdebstrap"), &script);
    let mmdebstrap = programs.join("mmdebstrap");
    fs::set_permissions(&mmdebstrap, fs::Permissions::from_mode(0o755)).expect("ours");
    // Programs are looked for there first.
    let build = |step: &str| {
        let build = rig.command(&["build", "tiny"]);
        let script = "mount --bind \"$1\" /usr/local/sbin; shift; exec \"$@\"";
        Command::new("unshare")
            .args(["--mount", "sh", "-ec", script, "sh"])
            .arg(&programs)
            .arg(build.get_program())
            .args(build.get_args())
            .current_dir(rig.directory.path())
            .env("REGEX_PROVISION_DIE_AT", step)
            .output()
            .expect("unshare is there")
    };
    let declare = |package: &str| {
        rig.cluster(&format!(
            "[image.tiny]\nworker = false\ntrim-modules = false\npackages = [\"{package}\"]\n\
             source = {{ kind = \"debootstrap\", suite = \"bookworm\" }}\n"
        ));
    };
    for package in ["first", "second"] {
        declare(package);
        let before = rig.published("tiny");
        let killed = build("base made");
        let told = String::from_utf8_lossy(&killed.stderr);
        assert_eq!(killed.status.signal(), Some(9), "{told}");
        assert_eq!(rig.published("tiny"), before);
        let built = build("");
        let told = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{told}");
        assert_ne!(rig.published("tiny"), before);
        is_whole(&rig);
        assert_eq!(rig.names("tmp"), Vec::<String>::new());
        assert_eq!(
            rig.names("cache/base").len(),
            1,
            "the older one is of no use"
        );
    }
}

/// An OCI image is laid out first, the master's system is copied while it runs.
#[test]
fn a_kill_while_a_source_is_taken_leaves_the_old_image() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let layout = Layout::new(&rig, "oci");
    rig.cluster(&format!(
        "[image.copy]\nworker = false\nsource = {{ kind = \"master\", include = [\"/etc/ssl\", \"/lib\", \"/sbin\"] }}\n\
         kernel = {{ file = \"{0}/boot/vmlinuz-{RELEASE}\", modules = \"{0}/usr/lib/modules/{RELEASE}\" }}\n\
         [[image.copy.file]]\npath = \"/sbin/init\"\ncopy = \"{BUSYBOX}\"\nmode = \"0755\"\n",
        root.display()
    ));
    for motd in ["old", "new"] {
        write(&root.join("etc/motd"), motd);
        let layers = [layout.layer(&root, "--no-auto-compress")];
        layout.index(&[layout.manifest(&layers, None, "amd64")]);
        let oci = ["import", "tiny", "--no-worker", "--oci", "oci"];
        for (name, import) in [("tiny", &oci[..]), ("copy", &["import", "copy"])] {
            for step in ["filled", "configured", "manifest"] {
                let before = rig.published(name);
                let mut command = rig.command(import);
                let output = command.env("REGEX_PROVISION_DIE_AT", step).output();
                let output = output.expect("it can be started");
                let told = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.signal(), Some(9), "{name}, {step}: {told}");
                assert_eq!(rig.published(name), before, "{name}, {step}");
            }
            rig.run(import);
            assert!(rig.published(name).is_some());
            assert_eq!(rig.names("tmp"), Vec::<String>::new(), "{name}");
        }
        is_whole(&rig);
    }
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

/// Changes a byte of a file, or cuts its end off.
fn damage(path: &Path, is_cut: bool) {
    let mut bytes = fs::read(path).expect("it is there");
    if is_cut {
        bytes.pop();
    } else {
        bytes[0] ^= 1;
    }
    fs::write(path, bytes).expect("we are root");
}

#[test]
fn a_damaged_image_is_mended_by_the_next_build() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let built = rig.import(&root);
    let manifest = &built["manifest"];
    for what in ["root", "kernel", "initramfs", "listing"] {
        for is_cut in [false, true] {
            let digest = &manifest[what]["sha256"];
            damage(&rig.artifact(digest), is_cut);
            let output = rig.output(&["import", "tiny", "--no-worker", "--directory", text(&root)]);
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{what}: {told}");
            let named = digest.as_str().expect("text");
            assert!(
                told.contains(named) && told.contains("damaged"),
                "{what}: {told}"
            );
            is_whole(&rig);
            assert_eq!(rig.json(&["show", "tiny"])["digest"], built["digest"]);
            assert_eq!(rig.import(&root)["new"], false, "{what}");
        }
    }
}

/// An unpacked root has no digest of its own: its files have, in the listing.
#[test]
fn a_damaged_tree_is_mended_by_the_next_build() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    write(&root.join("opt/own/file"), "of the root");
    let import = [
        "import",
        "tiny",
        "--no-worker",
        "--tree",
        "--directory",
        text(&root),
    ];
    let built = rig.json(&import);
    let tree = built["manifest"]["tree"].as_str().expect("it was wanted");
    let tree = rig.store().join("trees").join(tree);
    let inode = || fs::metadata(&tree).expect("it is there").ino();
    let before = inode();
    assert_eq!(rig.json(&import)["new"], false);
    rig.run(&[&import[..], &["--force"]].concat());
    assert_eq!(
        inode(),
        before,
        "what is whole stays: nodes have it mounted"
    );

    let file = tree.join("etc/passwd");
    let break_it: [fn(&Path); 4] = [
        |file| damage(file, false),
        |file| damage(file, true),
        |file| fs::remove_file(file).expect("we are root"),
        |file| fs::set_permissions(file, fs::Permissions::from_mode(0o666)).expect("we are root"),
    ];
    for break_it in break_it {
        // Of its own, so that what the stage has stays whole.
        let bytes = fs::read(&file).expect("it is there");
        fs::remove_file(&file).expect("we are root");
        fs::write(&file, bytes).expect("we are root");
        break_it(&file);
        // Nothing is made of it.
        let told = rig.fails(&["lint", "tiny"]);
        assert!(told.contains(text(&file)), "{told}");
        let before = rig.published("tiny");
        let told = rig.fails(&["shell", "tiny", "--commit", "--", "/bin/true"]);
        assert!(told.contains(text(&file)), "{told}");
        assert_eq!(rig.published("tiny"), before);

        let output = rig.output(&import);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert!(told.contains(text(&file)), "{told}");
        assert_eq!(rig.json(&["show", "tiny"])["digest"], built["digest"]);
        let mended = fs::read_to_string(&file).expect("it is there");
        assert!(mended.starts_with("root:x:0:0:"), "{mended}");
        assert_eq!(rig.json(&import)["new"], false);
    }
}

/// A stage in the cache is what most images are made of: nothing damaged gets out of it under a digest that fits.
#[test]
fn a_damaged_stage_is_made_again() {
    if !can_build() {
        return;
    }
    let unpacked = ["root/etc/passwd", "layer/opt/own/file"];
    let squashfs = [
        "kernel",
        "initramfs",
        "packed",
        "packed-without-usr",
        "ramdisk",
        "ramdisk-without-usr",
        "listing",
    ];
    for (format, files) in [("squashfs", &squashfs[..]), ("erofs", &unpacked[..])] {
        let rig = Rig::new();
        let root = rig.path("root");
        tiny_root(&root);
        write(&root.join("opt/own/file"), "of the root");
        rig.cluster(&format!(
            "[image.tiny]\nformat = \"{format}\"\nsource = {{ kind = \"directory\", path = \"{}\" }}\n",
            root.display()
        ));
        let program = rig.path("regex-worker");
        let mut version = 1;
        worker(&program, version);
        let build = [
            "build",
            "tiny",
            "--tree",
            "--ramdisk",
            "--without-usr",
            "--worker",
            text(&program),
        ];
        let first = rig.json(&build);
        for file in files {
            let stage = rig.names("cache/stage/tiny").concat();
            let path = rig.store().join("cache/stage/tiny").join(stage).join(file);
            damage(&path, false);
            version += 1;
            worker(&program, version);
            let output = rig.output(&build);
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{file}: {told}");
            assert!(told.contains(text(&path)), "{file}: {told}");
            is_whole(&rig);
            let shown = rig.json(&["show", "tiny"]);
            for what in ["kernel", "initramfs"] {
                assert_eq!(shown["manifest"][what], first["manifest"][what], "{file}");
            }
            let tree = shown["manifest"]["tree"].as_str().expect("it was wanted");
            let tree = rig.store().join("trees").join(tree);
            let to = format!("{format}-{}", file.replace('/', "-"));
            for root in [&tree, &rig.unpacked(&shown["manifest"], &to)] {
                let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
                assert!(read("etc/passwd").starts_with("root:x:0:0:"), "{file}");
                assert_eq!(read("opt/own/file"), "of the root", "{file}");
            }
        }
    }
}

/// The first build of an image has a stage before it has a name.
#[test]
fn prune_leaves_the_stage_of_an_image_that_is_being_built() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    // A store is known by these.
    for name in ["artifacts", "manifests"] {
        fs::create_dir_all(rig.store().join(name)).expect("ours");
    }
    let stage = rig.store().join("cache/stage");
    write(&stage.join("new/0123/kernel"), "a kernel");
    let lock = fs::File::create(stage.join("new.lock")).expect("a file");
    lock.lock().expect("it is ours");
    rig.run(&["prune"]);
    assert!(stage.join("new/0123/kernel").exists());
    drop(lock);
    rig.run(&["prune"]);
    assert!(!stage.join("new").exists());
}

#[test]
fn a_kill_at_any_step_of_prune_or_of_a_commit_leaves_an_image_that_is_whole() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let import = |motd: &str| {
        write(&root.join("etc/motd"), motd);
        let arguments = ["import", "tiny", "--no-worker", "--tree", "--directory"];
        rig.json(&[&arguments[..], &[text(&root)]].concat())
    };
    let dies = |arguments: &[&str], step: &str| {
        let mut command = rig.command(arguments);
        let output = command.env("REGEX_PROVISION_DIE_AT", step).output();
        let output = output.expect("it can be started");
        assert_eq!(output.status.signal(), Some(9), "{step}");
        is_whole(&rig);
    };
    for step in PRUNE_STEPS {
        import("old");
        let built = import(step);
        // A stage without an image, as of one whose first build was killed.
        write(
            &rig.store().join("cache/stage/left/0123/kernel"),
            "a kernel",
        );
        dies(&["prune"], step);
        assert_eq!(
            rig.json(&["show", "tiny"])["digest"],
            built["digest"],
            "{step}"
        );
        rig.run(&["prune"]);
        is_whole(&rig);
        assert_eq!(rig.names("tmp"), Vec::<String>::new(), "{step}");
        assert_eq!(rig.names("manifests").len(), 1, "{step}");
        assert_eq!(rig.names("trees").len(), 1, "{step}");
        assert_eq!(rig.names("cache/stage"), ["tiny", "tiny.lock"], "{step}");
    }
    for step in [
        "packed",
        "stage kept",
        "layered",
        "tree",
        "artifacts",
        "manifest",
        "published",
    ] {
        let before = rig.published("tiny");
        let touched = format!("/etc/{}", step.replace(' ', "-"));
        let shell = ["shell", "tiny", "--commit", "--", "/bin/touch", &touched];
        dies(&shell, step);
        let is_new = rig.published("tiny") != before;
        assert_eq!(is_new, step == "published", "{step}");
        rig.run(&shell);
        is_whole(&rig);
        assert_eq!(rig.names("tmp"), Vec::<String>::new(), "{step}");
    }
}
