//! The consumer's event: records of a stream, or what claims to be.

use std::cell::Cell;
use std::io::{self, Write};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use consumer::{Answer, Consumer, Error, Invocation, LogPackets, Record, Settings};
use function::log::Level;
use packet::Packet;

use super::json;
use super::log::{self, Entry};

/// How many times the clock may be asked before it is late: soon, later, never.
const PATIENCE: [u64; 3] = [1, 3, u64::MAX];

/// The input is an event.
///
/// Nothing panics, not even inside; an event without a list of Kinesis records is refused and nothing logged; of all
/// others at least one record is handled, and of the handled ones each has its entry in the log, in order, with all of
/// its bytes; what is not handled is reported by the first such record's number, verbatim, or fails the invocation
/// where that has none; the summary counts every record once; every line is JSON without raw control characters. If
/// the log cannot be written, nothing is handled.
pub fn consumer_event_accounts_for_every_record(data: &[u8]) {
    let Ok(event) = str::from_utf8(data) else { return };
    let settings = Settings { log_packets: LogPackets::All, log_payload_bytes: usize::MAX };
    let mut consumer = Consumer::new(settings, Level::Info);
    let records = records(event);
    for patience in PATIENCE {
        let mut out = Vec::new();
        let answer = handle(&mut consumer, event, patience, &mut out);
        match (&records, &answer) {
            (_, Err(error @ Error::UnexpectedEvent { .. })) => {
                assert!(!is_of_kinesis(records.as_deref()), "{error}");
                assert!(out.is_empty(), "a refused event is not worked on");
            }
            (Some(records), _) => {
                let handled = check_log(records, &out);
                assert!(handled >= records.len().min(1), "no record was handled");
                assert!(handled == records.len() || patience < u64::MAX, "nothing was late");
                check_answer(records, handled, &answer);
            }
            (None, _) => panic!("an event without records was answered with {answer:?}"),
        }
    }
    let unlogged = handle(&mut consumer, event, u64::MAX, &mut Full);
    if let (Some(records), false) = (&records, matches!(unlogged, Err(Error::UnexpectedEvent { .. }))) {
        check_answer(records, 0, &unlogged);
    }
}

/// The entries of the event's one list of records.
fn records(event: &str) -> Option<Vec<&str>> {
    let members = json::object(event)?;
    let records =
        members.get("Records").filter(|records| members.count("Records") == 1 && *records != "null")?;
    json::list(records)
}

/// Whether the records are those of a stream: there are none, or there is an object with a `kinesis`.
fn is_of_kinesis(records: Option<&[&str]>) -> bool {
    let is = |record: &&str| json::object(record).is_some_and(|members| members.get("kinesis").is_some());
    records.is_some_and(|records| records.is_empty() || records.iter().any(is))
}

fn handle(
    consumer: &mut Consumer,
    event: &str,
    patience: u64,
    out: &mut impl Write,
) -> Result<Answer, Error> {
    let invocation = Invocation {
        function_name: "consumer",
        request_id: "r-1",
        now: "2026-11-20T10:00:00Z".parse().expect("a time"),
        work_time: Duration::from_millis(patience),
    };
    let asked = Cell::new(0);
    let clock = || {
        asked.set(asked.get() + 1);
        Duration::from_millis(asked.get())
    };
    consumer.handle(event, &invocation, clock, out)
}

/// Holds that the log has an entry for each of the first records, or for each user record in them, and says how many
/// records that are.
fn check_log(records: &[&str], out: &[u8]) -> usize {
    let (entries, summary) = log::read(out);
    let mut left = entries.iter().peekable();
    let (mut handled, mut aggregates, mut user_records) = (0, 0, 0);
    for record in records {
        if left.peek().is_none() {
            break;
        }
        handled += 1;
        let data = data(record);
        let aggregate = data.as_deref().and_then(|data| kpl::decode(data).ok().flatten());
        let mut next = || left.next().unwrap_or_else(|| panic!("half an aggregate is logged: {record}"));
        match aggregate {
            None => check_entry(record, data.as_deref(), next()),
            Some(aggregate) => {
                aggregates += 1;
                for user in aggregate.records() {
                    user_records += 1;
                    check_entry(record, Some(user.data), next());
                }
            }
        }
    }
    assert!(left.next().is_none(), "more entries than records");
    let summary = summary.expect("every invocation has a summary");
    let of = |message: &str| entries.iter().filter(|entry| entry.message() == message).count();
    assert_eq!(summary.count("Records"), records.len());
    assert_eq!((summary.count("Aggregates"), summary.count("UserRecords")), (aggregates, user_records));
    assert_eq!(summary.count("Packets"), of("packet"));
    assert_eq!(summary.count("NotPackets"), of("record") + of("broken aggregate"));
    assert_eq!(summary.count("BrokenAggregates"), of("broken aggregate"));
    assert_eq!(summary.count("Undecodable"), of("undecodable"));
    assert_eq!(summary.count("Reported"), records.len() - handled);
    handled
}

/// Holds that an entry is that of a record, or of a user record in it; `data` is what it holds.
fn check_entry(record: &str, data: Option<&[u8]>, entry: &Entry<'_>) {
    let contents = entry.contents.as_deref().expect("what is handled is logged");
    let reason = entry.text("reason");
    assert!(!reason.as_ref().is_some_and(|reason| reason.starts_with("panicked")), "{reason:?}: {record}");
    let number = sequence_number(record);
    if let (Some(shown), Some(number)) = (entry.text("sequenceNumber"), number) {
        assert!(number.starts_with(&shown), "{shown} is not of the record {number}");
    }
    if entry.message() == "undecodable" {
        assert!(reason.is_some(), "an undecodable record has a reason");
        return assert_eq!(contents, record.as_bytes(), "an undecodable record is logged whole");
    }
    let data = data.unwrap_or_else(|| panic!("{} without data: {record}", entry.message()));
    if entry.message() == "broken aggregate" {
        assert!(kpl::decode(data).is_err() && reason.is_some(), "a broken aggregate has a reason");
        return assert_eq!(contents, data, "a broken aggregate is logged whole");
    }
    if entry.message() == "record" || entry.is_in_parts() {
        return assert_eq!(contents, data, "a record is logged whole");
    }
    assert_eq!(entry.message(), "packet");
    let packet = str::from_utf8(data).ok().and_then(|text| Packet::parse(text).ok());
    let packet = packet.unwrap_or_else(|| panic!("no packet: {record}"));
    match packet.payload(&mut Vec::new()) {
        Ok(payload) => assert_eq!((contents, reason), (payload, None), "a packet's payload is logged"),
        Err(error) => {
            let reason = reason.expect("a packet that does not decode has a reason");
            assert!(error.to_string().starts_with(&reason), "{reason:?} is not {error}");
            let as_it_came = packet.data().unwrap_or_else(|_| packet.raw().into());
            assert_eq!(contents, as_it_came.as_bytes(), "what does not decode is logged as it came");
        }
    }
}

/// Holds that the answer is the place of the first record that was not handled.
fn check_answer(records: &[&str], handled: usize, answer: &Result<Answer, Error>) {
    let first = records.get(handled);
    // What cannot be read at all cannot be reported.
    let readable = |record: &&&str| Record::parse(record).sequence_number.is_some();
    let number = first.filter(readable).and_then(|record| sequence_number(record));
    match (first, number.filter(|number| !number.is_empty())) {
        (None, _) => assert_eq!(*answer, Ok(Answer::Done)),
        (Some(_), Some(number)) => assert_eq!(*answer, Ok(Answer::From(number))),
        (Some(_), None) => {
            assert_eq!(*answer, Err(Error::Unreportable { index: handled, records: records.len() }));
        }
    }
    if let Ok(answer) = answer {
        let written = serde_json::to_string(answer).expect("an answer is JSON");
        let named = json::object(&written).and_then(|answer| json::list(answer.get("batchItemFailures")?));
        let named = named.unwrap_or_else(|| panic!("no list of failures: {written}"));
        assert_eq!(named.len(), usize::from(first.is_some()), "one identifier at most");
    }
}

fn sequence_number(record: &str) -> Option<String> {
    json::object(json::object(record)?.get("kinesis")?)?.text("sequenceNumber")
}

/// The record's data, decoded.
fn data(record: &str) -> Option<Vec<u8>> {
    let data = json::object(json::object(record)?.get("kinesis")?)?.text("data")?;
    BASE64_STANDARD.decode(data).ok()
}

/// A log that takes nothing.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
