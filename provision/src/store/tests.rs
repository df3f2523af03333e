use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, Store) {
    let directory = TempDir::new().expect("a directory for the test");
    let store = Store::at(directory.path().join("store"));
    (directory, store)
}

fn name(text: &str) -> ImageName {
    text.parse().expect("a name of an image")
}

/// The manifest of an image whose artifacts are made of `seed`.
fn manifest(writer: &mut Writer, image: &str, seed: &str) -> Manifest {
    let mut put = |what: &str| {
        let bytes = format!("{what} of {seed}");
        writer
            .put_bytes(bytes.as_bytes())
            .expect("bytes can be put")
    };
    let root = put("root");
    Manifest {
        format: FORMAT,
        image: name(image),
        created: 1,
        kernel_version: "6.1".into(),
        kernel: put("kernel"),
        initramfs: put("initramfs"),
        initramfs_contents: InitramfsContents::default(),
        root: Root {
            format: RootFormat::Squashfs,
            sha256: root.sha256,
            size: root.size,
            unpacked: 0,
            entries: 0,
        },
        ramdisk: None,
        tree: None,
        without_usr: None,
        listing: put("listing"),
        packages: Vec::new(),
        worker: None,
        inputs: Digest::of(seed.as_bytes()),
    }
}

#[test]
fn an_empty_store_has_no_images() {
    let (_directory, store) = store();
    assert_eq!(store.names().expect("names"), []);
    assert_eq!(store.in_use().expect("in use"), InUse::default());
    let error = store.image(&name("a")).expect_err("there is none");
    insta::assert_snapshot!(error, @"there is no image a; make one with `regex-provision image build` or `image import`");
}

#[test]
fn what_is_published_is_found_by_its_name() {
    let (_directory, store) = store();
    let mut writer = store.lock().expect("nobody else has the lock");
    let first = manifest(&mut writer, "a", "first");
    let second = manifest(&mut writer, "a", "second");
    let digest = writer.publish(&first).expect("it is complete");
    assert_eq!(store.image(&name("a")).expect("a"), (digest, first));
    let digest = writer.publish(&second).expect("it is complete");
    assert_eq!(store.image(&name("a")).expect("a"), (digest, second));
    assert_eq!(store.names().expect("names"), [name("a")]);
    assert_eq!(store.manifests().expect("manifests").len(), 2);
    let error = store.image(&name("b")).expect_err("there is none");
    insta::assert_snapshot!(error, @"there is no image b; there is a");
}

#[test]
fn an_image_is_not_published_before_what_it_needs() {
    let (_directory, store) = store();
    let mut writer = store.lock().expect("nobody else has the lock");
    let mut manifest = manifest(&mut writer, "a", "first");
    manifest.tree = Some(manifest.root.sha256);
    let error = writer.publish(&manifest).expect_err("the tree is missing");
    assert!(error.to_string().contains("the tree"), "{error}");
    let tree = writer.temp("tree").expect("a directory");
    fs::create_dir(tree.path().join("root")).expect("a directory");
    writer
        .put_tree(manifest.root.sha256, &tree.path().join("root"))
        .expect("it can be moved");
    let kernel = store.artifact_path(manifest.kernel.sha256);
    fs::remove_file(&kernel).expect("it is there");
    let error = writer
        .publish(&manifest)
        .expect_err("the kernel is missing");
    assert!(error.to_string().contains("the artifact"), "{error}");
    assert_eq!(store.names().expect("names"), []);
}

#[test]
fn artifacts_are_what_their_names_say() {
    let (_directory, store) = store();
    let mut writer = store.lock().expect("nobody else has the lock");
    let artifacts = writer
        .put_all([&b"one"[..], b"two", b"one"])
        .expect("they can be put");
    assert_eq!(artifacts[0], artifacts[2]);
    assert_eq!(artifacts[0].size, 3);
    for artifact in &artifacts {
        store.verify(artifact.sha256).expect("it is whole");
    }
    let path = store.artifact_path(artifacts[1].sha256);
    let metadata = fs::metadata(&path).expect("it is there");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o444);

    // A file of the same content heals what was damaged.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    fs::write(&path, "tw0").expect("it is ours");
    let error = store.verify(artifacts[1].sha256).expect_err("damaged");
    assert!(error.to_string().contains("is damaged"), "{error}");
    let temp = writer.temp("file").expect("a directory");
    fs::write(temp.path().join("two"), "two").expect("it is ours");
    let again = writer
        .put_file(&temp.path().join("two"))
        .expect("it can be put");
    assert_eq!(again, artifacts[1]);
    store.verify(again.sha256).expect("it is whole again");
}

#[test]
fn an_altered_manifest_is_refused() {
    let (_directory, store) = store();
    let mut writer = store.lock().expect("nobody else has the lock");
    let manifest = manifest(&mut writer, "a", "first");
    let digest = writer.publish(&manifest).expect("it is complete");
    let path = store.manifest_path(digest);
    let text = fs::read_to_string(&path).expect("it is text");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    fs::write(&path, text.replace("6.1", "6.2")).expect("it is ours");
    assert!(matches!(
        store.image(&name("a")),
        Err(StoreError::Altered { .. })
    ));
}

#[test]
fn a_manifest_of_a_later_version_is_refused() {
    let error = Manifest::parse(br#"{"format": 2, "something": "new"}"#).expect_err("format 2");
    insta::assert_snapshot!(error, @"its format is 2, this version reads 1; build the image again");
}

#[test]
fn what_a_killed_command_left_is_removed_and_the_rest_stays() {
    let (_directory, store) = store();
    let writer = store.lock().expect("nobody else has the lock");
    let alive = writer.temp("build").expect("a directory");
    drop(writer);
    let dead = store.root().join("tmp/build.1.0");
    fs::create_dir(&dead).expect("a directory");
    fs::write(dead.join("half"), "half").expect("a file");
    fs::write(store.root().join("tmp/file"), "half").expect("a file");

    let writer = store.lock().expect("nobody else has the lock");
    assert!(!dead.exists());
    assert!(!store.root().join("tmp/file").exists());
    assert!(alive.path().exists());
    drop(writer);
    let path = alive.path().to_owned();
    drop(alive);
    assert!(!path.exists());
}

/// `serve.directory = "/var"`, or `rollback --directory /home/me`: what is in tmp/ there is not ours.
#[test]
fn nothing_is_made_or_removed_in_a_directory_of_others() {
    for others in [
        &["tmp/work", "lib"][..],
        // Each by itself could be of a store.
        &["tmp/work"],
        &["images/holiday", "tmp/work"],
        &["manifests/ship", "tmp/work"],
    ] {
        let (_directory, store) = store();
        for path in others {
            fs::create_dir_all(store.root().join(path)).expect("a directory");
        }
        let error = store.lock().expect_err("it is no store").to_string();
        assert!(
            error.contains("which is not ours, and is no directory of images"),
            "{error}"
        );
        for path in others {
            assert!(store.root().join(path).exists(), "{path} is gone");
        }
        let made = list(store.root()).expect("it can be listed");
        assert_eq!(made.len(), others.len(), "{made:?}");
        let error = store.existing().expect_err("it is no store").to_string();
        assert!(error.starts_with("there are no images"), "{error}");
        assert_eq!(list(store.root()).expect("it can be listed"), made);
    }
}

#[test]
fn a_store_is_made_in_what_is_empty_or_held_one() {
    for before in [
        &[][..],
        &["lost+found"],
        &["cache", "nodes"],
        &["artifacts"],
    ] {
        let (_directory, store) = store();
        fs::create_dir(store.root()).expect("a directory");
        for name in before {
            fs::create_dir(store.root().join(name)).expect("a directory");
        }
        drop(store.lock().expect("it may become a store"));
        assert!(store.exists());
        // And once more, now with everything in it.
        fs::write(store.root().join("mine"), "").expect("a file");
        drop(store.lock().expect("it is a store"));
    }
}

#[test]
fn what_a_link_leads_to_is_not_removed() {
    let (directory, store) = store();
    drop(store.lock().expect("nobody else has the lock"));
    fs::remove_dir(store.root().join("tmp")).expect("it is empty");
    let others = directory.path().join("others");
    fs::create_dir_all(others.join("work")).expect("a directory");
    std::os::unix::fs::symlink(&others, store.root().join("tmp")).expect("a link");
    let error = store.lock().expect_err("it leads out").to_string();
    assert!(error.contains("tmp"), "{error}");
    assert!(others.join("work").exists());
}

#[test]
fn a_second_writer_waits_for_the_first() {
    let (_directory, store) = store();
    let mut writer = store.lock().expect("nobody else has the lock");
    let other = store.clone();
    let second = std::thread::spawn(move || {
        let writer = other.lock().expect("the first one ends");
        writer.store().artifacts().expect("they can be listed")
    });
    let put = writer.put_bytes(b"before").expect("it can be put");
    drop(writer);
    assert_eq!(second.join().expect("no panic"), [put.sha256]);
}

#[test]
fn a_link_that_leads_elsewhere_is_named() {
    let (_directory, store) = store();
    drop(store.lock().expect("nobody else has the lock"));
    std::os::unix::fs::symlink("../elsewhere", store.root().join("images/a")).expect("a link");
    let error = store.image(&name("a")).expect_err("no manifest");
    assert!(
        error.to_string().contains("leads to ../elsewhere"),
        "{error}"
    );
}

#[test]
fn what_a_generation_names_is_in_use() {
    let (_directory, store) = store();
    let mut writer = store.lock().expect("nobody else has the lock");
    let old = manifest(&mut writer, "a", "old");
    let older = manifest(&mut writer, "a", "older");
    let new = manifest(&mut writer, "a", "new");
    let older = writer.publish(&older).expect("it is complete");
    let old_digest = writer.publish(&old).expect("it is complete");
    let new_digest = writer.publish(&new).expect("it is complete");
    let overlay = writer.put_bytes(b"overlay").expect("it can be put").sha256;
    let unused = writer.put_bytes(b"unused").expect("it can be put").sha256;
    let generation = store.generations().join("7");
    fs::create_dir_all(generation.join("files")).expect("a directory");
    fs::write(
        generation.join("images.json"),
        format!("{{\"a\":\"{old_digest}\"}}"),
    )
    .expect("a file");
    fs::write(
        generation.join("files/boot.ipxe"),
        format!("kernel x rp.overlay={overlay} panic=10"),
    )
    .expect("a file");

    let used = store.in_use().expect("it can be read");
    assert_eq!(
        used.manifests,
        [old_digest, new_digest].into_iter().collect()
    );
    assert!(!used.manifests.contains(&older));
    assert!(used.artifacts.contains(&overlay));
    assert!(used.artifacts.contains(&old.root.sha256));
    assert!(used.artifacts.contains(&new.listing.sha256));
    assert!(!used.artifacts.contains(&unused));
}

/// Whoever asks for a node's boot script in its name must not have taken away what it runs.
#[test]
fn the_boot_that_a_node_runs_keeps_its_root_and_its_own_words_keep_nothing() {
    let (_directory, store) = store();
    let mut writer = store.lock().expect("nobody else has the lock");
    let mut put = |what: &str| writer.put_bytes(what.as_bytes()).expect("it can be put");
    let [before, running, asked, last, chosen] =
        ["before", "running", "asked", "last", "chosen"].map(|what| put(what).sha256);
    let boot = |number: u32, offer: Digest, more: &str| {
        format!(
            "{{\"boot\":{{\"mac\":\"m\",\"boot\":{{\"number\":{number},\"offer\":{{\"tree\":\"{offer}\"}},{more}}}}}}}"
        )
    };
    let heard = |stage: &str| format!("\"steps\":{{\"{stage}\":{{}}}}");
    let lines = [
        "{\"format\":1}".to_owned(),
        boot(1, before, &heard("worker")),
        boot(2, running, &heard("script")),
        boot(2, running, &heard("root")),
        boot(3, asked, &heard("script")),
        boot(4, last, &format!("\"id\":\"{chosen}\",{}", heard("script"))),
    ];
    fs::write(store.nodes().join("journal"), lines.join("\n")).expect("a file");
    let used = store.in_use().expect("it can be read").artifacts;
    assert_eq!(used, [running, last].into_iter().collect());
}

/// What another version keeps of nodes may name what they still read.
#[test]
fn a_line_of_another_version_keeps_what_it_names() {
    let (_directory, store) = store();
    let mut writer = store.lock().expect("nobody else has the lock");
    let mut put = |what: &str| writer.put_bytes(what.as_bytes()).expect("it can be put");
    let [
        renamed,
        added,
        torn,
        said,
        last,
        before,
        beside,
        within,
        words,
    ] = [
        "renamed", "added", "torn", "said", "last", "before", "beside", "within", "words",
    ]
    .map(|what| put(what).sha256);
    let boot = |number: u32, digest: Digest| {
        format!(
            "{{\"boot\":{{\"mac\":\"m\",\"boot\":{{\"number\":{number},\"offer\":{{\"overlay\":\"{digest}\"}}}}}}}}"
        )
    };
    let lines = [
        "{\"format\":1}".to_owned(),
        boot(1, before),
        boot(2, last),
        format!("{{\"booted\":{{\"mac\":\"m\",\"root\":\"{renamed}\"}}}}"),
        format!("{{\"forget\":{{\"mac\":\"other\"}},\"mounts\":[\"{added}\"]}}"),
        format!("{{\"boot\":{{\"mac\":\"m\",\"boot\":{{\"offer\":\"{torn}"),
        format!("{{\"unknown\":{{\"vendor\":\"{said}\"}}}}"),
        format!(
            "{{\"boot\":{{\"mac\":\"n\",\"boot\":{{\"number\":1}},\"mounts\":[\"{beside}\"]}}}}"
        ),
        format!(
            "{{\"boot\":{{\"mac\":\"n\",\"boot\":{{\"number\":2,\"offered\":\"{within}\",\"failure\":{{\"words\":\"{words}\"}}}}}}}}"
        ),
    ];
    fs::write(store.nodes().join("journal"), lines.join("\n")).expect("a file");
    let used = store.in_use().expect("it can be read").artifacts;
    assert_eq!(
        used,
        [renamed, added, torn, last, beside, within]
            .into_iter()
            .collect()
    );
}

/// Nodes may have it mounted, and power may be lost at any time: there is always a whole one.
#[test]
fn a_tree_is_replaced_in_one_step() {
    let (_directory, store) = store();
    let mut writer = store.lock().expect("nobody else has the lock");
    let temp = writer.temp("tree").expect("a directory");
    let digest = Digest::of(b"root");
    let mut put = |name: &str| {
        let tree = temp.path().join("root");
        fs::create_dir_all(tree.join(name)).expect("a directory");
        writer.replace_tree(digest, &tree).expect("it can be moved");
        tree
    };
    assert!(!put("first").exists());
    let old = put("second");
    assert!(old.join("first").exists(), "it is no more in the store");
    assert!(store.tree_path(digest).join("second").exists());
    assert!(!store.tree_path(digest).join("first").exists());
}

#[test]
fn what_is_removed_is_gone_at_once() {
    let (_directory, store) = store();
    let mut writer = store.lock().expect("nobody else has the lock");
    let tree = writer.temp("tree").expect("a directory");
    let root = tree.path().join("root");
    fs::create_dir_all(root.join("etc")).expect("a directory");
    let digest = Digest::of(b"root");
    let inode = fs::metadata(&root).expect("it is there").ino();
    writer.put_tree(digest, &root).expect("it can be moved");
    let place = store.tree_path(digest);
    assert_eq!(fs::metadata(&place).expect("it is there").ino(), inode);
    writer.remove(&place).expect("it is ours");
    assert_eq!(store.trees().expect("trees"), []);
    assert_eq!(
        fs::read_dir(store.root().join("tmp"))
            .expect("a directory")
            .count(),
        1
    );
}
