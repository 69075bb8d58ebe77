#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::consumer_event_accounts_for_every_record(data));
