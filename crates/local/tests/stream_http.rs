//! The local stream over real sockets: shapes and errors over HTTP/1.1 and HTTP/2, and many writers at once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use local::stream::{Config, Kinesis, Position, Record, SequenceNumber, ShardId, Stream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A stream that is served on a free port until it is told to stop.
struct Server {
    kinesis: Kinesis,
    port: u16,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(shards: u32) -> Self {
        let kinesis = Kinesis::new(Config::local());
        kinesis.create_stream("s", shards, false).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(kinesis.clone().serve(listener, async { drop(stopped.await) }));
        Self { kinesis, port, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        socket.set_nodelay(true).unwrap(); // as the SDKs do: else each request may wait for an acknowledgement
        socket
    }

    /// Ends within the time that requests in flight have, and some.
    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(Duration::from_secs(5), self.task).await.expect("the server did not stop").unwrap();
    }
}

/// A connection of either version.
enum Client {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

#[derive(Debug, Clone, Copy)]
enum Version {
    One,
    Two,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Client {
    async fn new(server: &Server, version: Version) -> Self {
        let socket = TokioIo::new(server.connect().await);
        match version {
            Version::One => {
                let (send, connection) = http1::handshake(socket).await.unwrap();
                tokio::spawn(connection);
                Self::One(send)
            }
            Version::Two => {
                let (send, connection) = http2::handshake(TokioExecutor::new(), socket).await.unwrap();
                tokio::spawn(connection);
                Self::Two(send)
            }
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let response = match self {
            Self::One(send) => {
                send.ready().await.unwrap();
                send.send_request(request).await.unwrap()
            }
            Self::Two(send) => send.send_request(request).await.unwrap(),
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Answer { status: head.status, headers: head.headers, body }
    }

    async fn call(&mut self, operation: &str, body: Value) -> Answer {
        self.send(request(operation, body.to_string())).await
    }
}

fn request(operation: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("http://127.0.0.1/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
        .body(Full::new(body.into()))
        .unwrap()
}

const BOTH: [Version; 2] = [Version::One, Version::Two];

#[tokio::test]
async fn answers_and_errors_have_the_shape_of_the_service() {
    let server = Server::start(1).await;
    for version in BOTH {
        let mut client = Client::new(&server, version).await;
        let put = json!({ "StreamName": "s", "Data": "aGk=", "PartitionKey": "k" });
        let good = client.call("PutRecord", put).await;
        assert_eq!(good.status, 200, "{version:?}");
        assert_eq!(good.body["ShardId"], "shardId-000000000000");
        let bad = client.call("DescribeStream", json!({ "StreamName": "nope" })).await;
        assert_eq!(bad.status, 400);
        let message = "Stream nope under account 000000000000 not found.";
        assert_eq!(bad.body, json!({ "__type": "ResourceNotFoundException", "message": message }));
        let empty = client.call("AddTagsToStream", json!({ "StreamName": "s", "Tags": { "a": "b" } })).await;
        assert_eq!((empty.status, empty.body), (StatusCode::OK, Value::Null));
        for headers in [&good.headers, &bad.headers, &empty.headers] {
            assert_eq!(headers["content-type"], "application/x-amz-json-1.1");
            assert_eq!(headers["x-amzn-requestid"].len(), 36);
        }
        assert_ne!(good.headers["x-amzn-requestid"], bad.headers["x-amzn-requestid"]);
    }
    assert_eq!(server.kinesis.stream("s").unwrap().counts().appended, 2);
    server.stop().await;
}

/// Sends what is no request of this API, and then on the same server one that is.
async fn check_refused(request: Request<Full<Bytes>>, status: u16, want: &str) {
    let server = Server::start(1).await;
    for version in BOTH {
        let mut client = Client::new(&server, version).await;
        let answer = client.send(request.clone()).await;
        assert_eq!(answer.status, status, "{version:?}");
        assert!(answer.body["message"].as_str().unwrap().contains(want), "{}", answer.body);
        let mut client = Client::new(&server, version).await;
        assert_eq!(client.call("ListStreams", json!({})).await.body["StreamNames"], json!(["s"]));
    }
    server.stop().await;
}

fn with(
    mut request: Request<Full<Bytes>>,
    header: &'static str,
    value: Option<&str>,
) -> Request<Full<Bytes>> {
    request.headers_mut().remove(header);
    if let Some(value) = value {
        request.headers_mut().insert(header, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn cbor_is_refused_with_the_way_out() {
    let cbor = with(request("ListStreams", "{}"), "content-type", Some("application/x-amz-cbor-1.1"));
    check_refused(cbor, 415, "set AWS_CBOR_DISABLE=true").await;
}

#[tokio::test]
async fn another_content_type_is_refused() {
    let form = with(request("ListStreams", "{}"), "content-type", Some("application/x-www-form-urlencoded"));
    check_refused(form, 415, "expected application/x-amz-json-1.1").await;
}

#[tokio::test]
async fn a_request_without_operation_is_refused() {
    let request = with(request("ListStreams", "{}"), "x-amz-target", None);
    check_refused(request, 400, "X-Amz-Target is missing").await;
}

#[tokio::test]
async fn an_operation_of_another_service_is_refused() {
    let request = with(request("ListStreams", "{}"), "x-amz-target", Some("DynamoDB_20120810.ListTables"));
    check_refused(request, 400, "X-Amz-Target is \"DynamoDB_20120810.ListTables\"").await;
}

#[tokio::test]
async fn other_methods_are_refused() {
    let mut request = request("ListStreams", "");
    *request.method_mut() = Method::GET;
    check_refused(request, 405, "The method is GET").await;
}

#[tokio::test]
async fn a_full_request_goes_through_and_a_larger_one_is_told_so() {
    let server = Server::start(1).await;
    {
        let mut client = Client::new(&server, Version::Two).await; // the one with windows that could close
        // 10 MiB with the keys: ten records, each as large as the stream takes.
        let data = "A".repeat(((1 << 20) - 1) / 3 * 4);
        let records = vec![json!({ "Data": data, "PartitionKey": "k" }); 10];
        let full = client.call("PutRecords", json!({ "StreamName": "s", "Records": records })).await;
        assert_eq!((full.status, &full.body["FailedRecordCount"]), (StatusCode::OK, &json!(0)));
        let start = json!({ "StreamName": "s", "ShardId": "shardId-0", "ShardIteratorType": "TRIM_HORIZON" });
        let iterator = client.call("GetShardIterator", start).await.body["ShardIterator"].clone();
        let got = client.call("GetRecords", json!({ "ShardIterator": iterator })).await.body;
        let records = got["Records"].as_array().unwrap();
        assert_eq!(records.len(), 10, "an answer holds 10 MiB");
        assert!(records.iter().all(|record| record["Data"] == data));
    }
    // Told before all of it was sent, so that a client may not come to reading the answer: raw, and slowly.
    let mut socket = server.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.PutRecords\r\ncontent-length: 99999999\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let block = vec![b' '; 1 << 20];
    for _ in 0..33 {
        if socket.write_all(&block).await.is_err() {
            break;
        }
    }
    socket.read_buf(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    let server = Server::start(1).await;
    let mut socket = server.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.PutRecord\r\ncontent-length: 1000\r\n\r\n";
    let body = r#"{"StreamName":"s","Data":"","PartitionKey":"k"}"#;
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(!answer.contains("200 OK"), "{answer}");
    assert_eq!(server.kinesis.stream("s").unwrap().counts().appended, 0);
    server.stop().await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_end() {
    let server = Server::start(1).await;
    let silent = server.connect().await;
    let mut clients = Vec::new();
    for version in BOTH {
        let mut client = Client::new(&server, version).await;
        client.call("ListStreams", json!({})).await;
        clients.push(client);
    }
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(2), "that is the time for requests in flight");
    drop((silent, clients));
}

#[tokio::test]
async fn a_slow_request_holds_the_end_only_so_long() {
    let server = Server::start(1).await;
    let mut slow = server.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.ListStreams\r\ncontent-length: 10\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut other = Client::new(&server, Version::One).await;
    other.call("ListStreams", json!({})).await; // by now the server has accepted the slow one
    let port = server.port;
    server.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    drop(slow);
}

#[tokio::test]
async fn a_waiting_reader_wakes_for_records_and_for_the_end() {
    let server = Server::start(1).await;
    let stream = server.kinesis.stream("s").unwrap();
    let mut client = Client::new(&server, Version::One).await;
    let seen = stream.version();
    let put = json!({ "StreamName": "s", "Data": "", "PartitionKey": "k" });
    let (seen, _) = tokio::join!(woken(&stream, seen), client.call("PutRecord", put));
    assert_eq!(stream.counts().records, 1);
    let (seen, _) =
        tokio::join!(woken(&stream, seen), client.call("DeleteStream", json!({ "StreamName": "s" })));
    assert_eq!(seen, stream.version());
    let shard = stream.shards()[0].id;
    let gone = stream.read(&shard, &Position::TrimHorizon, 1, 1).unwrap_err();
    assert_eq!(gone.message, "Stream s under account 000000000000 not found.");
    server.stop().await;
}

/// Waits for a change, but not for ever.
async fn woken(stream: &Stream, seen: u64) -> u64 {
    timeout(Duration::from_secs(10), stream.changed(seen)).await.expect("nothing came any more")
}

const WRITERS: usize = 8;
const REQUESTS: usize = 20;
const ENTRIES: usize = 50;
const TOTAL: usize = WRITERS * REQUESTS * ENTRIES;

/// What became of every record: data, shard and number.
type Placed = BTreeMap<String, (String, SequenceNumber)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_and_two_tailing_readers_agree_on_every_record() {
    let server = Server::start(3).await;
    let stream = server.kinesis.stream("s").unwrap();
    let waiting = tokio::spawn(tail_in_process(stream.clone()));
    let polling = Client::new(&server, Version::Two).await;
    let polling = tokio::spawn(tail_over_http(polling, stream.shards().iter().map(|s| s.id).collect()));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let client = Client::new(&server, BOTH[writer % 2]).await;
        writers.push(tokio::spawn(write(client, writer)));
    }
    let mut put = Placed::new();
    for writer in writers {
        put.extend(writer.await.unwrap());
    }
    assert_eq!(put.len(), TOTAL);
    for got in [waiting.await.unwrap(), polling.await.unwrap()] {
        assert_eq!(got.len(), TOTAL);
        let mut last = BTreeMap::new();
        for (data, shard, number) in &got {
            assert!(
                last.insert(shard, number).is_none_or(|before| before < number),
                "out of order in {shard}"
            );
            assert_eq!(put[data], (shard.clone(), *number));
        }
        let once: BTreeMap<_, _> = got.iter().map(|(data, ..)| (data, ())).collect();
        assert_eq!(once.len(), TOTAL);
    }
    let counts = stream.counts();
    assert_eq!((counts.appended, counts.trimmed), (TOTAL as u64, 0));
    server.stop().await;
}

async fn write(mut client: Client, writer: usize) -> Placed {
    let mut placed = Placed::new();
    for request in 0..REQUESTS {
        let texts: Vec<_> = (0..ENTRIES).map(|entry| format!("{writer:04}{request:04}{entry:04}")).collect();
        // Twelve digits are base64 as they stand: nine bytes.
        let records =
            texts.iter().map(|text| json!({ "Data": text, "PartitionKey": text })).collect::<Vec<_>>();
        let answer = client.call("PutRecords", json!({ "StreamName": "s", "Records": records })).await.body;
        assert_eq!(answer["FailedRecordCount"], 0);
        for (text, result) in texts.into_iter().zip(answer["Records"].as_array().unwrap()) {
            let number = result["SequenceNumber"].as_str().unwrap().parse().unwrap();
            placed.insert(text, (result["ShardId"].as_str().unwrap().to_owned(), number));
        }
    }
    placed
}

/// Reads all shards on until all records have come, waiting for changes. The key is the data, as text.
async fn tail_in_process(stream: Stream) -> Vec<(String, String, SequenceNumber)> {
    let mut got = Vec::new();
    let mut places: Vec<_> = stream.shards().iter().map(|shard| (shard.id, Position::TrimHorizon)).collect();
    while got.len() < TOTAL {
        let seen = stream.version();
        let before = got.len();
        for (shard, at) in &mut places {
            let read = stream.read(shard, at, 37, 1 << 20).unwrap();
            assert_eq!(read.skipped, 0);
            let placed = |record: &Record| {
                (record.partition_key.to_string(), shard.to_string(), record.sequence_number)
            };
            got.extend(read.records.iter().map(placed));
            *at = read.next.unwrap();
        }
        if got.len() == before {
            woken(&stream, seen).await;
        }
    }
    got
}

async fn tail_over_http(mut client: Client, shards: Vec<ShardId>) -> Vec<(String, String, SequenceNumber)> {
    let mut got = Vec::new();
    let mut iterators = Vec::new();
    for shard in shards {
        let start =
            json!({ "StreamName": "s", "ShardId": shard.to_string(), "ShardIteratorType": "TRIM_HORIZON" });
        let answer = client.call("GetShardIterator", start).await.body;
        iterators.push((shard.to_string(), answer["ShardIterator"].clone()));
    }
    while got.len() < TOTAL {
        for (shard, iterator) in &mut iterators {
            let mut answer =
                client.call("GetRecords", json!({ "ShardIterator": iterator, "Limit": 41 })).await.body;
            for record in answer["Records"].as_array().unwrap() {
                let number = record["SequenceNumber"].as_str().unwrap().parse().unwrap();
                got.push((record["Data"].as_str().unwrap().to_owned(), shard.clone(), number));
            }
            *iterator = answer["NextShardIterator"].take();
        }
    }
    got
}
