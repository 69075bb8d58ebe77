//! Putting and getting.

use std::sync::Arc;

use super::*;
use crate::faults::{Asked, Faults};
use crate::stream::limits::{ITERATOR_LIFE_MS, MAX_DATA_BYTES, MAX_PUT_BYTES};

/// All records of a shard of `s`, as `GetRecords` gives them.
#[track_caller]
fn get(kinesis: &Kinesis, shard: u32) -> Value {
    let start = json!({ "StreamName": "s", "ShardId": ShardId(shard), "ShardIteratorType": "TRIM_HORIZON" });
    let start = ok(kinesis, "GetShardIterator", start);
    let got = ok(kinesis, "GetRecords", json!({ "ShardIterator": start["ShardIterator"], "StreamARN": ARN }));
    let next = ok(kinesis, "GetRecords", json!({ "ShardIterator": got["NextShardIterator"] }));
    assert_eq!((&next["Records"], &next["MillisBehindLatest"]), (&json!([]), &json!(0)));
    got["Records"].clone()
}

#[test]
fn what_is_put_is_what_is_got() {
    let kinesis = kinesis();
    let bottom = json!({ "Data": "", "PartitionKey": "é\n\"", "ExplicitHashKey": "0" });
    let top = json!({ "Data": "/+8=", "PartitionKey": "k", "ExplicitHashKey": u128::MAX.to_string() });
    let answer = ok(&kinesis, "PutRecords", put(vec![bottom, top]));
    assert_eq!((&answer["FailedRecordCount"], answer.get("EncryptionType")), (&json!(0), None));
    let key = json!({ "StreamName": "s", "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis" });
    ok(&kinesis, "StartStreamEncryption", key);
    let one = json!({ "StreamARN": ARN, "StreamName": "s", "Data": "aGk=", "PartitionKey": "a" });
    let one = ok(&kinesis, "PutRecord", one);
    assert_eq!((&one["ShardId"], &one["EncryptionType"]), (&json!("shardId-000000000000"), &json!("KMS")));

    let (put, arrival) = (&answer["Records"], 1_800_000_000.5);
    assert_eq!(
        get(&kinesis, 0),
        json!([
            { "SequenceNumber": put[0]["SequenceNumber"], "ApproximateArrivalTimestamp": arrival,
              "Data": "", "PartitionKey": "é\n\"" },
            { "SequenceNumber": one["SequenceNumber"], "ApproximateArrivalTimestamp": arrival,
              "Data": "aGk=", "PartitionKey": "a", "EncryptionType": "KMS" },
        ])
    );
    assert_eq!(
        get(&kinesis, 1),
        json!([{ "SequenceNumber": put[1]["SequenceNumber"], "ApproximateArrivalTimestamp": arrival,
                 "Data": "/+8=", "PartitionKey": "k" }])
    );
}

/// Puts a record of this many bytes of data under a key of one byte, into a stream with this limit in KiB.
#[track_caller]
fn check_size(limit: Option<i64>, bytes: usize, want: Result<(), &str>) {
    let kinesis = Kinesis::new(Config::local());
    let create = json!({ "StreamName": "s", "ShardCount": 1, "MaxRecordSizeInKiB": limit });
    ok(&kinesis, "CreateStream", create);
    let data = "AAAA".repeat(bytes / 3) + ["", "AA==", "AAA="][bytes % 3];
    let got = call(&kinesis, "PutRecords", put(vec![record("", "k"), record(&data, "k")]), NOW);
    assert_eq!(got.map(drop).map_err(|e| e.to_string()), want.map_err(str::to_owned));
    let appended = if want.is_ok() { 2 } else { 0 };
    assert_eq!(kinesis.stream("s").unwrap().contents().counts().appended, appended);
}

#[test]
fn a_record_is_as_large_as_its_stream_allows() {
    check_size(None, (1 << 20) - 1, Ok(()));
    check_size(
        None,
        1 << 20,
        Err(
            "InvalidArgumentException: Record 2 has 1048577 bytes with its partition key, stream s takes at \
             most 1048576",
        ),
    );
    check_size(Some(10240), MAX_PUT_BYTES - 2, Ok(()));
    check_size(
        Some(10240),
        MAX_PUT_BYTES - 1,
        Err("InvalidArgumentException: Records size exceeds 10 MB limit: 10485761 bytes with partition keys"),
    );
    check_size(
        Some(10240),
        MAX_DATA_BYTES + 1,
        Err(
            "ValidationException: 1 validation error detected: Value '10485761 bytes' at 'records.2.member.data' \
             failed to satisfy constraint: Member must have length less than or equal to 10485760",
        ),
    );
}

#[test]
fn keys_are_counted_in_characters() {
    ok(&kinesis(), "PutRecords", put(vec![record("", &"é".repeat(256)), record("", &"🦀".repeat(256))]));
    let long = "é".repeat(257);
    check_error(
        "PutRecords",
        put(vec![record("", "k"), record("", "k"), record("", &long)]),
        &format!(
            "ValidationException: 1 validation error detected: Value '{long}' at 'records.3.member.partitionKey' \
             failed to satisfy constraint: Member must have length less than or equal to 256"
        ),
    );
    check_error(
        "PutRecord",
        json!({ "StreamName": "s", "Data": "", "PartitionKey": "" }),
        "ValidationException: 1 validation error detected: Value '' at 'partitionKey' \
         failed to satisfy constraint: Member must have length greater than or equal to 1",
    );
}

#[test]
fn a_put_is_refused_whole() {
    let good = || record("eA==", "k");
    ok(&kinesis(), "PutRecords", put(vec![good(); 500]));
    let check = |records: Vec<Value>, want| check_error("PutRecords", put(records), want);
    check(
        vec![good(); 501],
        "ValidationException: 1 validation error detected: Value '[501 records]' at 'records' \
         failed to satisfy constraint: Member must have length less than or equal to 500",
    );
    check(
        vec![],
        "ValidationException: 1 validation error detected: Value '[0 records]' at 'records' \
         failed to satisfy constraint: Member must have length greater than or equal to 1",
    );
    check(
        vec![good(), json!({ "ExplicitHashKey": "01" })],
        "ValidationException: 3 validation errors detected: Value null at 'records.2.member.partitionKey' \
         failed to satisfy constraint: Member must not be null; Value null at 'records.2.member.data' \
         failed to satisfy constraint: Member must not be null; Value '01' at 'records.2.member.explicitHashKey' \
         failed to satisfy constraint: Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})",
    );
    let beyond = "340282366920938463463374607431768211456"; // 2^128
    check(
        vec![good(), json!({ "Data": "", "PartitionKey": "k", "ExplicitHashKey": beyond })],
        "InvalidArgumentException: Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
         Specified value was 340282366920938463463374607431768211456",
    );
    check(
        vec![good(), record("a", "k")],
        "SerializationException: Data of record 2 is not base64: Invalid input length: 1",
    );
    check_error(
        "PutRecords",
        json!({ "StreamName": "nope", "Records": [good()] }),
        "ResourceNotFoundException: Stream nope under account 000000000000 not found.",
    );
    let many = call(&kinesis(), "PutRecords", put(vec![json!({}); 100_000]), NOW).unwrap_err();
    let want = "1001 validation errors detected: Value '[100000 records]' at 'records' failed to satisfy";
    assert!(many.message.starts_with(want), "{many}");
}

/// Gets an iterator on a shard with three records, where a number stands for that of the record with this
/// index, and how many records it leads to.
#[track_caller]
fn check_iterator(mut body: Value, want: Result<usize, &str>) {
    let kinesis = kinesis();
    let one = json!({ "StreamName": "s", "Data": "", "PartitionKey": "a" });
    let numbers = [(); 3].map(|()| ok(&kinesis, "PutRecord", one.clone())["SequenceNumber"].clone());
    body["StreamName"] = "s".into();
    if let Some(index) = body["StartingSequenceNumber"].as_u64() {
        body["StartingSequenceNumber"] = numbers[usize::try_from(index).unwrap()].clone();
    } else {
        body.as_object_mut().unwrap().remove("StartingSequenceNumber");
    }
    let got = call(&kinesis, "GetShardIterator", body, NOW).map_err(|e| e.to_string()).map(|answer| {
        let got = ok(&kinesis, "GetRecords", json!({ "ShardIterator": answer["ShardIterator"] }));
        got["Records"].as_array().unwrap().len()
    });
    assert_eq!(got, want.map_err(str::to_owned));
}

#[test]
fn iterators_of_every_type() {
    let of = |kind: &str| json!({ "ShardId": "shardId-000000000000", "ShardIteratorType": kind });
    let at = |kind: &str, member: &str, value: Value| {
        let mut body = of(kind);
        body[member] = value;
        body
    };
    check_iterator(of("TRIM_HORIZON"), Ok(3));
    check_iterator(of("LATEST"), Ok(0));
    check_iterator(at("AT_SEQUENCE_NUMBER", "StartingSequenceNumber", json!(1)), Ok(2));
    check_iterator(at("AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber", json!(1)), Ok(1));
    check_iterator(at("AT_TIMESTAMP", "Timestamp", json!(1_800_000_000.5)), Ok(3));
    check_iterator(at("AT_TIMESTAMP", "Timestamp", json!(0)), Ok(3));
    check_iterator(
        at("AT_TIMESTAMP", "Timestamp", json!(1_800_000_000.501)),
        Err(
            "InvalidArgumentException: Timestamp 1800000000.501 lies ahead of the current time, 1800000000.5",
        ),
    );
    check_iterator(
        at("LATEST", "StartingSequenceNumber", json!(1)),
        Err(
            "InvalidArgumentException: Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
             StartingSequenceNumber, (2) AT_TIMESTAMP and Timestamp, or (3) TRIM_HORIZON or LATEST and neither. \
             Request specified LATEST, a StartingSequenceNumber and no Timestamp.",
        ),
    );
    check_iterator(
        json!({ "ShardId": "s!", "ShardIteratorType": "FIRST" }),
        Err("ValidationException: 2 validation errors detected: Value 's!' at 'shardId' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value 'FIRST' at \
             'shardIteratorType' failed to satisfy constraint: Member must satisfy enum value set: \
             [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]"),
    );
    check_iterator(
        json!({ "ShardId": "shard", "ShardIteratorType": "LATEST" }),
        Err("ResourceNotFoundException: Could not find shard shard in stream s under account 000000000000."),
    );
    check_iterator(
        json!({ "ShardId": "shardId-2", "ShardIteratorType": "LATEST" }),
        Err("ResourceNotFoundException: Shard shardId-000000000002 in stream s under account 000000000000 \
             does not exist"),
    );
}

#[test]
fn an_iterator_lives_five_minutes() {
    let kinesis = kinesis();
    let start = json!({ "StreamName": "s", "ShardId": "shardId-0", "ShardIteratorType": "LATEST" });
    let body = json!({ "ShardIterator": ok(&kinesis, "GetShardIterator", start)["ShardIterator"] });
    let last = call(&kinesis, "GetRecords", body.clone(), NOW + ITERATOR_LIFE_MS).unwrap();
    let late = call(&kinesis, "GetRecords", body, NOW + ITERATOR_LIFE_MS + 1).unwrap_err();
    assert_eq!(late.code, ErrorCode::ExpiredIterator);
    let renewed = json!({ "ShardIterator": last["NextShardIterator"] });
    assert!(call(&kinesis, "GetRecords", renewed, NOW + ITERATOR_LIFE_MS + 1).is_ok());
}

#[test]
fn an_iterator_is_for_its_own_stream() {
    let kinesis = kinesis();
    let start = json!({ "StreamName": "s", "ShardId": "shardId-0", "ShardIteratorType": "LATEST" });
    let iterator = ok(&kinesis, "GetShardIterator", start)["ShardIterator"].clone();
    let other = json!({ "ShardIterator": iterator, "StreamARN": format!("{ARN}2") });
    let refused = call(&kinesis, "GetRecords", other, NOW).unwrap_err();
    assert_eq!(refused.message, format!("StreamARN is {ARN}2, the iterator is of {ARN}"));
    check_error(
        "GetRecords",
        json!({ "ShardIterator": "x" }),
        "InvalidArgumentException: Invalid ShardIterator.",
    );
}

#[test]
fn get_records_limits() {
    let check = |limit: i64, bound: &str| {
        check_error(
            "GetRecords",
            json!({ "ShardIterator": "x", "Limit": limit }),
            &format!(
                "ValidationException: 1 validation error detected: Value '{limit}' at 'limit' failed to satisfy \
                 constraint: Member must have value {bound}"
            ),
        );
    };
    check(0, "greater than or equal to 1");
    check(10_001, "less than or equal to 10000");
}

#[test]
fn get_records_is_held_to_its_share_where_throttling_is_asked_for() {
    let asked = Asked { throttle: true, ..Asked::default() };
    let kinesis = Kinesis::new(Config { faults: Some(Arc::new(Faults::new(asked))), ..Config::local() });
    ok(&kinesis, "CreateStream", json!({ "StreamName": "s", "ShardCount": 1 }));
    let start = json!({ "StreamName": "s", "ShardId": "shardId-0", "ShardIteratorType": "TRIM_HORIZON" });
    let from = ok(&kinesis, "GetShardIterator", start)["ShardIterator"].clone();
    let read = |now| call(&kinesis, "GetRecords", json!({ "ShardIterator": from }), now).map(drop);
    assert!((0..5).all(|_| read(NOW).is_ok()));
    assert_eq!(
        read(NOW).unwrap_err().to_string(),
        "ProvisionedThroughputExceededException: Rate exceeded for shard shardId-000000000000 in stream s under account \
         000000000000."
    );
    assert!(read(NOW + 200).is_ok());
    for _ in 0..3 {
        let data = "A".repeat(1_398_000); // nearly a mebibyte
        ok(&kinesis, "PutRecord", json!({ "StreamName": "s", "Data": data, "PartitionKey": "k" }));
    }
    assert!(read(NOW + 3000).is_ok());
    assert!(read(NOW + 4000).is_err(), "three are more than a second's share");
    assert!(read(NOW + 4600).is_ok());
}
