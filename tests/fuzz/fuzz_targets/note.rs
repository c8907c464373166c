//! Fuzzes the target `note` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("note").expect("a target")(data));
