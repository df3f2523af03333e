//! Images: what `image build` makes.

use crate::model::decode::{At, Number, table, words};
use crate::model::image::{PackFormat, Script, Variant, WritableSize};
use crate::model::{
    AbsPath, ByteSize, HttpUrl, KernelArg, Locale, ModuleName, PackageName, SshKey, Suite,
    UnitName, UserName,
};

use super::value::FileMode;

/// The level of zstd where none is given: a few seconds, and a tenth larger than the best.
pub(in crate::model) const PACK_LEVEL: u8 = 9;

/// The locale where none is given.
pub(in crate::model) const LOCALE: &str = "C.UTF-8";

/// The kernel's package where none is given.
pub(in crate::model) const KERNEL_PACKAGE: &str = "linux-image-amd64";

table! {
    /// An image: a root file system, and the kernel and initramfs that belong to it.
    RawImage {
        /// Where its files come from first.
        "source" source: RawSource, required;
        /// Packages to install, besides what the image needs to boot: `NAME`, `NAME=VERSION` or `NAME/SUITE`.
        "packages" packages: Vec<At<PackageName>>;
        /// Packages to remove at the end.
        "remove-packages" remove: Vec<At<PackageName>>;
        /// Files, directories and links to put into it: sections `[[image.NAME.file]]`.
        "file" file: Vec<At<RawFileEntry>>;
        /// Users to make: sections `[[image.NAME.user]]`.
        "user" user: Vec<At<RawUser>>;
        /// Public keys that may log in as root, besides those of `[ssh]`.
        "ssh-keys" ssh_keys: Vec<At<SshKey>>;
        /// Units of systemd to switch on or off.
        "services" services: RawServices;
        /// A script that is run in the root at the end: a path on the master, or the text itself, which begins with `#!`.
        "post-script" post_script: Script;
        /// Its kernel.
        "kernel" kernel: RawKernel;
        /// Arguments of the kernel for every node that boots it, each a text of its own.
        "kernel-args" kernel_args: Vec<At<KernelArg>>;
        /// What goes into the initramfs besides the usual modules.
        "initramfs" initramfs: RawInitramfs;
        /// The file system that it is packed as.
        "format" format: PackFormat, default PackFormat::default().as_str();
        /// The level of its compression (zstd).
        "level" level: Number<1, 22>, default PACK_LEVEL;
        /// Whether regex-worker, its unit and its configuration are put into it.
        "worker" worker: bool, default true;
        /// Whether manuals, locales and other documentation are left out.
        "strip-docs" strip_docs: bool, default true;
        /// Whether a package's kernel loses the modules that servers do not need; those named under `initramfs` stay.
        "trim-modules" trim_modules: bool, default true;
        /// The locale.
        "locale" locale: Locale, default LOCALE;
        /// How much of a node's memory the writable layer may take: a share such as `50%`, or a size.
        "writable" writable: WritableSize, default "50%";
        /// The build fails if the packed root is larger.
        "max-size" max_size: ByteSize;
    }

    /// Where an image's files come from first. The keys depend on the kind.
    RawSource {
        /// The kind of source.
        "kind" kind: SourceKind, required;
        /// The suite (debootstrap), such as `bookworm`.
        "suite" suite: Suite;
        /// Where packages are fetched from (debootstrap); without this, mmdebstrap's own choice.
        "mirrors" mirrors: Vec<At<HttpUrl>>;
        /// The components (debootstrap), such as `main`.
        "components" components: Vec<At<Suite>>, default ["main"];
        /// The keyring that signs the suite (debootstrap); without this, the system's.
        "keyring" keyring: AbsPath;
        /// Which packages are there to begin with (debootstrap).
        "variant" variant: Variant, default Variant::default().as_str();
        /// The directory or archive on the master (directory, tar, oci).
        "path" path: AbsPath;
        /// The name of the image inside an archive that holds several (oci).
        "reference" reference: String;
        /// The directories that are copied (master).
        "include" include: Vec<At<AbsPath>>, default MASTER_INCLUDE;
        /// Patterns of what is left out (directory, master), as rsync writes them.
        "exclude" exclude: Vec<At<String>>;
    }

    /// A file, a directory or a link: exactly one of `text`, `copy`, `link` and `directory`.
    RawFileEntry {
        /// Where it is in the image.
        "path" path: AbsPath, required;
        /// What is in it.
        "text" text: String;
        /// A file or directory of the master that is copied. Directories that the image has already keep their owners and permissions;
        /// the one at `path` gets the owner and the group, where others than root are named.
        "copy" copy: AbsPath;
        /// Where a symbolic link leads.
        "link" link: String;
        /// Whether it is an empty directory.
        "directory" directory: bool;
        /// Permissions in octal; without this `0644`, and `0755` for a directory.
        "mode" mode: FileMode;
        /// The owner.
        "owner" owner: UserName, default "root";
        /// The group.
        "group" group: UserName, default "root";
    }

    /// A user of an image.
    RawUser {
        /// The name; `root` only to give it keys or a password.
        "name" name: UserName, required;
        /// The number; without this, the next free one.
        "uid" uid: Number<0, 65533>;
        /// Groups besides its own; those that are missing are made.
        "groups" groups: Vec<At<UserName>>;
        /// Home directory; without this, /home/NAME.
        "home" home: AbsPath;
        /// Login shell, which must be in the image; without this, a new user has /bin/bash, and one that is there keeps its own.
        "shell" shell: AbsPath;
        /// Public keys that may log in.
        "ssh-keys" ssh_keys: Vec<At<SshKey>>;
        /// A password as crypt(3) writes it, such as `$6$...`. Whoever can fetch the image can read it.
        "password-hash" password_hash: String;
    }

    /// Units of systemd to switch on or off in an image.
    RawServices {
        /// Switched on.
        "enable" enable: Vec<At<UnitName>>;
        /// Switched off.
        "disable" disable: Vec<At<UnitName>>;
        /// Made impossible to start.
        "mask" mask: Vec<At<UnitName>>;
    }

    /// An image's kernel: a package, or two files of the master, or what the source brings.
    RawKernel {
        /// The package that is installed.
        "package" package: PackageName, default KERNEL_PACKAGE;
        /// A kernel on the master; with `modules`.
        "file" file: AbsPath;
        /// The directory lib/modules/VERSION on the master that belongs to `file`.
        "modules" modules: AbsPath;
    }

    /// What goes into an image's initramfs besides the usual modules.
    RawInitramfs {
        /// Names of further modules; what they need comes along.
        "modules" modules: Vec<At<ModuleName>>;
        /// Names of modules that are left out.
        "exclude" exclude: Vec<At<ModuleName>>;
        /// Firmware files, relative to /lib/firmware of the image.
        "firmware" firmware: Vec<At<String>>;
    }
}

/// What a copy of the master's system consists of, where nothing is said.
pub(in crate::model) const MASTER_INCLUDE: [&str; 9] = [
    "/etc", "/bin", "/sbin", "/lib", "/lib64", "/usr", "/var", "/root", "/opt",
];

/// The word for a kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum SourceKind {
    Debootstrap,
    Directory,
    Tar,
    Oci,
    Master,
}

words! {
    pub(in crate::model) SourceKind {
        "debootstrap" Debootstrap "Debian or Ubuntu, by mmdebstrap.",
        "directory" Directory "A directory on the master that holds a root.",
        "tar" Tar "A tar archive on the master, plain or compressed.",
        "oci" Oci "An OCI image: a layout directory, or an archive of one.",
        "master" Master "The master's own running system, less what belongs to the master alone.",
    }
}
