//! The stream of a template.

use anyhow::{Context, Result, anyhow, bail};
use local::stream::limits::{
    DEFAULT_RECORD_KIB, MAX_RECORD_KIB, MAX_RETENTION_HOURS, MAX_SHARDS, MIN_RETENTION_HOURS,
    ON_DEMAND_SHARDS,
};
use serde_json::{Value, json};

use super::resolve::{Resolver, text};
use super::{Members, Stream, resource};

const STREAM: Members = Members {
    known: &[
        "MaxRecordSizeInKiB",
        "RetentionPeriodHours",
        "ShardCount",
        "StreamEncryption",
        "StreamModeDetails",
    ],
    without_effect: &["DesiredShardLevelMetrics", "Name", "Tags", "WarmThroughputMiBps"],
};

const ENCRYPTION: Members = Members { known: &["EncryptionType", "KeyId"], without_effect: &[] };

const MODE: Members = Members { known: &["StreamMode"], without_effect: &[] };

pub(super) fn stream(root: &Value, resolver: &Resolver, notes: &mut Vec<String>) -> Result<Stream> {
    let (name, found) = resource(root, |resource| resource["Type"] == "AWS::Kinesis::Stream")?
        .ok_or_else(|| anyhow!("there is no AWS::Kinesis::Stream"))?;
    let properties = &found["Properties"];
    STREAM.note(name, properties, notes)?;
    let of = properties.as_object().cloned().unwrap_or_default();
    let (shards, on_demand) = shards(name, properties, resolver)?;
    Ok(Stream {
        shards,
        on_demand,
        encrypted: encrypted(name, &properties["StreamEncryption"])?,
        retention_hours: resolver.within(
            name,
            &of,
            "RetentionPeriodHours",
            MIN_RETENTION_HOURS,
            MIN_RETENTION_HOURS..=MAX_RETENTION_HOURS,
        )?,
        max_record_kib: resolver.within(
            name,
            &of,
            "MaxRecordSizeInKiB",
            DEFAULT_RECORD_KIB,
            DEFAULT_RECORD_KIB..=MAX_RECORD_KIB,
        )?,
    })
}

/// How many there are, and whether that is the service's affair.
fn shards(name: &str, properties: &Value, resolver: &Resolver) -> Result<(u32, bool)> {
    let details = &properties["StreamModeDetails"];
    MODE.check(&format!("StreamModeDetails of {name}"), details)?;
    let of = properties.as_object().cloned().unwrap_or_default();
    let provisioned = json!("PROVISIONED");
    let mode = if details.is_null() { &provisioned } else { &details["StreamMode"] };
    match mode.as_str() {
        Some("ON_DEMAND") => match properties["ShardCount"] {
            Value::Null => Ok((ON_DEMAND_SHARDS, true)),
            ref shards => bail!("ShardCount of {name} is {shards}, an ON_DEMAND stream takes none"),
        },
        Some("PROVISIONED") => {
            let shards = resolver.within(name, &of, "ShardCount", 0, 1..=MAX_SHARDS)?;
            Ok((u32::try_from(shards).with_context(|| format!("ShardCount of {name}"))?, false))
        }
        _ => bail!("StreamMode of {name} is {mode}, expected ON_DEMAND or PROVISIONED"),
    }
}

/// Encryption needs its type, which is KMS, and a key (Kinesis API reference: StartStreamEncryption).
fn encrypted(name: &str, encryption: &Value) -> Result<bool> {
    ENCRYPTION.check(&format!("StreamEncryption of {name}"), encryption)?;
    if encryption.is_null() {
        return Ok(false);
    }
    if encryption["EncryptionType"] != "KMS" {
        bail!("EncryptionType of {name} is {}, expected KMS", encryption["EncryptionType"]);
    }
    // Whose key it is makes no difference here; that there is one, AWS asks for.
    if encryption["KeyId"].is_null() || text(&encryption["KeyId"]).is_some_and(|key| key.is_empty()) {
        bail!("StreamEncryption of {name} has no KeyId");
    }
    Ok(true)
}
