#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::payload_comes_back_from_its_format(data));
