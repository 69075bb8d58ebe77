//! Every way in, with everything that a stream may do to one packet or to two, with every kind of queue, with replies and
//! without: where each packet is in the end and what the caller hears is what the rules say, written down here a second
//! time and in another way. (That it ends in time and that nothing is sent afterwards is held for every run.)

mod rules;

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::queue::{Fate as QueueFate, Scripted as Queue, queue};
use super::*;
use crate::queue::Then;
use rules::{ALL, Does, Does::*, Lost, Why, in_turn, together};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Gateway,
    Direct,
    /// By HTTP, with a body that is a batch or one packet.
    Batch(Http),
    Single(Http),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Http {
    V1,
    V2,
    LoadBalancer,
    /// One that speaks of headers in lists.
    Lists,
}

const HTTP: [Http; 4] = [Http::V1, Http::V2, Http::LoadBalancer, Http::Lists];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    NoQueue,
    All,
    AllSlowly,
    TheFirst,
    Nothing,
    NothingYet,
    NoAnswer,
}

const QUEUES: [Has; 7] =
    [Has::NoQueue, Has::All, Has::AllSlowly, Has::TheFirst, Has::Nothing, Has::NothingYet, Has::NoAnswer];

#[derive(Clone, Debug)]
struct Case<'a> {
    from: From,
    all: &'a [Does],
    has: Has,
    replies: bool,
    /// All packets have one key, and strict order is asked for; else each has its own, and they share a request.
    strict: bool,
}

/// The stream of all this.
fn stream() -> impl Fn(&[&str]) -> Turn {
    let failure = |class, code: &str, message: &str, may_be_stored| {
        let (code, message) = (code.to_owned(), message.to_owned());
        Failure { class, code, message, may_be_stored }
    };
    let fatal = move |code| {
        failure(Class::Fatal, code, &format!("User: me is not heard ({})", writer::advice(code)), false)
    };
    let failure = move |does| match does {
        Throttle | TakeLate => failure(
            Class::Throttled,
            "ProvisionedThroughputExceededException",
            "Rate exceeded for shard 0",
            false,
        ),
        Fail => failure(Class::Failed, "InternalFailure", "Internal service failure.", false),
        ThrottleAll => failure(Class::Throttled, "KMSThrottlingException", "Slow down, key", false),
        FailAll => failure(Class::Failed, "ServiceUnavailable", "Not now", true),
        Break => failure(Class::Broken, "ConnectionBroken", "reset", true),
        Refuse => failure(Class::Refused, "InvalidArgumentException", "1 validation error detected", false),
        Forbid => fatal("AccessDeniedException"),
        Vanish => fatal("ResourceNotFoundException"),
        Take | Ignore | Large | NoPacket => unreachable!("{does:?} is no failure"),
    };
    let asked = RefCell::new(HashMap::<String, u32>::new());
    move |records| {
        let all: Vec<_> = records.iter().map(|record| does(record)).collect();
        match all.iter().copied().find(|does| does.to_the_whole_request()) {
            Some(Ignore) => return Turn::Silence,
            Some(does) => return Turn::Fail(failure(does)),
            None => {}
        }
        let fate = |(record, does): (&&str, Does)| {
            let mut asked = asked.borrow_mut();
            let times = asked.entry((*record).to_owned()).or_default();
            *times += 1;
            (does != Take && (does != TakeLate || *times < 3)).then(|| failure(does))
        };
        Turn::Each(records.iter().zip(all).map(fate).collect())
    }
}

/// What the stream does with the packet that this is the record of.
fn does(record: &str) -> Does {
    let payload = payload_of(record);
    let word = payload.trim_end_matches('.');
    ALL.into_iter().find(|does| format!("{does:?}") == word).unwrap()
}

fn payload_of(record: &str) -> String {
    let packet: Value = serde_json::from_str(record).unwrap();
    String::from_utf8(BASE64_STANDARD.decode(packet["Data"].as_str().unwrap()).unwrap()).unwrap()
}

fn payload(does: Does) -> String {
    format!("{does:?}{}", ".".repeat(if does == Large { 2_000 } else { 0 }))
}

fn entry((number, does): (usize, &Does)) -> String {
    let data = BASE64_STANDARD.encode(payload(*does));
    match does {
        NoPacket => number.to_string(),
        _ => format!(r#"{{ "Tag":"t{number}","Remote":{{"IpAddress":"203.0.113.5"}},"Data":"{data}"}}"#),
    }
}

fn event(from: From, all: &[Does]) -> String {
    let entries: Vec<_> = all.iter().enumerate().map(entry).collect();
    let batch = batch(&entries.iter().map(String::as_str).collect::<Vec<_>>());
    match from {
        From::Gateway => batch,
        From::Direct => entries[0].clone(),
        From::Batch(http) => http_event(http, &batch),
        From::Single(http) => http_event(http, &payload(all[0])),
    }
}

fn http_event(http: Http, body: &str) -> String {
    let mut event = match http {
        Http::V1 => {
            json!({ "httpMethod": "POST", "requestContext": { "identity": { "sourceIp": "203.0.113.9" } } })
        }
        Http::V2 => json!({ "requestContext": { "http": { "method": "POST" } } }),
        Http::LoadBalancer => {
            json!({ "httpMethod": "PUT", "requestContext": { "elb": {} }, "headers": { "a": "b" } })
        }
        Http::Lists => json!({
            "httpMethod": "PUT", "requestContext": { "elb": {} }, "multiValueHeaders": { "a": ["b"] },
        }),
    };
    event["body"] = json!(body);
    event.to_string()
}

fn queue_that(has: Has) -> Option<Queue> {
    queue(match has {
        Has::NoQueue => return None,
        Has::All => |_| QueueFate::Take,
        Has::AllSlowly => |_| QueueFate::TakeSlowly,
        Has::TheFirst => {
            |packet| if number_of(packet) == 0 { QueueFate::Take } else { QueueFate::Refuse(Then::GiveUp) }
        }
        Has::Nothing => |_| QueueFate::RefuseAll(Then::Stop),
        Has::NothingYet => |_| QueueFate::Refuse(Then::Again),
        Has::NoAnswer => |_| QueueFate::Silent,
    })
}

/// The place of a packet in its event; that of an HTTP request has a tag that was made up.
fn number_of(packet: &str) -> usize {
    usize::from(packet == "1" || packet.contains(r#""Tag":"t1""#))
}

/// Where a packet is found, and what is said of it there.
struct Found {
    place: Place,
    packet: String,
    key: Value,
    /// None in the stream.
    said: Option<(String, Value, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Stream,
    Queue,
    Log,
}

/// The members of a queue's message, its packet as it stands there.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Message<'a> {
    stream: String,
    partition_key: Value,
    reason: String,
    attempts: Value,
    may_be_stored: Value,
    #[serde(borrow)]
    packet: &'a RawValue,
}

/// All that is found of an invocation's packets, anywhere.
fn found(run: &Run) -> Vec<Found> {
    let stored = run.stored.iter().map(|(key, data)| Found {
        place: Place::Stream,
        packet: data.clone(),
        key: json!(key),
        said: None,
    });
    let queued = run.queued.iter().map(|body| {
        let message: Message<'_> = serde_json::from_str(body).unwrap();
        assert_eq!(message.stream, "packets");
        Found {
            place: Place::Queue,
            packet: message.packet.get().to_owned(),
            key: message.partition_key,
            said: Some((message.reason, message.attempts, message.may_be_stored)),
        }
    });
    let logged = run.logged("undelivered").into_iter().map(|line| {
        assert_eq!(line["level"], "ERROR");
        let said = |name: &str| line[name].as_str().unwrap();
        Found {
            place: Place::Log,
            packet: said("text").to_owned(),
            key: line["partitionKey"].clone(),
            said: Some((
                format!("{}: {}", said("code"), said("reason")),
                line["attempts"].clone(),
                line["mayBeStored"].clone(),
            )),
        }
    });
    stored.chain(queued).chain(logged).collect()
}

/// Makes one run and compares with the rules where each packet is and what was said of it, to the caller too.
#[track_caller]
fn check(case: &Case<'_>) {
    let Case { from, all, has, replies, strict } = *case;
    let mut vars = vec![("MAX_RECORD_BYTES", "2000")];
    vars.extend(replies.then_some(("REPLY_EXPRESSION", "0x06")));
    vars.extend(strict.then_some(("ORDERING", "strict")));
    vars.extend(strict.then_some(("PARTITION_KEY_EXPRESSION", "Remote.IpAddress")));
    let run = run_scripted(settings(&vars), &event(from, all), stream(), queue_that(has));
    let ends = if strict { in_turn(all) } else { together(all) };
    let in_queue = |number: usize| match has {
        Has::All | Has::AllSlowly => true,
        Has::TheFirst => number == 0,
        Has::NoQueue | Has::Nothing | Has::NothingYet | Has::NoAnswer => false,
    };
    let place = |number: usize| match &ends[number] {
        None => Place::Stream,
        Some(_) if in_queue(number) => Place::Queue,
        Some(_) => Place::Log,
    };
    let at = |wanted: Place| (0..all.len()).filter(move |&number| place(number) == wanted);

    // Each packet is whole in one place, and in one only.
    let mut found = found(&run);
    found.sort_by_key(|found| number_of(&found.packet));
    assert_eq!(found.len(), all.len(), "{case:?}");
    for (number, (found, end)) in found.iter().zip(&ends).enumerate() {
        assert_eq!(found.place, place(number), "{case:?}: packet {number}");
        match from {
            From::Single(_) => assert_eq!(payload_of(&found.packet), payload(all[number]), "{case:?}"),
            _ => assert_eq!(found.packet, entry((number, &all[number])), "{case:?}"),
        }
        let key_is_right = match found.key.as_str() {
            Some(key) => all[number] != NoPacket && (strict || key.len() == 32),
            None => all[number] == NoPacket,
        };
        assert!(key_is_right, "{case:?}: {:?}", found.key);
        if let (Some(lost), Some((reason, attempts, may_be_stored))) = (end, &found.said) {
            check_reason(case, lost, reason);
            let attempts = attempts.as_u64().unwrap();
            assert!((lost.least_attempts..=lost.most_attempts).contains(&attempts), "{case:?}: {attempts}");
            assert_eq!(may_be_stored, lost.may_be_stored, "{case:?}: packet {number}");
        }
    }
    let counted = |message| run.logged(message).iter().map(|line| line["packets"].as_u64().unwrap()).sum();
    let not_queued = if has == Has::NoQueue { 0 } else { at(Place::Log).count() };
    assert_eq!((at(Place::Queue).count(), not_queued), (int(counted("queued")), int(counted("not queued"))));
    check_haste(case, &ends, &run);

    // What the caller hears.
    let by_http = matches!(from, From::Batch(_) | From::Single(_));
    let mends = |number: usize| matches!(&ends[number], Some(Lost { why: Why::Passing | Why::Fatal, .. }));
    if !by_http && !replies && at(Place::Log).any(mends) {
        let error = run.answer.unwrap_err().to_string();
        let (count, given) = (at(Place::Log).count(), all.len());
        let start = format!("{count} of {given} packets are undelivered and in the log; the first for ");
        let reason = error.strip_prefix(&start).unwrap_or_else(|| panic!("{case:?}: {error}"));
        check_reason(case, ends[at(Place::Log).next().unwrap()].as_ref().unwrap(), reason);
        return;
    }
    let answer = if by_http { run.body() } else { run.answer().clone() };
    let tag = |number: usize| match from {
        From::Single(_) => serde_json::from_str::<Value>(&found[number].packet).unwrap()["Tag"].clone(),
        _ if all[number] == NoPacket => Value::Null,
        _ => json!(format!("t{number}")),
    };
    let replied = at(Place::Stream).filter(|_| replies);
    let want: Vec<_> = replied.map(|number| json!({ "Tag": tag(number), "Data": "Bg==" })).collect();
    assert_eq!(answer["Replies"], json!(want), "{case:?}");
    let told: Vec<_> = (0..all.len()).filter(|&n| from != From::Gateway || ends[n].is_some()).collect();
    let list = if from == From::Gateway { &answer["Undelivered"] } else { &answer["Records"] };
    assert_eq!(list.is_null(), from == From::Gateway && told.is_empty(), "{case:?}");
    let list = list.as_array().cloned().unwrap_or_default();
    assert_eq!(list.len(), told.len(), "{case:?}");
    for (told, number) in list.iter().zip(told) {
        let members: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(told["Tag"], tag(number), "{case:?}");
        match &ends[number] {
            None => assert_eq!(members, ["SequenceNumber", "ShardId", "Tag"], "{case:?}"),
            Some(lost) if from == From::Gateway => {
                assert_eq!(members, ["Error", "Tag"], "{case:?}");
                check_reason(case, lost, told["Error"].as_str().unwrap());
            }
            Some(lost) => {
                assert_eq!(members, ["ErrorCode", "ErrorMessage", "Tag"], "{case:?}");
                let said = |name: &str| told[name].as_str().unwrap();
                check_reason(case, lost, &format!("{}: {}", said("ErrorCode"), said("ErrorMessage")));
            }
        }
    }
    if let From::Batch(http) | From::Single(http) = from {
        check_envelope(case, http, &ends, run.answer());
    }
}

fn int(count: u64) -> usize {
    usize::try_from(count).unwrap()
}

#[track_caller]
fn check_reason(case: &Case<'_>, lost: &Lost, reason: &str) {
    let rest = reason.strip_prefix(lost.code).and_then(|rest| rest.strip_prefix(": "));
    assert!(rest.is_some_and(|rest| rest.contains(lost.says)), "{case:?}: {reason}");
}

/// What no time can mend is said at once; what it can is tried for as long as there is time.
#[track_caller]
fn check_haste(case: &Case<'_>, ends: &[Option<Lost>], run: &Run) {
    let passing = ends.iter().flatten().any(|lost| lost.why == Why::Passing);
    let waits = matches!(case.has, Has::AllSlowly | Has::NothingYet | Has::NoAnswer);
    if passing {
        assert!(run.took > Duration::from_millis(1_500), "{case:?}: {:?}", run.took);
    } else if !waits && !case.all.contains(&TakeLate) {
        assert!(run.took < Duration::from_millis(50), "{case:?}: {:?}", run.took);
    }
    let first = case.all.iter().find(|does| does.to_the_whole_request());
    if !case.strict && first.is_some_and(|does| matches!(does, Forbid | Vanish)) {
        assert_eq!(run.requests, 1, "{case:?}");
    }
}

#[track_caller]
fn check_envelope(case: &Case<'_>, http: Http, ends: &[Option<Lost>], answer: &Value) {
    let have = |wanted: Why| ends.iter().flatten().any(|lost| lost.why == wanted);
    let all = |wanted: Why| ends.iter().all(|end| end.as_ref().is_some_and(|lost| lost.why == wanted));
    let (status, words) = match () {
        () if ends.iter().all(Option::is_none) => (200, "200 OK"),
        () if ends.iter().any(Option::is_none) => (207, "207 Multi-Status"),
        () if all(Why::TooLarge) => (413, "413 Content Too Large"),
        () if !have(Why::Fatal) && have(Why::Passing) => (503, "503 Service Unavailable"),
        () => (500, "500 Internal Server Error"),
    };
    assert_eq!(
        (&answer["statusCode"], &answer["isBase64Encoded"]),
        (&json!(status), &json!(false)),
        "{case:?}"
    );
    let load_balancer = matches!(http, Http::LoadBalancer | Http::Lists);
    assert_eq!(
        answer["statusDescription"],
        if load_balancer { json!(words) } else { Value::Null },
        "{case:?}"
    );
    let (value, headers, no_headers) = match http {
        Http::Lists => (json!(["1"]), &answer["multiValueHeaders"], &answer["headers"]),
        _ => (json!("1"), &answer["headers"], &answer["multiValueHeaders"]),
    };
    let after = if status == 503 { value } else { Value::Null };
    assert_eq!((&headers["retry-after"], no_headers), (&after, &Value::Null), "{case:?}");
}

#[track_caller]
fn check_all(ways: &[From], all: &[Does], queues: &[Has], strict: bool) {
    for &from in ways {
        for &has in queues {
            for replies in [false, true] {
                check(&Case { from, all, has, replies, strict });
            }
        }
    }
}

#[test]
fn one_packet_however_it_comes() {
    for does in ALL {
        check_all(&[From::Gateway], &[does], &QUEUES, true);
        check_all(&[From::Gateway], &[does], &QUEUES, false);
        check_all(&HTTP.map(From::Batch), &[does], &QUEUES, false);
        if does != NoPacket {
            check_all(&[From::Direct], &[does], &QUEUES, false);
            check_all(&HTTP.map(From::Single), &[does], &QUEUES, false);
        }
    }
}

#[track_caller]
fn check_pairs(from: From, queues: &[Has], strict: bool) {
    for first in ALL {
        for second in ALL {
            check_all(&[from], &[first, second], queues, strict);
        }
    }
}

#[test]
fn two_packets_from_a_gateway() {
    check_pairs(From::Gateway, &QUEUES, false);
}

#[test]
fn two_packets_by_http() {
    check_pairs(From::Batch(Http::V2), &QUEUES, false);
}

#[test]
fn two_packets_of_one_key_in_strict_order() {
    check_pairs(From::Gateway, &[Has::NoQueue, Has::All, Has::TheFirst], true);
}

#[test]
fn no_packet_at_all() {
    check_all(&[From::Gateway], &[], &QUEUES, false);
    check_all(&HTTP.map(From::Batch), &[], &QUEUES, false);
}
