//! Fuzzes the target `tile_path` of `tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::target("tile_path").expect("a target")(data));
