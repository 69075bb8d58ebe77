#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::gateway_event_accounts_for_every_entry(data));
