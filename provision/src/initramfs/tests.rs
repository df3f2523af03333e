use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use object::write;
use object::{Architecture, BinaryFormat, Endianness, SectionKind};

use super::*;

const RELEASE: &str = "6.1.0-test";

/// What a module is to this crate: an object with a section `.modinfo`.
fn module(info: &[&str]) -> Vec<u8> {
    let mut object =
        write::Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let section = object.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
    let mut data = Vec::new();
    for field in info {
        data.extend(field.as_bytes());
        data.push(0);
    }
    object.append_section_data(section, &data, 1);
    object.write().unwrap()
}

/// A root with a few modules, one of each kind that matters.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Root {
        let root = Root(tempfile::tempdir().unwrap());
        root.put("usr/lib/modules/6.1.0-test/kernel/overlay.ko", &module(&[]));
        root.put(
            "usr/lib/modules/6.1.0-test/kernel/e1000e.ko",
            &module(&[
                "license=GPL",
                "firmware=e1000e.bin",
                "firmware=e1000e-2.bin",
            ]),
        );
        root.put("usr/lib/modules/6.1.0-test/kernel/nvme.ko", &module(&[]));
        root.put(
            "usr/lib/modules/6.1.0-test/kernel/special-card.ko",
            &module(&[]),
        );
        root.put("usr/lib/modules/6.1.0-test/kernel/sound.ko", &module(&[]));
        root.text(
            "usr/lib/modules/6.1.0-test/modules.dep",
            "kernel/overlay.ko:\nkernel/e1000e.ko:\nkernel/nvme.ko:\nkernel/special-card.ko:\nkernel/sound.ko:\n",
        );
        root.text(
            "usr/lib/modules/6.1.0-test/modules.alias",
            "alias pci:e1000e* e1000e\nalias pci:nvme* nvme\nalias pci:sound* sound\n",
        );
        root.text(
            "usr/lib/modules/6.1.0-test/modules.builtin",
            "kernel/drivers/virtio_pci.ko\n",
        );
        root.put("usr/lib/firmware/e1000e.bin", b"blob");
        root.put("usr/lib/firmware/asked.bin.xz", b"blob");
        symlink("usr/lib", root.path().join("lib")).unwrap();
        root
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn text(&self, name: &str, text: &str) {
        self.put(name, text.as_bytes());
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path().join(name)).unwrap();
    }

    fn recipe(&self) -> Recipe<'_> {
        Recipe {
            root: self.path(),
            release: RELEASE,
            busybox: Some(Path::new("/bin/busybox")),
            modules: &[],
            exclude: &[],
            firmware: &[],
        }
    }

    /// The message of a build that must fail.
    fn refused(&self) -> String {
        build(&self.recipe()).unwrap_err().to_string()
    }
}

/// What an independent reader unpacks: a directory.
fn unpack(archive: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let plain = if archive.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(archive), &mut plain).unwrap();
        plain
    } else {
        zstd::decode_all(archive).unwrap()
    };
    let mut child = Command::new("busybox")
        .args(["cpio", "-idm"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("busybox-static is installed");
    io::Write::write_all(&mut child.stdin.take().unwrap(), &plain).unwrap();
    // Without root's rights it cannot make the device nodes, and says so.
    child.wait().unwrap();
    dir
}

fn read(dir: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn an_initramfs_holds_the_scripts_the_modules_and_what_they_need() {
    let root = Root::new();
    let built = build(&root.recipe()).unwrap();
    let contents = &built.contents;
    assert_eq!(contents.modules, ["e1000e", "nvme", "overlay"]);
    assert_eq!(contents.builtin, ["virtio_pci"]);
    assert!(contents.absent.contains(&"squashfs".to_owned()));
    assert_eq!(contents.firmware, ["e1000e.bin"]);
    assert_eq!(contents.firmware_absent, ["e1000e-2.bin"]);
    assert_eq!(contents.packed, built.archive.len() as u64);

    let dir = unpack(&built.archive);
    let init = fs::metadata(dir.path().join("init")).unwrap();
    assert_eq!(init.permissions().mode() & 0o777, 0o755);
    assert_eq!(
        fs::read_link(dir.path().join(".rp/bin/sh")).unwrap(),
        Path::new("busybox")
    );
    assert_eq!(
        read(&dir, "lib/modules/6.1.0-test/modules.alias"),
        "alias pci:e1000e* e1000e\n"
    );
    // Disks are looked for by unknown machines only.
    assert_eq!(
        read(&dir, "lib/modules/6.1.0-test/modules.alias.disks"),
        "alias pci:nvme* nvme\n"
    );
    assert_eq!(read(&dir, "lib/firmware/e1000e.bin"), "blob");
}

#[test]
fn same_input_same_bytes() {
    let (one, two) = (Root::new(), Root::new());
    assert_eq!(
        build(&one.recipe()).unwrap().archive,
        build(&two.recipe()).unwrap().archive
    );
}

#[test]
fn modules_and_firmware_by_name() {
    let root = Root::new();
    let modules = ["special-card".to_owned()];
    let exclude = ["nvme".to_owned()];
    let firmware = ["asked.bin".to_owned()];
    let built = build(&Recipe {
        modules: &modules,
        exclude: &exclude,
        firmware: &firmware,
        ..root.recipe()
    })
    .unwrap();
    assert_eq!(
        built.contents.modules,
        ["e1000e", "overlay", "special_card"]
    );
    assert_eq!(built.contents.firmware, ["asked.bin.xz", "e1000e.bin"]);
    let dir = unpack(&built.archive);
    assert_eq!(read(&dir, ".rp/load"), "special_card\n");

    let unknown = ["no-such".to_owned()];
    let error = build(&Recipe {
        modules: &unknown,
        ..root.recipe()
    })
    .unwrap_err();
    insta::assert_snapshot!(error, @"kernel 6.1.0-test has no module no_such: it is neither in modules.dep nor built in");
    let error = build(&Recipe {
        firmware: &unknown,
        ..root.recipe()
    })
    .unwrap_err();
    insta::assert_snapshot!(error, @"the image has no firmware no-such below lib/firmware");
}

#[test]
fn an_old_kernel_gets_gzip() {
    let root = Root::new();
    root.text(
        "boot/config-6.1.0-test",
        "CONFIG_RD_GZIP=y\n# CONFIG_RD_ZSTD is not set\n",
    );
    let built = build(&root.recipe()).unwrap();
    assert!(built.archive.starts_with(&[0x1f, 0x8b]));
    let dir = unpack(&built.archive);
    assert!(dir.path().join("init").exists());
    root.text("boot/config-6.1.0-test", "CONFIG_RD_ZSTD=y\n");
    let built = build(&root.recipe()).unwrap();
    assert!(built.archive.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
}

#[test]
fn what_cannot_boot_is_refused_with_the_reason() {
    let root = Root::new();
    let release = Recipe {
        release: "5.0",
        ..root.recipe()
    };
    insta::assert_snapshot!(build(&release).unwrap_err(), @"no modules of kernel 5.0 in the image: neither usr/lib/modules/5.0 nor lib/modules/5.0 is a directory");
    let busybox = std::env::current_exe().unwrap();
    let dynamic = Recipe {
        busybox: Some(&busybox),
        ..root.recipe()
    };
    let error = build(&dynamic).unwrap_err().to_string();
    assert!(error.contains("not static"), "{error}");

    root.text("usr/lib/modules/6.1.0-test/kernel/e1000e.ko", "<html>");
    assert!(
        root.refused()
            .ends_with("e1000e.ko is not a kernel module: it has no section .modinfo")
    );
    root.remove("usr/lib/modules/6.1.0-test/kernel/e1000e.ko");
    assert!(
        root.refused()
            .contains("e1000e.ko is named in modules.dep and is not in the image")
    );

    let dep = "usr/lib/modules/6.1.0-test/modules.dep";
    root.text(dep, "kernel/overlay.ko:\nkernel/nvme.ko:\n");
    insta::assert_snapshot!(root.refused(), @"kernel 6.1.0-test cannot boot from the network: it has no driver for any known network card");
    root.text(dep, "kernel/e1000e.ko:\n");
    insta::assert_snapshot!(root.refused(), @"kernel 6.1.0-test cannot boot from the network: it has no overlay file system");
    root.remove(dep);
    assert!(root.refused().contains("has no modules.dep; run `depmod"));
}

#[test]
fn a_module_that_is_a_link_to_a_file_of_the_master_is_not_there() {
    let root = Root::new();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let path = "usr/lib/modules/6.1.0-test/kernel/e1000e.ko";
    root.remove(path);
    symlink(outside.path(), root.path().join(path)).unwrap();
    assert!(
        root.refused()
            .contains("e1000e.ko is named in modules.dep and is not in the image")
    );
}

#[test]
fn a_ramdisk_is_the_root_with_the_scripts() {
    let root = Root::new();
    root.text("etc/hostname", "image\n");
    root.text("run/left", "x");
    root.text("init", "of somebody else");
    fs::hard_link(
        root.path().join("etc/hostname"),
        root.path().join("etc/second"),
    )
    .unwrap();
    let recipe = RamdiskRecipe {
        root: root.path(),
        release: RELEASE,
        busybox: Some(Path::new("/bin/busybox")),
        drivers: None,
        epoch: 1_000_000_000,
        level: 1,
    };
    let (archive, size) = ramdisk(&recipe, Vec::new()).unwrap();
    assert_eq!(zstd::decode_all(&archive[..]).unwrap().len() as u64, size);
    assert_eq!(ramdisk(&recipe, Vec::new()).unwrap().0, archive);
    let dir = unpack(&archive);
    assert!(read(&dir, "init").starts_with("#!/.rp/bin/sh"));
    assert_eq!(read(&dir, "etc/hostname"), "image\n");
    assert_eq!(
        fs::read_link(dir.path().join("lib")).unwrap(),
        Path::new("usr/lib")
    );
    assert!(dir.path().join("run").is_dir());
    assert!(!dir.path().join("run/left").exists());
    assert!(
        dir.path()
            .join("lib/modules/6.1.0-test/kernel/sound.ko")
            .exists()
    );
    let changed = fs::metadata(dir.path().join("etc/hostname"))
        .unwrap()
        .modified()
        .unwrap();
    let epoch = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    assert_eq!(changed, epoch);
}

#[test]
fn the_scripts_are_clean() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/initramfs/files");
    let out = Command::new("shellcheck")
        .args(["-s", "sh", "-x", "-P", "."])
        .args(
            SCRIPTS
                .iter()
                .map(|(name, _, _)| name.rsplit('/').next().unwrap()),
        )
        .current_dir(files)
        .output()
        .expect("shellcheck is installed");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stdout)
    );
}
