//! Whole invocations against a scripted stream: given = accounted for, exactly once, in answer, stream and log.

use std::cell::{Cell, RefCell};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use function::settings::Reader;
use packet::{KeyExpression, KeyFormatter};
use proptest::prelude::*;
use serde_json::{Value, json};
use writer::{Answer as StreamAnswer, Failure, Stored, StreamId};

use super::*;

/// A stream that keeps what it takes, and does with a request what `script` says of its records' data.
struct Scripted<F> {
    stored: RefCell<Vec<(String, String)>>,
    calls: Cell<usize>,
    script: F,
}

/// What a stream does with a request.
enum Turn {
    Silence,
    Fail(Failure),
    /// Takes each entry for which there is no failure.
    Each(Vec<Option<Failure>>),
}

impl<F: Fn(&[&str]) -> Turn> PutRecords for Scripted<F> {
    async fn put_records(&self, entries: &[&Record<'_>]) -> StreamAnswer {
        self.calls.update(|calls| calls + 1);
        let data: Vec<_> = entries.iter().map(|entry| str::from_utf8(entry.data).unwrap()).collect();
        let fates = match (self.script)(&data) {
            Turn::Silence => std::future::pending().await,
            Turn::Fail(failure) => return Err(failure),
            Turn::Each(fates) => fates,
        };
        let take = |entry: &Record<'_>, data: &str| {
            let mut stored = self.stored.borrow_mut();
            stored.push((entry.partition_key.clone(), data.to_owned()));
            let sequence_number = stored.len().to_string();
            Stored { shard_id: "shardId-000000000000".into(), sequence_number }
        };
        let results = fates.into_iter().zip(entries.iter().zip(data));
        Ok(results.map(|(fate, (entry, data))| fate.map_or_else(|| Ok(take(entry, data)), Err)).collect())
    }
}

/// Does with each record what `fate` says of it; what fails whole requests fails them for all.
fn turn(fate: impl Fn(&str) -> Option<Failure>, records: &[&str]) -> Turn {
    let fates: Vec<_> = records.iter().map(|record| fate(record)).collect();
    let whole = |failure: &&Failure| matches!(failure.class, Class::Fatal | Class::Refused);
    match fates.iter().flatten().find(whole) {
        Some(failure) => Turn::Fail(failure.clone()),
        None => Turn::Each(fates),
    }
}

fn failure(class: Class, code: &str) -> Failure {
    Failure { class, code: code.into(), message: "because".into(), may_be_stored: false }
}

fn settings(vars: &[(&str, &str)]) -> Settings {
    let find =
        |name: &str| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let mut reader =
        Reader::new(|name| find(name).or_else(|| (name == "STREAM_NAME").then(|| "packets".into())));
    let settings = Settings::read(&mut reader);
    reader.finish(settings).unwrap()
}

/// What one invocation gave.
struct Run {
    answer: Result<Value, Error>,
    stored: Vec<(String, String)>,
    queued: Vec<String>,
    log: Vec<Value>,
    /// How often the stream was asked.
    requests: usize,
    took: Duration,
}

impl Run {
    fn logged(&self, message: &str) -> Vec<&Value> {
        self.log.iter().filter(|line| line["message"] == message).collect()
    }

    fn answer(&self) -> &Value {
        self.answer.as_ref().unwrap()
    }

    /// The body of an HTTP answer.
    fn body(&self) -> Value {
        serde_json::from_str(self.answer()["body"].as_str().unwrap()).unwrap()
    }

    fn keys(&self) -> Vec<&str> {
        self.stored.iter().map(|(key, _)| key.as_str()).collect()
    }
}

/// Invokes a producer without a queue.
#[track_caller]
fn run_with(settings: Settings, event: &str, fate: impl Fn(&str) -> Option<Failure>) -> Run {
    run_queued(settings, event, fate, None)
}

/// The same with a queue.
#[track_caller]
fn run_queued(
    settings: Settings,
    event: &str,
    fate: impl Fn(&str) -> Option<Failure>,
    queue: Option<queue::Scripted>,
) -> Run {
    run_scripted(settings, event, |records| turn(&fate, records), queue)
}

/// Invokes a producer, and holds that every packet is either in the stream or undelivered, and then in the queue or
/// whole in the log; that it ends in time; and that nothing is sent any more when it has.
#[track_caller]
fn run_scripted(
    settings: Settings,
    event: &str,
    script: impl Fn(&[&str]) -> Turn,
    queue: Option<queue::Scripted>,
) -> Run {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let stream = Scripted { stored: RefCell::default(), calls: Cell::new(0), script };
    let producer = Producer::new(settings, stream, Level::Info);
    let producer = producer.with_queue(queue);
    let now = "2026-11-20T10:00:00Z".parse().unwrap();
    let work_time = Duration::from_secs(3);
    let invocation = Invocation { function_name: "producer", request_id: "r-1", now, work_time };
    let mut out = Vec::new();
    let calls = || (producer.stream.calls.get(), producer.queue.as_ref().map(queue::Scripted::calls));
    let (answer, ahead, took, sent, sent_later) = runtime.block_on(async {
        let started = tokio::time::Instant::now();
        // The producer begins by the real clock, which has not been standing since the runtime was made.
        let ahead = Instant::now().saturating_duration_since(started.into_std());
        let answer = producer.handle(event, &invocation, &mut out).await;
        let (took, sent) = (started.elapsed(), calls());
        tokio::time::sleep(Duration::from_secs(600)).await;
        (answer, ahead, took, sent, calls())
    });
    // Timers count whole milliseconds.
    assert!(took <= queue_time(work_time, 0) + ahead + Duration::from_millis(20), "it took {took:?}");
    assert_eq!(sent, sent_later, "calls after the answer");
    let answer = answer.map(|answer| serde_json::to_value(answer).unwrap());
    let log: Vec<Value> = out
        .split(|&b| b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let queued = producer.queue.map(queue::Scripted::into_messages).unwrap_or_default();
    let (requests, stored) = (producer.stream.calls.get(), producer.stream.stored.into_inner());
    let run = Run { answer, stored, queued, log, requests, took };
    if let [summary] = run.logged("summary")[..] {
        let count = |name: &str| usize::try_from(summary[name].as_u64().unwrap()).unwrap();
        assert_eq!(count("Packets"), count("Acknowledged") + count("Undelivered"));
        assert_eq!(count("Acknowledged"), run.stored.len(), "acknowledged = stored");
        let named = run.logged("undelivered");
        let whole = named.iter().filter(|line| line.get("part").is_none_or(|part| part == 1));
        assert_eq!(count("Queued"), run.queued.len(), "queued = in the queue");
        assert_eq!(
            count("Undelivered"),
            count("Queued") + whole.count(),
            "undelivered = queued + named in the log"
        );
    } else {
        assert!(run.stored.is_empty());
    }
    run
}

#[track_caller]
fn run(event: &str) -> Run {
    run_with(settings(&[("PARTITION_KEY_EXPRESSION", "[0:4]")]), event, |_| None)
}

fn batch(messages: &[&str]) -> String {
    format!(r#"{{"Messages":[{}]}}"#, messages.join(","))
}

const HELLO: &str = r#"{"Tag":"a1","Remote":{"IpAddress":"203.0.113.5","Port":1},"Data":"AQIDBGhlbGxv"}"#;

#[test]
fn a_batch_is_written_and_answered_in_the_gateways_words() {
    let run = run(&batch(&[HELLO]));
    assert_eq!(run.answer(), &json!({"Replies": []}));
    assert_eq!(run.stored, [("01020304".to_owned(), HELLO.to_owned())]);
}

#[test]
fn empty_events_are_answered_and_nothing_is_sent() {
    for event in ["{}", r#"{"Messages":null}"#, r#"{"Messages":[]}"#] {
        assert_eq!(run(event).answer(), &json!({"Replies": []}), "{event}");
    }
}

#[track_caller]
fn check_refused(event: &str, error_type: &str, want: &str) {
    let error = run(event).answer.unwrap_err();
    assert_eq!(error.error_type(), error_type);
    assert!(error.to_string().contains(want), "{error}");
}

#[test]
fn an_event_for_another_function_is_never_swallowed() {
    check_refused(r#"{"Records":[{"eventSource":"aws:sqs"}]}"#, "UnexpectedEvent", "Records");
    check_refused(r#"{"messages":[]}"#, "UnexpectedEvent", "messages");
    check_refused(r#"{"Messages":5}"#, "MessagesNotAList", "a number");
    check_refused(r#"{"Messages":{}}"#, "MessagesNotAList", "an object");
    for event in ["null", "[]", "5", "\"Messages\""] {
        check_refused(event, "UnexpectedEvent", "found");
    }
}

#[test]
fn an_event_that_could_be_read_in_two_ways_is_read_in_neither() {
    check_refused(&format!(r#"{{"Messages":[{HELLO}],"Messages":[]}}"#), "MessagesNotAList", "several");
    check_status(
        &http("POST", json!(format!(r#"{{"Messages":[{HELLO}],"Messages":[]}}"#)), false),
        None,
        400,
    );
    let run = run(r#"{"Messages":null,"Data":"AQIDBA=="}"#);
    assert_eq!(run.keys(), ["01020304"]);
}

#[test]
fn more_packets_than_are_taken_at_once_are_refused_before_one_is_written() {
    let packets = vec!["{}"; input::MOST_PACKETS + 1];
    check_refused(&batch(&packets), "TooManyPackets", "found 30001");
    check_status(&http("POST", json!(batch(&packets)), false), None, 413);
}

/// Tags as long as packets would make the account of many too large.
#[test]
fn an_answer_that_lambda_would_not_carry_is_given_in_numbers() {
    let packet = format!(r#"{{"Tag":"{}","Data":"AQIDBA=="}}"#, "t".repeat(5_000));
    let run = run(&http("POST", json!(batch(&vec![packet.as_str(); 1_000])), false));
    assert_eq!((run.stored.len(), &run.answer()["statusCode"]), (1_000, &json!(200)));
    assert_eq!(
        (&run.body()["AcknowledgedCount"], &run.body()["UndeliveredCount"]),
        (&json!(1_000), &json!(0))
    );
}

#[test]
fn an_entry_that_is_no_object_is_undelivered_and_its_neighbours_are_written() {
    let run = run(&batch(&["null", HELLO, "5", "[]", "\"x\"", "true"]));
    assert_eq!(run.stored.len(), 1);
    let error = |found| format!("NotAPacket: a packet must be a JSON object, found {found}");
    let found = ["null", "a number", "an array", "a string", "a boolean"];
    let want: Vec<_> = found.iter().map(|found| json!({"Tag": null, "Error": error(found)})).collect();
    assert_eq!(run.answer()["Undelivered"], json!(want));
    assert_eq!(run.logged("undelivered")[3]["text"], "\"x\"");
}

#[test]
fn a_packet_whose_data_is_missing_or_does_not_decode_is_written_under_a_random_key() {
    let run =
        run(&batch(&["{}", r#"{"Data":5}"#, r#"{"Data":"!"}"#, r#"{"Data":"AQ=="}"#, r#"{"Data":""}"#]));
    assert_eq!(run.answer(), &json!({"Replies": []}));
    assert!(run.keys().iter().all(|key| key.len() == 32));
    let summary = run.logged("summary")[0];
    assert_eq!((&summary["RandomKeys"], &summary["UndecodablePayloads"]), (&json!(5), &json!(3)));
}

#[test]
fn without_an_expression_every_packet_has_a_random_key() {
    let run = run_with(settings(&[]), &batch(&[HELLO, HELLO]), |_| None);
    assert!(run.keys()[0] != run.keys()[1] && run.keys()[0].len() == 32);
}

#[test]
fn the_record_is_the_packet_as_it_came() {
    let odd = r#"{ "Big":123456789012345678901234567890, "F":1.0e0,"Data":"AQID\u0042A==","A":1,"A":2,"u":"\u00e9\/" }"#;
    assert_eq!(run(&batch(&[odd])).stored[0].1, odd);
    assert_eq!(run(&format!(" {odd}\n")).stored[0].1, odd);
}

#[test]
fn a_bare_packet_is_answered_with_its_record() {
    let record = json!({"Tag": "a1", "ShardId": "shardId-000000000000", "SequenceNumber": "1"});
    assert_eq!(run(HELLO).answer(), &json!({"Replies": [], "Records": [record]}));
}

#[test]
fn a_record_that_is_too_large_blocks_nothing() {
    let settings = settings(&[("MAX_RECORD_BYTES", "200"), ("PARTITION_KEY_EXPRESSION", "[0:4]")]);
    let large = format!(r#"{{"Tag":7,"Data":"{}"}}"#, "A".repeat(200));
    let run = run_with(settings, &batch(&[HELLO, &large, HELLO]), |_| None);
    assert_eq!(run.stored.len(), 2);
    assert_eq!(run.answer()["Undelivered"][0]["Tag"], 7);
    assert_eq!(run.logged("undelivered")[0]["text"], large);
    assert_eq!(run.logged("undelivered")[0]["code"], "RecordTooLarge");
}

#[test]
fn replies_go_to_acknowledged_packets_alone_in_their_own_format() {
    let settings = settings(&[("REPLY_EXPRESSION", "[0:2]")]);
    let hex = r#"{"Tag":"h","Formatter":"hex","Data":"abcdef"}"#;
    let lost = r#"{"Tag":"lost","Data":"AQIDBGhlbGxv"}"#;
    let untagged = r#"{"Data":"AQID"}"#;
    let fate = |data: &str| data.contains("lost").then(|| failure(Class::Throttled, "Slow"));
    let run = run_with(settings, &batch(&[HELLO, hex, lost, untagged]), fate);
    let replies = json!([{"Tag": "a1", "Data": "AQI="}, {"Tag": "h", "Data": "ABCD"}]);
    assert_eq!(run.answer()["Replies"], replies);
    assert_eq!(run.answer()["Undelivered"], json!([{"Tag": "lost", "Error": "Slow: because"}]));
}

#[test]
fn two_packets_of_one_tag_are_two_records_and_two_replies() {
    let run = run_with(settings(&[("REPLY_EXPRESSION", "0x06")]), &batch(&[HELLO, HELLO]), |_| None);
    let reply = json!({"Tag": "a1", "Data": "Bg=="});
    assert_eq!((run.stored.len(), &run.answer()["Replies"]), (2, &json!([reply, reply])));
}

/// Which callers are failed, so that they give the packets again.
#[track_caller]
fn check_fails(vars: &[(&str, &str)], event: &str, class: Class, want: bool) {
    let run = run_with(settings(vars), event, |_| Some(failure(class, "Code")));
    assert_eq!(run.answer.is_err(), want);
    if let Err(error) = run.answer {
        assert_eq!(
            error.to_string(),
            "1 of 1 packets are undelivered and in the log; the first for Code: because"
        );
    }
}

#[test]
fn the_invocation_fails_only_where_giving_again_helps_and_costs_no_reply() {
    let http = http("POST", json!(HELLO), false);
    check_fails(&[], &batch(&[HELLO]), Class::Throttled, true);
    check_fails(&[], &batch(&[HELLO]), Class::Fatal, true);
    check_fails(&[], HELLO, Class::Throttled, true);
    check_fails(&[], &batch(&[HELLO]), Class::Refused, false);
    check_fails(&[("REPLY_EXPRESSION", "[0]")], &batch(&[HELLO]), Class::Throttled, false);
    check_fails(&[], &http, Class::Throttled, false);
}

fn http(method: &str, body: Value, base64: bool) -> String {
    let context = json!({"http": {"method": method, "sourceIp": "203.0.113.9"}, "domainName": "example.org"});
    json!({"version": "2.0", "requestContext": context, "body": body, "isBase64Encoded": base64}).to_string()
}

#[test]
fn an_http_body_is_one_packet() {
    let run = run(&http("POST", json!("\u{1}\u{2}\u{3}\u{4}hello"), false));
    assert_eq!(run.answer()["statusCode"], 200);
    let record = &run.body()["Records"][0];
    assert_eq!(record["SequenceNumber"], "1");
    let packet: Value = serde_json::from_str(&run.stored[0].1).unwrap();
    assert_eq!((run.keys()[0], &packet["Data"]), ("01020304", &json!("AQIDBGhlbGxv")));
    assert_eq!(packet["Remote"], json!({"IpAddress": "203.0.113.9", "Port": 0}));
    assert_eq!(packet["Tag"], record["Tag"]);
}

#[test]
fn an_http_body_with_messages_is_a_batch() {
    let body = json!(batch(&[HELLO, "null"]));
    let run = run(&http("PUT", body, false));
    assert_eq!((run.stored.len(), &run.answer()["statusCode"]), (1, &json!(207)));
    assert_eq!(run.body()["Records"][0]["Tag"], "a1");
    assert_eq!(run.body()["Records"][1]["ErrorCode"], "NotAPacket");
}

#[test]
fn an_http_body_that_only_looks_like_a_batch_is_a_packet() {
    for body in [r#"{"Messages":5}"#, r#"{"messages":[]}"#, "[]", "", "{"] {
        let run = run(&http("POST", json!(body), false));
        assert_eq!((run.stored.len(), &run.answer()["statusCode"]), (1, &json!(200)), "{body}");
    }
}

#[track_caller]
fn check_status(event: &str, fate: Option<Failure>, want: u16) -> Value {
    let run = run_with(settings(&[("MAX_RECORD_BYTES", "1000")]), event, |_| fate.clone());
    assert_eq!(run.answer()["statusCode"], want);
    run.answer.unwrap()
}

#[test]
fn the_status_says_what_the_caller_can_do() {
    let post = |body: &str| http("POST", json!(body), false);
    check_status(&post("x"), None, 200);
    check_status(&post(&"x".repeat(1000)), None, 413);
    check_status(&post("x"), Some(failure(Class::Fatal, "AccessDeniedException")), 500);
    check_status(&post("x"), Some(failure(Class::Refused, "InvalidArgumentException")), 500);
    let busy = check_status(&post("x"), Some(failure(Class::Throttled, "Slow")), 503);
    assert_eq!(busy["headers"]["retry-after"], "1");
    let allowed = check_status(&http("GET", Value::Null, false), None, 405);
    assert_eq!(allowed["headers"]["allow"], "POST, PUT");
    check_status(&http("POST", json!("!"), true), None, 400);
    check_status(&http("POST", json!(5), false), None, 400);
}

/// Of 501 packets the first request carries 500: it is never answered, and the other one meets a fatal error.
#[test]
fn a_cause_for_a_person_outweighs_one_that_passes() {
    let event = http("POST", json!(batch(&[HELLO; 501])), false);
    let script = |records: &[&str]| match records.len() {
        1 => Turn::Fail(failure(Class::Fatal, "AccessDeniedException")),
        _ => Turn::Silence,
    };
    let run = run_scripted(settings(&[]), &event, script, None);
    let code = |place: usize| run.body()["Records"][place]["ErrorCode"].clone();
    assert_eq!((code(0), code(500)), (json!("TimedOut"), json!("AccessDeniedException")));
    assert_eq!((&run.answer()["statusCode"], run.requests), (&json!(500), 2));
    assert!(run.answer()["headers"].get("retry-after").is_none());
}

#[test]
fn a_load_balancer_is_answered_as_it_wants() {
    let headers = json!({"x-forwarded-for": ["198.51.100.7, 203.0.113.10"], "x-forwarded-port": ["80"]});
    let mut event = json!({"requestContext": {"elb": {}}, "httpMethod": "POST", "body": "x"});
    event["multiValueHeaders"] = headers.clone();
    let lists = run(&event.to_string());
    assert_eq!(lists.answer()["multiValueHeaders"]["content-type"], json!(["application/json"]));
    assert_eq!(lists.answer()["statusDescription"], "200 OK");
    let packet: Value = serde_json::from_str(&lists.stored[0].1).unwrap();
    assert_eq!(
        (&packet["Remote"]["IpAddress"], &packet["Local"]["Port"]),
        (&json!("203.0.113.10"), &json!(80))
    );
    event["headers"] = json!({"x-forwarded-for": "203.0.113.11"});
    let single = run(&event.to_string());
    assert_eq!(single.answer()["headers"]["content-type"], "application/json");
}

/// Every sample event does what its name says; none is left out.
#[test]
fn every_sample_event_is_handled() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/producer");
    let mut samples = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let event = std::fs::read_to_string(&path).unwrap();
        let run = run(&event);
        samples += 1;
        if name.starts_with("refused-") {
            assert!(run.answer.is_err(), "{name}");
            continue;
        }
        let status = match name.as_str() {
            "http-get.json" => Some(405),
            "http-bad-base64.json" => Some(400),
            _ if run.answer().get("statusCode").is_some() => Some(200),
            _ => None,
        };
        assert_eq!(run.answer().get("statusCode").and_then(Value::as_u64), status, "{name}");
        let nothing =
            name.contains("empty.json") || name.contains("messages-") || matches!(status, Some(400 | 405));
        assert_eq!(run.stored.is_empty(), nothing, "{name}");
    }
    assert!(samples > 20, "only {samples} samples in {folder}");
}

fn any_entry() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9+/=]{0,40}".prop_map(|data| json!({"Tag": "t", "Data": data}).to_string()),
        Just(HELLO.to_owned()),
        Just("null".to_owned()),
        Just("[1,2]".to_owned()),
        Just(r#"{"Data":"busy"}"#.to_owned()),
        Just(r#"{"Data":"never"}"#.to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// `run_with` holds the account in log and stream; here the answer holds it too.
    #[test]
    fn given_is_accounted_for_in_the_answer(entries in prop::collection::vec(any_entry(), 0..60)) {
        let entries: Vec<_> = entries.iter().map(String::as_str).collect();
        let fate = |data: &str| match data {
            r#"{"Data":"busy"}"# => Some(failure(Class::Throttled, "Slow")),
            r#"{"Data":"never"}"# => Some(failure(Class::Refused, "InvalidArgumentException")),
            _ => None,
        };
        let run = run_with(settings(&[]), &http("POST", json!(batch(&entries)), false), fate);
        let body = run.body();
        let records = body["Records"].as_array().unwrap();
        prop_assert_eq!(records.len(), entries.len());
        let acknowledged = records.iter().filter(|record| record.get("ShardId").is_some()).count();
        let failed = records.iter().filter(|record| record.get("ErrorCode").is_some()).count();
        prop_assert_eq!((acknowledged, failed), (run.stored.len(), entries.len() - run.stored.len()));
    }
}

#[test]
fn settings_choose_expression_and_formatter() {
    let settings = settings(&[("PARTITION_KEY_EXPRESSION", "[4:]"), ("PARTITION_KEY_FORMATTER", "utf8")]);
    assert_eq!(settings.key, Some(KeyExpression::parse("[4:]").unwrap()));
    assert_eq!(settings.key_formatter, KeyFormatter::Utf8);
    assert_eq!(settings.stream, StreamId::named("packets"));
    assert_eq!(run_with(settings, HELLO, |_| None).keys(), ["hello"]);
}

mod queue;

mod combinations;
