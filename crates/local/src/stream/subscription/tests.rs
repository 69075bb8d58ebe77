//! Subscriptions without sockets, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aws_smithy_eventstream::frame::read_message_from;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::stream::contents::Entry;
use crate::stream::handle::{Config, Kinesis};
use crate::stream::limits::RESUBSCRIBE;

/// A Kinesis with the stream `s` of one shard and its consumer `c`.
fn kinesis() -> (Kinesis, Stream, String) {
    let kinesis = Kinesis::new(Config::local());
    let stream = kinesis.create_stream("s", 1, false).unwrap();
    let body = json!({ "StreamARN": stream.arn(), "ConsumerName": "c" });
    // Some time ago, so that it is active.
    let target = "Kinesis_20131202.RegisterStreamConsumer";
    let answer = kinesis.call(target, body.to_string().as_bytes(), now_ms() - 1000).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let arn = answer["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned();
    (kinesis, stream, arn)
}

fn subscribe(
    kinesis: &Kinesis,
    arn: &str,
    shard: ShardId,
    position: &Value,
) -> Result<Subscription, ApiError> {
    let body = json!({ "ConsumerARN": arn, "ShardId": shard, "StartingPosition": position });
    crate::stream::api::subscribe(kinesis, body.to_string().as_bytes(), now_ms())
}

fn from_the_start(kinesis: &Kinesis, arn: &str) -> Subscription {
    subscribe(kinesis, arn, ShardId(0), &json!({ "Type": "TRIM_HORIZON" })).unwrap()
}

fn put(stream: &Stream, numbers: impl IntoIterator<Item = u32>) {
    let entry = |number: u32| Entry::new(&format!("k{}", number % 7), number.to_string());
    stream.put(numbers.into_iter().map(entry).collect()).unwrap();
}

/// A message: what it is, and what it says.
async fn next(subscription: &mut Subscription) -> Option<(String, Value)> {
    let message = read_message_from(&mut subscription.next().await?).unwrap();
    let header = |name| {
        let header = message.headers().iter().find(|header| header.name().as_str() == name)?;
        Some(header.value().as_string().unwrap().as_str().to_owned())
    };
    assert_eq!(header(":content-type").unwrap(), "application/json");
    let kind =
        header(if header(":message-type").unwrap() == "event" { ":event-type" } else { ":exception-type" });
    Some((kind.unwrap(), serde_json::from_slice(message.payload()).unwrap()))
}

/// The next event, which must be one with or without records: what the records hold, and the rest.
async fn event(subscription: &mut Subscription) -> (Vec<u32>, Value) {
    let (kind, event) = next(subscription).await.unwrap();
    assert_eq!(kind, "SubscribeToShardEvent", "{event}");
    (numbers(&event), event)
}

fn numbers(event: &Value) -> Vec<u32> {
    use base64::Engine;
    let number = |record: &Value| {
        let data = base64::prelude::BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
        String::from_utf8(data).unwrap().parse().unwrap()
    };
    event["Records"].as_array().unwrap().iter().map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_pushed_and_then_what_comes() {
    let (kinesis, stream, arn) = kinesis();
    put(&stream, 0..3);
    let mut subscription = from_the_start(&kinesis, &arn);
    assert_eq!(next(&mut subscription).await.unwrap(), ("initial-response".into(), json!({})));
    let (records, first) = event(&mut subscription).await;
    assert_eq!(records, [0, 1, 2]);
    let record = &first["Records"][0];
    assert_eq!((&record["PartitionKey"], &record["EncryptionType"]), (&json!("k0"), &Value::Null));
    assert!(record["SequenceNumber"].is_string() && record["ApproximateArrivalTimestamp"].is_number());
    assert_eq!(first["MillisBehindLatest"], 0);
    let more = async {
        tokio::task::yield_now().await;
        put(&stream, 3..5);
    };
    let ((records, _), ()) = tokio::join!(event(&mut subscription), more);
    assert_eq!(records, [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_records_comes_when_there_is_nothing_else_and_says_where_to_go_on() {
    let (kinesis, stream, arn) = kinesis();
    put(&stream, 0..3);
    let mut subscription = subscribe(&kinesis, &arn, ShardId(0), &json!({ "Type": "LATEST" })).unwrap();
    next(&mut subscription).await;
    let begun = Instant::now();
    let (records, idle) = event(&mut subscription).await;
    assert_eq!((records, begun.elapsed().as_secs()), (vec![], KEEP_ALIVE.as_secs()));
    put(&stream, 3..5);
    // Both ways to go on there are the same.
    for kind in ["AFTER_SEQUENCE_NUMBER", "AT_SEQUENCE_NUMBER"] {
        tokio::time::advance(Duration::from_secs(6)).await;
        let position = json!({ "Type": kind, "SequenceNumber": idle["ContinuationSequenceNumber"] });
        let mut again = subscribe(&kinesis, &arn, ShardId(0), &position).unwrap();
        next(&mut again).await;
        assert_eq!(event(&mut again).await.0, [3, 4], "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_after_five_minutes() {
    let (kinesis, _, arn) = kinesis();
    let (mut subscription, begun) = (from_the_start(&kinesis, &arn), Instant::now());
    let mut events = 0;
    while next(&mut subscription).await.is_some() {
        events += 1;
    }
    assert_eq!(begun.elapsed().as_secs(), 300);
    assert!(events >= 60, "one about every five seconds: {events}");
}

/// The exception that ends a subscription.
async fn ended_by(end: impl FnOnce(&Kinesis, &str)) -> String {
    let (kinesis, _, arn) = kinesis();
    let mut subscription = from_the_start(&kinesis, &arn);
    next(&mut subscription).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let end = async {
        tokio::task::yield_now().await;
        end(&kinesis, &arn);
    };
    let (mut last, ()) = tokio::join!(next(&mut subscription), end);
    if last.as_ref().is_some_and(|(kind, _)| kind == "SubscribeToShardEvent") {
        last = next(&mut subscription).await; // it was due as well
    }
    assert!(next(&mut subscription).await.is_none(), "nothing comes behind the exception");
    last.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn what_ends_it_is_told() {
    let call = |kinesis: &Kinesis, operation: &str, body: Value| {
        kinesis
            .call(&format!("Kinesis_20131202.{operation}"), body.to_string().as_bytes(), now_ms())
            .unwrap();
    };
    let again = ended_by(|kinesis, arn| drop(from_the_start(kinesis, arn))).await;
    assert_eq!(again, "ResourceInUseException");
    let deregistered =
        ended_by(|kinesis, arn| call(kinesis, "DeregisterStreamConsumer", json!({ "ConsumerARN": arn })))
            .await;
    assert_eq!(deregistered, "ResourceInUseException");
    let body = json!({ "StreamName": "s", "EnforceConsumerDeletion": true });
    let deleted = ended_by(|kinesis, _| call(kinesis, "DeleteStream", body)).await;
    assert_eq!(deleted, "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_over_ends_whatever_is_left_to_read() {
    let (kinesis, stream, arn) = kinesis();
    let large = || Entry::new("k", vec![b'7'; EVENT_BYTES]);
    stream.put(vec![large(), large(), large()]).unwrap();
    let mut first = from_the_start(&kinesis, &arn);
    next(&mut first).await;
    event_of_one(&mut first).await;
    tokio::time::advance(RESUBSCRIBE).await;
    let mut second = from_the_start(&kinesis, &arn);
    assert_eq!(next(&mut first).await.unwrap().0, "ResourceInUseException");
    assert!(next(&mut first).await.is_none());
    next(&mut second).await;
    for _ in 0..3 {
        event_of_one(&mut second).await;
    }
}

async fn event_of_one(subscription: &mut Subscription) {
    let (kind, event) = next(subscription).await.unwrap();
    assert_eq!(
        (kind.as_str(), event["Records"].as_array().map(Vec::len)),
        ("SubscribeToShardEvent", Some(1))
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shard_names_its_children_and_ends_it() {
    let (kinesis, stream, arn) = kinesis();
    let mut subscription = from_the_start(&kinesis, &arn);
    next(&mut subscription).await;
    put(&stream, 0..2);
    split(&kinesis, 0);
    let (records, mut last) = event(&mut subscription).await;
    assert_eq!(records, [0, 1]);
    if last["ChildShards"].is_null() {
        last = event(&mut subscription).await.1;
    }
    let children: Vec<_> =
        last["ChildShards"].as_array().unwrap().iter().map(|child| &child["ShardId"]).collect();
    assert_eq!(children, [&json!(ShardId(1)), &json!(ShardId(2))]);
    assert_eq!(last["ChildShards"][0]["ParentShards"], json!([ShardId(0)]));
    assert!(last.get("ContinuationSequenceNumber").is_none());
    assert!(next(&mut subscription).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_event_is_bounded_but_for_one_large_record() {
    let (kinesis, stream, arn) = kinesis();
    let large = |bytes: usize| Entry::new("k", vec![b'7'; bytes]);
    stream.put(vec![large(400_000), large(400_000), large(400_000), large(9_000_000), large(1)]).unwrap();
    let mut subscription = from_the_start(&kinesis, &arn);
    next(&mut subscription).await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 5 {
        let (_, event) = next(&mut subscription).await.unwrap();
        sizes.push(event["Records"].as_array().unwrap().len());
    }
    assert_eq!(sizes, [2, 1, 1, 1]);
}

/// Splits a shard in the middle of its range.
fn split(kinesis: &Kinesis, shard: u32) {
    let stream = kinesis.stream("s").unwrap();
    let shards = stream.shards();
    let range = &shards[shard as usize].hash_range;
    let middle = range.start() + (range.end() - range.start()) / 2 + 1;
    let body = json!({ "StreamName": "s", "ShardToSplit": ShardId(shard), "NewStartingHashKey": middle.to_string() });
    // Far apart, so that the stream is active.
    let at = now_ms() + u64::from(shard) * 10_000;
    kinesis.call("Kinesis_20131202.SplitShard", body.to_string().as_bytes(), at).unwrap();
}

#[derive(Clone, Debug)]
enum Do {
    Put(u32),
    Split,
    /// Take so many messages of each subscription.
    Take(u32),
    /// Leave all subscriptions and subscribe anew from where they were.
    Again,
}

fn script() -> impl Strategy<Value = Vec<Do>> {
    let step = prop_oneof![
        4 => (1..50_u32).prop_map(Do::Put),
        1 => Just(Do::Split),
        4 => (0..4_u32).prop_map(Do::Take),
        1 => Just(Do::Again),
    ];
    prop::collection::vec(step, 0..40)
}

/// A reader by subscriptions: those it has, and where each is.
struct Reader {
    kinesis: Kinesis,
    arn: String,
    open: BTreeMap<u32, (Subscription, Value)>,
    waiting: VecDeque<u32>,
    seen: Vec<u32>,
    by_shard: BTreeMap<u32, Vec<String>>,
    /// How often each shard was named as a child, by how many parents it has.
    named: BTreeMap<u32, usize>,
}

impl Reader {
    fn begin(&mut self) {
        let start = json!({ "Type": "TRIM_HORIZON" });
        while let Some(shard) = self.waiting.pop_front() {
            let subscription = subscribe(&self.kinesis, &self.arn, ShardId(shard), &start).unwrap();
            self.open.insert(shard, (subscription, start.clone()));
        }
    }

    /// Takes what there is of a message; waits for none that is not there.
    async fn take(&mut self, shard: u32) {
        let Some((subscription, position)) = self.open.get_mut(&shard) else { return };
        let message = tokio::time::timeout(Duration::from_millis(1), next(subscription)).await;
        let Ok(Some((kind, event))) = message else { return };
        if kind == "initial-response" {
            return;
        }
        assert_eq!(kind, "SubscribeToShardEvent", "{event}");
        self.seen.extend(numbers(&event));
        let numbers = event["Records"].as_array().unwrap().iter();
        let numbers = numbers.map(|record| record["SequenceNumber"].as_str().unwrap().to_owned());
        self.by_shard.entry(shard).or_default().extend(numbers);
        match event["ChildShards"].as_array() {
            None => {
                let number = &event["ContinuationSequenceNumber"];
                *position = json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number });
            }
            Some(children) => {
                self.open.remove(&shard);
                for child in children {
                    let id: ShardId = serde_json::from_value(child["ShardId"].clone()).unwrap();
                    self.waiting.push_back(id.0);
                    *self.named.entry(id.0).or_default() += 1;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is put, split, left and taken up again: each record comes once, in the order of its shard, and children
    /// come behind their parents, by construction.
    #[test]
    fn each_record_comes_once_and_in_order(script in script()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (kinesis, stream, arn) = kinesis();
            let (open, seen) = (BTreeMap::new(), Vec::new());
            let waiting = VecDeque::from([0]);
            let (by_shard, named) = (BTreeMap::new(), BTreeMap::new());
            let mut reader = Reader { kinesis: kinesis.clone(), arn, open, waiting, seen, by_shard, named };
            reader.begin();
            let (mut given, mut splits) = (0, 0);
            for step in script {
                match step {
                    Do::Put(records) => {
                        put(&stream, given..given + records);
                        given += records;
                    }
                    Do::Split if splits < 8 => {
                        split(&kinesis, splits);
                        splits += 1;
                    }
                    Do::Split => {}
                    Do::Take(messages) => {
                        for _ in 0..messages {
                            for shard in reader.open.keys().copied().collect::<Vec<_>>() {
                                reader.take(shard).await;
                            }
                        }
                        reader.begin();
                    }
                    Do::Again => {
                        tokio::time::advance(Duration::from_secs(6)).await;
                        for (shard, (subscription, position)) in &mut reader.open {
                            let (kinesis, arn) = (&reader.kinesis, &reader.arn);
                            *subscription = subscribe(kinesis, arn, ShardId(*shard), position).unwrap();
                        }
                    }
                }
            }
            // As many rounds as there may be messages, and then one in which a repeated record would show itself.
            let mut last = false;
            for _ in 0..1000 {
                for shard in reader.open.keys().copied().collect::<Vec<_>>() {
                    reader.take(shard).await;
                }
                reader.begin();
                if last {
                    break;
                }
                last = reader.seen.len() == given as usize;
            }
            let mut seen = reader.seen.clone();
            seen.sort_unstable();
            assert_eq!(seen, (0..given).collect::<Vec<_>>(), "given = seen, each once");
            for numbers in reader.by_shard.values() {
                let number = |text: &String| (text.len(), text.clone());
                assert!(numbers.is_sorted_by(|a, b| number(a) < number(b)));
            }
            assert!(reader.named.values().all(|times| *times == 1));
        });
    }
}
