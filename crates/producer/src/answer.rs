//! What an invocation ends with: an answer in the words of whoever asked, or an error.

use std::fmt;

use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::input::{Caller, Envelope, METHODS, Refusal};

/// What became of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged { shard_id: String, sequence_number: String },
    Undelivered(Undelivered),
}

/// Why a packet is not in the stream, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Undelivered {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) attempts: u32,
    pub(crate) may_be_stored: bool,
    pub(crate) cause: Cause,
    /// The queue for undelivered packets has it.
    pub(crate) queued: bool,
}

/// What whoever asked can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Send something smaller.
    TooLarge,
    /// Nothing: this packet will never be taken.
    Hopeless,
    /// Have somebody put right what is missing.
    Fatal,
    /// Ask again.
    Passing,
}

impl Cause {
    pub(crate) fn can_be_mended_by_time(self) -> bool {
        matches!(self, Self::Fatal | Self::Passing)
    }
}

/// An answer, as JSON. It serialises to `{"Replies":…}` or to an HTTP response.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Answer(Form);

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Form {
    Plain(Box<RawValue>),
    Http(Response),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<serde_json::Value>,
    body: String,
    is_base64_encoded: bool,
}

/// Most bytes of an answer's body: 6 MB are carried (Lambda quotas), and in an HTTP response the body is text again,
/// which takes up to a quarter more for the quotes in it.
const BODY_BYTES: usize = 4 * 1024 * 1024;

/// Seconds after which a caller may try again: about as long as a throttled shard needs.
const RETRY_AFTER: &str = "1";

impl Answer {
    /// The answer to `caller` for packets with these tags (raw JSON) and fates, in order; `replies` is a JSON list.
    pub(crate) fn new(caller: Caller, replies: &str, packets: &[(Option<&str>, Fate)]) -> Self {
        let full = match caller {
            Caller::Gateway => body(replies, "Undelivered", packets.iter().filter_map(undelivered)),
            Caller::Direct | Caller::Http(_) => body(replies, "Records", packets.iter().map(record)),
        };
        // What is written is written: an answer that Lambda would not carry must not turn it into a failure.
        let body = if full.get().len() <= BODY_BYTES { full } else { short(packets) };
        match caller {
            Caller::Gateway | Caller::Direct => Self(Form::Plain(body)),
            Caller::Http(envelope) => {
                let status = status(packets);
                let headers: &[_] = if status == 503 { &[("retry-after", RETRY_AFTER)] } else { &[] };
                Self::http(envelope, status, headers, body.get().to_owned())
            }
        }
    }

    /// The answer to a request that brought no packets.
    pub(crate) fn refusal(refusal: &Refusal) -> Self {
        let headers: &[_] = if refusal.status == 405 { &[("allow", METHODS)] } else { &[] };
        Self::http(
            refusal.envelope,
            refusal.status,
            headers,
            json!({ "message": refusal.message }).to_string(),
        )
    }

    fn http(envelope: Envelope, status: u16, more: &[(&str, &str)], body: String) -> Self {
        let headers = [("content-type", "application/json")].iter().chain(more);
        let (lists, description) = match envelope {
            Envelope::Api => (false, None),
            // A load balancer wants the words of the status line too.
            Envelope::LoadBalancer { lists } => (lists, Some(format!("{status} {}", words(status)))),
        };
        let single: serde_json::Value =
            headers.clone().map(|&(name, value)| (name.to_owned(), json!(value))).collect();
        let many: serde_json::Value =
            headers.map(|&(name, value)| (name.to_owned(), json!([value]))).collect();
        Self(Form::Http(Response {
            status_code: status,
            status_description: description,
            headers: (!lists).then_some(single),
            multi_value_headers: lists.then_some(many),
            body,
            is_base64_encoded: false,
        }))
    }
}

/// `{"Replies":[…],"<list>":[…]}`; a list named `Undelivered` is there only when it holds something.
fn body(replies: &str, list: &str, entries: impl Iterator<Item = String>) -> Box<RawValue> {
    let mut text = format!(r#"{{"Replies":{replies}"#);
    let start = text.len();
    let mut empty = true;
    for entry in entries {
        text.push_str(if empty { "" } else { "," });
        text.push_str(&entry);
        empty = false;
    }
    if !empty || list == "Records" {
        text.insert_str(start, &format!(r#","{list}":["#));
        text.push(']');
    }
    text.push('}');
    // Built of JSON values, it is one; were it not, an empty answer would still say that nothing is replied.
    RawValue::from_string(text).unwrap_or_default()
}

/// The account in numbers alone. Every undelivered packet is in the log or in the queue all the same.
fn short(packets: &[(Option<&str>, Fate)]) -> Box<RawValue> {
    let undelivered = packets.iter().filter(|(_, fate)| matches!(fate, Fate::Undelivered(_))).count();
    let acknowledged = packets.len() - undelivered;
    let why = "the answer for each packet would be larger than Lambda carries";
    let text = json!({
        "Replies": [], "AcknowledgedCount": acknowledged, "UndeliveredCount": undelivered, "Omitted": why,
    });
    RawValue::from_string(text.to_string()).unwrap_or_default()
}

fn record((tag, fate): &(Option<&str>, Fate)) -> String {
    let tag = tag.unwrap_or("null");
    match fate {
        Fate::Acknowledged { shard_id, sequence_number } => {
            let (shard_id, sequence_number) = (json!(shard_id), json!(sequence_number));
            format!(r#"{{"Tag":{tag},"ShardId":{shard_id},"SequenceNumber":{sequence_number}}}"#)
        }
        Fate::Undelivered(Undelivered { code, message, .. }) => {
            let (code, message) = (json!(code), json!(message));
            format!(r#"{{"Tag":{tag},"ErrorCode":{code},"ErrorMessage":{message}}}"#)
        }
    }
}

fn undelivered((tag, fate): &(Option<&str>, Fate)) -> Option<String> {
    let Fate::Undelivered(Undelivered { code, message, .. }) = fate else { return None };
    let error = json!(format!("{code}: {message}"));
    Some(format!(r#"{{"Tag":{},"Error":{error}}}"#, tag.unwrap_or("null")))
}

/// 200 for all, 207 for some; for none 413 (all too large), 503 where asking again may help, else 500.
fn status(packets: &[(Option<&str>, Fate)]) -> u16 {
    let causes: Vec<_> = packets
        .iter()
        .filter_map(|(_, fate)| match fate {
            Fate::Acknowledged { .. } => None,
            Fate::Undelivered(undelivered) => Some(undelivered.cause),
        })
        .collect();
    if causes.is_empty() {
        200
    } else if causes.len() < packets.len() {
        207
    } else if causes.iter().all(|&cause| cause == Cause::TooLarge) {
        413
    } else if causes.contains(&Cause::Passing) && !causes.contains(&Cause::Fatal) {
        503
    } else {
        500
    }
}

fn words(status: u16) -> &'static str {
    match status {
        200 => "OK",
        207 => "Multi-Status",
        400 => "Bad Request",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// Why an invocation fails.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The event has none of the shapes that the producer knows. It may be meant for another function.
    #[error("expected an event with Messages, an HTTP request or a packet with Data; found {found}")]
    UnexpectedEvent {
        /// What was found, by its keys.
        found: String,
    },
    /// The event's `Messages` hold no list of packets.
    #[error("expected a list of packets in Messages, found {found}")]
    MessagesNotAList {
        /// The JSON type that was found.
        found: String,
    },
    /// The event's `Messages` hold more packets than are taken at once. None was written.
    #[error("expected at most {most} packets in Messages, found {given}; none was written")]
    TooManyPackets {
        /// How many there are.
        given: usize,
        /// How many are taken.
        most: usize,
    },
    /// Packets are undelivered for a cause that passes, and no queue has them: the caller should try again. All are in
    /// the log, and what was acknowledged will be repeated.
    #[error("{undelivered} of {given} packets are undelivered and in the log; the first for {first}")]
    UndeliveredPackets {
        /// How many are neither in the stream nor in the queue.
        undelivered: usize,
        /// How many were given.
        given: usize,
        /// The first one's reason.
        first: String,
    },
}

impl Error {
    /// The error type that Lambda shows, for whoever counts or alarms by it.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::UnexpectedEvent { .. } => "UnexpectedEvent",
            Self::MessagesNotAList { .. } => "MessagesNotAList",
            Self::TooManyPackets { .. } => "TooManyPackets",
            Self::UndeliveredPackets { .. } => "UndeliveredPackets",
        }
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.error_type().to_owned(), error_message: error.to_string() }
    }
}

/// Type and text, because this form is what the Lambda runtime writes to the log.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.error_type())
    }
}
