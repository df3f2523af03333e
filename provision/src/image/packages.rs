//! What dpkg knows of an image: packages, and how much of it each takes.

use std::collections::BTreeMap;

use super::listing::{Kind, Listing, escaped};
use super::root::Root;
use crate::store::Package;

/// Where the hook for kernels writes what it has unpacked.
pub(super) const KERNEL_PACKAGES: &str = "var/lib/regexctl/kernel-packages";

/// The installed packages, sorted by name, with the bytes that their files have in the listing. Empty where
/// there is no dpkg.
pub(super) fn installed(root: &Root, listing: &Listing) -> anyhow::Result<Vec<Package>> {
    let mut status = root.read_text("var/lib/dpkg/status")?.unwrap_or_default();
    for name in root.names("var/lib/dpkg/status.d")? {
        // Images without a shell have a file for each package.
        status.push_str("\n\n");
        status.push_str(
            &root
                .read_text(format!("var/lib/dpkg/status.d/{name}"))?
                .unwrap_or_default(),
        );
    }
    let sizes = listing.sizes();
    let links = links(listing);
    let mut packages = Vec::new();
    for paragraph in status.split("\n\n") {
        let field = |name: &str| {
            paragraph
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else {
            continue;
        };
        if field("Status").is_some_and(|status| !status.ends_with(" installed")) {
            continue;
        }
        let architecture = field("Architecture").unwrap_or("all");
        let mut size = 0;
        for list in [
            format!("{name}.list"),
            format!("{name}:{architecture}.list"),
        ] {
            let files = root.read_text(format!("var/lib/dpkg/info/{list}"))?;
            for file in files.unwrap_or_default().lines() {
                size += sizes.get(&*merged(file, &links)).copied().unwrap_or(0);
            }
        }
        packages.push(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            size,
        });
    }
    packages.extend(kernels(root, listing)?);
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(packages)
}

/// The kernel's packages, which are unpacked and not installed.
fn kernels(root: &Root, listing: &Listing) -> anyhow::Result<Vec<Package>> {
    let list = root.read_text(KERNEL_PACKAGES)?.unwrap_or_default();
    let mut packages: Vec<Package> = list
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, version)| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            size: 0,
        })
        .collect();
    let modules = listing.entries.iter().filter(|entry| {
        entry.path.starts_with("usr/lib/modules/") || entry.path.starts_with("lib/modules/")
    });
    // Which of them a module is of does not show; that it is of a kernel does.
    let size = modules.map(|entry| entry.size).sum();
    if let Some(package) = packages.iter_mut().max_by_key(|package| package.name.len()) {
        package.size = size;
    }
    Ok(packages)
}

/// Top-level links such as `bin` -> `usr/bin`.
fn links(listing: &Listing) -> BTreeMap<&str, &str> {
    let entries = listing.entries.iter();
    entries
        .filter(|entry| !entry.path.contains('/'))
        .filter_map(|entry| match &entry.kind {
            Kind::Link(target) => Some((&*entry.path, target.trim_start_matches('/'))),
            _ => None,
        })
        .collect()
}

/// The path of a package's file as the listing has it: `/bin/sh` is `usr/bin/sh` in a merged root.
fn merged(file: &str, links: &BTreeMap<&str, &str>) -> String {
    let file = escaped(file.trim_start_matches('/').as_ref());
    match file.split_once('/') {
        Some((top, rest)) if links.contains_key(top) => format!("{}/{rest}", links[top]),
        _ => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_told_with_what_they_take() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::new(directory.path());
        root.write("usr/bin/sh", "12345", 0o755).expect("a file");
        root.link("bin", "usr/bin").expect("a link");
        root.write("usr/lib/modules/6.1/kernel/a.ko", "1234567", 0o644)
            .expect("a file");
        root.write(
            KERNEL_PACKAGES,
            "linux-image-6.1.0-1-amd64 6.1-1\nlinux-image-amd64 6.1-1\n",
            0o644,
        )
        .expect("a file");
        root.write(
            "var/lib/dpkg/status",
            "Package: dash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:0.5\n\n\
             Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
             Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36\nDescription: C\n more\n",
            0o644,
        )
        .expect("a file");
        root.write("var/lib/dpkg/info/dash.list", "/.\n/bin\n/bin/sh\n", 0o644)
            .expect("a file");
        root.write("var/lib/dpkg/info/libc6:amd64.list", "/missing\n", 0o644)
            .expect("a file");
        let listing = Listing::of(root.path(), "").expect("it can be listed");
        let told: Vec<String> = installed(&root, &listing)
            .expect("it can be read")
            .iter()
            .map(|package| format!("{} {} {}", package.name, package.version, package.size))
            .collect();
        assert_eq!(
            told,
            [
                "dash 1:0.5 5",
                "libc6 2.36 0",
                "linux-image-6.1.0-1-amd64 6.1-1 7",
                "linux-image-amd64 6.1-1 0"
            ]
        );
    }
}
