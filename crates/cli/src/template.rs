//! What `rivulet` takes from `template.yaml`, so that what is tried is what is deployed.
//!
//! Only what matters here is read: the two functions' variables and limits, the mapping, the stream. Parameters stand
//! for their defaults or for what `--parameter` says; other intrinsic functions have no value here. A setting that
//! would be ignored is named, one that would change what happens to records is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use local::invoke::{LONGEST_AGE, MOST_RETRIES};
use local::mapping;
use local::stream::Position;
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Map, Value, json};

/// The parts of a template that a run needs.
#[derive(Debug)]
pub struct Template {
    /// The function whose binary is `producer`.
    pub producer: Function,
    /// The function whose binary is `consumer`.
    pub consumer: Function,
    /// The mapping between the stream and the consumer.
    pub mapping: mapping::Settings,
    /// Shards of the stream; an on-demand one has as many as AWS begins with.
    pub shards: u32,
    /// Whether the stream is encrypted.
    pub encrypted: bool,
    /// What is in the template and has no effect here.
    pub notes: Vec<String>,
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

/// Shards that AWS gives to a new on-demand stream ("Choose the right mode in Kinesis Data Streams").
const ON_DEMAND_SHARDS: u32 = 4;

/// Members of a mapping that are simulated, or that name its ends.
const MAPPING_KNOWN: &[&str] = &[
    "BatchSize",
    "BisectBatchOnFunctionError",
    "EventSourceArn",
    "FunctionName",
    "FunctionResponseTypes",
    "MaximumBatchingWindowInSeconds",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "ParallelizationFactor",
    "StartingPosition",
];

/// Members of a mapping whose absence here loses no record and changes no order.
const MAPPING_WITHOUT_EFFECT: &[&str] = &["DestinationConfig", "MetricsConfig", "Tags"];

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
        let root = documents.first().map(|document| json_of(document, 0)).transpose()?.unwrap_or_default();
        let resolver = Resolver::new(&root, parameters)?;
        let mut notes = Vec::new();
        let producer = function(&root, "producer", &resolver, &mut notes)?;
        let consumer = function(&root, "consumer", &resolver, &mut notes)?;
        let mapping = mapping(&root, &resolver, &mut notes)?;
        let (shards, encrypted) = stream(&root, &resolver)?;
        Ok(Self { producer, consumer, mapping, shards, encrypted, notes })
    }
}

/// Gives parameters their values.
struct Resolver {
    parameters: BTreeMap<String, Value>,
    stream: Option<String>,
    /// Queues by their logical ids; here one stands for all.
    queues: Vec<String>,
}

impl Resolver {
    fn new(root: &Value, given: &[(String, String)]) -> Result<Self> {
        let declared = root["Parameters"].as_object().cloned().unwrap_or_default();
        let mut parameters: BTreeMap<_, _> =
            declared.into_iter().map(|(name, about)| (name, about["Default"].clone())).collect();
        for (name, value) in given {
            let Some(known) = parameters.get_mut(name) else {
                let names: Vec<_> = parameters.keys().map(String::as_str).collect();
                bail!("there is no parameter {name}; there are {}", names.join(", "));
            };
            let allowed = root["Parameters"][name]["AllowedValues"].as_array();
            let allowed: Vec<_> = allowed.into_iter().flatten().map(plain).collect();
            if !allowed.is_empty() && !allowed.contains(value) {
                bail!("the parameter {name} is {value}, expected one of {}", allowed.join(", "));
            }
            *known = json!(value);
        }
        let stream = resource(root, |resource| resource["Type"] == "AWS::Kinesis::Stream");
        let queues = root["Resources"].as_object().into_iter().flatten();
        let queues = queues.filter(|(_, resource)| resource["Type"] == "AWS::SQS::Queue");
        let queues = queues.map(|(name, _)| name.clone()).collect();
        Ok(Self { parameters, stream: stream.map(|(name, _)| name.to_owned()), queues })
    }

    /// A value with parameters in their places; none where it cannot be known here.
    fn value(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Object(object) if object.len() == 1 && object.contains_key("Ref") => {
                self.parameters.get(object["Ref"].as_str()?).filter(|value| !value.is_null()).cloned()
            }
            Value::Object(object) if object.keys().any(|key| key.starts_with("Fn::")) => None,
            known => Some(known.clone()),
        }
    }

    fn text(&self, value: &Value) -> Option<String> {
        match self.value(value)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        }
    }

    /// A number, or `default` where there is none.
    fn number(&self, of: &Map<String, Value>, name: &str, default: i64) -> Result<i64> {
        let Some(value) = of.get(name) else { return Ok(default) };
        let text = self
            .text(value)
            .ok_or_else(|| anyhow!("{name} is {value}, expected a number that is known here"))?;
        text.parse().map_err(|_| anyhow!("{name} is {text}, expected a number"))
    }

    fn truth(&self, of: &Map<String, Value>, name: &str) -> Result<bool> {
        let Some(value) = of.get(name) else { return Ok(false) };
        match self.text(value).as_deref() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => bail!("{name} is {value}, expected true or false"),
        }
    }

    /// A queue gives its URL to `!Ref`, and to `!GetAtt` by that name.
    fn is_queue_url(&self, value: &Value) -> bool {
        let of_queue = |queue: &String| {
            value["Ref"] == queue.as_str() || value["Fn::GetAtt"] == json!([queue, "QueueUrl"])
        };
        self.queues.iter().any(of_queue)
    }

    fn is_queue_arn(&self, value: &Value) -> bool {
        self.queues.iter().any(|queue| value["Fn::GetAtt"] == json!([queue, "Arn"]))
    }

    fn is_stream_arn(&self, value: &Value) -> bool {
        let stream = self.stream.as_deref().unwrap_or_default();
        value["Fn::GetAtt"] == json!([stream, "Arn"])
    }
}

/// A scalar as its text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn resource(root: &Value, is: impl Fn(&Value) -> bool) -> Option<(&str, &Value)> {
    root["Resources"]
        .as_object()?
        .iter()
        .find(|(_, resource)| is(resource))
        .map(|(name, found)| (name.as_str(), found))
}

fn function(root: &Value, binary: &str, resolver: &Resolver, notes: &mut Vec<String>) -> Result<Function> {
    let is = |resource: &Value| {
        resource["Type"] == "AWS::Serverless::Function"
            && resource["Metadata"]["BuildProperties"]["Binary"] == binary
    };
    let (name, found) = resource(root, is).ok_or_else(|| {
        anyhow!("there is no AWS::Serverless::Function with BuildProperties Binary: {binary}")
    })?;
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
            } else if let Some(text) = resolver.text(value) {
                environment.push((variable.clone(), Variable::Text(text)));
            } else {
                notes.push(format!("{name}: {variable} is {value}, which has no value here: it is not set"));
            }
        }
    }
    let logging = member("LoggingConfig").unwrap_or_default();
    for (variable, setting) in
        [("AWS_LAMBDA_LOG_FORMAT", "LogFormat"), ("AWS_LAMBDA_LOG_LEVEL", "ApplicationLogLevel")]
    {
        if let Some(text) = resolver.text(&logging[setting]) {
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

fn mapping(root: &Value, resolver: &Resolver, notes: &mut Vec<String>) -> Result<mapping::Settings> {
    let (name, found) = resource(root, |resource| resource["Type"] == "AWS::Lambda::EventSourceMapping")
        .ok_or_else(|| anyhow!("there is no AWS::Lambda::EventSourceMapping"))?;
    let of = found["Properties"].as_object().cloned().unwrap_or_default();
    let mut without_effect = Vec::new();
    for member in of.keys().map(String::as_str).filter(|member| !MAPPING_KNOWN.contains(member)) {
        if !MAPPING_WITHOUT_EFFECT.contains(&member) {
            bail!("{name} has {member}, which is not simulated here");
        }
        without_effect.push(member);
    }
    if !without_effect.is_empty() {
        notes.push(format!(
            "{} of the template's {name}: for AWS, without effect here",
            without_effect.join(" and ")
        ));
    }
    if resolver.number(&of, "ParallelizationFactor", 1)? != 1 {
        bail!("{name} has a ParallelizationFactor above 1, which is not simulated here");
    }
    let seconds = |member: &str, default, allowed: std::ops::RangeInclusive<i64>| {
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
    Ok(mapping::Settings {
        batch_size: batch_size.ok_or_else(|| anyhow!("BatchSize of {name} is not from 1 to 10,000"))?,
        window: seconds("MaximumBatchingWindowInSeconds", 0, 0..=300)?.unwrap_or_default(),
        attempts: u32::try_from(resolver.number(&of, "MaximumRetryAttempts", -1)?).ok(),
        record_age,
        bisect: resolver.truth(&of, "BisectBatchOnFunctionError")?,
        partial_answers,
        from: match of.get("StartingPosition").and_then(Value::as_str) {
            Some("TRIM_HORIZON") => Position::TrimHorizon,
            Some("LATEST") => Position::Latest,
            other => bail!("StartingPosition of {name} is {other:?}, expected TRIM_HORIZON or LATEST"),
        },
    })
}

fn stream(root: &Value, resolver: &Resolver) -> Result<(u32, bool)> {
    let (name, found) = resource(root, |resource| resource["Type"] == "AWS::Kinesis::Stream")
        .ok_or_else(|| anyhow!("there is no AWS::Kinesis::Stream"))?;
    let of = &found["Properties"];
    // A conditional count is that of its parameter where there is one; 0 and none are on-demand.
    let parameter = || resolver.parameters.get("ShardCount").cloned();
    let count = resolver.text(&of["ShardCount"]).or_else(|| resolver.text(&parameter()?));
    let count =
        count.map_or(Ok(0), |count| count.parse()).with_context(|| format!("ShardCount of {name}"))?;
    Ok((if count == 0 { ON_DEMAND_SHARDS } else { count }, of.get("StreamEncryption").is_some()))
}

/// Deepest nesting of a template that is read.
const DEPTH: usize = 64;

/// YAML as JSON, with CloudFormation's short forms (`!Ref x`) written long (`{"Ref": "x"}`).
fn json_of(yaml: &Yaml<'_>, depth: usize) -> Result<Value> {
    if depth > DEPTH {
        bail!("it is nested deeper than {DEPTH} levels");
    }
    let inner = |yaml: &Yaml<'_>| json_of(yaml, depth + 1);
    if let Yaml::Tagged(tag, value) = yaml {
        let value = inner(value)?;
        return Ok(match tag.suffix.as_str() {
            "Ref" | "Condition" => json!({ tag.suffix.as_str(): value }),
            "GetAtt" => {
                let parts =
                    value.as_str().and_then(|text| text.split_once('.')).map(|(of, name)| json!([of, name]));
                json!({ "Fn::GetAtt": parts.unwrap_or(value) })
            }
            name => json!({ format!("Fn::{name}"): value }),
        });
    }
    if let Some(mapping) = yaml.as_mapping() {
        let member = |(key, value): (&Yaml<'_>, &Yaml<'_>)| {
            let key = key.as_str().ok_or_else(|| anyhow!("a key is no text: {key:?}"))?;
            Ok((key.to_owned(), inner(value)?))
        };
        return Ok(Value::Object(mapping.iter().map(member).collect::<Result<_>>()?));
    }
    if let Some(sequence) = yaml.as_sequence() {
        return Ok(Value::Array(sequence.iter().map(inner).collect::<Result<_>>()?));
    }
    Ok(if let Some(truth) = yaml.as_bool() {
        json!(truth)
    } else if let Some(number) = yaml.as_integer() {
        json!(number)
    } else if let Some(number) = yaml.as_floating_point() {
        json!(number)
    } else {
        yaml.as_str().map_or(Value::Null, |text| json!(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../../template.yaml");

    #[test]
    fn the_projects_own_template_is_understood() {
        let template = Template::parse(TEMPLATE, &[]).unwrap();
        assert_eq!((template.shards, template.encrypted), (4, true));
        assert_eq!(template.producer.timeout, Duration::from_secs(20));
        let variable = |name: &str| {
            let mut all = template.producer.environment.iter();
            all.find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        assert_eq!(variable("STREAM_ARN"), Some(Variable::StreamArn));
        assert_eq!(variable("UNDELIVERED_QUEUE_URL"), Some(Variable::QueueUrl));
        assert_eq!(variable("PARTITION_KEY_EXPRESSION"), Some(Variable::Text("[0:4]".into())));
        assert_eq!(variable("AWS_LAMBDA_LOG_FORMAT"), Some(Variable::Text("JSON".into())));
        let asynchronous = Asynchronous { retries: 2, age: Duration::from_secs(3_600), on_failure: true };
        assert_eq!(template.producer.asynchronous, asynchronous);
        let by_default = Asynchronous { retries: 2, age: Duration::from_secs(21_600), on_failure: false };
        assert_eq!(template.consumer.asynchronous, by_default);
        let mapping = mapping::Settings {
            batch_size: 500,
            window: Duration::from_secs(1),
            attempts: Some(10),
            record_age: Some(Duration::from_secs(86_400)),
            bisect: true,
            partial_answers: true,
            from: Position::TrimHorizon,
        };
        assert_eq!(template.mapping, mapping);
    }

    #[test]
    fn parameters_stand_in_for_their_defaults() {
        let given = [("PartitionKeyExpression", "[0]"), ("ShardCount", "3")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let template = Template::parse(TEMPLATE, &given).unwrap();
        let key = ("PARTITION_KEY_EXPRESSION".to_owned(), Variable::Text("[0]".into()));
        assert!(template.producer.environment.contains(&key));
        assert_eq!(template.shards, 3);
    }

    #[track_caller]
    fn check_refused(from: &str, to: &str, want: &str) {
        assert!(TEMPLATE.contains(from), "the template has no {from}");
        let why = format!("{:#}", Template::parse(&TEMPLATE.replace(from, to), &[]).unwrap_err());
        assert!(why.contains(want), "{why}");
    }

    #[test]
    fn what_would_change_what_happens_to_records_is_refused_by_name() {
        check_refused("ParallelizationFactor: 1", "ParallelizationFactor: 2", "ParallelizationFactor");
        check_refused("BatchSize: 500", "TumblingWindowInSeconds: 5", "TumblingWindowInSeconds");
        check_refused("BatchSize: 500", "FilterCriteria: {}", "FilterCriteria");
    }

    #[test]
    fn mistaken_values_are_refused_by_name() {
        check_refused("BatchSize: 500", "BatchSize: 10001", "BatchSize of Mapping");
        check_refused("BatchSize: 500", "BatchSize: many", "BatchSize is many");
        check_refused("Timeout: 20", "Timeout: 901", "Timeout of Producer is 901");
        check_refused(
            "[ReportBatchItemFailures]",
            "[ReportBatchItemFailure]",
            "FunctionResponseTypes of Mapping",
        );
        check_refused("MaximumRecordAgeInSeconds: 86400", "MaximumRecordAgeInSeconds: 59", "less than 60");
        check_refused("StartingPosition: TRIM_HORIZON", "StartingPosition: FIRST", "StartingPosition");
        check_refused(
            "MaximumRetryAttempts: 2",
            "MaximumRetryAttempts: 3",
            "MaximumRetryAttempts of Producer is 3, expected 0 to 2",
        );
        check_refused(
            "MaximumEventAgeInSeconds: 3600",
            "MaximumEventAgeInSeconds: 59",
            "expected 60 to 21600",
        );
        check_refused("Binary: producer", "Binary: other", "Binary: producer");
    }

    #[test]
    fn an_unknown_parameter_is_refused_and_the_known_ones_are_named() {
        let why = Template::parse(TEMPLATE, &[("Shards".into(), "1".into())]).unwrap_err().to_string();
        assert!(why.contains("no parameter Shards") && why.contains("ShardCount"), "{why}");
    }

    #[test]
    fn a_parameter_has_one_of_its_allowed_values() {
        let given = |value: &str| [("PartitionKeyFormatter".to_owned(), value.to_owned())];
        assert!(Template::parse(TEMPLATE, &given("ascii")).is_ok());
        let why = Template::parse(TEMPLATE, &given("rot13")).unwrap_err().to_string();
        assert!(why.contains("rot13, expected one of hex, base64, ascii, utf8"), "{why}");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["", "[", "a: b", "- 1"] {
            assert!(Template::parse(text, &[]).is_err(), "{text}");
        }
    }
}
