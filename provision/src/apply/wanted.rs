//! What is to be in force: rendered from the description, or a generation that was kept.

use std::collections::BTreeSet;

use super::error::ApplyError;
use super::generation::Generation;
use super::hostkeys::Keys;
use super::place::Root;
use super::run::Request;
use super::site;
use crate::model::{Cluster, Hostname, ImageName, Node, RootMode, UsrMode};
use crate::render::{File, Images, obstacles, overlay, render};
use crate::store::{Manifest, Store, StoreError};

/// A generation that is wanted: rendered just now, or kept.
pub(super) struct Wanted {
    pub(super) cluster: Cluster,
    pub(super) text: String,
    pub(super) images: Images,
    pub(super) files: Vec<File>,
    pub(super) obstacles: Vec<String>,
    /// The nodes whose host keys are made for it.
    pub(super) new_keys: Vec<Hostname>,
}

/// Renders what is described.
pub(super) fn wanted(request: &Request, store: &Store, keys: &Keys) -> Result<Wanted, ApplyError> {
    let cluster = &request.cluster;
    let site = site::discover(&request.root)
        .map_err(|source| ApplyError::io("look for loaders on", "this machine", source))?;
    let (mut images, mut broken) = (Vec::new(), Vec::new());
    let used: BTreeSet<_> = cluster
        .nodes()
        .iter()
        .map(|node| &node.settings.image)
        .collect();
    for name in cluster.images.keys() {
        // What no node boots may be missing, or broken.
        match store.image(name) {
            Ok((digest, manifest)) => {
                let gone = gone(store, cluster, name, &manifest);
                if used.contains(name) {
                    broken.extend(gone.into_iter().map(|what| {
                        format!(
                            "the image {name} lacks {what}; run `regex-provision image build {name} --force`"
                        )
                    }));
                } else if !gone.is_empty() {
                    continue;
                }
                images.push((name.clone(), digest, manifest));
            }
            Err(StoreError::NoImage { .. }) => {}
            Err(_) if !used.contains(name) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let images: Images = images.into_iter().collect();
    let mut obstacles = obstacles(cluster, &images, &site);
    let files = render(cluster, &images, &site, |node| {
        overlay::node(cluster, node, keys.of(node)).digest
    });
    obstacles.extend(broken);
    obstacles.extend(site::moved_store(
        &request.root,
        cluster.serve.directory.as_path(),
    )?);
    if request.root.is_real() {
        obstacles.extend(site::missing_programs(&files, &site));
        obstacles.extend(site::missing_exports(&request.root, cluster));
    }
    Ok(Wanted {
        cluster: cluster.clone(),
        text: request.text.clone(),
        images,
        files,
        obstacles,
        new_keys: keys.missing.clone(),
    })
}

/// What is missing of an image: artifacts; and its tree, if a node mounts it.
fn gone(store: &Store, cluster: &Cluster, name: &ImageName, manifest: &Manifest) -> Vec<String> {
    let artifacts = manifest.artifacts();
    let artifacts = artifacts.filter(|artifact| !store.artifact_path(*artifact).exists());
    let mut gone: Vec<_> = artifacts
        .map(|artifact| format!("the artifact {}", artifact.short()))
        .collect();
    let mounts = |node: &Node| {
        let settings = &node.settings;
        settings.image == *name && (settings.root == RootMode::Nfs || settings.usr == UsrMode::Nfs)
    };
    if let Some(tree) = manifest.tree
        && !store.tree_path(tree).exists()
        && cluster.nodes().iter().any(mounts)
    {
        gone.push(format!("the unpacked tree {}", tree.short()));
    }
    gone
}

/// A generation that was kept, read whole: nothing of it may be missing or altered.
pub(super) fn kept(
    root: &Root,
    store: &Store,
    generation: &Generation,
) -> Result<Wanted, ApplyError> {
    let cluster = generation.cluster()?;
    let mut obstacles = Vec::new();
    obstacles.extend(site::made_for_another(root, store, generation, &cluster));
    let keys = Keys::read(store, &cluster)?;
    let images = generation.images(store)?;
    for (name, _, manifest) in images.iter() {
        let number = generation.number;
        obstacles.extend(
            gone(store, &cluster, name, manifest)
                .into_iter()
                .map(|what| {
                    format!("generation {number} boots the image {name}, of which {what} is gone")
                }),
        );
    }
    if !obstacles.is_empty() {
        return Err(ApplyError::Obstacles(obstacles));
    }
    let mut files = Vec::new();
    for file in &generation.index.files {
        files.push(File {
            name: file.name.clone(),
            bytes: generation.read(file)?,
            place: file.place.clone(),
            mode: file.mode,
            service: file.service,
            checker: None,
        });
    }
    Ok(Wanted {
        cluster,
        text: generation.cluster_text()?,
        images,
        files,
        obstacles,
        new_keys: keys.missing,
    })
}
