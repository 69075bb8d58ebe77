//! Enhanced fan-out over real sockets: the event stream as an SDK reads it, and what becomes of one that is left.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use local::stream::limits::KEEP_ALIVE;
use local::stream::{Config, Entry, Kinesis, Stream};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest wait of a test for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    kinesis: Kinesis,
    stream: Stream,
    port: u16,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    consumer: String,
}

impl Server {
    async fn start() -> Self {
        let kinesis = Kinesis::new(Config::local());
        let stream = kinesis.create_stream("s", 1, false).unwrap();
        let body = json!({ "StreamARN": stream.arn(), "ConsumerName": "c" }).to_string();
        // A while ago, so that it is active.
        let then = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap() - 1000;
        let answer = kinesis.call("Kinesis_20131202.RegisterStreamConsumer", body.as_bytes(), then).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let consumer = answer["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(kinesis.clone().serve(listener, async { drop(stopped.await) }));
        Self { kinesis, stream, port, stop, task, consumer }
    }

    /// Subscribes over a connection of its own, HTTP/1.1 or HTTP/2.
    async fn subscribe(&self, two: bool) -> Response<Incoming> {
        let body = json!({
            "ConsumerARN": self.consumer, "ShardId": "shardId-000000000000", "StartingPosition": { "Type": "TRIM_HORIZON" },
        });
        let request = Request::post(format!("http://127.0.0.1:{}/", self.port))
            .header("host", "s")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "Kinesis_20131202.SubscribeToShard")
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let socket = TokioIo::new(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap());
        if two {
            let (mut client, connection) = http2::handshake(TokioExecutor::new(), socket).await.unwrap();
            tokio::spawn(connection);
            client.send_request(request).await.unwrap()
        } else {
            let (mut client, connection) = http1::handshake(socket).await.unwrap();
            tokio::spawn(connection);
            client.send_request(request).await.unwrap()
        }
    }
}

/// The messages of a subscription.
struct Messages {
    body: Incoming,
    buffer: BytesMut,
    decoder: MessageFrameDecoder,
}

impl Messages {
    fn of(response: Response<Incoming>) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/vnd.amazon.eventstream");
        Self { body: response.into_body(), buffer: BytesMut::new(), decoder: MessageFrameDecoder::new() }
    }

    /// The next one's payload; none at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if self.buffer.has_remaining()
                && let DecodedFrame::Complete(message) = self.decoder.decode_frame(&mut self.buffer).unwrap()
            {
                return Some(serde_json::from_slice(message.payload()).unwrap());
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("nothing came")?;
            self.buffer.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    async fn records(&mut self) -> usize {
        self.next().await.unwrap()["Records"].as_array().unwrap().len()
    }
}

#[tokio::test]
async fn records_are_pushed_over_both_versions_of_http() {
    for two in [false, true] {
        let server = Server::start().await;
        server.stream.put(vec![Entry::new("k", "one")]).unwrap();
        let mut messages = Messages::of(server.subscribe(two).await);
        assert_eq!(messages.next().await, Some(json!({})), "the initial response");
        assert_eq!(messages.records().await, 1);
        server.stream.put(vec![Entry::new("k", "two"), Entry::new("k", "three")]).unwrap();
        assert_eq!(messages.records().await, 2);
    }
}

#[tokio::test]
async fn a_second_subscription_is_refused_with_a_status() {
    let server = Server::start().await;
    let _first = server.subscribe(false).await;
    let second = server.subscribe(false).await;
    assert_eq!(second.status(), 400);
    let body = second.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["__type"], "ResourceInUseException");
}

#[tokio::test]
async fn a_server_that_stops_ends_its_subscriptions_at_once() {
    let server = Server::start().await;
    let mut messages = Messages::of(server.subscribe(false).await);
    messages.next().await;
    let begun = tokio::time::Instant::now();
    server.stop.send(()).unwrap();
    assert_eq!(messages.next().await, None);
    timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "it did not wait for the grace to be over");
}

/// What was made of the records and not yet taken is what a reader still gets once the stream is gone.
#[tokio::test]
async fn a_slow_reader_has_a_few_pieces_waiting_and_not_all_there_is() {
    for two in [false, true] {
        let server = Server::start().await;
        let mut messages = Messages::of(server.subscribe(two).await);
        messages.next().await;
        let data = Bytes::from(vec![b'x'; 1 << 20]);
        server.stream.put((0..64).map(|_| Entry::new("k", data.clone())).collect()).unwrap();
        assert_eq!(messages.records().await, 1);
        // Time enough for the server to make all it is willing to.
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
        let body = json!({ "StreamName": "s", "EnforceConsumerDeletion": true }).to_string();
        let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
        server.kinesis.call("Kinesis_20131202.DeleteStream", body.as_bytes(), now).unwrap();
        let (mut events, mut last) = (0, None);
        while let Some(message) = messages.next().await {
            events += 1;
            last = Some(message);
        }
        assert!(events < 32, "{events} events were waiting");
        let last = last.unwrap()["message"].clone();
        assert_eq!(last, "Stream s under account 000000000000 not found.", "it ends with the reason");
    }
}

#[tokio::test]
async fn a_reader_that_leaves_leaves_nothing_running() {
    for two in [false, true] {
        let server = Server::start().await;
        // It has run, and waits for connections.
        tokio::task::yield_now().await;
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let idle = tasks();
        let mut messages = Messages::of(server.subscribe(two).await);
        messages.next().await;
        assert!(tasks() > idle);
        drop(messages);
        let alone = async {
            while tasks() > idle {
                tokio::task::yield_now().await;
            }
        };
        // Not only when there is something to send to it again.
        timeout(KEEP_ALIVE - Duration::from_secs(1), alone).await.expect("the subscription goes on");
    }
}
