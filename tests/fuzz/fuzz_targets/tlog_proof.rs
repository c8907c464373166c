//! Fuzzes the target `tlog_proof` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("tlog_proof").expect("a target")(data));
