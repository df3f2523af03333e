//! The kernel of an image: which one it is, and its file.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::root::Root;
use super::tree::{self, Filter};

/// A kernel in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    /// The directory in lib/modules.
    pub(super) release: String,
    /// Its file on the master.
    pub(super) file: PathBuf,
}

/// The newest kernel in /boot of the image that has modules.
pub(super) fn newest(root: &Root) -> anyhow::Result<Kernel> {
    let mut releases: Vec<String> = root
        .names("boot")?
        .iter()
        .filter_map(|name| name.strip_prefix("vmlinuz-"))
        .map(str::to_owned)
        .collect();
    if releases.is_empty() {
        bail!(
            "the image has no kernel: there is no /boot/vmlinuz-* in it; name a package or files under `kernel`, or put \
             a kernel into the source"
        );
    }
    releases.sort_by(|a, b| compare(a, b));
    let with_modules = releases.iter().rev().find(|release| {
        [
            format!("usr/lib/modules/{release}"),
            format!("lib/modules/{release}"),
        ]
        .iter()
        .any(|directory| root.exists(directory))
    });
    match with_modules {
        Some(release) => Ok(Kernel {
            file: root.resolve(format!("boot/vmlinuz-{release}"))?,
            release: release.clone(),
        }),
        None => bail!(
            "the image has no modules of a kernel that it has in /boot ({})",
            releases.join(", ")
        ),
    }
}

/// Puts a kernel and its modules of the master into the image, instead of what it has.
pub(super) fn take(root: &Root, kernel: &Path, modules: &Path) -> anyhow::Result<Kernel> {
    let release = modules
        .file_name()
        .and_then(|name| name.to_str())
        .context("the directory of the modules has no name")?
        .to_owned();
    let version =
        fs::metadata(modules).with_context(|| format!("cannot read {}", modules.display()))?;
    if !version.is_dir() {
        bail!("{} is no directory of modules", modules.display());
    }
    let above = if root.exists("usr/lib/modules") || !root.exists("lib") {
        "usr/lib/modules"
    } else {
        "lib/modules"
    };
    root.remove(format!("{above}/{release}"))?;
    root.directory(above)?;
    let place = root.resolve(format!("{above}/{release}"))?;
    let nothing = Filter::new::<&str>(&[])?;
    tree::copy(modules, &place, Path::new("/"), &nothing)?;
    // The links to the sources lead nowhere in an image.
    for link in ["build", "source"] {
        root.remove(format!("{above}/{release}/{link}"))?;
    }
    root.empty("boot")?;
    root.directory("boot")?;
    let name = format!("boot/vmlinuz-{release}");
    tree::copy_file(kernel, &root.resolve(&name)?, 0o644)?;
    newest(root)
}

/// Compares releases as people do: runs of digits are numbers.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (runs(a), runs(b));
    for (a, b) in a.iter().zip(&b) {
        let ordering = match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            // A release candidate comes before its release.
            (Err(_), Ok(_)) => Ordering::Less,
            (Ok(_), Err(_)) => Ordering::Greater,
            (Err(_), Err(_)) => a.cmp(b),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    a.len().cmp(&b.len())
}

/// The runs of digits and of letters.
fn runs(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .flat_map(|word| {
            let cut = word
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(word.len());
            let (digits, letters) = word.split_at(cut);
            [digits, letters]
        })
        .filter(|run| !run.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_with_modules_is_taken() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::new(directory.path());
        root.directory("boot").expect("a directory");
        let error = newest(&root).expect_err("there is none").to_string();
        assert!(error.starts_with("the image has no kernel"), "{error}");
        for release in ["6.1.0-9-amd64", "6.1.0-37-amd64", "6.10.1", "6.9.12"] {
            root.write(format!("boot/vmlinuz-{release}"), release, 0o644)
                .expect("a file");
        }
        let error = newest(&root).expect_err("there are no modules").to_string();
        assert!(error.contains("no modules of a kernel"), "{error}");
        for release in ["6.1.0-9-amd64", "6.1.0-37-amd64", "6.9.12", "7.0"] {
            root.directory(format!("usr/lib/modules/{release}"))
                .expect("a directory");
        }
        assert_eq!(newest(&root).expect("there is one").release, "6.9.12");
    }

    #[test]
    fn releases_are_ordered_as_people_do() {
        let ordered = [
            "5.10.0-9-amd64",
            "6.1.0-9-amd64",
            "6.1.0-37-amd64",
            "6.1.0-37-cloud-amd64",
            "6.10",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("6.1", "6.1"), Ordering::Equal);
    }
}
