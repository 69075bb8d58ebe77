//! The consumer: a Lambda function, bound to a Kinesis stream by an event source mapping, that logs every packet
//! as one line of JSON and never moves past a record that it has not handled whole or reported.
//!
//! A record is *handled* once its lines are written. What can never be handled (no record at all, `data` that is
//! no base64, a panic in handling it) is logged whole at ERROR, counted and done: it neither holds up its
//! neighbours nor repeats them. Only what time can mend is *reported*: a log that takes no lines, a deadline that
//! is near. The [`Answer`] then names the first record not handled, nothing behind it is handled, and the mapping
//! (with `ReportBatchItemFailures`) begins there again. At least one record is handled in each invocation, so
//! that every one makes progress.
//!
//! A batch's lines are written with one write, or in pieces where they become many megabytes: so memory is bounded
//! whatever a record holds, and where a piece cannot be written, the first record that is not wholly written is
//! reported.
//!
//! In reading order: [`Settings`], [`Record`] (one entry of the event, read alone), [`Consumer`] (a batch),
//! [`Answer`], [`Error`], [`run`] (under Lambda).
//!
//! # The log
//!
//! Every line is a JSON object with `timestamp`, `level` and `message` first. A member without a value is absent.
//!
//! | member | in lines | is |
//! | --- | --- | --- |
//! | `message` | all | `packet`, `record` (not a packet), `broken aggregate`, `undecodable` or `summary` |
//! | `shard` | all | the shard's id |
//! | `sequenceNumber` | all but `summary` | the record's, as Lambda gave it |
//! | `subSequenceNumber` | `packet`, `record` | of a user record, its place in its aggregate, from 0 |
//! | `partitionKey` | `packet`, `record` | the record's, or the user record's own; absent on streams that distribute records themselves |
//! | `arrival`, `age` | `packet`, `record` | when Kinesis took the record (RFC 3339), and how many milliseconds ago that was |
//! | `remote`, `tag` | `packet` | the packet's sender, and its `Tag` (its JSON text where that is no string) |
//! | `size` | `packet`, `record` | bytes of the payload, or of the record |
//! | `text` or `base64` | all but `summary` | the payload, the record's data, or the undecodable entry of the event: as text where it is printable, else as base64 |
//! | `ascii` | beside `base64` | its first 64 bytes for the eye, a dot for what is no printable ASCII; only where at least half of them are |
//! | `truncated` | `packet` | `true` where `LOG_PAYLOAD_BYTES` has cut the payload |
//! | `reason` | `undecodable`, `broken aggregate`, some `packet` | what is wrong |
//! | `requestId` | `summary` | the invocation's |
//! | `id`, `part`, `of` | any but `summary` | an entry too long for one line: see below |
//!
//! A `packet` line is INFO. One with a `reason` is WARN: the `Data` of that packet is not what its `Formatter` says,
//! and stands in `text` as it came (where it is no string at all, the packet's JSON does). A `record` line is INFO,
//! an `undecodable` one ERROR. Of all these only the line of a readable packet is left out where
//! the log's level is above its own; the others go under the level's name then. `LOG_PACKETS` and `LOG_PAYLOAD_BYTES` shape the lines of readable packets alone.
//!
//! What is too long for one line ([`LINE_BYTES`](function::lines::LINE_BYTES)) comes in numbered ones, whose
//! `base64` put together is the record's data (for `undecodable`, the entry of the event), whole.
//!
//! The `summary`, one for each invocation and written whatever the level, is also a CloudWatch metric:
//! `Records` = `Packets` + `NotPackets` + `Undecodable` + `Reported`, where each of the `Aggregates` counts as the
//! `UserRecords` in it; `BrokenAggregates`, among those that are no packets; `Bytes` (of the records' data), `MaxAge` (of
//! the oldest record handled), `Milliseconds` (taken), `ColdStart` (1 in an environment's first invocation).

mod settings;
pub use settings::{LOG_PACKETS, LOG_PAYLOAD_BYTES, LogPackets, SETTINGS, Settings};

mod record;
pub use record::{Record, Undecodable};

mod consumer;
pub use consumer::{Consumer, Invocation};

mod line;

mod log;

mod answer;
pub use answer::{Answer, Error};

mod lambda;
pub use lambda::run;
