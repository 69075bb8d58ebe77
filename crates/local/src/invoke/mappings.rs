//! Lambda's API of event source mappings, as far as a mapping that is there can be looked at, disabled and enabled.
//!
//! - <https://docs.aws.amazon.com/lambda/latest/api/API_ListEventSourceMappings.html>
//! - <https://docs.aws.amazon.com/lambda/latest/api/API_GetEventSourceMapping.html>
//! - <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html>, of which `Enabled` is simulated
//!
//! Creating, deleting, and every other member of an update are refused by name.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::answer::{Refusal, answer, refusal};
use crate::http::{self, Request, Response};
use crate::mapping::{Mapping, State};
use crate::runtime::request_id;
use crate::stream::Position;

/// What the paths of this API begin with.
pub(super) const PATH: &str = "/2015-03-31/event-source-mappings";

/// Most bytes of an update (ours): one that is understood has a few dozen.
const UPDATE_BYTES: usize = 64 * 1024;

/// Mappings on a page, at most and where nothing is said (API: `ListEventSourceMappings`, `MaxItems`).
const PAGE: usize = 100;

pub(super) async fn respond(request: Request, mappings: &[Mapping]) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let id = head.uri.path().strip_prefix(PATH).unwrap_or_default().trim_matches('/');
    let known = || {
        mappings.iter().find(|mapping| mapping.id() == id).ok_or_else(|| {
            let message = format!(
                "The resource you requested does not exist: no event source mapping has the UUID {id}"
            );
            refusal(404, "ResourceNotFoundException", &message)
        })
    };
    let (status, body) = match (&head.method, id) {
        (&Method::GET, "") => (200, list(head.uri.query().unwrap_or_default(), mappings)?),
        (&Method::GET, _) => (200, configuration(known()?, None)),
        (&Method::PUT, id) if !id.is_empty() => {
            let mapping = known()?;
            let body = http::body(body, UPDATE_BYTES).await.unwrap_or_default();
            let state = update(mapping, &body)?;
            (202, configuration(mapping, Some(state)))
        }
        (&Method::POST, "") => return Err(unknown("CreateEventSourceMapping")),
        (&Method::DELETE, _) => return Err(unknown("DeleteEventSourceMapping")),
        (method, _) => return Err(unknown(&format!("{method} {}", head.uri.path()))),
    };
    Ok(answer(status, &request_id(), body.to_string()))
}

fn unknown(operation: &str) -> Refusal {
    let message = format!(
        "{operation} is not simulated: mappings are there from the start, and ListEventSourceMappings, \
         GetEventSourceMapping and UpdateEventSourceMapping are what is here"
    );
    refusal(404, "UnknownOperationException", &message)
}

fn invalid(message: &str) -> Refusal {
    refusal(400, "InvalidParameterValueException", message)
}

fn list(query: &str, mappings: &[Mapping]) -> Result<Value, Refusal> {
    let (mut source, mut function, mut from, mut most) = (None, None, 0, PAGE);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        match name {
            "EventSourceArn" => source = Some(value),
            "FunctionName" => function = Some(value),
            "Marker" => {
                from = value
                    .parse()
                    .map_err(|_| invalid(&format!("Marker is {value:?}, which is none of ours")))?;
            }
            "MaxItems" => {
                let given = value.parse().ok().filter(|items| (1..=10_000).contains(items));
                let items: usize =
                    given.ok_or_else(|| invalid(&format!("MaxItems is {value:?}, expected 1 to 10000")))?;
                most = items.min(PAGE);
            }
            other => {
                return Err(invalid(&format!(
                    "{other} is not known, expected EventSourceArn, FunctionName, Marker or MaxItems"
                )));
            }
        }
    }
    let asked = |mapping: &&Mapping| {
        let bound = mapping.bound();
        source.as_ref().is_none_or(|source| bound.is_some_and(|bound| bound.stream == *source))
            && function
                .as_ref()
                .is_none_or(|name| bound.is_some_and(|bound| is_name_of(name, &bound.function)))
    };
    let mut asked = mappings.iter().filter(asked).skip(from);
    let page: Vec<_> = asked.by_ref().take(most).map(|mapping| configuration(mapping, None)).collect();
    let mut answer = json!({ "EventSourceMappings": page });
    if asked.next().is_some() {
        answer["NextMarker"] = (from + most).to_string().into();
    }
    Ok(answer)
}

/// Whether a function of this ARN may be called so: by its name, its ARN, or the ARN's part from the account on.
fn is_name_of(name: &str, arn: &str) -> bool {
    let parts: Vec<_> = arn.splitn(5, ':').collect(); // arn, partition, service, region, the rest
    let rest = parts.last().copied().unwrap_or_default();
    let own = rest.rsplit(':').next().unwrap_or_default();
    [own, rest, arn].contains(&name.strip_suffix(":$LATEST").unwrap_or(name))
}

/// A value of a query, its escapes undone.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Carries out an update; gives the state that it leads through.
fn update(mapping: &Mapping, body: &Bytes) -> Result<&'static str, Refusal> {
    let members: Map<String, Value> = serde_json::from_slice(body).map_err(|why| {
        refusal(400, "InvalidRequestContentException", &format!("the update is no JSON object: {why}"))
    })?;
    if let Some(other) = members.keys().find(|member| *member != "Enabled") {
        return Err(invalid(&format!("{other} cannot be updated here, expected Enabled alone")));
    }
    let before = mapping.state();
    match members.get("Enabled") {
        Some(Value::Bool(true)) => mapping.enable(),
        Some(Value::Bool(false)) => mapping.disable(),
        None | Some(Value::Null) => {}
        Some(other) => return Err(invalid(&format!("Enabled is {other}, expected true or false"))),
    }
    Ok(match (before, mapping.state()) {
        (State::Disabling | State::Disabled, State::Enabled) => "Enabling",
        (State::Enabled, State::Disabling | State::Disabled) => "Disabling",
        (_, now) => name(now),
    })
}

fn name(state: State) -> &'static str {
    match state {
        State::Enabled => "Enabled",
        State::Disabling => "Disabling",
        State::Disabled => "Disabled",
    }
}

/// An `EventSourceMappingConfiguration`
/// (<https://docs.aws.amazon.com/lambda/latest/api/API_EventSourceMappingConfiguration.html>). What the last invocation
/// came to is not in it.
fn configuration(mapping: &Mapping, state: Option<&'static str>) -> Value {
    let (settings, id) = (mapping.settings(), mapping.id());
    let or_minus_1 = |seconds: Option<u64>| seconds.map_or_else(|| json!(-1), Value::from);
    let types: &[&str] = if settings.partial_answers { &["ReportBatchItemFailures"] } else { &[] };
    let mut answer = json!({
        "UUID": id,
        "BatchSize": settings.batch_size,
        "MaximumBatchingWindowInSeconds": settings.window.as_secs(),
        "ParallelizationFactor": settings.parallelization_factor,
        "MaximumRecordAgeInSeconds": or_minus_1(settings.record_age.as_ref().map(Duration::as_secs)),
        "MaximumRetryAttempts": or_minus_1(settings.attempts.map(u64::from)),
        "BisectBatchOnFunctionError": settings.bisect,
        "FunctionResponseTypes": types,
        "TumblingWindowInSeconds": 0,
        "LastModified": seconds(mapping.modified_ms()),
        "State": state.unwrap_or_else(|| name(mapping.state())),
        "StateTransitionReason": "User action",
    });
    match settings.from {
        Position::TrimHorizon => answer["StartingPosition"] = "TRIM_HORIZON".into(),
        Position::Latest => answer["StartingPosition"] = "LATEST".into(),
        Position::AtTimestamp(ms) => {
            answer["StartingPosition"] = "AT_TIMESTAMP".into();
            answer["StartingPositionTimestamp"] = seconds(ms).into();
        }
        // A mapping of the API has no such position.
        Position::At(_) | Position::After(_) => {}
    }
    match mapping.bound() {
        None => answer["State"] = "Creating".into(),
        Some(bound) => {
            answer["EventSourceArn"] = bound.stream.as_str().into();
            answer["FunctionArn"] = bound.function.as_str().into();
            let around =
                bound.function.split_once(":function:").map(|(around, _)| around).unwrap_or_default();
            answer["EventSourceMappingArn"] = format!("{around}:event-source-mapping:{id}").into();
            let destination = bound.destination.iter().map(|arn| ("Destination".to_owned(), json!(arn)));
            answer["DestinationConfig"] = json!({ "OnFailure": destination.collect::<Map<_, _>>() });
        }
    }
    answer
}

/// A time as the API writes it: seconds since 1970, with a fraction.
fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}
