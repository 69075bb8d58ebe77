//! The mapping between a stream and a function that is a real process.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

#[allow(dead_code)] // here it gets records only
mod odd;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::mapping::{self, Bucket, Destination, Event, Kept, Listener, Rest, Settings};
use local::runtime::Function;
use local::stream::{Config, Entry, Kinesis, Position, Stream, hash_key};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use odd::odd;

/// Longest wait of a test for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mapping under way, and what it told.
struct Mapping {
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
        let run = mapping::run(source, function.clone(), settings, destination, listener, stopped);
        Self { events, stop, rests: tokio::spawn(run) }
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
