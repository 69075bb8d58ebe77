//! The two functions of a template.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use local::invoke::{LONGEST_AGE, MOST_RETRIES};
use serde_json::{Map, Value};

use super::resolve::{Resolver, is_intrinsic, text};
use super::{Asynchronous, Function, Members, Variable, resource};

/// The runtime that the functions are built for.
const RUNTIME: &str = "provided.al2023";

/// `Timeout`, in seconds (Lambda API reference: CreateFunction).
const TIMEOUT: RangeInclusive<i64> = 1..=900;

/// `MemorySize`, in MiB (AWS Lambda quotas: function memory allocation).
const MEMORY: RangeInclusive<i64> = 128..=10_240;

/// What the producer and the consumer read: without a value here, such a variable would leave another one in force than
/// in AWS.
const SETTINGS: &[&str] = &[
    "STREAM_ARN",
    "STREAM_NAME",
    "PARTITION_KEY_EXPRESSION",
    "PARTITION_KEY_FORMATTER",
    "PARTITION_KEY_EXPRESSION_FORMATTER",
    "MAX_RECORD_BYTES",
    "ORDERING",
    "RECORD_FORMAT",
    "AGGREGATE_BUCKETS",
    "AGGREGATE_BYTES",
    "REPLY_EXPRESSION",
    "UNDELIVERED_QUEUE_URL",
    "LOG_PACKETS",
    "LOG_PAYLOAD_BYTES",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_LEVEL",
];

/// Sections of a template's `Globals` (AWS SAM developer guide: Globals section).
const GLOBALS: Members = Members {
    known: &["Function"],
    without_effect: &[
        "Api",
        "CapacityProvider",
        "HttpApi",
        "LayerVersion",
        "MicrovmImage",
        "NetworkConnector",
        "SimpleTable",
        "StateMachine",
        "WebFunction",
        "WebSocketApi",
    ],
};

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

const ENVIRONMENT: Members = Members { known: &["Variables"], without_effect: &[] };

const ASYNCHRONOUS: Members = Members {
    known: &["DestinationConfig", "MaximumEventAgeInSeconds", "MaximumRetryAttempts"],
    without_effect: &[],
};

const DESTINATIONS: Members = Members { known: &["OnFailure", "OnSuccess"], without_effect: &[] };

const DESTINATION: Members = Members { known: &["Destination", "Type"], without_effect: &[] };

/// The producer and the consumer, and no third.
pub(super) fn functions(root: &Value, resolver: &Resolver, notes: &mut Vec<String>) -> Result<[Function; 2]> {
    GLOBALS.note("Globals", &root["Globals"], notes)?;
    FUNCTION.note("Globals.Function", &root["Globals"]["Function"], notes)?;
    let producer = function(root, "producer", resolver, notes)?;
    let consumer = function(root, "consumer", resolver, notes)?;
    let is_third = |name: &str, resource: &Value| {
        is_function(resource) && ![producer.name.as_str(), consumer.name.as_str()].contains(&name)
    };
    let mut resources = root["Resources"].as_object().into_iter().flatten();
    if let Some((third, _)) = resources.find(|(name, resource)| is_third(name, resource)) {
        let (producer, consumer) = (producer.name, consumer.name);
        bail!(
            "{third} is a third AWS::Serverless::Function, which is not simulated here: \
             expected {producer} and {consumer} alone"
        );
    }
    Ok([producer, consumer])
}

fn is_function(resource: &Value) -> bool {
    resource["Type"] == "AWS::Serverless::Function"
}

fn function(root: &Value, binary: &str, resolver: &Resolver, notes: &mut Vec<String>) -> Result<Function> {
    let is = |resource: &Value| {
        is_function(resource) && resource["Metadata"]["BuildProperties"]["Binary"] == binary
    };
    let (name, found) = resource(root, is)?.ok_or_else(|| {
        anyhow!("there is no AWS::Serverless::Function with BuildProperties Binary: {binary}")
    })?;
    FUNCTION.note(name, &found["Properties"], notes)?;
    let properties = merged(&root["Globals"]["Function"], &found["Properties"]);
    let of = properties.as_object().cloned().unwrap_or_default();
    if properties["Runtime"] != RUNTIME {
        bail!("Runtime of {name} is {}, expected {RUNTIME}", properties["Runtime"]);
    }
    let timeout = resolver.within(name, &of, "Timeout", 3, TIMEOUT)?;
    let memory = resolver.within(name, &of, "MemorySize", 128, MEMORY)?;
    let mut environment = environment(name, &properties["Environment"], resolver, notes)?;
    let logging = &properties["LoggingConfig"];
    LOGGING.check(&format!("LoggingConfig of {name}"), logging)?;
    for (variable, setting) in
        [("AWS_LAMBDA_LOG_FORMAT", "LogFormat"), ("AWS_LAMBDA_LOG_LEVEL", "ApplicationLogLevel")]
    {
        match (text(&logging[setting]), &logging[setting]) {
            (Some(text), _) => environment.push((variable.into(), Variable::Text(text))),
            (None, Value::Null) => {}
            (None, value) => bail!("{setting} of {name} is {value}, expected a text that is known here"),
        }
    }
    Ok(Function {
        name: name.to_owned(),
        environment,
        timeout: Duration::from_secs(u64::try_from(timeout).with_context(|| format!("Timeout of {name}"))?),
        memory_mib: u32::try_from(memory).with_context(|| format!("MemorySize of {name}"))?,
        asynchronous: asynchronous(name, &properties["EventInvokeConfig"], resolver, notes)?,
    })
}

/// What SAM makes of `Globals` and a function's own: maps together, lists one behind the other, else its own.
fn merged(globals: &Value, own: &Value) -> Value {
    match (globals, own) {
        (_, Value::Null) => globals.clone(),
        (Value::Object(of_all), Value::Object(its)) if !is_intrinsic(globals) && !is_intrinsic(own) => {
            let mut both: Map<String, Value> = of_all.clone();
            for (member, value) in its {
                let value = merged(&globals[member], value);
                both.insert(member.clone(), value);
            }
            Value::Object(both)
        }
        (Value::Array(of_all), Value::Array(its)) => {
            Value::Array(of_all.iter().chain(its).cloned().collect())
        }
        _ => own.clone(),
    }
}

fn environment(
    name: &str,
    given: &Value,
    resolver: &Resolver,
    notes: &mut Vec<String>,
) -> Result<Vec<(String, Variable)>> {
    ENVIRONMENT.check(&format!("Environment of {name}"), given)?;
    let variables = &given["Variables"];
    if !(variables.is_null() || variables.is_object()) || is_intrinsic(variables) {
        bail!("Variables of {name} is {variables}, expected names and values that are known here");
    }
    let mut environment = Vec::new();
    for (variable, value) in variables.as_object().into_iter().flatten() {
        if resolver.is_stream_arn(value) {
            environment.push((variable.clone(), Variable::StreamArn));
        } else if resolver.is_queue_url(value) {
            environment.push((variable.clone(), Variable::QueueUrl));
        } else if let Some(text) = text(value) {
            environment.push((variable.clone(), Variable::Text(text)));
        } else if SETTINGS.contains(&variable.as_str()) {
            bail!(
                "{variable} of {name} is {value}, which has no value here: expected a text, a parameter, \
                 the stream's Arn or a queue's URL"
            );
        } else {
            notes.push(format!("{name}: {variable} is {value}, which has no value here: it is not set"));
        }
    }
    Ok(environment)
}

fn asynchronous(
    name: &str,
    config: &Value,
    resolver: &Resolver,
    notes: &mut Vec<String>,
) -> Result<Asynchronous> {
    ASYNCHRONOUS.check(&format!("EventInvokeConfig of {name}"), config)?;
    DESTINATIONS.check(&format!("DestinationConfig of {name}"), &config["DestinationConfig"])?;
    let of = config.as_object().cloned().unwrap_or_default();
    let number = |member: &str, default: u64, least: i64| {
        let most = i64::try_from(default).unwrap_or(i64::MAX);
        u64::try_from(resolver.within(name, &of, member, most, least..=most)?)
            .with_context(|| format!("{member} of {name}"))
    };
    let retries = number("MaximumRetryAttempts", u64::from(MOST_RETRIES), 0)?;
    let age = number("MaximumEventAgeInSeconds", LONGEST_AGE.as_secs(), 60)?;
    let mut on_failure = false;
    for (kind, destination) in config["DestinationConfig"].as_object().into_iter().flatten() {
        DESTINATION.check(&format!("{kind} of {name}"), destination)?;
        if kind == "OnFailure" && resolver.is_queue_arn(&destination["Destination"]) {
            on_failure = true;
        } else {
            notes.push(format!("{kind} of {name}'s EventInvokeConfig: for AWS, without effect here"));
        }
    }
    let retries = u32::try_from(retries).with_context(|| format!("MaximumRetryAttempts of {name}"))?;
    Ok(Asynchronous { retries, age: Duration::from_secs(age), on_failure })
}
