//! What nodes boot: a generation, loaded.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::apply::generation::{self, GenerationError, Indexed};
use crate::model::{Cluster, ExportServer, MacAddr, NfsVersion, Node};
use crate::render::overlay::{self, HostKey};
use crate::render::{Boot, Effect, Images, Service};
use crate::status::{NoOffer, Offer};
use crate::store::{Digest, Manifest, Store};

/// A generation, and what it offers to each node. Offers are made when they are first wanted, and
/// kept: the same node gets the same bytes for as long as the generation is in force. That there is none is not kept:
/// what is missing may be put back.
pub struct Served {
    /// Its number.
    pub number: u32,
    /// Its cluster.
    pub cluster: Cluster,
    /// Its images.
    pub images: Images,
    store: Store,
    files: Vec<Indexed>,
    offers: HashMap<MacAddr, OnceLock<Arc<Offer>>>,
    overlays: Mutex<HashMap<Digest, MacAddr>>,
    /// What loaders load, which verify nothing, by its digest: what it is.
    loaded: HashMap<Digest, String>,
    /// What nodes verify themselves, before they use it.
    roots: HashSet<Digest>,
    are_all_made: OnceLock<()>,
}

impl Served {
    /// Loads the generation in force; none if nothing was applied yet.
    pub fn load(store: &Store) -> Result<Option<Self>, GenerationError> {
        let Some(generation) = generation::current(store)? else {
            return Ok(None);
        };
        let cluster = generation.cluster()?;
        let images = generation.images(store)?;
        let empty = |node: &Node| (node.mac, OnceLock::new());
        Ok(Some(Self {
            number: generation.number,
            loaded: loaded(&images),
            roots: roots(&images),
            images,
            store: store.clone(),
            files: generation.index.files,
            offers: cluster.nodes().iter().map(empty).collect(),
            overlays: Mutex::default(),
            are_all_made: OnceLock::new(),
            cluster,
        }))
    }

    /// What an artifact is that a loader loads, which verifies nothing; none of others.
    pub fn loaded(&self, digest: Digest) -> Option<&str> {
        self.loaded.get(&digest).map(String::as_str)
    }

    /// All artifacts that loaders load.
    pub fn all_loaded(&self) -> impl Iterator<Item = Digest> {
        self.loaded.keys().copied()
    }

    /// Whether an artifact is a packed root: a node verifies that itself, before it uses it.
    pub fn is_root(&self, digest: Digest) -> bool {
        self.roots.contains(&digest)
    }

    /// What a node is to boot; the error says why it cannot. May read the node's host key.
    pub fn offer(&self, node: &Node) -> Result<Arc<Offer>, NoOffer> {
        let make = || {
            let overlay = self.overlay_of(node)?;
            let boot = Boot::of(node, &self.images).map_err(|error| error.to_string())?;
            let offer = Offer {
                generation: self.number.into(),
                image: node.settings.image.clone(),
                manifest: boot.manifest,
                kernel: boot.kernel,
                initramfs: boot.initramfs,
                overlay: overlay.digest,
                arguments: boot.arguments(&self.cluster, node, overlay.digest),
            };
            let mut overlays = self.overlays.lock().unwrap_or_else(PoisonError::into_inner);
            overlays.insert(overlay.digest, node.mac);
            Ok(Arc::new(offer))
        };
        let Some(kept) = self.offers.get(&node.mac) else {
            return make();
        };
        match kept.get() {
            Some(offer) => Ok(Arc::clone(offer)),
            None => make().map(|offer| Arc::clone(kept.get_or_init(|| offer))),
        }
    }

    /// What every node is to boot, in the order of the cluster.
    pub fn offers(&self) -> Vec<Result<Arc<Offer>, NoOffer>> {
        let offers = self.cluster.nodes().iter().map(|node| self.offer(node));
        offers.collect()
    }

    /// The files of the node whose overlay has this digest. A node may ask for one that was told of before this
    /// process began; then all are made.
    pub fn overlay(&self, digest: Digest) -> Option<Vec<u8>> {
        let known = || {
            let overlays = self.overlays.lock().unwrap_or_else(PoisonError::into_inner);
            overlays.get(&digest).copied()
        };
        let mac = known().or_else(|| {
            // Once: whoever asks for what is not there must not have all made again.
            self.are_all_made.get_or_init(|| drop(self.offers()));
            known()
        })?;
        let overlay = self.overlay_of(self.cluster.node_by_mac(mac)?).ok()?;
        // A host key may have been made anew.
        (overlay.digest == digest).then_some(overlay.tar)
    }

    fn overlay_of(&self, node: &Node) -> Result<overlay::Overlay, NoOffer> {
        let key = if overlay::needs_host_key(&self.cluster) {
            Some(self.host_key(node)?)
        } else {
            None
        };
        Ok(overlay::node(&self.cluster, node, key.as_ref()))
    }

    /// The host key that `apply` has made for a node.
    fn host_key(&self, node: &Node) -> Result<HostKey, NoOffer> {
        let directory = self.store.root().join("hostkeys").join(node.name.as_str());
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).map_err(|error| NoOffer {
                why: format!("its host key {} cannot be read: {error}", path.display()),
                is_denied: error.kind() == ErrorKind::PermissionDenied,
            })
        };
        Ok(HostKey {
            private: read("ssh_host_ed25519_key")?,
            public: read("ssh_host_ed25519_key.pub")?,
        })
    }

    /// What makes a daemon read its configuration again: the digests of the files for which it must
    /// be started anew, and of those that it can read again. None if it has nothing to do.
    pub fn configuration(&self, service: Service) -> Option<(Digest, Digest)> {
        let of = |effect| {
            let files = self
                .files
                .iter()
                .filter(|file| file.service == Some((service, effect)));
            let digests: Vec<_> = files.map(|file| file.sha256.to_string()).collect();
            (digests.len(), Digest::of(digests.join(" ").as_bytes()))
        };
        let (restart, reload) = (of(Effect::Restart), of(Effect::Reload));
        (restart.0 + reload.0 > 0).then_some((restart.1, reload.1))
    }

    /// Whether Ganesha serves version 3 of NFS, which needs rpcbind.
    pub fn needs_rpcbind(&self) -> bool {
        self.cluster.exports.values().any(|export| {
            export.server == ExportServer::Ganesha && export.version == NfsVersion::V3
        })
    }
}

/// Kernels, initramfs and ramdisks: loaders fetch them, and take whatever comes.
fn loaded(images: &Images) -> HashMap<Digest, String> {
    let mut all = HashMap::new();
    for (name, _, manifest) in images.iter() {
        let without_usr = manifest.without_usr.as_ref();
        let ramdisks = [
            manifest.ramdisk,
            without_usr.and_then(|without| without.ramdisk),
        ];
        let mut add = |digest, what| {
            all.insert(digest, format!("the {what} of the image {name}"));
        };
        add(manifest.kernel.sha256, "kernel");
        add(manifest.initramfs.sha256, "initramfs");
        for ramdisk in ramdisks.into_iter().flatten() {
            add(ramdisk.sha256, "ramdisk");
        }
    }
    all
}

/// Packed roots: the initramfs fetches them, and uses only what has the digest that the command line names.
fn roots(images: &Images) -> HashSet<Digest> {
    let of = |manifest: &Manifest| {
        let without_usr = manifest.without_usr.as_ref();
        let without_usr = without_usr.map(|without| without.root.sha256);
        [manifest.root.sha256].into_iter().chain(without_usr)
    };
    images
        .iter()
        .flat_map(|(_, _, manifest)| of(manifest))
        .collect()
}
