//! What goes wrong with real machines and daemons, and is named in `status`.

use std::fs;
use std::net::Ipv4Addr;

use regexctl_provision::status::Means;

use super::super::harness::{Namespace, PASSWORD, free_port, missing, needs, until};
use super::super::power::{ipmi_sim, secret};
use super::client::{Connection, IPXE};
use super::dhcp;
use super::site::{Server, Site, mac};

/// More strangers than there are addresses for them.
#[test]
fn a_pool_that_is_used_up_is_named() {
    if !needs(&["dnsmasq", "ip"]) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return missing("root");
    }
    let Some(network) = Namespace::new(&["10.77.0.1/16"]) else {
        return;
    };
    let site = Site::new(1, "[dhcp]\nrange = \"10.77.200.1-10.77.200.2\"");
    site.build("one");
    site.apply(1);
    let server = site.serve_in(&network);
    let stranger = |number| [0x52, 0x54, 0, 0, 0x77, number];
    let asked = std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            network.enter();
            let two = [stranger(1), stranger(2)];
            dhcp::all_ask("br0", &two, |_, _| ())?;
            let warnings = || site.status_in(&network).map(|status| status.warnings);
            let is_told = |warnings: Vec<String>| {
                let empty = "the dynamic range 10.77.200.1-10.77.200.2 has no free address";
                warnings.into_iter().find(|told| told.contains(empty))
            };
            let before = warnings().and_then(is_told);
            // In vain, and so again and again until that is told.
            let machine = dhcp::Vain::new("br0", stranger(3))?;
            let after = until("it is told", || {
                machine.ask().expect("it can be sent");
                warnings().and_then(is_told)
            });
            Ok::<_, String>((before, after))
        });
        asks.join().expect("it does not panic")
    });
    let (before, after) = asked.expect("dnsmasq answers");
    assert_eq!(before, None);
    assert!(
        after.contains("52:54:00:00:77:03") && after.contains("widen `range`"),
        "{after}"
    );
    server.end();
}

/// Each boots on its own, and says so.
#[test]
fn two_machines_with_one_mac_are_named() {
    let site = Site::new(2, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let ask = |last, line: &str, body: &str| {
        let mut connection = Connection::from(Ipv4Addr::new(127, 0, 0, last), server.address);
        let fields = format!("{IPXE}Connection: close\r\n");
        let answer = connection.ask(line, &fields, body.as_bytes());
        assert_eq!(answer.status, 200, "{line}: {}", answer.text());
    };
    let machines = [(2, "b-2"), (3, "b-3")];
    let say = |stage: &str| {
        for (last, boot) in machines {
            let form = format!("boot={boot}&stage={stage}&percent=0&message=&ok=1");
            ask(last, &format!("POST /stage/{}", mac(1)), &form);
        }
    };
    for (last, _) in machines {
        ask(last, &format!("GET /boot/{}.ipxe", mac(1)), "");
    }
    say("kernel");
    assert_eq!(named(&site, &server, "s1", "two machines"), None);
    say("image");
    let told = until("it is told", || named(&site, &server, "s1", "two machines"));
    for part in [
        "two machines have the MAC 52:54:00:00:00:01",
        "b-2",
        "b-3",
        "127.0.0.2",
        "127.0.0.3",
        "give each its own",
    ] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    assert_eq!(named(&site, &server, "s0", "two machines"), None);
    server.end();
}

/// What `status` says of a node, if it says this.
fn named(site: &Site, server: &Server, node: &str, part: &str) -> Option<String> {
    let (code, out, told) = site.run_with(server, &["status", node]);
    assert_eq!(code, Some(0), "{told}");
    out.contains(part).then_some(out)
}

/// One BMC has another password, one is not there.
#[test]
fn bmcs_that_refuse_or_do_not_answer_are_named() {
    if !needs(&["ipmi_sim", "ipmitool"]) {
        return;
    }
    let directory = tempfile::tempdir().expect("temporary directories can be made");
    let port = free_port();
    let _bmc = ipmi_sim(directory.path(), port);
    let site = Site::new(1, "[power]\ntimeout = \"3s\"");
    let node = fs::read_to_string(site.file()).expect("it is there");
    let nobody = free_port();
    let describe = |password: &str| {
        let file = secret(directory.path(), &format!("admin:{password}\n"));
        let bmc = |port: u16| {
            format!(
                "bmc = {{ kind = \"ipmi\", address = \"127.0.0.1\", port = {port}, credentials = \"{file}\" }}\n"
            )
        };
        site.describe(&format!(
            "{node}{}[[node]]\nname = \"t0\"\nmac = \"{}\"\naddress = \"10.77.2.0\"\n{}",
            bmc(port),
            mac(0x50),
            bmc(nobody)
        ));
    };
    describe(PASSWORD);
    site.build("one");
    site.apply(1);
    let server = site.serve();
    until("the BMC answers", || {
        let (code, ..) = site.run_with(&server, &["power", "status", "s0"]);
        (code == Some(0)).then_some(())
    });
    server.until("all is well", |status| {
        status.nodes.iter().all(|node| node.unreached.is_empty())
    });
    describe("guess");
    let (code, _, told) = site.run_with(&server, &["power", "status", "@all"]);
    assert_eq!(code, Some(1), "{told}");
    let status = server.until("both are told", |status| {
        let is_told = |means: &Means| *means == Means::Power;
        status
            .nodes
            .iter()
            .all(|node| node.unreached.keys().any(is_told))
    });
    let reasons = ["s0", "t0"].map(|name| {
        let node = status.nodes.iter().find(|node| node.name == name);
        node.expect("it is described").reason.clone()
    });
    assert!(
        reasons[0].contains("power: 127.0.0.1 refuses the user or the password"),
        "{reasons:?}"
    );
    assert!(
        reasons[1].contains("power: no answer from 127.0.0.1 within 3 s"),
        "{reasons:?}"
    );
    let (_, out, _) = site.run_with(&server, &["status", "s0"]);
    assert!(
        out.contains("refuses the user or the password") && !out.contains("guess"),
        "{out}"
    );
    server.end();
}
