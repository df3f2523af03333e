//! The small initramfs of an image, and the whole root as one: what a node runs between its
//! loader and its system.
//!
//! [`build`] reads an image's root tree and makes the small one: busybox, the scripts below `files/`,
//! and the modules that find the network and mount a root, with all that they need. [`ramdisk`]
//! makes the large one: the root itself with the same scripts in `/.rp`. Both are newc archives,
//! compressed, and the same input gives the same bytes. No rights and no other programs are needed.
//!
//! # What the scripts do
//!
//! `init` reads the kernel's command line (`rp.*`, see `files/init`), loads drivers, finds the interface that the
//! node booted from (`BOOTIF`), asks DHCP, and then by `rp.root`:
//! - `ram` fetches the packed root by its digest, going on where a broken connection left it, and refuses it
//!   unless its SHA-256 is the one asked for;
//! - `nfs` mounts a tree read-only;
//! - `ramdisk` finds the root around itself;
//! - `wait` tells the server what this machine is and waits until it is approved.
//!
//! Over the root comes an overlay in memory, over that `/usr` by NFS if wanted and the node's own files (a tar, checked by
//! digest likewise), then the system's `init`. Each step is told to the server (`POST /stage/MAC`). What cannot be
//! tried again is told there and on the console, and the node boots again by the kernel's `panic=`.
//!
//! # What must be in an image
//!
//! - `lib/modules/RELEASE` with `modules.dep` (packages of kernels run `depmod`; else run `depmod -b ROOT RELEASE`);
//! - a static busybox, such as Debian's `busybox-static`, unless the recipe names one;
//! - whatever configures interfaces must leave the one alone that the initramfs has configured: a drop-in with
//!   `ConditionKernelCommandLine=!rp.root` for `systemd-networkd.service` and its socket, `networking.service` or
//!   `NetworkManager.service`; its address is the node's fixed one and stays for as long as the node runs;
//! - no service that waits for a network to be configured (`systemd-networkd-wait-online.service` masked), and
//!   nothing in `/etc/fstab` for `/` or `/usr`;
//! - for the stages `system` and `worker`, a unit that reads `/run/regex-provision/boot.env` (`RP_SERVER`, `RP_MAC`,
//!   `RP_BOOT`, `RP_IP`, `RP_IMAGE`, `RP_MANIFEST`) and posts as `files/say.sh` does.
//!
//! The layers stay visible below `/run/regex-provision`: `image` (the packed root), `lower` and `upper`.
//!
//! # Not here
//!
//! Packing the root, choosing a kernel, serving. The loader verifies neither kernel nor initramfs nor ramdisk. Where the
//! kernel cannot unpack all of an initramfs it says so, and starts `init` nevertheless if that came before the damage: `init`
//! reads the kernel's messages, tells the server, and boots again. Damage before it is a panic of the kernel. What was forged
//! is not found.

pub mod cpio;
mod elf;
mod error;
mod inside;
mod modules;
mod pack;
mod ramdisk;
mod sets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::Error;
pub use ramdisk::{RamdiskRecipe, ramdisk, ramdisk_layer};

use inside::Inside;
use modules::{Modules, Place};
use pack::Tree;

/// What a small initramfs is made from.
#[derive(Debug, Clone)]
pub struct Recipe<'a> {
    /// The image's unpacked root. Only read.
    pub root: &'a Path,
    /// The kernel's release, such as `6.1.0-56-amd64`.
    pub release: &'a str,
    /// A static busybox; none for the root's own, or else this machine's.
    pub busybox: Option<&'a Path>,
    /// Modules besides the built-in sets. They are loaded by name.
    pub modules: &'a [String],
    /// Modules of the built-in sets to leave out.
    pub exclude: &'a [String],
    /// Firmware besides what the modules ask for, relative to `lib/firmware`.
    pub firmware: &'a [String],
}

/// An initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// What the loader loads.
    pub archive: Vec<u8>,
    /// What is in it.
    pub contents: Contents,
}

/// What an initramfs holds, for people and for the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The kernel's release.
    pub release: String,
    /// Where busybox came from.
    pub busybox: PathBuf,
    /// Modules in it, by name.
    pub modules: Vec<String>,
    /// Modules wanted that are in the kernel itself.
    pub builtin: Vec<String>,
    /// Modules wanted that this kernel does not have.
    pub absent: Vec<String>,
    /// Firmware files in it.
    pub firmware: Vec<String>,
    /// Firmware that its modules may ask for and the image does not have.
    pub firmware_absent: Vec<String>,
    /// Bytes when unpacked.
    pub unpacked: u64,
    /// Bytes as loaded.
    pub packed: u64,
}

/// The modules that every initramfs holds if the kernel has them, as the kernel spells their names: what an image
/// must not lose.
pub fn built_in_modules() -> impl Iterator<Item = &'static str> {
    [
        sets::FILE_SYSTEMS,
        sets::BUSES,
        sets::NETWORK,
        sets::STORAGE,
    ]
    .concat()
    .into_iter()
}

/// Those of them that drive network cards.
pub fn network_modules() -> impl Iterator<Item = &'static str> {
    sets::NETWORK.iter().copied()
}

/// Those of them that drive disks.
pub fn storage_modules() -> impl Iterator<Item = &'static str> {
    sets::STORAGE.iter().copied()
}

/// The scripts that a node runs before its system: where they are put, and their texts.
pub fn scripts() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCRIPTS.iter().map(|(path, _, text)| (*path, *text))
}

/// Where the busybox for an image with this root comes from: the root itself, or else this machine.
pub fn busybox(root: &Path) -> Result<PathBuf, Error> {
    find_busybox(&Inside::new(root)?, None).map(|(path, _)| path)
}

/// Makes the small initramfs of an image.
pub fn build(recipe: &Recipe<'_>) -> Result<Built, Error> {
    let inside = Inside::new(recipe.root)?;
    let (busybox_path, busybox) = find_busybox(&inside, recipe.busybox)?;
    let mut tree = Tree::default();
    let drivers = add_drivers(&mut tree, &inside, recipe, "lib")?;
    add_scripts(&mut tree, &busybox);
    for directory in ["dev", "proc", "sys", "run", "newroot", "etc", "tmp"] {
        tree.directory(directory, 0o755);
    }
    // The kernel opens these before anything is mounted.
    tree.device("dev/console", 0o600, (5, 1));
    tree.device("dev/null", 0o666, (1, 3));
    let (unpacked, archive) = tree.pack(pack::Packer::of_kernel(&inside, recipe.release)?)?;
    let Drivers {
        choice,
        firmware,
        firmware_absent,
    } = drivers;
    let contents = Contents {
        release: recipe.release.to_owned(),
        busybox: busybox_path,
        modules: choice.all.into_iter().collect(),
        builtin: choice.builtin,
        absent: choice.absent,
        firmware,
        firmware_absent,
        unpacked,
        packed: archive.len() as u64,
    };
    Ok(Built { archive, contents })
}

/// What an initramfs has of drivers.
struct Drivers {
    choice: Choice,
    firmware: Vec<String>,
    firmware_absent: Vec<String>,
}

/// Adds modules and firmware below `lib`, and the list of what is loaded by name.
fn add_drivers(
    tree: &mut Tree,
    inside: &Inside,
    recipe: &Recipe<'_>,
    lib: &str,
) -> Result<Drivers, Error> {
    let directory = modules_directory(inside, recipe.release)?;
    let all = read_index(inside, &directory)?;
    let choice = Choice::of(recipe, &all)?;
    tree.file(".rp/load", 0o644, choice.by_name.join("\n") + "\n");
    let below = format!("{lib}/modules/{}", recipe.release);
    let mut asked_for: BTreeSet<String> = recipe.firmware.iter().cloned().collect();
    for name in &choice.all {
        let Some(module) = all.get(name) else {
            continue;
        };
        let path = directory.join(&module.file);
        let packed = inside
            .read(&path)?
            .ok_or_else(|| Error::ModuleGone { path: path.clone() })?;
        let bytes = pack::unpacked(&module.file, packed).map_err(|reason| Error::BadModule {
            path: path.clone(),
            reason,
        })?;
        let firmware = elf::firmware(&bytes).ok_or_else(|| Error::BadModule {
            path,
            reason: "it has no section .modinfo".to_owned(),
        })?;
        asked_for.extend(firmware);
        tree.file(
            &format!("{below}/{}", modules::module_file(module)),
            0o644,
            bytes,
        );
    }
    tree.file(&format!("{below}/modules.dep"), 0o644, all.dep(&choice.all));
    tree.file(
        &format!("{below}/modules.alias"),
        0o644,
        all.alias(&choice.first),
    );
    // Disks are an unknown machine's business only: `wait.sh` adds these.
    tree.file(
        &format!("{below}/modules.alias.disks"),
        0o644,
        all.alias(&(&choice.all - &choice.first)),
    );
    let (firmware, firmware_absent) = add_firmware(tree, inside, recipe, asked_for, lib)?;
    Ok(Drivers {
        choice,
        firmware,
        firmware_absent,
    })
}

/// Which modules go in.
struct Choice {
    /// Loaded as soon as a device wants them.
    first: BTreeSet<String>,
    /// These, and what only an unknown machine loads.
    all: BTreeSet<String>,
    /// Loaded whether a device wants them or not.
    by_name: Vec<String>,
    builtin: Vec<String>,
    absent: Vec<String>,
}

impl Choice {
    fn of(recipe: &Recipe<'_>, modules: &Modules) -> Result<Choice, Error> {
        let release = || recipe.release.to_owned();
        let excluded: BTreeSet<String> = recipe
            .exclude
            .iter()
            .map(|name| modules::spelt(name))
            .collect();
        let by_name: Vec<String> = recipe
            .modules
            .iter()
            .map(|name| modules::spelt(name))
            .collect();
        for name in &by_name {
            if modules.place(name) == Place::Absent {
                let (release, name) = (release(), name.clone());
                return Err(Error::UnknownModule { release, name });
            }
        }
        let wanted = |set: &'static [&'static str]| {
            set.iter().copied().filter(|name| !excluded.contains(*name))
        };
        let first = wanted(sets::FILE_SYSTEMS)
            .chain(wanted(sets::BUSES))
            .chain(wanted(sets::NETWORK))
            .chain(by_name.iter().map(String::as_str));
        let first_names: Vec<&str> = first.collect();
        let all_names: Vec<&str> = first_names
            .iter()
            .copied()
            .chain(wanted(sets::STORAGE))
            .collect();
        let here = |name: &&str| modules.place(name) != Place::Absent;
        if !sets::DEMANDED
            .iter()
            .all(|name| here(name) && all_names.contains(name))
        {
            let (release, what) = (release(), "overlay file system");
            return Err(Error::Useless { release, what });
        }
        if !wanted(sets::NETWORK)
            .chain(by_name.iter().map(String::as_str))
            .any(|name| here(&name))
        {
            let (release, what) = (release(), "driver for any known network card");
            return Err(Error::Useless { release, what });
        }
        let at = |place| {
            let mut names: Vec<String> = all_names
                .iter()
                .filter(|name| modules.place(name) == place)
                .map(|&name| name.to_owned())
                .collect();
            names.sort();
            names
        };
        Ok(Choice {
            first: modules.closure(first_names.iter().copied()),
            builtin: at(Place::Builtin),
            absent: at(Place::Absent),
            all: modules.closure(all_names.iter().copied()),
            by_name,
        })
    }
}

/// `lib/modules/RELEASE`, wherever the image has it, relative to nothing.
fn modules_directory(inside: &Inside, release: &str) -> Result<PathBuf, Error> {
    let places = ["usr/lib/modules", "lib/modules"].map(|place| Path::new(place).join(release));
    inside
        .first_directory(&places)?
        .ok_or_else(|| Error::NoModules {
            release: release.to_owned(),
        })
}

fn read_index(inside: &Inside, directory: &Path) -> Result<Modules, Error> {
    let text = |file: &'static str| -> Result<Option<String>, Error> {
        let bytes = inside.read(&directory.join(file))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let demanded = |file| {
        text(file)?.ok_or_else(|| Error::NoIndex {
            directory: directory.into(),
            file,
        })
    };
    Modules::parse(
        &demanded("modules.dep")?,
        &text("modules.builtin")?.unwrap_or_default(),
        &demanded("modules.alias")?,
        &text("modules.softdep")?.unwrap_or_default(),
    )
}

fn find_busybox(inside: &Inside, named: Option<&Path>) -> Result<(PathBuf, Vec<u8>), Error> {
    let mut looked = Vec::new();
    let mut try_one = |path: &Path, bytes: Option<Vec<u8>>| match bytes {
        Some(bytes) if elf::runs_alone(&bytes) => Some((path.to_owned(), bytes)),
        Some(_) => {
            looked.push(format!("{}: not static", path.display()));
            None
        }
        None => {
            looked.push(format!("{}: not there", path.display()));
            None
        }
    };
    if let Some(path) = named {
        let bytes = inside::read(path)?;
        if let Some(found) = try_one(path, Some(bytes)) {
            return Ok(found);
        }
        return Err(Error::NoBusybox { looked });
    }
    let places = ["usr/bin/busybox", "bin/busybox"];
    for place in places.map(Path::new) {
        if let Some((_, bytes)) = try_one(place, inside.read(place)?) {
            return Ok((place.to_owned(), bytes));
        }
    }
    for place in places.map(|place| Path::new("/").join(place)) {
        let bytes = if place.is_file() {
            Some(inside::read(&place)?)
        } else {
            None
        };
        if let Some(found) = try_one(&place, bytes) {
            return Ok(found);
        }
    }
    Err(Error::NoBusybox { looked })
}

/// The scripts and what they call: the same in the small initramfs and in a ramdisk.
fn add_scripts(tree: &mut Tree, busybox: &[u8]) {
    for (name, mode, text) in SCRIPTS {
        tree.file(name, *mode, *text);
    }
    tree.file(".rp/bin/busybox", 0o755, busybox);
    for applet in sets::APPLETS {
        tree.link(&format!(".rp/bin/{applet}"), "busybox");
    }
}

const SCRIPTS: &[(&str, u32, &str)] = &[
    ("init", 0o755, include_str!("initramfs/files/init")),
    (".rp/say.sh", 0o644, include_str!("initramfs/files/say.sh")),
    (".rp/net.sh", 0o644, include_str!("initramfs/files/net.sh")),
    (
        ".rp/fetch.sh",
        0o644,
        include_str!("initramfs/files/fetch.sh"),
    ),
    (
        ".rp/root.sh",
        0o644,
        include_str!("initramfs/files/root.sh"),
    ),
    (
        ".rp/wait.sh",
        0o644,
        include_str!("initramfs/files/wait.sh"),
    ),
    (".rp/lease", 0o755, include_str!("initramfs/files/lease")),
];

/// Adds firmware that is there, compressed or not (the kernel unpacks it), and tells what is not.
fn add_firmware(
    tree: &mut Tree,
    inside: &Inside,
    recipe: &Recipe<'_>,
    asked_for: BTreeSet<String>,
    lib: &str,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let mut found = BTreeMap::new();
    let mut absent = Vec::new();
    let directory =
        inside.first_directory(&["usr/lib/firmware", "lib/firmware"].map(PathBuf::from))?;
    for name in asked_for {
        let mut files = ["", ".zst", ".xz"].iter().map(|end| format!("{name}{end}"));
        let file = files.find_map(|file| {
            let directory = directory.as_ref()?;
            let bytes = inside.read(&directory.join(&file)).transpose()?;
            Some(bytes.map(|bytes| (file, bytes)))
        });
        match file.transpose()? {
            Some((file, bytes)) => {
                found.insert(file, bytes);
            }
            None if recipe.firmware.contains(&name) => {
                return Err(Error::UnknownFirmware { name });
            }
            None => absent.push(name),
        }
    }
    let names = found.keys().cloned().collect();
    for (file, bytes) in found {
        tree.file(&format!("{lib}/firmware/{file}"), 0o644, bytes);
    }
    Ok((names, absent))
}

#[cfg(test)]
mod scripts_tests;
#[cfg(test)]
mod tests;
