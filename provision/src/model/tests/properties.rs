//! Properties of values, and of what is imported. That no text panics is a property in
//! `tests/any_bytes.rs`.

use proptest::prelude::*;

use super::*;
use crate::import::import;

fn printed<T>(text: &str)
where
    T: std::str::FromStr<Err: std::fmt::Debug> + ToString + PartialEq + std::fmt::Debug,
{
    if let Ok(value) = text.parse::<T>() {
        let again = value.to_string().parse::<T>();
        assert_eq!(again.expect("it was printed"), value, "{text}");
    }
}

proptest! {
    #[test]
    fn values_are_printed_as_they_are_parsed(
        text in "[a-z0-9./,= -]{0,12}|/[a-z/.]{0,9}|[0-9]{1,5}(ms|s|m|h|d|B|kB|MiB)|[0-9]{1,3}(\\.[0-9]{1,3}){3}(/[0-9]{1,2}|-[0-9]{1,3}(\\.[0-9]{1,3}){3})|https?://[a-z.:/]{0,9}",
    ) {
        printed::<Subnet>(&text);
        printed::<AddressRange>(&text);
        printed::<AbsPath>(&text);
        printed::<KernelArg>(&text);
        printed::<Console>(&text);
        printed::<MountOption>(&text);
        printed::<HttpUrl>(&text);
        printed::<Host>(&text);
        printed::<ByteSize>(&text);
        printed::<Timespan>(&text);
        printed::<Tag>(&text);
        printed::<PackageName>(&text);
        printed::<UnitName>(&text);
        printed::<TimeZone>(&text);
    }

    #[test]
    fn what_is_imported_is_there(
        hosts in prop::collection::hash_map("[a-d][0-9]{1,3}", (0_u8..=255, 0_u8..=255), 0..20),
    ) {
        let line = |(name, (a, b)): (&String, &(u8, u8))| {
            format!("{name} 10.0.{a}.{b} 52:54:00:01:{a:02x}:{b:02x}\n")
        };
        let list = hosts.iter().map(line).collect::<Vec<_>>().concat();
        let text = BASE.replace("10.0.0.0/24", "10.0.0.0/16");
        let before = accepted(&text).entries();
        // What does not fit is told with a place in the list, else all is there.
        match import(&text, list.as_bytes(), None) {
            Ok(imported) => {
                let cluster = parse(&imported.text).expect("it was checked");
                let mut expected = before;
                expected.extend(imported.nodes);
                prop_assert_eq!(cluster.entries(), expected);
            }
            Err(crate::import::ImportError::After { misfits, .. }) => {
                prop_assert!(misfits.iter().all(|misfit| misfit.place.is_some()));
            }
            Err(crate::import::ImportError::List(_)) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn allotted_addresses_are_nobody_elses(
        sections in prop::collection::vec((1_u8..9, prop::option::of(0_u8..32)), 1..8),
        (first, length) in (0_u8..24, 0_u8..8),
        gateway in prop::option::of(1_u8..31),
        dns in 1_u8..31,
        bmc in 1_u8..31,
    ) {
        let mut text = format!(
            "[cluster]\nname = \"lab\"\ninterface = \"eth1\"\nsubnet = \"10.0.0.0/27\"\nmaster = \"10.0.0.1\"\ndns = [\"10.0.0.{dns}\"]\n"
        );
        if let Some(gateway) = gateway {
            text.extend([format!("gateway = \"10.0.0.{gateway}\"\n")]);
        }
        let range = format!("10.0.0.{first}-10.0.0.{}", first + length);
        text.extend([format!(
            "[dhcp]\nrange = \"{range}\"\n[image.base]\nsource = {{ kind = \"tar\", path = \"/x\" }}\n\
             [export.data]\npath = \"/data\"\n[profile.default]\nimage = \"base\"\n"
        )]);
        let mut given = Vec::new();
        for (at, (count, address)) in sections.iter().enumerate() {
            let count = if address.is_some() { 1 } else { *count };
            let macs: Vec<_> = (0..count).map(|n| format!("\"52:54:00:00:{at:02x}:{n:02x}\"")).collect();
            text.extend([format!("[[node]]\nname = \"n{at}x[1-{count}]\"\nmac = [{}]\n", macs.join(","))]);
            if let Some(address) = address {
                text.extend([format!("address = \"10.0.0.{address}\"\n")]);
                given.push(format!("n{at}x1"));
            }
            if at == 0 && count == 1 {
                text.extend([format!("bmc = {{ kind = \"ipmi\", address = \"10.0.0.{bmc}\", port = 1 }}\n")]);
            }
        }
        let range: Option<AddressRange> = range.parse().ok();
        let Some(cluster) = check(&text).cluster else { return Ok(()) };
        let mut seen = std::collections::HashSet::new();
        let mut last = None;
        for node in cluster.nodes() {
            let address = node.address.get();
            prop_assert!(seen.insert(address), "{address} twice:\n{text}");
            if given.contains(&node.name.to_string()) {
                continue;
            }
            prop_assert!(cluster.network.subnet.has_host(address));
            prop_assert!(!range.is_some_and(|range| range.contains(address)));
            prop_assert!(address != cluster.network.master.get());
            prop_assert!(cluster.network.gateway.is_none_or(|gateway| gateway.get() != address));
            prop_assert!(!cluster.network.dns.contains(&address));
            let bmcs = cluster.nodes().iter().filter_map(|node| match &node.bmc.as_ref()?.kind {
                BmcKind::Ipmi { address, .. } => Some(address.clone()),
                _ => None,
            });
            prop_assert!(bmcs.into_iter().all(|bmc| bmc != Host::Address(address)));
            prop_assert!(last < Some(address), "in order:\n{text}");
            last = Some(address);
        }
    }
}
