//! Tags and policies of whatever has an ARN here: a stream or a consumer of one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::consumers;
use super::input::{Text, Violations, parse};
use super::json;
use super::settings::{Tag, check_tags, tag_keys};
use crate::stream::error::{ApiError, ErrorCode};
use crate::stream::handle::Kinesis;
use crate::stream::limits::{MAX_ARN_CHARS, MAX_TAGS};

/// What a stream and a consumer have both.
#[derive(Debug, Clone, Default)]
pub(in crate::stream) struct About {
    pub(in crate::stream) tags: BTreeMap<String, String>,
    /// JSON, as it was given. Nothing is allowed or forbidden by it.
    pub(in crate::stream) policy: Option<String>,
}

/// Does something with what a resource has.
fn of<T>(
    kinesis: &Kinesis,
    arn: Option<&Text<'_>>,
    act: impl FnOnce(&mut About) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let mut violations = Violations::default();
    if let Some(arn) = violations.required("resourceARN", arn) {
        violations.length("resourceARN", arn, 1..=MAX_ARN_CHARS);
    }
    violations.done()?;
    let Some(arn) = arn else { return Err(ApiError::argument("ResourceARN is missing")) };
    if arn.contains("/consumer/") {
        let (stream, name) = consumers::by_arn(kinesis, arn)?;
        let mut contents = stream.living()?;
        let consumer = contents.consumers.by_arn(arn);
        return act(&mut consumer.ok_or_else(|| consumers::unknown(&name, stream.arn()))?.about);
    }
    let stream = kinesis.find(None, Some(arn))?;
    let mut contents = stream.living()?;
    act(&mut contents.settings.about)
}

impl About {
    /// Adds tags, of which there may be fifty.
    pub(super) fn tag(&mut self, tags: BTreeMap<String, String>, resource: &str) -> Result<(), ApiError> {
        let added = tags.keys().filter(|key| !self.tags.contains_key(*key)).count();
        let total = self.tags.len() + added;
        if total > MAX_TAGS {
            let message = format!("{resource} would have {total} tags, it may have {MAX_TAGS}");
            return Err(ApiError::new(ErrorCode::LimitExceeded, message));
        }
        self.tags.extend(tags);
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TagResource<'a> {
    #[serde(rename = "ResourceARN", borrow)]
    resource_arn: Option<Text<'a>>,
    tags: Option<BTreeMap<String, String>>,
}

pub(super) fn tag(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: TagResource = parse(body)?;
    let mut violations = Violations::default();
    let tags = violations.required("tags", input.tags).unwrap_or_default();
    check_tags(&mut violations, &tags);
    violations.done()?;
    let arn = input.resource_arn.as_deref().unwrap_or_default().to_owned();
    of(kinesis, input.resource_arn.as_ref(), |about| about.tag(tags, &arn))?;
    Ok(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UntagResource<'a> {
    #[serde(rename = "ResourceARN", borrow)]
    resource_arn: Option<Text<'a>>,
    tag_keys: Option<Vec<Text<'a>>>,
}

pub(super) fn untag(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: UntagResource = parse(body)?;
    let keys = tag_keys(input.tag_keys)?;
    of(kinesis, input.resource_arn.as_ref(), |about| {
        about.tags.retain(|key, _| !keys.iter().any(|gone| **gone == **key));
        Ok(Vec::new())
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Resource<'a> {
    #[serde(rename = "ResourceARN", borrow)]
    resource_arn: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagsAnswer {
    tags: Vec<Tag>,
}

pub(super) fn list_tags(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: Resource = parse(body)?;
    let tags =
        of(kinesis, input.resource_arn.as_ref(), |about| Ok(about.tags.iter().map(Tag::from).collect()))?;
    json(&TagsAnswer { tags })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutPolicy<'a> {
    #[serde(rename = "ResourceARN", borrow)]
    resource_arn: Option<Text<'a>>,
    policy: Option<Text<'a>>,
}

pub(super) fn put_policy(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: PutPolicy = parse(body)?;
    let mut violations = Violations::default();
    let policy = violations.required("policy", input.policy.as_deref()).unwrap_or_default().to_owned();
    violations.done()?;
    if !serde_json::from_str(&policy).is_ok_and(|policy: serde_json::Value| policy.is_object()) {
        return Err(ApiError::argument("Policy is no JSON object"));
    }
    of(kinesis, input.resource_arn.as_ref(), |about| {
        about.policy = Some(policy);
        Ok(Vec::new())
    })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyAnswer {
    policy: String,
}

pub(super) fn get_policy(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: Resource = parse(body)?;
    let policy = of(kinesis, input.resource_arn.as_ref(), |about| Ok(about.policy.clone()))?;
    let policy = policy.ok_or_else(|| no_policy(input.resource_arn.as_deref()))?;
    json(&PolicyAnswer { policy })
}

pub(super) fn delete_policy(kinesis: &Kinesis, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let input: Resource = parse(body)?;
    let policy = of(kinesis, input.resource_arn.as_ref(), |about| Ok(about.policy.take()))?;
    policy.map(|_| Vec::new()).ok_or_else(|| no_policy(input.resource_arn.as_deref()))
}

fn no_policy(arn: Option<&str>) -> ApiError {
    let message = format!("No resource policy found for resource ARN {}", arn.unwrap_or_default());
    ApiError::new(ErrorCode::ResourceNotFound, message)
}
