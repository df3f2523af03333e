//! What a section of nodes boots: its own settings over those of its profiles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{names, unknown};
use crate::model::decode::{At, Field};
use crate::model::problem::{Reporter, Span};
use crate::model::raw::{RawBmc, RawFile, RawNode, RawSettings, RawWorker};
use crate::model::{
    AbsPath, Export, ExportName, Image, ImageName, KernelArg, ProfileName, Settings, Tag, Worker,
};
use crate::nodeset::RESERVED_TAGS;

/// The profile that applies to every node first.
const DEFAULT_PROFILE: &str = "default";

/// Everything that settings refer to.
pub(super) struct Scope<'r> {
    profiles: Vec<&'r (At<ProfileName>, At<RawSettings>)>,
    by_name: HashMap<&'r str, usize>,
    image_names: Vec<&'r ImageName>,
    export_names: Vec<&'r ExportName>,
    images: &'r BTreeMap<ImageName, Image>,
    exports: &'r BTreeMap<ExportName, Export>,
    used: BTreeSet<usize>,
    /// The settings of sections that say nothing themselves, by their profiles.
    shared: HashMap<Vec<usize>, Option<Resolved>>,
}

/// The settings of a section, and the switch of its nodes before each is given its own.
#[derive(Clone)]
pub(super) struct Resolved {
    pub(super) settings: Arc<Settings>,
    pub(super) bmc: Option<Arc<At<RawBmc>>>,
}

impl<'r> Scope<'r> {
    /// Looks at the profiles. Their references are checked here, once.
    pub(super) fn new(
        raw: &'r RawFile,
        images: &'r BTreeMap<ImageName, Image>,
        exports: &'r BTreeMap<ExportName, Export>,
        report: &mut Reporter,
    ) -> Self {
        let profiles: Vec<_> = raw
            .profile
            .given()
            .map_or(&[][..], |named| &named.0)
            .iter()
            .collect();
        let by_name = profiles.iter().enumerate();
        let by_name = by_name
            .map(|(at, (name, _))| (name.value.as_str(), at))
            .collect();
        let scope = Self {
            by_name,
            image_names: names(&raw.image).collect(),
            export_names: names(&raw.export).collect(),
            images,
            exports,
            used: BTreeSet::new(),
            shared: HashMap::new(),
            profiles,
        };
        for (name, settings) in &scope.profiles {
            let section = format!("profile {}", name.value);
            scope.references(&section, &settings.value, report);
        }
        scope
    }

    /// What settings name is there.
    fn references(&self, section: &str, raw: &RawSettings, report: &mut Reporter) {
        if let Some(at) = raw.image.at()
            && !self.image_names.contains(&&at.value)
        {
            let known = self.image_names.iter().map(|name| name.as_str());
            let (what, fix) = unknown("image", at.value.as_str(), known);
            report.missing(at.span.clone(), format!("{section}: {what}"), fix);
        }
        for at in raw.exports.items() {
            if !self.export_names.contains(&&at.value) {
                let known = self.export_names.iter().map(|name| name.as_str());
                let (what, fix) = unknown("export", at.value.as_str(), known);
                report.missing(at.span.clone(), format!("{section}: {what}"), fix);
            }
        }
        for at in raw.tags.items() {
            if RESERVED_TAGS.contains(&at.value.as_str()) {
                let what = format!("{section}: @{} has a meaning already", at.value);
                report.error(at.span.clone(), what, "choose another tag");
            }
        }
    }

    /// The settings of a section. None if that was reported.
    pub(super) fn resolve(
        &mut self,
        section: &At<RawNode>,
        label: &str,
        report: &mut Reporter,
    ) -> Option<Resolved> {
        let own = &section.value.settings;
        self.references(label, own, report);
        let profiles = self.profiles_of(&section.value, label, report)?;
        self.used.extend(&profiles);
        if !own.is_empty() {
            return self.layered(&profiles, Some(own), section, label, report);
        }
        if let Some(resolved) = self.shared.get(&profiles) {
            if resolved.is_none() {
                // Not the profiles are wrong, but that nothing was added to them.
                return self.layered(&profiles, None, section, label, report);
            }
            return resolved.clone();
        }
        let resolved = self.layered(&profiles, None, section, label, report);
        self.shared.insert(profiles, resolved.clone());
        resolved
    }

    /// The profiles of a section, in the order in which they are laid over one another.
    fn profiles_of(&self, raw: &RawNode, label: &str, report: &mut Reporter) -> Option<Vec<usize>> {
        let mut list: Vec<usize> = self
            .by_name
            .get(DEFAULT_PROFILE)
            .copied()
            .into_iter()
            .collect();
        let named = match &raw.profile {
            Field::Absent => return Some(list),
            Field::Invalid(_) | Field::Lost => return None,
            Field::Given(at) => &at.value.items,
        };
        let mut is_known = true;
        for at in named {
            if let Some(&profile) = self.by_name.get(at.value.as_str()) {
                // Named again, it goes before what it went before already.
                list.retain(|&other| other != profile);
                list.push(profile);
            } else {
                let known = self.profiles.iter().map(|(name, _)| name.value.as_str());
                let (what, fix) = unknown("profile", at.value.as_str(), known);
                report.missing(at.span.clone(), format!("{label}: {what}"), fix);
                is_known = false;
            }
        }
        is_known.then_some(list)
    }

    /// Lays the settings over one another, and completes them.
    fn layered(
        &self,
        profiles: &[usize],
        own: Option<&RawSettings>,
        section: &At<RawNode>,
        label: &str,
        report: &mut Reporter,
    ) -> Option<Resolved> {
        let layers = profiles
            .iter()
            .map(|&at| &self.profiles[at].1.value)
            .chain(own);
        let raw = layers.fold(RawSettings::default(), RawSettings::under);
        let image = match &raw.image {
            Field::Given(at) => at.value.clone(),
            Field::Invalid(_) | Field::Lost => return None,
            Field::Absent => {
                report.missing(
                    section.span.clone(),
                    format!("{label}: no image"),
                    "set `image` here or in a profile",
                );
                return None;
            }
        };
        let exports: BTreeSet<_> = if raw.exports.is_absent() {
            self.exports.keys().cloned().collect()
        } else {
            raw.exports.values().into_iter().collect()
        };
        self.mounts(&exports, &section.span, label, report);
        let mut kernel_args: Vec<KernelArg> = Vec::new();
        kernel_args.extend(
            self.images
                .get(&image)
                .into_iter()
                .flat_map(|i| i.kernel_args.clone()),
        );
        kernel_args.extend(raw.kernel_args.values());
        let tags: BTreeSet<Tag> = raw.tags.values().into_iter().collect();
        let consoles = raw.console.given().map_or(&[][..], |list| &list.items);
        let worker = self.worker(raw.worker.given(), &exports, &section.span, label, report);
        let settings = Settings {
            profiles: profiles
                .iter()
                .map(|&at| self.profiles[at].0.value.clone())
                .collect(),
            image,
            root: raw.root.unwrap_or_default(),
            usr: raw.usr.unwrap_or_default(),
            kernel_args,
            consoles: consoles.iter().map(|at| at.value.clone()).collect(),
            loader: raw.loader.unwrap_or_default(),
            tags: tags.into_iter().collect(),
            exports: exports.into_iter().collect(),
            worker,
        };
        let bmc = raw.bmc.at().map(|at| Arc::new(at.clone()));
        Some(Resolved {
            settings: Arc::new(settings),
            bmc,
        })
    }

    /// No two exports of a node have one mount point.
    fn mounts(
        &self,
        exports: &BTreeSet<ExportName>,
        span: &Span,
        label: &str,
        report: &mut Reporter,
    ) {
        let mut seen: HashMap<&AbsPath, &ExportName> = HashMap::new();
        for export in exports.iter().filter_map(|name| self.exports.get(name)) {
            if let Some(first) = seen.insert(&export.mount, &export.name) {
                let (name, mount) = (&export.name, &export.mount);
                report.error(
                    span.clone(),
                    format!("{label}: the exports {first} and {name} are both mounted at {mount}"),
                    "give one another `mount`, or choose with `exports` here or in a profile",
                );
            }
        }
    }

    fn worker(
        &self,
        raw: Option<&RawWorker>,
        exports: &BTreeSet<ExportName>,
        span: &Span,
        label: &str,
        report: &mut Reporter,
    ) -> Option<Worker> {
        let empty = RawWorker::default();
        let raw = raw.unwrap_or(&empty);
        if !raw.enabled.unwrap_or(true) {
            return None;
        }
        let roots = if raw.roots.is_absent() {
            let exports = exports.iter().filter_map(|name| self.exports.get(name));
            exports.map(|export| export.mount.clone()).collect()
        } else {
            raw.roots.values()
        };
        // An export that is wrong was reported.
        let is_meant = exports.is_empty() && self.exports.len() == self.export_names.len();
        if roots.is_empty() && (is_meant || raw.roots.given().is_some_and(Vec::is_empty)) {
            report.warning(
                span.clone(),
                format!("{label}: no export and no worker.roots, so no regex-worker will run"),
                "add an [export.NAME], or say worker.enabled = false",
            );
        }
        if roots.is_empty() {
            return None;
        }
        Some(Worker {
            threads: raw.threads.given().map(|threads| threads.u16()),
            slots: raw.slots.given().map(|slots| slots.0),
            roots,
        })
    }

    /// A profile that no node has is perhaps a name that was misspelt.
    pub(super) fn warn_unused(&self, report: &mut Reporter) {
        for (at, (name, _)) in self.profiles.iter().enumerate() {
            if !self.used.contains(&at) && name.value.as_str() != DEFAULT_PROFILE {
                report.warning(
                    name.span.clone(),
                    format!("profile {}: no node has it", name.value),
                    "name it in `profile` of a node, or remove it",
                );
            }
        }
    }
}

/// Both lists, one behind the other.
fn appended<T: Clone>(base: &Field<Vec<At<T>>>, over: &Field<Vec<At<T>>>) -> Field<Vec<At<T>>> {
    match (base, over) {
        (Field::Given(base), Field::Given(over)) => Field::Given(At {
            value: base.value.iter().chain(&over.value).cloned().collect(),
            span: over.span.clone(),
        }),
        _ => over.or(base).clone(),
    }
}

impl RawSettings {
    /// Whether nothing is set.
    fn is_empty(&self) -> bool {
        // Every field is named, so that a new one is not forgotten.
        let Self {
            image,
            root,
            usr,
            kernel_args,
            console,
            loader,
            tags,
            exports,
            worker,
            bmc,
        } = self;
        image.is_absent()
            && root.is_absent()
            && usr.is_absent()
            && kernel_args.is_absent()
            && console.is_absent()
            && loader.is_absent()
            && tags.is_absent()
            && exports.is_absent()
            && worker.is_absent()
            && bmc.is_absent()
    }

    /// These settings with others laid over them.
    fn under(self, over: &Self) -> Self {
        let worker = match (&self.worker, &over.worker) {
            (Field::Given(base), Field::Given(over)) => Field::Given(At {
                value: base.value.under(&over.value),
                span: over.span.clone(),
            }),
            (base, over) => over.or(base).clone(),
        };
        let bmc = match (&self.bmc, &over.bmc) {
            (Field::Given(base), Field::Given(over)) => Field::Given(At {
                value: base.value.under(&over.value),
                span: over.span.clone(),
            }),
            (base, over) => over.or(base).clone(),
        };
        Self {
            image: over.image.or(&self.image).clone(),
            root: over.root.or(&self.root).clone(),
            usr: over.usr.or(&self.usr).clone(),
            kernel_args: appended(&self.kernel_args, &over.kernel_args),
            console: over.console.or(&self.console).clone(),
            loader: over.loader.or(&self.loader).clone(),
            tags: appended(&self.tags, &over.tags),
            exports: over.exports.or(&self.exports).clone(),
            worker,
            bmc,
        }
    }
}

impl RawWorker {
    fn under(&self, over: &Self) -> Self {
        Self {
            enabled: over.enabled.or(&self.enabled).clone(),
            threads: over.threads.or(&self.threads).clone(),
            slots: over.slots.or(&self.slots).clone(),
            roots: over.roots.or(&self.roots).clone(),
        }
    }
}

impl RawBmc {
    /// With others laid over it; one of another kind replaces it, for their keys differ.
    fn under(&self, over: &Self) -> Self {
        if let (Some(base), Some(kind)) = (self.kind.given(), over.kind.given())
            && base != kind
        {
            return over.clone();
        }
        Self {
            kind: over.kind.or(&self.kind).clone(),
            address: over.address.or(&self.address).clone(),
            port: over.port.or(&self.port).clone(),
            user: over.user.or(&self.user).clone(),
            credentials: over.credentials.or(&self.credentials).clone(),
            tls: over.tls.or(&self.tls).clone(),
            system: over.system.or(&self.system).clone(),
            on: over.on.or(&self.on).clone(),
            off: over.off.or(&self.off).clone(),
            cycle: over.cycle.or(&self.cycle).clone(),
            status: over.status.or(&self.status).clone(),
        }
    }
}
