//! `regex-provision power` over Redfish: against an emulator of others, and against a service of the test's own that tells what
//! it was asked.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Daemon, PASSWORD, expect, find, free_port, needs, provision, provision_with, until,
};
use crate::power::{cluster, secret};

#[test]
fn redfish_switches_a_system() {
    let Some(emulator) = find("sushy-emulator") else {
        return;
    };
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let port = free_port();
    let config = "SUSHY_EMULATOR_FAKE_DRIVER = True\n\
        SUSHY_EMULATOR_FAKE_SYSTEMS = [{'uuid': '11111111-2222-3333-4444-555555555555', 'name': 'n0', 'power_state': 'Off', \
        'nics': [{'mac': '52:54:00:00:00:01', 'ip': '10.77.0.11'}]}]\n";
    fs::write(dir.join("sushy.py"), config).expect("the directory is ours");
    let mut command = Command::new(emulator);
    command
        .current_dir(dir)
        // There it keeps what it knows, over restarts.
        .env("TMPDIR", dir)
        .args([
            "--fake",
            "--config",
            "sushy.py",
            "--interface",
            "127.0.0.1",
            "--port",
        ])
        .arg(port.to_string());
    let mut service = Daemon::start(command);
    let file = secret(dir, &format!("admin:{PASSWORD}\n"));
    let with = |port: u16, more: &str| {
        let node = format!(
            "[[node]]\nname = \"n0\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.77.0.11\"\nprofile = \"default\"\n\
             bmc = {{ kind = \"redfish\", address = \"127.0.0.1\", port = {port}, tls = \"off\", credentials = \"{file}\"{more} }}\n"
        );
        cluster("timeout = \"10s\"", &node)
    };
    let good = with(port, "");
    until("the service answers", || {
        assert!(service.runs(), "it has ended");
        let told = provision(dir, &good, &["power", "status", "n0"]);
        told.status.success().then_some(())
    });
    expect(
        &provision(dir, &good, &["power", "on", "n0", "--netboot"]),
        0,
        "n0: told to switch on\n",
    );
    until("it is on", || {
        let told = provision(dir, &good, &["power", "status", "n0"]);
        (told.stdout == b"n0: on\n").then_some(())
    });
    expect(
        &provision(dir, &good, &["power", "on", "n0"]),
        0,
        "n0: on already\n",
    );
    expect(
        &provision(dir, &good, &["power", "off", "n0"]),
        0,
        "n0: told to switch off\n",
    );
    until("it is off", || {
        let told = provision(dir, &good, &["power", "status", "n0"]);
        (told.stdout == b"n0: off\n").then_some(())
    });
    // No password goes to a proxy, whatever is said in the environment.
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let proxies = ["all_proxy", "http_proxy", "https_proxy"];
    let proxies = proxies.map(|name| [name.to_owned(), name.to_uppercase()]);
    let proxies: Vec<_> = proxies.iter().flatten().collect();
    let proxies: Vec<_> = proxies
        .iter()
        .map(|name| (name.as_str(), nobody.as_str()))
        .collect();
    expect(
        &provision_with(dir, &good, &["power", "status", "n0"], &proxies),
        0,
        "n0: off\n",
    );
    // What is off is not cycled but switched on.
    for before in ["off", "on"] {
        let state = provision(dir, &good, &["power", "status", "n0"]);
        expect(&state, 0, &format!("n0: {before}\n"));
        expect(
            &provision(dir, &good, &["power", "cycle", "n0"]),
            0,
            "n0: told to switch off and on\n",
        );
        until("it is on", || {
            let told = provision(dir, &good, &["power", "status", "n0"]);
            (told.stdout == b"n0: on\n").then_some(())
        });
    }
    let unknown = with(port, ", system = \"not-there\"");
    let told = expect(&provision(dir, &unknown, &["power", "status", "n0"]), 1, "");
    assert!(told.contains("404"), "{told}");
    let nowhere = with(free_port(), "");
    let told = expect(&provision(dir, &nowhere, &["power", "status", "n0"]), 1, "");
    assert!(told.contains("does not answer"), "{told}");
}

/// A service, in Python.
const SERVICE: &str = include_str!("redfish/service.py");

/// A service that runs.
struct Service {
    daemon: Daemon,
    port: u16,
}

impl Service {
    fn start(dir: &Path, settings: &Value) -> Self {
        let script = dir.join("service.py");
        fs::write(&script, SERVICE).expect("the directory is ours");
        let port = free_port();
        let mut command = Command::new("python3");
        command.current_dir(dir).arg("-u").arg(script);
        command.arg(port.to_string()).arg(settings.to_string());
        let mut daemon = Daemon::start(command);
        assert_eq!(daemon.line(), "ready");
        Self { daemon, port }
    }

    /// The description of a node that it switches.
    fn cluster(&self, dir: &Path, password: &str, more: &str) -> String {
        let file = secret(dir, &format!("admin:{password}\n"));
        let node = format!(
            "[[node]]\nname = \"n0\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.77.0.11\"\nprofile = \"default\"\n\
             bmc = {{ kind = \"redfish\", address = \"127.0.0.1\", port = {}, credentials = \"{file}\"{more} }}\n",
            self.port
        );
        cluster("timeout = \"20s\"", &node)
    }

    #[track_caller]
    fn was_asked(&mut self, what: &[&str]) {
        for line in what {
            assert_eq!(self.daemon.line(), *line);
        }
    }
}

const SYSTEM: &str = "/redfish/v1/Systems/1";

#[test]
fn a_start_from_the_network_is_asked_for_before_the_start() {
    if !needs(&["python3"]) {
        return;
    }
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let netboot = format!(
        "PATCH {SYSTEM} {{\"Boot\":{{\"BootSourceOverrideEnabled\":\"Once\",\"BootSourceOverrideTarget\":\"Pxe\"}}}}"
    );
    let reset = |kind| format!("POST {SYSTEM}/Actions/Reset {{\"ResetType\":\"{kind}\"}}");
    for (state, resets, action, said, sent) in [
        (
            "On",
            json!(["On", "PowerCycle", "ForceRestart"]),
            "cycle",
            "told to switch off and on",
            Some("PowerCycle"),
        ),
        (
            "On",
            json!(["On", "ForceOff", "ForceRestart"]),
            "cycle",
            "told to switch off and on",
            Some("ForceRestart"),
        ),
        // One that lists none says nothing about them.
        (
            "On",
            Value::Null,
            "cycle",
            "told to switch off and on",
            Some("PowerCycle"),
        ),
        (
            "Off",
            json!(["On", "PowerCycle"]),
            "cycle",
            "told to switch off and on",
            Some("On"),
        ),
        ("Off", json!(["On"]), "on", "told to switch on", Some("On")),
        ("On", json!(["On"]), "on", "on already", None),
    ] {
        let settings =
            json!({ "systems": ["1"], "state": state, "resets": resets, "password": PASSWORD });
        let mut service = Service::start(dir, &settings);
        let good = service.cluster(dir, PASSWORD, ", tls = \"off\"");
        let told = provision(dir, &good, &["power", action, "n0", "--netboot"]);
        expect(&told, 0, &format!("n0: {said}\n"));
        service.was_asked(&[
            "GET /redfish/v1/Systems",
            &format!("GET {SYSTEM}"),
            &netboot,
        ]);
        if let Some(sent) = sent {
            service.was_asked(&[&reset(sent)]);
        }
        // Without the option the firmware's order is left alone, and a question changes nothing.
        expect(
            &provision(dir, &good, &["power", "status", "n0"]),
            0,
            "n0: on\n",
        );
        service.was_asked(&["GET /redfish/v1/Systems", &format!("GET {SYSTEM}")]);
        expect(
            &provision(dir, &good, &["power", "off", "n0"]),
            0,
            "n0: told to switch off\n",
        );
        service.was_asked(&[
            "GET /redfish/v1/Systems",
            &format!("GET {SYSTEM}"),
            &reset("ForceOff"),
        ]);
    }
}

#[test]
fn a_service_of_several_systems_wants_one_named() {
    if !needs(&["python3"]) {
        return;
    }
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let settings = json!({ "systems": ["blade1", "blade2"], "state": "On", "password": PASSWORD });
    let mut service = Service::start(dir, &settings);
    let status = ["power", "status", "n0"];
    let none = service.cluster(dir, PASSWORD, ", tls = \"off\"");
    let told = expect(&provision(dir, &none, &status), 1, "");
    assert!(
        told.contains("several systems; name one with `system`: blade1, blade2"),
        "{told}"
    );
    service.was_asked(&["GET /redfish/v1/Systems"]);
    let one = service.cluster(dir, PASSWORD, ", tls = \"off\", system = \"blade2\"");
    expect(&provision(dir, &one, &status), 0, "n0: on\n");
    service.was_asked(&["GET /redfish/v1/Systems/blade2"]);
}

#[test]
fn a_wrong_password_is_told_in_the_words_of_the_service() {
    if !needs(&["python3"]) {
        return;
    }
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let settings = json!({ "systems": ["1"], "state": "On", "password": PASSWORD });
    let service = Service::start(dir, &settings);
    let wrong = service.cluster(dir, "guess", ", tls = \"off\"");
    let told = expect(&provision(dir, &wrong, &["power", "off", "n0"]), 1, "");
    assert!(
        told.contains("refuses the user or the password: who are you? (401 Unauthorized)"),
        "{told}"
    );
    assert!(!told.contains("guess"), "{told}");
}

/// A key, and a certificate for this machine of an authority of its own: `ca.pem`, `key.pem`, `chain.pem`.
fn certificate(dir: &Path) {
    fs::write(dir.join("leaf.ext"), "subjectAltName=IP:127.0.0.1\n").expect("it is ours");
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj";
    for line in [
        format!("{new} /CN=authority -x509 -days 2 -keyout ca-key.pem -out ca.pem"),
        format!("{new} /CN=bmc -keyout key.pem -out leaf.csr"),
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile leaf.ext -out chain.pem".into(),
    ] {
        let mut command = Command::new("openssl");
        command.current_dir(dir).args(line.split(' '));
        let output = command.output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {told}");
    }
}

#[test]
fn a_certificate_is_verified_unless_it_need_not_be() {
    if !needs(&["python3", "openssl"]) {
        return;
    }
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    certificate(dir);
    let settings = json!({
        "systems": ["1"], "state": "On", "password": PASSWORD, "certificate": "chain.pem", "key": "key.pem",
    });
    let mut service = Service::start(dir, &settings);
    let status = ["power", "status", "n0"];
    let verify = service.cluster(dir, PASSWORD, ", tls = \"verify\"");
    let told = expect(&provision(dir, &verify, &status), 1, "");
    let said = format!("n0: https://127.0.0.1:{} does not answer: ", service.port);
    assert!(
        told.contains(&said) && told.contains("certificate"),
        "{told}"
    );
    // The password has not left; this is the first that it is asked.
    let insecure = service.cluster(dir, PASSWORD, ", tls = \"insecure\"");
    expect(&provision(dir, &insecure, &status), 0, "n0: on\n");
    service.was_asked(&["GET /redfish/v1/Systems", &format!("GET {SYSTEM}")]);
    // What is not said is verified, against what this system trusts.
    let told = provision(dir, &service.cluster(dir, PASSWORD, ""), &status);
    expect(&told, 1, "");
    let authority = dir.join("ca.pem");
    let trusts = [(
        "SSL_CERT_FILE",
        authority.to_str().expect("the path is text"),
    )];
    expect(
        &provision_with(dir, &verify, &status, &trusts),
        0,
        "n0: on\n",
    );
    service.was_asked(&["GET /redfish/v1/Systems", &format!("GET {SYSTEM}")]);
}
