//! Splitting, merging and scaling, and what is seen of it.

use super::*;
use crate::stream::limits::RESHARD_MS;

const HALF: &str = "170141183460469231731687303715884105728"; // 2^127
const QUARTER: &str = "85070591730234615865843651857942052864";

fn id(shard: u32) -> Value {
    json!(ShardId(shard))
}

fn split(shard: u32, at: &str) -> Value {
    json!({ "StreamName": "s", "ShardToSplit": ShardId(shard), "NewStartingHashKey": at })
}

fn merge(shard: u32, adjacent: u32) -> Value {
    json!({ "StreamARN": ARN, "ShardToMerge": ShardId(shard), "AdjacentShardToMerge": ShardId(adjacent) })
}

fn scale(count: u32) -> Value {
    json!({ "StreamName": "s", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING" })
}

/// Ids of the listed shards.
#[track_caller]
fn listed(kinesis: &Kinesis, filter: Value, now: u64) -> Vec<Value> {
    let body = json!({ "StreamName": "s", "ShardFilter": filter });
    let answer = call(kinesis, "ListShards", body, now).unwrap();
    answer["Shards"].as_array().unwrap().iter().map(|shard| shard["ShardId"].clone()).collect()
}

#[test]
fn a_stream_is_updating_and_then_active_and_its_counts_are_right_at_once() {
    let kinesis = kinesis();
    let about = |now: u64| {
        let about = call(&kinesis, "DescribeStreamSummary", json!({ "StreamName": "s" }), now).unwrap();
        let about = &about["StreamDescriptionSummary"];
        let limits = call(&kinesis, "DescribeLimits", json!({}), now).unwrap();
        assert_eq!(limits["OpenShardCount"], about["OpenShardCount"]);
        let listed = call(&kinesis, "ListStreams", json!({}), now).unwrap();
        assert_eq!(listed["StreamSummaries"][0]["StreamStatus"], about["StreamStatus"]);
        (about["StreamStatus"].as_str().unwrap().to_owned(), about["OpenShardCount"].as_u64().unwrap())
    };
    assert_eq!(about(NOW), ("ACTIVE".into(), 2));
    assert_eq!(ok(&kinesis, "SplitShard", split(0, QUARTER)), Value::Null);
    assert_eq!(about(NOW), ("UPDATING".into(), 3));
    let busy =
        "ResourceInUseException: Stream s under account 000000000000 not ACTIVE, instead in state UPDATING";
    let next =
        [("SplitShard", split(2, "9999")), ("MergeShards", merge(2, 3)), ("UpdateShardCount", scale(4))];
    for (operation, body) in next {
        assert_eq!(call(&kinesis, operation, body, NOW).unwrap_err().to_string(), busy);
    }
    let later = NOW + RESHARD_MS;
    assert_eq!(about(later), ("ACTIVE".into(), 3));
    call(&kinesis, "MergeShards", merge(2, 3), later).unwrap();
    assert_eq!(about(later), ("UPDATING".into(), 2));
    let later = later + RESHARD_MS;
    let answer = call(&kinesis, "UpdateShardCount", scale(4), later).unwrap();
    let want = json!({ "StreamName": "s", "StreamARN": ARN, "CurrentShardCount": 2, "TargetShardCount": 4 });
    assert_eq!(answer, want);
    assert_eq!(about(later), ("UPDATING".into(), 4));
    ok(
        &kinesis,
        "CreateStream",
        json!({ "StreamName": "t", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } }),
    );
    assert_eq!(
        ok(&kinesis, "DescribeLimits", json!({})),
        json!({ "ShardLimit": 20_000, "OpenShardCount": 4, "OnDemandStreamCount": 1, "OnDemandStreamCountLimit": 50 })
    );
}

#[test]
fn shards_are_filtered_by_when_they_were_open() {
    let kinesis = kinesis();
    let time = |ms: u64| json!({ "Type": "AT_TIMESTAMP", "Timestamp": seconds(ms) });
    let from = |ms: u64| json!({ "Type": "FROM_TIMESTAMP", "Timestamp": seconds(ms) });
    call(&kinesis, "SplitShard", split(0, QUARTER), NOW + 1000).unwrap();
    call(&kinesis, "MergeShards", merge(3, 1), NOW + 2000).unwrap();
    let now = NOW + 3000;
    let kind = |kind: &str| json!({ "Type": kind });
    let check = |filter: Value, want: &[u32]| {
        let want: Vec<_> = want.iter().copied().map(id).collect();
        assert_eq!(listed(&kinesis, filter.clone(), now), want, "{filter}");
    };
    check(kind("AT_LATEST"), &[2, 4]);
    check(kind("AT_TRIM_HORIZON"), &[0, 1]);
    check(kind("FROM_TRIM_HORIZON"), &[0, 1, 2, 3, 4]);
    check(time(NOW + 500), &[0, 1]);
    check(time(NOW + 1500), &[1, 2, 3]);
    check(time(NOW + 2500), &[2, 4]);
    check(from(NOW + 1500), &[1, 2, 3, 4]);
    check(from(NOW + 2500), &[2, 4]);
    check(json!({ "Type": "AFTER_SHARD_ID", "ShardId": id(2) }), &[3, 4]);
    let old = now + 24 * 3_600_000;
    let left: Vec<_> = [2, 4].into_iter().map(id).collect();
    assert_eq!(listed(&kinesis, kind("FROM_TRIM_HORIZON"), old), left, "closed shards go with their records");
    let about = call(&kinesis, "DescribeStream", json!({ "StreamName": "s" }), old).unwrap();
    assert_eq!(about["StreamDescription"]["Shards"].as_array().unwrap().len(), 2);

    let mut pages = Vec::new();
    let mut ask = json!({ "StreamName": "s", "MaxResults": 2, "ShardFilter": from(NOW + 1500) });
    loop {
        let page = call(&kinesis, "ListShards", ask, now).unwrap();
        pages.push(
            page["Shards"].as_array().unwrap().iter().map(|s| s["ShardId"].clone()).collect::<Vec<_>>(),
        );
        let Some(token) = page.get("NextToken") else { break };
        ask = json!({ "NextToken": token, "MaxResults": 2 });
    }
    assert_eq!(pages, [[id(1), id(2)], [id(3), id(4)]]);
}

#[test]
fn a_closed_shard_is_read_to_its_end_which_names_its_children() {
    let kinesis = kinesis();
    let put = |now| {
        let body = json!({ "StreamName": "s", "Data": "", "PartitionKey": "k", "ExplicitHashKey": "0" });
        let answer = call(&kinesis, "PutRecord", body, now).unwrap();
        (answer["ShardId"].clone(), answer["SequenceNumber"].as_str().unwrap().to_owned())
    };
    let first = put(NOW);
    put(NOW);
    ok(&kinesis, "SplitShard", split(0, QUARTER));
    let later = put(NOW);
    assert_eq!((first.0, later.0), (id(0), id(2)));
    assert!(first.1 < later.1); // both have 56 digits
    let read = |from: Value, limit: u64, now: u64| {
        call(&kinesis, "GetRecords", json!({ "ShardIterator": from, "Limit": limit }), now).unwrap()
    };
    let start = |shard: u32| {
        let body =
            json!({ "StreamName": "s", "ShardId": ShardId(shard), "ShardIteratorType": "TRIM_HORIZON" });
        ok(&kinesis, "GetShardIterator", body)["ShardIterator"].clone()
    };
    let page = read(start(0), 1, NOW);
    assert_eq!((page["Records"].as_array().unwrap().len(), page.get("ChildShards")), (1, None));
    let page = read(page["NextShardIterator"].clone(), 1, NOW);
    assert_eq!((page["Records"].as_array().unwrap().len(), page.get("NextShardIterator")), (1, None));
    let range = |start: &str, end: &str| json!({ "StartingHashKey": start, "EndingHashKey": end });
    let below = |hash: &str| (hash.parse::<u128>().unwrap() - 1).to_string();
    let child = |shard: u32, range: Value| json!({ "ShardId": ShardId(shard), "ParentShards": [id(0)], "HashKeyRange": range });
    let children = json!([child(2, range("0", &below(QUARTER))), child(3, range(QUARTER, &below(HALF)))]);
    assert_eq!(page["ChildShards"], children);

    call(&kinesis, "MergeShards", merge(2, 3), NOW + RESHARD_MS).unwrap();
    for parent in [2, 3] {
        let end = read(start(parent), 9, NOW + RESHARD_MS);
        assert_eq!(end.get("NextShardIterator"), None);
        let child = json!([{ "ShardId": id(4), "ParentShards": [id(2), id(3)], "HashKeyRange": range("0", &below(HALF)) }]);
        assert_eq!(end["ChildShards"], child);
    }
    let about = ok(&kinesis, "ListShards", json!({ "StreamName": "s" }));
    let about = &about["Shards"];
    assert!(about[0]["SequenceNumberRange"].get("EndingSequenceNumber").is_some());
    assert_eq!((&about[2]["ParentShardId"], about[2].get("AdjacentParentShardId")), (&id(0), None));
    assert_eq!((&about[4]["ParentShardId"], &about[4]["AdjacentParentShardId"]), (&id(2), &id(3)));
}

#[test]
fn what_cannot_be_is_refused_in_the_services_words() {
    let range = format!(
        "used in SplitShard() on shard shardId-000000000001 in stream s under account 000000000000 is not both greater \
         than one plus the shard's StartingHashKey {HALF} and less than the shard's EndingHashKey {}.",
        u128::MAX
    );
    check_error(
        "SplitShard",
        split(1, "5"),
        &format!("InvalidArgumentException: NewStartingHashKey 5 {range}"),
    );
    let huge = "9".repeat(39);
    check_error(
        "SplitShard",
        split(1, &huge),
        &format!("InvalidArgumentException: NewStartingHashKey {huge} {range}"),
    );
    let missing = "ResourceNotFoundException: Could not find shard shardId-000000000007 in stream s under account 000000000000.";
    check_error("SplitShard", split(7, "5"), missing);
    check_error("MergeShards", merge(0, 7), missing);
    check_error(
        "MergeShards",
        merge(1, 0),
        "InvalidArgumentException: Shards shardId-000000000001 and shardId-000000000000 in stream s under account \
         000000000000 are not an adjacent pair of shards eligible for merging",
    );
    check_error(
        "UpdateShardCount",
        scale(5),
        "LimitExceededException: UpdateShardCount cannot scale up over double your current open shard count. \
         Current open shard count: 2, Target shard count: 5",
    );
    check_error(
        "UpdateShardCount",
        json!({ "StreamName": "s", "TargetShardCount": 0, "ScalingType": "OTHER" }),
        "ValidationException: 2 validation errors detected: Value '0' at 'targetShardCount' failed to satisfy \
         constraint: Member must have value greater than or equal to 1; Value 'OTHER' at 'scalingType' failed to \
         satisfy constraint: Member must satisfy enum value set: [UNIFORM_SCALING]",
    );
    check_error(
        "SplitShard",
        json!({ "StreamName": "s", "ShardToSplit": "shardId-0", "NewStartingHashKey": "-1" }),
        "ValidationException: 1 validation error detected: Value '-1' at 'newStartingHashKey' failed to satisfy \
         constraint: Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})",
    );
}

#[test]
fn on_demand_streams_and_full_accounts_are_not_resharded() {
    let kinesis = Kinesis::new(Config::local());
    ok(
        &kinesis,
        "CreateStream",
        json!({ "StreamName": "s", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } }),
    );
    for (operation, body) in
        [("SplitShard", split(0, QUARTER)), ("MergeShards", merge(0, 1)), ("UpdateShardCount", scale(4))]
    {
        assert_eq!(
            call(&kinesis, operation, body, NOW).unwrap_err().code,
            ErrorCode::Validation,
            "{operation}"
        );
    }
    let kinesis = self::kinesis();
    ok(&kinesis, "CreateStream", json!({ "StreamName": "full", "ShardCount": 19_998 }));
    for (operation, body) in [("SplitShard", split(0, QUARTER)), ("UpdateShardCount", scale(3))] {
        assert_eq!(
            call(&kinesis, operation, body, NOW).unwrap_err().code,
            ErrorCode::LimitExceeded,
            "{operation}"
        );
    }
    ok(&kinesis, "MergeShards", merge(0, 1));
}

#[test]
fn a_change_wakes_those_who_wait() {
    let kinesis = kinesis();
    let stream = kinesis.stream("s").unwrap();
    let seen = stream.version();
    ok(&kinesis, "SplitShard", split(0, QUARTER));
    assert!(stream.version() > seen);
}
