//! The last part of a build: a stage and a worker become an image, and the image is published.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::build::Job;
use super::listing::Listing;
use super::root::Root;
use super::stage::{self, Stage};
use super::tree::{self, Filter};
use super::worker::Program;
use super::{equip, fail, pack};
use crate::initramfs;
use crate::model::image::PackFormat;
use crate::store::{self, Artifact, Digest, FORMAT, Manifest, RootFormat, WithoutUsr, Writer};

/// What is put together.
pub(super) struct Finish<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) stage: &'a Stage,
    /// The worker that is added; none if there is none, or the stage has it.
    pub(super) worker: Option<&'a Program>,
    /// What the manifest says of the worker.
    pub(super) told: Option<store::Worker>,
    pub(super) inputs: Digest,
    /// A directory that is not there yet, for all that is made.
    pub(super) work: PathBuf,
}

/// What was made, still in the directory for work.
struct Made {
    root: PathBuf,
    ramdisk: Option<PathBuf>,
    without_usr: Option<PathBuf>,
    ramdisk_without_usr: Option<PathBuf>,
    tree: Option<PathBuf>,
    kernel: PathBuf,
    initramfs: PathBuf,
    listing_file: PathBuf,
    listing: Listing,
}

impl Finish<'_> {
    /// Makes the image and publishes it.
    pub(super) fn publish(&self) -> anyhow::Result<(Digest, Manifest)> {
        self.job.step(match self.worker {
            Some(_) => "adding the worker",
            None => "finishing",
        });
        let made = self.make()?;
        let size = fs::metadata(&made.root).map_or(0, |metadata| metadata.len());
        pack::check_size(size, self.job.image.max_size)?;
        fail::here("layered");

        self.job.step("publishing");
        let is_tree_damaged = self.is_tree_damaged(&made)?;
        let mut writer = self.job.store.lock()?;
        let manifest = self.put(&made, is_tree_damaged, &mut writer)?;
        fail::here("artifacts");
        let digest = writer.put_manifest(&manifest)?;
        fail::here("manifest");
        writer.point(&manifest.image, digest)?;
        fail::here("published");
        Ok((digest, manifest))
    }

    fn make(&self) -> anyhow::Result<Made> {
        fs::create_dir(&self.work)
            .with_context(|| format!("cannot make {}", self.work.display()))?;
        let layer = self.layer()?;
        let mut listing = self.stage.listing()?;
        listing.lay_over(Listing::of(&layer, "")?);
        let listing_file = self.work.join("listing");
        stage::write(&listing_file, listing.to_string().as_bytes())?;
        let wants = self.job.wants;
        let without_usr = if wants.without_usr {
            Some(self.root(&layer, "packed-without-usr", &["usr"])?)
        } else {
            None
        };
        Ok(Made {
            root: self.root(&layer, "packed", &[])?,
            without_usr,
            ramdisk: self.ramdisk(&layer, "ramdisk")?,
            ramdisk_without_usr: self.ramdisk(&layer, "ramdisk-without-usr")?,
            tree: if wants.tree {
                Some(self.tree(&layer, "tree", &[])?)
            } else {
                None
            },
            kernel: self.second_name("kernel")?,
            initramfs: self.second_name("initramfs")?,
            listing_file,
            listing,
        })
    }

    /// What comes behind the stage: /opt, with the worker in it.
    fn layer(&self) -> anyhow::Result<PathBuf> {
        let layer = self.work.join("layer");
        // A copy: in a ramdisk it shows how many names a file has.
        let everything = Filter::new::<&str>(&[])?;
        tree::copy(&self.stage.layer(), &layer, Path::new("/"), &everything)?;
        let root = Root::new(&layer);
        if let Some(worker) = self.worker {
            let place = root.resolve_parent(equip::WORKER)?;
            if place != layer.join(equip::WORKER) {
                bail!(
                    "/{} of the image {} would lie behind a link; leave the link out of the image",
                    equip::WORKER,
                    self.job.image.name
                );
            }
            root.write(equip::WORKER, &worker.bytes, 0o755)?;
            let created = i64::try_from(self.job.created()).unwrap_or(i64::MAX);
            for path in Path::new(equip::WORKER).ancestors() {
                if !path.as_os_str().is_empty() {
                    tree::set_time(&root.resolve_parent(path)?, created, 0)?;
                }
            }
        }
        Ok(layer)
    }

    /// The packed root: the stage's with the layer behind it.
    fn root(&self, layer: &Path, name: &str, hollow: &[&str]) -> anyhow::Result<PathBuf> {
        let to = self.work.join(name);
        let pack = self.job.image.pack;
        match pack.format {
            PackFormat::Squashfs => {
                let from = self.stage.file(name);
                fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
                fs::set_permissions(&to, Permissions::from_mode(0o644))?;
                pack::append(&layer.join("opt"), &to, self.job.created())?;
            }
            PackFormat::Erofs => {
                let tree = self.tree(layer, &format!("{name}-tree"), hollow)?;
                pack::erofs(&tree, &to, pack.level, self.job.created())?;
            }
        }
        Ok(to)
    }

    fn tree(&self, layer: &Path, name: &str, hollow: &[&str]) -> anyhow::Result<PathBuf> {
        let tree = self.work.join(name);
        tree::link_without(&self.stage.root(), &tree, hollow)?;
        tree::link(layer, &tree)?;
        Ok(tree)
    }

    /// The stage's ramdisk with the layer behind it; none if the stage has none.
    fn ramdisk(&self, layer: &Path, name: &str) -> anyhow::Result<Option<PathBuf>> {
        let from = self.stage.file(name);
        if !from.exists() {
            return Ok(None);
        }
        let to = self.work.join(name);
        let failed = || format!("cannot write {}", to.display());
        let mut file = BufWriter::new(File::create_new(&to).with_context(failed)?);
        let mut stage =
            File::open(&from).with_context(|| format!("cannot open {}", from.display()))?;
        io::copy(&mut stage, &mut file).with_context(failed)?;
        let root = self.stage.root();
        let recipe = stage::ramdisk_recipe(self.job, &root, &self.stage.meta.kernel_version);
        let (mut file, _) = initramfs::ramdisk_layer(&recipe, layer, file).with_context(failed)?;
        file.flush().with_context(failed)?;
        Ok(Some(to))
    }

    /// A second name for a file of the stage, which is moved into the store while the stage keeps its own.
    fn second_name(&self, name: &str) -> anyhow::Result<PathBuf> {
        let (from, to) = (self.stage.file(name), self.work.join(name));
        fs::hard_link(&from, &to).with_context(|| format!("cannot link {}", from.display()))?;
        Ok(to)
    }

    /// Whether the store has the tree already, and not as it is to be. Reads all of it: not something to do while others
    /// wait for the store.
    fn is_tree_damaged(&self, made: &Made) -> anyhow::Result<bool> {
        if made.tree.is_none() {
            return Ok(false);
        }
        let packed = File::open(&made.root)
            .and_then(Digest::of_reader)
            .with_context(|| format!("cannot read {}", made.root.display()))?;
        let place = self.job.store.tree_path(packed.0);
        // What cannot be read is damaged, too.
        Ok(place.exists() && !matches!(made.listing.damage(&place), Ok(None)))
    }

    fn put(
        &self,
        made: &Made,
        is_tree_damaged: bool,
        writer: &mut Writer,
    ) -> anyhow::Result<Manifest> {
        let root = writer.put_file(&made.root)?;
        if let Some(tree) = &made.tree {
            // One that is whole stays: nodes have it mounted.
            if is_tree_damaged {
                writer.replace_tree(root.sha256, tree)?;
            } else {
                writer.put_tree(root.sha256, tree)?;
            }
            fail::here("tree");
        }
        let mut put = |path: &Path| writer.put_file(path);
        let mut maybe = |path: &Option<PathBuf>| -> anyhow::Result<Option<Artifact>> {
            Ok(path.as_deref().map(&mut put).transpose()?)
        };
        let ramdisk = maybe(&made.ramdisk)?;
        let ramdisk_without_usr = maybe(&made.ramdisk_without_usr)?;
        let without_usr = maybe(&made.without_usr)?.map(|root| WithoutUsr {
            root,
            ramdisk: ramdisk_without_usr,
        });
        let image = self.job.image;
        let meta = &self.stage.meta;
        Ok(Manifest {
            format: FORMAT,
            image: image.name.clone(),
            created: self.job.created(),
            kernel_version: meta.kernel_version.clone(),
            kernel: put(&made.kernel)?,
            initramfs: put(&made.initramfs)?,
            initramfs_contents: meta.contents.clone(),
            root: store::Root {
                format: match image.pack.format {
                    PackFormat::Squashfs => RootFormat::Squashfs,
                    PackFormat::Erofs => RootFormat::Erofs,
                },
                sha256: root.sha256,
                size: root.size,
                unpacked: made.listing.bytes(),
                entries: made.listing.entries.len() as u64,
            },
            ramdisk,
            tree: made.tree.is_some().then_some(root.sha256),
            without_usr,
            listing: put(&made.listing_file)?,
            packages: meta.packages.clone(),
            worker: self.told.clone(),
            inputs: self.inputs,
        })
    }
}
