//! The formats in which a payload travels as text in `Data`, and how it becomes bytes and text again.

use std::str::FromStr;
use std::sync::LazyLock;

use base64::engine::{DecodePaddingMode, GeneralPurposeConfig, Simd};
use base64::{DecodeError, Engine as _};
use memchr::memchr2;

/// How `Data` carries the payload: a packet's `Formatter`. The words are those of the gateway, in any case;
/// the gateway's template validates the first four and its CoAP example adds `coap`
/// (<https://github.com/proxylity/examples>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Base64; what a packet without a `Formatter` has. Written with the standard alphabet and padding; read
    /// with or without padding, in the standard and the URL-safe alphabet.
    #[default]
    Base64,
    /// Two hexadecimal digits a byte, nothing between them. Written upper case, read in either.
    Hex,
    /// The text itself. Written with `?` for each byte outside ASCII.
    Ascii,
    /// The text itself. Written with U+FFFD for what is not UTF-8.
    Utf8,
    /// A CoAP message that the gateway has taken apart, as JSON in the string. Its payload is that JSON text.
    /// We cannot write it.
    Coap,
}

impl Format {
    /// Decodes `data` into `out`, replacing what was there. On an error `out` holds nothing of use.
    pub fn decode(self, data: &str, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        out.clear();
        match self {
            Self::Base64 => decode_base64(data, out),
            Self::Hex => decode_hex(data, out),
            Self::Ascii | Self::Utf8 | Self::Coap => {
                out.extend_from_slice(data.as_bytes());
                Ok(())
            }
        }
    }

    /// Appends `bytes` to `out` in this format. `false`, and nothing appended, for [`Format::Coap`].
    #[must_use = "CoAP cannot be written"]
    pub fn encode(self, bytes: &[u8], out: &mut String) -> bool {
        match self {
            Self::Base64 => write_base64(bytes, out),
            Self::Hex => write_hex(bytes, out),
            Self::Ascii => write_ascii(bytes, out),
            Self::Utf8 => write_utf8(bytes, out),
            Self::Coap => return false,
        }
        true
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        const WORDS: [(&str, Format); 5] = [
            ("base64", Format::Base64),
            ("hex", Format::Hex),
            ("ascii", Format::Ascii),
            ("utf8", Format::Utf8),
            ("coap", Format::Coap),
        ];
        let known = WORDS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
        known.map(|(_, format)| format).ok_or_else(|| UnknownFormat { found: format!("`{word}`") })
    }
}

/// A packet's `Formatter` is none that we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown Formatter {found}, expected base64, hex, ascii, utf8 or coap")]
pub struct UnknownFormat {
    /// What was there: the word in backquotes, or the kind of JSON value that is no word.
    pub(crate) found: String,
}

/// Why a packet's `Data` gives no payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The packet has no `Data`, or `null` there.
    #[error("the packet has no Data")]
    Missing,
    /// `Data` is a JSON value of another type.
    #[error("Data must be a string, found {found}")]
    NotAString {
        /// The type found: "a number".
        found: &'static str,
    },
    /// `Data` is a JSON string with an escape that is half a surrogate pair.
    #[error("Data holds an escape that stands for no character")]
    NotText,
    /// The `Formatter` is none that we know.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// A character that the format does not have.
    #[error("Data is not {format}: {character:?} at offset {offset}")]
    Character {
        /// "base64" or "hex".
        format: &'static str,
        /// The first character that does not belong.
        character: char,
        /// Where it is, in characters from the start of `Data`.
        offset: usize,
    },
    /// A length that the format cannot have: one base64 digit left over, or an odd number of hex digits.
    #[error("Data is not {format}: a digit left over (length {digits})")]
    Length {
        /// "base64" or "hex".
        format: &'static str,
        /// How many digits there are.
        digits: usize,
    },
}

/// Appends standard base64 with padding (RFC 4648, section 4).
pub(crate) fn write_base64(bytes: &[u8], out: &mut String) {
    BASE64.encode_string(bytes, out);
}

/// Whether `data`, which decodes to `bytes`, is what [`write_base64`] makes of them: there are other alphabets, missing
/// padding, and last digits that say more than there is.
pub(crate) fn is_written_base64(data: &str, bytes: &[u8]) -> bool {
    let (groups, rest) = bytes.as_chunks::<3>();
    let mut end = [0; 4];
    let written = BASE64.encode_slice(rest, &mut end).unwrap_or(0);
    data.len() == 4 * groups.len() + written
        && data.as_bytes().ends_with(&end[..written])
        && memchr2(b'-', b'_', data.as_bytes()).is_none()
}

/// Appends two upper-case hex digits a byte, as the gateway writes them.
pub(crate) fn write_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 0xF)]));
    }
}

/// Appends ASCII, and `?` for every byte that is not.
pub(crate) fn write_ascii(bytes: &[u8], out: &mut String) {
    out.extend(bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }));
}

/// Appends UTF-8, and U+FFFD for every sequence that is not.
pub(crate) fn write_utf8(bytes: &[u8], out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// Writes the standard form and reads the careless ones: without padding, with stray bits in the last digit.
static BASE64: LazyLock<Simd> = LazyLock::new(|| {
    Simd::standard(
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    )
});

fn decode_base64(data: &str, out: &mut Vec<u8>) -> Result<(), PayloadError> {
    let decoded = BASE64.decode_vec(data, out).or_else(|error| {
        if !data.contains(['-', '_']) {
            return Err(error);
        }
        out.clear();
        BASE64.decode_vec(data.replace('-', "+").replace('_', "/"), out)
    });
    decoded.map_err(|error| match error {
        // The decoder names a byte, and not always the first bad one: a last one without a group comes before
        // all. What stands before the first is ASCII, so that its place is the same in characters.
        DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol { offset, .. } => {
            let stranger = data.find(|character| !is_base64(character));
            let offset = stranger.map_or(offset, |first| first.min(offset));
            PayloadError::Character {
                format: "base64",
                character: data.get(offset..).and_then(|rest| rest.chars().next()).unwrap_or('='),
                offset,
            }
        }
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => {
            PayloadError::Length { format: "base64", digits: data.trim_end_matches('=').len() }
        }
    })
}

/// Whether a character occurs in base64 of either alphabet, padding included.
fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '-' | '_' | '=')
}

fn decode_hex(data: &str, out: &mut Vec<u8>) -> Result<(), PayloadError> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, _) = data.as_bytes().as_chunks();
    for [high, low] in pairs {
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { break };
        out.push(high << 4 | low);
    }
    if out.len() * 2 == data.len() {
        return Ok(());
    }
    let stranger = data.chars().enumerate().find(|(_, character)| !character.is_ascii_hexdigit());
    Err(match stranger {
        Some((offset, character)) => PayloadError::Character { format: "hex", character, offset },
        None => PayloadError::Length { format: "hex", digits: data.len() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: Format, data: &str, want: Result<&[u8], &str>) {
        let mut out = b"left from before".to_vec();
        let got = format.decode(data, &mut out).map(|()| &out[..]).map_err(|error| error.to_string());
        assert_eq!(got, want.map_err(String::from));
    }

    #[test]
    fn base64_is_read_with_and_without_padding_and_in_both_alphabets() {
        check(Format::Base64, "", Ok(b""));
        check(Format::Base64, "AQIDBA==", Ok(b"\x01\x02\x03\x04"));
        check(Format::Base64, "AQIDBA", Ok(b"\x01\x02\x03\x04"));
        check(Format::Base64, "AQIDBA=", Ok(b"\x01\x02\x03\x04"));
        check(Format::Base64, "+/8=", Ok(b"\xFB\xFF"));
        check(Format::Base64, "-_8=", Ok(b"\xFB\xFF"));
        check(Format::Base64, "-/8", Ok(b"\xFB\xFF"));
    }

    #[test]
    fn stray_bits_in_the_last_base64_digit_are_dropped() {
        check(Format::Base64, "AR==", Ok(b"\x01"));
        check(Format::Base64, "AQF", Ok(b"\x01\x01"));
    }

    #[test]
    fn bad_base64_names_the_character_and_its_place() {
        check(Format::Base64, "not*base64", Err("Data is not base64: '*' at offset 3"));
        check(Format::Base64, "AQID BA==", Err("Data is not base64: ' ' at offset 4"));
        check(Format::Base64, "-_-_größer", Err("Data is not base64: 'ö' at offset 6"));
        check(Format::Base64, "AA==AA==", Err("Data is not base64: '=' at offset 2"));
        check(Format::Base64, "AAA\n", Err("Data is not base64: '\\n' at offset 3"));
        check(Format::Base64, "öAA\n", Err("Data is not base64: 'ö' at offset 0"));
        check(Format::Base64, "AAAö", Err("Data is not base64: 'ö' at offset 3"));
        check(Format::Base64, "AQIDB", Err("Data is not base64: a digit left over (length 5)"));
        check(Format::Base64, "A", Err("Data is not base64: a digit left over (length 1)"));
        check(Format::Base64, "A===", Err("Data is not base64: '=' at offset 1"));
    }

    #[test]
    fn hex_is_read_in_either_case() {
        check(Format::Hex, "", Ok(b""));
        check(Format::Hex, "FE09a2C2", Ok(b"\xFE\x09\xA2\xC2"));
    }

    #[test]
    fn bad_hex_names_the_character_or_the_length() {
        check(Format::Hex, "01 02 0X", Err("Data is not hex: ' ' at offset 2"));
        check(Format::Hex, "0x01", Err("Data is not hex: 'x' at offset 1"));
        check(Format::Hex, "01g", Err("Data is not hex: 'g' at offset 2"));
        check(Format::Hex, "0ö1", Err("Data is not hex: 'ö' at offset 1"));
        check(Format::Hex, "0102030", Err("Data is not hex: a digit left over (length 7)"));
    }

    #[test]
    fn text_is_its_own_payload() {
        check(Format::Ascii, "größer", Ok("größer".as_bytes()));
        check(Format::Utf8, "\u{FFFD}\0", Ok("\u{FFFD}\0".as_bytes()));
        check(Format::Coap, "{}", Ok(b"{}"));
    }

    #[track_caller]
    fn check_encoded(format: Format, bytes: &[u8], want: Option<&str>) {
        let mut out = String::from(">");
        let written = format.encode(bytes, &mut out);
        assert_eq!(written.then_some(&out[1..]), want);
        assert!(written || out == ">");
    }

    #[test]
    fn bytes_are_written_as_the_gateway_writes_them() {
        check_encoded(Format::Base64, b"", Some(""));
        check_encoded(Format::Base64, b"\xFB\xFF", Some("+/8="));
        check_encoded(Format::Hex, b"\xFE\x09\xA2", Some("FE09A2"));
        check_encoded(Format::Ascii, "a\0ö".as_bytes(), Some("a\0??"));
        check_encoded(Format::Utf8, "ö😀".as_bytes(), Some("ö😀"));
        check_encoded(Format::Utf8, b"a\xFFb\xE2\x82", Some("a\u{FFFD}b\u{FFFD}"));
        check_encoded(Format::Coap, b"a", None);
    }
}
