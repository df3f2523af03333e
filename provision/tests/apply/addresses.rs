//! Other addresses and ports, and a boot endpoint that must serve what was applied: with real processes, which keep the
//! sockets that they have.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use regexctl_provision::apply::{self, ApplyError, Disk, Outcome};

use crate::fake::{Fake, LAB, anyhow};
use crate::systemctl::{Elsewhere, SERVE, Script, on_loopback};

const RELOAD: &str = "reload-or-restart regex-provision-serve.service";
const RESTART: &str = "restart regex-provision-serve.service";

/// The cluster with these ports, at an address of this machine.
fn at(master: &str, http: u16, port: u16) -> String {
    let ports = format!("http-port = {http}\nmaster-port = {port}\n[dhcp]\n");
    LAB.replace("master = \"10.77.0.1\"", &format!("master = \"{master}\""))
        .replace("[dhcp]\n", &ports)
}

/// Ports that were free a moment ago.
fn free<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("one is free"));
    listeners.map(|listener| listener.local_addr().expect("it has one").port())
}

fn apply(script: &Script, fake: &Fake, text: &str) -> Result<Outcome, ApplyError> {
    apply_within(script, fake, text, Duration::from_secs(60))
}

fn apply_within(
    script: &Script,
    fake: &Fake,
    text: &str,
    start: Duration,
) -> Result<Outcome, ApplyError> {
    let mut systemd = Elsewhere {
        systemd: script
            .systemd()
            .asking()
            .waiting(start, Duration::from_millis(500)),
        place: on_loopback,
    };
    apply::apply(&fake.request(text), &mut Disk::default(), &mut systemd)
}

/// What the boot endpoint at an address says of itself.
fn about(ip: &str, port: u16) -> String {
    let at: SocketAddr = format!("{ip}:{port}").parse().expect("an address");
    let mut stream = TcpStream::connect(at).unwrap_or_else(|error| panic!("{at}: {error}"));
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn other_ports_and_another_address_are_applied() {
    let [http, port, other_http, other_port] = free();
    let (fake, script) = (Fake::new(), Script::new());
    script.run_serve(&fake);
    script.run_master(&fake);
    apply(&script, &fake, &at("10.77.0.1", http, port)).expect("all is well");
    for (number, (ip, text)) in [
        ("127.0.0.1", at("10.77.0.1", other_http, other_port)),
        ("127.0.0.2", at("10.77.0.2", other_http, other_port)),
    ]
    .into_iter()
    .enumerate()
    {
        script.calls();
        apply(&script, &fake, &text).unwrap_or_else(|error| panic!("{:#}", anyhow(error)));
        let calls = script.calls();
        assert!(
            calls.iter().any(|call| call == RESTART) && !calls.iter().any(|call| call == RELOAD),
            "{calls:?}"
        );
        let told = about(ip, other_http);
        let generation = format!("generation {}\n", number + 2);
        assert!(told.ends_with(&generation), "{told}");
        let master = TcpStream::connect((ip, other_port));
        assert!(master.is_ok(), "{ip}: {master:?}");
    }
}

/// The services that were told of the new address before are looked for at the old one again.
#[test]
fn the_way_back_leads_to_the_old_address() {
    let [http, port, other_http, other_port] = free();
    let (fake, script) = (Fake::new(), Script::new());
    script.run_serve(&fake);
    script.run_master(&fake);
    apply(&script, &fake, &at("10.77.0.1", http, port)).expect("all is well");
    let before = fake.visible();
    // The last that is told.
    script.touch("once.regex-provision-dnsmasq.service");
    let error = apply(&script, &fake, &at("10.77.0.1", other_http, other_port))
        .expect_err("dnsmasq does not start");
    assert!(
        matches!(error, ApplyError::Restored { .. }),
        "{:#}",
        anyhow(error)
    );
    assert_eq!(fake.visible(), before);
    let told = about("127.0.0.1", http);
    assert!(told.ends_with("generation 1\n"), "{told}");
    let master = TcpStream::connect(("127.0.0.1", port));
    assert!(master.is_ok(), "{master:?}");
}

/// A boot endpoint that runs on is only asked to read again, and must have done it.
#[test]
fn the_boot_endpoint_serves_what_was_applied() {
    let [http, port] = free();
    let (fake, script) = (Fake::new(), Script::new());
    script.run_serve(&fake);
    let text = at("10.77.0.1", http, port);
    script.run_master(&fake);
    apply(&script, &fake, &text).expect("all is well");
    script.calls();
    let mut systemd = Elsewhere {
        systemd: script.systemd().asking(),
        place: on_loopback,
    };
    let more = format!("{text}# another\n");
    let request = fake.request(&more);
    apply::apply(&request, &mut Disk::default(), &mut systemd).expect("it reads");
    assert_eq!(script.calls(), [RELOAD]);
    assert!(about("127.0.0.1", http).ends_with("generation 2\n"));
}

/// One that has as many nodes as it takes is not taken for one that cannot read what was applied.
#[test]
fn a_boot_endpoint_that_is_busy_is_waited_for() {
    let [http, port] = free();
    let (fake, script) = (Fake::new(), Script::new());
    script.run_busy_serve(&fake);
    script.run_master(&fake);
    let text = at("10.77.0.1", http, port);
    apply(&script, &fake, &text).expect("all is well");
    script.calls();
    std::fs::write(script.file("silent"), "2").expect("a file");
    // It is asked twice before that many.
    apply_within(
        &script,
        &fake,
        &format!("{text}# another\n"),
        Duration::from_secs(1),
    )
    .unwrap_or_else(|error| panic!("{:#}", anyhow(error)));
    assert_eq!(script.calls(), [RELOAD]);
    let left = std::fs::read_to_string(script.file("silent")).expect("a file");
    assert_eq!(left, "0");
}

#[test]
fn a_boot_endpoint_of_another_version_is_started_anew() {
    let [http, port] = free();
    let (fake, script) = (Fake::new(), Script::new());
    script.run_old_serve(&fake);
    script.run_master(&fake);
    let text = |round: u32| format!("{}# {round}\n", at("10.77.0.1", http, port));
    apply(&script, &fake, &text(1)).expect("all is well");
    script.calls();
    apply(&script, &fake, &text(2)).expect("it is started anew");
    let calls = script.calls();
    assert_eq!(
        calls,
        [RELOAD, &format!("reset-failed {SERVE}"), RESTART],
        "once"
    );
    assert!(about("127.0.0.1", http).ends_with("generation 2\n"));

    // That one cannot read the new generation, either.
    std::fs::write(script.file("stale"), "2\n").expect("a file");
    let error = apply_within(&script, &fake, &text(3), Duration::from_secs(5))
        .expect_err("it serves the old one on");
    let is_restored = matches!(error, ApplyError::Restored { .. });
    let error = format!("{:#}", anyhow(error));
    assert!(
        is_restored && error.contains("it does not serve generation 3, but says"),
        "{error}"
    );
    assert_eq!(fake.current(), Some(2));
}
