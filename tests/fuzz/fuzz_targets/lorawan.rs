//! Fuzzes the target `lorawan` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("lorawan").expect("a target")(data));
