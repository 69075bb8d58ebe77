//! The members of one line, written one after the other into the buffer in which the line grows.
//!
//! A line is written for every packet, so there is nothing between a value and its place in the buffer. What needs no
//! escaping, which is nearly everything, is found out many bytes at once and copied.

use std::io::Write;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::{Simd, general_purpose::PAD};
use jiff::Timestamp;
use serde::Serialize;

use crate::json;

/// The standard alphabet, padded.
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// The bytes of a line's `ascii` member at most: enough to recognise a payload, little beside its base64.
const PREVIEW_BYTES: usize = 64;

/// A line that has been begun.
#[derive(Debug)]
pub struct Members<'a> {
    buffer: &'a mut Vec<u8>,
    clock: &'a mut Clock,
}

impl<'a> Members<'a> {
    /// Begins a line with its timestamp.
    pub(super) fn begin(buffer: &'a mut Vec<u8>, clock: &'a mut Clock, timestamp: &str) -> Self {
        buffer.extend_from_slice(b"{\"timestamp\":\"");
        buffer.extend_from_slice(timestamp.as_bytes());
        buffer.push(b'"');
        Self { buffer, clock }
    }

    pub(super) fn end(self) {
        self.buffer.extend_from_slice(b"}\n");
    }

    /// A text. Control characters and the line separators of Unicode are escaped.
    pub fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        self.string(text);
    }

    /// A number that counts something.
    pub fn number(&mut self, name: &'static str, number: impl itoa::Integer) {
        self.name(name);
        self.buffer.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Something that is true or not.
    pub fn truth(&mut self, name: &'static str, truth: bool) {
        self.name(name);
        self.buffer.extend_from_slice(if truth { b"true" } else { b"false" });
    }

    /// A time in RFC 3339, to the millisecond.
    pub fn moment(&mut self, name: &'static str, moment: Timestamp) {
        self.name(name);
        self.clock.write(moment, self.buffer);
    }

    /// Bytes: as `text` where they are [`printable`], else as `base64` and, where that shows something (at least half of
    /// their beginning is printable ASCII), `ascii`: that beginning as hex dumps show it, with a dot for every other byte.
    /// What stands there in `base64` may be known already.
    pub fn contents(&mut self, bytes: &[u8], base64: Option<&str>) {
        if let Some(text) = printable(bytes) {
            return self.text("text", text);
        }
        match base64 {
            Some(base64) => self.text("base64", base64),
            None => self.base64("base64", bytes),
        }
        let beginning = &bytes[..bytes.len().min(PREVIEW_BYTES)];
        let is_shown = |byte: u8| matches!(byte, b' '..=b'~');
        // Counted in bytes, which the compiler does sixteen at once.
        let shown = beginning.iter().fold(0, |count: u8, &byte| count + u8::from(is_shown(byte)));
        if 2 * usize::from(shown) >= beginning.len() {
            let shown = beginning.iter().map(|&byte| if is_shown(byte) { char::from(byte) } else { '.' });
            self.text("ascii", &shown.collect::<String>());
        }
    }

    /// Bytes in base64, of the standard alphabet and padded.
    pub fn base64(&mut self, name: &'static str, bytes: &[u8]) {
        self.name(name);
        self.buffer.push(b'"');
        let start = self.buffer.len();
        self.buffer.resize(start + bytes.len().div_ceil(3) * 4, b'=');
        let written = BASE64.encode_slice(bytes, &mut self.buffer[start..]);
        debug_assert_eq!(written.ok(), Some(self.buffer.len() - start));
        self.buffer.push(b'"');
    }

    /// A value that is JSON already, on one line; what is no JSON is a text.
    pub fn raw(&mut self, name: &'static str, value: &str) {
        match serde_json::from_str::<&serde_json::value::RawValue>(value) {
            Ok(value) => self.json(name, value),
            Err(_) => self.text(name, value),
        }
    }

    /// Any other value, of a type that serialises. One that refuses to is named in its own place.
    pub fn json(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        self.name(name);
        let start = self.buffer.len();
        if let Err(why) = json::append(self.buffer, value) {
            self.buffer.truncate(start);
            self.string(&why.to_string());
        }
    }

    fn name(&mut self, name: &'static str) {
        self.buffer.extend_from_slice(b",\"");
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b"\":");
    }

    fn string(&mut self, text: &str) {
        if needs_no_escape(text.as_bytes()) {
            self.buffer.push(b'"');
            self.buffer.extend_from_slice(text.as_bytes());
            self.buffer.push(b'"');
        } else {
            // A text does not refuse.
            _ = json::append(self.buffer, text);
        }
    }
}

/// Whether all of it is printable ASCII, and nothing a quote or a backslash.
fn needs_no_escape(bytes: &[u8]) -> bool {
    let special = |byte: u8| (byte.wrapping_sub(b' ') > b'~' - b' ') | (byte == b'"') | (byte == b'\\');
    // A form that the compiler makes vector instructions of; the last ones may be looked at twice.
    let plain = |bytes: &[u8; 16]| !bytes.iter().fold(false, |found, &byte| found | special(byte));
    match bytes.last_chunk() {
        Some(last) => bytes.as_chunks().0.iter().all(plain) && plain(last),
        None => !bytes.iter().any(|&byte| special(byte)),
    }
}

/// The text in `bytes` if it can be shown as it is: UTF-8, and no control character other than tab, line feed
/// and carriage return.
pub fn printable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let shown = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    (needs_no_escape(bytes) || text.chars().all(shown)).then_some(text)
}

/// Writes times. Most of a batch's fall into few seconds, so the text of a second is kept until another one comes.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Option<i64>,
    /// `2026-11-20T10:00:00`.
    text: String,
}

impl Clock {
    /// The time in RFC 3339 to the millisecond, quoted; parts of one are cut off.
    fn write(&mut self, moment: Timestamp, out: &mut Vec<u8>) {
        let (second, millisecond) =
            (moment.as_millisecond().div_euclid(1000), moment.as_millisecond().rem_euclid(1000));
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            let whole = Timestamp::from_second(second).unwrap_or(moment);
            self.text.push_str(format!("{whole:.0}").trim_end_matches('Z'));
        }
        out.push(b'"');
        out.extend_from_slice(self.text.as_bytes());
        _ = write!(out, ".{millisecond:03}Z\"");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(add: impl FnOnce(&mut Members<'_>)) -> String {
        let (mut buffer, mut clock) = (Vec::new(), Clock::default());
        let mut members = Members::begin(&mut buffer, &mut clock, "t");
        add(&mut members);
        members.end();
        String::from_utf8(buffer).unwrap()
    }

    #[track_caller]
    fn check(add: impl FnOnce(&mut Members<'_>), want: &str) {
        assert_eq!(line(add), format!("{{\"timestamp\":\"t\"{want}}}\n"));
    }

    #[test]
    fn a_member_is_its_name_and_its_value() {
        check(|_| (), "");
        check(|line| line.text("a", ""), r#","a":"""#);
        check(|line| line.text("a", "x\"\\\n\u{7f}\u{2028}é"), r#","a":"x\"\\\n\u007f\u2028é""#);
        check(|line| line.number("a", u64::MAX), r#","a":18446744073709551615"#);
        check(|line| line.number("a", -7), r#","a":-7"#);
        check(|line| line.truth("a", true), r#","a":true"#);
        check(|line| line.truth("a", false), r#","a":false"#);
        check(|line| line.base64("a", b""), r#","a":"""#);
        check(|line| line.base64("a", &[0xff; 100]), &format!(r#","a":"{}w==""#, "/".repeat(133)));
        check(|line| line.json("a", &[Some(1), None]), r#","a":[1,null]"#);
        check(|line| line.raw("a", "{\n\"b\": 1e999}"), r#","a":{ "b": 1e999}"#);
        check(|line| line.raw("a", "{"), r#","a":"{""#);
        check(
            |line| line.json("a", &std::collections::BTreeMap::from([([1], 1)])),
            r#","a":"key must be a string""#,
        );
    }

    #[track_caller]
    fn check_contents(bytes: &[u8], want: &str) {
        check(|line| line.contents(bytes, None), want);
        let base64 = base64::prelude::BASE64_STANDARD.encode(bytes);
        check(|line| line.contents(bytes, Some(&base64)), want);
    }

    #[test]
    fn a_preview_is_there_where_it_shows_something() {
        check_contents(b"\x01\x02\x03\x04hello", r#","base64":"AQIDBGhlbGxv","ascii":"....hello""#);
        check_contents(b"ab\x01\x02", r#","base64":"YWIBAg==","ascii":"ab..""#);
        check_contents(b"ab\x01\x02\x03", r#","base64":"YWIBAgM=""#);
        check_contents(b"\xff", r#","base64":"/w==""#);
        let long = [&[b'a'; 64][..], &[0xff; 3]].concat();
        let want = format!(r#","base64":"{}Yf///w==","ascii":"{}""#, "YWFh".repeat(21), "a".repeat(64));
        check_contents(&long, &want);
    }

    #[track_caller]
    fn check_moments(moments: &[&str], want: &[&str]) {
        let (mut clock, mut out) = (Clock::default(), Vec::new());
        for moment in moments {
            clock.write(moment.parse().unwrap(), &mut out);
        }
        let want: String = want.iter().map(|moment| format!("\"{moment}\"")).collect();
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn a_time_is_told_to_the_millisecond_whatever_was_told_before() {
        check_moments(&["2026-11-20T10:00:00Z"], &["2026-11-20T10:00:00.000Z"]);
        check_moments(
            &[
                "2026-11-20T10:00:00.0409Z",
                "2026-11-20T10:00:00.999Z",
                "2026-11-20T10:00:01Z",
                "2026-11-20T10:00:00.1Z",
            ],
            &[
                "2026-11-20T10:00:00.040Z",
                "2026-11-20T10:00:00.999Z",
                "2026-11-20T10:00:01.000Z",
                "2026-11-20T10:00:00.100Z",
            ],
        );
        check_moments(
            &["1969-12-31T23:59:59.250Z", "1970-01-01T00:00:00Z"],
            &["1969-12-31T23:59:59.250Z", "1970-01-01T00:00:00.000Z"],
        );
    }

    proptest! {
        #[test]
        fn any_text_and_bytes_read_back(text in any::<String>(), bytes in any::<Vec<u8>>(), ascii in "[ -~]{0,80}") {
            let line = line(|line| {
                line.text("text", &text);
                line.text("ascii", &ascii);
                line.base64("bytes", &bytes);
            });
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&value["text"], &text);
            prop_assert_eq!(&value["ascii"], &ascii);
            prop_assert_eq!(base64::prelude::BASE64_STANDARD.decode(value["bytes"].as_str().unwrap()).unwrap(), bytes);
            let acted_upon = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            prop_assert!(!line.trim_end().chars().any(acted_upon));
        }
    }
}
