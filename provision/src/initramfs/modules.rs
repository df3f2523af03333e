//! The modules of one kernel, as its `modules.dep` and its companions tell them: which there are,
//! what they need, and the same files written again for a part of them.
//!
//! busybox's modprobe knows no soft dependencies. So a soft dependency that must come first is
//! written as a real one, but for modules bound to a kind of processor: where such a module
//! cannot be loaded, the one that wants it still can.
//!
//! Not here: loading anything; opening the modules themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use super::Error;

/// A module's name as the kernel spells it: `-` is `_`.
type Name = String;

/// One module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// The file, relative to the directory of the kernel's modules.
    pub(super) file: String,
    /// What must be loaded before it, in the order in which `modules.dep` tells it.
    needs: Vec<Name>,
}

/// All modules of one kernel.
#[derive(Debug, Default)]
pub(super) struct Modules {
    by_name: BTreeMap<Name, Module>,
    builtin: BTreeSet<Name>,
    /// Alias and module, in the order of the file.
    aliases: Vec<(String, Name)>,
    /// What should be loaded before a module: names or aliases.
    wishes: BTreeMap<Name, Vec<String>>,
}

/// Where a module that was asked for is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a file of its own.
    File,
    /// In the kernel.
    Builtin,
    /// Nowhere.
    Absent,
}

/// The name of the module in a file such as `kernel/net/virtio-net.ko.xz`.
fn name_of(file: &str) -> Option<Name> {
    let base = file.rsplit('/').next()?;
    let (stem, rest) = base.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst" | ".gz").then(|| spelt(stem))
}

/// A name as the kernel spells it.
pub(super) fn spelt(name: &str) -> Name {
    name.replace('-', "_")
}

impl Modules {
    /// Reads the texts of `modules.dep`, `modules.builtin`, `modules.alias` and `modules.softdep`.
    pub(super) fn parse(
        dep: &str,
        builtin: &str,
        alias: &str,
        softdep: &str,
    ) -> Result<Modules, Error> {
        let mut all = Modules::default();
        for (number, line) in (1..).zip(dep.lines()) {
            let Some((file, needs)) = line.split_once(':') else {
                return Err(Error::ModulesDep { line: number });
            };
            let plain = Path::new(file)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            let (Some(name), true) = (name_of(file), plain) else {
                return Err(Error::ModulesDep { line: number });
            };
            let needs = needs
                .split_whitespace()
                .map(|file| name_of(file).ok_or(Error::ModulesDep { line: number }))
                .collect::<Result<_, _>>()?;
            let file = file.to_owned();
            all.by_name.insert(name, Module { file, needs });
        }
        all.builtin = builtin.lines().filter_map(name_of).collect();
        for line in alias.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["alias", pattern, module] = words[..] {
                all.aliases.push((pattern.to_owned(), spelt(module)));
            }
        }
        for line in softdep.lines() {
            let mut words = line.split_whitespace();
            let (Some("softdep"), Some(module)) = (words.next(), words.next()) else {
                continue;
            };
            let wishes = words
                .skip_while(|word| *word != "pre:")
                .skip(1)
                .take_while(|word| *word != "post:")
                .map(str::to_owned);
            all.wishes.entry(spelt(module)).or_default().extend(wishes);
        }
        Ok(all)
    }

    pub(super) fn place(&self, name: &str) -> Place {
        if self.by_name.contains_key(name) {
            Place::File
        } else if self.builtin.contains(name) {
            Place::Builtin
        } else {
            Place::Absent
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Module> {
        self.by_name.get(name)
    }

    /// These modules and all that they need or wish for.
    pub(super) fn closure<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> BTreeSet<Name> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Name> = names.into_iter().map(str::to_owned).collect();
        while let Some(name) = open.pop() {
            let Some(module) = self.by_name.get(&name) else {
                continue;
            };
            if found.insert(name.clone()) {
                open.extend(module.needs.iter().cloned());
                open.extend(self.wished(&name));
            }
        }
        found
    }

    /// `modules.dep` for these modules, soft dependencies included.
    pub(super) fn dep(&self, names: &BTreeSet<Name>) -> String {
        let mut text = String::new();
        for name in names {
            let Some(module) = self.by_name.get(name) else {
                continue;
            };
            text.push_str(&module_file(module));
            text.push(':');
            for need in self.load_order(name) {
                if let Some(module) = self.by_name.get(&need) {
                    text.push(' ');
                    text.push_str(&module_file(module));
                }
            }
            text.push('\n');
        }
        text
    }

    /// The lines of `modules.alias` that lead to these modules.
    pub(super) fn alias(&self, names: &BTreeSet<Name>) -> String {
        let mut text = String::new();
        for (pattern, module) in &self.aliases {
            if names.contains(module) {
                text.extend(["alias ", pattern, " ", module, "\n"]);
            }
        }
        text
    }

    /// All that must be loaded before a module, the last first, as `modules.dep` wants it.
    fn load_order(&self, name: &str) -> Vec<Name> {
        let mut order = Vec::new();
        let mut visiting = BTreeSet::from([name.to_owned()]);
        self.visit(name, &mut visiting, &mut order);
        order.reverse();
        order
    }

    /// Depth first: what a module needs is in `order` before it. A circle, which soft
    /// dependencies may make, is cut where it closes.
    fn visit(&self, name: &str, visiting: &mut BTreeSet<Name>, order: &mut Vec<Name>) {
        let Some(module) = self.by_name.get(name) else {
            return;
        };
        let soft = self
            .wished(name)
            .into_iter()
            .filter(|wish| !self.bound_to_processor(wish));
        for need in soft.chain(module.needs.iter().rev().cloned()) {
            if visiting.insert(need.clone()) {
                self.visit(&need, visiting, order);
                order.push(need);
            }
        }
    }

    /// The modules that a module's soft dependencies mean: by name, or by alias.
    fn wished(&self, name: &str) -> Vec<Name> {
        let mut found = Vec::new();
        for wish in self.wishes.get(name).into_iter().flatten() {
            if self.place(&spelt(wish)) != Place::Absent {
                found.push(spelt(wish));
                continue;
            }
            for (pattern, module) in &self.aliases {
                if pattern == wish || spelt(pattern) == spelt(wish) {
                    found.push(module.clone());
                }
            }
        }
        found
    }

    fn bound_to_processor(&self, name: &str) -> bool {
        self.aliases
            .iter()
            .any(|(pattern, module)| module == name && pattern.starts_with("cpu:"))
    }
}

/// The name of a module's file in the initramfs, where all are unpacked.
pub(super) fn module_file(module: &Module) -> String {
    let (stem, _) = module.file.rsplit_once(".ko").unwrap_or((&module.file, ""));
    format!("{stem}.ko")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/net/phy/libphy.ko:
kernel/net/phy/realtek.ko: kernel/net/phy/libphy.ko
kernel/drivers/r8169.ko.xz: kernel/net/phy/libphy.ko
kernel/lib/libcrc32c.ko.zst:
kernel/arch/crc32c-intel.ko:
kernel/crypto/crc32c_generic.ko:
kernel/net/virtio-net.ko: kernel/net/net_failover.ko kernel/net/failover.ko
kernel/net/net_failover.ko: kernel/net/failover.ko
kernel/net/failover.ko:
kernel/fs/usb.ko:
";
    const ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169
alias cpu:type:x86,ven*fam*mod*:feature:*0094* crc32c_intel
alias crc32c crc32c_intel
alias crc32c crc32c_generic
alias usb:v1p2 usb
";
    const SOFT: &str = "\
softdep r8169 pre: realtek
softdep libcrc32c pre: crc32c post: usb
softdep realtek pre: r8169
softdep failover usb
";

    fn sample() -> Modules {
        Modules::parse(DEP, "kernel/drivers/virtio/virtio.ko\n", ALIAS, SOFT).unwrap()
    }

    #[test]
    fn a_part_takes_along_what_it_needs_and_wishes_for() {
        let all = sample();
        let part = all.closure(["r8169", "libcrc32c", "virtio_net", "virtio", "nothing"]);
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        assert_eq!(
            part,
            [
                "crc32c_generic",
                "crc32c_intel",
                "failover",
                "libcrc32c",
                "libphy",
                "net_failover",
                "r8169",
                "realtek",
                "virtio_net"
            ]
        );
    }

    #[test]
    fn dependencies_are_told_in_the_order_that_modprobe_reads() {
        let all = sample();
        let part = all.closure(["r8169", "libcrc32c", "virtio_net"]);
        // The last is loaded first. A module of a kind of processor is never demanded, and the
        // circle between r8169 and realtek is cut.
        insta::assert_snapshot!(all.dep(&part), @r"
        kernel/crypto/crc32c_generic.ko:
        kernel/arch/crc32c-intel.ko:
        kernel/net/failover.ko:
        kernel/lib/libcrc32c.ko: kernel/crypto/crc32c_generic.ko
        kernel/net/phy/libphy.ko:
        kernel/net/net_failover.ko: kernel/net/failover.ko
        kernel/drivers/r8169.ko: kernel/net/phy/realtek.ko kernel/net/phy/libphy.ko
        kernel/net/phy/realtek.ko: kernel/drivers/r8169.ko kernel/net/phy/libphy.ko
        kernel/net/virtio-net.ko: kernel/net/net_failover.ko kernel/net/failover.ko
        ");
    }

    #[test]
    fn aliases_of_other_modules_are_left_out() {
        let all = sample();
        insta::assert_snapshot!(all.alias(&all.closure(["r8169", "libcrc32c"])), @r"
        alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169
        alias cpu:type:x86,ven*fam*mod*:feature:*0094* crc32c_intel
        alias crc32c crc32c_intel
        alias crc32c crc32c_generic
        ");
    }

    #[test]
    fn places() {
        let all = sample();
        assert_eq!(all.place("r8169"), Place::File);
        assert_eq!(all.place("virtio"), Place::Builtin);
        assert_eq!(all.place("e1000"), Place::Absent);
        assert_eq!(all.place(&spelt("crc32c-intel")), Place::File);
    }

    #[test]
    fn a_list_that_leaves_its_directory_is_refused() {
        for bad in [
            "../../../etc/shadow.ko:",
            "/etc/x.ko:",
            "x.txt:",
            "no colon",
        ] {
            let error = Modules::parse(bad, "", "", "").unwrap_err().to_string();
            assert!(error.contains("line 1"), "{bad}: {error}");
        }
    }
}
