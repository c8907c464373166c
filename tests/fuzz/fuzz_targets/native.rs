//! Fuzzes the target `native` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("native").expect("a target")(data));
