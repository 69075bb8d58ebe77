#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::key_expression_gives_keys_that_kinesis_takes(data));
