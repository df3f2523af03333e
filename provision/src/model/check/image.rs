//! Images: keys that belong together, and things that occur once.

use std::collections::HashMap;

use super::{only, required};
use crate::model::decode::{At, Field};
use crate::model::image::{
    Debootstrap, FileContent, Image, ImageFile, ImageSource, ImageUser, Initramfs, KernelSource,
    Pack, Services, WritableSize,
};
use crate::model::name::quoted;
use crate::model::problem::{Reporter, Span};
use crate::model::raw::{
    KERNEL_PACKAGE, LOCALE, MASTER_INCLUDE, PACK_LEVEL, RawFileEntry, RawImage, RawInitramfs,
    RawKernel, RawServices, RawSource, RawUser, SourceKind,
};
use crate::model::{AbsPath, ImageName, UnitName};

/// How much memory the writable layer may take where nothing is said.
const WRITABLE: WritableSize = WritableSize::Percent(50);

pub(super) fn check(
    name: &At<ImageName>,
    raw: &At<RawImage>,
    report: &mut Reporter,
) -> Option<Image> {
    let section = format!("image {}", name.value);
    let raw = &raw.value;
    if let Field::Absent = raw.source {
        report.error(
            name.span.clone(),
            format!("{section}: `source` is missing"),
            "add one, such as source = { kind = \"debootstrap\", suite = \"bookworm\" }",
        );
    }
    let source = raw.source.at().and_then(|at| source(&section, at, report));
    let kernel = kernel(&section, raw.kernel.at(), source.as_ref(), report);
    let remove = &raw.remove;
    for at in remove.items() {
        if raw.packages.items().iter().any(|p| p.value == at.value) {
            report.error(
                at.span.clone(),
                format!(
                    "{section}: the package {} is installed and removed",
                    at.value
                ),
                "leave it in one of the two lists",
            );
        }
    }
    Some(Image {
        name: name.value.clone(),
        packages: raw.packages.values(),
        remove: remove.values(),
        files: files(&section, raw.file.items(), report),
        users: users(&section, raw.user.items(), report),
        ssh_keys: raw.ssh_keys.values(),
        services: services(&section, raw.services.given(), report),
        post_script: raw.post_script.given().cloned(),
        kernel: kernel?,
        kernel_args: raw.kernel_args.values(),
        initramfs: initramfs(&section, raw.initramfs.given(), report),
        pack: Pack {
            format: raw.format.unwrap_or_default(),
            level: level(raw),
        },
        worker: raw.worker.unwrap_or(true),
        strip_docs: raw.strip_docs.unwrap_or(true),
        trim_modules: raw.trim_modules.unwrap_or(true),
        locale: raw
            .locale
            .given()
            .cloned()
            .or_else(|| LOCALE.parse().ok())?,
        writable: raw.writable.unwrap_or(WRITABLE),
        max_size: raw.max_size.given().copied(),
        source: source?,
    })
}

fn level(raw: &RawImage) -> u8 {
    let level = raw.level.given().map(|level| level.0);
    // The bounds of the number are those of zstd, 1 to 22.
    level
        .and_then(|level| u8::try_from(level).ok())
        .unwrap_or(PACK_LEVEL)
}

fn source(section: &str, at: &At<RawSource>, report: &mut Reporter) -> Option<ImageSource> {
    let At { value: raw, span } = at;
    let section = format!("{section}: source");
    let kind = required(&raw.kind, &section, "kind", span, report)?;
    let allowed: &[&str] = match kind {
        SourceKind::Debootstrap => &[
            "kind",
            "suite",
            "mirrors",
            "components",
            "keyring",
            "variant",
        ],
        SourceKind::Directory => &["kind", "path", "exclude"],
        SourceKind::Tar => &["kind", "path"],
        SourceKind::Oci => &["kind", "path", "reference"],
        SourceKind::Master => &["kind", "include", "exclude"],
    };
    let keys = [
        ("suite", raw.suite.span()),
        ("mirrors", raw.mirrors.span()),
        ("components", raw.components.span()),
        ("keyring", raw.keyring.span()),
        ("variant", raw.variant.span()),
        ("path", raw.path.span()),
        ("reference", raw.reference.span()),
        ("include", raw.include.span()),
        ("exclude", raw.exclude.span()),
    ];
    only(
        &section,
        &format!("kind = \"{kind}\""),
        &keys,
        allowed,
        report,
    );
    for at in raw.exclude.items() {
        plain_text(&section, "a pattern", at, report);
    }
    if let Some(at) = raw.reference.at() {
        plain_text(&section, "a reference", at, report);
    }
    for (key, field) in [
        ("components", raw.components.given().map(Vec::is_empty)),
        ("include", raw.include.given().map(Vec::is_empty)),
    ] {
        if field == Some(true) {
            let what = format!("{section}: `{key}` is empty");
            report.error(span.clone(), what, "leave it out, or put something into it");
        }
    }
    let path = |report: &mut Reporter| required(&raw.path, &section, "path", span, report);
    Some(match kind {
        SourceKind::Debootstrap => ImageSource::Debootstrap(Debootstrap {
            suite: required(&raw.suite, &section, "suite", span, report)?,
            mirrors: raw.mirrors.values(),
            components: match raw.components.given() {
                Some(_) => raw.components.values(),
                None => vec!["main".parse().ok()?],
            },
            keyring: raw.keyring.given().cloned(),
            variant: raw.variant.unwrap_or_default(),
        }),
        SourceKind::Directory => ImageSource::Directory {
            path: path(report)?,
            exclude: raw.exclude.values(),
        },
        SourceKind::Tar => ImageSource::Tar {
            path: path(report)?,
        },
        SourceKind::Oci => ImageSource::Oci {
            path: path(report)?,
            reference: raw.reference.given().cloned(),
        },
        SourceKind::Master => ImageSource::Master {
            include: match raw.include.given() {
                Some(_) => raw.include.values(),
                None => MASTER_INCLUDE
                    .iter()
                    .filter_map(|p| p.parse().ok())
                    .collect(),
            },
            exclude: raw.exclude.values(),
        },
    })
}

/// A text of one line, with something in it.
fn plain_text(section: &str, what: &str, at: &At<String>, report: &mut Reporter) {
    if at.value.is_empty() || at.value.chars().any(char::is_control) {
        let what = format!("{section}: {} is not {what}", quoted(&at.value));
        report.error(at.span.clone(), what, "write one line with something in it");
    }
}

fn kernel(
    section: &str,
    raw: Option<&At<RawKernel>>,
    source: Option<&ImageSource>,
    report: &mut Reporter,
) -> Option<KernelSource> {
    let section = format!("{section}: kernel");
    let empty = At {
        value: RawKernel::default(),
        span: 0..0,
    };
    let At { value: raw, span } = raw.unwrap_or(&empty);
    let file = [&raw.file, &raw.modules].into_iter().find_map(Field::span);
    if let (Some(_), Some(at)) = (file, raw.package.span()) {
        report.error(
            at,
            format!("{section}: both a package and files are given"),
            "leave one of them out",
        );
        return None;
    }
    match (&raw.file, &raw.modules) {
        (Field::Absent, Field::Absent) => {}
        (Field::Lost, _) | (_, Field::Lost) => return None,
        (file, modules) => {
            return Some(KernelSource::Files {
                kernel: required(file, &section, "file", span, report)?,
                modules: required(modules, &section, "modules", span, report)?,
            });
        }
    }
    match (&raw.package, source) {
        (Field::Given(at), _) => Some(KernelSource::Package(at.value.clone())),
        (Field::Invalid(_) | Field::Lost, _) => None,
        (Field::Absent, Some(ImageSource::Debootstrap(_)) | None) => {
            KERNEL_PACKAGE.parse().ok().map(KernelSource::Package)
        }
        (Field::Absent, Some(_)) => Some(KernelSource::Source),
    }
}

fn files(section: &str, raw: &[At<RawFileEntry>], report: &mut Reporter) -> Vec<ImageFile> {
    let mut seen: HashMap<AbsPath, Span> = HashMap::new();
    let mut files = Vec::new();
    for at in raw {
        let section = match at.value.path.given() {
            Some(path) => format!("{section}: file {path}"),
            None => format!("{section}: file"),
        };
        let file = file(&section, at, report);
        if let Some(path) = at.value.path.at() {
            if let Some(first) = seen.get(&path.value) {
                report.error_with(
                    path.span.clone(),
                    format!("{section}: it is there twice"),
                    "remove one of the two",
                    (first.clone(), "the first one"),
                );
            } else {
                seen.insert(path.value.clone(), path.span.clone());
            }
        }
        files.extend(file);
    }
    files
}

fn file(section: &str, at: &At<RawFileEntry>, report: &mut Reporter) -> Option<ImageFile> {
    let At { value: raw, span } = at;
    let path = required(&raw.path, section, "path", span, report);
    if path.as_ref().is_some_and(|path| path.as_str() == "/") {
        let what = format!("{section}: the root itself is no file");
        report.error(span.clone(), what, "write a path below it");
    }
    let given = [
        raw.text.span(),
        raw.copy.span(),
        raw.link.span(),
        raw.directory.span(),
    ];
    let given = given.iter().flatten().count();
    if given != 1 || raw.directory.given() == Some(&false) {
        let what =
            format!("{section}: {given} of `text`, `copy`, `link` and `directory` are there");
        let fix = "write exactly one; directory = true makes an empty directory";
        report.error(span.clone(), what, fix);
        return None;
    }
    let (content, mode) = match raw {
        RawFileEntry {
            text: Field::Given(at),
            ..
        } => (FileContent::Text(at.value.clone()), 0o644),
        RawFileEntry {
            copy: Field::Given(at),
            ..
        } => (FileContent::Copy(at.value.clone()), 0o644),
        RawFileEntry {
            link: Field::Given(at),
            ..
        } => {
            plain_text(section, "a target", at, report);
            if let Some(span) = raw.mode.span() {
                let what = format!("{section}: a link has no `mode`");
                report.error(span, what, "remove it");
            }
            (FileContent::Link(at.value.clone()), 0o777)
        }
        RawFileEntry {
            directory: Field::Given(_),
            ..
        } => (FileContent::Directory, 0o755),
        _ => return None,
    };
    Some(ImageFile {
        path: path?,
        content,
        mode: raw.mode.given().map_or(mode, |mode| mode.0),
        owner: raw.owner.given().cloned().or_else(|| "root".parse().ok())?,
        group: raw.group.given().cloned().or_else(|| "root".parse().ok())?,
    })
}

fn users(section: &str, raw: &[At<RawUser>], report: &mut Reporter) -> Vec<ImageUser> {
    let mut names = HashMap::new();
    let mut numbers = HashMap::new();
    let mut users = Vec::new();
    for at in raw {
        let user = user(section, at, report);
        if let Some(name) = at.value.name.at() {
            once(
                section,
                "the user",
                &name.value,
                &name.span,
                &mut names,
                report,
            );
        }
        if let Some(uid) = at.value.uid.at() {
            once(
                section,
                "the number",
                &uid.value.0,
                &uid.span,
                &mut numbers,
                report,
            );
        }
        users.extend(user);
    }
    users
}

/// Reports a value that was there before.
fn once<T: Clone + Eq + std::hash::Hash + ToString>(
    section: &str,
    what: &str,
    value: &T,
    span: &Span,
    seen: &mut HashMap<T, Span>,
    report: &mut Reporter,
) {
    if let Some(first) = seen.get(value) {
        report.error_with(
            span.clone(),
            format!("{section}: {what} {} is there twice", value.to_string()),
            "each may occur once",
            (first.clone(), "the first one"),
        );
    } else {
        seen.insert(value.clone(), span.clone());
    }
}

fn user(section: &str, at: &At<RawUser>, report: &mut Reporter) -> Option<ImageUser> {
    let At { value: raw, span } = at;
    let name = required(&raw.name, &format!("{section}: user"), "name", span, report);
    let section = match &name {
        Some(name) => format!("{section}: user {name}"),
        None => format!("{section}: user"),
    };
    if name.as_ref().is_some_and(|name| name.as_str() == "root") {
        let keys = [
            ("uid", raw.uid.span()),
            ("groups", raw.groups.span()),
            ("home", raw.home.span()),
        ];
        only(
            &section,
            "root",
            &keys,
            &["name", "shell", "ssh-keys", "password-hash"],
            report,
        );
    }
    if let Some(hash) = raw.password_hash.at() {
        let is_hash = hash.value.starts_with('$')
            && hash.value.len() <= 512
            && hash
                .value
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b':');
        if is_hash {
            report.warning(
                hash.span.clone(),
                format!("{section}: whoever can fetch the image can read this hash"),
                "log in by `ssh-keys` instead",
            );
        } else {
            // The text is not repeated: it may be a password.
            report.error(
                hash.span.clone(),
                format!("{section}: `password-hash` is not what crypt(3) writes"),
                "make one with `openssl passwd -6`, never write the password itself",
            );
        }
    }
    Some(ImageUser {
        name: name?,
        uid: raw.uid.given().map(|uid| uid.0),
        groups: raw.groups.values(),
        home: raw.home.given().cloned(),
        shell: raw.shell.given().cloned(),
        ssh_keys: raw.ssh_keys.values(),
        password_hash: raw.password_hash.given().cloned(),
    })
}

fn services(section: &str, raw: Option<&RawServices>, report: &mut Reporter) -> Services {
    let empty = RawServices::default();
    let raw = raw.unwrap_or(&empty);
    let mut seen: HashMap<UnitName, Span> = HashMap::new();
    for at in [&raw.enable, &raw.disable, &raw.mask]
        .into_iter()
        .flat_map(Field::items)
    {
        once(section, "the unit", &at.value, &at.span, &mut seen, report);
    }
    Services {
        enable: raw.enable.values(),
        disable: raw.disable.values(),
        mask: raw.mask.values(),
    }
}

fn initramfs(section: &str, raw: Option<&RawInitramfs>, report: &mut Reporter) -> Initramfs {
    let empty = RawInitramfs::default();
    let raw = raw.unwrap_or(&empty);
    for at in raw.firmware.items() {
        // What is a clean path with a slash in front is one without.
        if format!("/{}", at.value).parse::<AbsPath>().is_err() || at.value.ends_with('/') {
            report.error(
                at.span.clone(),
                format!("{section}: {} is no firmware file", quoted(&at.value)),
                "write its path relative to /lib/firmware, such as bnx2/bnx2-mips-09-6.2.1b.fw",
            );
        }
    }
    Initramfs {
        modules: raw.modules.values(),
        exclude: raw.exclude.values(),
        firmware: raw.firmware.values(),
    }
}
