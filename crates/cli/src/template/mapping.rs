//! The event source mapping of a template.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use local::mapping;
use local::stream::Position;
use serde_json::{Map, Value, json};

use super::resolve::{Resolver, text};
use super::{Members, OnFailure, resource};

const MAPPING: Members = Members {
    known: &[
        "BatchSize",
        "BisectBatchOnFunctionError",
        "DestinationConfig",
        "Enabled",
        "EventSourceArn",
        "FunctionName",
        "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds",
        "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts",
        "ParallelizationFactor",
        "StartingPosition",
        "StartingPositionTimestamp",
    ],
    without_effect: &["MetricsConfig", "Tags"],
};

/// `ParallelizationFactor` (Lambda API reference: CreateEventSourceMapping).
const FACTOR: RangeInclusive<i64> = 1..=10;

/// `MaximumRetryAttempts`; -1 is until the records expire (Lambda API reference: CreateEventSourceMapping).
const ATTEMPTS: RangeInclusive<i64> = -1..=10_000;

pub(super) fn mapping(
    root: &Value,
    consumer: &str,
    resolver: &Resolver,
    notes: &mut Vec<String>,
) -> Result<(mapping::Settings, Option<OnFailure>)> {
    let (name, found) = resource(root, |resource| resource["Type"] == "AWS::Lambda::EventSourceMapping")?
        .ok_or_else(|| anyhow!("there is no AWS::Lambda::EventSourceMapping"))?;
    let of = found["Properties"].as_object().cloned().unwrap_or_default();
    MAPPING.note(name, &found["Properties"], notes)?;
    if !resolver.is_stream_arn(&found["Properties"]["EventSourceArn"]) {
        let arn = &found["Properties"]["EventSourceArn"];
        bail!("EventSourceArn of {name} is {arn}, expected the Arn of the template's stream");
    }
    let function = &found["Properties"]["FunctionName"];
    if !is_function(root, consumer, function) {
        bail!("FunctionName of {name} is {function}, expected !Ref {consumer} or !GetAtt {consumer}.Arn");
    }
    let seconds = |member: &str, default, allowed: RangeInclusive<i64>| {
        let seconds = resolver.number(&of, member, default)?;
        if !allowed.contains(&seconds) {
            bail!("{member} of {name} is {seconds}, expected {} to {}", allowed.start(), allowed.end());
        }
        Ok(u64::try_from(seconds).ok().map(Duration::from_secs))
    };
    let batch_size = resolver.number(&of, "BatchSize", 100)?;
    let batch_size = usize::try_from(batch_size).ok().filter(|size| (1..=10_000).contains(size));
    let record_age = seconds("MaximumRecordAgeInSeconds", -1, -1..=604_800)?;
    if record_age.is_some_and(|age| age < Duration::from_secs(60)) {
        bail!("MaximumRecordAgeInSeconds of {name} is less than 60, which AWS refuses");
    }
    let partial_answers = match of.get("FunctionResponseTypes") {
        None => false,
        Some(types) if *types == json!([]) => false,
        Some(types) if *types == json!(["ReportBatchItemFailures"]) => true,
        Some(types) => {
            bail!("FunctionResponseTypes of {name} is {types}, expected [ReportBatchItemFailures] or none")
        }
    };
    let enabled = !of.contains_key("Enabled") || resolver.truth(&of, "Enabled")?;
    if !enabled {
        notes.push(format!(
            "the template's {name} is not Enabled: the consumer gets nothing before UpdateEventSourceMapping enables it"
        ));
    }
    let settings = mapping::Settings {
        batch_size: batch_size.ok_or_else(|| anyhow!("BatchSize of {name} is not from 1 to 10,000"))?,
        window: seconds("MaximumBatchingWindowInSeconds", 0, 0..=300)?.unwrap_or_default(),
        parallelization_factor: usize::try_from(resolver.within(
            name,
            &of,
            "ParallelizationFactor",
            1,
            FACTOR,
        )?)?,
        attempts: u32::try_from(resolver.within(name, &of, "MaximumRetryAttempts", -1, ATTEMPTS)?).ok(),
        record_age,
        bisect: resolver.truth(&of, "BisectBatchOnFunctionError")?,
        partial_answers,
        from: starting_position(name, &of)?,
        enabled,
    };
    Ok((settings, on_failure(name, &of, resolver, notes)))
}

/// `StartingPosition`, and `StartingPositionTimestamp` in seconds since 1970, which must not be in the future (Lambda API
/// reference: CreateEventSourceMapping).
fn starting_position(name: &str, of: &Map<String, Value>) -> Result<Position> {
    let at = of.get("StartingPositionTimestamp");
    let position = match (of.get("StartingPosition").and_then(Value::as_str), at) {
        (Some("AT_TIMESTAMP"), Some(at)) => {
            let seconds = text(at).and_then(|text| text.parse::<f64>().ok());
            let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            let ms = time.and_then(|time| u64::try_from(time.as_millis()).ok());
            let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
            let past = ms.filter(|&ms| ms <= now);
            Position::AtTimestamp(past.ok_or_else(|| {
                anyhow!(
                    "StartingPositionTimestamp of {name} is {at}, expected seconds since 1970, not in the future"
                )
            })?)
        }
        (Some("AT_TIMESTAMP"), None) => bail!("{name} has AT_TIMESTAMP and no StartingPositionTimestamp"),
        (_, Some(at)) => {
            bail!("StartingPositionTimestamp of {name} is {at}, expected none without AT_TIMESTAMP")
        }
        (Some("TRIM_HORIZON"), None) => Position::TrimHorizon,
        (Some("LATEST"), None) => Position::Latest,
        (other, None) => {
            bail!("StartingPosition of {name} is {other:?}, expected TRIM_HORIZON, LATEST or AT_TIMESTAMP")
        }
    };
    Ok(position)
}

/// Who gets what the mapping gives up. Others than a queue or a bucket of this template are named.
fn on_failure(
    name: &str,
    of: &Map<String, Value>,
    resolver: &Resolver,
    notes: &mut Vec<String>,
) -> Option<OnFailure> {
    let mut found = None;
    for (kind, about) in of.get("DestinationConfig").and_then(Value::as_object).into_iter().flatten() {
        let destination = &about["Destination"];
        if kind == "OnFailure" && resolver.is_queue_arn(destination) {
            found = Some(OnFailure::Queue);
        } else if kind == "OnFailure" && resolver.is_bucket_arn(destination) {
            found = Some(OnFailure::Bucket);
        } else {
            notes.push(format!("{kind} of the template's {name}: for AWS, without effect here"));
        }
    }
    found
}

/// Whether `value` names the function: by its logical id, its ARN, or the words of its own `FunctionName`.
fn is_function(root: &Value, function: &str, value: &Value) -> bool {
    let own = &root["Resources"][function]["Properties"]["FunctionName"];
    *value == json!({ "Ref": function })
        || *value == json!({ "Fn::GetAtt": [function, "Arn"] })
        || (!own.is_null() && value == own)
}
