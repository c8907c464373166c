//! Fuzzes the target `checkpoint` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("checkpoint").expect("a target")(data));
