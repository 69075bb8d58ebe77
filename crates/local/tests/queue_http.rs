//! The local queue over real sockets: the shapes of answers and errors, and a server that is stopped while somebody
//! waits for a message.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod http;

use std::time::Duration;

use local::queue::Queue;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use http::{Answer, exchange};

/// A queue that is served on a free port until it is told to stop.
struct Server {
    queue: Queue,
    port: u16,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let queue = Queue::new("q", "000000000000", "us-east-1", &format!("http://127.0.0.1:{port}"));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(queue.clone().serve(listener, async { drop(stopped.await) }));
        Self { queue, port, stop, task }
    }

    async fn send(&self, request_line: &str, headers: &str, body: &str) -> Answer {
        exchange(self.port, request_line, headers, body.as_bytes()).await
    }

    async fn call(&self, operation: &str, mut body: Value) -> Answer {
        body["QueueUrl"] = json!(self.queue.url());
        let headers =
            format!("Content-Type: application/x-amz-json-1.0\r\nX-Amz-Target: AmazonSQS.{operation}\r\n");
        self.send("POST /", &headers, &body.to_string()).await
    }
}

#[tokio::test]
async fn answers_and_errors_have_the_shape_of_the_service() {
    let server = Server::start().await;
    let sent = server.call("SendMessage", json!({ "MessageBody": "hello" })).await;
    assert_eq!(
        (sent.status, &sent.body["MD5OfMessageBody"]),
        (200, &json!("5d41402abc4b2a76b9719d911017c592"))
    );
    assert!(sent.head.contains("content-type: application/x-amz-json-1.0"), "{}", sent.head);
    assert!(sent.head.contains("x-amzn-requestid: "), "{}", sent.head);
    let refused = server.call("SendMessageBatch", json!({})).await;
    assert_eq!(
        (refused.status, &refused.body["__type"]),
        (400, &json!("com.amazonaws.sqs#EmptyBatchRequest"))
    );
    let header = "x-amzn-query-error: aws.simplequeueservice.emptybatchrequest;sender";
    assert!(refused.head.contains(header), "{}", refused.head);
    let received = server.call("ReceiveMessage", json!({})).await;
    let handle = received.body["Messages"][0]["ReceiptHandle"].clone();
    let deleted = server.call("DeleteMessage", json!({ "ReceiptHandle": handle })).await;
    assert_eq!((deleted.status, deleted.body, server.queue.bodies().len()), (200, Value::Null, 0));
}

#[tokio::test]
async fn what_is_no_request_of_the_api_is_refused_in_its_shape() {
    let server = Server::start().await;
    let check = async |request_line, headers, body, status, words: &str| {
        let answer = server.send(request_line, headers, body).await;
        let message = answer.body["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, status, "{message}");
        assert!(message.contains(words), "{message}");
    };
    check("GET /", "", "", 405, "expected POST").await;
    check("POST /", "", "{}", 400, "X-Amz-Target is missing").await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    check("POST /000000000000/q", form, "Action=SendMessage", 415, "application/x-amz-json-1.0").await;
    check("POST /", "X-Amz-Target: AmazonSQS.SendMessage\r\n", "{", 400, "EOF").await;
    let large = " ".repeat(local::queue::limits::BODY_BYTES + 1);
    check("POST /", "X-Amz-Target: AmazonSQS.SendMessage\r\n", &large, 413, "more than 8388608 bytes").await;
}

#[tokio::test]
async fn who_waits_for_a_message_does_not_hold_up_the_end() {
    let server = Server::start().await;
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let body = json!({ "QueueUrl": server.queue.url(), "WaitTimeSeconds": 20 }).to_string();
    let head = "POST / HTTP/1.1\r\nHost: q\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\nContent-Length: ";
    socket.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    server.stop.send(()).unwrap();
    timeout(Duration::from_secs(5), server.task).await.expect("the server did not stop").unwrap();
}
