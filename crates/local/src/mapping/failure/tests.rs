use std::sync::Mutex;

use serde_json::{Value, json};

use super::super::machine::{Failure, Sized};
use super::*;
use crate::stream::Record;

const ARN: &str = "arn:aws:kinesis:us-east-2:123456789012:stream/mystream";

/// 2019-11-14T00:38:06.021Z.
const NOW_MS: u64 = 1_573_691_886_021;

fn origin() -> Origin {
    Origin {
        shard: "shardId-000000000001".parse().unwrap(),
        stream_arn: ARN.into(),
        region: "us-east-2".into(),
        account: "123456789012".into(),
    }
}

fn given_up(condition: Condition, failures: u32, function_error: Option<bool>) -> GivenUp {
    let record = |number: u64, arrival_ms| {
        let record = Record {
            sequence_number: format!("4960{number:052}").parse().unwrap(),
            partition_key: "k\u{FFFF}\"".into(),
            data: "d".into(),
            arrival_ms,
            encrypted: false,
        };
        Sized { record, bytes: 1000 }
    };
    let last = function_error.map(|function_error| Failure { request_id: "c9b8".into(), function_error });
    let records = vec![record(722, 1_573_691_884_835), record(186_000, 1_573_691_885_580)];
    GivenUp { records, condition, failures, last }
}

fn reporter(destination: Option<Destination>) -> Reporter {
    let function_arn = "arn:aws:lambda:us-east-2:123456789012:function:myfunction".into();
    Reporter { destination, mapping: "12ab".into(), function_arn }
}

fn queue() -> Queue {
    Queue::new("q", "123456789012", "us-east-2", "http://127.0.0.1:1")
}

/// What a queue is told.
fn told(given_up: &GivenUp) -> Value {
    let queue = queue();
    let kept = reporter(Some(Destination::Queue(queue.clone()))).report(given_up, &origin(), NOW_MS, "new");
    assert!(matches!(kept, Kept::At(_)), "{kept:?}");
    let [record] = &queue.bodies()[..] else { panic!("one message") };
    serde_json::from_str(record).unwrap()
}

/// Lambda's page on on-failure destinations, "example SQS record", with these names and values.
#[test]
fn a_queue_is_told_which_records_they_were_and_how_the_function_failed() {
    let want = json!({
        "requestContext": {
            "requestId": "c9b8", "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:myfunction",
            "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 1,
        },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "version": "1.0",
        "timestamp": "2019-11-14T00:38:06.021Z",
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000001",
            "startSequenceNumber": format!("4960{:052}", 722),
            "endSequenceNumber": format!("4960{:052}", 186_000),
            "approximateArrivalOfFirstRecord": "2019-11-14T00:38:04.835Z",
            "approximateArrivalOfLastRecord": "2019-11-14T00:38:05.580Z",
            "batchSize": 2,
            "streamArn": ARN,
        },
    });
    assert_eq!(told(&given_up(Condition::RetryAttemptsExhausted, 1, Some(true))), want);
}

/// As the service was seen to do it.
#[test]
fn records_that_an_answer_reported_are_told_of_without_an_error() {
    let told = told(&given_up(Condition::RetryAttemptsExhausted, 4, Some(false)));
    assert_eq!(told["requestContext"]["approximateInvokeCount"], 4);
    let want = json!({ "statusCode": 200, "executedVersion": "$LATEST", "functionError": null });
    assert_eq!(told["responseContext"], want);
}

/// As the service was seen to do it.
#[test]
fn of_what_was_too_old_no_answer_is_told() {
    for last in [None, Some(true)] {
        let told = told(&given_up(Condition::RecordAgeExceeded, 1, last));
        assert_eq!(told["requestContext"]["condition"], "RecordAgeExceeded");
        assert_eq!(told["requestContext"]["requestId"], if last.is_some() { "c9b8" } else { "new" });
        assert_eq!(told.get("responseContext"), None);
    }
}

#[test]
fn a_bucket_gets_the_whole_event_under_the_key_that_lambda_gives_it() {
    let objects = Arc::new(Mutex::new(Vec::new()));
    let bucket: Bucket = {
        let objects = Arc::clone(&objects);
        Arc::new(move |key, text| {
            objects.lock().unwrap().push((key.to_owned(), text.to_owned()));
            Ok("there".into())
        })
    };
    let given_up = given_up(Condition::RetryAttemptsExhausted, 1, Some(true));
    let kept = reporter(Some(Destination::Bucket(bucket))).report(&given_up, &origin(), NOW_MS, "3f1c");
    assert_eq!(kept, Kept::At("there".into()));
    let objects = objects.lock().unwrap();
    let [(key, text)] = &objects[..] else { panic!("one object") };
    assert_eq!(key, "aws/lambda/12ab/shardId-000000000001/2019/11/14/2019-11-14T00.38.06-3f1c");
    let mut object: Value = serde_json::from_str(text).unwrap();
    let payload = object.as_object_mut().unwrap().remove("payload").unwrap();
    assert_eq!(object, told(&given_up));
    let records: Vec<_> = given_up.records.iter().map(|sized| sized.record.clone()).collect();
    assert_eq!(payload.as_str().unwrap().as_bytes(), event(&records, &origin()));
}

#[test]
fn a_destination_that_does_not_take_it_and_none_are_told_apart() {
    let given_up = given_up(Condition::EventTooLarge, 0, None);
    let report = |destination| reporter(destination).report(&given_up, &origin(), NOW_MS, "new");
    assert_eq!(report(None), Kept::Nowhere);
    let full: Bucket = Arc::new(|_, _| Err(std::io::Error::other("no room")));
    assert_eq!(report(Some(Destination::Bucket(full))), Kept::Refused("no room".into()));
}
