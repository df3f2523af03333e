//! The names of files in `pxelinux.cfg` are those that PXELINUX asks for, in the order in which it asks.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use regexctl_provision::model::{Cluster, MacAddr};
use tempfile::TempDir;

use crate::fixture::{FULL, lab, parse, rendered, text};
use crate::tools::{program, skipped};

/// Where Debian has what a BIOS loads (packages pxelinux and syslinux-common).
const PXELINUX: [&str; 2] = [
    "/usr/lib/PXELINUX/pxelinux.0",
    "/usr/lib/syslinux/modules/bios/ldlinux.c32",
];

/// How long an emulated machine may take to ask for everything.
const ASK_TIME: Duration = Duration::from_secs(120);

/// What PXELINUX asks for, in order, besides the machine's UUID: its documentation (`pxelinux.txt` of syslinux).
fn asked(mac: &str, address: Ipv4Addr) -> Vec<String> {
    let hex = address.octets().map(|byte| format!("{byte:02X}")).concat();
    let mut names = vec![format!("01-{}", mac.to_lowercase().replace(':', "-"))];
    names.extend((1..=hex.len()).rev().map(|length| hex[..length].to_owned()));
    names.push("default".to_owned());
    names
}

/// The names that are rendered.
fn names(cluster: &Cluster) -> Vec<String> {
    let files = rendered(cluster);
    let names = files
        .iter()
        .filter_map(|file| file.name.strip_prefix("tftp/pxelinux.cfg/"));
    names.map(str::to_owned).collect()
}

#[test]
fn each_machine_finds_its_own_file_first() {
    // The example of the documentation.
    assert_eq!(
        asked("88:99:AA:BB:CC:DD", Ipv4Addr::new(192, 168, 2, 91)),
        [
            "01-88-99-aa-bb-cc-dd",
            "C0A8025B",
            "C0A8025",
            "C0A802",
            "C0A80",
            "C0A8",
            "C0A",
            "C0",
            "C",
            "default"
        ]
    );
    let cluster = lab(FULL, "kernel");
    let (files, names) = (rendered(&cluster), names(&cluster));
    let found = |mac: &str, address: [u8; 4]| {
        let asked = asked(mac, Ipv4Addr::from(address));
        let name = asked.into_iter().find(|name| names.contains(name));
        let name = name.expect("there is one for everybody");
        let text = text(&files, &format!("tftp/pxelinux.cfg/{name}"));
        let title = text.lines().nth(1).unwrap_or_default().to_owned();
        (name, title)
    };
    for (mac, address, name, title) in [
        // The node; the node with another card; a machine that was given an address of the range; one of elsewhere.
        (
            "52:54:00:00:00:30",
            [10, 77, 4, 30],
            "01-52-54-00-00-00-30",
            "# pxe: the image gpu",
        ),
        (
            "52:54:00:00:00:99",
            [10, 77, 4, 30],
            "0A4D041E",
            "# pxe: the image gpu",
        ),
        (
            "52:54:00:00:00:99",
            [10, 77, 7, 200],
            "0A4D07",
            "# not known; waits to be approved",
        ),
        (
            "52:54:00:00:00:99",
            [10, 77, 8, 1],
            "default",
            "# boots from its own disk",
        ),
    ] {
        let expected = (name.to_owned(), title.to_owned());
        assert_eq!(found(mac, address), expected, "{mac} {address:?}");
    }
}

/// Ends with the test.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The files that were asked for over TFTP, in order, in what a network card has sent (a file as tcpdump writes them);
/// each once.
fn requests(dump: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut rest = dump.get(24..).unwrap_or_default();
    while let Some((head, behind)) = rest.split_at_checked(16) {
        let length = u32::from_ne_bytes(head[8..12].try_into().expect("four bytes")) as usize;
        // What is being written now is whole the next time.
        let Some((frame, behind)) = behind.split_at_checked(length) else {
            break;
        };
        rest = behind;
        let is_request = |frame: &&[u8]| {
            frame.len() > 44
                && frame[12..15] == [8, 0, 0x45]
                && frame[23] == 17
                && frame[36..38] == [0, 69]
                && frame[42..44] == [0, 1]
        };
        let Some(frame) = Some(frame).filter(is_request) else {
            continue;
        };
        let name = frame[44..].split(|byte| *byte == 0).next();
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A machine of QEMU whose firmware loads PXELINUX from a server that has nothing else, so that it asks for every name
/// that it knows.
#[test]
fn what_pxelinux_really_asks_for() {
    const MAC: &str = "52:54:00:ab:cd:ef";
    // What QEMU's own DHCP server gives to the first machine.
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
    let Some(qemu) = program("qemu-system-x86_64") else {
        return;
    };
    if let Some(missing) = PXELINUX.iter().find(|path| !Path::new(path).exists()) {
        return skipped(missing, "it is not on this machine");
    }
    let scratch = TempDir::new().expect("a temporary directory");
    let tftp = scratch.path().join("tftp");
    fs::create_dir(&tftp).expect("a directory");
    for path in PXELINUX {
        let name = Path::new(path).file_name().expect("it is a file");
        fs::copy(path, tftp.join(name)).expect("it can be copied");
    }
    let dump = scratch.path().join("dump");
    let mut command = Command::new(qemu);
    command
        .args(["-m", "64", "-display", "none", "-nodefaults", "-boot", "n"])
        .arg("-netdev")
        .arg(format!(
            "user,id=n0,restrict=on,bootfile=pxelinux.0,tftp={}",
            tftp.display()
        ))
        .args(["-device", &format!("e1000,netdev=n0,mac={MAC}")])
        .arg("-object")
        .arg(format!(
            "filter-dump,id=d0,netdev=n0,file={}",
            dump.display()
        ))
        .stdin(Stdio::null());
    let _machine = Machine(command.spawn().expect("QEMU can be started"));
    let begin = Instant::now();
    let names = loop {
        let names = requests(&fs::read(&dump).unwrap_or_default());
        if names.iter().any(|name| name == "pxelinux.cfg/default") {
            break names;
        }
        assert!(begin.elapsed() < ASK_TIME, "it has asked for {names:?}");
        sleep(Duration::from_millis(50));
    };
    let names = names
        .iter()
        .filter_map(|name| name.strip_prefix("pxelinux.cfg/"));
    let is_uuid = |name: &str| name.len() == 36 && name.matches('-').count() == 4;
    let names: Vec<_> = names.filter(|name| !is_uuid(name)).collect();
    assert_eq!(names, asked(MAC, ADDRESS));

    let mac: MacAddr = MAC.parse().expect("an address");
    let cluster = parse(&format!(
        "[cluster]\nname = \"a\"\ninterface = \"eth0\"\nsubnet = \"10.0.2.0/24\"\nmaster = \"10.0.2.2\"
        [image.base]
        source = {{ kind = \"debootstrap\", suite = \"bookworm\" }}
        [[node]]\nname = \"a\"\nmac = \"{mac}\"\naddress = \"{ADDRESS}\"\nimage = \"base\"\nloader = \"pxelinux\""
    ));
    let ours = self::names(&cluster);
    let found: Vec<_> = names
        .into_iter()
        .filter(|name| ours.iter().any(|our| our == name))
        .collect();
    assert_eq!(
        found,
        ["01-52-54-00-ab-cd-ef", "0A00020F", "0A0002", "default"]
    );
    assert_eq!(ours.len(), found.len(), "{ours:?}");
}
