use std::cell::RefCell;

use super::*;

/// A file that the declaration asks for.
fn file(path: &str, content: FileContent) -> ImageFile {
    ImageFile {
        path: path.parse().expect("a path"),
        content,
        mode: 0o644,
        owner: "root".parse().expect("a name"),
        group: "root".parse().expect("a name"),
    }
}

#[test]
fn what_belongs_to_one_machine_is_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = Root::new(directory.path());
    for path in [
        "etc/machine-id",
        "etc/ssh/ssh_host_rsa_key",
        "etc/ssh/sshd_config",
        "etc/udev/rules.d/70-persistent-net.rules",
        "etc/hostname",
        "var/lib/apt/lists/deb.example_Packages",
        "var/log/dpkg.log",
        "var/log/chrony/statistics",
        "var/lib/systemd/random-seed",
        "usr/share/doc/bash/copyright",
        "usr/share/doc/bash/README",
        "usr/share/man/man1/bash.1.gz",
        "tmp/left",
    ] {
        root.write(path, "text", 0o644).expect("a file");
    }
    root.write(
        "etc/systemd/network/10-lan.link",
        "[Match]\nMACAddress=52:54:00:12:34:56\n",
        0o644,
    )
    .expect("a file");
    root.write(
        "etc/systemd/network/99-all.link",
        "[Match]\nOriginalName=*\n",
        0o644,
    )
    .expect("a file");
    for (path, text) in [
        (
            "etc/netplan/01.yaml",
            "      match: {macaddress: 52:54:00:12:34:56}\n",
        ),
        (
            "etc/NetworkManager/system-connections/lan.nmconnection",
            "[ethernet]\nmac-address=52:54:00:12:34:56\n",
        ),
        (
            "etc/network/interfaces.d/eth0",
            "iface eth0 inet dhcp\n  hwaddress ether 52:54:00:12:34:56\n",
        ),
    ] {
        root.write(path, text, 0o600).expect("a file");
    }
    let told = RefCell::new(Vec::new());
    let cleaning = Cleaning {
        strip_docs: true,
        keeps_host_keys: false,
        declared: &[],
        tell: &|what| told.borrow_mut().push(what.to_owned()),
    };
    clean(&root, &cleaning).expect("it can be cleaned");
    let told = told.into_inner();
    assert_eq!(told.len(), 5, "{told:?}");
    let netplan = "/etc/netplan/01.yaml is left out: it names the Ethernet address of one machine";
    assert!(told.iter().any(|told| told == netplan), "{told:?}");
    let listing = super::super::listing::Listing::of(root.path(), "").expect("listed");
    let files: Vec<&str> = listing
        .entries
        .iter()
        .filter(|entry| entry.kind.letter() == 'f')
        .map(|entry| entry.path.as_str())
        .collect();
    assert_eq!(
        files,
        [
            "etc/machine-id",
            "etc/resolv.conf",
            "etc/ssh/sshd_config",
            "etc/systemd/network/99-all.link",
            "usr/share/doc/bash/copyright",
        ]
    );
    assert!(root.exists("var/log/chrony"));
    assert_eq!(root.read("etc/machine-id").expect("read"), Some(Vec::new()));
}

#[test]
fn ethernet_addresses_are_seen() {
    for text in [
        "MACAddress=52:54:00:12:34:56",
        "  PermanentMACAddress=52-54-00-12-34-56",
        "mac-address=52:54:00:12:34:56",
        "        macaddress: '52:54:00:12:34:56'",
        "    hwaddress ether 52:54:00:12:34:56",
        "SUBSYSTEM==\"net\", ATTR{address}==\"52:54:00:12:34:56\", NAME=\"eth0\"",
    ] {
        assert!(binds_to_a_machine(text), "{text}");
    }
    for text in [
        "# MACAddress=52:54:00:12:34:56",
        "MACAddressPolicy=persistent",
        "Address=2001:db8::1",
        "DUID=52:54:00:12:34:56",
    ] {
        assert!(!binds_to_a_machine(text), "{text}");
    }
}

/// Such as a post-script makes: copies would not have it, and it would be missed in them.
#[test]
fn special_files_are_left_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = Root::new(directory.path());
    root.write("opt/app/file", "text", 0o644).expect("a file");
    let fifo = directory.path().join("opt/app/ctl");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .expect("it can be made");
    let told = RefCell::new(Vec::new());
    let cleaning = Cleaning {
        strip_docs: false,
        keeps_host_keys: false,
        declared: &[],
        tell: &|what| told.borrow_mut().push(what.to_owned()),
    };
    clean(&root, &cleaning).expect("it can be cleaned");
    let what = "/opt/app/ctl is left out: it is a device, a socket or a FIFO";
    assert_eq!(told.into_inner(), [what]);
    assert!(root.exists("opt/app/file") && !fifo.exists());
}

#[test]
fn what_comes_with_a_directory_is_declared_and_nothing_else_below_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let overlay = directory.path().join("overlay");
    fs::create_dir_all(&overlay).expect("a directory");
    fs::write(overlay.join("resolv.conf"), "nameserver 10.0.0.1\n").expect("a file");
    let declared = [
        file(
            "/etc",
            FileContent::Copy(overlay.display().to_string().parse().expect("a path")),
        ),
        file("/etc/systemd/network", FileContent::Directory),
    ];
    let cleaning = Cleaning {
        strip_docs: false,
        keeps_host_keys: false,
        declared: &declared,
        tell: &|_| {},
    };
    assert!(cleaning.is_declared("etc/resolv.conf"));
    assert!(!cleaning.is_declared("etc/netplan/01.yaml"));
    assert!(!cleaning.is_declared("etc/systemd/network/10-lan.link"));
}

#[test]
fn what_no_image_has_is_told_where_it_was_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let overlay = directory.path().join("overlay");
    let root = Root::new(directory.path().join("root"));
    for name in ["hostname", "ssh/ssh_host_rsa_key", "kept"] {
        let from = overlay.join(name);
        fs::create_dir_all(from.parent().expect("it has one")).expect("a directory");
        fs::write(from, "text").expect("a file");
        root.write(Path::new("etc").join(name), "text", 0o600)
            .expect("a file");
    }
    root.write("etc/machine-id", "0123\n", 0o444)
        .expect("a file");
    root.write("etc/adjtime", "of the source", 0o644)
        .expect("a file");
    let declared = [
        file(
            "/etc",
            FileContent::Copy(overlay.display().to_string().parse().expect("a path")),
        ),
        file("/etc/machine-id", FileContent::Text("0123\n".into())),
    ];
    let told = RefCell::new(Vec::new());
    let cleaning = Cleaning {
        strip_docs: false,
        keeps_host_keys: false,
        declared: &declared,
        tell: &|what| told.borrow_mut().push(what.to_owned()),
    };
    clean(&root, &cleaning).expect("it can be cleaned");
    let told = told.into_inner();
    let paths: Vec<&str> = told
        .iter()
        .filter_map(|told| told.split(' ').next())
        .collect();
    assert_eq!(
        paths,
        [
            "/etc/hostname",
            "/etc/machine-id",
            "/etc/ssh/ssh_host_rsa_key"
        ],
        "{told:?}"
    );
    assert!(root.exists("etc/kept") && !root.exists("etc/hostname"));
}

#[test]
fn a_master_s_passwords_and_networks_are_forgotten() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = Root::new(directory.path());
    root.write("etc/shadow", "root:$6$a$b:1::::::\n", 0o640)
        .expect("a file");
    root.write("etc/gshadow", "root:*::\nstaff:$6$a$b:ann:ann\n", 0o640)
        .expect("a file");
    root.write("etc/network/interfaces", "iface eth0 inet static\n", 0o644)
        .expect("a file");
    root.write("etc/netplan/01.yaml", "network:\n", 0o600)
        .expect("a file");
    let dnsmasq = "etc/systemd/system/regex-provision-dnsmasq.service";
    root.write(dnsmasq, "[Service]\n", 0o644).expect("a file");
    root.write("etc/exports", "/srv *(rw)\n", 0o644)
        .expect("a file");
    let wanted = ["nfs-kernel-server.service".parse().expect("a unit")];
    for unit in [
        "etc/init.d/isc-dhcp-server",
        "lib/systemd/system/nfs-kernel-server.service",
    ] {
        root.write(unit, "", 0o755).expect("a file");
    }
    let told = RefCell::new(Vec::new());
    let tell = |what: &str| told.borrow_mut().push(what.to_owned());
    forget_master(&root, &wanted, &tell).expect("it can be forgotten");
    // What nobody has installed is nothing to tell, nor what is wanted.
    let told = told.into_inner();
    assert!(
        matches!(&told[..], [dhcp, dnsmasq] if dhcp.starts_with("isc-dhcp-server.service is")
            && dnsmasq.starts_with("regex-provision-dnsmasq.service is")),
        "{told:?}"
    );
    for unit in [
        "isc-dhcp-server.service",
        "kea-dhcp4-server.service",
        "dnsmasq.service",
        "nfs-ganesha.service",
        "tftpd-hpa.service",
        "regex-master.service",
        "regex-provision-dnsmasq.service",
        "regex-provision-serve.service",
    ] {
        let place = root.path().join("etc/systemd/system").join(unit);
        let leads_to = std::fs::read_link(place).expect(unit);
        assert_eq!(leads_to, Path::new("/dev/null"), "{unit}");
    }
    for unit in ["nfs-server.service", "nfs-kernel-server.service"] {
        let place = root.path().join("etc/systemd/system").join(unit);
        assert!(place.symlink_metadata().is_err(), "{unit} is wanted");
    }
    assert!(!root.exists("etc/exports"));
    let shadow = root.read_text("etc/shadow").expect("read");
    assert_eq!(shadow.as_deref(), Some("root:*:1::::::\n"));
    let gshadow = root.read_text("etc/gshadow").expect("read");
    assert_eq!(gshadow.as_deref(), Some("root:*::\nstaff:*:ann:ann\n"));
    assert!(!root.exists("etc/netplan/01.yaml"));
    let interfaces = root.read_text("etc/network/interfaces").expect("read");
    assert!(!interfaces.unwrap_or_default().contains("eth0"));
}
