//! What an image's declaration asks for: users, files, keys, services, the script, packages removed.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::base::has_locale;
use super::equip;
use super::inputs::{Inputs, read_script};
use super::inside;
use super::policy;
use super::root::Root;
use super::tree;
use super::users::Users;
use crate::model::image::{FileContent, ImageFile, Script};
use crate::model::{Image, PackageName, SshKey, UnitName};

/// Where the script is while it runs.
const SCRIPT: &str = "/.regexctl-post-script";

/// Adds what comes from the master's files to the inputs.
pub(super) fn add_inputs(image: &Image, inputs: &mut Inputs) -> anyhow::Result<()> {
    for file in &image.files {
        if let FileContent::Copy(path) = &file.content {
            inputs
                .path("copied", path.as_path())
                .with_context(|| format!("{} of the image {}", file.path, image.name))?;
        }
    }
    if let Some(Script::File(path)) = &image.post_script {
        inputs.add("script", read_script(path.as_path())?);
    }
    Ok(())
}

/// Does all of it. `variables` are seen by the script and by packages' scripts.
pub(super) fn customize(
    root: &Root,
    image: &Image,
    variables: &[(&str, &str)],
) -> anyhow::Result<()> {
    let mut users = Users::read(root)?;
    for user in &image.users {
        users.add(root, user)?;
    }
    users.write(root)?;
    for file in &image.files {
        put(root, file, &users)
            .with_context(|| format!("{} of the image {}", file.path, image.name))?;
    }
    keys(root, "/root", &image.ssh_keys, (0, 0))?;
    for user in &image.users {
        let account = users
            .account(user.name.as_str())
            .context("it was just made")?;
        keys(
            root,
            &account.home,
            &user.ssh_keys,
            (account.uid, account.gid),
        )?;
    }
    locale(root, image, variables)?;
    services(root, image, variables)?;
    if let Some(script) = &image.post_script {
        let text = match script {
            Script::File(path) => read_script(path.as_path())?,
            Script::Text(text) => text.clone().into_bytes(),
        };
        run_script(root, image, &text, variables)?;
    }
    if !image.remove.is_empty() {
        let _policy = policy::no_services(root)?;
        let mut arguments = vec!["/usr/bin/dpkg", "--purge"];
        arguments.extend(image.remove.iter().map(PackageName::as_str));
        inside::quiet(root, &arguments, variables)
            .context("cannot remove the packages of `remove-packages`")?;
    }
    users.find_shells(root)
}

/// Installs packages into a root that was not made of packages by us.
pub(super) fn install(
    root: &Root,
    packages: &[String],
    variables: &[(&str, &str)],
) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    if !root.exists("usr/bin/apt-get") {
        bail!(
            "the image has no apt-get, so its packages ({}) cannot be installed; leave them out, or put them into its source",
            packages.join(", ")
        );
    }
    let _policy = policy::no_services(root)?;
    let _names = resolver(root)?;
    let mut variables = variables.to_vec();
    variables.push(("DEBIAN_FRONTEND", "noninteractive"));
    inside::quiet(root, &["/usr/bin/apt-get", "-q", "update"], &variables)?;
    let mut arguments = vec![
        "/usr/bin/apt-get",
        "-q",
        "-y",
        "--no-install-recommends",
        "install",
    ];
    arguments.extend(packages.iter().map(String::as_str));
    inside::quiet(root, &arguments, &variables)
}

/// Makes sure that there is a file over which the master's can be laid. At the end there is again what was there: nothing, or a
/// link that leads to what only a running system has.
pub(super) fn resolver(root: &Root) -> anyhow::Result<impl Drop + use<>> {
    const PATH: &str = "etc/resolv.conf";
    struct Resolver(Option<(Root, Option<PathBuf>)>);
    impl Drop for Resolver {
        fn drop(&mut self) {
            // Left behind, it is an empty file, which cleaning makes anyhow.
            let _ = match &self.0 {
                Some((root, Some(target))) => root.link(PATH, target),
                Some((root, None)) => root.remove(PATH),
                None => Ok(()),
            };
        }
    }
    if root.exists(PATH) {
        return Ok(Resolver(None));
    }
    let link = fs::read_link(root.resolve_parent(PATH)?).ok();
    root.write(PATH, "", 0o644)?;
    Ok(Resolver(Some((root.clone(), link))))
}

fn put(root: &Root, file: &ImageFile, users: &Users) -> anyhow::Result<()> {
    let path = file.path.as_path();
    let uid = users
        .uid(file.owner.as_str())
        .with_context(|| format!("there is no user {}; make it under `user`", file.owner))?;
    let gid = users.gid(file.group.as_str()).with_context(|| {
        format!(
            "there is no group {}; make it by a user's `groups`",
            file.group
        )
    })?;
    match &file.content {
        FileContent::Text(text) => root.write(path, text, file.mode)?,
        FileContent::Link(target) => root.link(path, target)?,
        FileContent::Directory => {
            let place = root.directory(path)?;
            fs::set_permissions(&place, Permissions::from_mode(file.mode))
                .with_context(|| format!("cannot set the mode of {}", place.display()))?;
        }
        FileContent::Copy(from) => return copy(root, from.as_path(), file, (uid, gid)),
    }
    root.own(path, uid, gid)?;
    if let FileContent::Text(_) = file.content {
        // A change of the owner takes special bits away.
        let place = root.resolve_parent(path)?;
        fs::set_permissions(&place, Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// Copies a file with the mode given, or a directory whose files keep theirs.
fn copy(root: &Root, from: &Path, file: &ImageFile, owner: (u32, u32)) -> anyhow::Result<()> {
    let path = file.path.as_path();
    let metadata = fs::metadata(from).with_context(|| format!("cannot read {}", from.display()))?;
    if metadata.is_file() {
        root.write(path, "", 0o600)?;
        let place = root.resolve_parent(path)?;
        root.own(path, owner.0, owner.1)?;
        return tree::copy_file(from, &place, file.mode);
    }
    let place = root.resolve(path)?;
    let was_there = place.exists() && place != root.path();
    if let Some(above) = place.parent() {
        fs::create_dir_all(above)
            .with_context(|| format!("cannot make the directory {}", above.display()))?;
    }
    tree::lay_over(from, root, path, owner)?;
    if was_there && owner != (0, 0) {
        // What was there keeps what it has, but this one is named.
        lchown(&place, Some(owner.0), Some(owner.1))
            .with_context(|| format!("cannot set the owner of {}", place.display()))?;
    }
    Ok(())
}

/// Lets who has these keys log in.
fn keys(root: &Root, home: &str, keys: &[SshKey], owner: (u32, u32)) -> anyhow::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let directory = format!("{home}/.ssh");
    let file = format!("{directory}/authorized_keys");
    let mut lines = root.read_text(&file)?.unwrap_or_default();
    let known: BTreeSet<String> = lines.lines().map(str::to_owned).collect();
    for key in keys.iter().filter(|key| !known.contains(key.as_str())) {
        if !lines.is_empty() && !lines.ends_with('\n') {
            lines.push('\n');
        }
        lines.push_str(key.as_str());
        lines.push('\n');
    }
    let place = root.directory(&directory)?;
    fs::set_permissions(&place, Permissions::from_mode(0o700))
        .with_context(|| format!("cannot set the mode of {}", place.display()))?;
    root.own(&directory, owner.0, owner.1)?;
    root.write(&file, lines, 0o600)?;
    root.own(&file, owner.0, owner.1)
}

fn locale(root: &Root, image: &Image, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    let locale = image.locale.as_str();
    if !root.exists("etc") {
        return Ok(());
    }
    root.write("etc/default/locale", format!("LANG={locale}\n"), 0o644)?;
    if has_locale(locale) || !root.exists("usr/sbin/locale-gen") {
        return Ok(());
    }
    let charset = locale
        .split_once('.')
        .map_or("UTF-8", |(_, charset)| charset);
    root.write("etc/locale.gen", format!("{locale} {charset}\n"), 0o644)?;
    inside::quiet(root, &["/usr/sbin/locale-gen"], variables)
        .with_context(|| format!("cannot make the locale {locale}"))
}

fn services(root: &Root, image: &Image, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    let services = &image.services;
    for (word, units) in [("enable", &services.enable), ("disable", &services.disable)] {
        if units.is_empty() {
            continue;
        }
        let mut arguments = vec!["/usr/bin/systemctl", word];
        arguments.extend(units.iter().map(UnitName::as_str));
        inside::quiet(root, &arguments, variables)
            .with_context(|| format!("the image {}: services to {word}", image.name))?;
    }
    for unit in &services.mask {
        equip::mask(root, unit.as_str())?;
    }
    Ok(())
}

fn run_script(
    root: &Root,
    image: &Image,
    text: &[u8],
    variables: &[(&str, &str)],
) -> anyhow::Result<()> {
    let _policy = policy::no_services(root)?;
    let _names = resolver(root)?;
    root.write(SCRIPT, text, 0o700)?;
    let mut variables = variables.to_vec();
    let name = image.name.to_string();
    variables.push(("IMAGE", &name));
    variables.push(("DEBIAN_FRONTEND", "noninteractive"));
    let result = inside::quiet(root, &[SCRIPT], &variables);
    root.remove(SCRIPT)?;
    result.with_context(|| format!("the post-script of the image {name}"))
}
