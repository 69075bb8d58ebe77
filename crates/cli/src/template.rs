//! What `rivulet` takes from `template.yaml`, so that what is tried is what is deployed.
//!
//! Only what matters here is read: the two functions' variables and limits, the mapping, the stream. Parameters stand
//! for their defaults or for what `--parameter` says, and with them conditions, mappings and rules; other intrinsic
//! functions have no value here. What would be ignored is named; what is unknown, or would change what happens to
//! records, is refused.
//!
//! In reading order: `yaml`, `resolve` (values in their places), `members` (what a resource may have), and what is read
//! of each kind of resource.

mod yaml;

mod resolve;

mod members;

mod function;

mod mapping;

mod stream;

mod queue;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use local::mapping::Settings;
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::json;

use members::{Members, others, resource};
use resolve::Resolver;

/// The parts of a template that a run needs.
#[derive(Debug)]
pub struct Template {
    /// The function whose binary is `producer`.
    pub producer: Function,
    /// The function whose binary is `consumer`.
    pub consumer: Function,
    /// The mapping between the stream and the consumer.
    pub mapping: Settings,
    /// Who gets what the mapping gives up.
    pub on_failure: Option<OnFailure>,
    /// The stream.
    pub stream: Stream,
    /// What is in the template and has no effect here.
    pub notes: Vec<String>,
}

/// The mapping's on-failure destination, as far as something here stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// A queue of the template: the local one.
    Queue,
    /// A bucket of the template: a folder.
    Bucket,
}

/// The stream as the template describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its shards; an on-demand one has as many as AWS begins with.
    pub shards: u32,
    /// Whether it is on-demand.
    pub on_demand: bool,
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
        let mut notes = Vec::from_iter(resolver.patterns(parameters));
        let stream = stream::stream(&root, &resolver, &mut notes)?;
        let [producer, consumer] = function::functions(&root, &resolver, &mut notes)?;
        let (mapping, on_failure) = mapping::mapping(&root, &consumer.name, &resolver, &mut notes)?;
        queue::check(&root, &resolver, &mut notes)?;
        notes.extend(others(&root));
        Ok(Self { producer, consumer, mapping, on_failure, stream, notes })
    }
}

#[cfg(test)]
mod tests;
