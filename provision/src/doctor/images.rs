//! Whether the images that nodes boot are there, whole, and able to reach the network.

use std::collections::BTreeSet;

use super::{Finding, Level};
use crate::apply::generation::{self, GenerationError};
use crate::initramfs;
use crate::model::{Cluster, ImageName};
use crate::render::{Boot, Images};
use crate::store::{Digest, Manifest, Store, StoreError};

const TOPIC: &str = "image";

/// Reads every file that nodes boot, to see whether it is what it was. That is what was applied last, whatever has been
/// published since; only where nothing was applied, what is published.
pub(super) fn look(cluster: &Cluster) -> Vec<Finding> {
    let store = Store::at(cluster.serve.directory.as_path());
    match in_force(&store) {
        Ok(Some((cluster, images))) => {
            let image =
                |(name, digest)| (name, store.manifest(digest).map(|found| (digest, found)));
            look_through(&store, &cluster, images.into_iter().map(image))
        }
        Ok(None) => {
            let nodes = cluster.nodes().iter();
            let wanted: BTreeSet<&ImageName> = nodes.map(|node| &node.settings.image).collect();
            let image = |name: &ImageName| (name.clone(), store.image(name));
            look_through(&store, cluster, wanted.into_iter().map(image))
        }
        Err(error) => vec![Finding::bad(
            TOPIC,
            Level::Problem,
            format!(
                "what nodes boot cannot be read: {:#}",
                anyhow::Error::from(error)
            ),
            "run `regex-provision apply`, which makes a new generation",
        )],
    }
}

/// A cluster, and the digests of its images.
type InForce = (Cluster, Vec<(ImageName, Digest)>);

/// The cluster and the images of the generation in force, which nodes boot.
fn in_force(store: &Store) -> Result<Option<InForce>, GenerationError> {
    let Some(generation) = generation::current(store)? else {
        return Ok(None);
    };
    let digests = generation.image_digests()?.into_iter();
    // A name that is none was not written by us.
    let images = digests.filter_map(|(name, digest)| Some((name.parse().ok()?, digest)));
    Ok(Some((generation.cluster()?, images.collect())))
}

fn look_through(
    store: &Store,
    cluster: &Cluster,
    found: impl Iterator<Item = (ImageName, Result<(Digest, Manifest), StoreError>)>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut images = Vec::new();
    for (name, image) in found {
        match image {
            Ok((digest, manifest)) => {
                findings.push(look_at(store, &name, &manifest));
                images.push((name, digest, manifest));
            }
            Err(error) => {
                let mut what = format!("{:#}", anyhow::Error::from(error));
                if !what.contains(name.as_str()) {
                    what.insert_str(0, &format!("{name}: "));
                }
                findings.push(Finding::bad(
                    TOPIC,
                    Level::Problem,
                    what,
                    format!(
                        "run `regex-provision image build {name} --force`, then `regex-provision apply`"
                    ),
                ));
            }
        }
    }
    // What a root mode needs may not have been made when the image was.
    let images: Images = images.into_iter().collect();
    let lacking: BTreeSet<String> = cluster
        .nodes()
        .iter()
        .filter(|node| images.get(&node.settings.image).is_some())
        .filter_map(|node| Boot::of(node, &images).err())
        .map(|error| error.to_string())
        .collect();
    findings.extend(lacking.into_iter().map(|what| {
        let fix = "build the image again, then run `regex-provision apply`";
        Finding::bad(TOPIC, Level::Problem, what, fix)
    }));
    findings
}

fn look_at(store: &Store, name: &ImageName, manifest: &Manifest) -> Finding {
    let again =
        format!("run `regex-provision image build {name} --force`, then `regex-provision apply`");
    let damaged: Vec<String> = booted(manifest)
        .filter_map(|digest| store.verify(digest).err())
        .map(|error| format!("{:#}", anyhow::Error::from(error)))
        .collect();
    if !damaged.is_empty() {
        let what = format!("{name} cannot be booted: {}", damaged.join("; "));
        return Finding::bad(TOPIC, Level::Problem, what, again);
    }
    let modules: BTreeSet<&str> = manifest
        .initramfs_contents
        .modules
        .iter()
        .map(String::as_str)
        .collect();
    let cards = initramfs::network_modules()
        .filter(|name| modules.contains(name))
        .count();
    let kernel = &manifest.kernel_version;
    if cards == 0 {
        return Finding::bad(
            TOPIC,
            Level::Warning,
            format!(
                "{name}: its initramfs has no module of a network card; only what is built into the kernel {kernel} works"
            ),
            format!(
                "take a kernel with modules, or name them: `initramfs.modules` of [image.{name}]"
            ),
        );
    }
    Finding::fine(
        TOPIC,
        format!(
            "{name} is whole; its initramfs has {} modules of the kernel {kernel}, {cards} of network cards",
            modules.len()
        ),
    )
}

/// The files that nodes boot. (The listing is for people, and a tree is not one file.)
fn booted(manifest: &Manifest) -> impl Iterator<Item = Digest> {
    let listing = manifest.listing.sha256;
    manifest
        .artifacts()
        .filter(move |digest| *digest != listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use crate::store::{FORMAT, InitramfsContents, Root, RootFormat};

    /// Publishes an image whose initramfs has these modules.
    fn publish(store: &Store, modules: &[&str]) -> Manifest {
        let mut writer = store.lock().expect("nobody else has it");
        let mut put = |what: &str| writer.put_bytes(what.as_bytes()).expect("it can be put");
        let root = put("root");
        let manifest = Manifest {
            format: FORMAT,
            image: "base".parse().expect("a name"),
            created: 0,
            kernel_version: "6.1.0-37-amd64".into(),
            kernel: put("kernel"),
            initramfs: put("initramfs"),
            initramfs_contents: InitramfsContents {
                modules: modules.iter().map(ToString::to_string).collect(),
                firmware: Vec::new(),
            },
            root: Root {
                format: RootFormat::Squashfs,
                sha256: root.sha256,
                size: root.size,
                unpacked: 1,
                entries: 1,
            },
            ramdisk: None,
            without_usr: None,
            tree: None,
            listing: put("listing"),
            packages: Vec::new(),
            worker: None,
            inputs: Digest::of(b"inputs"),
        };
        writer.publish(&manifest).expect("it is complete");
        manifest
    }

    #[test]
    fn missing_damaged_and_useless_images_are_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(directory.path());
        let text = |root: &str| {
            format!(
                "[cluster]\nname = \"lab\"\ninterface = \"br0\"\nsubnet = \"10.77.0.0/24\"\nmaster = \"10.77.0.1\"\n\
                 [serve]\ndirectory = \"{}\"\n[image.base]\nsource = {{ kind = \"debootstrap\", suite = \"bookworm\" }}\n\
                 [[node]]\nname = \"n0\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.77.0.11\"\nimage = \"base\"\nroot = \"{root}\"\n",
                directory.path().display()
            )
        };
        let cluster =
            |root: &str| model::parse(&text(root)).unwrap_or_else(|problems| panic!("{problems}"));
        let told = |root: &str| -> Vec<(Level, String)> {
            let findings = look(&cluster(root)).into_iter();
            findings
                .map(|finding| (finding.level, finding.what))
                .collect()
        };
        let missing = told("ram");
        assert_eq!(missing[0].0, Level::Problem);
        assert!(
            missing[0].1.contains("there is no image base"),
            "{missing:?}"
        );

        let publish = |modules: &[&str]| publish(&store, modules);
        publish(&["overlay"]);
        let useless = told("ram");
        assert_eq!(useless[0].0, Level::Warning, "{useless:?}");
        let manifest = publish(&["overlay", "virtio_net", "igb"]);
        let fine = told("ram");
        assert_eq!(fine.len(), 1);
        assert_eq!(fine[0].0, Level::Fine);
        assert!(
            fine[0].1.contains("3 modules") && fine[0].1.contains("2 of network cards"),
            "{fine:?}"
        );
        let lacking = told("ramdisk");
        assert_eq!(lacking[1].0, Level::Problem);
        assert!(lacking[1].1.contains("without a ramdisk"), "{lacking:?}");

        // What nodes boot is what was applied, not what was published since.
        let generation = store.generations().join("1");
        std::fs::create_dir_all(&generation).expect("it is ours");
        let digest = store.image(&manifest.image).expect("it is published").0;
        for (name, text) in [
            ("images.json", format!("{{\"base\": \"{digest}\"}}")),
            ("cluster.toml", text("ram")),
            (
                "index.json",
                "{\"format\": 1, \"created\": 0, \"files\": []}".to_owned(),
            ),
        ] {
            std::fs::write(generation.join(name), text).expect("it is ours");
        }
        let link = generation::current_link(&store);
        std::os::unix::fs::symlink("generations/1", &link).expect("it is ours");
        publish(&["overlay"]);
        assert_eq!(told("ramdisk"), fine);
        publish(&["overlay", "virtio_net", "igb", "e1000"]);

        let path = store.artifact_path(manifest.kernel.sha256);
        std::fs::remove_file(&path).expect("it is ours");
        std::fs::write(&path, "kernel?").expect("it is ours");
        let damaged = told("ram");
        assert_eq!(damaged[0].0, Level::Problem);
        assert!(
            damaged[0].1.contains("is damaged: its digest is"),
            "{damaged:?}"
        );

        std::fs::remove_file(store.manifest_path(digest)).expect("it is ours");
        let gone = told("ram");
        assert_eq!((gone.len(), gone[0].0), (1, Level::Problem));
        std::fs::remove_file(generation.join("images.json")).expect("it is ours");
        let unreadable = told("ram");
        assert!(
            unreadable[0].1.contains("what nodes boot cannot be read"),
            "{unreadable:?}"
        );
    }
}
