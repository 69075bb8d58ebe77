//! What is written, and how much of it the service takes.

/// One record on its way to the stream. The data is lent: it is copied once for each request that carries it.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// 1 to 256 characters; its MD5 chooses the shard.
    pub partition_key: String,
    /// A place in the hash space that chooses the shard instead.
    pub explicit_hash_key: Option<u128>,
    /// The record's bytes as the consumer will see them.
    pub data: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record whose partition key chooses its shard.
    pub fn new(partition_key: impl Into<String>, data: &'a [u8]) -> Self {
        Self { partition_key: partition_key.into(), explicit_hash_key: None, data }
    }

    /// Bytes that count against the limits of a record and of a request: the data before base64, and the key.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// What the caller of a put may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the largest record, data and key; larger ones are undelivered at the door.
    pub record_bytes: usize,
    /// What is promised about the order of a key's records.
    pub ordering: Ordering,
}

impl Default for Limits {
    fn default() -> Self {
        Self { record_bytes: DEFAULT_RECORD_BYTES, ordering: Ordering::default() }
    }
}

/// What is promised about the order in which a key's records first appear in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// The order given, unless Kinesis takes a part of a request: then records of one key in that request may change
    /// places. A hot key costs one request for many records.
    #[default]
    Relaxed,
    /// The order given. A record is sent when the one before it of its key is acknowledged or given up: a hot key costs
    /// one request a record.
    Strict,
}

/// Most entries of one `PutRecords` request (API reference, PutRecords, `Records`).
pub const REQUEST_ENTRIES: usize = 500;

/// Most bytes of one `PutRecords` request, partition keys included (API reference, PutRecords).
pub const REQUEST_BYTES: usize = 10 * 1024 * 1024;

/// Bytes of one record, data and partition key, that a stream takes unless it was set to take more
/// (API reference, UpdateMaxRecordSize: `MaxRecordSizeInKiB` is 1,024 by default).
pub const DEFAULT_RECORD_BYTES: usize = 1024 * 1024;

/// Most bytes that may be allowed for one record. Kinesis can be set to take up to 10 MiB, but a Lambda consumer's
/// event is at most 6 MB with the data in base64, so that a larger record could be written and never read.
pub const LARGEST_RECORD_BYTES: usize = 4 * 1024 * 1024;
