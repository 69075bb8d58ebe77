//! What became of the records of one put.

use std::sync::Arc;

use crate::Failure;

/// Every record given is in exactly one of the two lists; both are in the order in which the records were given.
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Records that Kinesis has stored and answered for.
    pub acknowledged: Vec<Acknowledged>,
    /// Records that were given up, each with its reason.
    pub undelivered: Vec<Undelivered>,
    /// What it took.
    pub effort: Effort,
}

/// A record that is in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Position of the record in what was given.
    pub record: usize,
    /// Such as `shardId-000000000000`.
    pub shard_id: String,
    /// Decimal digits, rising within a shard.
    pub sequence_number: String,
}

/// A record that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Position of the record in what was given.
    pub record: usize,
    /// Why: the last failure it met. Shared, for a whole request can fail for one reason.
    pub reason: Arc<Failure>,
    /// Requests that carried it.
    pub attempts: u32,
    /// A request that carried it ended with an unknown outcome: it may be in the stream all the same.
    pub may_be_stored: bool,
}

/// Counts of what a put took; all are 0 for a put of nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Records that were to be written; an aggregate is one, here and below.
    pub records: u64,
    /// `PutRecords` requests sent.
    pub requests: u64,
    /// Entries sent again, each time counted.
    pub retries: u64,
    /// Entries or whole requests' entries that met throttling, each time counted.
    pub throttled: u64,
    /// Entries sent again after an unknown outcome: the stream may hold them twice.
    pub possible_duplicates: u64,
}
