//! The stream of a run, over the Kinesis API as anybody may use it: read to its end, and resharded while it is written.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::rivulet::{PATIENCE, Up, post};

/// A record as it stands in the stream.
pub(crate) struct Stored {
    pub(crate) shard: String,
    pub(crate) sequence_number: String,
    pub(crate) partition_key: String,
    /// What is in it: one packet, or those of an aggregate.
    pub(crate) packets: Vec<Vec<u8>>,
}

/// Changes that were made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) splits: u32,
    pub(crate) merges: u32,
    pub(crate) resizes: u32,
}

/// A stream's API.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    address: SocketAddr,
    name: String,
}

/// An open shard and its part of the hash space, both ends included.
struct Open {
    id: String,
    low: u128,
    high: u128,
}

impl Stream {
    pub(crate) fn of(up: &Up) -> Self {
        let address = up.stream.split_once("http://").unwrap().1.trim_end_matches(')').parse().unwrap();
        Self { address, name: up.stream.split_whitespace().next().unwrap().to_owned() }
    }

    /// Every record, shard by shard, parents before children.
    pub(crate) fn read(&self) -> Vec<Stored> {
        let mut stored = Vec::new();
        for shard in self.call("ListShards", json!({}))["Shards"].as_array().unwrap() {
            let shard = shard["ShardId"].as_str().unwrap();
            let ask = json!({ "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
            let mut iterator = self.call("GetShardIterator", ask)["ShardIterator"].clone();
            // A closed shard has an end.
            while !iterator.is_null() {
                let mut got = self.call("GetRecords", json!({ "ShardIterator": iterator }));
                let records = got["Records"].as_array().unwrap();
                if records.is_empty() && got["MillisBehindLatest"] == 0 {
                    break;
                }
                stored.extend(records.iter().map(|record| Stored::of(shard, record)));
                iterator = got["NextShardIterator"].take();
            }
        }
        stored
    }

    /// Splits, merges and resizes by turns, one change for each word that comes; says how many there were.
    fn change_by_turns(&self, words: &Receiver<()>) -> Changes {
        let mut changes = Changes::default();
        let mut random = fastrand::Rng::with_seed(7);
        for (turn, ()) in words.iter().enumerate() {
            let open = self.open();
            match turn % 3 {
                0 => {
                    let Open { id, low, high } = &open[random.usize(..open.len())];
                    // Anywhere: a bucket of keys is cut in two by most.
                    let place = random.u128(low + 1..=*high);
                    let body = json!({ "ShardToSplit": id, "NewStartingHashKey": place.to_string() });
                    self.call("SplitShard", body);
                    changes.splits += 1;
                }
                1 => {
                    let left = random.usize(..open.len() - 1);
                    let body = json!({
                        "ShardToMerge": open[left].id, "AdjacentShardToMerge": open[left + 1].id,
                    });
                    self.call("MergeShards", body);
                    changes.merges += 1;
                }
                _ => {
                    let count = if open.len() > 4 { open.len().div_ceil(2) } else { open.len() * 2 };
                    let body = json!({ "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING" });
                    self.call("UpdateShardCount", body);
                    changes.resizes += 1;
                }
            }
            self.wait_until_active();
        }
        changes
    }

    /// Its open shards, in the order of the hash space.
    fn open(&self) -> Vec<Open> {
        let shards = self.call("ListShards", json!({}));
        let open = shards["Shards"].as_array().unwrap().iter();
        let mut open: Vec<_> = open
            .filter(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null())
            .map(|shard| {
                let end = |name: &str| shard["HashKeyRange"][name].as_str().unwrap().parse().unwrap();
                let id = shard["ShardId"].as_str().unwrap().to_owned();
                Open { id, low: end("StartingHashKey"), high: end("EndingHashKey") }
            })
            .collect();
        open.sort_unstable_by_key(|shard| shard.low);
        open
    }

    fn wait_until_active(&self) {
        let deadline = Instant::now() + PATIENCE;
        let status = || self.call("DescribeStreamSummary", json!({}))["StreamDescriptionSummary"].clone();
        while status()["StreamStatus"] != "ACTIVE" {
            assert!(Instant::now() < deadline, "the stream does not become active");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn call(&self, operation: &str, mut body: Value) -> Value {
        // What goes on from an iterator names no stream.
        if body["ShardIterator"].is_null() {
            body["StreamName"] = json!(self.name);
        }
        body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let target = format!("Kinesis_20131202.{operation}");
        let headers = [("X-Amz-Target", target.as_str()), ("Content-Type", "application/x-amz-json-1.1")];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, answer) = post(self.address, &headers, body.to_string().as_bytes());
            if answer["__type"] == "ProvisionedThroughputExceededException" && Instant::now() < deadline {
                // Under --throttle a shard gives so much in a second, as the real one.
                std::thread::sleep(Duration::from_millis(200));
                continue;
            }
            assert_eq!(status, 200, "{operation} {body}: {answer}");
            return answer;
        }
    }
}

impl Stored {
    fn of(shard: &str, record: &Value) -> Self {
        let data = BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
        let packets = match kpl::decode(&data).unwrap() {
            Some(aggregate) => aggregate.records().map(|user| user.data.to_vec()).collect(),
            None => vec![data],
        };
        Self {
            shard: shard.to_owned(),
            sequence_number: record["SequenceNumber"].as_str().unwrap().to_owned(),
            partition_key: record["PartitionKey"].as_str().unwrap().to_owned(),
            packets,
        }
    }
}

/// Somebody who changes the shards of a stream while others write and read it.
pub(crate) struct Resharder {
    words: SyncSender<()>,
    thread: JoinHandle<Changes>,
}

impl Resharder {
    pub(crate) fn of(stream: Stream) -> Self {
        let (words, receiver) = sync_channel(0);
        Self { words, thread: std::thread::spawn(move || stream.change_by_turns(&receiver)) }
    }

    /// Asks for one more change, unless one is under way.
    pub(crate) fn change(&self) {
        // A thread that has ended panicked, and `stop` says so.
        _ = self.words.try_send(());
    }

    /// Waits for the change under way; says how many there were.
    pub(crate) fn stop(self) -> Changes {
        drop(self.words);
        self.thread.join().unwrap()
    }
}
