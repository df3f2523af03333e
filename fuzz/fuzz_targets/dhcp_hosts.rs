#![no_main]

#[path = "../properties/dhcp_hosts.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::holds(data));
