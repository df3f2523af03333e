//! What the daemons that are to read the files say of them.
//!
//! Each checker is also shown a broken file, for an oracle that accepts all tells nothing.

use regexctl_provision::apply::check::{Verdict, check};
use regexctl_provision::render::{Checker, File};
use tempfile::TempDir;

use crate::fixture::{EXTERNAL, FULL, PROXY, STATIC, lab, rendered};
use crate::tools::skipped;

/// What the checker of a file says; none if it is not here.
fn verdict(file: &File) -> Option<Verdict> {
    let scratch = TempDir::new().expect("a temporary directory");
    match check(file, scratch.path()).expect("the checker can be asked") {
        Verdict::Unknown(reason) => {
            skipped(&file.name, &reason);
            None
        }
        verdict => Some(verdict),
    }
}

/// The files with this checker are accepted in every kind of cluster, and refused when `good` in them
/// becomes `bad`.
fn judged(checkers: &[Checker], good: &str, bad: &str) {
    let mut broken = 0;
    for dhcp in [FULL, STATIC, PROXY, EXTERNAL] {
        for nfs in ["kernel", "ganesha"] {
            for mut file in rendered(&lab(dhcp, nfs)) {
                if !file
                    .checker
                    .is_some_and(|checker| checkers.contains(&checker))
                {
                    continue;
                }
                let Some(accepted) = verdict(&file) else {
                    return;
                };
                let text = String::from_utf8(file.bytes.clone()).expect("text");
                assert_eq!(accepted, Verdict::Accepted, "{}\n{text}", file.name);
                if text.contains(good) {
                    file.bytes = text.replacen(good, bad, 1).into_bytes();
                    let refused = verdict(&file);
                    let is_refused = matches!(refused, Some(Verdict::Refused(_)));
                    assert!(is_refused, "{}: {refused:?}", file.name);
                    broken += 1;
                }
            }
        }
    }
    assert!(broken > 0, "no file was broken: {good:?} is in none");
}

#[test]
fn dnsmasq() {
    judged(&[Checker::Dnsmasq], "port=0", "port=zero");
    judged(&[Checker::Dnsmasq], "dhcp-boot=", "dhcp-bout=");
    judged(&[Checker::DnsmasqHosts], "52:54", "52:54:zz:52");
}

#[test]
fn dhcpd() {
    let checkers = [Checker::Dhcpd, Checker::DhcpdSubnet];
    judged(&checkers, "next-server 10.77.4.1;", "next-server 10.77.4.1");
}

#[test]
fn kea() {
    judged(
        &[Checker::KeaClasses],
        "option[175].exists",
        "option[175].exist",
    );
    judged(&[Checker::KeaReservations], "52:54", "5z:54");
}

#[test]
fn chrony() {
    judged(
        &[Checker::Chrony],
        "allow 10.77.4.0/22",
        "allow 10.77.4.0/2z",
    );
}

#[test]
fn systemd() {
    judged(&[Checker::Systemd], "ExecStart=/usr/", "ExecStart=usr/");
}

#[test]
fn rsyslog() {
    judged(&[Checker::Rsyslog], "action(type", "action(tipe");
}

#[test]
fn logrotate() {
    judged(&[Checker::Logrotate], "daily", "dayly");
}

/// Ganesha looks at the directories that it exports, so they are real ones here.
#[test]
fn ganesha() {
    let directory = TempDir::new().expect("a temporary directory");
    let root = directory
        .path()
        .to_str()
        .expect("temporary paths are UTF-8");
    for name in ["srv/mail", "srv/crawl", "var/lib/regex-provision/trees"] {
        std::fs::create_dir_all(directory.path().join(name)).expect("a directory");
    }
    let file = rendered(&lab(FULL, "ganesha"))
        .into_iter()
        .find(|file| file.checker == Some(Checker::Ganesha))
        .expect("it is rendered");
    let text = String::from_utf8(file.bytes.clone()).expect("text");
    let text = text.replace("= \"/", &format!("= \"{root}/"));
    let ask = |text: &str| {
        verdict(&File {
            bytes: text.as_bytes().to_vec(),
            ..file.clone()
        })
    };
    let Some(accepted) = ask(&text) else { return };
    assert_eq!(accepted, Verdict::Accepted, "{text}");
    for (good, bad, told) in [
        ("All_Squash", "No_Such_Squash", "No_Such_Squash"),
        ("/srv/mail\"", "/srv/missing\"", "/srv/missing"),
    ] {
        let refused = ask(&text.replace(good, bad));
        let Some(Verdict::Refused(reason)) = refused else {
            panic!("{bad}: {refused:?}")
        };
        assert!(reason.contains(told), "{reason}");
    }
}
