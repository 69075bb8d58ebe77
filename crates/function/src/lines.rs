//! The lines of one invocation, built in one buffer and written with one write.
//!
//! Every line is a JSON object that begins with `timestamp` (RFC 3339) and `level`: without the two Lambda takes
//! a line for INFO and may filter it out
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>).
//! The timestamp is formatted once per invocation, and no control character is ever written raw.

use std::io::{self, Write};

use jiff::Timestamp;

use crate::log::Level;

mod members;

use members::Clock;
pub use members::{Members, printable};

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
    clock: Clock,
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
            clock: Clock::default(),
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

    /// Adds a line: `timestamp`, `level`, `message` and the members that `add` gives it.
    pub fn push(&mut self, level: Level, message: &str, add: impl FnOnce(&mut Members<'_>)) {
        if let Some(level) = self.written_level(level) {
            self.line(level, message, add);
        }
    }

    /// Adds `bytes` whole, beside the members that `add` gives: as [`Members::contents`] when that fits one line of
    /// [`LINE_BYTES`], else as numbered lines with the members `id` (what belongs together), `part` (from 1), `of` and
    /// `base64`. The parts' bytes, put one behind the other, are `bytes` again.
    ///
    /// The members come back on each part, so they should be short. It is written whatever the threshold: a log may be the
    /// only place that still has the bytes.
    pub fn whole(&mut self, level: Level, message: &str, bytes: &[u8], add: impl Fn(&mut Members<'_>)) {
        let level = level.max(self.threshold);
        if bytes.len() <= LINE_BYTES {
            let mark = self.mark();
            self.line(level, message, |members| {
                add(members);
                members.contents(bytes, None);
            });
            if self.len_since(mark) <= LINE_BYTES {
                return;
            }
            self.rewind(mark);
        }
        self.entries_in_parts += 1;
        let id = format!("{}-{}", self.request_id, self.entries_in_parts);
        let of = bytes.len().div_ceil(PART_BYTES);
        for (part, bytes) in (1..).zip(bytes.chunks(PART_BYTES)) {
            self.line(level, message, |members| {
                add(members);
                members.text("id", &id);
                members.number("part", part);
                members.number("of", of);
                members.base64("base64", bytes);
            });
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
    pub fn push_always(&mut self, level: Level, message: &str, add: impl FnOnce(&mut Members<'_>)) {
        self.line(level.max(self.threshold), message, add);
    }

    /// The level under which a line is written, if it is. An ERROR is written always (it may be the last place
    /// that names a packet): where only FATAL passes, as FATAL.
    fn written_level(&self, level: Level) -> Option<Level> {
        (level >= self.threshold || level >= Level::Error).then(|| level.max(self.threshold))
    }

    fn line(&mut self, level: Level, message: &str, add: impl FnOnce(&mut Members<'_>)) {
        let mut members = Members::begin(&mut self.buffer, &mut self.clock, &self.timestamp);
        members.text("level", level.as_str());
        members.text("message", message);
        add(&mut members);
        members.end();
    }
}

#[cfg(test)]
mod tests;
