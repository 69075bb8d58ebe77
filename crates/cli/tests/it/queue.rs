//! What the stream does not take is in the queue, and what the queue does not take is in the log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use local::queue::{ApiError, ErrorCode, Queue};
use local::runtime::{Function, FunctionConfig, Outcome};
use local::stream::{Config, Kinesis};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::rivulet::{Ended, Up, changed_template, post, project, rivulet};

#[track_caller]
fn depth(up: &Up) -> [String; 2] {
    let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
    let answer = up.ask_queue("GetQueueAttributes", json!({ "AttributeNames": names }));
    names.map(|name| answer["Attributes"][name].as_str().unwrap().to_owned())
}

fn delete(up: &Up, handles: &[String]) {
    for handles in handles.chunks(10) {
        let entry = |(number, handle)| json!({ "Id": format!("{number}"), "ReceiptHandle": handle });
        let entries: Vec<_> = handles.iter().enumerate().map(entry).collect();
        let answer = up.ask_queue("DeleteMessageBatch", json!({ "Entries": entries }));
        assert!(answer.get("Failed").is_none(), "{answer}");
    }
}

/// The template, but that the stream takes records of 2,000 bytes and no larger ones.
fn small_records() -> tempfile::NamedTempFile {
    changed_template(r#"Bytes: "1048576""#, r#"Bytes: "2000""#)
}

fn packet(number: usize, data: usize) -> Value {
    json!({ "Tag": number.to_string(), "Odd": "\u{FFFF}\u{85}é", "Big": 1e300, "Data": "A".repeat(4 * data) })
}

#[track_caller]
fn assert_all_accounted_for(ended: &Ended) {
    let count = |name| ended.count(name);
    assert_eq!(count("received"), count("acknowledged") + count("undelivered"), "{}", ended.said);
    let whole = ended
        .lines("undelivered")
        .iter()
        .filter(|line| line.get("part").is_none_or(|part| part == 1))
        .count();
    assert_eq!(count("undelivered"), count("queued") + whole as u64, "{}", ended.said);
}

#[test]
fn packets_too_large_for_the_stream_come_back_from_the_queue_and_larger_ones_from_the_log() {
    let template = small_records();
    let up = Up::start(&["--template", template.path().to_str().unwrap()]);
    let small = packet(0, 100);
    let larger: Vec<_> = (1..=30).map(|number| packet(number, 20_000 + number)).collect();
    let largest = packet(31, 300_000);
    let batch: Vec<_> = [&small, &largest].into_iter().chain(&larger).collect();
    let (status, answer) = post(up.http, &[], json!({ "Messages": batch }).to_string().as_bytes());
    assert_eq!(status, 207);
    assert_eq!(answer["Records"][2]["ErrorCode"], "RecordTooLarge");

    assert_eq!(depth(&up), ["30", "0"]);
    let (bodies, handles) = up.receive_all();
    assert_eq!(depth(&up), ["0", "30"]);
    // Batches fly together, and a queue promises no order.
    let number = |packet: &Value| packet["Tag"].as_str().unwrap().parse::<usize>().unwrap();
    let mut packets: Vec<_> = bodies.iter().map(|body| body["Packet"].clone()).collect();
    packets.sort_by_key(number);
    assert!(packets == larger, "each once, and as it was given");
    for body in &bodies {
        assert_eq!(body["Stream"], "arn:aws:kinesis:us-east-1:000000000000:stream/packets");
        assert!(body["Reason"].as_str().unwrap().starts_with("RecordTooLarge: "), "{}", body["Reason"]);
        assert_eq!(
            (&body["Attempts"], &body["MayBeStored"], &body["PartitionKey"]),
            (&json!(0), &json!(false), &json!("00000000"))
        );
    }
    let left = bodies[29]["Packet"].clone();
    delete(&up, &handles[..29]);
    assert_eq!(depth(&up), ["0", "1"]);

    let ended = up.stop();
    assert_all_accounted_for(&ended);
    assert_eq!((ended.count("queued"), ended.count("in the queue")), (30, 1));
    let parts: Vec<u8> = ended
        .lines("undelivered")
        .iter()
        .flat_map(|line| BASE64_STANDARD.decode(line["base64"].as_str().unwrap()).unwrap())
        .collect();
    assert!(serde_json::from_slice::<Value>(&parts).unwrap() == largest, "whole");
    let file = ended
        .said
        .lines()
        .find_map(|line| line.split_once("what was unfinished, or is left in the queue, is in "))
        .unwrap()
        .1;
    let file = std::fs::read_to_string(project().join(file)).unwrap();
    assert!(file.lines().any(|line| serde_json::from_str::<Value>(line).unwrap()["Packet"] == left));
}

#[test]
fn what_a_queue_that_fails_on_request_does_not_take_is_in_the_log() {
    let template = small_records();
    let up = Up::start(&["--template", template.path().to_str().unwrap(), "--fail-queue", "0.8"]);
    let large: Vec<_> = (0..40).map(|number| packet(number, 2_000)).collect();
    let (status, _) = post(up.http, &[], json!({ "Messages": large }).to_string().as_bytes());
    assert_eq!(status, 413);
    let (bodies, _) = up.receive_all();
    let ended = up.stop();
    assert_all_accounted_for(&ended);
    assert!(ended.count("fail-queue") > 0 && ended.count("queued") > 0, "{}", ended.said);
    let logged = ended.lines("undelivered");
    let logged = logged.iter().map(|line| serde_json::from_str(line["text"].as_str().unwrap()).unwrap());
    let mut all: Vec<Value> = bodies.iter().map(|body| body["Packet"].clone()).chain(logged).collect();
    all.sort_by_key(|packet| packet["Tag"].as_str().unwrap().parse::<usize>().unwrap());
    assert!(all == large, "each exactly once, in the queue or in the log");
}

#[test]
fn without_the_setting_undelivered_packets_are_in_the_log() {
    let from = "UNDELIVERED_QUEUE_URL: !Ref UndeliveredQueue";
    let file = changed_template(from, "UNDELIVERED_QUEUE_URL: \"\"");
    let up = Up::start(&["--template", file.path().to_str().unwrap()]);
    let (status, _) = post(up.http, &[], br#"{"Messages":[null,{"Data":"AQIDBA=="}]}"#);
    assert_eq!(status, 207);
    assert_eq!(depth(&up), ["0", "0"]);
    let ended = up.stop();
    assert_all_accounted_for(&ended);
    assert_eq!((ended.count("queued"), ended.lines("undelivered").len()), (0, 1));
}

/// The real producer before a stream that is not there and a queue that fails on request.
#[tokio::test]
async fn what_a_failing_queue_takes_and_what_is_logged_are_together_all_that_was_given() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let failures = AtomicUsize::new(0);
    // Of 40 packets, 10 fail at first and are taken in the end; 10 are never taken.
    let admit = move |body: &str| {
        let packet: Value = serde_json::from_str(body).unwrap();
        match packet["Packet"]["Tag"].as_u64().unwrap() % 4 {
            1 if failures.fetch_add(1, Ordering::Relaxed) < 17 => {
                Err(ApiError::new(ErrorCode::InternalError, "on request"))
            }
            2 => Err(ApiError::new(ErrorCode::InvalidMessageContents, "on request")),
            _ => Ok(()),
        }
    };
    let queue = Queue::admitting("q", "000000000000", "us-east-1", &endpoint, Arc::new(admit));
    tokio::spawn(queue.clone().serve(listener, std::future::pending()));
    let kinesis = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kinesis_endpoint = format!("http://{}", kinesis.local_addr().unwrap());
    tokio::spawn(Kinesis::new(Config::local()).serve(kinesis, std::future::pending()));
    let environment = [
        ("STREAM_NAME", "nowhere"),
        ("UNDELIVERED_QUEUE_URL", &queue.url()),
        ("AWS_ENDPOINT_URL_KINESIS", &kinesis_endpoint),
        ("AWS_ENDPOINT_URL_SQS", &endpoint),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
    ];
    let config = FunctionConfig {
        name: "producer".into(),
        binary: rivulet().with_file_name("producer"),
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        timeout: Duration::from_secs(20),
        memory_mib: 512,
        concurrency: 1,
        account: "000000000000".into(),
        region: "us-east-1".into(),
        faults: None,
        freeze: false,
    };
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&log);
    let function =
        Function::new(config, Arc::new(move |_, lines| sink.lock().unwrap().extend_from_slice(lines)));
    let packets: Vec<_> = (0..40).map(|number| json!({ "Tag": number, "Data": "\u{FFFE}" })).collect();
    let outcome = function.invoke(json!({ "Messages": packets }).to_string().into()).await;
    function.stop().await;

    let Outcome::FunctionError(error) = outcome else { panic!("ten packets are in no queue: {outcome:?}") };
    let error: Value = serde_json::from_slice(&error).unwrap();
    assert_eq!(error["errorType"], "UndeliveredPackets");
    assert!(error["errorMessage"].as_str().unwrap().starts_with("10 of 40 packets"), "{error}");
    let bodies = queue.bodies();
    let queued = bodies.iter().map(|body| serde_json::from_str::<Value>(body).unwrap()["Packet"].clone());
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let logged = lines.filter(|line| line["message"] == "undelivered");
    let logged = logged.map(|line| serde_json::from_str::<Value>(line["text"].as_str().unwrap()).unwrap());
    let mut accounted: Vec<_> = queued.chain(logged).collect();
    accounted.sort_by_key(|packet| packet["Tag"].as_u64());
    assert_eq!((bodies.len(), accounted), (30, packets), "each exactly once, in the queue or in the log");
}
