//! A whole cloud in a test: what a project with functions of its own does.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

#[allow(dead_code, reason = "the binary is what is wanted")]
mod odd;

#[allow(dead_code, reason = "some of it is for other tests")]
mod http;

use std::time::Duration;

use local::cloud::{Cloud, Config, FREE, Inputs, Port, Reached};
use local::gateway::Batching;
use local::invoke::Asynchronous;
use local::mapping::{Destination, Settings};
use local::runtime::{Logbook, Outcome};
use local::stream::Entry;
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
        if dropped {
            drop(cloud)
        } else {
            drop(cloud.stop().await)
        }
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
