//! A producer over a scripted stream, invoked once, and what holds whatever the event was.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use function::log::Level;
use function::settings::Reader;
use packet::PARTITION_KEY_CHARS;
use producer::{Error, Invocation, Producer, Settings};
use writer::{Answer, Class, Failure, PutRecords, REQUEST_ENTRIES, Record, SHORTEST_ATTEMPT, Stored};

use super::{json, log};

/// The settings under which every event is tried: as in the template, and with everything set.
const SETTINGS: [&[(&str, &str)]; 2] = [
    &[("STREAM_NAME", "packets"), ("PARTITION_KEY_EXPRESSION", "[0:4]")],
    &[
        ("STREAM_NAME", "packets"),
        ("PARTITION_KEY_EXPRESSION", "Data#/id ?? Remote | [2:] ?? Tag"),
        ("PARTITION_KEY_FORMATTER", "utf8"),
        ("REPLY_EXPRESSION", "[0:2] ?? 0x06"),
        ("MAX_RECORD_BYTES", "600"),
        ("ORDERING", "strict"),
    ],
];

/// What one invocation gave.
pub(crate) struct Run {
    /// The answer's JSON.
    pub(crate) answer: Result<String, Error>,
    /// The records that the stream took; a record's sequence number is its place, counted from 1.
    pub(crate) stored: Vec<String>,
    /// The packets that the log names as undelivered.
    pub(crate) undelivered: Vec<String>,
}

impl Run {
    /// Invokes a producer under each of the settings.
    pub(crate) fn each(event: &str) -> impl Iterator<Item = Self> {
        SETTINGS.into_iter().map(move |settings| Self::with(settings, event))
    }

    /// Invokes a producer. Whatever the event: the summary counts every packet once, what it calls acknowledged is in
    /// the stream and what it calls undelivered in the log, whole; an invocation fails for want of a packet or for
    /// packets that it has named.
    fn with(settings: &'static [(&str, &str)], event: &str) -> Self {
        fastrand::seed(1); // keys and pauses are the same when an input is tried again
        let find = |name: &str| settings.iter().find(|(known, _)| *known == name);
        let mut reader = Reader::new(|name| find(name).map(|(_, value)| (*value).to_owned()));
        let settings = Settings::read(&mut reader);
        let settings = reader.finish(settings).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let replies = settings.reply.is_some();

        let stream = Scripted::default();
        let producer = Producer::new(settings, &stream, Level::Info);
        let invocation = Invocation {
            function_name: "producer",
            request_id: "r-1",
            now: "2026-11-20T10:00:00Z".parse().expect("a time"),
            // What fails is not tried again: no time is left to wait for it.
            work_time: SHORTEST_ATTEMPT + Duration::from_millis(20),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let mut out = Vec::new();
        let answer = runtime.block_on(producer.handle(event, &invocation, &mut out));
        let answer = answer.map(|answer| serde_json::to_string(&answer).expect("an answer is JSON"));

        let (entries, summary) = log::read(&out);
        let stored = stream.stored.take();
        let undelivered: Vec<_> = entries
            .into_iter()
            .map(|entry| {
                assert_eq!(entry.message(), "undelivered");
                String::from_utf8(entry.contents.expect("an undelivered packet is logged")).expect("JSON")
            })
            .collect();
        let count = |name| summary.as_ref().map_or(0, |summary| summary.count(name));
        assert_eq!(count("Packets"), stored.len() + undelivered.len(), "packets are stored or undelivered");
        assert_eq!(count("Acknowledged"), stored.len(), "acknowledged is stored");
        assert_eq!(count("Undelivered"), undelivered.len(), "undelivered is in the log");
        match &answer {
            Ok(_) => {}
            Err(Error::UndeliveredPackets { undelivered: named, given, .. }) => {
                assert!(*named > 0, "an invocation that fails names what it lost");
                assert_eq!((*named, *given), (undelivered.len(), stored.len() + undelivered.len()));
            }
            Err(_) => assert!(summary.is_none(), "a refused event is not worked on"),
        }
        let run = Self { answer, stored, undelivered };
        assert!(replies || count("Replies") == 0, "replies are not asked for");
        run
    }

    /// Holds that these packets are what the stream and the log have, each once.
    pub(crate) fn check_given(&self, given: &[&str]) {
        let mut given: Vec<_> = given.iter().map(|packet| packet.trim_ascii()).collect();
        let mut found: Vec<_> = self.stored.iter().chain(&self.undelivered).map(String::as_str).collect();
        given.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, given, "given is stored or undelivered, each packet once");
    }

    /// Holds that each of the `Replies` goes to an acknowledged packet.
    pub(crate) fn check_replies(&self, replies: &str) {
        let mut tags: Vec<_> = self.stored.iter().map(|packet| json::tag(packet)).collect();
        for reply in json::list(replies).unwrap_or_else(|| panic!("no list: {replies}")) {
            let reply = json::object(reply).unwrap_or_else(|| panic!("no reply: {reply}"));
            let tag = reply.get("Tag").unwrap_or("null");
            let at = tags.iter().position(|known| *known == tag);
            tags.swap_remove(at.unwrap_or_else(|| panic!("a reply to {tag}, which is not acknowledged")));
        }
    }

    /// Holds that the `Records` of an answer say of each packet given, in order, what became of it.
    pub(crate) fn check_records(&self, records: &str, given: &[&str]) {
        let records = json::list(records).unwrap_or_else(|| panic!("no list: {records}"));
        assert_eq!(records.len(), given.len(), "a record of the answer for each packet");
        let mut numbers = Vec::new();
        let mut undelivered = self.undelivered.iter();
        for (record, packet) in records.into_iter().zip(given) {
            let record = json::object(record).unwrap_or_else(|| panic!("no record of an answer: {record}"));
            assert_eq!(&record["Tag"], json::tag(packet));
            match record.text("SequenceNumber") {
                Some(number) => {
                    assert!(record.text("ShardId").is_some() && record.get("ErrorCode").is_none());
                    let place: usize = number.parse().expect("a number that the stream gave");
                    assert_eq!(self.stored[place - 1], packet.trim_ascii(), "the place of the packet");
                    numbers.push(place);
                }
                None => {
                    assert!(record.text("ErrorCode").is_some_and(|code| !code.is_empty()));
                    assert!(record.text("ErrorMessage").is_some());
                    assert_eq!(
                        undelivered.next().map(String::as_str),
                        Some(*packet),
                        "the packet in the log"
                    );
                }
            }
        }
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(1..=self.stored.len()), "every record stored is named once");
    }
}

/// A stream that keeps what it takes. What it does with a record is told by the record's bytes, so that libFuzzer can
/// choose.
#[derive(Default)]
struct Scripted {
    stored: RefCell<Vec<String>>,
    broke: Cell<bool>,
}

enum Fate {
    Taken,
    /// Throttled alone, its neighbours are taken.
    Throttled,
    /// Its whole request is refused as invalid.
    Invalid,
    /// Access to the stream is denied from here on.
    Fatal,
    /// The connection breaks, once, before anything is stored.
    Broken,
}

fn fate(record: &Record<'_>) -> Fate {
    match record.data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) {
        0..16 => Fate::Throttled,
        16..32 => Fate::Invalid,
        32..40 => Fate::Fatal,
        40..56 => Fate::Broken,
        56.. => Fate::Taken,
    }
}

fn failure(class: Class, code: &str) -> Failure {
    Failure { class, code: code.into(), message: "the script says so".into(), may_be_stored: false }
}

impl PutRecords for &Scripted {
    async fn put_records(&self, entries: &[&Record<'_>]) -> Answer {
        assert!((1..=REQUEST_ENTRIES).contains(&entries.len()), "a request of {} entries", entries.len());
        for entry in entries {
            let characters = entry.partition_key.chars().count();
            assert!((1..=PARTITION_KEY_CHARS).contains(&characters), "{:?}", entry.partition_key);
            match fate(entry) {
                Fate::Invalid => return Err(failure(Class::Refused, "InvalidArgumentException")),
                Fate::Fatal => return Err(failure(Class::Fatal, "AccessDeniedException")),
                Fate::Broken if !self.broke.replace(true) => return Err(failure(Class::Broken, "Broken")),
                _ => {}
            }
        }
        let store = |entry: &&Record<'_>| match fate(entry) {
            Fate::Throttled => Err(failure(Class::Throttled, "ProvisionedThroughputExceededException")),
            _ => {
                let mut stored = self.stored.borrow_mut();
                stored.push(String::from_utf8(entry.data.to_vec()).expect("a packet is text"));
                let sequence_number = stored.len().to_string();
                Ok(Stored { shard_id: "shardId-000000000000".into(), sequence_number })
            }
        };
        Ok(entries.iter().map(store).collect())
    }
}
