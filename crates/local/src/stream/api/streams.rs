//! Making, deleting, listing and describing streams.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::input::{Text, Violations, parse};
use super::settings::check_tags;
use super::shards::{ShardAnswer, listed, page_limit};
use super::{json, read, seconds};
use crate::stream::contents::Settings;
use crate::stream::error::{ApiError, ErrorCode};
use crate::stream::handle::{Kinesis, Stream};
use crate::stream::limits::{
    DEFAULT_RECORD_KIB, MAX_LIMIT, MAX_RECORD_KIB, MAX_SHARDS, ON_DEMAND_SHARDS, PAGE, TOKEN_LIFE_MS,
};
use crate::stream::token::{ShardFilter, Token};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CreateStream<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    shard_count: Option<i64>,
    stream_mode_details: Option<ModeDetails<'a>>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct ModeDetails<'a> {
    #[serde(borrow)]
    pub(super) stream_mode: Option<Text<'a>>,
}

/// The capacity modes, and whether they are the on-demand one.
pub(super) const MODES: [(&str, bool); 2] = [("PROVISIONED", false), ("ON_DEMAND", true)];

pub(super) fn create_stream(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: CreateStream = parse(body)?;
    let mut violations = Violations::default();
    let name = violations.required("streamName", input.stream_name.as_deref());
    violations.name("streamName", name);
    violations.number("shardCount", input.shard_count, 1..=i64::from(i32::MAX));
    violations.number(
        "maxRecordSizeInKiB",
        input.max_record_size_in_kib,
        DEFAULT_RECORD_KIB..=MAX_RECORD_KIB,
    );
    let on_demand = input.stream_mode_details.as_ref().and_then(|details| {
        let mode = details.stream_mode.as_deref();
        let mode = violations.required("streamModeDetails.streamMode", mode);
        violations.word("streamModeDetails.streamMode", mode, &MODES)
    });
    if on_demand != Some(true) {
        violations.required("shardCount", input.shard_count);
    }
    let tags = input.tags.unwrap_or_default();
    check_tags(&mut violations, &tags);
    violations.done()?;

    let on_demand = on_demand.unwrap_or(false);
    let shards = match input.shard_count {
        Some(count) if on_demand => {
            let message = format!("ShardCount is {count}, an ON_DEMAND stream takes none");
            return Err(ApiError::argument(message));
        }
        Some(count) => shard_count(count)?,
        None => ON_DEMAND_SHARDS,
    };
    let mut settings = Settings::new(on_demand, false);
    settings.max_record_kib = input.max_record_size_in_kib.unwrap_or(DEFAULT_RECORD_KIB);
    settings.about.tag(tags, &format!("Stream {}", name.unwrap_or_default()))?;
    kinesis.create(name.unwrap_or_default(), shards, settings, now_ms)?;
    Ok(Vec::new())
}

/// Checks what a caller within this process wants made.
pub(in crate::stream) fn check_new_stream(name: &str, shards: u32) -> Result<(), ApiError> {
    let mut violations = Violations::default();
    violations.name("streamName", Some(name));
    violations.number("shardCount", Some(shards.into()), 1..=i64::from(i32::MAX));
    violations.done()?;
    shard_count(shards.into()).map(drop)
}

fn shard_count(count: i64) -> Result<u32, ApiError> {
    u32::try_from(count).ok().filter(|_| count <= MAX_SHARDS).ok_or_else(|| {
        let message = format!("ShardCount is {count}, an account may have {MAX_SHARDS}");
        ApiError::new(ErrorCode::LimitExceeded, message)
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeleteStream<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    enforce_consumer_deletion: Option<bool>,
}

pub(super) fn delete_stream(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: DeleteStream = parse(body)?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    kinesis.delete(&stream, input.enforce_consumer_deletion == Some(true))?;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListStreams<'a> {
    limit: Option<i64>,
    #[serde(borrow)]
    exclusive_start_stream_name: Option<Text<'a>>,
    next_token: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListStreamsAnswer {
    stream_names: Vec<String>,
    has_more_streams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    stream_summaries: Vec<StreamSummary>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamSummary {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: ModeAnswer,
    stream_creation_timestamp: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ModeAnswer {
    stream_mode: &'static str,
}

pub(super) fn list_streams(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: ListStreams = parse(body)?;
    let mut violations = Violations::default();
    violations.number("limit", input.limit, 1..=MAX_LIMIT);
    violations.name("exclusiveStartStreamName", input.exclusive_start_stream_name.as_deref());
    violations.done()?;
    let after = match (input.exclusive_start_stream_name, input.next_token) {
        (Some(_), Some(_)) => {
            let message = "NextToken and ExclusiveStartStreamName cannot be provided together.";
            return Err(ApiError::argument(message));
        }
        (name, None) => name.map(|name| name.0.into_owned()),
        (None, Some(token)) => match Token::open(&token) {
            Some(Token::Streams { after, issued_ms }) => {
                check_age(issued_ms, now_ms)?;
                Some(after)
            }
            _ => return Err(ApiError::argument("Invalid NextToken.")),
        },
    };
    let limit = page_limit(input.limit, PAGE);
    let mut page: Vec<Stream> = kinesis.streams(|streams| {
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        streams.range::<str, _>((start, Bound::Unbounded)).take(limit + 1).map(|(_, s)| s.clone()).collect()
    });
    let has_more_streams = page.len() > limit;
    page.truncate(limit);
    let last = page.last().filter(|_| has_more_streams);
    json(&ListStreamsAnswer {
        has_more_streams,
        next_token: last.map(|last| Token::Streams { after: last.name().into(), issued_ms: now_ms }.seal()),
        stream_names: page.iter().map(|stream| stream.name().into()).collect(),
        stream_summaries: page.iter().map(|stream| summary(stream, now_ms)).collect(),
    })
}

/// Refuses a page token that has lived too long.
pub(super) fn check_age(issued_ms: u64, now_ms: u64) -> Result<(), ApiError> {
    if now_ms.saturating_sub(issued_ms) <= TOKEN_LIFE_MS {
        return Ok(());
    }
    let message = format!(
        "NextToken expired. It was created at time {} while right now it is {}; it lives {TOKEN_LIFE_MS} milliseconds",
        seconds(issued_ms),
        seconds(now_ms)
    );
    Err(ApiError::new(ErrorCode::ExpiredNextToken, message))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DescribeStream<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeStreamAnswer {
    stream_description: Description<Shards>,
}

/// What both ways to describe a stream have in common, and `T`, what they have not.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description<T> {
    #[serde(flatten)]
    summary: StreamSummary,
    #[serde(flatten)]
    own: T,
    retention_period_hours: i64,
    enhanced_monitoring: [Monitoring; 1],
    encryption_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shards {
    shards: Vec<ShardAnswer>,
    has_more_shards: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Totals {
    open_shard_count: usize,
    consumer_count: usize,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    shard_level_metrics: BTreeSet<&'static str>,
}

pub(super) fn describe_stream(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: DescribeStream = parse(body)?;
    let mut violations = Violations::default();
    violations.number("limit", input.limit, 1..=MAX_LIMIT);
    violations.name("exclusiveStartShardId", input.exclusive_start_shard_id.as_deref());
    violations.done()?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let after = input.exclusive_start_shard_id.as_deref();
    let after = after.map(|text| read::shard_id(text, &stream, &kinesis.config().account)).transpose()?;
    let limit = page_limit(input.limit, PAGE);
    let mut shards = listed(&stream, after, ShardFilter::Readable, limit + 1, now_ms);
    let has_more_shards = shards.len() > limit;
    shards.truncate(limit);
    let shards = shards.into_iter().map(ShardAnswer::from).collect();
    json(&DescribeStreamAnswer {
        stream_description: describe(&stream, Shards { shards, has_more_shards }, now_ms),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DescribeStreamSummary<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeStreamSummaryAnswer {
    stream_description_summary: Description<Totals>,
}

pub(super) fn describe_stream_summary(
    kinesis: &Kinesis,
    body: &[u8],
    now_ms: u64,
) -> Result<Vec<u8>, ApiError> {
    let input: DescribeStreamSummary = parse(body)?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let totals = {
        let contents = stream.contents();
        Totals {
            open_shard_count: contents.open_shards(),
            consumer_count: contents.consumers.len(),
            max_record_size_in_kib: contents.settings.max_record_kib,
        }
    };
    json(&DescribeStreamSummaryAnswer { stream_description_summary: describe(&stream, totals, now_ms) })
}

fn describe<T>(stream: &Stream, own: T, now_ms: u64) -> Description<T> {
    let summary = summary(stream, now_ms);
    let contents = stream.contents();
    let settings = &contents.settings;
    Description {
        summary,
        own,
        retention_period_hours: settings.retention_hours,
        enhanced_monitoring: [Monitoring { shard_level_metrics: settings.metrics.clone() }],
        encryption_type: if settings.key_id.is_some() { "KMS" } else { "NONE" },
        key_id: settings.key_id.clone(),
    }
}

fn summary(stream: &Stream, now_ms: u64) -> StreamSummary {
    let contents = stream.contents();
    StreamSummary {
        stream_name: stream.name().into(),
        stream_arn: stream.arn().into(),
        stream_status: if contents.updating(now_ms) { "UPDATING" } else { "ACTIVE" },
        stream_mode_details: ModeAnswer { stream_mode: MODES[usize::from(contents.settings.on_demand)].0 },
        stream_creation_timestamp: seconds(stream.made_ms()),
    }
}
