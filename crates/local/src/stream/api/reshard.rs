//! `SplitShard`, `MergeShards`, `UpdateShardCount`, and `DescribeLimits`, which says how far they may go.
//!
//! The messages are those that the service was seen to give, as far as they are known.

use serde::{Deserialize, Serialize};

use super::input::{Text, Violations, is_decimal, parse};
use super::{json, read};
use crate::stream::contents::{Contents, Moment, NoReshard};
use crate::stream::error::{ApiError, ErrorCode};
use crate::stream::handle::{Kinesis, Stream};
use crate::stream::limits::{MAX_ON_DEMAND_STREAMS, MAX_RESIZES, MAX_SHARDS, MAX_SIZE};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SplitShard<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    shard_to_split: Option<Text<'a>>,
    new_starting_hash_key: Option<Text<'a>>,
}

pub(super) fn split_shard(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: SplitShard = parse(body)?;
    let mut violations = Violations::default();
    let shard = violations.required("shardToSplit", input.shard_to_split.as_deref());
    violations.name("shardToSplit", shard);
    let hash = violations.required("newStartingHashKey", input.new_starting_hash_key.as_deref());
    if let Some(hash) = hash.filter(|hash| !is_decimal(hash)) {
        let must = r"satisfy regular expression pattern: 0|([1-9]\d{0,38})";
        violations.add(Some(hash), "newStartingHashKey", must);
    }
    violations.done()?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let account = &kinesis.config().account;
    let shard = read::shard_id(shard.unwrap_or_default(), &stream, account)?;
    check_room(kinesis, &stream, 1)?;
    let given = hash.unwrap_or_default();
    // What is greater than any hash key is out of range like the greatest.
    let hash = given.parse().unwrap_or(u128::MAX);
    let place = format!("{shard} in stream {} under account {account}", stream.name());
    change(
        kinesis,
        &stream,
        now_ms,
        |contents, moment| contents.split(shard, hash, moment),
        |why| match why {
            NoReshard::OutOfRange(range) => format!(
                "NewStartingHashKey {given} used in SplitShard() on shard {place} is not both greater than one plus the \
             shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
                range.start(),
                range.end()
            ),
            _ => format!("Shard {place} is closed: it was split or merged before"),
        },
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct MergeShards<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    shard_to_merge: Option<Text<'a>>,
    adjacent_shard_to_merge: Option<Text<'a>>,
}

pub(super) fn merge_shards(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: MergeShards = parse(body)?;
    let mut violations = Violations::default();
    let shard = violations.required("shardToMerge", input.shard_to_merge.as_deref());
    violations.name("shardToMerge", shard);
    let adjacent = violations.required("adjacentShardToMerge", input.adjacent_shard_to_merge.as_deref());
    violations.name("adjacentShardToMerge", adjacent);
    violations.done()?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let account = &kinesis.config().account;
    let shard = read::shard_id(shard.unwrap_or_default(), &stream, account)?;
    let adjacent = read::shard_id(adjacent.unwrap_or_default(), &stream, account)?;
    check_room(kinesis, &stream, 0)?;
    change(
        kinesis,
        &stream,
        now_ms,
        |contents, moment| contents.merge(shard, adjacent, moment),
        |_| {
            format!(
                "Shards {shard} and {adjacent} in stream {} under account {account} are not an adjacent pair of shards \
             eligible for merging",
                stream.name()
            )
        },
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UpdateShardCount<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    target_shard_count: Option<i64>,
    scaling_type: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateShardCountAnswer<'a> {
    stream_name: &'a str,
    #[serde(rename = "StreamARN")]
    stream_arn: &'a str,
    current_shard_count: usize,
    target_shard_count: u32,
}

pub(super) fn update_shard_count(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: UpdateShardCount = parse(body)?;
    let mut violations = Violations::default();
    let target = violations.required("targetShardCount", input.target_shard_count).unwrap_or_default();
    violations.number("targetShardCount", input.target_shard_count, 1..=i64::from(i32::MAX));
    let scaling = violations.required("scalingType", input.scaling_type.as_deref());
    violations.word("scalingType", scaling, &[("UNIFORM_SCALING", ())]);
    violations.done()?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let count = u32::try_from(target).unwrap_or(u32::MAX);
    let current_shard_count = stream.contents().open_shards();
    check_room(kinesis, &stream, (count as usize).saturating_sub(current_shard_count))?;
    let counts = |open| format!("Current open shard count: {open}, Target shard count: {target}");
    change(
        kinesis,
        &stream,
        now_ms,
        |contents, moment| contents.resize(count, moment),
        |why| match why {
            NoReshard::TooFarDown(open) => format!(
                "UpdateShardCount cannot scale down below half your current open shard count. {}",
                counts(*open)
            ),
            NoReshard::TooFarUp(open) => format!(
                "UpdateShardCount cannot scale up over double your current open shard count. {}",
                counts(*open)
            ),
            _ => format!("UpdateShardCount cannot scale to {target} shards, a stream may have {MAX_SIZE}"),
        },
    )?;
    json(&UpdateShardCountAnswer {
        stream_name: stream.name(),
        stream_arn: stream.arn(),
        current_shard_count,
        target_shard_count: count,
    })
}

/// Changes the shards; `words` has them where what was asked for cannot be.
fn change(
    kinesis: &Kinesis,
    stream: &Stream,
    now_ms: u64,
    change: impl FnOnce(&mut Contents, Moment) -> Result<(), NoReshard>,
    words: impl FnOnce(&NoReshard) -> String,
) -> Result<Vec<u8>, ApiError> {
    let (name, account) = (stream.name(), &kinesis.config().account);
    let Err(why) = stream.reshard(now_ms, change)? else { return Ok(Vec::new()) };
    Err(match why {
        NoReshard::NoSuchShard(shard) => ApiError::new(
            ErrorCode::ResourceNotFound,
            format!("Could not find shard {shard} in stream {name} under account {account}."),
        ),
        NoReshard::Updating => ApiError::new(
            ErrorCode::ResourceInUse,
            format!("Stream {name} under account {account} not ACTIVE, instead in state UPDATING"),
        ),
        NoReshard::TooOften => ApiError::new(
            ErrorCode::LimitExceeded,
            format!(
                "Stream {name} under account {account} was scaled {MAX_RESIZES} times in the last 24 hours, which is \
                 as often as UpdateShardCount does it"
            ),
        ),
        NoReshard::TooFarUp(_) | NoReshard::TooFarDown(_) | NoReshard::TooMany => {
            ApiError::new(ErrorCode::LimitExceeded, words(&why))
        }
        NoReshard::OutOfRange(_) | NoReshard::Closed(_) | NoReshard::NotAdjacent => {
            ApiError::argument(words(&why))
        }
    })
}

/// Refuses an on-demand stream, whose shards are the service's affair, and more open shards than an account may have.
fn check_room(kinesis: &Kinesis, stream: &Stream, more: usize) -> Result<(), ApiError> {
    if stream.contents().settings.on_demand {
        let message =
            format!("Stream {} is ON_DEMAND: only PROVISIONED streams can be resharded", stream.name());
        return Err(ApiError::new(ErrorCode::Validation, message));
    }
    let open = totals(kinesis).0;
    if i64::try_from(open + more).is_ok_and(|shards| shards <= MAX_SHARDS) || more == 0 {
        return Ok(());
    }
    let message = format!(
        "This request would exceed the shard limit for the account {} in {}. Current shard count for the account: \
         {open}. Limit: {MAX_SHARDS}. Number of additional shards that would have resulted from this request: {more}.",
        kinesis.config().account,
        kinesis.config().region
    );
    Err(ApiError::new(ErrorCode::LimitExceeded, message))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribeLimits {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeLimitsAnswer {
    shard_limit: i64,
    open_shard_count: usize,
    on_demand_stream_count: usize,
    on_demand_stream_count_limit: usize,
}

pub(super) fn describe_limits(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let DescribeLimits {} = parse(body)?;
    let (open_shard_count, on_demand_stream_count) = totals(kinesis);
    json(&DescribeLimitsAnswer {
        shard_limit: MAX_SHARDS,
        open_shard_count,
        on_demand_stream_count,
        on_demand_stream_count_limit: MAX_ON_DEMAND_STREAMS,
    })
}

/// The open shards of all provisioned streams, and how many streams are on-demand.
fn totals(kinesis: &Kinesis) -> (usize, usize) {
    kinesis.streams(|streams| {
        streams.values().fold((0, 0), |(shards, on_demand), stream| {
            let contents = stream.contents();
            if contents.settings.on_demand {
                (shards, on_demand + 1)
            } else {
                (shards + contents.open_shards(), on_demand)
            }
        })
    })
}
