//! The regex-worker that is put into images: which one, and whether it can run there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use object::read::elf::ElfFile64;
use object::{Architecture, Endianness, Object, ObjectSection};
use serde::{Deserialize, Serialize};

use super::listing::Listing;
use super::root::Root;
use super::run::{dying_with_us, output};
use crate::store::{self, Digest};

/// The name of the program.
const NAME: &str = "regex-worker";

/// The largest program that is taken.
const MAX_PROGRAM_BYTES: u64 = 512 << 20;

/// A version of the C library, such as 2.36.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Glibc(u32, u32);

impl std::fmt::Display for Glibc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A regex-worker, its bytes held, so that they are what was looked at.
pub(super) struct Program {
    pub(super) bytes: Vec<u8>,
    /// What the manifest says of it.
    pub(super) told: store::Worker,
    path: PathBuf,
    needs: Needs,
}

/// What a program needs of the system that it runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    glibc: Option<Glibc>,
    libraries: BTreeSet<String>,
}

/// What an image has for programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Has {
    glibc: Option<Glibc>,
    libraries: BTreeSet<String>,
}

impl Program {
    /// The program at this path, or the one beside this program.
    pub(super) fn find(path: Option<&Path>) -> anyhow::Result<Self> {
        let path = match path {
            // A name without a slash would be looked for elsewhere when it is run.
            Some(path) => std::path::absolute(path)
                .with_context(|| format!("cannot find {}", path.display()))?,
            None => beside_this_program()?,
        };
        let failed = || format!("cannot read {}", path.display());
        let metadata = fs::metadata(&path).with_context(failed)?;
        if !metadata.is_file() || metadata.len() > MAX_PROGRAM_BYTES {
            bail!(
                "{} is no file, or larger than {MAX_PROGRAM_BYTES} bytes",
                path.display()
            );
        }
        let bytes = fs::read(&path).with_context(failed)?;
        let needs = Needs::of(&bytes)
            .with_context(|| format!("{} is no program for x86-64", path.display()))?;
        Ok(Self {
            told: store::Worker {
                version: version(&path)?,
                sha256: Digest::of(&bytes),
                size: bytes.len() as u64,
            },
            bytes,
            path,
            needs,
        })
    }

    /// Fails, with what to do, if an image does not have what the program needs.
    pub(super) fn fits(&self, has: &Has) -> anyhow::Result<()> {
        let path = self.path.display();
        if let Some(needed) = self.needs.glibc {
            match has.glibc {
                None => bail!(
                    "{path} needs the C library, glibc {needed}, which the image does not have; build a static one with `cargo \
                     build --release --target x86_64-unknown-linux-musl` and name it by --worker"
                ),
                Some(glibc) if glibc < needed => bail!(
                    "{path} needs glibc {needed}, the image has {glibc}; build regex-worker on a system as old as the image, or a \
                     static one with `cargo build --release --target x86_64-unknown-linux-musl`, and name it by --worker; or take a newer \
                     suite for the image"
                ),
                Some(_) => {}
            }
        }
        let missing: Vec<&str> = self
            .needs
            .libraries
            .difference(&has.libraries)
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            bail!(
                "{path} needs {}, which the image does not have; add the packages that have them",
                missing.join(", ")
            );
        }
        Ok(())
    }
}

impl Needs {
    /// What is needed by these bytes; none if they are no program.
    fn of(program: &[u8]) -> Option<Self> {
        let file = ElfFile64::<Endianness>::parse(program).ok()?;
        if file.architecture() != Architecture::X86_64 {
            return None;
        }
        let mut needs = Self::default();
        let Some(strings) = file.section_by_name(".dynstr") else {
            // It is static.
            return Some(needs);
        };
        // Names of libraries, versions and symbols: what is none of the first two is not looked at.
        for text in strings.data().ok()?.split(|&byte| byte == 0) {
            let Ok(text) = str::from_utf8(text) else {
                continue;
            };
            needs.glibc = needs.glibc.max(glibc_version(text));
            if is_library(text) {
                needs.libraries.insert(text.to_owned());
            }
        }
        Some(needs)
    }
}

impl Has {
    /// What a root has.
    pub(super) fn of(root: &Root, listing: &Listing) -> anyhow::Result<Self> {
        let mut has = Self::default();
        for entry in &listing.entries {
            let Some((directory, name)) = entry.path.rsplit_once('/') else {
                continue;
            };
            let is_library_directory = ["lib", "lib64", "usr/lib", "usr/lib64"]
                .iter()
                .any(|top| directory == *top || is_multiarch(directory, top));
            if is_library_directory && is_library(name) {
                if name == "libc.so.6" {
                    has.glibc = has.glibc.max(glibc_of(root, &entry.path)?);
                }
                has.libraries.insert(name.to_owned());
            }
        }
        Ok(has)
    }
}

/// `usr/lib/x86_64-linux-gnu` below `usr/lib`.
fn is_multiarch(directory: &str, top: &str) -> bool {
    directory
        .strip_prefix(top)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|rest| rest == "x86_64-linux-gnu")
}

/// The newest version that the C library says it is.
fn glibc_of(root: &Root, path: &str) -> anyhow::Result<Option<Glibc>> {
    let Some(library) = root.read(path)? else {
        return Ok(None);
    };
    let Ok(file) = ElfFile64::<Endianness>::parse(&*library) else {
        return Ok(None);
    };
    let strings = file.section_by_name(".dynstr");
    let strings = strings
        .and_then(|section| section.data().ok())
        .unwrap_or_default();
    let versions = strings
        .split(|&byte| byte == 0)
        .filter_map(|text| glibc_version(str::from_utf8(text).ok()?));
    Ok(versions.max())
}

/// `GLIBC_2.36` or `GLIBC_2.2.5`.
fn glibc_version(text: &str) -> Option<Glibc> {
    let (major, rest) = text.strip_prefix("GLIBC_")?.split_once('.')?;
    let minor = rest.split('.').next()?;
    Some(Glibc(major.parse().ok()?, minor.parse().ok()?))
}

/// `libm.so.6`, but not `libm.so`, which only a compiler needs.
fn is_library(text: &str) -> bool {
    text.split_once(".so.").is_some_and(|(name, version)| {
        !name.is_empty()
            && !name.contains('/')
            && version
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

fn beside_this_program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let path = program.with_file_name(NAME);
    if !path.exists() {
        bail!(
            "there is no {}; name the regex-worker for the image by --worker, or write `worker = false` for the image",
            path.display()
        );
    }
    Ok(path)
}

/// What it says its version is. A program that does not run on the master may still run in the image.
fn version(path: &Path) -> anyhow::Result<String> {
    let mut command = dying_with_us()?;
    command.arg(path).arg("--version");
    let Ok(printed) = output(&mut command, NAME, Stdio::null()) else {
        return Ok("unknown".to_owned());
    };
    let printed = String::from_utf8_lossy(&printed);
    match printed.trim().split_once(' ') {
        Some((NAME, version)) if version.len() <= 100 => Ok(version.to_owned()),
        _ => bail!(
            "{} says that it is {:?}, which is no regex-worker; name one by --worker",
            path.display(),
            printed.trim().chars().take(60).collect::<String>()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(glibc_version("GLIBC_2.36"), Some(Glibc(2, 36)));
        assert_eq!(glibc_version("GLIBC_2.2.5"), Some(Glibc(2, 2)));
        assert_eq!(glibc_version("GLIBC_PRIVATE"), None);
        assert!(Glibc(2, 4) < Glibc(2, 36));
    }

    #[test]
    fn libraries_are_told_by_their_names() {
        for name in [
            "libc.so.6",
            "libgcc_s.so.1",
            "ld-linux-x86-64.so.2",
            "libstdc++.so.6.0.30",
        ] {
            assert!(is_library(name), "{name}");
        }
        for name in [
            "libc.so",
            "GLIBC_2.36",
            "pthread_create",
            "/lib/libc.so.6",
            ".so.1",
        ] {
            assert!(!is_library(name), "{name}");
        }
    }

    #[test]
    fn a_program_tells_what_it_needs() {
        let this = std::env::current_exe().expect("this test");
        let needs = Needs::of(&fs::read(this).expect("it can be read")).expect("it is a program");
        assert!(needs.glibc > Some(Glibc(2, 2)), "{needs:?}");
        assert!(needs.libraries.contains("libc.so.6"), "{needs:?}");
        assert_eq!(Needs::of(b"#!/bin/sh"), None);
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let mut program = Program {
            bytes: Vec::new(),
            told: store::Worker {
                version: "1".into(),
                sha256: Digest::of(b""),
                size: 0,
            },
            path: "/w".into(),
            needs: Needs {
                glibc: Some(Glibc(2, 38)),
                libraries: ["libc.so.6".to_owned()].into(),
            },
        };
        let mut has = Has {
            glibc: Some(Glibc(2, 36)),
            libraries: BTreeSet::new(),
        };
        let error = program.fits(&has).expect_err("2.36 < 2.38").to_string();
        assert!(
            error.starts_with("/w needs glibc 2.38, the image has 2.36"),
            "{error}"
        );
        program.needs.glibc = Some(Glibc(2, 36));
        let error = program.fits(&has).expect_err("no libraries").to_string();
        assert!(error.starts_with("/w needs libc.so.6, which"), "{error}");
        has.libraries.insert("libc.so.6".into());
        program.fits(&has).expect("all is there");
        has.glibc = None;
        let error = program.fits(&has).expect_err("no glibc").to_string();
        assert!(error.contains("musl"), "{error}");
    }
}
