#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::user_records_come_back_from_their_aggregates(data));
