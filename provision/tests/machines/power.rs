//! `regex-provision power`, against `ipmi_sim`, commands, and a socket that hears the magic packet.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{
    Daemon, Namespace, PASSWORD, Terminal, command, expect, free_port, needs, program, provision,
    provision_with, until,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) fn cluster(power: &str, nodes: &str) -> String {
    format!(
        r#"
[cluster]
name = "test"
interface = "eth0"
subnet = "10.77.0.0/24"
master = "10.77.0.1"

[image.base]
source = {{ kind = "debootstrap", suite = "bookworm" }}

[profile.default]
image = "base"

[power]
stagger = "1ms"
{power}
{nodes}
"#
    )
}

pub(crate) fn secret(dir: &Path, text: &str) -> String {
    let path = dir.join("secret");
    fs::write(&path, text).expect("the directory is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    path.to_str().expect("the path is text").to_owned()
}

/// A BMC, with its machine's state in `power`.
pub(crate) fn ipmi_sim(dir: &Path, port: u16) -> Daemon {
    let state = dir.join("power");
    fs::write(&state, "0\n").expect("the directory is ours");
    let chassis = dir.join("chassis");
    let script = format!(
        "#!/bin/sh\nshift\necho \"$*\" >> {0}/calls\ncase \"$1 $2\" in\n\
         'get power') echo \"power:$(cat {0}/power)\" ;;\n\
         'set power') echo \"$3\" > {0}/power ;;\n'set boot') echo \"$3\" > {0}/boot ;;\nesac\n",
        dir.display()
    );
    fs::write(&chassis, script).expect("the directory is ours");
    fs::set_permissions(&chassis, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let lan = format!(
        "name \"n0\"\nset_working_mc 0x20\nstartlan 1\naddr 127.0.0.1 {port}\npriv_limit admin\n\
         allowed_auths_admin none md2 md5 straight\nguid a123456789abcdefa123456789abcdef\nendlan\n\
         chassis_control \"{} 0x20\"\nuser 2 true \"admin\" \"{PASSWORD}\" admin 10 none md2 md5 straight\n",
        chassis.display()
    );
    fs::write(dir.join("lan.conf"), lan).expect("the directory is ours");
    let emulator = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n";
    fs::write(dir.join("ipmi.emu"), emulator).expect("the directory is ours");
    let mut command = Command::new("ipmi_sim");
    command
        .current_dir(dir)
        .args(["-c", "lan.conf", "-f", "ipmi.emu", "-n", "-s", "state"]);
    Daemon::start(command)
}

fn read(dir: &Path, name: &str) -> String {
    let text = fs::read_to_string(dir.join(name)).unwrap_or_default();
    text.trim().to_owned()
}

#[test]
fn ipmi_switches_a_real_bmc() {
    if !needs(&["ipmi_sim", "ipmitool"]) {
        return;
    }
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let port = free_port();
    let _bmc = ipmi_sim(dir, port);
    let with = |file: &str, port: u16| {
        let bmc = format!(
            "[[node]]\nname = \"n0\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.77.0.11\"\nprofile = \"default\"\n\
             bmc = {{ kind = \"ipmi\", address = \"127.0.0.1\", port = {port}, credentials = \"{file}\" }}\n"
        );
        cluster("timeout = \"3s\"", &bmc)
    };
    let good = with(&secret(dir, &format!("admin:{PASSWORD}\n")), port);
    until("the BMC answers", || {
        let told = provision(dir, &good, &["power", "status", "n0"]);
        told.status.success().then_some(())
    });
    expect(
        &provision(dir, &good, &["power", "status", "n0"]),
        0,
        "n0: off\n",
    );
    expect(
        &provision(dir, &good, &["power", "on", "n0", "--netboot"]),
        0,
        "n0: told to switch on\n",
    );
    assert_eq!(
        (read(dir, "power"), read(dir, "boot")),
        ("1".into(), "pxe".into())
    );
    expect(
        &provision(dir, &good, &["power", "status", "@all"]),
        0,
        "n0: on\n",
    );
    expect(
        &provision(dir, &good, &["power", "cycle", "n0"]),
        0,
        "n0: told to switch off and on\n",
    );
    expect(
        &provision(dir, &good, &["power", "off", "n0"]),
        0,
        "n0: told to switch off\n",
    );
    assert_eq!(read(dir, "power"), "0");
    // What is off is not cycled but switched on.
    expect(
        &provision(dir, &good, &["power", "cycle", "n0"]),
        0,
        "n0: told to switch off and on\n",
    );
    assert_eq!(read(dir, "power"), "1");

    // Without a file, the password is taken from the environment.
    let good = with("", port).replace("credentials = \"\"", "user = \"admin\"");
    let password = |password| {
        let environment = [("REGEX_PROVISION_BMC_PASSWORD", password)];
        provision_with(dir, &good, &["power", "status", "n0"], &environment)
    };
    expect(&password(PASSWORD), 0, "n0: on\n");
    let told = expect(&password("guess"), 1, "");
    assert!(told.contains("refuses the user or the password"), "{told}");
    assert!(!told.contains("guess"), "{told}");

    let wrong = with(&secret(dir, "admin:guess\n"), port);
    let told = expect(&provision(dir, &wrong, &["power", "off", "n0"]), 1, "");
    assert!(
        told.contains("n0: 127.0.0.1 refuses the user or the password"),
        "{told}"
    );
    assert!(!told.contains("guess"), "{told}");
    assert_eq!(read(dir, "power"), "1");
    let nobody = with(&secret(dir, &format!("nobody:{PASSWORD}\n")), port);
    let told = expect(&provision(dir, &nobody, &["power", "status", "n0"]), 1, "");
    assert!(told.contains("refuses the user or the password"), "{told}");
    let nowhere = with(&secret(dir, &format!("admin:{PASSWORD}\n")), free_port());
    let told = expect(&provision(dir, &nowhere, &["power", "status", "n0"]), 1, "");
    assert!(
        told.contains("n0: no answer from 127.0.0.1 within 3 s"),
        "{told}"
    );
    assert!(told.contains("1 of 1 node failed"), "{told}");
}

#[test]
fn a_password_that_others_can_read_is_refused() {
    let dir = TempDir::new().expect("temporary directories can be made");
    let file = secret(dir.path(), PASSWORD);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    for credentials in [format!(", credentials = \"{file}\""), String::new()] {
        let node = format!(
            "[[node]]\nname = \"n0\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.77.0.11\"\nprofile = \"default\"\n\
             bmc = {{ kind = \"ipmi\", address = \"127.0.0.1\"{credentials} }}\n"
        );
        let told = provision(dir.path(), &cluster("", &node), &["power", "status", "n0"]);
        let told = expect(&told, 1, "");
        let hint = if credentials.is_empty() {
            "REGEX_PROVISION_BMC_PASSWORD"
        } else {
            "chmod 0600"
        };
        assert!(told.contains(hint), "{told}");
    }
}

/// What stands in a process's arguments everybody on the master can read.
#[test]
fn a_password_is_in_no_arguments() {
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let script = format!(
        "cd {} && printf '%s\\n' \"$@\" >> arguments; echo \"$IPMI_PASSWORD\" >> environment; echo Chassis Power is off",
        dir.display()
    );
    let path = program(dir, "ipmitool", &script);
    let path = path.to_str().expect("the path is text");
    let bmc = format!(
        "[[node]]\nname = \"n0\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.77.0.11\"\nprofile = \"default\"\n\
         bmc = {{ kind = \"ipmi\", address = \"127.0.0.1\", credentials = \"{}\" }}\n",
        secret(dir, &format!("admin:{PASSWORD}\n"))
    );
    let told = provision_with(
        dir,
        &cluster("", &bmc),
        &["power", "cycle", "n0", "--netboot"],
        &[("PATH", path)],
    );
    expect(&told, 0, "n0: told to switch off and on\n");
    let arguments = read(dir, "arguments");
    for said in [
        "lanplus",
        "-C",
        "3",
        "127.0.0.1",
        "admin",
        "pxe",
        "status",
        "on",
    ] {
        assert!(arguments.lines().any(|word| word == said), "{arguments}");
    }
    assert!(!arguments.contains(PASSWORD), "{arguments}");
    assert_eq!(read(dir, "environment"), [PASSWORD; 3].join("\n"));
}

/// Three nodes that are switched on by making a file.
fn three_nodes(dir: &Path, power: &str) -> String {
    let node = format!(
        r#"
[profile.rack]
image = "base"
bmc = {{ kind = "command", on = ["touch", "{}/{{node}}"] }}

[[node]]
name = "s[0-2]"
mac = ["52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"]
address = "10.77.0.11"
profile = "rack"
"#,
        dir.display()
    );
    cluster(power, &node)
}

#[test]
fn many_nodes_are_switched_once_their_number_is_typed() {
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let cluster = three_nodes(dir, "confirm = 3");
    for (typed, code, said) in [
        ("2\n", 2, "not confirmed; nothing was done"),
        ("yes\n", 2, "not confirmed; nothing was done"),
        // The end of what is typed.
        ("\u{4}", 2, "not confirmed; nothing was done"),
        ("3\n", 0, "s[0-2]: told to switch on"),
    ] {
        assert!(!dir.join("s0").exists());
        let mut terminal = Terminal::start(command(dir, &cluster, &["power", "on", "@all"]));
        let shown = terminal.until_shown("Type the number of nodes to go on: ");
        assert!(shown.contains("switch on 3 nodes: s[0-2]"), "{shown}");
        terminal.type_text(typed);
        let (status, shown) = terminal.finish();
        assert_eq!(status, Some(code), "{typed:?}: {shown}");
        assert!(shown.contains(said), "{typed:?}: {shown}");
    }
    for name in ["s0", "s1", "s2"] {
        assert!(dir.join(name).exists(), "{name}");
    }
    // Fewer are switched without a question.
    let two = command(dir, &cluster, &["power", "on", "s[0-1]"]);
    let (status, shown) = Terminal::start(two).finish();
    assert_eq!(
        (status, &*shown),
        (Some(0), "s[0-1]: told to switch on\r\n")
    );
}

/// It does not sit out the pauses of nodes that it will not switch on any more.
#[test]
fn an_interruption_ends_the_pauses() {
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let slow = three_nodes(dir, "").replace("stagger = \"1ms\"", "stagger = \"300s\"");
    let mut power = command(dir, &slow, &["power", "on", "@all", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary under test starts");
    // Answers are printed as they come.
    let mut out = BufReader::new(power.stdout.take().expect("it is a pipe"));
    let mut first = String::new();
    out.read_line(&mut first).expect("it can be read");
    assert!(
        first.contains("\"node\":\"s0\"") && first.contains("\"told\""),
        "{first}"
    );
    let pid = i32::try_from(power.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("it has a number"), Signal::INT).expect("it runs");
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("it ends", || power.try_wait().expect("it is ours"))
    }));
    // An error means that it has ended already.
    let _ = power.kill();
    let told = expect(&power.wait_with_output().expect("it is ours"), 1, "");
    assert!(ended.is_ok(), "it did not end: {told}");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("it can be read");
    assert_eq!(rest.lines().count(), 2, "{rest}");
    assert!(
        told.contains("s[1-2]: not done, for this was interrupted"),
        "{told}"
    );
    assert!(!dir.join("s1").exists() && !dir.join("s2").exists());
}

#[test]
fn commands_of_the_site_are_run_without_a_shell() {
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let log = dir.join("log");
    let node = format!(
        r#"
[profile.rack]
image = "base"
bmc = {{ kind = "command", on = ["tee", "-a", "{0}/{{node}} {{address}} {{mac}}; true"], status = ["cat", "{0}/{{node}}.state"], off = ["false"] }}

[[node]]
name = "s[0-2]"
mac = ["52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"]
address = "10.77.0.11"
profile = "rack"
"#,
        dir.display()
    );
    let cluster = cluster("confirm = 3", &node);
    for (name, state) in [("s0", "on\n"), ("s1", " On"), ("s2", "perhaps\n")] {
        fs::write(dir.join(format!("{name}.state")), state).expect("the directory is ours");
    }
    let told = provision(dir, &cluster, &["power", "status", "@all"]);
    let told = expect(&told, 1, "s[0-1]: on\n");
    assert!(
        told.contains("s2: the status command answered what is not understood: \"perhaps\""),
        "{told}"
    );
    assert!(told.contains("1 of 3 nodes failed"), "{told}");
    expect(
        &provision(dir, &cluster, &["power", "on", "s1"]),
        0,
        "s1: told to switch on\n",
    );
    assert!(dir.join("s1 10.77.0.12 52:54:00:00:00:02; true").exists());
    let told = expect(&provision(dir, &cluster, &["power", "cycle", "s0"]), 1, "");
    assert!(told.contains("s0: false: "), "{told}");
    // Many nodes are not switched without being asked.
    let told = expect(&provision(dir, &cluster, &["power", "off", "@all"]), 2, "");
    assert!(told.contains("--yes; nothing was done"), "{told}");
    assert!(!log.exists());
    let told = provision(dir, &cluster, &["power", "off", "@all", "--yes", "--json"]);
    let printed = String::from_utf8(told.stdout).expect("JSON is text");
    assert_eq!((told.status.code(), printed.lines().count()), (Some(1), 3));
    for line in printed.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        assert_eq!(
            (&line["action"], &line["reply"]),
            (&"off".into(), &serde_json::Value::Null)
        );
        assert!(
            line["error"]
                .as_str()
                .expect("it is told")
                .contains("false")
        );
    }
    let told = expect(&provision(dir, &cluster, &["power", "on", "s9"]), 2, "");
    assert!(told.contains("s9") && told.contains("s[0-2]"), "{told}");
}

#[test]
fn a_node_without_a_switch_is_told() {
    let dir = TempDir::new().expect("temporary directories can be made");
    let node = "[[node]]\nname = \"n0\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.77.0.11\"\nprofile = \"default\"\n";
    let told = provision(dir.path(), &cluster("", node), &["power", "on", "n0"]);
    let told = expect(&told, 1, "");
    assert!(
        told.contains("n0: cluster.toml says no bmc for it"),
        "{told}"
    );
}

#[test]
fn wake_on_lan_sends_the_magic_packet_to_the_subnet() {
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let node = "[[node]]\nname = \"n0\"\nmac = \"52:54:00:aa:bb:cc\"\naddress = \"10.77.0.11\"\nprofile = \"default\"\nbmc = { kind = \"wol\", port = 40009 }\n";
    let cluster = cluster("", node);
    let told = expect(&provision(dir, &cluster, &["power", "on", "n0"]), 1, "");
    assert!(
        told.contains("is that an address of this machine?"),
        "{told}"
    );
    let told = expect(&provision(dir, &cluster, &["power", "off", "n0"]), 1, "");
    assert!(
        told.contains("wol cannot do off; it can only switch on"),
        "{told}"
    );

    let Some(net) = Namespace::new(&["10.77.0.1/24"]) else {
        return;
    };
    // Prints what comes to the port: 102 bytes in hex.
    let listen = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 40009)); \
        print('ready', flush=True); print(s.recv(2000).hex(), flush=True)";
    let mut command = net.command("python3");
    command.args(["-c", listen]);
    let mut listener = Daemon::start(command);
    assert_eq!(listener.line(), "ready");
    let mut command = net.command(env!("CARGO_BIN_EXE_regex-provision"));
    let told = command
        .current_dir(dir)
        .args(["power", "on", "n0"])
        .output()
        .expect("the binary under test starts");
    expect(&told, 0, "n0: packet sent; nobody acknowledges it\n");
    assert_eq!(
        listener.line(),
        format!("ffffffffffff{}", "525400aabbcc".repeat(16))
    );
}

/// Each waits for the other, so both are right only if they run at once.
#[test]
fn as_many_at_once_as_the_file_says_and_one_after_the_other() {
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let node = format!(
        r#"
[profile.rack]
image = "base"
bmc = {{ kind = "command", on = ["true"], off = ["true"], status = ["sh", "-c", "cd {0} && touch {{node}}; until test -e s0 -a -e s1; do sleep 0.02; done; echo on"] }}

[[node]]
name = "s[0-1]"
mac = ["52:54:00:00:00:01", "52:54:00:00:00:02"]
address = "10.77.0.11"
profile = "rack"
"#,
        dir.display()
    );
    let both = cluster("parallel = 2\ntimeout = \"60s\"", &node);
    let status = ["power", "status", "@all"];
    expect(&provision(dir, &both, &status), 0, "s[0-1]: on\n");
    for name in ["s0", "s1"] {
        fs::remove_file(dir.join(name)).expect("it was made");
    }
    // The first waits in vain, and the second finds what it has left.
    let one = cluster("parallel = 1\ntimeout = \"2s\"", &node);
    let told = expect(&provision(dir, &one, &status), 1, "s1: on\n");
    assert!(told.contains("s0: no answer from "), "{told}");

    let spread = cluster("", &node).replace("stagger = \"1ms\"", "stagger = \"2s\"");
    let begun = Instant::now();
    let told = provision(dir, &spread, &["power", "on", "@all"]);
    expect(&told, 0, "s[0-1]: told to switch on\n");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    // Nothing is started by being switched off.
    let begun = Instant::now();
    let slow = spread.replace("stagger = \"2s\"", "stagger = \"300s\"");
    let told = provision(dir, &slow, &["power", "off", "@all"]);
    expect(&told, 0, "s[0-1]: told to switch off\n");
    assert!(begun.elapsed() < Duration::from_secs(300));
}
