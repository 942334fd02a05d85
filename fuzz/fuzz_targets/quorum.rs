#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zkd_fuzz::quorum(data));
