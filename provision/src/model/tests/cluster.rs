//! Mistakes in the network and the services.

use super::*;

#[test]
fn the_network() {
    let cluster = |line: &str| {
        told_replaced(
            "master = \"10.0.0.1\"",
            &format!("master = \"10.0.0.1\"\n{line}"),
        )
    };
    insta::assert_snapshot!(cases(&[
        ("nothing", told("[cluster]\n")),
        ("a name", told_replaced("\"lab\"", "\"the lab\"")),
        ("an interface", told_replaced("\"eth1\"", "\"eth 1\"")),
        (
            "no subnet",
            told_replaced("\"10.0.0.0/24\"", "\"10.0.0.0\"")
        ),
        (
            "a subnet by a host",
            told_replaced("\"10.0.0.0/24\"", "\"10.0.0.7/24\"")
        ),
        (
            "a subnet too large",
            told_replaced("\"10.0.0.0/24\"", "\"10.0.0.0/7\"")
        ),
        (
            "a master elsewhere",
            told_replaced("\"10.0.0.1\"", "\"10.9.0.1\"")
        ),
        (
            "a master at the network address",
            told_replaced("\"10.0.0.1\"", "\"10.0.0.0\"")
        ),
        (
            "a master at the broadcast address",
            told_replaced("\"10.0.0.1\"", "\"10.0.0.255\"")
        ),
        ("a gateway elsewhere", cluster("gateway = \"192.168.0.1\"")),
        ("a gateway of IPv6", cluster("gateway = \"fd00::1\"")),
        ("a domain", cluster("domain = \"cluster..example\"")),
        (
            "four DNS servers",
            cluster("dns = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\", \"10.0.0.4\"]")
        ),
        ("one port for two", cluster("http-port = 7411")),
    ]));
}

#[test]
fn dhcp() {
    let range = |range: &str| told_replaced("10.0.0.200-10.0.0.250", range);
    insta::assert_snapshot!(cases(&[
        (
            "a mode",
            told_replaced("[dhcp]\n", "[dhcp]\nmode = \"ful\"\n")
        ),
        ("a range that is none", range("10.0.0.200")),
        (
            "a range that ends before it begins",
            range("10.0.0.250-10.0.0.200")
        ),
        ("a range elsewhere", range("10.0.1.1-10.0.1.9")),
        (
            "a range up to the broadcast address",
            range("10.0.0.200-10.0.0.255")
        ),
        (
            "a range with the master",
            told_replaced("master = \"10.0.0.1\"", "master = \"10.0.0.201\"")
        ),
        (
            "a range with the gateway",
            told_replaced("master = ", "gateway = \"10.0.0.250\"\nmaster = ")
        ),
        (
            "a range with a server of several kinds",
            told(
                &(BASE.replace("master = ", "dns = [\"10.0.0.210\"]\nmaster = ")
                    + "[time]\nservers = [\"10.0.0.210\", \"10.0.0.1\"]\n")
            )
        ),
        (
            "a range with servers",
            told_with(
                "[time]\nservers = [\"10.0.0.211\"]\n[log]\ntarget = \"remote\"\nhost = \"10.0.0.212\"\n\
                 [export.far]\npath = \"/far\"\nserver = \"10.0.0.213\"\n"
            )
        ),
        (
            "a range with BMCs",
            told_replaced(
                "image = \"base\"",
                "image = \"base\"\nbmc = { kind = \"ipmi\", address = \"10.0.0.199\" }"
            )
        ),
        (
            "a range with a node",
            told_replaced("\"10.0.0.10\"", "\"10.0.0.199\"")
        ),
        (
            "a short lease",
            told_replaced("[dhcp]\n", "[dhcp]\nlease = \"119s\"\n")
        ),
        (
            "a lease without a unit",
            told_replaced("[dhcp]\n", "[dhcp]\nlease = \"12\"\n")
        ),
        (
            "a range without our server",
            told_replaced("[dhcp]\n", "[dhcp]\nmode = \"proxy\"\n")
        ),
        (
            "a lease without our server",
            told_replaced(
                "[dhcp]\nrange = \"10.0.0.200-10.0.0.250\"",
                "[dhcp]\nmode = \"external\"\nlease = \"1h\"\n"
            )
        ),
    ]));
}

#[test]
fn exports() {
    let export = |lines: &str| told_with(&format!("[export.x]\n{lines}\n"));
    insta::assert_snapshot!(cases(&[
        ("no path", export("")),
        ("a path that is not absolute", export("path = \"data\"")),
        ("a path with dots", export("path = \"/srv/../etc\"")),
        ("a path with a space", export("path = \"/srv/my data\"")),
        ("over the root", export("path = \"/\"")),
        (
            "over the system",
            export("path = \"/srv/x\"\nmount = \"/usr/\"")
        ),
        (
            "two at one mount point",
            export("path = \"/srv/x\"\nmount = \"/data/\"")
        ),
        ("a version", export("path = \"/x\"\nversion = 4.1")),
        (
            "options in one text",
            export("path = \"/x\"\noptions = [\"ro,nocto\"]")
        ),
        (
            "an option that is a key",
            export("path = \"/x\"\noptions = [\"ro\", \"vers=3\"]")
        ),
        ("a server", export("path = \"/x\"\nserver = \"the filer\"")),
        (
            "rights on another server",
            export("path = \"/x\"\nserver = \"filer\"\nsquash = \"all\"")
        ),
        ("a name", told_with("[export.\"a/b\"]\npath = \"/x\"")),
    ]));
}

#[test]
fn services() {
    insta::assert_snapshot!(cases(&[
        (
            "a time server",
            told_with("[time]\nservers = [\"pool ntp\"]\ntimezone = \"Berlin time\"")
        ),
        (
            "a log without its host",
            told_with("[log]\ntarget = \"remote\"")
        ),
        (
            "a log with keys of another kind",
            told_with("[log]\nhost = \"x\"\nkeep-days = 3")
        ),
        (
            "a key of ssh",
            told_with(
                "[ssh]\nauthorized-keys = [\"ssh-ed25519 AAAA\", \"/root/.ssh/id_ed25519.pub\"]"
            )
        ),
        (
            "a private key",
            told_with(
                "[ssh]\nauthorized-keys = [\"-----BEGIN OPENSSH PRIVATE KEY-----\\nsecret\"]"
            )
        ),
        (
            "a user",
            told_with("[ssh]\nuser = \"Root\"\nconnect-timeout = \"1h\"")
        ),
        (
            "limits",
            told_with("[serve]\nmax-connections = 1\ndirectory = \"srv\"")
        ),
        (
            "power",
            told_with("[power]\nparallel = 0\nstagger = \"1d\"\ntimeout = \"0s\"")
        ),
    ]));
    assert!(
        !told_with("[ssh]\nauthorized-keys = [\"-----BEGIN OPENSSH PRIVATE KEY-----\\nsecret\"]")
            .contains("secret")
    );
}

#[test]
fn references() {
    insta::assert_snapshot!(cases(&[
        (
            "an image, by a slip",
            told_replaced("image = \"base\"", "image = \"bsae\"")
        ),
        (
            "an image",
            told_replaced("image = \"base\"", "image = \"other\"")
        ),
        (
            "an export",
            told_replaced(
                "image = \"base\"",
                "image = \"base\"\nexports = [\"data\", \"dta\", \"x\"]"
            )
        ),
        (
            "a profile",
            told_with(
                "[[node]]\nname = \"t\"\nmac = \"52:54:00:00:01:00\"\naddress = \"10.0.0.20\"\nprofile = [\"defualt\", \"x\"]\nimage = \"y\""
            )
        ),
        ("no image", told_replaced("image = \"base\"", "")),
        (
            "a profile that nobody has",
            told_with("[profile.extra]\nroot = \"nfs\"")
        ),
        (
            "a tag with a meaning",
            told_replaced(
                "image = \"base\"",
                "image = \"base\"\ntags = [\"all\", \"a b\"]"
            )
        ),
        (
            "arguments",
            told_replaced(
                "image = \"base\"",
                "image = \"base\"\nkernel-args = [\"a b\", \"${x}\", \"-x\", \"\"]\nconsole = \"ttyS0 115200\""
            )
        ),
        (
            "nothing to search",
            told_replaced("[export.data]\npath = \"/data\"", "")
        ),
        (
            "two exports at one place, for one section",
            told_with(
                "[export.d]\npath = \"/d\"\nmount = \"/data\"\n[[node]]\nname = \"t\"\nmac = \"52:54:00:00:01:00\"\naddress = \"10.0.0.20\"\nexports = [\"d\"]"
            )
        ),
    ]));
}

#[test]
fn what_the_master_needs_itself_is_nobody_elses() {
    let port = |line: &str| told_replaced("master = ", &format!("{line}\nmaster = "));
    let serve = |path: &str| told_with(&format!("[serve]\ndirectory = \"{path}\""));
    let export = |path: &str| told_with(&format!("[export.x]\npath = \"{path}\"\nmount = \"/x\""));
    let ports = [22, 67, 68, 69, 111, 123, 514, 2049];
    let ports: String = ports.map(|n| port(&format!("http-port = {n}"))).concat();
    insta::assert_snapshot!(cases(&[
        ("ports of others", ports),
        (
            "the port of the NFS server for regex-master",
            port("master-port = 2049")
        ),
        ("one port for two", port("http-port = 7411")),
        ("the root as directory", serve("/")),
        ("a directory of the system", serve("/etc/")),
        ("a directory that others use", serve("/srv")),
        ("the directory as data", export("/var/lib/regex-provision")),
        ("what holds it", export("/var")),
        (
            "what lies in it",
            export("/var/lib/regex-provision/hostkeys")
        ),
        (
            "one directory twice",
            told_with("[export.x]\npath = \"/data/\"\nmount = \"/x\"")
        ),
        (
            "twice by Ganesha",
            told_with(
                "[export.x]\npath = \"/x\"\nserver = \"ganesha\"\n[export.y]\npath = \"/x\"\nmount = \"/y\"\nserver = \"ganesha\""
            )
        ),
    ]));
    for fine in [
        "[serve]\ndirectory = \"/srv/provision\"",
        "[export.x]\npath = \"/var/lib/regex-provision-data\"",
        "[export.x]\npath = \"/data\"\nmount = \"/x\"\nserver = \"filer\"\n[export.y]\npath = \"/var\"\nmount = \"/y\"\nserver = \"filer\"",
    ] {
        accepted(&format!("{BASE}\n{fine}\n"));
    }
}
