//! What a stream is able to: its capacity mode, its largest record, and which metrics its shards would have.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::input::{Text, Violations, parse};
use super::json;
use super::streams::{MODES, ModeDetails};
use crate::stream::error::{ApiError, ErrorCode};
use crate::stream::handle::Kinesis;
use crate::stream::limits::{DEFAULT_RECORD_KIB, MAX_MODE_CHANGES, MAX_RECORD_KIB, MODE_CHANGES_PERIOD_MS};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UpdateMode<'a> {
    #[serde(rename = "StreamARN", borrow)]
    stream_arn: Option<Text<'a>>,
    stream_mode_details: Option<ModeDetails<'a>>,
}

/// The shards stay as they are, whichever mode it becomes.
pub(super) fn update_mode(kinesis: &Kinesis, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
    let input: UpdateMode = parse(body)?;
    let mut violations = Violations::default();
    violations.required("streamARN", input.stream_arn.as_ref());
    let details = violations.required("streamModeDetails", input.stream_mode_details);
    let mode = details.as_ref().and_then(|details| {
        let mode = violations.required("streamModeDetails.streamMode", details.stream_mode.as_deref());
        violations.word("streamModeDetails.streamMode", mode, &MODES)
    });
    violations.done()?;
    let stream = kinesis.find(None, input.stream_arn.as_ref())?;
    let mut contents = stream.living()?;
    if contents.updating(now_ms) {
        let message = format!("Stream {} is not ACTIVE, it is UPDATING", stream.name());
        return Err(ApiError::new(ErrorCode::ResourceInUse, message));
    }
    let on_demand = mode.unwrap_or(false);
    if contents.settings.on_demand == on_demand {
        return Ok(Vec::new());
    }
    let changes = &mut contents.mode_changed_ms;
    changes.retain(|at| now_ms < at + MODE_CHANGES_PERIOD_MS);
    if changes.len() >= MAX_MODE_CHANGES {
        let message = format!(
            "The mode of stream {} was changed {} times within 24 hours, which is as often as may be",
            stream.name(),
            changes.len()
        );
        return Err(ApiError::new(ErrorCode::LimitExceeded, message));
    }
    changes.push(now_ms);
    contents.settings.on_demand = on_demand;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UpdateMaxRecordSize<'a> {
    #[serde(rename = "StreamARN", borrow)]
    stream_arn: Option<Text<'a>>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
}

pub(super) fn update_max_record_size(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: UpdateMaxRecordSize = parse(body)?;
    let mut violations = Violations::default();
    let kib = violations.required("maxRecordSizeInKiB", input.max_record_size_in_kib);
    violations.number("maxRecordSizeInKiB", kib, DEFAULT_RECORD_KIB..=MAX_RECORD_KIB);
    violations.done()?;
    let stream = kinesis.find(None, input.stream_arn.as_ref())?;
    stream.living()?.settings.max_record_kib = kib.unwrap_or(DEFAULT_RECORD_KIB);
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Monitoring<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    shard_level_metrics: Option<Vec<Text<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MonitoringAnswer<'a> {
    stream_name: &'a str,
    #[serde(rename = "StreamARN")]
    stream_arn: &'a str,
    current_shard_level_metrics: &'a BTreeSet<&'static str>,
    desired_shard_level_metrics: &'a BTreeSet<&'static str>,
}

/// The metrics of a shard (API: EnableEnhancedMonitoring).
const METRICS: [&str; 7] = [
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
];

pub(super) fn enable_monitoring(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    monitoring(kinesis, body, |now, asked| now | asked)
}

pub(super) fn disable_monitoring(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    monitoring(kinesis, body, |now, asked| now - asked)
}

/// Remembers which metrics are wanted; there are none of them here.
fn monitoring(
    kinesis: &Kinesis,
    body: &[u8],
    change: impl Fn(&BTreeSet<&'static str>, &BTreeSet<&'static str>) -> BTreeSet<&'static str>,
) -> Result<Vec<u8>, ApiError> {
    let input: Monitoring = parse(body)?;
    let mut violations = Violations::default();
    let words: Vec<_> = METRICS.into_iter().chain(["ALL"]).map(|metric| (metric, metric)).collect();
    let asked = violations.required("shardLevelMetrics", input.shard_level_metrics).unwrap_or_default();
    violations.size(
        "shardLevelMetrics",
        &format!("[{} metrics]", asked.len()),
        asked.len(),
        1..=METRICS.len(),
    );
    let asked: BTreeSet<_> = asked
        .iter()
        .filter_map(|metric| violations.word("shardLevelMetrics", Some(metric), &words))
        .collect();
    violations.done()?;
    let asked = if asked.contains("ALL") { METRICS.into() } else { asked };
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let mut contents = stream.living()?;
    let current = std::mem::take(&mut contents.settings.metrics);
    contents.settings.metrics = change(&current, &asked);
    json(&MonitoringAnswer {
        stream_name: stream.name(),
        stream_arn: stream.arn(),
        current_shard_level_metrics: &current,
        desired_shard_level_metrics: &contents.settings.metrics,
    })
}
