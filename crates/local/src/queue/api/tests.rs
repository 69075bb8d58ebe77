//! The operations: what they answer, and what they refuse in which words.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

const URL: &str = "http://127.0.0.1:9324/000000000000/q";

fn queue() -> Queue {
    Queue::new("q", "000000000000", "us-east-1", "http://127.0.0.1:9324/")
}

/// Calls an operation at a clock that stands still but for the waiting.
fn call(queue: &Queue, operation: &str, mut body: Value) -> Result<Value, ApiError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    if operation != "GetQueueUrl" && body.get("QueueUrl").is_none() {
        body["QueueUrl"] = json!(URL);
    }
    let answer = runtime
        .unwrap()
        .block_on(queue.call(&format!("AmazonSQS.{operation}"), body.to_string().as_bytes()))?;
    Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer).unwrap() })
}

#[track_caller]
fn check_refused(operation: &str, body: Value, code: ErrorCode, words: &str) {
    let error = call(&queue(), operation, body).unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(words), "{error}");
}

fn entries(bodies: &[&str]) -> Value {
    let entry = |(number, body): (usize, &&str)| json!({"Id": format!("e{number}"), "MessageBody": body});
    json!({ "Entries": bodies.iter().enumerate().map(entry).collect::<Vec<_>>() })
}

#[test]
fn a_batch_is_sent_received_and_deleted() {
    let queue = queue();
    let sent = call(&queue, "SendMessageBatch", entries(&["hello", "\t\u{85}é\u{FFFD}\u{10FFFF}"])).unwrap();
    assert_eq!(sent["Successful"][0]["Id"], "e0");
    assert_eq!(sent["Successful"][0]["MD5OfMessageBody"], "5d41402abc4b2a76b9719d911017c592");
    assert!(sent.get("Failed").is_none());
    let ask = json!({"MaxNumberOfMessages": 10, "AttributeNames": ["All"], "MessageAttributeNames": ["All"]});
    let received = call(&queue, "ReceiveMessage", ask).unwrap();
    let messages = received["Messages"].as_array().unwrap();
    assert_eq!(
        (&messages[0]["Body"], &messages[1]["Body"]),
        (&json!("hello"), &json!("\t\u{85}é\u{FFFD}\u{10FFFF}"))
    );
    assert_eq!(messages[0]["MessageId"], sent["Successful"][0]["MessageId"]);
    assert_eq!(messages[0]["MD5OfBody"], sent["Successful"][0]["MD5OfMessageBody"]);
    assert_eq!(messages[0]["Attributes"]["ApproximateReceiveCount"], "1");
    let depth =
        json!({"AttributeNames": ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]});
    let attributes = call(&queue, "GetQueueAttributes", depth).unwrap();
    let want = json!({"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "2"});
    assert_eq!(attributes["Attributes"], want);
    let handle = |index: usize| messages[index]["ReceiptHandle"].clone();
    let delete = json!({"Entries": [
        {"Id": "a", "ReceiptHandle": handle(0)}, {"Id": "b", "ReceiptHandle": "mine"}, {"Id": "c", "ReceiptHandle": handle(1)},
    ]});
    let deleted = call(&queue, "DeleteMessageBatch", delete).unwrap();
    assert_eq!(deleted["Successful"], json!([{"Id": "a"}, {"Id": "c"}]));
    let failed = &deleted["Failed"][0];
    assert_eq!((&failed["Id"], &failed["Code"]), (&json!("b"), &json!("ReceiptHandleIsInvalid")));
    assert_eq!(failed["SenderFault"], true);
    assert!(queue.bodies().is_empty());
}

#[test]
fn one_message_is_sent_and_deleted() {
    let queue = queue();
    let sent = call(&queue, "SendMessage", json!({"MessageBody": "hello"})).unwrap();
    assert_eq!(sent["MD5OfMessageBody"], "5d41402abc4b2a76b9719d911017c592");
    let received = call(&queue, "ReceiveMessage", json!({})).unwrap();
    let message = &received["Messages"][0];
    assert!(message.get("Attributes").is_none());
    let deleted = call(&queue, "DeleteMessage", json!({"ReceiptHandle": message["ReceiptHandle"]}));
    assert_eq!((deleted, queue.bodies().len()), (Ok(Value::Null), 0));
}

#[test]
fn an_empty_queue_answers_without_messages_once_the_wait_is_over() {
    assert_eq!(call(&queue(), "ReceiveMessage", json!({"WaitTimeSeconds": 20})).unwrap(), json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receiver_gets_what_is_sent_meanwhile() {
    let (queue, started) = (queue(), tokio::time::Instant::now());
    let receive = queue.receive(10, VISIBILITY, Duration::from_secs(20));
    let send = async { queue.send("hello".into()).unwrap() };
    // Polled in this order, the receiver waits before anything is sent.
    let (received, sent) = tokio::join!(biased; receive, send);
    let received = received.unwrap();
    assert_eq!((received.len(), &received[0].id), (1, &sent.0));
    assert!(started.elapsed() < Duration::from_millis(10), "at once");
}

#[test]
fn a_queue_is_found_by_its_name_and_by_the_path_of_its_url() {
    let found = call(&queue(), "GetQueueUrl", json!({"QueueName": "q"})).unwrap();
    assert_eq!(found["QueueUrl"], URL);
    assert!(call(&queue(), "ReceiveMessage", json!({"QueueUrl": "https://other/000000000000/q"})).is_ok());
    let missing = ErrorCode::QueueDoesNotExist;
    check_refused("GetQueueUrl", json!({"QueueName": "p"}), missing, "The specified queue does not exist.");
    for url in ["http://127.0.0.1:9324/000000000000/p", "http://127.0.0.1:9324/1/q", "q", ""] {
        check_refused("ReceiveMessage", json!({ "QueueUrl": url }), missing, "does not exist");
    }
    check_refused("ReceiveMessage", json!({ "QueueUrl": null }), ErrorCode::MissingParameter, "QueueUrl");
}

#[test]
fn attributes_are_those_of_the_service() {
    let all = call(&queue(), "GetQueueAttributes", json!({"AttributeNames": ["All"]})).unwrap();
    assert_eq!(all["Attributes"]["QueueArn"], "arn:aws:sqs:us-east-1:000000000000:q");
    assert_eq!(all["Attributes"]["VisibilityTimeout"], "30");
    assert_eq!(all["Attributes"]["MaximumMessageSize"], "1048576");
    assert_eq!(call(&queue(), "GetQueueAttributes", json!({})).unwrap(), json!({}));
    assert_eq!(
        call(&queue(), "GetQueueAttributes", json!({"AttributeNames": ["Policy"]})).unwrap(),
        json!({})
    );
    let unknown = json!({"AttributeNames": ["Depth"]});
    check_refused("GetQueueAttributes", unknown, ErrorCode::InvalidAttributeName, "Unknown Attribute Depth.");
}

#[test]
fn a_batch_has_one_to_ten_entries_with_ids_of_their_own() {
    let send = |body, code, words| check_refused("SendMessageBatch", body, code, words);
    send(json!({}), ErrorCode::EmptyBatchRequest, "at least one SendMessageBatchRequestEntry");
    send(entries(&["x"; 11]), ErrorCode::TooManyEntriesInBatchRequest, "You have sent 11.");
    let with_id =
        |id: &str| json!({"Entries": [{"Id": id, "MessageBody": "x"}, {"Id": "b", "MessageBody": "x"}]});
    send(with_id("b"), ErrorCode::BatchEntryIdsNotDistinct, "Id b repeated.");
    for id in ["", "a.b", "é", &"a".repeat(81)] {
        send(with_id(id), ErrorCode::InvalidBatchEntryId, "hyphens and underscores");
    }
    assert!(call(&queue(), "SendMessageBatch", with_id(&"a".repeat(80))).is_ok());
    assert!(call(&queue(), "SendMessageBatch", entries(&["x"; 10])).is_ok());
    let no_body = json!({"Entries": [{"Id": "a", "MessageBody": ""}]});
    send(no_body, ErrorCode::MissingParameter, "SendMessageBatchRequestEntry.1.MessageBody");
    let no_handle = json!({"Entries": [{"Id": "a"}]});
    let words = "DeleteMessageBatchRequestEntry.1.ReceiptHandle";
    check_refused("DeleteMessageBatch", no_handle, ErrorCode::MissingParameter, words);
    check_refused("DeleteMessageBatch", json!({}), ErrorCode::EmptyBatchRequest, "DeleteMessageBatch");
}

#[test]
fn a_message_and_a_batch_have_at_most_a_mebibyte() {
    let (half, most) = ("x".repeat(MESSAGE_BYTES / 2), "x".repeat(MESSAGE_BYTES));
    assert!(call(&queue(), "SendMessageBatch", entries(&[&half, &half])).is_ok());
    assert!(call(&queue(), "SendMessage", json!({ "MessageBody": most })).is_ok());
    let more = entries(&[&half, &half, "x"]);
    check_refused("SendMessageBatch", more, ErrorCode::BatchRequestTooLong, "You have sent 1048577 bytes.");
    let more = json!({ "MessageBody": most + "x" });
    check_refused("SendMessage", more, ErrorCode::InvalidParameterValue, "shorter than 1048576 bytes");
}

#[test]
fn a_body_with_characters_that_it_may_not_have_fails_alone() {
    for character in ['\u{0}', '\u{B}', '\u{1F}', '\u{FFFE}', '\u{FFFF}'] {
        let queue = queue();
        let sent = call(&queue, "SendMessageBatch", entries(&["a", &format!("b{character}"), "c"])).unwrap();
        assert_eq!(sent["Successful"].as_array().unwrap().len(), 2);
        let failed = &sent["Failed"][0];
        assert_eq!((&failed["Id"], &failed["Code"]), (&json!("e1"), &json!("InvalidMessageContents")));
        assert_eq!(queue.bodies(), ["a", "c"]);
    }
}

#[test]
fn numbers_out_of_bounds_are_named() {
    for (member, wrong) in
        [("MaxNumberOfMessages", [0, 11]), ("WaitTimeSeconds", [-1, 21]), ("VisibilityTimeout", [-1, 43_201])]
    {
        for wrong in wrong {
            let words = format!("Value {wrong} for parameter {member} is invalid.");
            check_refused(
                "ReceiveMessage",
                json!({ member: wrong }),
                ErrorCode::InvalidParameterValue,
                &words,
            );
        }
    }
}

#[test]
fn what_is_not_simulated_is_refused_by_name() {
    check_refused("CreateQueue", json!({}), ErrorCode::UnknownOperation, "CreateQueue");
    let delayed = json!({"MessageBody": "x", "DelaySeconds": 1});
    check_refused("SendMessage", delayed, ErrorCode::UnsupportedOperation, "DelaySeconds");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let raw = |target: &str, body: &[u8]| runtime.block_on(queue().call(target, body)).unwrap_err().code;
    assert_eq!(raw("Kinesis_20131202.ListStreams", b"{}"), ErrorCode::UnknownOperation);
    for body in ["", "[]", "{", "null", "{\"QueueUrl\":5}"] {
        assert_eq!(raw("AmazonSQS.SendMessage", body.as_bytes()), ErrorCode::Serialization, "{body}");
    }
}

#[test]
fn entries_fail_on_request_and_their_neighbours_do_not() {
    let admit = |body: &str| match body {
        "busy" => Err(ApiError::new(ErrorCode::InternalError, "on request")),
        _ => Ok(()),
    };
    let queue = Queue::admitting("q", "000000000000", "us-east-1", "http://127.0.0.1:9324", Arc::new(admit));
    let sent = call(&queue, "SendMessageBatch", entries(&["a", "busy", "b"])).unwrap();
    let failed =
        json!([{"Id": "e1", "SenderFault": false, "Code": "InternalError", "Message": "on request"}]);
    assert_eq!(sent["Failed"], failed);
    assert_eq!(queue.bodies(), ["a", "b"]);
}
