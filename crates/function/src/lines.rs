//! The lines of one invocation, built in one buffer and written with one write.
//!
//! Every line is a JSON object that begins with `timestamp` (RFC 3339) and `level`: without the two Lambda takes
//! a line for INFO and may filter it out
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>).
//! The timestamp is formatted once per invocation, and no control character is ever written raw.

use std::io::{self, Write};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::json;
use crate::log::Level;

/// The longest line written, in bytes: CloudWatch Logs took 256 KB for an event for most of its life and agents
/// still cut there (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>);
/// the rest is room for what is wrapped around a line on its way.
pub const LINE_BYTES: usize = 200_000;

/// The bytes in each part of an entry that does not fit one line: 160,000 characters in base64, which leaves
/// 40,000 of [`LINE_BYTES`] for the fields beside them.
pub const PART_BYTES: usize = 120_000;

/// The lines of an invocation, not yet written.
#[derive(Debug)]
pub struct Lines {
    threshold: Level,
    now: Timestamp,
    timestamp: String,
    request_id: String,
    buffer: Vec<u8>,
    entries_in_parts: u32,
    torn: bool,
}

/// A place in [`Lines`] to which they can be taken back.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

impl Lines {
    /// No lines; those below `threshold` will not be taken.
    pub fn new(threshold: Level) -> Self {
        Self {
            threshold,
            now: Timestamp::UNIX_EPOCH,
            timestamp: String::new(),
            request_id: String::new(),
            buffer: Vec::new(),
            entries_in_parts: 0,
            torn: false,
        }
    }

    /// Begins an invocation: forgets lines not written, keeps the buffer's memory.
    pub fn begin(&mut self, now: Timestamp, request_id: &str) {
        self.now = now;
        self.timestamp = format!("{now:.3}");
        request_id.clone_into(&mut self.request_id);
        self.entries_in_parts = 0;
        self.buffer.clear();
        if self.torn {
            self.buffer.push(b'\n'); // ends the line that a failed write may have left half-written
        }
    }

    /// The request id given to [`begin`](Self::begin).
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Whether a line of this level would be taken; for work that is only worth doing when it is.
    pub fn takes(&self, level: Level) -> bool {
        self.written_level(level).is_some()
    }

    /// Adds a line: `timestamp`, `level`, `message` and the members of `fields`, which must be a struct or a map.
    pub fn push<F: Serialize>(&mut self, level: Level, message: &str, fields: &F) {
        if let Some(level) = self.written_level(level) {
            self.line(level, message, fields);
        }
    }

    /// Adds `bytes` whole, beside `fields`: as [`Contents`] when that fits one line of [`LINE_BYTES`], else as
    /// numbered lines with the members `id` (what belongs together), `part` (from 1), `of` and `base64`. The
    /// parts' bytes, put one behind the other, are `bytes` again.
    ///
    /// `fields` come back on each part, so they should be short. It is written whatever the threshold: a log may be the
    /// only place that still has the bytes.
    pub fn whole<F: Serialize>(&mut self, level: Level, message: &str, fields: &F, bytes: &[u8]) {
        let level = level.max(self.threshold);
        if bytes.len() <= LINE_BYTES {
            let mark = self.mark();
            self.line(level, message, &Beside { fields, more: Contents::of(bytes) });
            if self.len_since(mark) <= LINE_BYTES {
                return;
            }
            self.rewind(mark);
        }
        self.entries_in_parts += 1;
        let id = format!("{}-{}", self.request_id, self.entries_in_parts);
        let of = bytes.len().div_ceil(PART_BYTES);
        for (part, bytes) in (1..).zip(bytes.chunks(PART_BYTES)) {
            let more = Part { id: &id, part, of, base64: Base64(bytes) };
            self.line(level, message, &Beside { fields, more });
        }
    }

    /// The place reached, for [`rewind`](Self::rewind).
    pub fn mark(&self) -> Mark {
        Mark(self.buffer.len())
    }

    /// Takes back everything added since `mark`, half-written lines included.
    pub fn rewind(&mut self, mark: Mark) {
        self.buffer.truncate(mark.0);
    }

    /// The bytes added since `mark`.
    pub fn len_since(&self, mark: Mark) -> usize {
        self.buffer.len().saturating_sub(mark.0)
    }

    /// Writes all lines with one `write_all` and forgets them, written or not. The caller locks standard output
    /// for it (`stdout().lock()`), so that no other line comes between.
    ///
    /// # Errors
    /// The writer's own. Then any number of the lines may have been written, the last of them in part.
    pub fn write_to(&mut self, out: &mut impl Write) -> io::Result<()> {
        let written = out.write_all(&self.buffer).and_then(|()| out.flush());
        self.torn = written.is_err();
        self.buffer.clear();
        written
    }

    /// The moment given to [`begin`](Self::begin).
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Adds a line whatever the threshold: at `level`, or at the threshold where that is more severe, because
    /// Lambda's own filter would drop it otherwise.
    pub fn push_always<F: Serialize>(&mut self, level: Level, message: &str, fields: &F) {
        self.line(level.max(self.threshold), message, fields);
    }

    /// The level under which a line is written, if it is. An ERROR is written always (it may be the last place
    /// that names a packet): where only FATAL passes, as FATAL.
    fn written_level(&self, level: Level) -> Option<Level> {
        (level >= self.threshold || level >= Level::Error).then(|| level.max(self.threshold))
    }

    fn line<F: Serialize>(&mut self, level: Level, message: &str, fields: &F) {
        let mark = self.mark();
        let line = Line { timestamp: &self.timestamp, level: level.as_str(), message, fields };
        if let Err(why) = json::append(&mut self.buffer, &line) {
            self.rewind(mark);
            let fields = Unwritable { reason: why.to_string() };
            let line = Line { timestamp: &self.timestamp, level: level.as_str(), message, fields: &fields };
            // Strings alone: this one cannot fail.
            _ = json::append(&mut self.buffer, &line);
        }
        self.buffer.push(b'\n');
    }
}

/// The text in `bytes` if it can be shown as it is: UTF-8, and no control character other than tab, line feed
/// and carriage return.
pub fn printable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let shown = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    text.chars().all(shown).then_some(text)
}

/// The bytes of a line's `ascii` member at most: enough to recognise a payload, little beside its base64.
const PREVIEW_BYTES: usize = 64;

/// Bytes as members of a line: `text` where they are [`printable`], else `base64` (standard alphabet, padded) and,
/// for the eye, `ascii`: their beginning, with a dot for every byte that is no printable ASCII.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Contents<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ascii: Option<Preview<'a>>,
}

impl<'a> Contents<'a> {
    /// The members for `bytes`.
    pub fn of(bytes: &'a [u8]) -> Self {
        match printable(bytes) {
            Some(text) => Self { text: Some(text), base64: None, ascii: None },
            None => Self { text: None, base64: Some(Base64(bytes)), ascii: Some(Preview(bytes)) },
        }
    }
}

/// The beginning of some bytes, as hex dumps show it.
#[derive(Debug, Clone, Copy)]
struct Preview<'a>(&'a [u8]);

impl Serialize for Preview<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = [b'.'; PREVIEW_BYTES];
        let length = self.0.len().min(PREVIEW_BYTES);
        for (shown, byte) in shown.iter_mut().zip(self.0) {
            if matches!(byte, b' '..=b'~') {
                *shown = *byte;
            }
        }
        serializer.serialize_str(std::str::from_utf8(&shown[..length]).unwrap_or_default())
    }
}

/// Bytes written as base64 without a string in between.
#[derive(Debug, Clone, Copy)]
struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

#[derive(Serialize)]
struct Line<'a, F> {
    timestamp: &'a str,
    level: &'a str,
    message: &'a str,
    #[serde(flatten)]
    fields: &'a F,
}

#[derive(Serialize)]
struct Beside<'a, F, M> {
    #[serde(flatten)]
    fields: &'a F,
    #[serde(flatten)]
    more: M,
}

#[derive(Serialize)]
struct Part<'a> {
    id: &'a str,
    part: usize,
    of: usize,
    base64: Base64<'a>,
}

/// In place of fields that could not be written, which for a struct of plain values does not happen.
#[derive(Serialize)]
struct Unwritable {
    reason: String,
}

#[cfg(test)]
mod tests;
