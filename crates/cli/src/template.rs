//! What `rivulet` takes from `template.yaml`, so that what is tried is what is deployed.
//!
//! Only what matters here is read: the two functions' variables and limits, the mapping, the stream. Parameters stand
//! for their defaults or for what `--parameter` says, and with them conditions, mappings and rules; other intrinsic
//! functions have no value here. What would be ignored is named; what is unknown, or would change what happens to
//! records, is refused.
//!
//! In reading order: `yaml`, `resolve` (values in their places), `mapping`; the functions and the stream are below.

mod yaml;

mod resolve;

mod mapping;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use local::invoke::{LONGEST_AGE, MOST_RETRIES};
use local::mapping::Settings;
use local::stream::limits::{
    DEFAULT_RECORD_KIB, MAX_RECORD_KIB, MAX_RETENTION_HOURS, MAX_SHARDS, MIN_RETENTION_HOURS,
    ON_DEMAND_SHARDS,
};
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Map, Value, json};

use resolve::{Resolver, text};

/// The parts of a template that a run needs.
#[derive(Debug)]
pub struct Template {
    /// The function whose binary is `producer`.
    pub producer: Function,
    /// The function whose binary is `consumer`.
    pub consumer: Function,
    /// The mapping between the stream and the consumer.
    pub mapping: Settings,
    /// The stream.
    pub stream: Stream,
    /// What is in the template and has no effect here.
    pub notes: Vec<String>,
}

/// The stream as the template describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its shards; an on-demand one has as many as AWS begins with.
    pub shards: u32,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// `RetentionPeriodHours`.
    pub retention_hours: i64,
    /// `MaxRecordSizeInKiB`.
    pub max_record_kib: i64,
}

/// A function as the template describes it.
#[derive(Debug)]
pub struct Function {
    /// Its logical id.
    pub name: String,
    /// Its variables, as far as they have a value here.
    pub environment: Vec<(String, Variable)>,
    /// `Timeout`.
    pub timeout: Duration,
    /// `MemorySize`.
    pub memory_mib: u32,
    /// `EventInvokeConfig`: what holds for asynchronous invocations.
    pub asynchronous: Asynchronous,
}

/// What a function's `EventInvokeConfig` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asynchronous {
    /// `MaximumRetryAttempts`.
    pub retries: u32,
    /// `MaximumEventAgeInSeconds`.
    pub age: Duration,
    /// Whether the queue gets what was given up.
    pub on_failure: bool,
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// A text.
    Text(String),
    /// The stream's ARN, which is known once there is a stream.
    StreamArn,
    /// The URL of the queue, likewise.
    QueueUrl,
}

impl Template {
    /// Reads a template file; `parameters` stand in for the defaults of parameters with these names.
    pub fn read(path: &Path, parameters: &[(String, String)]) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        Self::parse(&text, parameters).with_context(|| format!("in {}", path.display()))
    }

    /// The same of a template's text.
    pub fn parse(text: &str, parameters: &[(String, String)]) -> Result<Self> {
        let documents = Yaml::load_from_str(text).context("it is no YAML")?;
        let root =
            documents.first().map(|document| yaml::json_of(document, 0)).transpose()?.unwrap_or_default();
        let resolver = Resolver::new(&root, parameters)?;
        resolver.check_rules(&root)?;
        let globals = resolver.resolved(&root["Globals"])?;
        let root = json!({ "Globals": globals, "Resources": resolver.resources(&root)? });
        let mut notes = Vec::new();
        FUNCTION.check("Globals", &root["Globals"]["Function"])?;
        let producer = function(&root, "producer", &resolver, &mut notes)?;
        let consumer = function(&root, "consumer", &resolver, &mut notes)?;
        let mapping = mapping::mapping(&root, &resolver, &mut notes)?;
        let stream = stream(&root, &resolver, &mut notes)?;
        notes.extend(others(&root));
        Ok(Self { producer, consumer, mapping, stream, notes })
    }
}

/// What is known of the members of a resource's `Properties`.
struct Members {
    /// Those that count here, or say how AWS is to make the resource.
    known: &'static [&'static str],
    /// Those whose absence here loses no record and changes no order.
    without_effect: &'static [&'static str],
}

impl Members {
    /// Refuses what is not known, and gives what has no effect.
    fn check(&self, name: &str, properties: &Value) -> Result<Vec<String>> {
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
    fn note(&self, name: &str, properties: &Value, notes: &mut Vec<String>) -> Result<()> {
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

const FUNCTION: Members = Members {
    known: &[
        "Architectures",
        "CodeUri",
        "Description",
        "Environment",
        "EventInvokeConfig",
        "FunctionName",
        "Handler",
        "LoggingConfig",
        "MemorySize",
        "Role",
        "Runtime",
        "Tags",
        "Timeout",
    ],
    without_effect: &[
        "AutoPublishAlias",
        "CodeSigningConfigArn",
        "DeadLetterQueue",
        "EphemeralStorage",
        "FunctionUrlConfig",
        "KmsKeyArn",
        "PermissionsBoundary",
        "Policies",
        "ProvisionedConcurrencyConfig",
        "ReservedConcurrentExecutions",
        "Tracing",
        "VpcConfig",
    ],
};

/// Members of a function's `LoggingConfig`.
const LOGGING: Members = Members {
    known: &["ApplicationLogLevel", "LogFormat", "LogGroup", "SystemLogLevel"],
    without_effect: &[],
};

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
fn others(root: &Value) -> Option<String> {
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

/// The first resource that `is` one, and its name; nothing beside its `Properties` may be unknown.
fn resource(root: &Value, is: impl Fn(&Value) -> bool) -> Result<Option<(&str, &Value)>> {
    let mut resources = root["Resources"].as_object().into_iter().flatten();
    let Some((name, found)) = resources.find(|(_, resource)| is(resource)) else { return Ok(None) };
    let attributes = found.as_object().into_iter().flatten().map(|(attribute, _)| attribute);
    if let Some(unknown) = attributes.into_iter().find(|attribute| !ATTRIBUTES.contains(&attribute.as_str()))
    {
        bail!("{name} has {unknown}, expected one of {}", ATTRIBUTES.join(", "));
    }
    Ok(Some((name, found)))
}

fn function(root: &Value, binary: &str, resolver: &Resolver, notes: &mut Vec<String>) -> Result<Function> {
    let is = |resource: &Value| {
        resource["Type"] == "AWS::Serverless::Function"
            && resource["Metadata"]["BuildProperties"]["Binary"] == binary
    };
    let (name, found) = resource(root, is)?.ok_or_else(|| {
        anyhow!("there is no AWS::Serverless::Function with BuildProperties Binary: {binary}")
    })?;
    FUNCTION.note(name, &found["Properties"], notes)?;
    let globals = &root["Globals"]["Function"];
    let member =
        |name: &str| [found, &json!({ "Properties": globals })].map(|of| of["Properties"][name].clone());
    let member = |name: &str| member(name).into_iter().find(|value| !value.is_null());
    let with =
        |name: &str| member(name).map(|value| Map::from_iter([(name.to_owned(), value)])).unwrap_or_default();
    let timeout = resolver.number(&with("Timeout"), "Timeout", 3)?;
    if !(1..=900).contains(&timeout) {
        bail!("Timeout of {name} is {timeout}, expected 1 to 900 seconds");
    }
    let memory = resolver.number(&with("MemorySize"), "MemorySize", 128)?;
    let mut environment = Vec::new();
    for of in [globals, &found["Properties"]] {
        for (variable, value) in of["Environment"]["Variables"].as_object().into_iter().flatten() {
            if resolver.is_stream_arn(value) {
                environment.push((variable.clone(), Variable::StreamArn));
            } else if resolver.is_queue_url(value) {
                environment.push((variable.clone(), Variable::QueueUrl));
            } else if let Some(text) = text(value) {
                environment.push((variable.clone(), Variable::Text(text)));
            } else {
                notes.push(format!("{name}: {variable} is {value}, which has no value here: it is not set"));
            }
        }
    }
    let logging = member("LoggingConfig").unwrap_or_default();
    LOGGING.check(&format!("LoggingConfig of {name}"), &logging)?;
    for (variable, setting) in
        [("AWS_LAMBDA_LOG_FORMAT", "LogFormat"), ("AWS_LAMBDA_LOG_LEVEL", "ApplicationLogLevel")]
    {
        if let Some(text) = text(&logging[setting]) {
            environment.push((variable.into(), Variable::Text(text)));
        }
    }
    Ok(Function {
        name: name.to_owned(),
        environment,
        timeout: Duration::from_secs(u64::try_from(timeout).with_context(|| format!("Timeout of {name}"))?),
        memory_mib: u32::try_from(memory).with_context(|| format!("MemorySize of {name}"))?,
        asynchronous: asynchronous(name, &member("EventInvokeConfig").unwrap_or_default(), resolver, notes)?,
    })
}

fn asynchronous(
    name: &str,
    config: &Value,
    resolver: &Resolver,
    notes: &mut Vec<String>,
) -> Result<Asynchronous> {
    let of = config.as_object().cloned().unwrap_or_default();
    let number = |member: &str, default: u64, least: u64| {
        let given = resolver.number(&of, member, i64::try_from(default).unwrap_or(i64::MAX))?;
        let number = u64::try_from(given).ok().filter(|number| (least..=default).contains(number));
        number.ok_or_else(|| anyhow!("{member} of {name} is {given}, expected {least} to {default}"))
    };
    let retries = number("MaximumRetryAttempts", u64::from(MOST_RETRIES), 0)?;
    let age = number("MaximumEventAgeInSeconds", LONGEST_AGE.as_secs(), 60)?;
    let destinations = config["DestinationConfig"].as_object().cloned().unwrap_or_default();
    let mut on_failure = false;
    for (kind, destination) in destinations {
        if kind == "OnFailure" && resolver.is_queue_arn(&destination["Destination"]) {
            on_failure = true;
        } else {
            notes.push(format!("{kind} of {name}'s EventInvokeConfig: for AWS, without effect here"));
        }
    }
    let retries = u32::try_from(retries).with_context(|| format!("MaximumRetryAttempts of {name}"))?;
    Ok(Asynchronous { retries, age: Duration::from_secs(age), on_failure })
}

fn stream(root: &Value, resolver: &Resolver, notes: &mut Vec<String>) -> Result<Stream> {
    let (name, found) = resource(root, |resource| resource["Type"] == "AWS::Kinesis::Stream")?
        .ok_or_else(|| anyhow!("there is no AWS::Kinesis::Stream"))?;
    STREAM.note(name, &found["Properties"], notes)?;
    let of = found["Properties"].as_object().cloned().unwrap_or_default();
    let number = |member: &str, default: i64, allowed: std::ops::RangeInclusive<i64>| {
        let number = resolver.number(&of, member, default)?;
        if !allowed.contains(&number) {
            bail!("{member} of {name} is {number}, expected {} to {}", allowed.start(), allowed.end());
        }
        Ok(number)
    };
    let shards = match found["Properties"]["StreamModeDetails"]["StreamMode"].as_str() {
        Some("ON_DEMAND") => ON_DEMAND_SHARDS,
        Some("PROVISIONED") | None => u32::try_from(number("ShardCount", 0, 1..=MAX_SHARDS)?)
            .with_context(|| format!("ShardCount of {name}"))?,
        Some(mode) => bail!("StreamMode of {name} is {mode}, expected ON_DEMAND or PROVISIONED"),
    };
    Ok(Stream {
        shards,
        encrypted: of.contains_key("StreamEncryption"),
        retention_hours: number(
            "RetentionPeriodHours",
            MIN_RETENTION_HOURS,
            MIN_RETENTION_HOURS..=MAX_RETENTION_HOURS,
        )?,
        max_record_kib: number(
            "MaxRecordSizeInKiB",
            DEFAULT_RECORD_KIB,
            DEFAULT_RECORD_KIB..=MAX_RECORD_KIB,
        )?,
    })
}

#[cfg(test)]
mod tests;
