#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::aggregate_is_read_whole_or_not_at_all(data));
