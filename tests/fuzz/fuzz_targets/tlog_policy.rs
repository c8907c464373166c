//! Fuzzes the target `tlog_policy` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("tlog_policy").expect("a target")(data));
