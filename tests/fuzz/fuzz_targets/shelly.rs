//! Fuzzes the target `shelly` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("shelly").expect("a target")(data));
