//! Tests of the first `cluster.toml`.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::machine::DhcpServer;
use crate::model::check;

fn interface(name: &str, kind: InterfaceKind, addresses: &[&str]) -> Interface {
    let address = |text: &&str| {
        let (address, prefix) = text.split_once('/').expect("a prefix");
        (
            address.parse().expect("an address"),
            prefix.parse().expect("a prefix"),
        )
    };
    Interface {
        name: name.parse().expect("a name"),
        kind,
        has_carrier: true,
        addresses: addresses.iter().map(address).collect(),
        gateway: None,
    }
}

/// A master with one interface to the world and one to the nodes.
fn master() -> Machine {
    let mut world = interface("eno1", InterfaceKind::Ethernet, &["198.51.100.7/24"]);
    world.gateway = Some(Ipv4Addr::new(198, 51, 100, 1));
    let mut spare = interface("eno3", InterfaceKind::Ethernet, &[]);
    spare.has_carrier = false;
    Machine {
        interfaces: vec![
            interface("docker0", InterfaceKind::Bridge, &["172.17.0.1/16"]),
            world,
            interface("eno2", InterfaceKind::Ethernet, &["10.0.0.1/24"]),
            spare,
            interface("wlan0", InterfaceKind::Wireless, &["192.168.1.5/24"]),
        ],
        dns: vec![Ipv4Addr::new(192, 0, 2, 53)],
        domain: "lab.example".parse().ok(),
        time_zone: "Europe/Berlin".parse().ok(),
        system: Some(("ubuntu".into(), "noble".parse().expect("a suite"))),
        ssh_keys: vec![
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEx8kXDfWUXv6TVBAQSCzWGNdFMQ3XqJHxSJ9zHGqb0Z \"me\" @home"
                .parse()
                .expect("a key"),
        ],
        ..Machine::default()
    }
}

/// Everything that is said of a file that was written.
fn problems(text: &str) -> String {
    check(text).problems.to_string()
}

#[test]
fn the_interface_to_the_nodes_is_guessed() {
    let machine = master();
    let chosen = choose(&machine, None).expect("there is one");
    assert_eq!(chosen.name.as_str(), "eno2");
    let text = render(&machine, chosen);
    assert_eq!(problems(&text), "");
    insta::assert_snapshot!(text);
}

#[test]
fn beside_a_router_nobody_gives_addresses_unasked_and_a_conflict_is_named() {
    let mut machine = master();
    machine.interfaces.truncate(2);
    machine.dhcp_servers = vec![DhcpServer {
        process: Some((812, "dnsmasq".into())),
        address: Some(Ipv4Addr::UNSPECIFIED),
        interfaces: Vec::new(),
        is_own: false,
    }];
    machine.system = None;
    machine.ssh_keys.clear();
    let name = "eno1".parse().expect("a name");
    let chosen = choose(&machine, Some(&name)).expect("it is there");
    let text = render(&machine, chosen);
    assert_eq!(problems(&text), "");
    insta::assert_snapshot!(text);
}

#[test]
fn an_interface_that_cannot_be_used_is_refused() {
    let machine = master();
    let choose = |name: &str| {
        let name = name.parse().expect("a name");
        choose(&machine, Some(&name))
            .expect_err("it cannot be used")
            .to_string()
    };
    insta::assert_snapshot!(choose("eth9"), @"there is no interface eth9; there are: docker0, eno1, eno2, eno3, wlan0");
    insta::assert_snapshot!(choose("eno3"), @"eno3 has no IPv4 address in a network of /8 to /30; give it one, such as `ip addr add 10.0.0.1/24 dev eno3`");
    let nothing = super::choose(&Machine::default(), None).expect_err("there is none");
    insta::assert_snapshot!(nothing, @"no interface here has an IPv4 address that nodes could be served from (there are: none); give the one that leads to the nodes an address");
}

#[test]
fn an_address_that_no_machine_has_is_passed_over() {
    let addresses = ["224.0.0.1/8", "10.0.0.0/24", "10.0.0.1/31", "10.9.0.1/24"];
    let interface = interface("a0", InterfaceKind::Ethernet, &addresses);
    let (address, subnet) = interface.network().expect("the last one");
    assert_eq!(
        (address.to_string(), subnet.to_string()),
        ("10.9.0.1".into(), "10.9.0.0/24".into())
    );
}

fn any_interface() -> impl Strategy<Value = Interface> {
    use InterfaceKind::{Bond, Bridge, Ethernet, Virtual, Vlan, Wireless};
    let kind = prop::sample::select(vec![Ethernet, Bond, Bridge, Vlan, Wireless, Virtual]);
    let address = (any::<u32>(), 0_u8..=32).prop_map(|(address, prefix)| (address.into(), prefix));
    // Small networks, in which there is little room beside the master and the gateway.
    let near =
        (0_u32..16, 24_u8..=31).prop_map(|(last, prefix)| ((0x0a00_0000 + last).into(), prefix));
    let addresses = vec(prop_oneof![address, near], 0..3);
    let gateway = prop_oneof![
        Just(None),
        any::<u32>().prop_map(|gateway| Some(gateway.into())),
        (0_u32..16).prop_map(|last| Some((0x0a00_0000 + last).into())),
    ];
    ("[a-z]{1,6}[0-9]", kind, any::<bool>(), addresses, gateway).prop_map(
        |(name, kind, has_carrier, addresses, gateway)| Interface {
            name: name.parse().expect("a name"),
            kind,
            has_carrier,
            addresses,
            gateway,
        },
    )
}

proptest! {
    #[test]
    fn whatever_the_machine_is_like_the_file_is_right(
        interfaces in vec(any_interface(), 0..5),
        dns in vec(0_u32..16, 0..3),
    ) {
        let dns = dns.into_iter().map(|last| (0x0a00_0000 + last).into()).collect();
        let machine = Machine { interfaces, dns, ..master() };
        if let Ok(chosen) = choose(&machine, None) {
            let text = render(&machine, chosen);
            prop_assert_eq!(problems(&text), "", "{}", text);
        }
    }
}
