//! The consumer's binary in a whole cloud: what a project with a consumer of its own can do likewise.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

use std::time::Duration;

use local::cloud::{Cloud, Config};
use local::invoke::Asynchronous;
use local::mapping::{Destination, Settings};
use local::runtime::Logbook;
use local::stream::Entry;

#[tokio::test]
async fn every_record_is_logged_once_through_a_split() {
    let mut cloud = Cloud::start(Config::default()).await.unwrap();
    let stream = cloud.create_stream("packets", 2).unwrap();
    let config = cloud.function_config("consumer", env!("CARGO_BIN_EXE_consumer"));
    let log = Logbook::default();
    let consumer = cloud.add_function(config, log.sink(), Asynchronous::default());
    let settings = Settings {
        batch_size: 25,
        bisect: true,
        partial_answers: true,
        attempts: Some(2),
        ..Settings::default()
    };
    let given_up = Destination::Queue(cloud.queue().clone());
    cloud.map(&stream, &consumer, settings, Some(given_up));

    let packet = |number: u32| {
        Entry::new(&format!("device-{}", number % 10), format!(r#"{{"Data":"","Tag":{number}}}"#))
    };
    stream.put((0..200).map(packet).collect()).unwrap();
    let (target, now) = ("Kinesis_20131202.UpdateShardCount", jiff::Timestamp::now().as_millisecond());
    let asked = br#"{"StreamName":"packets","TargetShardCount":4,"ScalingType":"UNIFORM_SCALING"}"#;
    cloud.kinesis().call(target, asked, now.try_into().unwrap()).unwrap();
    stream.put((200..400).map(packet).collect()).unwrap();

    tokio::time::timeout(Duration::from_secs(20), cloud.settled()).await.unwrap();
    let unfinished = cloud.stop().await;
    assert!(unfinished.is_empty(), "{unfinished:?}");
    let lines = log.text();
    let mut tags: Vec<u32> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["message"] == "packet")
        .map(|line| line["tag"].as_str().unwrap().parse().unwrap())
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..400).collect::<Vec<_>>());
}
