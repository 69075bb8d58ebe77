//! A message of the queue: the packet, and why it is there.

use serde::Serialize;
use serde_json::value::RawValue;

use super::MESSAGE_BYTES;

/// An undelivered packet, as a reader of the queue finds it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Message<'a> {
    /// The stream that it was meant for: its ARN, or its name where that is all that is known.
    pub(crate) stream: &'a str,
    /// Null for what is no packet.
    pub(crate) partition_key: Option<&'a str>,
    /// `code: message`, as in the log.
    pub(crate) reason: String,
    /// Requests that carried it.
    pub(crate) attempts: u32,
    /// It may be in the stream all the same.
    pub(crate) may_be_stored: bool,
    /// Its JSON as it came, a value and not a text.
    pub(crate) packet: &'a RawValue,
}

impl Message<'_> {
    /// The message's body; none if it is too large for the queue.
    pub(crate) fn body(&self) -> Option<String> {
        let body = serde_json::to_string(self).ok()?;
        let body = if body.contains(IS_REFUSED) { escaped(&body) } else { body };
        (body.len() <= MESSAGE_BYTES).then_some(body)
    }
}

/// The characters that JSON allows in a string and SQS refuses (API reference, SendMessage, `MessageBody`). Outside of
/// strings JSON has only ASCII, of which SQS refuses nothing that JSON allows there.
const IS_REFUSED: [char; 2] = ['\u{FFFE}', '\u{FFFF}'];

/// The same JSON with an escape in place of each such character.
fn escaped(json: &str) -> String {
    json.replace('\u{FFFE}', r"\ufffe").replace('\u{FFFF}', r"\uffff")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn message<'a>(packet: &'a RawValue, partition_key: Option<&'a str>) -> Message<'a> {
        let reason = "Slow: because".to_owned();
        Message { stream: "packets", partition_key, reason, attempts: 3, may_be_stored: true, packet }
    }

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[track_caller]
    fn check(packet: &str, want: &str) {
        assert_eq!(message(raw(packet), Some("k")).body().unwrap(), want);
    }

    #[test]
    fn the_packet_is_a_value_and_stays_as_it_came() {
        let packet = r#"{ "Big":123456789012345678901234567890,"F":1.0e0,"A":1,"A":2,"u":"\u00e9\/" }"#;
        let around = r#"{"Stream":"packets","PartitionKey":"k","Reason":"Slow: because","Attempts":3,"MayBeStored":true,"Packet":"#;
        check(packet, &format!("{around}{packet}}}"));
        check("null", &format!("{around}null}}"));
    }

    #[test]
    fn characters_that_sqs_refuses_are_escaped_and_others_are_not() {
        let body = message(raw("\"\u{FFFE}\u{FFFF}\u{85}\u{7F}\u{1FFFE}\u{FFFD}\""), Some("\u{FFFF}\u{1}"))
            .body()
            .unwrap();
        assert!(body.ends_with("\"Packet\":\"\\ufffe\\uffff\u{85}\u{7F}\u{1FFFE}\u{FFFD}\"}"), "{body}");
        assert!(body.contains(r#""PartitionKey":"\uffff\u0001""#), "{body}");
    }

    #[test]
    fn a_message_of_the_most_bytes_has_a_body_and_a_larger_one_has_none() {
        let of = |length: usize| {
            let packet = format!("\"{}\"", "x".repeat(length));
            message(raw(&packet), None).body().map(|body| body.len())
        };
        let around = of(0).unwrap();
        assert_eq!(of(MESSAGE_BYTES - around), Some(MESSAGE_BYTES));
        assert_eq!(of(MESSAGE_BYTES - around + 1), None);
        let escapes = format!("\"{}\"", "\u{FFFF}".repeat(200_000));
        assert_eq!(message(raw(&escapes), None).body(), None, "600 kB that become 1.2 MB");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_body_reads_back_and_holds_what_sqs_takes(text in any::<String>(), key in any::<String>(), odd in "[\u{FFFD}-\u{FFFF}]{0,3}") {
            let packet = json!({ "Data": text, &odd: [odd] }).to_string();
            let body = message(raw(&packet), Some(&key)).body().unwrap();
            let read: Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(&read["Packet"], &serde_json::from_str::<Value>(&packet).unwrap());
            prop_assert_eq!(&read["PartitionKey"], &json!(key));
            let taken = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
            prop_assert!(body.chars().all(taken));
        }
    }
}
