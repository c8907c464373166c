//! Fuzzes the target `entry` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("entry").expect("a target")(data));
