//! The capacity mode, the largest record and the metrics of a stream.

use super::*;
use crate::stream::limits::{MODE_CHANGES_PERIOD_MS, RESHARD_MS};

fn summary(kinesis: &Kinesis) -> Value {
    let answer = ok(kinesis, "DescribeStreamSummary", json!({ "StreamName": "s" }));
    answer["StreamDescriptionSummary"].clone()
}

#[test]
fn the_mode_changes_twice_a_day_and_the_shards_stay() {
    let kinesis = kinesis();
    let change = |mode: &str, now| {
        let body = json!({ "StreamARN": ARN, "StreamModeDetails": { "StreamMode": mode } });
        call(&kinesis, "UpdateStreamMode", body, now).map_err(|error| error.code)
    };
    assert_eq!(change("ON_DEMAND", NOW), Ok(Value::Null));
    assert_eq!(change("ON_DEMAND", NOW), Ok(Value::Null), "it is so already");
    assert_eq!(summary(&kinesis)["StreamModeDetails"]["StreamMode"], "ON_DEMAND");
    assert_eq!(summary(&kinesis)["OpenShardCount"], 2);
    assert_eq!(change("PROVISIONED", NOW + 1), Ok(Value::Null));
    assert_eq!(change("ON_DEMAND", NOW + 2), Err(ErrorCode::LimitExceeded));
    assert_eq!(change("ON_DEMAND", NOW + MODE_CHANGES_PERIOD_MS), Ok(Value::Null));
    assert_eq!(change("NONE", NOW), Err(ErrorCode::Validation));
}

#[test]
fn the_mode_does_not_change_while_shards_do() {
    let kinesis = kinesis();
    let scale = json!({ "StreamName": "s", "TargetShardCount": 3, "ScalingType": "UNIFORM_SCALING" });
    ok(&kinesis, "UpdateShardCount", scale);
    let body = || json!({ "StreamARN": ARN, "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    let busy = call(&kinesis, "UpdateStreamMode", body(), NOW).unwrap_err();
    assert_eq!(busy.code, ErrorCode::ResourceInUse);
    call(&kinesis, "UpdateStreamMode", body(), NOW + RESHARD_MS).unwrap();
}

#[test]
fn the_largest_record_is_taken_from_then_on() {
    let kinesis = kinesis();
    let large = || put(vec![record(&"AAAA".repeat(400_000), "k")]);
    assert_eq!(call(&kinesis, "PutRecords", large(), NOW).unwrap_err().code, ErrorCode::InvalidArgument);
    ok(&kinesis, "UpdateMaxRecordSize", json!({ "StreamARN": ARN, "MaxRecordSizeInKiB": 2048 }));
    assert_eq!(ok(&kinesis, "PutRecords", large())["FailedRecordCount"], 0);
    assert_eq!(summary(&kinesis)["MaxRecordSizeInKiB"], 2048);
    for kib in [1023, 10_241] {
        let body = json!({ "StreamARN": ARN, "MaxRecordSizeInKiB": kib });
        assert_eq!(call(&kinesis, "UpdateMaxRecordSize", body, NOW).unwrap_err().code, ErrorCode::Validation);
    }
}

#[test]
fn metrics_are_remembered() {
    let kinesis = kinesis();
    let change = |operation: &str, metrics: Value| {
        let answer = ok(&kinesis, operation, json!({ "StreamName": "s", "ShardLevelMetrics": metrics }));
        assert_eq!(
            summary(&kinesis)["EnhancedMonitoring"][0]["ShardLevelMetrics"],
            answer["DesiredShardLevelMetrics"]
        );
        (answer["CurrentShardLevelMetrics"].clone(), answer["DesiredShardLevelMetrics"].clone())
    };
    let (before, after) = change("EnableEnhancedMonitoring", json!(["OutgoingBytes", "IncomingBytes"]));
    assert_eq!((before, after), (json!([]), json!(["IncomingBytes", "OutgoingBytes"])));
    let (before, after) = change("DisableEnhancedMonitoring", json!(["OutgoingBytes", "OutgoingRecords"]));
    assert_eq!((before, after), (json!(["IncomingBytes", "OutgoingBytes"]), json!(["IncomingBytes"])));
    assert_eq!(change("EnableEnhancedMonitoring", json!(["ALL"])).1.as_array().unwrap().len(), 7);
    assert_eq!(change("DisableEnhancedMonitoring", json!(["ALL"])).1, json!([]));
    for metrics in [json!([]), json!(["Nonsense"])] {
        let body = json!({ "StreamName": "s", "ShardLevelMetrics": metrics });
        assert_eq!(
            call(&kinesis, "EnableEnhancedMonitoring", body, NOW).unwrap_err().code,
            ErrorCode::Validation
        );
    }
}
