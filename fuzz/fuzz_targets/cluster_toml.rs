#![no_main]

#[path = "../properties/cluster_toml.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::holds(data));
