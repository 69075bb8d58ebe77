//! What a resource may have: members that count here, members that are for AWS alone, and no others.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::Value;

use super::resolve::is_intrinsic;

/// What is known of the members of a resource's `Properties`.
pub(super) struct Members {
    /// Those that count here, or say how AWS is to make the resource.
    pub(super) known: &'static [&'static str],
    /// Those whose absence here loses no record and changes no order.
    pub(super) without_effect: &'static [&'static str],
}

impl Members {
    /// Refuses what is not known, and gives what has no effect.
    pub(super) fn check(&self, name: &str, properties: &Value) -> Result<Vec<String>> {
        if !(properties.is_null() || properties.is_object()) || is_intrinsic(properties) {
            bail!("{name} is {properties}, expected members that are known here");
        }
        let members = properties.as_object().into_iter().flatten().map(|(member, _)| member.as_str());
        let mut without_effect = Vec::new();
        for member in members.filter(|member| !self.known.contains(member)) {
            if !self.without_effect.contains(&member) {
                bail!("{name} has {member}, which is not known, or not simulated here");
            }
            without_effect.push(member.to_owned());
        }
        Ok(without_effect)
    }

    /// The same, and says what has no effect.
    pub(super) fn note(&self, name: &str, properties: &Value, notes: &mut Vec<String>) -> Result<()> {
        let without_effect = self.check(name, properties)?;
        if !without_effect.is_empty() {
            let members = without_effect.join(" and ");
            notes.push(format!("{members} of the template's {name}: for AWS, without effect here"));
        }
        Ok(())
    }
}

/// Members of a resource beside its `Properties`.
const ATTRIBUTES: &[&str] = &[
    "Condition",
    "CreationPolicy",
    "DeletionPolicy",
    "DependsOn",
    "Metadata",
    "Properties",
    "Type",
    "UpdatePolicy",
    "UpdateReplacePolicy",
];

/// Types that are read, or that only serve others in AWS.
const SILENT: &[&str] = &[
    "AWS::Kinesis::Stream",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Serverless::Function",
    "AWS::SQS::Queue",
    "AWS::IAM::Role",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::S3::BucketPolicy",
];

/// Says what else there is in the template, for AWS alone.
pub(super) fn others(root: &Value) -> Option<String> {
    let mut by_type = BTreeMap::<&str, Vec<&str>>::new();
    for (name, resource) in root["Resources"].as_object()? {
        let kind = resource["Type"].as_str().unwrap_or_default();
        if !SILENT.contains(&kind) {
            by_type.entry(kind).or_default().push(name);
        }
    }
    let words = by_type.into_iter().map(|(kind, names)| match names[..] {
        [name] => name.to_owned(),
        _ => format!("{} of {kind}", names.len()),
    });
    // The local runtime writes no lines of its own.
    let resources = root["Resources"].as_object()?.values();
    let is_set = |resource: &Value| !resource["Properties"]["LoggingConfig"]["SystemLogLevel"].is_null();
    let system = resources.into_iter().any(is_set).then(|| "SystemLogLevel".to_owned());
    let words: Vec<_> = system.into_iter().chain(words).collect();
    (!words.is_empty()).then(|| format!("of the template, in AWS alone: {}", words.join(", ")))
}

/// The resource that `is` one, and its name; there may be no second, and nothing unknown beside its `Properties`.
pub(super) fn resource(root: &Value, is: impl Fn(&Value) -> bool) -> Result<Option<(&str, &Value)>> {
    let mut resources = root["Resources"].as_object().into_iter().flatten();
    let Some((name, found)) = resources.find(|(_, resource)| is(resource)) else { return Ok(None) };
    if let Some((second, resource)) = resources.find(|(_, resource)| is(resource)) {
        let kind = resource["Type"].as_str().unwrap_or_default();
        bail!("{second} is a second {kind}, which is not simulated here: expected {name} alone");
    }
    check_attributes(name, found)?;
    Ok(Some((name, found)))
}

/// Refuses what is not known beside a resource's `Properties`.
pub(super) fn check_attributes(name: &str, resource: &Value) -> Result<()> {
    let attributes = resource.as_object().into_iter().flatten().map(|(attribute, _)| attribute);
    if let Some(unknown) = attributes.into_iter().find(|attribute| !ATTRIBUTES.contains(&attribute.as_str()))
    {
        bail!("{name} has {unknown}, expected one of {}", ATTRIBUTES.join(", "));
    }
    Ok(())
}
