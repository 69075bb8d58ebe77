//! The counts of a run, kept by everyone who sees a packet pass, read by whoever shows them.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Records that the mapping gave up after its attempts.
    pub discarded: Count,
    /// Records that the stream's retention removed before the mapping had read them.
    pub trimmed: Count,
    /// Replies sent back to their senders.
    pub replies: Count,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub dropped: Count,
}

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
/// request, or one.
pub fn packets(event: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "Messages", default, deserialize_with = "some")]
        messages: Option<Option<Vec<IgnoredAny>>>,
        #[serde(rename = "Records")]
        records: Option<IgnoredAny>, // an event of the consumer's
        #[serde(borrow)]
        body: Option<Cow<'a, str>>,
        #[serde(rename = "isBase64Encoded", default)]
        base64: bool,
    }
    match serde_json::from_slice(event) {
        Ok(Event { messages: Some(messages), .. }) => messages.map_or(0, |messages| messages.len() as u64),
        Ok(Event { records: Some(_), .. }) => 0,
        Ok(Event { body: Some(body), base64: false, .. }) => packets_of_body(body.as_bytes()),
        Ok(Event { body: Some(body), base64: true, .. }) => {
            BASE64_STANDARD.decode(body.as_bytes()).map_or(0, |body| packets_of_body(&body))
        }
        Ok(_) if event.trim_ascii() == b"{}" => 0,
        Ok(_) | Err(_) => 1,
    }
}

/// How many packets the body of an HTTP request brings: those of its batch, if it is one, or itself.
pub(crate) fn packets_of_body(body: &[u8]) -> u64 {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Batch {
        messages: Option<Vec<IgnoredAny>>,
    }
    let batch = serde_json::from_slice::<Batch>(body).ok().and_then(|batch| batch.messages);
    batch.map_or(1, |messages| messages.len() as u64)
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
        }
    }

    /// Reads what concerns it from whole lines of the consumer's log.
    pub fn read_consumer_log(&self, lines: &[u8]) {
        for summary in summaries(lines) {
            self.logged.add(summary.packets + summary.not_packets + summary.undecodable);
        }
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
        check_packets(r#"{"Data":"AQ=="}"#, 1);
        check_packets(r#"{"requestContext":{},"body":"hello"}"#, 1);
        check_packets(r#"{"requestContext":{},"body":"{}"}"#, 1);
        check_packets(r#"{"requestContext":{},"body":"{\"Messages\":[{},{}]}"}"#, 2);
        check_packets(
            r#"{"requestContext":{},"body":"eyJNZXNzYWdlcyI6W3t9LHt9XX0=","isBase64Encoded":true}"#,
            2,
        );
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
