//! The only crate that knows `PutRecords`: it takes records and a time to end, and says of every record whether
//! Kinesis acknowledged it or why it is undelivered.
//!
//! Deciding is apart from doing. [`Put`] is a state machine without I/O, clock or hidden randomness: it is given
//! answers and times and says what to do next. [`put()`] is the loop that does it, and [`Kinesis`] the real stream
//! behind the one-method seam [`PutRecords`].
//!
//! ```no_run
//! # async fn example() {
//! use std::time::{Duration, Instant};
//! let var = |name: &str| std::env::var_os(name)?.into_string().ok();
//! let config = writer::sdk_config_from_env(var).expect("no bundle of certificates, or one that can be read");
//! let stream = writer::Kinesis::with_config(&config, writer::StreamId::named("packets"));
//! let records = [writer::Record::new("01020304", b"{\"Data\":\"\"}")];
//! let until = Instant::now() + Duration::from_secs(18);
//! let report = writer::put(&stream, &records, writer::Limits::default(), until).await;
//! assert_eq!(report.acknowledged.len() + report.undelivered.len(), records.len());
//! # }
//! ```
//!
//! # Modules
//! - `record`: what is written, and the limits of the service
//! - `failure`: what can go wrong, sorted by what to do about it
//! - `put`: the state machine
//! - `report`: what became of every record
//! - `drive`: the loop around the state machine
//! - `aggregate`: many records in one, and an account of each all the same
//! - `kinesis`: the AWS SDK behind the seam
//! - `environment`: the SDK's configuration from the variables that Lambda sets
//! - `trust`: whom the SDK's connections trust, and its configuration from wherever its loader looks

mod record;
pub use record::{
    DEFAULT_RECORD_BYTES, LARGEST_RECORD_BYTES, Limits, Ordering, REQUEST_BYTES, REQUEST_ENTRIES, Record,
};

mod failure;
pub use failure::{Class, Failure, advice, classify};

mod report;
pub use report::{Acknowledged, Effort, Report, Undelivered};

mod put;
pub use put::{ATTEMPT, Answer, IN_FLIGHT, Put, Request, SHORTEST_ATTEMPT, Step, Stored};

mod drive;
pub use drive::{PutRecords, put};

mod aggregate;
pub use aggregate::{Aggregation, put_aggregated};

mod kinesis;
pub use kinesis::{Kinesis, StreamId};

mod environment;
pub use environment::sdk_config_from_env;

mod trust;
pub use trust::{BadBundle, MISTRUSTED, is_mistrusted, sdk_config};
