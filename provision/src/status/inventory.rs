//! What an unknown machine tells of itself.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Words;
use crate::model::MacAddr;

/// The most disks, and the most network interfaces, that are kept of a machine.
pub const MAX_DEVICES: usize = 64;

/// A machine, as its initramfs sees it. What it does not tell is empty or zero: machines lie
/// about themselves anyway, and one that is half known is better than one that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// Who made it.
    pub vendor: Words,
    /// What it is called.
    pub product: Words,
    /// Its serial number.
    pub serial: Words,
    /// Memory that its kernel has, in KiB.
    pub memory_kib: u64,
    /// Processors that its kernel runs on.
    pub cores: u32,
    /// Disks that stay in it; at most [`MAX_DEVICES`].
    #[serde(deserialize_with = "first_devices")]
    pub disks: Vec<Disk>,
    /// Network interfaces that a driver has taken; at most [`MAX_DEVICES`].
    #[serde(deserialize_with = "first_devices")]
    pub nics: Vec<Nic>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Such as `sda`.
    pub name: Words,
    /// What it is called.
    pub model: Words,
    /// How much it holds.
    pub bytes: u64,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Nic {
    /// Such as `eth0`.
    pub name: Words,
    /// Its address.
    pub mac: Words,
    /// What drives it.
    pub driver: Words,
    /// Whether its cable has a signal.
    pub carrier: bool,
    /// How fast the link is, if the driver knows.
    pub speed_mbps: Option<u64>,
}

impl Inventory {
    /// Reads one. The error says what is wrong with the JSON, not with the machine.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

/// The first devices of a list. What follows is not even kept for a moment: a message of empty ones becomes a hundred
/// times as large in memory.
fn first_devices<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct First<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for First<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of devices")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut devices = Vec::new();
            while devices.len() < MAX_DEVICES {
                match list.next_element()? {
                    Some(device) => devices.push(device),
                    None => break,
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            devices.shrink_to_fit();
            Ok(devices)
        }
    }

    deserializer.deserialize_seq(First(PhantomData))
}

/// Who an Ethernet address was given to, as far as can be told without a register: the
/// hypervisors, and addresses that no vendor gave.
pub fn maker(mac: MacAddr) -> Option<&'static str> {
    let bytes = mac.bytes();
    let known = match bytes {
        [0x52, 0x54, 0x00, ..] => "QEMU/KVM",
        [0x00, 0x0c, 0x29, ..] | [0x00, 0x50, 0x56, ..] | [0x00, 0x05, 0x69, ..] => "VMware",
        [0x08 | 0x0a, 0x00, 0x27, ..] => "VirtualBox",
        [0x00, 0x15, 0x5d, ..] => "Hyper-V",
        [0x00, 0x16, 0x3e, ..] => "Xen",
        [0x58, 0x9c, 0xfc, ..] => "bhyve",
        [0xbc, 0x24, 0x11, ..] => "Proxmox",
        [0x02, 0x42, ..] => "Docker",
        [0xac, 0x1f, 0x6b, ..] | [0x0c, 0xc4, 0x7a, ..] | [0x00, 0x25, 0x90, ..] => "Supermicro",
        [first, ..] if first & 2 == 2 => "locally administered",
        _ => return None,
    };
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_initramfs_sends_is_read() {
        let inventory = Inventory::parse(
            br#"{"vendor":"QEMU","product":"Standard PC","serial":"","memory_kib":501760,"cores":1,
                "disks":[{"name":"vda","model":"","bytes":1073741824}],
                "nics":[{"name":"eth0","mac":"52:54:00:00:00:01","driver":"virtio_net","carrier":true,"speed_mbps":null}]}"#,
        )
        .expect("it is right");
        assert_eq!(inventory.memory_kib, 501_760);
        assert_eq!(inventory.disks[0].bytes, 1 << 30);
        assert_eq!(inventory.nics[0].driver.as_str(), "virtio_net");
    }

    #[test]
    fn a_machine_that_tells_little_or_too_much_is_kept_within_bounds() {
        assert_eq!(
            Inventory::parse(b"{}").expect("it is right"),
            Inventory::default()
        );
        let disks = vec!["{\"name\":\"d\"}"; 1000].join(",");
        let inventory = Inventory::parse(format!("{{\"disks\":[{disks}],\"more\":1}}").as_bytes())
            .expect("it is right");
        assert_eq!(inventory.disks.len(), MAX_DEVICES);
        // Nor does what is left out leave room behind.
        let nics = vec!["{}"; 21_000].join(",");
        let inventory =
            Inventory::parse(format!("{{\"nics\":[{nics}]}}").as_bytes()).expect("it is right");
        assert_eq!(inventory.nics.len(), MAX_DEVICES);
        assert!(
            inventory.nics.capacity() <= 2 * MAX_DEVICES,
            "{}",
            inventory.nics.capacity()
        );
        for bad in ["", "{\"cores\":-1}", "{\"cores\":\"4\"}", "{"] {
            assert!(Inventory::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn makers_are_told_by_the_first_bytes() {
        let maker_of = |text: &str| maker(text.parse().expect(text));
        assert_eq!(maker_of("52:54:00:12:34:56"), Some("QEMU/KVM"));
        assert_eq!(maker_of("02:11:22:33:44:55"), Some("locally administered"));
        assert_eq!(maker_of("3c:ec:ef:00:00:01"), None);
    }
}
