//! Fuzzes the target `event` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("event").expect("a target")(data));
