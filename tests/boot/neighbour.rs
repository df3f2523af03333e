//! The site's own DHCP server, on a machine of its own: a namespace that is plugged into the bridge.

use std::fs;
use std::path::Path;

use super::guest::Machine;
use super::rig::{self, BRIDGE, Daemon, MASTER, run, text};

/// Its name, as a namespace, and its address.
const NAME: &str = "neighbour";
const ADDRESS: &str = "10.77.0.2/24";

/// Where `apply` puts the fragments for other servers.
fn fragment(name: &str) -> String {
    let path = super::site::store()
        .join("current/files/external")
        .join(name);
    assert!(path.exists(), "apply has made no {}", path.display());
    text(&path)
}

/// Plugs the machine in, with nothing that runs on it.
pub(crate) fn plug_in() {
    run("ip", &["netns", "add", NAME]);
    let pair = ["link", "add", "nb0", "type", "veth", "peer", "name", "nb1"];
    run("ip", &[&pair[..], &["netns", NAME]].concat());
    run("ip", &["link", "set", "nb0", "master", BRIDGE, "up"]);
    run("ip", &["-n", NAME, "address", "add", ADDRESS, "dev", "nb1"]);
    run("ip", &["-n", NAME, "link", "set", "nb1", "up"]);
}

/// A DHCP server that knows nothing of booting: addresses for these machines, as a site has given them.
pub(crate) fn plain_dhcpd(directory: &Path, machines: &[&Machine]) -> Daemon {
    let hosts = machines.iter().map(|machine| host(machine, ""));
    dhcpd(directory, "plain", &hosts.collect::<String>())
}

/// A DHCP server that gives a machine a loader, whatever it is that asks.
pub(crate) fn dhcpd_with_loader(directory: &Path, machine: &Machine, loader: &str) -> Daemon {
    let file = format!("next-server {MASTER}; filename \"{loader}\";");
    dhcpd(directory, "loader", &host(machine, &file))
}

fn host(machine: &Machine, more: &str) -> String {
    format!(
        "host {} {{ hardware ethernet {}; fixed-address {}; {more} }}\n",
        machine.name,
        machine.mac(),
        machine.address()
    )
}

/// ISC dhcpd with what `apply` has made for it.
pub(crate) fn dhcpd_with_fragment(directory: &Path) -> Daemon {
    let include = format!("include \"{}\";\n", fragment("dhcpd.conf"));
    dhcpd(directory, "included", &include)
}

fn dhcpd(directory: &Path, name: &str, more: &str) -> Daemon {
    let place = |end: &str| directory.join(format!("dhcpd-{name}.{end}"));
    let (configuration, leases, log) = (place("conf"), place("leases"), place("log"));
    let subnet = "subnet 10.77.0.0 netmask 255.255.255.0 { }\n";
    fs::write(&configuration, format!("authoritative;\n{subnet}{more}"))
        .expect("the directory is ours");
    fs::write(&leases, "").expect("the directory is ours");
    let mut command = rig::command("ip");
    command.args(["netns", "exec", NAME, "dhcpd", "-4", "-f", "-d", "--no-pid"]);
    command.args(["-cf", &text(&configuration), "-lf", &text(&leases), "nb1"]);
    Daemon::start(&mut command, log)
}

/// Kea with what `apply` has made for it.
pub(crate) fn kea_with_fragments(directory: &Path) -> Daemon {
    let configuration = directory.join("kea.json");
    let text_of_it = format!(
        r#"{{ "Dhcp4": {{
  "interfaces-config": {{ "interfaces": [ "nb1" ] }},
  "lease-database": {{ "type": "memfile", "persist": false }},
  "client-classes": [ <?include "{classes}"?> ],
  "subnet4": [ {{ "id": 1, "subnet": "10.77.0.0/24", "reservations": <?include "{reservations}"?> }} ]
}} }}
"#,
        classes = fragment("kea-classes.json"),
        reservations = fragment("kea-reservations.json"),
    );
    fs::write(&configuration, text_of_it).expect("the directory is ours");
    let mut command = rig::command("ip");
    command
        .args(["netns", "exec", NAME, "kea-dhcp4", "-c"])
        .arg(&configuration)
        .env("KEA_PIDFILE_DIR", directory)
        .env("KEA_LOCKFILE_DIR", "none");
    Daemon::start(&mut command, directory.join("kea.log"))
}
