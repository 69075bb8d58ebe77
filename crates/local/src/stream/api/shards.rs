//! `ListShards`, and how a shard looks on the wire.

use serde::{Deserialize, Serialize};

use super::input::{Text, Timestamp, Violations, parse};
use super::streams::check_age;
use super::{json, read, seconds};
use crate::stream::error::ApiError;
use crate::stream::handle::{Kinesis, Stream, not_found};
use crate::stream::id::{SequenceNumber, ShardId};
use crate::stream::limits::{MAX_LIMIT, SHARD_PAGE};
use crate::stream::shard::{Log, Shard};
use crate::stream::token::{ShardFilter, Token};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListShards<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    next_token: Option<Text<'a>>,
    exclusive_start_shard_id: Option<Text<'a>>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Timestamp>,
    shard_filter: Option<Filter<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Filter<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    shard_id: Option<Text<'a>>,
    timestamp: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListShardsAnswer {
    shards: Vec<ShardAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// A shard as `ListShards` and `DescribeStream` show it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardAnswer {
    shard_id: ShardId,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<ShardId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<ShardId>,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

/// A shard as `GetRecords` names those that follow one that has ended.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChildShard {
    shard_id: ShardId,
    parent_shards: Vec<ShardId>,
    hash_key_range: HashKeyRange,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    starting_sequence_number: SequenceNumber,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<SequenceNumber>,
}

/// Items on a page: what was asked for, but no more than there may be.
pub(super) fn page_limit(asked: Option<i64>, most: usize) -> usize {
    asked.and_then(|asked| usize::try_from(asked).ok()).map_or(most, |asked| asked.min(most))
}

pub(super) fn list_shards(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: ListShards = parse(body)?;
    let mut violations = Violations::default();
    violations.number("maxResults", input.max_results, 1..=MAX_LIMIT);
    violations.name("exclusiveStartShardId", input.exclusive_start_shard_id.as_deref());
    let kind = input.shard_filter.as_ref().and_then(|filter| {
        let kind = violations.required("shardFilter.type", filter.r#type.as_deref());
        violations.name("shardFilter.shardId", filter.shard_id.as_deref());
        violations.word("shardFilter.type", kind, &FILTER_TYPES)
    });
    violations.done()?;

    let (stream, after, filter) = match &input.next_token {
        Some(token) => resume(kinesis, token, &input, now_ms)?,
        None => start(kinesis, &input, kind, now_ms)?,
    };
    let limit = page_limit(input.max_results, SHARD_PAGE);
    let mut shards = listed(&stream, after, filter, limit + 1, now_ms);
    let more = shards.len() > limit;
    shards.truncate(limit);
    let next_token = shards.last().filter(|_| more).map(|last| {
        Token::Shards { stream: stream.name().into(), after: last.id, filter, issued_ms: now_ms }.seal()
    });
    json(&ListShardsAnswer { shards: shards.into_iter().map(ShardAnswer::from).collect(), next_token })
}

/// At most `most` shards behind one, by id.
pub(super) fn listed(
    stream: &Stream,
    after: Option<ShardId>,
    filter: ShardFilter,
    most: usize,
    now_ms: u64,
) -> Vec<Shard> {
    let contents = stream.contents();
    let horizon_ms = contents.horizon_ms(now_ms).max(stream.made_ms());
    let fits = |log: &&Log| after.is_none_or(|after| log.about.id > after) && filter.fits(log, horizon_ms);
    contents.shards().filter(fits).take(most).map(|log| log.about.clone()).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum FilterType {
    AfterShardId,
    AtTrimHorizon,
    FromTrimHorizon,
    AtLatest,
    AtTimestamp,
    FromTimestamp,
}

const FILTER_TYPES: [(&str, FilterType); 6] = [
    ("AFTER_SHARD_ID", FilterType::AfterShardId),
    ("AT_TRIM_HORIZON", FilterType::AtTrimHorizon),
    ("FROM_TRIM_HORIZON", FilterType::FromTrimHorizon),
    ("AT_LATEST", FilterType::AtLatest),
    ("AT_TIMESTAMP", FilterType::AtTimestamp),
    ("FROM_TIMESTAMP", FilterType::FromTimestamp),
];

type Listing = (Stream, Option<ShardId>, ShardFilter);

/// A listing from its first page: everything comes from the request.
fn start(
    kinesis: &Kinesis,
    input: &ListShards,
    kind: Option<FilterType>,
    now_ms: u64,
) -> Result<Listing, ApiError> {
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    // Clients cut this time to whole seconds, so whole seconds are what is compared.
    if input.stream_creation_timestamp.is_some_and(|at| at.ms / 1000 != stream.made_ms() / 1000) {
        return Err(not_found(stream.name(), &kinesis.config().account));
    }
    let wanted = input.shard_filter.as_ref().zip(kind);
    let (given_shard, given_time) =
        input.shard_filter.as_ref().map_or((None, None), |f| (f.shard_id.as_deref(), f.timestamp));
    if let Some((filter, kind)) = wanted {
        let timed = matches!(kind, FilterType::AtTimestamp | FilterType::FromTimestamp);
        let named = kind == FilterType::AfterShardId;
        if (filter.shard_id.is_some(), filter.timestamp.is_some()) != (named, timed) {
            return Err(ApiError::argument(format!(
                "ShardFilter type {} was given with ShardId {} and Timestamp {}: AFTER_SHARD_ID takes ShardId, \
                 AT_TIMESTAMP and FROM_TIMESTAMP take Timestamp, the others take neither",
                filter.r#type.as_deref().unwrap_or_default(),
                given_shard.unwrap_or("absent"),
                given_time.map_or_else(|| "absent".into(), |at| seconds(at.ms).to_string()),
            )));
        }
    }
    let at_ms = given_time.map_or(0, |at| at.ms);
    if at_ms > now_ms {
        let message =
            format!("Timestamp {} lies ahead of the current time, {}", seconds(at_ms), seconds(now_ms));
        return Err(ApiError::argument(message));
    }
    let filter = match kind {
        None | Some(FilterType::AfterShardId | FilterType::FromTrimHorizon) => ShardFilter::Readable,
        Some(FilterType::AtTrimHorizon) => ShardFilter::OpenAt(0),
        Some(FilterType::AtLatest) => ShardFilter::Open,
        Some(FilterType::AtTimestamp) => ShardFilter::OpenAt(at_ms),
        Some(FilterType::FromTimestamp) => ShardFilter::OpenSince(at_ms),
    };
    let after = match (input.exclusive_start_shard_id.as_deref(), given_shard) {
        (Some(_), Some(_)) => {
            let message =
                "ExclusiveStartShardId and a ShardFilter of type AFTER_SHARD_ID cannot be provided together";
            return Err(ApiError::argument(message));
        }
        (one, other) => one.or(other),
    };
    let account = &kinesis.config().account;
    let after = after.map(|text| read::shard_id(text, &stream, account)).transpose()?;
    Ok((stream, after, filter))
}

/// A listing from a later page: everything comes from the token.
fn resume(kinesis: &Kinesis, token: &str, input: &ListShards, now_ms: u64) -> Result<Listing, ApiError> {
    let beside = [
        ("StreamName", input.stream_name.is_some()),
        ("StreamARN", input.stream_arn.is_some()),
        ("ExclusiveStartShardId", input.exclusive_start_shard_id.is_some()),
        ("StreamCreationTimestamp", input.stream_creation_timestamp.is_some()),
        ("ShardFilter", input.shard_filter.is_some()),
    ];
    if let Some((member, _)) = beside.iter().find(|(_, given)| *given) {
        return Err(ApiError::argument(format!("NextToken and {member} cannot be provided together.")));
    }
    let Some(Token::Shards { stream, after, filter, issued_ms }) = Token::open(token) else {
        return Err(ApiError::argument("Invalid NextToken."));
    };
    check_age(issued_ms, now_ms)?;
    let missing = || not_found(&stream, &kinesis.config().account);
    Ok((kinesis.stream(&stream).ok_or_else(missing)?, Some(after), filter))
}

impl ShardFilter {
    /// Whether the listing shows this shard of a stream that reaches back to `horizon_ms`.
    fn fits(self, shard: &Log, horizon_ms: u64) -> bool {
        let open_since = |ms: u64| shard.closed_ms.is_none_or(|closed| closed >= ms.max(horizon_ms));
        match self {
            Self::Readable => open_since(0),
            Self::Open => shard.closed_ms.is_none(),
            Self::OpenAt(ms) => shard.made_ms <= ms.max(horizon_ms) && open_since(ms),
            Self::OpenSince(ms) => open_since(ms),
        }
    }
}

impl From<&Shard> for ChildShard {
    fn from(shard: &Shard) -> Self {
        Self {
            shard_id: shard.id,
            parent_shards: shard.parent.into_iter().chain(shard.adjacent_parent).collect(),
            hash_key_range: HashKeyRange::from(shard),
        }
    }
}

impl From<&Shard> for HashKeyRange {
    fn from(shard: &Shard) -> Self {
        Self {
            starting_hash_key: shard.hash_range.start().to_string(),
            ending_hash_key: shard.hash_range.end().to_string(),
        }
    }
}

impl From<Shard> for ShardAnswer {
    fn from(shard: Shard) -> Self {
        Self {
            shard_id: shard.id,
            parent_shard_id: shard.parent,
            adjacent_parent_shard_id: shard.adjacent_parent,
            hash_key_range: HashKeyRange::from(&shard),
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: shard.starting,
                ending_sequence_number: shard.ending,
            },
        }
    }
}
