//! The switch from one generation to another: all of it, or nothing.
//!
//! What is boot-critical changes with one rename, that of the link `current`. Around it are the files that daemons of the
//! system read in their own places, and the services. Before the first of them changes, `pending.json`
//! says what is under way; it goes when all is done. So whoever comes after a process that was killed
//! knows what services were still to be told; what files were still to be written shows by itself.
//!
//! The machine may lose its power, and start again with the services that are enabled then. So these are in order, too: who
//! reads files of the system is enabled when they are there, and before whom it takes the place of is not any more; who
//! reads through `current` is enabled only while `current` has its files. At each moment one of two NFS servers is enabled
//! and has its files; when both are, systemd starts Ganesha, whose unit says `Conflicts=`. The way back undoes the
//! steps in the opposite order.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::block;
use super::disk::{Disk, Found, Saved, look, remove_if_there, temporary};
use super::error::ApplyError;
use super::generation::{
    FORMAT, Generation, Index, Indexed, Pending, current_link, current_number, pending_path,
};
use super::place::{Root, block_file, text};
use super::plan::{Action, ServiceChange};
use super::services::{Expected, Services, State};
use crate::model::Cluster;
use crate::render::{Place, Service};
use crate::store::{Store, Temp, Writer};

/// From what to what, and how.
pub(super) struct Switch<'a> {
    pub(super) writer: &'a mut Writer,
    pub(super) root: &'a Root,
    pub(super) disk: &'a mut Disk,
    pub(super) services: &'a mut dyn Services,
    /// What is in force.
    pub(super) from: Option<u32>,
    /// The files that are or may be in their places in the system.
    pub(super) installed: &'a [Indexed],
    /// What services are to be told.
    pub(super) told: &'a [ServiceChange],
    /// What services show in the generation in force, if that is known.
    pub(super) before: Option<Expected>,
    /// The cluster that is to be in force.
    pub(super) cluster: &'a Cluster,
}

/// What is to be in force.
pub(super) enum To {
    /// One that was made just now, in a directory of its own.
    New {
        number: u32,
        index: Index,
        made: Temp,
    },
    /// One that is there.
    Old(Generation),
}

/// The directory of a new generation in its [`Temp`].
pub(super) const MADE: &str = "generation";

/// Something that was changed, as it was before.
enum Undo {
    File(PathBuf, Found),
    Directory(PathBuf),
    Link(Option<u32>),
    Generation(u32),
    /// A service that is started with the machine now, or is not any more.
    Enabled(Service, bool),
    /// A service that was started.
    Started(Service),
}

/// What was done so far.
#[derive(Default)]
struct Done {
    undo: Vec<Undo>,
    /// How services were before the first change of them.
    before: BTreeMap<Service, State>,
    /// What services were told.
    told: Vec<(Service, Action)>,
    units_changed: bool,
}

impl Switch<'_> {
    /// Switches. When this fails, what was there is restored.
    pub(super) fn run(mut self, to: To) -> Result<Generation, ApplyError> {
        let mut done = Done::default();
        self.disk.interrupt().watch()?;
        let pending = pending_path(&self.store());
        let before = look(&pending);
        let before = before.map_err(|source| ApplyError::io("read", &pending, source))?;
        done.undo.push(Undo::File(pending, before));
        let number = match &to {
            To::New { number, .. } => *number,
            To::Old(generation) => generation.number,
        };
        let wanted = Expected::of(number, self.cluster);
        self.services.expect(self.before.take(), wanted);
        match self.forward(to, &mut done) {
            Ok(generation) => Ok(generation),
            Err(error) => {
                let source = Box::new(error);
                let left = self.back(&done);
                Err(if left.is_empty() {
                    ApplyError::Restored { to: number, source }
                } else {
                    ApplyError::NotRestored {
                        to: number,
                        source,
                        left,
                    }
                })
            }
        }
    }

    fn store(&self) -> Store {
        self.writer.store().clone()
    }

    fn forward(&mut self, to: To, done: &mut Done) -> Result<Generation, ApplyError> {
        let store = self.store();
        self.announce(&to)?;
        let to = match to {
            To::New { number, made, .. } => {
                let place = store.generations().join(number.to_string());
                self.disk.step("put the generation into place")?;
                done.undo.push(Undo::Generation(number));
                self.writer.place(&made.path().join(MADE), &place)?;
                Generation::open(&store, number)?
            }
            To::Old(generation) => generation,
        };
        for change in self.all_told(|_, action| is_stop(action)) {
            self.tell(change, done)?;
        }
        self.new_files(&to, done)?;
        for (service, _) in self.all_told(|service, action| is_start(action) && !service.is_ours())
        {
            self.enable(service, true, done)?;
        }
        for (service, _) in self.all_told(|service, action| is_stop(action) && service.is_ours()) {
            self.enable(service, false, done)?;
        }
        let before = current_number(&store)?;
        if before != Some(to.number) {
            done.undo.push(Undo::Link(before));
            let target = Path::new("generations").join(to.number.to_string());
            let link = current_link(&store);
            let linked = self.disk.link(&link, &target);
            linked.map_err(|source| ApplyError::io("replace the link", link, source))?;
        }
        let ends = self.all_told(|service, action| is_stop(action) && !service.is_ours());
        let is_left = |file: &Indexed| {
            let reader = file.service.map(|(reader, _)| reader);
            ends.iter().any(|(service, _)| Some(*service) == reader)
        };
        // Who stays is to see that they are gone.
        self.old_files(&to, done, |file| !is_left(file))?;
        if done.units_changed {
            self.disk.step("have systemd read its units again")?;
            self.services.reload_units()?;
        }
        for (service, action) in self.all_told(|_, action| !is_stop(action)) {
            if is_start(action) && service.is_ours() {
                self.enable(service, true, done)?;
            }
            self.tell((service, action), done)?;
        }
        for (service, _) in &ends {
            self.enable(*service, false, done)?;
        }
        self.old_files(&to, done, is_left)?;
        let pending = pending_path(&store);
        let removed = self.disk.remove(&pending);
        removed.map_err(|source| ApplyError::io("remove", pending, source))?;
        Ok(to)
    }

    /// Says what is under way.
    fn announce(&mut self, to: &To) -> Result<(), ApplyError> {
        let told = self.told.iter();
        let (To::New { index, .. } | To::Old(Generation { index, .. })) = to;
        let files = index.files.iter().chain(self.installed);
        let files = files.filter(|file| !file.place.is_in_generation());
        let pending = Pending {
            format: FORMAT,
            from: self.from,
            to: match to {
                To::New { number, .. } => *number,
                To::Old(generation) => generation.number,
            },
            new: matches!(to, To::New { .. }),
            services: told.map(|change| (change.service, change.action)).collect(),
            files: files.cloned().collect(),
        };
        let path = pending_path(&self.store());
        let bytes = serde_json::to_vec(&pending).expect("numbers and words can be written");
        let file = Saved {
            bytes,
            mode: 0o644,
            owner: None,
        };
        let written = self.disk.replace(&path, &file);
        written.map_err(|source| ApplyError::io("write", path, source))
    }

    /// What these services are told, in order.
    fn all_told(&self, which: impl Fn(Service, Action) -> bool) -> Vec<(Service, Action)> {
        let told = self.told.iter();
        let told = told.map(|change| (change.service, change.action));
        told.filter(|(service, action)| which(*service, *action))
            .collect()
    }

    fn tell(
        &mut self,
        (service, action): (Service, Action),
        done: &mut Done,
    ) -> Result<(), ApplyError> {
        self.disk.step(&format!("{action:?} {}", service.unit()))?;
        self.note(service, done)?;
        done.told.push((service, action));
        if is_start(action) {
            done.undo.push(Undo::Started(service));
        }
        Ok(self.services.act(service, action)?)
    }

    fn enable(
        &mut self,
        service: Service,
        is_enabled: bool,
        done: &mut Done,
    ) -> Result<(), ApplyError> {
        let word = if is_enabled { "enable" } else { "disable" };
        self.disk.step(&format!("{word} {}", service.unit()))?;
        self.note(service, done)?;
        done.undo.push(Undo::Enabled(service, is_enabled));
        Ok(self.services.enable(service, is_enabled)?)
    }

    /// Notes how a service is before it is changed.
    fn note(&mut self, service: Service, done: &mut Done) -> Result<(), ApplyError> {
        if let Entry::Vacant(before) = done.before.entry(service) {
            before.insert(self.services.state(service)?);
        }
        Ok(())
    }

    /// Writes the files that have their places in the system.
    fn new_files(&mut self, to: &Generation, done: &mut Done) -> Result<(), ApplyError> {
        for file in &to.index.files {
            if !file.place.is_in_generation() {
                let bytes = to.read(file)?;
                self.system_file(file, Some(bytes), done)?;
            }
        }
        Ok(())
    }

    /// Removes those of these files that have no place in the system any more.
    fn old_files(
        &mut self,
        to: &Generation,
        done: &mut Done,
        which: impl Fn(&Indexed) -> bool,
    ) -> Result<(), ApplyError> {
        let places = to.index.files.iter().map(|file| &file.place);
        let kept: BTreeSet<_> = places
            .filter(|place| !place.is_in_generation())
            .map(place_path)
            .collect();
        for file in self.installed.iter().filter(|file| which(file)) {
            if !file.place.is_in_generation() && !kept.contains(&place_path(&file.place)) {
                self.system_file(file, None, done)?;
            }
        }
        Ok(())
    }

    fn system_file(
        &mut self,
        file: &Indexed,
        bytes: Option<Vec<u8>>,
        done: &mut Done,
    ) -> Result<(), ApplyError> {
        let failed = |action, source| ApplyError::io(action, place_path(&file.place), source);
        let path = match &file.place {
            Place::Generation | Place::Link => return Ok(()),
            Place::System(path) => self.root.safe_path(path),
            Place::Block(path) => block_file(self.root, path),
        };
        let path = path.map_err(|source| failed("find the place of", source))?;
        // What a killed process may have left beside it.
        let leftover = temporary(&path);
        remove_if_there(&leftover).map_err(|source| ApplyError::io("remove", leftover, source))?;
        let before = look(&path).map_err(|source| failed("read", source))?;
        let after = match &file.place {
            Place::Block(_) => {
                let after = block_after(&before, bytes.as_deref());
                after.map_err(|source| failed("read", source))?
            }
            _ => bytes.map(|bytes| Saved {
                bytes,
                mode: file.mode,
                owner: None,
            }),
        };
        if is_same(&before, after.as_ref()) {
            return Ok(());
        }
        if path
            .parent()
            .is_some_and(|parent| parent.ends_with("systemd/system"))
        {
            done.units_changed = true;
        }
        let Some(after) = after else {
            done.undo.push(Undo::File(path.clone(), before));
            let removed = self.disk.remove(&path);
            return removed.map_err(|source| failed("remove", source));
        };
        let making = |directory: &Path| {
            done.undo.push(Undo::Directory(directory.to_owned()));
        };
        let made = self.disk.make_parents(&path, making);
        made.map_err(|source| failed("make the directory of", source))?;
        done.undo.push(Undo::File(path.clone(), before));
        let written = self.disk.replace(&path, &after);
        written.map_err(|source| failed("write", source))
    }

    /// Undoes what was done, the last first. Gives what could not be undone.
    fn back(&mut self, done: &Done) -> Vec<String> {
        let mut left = Vec::new();
        let mut disk = self.disk.for_way_back();
        self.services.go_back();
        // The first is the announcement: it stays while something is not as it was.
        for undo in done.undo.iter().skip(1).rev() {
            if let Err(error) = self.undo(undo, done, &mut disk) {
                left.push(told(error));
            }
        }
        if done.units_changed
            && let Err(error) = self.services.reload_units()
        {
            left.push(told(error));
        }
        for (service, action) in done.told.iter().rev() {
            if let Err(error) = self.put_back(*service, *action, done, &mut disk) {
                left.push(told(error));
            }
        }
        if left.is_empty()
            && let Some(announcement) = done.undo.first()
            && let Err(error) = self.undo(announcement, done, &mut disk)
        {
            left.push(told(error));
        }
        left
    }

    fn put_back(
        &mut self,
        service: Service,
        action: Action,
        done: &Done,
        disk: &mut Disk,
    ) -> Result<(), ApplyError> {
        let Some(before) = done.before.get(&service) else {
            return Ok(());
        };
        disk.step(&format!("put {} back", service.unit()))?;
        Ok(self.services.put_back(service, action, *before)?)
    }

    fn undo(&mut self, undo: &Undo, done: &Done, disk: &mut Disk) -> Result<(), ApplyError> {
        match undo {
            Undo::Enabled(service, is_enabled) => {
                let was_enabled = done.before[service].is_enabled;
                if was_enabled != *is_enabled {
                    disk.step(&format!("enable {} as before", service.unit()))?;
                    self.services.enable(*service, was_enabled)?;
                }
                Ok(())
            }
            // Its unit can be stopped while it is there, so now.
            Undo::Started(service) => {
                if !done.before[service].is_active {
                    disk.step(&format!("stop {}", service.unit()))?;
                    self.services.act(*service, Action::Stop)?;
                }
                Ok(())
            }
            Undo::File(path, before) => {
                let undone = remove_if_there(&temporary(path)).and_then(|()| match before {
                    Found::Nothing => disk.remove(path),
                    Found::File(saved) => disk.replace(path, saved),
                    Found::Link(target) => disk.link(path, target),
                });
                undone.map_err(|source| ApplyError::io("restore", path, source))
            }
            // Somebody else may have put something into it.
            Undo::Directory(path) => {
                disk.step(&format!("remove the directory {}", path.display()))?;
                let _ = std::fs::remove_dir(path);
                Ok(())
            }
            Undo::Link(number) => {
                let link = current_link(&self.store());
                let undone = remove_if_there(&temporary(&link)).and_then(|()| match number {
                    Some(number) => {
                        disk.link(&link, &Path::new("generations").join(number.to_string()))
                    }
                    None => disk.remove(&link),
                });
                undone.map_err(|source| ApplyError::io("restore", link, source))
            }
            Undo::Generation(number) => {
                let store = self.store();
                let path = store.generations().join(number.to_string());
                // The link may not have been put back: what is in force stays.
                if path.exists() && current_number(&store)? != Some(*number) {
                    disk.step("remove the generation")?;
                    self.writer.remove(&path)?;
                }
                Ok(())
            }
        }
    }
}

fn is_start(action: Action) -> bool {
    action == Action::Start
}

fn is_stop(action: Action) -> bool {
    action == Action::Stop
}

/// An error with its causes, in one line.
fn told(error: impl Into<ApplyError>) -> String {
    format!("{:#}", anyhow::Error::from(error.into()))
}

fn place_path(place: &Place) -> PathBuf {
    match place {
        Place::Generation | Place::Link => PathBuf::new(),
        Place::System(path) | Place::Block(path) => path.clone(),
    }
}

/// The file with its block as it is to be; none if it is not to be there.
fn block_after(before: &Found, block: Option<&[u8]>) -> std::io::Result<Option<Saved>> {
    let before = match before {
        Found::File(saved) => Some(saved),
        _ => None,
    };
    let old = text(before.map_or(&[][..], |saved| &saved.bytes))?;
    let new = match block {
        Some(block) => block::with(old, text(block)?),
        None => block::without(old),
    };
    if before.is_none() && block.is_none() {
        return Ok(None);
    }
    Ok(Some(Saved {
        bytes: new.into_bytes(),
        mode: before.map_or(0o644, |saved| saved.mode),
        owner: before.and_then(|saved| saved.owner),
    }))
}

fn is_same(before: &Found, after: Option<&Saved>) -> bool {
    match (before, after) {
        (Found::Nothing, None) => true,
        (Found::File(before), Some(after)) => {
            before.bytes == after.bytes && before.mode == after.mode
        }
        _ => false,
    }
}
