//! Registered consumers, and what a subscription is refused for.

use super::*;
use crate::stream::limits::CONSUMER_MS;

fn register(kinesis: &Kinesis, name: &str) -> Value {
    let body = json!({ "StreamARN": ARN, "ConsumerName": name });
    call(kinesis, "RegisterStreamConsumer", body, NOW).unwrap()["Consumer"].clone()
}

fn arn(name: &str) -> String {
    format!("{ARN}/consumer/{name}:{}", NOW / 1000)
}

/// The consumers of a page, and its token.
fn page(kinesis: &Kinesis, body: Value, now: u64) -> Result<(Vec<String>, Value), ApiError> {
    let answer = call(kinesis, "ListStreamConsumers", body, now)?;
    let name = |consumer: &Value| consumer["ConsumerName"].as_str().unwrap().to_owned();
    Ok((answer["Consumers"].as_array().unwrap().iter().map(name).collect(), answer["NextToken"].clone()))
}

#[test]
fn a_consumer_is_registered_described_listed_and_deregistered() {
    let kinesis = kinesis();
    let registered = register(&kinesis, "c");
    let want = json!({
        "ConsumerName": "c", "ConsumerARN": arn("c"), "ConsumerStatus": "CREATING",
        "ConsumerCreationTimestamp": 1_800_000_000.5,
    });
    assert_eq!(registered, want);
    let about = |body| call(&kinesis, "DescribeStreamConsumer", body, NOW + CONSUMER_MS);
    let by_arn = about(json!({ "ConsumerARN": arn("c") })).unwrap()["ConsumerDescription"].clone();
    assert_eq!(by_arn["ConsumerStatus"], "ACTIVE");
    assert_eq!(by_arn["StreamARN"], ARN);
    let by_name = about(json!({ "StreamARN": ARN, "ConsumerName": "c" })).unwrap();
    assert_eq!(by_name["ConsumerDescription"], by_arn);
    let all = about(json!({ "StreamARN": ARN, "ConsumerName": "c", "ConsumerARN": arn("c") })).unwrap();
    assert_eq!(all["ConsumerDescription"], by_arn);
    let other = about(json!({ "StreamARN": ARN, "ConsumerName": "d", "ConsumerARN": arn("c") })).unwrap_err();
    assert_eq!(other.code, ErrorCode::InvalidArgument);
    let summary = ok(&kinesis, "DescribeStreamSummary", json!({ "StreamName": "s" }));
    assert_eq!(summary["StreamDescriptionSummary"]["ConsumerCount"], 1);
    let gone = ok(&kinesis, "DeregisterStreamConsumer", json!({ "ConsumerARN": arn("c") }));
    assert_eq!(gone, Value::Null);
    let error = about(json!({ "ConsumerARN": arn("c") })).unwrap_err().to_string();
    assert_eq!(error, format!("ResourceNotFoundException: Consumer {} of {ARN} not found.", arn("c")));
}

#[test]
fn consumers_are_listed_page_by_page_and_a_token_is_of_its_stream_and_of_five_minutes() {
    let kinesis = kinesis();
    for name in ["b", "a", "d", "c"] {
        register(&kinesis, name);
    }
    assert_eq!(page(&kinesis, json!({ "StreamARN": ARN }), NOW).unwrap().0, ["a", "b", "c", "d"]);
    let (first, token) = page(&kinesis, json!({ "StreamARN": ARN, "MaxResults": 3 }), NOW).unwrap();
    assert_eq!(first, ["a", "b", "c"]);
    let next = || json!({ "StreamARN": ARN, "NextToken": token });
    let (second, end) = page(&kinesis, next(), NOW + 300_000).unwrap();
    assert_eq!((second, end), (vec!["d".to_owned()], Value::Null));
    let expired = page(&kinesis, next(), NOW + 300_001).unwrap_err();
    assert_eq!(expired.code, ErrorCode::ExpiredNextToken);
    let foreign = page(&kinesis, json!({ "StreamARN": ARN, "NextToken": "x" }), NOW).unwrap_err();
    assert_eq!(foreign.to_string(), "InvalidArgumentException: Invalid NextToken.");
    let other = json!({ "StreamARN": ARN, "StreamCreationTimestamp": 7 });
    assert_eq!(page(&kinesis, other, NOW).unwrap_err().code, ErrorCode::ResourceNotFound);
}

#[test]
fn what_cannot_be_is_refused() {
    let both =
        "InvalidArgumentException: Either ConsumerARN, or StreamARN and ConsumerName, should be provided.";
    check_error("DescribeStreamConsumer", json!({}), both);
    check_error("DeregisterStreamConsumer", json!({ "StreamARN": ARN }), both);
    check_error(
        "DescribeStreamConsumer",
        json!({ "ConsumerARN": ARN }),
        &format!(
            "InvalidArgumentException: ConsumerARN is {ARN:?}, expected STREAM_ARN/consumer/NAME:SECONDS"
        ),
    );
    check_error(
        "RegisterStreamConsumer",
        json!({ "StreamARN": ARN, "ConsumerName": "a b" }),
        "ValidationException: 1 validation error detected: Value 'a b' at 'consumerName' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
    );
    check_error(
        "ListStreamConsumers",
        json!({}),
        "ValidationException: 1 validation error detected: Value null at 'streamARN' failed to satisfy constraint: \
         Member must not be null",
    );
}

#[test]
fn a_stream_with_consumers_is_deleted_only_if_that_is_said() {
    let kinesis = kinesis();
    register(&kinesis, "c");
    for body in [json!({ "StreamName": "s" }), json!({ "StreamName": "s", "EnforceConsumerDeletion": false })]
    {
        assert_eq!(call(&kinesis, "DeleteStream", body, NOW).unwrap_err().code, ErrorCode::ResourceInUse);
    }
    ok(&kinesis, "DeleteStream", json!({ "StreamName": "s", "EnforceConsumerDeletion": true }));
    ok(&kinesis, "CreateStream", json!({ "StreamName": "s", "ShardCount": 1 }));
    assert_eq!(page(&kinesis, json!({ "StreamARN": ARN }), NOW).unwrap().0, Vec::<String>::new());
}

/// The error of a subscription to the stream `s` with the consumer `c`.
#[track_caller]
fn check_subscription(change: impl FnOnce(&mut Value), want: &str) {
    let kinesis = kinesis();
    register(&kinesis, "c");
    let mut body =
        json!({ "ConsumerARN": arn("c"), "ShardId": ShardId(0), "StartingPosition": { "Type": "LATEST" } });
    change(&mut body);
    let got = subscribe(&kinesis, body.to_string().as_bytes(), NOW + CONSUMER_MS).map(drop);
    assert_eq!(got.map_err(|error| error.to_string()), Err(want.to_owned()));
}

#[test]
fn a_subscription_that_cannot_be_is_refused() {
    check_subscription(
        |body| body["ConsumerARN"] = json!(arn("d")),
        &format!("ResourceNotFoundException: Consumer {} of {ARN} not found.", arn("d")),
    );
    check_subscription(
        |body| body["ShardId"] = json!(ShardId(7)),
        "ResourceNotFoundException: Shard shardId-000000000007 in stream s under account 000000000000 does not exist",
    );
    check_subscription(
        |body| body["StartingPosition"] = json!({ "Type": "AT_SEQUENCE_NUMBER" }),
        "InvalidArgumentException: Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
         SequenceNumber, (2) AT_TIMESTAMP and Timestamp, or (3) TRIM_HORIZON or LATEST and neither. \
         Request specified AT_SEQUENCE_NUMBER, no SequenceNumber and no Timestamp.",
    );
    check_subscription(
        |body| body["StartingPosition"] = json!({}),
        "ValidationException: 1 validation error detected: Value null at 'startingPosition.type' failed to satisfy \
         constraint: Member must not be null",
    );
    let kinesis = kinesis();
    register(&kinesis, "c");
    let body =
        json!({ "ConsumerARN": arn("c"), "ShardId": ShardId(0), "StartingPosition": { "Type": "LATEST" } });
    let early = subscribe(&kinesis, body.to_string().as_bytes(), NOW).map(drop).unwrap_err();
    assert_eq!(
        early.to_string(),
        format!("ResourceInUseException: Consumer c of {ARN} is CREATING, expected ACTIVE")
    );
}
