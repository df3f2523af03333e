//! The property of the fuzz target `dhcp_hosts`, on every test run.

#[path = "../../fuzz/properties/dhcp_hosts.rs"]
mod property;

use proptest::collection::vec;
use proptest::prelude::*;

/// Pieces of host lists, and other bytes.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-c][0-9]{0,2}".prop_map(String::into_bytes),
        "10\\.0\\.0\\.[1-9]".prop_map(String::into_bytes),
        "52:54:00:00:00:0[1-9]".prop_map(String::into_bytes),
        "[a-c]1 10\\.0\\.0\\.[1-9] 52-54-00-00-00-0[1-9]\n".prop_map(String::into_bytes),
        "[ \t\r\n#]".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(pieces in vec(piece(), 0..30)) {
        property::holds(&pieces.concat());
    }
}
