//! JSON as it goes into the log: on one line, and with no control character left raw.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;

/// Appends `value` as JSON to `buffer`.
///
/// # Errors
/// When the value itself refuses to be written; writing to a buffer does not fail. `buffer` then holds a part.
pub(crate) fn append<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(buffer, OneLine))
}

/// Escapes what JSON allows inside a string but a terminal or a log reader may act upon: DEL, the C1 controls
/// and the line separators U+2028 and U+2029. (Those below U+0020 are escaped by JSON's own rule.)
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.is_ascii() && !fragment.as_bytes().contains(&DEL) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(is_escaped) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut after = rest[at..].chars();
            if let Some(character) = after.next() {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            rest = after.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    /// Raw JSON may have line breaks between its tokens, and nowhere else: they become spaces. What is escaped
    /// in strings can only stand in a string there too.
    fn write_raw_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for (index, piece) in fragment.split(['\n', '\r', '\t']).enumerate() {
            if index > 0 {
                writer.write_all(b" ")?;
            }
            self.write_string_fragment(writer, piece)?;
        }
        Ok(())
    }
}

const DEL: u8 = 0x7f;

fn is_escaped(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn json<T: Serialize + ?Sized>(value: &T) -> String {
        let mut buffer = Vec::new();
        append(&mut buffer, value).unwrap();
        String::from_utf8(buffer).unwrap()
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(json(text), want);
    }

    #[track_caller]
    fn check_raw(raw: &str, want: &str) {
        assert_eq!(json(&RawValue::from_string(raw.to_owned()).unwrap()), want);
    }

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        check("plain", r#""plain""#);
        check("a\u{0}\n\u{1b}\"\\", r#""a\u0000\n\u001b\"\\""#);
        check("\u{7f}", r#""\u007f""#);
        check("x\u{80}\u{9f}\u{a0}", "\"x\\u0080\\u009f\u{a0}\"");
        check("é\u{2027}\u{2028}\u{2029}z", "\"é\u{2027}\\u2028\\u2029z\"");
    }

    #[test]
    fn raw_json_stays_what_it_is_on_one_line() {
        check_raw("{\n \"a\" :\t[1e999,\r\n\"\\u00e9\"]}", "{  \"a\" : [1e999,  \"\\u00e9\"]}");
        check_raw("\"\u{7f}\u{2028}é\"", "\"\\u007f\\u2028é\"");
    }

    proptest! {
        #[test]
        fn any_text_reads_back_and_shows_no_control_character(text in any::<String>()) {
            let written = json(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
            prop_assert!(!written.chars().any(|c| c.is_control() || is_escaped(c)));
        }
    }
}
