//! The mapping between a stream and a function that is a real process.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

#[allow(dead_code)] // here it gets records only
mod odd;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::mapping::{
    self, Bucket, Destination, Event, Kept, Listener, Progress, Rest, Settings, State, UnderWay,
};
use local::runtime::Function;
use local::stream::{Config, Entry, Kinesis, Position, ShardId, Stream, hash_key};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use odd::odd;

/// Longest wait of a test for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mapping under way, and what it told.
struct Mapping {
    mapping: mapping::Mapping,
    events: watch::Receiver<Vec<Event>>,
    stop: watch::Sender<bool>,
    rests: JoinHandle<Vec<Rest>>,
}

impl Mapping {
    fn start(
        stream: &Stream,
        function: &Function,
        settings: Settings,
        destination: Option<Destination>,
    ) -> Self {
        let (tell, events) = watch::channel(Vec::new());
        let listener: Listener = Arc::new(move |event| tell.send_modify(|events| events.push(event)));
        let (stop, stopped) = watch::channel(false);
        let source = Arc::new(stream.clone());
        let (mapping, function) = (mapping::Mapping::new(settings), function.clone());
        let run = {
            let mapping = mapping.clone();
            async move { mapping.run(source, function, destination, listener, stopped).await }
        };
        Self { mapping, events, stop, rests: tokio::spawn(run) }
    }

    /// Waits until so many records are handled or given up, then stops; gives where it stopped in the one shard.
    async fn until(&mut self, ended: u64) -> Rest {
        let count = |events: &Vec<Event>| {
            let ended = events.iter().map(|event| match event {
                Event::Handled(records) | Event::Discarded(records, ..) => *records,
                Event::Trimmed(_) | Event::Trouble(_) => 0,
            });
            ended.sum::<u64>()
        };
        let reached = self.events.wait_for(|events| count(events) >= ended);
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert_eq!(count(&reached.expect("it takes too long").unwrap()), ended);
        self.stop.send(true).unwrap();
        let rests = (&mut self.rests).await.unwrap();
        assert_eq!(count(&self.events.borrow()), ended, "nothing is told twice");
        let [rest] = &rests[..] else { panic!("{} rests of one shard", rests.len()) };
        rest.clone()
    }
}

/// A stream of one shard that holds these.
fn stream(records: &[(&str, &'static str)]) -> Stream {
    let kinesis = Kinesis::new(Config::local());
    kinesis.create_stream("s", 1, false).unwrap();
    let stream = kinesis.stream("s").unwrap();
    let entry = |&(key, data): &(&str, &'static str)| Entry {
        partition_key: key.into(),
        hash_key: hash_key(key),
        data: data.into(),
    };
    let stored = stream.put(records.iter().map(entry).collect()).unwrap();
    assert_eq!(stored.len(), records.len());
    stream
}

/// Splits the one shard in the middle; gives all shards.
fn kinesis_split(kinesis: &Kinesis, stream: &Stream) -> Vec<ShardId> {
    let body = serde_json::json!({
        "StreamName": "s", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": (1_u128 << 127).to_string(),
    });
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    kinesis.call("Kinesis_20131202.SplitShard", body.to_string().as_bytes(), now).unwrap();
    stream.shards().into_iter().map(|shard| shard.id).collect()
}

/// A record that is never answered holds up its key alone, and at the end the rest is what was not handled, no record
/// more: `k1` is in the first lane of two, `k0` in the second.
#[tokio::test]
async fn the_rest_is_exactly_what_is_not_handled() {
    let mut records = vec![("k1", "hang"), ("k1", "behind it")];
    records.extend([("k0", "fine"); 20]);
    records.push(("k1", "also behind it"));
    let (stream, odd) = (stream(&records), odd(2, &[]));
    let settings = Settings { batch_size: 2, parallelization_factor: 2, ..Settings::default() };
    let rest = Mapping::start(&stream, &odd.function, settings, None).until(20).await;
    let mut data: Vec<_> = rest.records.iter().map(|record| &record.data[..]).collect();
    let shard = stream.shards()[0].id;
    let unread = stream.read(&shard, &rest.next.unwrap(), 100, usize::MAX).unwrap().records;
    data.extend(unread.iter().map(|record| &record.data[..]));
    assert_eq!(data, [&b"hang"[..], b"behind it", b"also behind it"]);
    assert_eq!(rest.checkpoint(), Some(Position::At(rest.records[0].sequence_number)));
    odd.function.stop().await;
}

#[tokio::test]
async fn what_is_given_up_is_in_the_bucket_and_the_next_record_goes_on() {
    let (stream, odd) = (stream(&[("k", "fine"), ("k", "error"), ("k", "fine")]), odd(1, &[]));
    let objects = Arc::new(Mutex::new(Vec::new()));
    let bucket: Bucket = {
        let objects = Arc::clone(&objects);
        Arc::new(move |key, text| {
            objects.lock().unwrap().push(text.to_owned());
            Ok(key.to_owned())
        })
    };
    let settings = Settings { attempts: Some(1), bisect: true, ..Settings::default() };
    let mut mapping = Mapping::start(&stream, &odd.function, settings, Some(Destination::Bucket(bucket)));
    let rest = mapping.until(3).await;
    assert!(rest.records.is_empty() && rest.checkpoint().is_some());
    let discarded: Vec<_> = {
        let events = mapping.events.borrow();
        events.iter().filter(|event| matches!(event, Event::Discarded(..))).cloned().collect()
    };
    let [Event::Discarded(1, why, Kept::At(place))] = &discarded[..] else { panic!("{discarded:?}") };
    assert!(why.contains("RetryAttemptsExhausted in shardId-000000000000"), "{why}");
    assert!(place.starts_with("aws/lambda/"), "{place}");
    let objects = objects.lock().unwrap().clone();
    let [object] = &objects[..] else { panic!("{} objects", objects.len()) };
    let object: Value = serde_json::from_str(object).unwrap();
    assert_eq!(object["responseContext"]["functionError"], "Unhandled");
    assert_eq!(object["requestContext"]["approximateInvokeCount"], 2);
    let payload: Value = serde_json::from_str(object["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["Records"][0]["kinesis"]["data"], "ZXJyb3I=");
    assert_eq!(payload["Records"].as_array().unwrap().len(), 1);
    odd.function.stop().await;
}

/// "UpdateEventSourceMapping", `Enabled`: to pause polling and invocation; the position is kept.
#[tokio::test]
async fn a_mapping_that_was_disabled_goes_on_where_it_was_and_misses_nothing() {
    let (stream, odd) = (stream(&[("k", "fine"); 5]), odd(1, &[]));
    let settings = Settings { batch_size: 2, from: Position::Latest, enabled: false, ..Settings::default() };
    let mut started = Mapping::start(&stream, &odd.function, settings, None);
    let mapping = started.mapping.clone();
    until("shard", &|| !mapping.progress().is_empty()).await;
    // What was there before is behind it; what comes now is read once it is enabled.
    let shard = stream.shards()[0].id;
    let entry =
        |data: &'static str| Entry { partition_key: "k".into(), hash_key: hash_key("k"), data: data.into() };
    let put = |data: &[&'static str]| stream.put(data.iter().map(|data| entry(data)).collect()).unwrap();
    assert_eq!(mapping.state(), State::Disabled);
    put(&["fine", "fine", "hang", "fine"]);
    mapping.enable();
    assert_eq!(mapping.state(), State::Enabled);
    until("hanging batch", &|| mapping.progress()[0].handled == 2 && odd.log().contains("aGFuZw==")).await;
    mapping.disable();
    assert_eq!(mapping.state(), State::Disabling, "the batch under way comes to its answer");
    let progress = &mapping.progress()[0];
    let batch = UnderWay { records: 2, attempt: 1, bisected: false };
    assert_eq!((progress.shard, progress.waiting, &progress.under_way), (shard, 0, &vec![batch]));
    assert!(progress.iterator_age.is_some());
    until("answer", &|| mapping.state() == State::Disabled).await;
    let progress = &mapping.progress()[0];
    assert_eq!((progress.failures, progress.waiting, progress.under_way.len()), (1, 2, 0));
    put(&["fine"]);
    let rest = started.until(2).await;
    assert_eq!(rest.records.len(), 2, "what it holds, and the position behind it");
    let unread = stream.read(&shard, &rest.next.unwrap(), 100, usize::MAX).unwrap().records;
    assert_eq!(unread.len(), 1);
    assert_eq!(mapping.progress(), []);
    odd.function.stop().await;
}

/// "CreateEventSourceMapping", `StartingPosition`: the oldest record, or the first one of a time; what is put after the
/// mapping began is in the test above.
#[tokio::test]
async fn reading_begins_where_the_starting_position_says() {
    let (stream, odd) = (stream(&[("k", "early"); 3]), odd(1, &[]));
    let shard = stream.shards()[0].id;
    let arrival = |records: usize| {
        let read = stream.read(&shard, &Position::TrimHorizon, 100, usize::MAX).unwrap();
        read.records[records - 1].arrival_ms
    };
    let early = arrival(3);
    while u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap() <= early {
        tokio::task::yield_now().await;
    }
    let entry = Entry { partition_key: "k".into(), hash_key: hash_key("k"), data: "late".into() };
    stream.put(vec![entry]).unwrap();
    for (from, want) in [(Position::TrimHorizon, 4), (Position::AtTimestamp(arrival(4)), 1)] {
        let settings = Settings { from, ..Settings::default() };
        let rest = Mapping::start(&stream, &odd.function, settings, None).until(want).await;
        assert!(rest.records.is_empty(), "{from:?}");
    }
    assert_eq!(odd.log().matches("ZWFybHk=").count(), 3, "{}", odd.log());
    odd.function.stop().await;
}

/// The account is whole although the mapping never came to the children of a split.
#[tokio::test]
async fn a_shard_whose_turn_never_came_is_among_the_rests() {
    let kinesis = Kinesis::new(Config::local());
    kinesis.create_stream("s", 1, false).unwrap();
    let (stream, odd) = (kinesis.stream("s").unwrap(), odd(1, &[]));
    let settings = Settings { enabled: false, ..Settings::default() };
    let started = Mapping::start(&stream, &odd.function, settings, None);
    let mapping = started.mapping.clone();
    until("shard", &|| !mapping.progress().is_empty()).await;
    let put = |from: u32| {
        let entry = |number| Entry::new(&format!("key-{number}"), format!("record {number:02}"));
        stream.put((from..from + 20).map(entry).collect()).unwrap();
    };
    put(0);
    let shards = kinesis_split(&kinesis, &stream);
    put(20);
    started.stop.send(true).unwrap();
    let rests = started.rests.await.unwrap();
    let mut known: Vec<_> = rests.iter().map(|rest| rest.shard).collect();
    known.sort_unstable();
    assert_eq!(known, shards);
    let unread =
        |rest: &Rest| stream.read(&rest.shard, &rest.next.unwrap(), 100, usize::MAX).unwrap().records;
    let mut left: Vec<_> = rests.iter().flat_map(unread).map(|record| record.data).collect();
    left.sort_unstable();
    assert!(left.iter().eq((0..40).map(|number| format!("record {number:02}")).collect::<Vec<_>>().iter()));
}

/// A mapping that is disabled reads nothing, so retention comes before it: in the shard that it began with, in one that
/// waits for its parent, and in one that came since.
#[tokio::test]
async fn records_that_are_trimmed_before_a_shard_was_read_are_told_of() {
    for from in [Position::TrimHorizon, Position::AtTimestamp(0), Position::Latest] {
        for split_first in [true, false] {
            check_trimmed(from, split_first).await;
        }
    }
}

async fn check_trimmed(from: Position, split_first: bool) {
    let kinesis = Kinesis::new(Config { retention: Some(Duration::from_millis(20)), ..Config::local() });
    kinesis.create_stream("s", 1, false).unwrap();
    let (stream, odd) = (kinesis.stream("s").unwrap(), odd(1, &[]));
    if split_first {
        kinesis_split(&kinesis, &stream);
    }
    let settings = Settings { enabled: false, from, ..Settings::default() };
    let mut started = Mapping::start(&stream, &odd.function, settings, None);
    let mapping = started.mapping.clone();
    let is_fixed =
        || matches!(mapping.progress().first(), Some(Progress { next: Some(Position::At(_)), .. }));
    until("place to begin at", &is_fixed).await;
    if from == Position::Latest && split_first {
        until("place to begin at in each shard", &|| {
            mapping.progress().iter().filter(|shard| matches!(shard.next, Some(Position::At(_)))).count() == 3
        })
        .await;
    }
    let entries = || (0..20).map(|number| Entry::new(&format!("key-{number}"), "fine")).collect();
    stream.put(entries()).unwrap();
    if !split_first {
        kinesis_split(&kinesis, &stream);
        stream.put(entries()).unwrap();
    }
    let given = stream.counts().appended;
    until("trimming", &|| stream.counts().trimmed == given).await;
    mapping.enable();
    let told = |events: &Vec<Event>| {
        let told = events.iter().map(|event| if let Event::Trimmed(records) = event { *records } else { 0 });
        told.sum::<u64>()
    };
    let all = started.events.wait_for(|events| told(events) >= given);
    let all = tokio::time::timeout(PATIENCE, all).await;
    let told = told(&all.unwrap_or_else(|_| panic!("{from:?}, {split_first}: not all is told")).unwrap());
    assert_eq!(told, given, "{from:?}, {split_first}");
    started.stop.send(true).unwrap();
    let rests = started.rests.await.unwrap();
    assert!(rests.iter().all(|rest| rest.records.is_empty()), "{from:?}, {split_first}");
}

/// Waits until it is so.
async fn until(what: &str, is: &dyn Fn() -> bool) {
    let poll = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("no {what}"));
}

/// A record that the function never handled is at its end when its retention is.
#[tokio::test]
async fn a_record_that_outlives_its_retention_in_the_mapping_is_told_of_as_trimmed() {
    let kinesis = Kinesis::new(Config { retention: Some(Duration::from_millis(300)), ..Config::local() });
    kinesis.create_stream("s", 1, false).unwrap();
    let stream = kinesis.stream("s").unwrap();
    let entry = Entry { partition_key: "k".into(), hash_key: hash_key("k"), data: "error".into() };
    stream.put(vec![entry]).unwrap();
    let odd = odd(1, &[]);
    let mut started = Mapping::start(&stream, &odd.function, Settings::default(), None);
    let trimmed = started.events.wait_for(|events| events.contains(&Event::Trimmed(1)));
    drop(tokio::time::timeout(PATIENCE, trimmed).await.expect("it takes too long").unwrap());
    let rest = started.until(0).await;
    assert!(rest.records.is_empty());
    odd.function.stop().await;
}
