//! A finished root without the worker, packed: what most builds begin with.
//!
//! A stage is a directory in the cache. Making one takes a minute, putting a worker behind it a second.
//!
//! ```text
//! meta.json              Meta
//! root/                  the root, without what is below /opt
//! layer/opt/             that
//! packed                 root/ as squashfs; not for erofs, which cannot be added to
//! packed-without-usr     the same without what is below /usr, if nodes take that over NFS
//! ramdisk, ramdisk-without-usr   root/ as an initramfs, if nodes boot one
//! kernel, initramfs, listing
//! ```

mod kept;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::Path;

use anyhow::{Context, bail};

pub(super) use kept::Stage;
use kept::{FILES, Meta, unpacked};

use super::base::{Base, KERNEL_HOOK};
use super::build::{Job, Wants};
use super::clean::{self, Cleaning};
use super::inputs::Inputs;
use super::kernel::{self, Kernel};
use super::lint::{self, Expected, Finding};
use super::root::Root;
use super::worker::Has;
use super::{customize, equip, fail, inside, modules, pack, packages, policy, source, tree};
use crate::initramfs::{self, RamdiskRecipe, Recipe};
use crate::model::image::{FileContent, KernelSource, PackFormat, Script};
use crate::model::{AbsPath, HostKeys, Image, ImageSource};
use crate::store::{Digest, InitramfsContents};

/// The digest of all that a stage is made from.
pub(super) fn digest(job: &Job<'_>, base: Option<Digest>) -> anyhow::Result<Digest> {
    let image = job.image;
    let mut inputs = Inputs::new("stage");
    inputs.value("base", &base);
    inputs.value("image", &without_places(image)?);
    inputs.value("wants", &(job.wants.without_usr, job.wants.ramdisk));
    inputs.value("host keys", &keeps_host_keys(job));
    inputs.value("epoch", &job.epoch);
    inputs.value(
        "drivers",
        &initramfs::built_in_modules().collect::<Vec<_>>(),
    );
    for (name, text) in equip::texts().chain(initramfs::scripts()) {
        inputs.add(name, text);
    }
    source::add_inputs(&image.source, job.store.root(), &mut inputs)?;
    customize::add_inputs(image, &mut inputs)?;
    if let KernelSource::Files { kernel, modules } = &image.kernel {
        inputs.path("kernel", kernel.as_path())?;
        inputs.path("modules", modules.as_path())?;
    }
    Ok(inputs.digest())
}

/// The declaration without the places of what is read on the master: that counts by its contents, which are added besides.
fn without_places(image: &Image) -> anyhow::Result<Image> {
    let nowhere: AbsPath = "/".parse().context("/ is a path")?;
    let mut image = image.clone();
    match &mut image.source {
        ImageSource::Directory { path, .. }
        | ImageSource::Tar { path }
        | ImageSource::Oci { path, .. } => *path = nowhere.clone(),
        ImageSource::Debootstrap(source) => {
            if let Some(keyring) = &mut source.keyring {
                *keyring = nowhere.clone();
            }
        }
        ImageSource::Master { .. } => {}
    }
    for file in &mut image.files {
        if let FileContent::Copy(path) = &mut file.content {
            *path = nowhere.clone();
        }
    }
    if let Some(Script::File(path)) = &mut image.post_script {
        *path = nowhere.clone();
    }
    if let KernelSource::Files { kernel, modules } = &mut image.kernel {
        *kernel = nowhere.clone();
        // What its last part is called is the kernel's release.
        let release = modules.as_path().file_name();
        let release = release.and_then(|name| name.to_str()).unwrap_or_default();
        *modules = format!("/{release}").parse().context("it is a path")?;
    }
    Ok(image)
}

/// Makes a stage in an empty directory. What was found wrong with the root is given back; with an error among it the
/// stage is of no use.
pub(super) fn make(
    job: &Job<'_>,
    base: Option<(Digest, File)>,
    directory: &Path,
) -> anyhow::Result<Vec<Finding>> {
    let image = job.image;
    let root = Root::new(directory.join("root"));
    fs::create_dir(root.path())
        .with_context(|| format!("cannot make {}", root.path().display()))?;
    let work = directory.join("work");
    fs::create_dir(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let epoch = job.created().to_string();
    let variables = [("SOURCE_DATE_EPOCH", &*epoch)];

    let base_digest = base.as_ref().map(|(digest, _)| *digest);
    if let Some((_, archive)) = base {
        job.step("unpacking the base root");
        inside::unpack(&root, archive, false)?;
    } else {
        job.step("copying the source");
        source::fill(job, &root, &work)
            .with_context(|| format!("the source of the image {}", image.name))?;
        let names: Vec<String> = image.packages.iter().map(ToString::to_string).collect();
        customize::install(&root, &names, &variables)?;
        if let KernelSource::Package(package) = &image.kernel {
            kernel_package(&root, package.as_str(), &variables)?;
        }
    }
    let kernel = match &image.kernel {
        KernelSource::Files { kernel, modules } => {
            kernel::take(&root, kernel.as_path(), modules.as_path())?
        }
        KernelSource::Package(_) | KernelSource::Source => kernel::newest(&root)?,
    };
    fail::here("filled");

    job.step("configuring");
    equip::equip(&root, image)?;
    customize::customize(&root, image, &variables)?;
    trim(job, &root, &kernel)?;
    fail::here("configured");
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    of_root(job, &root, &kernel, base_digest)
}

/// Makes a stage of a finished root, which lies in the stage's directory. What was found wrong with the root is given back.
pub(super) fn of_root(
    job: &Job<'_>,
    root: &Root,
    kernel: &Kernel,
    base: Option<Digest>,
) -> anyhow::Result<Vec<Finding>> {
    let directory = root.path().parent().context("a root lies in a stage")?;
    let cleaning = Cleaning {
        strip_docs: job.image.strip_docs,
        keeps_host_keys: keeps_host_keys(job),
        declared: &job.image.files,
        tell: job.progress,
    };
    clean::clean(root, &cleaning)?;
    inside::make_mount_points(root)?;
    // Whose the source's directory is, and who may look into it, is not the image's affair; and sshd lets nobody into a
    // root that others may write to.
    lchown(root.path(), Some(0), Some(0))
        .and_then(|()| fs::set_permissions(root.path(), Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot give {} to root", root.path().display()))?;
    let expected = Expected {
        kernel: Some(&kernel.release),
        worker: false,
        host_keys: keeps_host_keys(job),
    };
    let findings = lint::look(root, expected)?;
    job.step("packing");
    let contents = boot_files(job, root, kernel, directory)?;
    // The configuration tells how the kernel wants its initramfs packed; the rest is in the store.
    let configuration = format!("config-{}", kernel.release);
    for name in root.names("boot")? {
        if name != configuration {
            root.remove(format!("boot/{name}"))?;
        }
    }
    let layer = directory.join("layer");
    fs::create_dir(&layer).with_context(|| format!("cannot make {}", layer.display()))?;
    move_opt(root, &layer)?;
    if let Some(epoch) = job.epoch {
        tree::clamp_times(root.path(), epoch)?;
        tree::clamp_times(&layer, epoch)?;
    }
    pack_all(job, root, kernel, directory)?;
    let listing = unpacked(root.path(), &layer)?;
    write(&directory.join("listing"), listing.to_string().as_bytes())?;
    let mut files = BTreeMap::new();
    for name in FILES {
        let path = directory.join(name);
        if path.exists() {
            let (digest, _) = File::open(&path)
                .and_then(Digest::of_reader)
                .with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(name.to_owned(), digest);
        }
    }
    let meta = Meta {
        files,
        base,
        kernel_version: kernel.release.clone(),
        contents,
        has: Has::of(root, &listing)?,
        packages: packages::installed(root, &listing)?,
    };
    // Written last: a stage without it is none.
    write(
        &directory.join("meta.json"),
        &serde_json::to_vec_pretty(&meta).context("cannot write what is known of the stage")?,
    )?;
    fail::here("packed");
    Ok(findings)
}

fn keeps_host_keys(job: &Job<'_>) -> bool {
    job.cluster
        .is_some_and(|cluster| cluster.ssh.host_keys == HostKeys::Image)
}

/// Unpacks a package's kernel by the root's own apt.
fn kernel_package(root: &Root, package: &str, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    const HOOK: &str = "/.regexctl-kernel.sh";
    let _policy = policy::no_services(root)?;
    let _names = customize::resolver(root)?;
    root.write(HOOK, KERNEL_HOOK, 0o700)?;
    let mut variables = variables.to_vec();
    variables.push(("KERNEL_PACKAGE", package));
    inside::quiet(root, &["/usr/bin/apt-get", "-q", "update"], &variables)?;
    let result = inside::quiet(root, &[HOOK, ""], &variables);
    root.remove(HOOK)?;
    result.with_context(|| format!("cannot get the kernel of the package {package}"))
}

fn trim(job: &Job<'_>, root: &Root, kernel: &Kernel) -> anyhow::Result<()> {
    let image = job.image;
    // What somebody has put together himself is what he wants.
    let is_distributions = matches!(image.kernel, KernelSource::Package(_));
    if !is_distributions || !image.trim_modules {
        return modules::index(root, &kernel.release);
    }
    let spelt = |name: &str| name.replace('-', "_");
    let named = image
        .initramfs
        .modules
        .iter()
        .map(|name| spelt(name.as_str()));
    let named = named
        .chain(initramfs::built_in_modules().map(str::to_owned))
        .collect();
    let trimmed = modules::trim(root, &kernel.release, &named)?;
    job.step(&format!(
        "kernel {}: {} modules kept, {} left out",
        kernel.release, trimmed.kept, trimmed.removed
    ));
    Ok(())
}

/// What an image declares of its initramfs.
struct InitramfsNames<'a> {
    modules: Vec<String>,
    exclude: Vec<String>,
    firmware: &'a [String],
}

impl<'a> InitramfsNames<'a> {
    fn of(image: &'a Image) -> Self {
        let declared = &image.initramfs;
        let names = |modules: &[crate::model::ModuleName]| {
            modules.iter().map(ToString::to_string).collect()
        };
        Self {
            modules: names(&declared.modules),
            exclude: names(&declared.exclude),
            firmware: &declared.firmware,
        }
    }

    fn recipe<'b>(&'b self, root: &'b Root, release: &'b str) -> Recipe<'b> {
        Recipe {
            root: root.path(),
            release,
            busybox: None,
            modules: &self.modules,
            exclude: &self.exclude,
            firmware: self.firmware,
        }
    }
}

/// Writes kernel and initramfs.
fn boot_files(
    job: &Job<'_>,
    root: &Root,
    kernel: &Kernel,
    directory: &Path,
) -> anyhow::Result<InitramfsContents> {
    let names = InitramfsNames::of(job.image);
    let built = initramfs::build(&names.recipe(root, &kernel.release))
        .with_context(|| format!("the initramfs of the image {}", job.image.name))?;
    write(&directory.join("initramfs"), &built.archive)?;
    tree::copy_file(&kernel.file, &directory.join("kernel"), 0o644)?;
    Ok(InitramfsContents {
        modules: built.contents.modules,
        firmware: built.contents.firmware,
    })
}

/// What is below /opt comes behind the rest, with the worker.
fn move_opt(root: &Root, layer: &Path) -> anyhow::Result<()> {
    if !root.exists("opt") {
        root.directory("opt")?;
    }
    let from = root.resolve_parent("opt")?;
    if fs::symlink_metadata(&from).is_ok_and(|metadata| metadata.is_symlink()) {
        bail!("/opt of the image is a link; make it a directory");
    }
    let to = layer.join("opt");
    fs::rename(&from, &to).with_context(|| format!("cannot move {}", from.display()))
}

fn pack_all(job: &Job<'_>, root: &Root, kernel: &Kernel, directory: &Path) -> anyhow::Result<()> {
    let level = job.image.pack.level;
    let created = job.created();
    let Wants {
        without_usr,
        ramdisk,
        ..
    } = job.wants;
    if job.image.pack.format == PackFormat::Squashfs {
        pack::squashfs(root.path(), &directory.join("packed"), level, created, &[])?;
        if without_usr {
            let to = directory.join("packed-without-usr");
            pack::squashfs(root.path(), &to, level, created, &["usr"])?;
        }
    }
    if ramdisk {
        let to = directory.join("ramdisk");
        make_ramdisk(job, root.path(), root.path(), kernel, None, &to)?;
    }
    if ramdisk && without_usr {
        let hollow = directory.join("without-usr");
        tree::link_without(root.path(), &hollow, &["usr"])?;
        let to = directory.join("ramdisk-without-usr");
        let names = InitramfsNames::of(job.image);
        let drivers = names.recipe(root, &kernel.release);
        make_ramdisk(job, &hollow, root.path(), kernel, Some(drivers), &to)?;
        fs::remove_dir_all(&hollow)
            .with_context(|| format!("cannot remove {}", hollow.display()))?;
    }
    Ok(())
}

fn make_ramdisk(
    job: &Job<'_>,
    from: &Path,
    root: &Path,
    kernel: &Kernel,
    drivers: Option<Recipe<'_>>,
    to: &Path,
) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", to.display());
    let recipe = ramdisk_recipe(job, from, &kernel.release);
    // Without its own /usr the tree may have none.
    let busybox = Root::new(root).resolve("bin/busybox")?;
    let recipe = RamdiskRecipe {
        busybox: busybox.exists().then_some(&busybox),
        drivers,
        ..recipe
    };
    let file = BufWriter::new(File::create_new(to).with_context(failed)?);
    let (mut file, _) = initramfs::ramdisk(&recipe, file).with_context(failed)?;
    file.flush().with_context(failed)
}

/// How ramdisks of a job are made.
pub(super) fn ramdisk_recipe<'a>(
    job: &Job<'_>,
    root: &'a Path,
    release: &'a str,
) -> RamdiskRecipe<'a> {
    /// The hardest that zstd tries without being told that memory does not matter.
    const MAX_LEVEL: u8 = 19;
    RamdiskRecipe {
        root,
        release,
        busybox: None,
        drivers: None,
        epoch: u32::try_from(job.created()).unwrap_or(u32::MAX),
        level: i32::from(job.image.pack.level.min(MAX_LEVEL)),
    }
}

/// Writes a new file.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Whether a base root is wanted, and what of.
pub(super) fn base_of<'a>(job: &Job<'a>) -> Option<Base<'a>> {
    Base::of(job.cluster, job.image, job.epoch)
}

/// Whether a stage in the cache may stand for a new one.
pub(super) fn may_be_reused(source: &ImageSource) -> bool {
    source::is_known_before(source)
}
