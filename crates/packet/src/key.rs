//! Partition keys: what the gateway calls `PartitionKeyExpression` and `PartitionKeyFormatter`.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::expression::{Expression, Fields, Scope, SyntaxError, Value};
use crate::packet::Packet;
use crate::payload::{write_ascii, write_base64, write_hex, write_utf8};

/// The longest partition key, in Unicode characters
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html>). One that is
/// longer, or empty, would have its whole request refused.
pub const PARTITION_KEY_CHARS: usize = 256;

/// An expression that makes a partition key of a packet, in the language of [`expression`](crate::expression).
#[derive(Debug, Clone, PartialEq)]
pub struct KeyExpression(Expression);

impl KeyExpression {
    /// Reads the expression; the error shows the place.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Expression::parse(text, Fields::Known).map(Self)
    }

    /// Whether the payload can make a difference to the key. If not, it need not be decoded: `payload` may be
    /// `None`.
    #[must_use]
    pub fn reads_payload(&self) -> bool {
        self.0.reads_payload()
    }

    /// The key of one packet, in `out`, replacing what was there. `payload` is the packet's decoded payload,
    /// `None` if it does not decode: fields of the packet then still have their values.
    ///
    /// Allocates only where text has to be built: escapes in the JSON, `Remote` and `Local` as host and port.
    pub fn key(
        &self,
        formatter: KeyFormatter,
        packet: &Packet<'_>,
        payload: Option<&[u8]>,
        out: &mut String,
    ) -> KeyOutcome {
        out.clear();
        let Some(value) = self.0.evaluate(Scope::packet(packet, payload)) else {
            let undecodable = payload.is_none() && self.reads_payload();
            return if undecodable { KeyOutcome::Undecodable } else { KeyOutcome::NoValue };
        };
        match value {
            Value::Text(text) => out.push_str(first(&text, ENOUGH_BYTES)),
            Value::Truth(truth) if formatter.is_plain() => out.push_str(if truth { "true" } else { "false" }),
            Value::Number(number) if formatter.is_plain() => write_number(number.value, out),
            value => {
                let mut room = Default::default();
                let bytes = value.as_bytes(&mut room);
                formatter.encode(&bytes[..bytes.len().min(ENOUGH_BYTES)], out);
            }
        }
        if out.is_empty() {
            return KeyOutcome::Empty;
        }
        let too_long = out.char_indices().nth(PARTITION_KEY_CHARS).map(|(end, _)| end);
        if let Some(end) = too_long {
            out.truncate(end);
        }
        KeyOutcome::Given { cut: too_long.is_some() }
    }
}

/// What an expression gave for one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum KeyOutcome {
    /// A key.
    Given {
        /// It was longer than [`PARTITION_KEY_CHARS`] and has been cut there.
        cut: bool,
    },
    /// No value: a range beyond the payload, a field that is not there, a division by zero.
    NoValue,
    /// An empty value, which cannot be a key.
    Empty,
    /// No value, and the payload that the expression reads could not be decoded.
    Undecodable,
}

/// How bytes become the text of a key. Numbers under `ascii` and `utf8` are decimal; text is always itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyFormatter {
    /// Two upper-case digits a byte; the gateway's default.
    #[default]
    Hex,
    /// The standard alphabet, with padding.
    Base64,
    /// ASCII, with `?` for every other byte.
    Ascii,
    /// UTF-8, with U+FFFD for what is not.
    Utf8,
}

impl KeyFormatter {
    fn is_plain(self) -> bool {
        matches!(self, Self::Ascii | Self::Utf8)
    }

    fn encode(self, bytes: &[u8], out: &mut String) {
        match self {
            Self::Hex => write_hex(bytes, out),
            Self::Base64 => write_base64(bytes, out),
            Self::Ascii => write_ascii(bytes, out),
            Self::Utf8 => write_utf8(bytes, out),
        }
    }
}

impl FromStr for KeyFormatter {
    type Err = UnknownKeyFormatter;

    fn from_str(word: &str) -> Result<Self, UnknownKeyFormatter> {
        const WORDS: [(&str, KeyFormatter); 4] = [
            ("hex", KeyFormatter::Hex),
            ("base64", KeyFormatter::Base64),
            ("ascii", KeyFormatter::Ascii),
            ("utf8", KeyFormatter::Utf8),
        ];
        let known = WORDS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
        known.map(|(_, formatter)| formatter).ok_or_else(|| UnknownKeyFormatter(word.into()))
    }
}

/// A word that is no [`KeyFormatter`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown formatter `{0}`, expected hex, base64, ascii or utf8")]
pub struct UnknownKeyFormatter(String);

/// A key that spreads packets evenly: the given random bits as a version 4 UUID, in 32 lower-case hex digits
/// without hyphens. The gateway makes a random GUID where it has no expression
/// (<https://www.proxylity.com/articles/now-available-kinesis-streams.html>); this is the form of those seen.
#[must_use]
pub fn random_key(bits: u128) -> String {
    const VERSION: u128 = 0xF << 76;
    const VARIANT: u128 = 0b11 << 62;
    let uuid = bits & !(VERSION | VARIANT) | 4 << 76 | 0b10 << 62;
    format!("{uuid:032x}")
}

/// So many bytes are more than [`PARTITION_KEY_CHARS`] characters in any formatter (UTF-8 takes at most 4
/// bytes a character), so the rest of a large payload need not be looked at. A multiple of 3, for base64's
/// groups.
const ENOUGH_BYTES: usize = (4 * (PARTITION_KEY_CHARS + 1)).next_multiple_of(3);

fn write_number(value: i128, out: &mut String) {
    write!(out, "{value}").unwrap_or_default(); // a String takes whatever is written
}

/// The start of `text`, at most `length` bytes.
fn first(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: KeyOutcome = KeyOutcome::Given { cut: false };

    #[track_caller]
    fn check(text: &str, formatter: &str, payload: &[u8], want: Result<&str, KeyOutcome>) {
        let packet = r#"{"Tag":"tög","Remote":{"IpAddress":"2001:db8::1","Port":5}}"#;
        check_packet(text, formatter, packet, Some(payload), want);
    }

    #[track_caller]
    fn check_packet(
        text: &str,
        formatter: &str,
        packet: &str,
        payload: Option<&[u8]>,
        want: Result<&str, KeyOutcome>,
    ) {
        let expression = KeyExpression::parse(text).unwrap();
        let packet = Packet::parse(packet).unwrap();
        let mut out = String::from("left from before");
        let outcome = expression.key(formatter.parse().unwrap(), &packet, payload, &mut out);
        match want {
            Ok(key) => assert_eq!((outcome, out.as_str()), (GIVEN, key), "{text}"),
            Err(other) => assert_eq!((outcome, out.as_str()), (other, ""), "{text}"),
        }
    }

    #[test]
    fn bytes_are_formatted() {
        check("[0:4]", "hex", b"\x01\x02\xAB\xCDhi", Ok("0102ABCD"));
        check("[0:2]", "base64", b"\xFB\xFF", Ok("+/8="));
        check("[:]", "ascii", b"a\xFF\x00", Ok("a?\0"));
        check("[:]", "utf8", b"\xC3\xB6\xFF", Ok("ö\u{FFFD}"));
        check("utf8[0:2]", "hex", "ö".as_bytes(), Ok("C3B6"));
        check("utf8[0:2]", "utf8", "ö".as_bytes(), Ok("ö"));
    }

    #[test]
    fn numbers_are_bytes_or_decimal() {
        check("u16le[0]", "hex", &[0x39, 0x30], Ok("3039"));
        check("u16le[0]", "base64", &[0x39, 0x30], Ok("MDk="));
        check("u16le[0]", "ascii", &[0x39, 0x30], Ok("12345"));
        check("i8[0]", "utf8", &[0xFE], Ok("-2"));
        check("i8[0]", "hex", &[0xFE], Ok("FE"));
        check("0xFFFF", "hex", b"", Ok("FFFF"));
        check("0xFFFF", "ascii", b"", Ok("65535"));
        check("u8[0] % 16", "utf8", &[0x35], Ok("5"));
        check("0x000000000000004F4B", "ascii", b"", Ok("\0\0\0\0\0\0\0OK")); // over 8 bytes: bytes
    }

    #[test]
    fn booleans_are_a_byte_or_a_word() {
        check("[0] == 1", "hex", &[1], Ok("01"));
        check("[0] == 1", "base64", &[0], Ok("AA=="));
        check("[0] == 1", "ascii", &[1], Ok("true"));
        check("[0] == 1", "utf8", &[0], Ok("false"));
    }

    #[test]
    fn text_is_itself_in_every_formatter() {
        for formatter in ["hex", "base64", "ascii", "utf8"] {
            check("Tag", formatter, b"", Ok("tög"));
            check("Remote", formatter, b"", Ok("[2001:db8::1]:5"));
            check("Remote.Port", formatter, b"", Ok("5"));
            check("Data#/id", formatter, br#"{"id":"a b"}"#, Ok("a b"));
        }
        check("Tag | [0]", "hex", b"", Ok("74")); // a part of it is bytes
    }

    #[test]
    fn what_is_no_key_says_why() {
        check("[0:4]", "hex", b"abc", Err(KeyOutcome::NoValue));
        check("Remote.PeerKey", "hex", b"abc", Err(KeyOutcome::NoValue));
        check("[]", "hex", b"abc", Err(KeyOutcome::Empty));
        check("[3:]", "base64", b"abc", Err(KeyOutcome::Empty));
        check("[:]", "utf8", b"", Err(KeyOutcome::Empty));
        check_packet("Tag", "hex", r#"{"Tag":""}"#, Some(b"abc"), Err(KeyOutcome::Empty));
        check_packet("[0:4]", "hex", "{}", None, Err(KeyOutcome::Undecodable));
        check_packet("Data#/id", "hex", "{}", None, Err(KeyOutcome::Undecodable));
        check_packet("Tag", "hex", "{}", None, Err(KeyOutcome::NoValue));
        check_packet("[0:4] ?? Tag", "hex", r#"{"Tag":"a"}"#, None, Ok("a"));
    }

    #[track_caller]
    fn check_cut(text: &str, formatter: KeyFormatter, packet: &str, payload: &[u8], want: &str, cut: bool) {
        let mut out = String::new();
        let expression = KeyExpression::parse(text).unwrap();
        let outcome = expression.key(formatter, &Packet::parse(packet).unwrap(), Some(payload), &mut out);
        assert_eq!(outcome, KeyOutcome::Given { cut });
        assert_eq!(out, want);
    }

    #[test]
    fn a_key_is_cut_at_256_characters() {
        let (hex, base64, utf8) = (KeyFormatter::Hex, KeyFormatter::Base64, KeyFormatter::Utf8);
        check_cut("[:]", hex, "{}", &[0xAB; 128], &"AB".repeat(128), false);
        check_cut("[:]", hex, "{}", &[0xAB; 129], &"AB".repeat(128), true);
        check_cut("[:]", hex, "{}", &[0xAB; 1_000_000], &"AB".repeat(128), true);
        check_cut("[:]", base64, "{}", &[0; 192], &"A".repeat(256), false);
        check_cut("[:]", base64, "{}", &[0; 193], &"A".repeat(256), true);
        check_cut("[:]", KeyFormatter::Ascii, "{}", &[0xFF; 256], &"?".repeat(256), false);
        check_cut("[:]", KeyFormatter::Ascii, "{}", &[0xFF; 257], &"?".repeat(256), true);
        check_cut("[:]", utf8, "{}", "😀".repeat(256).as_bytes(), &"😀".repeat(256), false);
        check_cut("[:]", utf8, "{}", "😀".repeat(257).as_bytes(), &"😀".repeat(256), true);
        check_cut(
            "[:]",
            utf8,
            "{}",
            format!("a{}", "😀".repeat(9999)).as_bytes(),
            &format!("a{}", "😀".repeat(255)),
            true,
        );
        let tag = |times| format!(r#"{{"Tag":"{}"}}"#, "😀".repeat(times));
        check_cut("Tag", hex, &tag(256), b"", &"😀".repeat(256), false);
        check_cut("Tag", hex, &tag(257), b"", &"😀".repeat(256), true);
        check_cut("Tag", hex, &tag(9999), b"", &"😀".repeat(256), true);
    }

    #[test]
    fn formatters_are_known_by_their_word() {
        assert_eq!(KeyFormatter::default(), KeyFormatter::Hex);
        assert_eq!("Base64".parse(), Ok(KeyFormatter::Base64));
        let error = "coap".parse::<KeyFormatter>().unwrap_err().to_string();
        assert_eq!(error, "unknown formatter `coap`, expected hex, base64, ascii or utf8");
    }

    #[test]
    fn a_random_key_is_a_version_4_uuid() {
        assert_eq!(random_key(0), "00000000000040008000000000000000");
        assert_eq!(random_key(u128::MAX), "ffffffffffff4fffbfffffffffffffff");
        assert_eq!(random_key(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), "0123456789ab4def8123456789abcdef");
    }
}
