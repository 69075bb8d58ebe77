//! What can be changed about a stream: encryption, retention, tags.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::input::{Text, Violations, parse};
use super::json;
use super::shards::page_limit;
use crate::stream::error::ApiError;
use crate::stream::handle::Kinesis;
use crate::stream::limits::{
    MAX_RETENTION_HOURS, MAX_TAG_ENTRIES, MAX_TAG_KEY_CHARS, MAX_TAG_VALUE_CHARS, MAX_TAGS,
    MIN_RETENTION_HOURS,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Encryption<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    encryption_type: Option<Text<'a>>,
    key_id: Option<Text<'a>>,
}

/// Characters in the id of an encryption key (API reference: StartStreamEncryption).
const MAX_KEY_ID_CHARS: usize = 2048;

pub(super) fn start_encryption(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    encryption(kinesis, body, |key| Some(key.into()))
}

pub(super) fn stop_encryption(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    encryption(kinesis, body, |_| None)
}

/// Sets the key of a stream from that of the request. Records say by what they were put under; no byte of
/// them is really encrypted, and no key is looked for.
fn encryption(
    kinesis: &Kinesis,
    body: &[u8],
    set: impl Fn(&str) -> Option<String>,
) -> Result<Vec<u8>, ApiError> {
    let input: Encryption = parse(body)?;
    let mut violations = Violations::default();
    let kind = violations.required("encryptionType", input.encryption_type.as_deref());
    let kms = violations.word("encryptionType", kind, &[("NONE", false), ("KMS", true)]);
    let key = violations.required("keyId", input.key_id.as_deref()).unwrap_or_default();
    if input.key_id.is_some() {
        violations.length("keyId", key, 1..=MAX_KEY_ID_CHARS);
    }
    violations.done()?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    if kms != Some(true) {
        return Err(ApiError::argument("Encryption type cannot be NONE."));
    }
    stream.living()?.settings.key_id = set(key);
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RetentionPeriod<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    retention_period_hours: Option<i64>,
}

pub(super) fn increase_retention(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    retention(kinesis, body, |asked, now| (asked < now).then_some(("shorter than existing", "Decrease")))
}

pub(super) fn decrease_retention(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    retention(kinesis, body, |asked, now| (asked > now).then_some(("longer than existing", "Increase")))
}

/// Sets the retention period, unless `wrong_way` tells (from the one asked for and the one that is) how the
/// two compare and which operation to use instead.
fn retention(
    kinesis: &Kinesis,
    body: &[u8],
    wrong_way: impl Fn(i64, i64) -> Option<(&'static str, &'static str)>,
) -> Result<Vec<u8>, ApiError> {
    let input: RetentionPeriod = parse(body)?;
    let mut violations = Violations::default();
    let hours = violations.required("retentionPeriodHours", input.retention_period_hours).unwrap_or_default();
    violations.done()?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let asked = format!("Requested retention period ({hours} hours)");
    if hours < MIN_RETENTION_HOURS {
        let message =
            format!("Minimum allowed retention period is {MIN_RETENTION_HOURS} hours. {asked} is too short.");
        return Err(ApiError::argument(message));
    }
    if hours > MAX_RETENTION_HOURS {
        let message =
            format!("Maximum allowed retention period is {MAX_RETENTION_HOURS} hours. {asked} is too long.");
        return Err(ApiError::argument(message));
    }
    let mut contents = stream.living()?;
    let existing = contents.settings.retention_hours;
    if let Some((than, other)) = wrong_way(hours, existing) {
        return Err(ApiError::argument(format!(
            "{asked} for stream {} can not be {than} retention period ({existing} hours). \
             Use {other}StreamRetentionPeriod.",
            stream.name()
        )));
    }
    contents.settings.retention_hours = hours;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AddTags<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    tags: Option<BTreeMap<String, String>>,
}

pub(super) fn add_tags(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: AddTags = parse(body)?;
    let mut violations = Violations::default();
    let tags = violations.required("tags", input.tags).unwrap_or_default();
    check_tags(&mut violations, &tags);
    violations.done()?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let mut contents = stream.living()?;
    contents.settings.about.tag(tags, &format!("Stream {}", stream.name()))?;
    Ok(Vec::new())
}

/// Bounds of tags, also of those that a new stream begins with.
pub(super) fn check_tags(violations: &mut Violations, tags: &BTreeMap<String, String>) {
    violations.size("tags", &format!("[{} tags]", tags.len()), tags.len(), 0..=MAX_TAG_ENTRIES);
    for (key, value) in tags {
        violations.length("tags.key", key, 1..=MAX_TAG_KEY_CHARS);
        violations.length("tags.value", value, 0..=MAX_TAG_VALUE_CHARS);
    }
}

/// The keys of tags that are to go.
pub(super) fn tag_keys(keys: Option<Vec<Text<'_>>>) -> Result<Vec<Text<'_>>, ApiError> {
    let mut violations = Violations::default();
    let keys = violations.required("tagKeys", keys);
    if let Some(keys) = &keys {
        violations.size("tagKeys", &format!("[{} keys]", keys.len()), keys.len(), 1..=MAX_TAGS);
        for key in keys {
            violations.length("tagKeys.member", key, 1..=MAX_TAG_KEY_CHARS);
        }
    }
    violations.done()?;
    Ok(keys.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RemoveTags<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    tag_keys: Option<Vec<Text<'a>>>,
}

pub(super) fn remove_tags(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: RemoveTags = parse(body)?;
    let keys = tag_keys(input.tag_keys)?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    stream.living()?.settings.about.tags.retain(|key, _| !keys.iter().any(|gone| **gone == **key));
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListTags<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    exclusive_start_tag_key: Option<Text<'a>>,
    limit: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListTagsAnswer {
    tags: Vec<Tag>,
    has_more_tags: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    value: String,
}

impl From<(&String, &String)> for Tag {
    fn from((key, value): (&String, &String)) -> Self {
        Self { key: key.clone(), value: value.clone() }
    }
}

pub(super) fn list_tags(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: ListTags = parse(body)?;
    let mut violations = Violations::default();
    violations.number("limit", input.limit, 1..=50);
    violations.done()?;
    let stream = kinesis.find(input.stream_name.as_ref(), input.stream_arn.as_ref())?;
    let limit = page_limit(input.limit, MAX_TAGS);
    let start = input.exclusive_start_tag_key.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let contents = stream.living()?;
    let mut rest = contents.settings.about.tags.range::<str, _>((start, Bound::Unbounded));
    let tags = rest.by_ref().take(limit).map(Tag::from).collect();
    json(&ListTagsAnswer { tags, has_more_tags: rest.next().is_some() })
}
