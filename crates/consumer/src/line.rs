//! The lines that one record becomes.

use std::borrow::Cow;
use std::fmt;

use function::lines::{LINE_BYTES, Lines, Members, printable};
use function::log::Level;
use jiff::Timestamp;
use packet::{Packet, PayloadError, Reader, json};

use crate::{Record, Settings};

/// The longest partition key, sequence number or shard id that is written, in bytes, so that a line of parts has
/// room for its part: a partition key of Kinesis has at most 256 characters of 4 bytes
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html>).
const PLACE_BYTES: usize = 1024;

/// The longest reason written, in bytes; parsers quote what they found.
const REASON_BYTES: usize = 500;

/// What a record turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A JSON object with a `Data`, readable or not.
    Packet,
    /// Anything else.
    NotPacket,
}

/// What reads a packet, and the memory into which its payload is decoded.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    packets: Reader,
    payload: Vec<u8>,
}

/// A record that could be decoded, or a user record of one.
#[derive(Clone, Copy)]
pub(crate) struct Decoded<'a> {
    pub(crate) record: &'a Record<'a>,
    /// Which user record it is, and its own partition key.
    pub(crate) user: Option<(usize, &'a str)>,
    pub(crate) data: &'a [u8],
    /// The moment to which its age is reckoned.
    pub(crate) now: Timestamp,
}

impl Decoded<'_> {
    /// Adds the record's line, or lines.
    pub(crate) fn log(&self, lines: &mut Lines, settings: &Settings, contents: &mut Contents) -> Kind {
        let text = std::str::from_utf8(self.data).ok();
        let Some(packet) = text.and_then(|text| contents.packets.parse(text).ok()) else {
            return self.not_a_packet(lines);
        };
        match packet.payload(&mut contents.payload) {
            Ok(payload) => self.readable(lines, settings, &packet, payload),
            Err(PayloadError::Missing) => return self.not_a_packet(lines),
            Err(why) => self.unreadable(lines, &packet, &why),
        }
        Kind::Packet
    }

    /// Adds a record that says it is an aggregate and cannot be read as one: whole, for somebody to see to.
    pub(crate) fn broken(&self, lines: &mut Lines, why: &kpl::Broken) {
        lines.whole(Level::Error, "broken aggregate", self.data, |line| {
            self.about(line, self.data.len());
            reason(line, why);
        });
    }

    fn not_a_packet(&self, lines: &mut Lines) -> Kind {
        lines.whole(Level::Info, "record", self.data, |line| self.about(line, self.data.len()));
        Kind::NotPacket
    }

    fn readable(&self, lines: &mut Lines, settings: &Settings, packet: &Packet<'_>, payload: &[u8]) {
        let sequence_number = self.record.sequence_number.as_deref();
        if !lines.takes(Level::Info)
            || !settings.log_packets.chooses(sequence_number, self.user.map(|(number, _)| number))
        {
            return;
        }
        let shown = cut(payload, settings.log_payload_bytes);
        let mark = lines.mark();
        lines.push(Level::Info, "packet", |line| {
            self.about(line, payload.len());
            sender(line, packet);
            let is_whole = shown.len() == payload.len();
            line.contents(shown, is_whole.then(|| packet.base64(payload)).flatten().as_deref());
            if !is_whole {
                line.truth("truncated", true);
            }
        });
        if lines.len_since(mark) > LINE_BYTES {
            lines.rewind(mark);
            self.in_parts(lines, Level::Info, payload.len(), None);
        }
    }

    /// A packet whose `Data` is not what its `Formatter` says: shown as it came. No setting shapes its line, which is
    /// written whatever the level.
    fn unreadable(&self, lines: &mut Lines, packet: &Packet<'_>, why: &PayloadError) {
        let as_it_came = packet.data().unwrap_or_else(|_| Cow::Borrowed(packet.raw()));
        let mark = lines.mark();
        lines.push_always(Level::Warn, "packet", |line| {
            self.about(line, as_it_came.len());
            sender(line, packet);
            line.contents(as_it_came.as_bytes(), None);
            reason(line, why);
        });
        if lines.len_since(mark) > LINE_BYTES {
            lines.rewind(mark);
            self.in_parts(lines, Level::Warn, as_it_came.len(), Some(why));
        }
    }

    /// The record's data in parts, in place of a line that became too long, because of the payload or of a tag gone mad.
    fn in_parts(&self, lines: &mut Lines, level: Level, size: usize, why: Option<&PayloadError>) {
        lines.whole(level, "packet", self.data, |line| {
            self.about(line, size);
            if let Some(why) = why {
                reason(line, why);
            }
        });
    }

    /// What is said of every record that could be decoded.
    fn about(&self, line: &mut Members<'_>, size: usize) {
        let place = Place { user: self.user, ..Place::of(self.record) };
        place.write(line);
        if let Some(arrival) = self.record.arrival {
            line.moment("arrival", arrival);
        }
        if let Some(age) = self.record.age(self.now) {
            line.number("age", age);
        }
        line.number("size", size);
    }
}

/// Adds an entry of the event that can never be handled, whole.
pub(crate) fn undecodable(lines: &mut Lines, record: &Record<'_>, raw: &str, why: &dyn fmt::Display) {
    lines.whole(Level::Error, "undecodable", raw.as_bytes(), |line| {
        Place::of(record).write(line);
        reason(line, why);
    });
}

/// The first bytes of a payload, at most `limit`; printable text is not cut within a character.
fn cut(payload: &[u8], limit: usize) -> &[u8] {
    if payload.len() <= limit {
        return payload;
    }
    let end = printable(payload).map_or(limit, |text| text.floor_char_boundary(limit));
    &payload[..end]
}

fn bounded(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// Where a record stands in the stream.
struct Place<'a> {
    record: &'a Record<'a>,
    user: Option<(usize, &'a str)>,
}

impl<'a> Place<'a> {
    fn of(record: &'a Record<'a>) -> Self {
        Self { record, user: None }
    }

    fn write(&self, line: &mut Members<'_>) {
        let mut shown = |name, text: Option<&str>| {
            if let Some(text) = text {
                line.text(name, bounded(text, PLACE_BYTES));
            }
        };
        shown("shard", self.record.shard.as_deref());
        shown("sequenceNumber", self.record.sequence_number.as_deref());
        match self.user {
            None => shown("partitionKey", self.record.partition_key.as_deref()),
            Some((number, key)) => {
                line.number("subSequenceNumber", number);
                line.text("partitionKey", bounded(key, PLACE_BYTES));
            }
        }
    }
}

/// Whose packet it is, and what it called it.
fn sender(line: &mut Members<'_>, packet: &Packet<'_>) {
    if let Some(remote) = packet.remote() {
        line.text("remote", &remote.pieces().concat());
    }
    if let Some(tag) = packet.tag().filter(|tag| *tag != "null") {
        // A tag as text: itself if it is a string, else its JSON.
        line.text("tag", json::text(tag).as_deref().unwrap_or(tag));
    }
}

fn reason(line: &mut Members<'_>, why: &(impl fmt::Display + ?Sized)) {
    line.text("reason", bounded(&why.to_string(), REASON_BYTES));
}
