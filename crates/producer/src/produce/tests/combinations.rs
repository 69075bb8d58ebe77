//! Every way in, with everything that a stream may do to one packet or to two, with every kind of queue, with replies and
//! without: what the caller hears is what the rules say, written down here a second time and in another way.

use super::queue::{Fate as QueueFate, Scripted as Queue, queue};
use super::*;
use crate::queue::Then;

/// What a stream does with a packet for as long as it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Take,
    Throttle,
    Fail,
    Break,
    Ignore,
    Refuse,
    Forbid,
    /// It is never asked: the packet is larger than a record may be.
    Large,
    /// It is never asked: the entry is no packet. Only in a batch.
    NoPacket,
}

use Does::{Break, Fail, Forbid, Ignore, Large, NoPacket, Refuse, Take, Throttle};

const ALL: [Does; 9] = [Take, Throttle, Fail, Break, Ignore, Refuse, Forbid, Large, NoPacket];

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Stored,
    /// Undelivered; time may mend it.
    Later,
    /// Undelivered; a person has to mend something.
    Fatal,
    /// Undelivered, and would be again.
    Never,
    /// The same, for its size.
    TooLarge,
}

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    NoQueue,
    One(Takes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Everything,
    TheFirst,
    Nothing,
    NothingYet,
    NoAnswer,
}

fn failure_of(does: Does) -> Option<Failure> {
    let (class, code) = match does {
        Take | Large | NoPacket => return None,
        Throttle => (Class::Throttled, "ProvisionedThroughputExceededException"),
        Fail => (Class::Failed, "InternalFailure"),
        Break => (Class::Broken, "ConnectionBroken"),
        Ignore => (Class::TimedOut, "TimedOut"),
        Refuse => (Class::Refused, "InvalidArgumentException"),
        Forbid => (Class::Fatal, "AccessDeniedException"),
    };
    Some(failure(class, code))
}

/// What the stream does with the packet that this is the record of.
fn does(record: &str) -> Does {
    let packet: Value = serde_json::from_str(record).unwrap();
    let payload = packet["Data"].as_str().unwrap();
    let payload = String::from_utf8(BASE64_STANDARD.decode(payload).unwrap()).unwrap();
    let word = payload.trim_end_matches('.');
    ALL.into_iter().find(|does| format!("{does:?}") == word).unwrap()
}

fn payload(does: Does) -> String {
    format!("{does:?}{}", ".".repeat(if does == Large { 3_000 } else { 0 }))
}

fn entry((number, does): (usize, &Does)) -> String {
    match does {
        NoPacket => number.to_string(),
        _ => {
            json!({ "Tag": format!("t{number}"), "Data": BASE64_STANDARD.encode(payload(*does)) }).to_string()
        }
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
    let event = match http {
        Http::V1 => {
            json!({ "httpMethod": "POST", "requestContext": { "identity": { "sourceIp": "203.0.113.9" } } })
        }
        Http::V2 => json!({ "requestContext": { "http": { "method": "POST" } } }),
        Http::LoadBalancer => json!({ "httpMethod": "PUT", "requestContext": { "elb": {} } }),
    };
    let mut event = event;
    event["body"] = json!(body);
    event.to_string()
}

fn queue_that(takes: Takes) -> Option<Queue> {
    queue(match takes {
        Takes::Everything => |_| QueueFate::Take,
        Takes::TheFirst => {
            |packet| if is_first(packet) { QueueFate::Take } else { QueueFate::Refuse(Then::GiveUp) }
        }
        Takes::Nothing => |_| QueueFate::RefuseAll(Then::Stop),
        Takes::NothingYet => |_| QueueFate::Refuse(Then::Again),
        Takes::NoAnswer => |_| QueueFate::Silent,
    })
}

/// Whether a message's packet was the first of its event; that of an HTTP request has a tag that was made up.
fn is_first(packet: &str) -> bool {
    packet != "1" && !packet.contains(r#""Tag":"t1""#)
}

/// What becomes of one packet or of two, which have keys of their own and so share their first request.
fn ends(all: &[Does]) -> Vec<Ends> {
    let sent: Vec<_> = all.iter().copied().filter(|does| !matches!(does, Large | NoPacket)).collect();
    // Of a request that fails whole, the first packet that makes it fail says how.
    let whole = sent.iter().copied().find(|does| matches!(does, Break | Ignore | Refuse | Forbid));
    let alone = |does: Does| match does {
        Take => Ends::Stored,
        Throttle | Fail | Break | Ignore => Ends::Later,
        Refuse | NoPacket => Ends::Never,
        Forbid => Ends::Fatal,
        Large => Ends::TooLarge,
    };
    let end = |&does: &Does| match (does, whole) {
        (Large | NoPacket, _) | (_, None) => alone(does),
        (_, Some(Break | Ignore)) => Ends::Later,
        (_, Some(Forbid)) => Ends::Fatal,
        // All refused alike: none of them is to blame.
        _ if sent.len() > 1 && sent.iter().all(|&does| does == Refuse) => Ends::Fatal,
        // Who is to blame is found, and each of the others is sent by itself.
        _ => alone(does),
    };
    all.iter().map(end).collect()
}

/// Makes one run and compares what was heard with the rules.
#[track_caller]
fn check(from: From, all: &[Does], has: Has, replies: bool) {
    let case = format!("{from:?}, {all:?}, {has:?}, replies {replies}");
    let queue = match has {
        Has::NoQueue => None,
        Has::One(takes) => queue_that(takes),
    };
    let mut vars = vec![("MAX_RECORD_BYTES", "2000")];
    vars.extend(replies.then_some(("REPLY_EXPRESSION", "0x06")));
    let run = run_queued(settings(&vars), &event(from, all), |record| failure_of(does(record)), queue);

    let ends = ends(all);
    let stored = ends.iter().filter(|&&end| end == Ends::Stored).count();
    assert_eq!(run.stored.len(), stored, "{case}");
    let in_queue = |number: usize| {
        ends[number] != Ends::Stored
            && match has {
                Has::One(Takes::Everything) => true,
                Has::One(Takes::TheFirst) => number == 0,
                _ => false,
            }
    };
    assert_eq!(run.queued.len(), (0..all.len()).filter(|&number| in_queue(number)).count(), "{case}");
    let by_http = matches!(from, From::Batch(_) | From::Single(_));
    let in_log = |number: &usize| ends[*number] != Ends::Stored && !in_queue(*number);
    let given_again = |number: usize| matches!(ends[number], Ends::Later | Ends::Fatal);
    if !by_http && !replies && (0..all.len()).filter(in_log).any(given_again) {
        assert_eq!(run.answer.unwrap_err().error_type(), "UndeliveredPackets", "{case}");
        return;
    }
    let answer = if by_http { run.body() } else { run.answer().clone() };
    let replied = if replies { stored } else { 0 };
    assert_eq!(answer["Replies"].as_array().unwrap().len(), replied, "{case}");
    let error = |number: usize| match all[number] {
        NoPacket => "NotAPacket",
        Large => "RecordTooLarge",
        _ => "",
    };
    if from == From::Gateway {
        let lost: Vec<_> = (0..all.len()).filter(|&number| ends[number] != Ends::Stored).collect();
        assert_eq!(answer.get("Undelivered").is_some(), !lost.is_empty(), "{case}");
        for (told, number) in answer["Undelivered"].as_array().into_iter().flatten().zip(&lost) {
            assert!(told["Error"].as_str().unwrap().starts_with(error(*number)), "{case}: {told}");
        }
        assert_eq!(answer["Undelivered"].as_array().map_or(0, Vec::len), lost.len(), "{case}");
        return;
    }
    let records = answer["Records"].as_array().unwrap();
    assert_eq!(records.len(), all.len(), "{case}");
    for (number, record) in records.iter().enumerate() {
        let is_stored = ends[number] == Ends::Stored;
        assert_eq!(record.get("ShardId").is_some(), is_stored, "{case}: {record}");
        assert_eq!(record.get("SequenceNumber").is_some(), is_stored, "{case}: {record}");
        let code = record["ErrorCode"].as_str();
        assert_eq!(code.is_some_and(|code| code.starts_with(error(number))), !is_stored, "{case}: {record}");
    }
    if by_http {
        let have = |wanted: Ends| ends.contains(&wanted);
        let status = match () {
            () if stored == all.len() => 200,
            () if stored > 0 => 207,
            () if ends.iter().all(|&end| end == Ends::TooLarge) => 413,
            () if have(Ends::Fatal) => 500,
            () if have(Ends::Later) => 503,
            () => 500,
        };
        let answer = run.answer();
        assert_eq!(answer["statusCode"], status, "{case}");
        assert_eq!(answer["headers"].get("retry-after").is_some(), status == 503, "{case}");
    }
}

const QUEUES: [Has; 6] = [
    Has::NoQueue,
    Has::One(Takes::Everything),
    Has::One(Takes::TheFirst),
    Has::One(Takes::Nothing),
    Has::One(Takes::NothingYet),
    Has::One(Takes::NoAnswer),
];

#[track_caller]
fn check_all(ways: &[From], all: &[Does]) {
    for &from in ways {
        for has in QUEUES {
            for replies in [false, true] {
                check(from, all, has, replies);
            }
        }
    }
}

#[test]
fn one_packet_however_it_comes() {
    let batches =
        [From::Gateway, From::Batch(Http::V1), From::Batch(Http::V2), From::Batch(Http::LoadBalancer)];
    let singles =
        [From::Direct, From::Single(Http::V1), From::Single(Http::V2), From::Single(Http::LoadBalancer)];
    for does in ALL {
        check_all(&batches, &[does]);
        check_all(if does == NoPacket { &[] } else { &singles }, &[does]);
    }
}

#[test]
fn two_packets_whatever_becomes_of_each() {
    for first in ALL {
        for second in ALL {
            check_all(&[From::Gateway, From::Batch(Http::V2)], &[first, second]);
        }
    }
}

#[test]
fn no_packet_at_all() {
    check_all(&[From::Gateway, From::Batch(Http::V1), From::Batch(Http::LoadBalancer)], &[]);
}
