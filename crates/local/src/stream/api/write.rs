//! `PutRecord` and `PutRecords`: the hot path. Everything is checked before anything is stored.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::input::{Text, Violations, is_decimal, parse};
use super::json;
use crate::stream::contents::{Entry, EntryResult, hash_key};
use crate::stream::error::{ApiError, ErrorCode};
use crate::stream::handle::{Config, Kinesis, Stream};
use crate::stream::id::{SequenceNumber, ShardId};
use crate::stream::limits::{MAX_DATA_BYTES, MAX_KEY_CHARS, MAX_PUT_BYTES, MAX_PUT_RECORDS};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutRecords<'a> {
    #[serde(borrow)]
    records: Option<Items<'a>>,
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Item<'a> {
    #[serde(borrow)]
    data: Option<Text<'a>>,
    partition_key: Option<Text<'a>>,
    explicit_hash_key: Option<Text<'a>>,
}

/// The records of a request: as many as it may have, and how many it has.
#[derive(Default)]
struct Items<'a> {
    first: Vec<Item<'a>>,
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<'de>, A::Error> {
                let mut items = Items::default();
                while items.first.len() < MAX_PUT_RECORDS {
                    let Some(item) = list.next_element()? else { break };
                    items.first.push(item);
                }
                items.count = items.first.len();
                // A body has room for millions of empty ones: what is refused anyway need not be kept.
                while list.next_element::<IgnoredAny>()?.is_some() {
                    items.count += 1;
                }
                Ok(items)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsAnswer {
    failed_record_count: usize,
    records: Vec<ItemAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ItemAnswer {
    #[serde(rename_all = "PascalCase")]
    Stored { sequence_number: SequenceNumber, shard_id: ShardId },
    #[serde(rename_all = "PascalCase")]
    Failed { error_code: &'static str, error_message: String },
}

pub(super) fn put_records(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: PutRecords = parse(body)?;
    let mut violations = Violations::default();
    let items = violations.required("records", input.records);
    if let Some(Items { count, .. }) = items {
        violations.size("records", &format!("[{count} records]"), count, 1..=MAX_PUT_RECORDS);
    }
    let items = items.unwrap_or_default().first;
    for (i, item) in items.iter().enumerate() {
        item.check(&mut violations, |member| format!("records.{}.member.{member}", i + 1));
    }
    violations.done()?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let Config { faults, account, .. } = kinesis.config();
    let put = stream.put_if(entries(&stream, items)?, now_ms, |shard, entry| match faults {
        None => Ok(()),
        Some(faults) => faults.entry(stream.name(), account, shard, entry.size(), now_ms),
    })?;
    let records: Vec<_> = put.results.into_iter().map(ItemAnswer::from).collect();
    let failed = records.iter().filter(|record| matches!(record, ItemAnswer::Failed { .. })).count();
    let encryption_type = put.encrypted.then_some("KMS");
    json(&PutRecordsAnswer { failed_record_count: failed, records, encryption_type })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutRecord<'a> {
    #[serde(borrow)]
    data: Option<Text<'a>>,
    partition_key: Option<Text<'a>>,
    explicit_hash_key: Option<Text<'a>>,
    sequence_number_for_ordering: Option<Text<'a>>,
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordAnswer {
    shard_id: ShardId,
    sequence_number: SequenceNumber,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<&'static str>,
}

pub(super) fn put_record(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: PutRecord = parse(body)?;
    let item = Item {
        data: input.data,
        partition_key: input.partition_key,
        explicit_hash_key: input.explicit_hash_key,
    };
    let mut violations = Violations::default();
    item.check(&mut violations, str::to_owned);
    // It asks for a higher number than this one. Here every number is above all before it, so that nothing
    // is left to do but to see that it is a number.
    violations.sequence_number("sequenceNumberForOrdering", input.sequence_number_for_ordering.as_deref());
    violations.done()?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let put = stream.put_if(entries(&stream, vec![item])?, now_ms, |_, _| Ok(()))?;
    let lost = || Err(ApiError::new(ErrorCode::InternalFailure, "The stream gave no answer for the record"));
    let (shard_id, sequence_number) = put.results.into_iter().next().unwrap_or_else(lost)?;
    json(&PutRecordAnswer { shard_id, sequence_number, encryption_type: put.encrypted.then_some("KMS") })
}

impl From<EntryResult> for ItemAnswer {
    fn from(result: EntryResult) -> Self {
        match result {
            Ok((shard_id, sequence_number)) => Self::Stored { sequence_number, shard_id },
            Err(error) => Self::Failed { error_code: error.code.name(), error_message: error.message },
        }
    }
}

impl Item<'_> {
    /// Checks what can be checked without the stream. `path` makes the full name of a member.
    fn check(&self, violations: &mut Violations, path: impl Fn(&str) -> String) {
        match &self.partition_key {
            None => violations.add(None, &path("partitionKey"), "not be null"),
            // A key of so few bytes has no more characters, and needs no name.
            Some(key) if (1..=MAX_KEY_CHARS).contains(&key.len()) => {}
            Some(key) => violations.length(&path("partitionKey"), key, 1..=MAX_KEY_CHARS),
        }
        match &self.data {
            None => violations.add(None, &path("data"), "not be null"),
            Some(data) if decoded_len(data) > MAX_DATA_BYTES => {
                let size = format!("{} bytes", decoded_len(data));
                let must = format_args!("have length less than or equal to {MAX_DATA_BYTES}");
                violations.add(Some(&size), &path("data"), must);
            }
            Some(_) => {}
        }
        if let Some(hash) = &self.explicit_hash_key
            && !is_decimal(hash)
        {
            let must = r"satisfy regular expression pattern: 0|([1-9]\d{0,38})";
            violations.add(Some(hash), &path("explicitHashKey"), must);
        }
    }
}

/// Decodes all data into one buffer, which the records then share, and routes them.
fn entries(stream: &Stream, items: Vec<Item>) -> Result<Vec<Entry>, ApiError> {
    let limit = stream.contents().settings.max_record_kib * 1024;
    let sizes = items.iter().map(|item| item.data.as_ref().map_or(0, |data| decoded_len(data)));
    let mut buffer = Vec::with_capacity(sizes.sum());
    let mut ends = Vec::with_capacity(items.len());
    let mut keys = 0;
    for (i, item) in items.iter().enumerate() {
        let (data, key) = (item.data.as_deref().unwrap_or(""), item.partition_key.as_deref().unwrap_or(""));
        let start = buffer.len();
        STANDARD.decode_vec(data, &mut buffer).map_err(|e| {
            let message = format!("Data of record {} is not base64: {e}", i + 1);
            ApiError::new(ErrorCode::Serialization, message)
        })?;
        let size = buffer.len() - start + key.len();
        if i64::try_from(size).unwrap_or(i64::MAX) > limit {
            return Err(ApiError::argument(format!(
                "Record {} has {size} bytes with its partition key, stream {} takes at most {limit}",
                i + 1,
                stream.name()
            )));
        }
        keys += key.len();
        ends.push(buffer.len());
    }
    if buffer.len() + keys > MAX_PUT_BYTES {
        let message =
            format!("Records size exceeds 10 MB limit: {} bytes with partition keys", buffer.len() + keys);
        return Err(ApiError::argument(message));
    }
    let buffer = Bytes::from(buffer);
    let mut start = 0;
    items
        .into_iter()
        .zip(ends)
        .map(|(item, end)| {
            let partition_key: Arc<str> = Arc::from(item.partition_key.as_deref().unwrap_or(""));
            let hash_key = match item.explicit_hash_key.as_deref() {
                None => hash_key(&partition_key),
                Some(text) => text.parse().map_err(|_| {
                    ApiError::argument(format!(
                        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
                         Specified value was {text}"
                    ))
                })?,
            };
            let data = buffer.slice(start..end);
            start = end;
            Ok(Entry { partition_key, hash_key, data })
        })
        .collect()
}

/// The bytes that base64 text stands for, if it is base64.
fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take(2).filter(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}
