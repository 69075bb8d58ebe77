//! The counts of a run, kept by everyone who sees a packet pass, read by whoever shows them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::runtime::Outcome;

/// Counts since the start; each only rises.
#[derive(Debug, Default)]
pub struct Tally {
    /// Packets that came in, by UDP, in HTTP requests or with an invocation.
    pub received: Count,
    /// Packets that an asynchronous invocation, tried again, gave to the producer once more after its last word on them.
    pub repeated: Count,
    /// Packets that the producer said Kinesis has stored.
    pub acknowledged: Count,
    /// Packets that the producer said it could not deliver.
    pub undelivered: Count,
    /// Of those, packets that the queue took.
    pub queued: Count,
    /// Packets given to a producer that ended without a word on them, and that nobody gives to it again.
    pub abandoned: Count,
    /// Records that the consumer wrote to its log, whole aggregates counted by what is in them.
    pub logged: Count,
    /// Records that the mapping gave up: after its attempts, for their age or for their size.
    pub discarded: Count,
    /// Of those, records that the mapping's on-failure destination was told of.
    pub reported: Count,
    /// Records that the stream's retention removed before they were handled.
    pub trimmed: Count,
    /// Replies sent back to their senders.
    pub replies: Count,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub dropped: Count,
    told: Told,
}

/// By request id: how many summaries of the producer were read, less the invocations that are known to have written one.
#[derive(Debug, Default)]
struct Told(Mutex<HashMap<String, i64>>);

/// A count that many tasks add to.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Raises it to `value`, if that is more: for counts that somebody else keeps.
    pub fn raise_to(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    /// Its value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the outcome of an invocation of the producer says of the packets it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// What became of each: it is acknowledged, or undelivered and named.
    What,
    /// That none was taken: the event is no event of packets, or a request is turned away. They stay with the caller.
    NoneTaken,
    /// Nothing.
    Nothing,
}

impl Said {
    pub(crate) fn by(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::NotInvoked(_) => Self::NoneTaken,
            Outcome::Answer(answer) => Self::by_answer(answer),
            Outcome::FunctionError(error) => {
                let error: FunctionError<'_> = serde_json::from_slice(error).unwrap_or_default();
                match &*error.error_type {
                    "UndeliveredPackets" => Self::What,
                    "UnexpectedEvent" | "MessagesNotAList" | "TooManyPackets" => Self::NoneTaken,
                    _ => Self::Nothing,
                }
            }
        }
    }

    /// Of an answer, or of one within an HTTP response: an account of packets has `Replies`.
    fn by_answer(answer: &[u8]) -> Self {
        let answer: Answer<'_> = serde_json::from_slice(answer).unwrap_or_default();
        match answer.body {
            Some(body) => Self::by_answer(body.as_bytes()),
            None if answer.replies.is_some() => Self::What,
            None => Self::NoneTaken,
        }
    }
}

#[derive(Default, Deserialize)]
struct FunctionError<'a> {
    #[serde(rename = "errorType", borrow, default)]
    error_type: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
struct Answer<'a> {
    #[serde(rename = "Replies")]
    replies: Option<IgnoredAny>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
}

/// How many packets an event brings to the producer: those of its `Messages`, those of its body if it is that of an HTTP
/// request, or one. For packets of which no summary tells.
pub(crate) fn packets(event: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "Messages", default, deserialize_with = "some")]
        messages: Option<Option<Vec<IgnoredAny>>>,
        #[serde(rename = "Data", default, deserialize_with = "some")]
        data: Option<IgnoredAny>,
        #[serde(rename = "requestContext")]
        request: Option<IgnoredAny>,
        #[serde(borrow, default)]
        body: Option<Cow<'a, str>>,
        #[serde(rename = "isBase64Encoded", default)]
        base64: serde_json::Value,
    }
    let Some(event) = object::<Event<'_>>(event) else { return 0 };
    match event {
        Event { messages: Some(Some(messages)), .. } => messages.len() as u64,
        Event { request: Some(_), body, base64, .. } => {
            let body = body.unwrap_or_default();
            if base64 != true {
                return packets_of_body(body.as_bytes());
            }
            BASE64_STANDARD.decode(body.as_bytes()).map_or(0, |body| packets_of_body(&body))
        }
        Event { data, .. } => u64::from(data.is_some()),
    }
}

/// How many packets the body of an HTTP request brings: those of its batch, if it is one, or itself.
pub(crate) fn packets_of_body(body: &[u8]) -> u64 {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Batch {
        #[serde(default, deserialize_with = "some")]
        messages: Option<Option<Vec<IgnoredAny>>>,
    }
    let batch = object::<Batch>(body).and_then(|batch| batch.messages);
    batch.map_or(1, |messages| messages.map_or(0, |messages| messages.len() as u64))
}

/// Reads a JSON object. A derived struct would also be read from a list of its members, and bytes may hold what no text
/// does.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let json = str::from_utf8(json).ok().filter(|json| json.trim_ascii_start().starts_with('{'))?;
    serde_json::from_str(json).ok()
}

/// A member that is there, be it null.
fn some<'de, D, T>(member: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(member).map(Some)
}

/// The numbers of the functions' summary lines that concern a tally; a line has those of its own function.
#[derive(Debug, Deserialize)]
struct Summary {
    #[serde(rename = "requestId", default)]
    request_id: String,
    #[serde(rename = "Acknowledged", default)]
    acknowledged: u64,
    #[serde(rename = "Undelivered", default)]
    undelivered: u64,
    #[serde(rename = "Queued", default)]
    queued: u64,
    #[serde(rename = "Packets", default)]
    packets: u64,
    #[serde(rename = "NotPackets", default)]
    not_packets: u64,
    #[serde(rename = "Undecodable", default)]
    undecodable: u64,
}

impl Tally {
    /// Reads what concerns it from whole lines of the producer's log.
    pub fn read_producer_log(&self, lines: &[u8]) {
        for summary in summaries(lines) {
            self.acknowledged.add(summary.acknowledged);
            self.undelivered.add(summary.undelivered);
            self.queued.add(summary.queued);
            self.told.add(summary.request_id, 1);
        }
    }

    /// An invocation of the producer has answered, and so has written its summary, whether or not that was read yet.
    pub(crate) fn answered(&self, request_id: &str) {
        self.told.add(request_id.to_owned(), -1);
    }

    /// Whether an invocation that did not answer had written its summary. All that it wrote must have been read.
    pub(crate) fn was_told(&self, request_id: &str) -> bool {
        self.told.take(request_id)
    }

    /// An invocation that nobody tries again was given packets, and has said this of them.
    pub(crate) fn took(&self, packets: u64, said: Said) {
        self.received.add(if said == Said::NoneTaken { 0 } else { packets });
        self.abandoned.add(if said == Said::Nothing { packets } else { 0 });
    }

    /// Reads what concerns it from whole lines of the consumer's log.
    pub fn read_consumer_log(&self, lines: &[u8]) {
        for summary in summaries(lines) {
            self.logged.add(summary.packets + summary.not_packets + summary.undecodable);
        }
    }
}

impl Told {
    fn add(&self, request_id: String, more: i64) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told.entry(request_id) {
            Entry::Vacant(none) => _ = none.insert(more),
            // The map stays as small as what is under way.
            Entry::Occupied(count) if count.get() + more == 0 => _ = count.remove(),
            Entry::Occupied(mut count) => *count.get_mut() += more,
        }
    }

    fn take(&self, request_id: &str) -> bool {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(request_id).copied();
        let was = told.is_some_and(|count| count > 0);
        if was {
            self.add(request_id.to_owned(), -1);
        }
        was
    }
}

/// Only what looks like a summary is parsed: there is one for many packet lines.
fn summaries(lines: &[u8]) -> impl Iterator<Item = Summary> {
    const MARK: &[u8] = br#""CloudWatchMetrics""#;
    let lines = lines.split(|&byte| byte == b'\n');
    lines
        .filter(|line| line.windows(MARK.len()).any(|window| window == MARK))
        .filter_map(|line| serde_json::from_slice(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_packets(event: &str, want: u64) {
        assert_eq!(packets(event.as_bytes()), want, "{event}");
    }

    #[test]
    fn an_event_brings_the_packets_of_its_batch_or_one() {
        check_packets("{}", 0);
        check_packets(r#"{"Messages":null}"#, 0);
        check_packets(r#"{"Messages":[]}"#, 0);
        check_packets(r#"{"Messages":[{},7,null]}"#, 3);
        check_packets(r#"{"Records":[{}]}"#, 0);
        check_packets(r#"{"Data":"AQ==","Messages":null}"#, 1);
        check_packets(r#"{"Data":"AQ==","Records":1,"body":"{\"Messages\":[{},{}]}"}"#, 1);
        check_packets(r#"{"Data":null}"#, 1);
        check_packets(r#"{"requestContext":{},"body":"hello"}"#, 1);
        check_packets(r#"{"requestContext":{}}"#, 1);
        check_packets(r#"{"requestContext":{},"body":"{}"}"#, 1);
        check_packets(r#"{"requestContext":{},"body":"[[1,2,3]]"}"#, 1);
        check_packets(r#"{"requestContext":{},"body":"{\"Messages\":[{},{}]}","isBase64Encoded":null}"#, 2);
        check_packets(
            r#"{"requestContext":{},"body":"eyJNZXNzYWdlcyI6W3t9LHt9XX0=","isBase64Encoded":true}"#,
            2,
        );
        assert_eq!(packets_of_body(b"{\"Messages\":[\"\xFF\",\"\xFE\"]}"), 1, "no text, so no batch");
    }

    #[test]
    fn a_summary_counts_once_whenever_it_is_read() {
        let tally = Tally::default();
        let line =
            br#"{"message":"summary","requestId":"r","_aws":{"CloudWatchMetrics":[]},"Acknowledged":2}"#;
        tally.answered("r");
        tally.read_producer_log(line);
        assert!(!tally.was_told("r"), "its invocation has answered");
        tally.read_producer_log(line);
        assert!(tally.was_told("r") && !tally.was_told("r"));
        assert!(tally.told.0.lock().unwrap().is_empty(), "nothing is kept of what is over");
    }

    #[track_caller]
    fn check_said(outcome: Outcome, want: Said) {
        assert_eq!(Said::by(&outcome), want, "{outcome:?}");
    }

    #[test]
    fn an_outcome_says_what_became_of_the_packets_or_that_none_was_taken_or_nothing() {
        let answer = |text: &'static str| Outcome::Answer(text.into());
        let error = |text: &'static str| Outcome::FunctionError(text.into());
        check_said(answer(r#"{"Replies":[]}"#), Said::What);
        check_said(answer(r#"{"statusCode":503,"body":"{\"Replies\":[],\"Records\":[]}"}"#), Said::What);
        check_said(answer(r#"{"statusCode":405,"body":"{\"message\":\"no\"}"}"#), Said::NoneTaken);
        check_said(answer("{}"), Said::NoneTaken);
        check_said(error(r#"{"errorType":"UndeliveredPackets","errorMessage":""}"#), Said::What);
        check_said(error(r#"{"errorType":"TooManyPackets"}"#), Said::NoneTaken);
        check_said(error(r#"{"errorType":"Runtime.ExitError"}"#), Said::Nothing);
        check_said(error("no JSON"), Said::Nothing);
        check_said(Outcome::NotInvoked("no".into()), Said::NoneTaken);
    }
}
