//! What of a board is written down: what has changed, all of it, and how it is taken back.

use super::super::{Boot, Line, Record};
use super::Board;
use super::changes::Change;
use crate::model::MacAddr;

impl Board {
    /// What has changed since the last time, each thing once, as it is now; no more than so many things at once.
    /// Fewer are all.
    pub fn drain(&mut self, most: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        while lines.len() < most
            && let Some((mac, change)) = self.changed.take()
        {
            lines.extend(self.line(mac, change));
        }
        lines
    }

    fn line(&self, mac: MacAddr, change: Change) -> Option<Line> {
        Some(match change {
            Change::Forgotten => Line::Forget { mac },
            Change::Unknown => Line::Unknown(self.unknown.get(&mac)?.clone()),
            Change::Duplicate => Line::Duplicate {
                mac,
                duplicate: self.records.get(&mac)?.duplicate.clone()?,
            },
            Change::Unreached => unreached(mac, self.records.get(&mac)?),
            Change::Boot(number) => {
                let boots = &self.records.get(&mac)?.boots;
                let boot = boots.iter().find(|boot| boot.number == number)?;
                boot_line(mac, boot)
            }
        })
    }

    /// All that is to be kept.
    pub fn lines(&self) -> impl Iterator<Item = Line> {
        let known = self.records.keys().filter_map(|mac| self.of(*mac));
        let unknown = self.unknown.values().cloned().map(Line::Unknown);
        known.flatten().chain(unknown)
    }

    /// Begins to hand out all that is to be kept: the machines that there are. What changes from now on is drained, too.
    pub fn begin_all(&mut self) -> Vec<MacAddr> {
        self.changed.clear();
        let machines = self.records.keys().chain(self.unknown.keys());
        machines.copied().collect()
    }

    /// All that is to be kept of a machine.
    pub fn lines_of(&mut self, mac: MacAddr) -> Vec<Line> {
        let unknown = self.unknown.get(&mac).cloned().map(Line::Unknown);
        let lines: Vec<_> = self.of(mac).into_iter().flatten().chain(unknown).collect();
        if !lines.is_empty() {
            self.changed.keep(mac);
        }
        lines
    }

    /// All that is to be kept of a node.
    fn of(&self, mac: MacAddr) -> Option<impl Iterator<Item = Line>> {
        let record = self.records.get(&mac)?;
        let boots = record.boots.iter().map(move |boot| boot_line(mac, boot));
        let duplicate = record.duplicate.clone();
        let duplicate = duplicate.map(|duplicate| Line::Duplicate { mac, duplicate });
        let tried = !record.tried.is_empty();
        let unreached = tried.then(|| unreached(mac, record));
        Some(boots.chain(duplicate).chain(unreached))
    }

    /// Takes back what was kept. Later lines stand in the stead of earlier ones.
    pub fn restore(&mut self, line: Line) {
        match line {
            Line::Boot { mac, boot } => {
                self.changed.keep(mac);
                if let Some(address) = boot.address {
                    self.remember(address, mac);
                }
                let record = self.records.entry(mac).or_default();
                if boot.id.is_some() {
                    record.reporter.clone_from(&boot.id);
                }
                record.put(*boot);
            }
            Line::Duplicate { mac, duplicate } => {
                self.changed.keep(mac);
                self.records.entry(mac).or_default().duplicate = Some(duplicate);
            }
            Line::Unreached {
                mac,
                unreached,
                mut tried,
            } => {
                self.changed.keep(mac);
                for (means, unreached) in &unreached {
                    tried.entry(*means).or_insert(unreached.at);
                }
                let record = self.records.entry(mac).or_default();
                (record.unreached, record.tried) = (unreached, tried);
            }
            Line::Unknown(machine) => {
                self.changed.keep(machine.mac);
                if let Some(address) = machine.address {
                    self.remember(address, machine.mac);
                }
                self.unknown.insert(machine.mac, machine);
            }
            Line::Forget { mac } => {
                self.changed.is_not_kept(mac);
                self.records.remove(&mac);
                self.unknown.remove(&mac);
                self.addresses.retain(|_, other| *other != mac);
            }
        }
    }
}

fn boot_line(mac: MacAddr, boot: &Boot) -> Line {
    let boot = Box::new(boot.clone());
    Line::Boot { mac, boot }
}

fn unreached(mac: MacAddr, record: &Record) -> Line {
    Line::Unreached {
        mac,
        unreached: record.unreached.clone(),
        tried: record.tried.clone(),
    }
}
