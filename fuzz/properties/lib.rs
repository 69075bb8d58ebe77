//! What holds for every input, in one function a promise: the fuzz targets call them with what libFuzzer makes up, and
//! the test `corpus` of the crate `cli` with what has been kept in `corpus/`. A promise that is broken panics.
//!
//! In reading order: the pure ones (key expressions, payloads, two of aggregates), the producer's two, the consumer's. Below them is
//! what they share: `invocation` (a producer over a scripted stream), `log` (lines read back), `json`.

mod key_expression;
pub use key_expression::key_expression_gives_keys_that_kinesis_takes;

mod payload;
pub use payload::payload_comes_back_from_its_format;

mod aggregate;
pub use aggregate::{aggregate_is_read_whole_or_not_at_all, user_records_come_back_from_their_aggregates};

mod gateway_event;
pub use gateway_event::gateway_event_accounts_for_every_entry;

mod http_event;
pub use http_event::http_event_accounts_for_every_packet;

mod consumer_event;
pub use consumer_event::consumer_event_accounts_for_every_record;

mod invocation;

mod log;

mod json;

/// A promise, and the name of its fuzz target and of its corpus.
pub type Property = (&'static str, fn(&[u8]));

/// Every promise here.
pub const PROPERTIES: &[Property] = &[
    ("key_expression_gives_keys_that_kinesis_takes", key_expression_gives_keys_that_kinesis_takes),
    ("payload_comes_back_from_its_format", payload_comes_back_from_its_format),
    ("aggregate_is_read_whole_or_not_at_all", aggregate_is_read_whole_or_not_at_all),
    ("user_records_come_back_from_their_aggregates", user_records_come_back_from_their_aggregates),
    ("gateway_event_accounts_for_every_entry", gateway_event_accounts_for_every_entry),
    ("http_event_accounts_for_every_packet", http_event_accounts_for_every_packet),
    ("consumer_event_accounts_for_every_record", consumer_event_accounts_for_every_record),
];
