//! The aggregated-record format of the Amazon Kinesis Producer Library (KPL): many *user records* in one
//! Kinesis record, an *aggregate*. Written byte for byte as the KPL writes it; read with everything checked
//! before anything is given out. No input, output, clock or randomness, and no input makes it panic.
//!
//! ```
//! use kpl::{Aggregator, Buckets, UserRecord, decode};
//!
//! let buckets = Buckets::new(16)?;
//! let bucket = buckets.of("device-7");
//!
//! let mut aggregator = Aggregator::new();
//! for data in [b"one".as_slice(), b"two"] {
//!     let explicit_hash_key = Some(bucket.hash_key());
//!     let record = UserRecord { partition_key: "device-7", explicit_hash_key, data };
//!     if aggregator.size_with(&record) <= 25 * 1024 {
//!         aggregator.push(&record)?;
//!     } // else: `finish` first, and push into what is empty again
//! }
//! let size = aggregator.size();
//! let record = aggregator.finish().unwrap_or_default();
//! assert_eq!(record.len(), size);
//!
//! let aggregate = decode(&record)?.expect("an aggregate, by its first four bytes");
//! let data: Vec<_> = aggregate.records().map(|record| record.data).collect();
//! assert_eq!(data, [b"one", b"two"]);
//!
//! assert!(decode(b"any other record")?.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In reading order: `record` (what goes in and comes out), `encode`, `decode`, `broken` (why a record that
//! says it is an aggregate is none), `bucket` (which keys may share an aggregate), and below them `wire`,
//! protobuf as far as this needs it, and `digest`, MD5 of several messages at once.
//!
//! # The format
//!
//! As published in
//! [aggregation-format.md](https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md)
//! of awslabs/amazon-kinesis-producer:
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | the magic number, [`MAGIC`] |
//! | any | a protobuf (proto2) message, `AggregatedRecord` |
//! | 16 | the MD5 digest of that message |
//!
//! | message | field | type | holds |
//! | --- | --- | --- | --- |
//! | `AggregatedRecord` | 1 | repeated string | the partition keys, a table |
//! | | 2 | repeated string | the explicit hash keys in decimal, a table |
//! | | 3 | repeated `Record` | the user records, in order |
//! | `Record` | 1 | required uint64 | which partition key, from 0 |
//! | | 2 | optional uint64 | which explicit hash key, from 0 |
//! | | 3 | required bytes | the data |
//! | | 4 | repeated `Tag` | never written, see below |
//! | `Tag` | 1 | required string | its key |
//! | | 2 | optional string | its value |
//!
//! A user record has no sequence number of its own: it is known by that of its Kinesis record and by its place in
//! there, from 0, which the Kinesis Client Library (KCL) calls the sub-sequence number.
//!
//! # What becomes of what is odd
//!
//! [`decode()`] gives all user records or none. What is [`Broken`] is the caller's, whole, to keep as it came.
//!
//! | the record | is |
//! | --- | --- |
//! | does not begin with the magic number, or is shorter than that | no aggregate: `Ok(None)` |
//! | ends before a digest could | [`Broken::Short`] |
//! | does not match its digest: a byte lost, added or changed | [`Broken::Digest`] |
//! | matches its digest and is no protobuf: cut off, a length beyond the end, a group without end | [`Broken::Message`] |
//! | holds no user record: the others' readers make it vanish | [`Broken::NoRecords`] |
//! | a user record without index or data, or a tag without key | [`Broken::Missing`] |
//! | an index beyond its table | [`Broken::Index`] |
//! | a key or tag that is not UTF-8 | [`Broken::NotText`] |
//! | a partition key of over [`PARTITION_KEY_CHARACTERS`] | [`Broken::PartitionKey`]: else one long key, named by every user record, would be gigabytes in a log |
//! | an explicit hash key that is no number below 2^128 | [`Broken::ExplicitHashKey`]: the KCL loses such an aggregate |
//! | user records before the tables, tables in pieces | read: protobuf has no order of fields |
//! | the same key twice in a table, keys that nobody names, an empty key | read |
//! | fields that we do not know, also groups, or ours in another wire type | passed over, as protobuf says |
//! | a field twice where one belongs | read: the last counts, as protobuf says |
//! | empty data | a user record like any other |
//! | tags | checked and passed over: neither KPL nor KCL has a way to write or read them |
//! | data that is itself an aggregate | data: the caller may [`decode()`] it again, and so bounds the depth |
//!
//! # Memory
//!
//! Keys and data are borrowed from the input. What is allocated for it is the two tables, 16 bytes a key; a key
//! takes two bytes at least, so that is never more than eight times the input.

mod record;

mod digest;

mod encode;

mod decode;

mod broken;

mod bucket;

mod wire;

pub use broken::{Broken, Malformed, Table};
pub use bucket::{Bucket, Buckets, NotAPowerOfTwo};
pub use decode::{Aggregate, UserRecords, decode};
pub use encode::{Aggregator, BadPartitionKey, Unsealed};
pub use record::{MAGIC, PARTITION_KEY_CHARACTERS, UserRecord, hash_key};
