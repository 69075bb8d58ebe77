//! What is written, and how much of it the service takes.

/// One record on its way to the stream. The data is lent: it is copied once for each request that carries it.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// 1 to 256 characters; its MD5 chooses the shard.
    pub partition_key: String,
    /// The record's bytes as the consumer will see them.
    pub data: &'a [u8],
}

impl Record<'_> {
    /// Bytes that count against the limits of a record and of a request: the data before base64, and the key.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
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
