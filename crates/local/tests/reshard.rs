//! Splits and merges while eight writers write: a reader that follows `ChildShards` and the mapping each get every
//! record once, and those of a key in order.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "of what the tests share, each needs a part")]

mod http;
mod odd;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use local::mapping::{self, Event, Lineage, Mapping, Settings, Source, Unreadable};
use local::stream::limits::RESHARD_MS;
use local::stream::{Config, Entry, Kinesis, Position, Read, ShardId, Stream, hash_key};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

const WRITERS: usize = 8;
const REQUESTS: usize = 50;
const ENTRIES: usize = 6;
const TOTAL: usize = WRITERS * REQUESTS * ENTRIES;

/// A record, as the tests know it: its partition key and its number among those of its writer.
type Known = (String, usize);

fn known(record: &Value, key: &str, data: &str) -> Known {
    let data = record[data].as_str().unwrap();
    (record[key].as_str().unwrap().to_owned(), data.parse().unwrap())
}

#[track_caller]
fn check_all_once_and_in_order(got: &[Known]) {
    let mut keys: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (key, number) in got {
        keys.entry(key).or_default().push(*number);
    }
    let mut count = 0;
    for (key, numbers) in keys {
        let of_key: usize = key.split_once('-').unwrap().1.parse().unwrap();
        let want: Vec<_> = (0..REQUESTS * ENTRIES).filter(|number| number % 3 == of_key).collect();
        assert_eq!(numbers, want, "key {key}");
        count += numbers.len();
    }
    assert_eq!(count, TOTAL);
}

async fn call(port: u16, operation: &str, body: Value) -> Value {
    let headers =
        format!("Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n");
    let answer = http::exchange(port, "POST /", &headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{operation} {body}: {}", answer.body);
    answer.body
}

async fn write(port: u16, writer: usize) {
    for request in 0..REQUESTS {
        let numbers = request * ENTRIES..(request + 1) * ENTRIES;
        // Twelve digits are base64 as they stand.
        let records: Vec<_> = numbers
            .map(|n| json!({ "Data": format!("{n:012}"), "PartitionKey": format!("{writer}-{}", n % 3) }))
            .collect();
        let answer = call(port, "PutRecords", json!({ "StreamName": "s", "Records": records })).await;
        assert_eq!(answer["FailedRecordCount"], 0);
    }
}

/// Reads from the shards that were there first to those that are open now, each child behind all its parents.
async fn follow(port: u16) -> Vec<Known> {
    let list = json!({ "StreamName": "s", "ShardFilter": { "Type": "AT_TRIM_HORIZON" } });
    let first = call(port, "ListShards", list).await;
    let mut ready: Vec<_> =
        first["Shards"].as_array().unwrap().iter().map(|s| s["ShardId"].clone()).collect();
    let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
    let (mut got, mut reading) = (Vec::new(), Vec::new());
    let mut rounds_left = 2; // once all is there, to see that nothing comes again
    while rounds_left > 0 {
        for shard in ready.drain(..).filter(|shard| begun.insert(shard.to_string())) {
            let start = json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
            let answer = call(port, "GetShardIterator", start).await;
            reading.push((shard, answer["ShardIterator"].clone()));
        }
        for (shard, iterator) in std::mem::take(&mut reading) {
            let answer = call(port, "GetRecords", json!({ "ShardIterator": iterator, "Limit": 7 })).await;
            got.extend(
                answer["Records"].as_array().unwrap().iter().map(|r| known(r, "PartitionKey", "Data")),
            );
            if let Some(next) = answer.get("NextShardIterator") {
                reading.push((shard, next.clone()));
                continue;
            }
            ended.insert(shard.to_string());
            for child in answer["ChildShards"].as_array().unwrap() {
                let parents = child["ParentShards"].as_array().unwrap();
                if parents.iter().all(|parent| ended.contains(&parent.to_string())) {
                    ready.push(child["ShardId"].clone());
                }
            }
        }
        rounds_left -= usize::from(got.len() >= TOTAL);
    }
    got
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Changes the shards between the first record and the last one; gives the operations that were done.
async fn reshard(kinesis: Kinesis, stream: Stream) -> usize {
    let half = |shard: &local::stream::Shard| {
        let (start, end) = (*shard.hash_range.start(), *shard.hash_range.end());
        start + (end - start) / 2
    };
    let mut done = 0;
    for step in 0..12 {
        let mut seen = stream.version();
        while stream.counts().appended < (step as u64 + 1) * TOTAL as u64 / 13 {
            seen = stream.changed(seen).await;
        }
        let mut open = stream.shards();
        open.retain(|shard| !shard.closed());
        open.sort_by_key(|shard| *shard.hash_range.start());
        let (operation, body) = match step % 4 {
            0 | 1 => {
                let shard = &open[step % open.len()];
                (
                    "SplitShard",
                    json!({ "ShardToSplit": shard.id, "NewStartingHashKey": half(shard).to_string() }),
                )
            }
            2 => ("MergeShards", json!({ "ShardToMerge": open[0].id, "AdjacentShardToMerge": open[1].id })),
            _ => (
                "UpdateShardCount",
                json!({ "TargetShardCount": 2 + step % 3, "ScalingType": "UNIFORM_SCALING" }),
            ),
        };
        let mut body = body;
        body["StreamName"] = "s".into();
        // Each a while after the one before, so that the stream is active again.
        let at_ms = now_ms() + (step as u64 + 1) * RESHARD_MS * 2;
        let target = format!("Kinesis_20131202.{operation}");
        kinesis.call(&target, body.to_string().as_bytes(), at_ms).unwrap();
        done += 1;
    }
    done
}

/// Starts a mapping; gives what it tells of and what ends it.
fn map<S: Source>(
    source: S,
    odd: &odd::Odd,
    settings: Settings,
) -> (watch::Receiver<u64>, impl AsyncFnOnce()) {
    let (handled, count) = watch::channel(0);
    let listener: mapping::Listener = Arc::new(move |event| match event {
        Event::Handled(more) => handled.send_modify(|all| *all += more),
        other => panic!("{other:?}"),
    });
    let (stop, stopped) = watch::channel(false);
    let (mapping, function) = (Mapping::new(settings), odd.function.clone());
    let run = async move { mapping.run(Arc::new(source), function, None, listener, stopped).await };
    let task = tokio::spawn(run);
    let end = async move || {
        stop.send(true).unwrap();
        let rests = task.await.unwrap();
        assert!(rests.iter().all(|rest| rest.records.is_empty()));
    };
    (count, end)
}

/// What the function was given, in order.
fn given(odd: &odd::Odd) -> Vec<Known> {
    let log = odd.log();
    let events =
        log.lines().map(|line| serde_json::from_str::<Value>(line.strip_prefix("got ").unwrap()).unwrap());
    let records = events.flat_map(|event| event["Records"].as_array().unwrap().clone());
    records.map(|record| known(&record["kinesis"], "partitionKey", "data")).collect()
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_the_mapping_get_every_record_once_and_in_order_through_splits_and_merges() {
    let kinesis = Kinesis::new(Config::local());
    kinesis.create_stream("s", 2, false).unwrap();
    let stream = kinesis.stream("s").unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(kinesis.clone().serve(listener, std::future::pending()));
    let odd = odd::odd(1, &[]); // one at a time: the order of its log is the order of the invocations
    let (mut handled, end) = map(stream.clone(), &odd, Settings::default());
    let reader = tokio::spawn(follow(port));
    let resharder = tokio::spawn(reshard(kinesis, stream.clone()));
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(port, writer))).collect();
    for writer in writers {
        timeout(LONG, writer).await.unwrap().unwrap();
    }
    assert_eq!(timeout(LONG, resharder).await.unwrap().unwrap(), 12);
    check_all_once_and_in_order(&timeout(LONG, reader).await.expect("the reader misses records").unwrap());
    timeout(LONG, handled.wait_for(|all| *all >= TOTAL as u64))
        .await
        .expect("the mapping misses records")
        .unwrap();
    end().await;
    odd.function.stop().await;
    check_all_once_and_in_order(&given(&odd));
    assert_eq!((stream.counts().appended, stream.counts().trimmed), (TOTAL as u64, 0));
    server.abort();
}

/// A stream, and for how many shards it was asked where to begin.
struct Watched {
    stream: Stream,
    fixed: watch::Sender<usize>,
}

impl Source for Watched {
    fn arn(&self) -> String {
        Source::arn(&self.stream)
    }

    async fn shards(&self) -> Result<Vec<Lineage>, Unreadable> {
        Source::shards(&self.stream).await
    }

    async fn fix(&self, shard: ShardId, from: Position) -> Result<Position, Unreadable> {
        let fixed = Source::fix(&self.stream, shard, from).await;
        self.fixed.send_modify(|count| *count += 1);
        fixed
    }

    async fn read(&self, shard: ShardId, from: Position, most: usize) -> Result<Read, Unreadable> {
        // A parent that is slow to end holds up no child.
        self.fixed.subscribe().wait_for(|count| *count >= 3).await.unwrap();
        Source::read(&self.stream, shard, from, most).await
    }
}

#[tokio::test]
async fn a_mapping_from_the_latest_record_begins_there_in_every_shard_and_reads_later_children_whole() {
    let kinesis = Kinesis::new(Config::local());
    kinesis.create_stream("s", 1, false).unwrap();
    let stream = kinesis.stream("s").unwrap();
    let put = |number: usize| {
        // Twelve digits are nine bytes in base64.
        let data = base64::engine::general_purpose::STANDARD.decode(format!("{number:012}")).unwrap();
        let entry = Entry { partition_key: "0-0".into(), hash_key: hash_key("0-0"), data: data.into() };
        assert!(stream.put(vec![entry]).unwrap()[0].is_ok());
    };
    let split = |shard: u32, at: u128, ms: u64| {
        let shard = format!("shardId-{shard:012}");
        let body = json!({ "StreamName": "s", "ShardToSplit": shard, "NewStartingHashKey": at.to_string() });
        kinesis.call("Kinesis_20131202.SplitShard", body.to_string().as_bytes(), now_ms() + ms).unwrap();
    };
    put(1);
    split(0, 1 << 127, 0);
    put(2);
    let odd = odd::odd(1, &[]);
    let (fixed, mut places) = watch::channel(0);
    let settings = Settings { from: Position::Latest, ..Settings::default() };
    let (mut handled, end) = map(Watched { stream: stream.clone(), fixed }, &odd, settings);
    timeout(LONG, places.wait_for(|count| *count == 3)).await.expect("a shard waits for its parent").unwrap();
    put(3);
    let child = if hash_key("0-0") < 1 << 127 { 1 } else { 2 };
    split(child, hash_key("0-0"), 1000);
    put(4);
    timeout(LONG, handled.wait_for(|all| *all >= 2)).await.unwrap().unwrap();
    end().await;
    odd.function.stop().await;
    assert_eq!(given(&odd), [("0-0".into(), 3), ("0-0".into(), 4)]);
}
