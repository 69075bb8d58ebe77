//! A whole cloud in a test: what a project with functions of its own does.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

#[allow(dead_code, reason = "the binary is what is wanted")]
mod odd;

#[allow(dead_code, reason = "some of it is for other tests")]
mod http;

use std::sync::Arc;
use std::time::{Duration, Instant};

use local::cloud::{Cloud, Config, FREE, Inputs, Port, Reached};
use local::gateway::Batching;
use local::invoke::Asynchronous;
use local::mapping::{Destination, Settings};
use local::runtime::{Logbook, Outcome};
use local::stream::Entry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use odd::odd;

/// Longest wait of a test for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn settled(cloud: &Cloud) {
    tokio::time::timeout(PATIENCE, cloud.settled()).await.unwrap();
}

fn records(number: usize) -> Vec<Entry> {
    (0..number).map(|number| Entry::new(&format!("key-{number}"), format!("record {number}"))).collect()
}

#[tokio::test]
async fn every_record_reaches_the_function_and_the_log_has_it() {
    let odd = odd(1, &[]);
    let mut cloud = Cloud::start(Config::default()).await.unwrap();
    let stream = cloud.create_stream("orders", 3).unwrap();
    let log = Logbook::default();
    let config = cloud.function_config("orders-consumer", odd.binary());
    let function = cloud.add_function(config, log.sink(), Asynchronous::default());
    let mapping = cloud.map(&stream, &function, Settings { batch_size: 7, ..Settings::default() }, None);
    stream.put(records(100)).unwrap();
    settled(&cloud).await;
    let handled: u64 = mapping.progress().iter().map(|shard| shard.handled).sum();
    assert_eq!(handled, 100);
    assert_eq!(log.text().matches(r#""eventName":"aws:kinesis:record""#).count(), 100);
    assert!(cloud.stop().await.is_empty());
}

#[tokio::test]
async fn what_the_mapping_gives_up_is_in_the_queue() {
    let odd = odd(1, &[]);
    let mut cloud = Cloud::start(Config::default()).await.unwrap();
    let stream = cloud.create_stream("orders", 1).unwrap();
    let config = cloud.function_config("orders-consumer", odd.binary());
    let function = cloud.add_function(config, Logbook::default().sink(), Asynchronous::default());
    let settings = Settings { attempts: Some(0), ..Settings::default() };
    cloud.map(&stream, &function, settings, Some(Destination::Queue(cloud.queue().clone())));
    stream.put(vec![Entry::new("k", "error")]).unwrap();
    settled(&cloud).await;
    let tally = cloud.tally().clone();
    let unfinished = cloud.stop().await;
    assert_eq!((tally.discarded.get(), tally.reported.get()), (1, 1));
    assert_eq!((unfinished.messages.len(), unfinished.records.len()), (1, 0));
    assert!(unfinished.messages[0].contains("RetryAttemptsExhausted"), "{:?}", unfinished.messages);
}

#[tokio::test]
async fn a_function_finds_this_cloud_and_no_other() {
    let odd = odd(1, &[]);
    let mut cloud = Cloud::start(Config::default()).await.unwrap();
    let mut config = cloud.function_config("odd", odd.binary());
    config.environment.push(("TABLE".into(), "orders".into()));
    let function = cloud.add_function(config, Logbook::default().sink(), Asynchronous::default());
    let Outcome::Answer(answer) = function.invoke("\"environment\"".into()).await else { panic!() };
    let answer = String::from_utf8(answer.into()).unwrap();
    for wanted in [
        format!("AWS_ENDPOINT_URL={} ", cloud.kinesis_url().unwrap()),
        format!("AWS_ENDPOINT_URL_SQS={} ", cloud.queue().endpoint()),
        "AWS_ACCESS_KEY_ID=local ".to_owned(),
        "TABLE=orders ".to_owned(),
    ] {
        assert!(answer.contains(&wanted), "{wanted} in {answer}");
    }
    cloud.stop().await;
}

/// The function is no producer of ours: it answers what it is given by UDP and HTTP with words that say nothing of
/// packets, and ends without any when it is invoked.
#[tokio::test]
async fn a_producer_is_reached_in_three_ways() {
    let odd = odd(1, &[]);
    let mut cloud = Cloud::start(Config::default()).await.unwrap();
    let config = cloud.function_config("odd", odd.binary());
    let batching = Batching { count: 1, window: Duration::ZERO };
    let inputs = Inputs { udp: FREE, batching, http: FREE };
    let producer = cloud.add_producer(config, Logbook::default().sink(), Asynchronous::default(), inputs);
    let Reached { udp, http, .. } = producer.await.unwrap();
    let answer = http::exchange(http.port(), "POST /", "", b"hello").await;
    assert_eq!((answer.status, answer.body), (200, "what?".into()));
    let invocation = "POST /2015-03-31/functions/odd/invocations";
    http::exchange(cloud.lambda_address().port(), invocation, "", br#"{"Data":"exit"}"#).await;
    let sender = UdpSocket::bind(FREE).await.unwrap();
    sender.send_to(b"hello", udp).await.unwrap();
    let tally = cloud.tally().clone();
    let unfinished = cloud.stop().await;
    assert_eq!((tally.received.get(), tally.abandoned.get()), (2, 1));
    assert!(unfinished.is_empty());
}

#[tokio::test]
async fn clouds_stand_beside_each_other() {
    let (one, other) = (Cloud::start(Config::default()).await, Cloud::start(Config::default()).await);
    let (one, other) = (one.unwrap(), other.unwrap());
    one.create_stream("orders", 1).unwrap();
    assert!(other.kinesis().stream("orders").is_none());
    assert_ne!(one.kinesis_url(), other.kinesis_url());
    one.stop().await;
    other.create_stream("orders", 1).unwrap();
    other.stop().await;
}

/// Waits until it is so.
async fn until(what: &str, is: impl Fn() -> bool) {
    let poll = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("no {what}"));
}

/// Stops a cloud while a request to the gateway and a synchronous invocation hang in their function until it times out;
/// gives the status lines of the answers, and how long it took.
async fn stopped_meanwhile(grace: Duration, function_timeout: Duration) -> ([String; 2], Duration) {
    let odd = odd(1, &[]);
    let mut cloud = Cloud::start(Config { grace, ..Config::default() }).await.unwrap();
    let mut config = cloud.function_config("odd", odd.binary());
    config.timeout = function_timeout;
    let inputs = Inputs { udp: FREE, batching: Batching { count: 1, window: Duration::ZERO }, http: FREE };
    let log = Logbook::default();
    let producer = cloud.add_producer(config, log.sink(), Asynchronous::default(), inputs).await;
    let request = |port: u16, path: &str, headers: &str, body: &str| {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: c\r\nContent-Length: {length}\r\n{headers}\r\n");
        let request = head + body;
        tokio::spawn(async move {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // A connection that is closed at once may be reset.
            let _ = socket.read_to_string(&mut answer).await;
            answer.lines().next().unwrap_or_default().to_owned()
        })
    };
    let gateway = request(producer.unwrap().http.port(), "/", "data: aGFuZw==\r\n", "hello");
    let path = "/2015-03-31/functions/odd/invocations";
    let invoke = request(cloud.lambda_address().port(), path, "", "\"hang\"");
    until("events", || log.text().matches("got ").count() == 2).await;
    let (began, tally) = (Instant::now(), cloud.tally().clone());
    assert!(cloud.stop().await.is_empty());
    assert_eq!((tally.received.get(), tally.abandoned.get()), (1, 1), "each packet is counted");
    let took = began.elapsed();
    assert_eq!(odd.processes(), 0);
    ([gateway.await.unwrap(), invoke.await.unwrap()], took)
}

#[tokio::test]
async fn requests_under_way_have_the_grace_and_no_more() {
    let (answers, took) = stopped_meanwhile(Duration::ZERO, PATIENCE).await;
    assert_eq!(answers, ["", ""]);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let longer_than_the_default = Duration::from_millis(2_100);
    let (answers, took) = stopped_meanwhile(PATIENCE, longer_than_the_default).await;
    assert_eq!(answers, ["HTTP/1.1 502 Bad Gateway", "HTTP/1.1 200 OK"]);
    assert!(took < PATIENCE, "{took:?}");
}

/// A stream elsewhere is one of which only the records are seen that were read.
#[tokio::test]
async fn a_batch_of_a_stream_elsewhere_comes_to_its_end_within_the_grace() {
    let odd = odd(1, &[]);
    let mut cloud = Cloud::start(Config { grace: PATIENCE, ..Config::default() }).await.unwrap();
    let stream = cloud.create_stream("orders", 1).unwrap();
    let mut config = cloud.function_config("odd", odd.binary());
    config.timeout = Duration::from_secs(1);
    let log = Logbook::default();
    let function = cloud.add_function(config, log.sink(), Asynchronous::default());
    let settings = Settings { batch_size: 1, attempts: Some(0), ..Settings::default() };
    let mapping = cloud.map_remote(Arc::new(stream.clone()), &function, settings, None);
    stream.put(vec![Entry::new("k", "fine"), Entry::new("k", "hang")]).unwrap();
    until("hanging record", || log.text().contains("aGFuZw==")).await;
    assert_eq!(mapping.progress()[0].handled, 1);
    // An old record more than the packets that were put there: it is not one of theirs that makes up for it.
    let tally = cloud.tally().clone();
    tally.logged.add(1);
    let unfinished = cloud.stop().await;
    assert_eq!((tally.discarded.get(), unfinished.records.len()), (1, 0));
}

/// Three packets in one record, as in an aggregate.
#[tokio::test]
async fn packets_that_are_in_the_log_are_not_waited_for_however_few_their_records_are() {
    let odd = odd(1, &[]);
    let mut cloud = Cloud::start(Config { grace: PATIENCE, ..Config::default() }).await.unwrap();
    let stream = cloud.create_stream("orders", 1).unwrap();
    let config = cloud.function_config("odd", odd.binary());
    let function = cloud.add_function(config, Logbook::default().sink(), Asynchronous::default());
    let mapping = cloud.map_remote(Arc::new(stream.clone()), &function, Settings::default(), None);
    stream.put(vec![Entry::new("k", "fine")]).unwrap();
    until("end of the record", || mapping.progress().first().is_some_and(|shard| shard.handled == 1)).await;
    let tally = cloud.tally().clone();
    tally.acknowledged.add(3);
    tally.logged.add(3);
    let began = Instant::now();
    assert!(cloud.stop().await.is_empty());
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn nothing_is_left_of_a_cloud_that_was_stopped_or_dropped() {
    for dropped in [false, true] {
        let odd = odd(1, &[]);
        let mut cloud = Cloud::start(Config::default()).await.unwrap();
        let stream = cloud.create_stream("orders", 1).unwrap();
        let config = cloud.function_config("odd", odd.binary());
        let log = Logbook::default();
        let function = cloud.add_function(config, log.sink(), Asynchronous::default());
        cloud.map(&stream, &function, Settings::default(), None);
        stream.put(records(1)).unwrap();
        settled(&cloud).await;
        drop(function);
        let ports = [
            cloud.lambda_address().port(),
            port_of(cloud.queue().endpoint()),
            port_of(cloud.kinesis_url().unwrap()),
        ];
        if !dropped {
            assert!(cloud.stop().await.is_empty());
            assert_eq!(odd.processes(), 0);
            for port in ports {
                assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "{port}");
            }
            continue;
        }
        drop(cloud);
        let gone = async {
            for port in ports {
                while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            }
            while odd.processes() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.unwrap();
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let cloud = Cloud::start(Config::default()).await.unwrap();
    let taken = cloud.lambda_address();
    let Err(cannot) = Cloud::start(Config { queue: taken, ..Config::default() }).await else { panic!() };
    assert_eq!((cannot.port, cannot.address), (Port::Queue, taken));
    assert_eq!(cannot.to_string(), format!("cannot listen on {taken} (the queue)"));
}
