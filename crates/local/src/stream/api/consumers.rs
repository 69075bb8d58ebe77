//! Enhanced fan-out: registering consumers, and subscribing them to shards.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::input::{Text, Timestamp, Violations, parse};
use super::read::{ITERATOR_TYPES, RecordAnswer, position, shard_id};
use super::resources::About;
use super::shards::{ChildShard, page_limit};
use super::streams::check_age;
use super::{json, seconds};
use crate::stream::consumer::Consumer;
use crate::stream::error::{ApiError, ErrorCode};
use crate::stream::handle::{Kinesis, Stream};
use crate::stream::id::{SequenceNumber, ShardId};
use crate::stream::limits::{MAX_ARN_CHARS, MAX_LIMIT, PAGE};
use crate::stream::shard::{Position, Read};
use crate::stream::subscription::Subscription;
use crate::stream::token::Token;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Register<'a> {
    #[serde(rename = "StreamARN", borrow)]
    stream_arn: Option<Text<'a>>,
    consumer_name: Option<Text<'a>>,
    tags: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RegisterAnswer {
    consumer: ConsumerAnswer,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConsumerAnswer {
    consumer_name: String,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: String,
    consumer_status: &'static str,
    consumer_creation_timestamp: f64,
    #[serde(rename = "StreamARN", skip_serializing_if = "Option::is_none")]
    stream_arn: Option<String>,
}

impl ConsumerAnswer {
    fn of(consumer: &Consumer, now_ms: u64) -> Self {
        Self {
            consumer_name: consumer.name.clone(),
            consumer_arn: consumer.arn.clone(),
            consumer_status: if consumer.is_creating(now_ms) { "CREATING" } else { "ACTIVE" },
            consumer_creation_timestamp: seconds(consumer.made_ms),
            stream_arn: None,
        }
    }
}

pub(super) fn register(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: Register = parse(body)?;
    let mut violations = Violations::default();
    violations.required("streamARN", input.stream_arn.as_deref());
    let name = violations.required("consumerName", input.consumer_name.as_deref());
    violations.name("consumerName", name);
    let tags = input.tags.unwrap_or_default();
    super::settings::check_tags(&mut violations, &tags);
    violations.done()?;
    let stream = kinesis.find(None, input.stream_arn.as_ref())?;
    let name = name.unwrap_or_default();
    let mut about = About::default();
    about.tag(tags, &format!("Consumer {name}"))?;
    let mut contents = stream.living()?;
    let consumer = contents.consumers.register(stream.arn(), name, now_ms)?;
    consumer.about = about;
    json(&RegisterAnswer { consumer: ConsumerAnswer::of(consumer, now_ms) })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Named<'a> {
    #[serde(rename = "StreamARN", borrow)]
    stream_arn: Option<Text<'a>>,
    consumer_name: Option<Text<'a>>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeAnswer {
    consumer_description: ConsumerAnswer,
}

pub(super) fn describe(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let (stream, name) = find(kinesis, &parse(body)?)?;
    let contents = stream.living()?;
    let consumer = contents.consumers.get(&name).ok_or_else(|| unknown(&name, stream.arn()))?;
    let stream_arn = Some(stream.arn().to_owned());
    json(&DescribeAnswer {
        consumer_description: ConsumerAnswer { stream_arn, ..ConsumerAnswer::of(consumer, now_ms) },
    })
}

pub(super) fn deregister(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let (stream, name) = find(kinesis, &parse(body)?)?;
    stream.living()?.consumers.deregister(&name);
    Ok(Vec::new())
}

/// The stream and the name of a consumer that is there: named by its ARN, or by its name and its stream.
fn find(kinesis: &Kinesis, input: &Named<'_>) -> Result<(Stream, String), ApiError> {
    let mut violations = Violations::default();
    violations.name("consumerName", input.consumer_name.as_deref());
    violations.done()?;
    match (&input.consumer_arn, &input.stream_arn, &input.consumer_name) {
        // All three may be given, if they agree (API: DescribeStreamConsumer).
        (Some(arn), stream, name) => {
            let (found, found_name) = by_arn(kinesis, arn)?;
            let agree = stream.as_deref().is_none_or(|stream| stream == found.arn())
                && name.as_deref().is_none_or(|name| name == found_name);
            if agree {
                return Ok((found, found_name));
            }
            let message = "ConsumerARN names another consumer than StreamARN and ConsumerName";
            Err(ApiError::argument(message))
        }
        (None, Some(stream), Some(name)) => {
            let stream = kinesis.find(None, Some(stream))?;
            let known = stream.living()?.consumers.get(name).is_some();
            if known { Ok((stream, name.to_string())) } else { Err(unknown(name, stream.arn())) }
        }
        _ => {
            Err(ApiError::argument("Either ConsumerARN, or StreamARN and ConsumerName, should be provided."))
        }
    }
}

/// The stream and the name of the consumer with this ARN.
pub(super) fn by_arn(kinesis: &Kinesis, arn: &Text<'_>) -> Result<(Stream, String), ApiError> {
    let mut violations = Violations::default();
    violations.length("consumerARN", arn, 1..=MAX_ARN_CHARS);
    violations.done()?;
    let Some((stream, _)) = arn.split_once("/consumer/") else {
        let message = format!("ConsumerARN is {:?}, expected STREAM_ARN/consumer/NAME:SECONDS", &**arn);
        return Err(ApiError::argument(message));
    };
    let stream = kinesis.find(None, Some(&Text(stream.into())))?;
    let name = stream.living()?.consumers.by_arn(arn).map(|consumer| consumer.name.clone());
    let name = name.ok_or_else(|| unknown(arn, stream.arn()))?;
    Ok((stream, name))
}

pub(super) fn unknown(consumer: &str, stream: &str) -> ApiError {
    ApiError::new(ErrorCode::ResourceNotFound, format!("Consumer {consumer} of {stream} not found."))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct List<'a> {
    #[serde(rename = "StreamARN", borrow)]
    stream_arn: Option<Text<'a>>,
    next_token: Option<Text<'a>>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListAnswer {
    consumers: Vec<ConsumerAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) fn list(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: List = parse(body)?;
    let mut violations = Violations::default();
    violations.required("streamARN", input.stream_arn.as_deref());
    violations.number("maxResults", input.max_results, 1..=MAX_LIMIT);
    violations.done()?;
    let stream = kinesis.find(None, input.stream_arn.as_ref())?;
    if input.stream_creation_timestamp.is_some_and(|made| made.ms / 1000 != stream.made_ms() / 1000) {
        return Err(crate::stream::handle::not_found(stream.name(), &kinesis.config().account));
    }
    let after = match input.next_token.as_deref().map(Token::open) {
        None => None,
        Some(Some(Token::Consumers { stream: of, after, issued_ms })) if of == stream.name() => {
            check_age(issued_ms, now_ms)?;
            Some(after)
        }
        Some(_) => return Err(ApiError::argument("Invalid NextToken.")),
    };
    let limit = page_limit(input.max_results, PAGE);
    let contents = stream.living()?;
    let mut page: Vec<_> = contents.consumers.after(after.as_deref()).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next_token = page.last().filter(|_| more).map(|last| {
        Token::Consumers { stream: stream.name().into(), after: last.name.clone(), issued_ms: now_ms }.seal()
    });
    let consumers = page.into_iter().map(|consumer| ConsumerAnswer::of(consumer, now_ms)).collect();
    json(&ListAnswer { consumers, next_token })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Subscribe<'a> {
    #[serde(rename = "ConsumerARN", borrow)]
    consumer_arn: Option<Text<'a>>,
    shard_id: Option<Text<'a>>,
    starting_position: Option<Start<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Start<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    sequence_number: Option<Text<'a>>,
    timestamp: Option<Timestamp>,
}

/// `SubscribeToShard`: what is given back is pushed to the caller.
pub(in crate::stream) fn subscribe(
    kinesis: &Kinesis,
    body: &[u8],
    now_ms: u64,
) -> Result<Subscription, ApiError> {
    let input: Subscribe = parse(body)?;
    let mut violations = Violations::default();
    let arn = violations.required("consumerARN", input.consumer_arn);
    let shard = violations.required("shardId", input.shard_id.as_deref());
    violations.name("shardId", shard);
    let start = violations.required("startingPosition", input.starting_position.as_ref());
    let kind = start.and_then(|start| violations.required("startingPosition.type", start.r#type.as_deref()));
    let kind = violations.word("startingPosition.type", kind, &ITERATOR_TYPES);
    let number = start.and_then(|start| start.sequence_number.as_deref());
    let number = violations.sequence_number("startingPosition.sequenceNumber", number);
    violations.done()?;
    let (Some(arn), Some(shard), Some(start), Some(kind)) = (arn, shard, start, kind) else {
        return Err(ApiError::argument("StartingPosition is missing"));
    };
    let (stream, name) = by_arn(kinesis, &arn)?;
    let account = &kinesis.config().account;
    let shard = shard_id(shard, &stream, account)?;
    let from = position(kind, number, start.timestamp, now_ms, "SequenceNumber")?;
    // The oldest and the newest record are those of now.
    let from = stream.fix(shard, &from, now_ms)?;
    let mut contents = stream.living()?;
    let consumer = contents.consumers.by_arn(&arn).ok_or_else(|| unknown(&name, stream.arn()))?;
    if consumer.is_creating(now_ms) {
        let message = format!("Consumer {name} of {} is CREATING, expected ACTIVE", stream.arn());
        return Err(ApiError::new(ErrorCode::ResourceInUse, message));
    }
    let held = consumer.subscribe(shard, Instant::now())?;
    drop(contents);
    Ok(Subscription::new(stream, account.clone(), shard, from, held))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    records: Vec<RecordAnswer<'a>>,
    /// None at the end of the shard, which readers know by that.
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_sequence_number: Option<SequenceNumber>,
    millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    child_shards: Option<Vec<ChildShard>>,
}

/// An event with what was read, as JSON.
pub(in crate::stream) fn subscription_event(stream: &Stream, shard: ShardId, read: &Read) -> Vec<u8> {
    // A place before the next record, whether there is one or not: going on after it or at it is the same.
    let continuation = read.next.and_then(|next| match next {
        Position::At(number) | Position::After(number) => Some(number),
        Position::TrimHorizon | Position::Latest | Position::AtTimestamp(_) => None,
    });
    let ended = read.next.is_none();
    let event = Event {
        records: read.records.iter().map(RecordAnswer::from).collect(),
        continuation_sequence_number: continuation,
        millis_behind_latest: read.millis_behind_latest,
        child_shards: ended
            .then(|| stream.contents().children(shard).map(|log| ChildShard::from(&log.about)).collect()),
    };
    // Texts and numbers cannot fail to become JSON.
    serde_json::to_vec(&event).unwrap_or_default()
}
