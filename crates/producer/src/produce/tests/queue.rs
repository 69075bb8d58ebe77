//! Undelivered packets and a scripted queue: given = acknowledged + queued + logged whole, exactly once.

use tokio::time::sleep;

use super::*;
use crate::queue::{Answer as QueueAnswer, Refusal, Then};

/// A queue that keeps what it takes, and does with a message what `fate` says of its packet.
pub(super) struct Scripted {
    messages: RefCell<Vec<String>>,
    calls: Cell<usize>,
    fate: fn(&str) -> Fate,
}

/// What a queue does with a message.
pub(super) enum Fate {
    Take,
    /// Takes it, and is slow to say so.
    TakeSlowly,
    Refuse(Then),
    /// Fails the whole batch.
    RefuseAll(Then),
    /// Never answers the whole batch.
    Silent,
}

impl Scripted {
    /// How often it was asked.
    pub(super) fn calls(&self) -> usize {
        self.calls.get()
    }

    pub(super) fn into_messages(self) -> Vec<String> {
        self.messages.into_inner()
    }
}

impl SendMessages for Scripted {
    async fn send_messages(&self, bodies: &[&str]) -> QueueAnswer {
        self.calls.update(|calls| calls + 1);
        let refusal = |then| Refusal { code: "NotNow".into(), message: "because".into(), then };
        let packet = |body: &str| serde_json::from_str::<Value>(body).unwrap()["Packet"].to_string();
        let fates: Vec<_> = bodies.iter().map(|body| (self.fate)(&packet(body))).collect();
        let slow = fates.iter().any(|fate| matches!(fate, Fate::TakeSlowly));
        sleep(Duration::from_millis(if slow { 700 } else { 10 })).await;
        for fate in &fates {
            match fate {
                Fate::RefuseAll(then) => return Err(refusal(*then)),
                Fate::Silent => std::future::pending().await,
                Fate::Take | Fate::TakeSlowly | Fate::Refuse(_) => {}
            }
        }
        let results = fates.into_iter().zip(bodies).map(|(fate, body)| match fate {
            Fate::Refuse(then) => Err(refusal(then)),
            _ => {
                self.messages.borrow_mut().push((*body).to_owned());
                Ok(())
            }
        });
        Ok(results.collect())
    }
}

pub(super) fn queue(fate: fn(&str) -> Fate) -> Option<Scripted> {
    Some(Scripted { messages: RefCell::default(), calls: Cell::new(0), fate })
}

/// A run in which the stream throttles every packet.
#[track_caller]
fn throttled(vars: &[(&str, &str)], event: &str, fate: fn(&str) -> Fate) -> Run {
    run_queued(settings(vars), event, |_| Some(failure(Class::Throttled, "Slow")), queue(fate))
}

#[test]
fn what_the_stream_does_not_take_is_in_the_queue_as_it_came_and_not_in_the_log() {
    let event = batch(&[HELLO, "null", r#"{"Tag":"big","N":123456789012345678901234567890,"Data":""}"#]);
    let key = ("PARTITION_KEY_EXPRESSION", "[0:4]");
    let run = throttled(&[key], &event, |_| Fate::Take);
    let (reason, key) = (r#""Reason":"Slow: because""#, r#""Stream":"packets","PartitionKey":"01020304""#);
    let start = format!("{{{key},{reason},\"Attempts\":");
    assert!(run.queued[0].starts_with(&start), "{}", run.queued[0]);
    assert!(
        run.queued[0].ends_with(&format!(r#","MayBeStored":false,"Packet":{HELLO}}}"#)),
        "{}",
        run.queued[0]
    );
    let not_a_packet = r#"{"Stream":"packets","PartitionKey":null,"Reason":"NotAPacket: a packet must be a JSON object, found null","Attempts":0,"MayBeStored":false,"Packet":null}"#;
    assert_eq!(run.queued[1], not_a_packet);
    assert!(run.queued[2].contains("123456789012345678901234567890"));
    assert!(run.logged("undelivered").is_empty() && run.logged("not queued").is_empty());
    let line = run.logged("queued")[0];
    assert_eq!(
        (&line["level"], &line["packets"], &line["reason"]),
        (&json!("WARN"), &json!(3), &json!("Slow: because"))
    );
}

#[test]
fn a_message_names_the_stream_by_its_arn_where_that_is_known() {
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/packets";
    let run = throttled(&[("STREAM_ARN", arn)], HELLO, |_| Fate::Take);
    assert!(run.queued[0].starts_with(&format!(r#"{{"Stream":"{arn}""#)), "{}", run.queued[0]);
}

#[test]
fn what_the_stream_takes_is_in_no_queue() {
    let run = run_queued(settings(&[]), &batch(&[HELLO, HELLO]), |_| None, queue(|_| Fate::Take));
    assert_eq!((run.stored.len(), run.queued.len(), run.logged("queued").len()), (2, 0, 0));
}

/// Whether an invocation fails whose one packet is throttled, or refused for good.
#[track_caller]
fn check_fails(vars: &[(&str, &str)], event: &str, class: Class, fate: fn(&str) -> Fate, want: bool) {
    let run = run_queued(settings(vars), event, |_| Some(failure(class, "Code")), queue(fate));
    assert_eq!(run.answer.is_err(), want);
}

#[test]
fn the_invocation_fails_only_where_no_queue_took_the_packet() {
    let (gateway, http) = (batch(&[HELLO]), http("POST", json!(HELLO), false));
    let take = |_: &str| Fate::Take;
    let refuse = |_: &str| Fate::Refuse(Then::GiveUp);
    for class in [Class::Throttled, Class::Fatal, Class::Refused] {
        check_fails(&[], &gateway, class, take, false);
        check_fails(&[], &http, class, refuse, false);
        check_fails(&[("REPLY_EXPRESSION", "[0]")], &gateway, class, refuse, false);
    }
    check_fails(&[], &gateway, Class::Throttled, refuse, true);
    check_fails(&[], &gateway, Class::Fatal, refuse, true);
    check_fails(&[], &gateway, Class::Refused, refuse, false);
    let both = batch(&[HELLO, r#"{"Tag":"lost","Data":""}"#]);
    let lost = |packet: &str| if packet.contains("lost") { Fate::Refuse(Then::GiveUp) } else { Fate::Take };
    let run = throttled(&[], &both, lost);
    let error = run.answer.unwrap_err().to_string();
    assert_eq!(error, "1 of 2 packets are undelivered and in the log; the first for Slow: because");
}

#[test]
fn a_queued_packet_is_undelivered_in_the_answer_all_the_same() {
    let run = throttled(&[], &batch(&[HELLO]), |_| Fate::Take);
    assert_eq!(run.answer()["Undelivered"], json!([{"Tag": "a1", "Error": "Slow: because"}]));
    let run = throttled(&[], &http("POST", json!(batch(&[HELLO])), false), |_| Fate::Take);
    assert_eq!(run.answer()["statusCode"], 503);
}

/// What a queue that behaves like this leaves to the log, whole, and what is said of it.
#[track_caller]
fn check_logged(fate: fn(&str) -> Fate, want: usize, reason: &str) {
    let packets: Vec<_> = (0..25).map(|number| format!(r#"{{"Tag":{number},"Data":""}}"#)).collect();
    let event = batch(&packets.iter().map(String::as_str).collect::<Vec<_>>());
    let run = throttled(&[("REPLY_EXPRESSION", "[0]")], &event, fate);
    let logged: Vec<_> = run.logged("undelivered").iter().map(|line| line["text"].clone()).collect();
    assert_eq!(logged.len(), want);
    assert_eq!(run.logged("not queued")[0]["packets"], want);
    assert_eq!(run.logged("not queued")[0]["reason"], reason);
    let queued =
        run.queued.iter().map(|body| serde_json::from_str::<Value>(body).unwrap()["Packet"].to_string());
    let mut accounted: Vec<_> = queued
        .chain(
            logged
                .iter()
                .map(|text| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap().to_string()),
        )
        .collect();
    let mut given: Vec<_> =
        packets.iter().map(|packet| serde_json::from_str::<Value>(packet).unwrap().to_string()).collect();
    accounted.sort();
    given.sort();
    assert_eq!(accounted, given, "each exactly once, in the queue or in the log");
}

#[test]
fn what_the_queue_does_not_take_is_logged_whole() {
    check_logged(
        |packet| if packet.contains('1') { Fate::Refuse(Then::GiveUp) } else { Fate::Take },
        12,
        "NotNow: because",
    );
    check_logged(|_| Fate::Refuse(Then::Again), 25, "NotNow: because");
    check_logged(|_| Fate::RefuseAll(Then::Stop), 25, "NotNow: because");
    check_logged(|_| Fate::RefuseAll(Then::Again), 25, "NotNow: because");
    check_logged(|_| Fate::Silent, 25, "TimedOut: the queue did not answer in time");
}

#[test]
fn what_is_too_large_for_the_queue_is_logged_whole_and_holds_up_nothing() {
    let large = format!(r#"{{"Tag":7,"Data":"{}"}}"#, "A".repeat(1_100_000));
    let run = throttled(&[("REPLY_EXPRESSION", "[0]")], &batch(&[&large, HELLO]), |_| Fate::Take);
    assert_eq!(run.queued.len(), 1);
    assert_eq!(run.logged("undelivered").len(), 10, "parts of 120,000 bytes");
    assert_eq!(run.logged("not queued")[0]["reason"], "MessageTooLarge: a message has at most 1000000 bytes");
}

#[test]
fn without_undelivered_packets_the_queue_is_not_asked() {
    let run = run_queued(settings(&[]), &batch(&[]), |_| None, queue(|_| Fate::RefuseAll(Then::Stop)));
    assert!(run.logged("not queued").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stream and queue do with each, every packet is in one place, and in one only.
    #[test]
    fn every_packet_is_acknowledged_or_queued_or_logged_whole(
        fates in prop::collection::vec(("taken|slow|never", "take|refuse|again|silent|all"), 0..60),
    ) {
        let packet = |(tag, (stream, queue)): (usize, &(String, String))| {
            json!({ "Tag": tag, "Stream": stream, "Queue": queue, "Data": "" })
        };
        let packets: Vec<_> = fates.iter().enumerate().map(packet).collect();
        let stream = |data: &str| {
            let packet: Value = serde_json::from_str(data).unwrap();
            match packet["Stream"].as_str().unwrap() {
                "slow" => Some(failure(Class::Throttled, "Slow")),
                "never" => Some(failure(Class::TooLarge, "RecordTooLarge")),
                _ => None,
            }
        };
        let queue = queue(|packet| {
            let packet: Value = serde_json::from_str(packet).unwrap();
            match packet["Queue"].as_str().unwrap() {
                "refuse" => Fate::Refuse(Then::GiveUp),
                "again" => Fate::Refuse(Then::Again),
                "silent" => Fate::Silent,
                "all" => Fate::RefuseAll(Then::GiveUp),
                _ => Fate::Take,
            }
        });
        let event = json!({ "Messages": packets }).to_string();
        let run = run_queued(settings(&[("REPLY_EXPRESSION", "[0]")]), &event, stream, queue);
        let logged = run.logged("undelivered");
        let logged = logged.iter().map(|line| serde_json::from_str::<Value>(line["text"].as_str().unwrap()).unwrap());
        let queued = run.queued.iter().map(|body| serde_json::from_str::<Value>(body).unwrap()["Packet"].clone());
        let stored = run.stored.iter().map(|(_, data)| serde_json::from_str::<Value>(data).unwrap());
        let mut accounted: Vec<_> = stored.chain(queued).chain(logged).collect();
        accounted.sort_by_key(|packet| packet["Tag"].as_u64());
        prop_assert_eq!(accounted, packets);
    }
}
