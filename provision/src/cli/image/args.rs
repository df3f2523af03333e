//! The arguments of the commands on images.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::bail;

use super::super::file::FileArgs;
use crate::image::Wants;
use crate::model::{AbsPath, ImageName, ImageSource};

/// Which cluster, and where its images are.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct StoreArgs {
    #[command(flatten)]
    pub(in crate::cli) file: FileArgs,

    /// Where images are kept [default: `serve.directory` of cluster.toml]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) store: Option<PathBuf>,
}

/// What is made besides what the nodes of cluster.toml need.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(in crate::cli) struct WantsArgs {
    /// Also make the unpacked root, for nodes that mount it over NFS
    #[arg(long)]
    tree: bool,

    /// Also make the whole root as one initramfs
    #[arg(long)]
    ramdisk: bool,

    /// Also make a root without /usr, for nodes that mount that over NFS
    #[arg(long)]
    without_usr: bool,
}

impl From<WantsArgs> for Wants {
    fn from(args: WantsArgs) -> Self {
        Self {
            tree: args.tree,
            ramdisk: args.ramdisk,
            without_usr: args.without_usr,
        }
    }
}

/// Build an image that cluster.toml declares, and publish it under its name.
///
/// Only what has changed is made again: packages, configuration, worker. Nodes boot the new image after `regex-provision
/// apply`. If anything fails, or the power does, the old image stays as it was.
///
/// With `SOURCE_DATE_EPOCH` in the environment the same inputs give the same digest. Needs root.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision image build node
  regex-provision image build node --worker target/release/regex-worker
  regex-provision image build node --force        # with the packages of today")]
pub(in crate::cli) struct BuildArgs {
    /// The image: a section [image.NAME] of cluster.toml
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: ImageName,

    /// The regex-worker that is put into it [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) worker: Option<PathBuf>,

    /// Build again what has not changed, with the packages that the mirror has now
    #[arg(long)]
    pub(in crate::cli) force: bool,

    #[command(flatten)]
    pub(in crate::cli) wants: WantsArgs,

    /// Print what was built as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
}

/// Make an image of a root that exists: a directory, a tar archive, an OCI image, or this machine's running system.
///
/// If cluster.toml has a section for the image, the rest of it (packages, files, users, services, worker) applies. What
/// belongs to one machine alone is removed: machine id, host keys, logs, udev's memory of interfaces. Of the running system
/// also passwords, network settings, mounts, private keys, the services of a master (DHCP, TFTP, NFS) and what people keep in
/// /home and /root are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision image import node --tar rootfs.tar.zst
  regex-provision image import node --oci app.tar --reference latest
  regex-provision image import node --master --exclude '/opt/big'")]
pub(in crate::cli) struct ImportArgs {
    /// The name of the image
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: ImageName,

    /// Import a directory that holds a root
    #[arg(long, value_name = "DIR", group = "from")]
    directory: Option<PathBuf>,

    /// Import a tar archive, plain or compressed with gzip, xz or zstd
    #[arg(long, value_name = "FILE", group = "from")]
    tar: Option<PathBuf>,

    /// Import an OCI image: a layout directory, or an archive of one
    #[arg(long, value_name = "PATH", group = "from")]
    oci: Option<PathBuf>,

    /// Import this machine's running system
    #[arg(long, group = "from")]
    master: bool,

    /// The name of the image inside an OCI layout that holds several
    #[arg(long, value_name = "NAME", requires = "oci")]
    reference: Option<String>,

    /// Leave out what matches, as rsync writes it; may be given several times
    #[arg(long, value_name = "PATTERN", conflicts_with_all = ["tar", "oci"])]
    pub(in crate::cli) exclude: Vec<String>,

    /// Copy these directories of this machine [default: /etc /bin /sbin /lib /lib64 /usr /var /root /opt]
    #[arg(long, value_name = "DIR", requires = "master")]
    include: Vec<AbsPath>,

    /// A kernel of this machine, instead of the newest in /boot of what is imported
    #[arg(long, value_name = "FILE", requires = "modules")]
    pub(in crate::cli) kernel: Option<AbsPath>,

    /// The directory lib/modules/VERSION that belongs to --kernel
    #[arg(long, value_name = "DIR", requires = "kernel")]
    pub(in crate::cli) modules: Option<AbsPath>,

    /// The regex-worker that is put into it [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) worker: Option<PathBuf>,

    /// Put no regex-worker into it
    #[arg(long, conflicts_with = "worker")]
    pub(in crate::cli) no_worker: bool,

    /// Import again what has not changed
    #[arg(long)]
    pub(in crate::cli) force: bool,

    #[command(flatten)]
    pub(in crate::cli) wants: WantsArgs,

    /// Print what was made as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
}

impl ImportArgs {
    /// What is imported; none if nothing is said.
    pub(in crate::cli) fn source(&self) -> anyhow::Result<Option<ImageSource>> {
        if let Some(path) = &self.directory {
            return Ok(Some(ImageSource::Directory {
                path: absolute(path)?,
                exclude: self.exclude.clone(),
            }));
        }
        if let Some(path) = &self.tar {
            return Ok(Some(ImageSource::Tar {
                path: absolute(path)?,
            }));
        }
        if let Some(path) = &self.oci {
            return Ok(Some(ImageSource::Oci {
                path: absolute(path)?,
                reference: self.reference.clone(),
            }));
        }
        if self.master {
            return Ok(Some(ImageSource::Master {
                include: if self.include.is_empty() {
                    ImageSource::usual_include()
                } else {
                    self.include.clone()
                },
                exclude: self.exclude.clone(),
            }));
        }
        Ok(None)
    }
}

fn absolute(path: &std::path::Path) -> anyhow::Result<AbsPath> {
    let path = std::path::absolute(path)?;
    match path.to_str() {
        Some(text) => Ok(text.parse()?),
        None => bail!(
            "{} is not UTF-8; use a link to it with another name",
            path.display()
        ),
    }
}

/// Open a shell in an image, or run a command in it.
///
/// The command sees the image as its root, with /proc, /sys and a /dev of its own, and this machine's network. All of that is
/// gone when it ends, however it ends. What it changes is thrown away unless --commit is given. Needs root.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision image shell node
  regex-provision image shell node -- dpkg -l
  regex-provision image shell node --commit -- apt-get install -y strace")]
pub(in crate::cli) struct ShellArgs {
    /// The image: a name, or a digest
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) image: String,

    /// Publish what has changed as a new image of the same name, if the command succeeds
    #[arg(long)]
    pub(in crate::cli) commit: bool,

    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,

    /// The command, behind `--` [default: a login shell]
    #[arg(value_name = "COMMAND", last = true)]
    pub(in crate::cli) command: Vec<OsString>,
}

/// Tell what is wrong with an image, and what should be known before it is served.
///
/// Errors keep a node from booting or working: broken links of a merged /usr, no init, no kernel, a worker that does not run.
/// Warnings should be known: private keys and hashes of passwords, setuid programs, services that wait for a disk, missing drivers. Exit
/// status 2 if there is an error. Needs root.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision image lint base
  regex-provision image lint base --strict && sudo regex-provision apply")]
pub(in crate::cli) struct LintArgs {
    /// The image: a name, or a digest
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) image: String,

    /// Fail for warnings, too
    #[arg(long)]
    pub(in crate::cli) strict: bool,

    /// Print a JSON array
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
}

/// List images.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "ls",
    after_help = "\
Examples:
  regex-provision image list
  regex-provision image list --all --json | jq -r '.[].digest'"
)]
pub(in crate::cli) struct ListArgs {
    /// Also those that are not published under a name any more
    #[arg(long, short)]
    pub(in crate::cli) all: bool,

    /// Print a JSON array
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
}

/// Show what an image consists of, and which packages and directories take how much.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision image show base
  regex-provision image show base --top 50")]
pub(in crate::cli) struct ShowArgs {
    /// The image: a name, or a digest
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) image: String,

    /// How many packages and directories are shown
    #[arg(long, value_name = "N", default_value_t = 15)]
    pub(in crate::cli) top: usize,

    /// Print all of it as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
}

/// Show what is different between two images: kernel, worker, packages, files. Exit status 1 if anything is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision image diff base 3f2a91c0    # a digest, as `image list` and `generations` show it")]
pub(in crate::cli) struct DiffArgs {
    /// The first: a name, or a digest
    #[arg(value_name = "A")]
    pub(in crate::cli) a: String,

    /// The second
    #[arg(value_name = "B")]
    pub(in crate::cli) b: String,

    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
}

/// Remove images that are neither published, nor part of a generation, nor what a node runs or was told to boot last; and files that nobody
/// names.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision image prune --dry-run
  sudo regex-provision image prune")]
pub(in crate::cli) struct PruneArgs {
    /// Also remove what can be made again: packages, base roots, finished stages
    #[arg(long)]
    pub(in crate::cli) cache: bool,

    /// Only say what would be removed
    #[arg(long, short = 'n')]
    pub(in crate::cli) dry_run: bool,

    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
}
