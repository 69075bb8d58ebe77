//! What goes back to the senders: the expression that makes it, and the gateway's `Replies`.

use crate::expression::{Expression, Fields, Scope, SyntaxError};
use crate::json;
use crate::payload::Format;

/// An expression over the payload alone: the language of [`KeyExpression`](crate::KeyExpression) without
/// fields of the packet and without JSON Pointers.
#[derive(Debug, Clone, PartialEq)]
pub struct ByteExpression(Expression);

impl ByteExpression {
    /// Reads the expression; the error shows the place.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Expression::parse(text, Fields::Refused).map(Self)
    }

    /// The bytes it gives for a decoded payload, in a buffer that the caller may use again: of a number as
    /// many as it is wide, big-endian; of a boolean 01 or 00. `None` if it has no value.
    pub fn bytes<'b>(&self, payload: &[u8], scratch: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        scratch.clear();
        let value = self.0.evaluate(Scope::payload(payload))?;
        scratch.extend_from_slice(value.as_bytes(&mut Default::default()));
        Some(scratch)
    }
}

/// The list that the gateway expects as `Replies` in the answer to a batch
/// (<https://www.proxylity.com/docs/destinations/lambda.html>): `{"Tag":…,"Data":…}` for every packet to be
/// answered.
#[derive(Debug, Clone, Default)]
pub struct Replies {
    /// The list's JSON but for the closing bracket; empty for an empty list.
    json: String,
    count: usize,
    text: String, // one reply's `Data` before escaping, kept for its room
}

impl Replies {
    /// Adds one reply: `bytes`, written in the format the packet came in, to the packet of this tag, whose JSON text
    /// ([`Packet::tag`](crate::Packet::tag)) is echoed as it came.
    pub fn push(&mut self, tag: Option<&str>, format: Format, bytes: &[u8]) -> Result<(), NoReply> {
        let tag = tag.filter(|tag| !json::is_null(tag)).ok_or(NoReply::NoTag)?;
        self.text.clear();
        if !format.encode(bytes, &mut self.text) {
            return Err(NoReply::Coap);
        }
        self.json.push_str(if self.count == 0 { "[{\"Tag\":" } else { ",{\"Tag\":" });
        self.json.push_str(tag);
        self.json.push_str(",\"Data\":");
        json::write_text(&self.text, &mut self.json);
        self.json.push('}');
        self.count += 1;
        Ok(())
    }

    /// How many replies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The list as JSON: `[]`, `[{"Tag":"a1b2","Data":"T0s="}]`.
    #[must_use]
    pub fn into_json(self) -> String {
        if self.count == 0 { "[]".into() } else { self.json + "]" }
    }
}

/// Why a packet cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoReply {
    /// It has no `Tag` (or `null` there), by which the gateway would find the sender.
    #[error("the packet has no Tag to answer to")]
    NoTag,
    /// It came as CoAP taken apart, which we cannot put together.
    #[error("a packet in the coap format cannot be answered")]
    Coap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, payload: &[u8], want: Option<&[u8]>) {
        let mut scratch = b"left from before".to_vec();
        assert_eq!(ByteExpression::parse(text).unwrap().bytes(payload, &mut scratch), want);
    }

    #[test]
    fn a_byte_expression_gives_bytes() {
        check("[0:2]", b"abc", Some(b"ab"));
        check("[]", b"abc", Some(b""));
        check("[3]", b"abc", None);
        check("0x4F4B", b"", Some(b"OK"));
        check("0x41434B4E4F574C454447454421", b"", Some(b"ACKNOWLEDGED!"));
        check("u16le[0]", b"ab", Some(b"ba"));
        check("u8[0] + 0xFF", b"\x01", Some(b"\x01\x00"));
        check("[0] == 0x61", b"a", Some(b"\x01"));
        check("[0] == 0x62", b"a", Some(b"\x00"));
    }

    #[test]
    fn a_byte_expression_knows_no_fields() {
        let error = ByteExpression::parse("Remote").unwrap_err().to_string();
        assert_eq!(
            error,
            "fields of the packet cannot be used here, only bytes of its payload\n  Remote\n  ^"
        );
    }

    fn tag(json: &str) -> Option<&str> {
        Some(json)
    }

    type Given<'a> = (Option<&'a str>, Format, &'a [u8], Result<(), NoReply>);

    #[track_caller]
    fn check_replies(given: &[Given<'_>], want: &str) {
        let mut replies = Replies::default();
        for (tag, format, bytes, answer) in given {
            assert_eq!(replies.push(*tag, *format, bytes), *answer);
        }
        let answered = given.iter().filter(|(_, _, _, answer)| answer.is_ok()).count();
        assert_eq!((replies.len(), replies.is_empty()), (answered, answered == 0));
        let json = replies.into_json();
        assert_eq!(json, want);
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&json).unwrap().len(), answered);
    }

    #[test]
    fn replies_are_a_list_in_each_packets_own_format() {
        check_replies(&[], "[]");
        check_replies(&[(tag(r#""a""#), Format::Base64, b"OK", Ok(()))], r#"[{"Tag":"a","Data":"T0s="}]"#);
        check_replies(
            &[
                (tag(r#""a""#), Format::Hex, b"\xAB\xCD", Ok(())),
                (tag(r#""a""#), Format::Ascii, b"\"\\\n\xFF", Ok(())),
                (tag(r#""a""#), Format::Utf8, "ö\u{1}".as_bytes(), Ok(())),
                (tag(r#""a""#), Format::Base64, b"", Ok(())),
            ],
            r#"[{"Tag":"a","Data":"ABCD"},{"Tag":"a","Data":"\"\\\u000a?"},{"Tag":"a","Data":"ö\u0001"},{"Tag":"a","Data":""}]"#,
        );
    }

    #[test]
    fn a_tag_is_echoed_as_it_came() {
        check_replies(
            &[
                (tag(r#""a\u0062""#), Format::Hex, b"", Ok(())),
                (tag("{ \"x\":1.0}"), Format::Hex, b"", Ok(())),
            ],
            r#"[{"Tag":"a\u0062","Data":""},{"Tag":{ "x":1.0},"Data":""}]"#,
        );
    }

    #[test]
    fn what_cannot_be_answered_leaves_the_list_as_it_was() {
        check_replies(
            &[
                (None, Format::Hex, b"a", Err(NoReply::NoTag)),
                (tag(r#""a""#), Format::Coap, b"a", Err(NoReply::Coap)),
                (tag(r#""b""#), Format::Hex, b"a", Ok(())),
                (tag("null"), Format::Hex, b"a", Err(NoReply::NoTag)),
                (tag(r#""c""#), Format::Coap, b"a", Err(NoReply::Coap)),
            ],
            r#"[{"Tag":"b","Data":"61"}]"#,
        );
    }
}
