//! Mistakes in images.

use super::*;

fn image(lines: &str) -> String {
    told_with(&format!("[image.x]\n{lines}"))
}

/// With a source that is right.
fn with(lines: &str) -> String {
    image(&format!(
        "source = {{ kind = \"debootstrap\", suite = \"bookworm\" }}\n{lines}"
    ))
}

#[test]
fn sources() {
    insta::assert_snapshot!(cases(&[
        ("none", image("")),
        ("no kind", image("source = { suite = \"bookworm\" }")),
        ("no suite", image("source = { kind = \"debootstrap\" }")),
        (
            "a suite that is none",
            image("source = { kind = \"debootstrap\", suite = \"book worm\" }")
        ),
        (
            "keys of another kind",
            image(
                "source = { kind = \"tar\", path = \"/x\", suite = \"bookworm\", exclude = [\"x\"] }"
            )
        ),
        (
            "no path",
            image("source = { kind = \"oci\", reference = \"\" }")
        ),
        (
            "a mirror",
            image(
                "source = { kind = \"debootstrap\", suite = \"bookworm\", mirrors = [\"mirror.lab.example\", \"http://u:p@x\"] }"
            )
        ),
        (
            "no components",
            image("source = { kind = \"debootstrap\", suite = \"bookworm\", components = [] }")
        ),
        (
            "a pattern",
            image("source = { kind = \"directory\", path = \"/x\", exclude = [\"\", \"a\\nb\"] }")
        ),
        (
            "a name",
            told_with("[image.\"../x\"]\nsource = { kind = \"tar\", path = \"/x\" }")
        ),
    ]));
}

#[test]
fn contents() {
    insta::assert_snapshot!(cases(&[
        (
            "packages",
            with("packages = [\"htop\", \"Htop\", \"x\"]\nremove-packages = [\"htop\"]")
        ),
        (
            "units",
            with(
                "services = { enable = [\"ssh\", \"-x.service\", \"a.service\"], mask = [\"a.service\"] }"
            )
        ),
        (
            "a kernel in two ways",
            with("kernel = { package = \"linux-image-amd64\", file = \"/boot/vmlinuz\" }")
        ),
        (
            "a kernel without modules",
            with("kernel = { file = \"/boot/vmlinuz\" }")
        ),
        (
            "an initramfs",
            with("initramfs = { modules = [\"e1000e.ko\"], firmware = [\"/lib/x\", \"a/../b\"] }")
        ),
        (
            "packing",
            with("format = \"sqashfs\"\nlevel = 23\nwritable = \"95%\"\nmax-size = \"120\"")
        ),
        ("a locale", with("locale = \"de DE\"")),
        ("a script", with("post-script = \"echo hello\"")),
    ]));
}

#[test]
fn files() {
    let file = |lines: &str| with(&format!("[[image.x.file]]\n{lines}"));
    insta::assert_snapshot!(cases(&[
        ("no path", file("text = \"\"")),
        ("no content", file("path = \"/a\"")),
        (
            "two contents",
            file("path = \"/a\"\ntext = \"\"\ncopy = \"/b\"")
        ),
        ("no directory", file("path = \"/a\"\ndirectory = false")),
        ("the root", file("path = \"/\"\ndirectory = true")),
        (
            "twice",
            file("path = \"/a\"\ntext = \"\"\n[[image.x.file]]\npath = \"/a/\"\ntext = \"\"")
        ),
        (
            "a decimal mode",
            file("path = \"/a\"\ntext = \"\"\nmode = 644")
        ),
        (
            "a mode that is none",
            file("path = \"/a\"\ntext = \"\"\nmode = \"0899\"")
        ),
        (
            "a mode too large",
            file("path = \"/a\"\ntext = \"\"\nmode = 0o10000")
        ),
        (
            "a link with a mode",
            file("path = \"/a\"\nlink = \"\"\nmode = \"0644\"")
        ),
        (
            "an owner",
            file("path = \"/a\"\ntext = \"\"\nowner = \"Root\"")
        ),
    ]));
}

#[test]
fn users() {
    let user = |lines: &str| with(&format!("[[image.x.user]]\n{lines}"));
    insta::assert_snapshot!(cases(&[
        ("no name", user("uid = 1")),
        ("a name that is none", user("name = \"Bob\"")),
        (
            "twice",
            user("name = \"bob\"\nuid = 1000\n[[image.x.user]]\nname = \"bob\"\nuid = 1000")
        ),
        (
            "keys that root cannot have",
            user("name = \"root\"\nuid = 0\nhome = \"/root\"")
        ),
        (
            "a password",
            user("name = \"bob\"\npassword-hash = \"geheim\"")
        ),
        (
            "a hash",
            user("name = \"bob\"\npassword-hash = \"$6$abc$def\"")
        ),
        ("a number", user("name = \"bob\"\nuid = 65534")),
    ]));
    assert!(!user("name = \"bob\"\npassword-hash = \"geheim\"").contains("geheim"));
}
