//! The directory with images and generations: whose it is, who can read it, and whether it is whole.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use regexctl_provision::apply::{self, ApplyError, Disk, NoServices, Root};
use regexctl_provision::store::Store;
use tempfile::TempDir;

use crate::fake::{DIRECTORY, Fake, LAB, anyhow};

/// A command, as typed in the root.
fn run(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_regex-provision"))
        .args(arguments)
        .args(["--root", ".", "--file", "cluster.toml"])
        .current_dir(root)
        .output()
        .expect("it starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    metadata.permissions().mode() & 0o7777
}

fn elsewhere(directory: &str) -> String {
    format!("{LAB}\n[serve]\ndirectory = \"{directory}\"\n")
}

/// All of them fail, and say this.
fn assert_refused(results: [Result<String, ApplyError>; 2], what: &str) {
    for result in results {
        let error = format!("{:#}", anyhow(result.expect_err("it is refused")));
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn what_lies_in_a_directory_of_others_stays() {
    let fake = Fake::new();
    let others = fake.path.join("data/tmp/work");
    fs::create_dir_all(&others).expect("a directory");
    fs::write(fake.path.join("cluster.toml"), elsewhere("/data")).expect("a file");
    let before = fake.everything();
    for (arguments, what) in [
        (&["apply"][..], "which is not ours"),
        (&["rollback"], "there are no images and generations in"),
        (&["generations"], "there are no images and generations in"),
        (
            &["rollback", "--directory", "/home/me"],
            "there are no images and generations in",
        ),
    ] {
        let output = run(&fake.path, arguments);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(what), "{arguments:?}: {told}");
        assert_eq!(fake.everything(), before, "{arguments:?}");
    }
}

#[test]
fn a_directory_that_leads_out_of_the_root_is_not_used() {
    let fake = Fake::new();
    let outside = TempDir::new().expect("a temporary directory");
    let real = outside.path().join("store");
    fs::rename(fake.path.join(DIRECTORY), &real).expect("it is ours");
    symlink(&real, fake.path.join(DIRECTORY)).expect("a link");
    fs::create_dir(real.join("tmp/others")).expect("a directory");
    fs::write(fake.path.join("cluster.toml"), LAB).expect("a file");
    for command in ["plan", "apply", "rollback", "generations"] {
        let output = run(&fake.path, &[command]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{command}: {told}");
        assert!(
            told.contains("a link leads out of the root"),
            "{command}: {told}"
        );
        assert!(real.join("tmp/others").exists(), "{command}");
    }
}

#[test]
fn daemons_can_read_it_whatever_the_mask_of_root() {
    let fake = Fake::new();
    fs::write(fake.path.join("cluster.toml"), LAB).expect("a file");
    let program = env!("CARGO_BIN_EXE_regex-provision");
    let script = format!("umask 077; exec {program} apply --root . --file cluster.toml");
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(&fake.path)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let store = fake.path.join(DIRECTORY);
    for path in [
        "generations/1",
        "generations/1/files/tftp",
        "generations/1/files/dnsmasq",
    ] {
        assert_eq!(mode(&store.join(path)), 0o755, "{path}");
    }
    assert_eq!(mode(&store.join("tmp")), 0o700);
    assert_eq!(
        mode(&store.join("generations/1/files/dnsmasq/dnsmasq.conf")),
        0o644
    );
}

#[test]
fn password_hashes_are_for_root_alone() {
    let fake = Fake::new();
    let hash = format!("$6$saltsalt${}", "a".repeat(86));
    let text = format!("{LAB}\n[[image.base.user]]\nname = \"root\"\npassword-hash = \"{hash}\"\n");
    fake.apply(&text);
    let copy = |number: u32| {
        fake.store()
            .generations()
            .join(number.to_string())
            .join("cluster.toml")
    };
    assert_eq!(mode(&copy(1)), 0o600);
    // What holds none can be planned against by everybody.
    fake.apply(LAB);
    assert_eq!(mode(&copy(2)), 0o644);
}

#[test]
fn another_directory_is_used_when_the_old_one_was_moved() {
    let fake = Fake::new();
    fake.apply(LAB);
    let before = fake.everything();
    let text = elsewhere("/srv/provision");
    let request = fake.request(&text);
    let what = "mv /var/lib/regex-provision /srv/provision`";
    let plan = apply::plan(&request, &mut NoServices).expect("a plan");
    assert!(
        plan.obstacles.iter().any(|told| told.contains(what)),
        "{plan:?}"
    );
    let refused = fake.try_apply(&text, &mut Disk::default());
    let error = format!("{:#}", anyhow(refused.expect_err("it is to be moved")));
    assert!(error.contains(what), "{error}");
    // Nothing is in the way of what is moved.
    assert_eq!(fake.everything(), before);
    let new = fake.path.join("srv/provision");
    fs::create_dir(fake.path.join("srv")).expect("a directory");
    fs::rename(fake.path.join(DIRECTORY), &new).expect("it is ours");
    assert_eq!(fake.apply(&text).generation, 2);
    assert!(Store::at(&new).exists());

    // What was applied before leads daemons to where nothing is any more.
    let back = |number| {
        let root = Root::fake(&fake.path);
        let store = Store::at(&new);
        apply::rollback(&root, &store, number, &mut Disk::default(), &mut NoServices)
    };
    let before = fake.everything();
    for number in [Some(1), None] {
        let error = format!(
            "{:#}",
            anyhow(back(number).expect_err("it leads elsewhere"))
        );
        let told =
            "generation 1 was made for serve.directory = /var/lib/regex-provision, but is in ";
        assert!(error.contains(told), "{error}");
        assert_eq!(fake.everything(), before);
    }
    // Unless the old name leads to the new one.
    fs::create_dir_all(fake.path.join("var/lib")).expect("a directory");
    symlink("../../srv/provision", fake.path.join(DIRECTORY)).expect("a link");
    assert_eq!(back(None).expect("it is there").generation, 1);
}

#[test]
fn what_an_image_lacks_is_told_before_it_is_applied_or_returned_to() {
    let tree = LAB.replace("[profile.default]\n", "[profile.default]\nroot = \"nfs\"\n");
    for (text, is_tree) in [(LAB, false), (&tree, true)] {
        let fake = Fake::new();
        fake.publish_with_tree("first");
        fake.apply(text);
        fake.publish_with_tree("second");
        fake.apply(text);
        let manifest = |content: &str| {
            fake.publish_with_tree(content);
            let (_, manifest) = fake
                .store()
                .image(&"base".parse().expect("a name"))
                .expect("it is there");
            manifest
        };
        for (content, number) in [("first", 1), ("second", 2)] {
            let manifest = manifest(content);
            if is_tree {
                let tree = fake.store().tree_path(manifest.tree.expect("it has one"));
                fs::remove_dir_all(tree).expect("it is there");
            } else {
                let kernel = fake.store().artifact_path(manifest.kernel.sha256);
                fs::remove_file(kernel).expect("it is there");
            }
            let what = if is_tree {
                "the unpacked tree"
            } else {
                "the artifact"
            };
            let applied = fake.try_apply(text, &mut Disk::default());
            let returned = fake.rollback(Some(number));
            assert_refused(
                [applied, returned].map(|result| result.map(|outcome| format!("{outcome:?}"))),
                what,
            );
            let plan = fake.plan(text);
            let told = format!("the image base lacks {what}");
            assert!(
                plan.obstacles.iter().any(|one| one.contains(&told)),
                "{:?}",
                plan.obstacles
            );
        }
        assert_eq!(fake.current(), Some(2));
        // A tree is for those who mount it.
        if is_tree {
            fake.apply(LAB);
        }
    }
}
