//! The local stream: Amazon Kinesis Data Streams in memory, for one machine.
//!
//! [`Kinesis`] holds the streams; [`Kinesis::serve`] gives them to any AWS SDK or the AWS CLI over HTTP/1.1
//! and HTTP/2 without TLS, and [`Stream`] to the rest of this process, which waits for records instead of
//! polling. What the service does with a record is done here too: routing by MD5, sequence numbers, limits,
//! iterators, retention, lag. Nothing is written to disk, and signatures are not looked at: it belongs on a
//! loopback address.
//!
//! `SubscribeToShard` is answered with an event stream that goes on for minutes: the `subscription` of a registered
//! `consumer`.
//!
//! What is not simulated is refused by name, never ignored: other operations, unknown members of a request,
//! CBOR.
//!
//! ```
//! use local::stream::{Config, Kinesis, Position};
//!
//! let kinesis = Kinesis::new(Config::local());
//! kinesis.create_stream("packets", 2, false)?;
//! let stream = kinesis.stream("packets").expect("it was just made");
//! let shard = stream.shards()[0].id;
//! assert!(stream.read(&shard, &Position::TrimHorizon, 100, 1 << 20)?.records.is_empty());
//! # Ok::<(), local::stream::ApiError>(())
//! ```

mod handle;

mod contents;
mod shard;

mod consumer;
mod subscription;

mod chunks;
mod id;

mod api;
mod token;

mod http;

mod error;
pub mod limits;

pub use contents::{Counts, Entry, EntryResult, hash_key};
pub use error::{ApiError, ErrorCode};
pub use handle::{Config, Kinesis, Stream};
pub use id::{NotASequenceNumber, NotAShardId, SequenceNumber, ShardId};
pub use shard::{Position, Read, Record, Shard};
