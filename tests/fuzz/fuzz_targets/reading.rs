//! Fuzzes the target `reading` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("reading").expect("a target")(data));
