//! What a plan says, and that applying it makes it true.

use std::fs;
use std::os::unix::fs::symlink;

use regexctl_provision::apply::show::{self, Style};
use regexctl_provision::apply::{
    Action, ApplyError, Disk, KEPT_GENERATIONS, Kind, Plan, generation,
};
use regexctl_provision::render::Service;

use crate::fake::{DIRECTORY, Fake, LAB, anyhow, changed};

fn shown(plan: &Plan) -> String {
    let style = Style {
        colours: false,
        full: false,
    };
    show::text(plan, style)
}

/// The changed files, with what becomes of them.
fn kinds(plan: &Plan) -> Vec<(&str, Kind)> {
    let changes = plan.changes.iter();
    changes.map(|change| (&*change.name, change.kind)).collect()
}

#[test]
fn a_plan_changes_nothing() {
    let fake = Fake::new();
    let before = fake.everything();
    let plan = fake.plan(LAB);
    assert!(!plan.is_empty());
    assert_eq!(fake.everything(), before);
}

#[test]
fn applied_twice_the_second_time_changes_nothing() {
    let fake = Fake::new();
    let first = fake.apply(LAB);
    assert_eq!((first.generation, fake.current()), (1, Some(1)));
    let before = fake.everything();
    let plan = fake.plan(LAB);
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(shown(&plan), "nothing to do: generation 1 is in force\n");
    let second = fake.apply(LAB);
    assert!(second.plan.is_empty());
    assert_eq!(second.generation, 1);
    assert_eq!(fake.everything(), before);
}

#[test]
fn the_files_are_where_their_readers_look() {
    let fake = Fake::new();
    fake.apply(LAB);
    let visible = fake.visible();
    let hosts = &visible["etc/hosts"];
    assert!(
        hosts.starts_with("644 127.0.0.1 localhost\n# BEGIN"),
        "{hosts}"
    );
    assert!(hosts.contains("\n10.77.0.10 s0\n"), "{hosts}");
    for name in [
        "etc/chrony/conf.d/regex-provision.conf",
        "etc/exports.d/regex-provision.exports",
        "etc/systemd/system/regex-provision-dnsmasq.service",
        "current/files/dnsmasq/dnsmasq.conf",
        "current/files/tftp/undionly.kpxe",
        "current/files/tftp/pxelinux.cfg/01-52-54-00-00-00-20",
        "current/files/tftp/pxelinux.cfg/0A4D0014",
        "current/files/tftp/pxelinux.cfg/0A4D00",
    ] {
        assert!(visible.contains_key(name), "{name} is not there");
    }
    assert_eq!(visible["current/cluster.toml"], format!("644 {LAB}"));
    assert!(visible["current/images.json"].contains("\"base\""));
}

#[test]
fn a_node_with_other_arguments_is_to_be_rebooted() {
    let fake = Fake::new();
    fake.apply(LAB);
    let other = LAB.replace(
        "address = \"10.77.0.10\"",
        "address = \"10.77.0.10\"\nkernel-args = [\"mitigations=off\"]",
    );
    let plan = fake.plan(&other);
    insta::assert_snapshot!(shown(&plan), @r#"
    --- cluster.toml
    +++ cluster.toml
    @@ -22,4 +22,5 @@
     mac = ["52:54:00:00:00:10", "52:54:00:00:00:11", "52:54:00:00:00:12"]
     address = "10.77.0.10"
    +kernel-args = ["mitigations=off"]
     
     [[node]]

    reload  regex-provision-serve.service (a new generation)
    reboot  s[0-2]: kernel arguments: +mitigations=off
    0 files to make, 1 to change, 0 to remove; 1 service to tell; 3 nodes to reboot
    "#);
    assert_eq!(fake.apply(&other).generation, 2);
}

#[test]
fn nodes_that_set_mask_and_route_at_boot_are_to_be_rebooted() {
    let fake = Fake::new();
    fake.apply(LAB);
    let reasons = |text: &str| {
        let plan = fake.plan(text);
        let line = |reboot: &regexctl_provision::apply::Reboot| {
            format!("{}: {}", reboot.set(), reboot.reasons.join("; "))
        };
        let lines: Vec<_> = plan.reboots.reboots.iter().map(line).collect();
        lines.join("\n")
    };
    let routed = LAB.replace("[dhcp]", "gateway = \"10.77.0.254\"\n\n[dhcp]");
    assert_eq!(
        reasons(&routed),
        "pxe,s[0-2]: its gateway: 10.77.0.254 instead of none"
    );
    assert_eq!(
        reasons(&LAB.replace("10.77.0.0/24", "10.77.0.0/16")),
        "pxe,s[0-2]: its network mask: 255.255.0.0 instead of 255.255.255.0"
    );
    // What another server tells is not in the file.
    let range = "range = \"10.77.0.100-10.77.0.199\"";
    let proxy = LAB.replace(range, "mode = \"proxy\"");
    fake.apply(&proxy);
    assert_eq!(reasons(&routed.replace(range, "mode = \"proxy\"")), "");
}

#[test]
fn an_image_that_was_built_again_is_booted_after_apply_only() {
    let fake = Fake::new();
    fake.apply(LAB);
    let images = || fake.visible()["current/images.json"].clone();
    let before = images();
    fake.publish("second");
    assert_eq!(images(), before, "what is published is not in force");
    let plan = fake.plan(LAB);
    let names: Vec<_> = plan.changes.iter().map(|change| &*change.name).collect();
    assert_eq!(names[0], "images.json");
    let [reboot] = plan.reboots.reboots.as_slice() else {
        panic!("{:?}", plan.reboots)
    };
    assert_eq!(reboot.set(), "pxe,s[0-2]");
    let reasons = reboot.reasons.join("; ");
    assert!(
        reasons.starts_with("the image base was built again: "),
        "{reasons}"
    );
    fake.apply(LAB);
    assert_ne!(images(), before);
    // Configuration and images return together.
    fake.rollback(None).expect("there is one before");
    assert_eq!(images(), before);
}

#[test]
fn every_kind_of_change_and_the_way_back() {
    let fake = Fake::new();
    fake.apply(LAB);
    let first = fake.visible();
    let plan = fake.plan(&changed());
    insta::assert_snapshot!(shown(&plan));
    let coloured = show::text(
        &plan,
        Style {
            colours: true,
            full: false,
        },
    );
    // As a terminal gets it, with the escape character made visible.
    insta::assert_snapshot!("the_same_with_colours", coloured.replace('\x1b', "^["));
    let kinds = kinds(&plan);
    assert!(
        kinds.contains(&("ganesha/ganesha.conf", Kind::Create)),
        "{kinds:?}"
    );
    assert!(
        kinds.contains(&("dnsmasq/hosts", Kind::Modify)),
        "{kinds:?}"
    );
    let chrony = "system/etc/chrony/conf.d/regex-provision.conf";
    assert!(kinds.contains(&(chrony, Kind::Remove)), "{kinds:?}");

    fake.apply(&changed());
    let second = fake.visible();
    assert!(!second.contains_key("etc/chrony/conf.d/regex-provision.conf"));
    assert!(!second.contains_key("etc/exports.d/regex-provision.exports"));
    assert_eq!(fake.current(), Some(2));

    let back = fake.rollback(None).expect("there is one before");
    assert_eq!((back.generation, fake.current()), (1, Some(1)));
    assert_eq!(fake.visible(), first);
    // And forward again, to the one that was left.
    fake.rollback(Some(2)).expect("it is kept");
    assert_eq!(fake.visible(), second);
    // A new one gets a number that nobody had.
    fake.rollback(Some(1)).expect("it is kept");
    assert_eq!(fake.apply(&changed()).generation, 3);
    assert_eq!(fake.visible(), second);
}

/// What stands behind a begin without an end may be anybody's. It stays, and that is told.
#[test]
fn a_block_that_has_lost_its_end_is_named() {
    let fake = Fake::new();
    fake.apply(LAB);
    let hosts = fake.path.join("etc/hosts");
    let text = fs::read_to_string(&hosts).expect("it is there");
    fs::write(&hosts, text.replace("# END regex-provision\n", "")).expect("a file");
    let plan = fake.plan(LAB);
    let [warning] = &plan.warnings[..] else {
        panic!("{:?}", plan.warnings);
    };
    assert!(
        warning.starts_with("/etc/hosts:2: a block of regex-provision has lost its end"),
        "{warning}"
    );
    fake.apply(LAB);
    assert!(fake.plan(LAB).warnings.is_empty());
}

#[test]
fn what_was_changed_by_hand_is_named_and_replaced() {
    let fake = Fake::new();
    fake.apply(LAB);
    let reference = fake.visible();
    let unit = fake.path.join("etc/systemd/system/regex-master.service");
    fs::write(&unit, "[Service]\nExecStart=/bin/false\n").expect("a file");
    let exports = fake.path.join("etc/exports.d/regex-provision.exports");
    fs::remove_file(&exports).expect("it is there");
    let hosts = fake.path.join("etc/hosts");
    let text = fs::read_to_string(&hosts).expect("it is there");
    fs::write(
        &hosts,
        text.replace("10.77.0.10 s0", "10.77.0.99 s0") + "# mine\n",
    )
    .expect("a file");
    let conf = fake
        .path
        .join(DIRECTORY)
        .join("current/files/dnsmasq/dnsmasq.conf");
    fs::write(conf, "port=53\n").expect("a file");

    let plan = fake.plan(LAB);
    let by_hand = plan.changes.iter().filter(|change| change.by_hand);
    let by_hand: Vec<_> = by_hand.map(|change| &*change.name).collect();
    assert_eq!(
        by_hand,
        [
            "dnsmasq/dnsmasq.conf",
            "system/etc/exports.d/regex-provision.exports",
            "system/etc/hosts",
            "system/etc/systemd/system/regex-master.service",
        ]
    );
    let text = shown(&plan);
    for line in [
        "! dnsmasq/dnsmasq.conf was changed by hand; that is replaced",
        "! /etc/exports.d/regex-provision.exports was removed by hand, and is made again",
        "! /etc/hosts (the block of regex-provision) was changed by hand; that is replaced",
        "-ExecStart=/bin/false",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(plan.reboots.reboots.is_empty(), "{:?}", plan.reboots);
    fake.apply(LAB);
    let mut mended = fake.visible();
    let hosts = mended.get_mut("etc/hosts").expect("it is there");
    assert!(hosts.ends_with("# mine\n"), "{hosts}");
    *hosts = hosts.replace("# mine\n", "");
    assert_eq!(mended, reference);
    // What was changed by hand is no generation to return to.
    let error = fake
        .rollback(Some(1))
        .expect_err("it is not what was installed");
    let error = format!("{:#}", anyhow(error));
    assert!(error.contains("changed by hand"), "{error}");
    assert_eq!(fake.current(), Some(2));
}

#[test]
fn what_was_there_before_is_named() {
    let fake = Fake::new();
    let path = fake.path.join("etc/exports.d/regex-provision.exports");
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
    fs::write(&path, "/home *(rw)\n").expect("a file");
    let text = shown(&fake.plan(LAB));
    let line = "! /etc/exports.d/regex-provision.exports is there already, and is replaced";
    assert!(
        text.contains(line) && text.contains("-/home *(rw)"),
        "{text}"
    );
}

#[test]
fn a_link_that_leads_out_of_the_root_is_not_followed() {
    let fake = Fake::new();
    let elsewhere = tempfile::TempDir::new().expect("a temporary directory");
    std::os::unix::fs::symlink(elsewhere.path(), fake.path.join("etc/systemd")).expect("a link");
    let error = fake
        .try_apply(LAB, &mut Disk::default())
        .expect_err("it leads out");
    let error = format!("{:#}", anyhow(error));
    assert!(error.contains("a link leads out of the root"), "{error}");
    assert_eq!(
        fs::read_dir(elsewhere.path()).expect("a directory").count(),
        0
    );
    assert_eq!(fake.current(), None);
}

#[test]
fn without_the_image_nothing_is_applied() {
    let fake = Fake::new();
    let other = LAB.replace("base", "other");
    let plan = fake.plan(&other);
    let reason = "the image other has not been built; run `regex-provision image build other`";
    assert!(
        plan.obstacles.contains(&reason.to_owned()),
        "{:?}",
        plan.obstacles
    );
    let before = fake.everything();
    let error = fake
        .try_apply(&other, &mut Disk::default())
        .expect_err("no image");
    assert!(matches!(error, ApplyError::Obstacles(_)), "{error:?}");
    assert_eq!(fake.everything(), before);
}

#[test]
fn a_generation_whose_image_is_gone_is_not_returned_to() {
    let fake = Fake::new();
    fake.apply(LAB);
    let (_, manifest) = fake
        .store()
        .image(&"base".parse().expect("a name"))
        .expect("it is there");
    fake.publish("second");
    fake.apply(LAB);
    let artifact = fake.store().artifact_path(manifest.kernel.sha256);
    fs::remove_file(artifact).expect("it is there");
    let error = fake.rollback(None).expect_err("its kernel is gone");
    let error = format!("{:#}", anyhow(error));
    assert!(
        error.contains("generation 1 boots the image base"),
        "{error}"
    );
    assert_eq!(fake.current(), Some(2));
}

#[test]
fn only_some_generations_are_kept() {
    let fake = Fake::new();
    let text = |round: usize| format!("{LAB}\n# {round}\n");
    for round in 0..KEPT_GENERATIONS + 3 {
        fake.apply(&text(round));
    }
    let kept = generation::list(&fake.store()).expect("they can be listed");
    let last = u32::try_from(KEPT_GENERATIONS).expect("a small number") + 3;
    assert_eq!(
        (kept.len(), kept[0], kept.last()),
        (KEPT_GENERATIONS, 4, Some(&last))
    );
    // The one in force stays, however old.
    fake.rollback(Some(4)).expect("it is kept");
    fake.apply(&text(100));
    fake.rollback(Some(5)).expect("it is kept");
    let error = fake.rollback(Some(4)).expect_err("it was the oldest");
    let error = format!("{:#}", anyhow(error));
    assert!(
        error.starts_with("there is no generation 4; there is 5, 6"),
        "{error}"
    );
}

#[test]
fn only_the_services_are_told_whose_files_change() {
    let fake = Fake::new();
    let told = |plan: &Plan| -> Vec<_> {
        let told = plan.services.iter();
        told.map(|change| (change.service, change.action)).collect()
    };
    let first = fake.apply(LAB).plan;
    assert_eq!(
        told(&first),
        [
            (Service::Chrony, Action::Start),
            (Service::NfsServer, Action::Start),
            (Service::Master, Action::Start),
            (Service::Serve, Action::Start),
            (Service::Dnsmasq, Action::Start),
        ]
    );
    // One more node: dnsmasq reads its list again.
    let more = format!(
        "{LAB}\n[[node]]\nname = \"s9\"\nmac = \"52:54:00:00:00:19\"\naddress = \"10.77.0.19\"\n"
    );
    assert_eq!(
        told(&fake.plan(&more)),
        [
            (Service::Serve, Action::Reload),
            (Service::Dnsmasq, Action::Reload)
        ]
    );
    // Another range: dnsmasq has to start again.
    let range = LAB.replace("10.77.0.199", "10.77.0.150");
    assert_eq!(
        told(&fake.plan(&range)),
        [
            (Service::Serve, Action::Reload),
            (Service::Dnsmasq, Action::Restart)
        ]
    );
    // The boot endpoint keeps its socket for as long as it lives.
    for (key, other) in [
        ("master = \"10.77.0.1\"", "master = \"10.77.0.2\""),
        ("interface", "http-port = 8081\ninterface"),
    ] {
        let told = told(&fake.plan(&LAB.replace(key, other)));
        assert!(
            told.contains(&(Service::Serve, Action::Restart)),
            "{other}: {told:?}"
        );
    }
    // The other NFS server: it starts, when the kernel's has stopped.
    let ganesha = LAB.replace("/srv/data\"", "/srv/data\"\nserver = \"ganesha\"");
    assert_eq!(
        told(&fake.plan(&ganesha)),
        [
            (Service::NfsServer, Action::Stop),
            (Service::Ganesha, Action::Start),
            (Service::Serve, Action::Reload),
        ]
    );
    fake.apply(&ganesha);
    assert_eq!(
        told(&fake.plan(LAB)),
        [
            (Service::Ganesha, Action::Stop),
            (Service::NfsServer, Action::Start),
            (Service::Serve, Action::Reload),
        ]
    );
}

#[test]
fn a_link_to_the_artifacts_is_a_file_as_others_are() {
    let fake = Fake::new();
    let with_grub = LAB.replace("loader = \"pxelinux\"", "loader = \"grub\"");
    fake.apply(&with_grub);
    let reference = fake.visible();
    let link = fake
        .path
        .join(DIRECTORY)
        .join("current/files/tftp/artifact");
    let (_, manifest) = fake
        .store()
        .image(&"base".parse().expect("a name"))
        .expect("it is published");
    let kernel = fs::read(link.join(manifest.kernel.sha256.to_string()));
    assert_eq!(kernel.expect("it is behind the link"), b"kernel of first");
    assert!(fake.plan(&with_grub).is_empty());

    // Another one, by hand.
    let real = link.parent().expect("a directory").canonicalize();
    let link = real.expect("it is there").join("artifact");
    fs::remove_file(&link).expect("it is there");
    symlink("/etc", &link).expect("a link");
    let plan = fake.plan(&with_grub);
    let by_hand: Vec<_> = plan
        .changes
        .iter()
        .filter(|change| change.by_hand)
        .collect();
    assert_eq!(by_hand.len(), 1, "{by_hand:?}");
    assert_eq!(by_hand[0].name, "tftp/artifact");
    fake.apply(&with_grub);
    assert_eq!(fake.visible(), reference);
    let error = fake.rollback(Some(1)).expect_err("it was changed by hand");
    assert!(format!("{:#}", anyhow(error)).contains("changed by hand"));

    // It goes with the last node that needs it, and comes back with it.
    fake.apply(LAB);
    assert!(!fake.visible().contains_key("current/files/tftp/artifact"));
    fake.rollback(Some(2)).expect("it is whole");
    assert_eq!(fake.visible(), reference);
}
