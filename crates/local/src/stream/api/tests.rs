//! Requests as such; [`records`], [`reshard`] and [`streams`] test what they do.

mod capacity;
mod consumers;
mod records;
mod reshard;
mod resources;
mod streams;

use serde_json::{Value, json};

use super::*;
use crate::stream::handle::Config;
use crate::stream::id::ShardId;

const NOW: u64 = 1_800_000_000_500;

/// The ARN of the stream `s`.
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

/// A Kinesis with the stream `s` of two shards.
fn kinesis() -> Kinesis {
    let kinesis = Kinesis::new(Config::local());
    ok(&kinesis, "CreateStream", json!({ "StreamName": "s", "ShardCount": 2 }));
    kinesis
}

fn call(kinesis: &Kinesis, operation: &str, body: Value, now: u64) -> Result<Value, ApiError> {
    let answer = kinesis.call(&format!("{TARGET}{operation}"), body.to_string().as_bytes(), now)?;
    Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer).unwrap() })
}

#[track_caller]
fn ok(kinesis: &Kinesis, operation: &str, body: Value) -> Value {
    call(kinesis, operation, body, NOW).unwrap()
}

/// The error of one call on a Kinesis with the stream `s`: its name and its message.
#[track_caller]
fn check_error(operation: &str, body: Value, want: &str) {
    let kinesis = kinesis();
    let got = call(&kinesis, operation, body, NOW).unwrap_err().to_string();
    assert_eq!(got, want);
    let appended = kinesis.stream("s").unwrap().contents().counts().appended;
    assert_eq!(appended, 0, "refused, but something was stored");
}

fn record(data: &str, key: &str) -> Value {
    json!({ "Data": data, "PartitionKey": key })
}

fn put(records: Vec<Value>) -> Value {
    json!({ "StreamName": "s", "Records": records })
}

#[track_caller]
fn check_refused_member(operation: &str, mut body: Value, member: &str, value: Value) {
    body[member] = value;
    let got = call(&kinesis(), operation, body, NOW).unwrap_err().to_string();
    let want = format!("ValidationException: This stream does not simulate the member `{member}`");
    assert!(got.starts_with(&want), "{got}");
}

#[test]
fn what_is_not_simulated_is_refused_by_name() {
    let one = || json!({ "StreamName": "s", "Data": "", "PartitionKey": "k" });
    check_refused_member("PutRecords", put(vec![record("", "k")]), "DryRun", json!(true));
    check_refused_member("PutRecord", one(), "DryRun", json!(false));
    check_refused_member("PutRecord", one(), "StreamId", json!("x"));
    check_refused_member("GetRecords", json!({}), "DryRun", json!(true));
    check_refused_member("DescribeStreamSummary", json!({ "StreamName": "s" }), "StreamId", json!("x"));
    check_refused_member("CreateStream", json!({ "StreamName": "t" }), "WarmThroughputMiBps", json!(1));
    check_error(
        "CreateChannel",
        json!({}),
        "UnknownOperationException: Operation \"CreateChannel\" is not implemented by the local stream",
    );
    check_error(
        "",
        json!({}),
        "UnknownOperationException: Operation \"\" is not implemented by the local stream",
    );
}

#[track_caller]
fn check_body(body: &[u8], want: &str) {
    let got = kinesis().call("Kinesis_20131202.PutRecord", body, NOW).unwrap_err();
    assert_eq!(got.code, ErrorCode::Serialization);
    assert!(got.message.contains(want), "{got}");
}

#[test]
fn bodies_that_are_not_the_json_expected() {
    check_body(b"", "not a JSON object");
    check_body(b"[]", "not a JSON object");
    check_body(b"{", "EOF");
    check_body(b"{} x", "trailing characters");
    check_body(b"{\"Data\":1}", "invalid type: integer `1`, expected a string");
    check_body(b"{\"Data\":\"\xff\"}", "invalid unicode");
    check_body(b"{\"Data\":\"\",\"Data\":\"\"}", "duplicate field `Data`");
    check_body("[".repeat(100_000).as_bytes(), "not a JSON object");
    check_body(format!("{{\"Data\":{}", "[".repeat(100_000)).as_bytes(), "expected a string");
}

#[track_caller]
fn check_named(names: Value, want: Result<(), &str>) {
    let got = call(&kinesis(), "DescribeStreamSummary", names, NOW);
    assert_eq!(got.map(drop).map_err(|e| e.to_string()), want.map_err(str::to_owned));
}

#[test]
fn a_stream_is_named_by_name_or_arn_or_both_alike() {
    check_named(json!({ "StreamName": "s" }), Ok(()));
    check_named(json!({ "StreamARN": ARN }), Ok(()));
    check_named(json!({ "StreamName": "s", "StreamARN": ARN }), Ok(()));
    check_named(
        json!({ "StreamName": "t", "StreamARN": ARN }),
        Err("InvalidArgumentException: StreamName t and StreamARN name different streams: s"),
    );
    check_named(
        json!({}),
        Err("InvalidArgumentException: Either StreamName or StreamARN should be provided."),
    );
    check_named(
        json!({ "StreamName": "a b" }),
        Err(
            "ValidationException: 1 validation error detected: Value 'a b' at 'streamName' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
        ),
    );
    for arn in [
        "arn:aws:kinesis:us-east-1:111111111111:stream/s",
        "arn:aws:kinesis:eu-west-1:000000000000:stream/s",
        "arn:aws:sqs:us-east-1:000000000000:stream/s",
        "arn:aws:kinesis:us-east-1:000000000000:s",
        "arn:aws:kinesis:us-east-1:000000000000:stream/",
        "s",
    ] {
        let shape = "arn:aws:kinesis:us-east-1:000000000000:stream/NAME";
        let want = format!("InvalidArgumentException: The ARN of the stream is {arn:?}, expected {shape}");
        check_named(json!({ "StreamARN": arn }), Err(&want));
    }
}

#[test]
fn messages_repeat_only_the_start_of_what_was_given() {
    let long = "x".repeat(1 << 20);
    let kinesis = kinesis();
    for (operation, body) in [
        ("DescribeStream", json!({ "StreamName": long })),
        ("DescribeStream", json!({ "StreamARN": long })),
        ("DescribeStream", json!({ "Limit": long })),
        ("DescribeStream", json!({ long.as_str(): 1 })),
        ("PutRecords", put(vec![record("", &long); 100])),
        ("PutRecords", put(vec![json!({ "Data": long, "PartitionKey": "k", "ExplicitHashKey": long })])),
        ("GetShardIterator", json!({ "ShardId": long, "ShardIteratorType": long })),
        ("GetRecords", json!({ "ShardIterator": long, "StreamARN": long })),
    ] {
        let refused = call(&kinesis, operation, body, NOW).unwrap_err();
        assert!(refused.message.len() < 5000, "{operation}: {} bytes", refused.message.len());
    }
}

#[track_caller]
fn check_time(text: &str, want: Option<u64>) {
    let got = serde_json::from_str::<input::Timestamp>(text);
    assert_eq!(got.ok().map(|time| time.ms), want, "{text}");
}

#[test]
fn times_are_cut_to_the_millisecond() {
    check_time("0", Some(0));
    check_time("1800000000", Some(1_800_000_000_000));
    check_time("1.800000000501E9", Some(1_800_000_000_501));
    check_time("1800000000.5019", Some(1_800_000_000_501));
    let all = (0..3000).chain(1_795_227_844_000..1_795_227_845_000);
    all.for_each(|ms| check_time(&seconds(ms).to_string(), Some(ms)));
    check_time("-1", None);
    check_time("1e300", None);
    check_time("null", None);
    check_time("\"2026-01-01T00:00:00Z\"", None);
}
