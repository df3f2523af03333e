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
}
