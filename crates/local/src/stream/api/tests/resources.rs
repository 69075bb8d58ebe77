//! Tags and policies by ARN.

use super::*;

/// The ARNs of a stream and of its consumer.
fn resources(kinesis: &Kinesis) -> [String; 2] {
    let body = json!({ "StreamARN": ARN, "ConsumerName": "c" });
    let consumer = ok(kinesis, "RegisterStreamConsumer", body)["Consumer"]["ConsumerARN"].clone();
    [ARN.to_owned(), consumer.as_str().unwrap().to_owned()]
}

#[test]
fn streams_and_consumers_have_tags() {
    let kinesis = kinesis();
    for arn in resources(&kinesis) {
        let tags = |body: Value| ok(&kinesis, "ListTagsForResource", body)["Tags"].clone();
        ok(&kinesis, "TagResource", json!({ "ResourceARN": arn, "Tags": { "a": "1", "b": "2" } }));
        ok(&kinesis, "TagResource", json!({ "ResourceARN": arn, "Tags": { "b": "3" } }));
        let want = json!([{ "Key": "a", "Value": "1" }, { "Key": "b", "Value": "3" }]);
        assert_eq!(tags(json!({ "ResourceARN": arn })), want);
        ok(&kinesis, "UntagResource", json!({ "ResourceARN": arn, "TagKeys": ["b", "none"] }));
        assert_eq!(tags(json!({ "ResourceARN": arn })), json!([{ "Key": "a", "Value": "1" }]));
        let many: serde_json::Map<_, _> = (0..50).map(|tag| (format!("t{tag}"), json!(""))).collect();
        let error =
            call(&kinesis, "TagResource", json!({ "ResourceARN": arn, "Tags": many }), NOW).unwrap_err();
        assert_eq!(error.code, ErrorCode::LimitExceeded);
    }
    let by_name = ok(&kinesis, "ListTagsForStream", json!({ "StreamName": "s" }));
    assert_eq!(by_name["Tags"], json!([{ "Key": "a", "Value": "1" }]), "they are the same tags");
}

#[test]
fn streams_and_consumers_have_a_policy() {
    let kinesis = kinesis();
    for arn in resources(&kinesis) {
        let of = |operation: &str| call(&kinesis, operation, json!({ "ResourceARN": arn }), NOW);
        let none = format!("ResourceNotFoundException: No resource policy found for resource ARN {arn}");
        assert_eq!(of("GetResourcePolicy").unwrap_err().to_string(), none);
        let policy = r#"{"Version": "2012-10-17"}"#;
        ok(&kinesis, "PutResourcePolicy", json!({ "ResourceARN": arn, "Policy": policy }));
        assert_eq!(of("GetResourcePolicy").unwrap(), json!({ "Policy": policy }));
        assert_eq!(of("DeleteResourcePolicy").unwrap(), Value::Null);
        assert_eq!(of("DeleteResourcePolicy").unwrap_err().to_string(), none);
        let no_json = json!({ "ResourceARN": arn, "Policy": "allow all" });
        let error = call(&kinesis, "PutResourcePolicy", no_json, NOW).unwrap_err();
        assert_eq!(error.to_string(), "InvalidArgumentException: Policy is no JSON object");
    }
}

#[test]
fn a_resource_that_is_not_there_is_named() {
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/t";
    check_error(
        "ListTagsForResource",
        json!({ "ResourceARN": arn }),
        "ResourceNotFoundException: Stream t under account 000000000000 not found.",
    );
    check_error(
        "UntagResource",
        json!({ "ResourceARN": format!("{ARN}/consumer/c:1"), "TagKeys": ["a"] }),
        &format!("ResourceNotFoundException: Consumer {ARN}/consumer/c:1 of {ARN} not found."),
    );
    check_error(
        "GetResourcePolicy",
        json!({}),
        "ValidationException: 1 validation error detected: Value null at 'resourceARN' failed to satisfy constraint: \
         Member must not be null",
    );
}
