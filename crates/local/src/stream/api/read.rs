//! `GetShardIterator` and `GetRecords`.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};

use super::input::{Text, Timestamp, Violations, parse};
use super::shards::ChildShard;
use super::{json, seconds};
use crate::stream::error::{ApiError, ErrorCode};
use crate::stream::handle::{Kinesis, Stream, not_found};
use crate::stream::id::{SequenceNumber, ShardId};
use crate::stream::limits::{ITERATOR_LIFE_MS, MAX_GET_BYTES, MAX_GET_RECORDS};
use crate::stream::shard::{Position, Record};
use crate::stream::token::Token;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetShardIterator<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    shard_id: Option<Text<'a>>,
    shard_iterator_type: Option<Text<'a>>,
    starting_sequence_number: Option<Text<'a>>,
    timestamp: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetShardIteratorAnswer {
    shard_iterator: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IteratorType {
    AfterSequenceNumber,
    Latest,
    AtTimestamp,
    AtSequenceNumber,
    TrimHorizon,
}

pub(super) const ITERATOR_TYPES: [(&str, IteratorType); 5] = [
    ("AFTER_SEQUENCE_NUMBER", IteratorType::AfterSequenceNumber),
    ("LATEST", IteratorType::Latest),
    ("AT_TIMESTAMP", IteratorType::AtTimestamp),
    ("AT_SEQUENCE_NUMBER", IteratorType::AtSequenceNumber),
    ("TRIM_HORIZON", IteratorType::TrimHorizon),
];

pub(super) fn get_shard_iterator(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: GetShardIterator = parse(body)?;
    let mut violations = Violations::default();
    let shard = violations.required("shardId", input.shard_id.as_deref());
    violations.name("shardId", shard);
    let kind = violations.required("shardIteratorType", input.shard_iterator_type.as_deref());
    let kind = violations.word("shardIteratorType", kind, &ITERATOR_TYPES);
    let number = input.starting_sequence_number.as_deref();
    let number = violations.sequence_number("startingSequenceNumber", number);
    violations.done()?;
    let (Some(shard), Some(kind)) = (shard, kind) else {
        return Err(ApiError::argument("ShardId is missing"));
    };

    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let shard = shard_id(shard, &stream, &kinesis.config().account)?;
    let from = position(kind, number, input.timestamp, now_ms, "StartingSequenceNumber")?;
    let from = stream.fix(shard, &from, now_ms)?;
    json(&GetShardIteratorAnswer { shard_iterator: iterator(&stream, shard, from, now_ms) })
}

/// Where to begin, by the type of an iterator and what it needs beside; `member` is the one that holds `number`.
pub(super) fn position(
    kind: IteratorType,
    number: Option<SequenceNumber>,
    timestamp: Option<Timestamp>,
    now_ms: u64,
    member: &str,
) -> Result<Position, ApiError> {
    match (kind, number, timestamp) {
        (IteratorType::TrimHorizon, None, None) => Ok(Position::TrimHorizon),
        (IteratorType::Latest, None, None) => Ok(Position::Latest),
        (IteratorType::AtSequenceNumber, Some(number), None) => Ok(Position::At(number)),
        (IteratorType::AfterSequenceNumber, Some(number), None) => Ok(Position::After(number)),
        (IteratorType::AtTimestamp, None, Some(at)) if at.ms > now_ms => Err(ApiError::argument(format!(
            "Timestamp {} lies ahead of the current time, {}",
            seconds(at.ms),
            seconds(now_ms)
        ))),
        (IteratorType::AtTimestamp, None, Some(at)) => Ok(Position::AtTimestamp(at.ms)),
        _ => {
            let given = |given: bool, name| if given { format!("a {name}") } else { format!("no {name}") };
            let kind = ITERATOR_TYPES.iter().find(|(_, known)| *known == kind).map_or("", |(word, _)| word);
            Err(ApiError::argument(format!(
                "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and {member}, \
                 (2) AT_TIMESTAMP and Timestamp, or (3) TRIM_HORIZON or LATEST and neither. \
                 Request specified {kind}, {} and {}.",
                given(number.is_some(), member),
                given(timestamp.is_some(), "Timestamp"),
            )))
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetRecords<'a> {
    #[serde(borrow)]
    shard_iterator: Option<Text<'a>>,
    limit: Option<i64>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecordsAnswer<'a> {
    records: Vec<RecordAnswer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
    millis_behind_latest: u64,
    /// Those to go on with, where this shard has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    child_shards: Option<Vec<ChildShard>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordAnswer<'a> {
    sequence_number: SequenceNumber,
    approximate_arrival_timestamp: f64,
    #[serde(serialize_with = "base64")]
    data: &'a [u8],
    partition_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<&'static str>,
}

pub(super) fn get_records(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: GetRecords = parse(body)?;
    let mut violations = Violations::default();
    let text = violations.required("shardIterator", input.shard_iterator.as_deref()).unwrap_or_default();
    violations.number("limit", input.limit, 1..=MAX_GET_RECORDS);
    violations.done()?;
    let Some(Token::Iterator { stream, shard, from, issued_ms }) = Token::open(text) else {
        return Err(ApiError::argument("Invalid ShardIterator."));
    };
    if now_ms.saturating_sub(issued_ms) > ITERATOR_LIFE_MS {
        let message = format!(
            "Iterator expired. The iterator was created at time {} while right now it is {} which is further in \
             the future than the tolerated delay of {ITERATOR_LIFE_MS} milliseconds.",
            seconds(issued_ms),
            seconds(now_ms)
        );
        return Err(ApiError::new(ErrorCode::ExpiredIterator, message));
    }
    let account = &kinesis.config().account;
    let stream = kinesis.stream(&stream).ok_or_else(|| not_found(&stream, account))?;
    if let Some(arn) = input.stream_arn.as_deref().filter(|arn| *arn != stream.arn()) {
        return Err(ApiError::argument(format!("StreamARN is {arn}, the iterator is of {}", stream.arn())));
    }
    let limit = usize::try_from(input.limit.unwrap_or(MAX_GET_RECORDS)).unwrap_or(1);
    let faults = kinesis.config().faults.as_deref();
    if let Some(faults) = faults {
        faults.reading(stream.name(), account, shard, now_ms)?;
    }
    let read = stream.read_at(shard, &from, limit, MAX_GET_BYTES, now_ms)?;
    if let Some(faults) = faults {
        faults.have_read(stream.name(), shard, read.records.iter().map(Record::size).sum());
    }
    let child_shards = read
        .next
        .is_none()
        .then(|| stream.contents().children(shard).map(|log| ChildShard::from(&log.about)).collect());
    json(&GetRecordsAnswer {
        records: read.records.iter().map(RecordAnswer::from).collect(),
        next_shard_iterator: read.next.map(|next| iterator(&stream, shard, next, now_ms)),
        millis_behind_latest: read.millis_behind_latest,
        child_shards,
    })
}

impl<'a> From<&'a Record> for RecordAnswer<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            sequence_number: record.sequence_number,
            approximate_arrival_timestamp: seconds(record.arrival_ms),
            data: &record.data,
            partition_key: &record.partition_key,
            encryption_type: record.encrypted.then_some("KMS"),
        }
    }
}

/// The shard that a request names; one that cannot be a shard is one that is not there.
pub(super) fn shard_id(text: &str, stream: &Stream, account: &str) -> Result<ShardId, ApiError> {
    text.parse().map_err(|_| {
        let message =
            format!("Could not find shard {text} in stream {} under account {account}.", stream.name());
        ApiError::new(ErrorCode::ResourceNotFound, message)
    })
}

fn iterator(stream: &Stream, shard: ShardId, from: Position, issued_ms: u64) -> String {
    Token::Iterator { stream: stream.name().into(), shard, from, issued_ms }.seal()
}

fn base64<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64Display::new(data, &STANDARD))
}
