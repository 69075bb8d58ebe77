//! Making, describing and changing streams.

use super::*;
use crate::stream::limits::TOKEN_LIFE_MS;

#[track_caller]
fn check_create(body: Value, want: Result<usize, &str>) {
    let kinesis = kinesis();
    let got = call(&kinesis, "CreateStream", body, NOW)
        .map(|_| kinesis.stream("t").unwrap().shards().len())
        .map_err(|e| e.to_string());
    assert_eq!(got, want.map_err(str::to_owned));
}

#[test]
fn streams_are_made_as_asked() {
    let mode = |mode: &str| json!({ "StreamMode": mode });
    check_create(json!({ "StreamName": "t", "ShardCount": 7 }), Ok(7));
    check_create(json!({ "StreamName": "t", "StreamModeDetails": mode("ON_DEMAND") }), Ok(4));
    check_create(
        json!({ "StreamName": "t", "ShardCount": 1, "StreamModeDetails": mode("PROVISIONED") }),
        Ok(1),
    );
    check_create(
        json!({ "StreamName": "s", "ShardCount": 1 }),
        Err("ResourceInUseException: Stream s under account 000000000000 already exists."),
    );
    check_create(
        json!({ "StreamName": "t", "ShardCount": 20_001 }),
        Err("LimitExceededException: ShardCount is 20001, an account may have 20000"),
    );
    check_create(
        json!({ "StreamName": "t", "ShardCount": 1, "StreamModeDetails": mode("ON_DEMAND") }),
        Err("InvalidArgumentException: ShardCount is 1, an ON_DEMAND stream takes none"),
    );
    check_create(
        json!({}),
        Err(
            "ValidationException: 2 validation errors detected: Value null at 'streamName' failed to satisfy \
             constraint: Member must not be null; Value null at 'shardCount' failed to satisfy constraint: \
             Member must not be null",
        ),
    );
    check_create(
        json!({ "StreamName": "t", "ShardCount": 0, "MaxRecordSizeInKiB": 10241, "StreamModeDetails": mode("ALL") }),
        Err(
            "ValidationException: 3 validation errors detected: Value '0' at 'shardCount' failed to satisfy \
             constraint: Member must have value greater than or equal to 1; Value '10241' at 'maxRecordSizeInKiB' \
             failed to satisfy constraint: Member must have value less than or equal to 10240; Value 'ALL' at \
             'streamModeDetails.streamMode' failed to satisfy constraint: Member must satisfy enum value set: \
             [PROVISIONED, ON_DEMAND]",
        ),
    );
}

#[test]
fn streams_are_listed_in_pages() {
    let kinesis = Kinesis::new(Config::local());
    let names: Vec<_> = (0..250).map(|n| format!("n{n:03}")).collect();
    for name in &names {
        ok(&kinesis, "CreateStream", json!({ "StreamName": name, "ShardCount": 1 }));
    }
    let mut seen = Vec::new();
    let mut pages = Vec::new();
    let mut ask = json!({ "Limit": 200 }); // at most 100 are given
    loop {
        let page = ok(&kinesis, "ListStreams", ask);
        let page_names = page["StreamNames"].as_array().unwrap();
        pages.push(page_names.len());
        seen.extend(page_names.iter().map(|name| name.as_str().unwrap().to_owned()));
        assert_eq!(page["HasMoreStreams"], page.get("NextToken").is_some());
        let Some(token) = page.get("NextToken") else { break };
        ask = json!({ "NextToken": token });
    }
    assert_eq!((seen, pages), (names, vec![100, 100, 50]));
    let one = ok(&kinesis, "ListStreams", json!({ "ExclusiveStartStreamName": "n0075", "Limit": 1 }));
    assert_eq!(one["StreamNames"], json!(["n008"]));
    let token = json!({ "NextToken": one["NextToken"] });
    let late = call(&kinesis, "ListStreams", token.clone(), NOW + TOKEN_LIFE_MS + 1).unwrap_err();
    assert_eq!(late.code, ErrorCode::ExpiredNextToken);
    let other = call(&kinesis, "ListShards", token, NOW).unwrap_err();
    assert_eq!(other.to_string(), "InvalidArgumentException: Invalid NextToken.");
}

#[test]
fn a_deleted_stream_is_gone_and_its_successor_another() {
    let kinesis = kinesis();
    let start = json!({ "StreamName": "s", "ShardId": "shardId-0", "ShardIteratorType": "LATEST" });
    let old = ok(&kinesis, "GetShardIterator", start);
    let handle = kinesis.stream("s").unwrap();
    ok(&kinesis, "DeleteStream", json!({ "StreamName": "s", "EnforceConsumerDeletion": true }));
    let read = || call(&kinesis, "GetRecords", json!({ "ShardIterator": old["ShardIterator"] }), NOW);
    assert_eq!(read().unwrap_err().code, ErrorCode::ResourceNotFound);
    ok(&kinesis, "CreateStream", json!({ "StreamName": "s", "ShardCount": 1 }));
    let refused = read().unwrap_err();
    assert!(refused.message.ends_with("did not come from this stream."), "{refused}");
    let late = kinesis.delete(&handle, true).unwrap_err(); // a second caller that was too slow
    assert_eq!(late.code, ErrorCode::ResourceNotFound);
    assert!(kinesis.stream("s").is_some());
    assert_eq!(handle.put(vec![]).unwrap_err().code, ErrorCode::ResourceNotFound);
}

#[test]
fn descriptions() {
    let kinesis = kinesis();
    let shard = |id: u32, start: u128, end: u128| {
        let about = kinesis.stream("s").unwrap().shards()[id as usize].clone();
        json!({
            "ShardId": ShardId(id),
            "HashKeyRange": { "StartingHashKey": start.to_string(), "EndingHashKey": end.to_string() },
            "SequenceNumberRange": { "StartingSequenceNumber": about.starting },
        })
    };
    let shards = json!([shard(0, 0, u128::MAX / 2), shard(1, u128::MAX / 2 + 1, u128::MAX)]);
    assert_eq!(
        ok(&kinesis, "DescribeStream", json!({ "StreamName": "s" })),
        json!({ "StreamDescription": {
            "StreamName": "s", "StreamARN": ARN, "StreamStatus": "ACTIVE",
            "StreamModeDetails": { "StreamMode": "PROVISIONED" }, "StreamCreationTimestamp": 1_800_000_000.5,
            "Shards": shards, "HasMoreShards": false, "RetentionPeriodHours": 24,
            "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }], "EncryptionType": "NONE",
        } })
    );
    assert_eq!(
        ok(&kinesis, "DescribeStreamSummary", json!({ "StreamName": "s" })),
        json!({ "StreamDescriptionSummary": {
            "StreamName": "s", "StreamARN": ARN, "StreamStatus": "ACTIVE",
            "StreamModeDetails": { "StreamMode": "PROVISIONED" }, "StreamCreationTimestamp": 1_800_000_000.5,
            "RetentionPeriodHours": 24, "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
            "EncryptionType": "NONE", "OpenShardCount": 2, "ConsumerCount": 0, "MaxRecordSizeInKiB": 1024,
        } })
    );
    let page = ok(&kinesis, "DescribeStream", json!({ "StreamName": "s", "Limit": 1 }));
    let page = &page["StreamDescription"];
    assert_eq!((&page["Shards"], &page["HasMoreShards"]), (&json!([shards[0]]), &json!(true)));
    let rest = json!({ "StreamName": "s", "ExclusiveStartShardId": "shardId-000000000000" });
    let rest = ok(&kinesis, "DescribeStream", rest);
    assert_eq!(rest["StreamDescription"]["Shards"], json!([shards[1]]));
    assert_eq!(ok(&kinesis, "ListShards", json!({ "StreamARN": ARN })), json!({ "Shards": shards }));
}

#[track_caller]
fn check_shards(mut body: Value, want: Result<&[u32], &str>) {
    body["StreamName"] = "s".into();
    let got = call(&kinesis(), "ListShards", body, NOW).map_err(|e| e.to_string());
    let ids = got.map(|answer| {
        let shards = answer["Shards"].as_array().unwrap();
        shards.iter().map(|shard| shard["ShardId"].clone()).collect::<Vec<_>>()
    });
    let want = want.map(|ids| ids.iter().map(|id| json!(ShardId(*id))).collect::<Vec<_>>());
    assert_eq!(ids, want.map_err(str::to_owned));
}

#[test]
fn shards_are_filtered() {
    let filter = |filter: Value| json!({ "ShardFilter": filter });
    check_shards(json!({}), Ok(&[0, 1]));
    check_shards(json!({ "ExclusiveStartShardId": "shardId-000000000000" }), Ok(&[1]));
    check_shards(filter(json!({ "Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001" })), Ok(&[]));
    for kind in ["AT_LATEST", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON"] {
        check_shards(filter(json!({ "Type": kind })), Ok(&[0, 1]));
    }
    check_shards(filter(json!({ "Type": "AT_TIMESTAMP", "Timestamp": 1_800_000_000.5 })), Ok(&[0, 1]));
    check_shards(filter(json!({ "Type": "FROM_TIMESTAMP", "Timestamp": 0 })), Ok(&[0, 1]));
    check_shards(
        filter(json!({ "Type": "FROM_TIMESTAMP", "Timestamp": 1_800_000_001 })),
        Err("InvalidArgumentException: Timestamp 1800000001 lies ahead of the current time, 1800000000.5"),
    );
    check_shards(
        filter(json!({ "Type": "AT_TIMESTAMP" })),
        Err(
            "InvalidArgumentException: ShardFilter type AT_TIMESTAMP was given with ShardId absent and Timestamp \
             absent: AFTER_SHARD_ID takes ShardId, AT_TIMESTAMP and FROM_TIMESTAMP take Timestamp, the others \
             take neither",
        ),
    );
    check_shards(json!({ "StreamCreationTimestamp": 1_800_000_000 }), Ok(&[0, 1]));
    check_shards(
        json!({ "StreamCreationTimestamp": 1_700_000_000 }),
        Err("ResourceNotFoundException: Stream s under account 000000000000 not found."),
    );
    check_shards(
        json!({ "NextToken": "x" }),
        Err("InvalidArgumentException: NextToken and StreamName cannot be provided together."),
    );
}

#[test]
fn shards_are_listed_in_pages() {
    let kinesis = Kinesis::new(Config::local());
    ok(&kinesis, "CreateStream", json!({ "StreamName": "s", "ShardCount": 2500 }));
    let mut pages = Vec::new();
    let mut ask = json!({ "StreamName": "s" });
    loop {
        let page = ok(&kinesis, "ListShards", ask);
        let shards = page["Shards"].as_array().unwrap();
        pages.push((shards[0]["ShardId"].clone(), shards.len()));
        let Some(token) = page.get("NextToken") else { break };
        ask = json!({ "NextToken": token });
        let late = call(&kinesis, "ListShards", ask.clone(), NOW + TOKEN_LIFE_MS + 1).unwrap_err();
        assert_eq!(late.code, ErrorCode::ExpiredNextToken);
    }
    let first = |n| json!(ShardId(n));
    assert_eq!(pages, [(first(0), 1000), (first(1000), 1000), (first(2000), 500)]);
}

#[test]
fn retention_goes_one_way_at_a_time() {
    let kinesis = kinesis();
    let set = |operation: &str, hours: i64| {
        let body = json!({ "StreamName": "s", "RetentionPeriodHours": hours });
        let answer = call(&kinesis, &format!("{operation}StreamRetentionPeriod"), body, NOW);
        answer.map_err(|e| e.message)?;
        let about = ok(&kinesis, "DescribeStreamSummary", json!({ "StreamName": "s" }));
        Ok::<_, String>(about["StreamDescriptionSummary"]["RetentionPeriodHours"].as_i64().unwrap())
    };
    assert_eq!(set("Increase", 8760), Ok(8760));
    assert_eq!(set("Decrease", 48), Ok(48));
    let refused = |text: &str| Err(text.to_owned());
    assert_eq!(
        set("Increase", 47),
        refused(
            "Requested retention period (47 hours) for stream s can not be shorter than existing retention \
             period (48 hours). Use DecreaseStreamRetentionPeriod."
        )
    );
    assert_eq!(
        set("Decrease", 49),
        refused(
            "Requested retention period (49 hours) for stream s can not be longer than existing retention \
             period (48 hours). Use IncreaseStreamRetentionPeriod."
        )
    );
    assert_eq!(
        set("Decrease", 23),
        refused(
            "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short."
        )
    );
    assert_eq!(
        set("Increase", 8761),
        refused(
            "Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long."
        )
    );
}

#[test]
fn encryption_is_started_and_stopped() {
    let kinesis = kinesis();
    let set = |operation: &str| {
        ok(&kinesis, operation, json!({ "StreamName": "s", "EncryptionType": "KMS", "KeyId": "my-key" }));
        let about = ok(&kinesis, "DescribeStream", json!({ "StreamName": "s" }));
        let about = &about["StreamDescription"];
        (about["EncryptionType"].clone(), about["KeyId"].clone())
    };
    assert_eq!(set("StartStreamEncryption"), (json!("KMS"), json!("my-key")));
    assert_eq!(set("StopStreamEncryption"), (json!("NONE"), Value::Null));
    check_error(
        "StartStreamEncryption",
        json!({ "StreamName": "s", "EncryptionType": "NONE", "KeyId": "my-key" }),
        "InvalidArgumentException: Encryption type cannot be NONE.",
    );
}

#[test]
fn tags_are_kept() {
    let kinesis = kinesis();
    let tags: serde_json::Map<_, _> = (0..50).map(|n| (format!("k{n:02}"), json!("v"))).collect();
    ok(&kinesis, "AddTagsToStream", json!({ "StreamName": "s", "Tags": tags }));
    ok(&kinesis, "AddTagsToStream", json!({ "StreamName": "s", "Tags": { "k07": "new" } }));
    let full = json!({ "StreamName": "s", "Tags": { "k50": "v" } });
    assert_eq!(call(&kinesis, "AddTagsToStream", full, NOW).unwrap_err().code, ErrorCode::LimitExceeded);
    ok(&kinesis, "RemoveTagsFromStream", json!({ "StreamName": "s", "TagKeys": ["k06", "never"] }));
    let page = json!({ "StreamName": "s", "ExclusiveStartTagKey": "k05", "Limit": 1 });
    let want = json!({ "Tags": [{ "Key": "k07", "Value": "new" }], "HasMoreTags": true });
    assert_eq!(ok(&kinesis, "ListTagsForStream", page), want);
    let all = ok(&kinesis, "ListTagsForStream", json!({ "StreamName": "s" }));
    assert_eq!((all["Tags"].as_array().unwrap().len(), &all["HasMoreTags"]), (49, &json!(false)));
}
