use std::cell::Cell;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::LogPackets;

const NOW: &str = "2026-11-20T10:00:00.500Z";
/// Two and a half seconds before `NOW`.
const ARRIVAL: &str = "1795168798.0";
const ALL: Settings = Settings { log_packets: LogPackets::All, log_payload_bytes: usize::MAX };

/// An entry of `Records` with this number and data.
fn entry(number: usize, data: &[u8]) -> String {
    format!(
        r#"{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"key","sequenceNumber":"{number:056}","data":"{}","approximateArrivalTimestamp":{ARRIVAL}}},"eventSource":"aws:kinesis","eventID":"shardId-000000000006:{number:056}","eventName":"aws:kinesis:record"}}"#,
        STANDARD.encode(data)
    )
}

fn event<S: AsRef<str>>(entries: &[S]) -> String {
    let entries: Vec<_> = entries.iter().map(AsRef::as_ref).collect();
    format!(r#"{{"Records":[{}]}}"#, entries.join(","))
}

fn invocation(work_time: Duration) -> Invocation<'static> {
    Invocation { function_name: "consumer", request_id: "r-1", now: NOW.parse().unwrap(), work_time }
}

/// What an invocation came to: its answer, and its lines as a reader of the log sees them.
struct Outcome {
    answer: Result<Answer, Error>,
    lines: Vec<Value>,
}

impl Outcome {
    /// Handles an event in which time for work runs out after `in_time` records.
    fn of(settings: Settings, level: Level, event: &str, in_time: usize) -> Self {
        let asked = Cell::new(0);
        let elapsed = || {
            asked.set(asked.get() + 1);
            Duration::from_secs(u64::from(asked.get() >= in_time))
        };
        let mut out = Vec::new();
        let mut consumer = Consumer::new(settings, level);
        let answer = consumer.handle(event, &invocation(Duration::from_secs(1)), elapsed, &mut out);
        let log = String::from_utf8(out).unwrap();
        assert!(!log.chars().any(|c| c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))));
        let lines = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { answer, lines }
    }

    fn plain(event: &str) -> Self {
        Self::of(ALL, Level::Info, event, usize::MAX)
    }

    fn summary(&self) -> &Value {
        self.lines.last().unwrap()
    }

    /// Each record given is accounted for exactly once: by the summary, and by the line that it has, or by the
    /// answer, which begins at the first one not handled.
    #[track_caller]
    fn accounts_for(&self, given: usize) {
        let count = |name: &str| usize::try_from(self.summary()[name].as_u64().unwrap()).unwrap();
        let handled = count("Packets") + count("NotPackets") + count("Undecodable");
        let in_aggregates = count("UserRecords") - count("Aggregates");
        assert_eq!((count("Records"), handled + count("Reported") - in_aggregates), (given, given));
        match &self.answer {
            Ok(Answer::Done) => assert_eq!(count("Reported"), 0),
            Ok(Answer::From(number)) => assert_eq!(number.parse::<usize>().unwrap(), handled),
            Err(Error::Unreportable { index, records }) => assert_eq!((*index, *records), (handled, given)),
            Err(other) => panic!("{other}"),
        }
    }
}

/// The one line of a record, without what is in every line.
#[track_caller]
fn check(entry: &str, level: &str, message: &str, want: Value) {
    let outcome = Outcome::plain(&event(&[entry]));
    if outcome.lines.iter().all(|line| line["message"] != "undecodable") {
        assert_eq!(outcome.answer, Ok(Answer::Done));
    }
    outcome.accounts_for(1);
    let [line, _] = &outcome.lines[..] else { panic!("one line and a summary, not {:?}", outcome.lines) };
    let mut line = line.clone();
    let members = line.as_object_mut().unwrap();
    assert_eq!(members.remove("timestamp"), Some(json!(NOW)));
    assert_eq!(
        (members.remove("level"), members.remove("message")),
        (Some(json!(level)), Some(json!(message)))
    );
    assert_eq!(line, want);
}

/// As `check`, for a record of shard 6 with this data, without what is then always the same.
#[track_caller]
fn check_data(data: &[u8], level: &str, message: &str, mut want: Value) {
    let always = json!({
        "shard": "shardId-000000000006", "sequenceNumber": format!("{:056}", 0), "partitionKey": "key",
        "arrival": "2026-11-20T09:59:58.000Z", "age": 2500,
    });
    want.as_object_mut().unwrap().extend(always.as_object().unwrap().clone());
    check(&entry(0, data), level, message, want);
}

#[test]
fn a_packet_is_one_line() {
    let packet =
        br#"{"Tag":"a1","Remote":{"IpAddress":"203.0.113.5","Port":51234},"Data":"SGVsbG8=","New":[1e999]}"#;
    let want = json!({"remote": "203.0.113.5:51234", "tag": "a1", "size": 5, "text": "Hello"});
    check_data(packet, "INFO", "packet", want);
    let packet =
        br#"{"Tag":7,"Remote":{"IpAddress":"2001:db8::1","Port":5},"Formatter":"hex","Data":"00FF"}"#;
    let want = json!({"remote": "[2001:db8::1]:5", "tag": "7", "size": 2, "base64": "AP8="});
    check_data(packet, "INFO", "packet", want);
    check_data(br#"{"Data":""}"#, "INFO", "packet", json!({"size": 0, "text": ""}));
    check_data(br#"{"Data":"eA==","Tag":null}"#, "INFO", "packet", json!({"size": 1, "text": "x"}));
    check_data(
        br#" {"Data":"x\u2028\u0085","Formatter":"utf8","Tag":"\u001b[31m\ud800"}"#,
        "INFO",
        "packet",
        json!({"size": 6, "base64": "eOKAqMKF", "tag": r#""\u001b[31m\ud800""#}),
    );
}

#[test]
fn a_packet_that_cannot_be_read_is_shown_as_it_came() {
    check_data(
        br#"{"Tag":"a","Data":"not base64"}"#,
        "WARN",
        "packet",
        json!({"tag": "a", "size": 10, "text": "not base64", "reason": "Data is not base64: ' ' at offset 3"}),
    );
    check_data(
        br#"{"Data":"x","Formatter":"rot13"}"#,
        "WARN",
        "packet",
        json!({"size": 1, "text": "x", "reason": "unknown Formatter `rot13`, expected base64, hex, ascii, utf8 or coap"}),
    );
    check_data(
        br#"{"Data":[5]}"#,
        "WARN",
        "packet",
        json!({"size": 12, "text": "{\"Data\":[5]}", "reason": "Data must be a string, found an array"}),
    );
}

#[test]
fn what_is_no_packet_is_a_record() {
    check_data(
        b"Hello, Lambda CLI World",
        "INFO",
        "record",
        json!({"size": 23, "text": "Hello, Lambda CLI World"}),
    );
    check_data(b"", "INFO", "record", json!({"size": 0, "text": ""}));
    check_data(b"\xf3\x89\x9a\xc1", "INFO", "record", json!({"size": 4, "base64": "84mawQ=="}));
    check_data(b"{\"a\":1}", "INFO", "record", json!({"size": 7, "text": "{\"a\":1}"}));
    check_data(b"[{\"Data\":\"\"}]", "INFO", "record", json!({"size": 13, "text": "[{\"Data\":\"\"}]"}));
    check_data(b"{\"Data\":null}", "INFO", "record", json!({"size": 13, "text": "{\"Data\":null}"}));
    check_data(b"{\"Data\":\"\"} x", "INFO", "record", json!({"size": 13, "text": "{\"Data\":\"\"} x"}));
}

#[test]
fn what_a_record_lacks_its_line_lacks_too() {
    check(
        r#"{"kinesis":{"partitionKey":null,"sequenceNumber":"7","data":"eA=="},"eventID":"s:7"}"#,
        "INFO",
        "record",
        json!({"shard": "s", "sequenceNumber": "7", "size": 1, "text": "x"}),
    );
    check(r#"{"kinesis":{"data":"eA=="}}"#, "INFO", "record", json!({"size": 1, "text": "x"}));
    check(
        r#"{"kinesis":{"data":"","approximateArrivalTimestamp":"soon","encryptionType":"ROT13"}}"#,
        "INFO",
        "record",
        json!({"size": 0, "text": ""}),
    );
    check(
        r#"{"kinesis":{"data":"","approximateArrivalTimestamp":1795168801.25}}"#,
        "INFO",
        "record",
        json!({"size": 0, "text": "", "arrival": "2026-11-20T10:00:01.250Z", "age": 0}),
    );
}

#[track_caller]
fn check_undecodable(entry: &str, reason: &str) {
    // Beside a good record, without which the event would not be one of Kinesis.
    let outcome = Outcome::plain(&event(&[entry, r#"{"kinesis":{"data":""}}"#]));
    assert_eq!(outcome.answer, Ok(Answer::Done));
    outcome.accounts_for(2);
    let [line, neighbour, _] = &outcome.lines[..] else { panic!("{:?}", outcome.lines) };
    assert_eq!((&line["level"], &line["message"]), (&json!("ERROR"), &json!("undecodable")));
    assert_eq!((&line["text"], &line["reason"]), (&json!(entry), &json!(reason)));
    assert_eq!(neighbour["message"], "record");
}

#[test]
fn an_undecodable_entry_is_logged_whole_with_the_reason_and_its_neighbour_too() {
    check_undecodable("null", "a record must be an object, found null");
    check_undecodable("[ 1,\n\t\"\u{2028}\" ]", "a record must be an object, found a list");
    check_undecodable(r#"{"messageId":"1"}"#, "the record has no kinesis");
    check_undecodable(r#"{"kinesis":{}}"#, "the record has no data");
    check_undecodable(r#"{"kinesis":{"data":"*"}}"#, "data is not base64: Invalid symbol 42, offset 0.");
    check_undecodable(
        r#"{"kinesis":{"data":"","sequenceNumber":1}}"#,
        "sequenceNumber must be a string, found a number",
    );
}

#[test]
fn an_undecodable_entry_shows_its_place_as_far_as_it_is_known() {
    let entry = r#"{"kinesis":{"sequenceNumber":"7","partitionKey":"k","data":5},"eventID":"s:7"}"#;
    let reason = "data must be a string, found a number";
    let want =
        json!({"shard": "s", "sequenceNumber": "7", "partitionKey": "k", "text": entry, "reason": reason});
    check(entry, "ERROR", "undecodable", want);
}

#[test]
fn a_reason_that_quotes_what_it_found_is_cut() {
    let packet = format!(r#"{{"Data":"x","Formatter":"{}"}}"#, "x".repeat(10_000));
    let outcome = Outcome::plain(&event(&[&entry(0, packet.as_bytes())]));
    assert_eq!(outcome.lines[0]["reason"].as_str().unwrap().len(), 500);
    assert_eq!(outcome.lines[0]["text"], "x");
    outcome.accounts_for(1);
}

#[track_caller]
fn check_refused(event: &str, found: &str) {
    let mut out = Vec::new();
    let mut consumer = Consumer::new(ALL, Level::Info);
    let answer = consumer.handle(event, &invocation(Duration::MAX), || Duration::ZERO, &mut out);
    assert_eq!(answer, Err(Error::UnexpectedEvent { found: found.to_owned() }));
    assert!(out.is_empty());
}

#[test]
fn an_event_that_is_not_of_kinesis_is_refused_by_its_keys() {
    check_refused("{}", "an object with no keys");
    check_refused("null", "null");
    check_refused("[]", "a list");
    check_refused("5", "a number");
    check_refused(r#"{"Messages":[]}"#, "an object with the keys Messages");
    let numbers = |count: usize| format!(r#"{{"Records":[{}1]}}"#, "1,".repeat(count - 1));
    check_refused(&numbers(MOST_RECORDS), "Records of which the first is a number");
    check_refused(&numbers(MOST_RECORDS + 1), "more than 10000 of them");
    check_refused(&numbers(3_000_000), "more than 10000 of them");
    check_refused(r#"{"records":[]}"#, "an object with the keys records");
    check_refused(r#"{"Records":null,"x":1}"#, "an object with the keys Records, x");
    check_refused(r#"{"Records":{"0":{"kinesis":{}}}}"#, "an object with the keys Records");
    check_refused(
        r#"{"Records":[{"messageId":"1","body":"kinesis"}]}"#,
        "Records of which the first is an object with the keys messageId, body",
    );
    check_refused(
        r#"{"Records":[{"messageId":"1","eventID":"x:1"},{"messageId":"2","eventID":"x:2"},{"messageId":"3","eventID":"x:3"}]}"#,
        "Records of which the first is an object with the keys messageId, eventID",
    );
    check_refused(r#"{"Records":[null]}"#, "Records of which the first is null");
}

#[test]
fn an_event_without_records_is_done() {
    let outcome = Outcome::plain(r#"{"Records":[],"window":{}}"#);
    assert_eq!(outcome.answer, Ok(Answer::Done));
    outcome.accounts_for(0);
}

#[test]
fn the_summary_counts_and_measures() {
    let mut consumer = Consumer::new(ALL, Level::Fatal);
    let event = event(&[&entry(0, br#"{"Data":"eA=="}"#), &entry(1, b"text"), "{}"]);
    for cold_start in [1, 0] {
        let mut out = Vec::new();
        let elapsed = || Duration::from_millis(12);
        let answer = consumer.handle(&event, &invocation(Duration::MAX), elapsed, &mut out);
        assert_eq!(answer, Ok(Answer::Done));
        let lines: Vec<Value> =
            String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // At FATAL what is left is what no other place will have, and the summary.
        let [record, undecodable, summary] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&record["level"], &record["message"]), (&json!("FATAL"), &json!("record")));
        assert_eq!(
            (&undecodable["level"], &undecodable["message"]),
            (&json!("FATAL"), &json!("undecodable"))
        );
        let mut summary = summary.clone();
        assert_eq!(summary["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap().len(), 12);
        summary.as_object_mut().unwrap().remove("_aws");
        let want = json!({
            "timestamp": NOW, "level": "FATAL", "message": "summary", "requestId": "r-1", "FunctionName": "consumer",
            "shard": "shardId-000000000006", "Records": 3, "Aggregates": 0, "UserRecords": 0, "BrokenAggregates": 0, "Packets": 1, "NotPackets": 1, "Undecodable": 1, "Reported": 0,
            "Bytes": 19, "MaxAge": 2500, "Milliseconds": 12, "ColdStart": cold_start,
        });
        assert_eq!(summary, want);
    }
}

#[track_caller]
fn check_late(entries: &[String], in_time: usize, want: Result<Answer, Error>, lines: usize) {
    let outcome = Outcome::of(ALL, Level::Info, &event(entries), in_time);
    assert_eq!((outcome.answer.clone(), outcome.lines.len()), (want, lines + 1));
    outcome.accounts_for(entries.len());
}

#[test]
fn near_the_deadline_the_first_record_not_handled_is_reported_and_nothing_behind_it_handled() {
    let entries: Vec<_> = (0..4).map(|number| entry(number, b"x")).collect();
    let from = |number: usize| Ok(Answer::From(format!("{number:056}")));
    check_late(&entries, 0, from(1), 1); // one is handled whatever the time
    check_late(&entries, 1, from(1), 1);
    check_late(&entries, 3, from(3), 3);
    check_late(&entries, 4, Ok(Answer::Done), 4);
    let odd = |record: &str| [entry(0, b"x"), record.to_owned()];
    let unreportable = Err(Error::Unreportable { index: 1, records: 2 });
    check_late(&odd("null"), 0, unreportable.clone(), 1);
    check_late(&odd(r#"{"kinesis":{"sequenceNumber":""}}"#), 0, unreportable.clone(), 1);
    check_late(&odd(r#"{"kinesis":{"sequenceNumber":5}}"#), 0, unreportable, 1);
    check_late(
        &odd(r#"{"kinesis":{"sequenceNumber":"001","data":5}}"#),
        0,
        Ok(Answer::From("001".into())),
        1,
    );
}

/// Takes some bytes, then no more.
struct Full {
    room: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[track_caller]
fn check_unwritten(entries: &[String], want: Result<Answer, Error>) {
    for room in [0, 500] {
        let mut consumer = Consumer::new(ALL, Level::Info);
        let elapsed = || Duration::ZERO;
        let got = consumer.handle(&event(entries), &invocation(Duration::MAX), elapsed, &mut Full { room });
        assert_eq!(got, want);
    }
}

#[test]
fn when_the_log_cannot_be_written_no_record_counts_as_handled() {
    check_unwritten(&[entry(3, b"x"), entry(4, b"x")], Ok(Answer::From(format!("{:056}", 3))));
    check_unwritten(&[r#"{"kinesis":{}}"#.to_owned()], Err(Error::Unreportable { index: 0, records: 1 }));
    check_unwritten(&[], Ok(Answer::Done));
}

fn aggregate(data: &[&[u8]]) -> Vec<u8> {
    let mut aggregator = kpl::Aggregator::new();
    for (number, data) in data.iter().enumerate() {
        let partition_key = &format!("device-{number}");
        aggregator.push(&kpl::UserRecord { partition_key, explicit_hash_key: Some(7), data }).unwrap();
    }
    aggregator.finish().unwrap()
}

#[test]
fn an_aggregate_is_a_line_for_each_user_record_with_its_own_key_and_place() {
    let data = aggregate(&[br#"{"Data":"eA=="}"#, b"no packet", br#"{"Data":"*"}"#]);
    let outcome = Outcome::plain(&event(&[entry(0, b"before"), entry(1, &data), entry(2, b"behind")]));
    outcome.accounts_for(3);
    assert_eq!(outcome.answer, Ok(Answer::Done));
    let place = |line: &Value| (line["sequenceNumber"].clone(), line["subSequenceNumber"].clone());
    let number = |number: usize| json!(format!("{number:056}"));
    let places: Vec<_> = outcome.lines[..5].iter().map(place).collect();
    let of_the_aggregate = (0..3).map(|sub| (number(1), json!(sub)));
    let want: Vec<_> = std::iter::once((number(0), Value::Null))
        .chain(of_the_aggregate)
        .chain([(number(2), Value::Null)])
        .collect();
    assert_eq!(places, want);
    let keys: Vec<_> =
        outcome.lines[1..4].iter().map(|line| line["partitionKey"].as_str().unwrap()).collect();
    assert_eq!(keys, ["device-0", "device-1", "device-2"]);
    let messages: Vec<_> = outcome.lines[1..4].iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["packet", "record", "packet"]);
    let summary = outcome.summary();
    let counts =
        ["Records", "Aggregates", "UserRecords", "BrokenAggregates", "Packets", "NotPackets", "Bytes"];
    let counts: Vec<_> = counts.iter().map(|name| summary[name].as_u64().unwrap()).collect();
    assert_eq!(counts, [3, 1, 3, 0, 2, 3, 12 + data.len() as u64]);
}

/// It is logged whole, with the reason, and its neighbours as always.
#[track_caller]
fn check_broken(data: &[u8], reason: &str) {
    let outcome = Outcome::plain(&event(&[entry(0, data), entry(1, b"behind")]));
    outcome.accounts_for(2);
    assert_eq!(outcome.answer, Ok(Answer::Done));
    let [broken, behind, summary] = &outcome.lines[..] else { panic!("{:?}", outcome.lines) };
    assert_eq!((&broken["level"], &broken["message"]), (&json!("ERROR"), &json!("broken aggregate")));
    assert!(broken["reason"].as_str().unwrap().contains(reason), "{broken}");
    assert_eq!(STANDARD.decode(broken["base64"].as_str().unwrap()).unwrap(), data, "whole");
    assert_eq!(behind["message"], "record");
    assert_eq!((&summary["BrokenAggregates"], &summary["NotPackets"]), (&json!(1), &json!(2)));
}

#[test]
fn a_broken_aggregate_is_logged_whole_and_blocks_nothing() {
    let good = aggregate(&[br#"{"Data":"eA=="}"#, b"x"]);
    let mut flipped = good.clone();
    flipped[10] ^= 1;
    check_broken(&flipped, "the aggregate ends in MD5");
    check_broken(&good[..good.len() - 1], "the aggregate ends in MD5");
    check_broken(&kpl::MAGIC, "an aggregate has at least 20 bytes, found 4");
}

#[test]
fn an_aggregate_within_an_aggregate_is_data() {
    let inner = aggregate(&[br#"{"Data":"eA=="}"#]);
    let outcome = Outcome::plain(&event(&[entry(0, &aggregate(&[&inner]))]));
    outcome.accounts_for(1);
    assert_eq!(outcome.lines[0]["message"], "record");
    assert_eq!(STANDARD.decode(outcome.lines[0]["base64"].as_str().unwrap()).unwrap(), inner);
}

#[test]
fn a_panic_in_one_record_is_that_records_affair() {
    let entries: Vec<_> = (0..3).map(|number| entry(number, b"x")).collect();
    let event = event(&entries);
    let records = records(&event, &mut Reader::default()).unwrap();
    let mut lines = Lines::new(Level::Info);
    let now = NOW.parse().unwrap();
    lines.begin(now, "r-1");
    let mut seen = 0;
    let mut out = Vec::new();
    let mut log = Log::new(&mut lines, &mut out);
    let tally = each(
        &records,
        now,
        &mut log,
        || false,
        |_, log| {
            seen += 1;
            log.lines.push(Level::Info, "begun", |_| ());
            assert!(seen != 2, "number {seen} is too much");
            Ok(Tally { packets: 1, bytes: 1, ..Tally::default() })
        },
    );
    assert_eq!((tally.packets, tally.undecodable, tally.bytes, tally.handled), (2, 1, 2, 3));
    assert_eq!(log.finish().unwrap(), 3);
    let lines: Vec<Value> = out.split(|byte| *byte == b'\n').flat_map(serde_json::from_slice).collect();
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["begun", "undecodable", "begun"]);
    assert_eq!(lines[1]["reason"], "panicked: number 2 is too much");
    assert_eq!(lines[1]["text"], entries[1]);
}

#[track_caller]
fn check_shaped(settings: Settings, level: Level, packets: usize, others: usize) {
    let mut entries: Vec<_> = (0..100).map(|number| entry(number, br#"{"Data":"eA=="}"#)).collect();
    entries.push(entry(100, b"no packet"));
    entries.push(entry(101, br#"{"Data":"*"}"#));
    entries.push("null".to_owned());
    let outcome = Outcome::of(settings, level, &event(&entries), usize::MAX);
    outcome.accounts_for(103);
    assert_eq!(outcome.summary()["Packets"], 101);
    let readable = outcome.lines.iter().filter(|line| line["text"] == "x").count();
    assert_eq!((readable, outcome.lines.len() - readable - 1), (packets, others));
}

#[test]
fn settings_and_level_shape_the_lines_of_readable_packets_alone() {
    check_shaped(ALL, Level::Info, 100, 3);
    check_shaped(Settings { log_packets: LogPackets::None, ..ALL }, Level::Info, 0, 3);
    check_shaped(Settings { log_packets: "1/1000000".parse().unwrap(), ..ALL }, Level::Info, 0, 3);
    check_shaped(ALL, Level::Warn, 0, 3);
    check_shaped(ALL, Level::Fatal, 0, 3);
}

#[track_caller]
fn check_cut(data: &str, format: &str, limit: usize, want: Value) {
    let packet = json!({"Data": data, "Formatter": format}).to_string();
    let settings = Settings { log_payload_bytes: limit, ..ALL };
    let outcome = Outcome::of(settings, Level::Info, &event(&[entry(0, packet.as_bytes())]), usize::MAX);
    let line = &outcome.lines[0];
    let got: serde_json::Map<_, _> = ["size", "text", "base64", "truncated"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), line.get(name)?.clone())))
        .collect();
    assert_eq!(Value::Object(got), want);
}

#[test]
fn a_payload_is_cut_where_the_setting_says_and_never_within_a_character() {
    check_cut("abc", "utf8", 3, json!({"size": 3, "text": "abc"}));
    check_cut("abc", "utf8", 2, json!({"size": 3, "text": "ab", "truncated": true}));
    check_cut("aé", "utf8", 2, json!({"size": 3, "text": "a", "truncated": true}));
    check_cut("abc", "utf8", 0, json!({"size": 3, "text": "", "truncated": true}));
    check_cut("00FF00", "hex", 2, json!({"size": 3, "base64": "AP8=", "truncated": true}));
}

/// The bytes of an entry in parts, checked to be complete.
fn together(lines: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        assert_eq!((&line["part"], &line["of"]), (&json!(index + 1), &json!(lines.len())));
        assert_eq!(line["id"], lines[0]["id"]);
        bytes.extend(STANDARD.decode(line["base64"].as_str().unwrap()).unwrap());
    }
    bytes
}

#[track_caller]
fn check_parts(data: &str, message: &str) {
    let outcome = Outcome::plain(&event(&[entry(0, data.as_bytes())]));
    outcome.accounts_for(1);
    let parts = &outcome.lines[..outcome.lines.len() - 1];
    assert!(parts.len() > 1);
    assert!(parts.iter().all(|line| line["message"] == message && line["partitionKey"] == "key"));
    assert!(together(parts) == data.as_bytes(), "the parts do not make the record");
}

#[test]
fn what_is_too_long_for_a_line_comes_whole_in_parts() {
    let long = "x".repeat(1 << 20);
    check_parts(&long, "record");
    check_parts(&json!({"Data": long, "Formatter": "utf8", "Tag": "t"}).to_string(), "packet");
    check_parts(&json!({"Data": "", "Tag": long}).to_string(), "packet");
    check_parts(&json!({"Data": long, "Formatter": long}).to_string(), "packet");
    let odd = json!({"kinesis": {"data": 5, "sequenceNumber": long, "partitionKey": long}}).to_string();
    let outcome = Outcome::plain(&event(&[&odd]));
    assert!(together(&outcome.lines[..outcome.lines.len() - 1]) == odd.as_bytes());
}

/// An entry as a hostile world might have it; the number is its place in the batch.
fn any_entry() -> impl Strategy<Value = (usize, Vec<u8>)> {
    (
        0..8_usize,
        prop_oneof![
            any::<String>().prop_map(|data| json!({"Data": data, "Formatter": "utf8", "Tag": data})
                .to_string()
                .into_bytes()),
            prop::collection::vec(any::<u8>(), 0..60),
            any::<String>().prop_map(String::into_bytes),
            any::<String>().prop_map(|data| json!({"Data": data}).to_string().into_bytes()),
        ],
    )
}

/// Damages an entry in one of the ways that must not matter to its neighbours.
fn damaged(entry: String, how: usize) -> String {
    match how {
        1 => "null".to_owned(),
        2 => entry.replace("\"key\"", "null"),
        3 => entry.replace("\"data\":\"", "\"data\":\"*"),
        4 => entry.replace(ARRIVAL, "\"garbage\""),
        5 => entry.replace("kinesis", "other"),
        _ => entry,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_record_is_logged_or_reported_exactly_once(
        entries in prop::collection::vec(any_entry(), 1..12),
        in_time in 0..15_usize,
    ) {
        let mut entries: Vec<_> =
            entries.iter().enumerate().map(|(n, (how, data))| damaged(entry(n, data), *how)).collect();
        let given = entries.len() + 1;
        entries.push(entry(given - 1, b"good")); // so that the event is one of Kinesis
        let outcome = Outcome::of(ALL, Level::Info, &event(&entries), in_time);
        outcome.accounts_for(given);
        // Every record handled has its line, in order, and nothing behind the first one not handled has any.
        let handled = given - usize::try_from(outcome.summary()["Reported"].as_u64().unwrap()).unwrap();
        prop_assert_eq!(handled, in_time.clamp(1, given));
        prop_assert_eq!(outcome.lines.len(), handled + 1);
        for (line, entry) in outcome.lines.iter().zip(&entries).take(handled) {
            match line["sequenceNumber"].as_str() {
                Some(number) => prop_assert!(entry.contains(number)),
                None => prop_assert_eq!(&line["text"], entry),
            }
        }
    }

    #[test]
    fn any_text_as_event_is_answered_or_refused(event in r#"(\{"Records":\[)?[ -~]{0,40}(\]\})?"#) {
        let mut consumer = Consumer::new(ALL, Level::Info);
        let answer = consumer.handle(&event, &invocation(Duration::MAX), || Duration::ZERO, &mut Vec::new());
        prop_assert!(answer.is_err() || answer == Ok(Answer::Done));
    }
}

#[test]
fn every_sample_event_is_handled_or_refused_as_its_name_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/consumer");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let event = std::fs::read_to_string(&path).unwrap();
        count += 1;
        if name.starts_with("refused-") {
            let answer = Consumer::new(ALL, Level::Info).handle(
                &event,
                &invocation(Duration::MAX),
                || Duration::ZERO,
                &mut Vec::new(),
            );
            assert!(matches!(answer, Err(Error::UnexpectedEvent { .. })), "{name}: {answer:?}");
            continue;
        }
        let outcome = Outcome::plain(&event);
        assert_eq!(outcome.answer, Ok(Answer::Done), "{name}");
        let records = serde_json::from_str::<Value>(&event).unwrap()["Records"].as_array().unwrap().len();
        outcome.accounts_for(records);
        let count = |name: &str| usize::try_from(outcome.summary()[name].as_u64().unwrap()).unwrap();
        let lines = records - count("Aggregates") + count("UserRecords") + 1;
        assert_eq!((outcome.lines.len(), count("BrokenAggregates")), (lines, 0), "{name}");
        assert_eq!(count("Aggregates") > 0, name.contains("aggregate"), "{name}");
    }
    assert!(count > 0, "no samples in {folder}");
}

mod combinations;
mod large;
