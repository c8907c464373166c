//! Fuzzes the target `canonical` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("canonical").expect("a target")(data));
