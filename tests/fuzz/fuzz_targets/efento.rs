//! Fuzzes the target `efento` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("efento").expect("a target")(data));
