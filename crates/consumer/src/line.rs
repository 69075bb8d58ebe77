//! The lines that one record becomes.

use std::borrow::Cow;
use std::fmt;

use function::lines::{Contents, LINE_BYTES, Lines, printable};
use function::log::Level;
use jiff::Timestamp;
use packet::{Packet, PayloadError};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

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
    /// Adds the record's line, or lines; `payload` is memory to decode into.
    pub(crate) fn log(&self, lines: &mut Lines, settings: &Settings, payload: &mut Vec<u8>) -> Kind {
        let text = std::str::from_utf8(self.data).ok();
        let Some(packet) = text.and_then(|text| Packet::parse(text).ok()) else {
            return self.not_a_packet(lines);
        };
        match packet.payload(payload) {
            Ok(payload) => self.readable(lines, settings, &packet, payload),
            Err(PayloadError::Missing) => return self.not_a_packet(lines),
            Err(why) => self.unreadable(lines, &packet, &why),
        }
        Kind::Packet
    }

    /// Adds a record that says it is an aggregate and cannot be read as one: whole, for somebody to see to.
    pub(crate) fn broken(&self, lines: &mut Lines, why: &kpl::Broken) {
        let reason = why.to_string();
        let fields =
            Reasoned { what: self.about(self.data.len()), reason: Some(bounded(&reason, REASON_BYTES)) };
        lines.whole(Level::Error, "broken aggregate", &fields, self.data);
    }

    fn not_a_packet(&self, lines: &mut Lines) -> Kind {
        lines.whole(Level::Info, "record", &self.about(self.data.len()), self.data);
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
        let line = PacketLine {
            about: self.about(payload.len()),
            sender: Sender::of(packet),
            contents: Contents::of(shown),
            truncated: shown.len() < payload.len(),
            reason: None,
        };
        self.packet(lines, Level::Info, line);
    }

    /// A packet whose `Data` is not what its `Formatter` says: shown as it came.
    fn unreadable(&self, lines: &mut Lines, packet: &Packet<'_>, why: &PayloadError) {
        let as_it_came = packet.data().unwrap_or_else(|_| Cow::Borrowed(packet.raw()));
        let reason = why.to_string();
        let line = PacketLine {
            about: self.about(as_it_came.len()),
            sender: Sender::of(packet),
            contents: Contents::of(as_it_came.as_bytes()),
            truncated: false,
            reason: Some(bounded(&reason, REASON_BYTES)),
        };
        self.packet(lines, Level::Warn, line);
    }

    /// Adds the line of a packet; where it is too long, because of the payload or of a tag gone mad, the
    /// record's data in parts.
    fn packet(&self, lines: &mut Lines, level: Level, line: PacketLine<'_>) {
        let mark = lines.mark();
        // What could not be read is shaped by no setting: its line is written whatever the level.
        match line.reason {
            None => lines.push(level, "packet", &line),
            Some(_) => lines.push_always(level, "packet", &line),
        }
        if lines.len_since(mark) > LINE_BYTES {
            lines.rewind(mark);
            lines.whole(level, "packet", &Reasoned { what: line.about, reason: line.reason }, self.data);
        }
    }

    fn about(&self, size: usize) -> About<'_> {
        let arrival = self.record.arrival.map(Moment);
        let mut place = Place::of(self.record);
        if let Some((number, partition_key)) = self.user {
            place.sub_sequence_number = Some(number);
            place.partition_key = Some(bounded(partition_key, PLACE_BYTES));
        }
        About { place, arrival, age: self.record.age(self.now), size }
    }
}

/// Adds an entry of the event that can never be handled, whole.
pub(crate) fn undecodable(lines: &mut Lines, record: &Record<'_>, raw: &str, why: &dyn fmt::Display) {
    let reason = why.to_string();
    let fields = Reasoned { what: Place::of(record), reason: Some(bounded(&reason, REASON_BYTES)) };
    lines.whole(Level::Error, "undecodable", &fields, raw.as_bytes());
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
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Place<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_sequence_number: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(record: &'a Record<'_>) -> Self {
        let shown = |text: &'a Option<Cow<'_, str>>| text.as_deref().map(|text| bounded(text, PLACE_BYTES));
        Self {
            shard: shown(&record.shard),
            sequence_number: shown(&record.sequence_number),
            sub_sequence_number: None,
            partition_key: shown(&record.partition_key),
        }
    }
}

/// What is said of every record that could be decoded.
#[derive(Serialize)]
struct About<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrival: Option<Moment>,
    /// Milliseconds since the arrival.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    size: usize,
}

/// Written as RFC 3339 to the millisecond, without a string in between.
struct Moment(Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0))
    }
}

/// Whose packet it is, and what it called it.
#[derive(Serialize)]
struct Sender<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<Shown<packet::Address<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Cow<'a, str>>,
}

impl<'a> Sender<'a> {
    fn of(packet: &Packet<'a>) -> Self {
        Self { remote: packet.remote().map(Shown), tag: packet.tag().and_then(tag) }
    }
}

/// A tag as text: itself if it is a string, else its JSON.
fn tag(tag: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    match tag.get() {
        "null" => None,
        raw => Some(serde_json::from_str(raw).map_or(Cow::Borrowed(raw), |Text(text)| text)),
    }
}

struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Serialize)]
struct PacketLine<'a> {
    #[serde(flatten)]
    about: About<'a>,
    #[serde(flatten)]
    sender: Sender<'a>,
    #[serde(flatten)]
    contents: Contents<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Reasoned<'a, T> {
    #[serde(flatten)]
    what: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}
