//! Fuzzes the target `bundle` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("bundle").expect("a target")(data));
