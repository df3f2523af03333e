//! What an image is made of: the declaration that `image build` works from.
//!
//! The model only says what is wanted. Paths on the master are not looked at here, for a
//! file is also checked away from the master.

use super::raw;
use super::{
    AbsPath, ByteSize, HttpUrl, ImageName, KernelArg, Locale, ModuleName, PackageName, SshKey,
    Suite, UnitName, UserName,
};

/// An image: a root file system, and the kernel and initramfs that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: ImageName,
    /// Where its files come from first.
    pub source: ImageSource,
    /// Packages to install, besides what the image needs to boot.
    pub packages: Vec<PackageName>,
    /// Packages to remove at the end.
    pub remove: Vec<PackageName>,
    /// Files to put into it, after the packages. No path occurs twice.
    pub files: Vec<ImageFile>,
    /// Users to make. No name and no number occurs twice.
    pub users: Vec<ImageUser>,
    /// Keys that may log in as root, besides the cluster's.
    pub ssh_keys: Vec<SshKey>,
    /// systemd units switched on, off, or masked. None is in two of the lists.
    pub services: Services,
    /// What is run in the root at the end.
    pub post_script: Option<Script>,
    /// Its kernel.
    pub kernel: KernelSource,
    /// Kernel arguments of every node that boots it.
    pub kernel_args: Vec<KernelArg>,
    /// What goes into the initramfs.
    pub initramfs: Initramfs,
    /// How the root is packed.
    pub pack: Pack,
    /// Whether regex-worker, its unit and its configuration are put into it.
    pub worker: bool,
    /// Whether manuals, locales and other documentation are left out.
    pub strip_docs: bool,
    /// Whether a kernel of a package loses the modules that servers do not need.
    pub trim_modules: bool,
    /// The locale, such as `C.UTF-8`.
    pub locale: Locale,
    /// How much of the memory the writable layer may take.
    pub writable: WritableSize,
    /// The build fails if the packed root is larger.
    pub max_size: Option<ByteSize>,
}

impl Image {
    /// An image that no file declares, with everything else as it is where nothing is said.
    pub fn undeclared(name: ImageName, source: ImageSource) -> Self {
        Self {
            name,
            source,
            packages: Vec::new(),
            remove: Vec::new(),
            files: Vec::new(),
            users: Vec::new(),
            ssh_keys: Vec::new(),
            services: Services::default(),
            post_script: None,
            kernel: KernelSource::Source,
            kernel_args: Vec::new(),
            initramfs: Initramfs::default(),
            pack: Pack {
                format: PackFormat::default(),
                level: raw::PACK_LEVEL,
            },
            worker: true,
            strip_docs: true,
            trim_modules: true,
            locale: raw::LOCALE.parse().expect("a locale"),
            writable: WritableSize::Percent(50),
            max_size: None,
        }
    }
}

impl ImageSource {
    /// What a copy of the master's system consists of, where nothing is said.
    pub fn usual_include() -> Vec<AbsPath> {
        let path = |text: &&str| text.parse().expect("a path");
        raw::MASTER_INCLUDE.iter().map(path).collect()
    }
}

/// Where an image's files come from first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// Debian or Ubuntu, by `mmdebstrap`.
    Debootstrap(Debootstrap),
    /// A directory on the master that holds a root.
    Directory {
        /// Which.
        path: AbsPath,
        /// Patterns of what is left out, as rsync writes them, relative to it.
        exclude: Vec<String>,
    },
    /// A tar archive on the master, plain or compressed.
    Tar {
        /// Which.
        path: AbsPath,
    },
    /// An OCI image: a layout directory, or an archive of one.
    Oci {
        /// Which.
        path: AbsPath,
        /// The name of the image inside it; none to take the only one.
        reference: Option<String>,
    },
    /// The master's own running system, less what belongs to the master alone.
    Master {
        /// The directories that are copied.
        include: Vec<AbsPath>,
        /// Patterns of what is left out, besides the built-in ones.
        exclude: Vec<String>,
    },
}

/// What `mmdebstrap` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debootstrap {
    /// Such as `bookworm`.
    pub suite: Suite,
    /// Where from; empty for mmdebstrap's own choice.
    pub mirrors: Vec<HttpUrl>,
    /// Such as `main`. Never empty.
    pub components: Vec<Suite>,
    /// The keyring that signs it; none for the system's.
    pub keyring: Option<AbsPath>,
    /// Which packages are there to begin with.
    pub variant: Variant,
}

/// Which packages a root has to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Variant {
    /// Essential packages only; apt stays outside.
    Essential,
    /// Essential packages and apt.
    Apt,
    /// The packages that debootstrap's minbase has.
    #[default]
    Minbase,
    /// All packages of priority important.
    Important,
}

/// A file, directory or link to put into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Where, in the image.
    pub path: AbsPath,
    /// What.
    pub content: FileContent,
    /// Permission bits, such as 0o644. At most 0o7777. Links have none.
    pub mode: u32,
    /// The owner's name in the image.
    pub owner: UserName,
    /// The group's name in the image.
    pub group: UserName,
}

/// What a file consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// This text.
    Text(String),
    /// A copy of a file or directory of the master.
    Copy(AbsPath),
    /// A symbolic link to this target.
    Link(String),
    /// An empty directory.
    Directory,
}

/// A user of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUser {
    /// The name; `root` only to give it keys or a password.
    pub name: UserName,
    /// The number; none for the next free one.
    pub uid: Option<u32>,
    /// Groups besides its own; those that are missing are made.
    pub groups: Vec<UserName>,
    /// Home directory; none for /home/NAME.
    pub home: Option<AbsPath>,
    /// Login shell; none leaves what is there, and is /bin/bash for a new user.
    pub shell: Option<AbsPath>,
    /// Keys that may log in.
    pub ssh_keys: Vec<SshKey>,
    /// A password in the form that crypt(3) makes. Whoever can fetch the image can read it.
    pub password_hash: Option<String>,
}

/// systemd units that are changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    /// Switched on.
    pub enable: Vec<UnitName>,
    /// Switched off.
    pub disable: Vec<UnitName>,
    /// Made impossible to start.
    pub mask: Vec<UnitName>,
}

/// An image's kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// A package that is installed; the newest kernel in /boot is taken.
    Package(PackageName),
    /// The newest kernel in /boot of what the source brings.
    Source,
    /// Files of the master.
    Files {
        /// The kernel.
        kernel: AbsPath,
        /// The directory `lib/modules/VERSION` that belongs to it.
        modules: AbsPath,
    },
}

/// What goes into an image's initramfs besides what every one holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Initramfs {
    /// Names of further modules; what they need comes along.
    pub modules: Vec<ModuleName>,
    /// Names of modules that are left out of the built-in set.
    pub exclude: Vec<ModuleName>,
    /// Firmware files, relative to /lib/firmware of the image.
    pub firmware: Vec<String>,
}

/// How a root is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pack {
    /// The file system.
    pub format: PackFormat,
    /// The level of zstd, 1 to 22.
    pub level: u8,
}

/// The file system of a packed root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PackFormat {
    /// Smaller.
    #[default]
    Squashfs,
    /// Larger, a little quicker to read.
    Erofs,
}

/// How much memory the writable layer of a node may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WritableSize {
    /// Of the node's memory, 1 to 90.
    Percent(u8),
    /// Bytes.
    Bytes(ByteSize),
}

/// A script that is run in the root of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// A file of the master.
    File(AbsPath),
    /// Its text, which begins with `#!`.
    Text(String),
}
