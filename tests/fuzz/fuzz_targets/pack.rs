//! Fuzzes the target `pack` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("pack").expect("a target")(data));
