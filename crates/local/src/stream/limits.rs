//! The limits and defaults of Kinesis Data Streams, each with where it comes from.
//!
//! "API" is the Kinesis API reference
//! (<https://docs.aws.amazon.com/kinesis/latest/APIReference/>), "quotas" the developer guide's page
//! (<https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>), "ours" a bound that
//! only this local stream has.

use std::time::Duration;

/// Records in one `PutRecords` (API: PutRecords, Records).
pub const MAX_PUT_RECORDS: usize = 500;

/// Bytes in one `PutRecords`, data and partition keys together (API: PutRecords).
pub const MAX_PUT_BYTES: usize = 10 * 1024 * 1024;

/// Bytes of one record's data that any stream can be set to take (API: PutRecord, Data).
pub const MAX_DATA_BYTES: usize = 10 * 1024 * 1024;

/// Characters in a partition key; at least 1 (API: PutRecord, PartitionKey).
pub const MAX_KEY_CHARS: usize = 256;

/// Largest record of a stream that asks for nothing else, in KiB, data and partition key together
/// (API: CreateStream, MaxRecordSizeInKiB).
pub const DEFAULT_RECORD_KIB: i64 = 1024;

/// Largest `MaxRecordSizeInKiB` (API: CreateStream); the smallest is [`DEFAULT_RECORD_KIB`].
pub const MAX_RECORD_KIB: i64 = 10 * 1024;

/// Records that one shard takes in a second (quotas).
pub const SHARD_RECORDS: i64 = 1000;

/// Bytes of data and partition keys that one shard takes in a second (quotas: "1 MB", counted as 1 MiB).
pub const SHARD_BYTES: i64 = 1024 * 1024;

/// Records in one `GetRecords` (API: GetRecords, Limit).
pub const MAX_GET_RECORDS: i64 = 10_000;

/// Bytes in one `GetRecords` answer before encoding (API: GetRecords).
pub const MAX_GET_BYTES: usize = 10 * 1024 * 1024;

/// How long a shard iterator lives, in milliseconds (API: GetShardIterator).
pub const ITERATOR_LIFE_MS: u64 = 5 * 60 * 1000;

/// How long a `NextToken` lives, in milliseconds (API: ListShards, NextToken).
pub const TOKEN_LIFE_MS: u64 = 300 * 1000;

/// Characters in a stream name or a shard id (API: StreamName, ShardId).
pub const MAX_NAME_CHARS: usize = 128;

/// Characters in a stream's ARN (API: StreamARN).
pub const MAX_ARN_CHARS: usize = 2048;

/// Largest value that the `Limit` and `MaxResults` members take (API: ListStreams, DescribeStream, ListShards).
pub const MAX_LIMIT: i64 = 10_000;

/// Streams in a page of `ListStreams` and shards in a page of `DescribeStream`: the default, and the most
/// that is returned whatever was asked (API: ListStreams, DescribeStream, Limit).
pub const PAGE: usize = 100;

/// Shards in a page of `ListShards`, likewise (API: ListShards, MaxResults).
pub const SHARD_PAGE: usize = 1000;

/// Shards of one account, here of one stream (quotas: 20,000 in the large regions).
pub const MAX_SHARDS: i64 = 20_000;

/// Open shards that `UpdateShardCount` scales a stream to at most (API: UpdateShardCount).
pub const MAX_SIZE: usize = 10_000;

/// How often `UpdateShardCount` does its work on one stream in [`RESIZE_PERIOD_MS`] (API: UpdateShardCount).
pub const MAX_RESIZES: usize = 10;

/// The rolling period of [`MAX_RESIZES`], in milliseconds (API: UpdateShardCount, 24 hours).
pub const RESIZE_PERIOD_MS: u64 = 24 * 3600 * 1000;

/// How often the mode of a stream may change in [`MODE_CHANGES_PERIOD_MS`] (API: UpdateStreamMode).
pub const MAX_MODE_CHANGES: usize = 2;

/// The rolling period of [`MAX_MODE_CHANGES`], in milliseconds (API: UpdateStreamMode, 24 hours).
pub const MODE_CHANGES_PERIOD_MS: u64 = 24 * 3600 * 1000;

/// How long a stream is `UPDATING` after its shards were changed, in milliseconds (ours: the service takes half a
/// minute and more).
pub const RESHARD_MS: u64 = 200;

/// Registered consumers of one stream (API: RegisterStreamConsumer; 50 with On-demand Advantage, which is not simulated).
pub const MAX_CONSUMERS: usize = 20;

/// Consumers of one stream that may be `CREATING` at once (API: RegisterStreamConsumer).
pub const MAX_CONSUMERS_CREATING: usize = 5;

/// How long a consumer is `CREATING`, in milliseconds (ours: the service takes some seconds).
pub const CONSUMER_MS: u64 = 200;

/// How long a subscription lasts (API: SubscribeToShard).
pub const SUBSCRIPTION: Duration = Duration::from_secs(5 * 60);

/// How old a subscription must be for another call to take its place (API: SubscribeToShard).
pub const RESUBSCRIBE: Duration = Duration::from_secs(5);

/// A consumer may call `SubscribeToShard` once in this time for a shard (API: SubscribeToShard).
pub const SUBSCRIBE_EVERY: Duration = Duration::from_secs(1);

/// How often a subscription without news sends an event without records, so that its reader can keep where it is (ours:
/// the service documents that it does, and not how often).
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Bytes of data and keys in one event of a subscription, but for a record that is larger (ours).
pub const EVENT_BYTES: usize = 1024 * 1024;

/// On-demand streams of one account (quotas). Told by `DescribeLimits`, not held.
pub const MAX_ON_DEMAND_STREAMS: usize = 50;

/// `GetRecords` calls that one shard answers in a second (quotas).
pub const SHARD_READS: i64 = 5;

/// Bytes of data and partition keys that one shard gives to `GetRecords` in a second (quotas: "2 MB", counted as 2 MiB).
pub const SHARD_READ_BYTES: i64 = 2 * 1024 * 1024;

/// Shards that an on-demand stream starts with (developer guide, "Choose the right mode").
pub const ON_DEMAND_SHARDS: u32 = 4;

/// Shortest and default retention, in hours (API: DecreaseStreamRetentionPeriod).
pub const MIN_RETENTION_HOURS: i64 = 24;

/// Longest retention, in hours: 365 days (API: IncreaseStreamRetentionPeriod).
pub const MAX_RETENTION_HOURS: i64 = 8760;

/// Tags of one stream (API: AddTagsToStream, "up to 50 tags").
pub const MAX_TAGS: usize = 50;

/// Tags in one request (API: TagMap).
pub const MAX_TAG_ENTRIES: usize = 200;

/// Characters in a tag key, at least 1 (API: Tag).
pub const MAX_TAG_KEY_CHARS: usize = 128;

/// Characters in a tag value (API: Tag).
pub const MAX_TAG_VALUE_CHARS: usize = 256;

/// The key that a stream encrypted without one of its own uses (API: StartStreamEncryption, KeyId).
pub const DEFAULT_KEY: &str = "alias/aws/kinesis";

/// Bytes of an HTTP body (ours). A full `PutRecords` is 14 MiB in base64; the rest is room for keys written
/// with JSON escapes.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// What a stored record costs beside its data and key (ours): without it, records of one byte would count
/// for a hundredth of the memory that they take.
pub const RECORD_OVERHEAD: u64 = 160;
