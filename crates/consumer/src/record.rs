//! One record of a Kinesis event, read alone.
//!
//! The types are our own, because a record must never fail its batch: AWS documents that `partitionKey` may be
//! null (<https://docs.aws.amazon.com/streams/latest/dev/service-managed-pk-integrations-lambda.html>), the time
//! of arrival comes with any number of decimals, and a field of the wrong type is this record's affair. What is
//! not needed (`encryptionType`, versions, ARNs) is not looked at.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::panic::{UnwindSafe, catch_unwind};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp, Unit};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// One entry of an event's `Records`, as far as it could be read.
#[derive(Debug)]
pub struct Record<'a> {
    /// The shard's id, from the record's `eventID`.
    pub shard: Option<Cow<'a, str>>,
    /// The sequence number, exactly as it came.
    pub sequence_number: Option<Cow<'a, str>>,
    /// The partition key; `None` also where the stream distributes records itself.
    pub partition_key: Option<Cow<'a, str>>,
    /// When Kinesis took the record, to the millisecond; `None` where that cannot be read.
    pub arrival: Option<Timestamp>,
    /// The record's data in base64, or why there is none.
    data: Result<Cow<'a, str>, Undecodable>,
}

/// Why a record can never be handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// The entry is JSON of another type.
    #[error("a record must be an object, found {0}")]
    NotAnObject(&'static str),
    /// The entry, or its `kinesis`, does not have the shape of a record; the parser's reason.
    #[error("not a record: {0}")]
    Shape(String),
    /// A member is absent or null.
    #[error("the record has no {0}")]
    Missing(&'static str),
    /// A member has another type.
    #[error("{name} must be a string, found {found}")]
    NotAString {
        /// The member's name.
        name: &'static str,
        /// The type found: "a number".
        found: &'static str,
    },
    /// `data` is not base64; the decoder's reason.
    #[error("data is not base64: {0}")]
    Base64(String),
    /// Reading or handling it panicked; the panic's text.
    #[error("panicked: {0}")]
    Panicked(String),
}

impl Undecodable {
    /// The verdict on a record over which something panicked.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref().map(String::as_str));
        Self::Panicked(text.unwrap_or("no text").to_owned())
    }
}

impl<'a> Record<'a> {
    /// Reads one entry. Whatever it is, as much as possible of it is known afterwards; if reading it panics, nothing
    /// is but that.
    pub fn parse(raw: &'a str) -> Self {
        Self::guarded(|| Self::read(raw))
    }

    fn guarded(read: impl FnOnce() -> Self + UnwindSafe) -> Self {
        catch_unwind(read).unwrap_or_else(|panic| Self::unreadable(Undecodable::panicked(&*panic)))
    }

    fn read(raw: &'a str) -> Self {
        let kind = function::event::kind(raw);
        if kind != "an object" {
            return Self::unreadable(Undecodable::NotAnObject(kind));
        }
        let entry: Entry<'a> = match serde_json::from_str(raw) {
            Ok(entry) => entry,
            Err(why) => return Self::unreadable(Undecodable::Shape(why.to_string())),
        };
        let shard = entry.event_id.text("eventID").ok().flatten().and_then(shard);
        let Some(kinesis) = entry.kinesis else {
            return Self { shard, ..Self::unreadable(Undecodable::Missing("kinesis")) };
        };
        // All are read before the first verdict: a record that is undecodable may still have to be reported.
        let sequence_number = kinesis.sequence_number.text("sequenceNumber");
        let partition_key = kinesis.partition_key.text("partitionKey");
        let data = kinesis.data.text("data").and_then(|data| data.ok_or(Undecodable::Missing("data")));
        let verdict =
            [&sequence_number, &partition_key].into_iter().find_map(|text| text.as_ref().err().cloned());
        Self {
            shard,
            sequence_number: sequence_number.ok().flatten(),
            partition_key: partition_key.ok().flatten(),
            arrival: kinesis.approximate_arrival_timestamp.and_then(|seconds| arrival(seconds.get())),
            data: verdict.map_or(data, Err),
        }
    }

    /// Decodes the record's data into `scratch`, replacing what was there.
    ///
    /// # Errors
    /// Why the record can never be handled.
    pub fn data<'b>(&self, scratch: &'b mut Vec<u8>) -> Result<&'b [u8], Undecodable> {
        let data = self.data.as_ref().map_err(Clone::clone)?;
        scratch.clear();
        STANDARD.decode_vec(&**data, scratch).map_err(|why| Undecodable::Base64(why.to_string()))?;
        Ok(scratch)
    }

    /// How long ago Kinesis took the record, in milliseconds: 0 where its clock is ahead of ours.
    pub fn age(&self, now: Timestamp) -> Option<u64> {
        let age = now.as_millisecond().saturating_sub(self.arrival?.as_millisecond());
        Some(u64::try_from(age).unwrap_or(0))
    }

    fn unreadable(why: Undecodable) -> Self {
        Self { shard: None, sequence_number: None, partition_key: None, arrival: None, data: Err(why) }
    }
}

/// Whether an entry of `Records` is of a Kinesis event: it has a member `kinesis`, be it ever so odd. Entries of
/// SQS, S3 or DynamoDB events have other members.
pub(crate) fn is_of_kinesis(raw: &str) -> bool {
    serde_json::from_str::<HashMap<Cow<'_, str>, IgnoredAny>>(raw)
        .is_ok_and(|members| members.contains_key("kinesis"))
}

/// `shardId-000000000006:4959…` names the shard before the colon.
fn shard(event_id: Cow<'_, str>) -> Option<Cow<'_, str>> {
    match event_id {
        Cow::Borrowed(id) => id.split_once(':').map(|(shard, _)| shard.into()),
        Cow::Owned(id) => id.split_once(':').map(|(shard, _)| shard.to_owned().into()),
    }
}

/// Seconds since 1970 with any number of decimals. A double holds them to a fraction of a microsecond, so the
/// nearest millisecond is the one that was meant.
fn arrival(seconds: &str) -> Option<Timestamp> {
    let seconds: f64 = seconds.parse().ok()?;
    let since_1970 = SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_duration(since_1970).ok()?.round(Unit::Millisecond).ok()
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Entry<'a> {
    #[serde(borrow)]
    kinesis: Option<Kinesis<'a>>,
    #[serde(borrow, default, rename = "eventID")]
    event_id: Member<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct Kinesis<'a> {
    #[serde(borrow, default)]
    sequence_number: Member<'a>,
    #[serde(borrow, default)]
    partition_key: Member<'a>,
    #[serde(borrow, default)]
    data: Member<'a>,
    #[serde(borrow)]
    approximate_arrival_timestamp: Option<&'a RawValue>,
}

/// A member that should be a string and may be anything.
#[derive(Default)]
enum Member<'a> {
    #[default]
    Missing,
    Text(Cow<'a, str>),
    Other(&'static str),
}

impl<'a> Member<'a> {
    fn text(self, name: &'static str) -> Result<Option<Cow<'a, str>>, Undecodable> {
        match self {
            Self::Missing => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Other(found) => Err(Undecodable::NotAString { name, found }),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Member<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyMember)
    }
}

struct AnyMember;

impl<'de> Visitor<'de> for AnyMember {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Member::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Member::Text(text.to_owned().into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Member::Missing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Member::Other("a boolean"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Member::Other("a number"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Member::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Member::Other("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with the given members in its `kinesis`.
    fn entry(members: &str) -> String {
        format!(r#"{{"eventID":"shardId-1:7","kinesis":{{{members}}}}}"#)
    }

    #[track_caller]
    fn check_data(raw: &str, want: Result<&[u8], &str>) {
        let mut scratch = b"left over".to_vec();
        let got = Record::parse(raw).data(&mut scratch).map_err(|why| why.to_string());
        assert_eq!(got, want.map_err(str::to_owned));
    }

    #[track_caller]
    fn check_odd(members: &str, want: &str) {
        check_data(&entry(members), Err(want));
    }

    #[test]
    fn data_is_decoded() {
        check_data(&entry(r#""data":"SGVsbG8=""#), Ok(b"Hello"));
        check_data(&entry(r#""data":"""#), Ok(b""));
        check_data(&entry(r#""data":"SGVs\u0062G8=""#), Ok(b"Hello"));
    }

    #[test]
    fn what_is_not_data_is_a_verdict_on_the_record() {
        check_odd("", "the record has no data");
        check_odd(r#""data":null"#, "the record has no data");
        check_odd(r#""data":5"#, "data must be a string, found a number");
        check_odd(r#""data":-0.5"#, "data must be a string, found a number");
        check_odd(r#""data":-5"#, "data must be a string, found a number");
        check_odd(r#""data":true"#, "data must be a string, found a boolean");
        check_odd(r#""data":["x",[]]"#, "data must be a string, found a list");
        check_odd(r#""data":{"x":{}}"#, "data must be a string, found an object");
        check_odd(r#""data":"SGVsbG8""#, "data is not base64: Invalid padding");
        check_odd(r#""data":"SGVs*G8=""#, "data is not base64: Invalid symbol 42, offset 4.");
        check_odd(r#""data":"","partitionKey":5"#, "partitionKey must be a string, found a number");
        check_odd(r#""data":"","sequenceNumber":5"#, "sequenceNumber must be a string, found a number");
        check_odd(r#""data":1,"partitionKey":[]"#, "partitionKey must be a string, found a list");
        check_odd(r#""data":"\ud800""#, "not a record: unexpected end of hex escape at line 1 column 51");
    }

    #[test]
    fn what_is_not_a_record_is_a_verdict_on_it_too() {
        check_data("null", Err("a record must be an object, found null"));
        check_data("5", Err("a record must be an object, found a number"));
        check_data("[]", Err("a record must be an object, found a list"));
        check_data("{}", Err("the record has no kinesis"));
        check_data(r#"{"kinesis":null}"#, Err("the record has no kinesis"));
        check_data(
            r#"{"kinesis":5}"#,
            Err("not a record: invalid type: integer `5`, expected an object at line 1 column 12"),
        );
        check_data(
            r#"{"kinesis":{},"kinesis":{}}"#,
            Err("not a record: duplicate field `kinesis` at line 1 column 23"),
        );
    }

    #[test]
    fn a_panic_in_reading_it_is_a_verdict_on_the_record_too() {
        let record = Record::guarded(|| panic!("{} is too much", 7));
        let why = record.data(&mut Vec::new()).unwrap_err();
        assert_eq!((why.to_string(), record.sequence_number), ("panicked: 7 is too much".to_owned(), None));
    }

    #[test]
    fn fields_that_are_not_needed_may_be_anything() {
        for odd in
            [r#""encryptionType":null"#, r#""encryptionType":"ROT13""#, r#""kinesisSchemaVersion":[[1]]"#]
        {
            check_data(&entry(&format!(r#""data":"","partitionKey":null,{odd}"#)), Ok(b""));
        }
        check_data(r#"{"kinesis":{"data":""},"eventID":7,"awsRegion":{}}"#, Ok(b""));
    }

    #[track_caller]
    fn check_place(raw: &str, shard: Option<&str>, sequence_number: Option<&str>, key: Option<&str>) {
        let record = Record::parse(raw);
        let place =
            (record.shard.as_deref(), record.sequence_number.as_deref(), record.partition_key.as_deref());
        assert_eq!(place, (shard, sequence_number, key));
    }

    #[test]
    fn shard_number_and_key_are_known_as_far_as_they_are_there() {
        let members = r#""sequenceNumber":"0049","partitionKey":"k\n""#;
        check_place(&entry(members), Some("shardId-1"), Some("0049"), Some("k\n"));
        check_place(&entry(""), Some("shardId-1"), None, None);
        check_place(r#"{"eventID":"shardId-1:7"}"#, Some("shardId-1"), None, None);
        check_place(r#"{"kinesis":{},"eventID":"odd"}"#, None, None, None);
        check_place(r#"{"kinesis":{},"eventID":"s\u0031:7"}"#, Some("s1"), None, None);
        check_place(&entry(r#""sequenceNumber":"7","partitionKey":5"#), Some("shardId-1"), Some("7"), None);
        check_place(&entry(r#""sequenceNumber":"7","data":5"#), Some("shardId-1"), Some("7"), None);
    }

    #[track_caller]
    fn check_arrival(json: &str, want: Option<&str>) {
        let raw = entry(&format!(r#""approximateArrivalTimestamp":{json}"#));
        let arrival = Record::parse(&raw).arrival.map(|arrival| format!("{arrival:.3}"));
        assert_eq!(arrival.as_deref(), want);
    }

    #[test]
    fn arrival_is_the_nearest_millisecond_of_any_number_of_decimals() {
        check_arrival("1545084650.987", Some("2018-12-17T22:10:50.987Z"));
        check_arrival("1545084650.98", Some("2018-12-17T22:10:50.980Z"));
        check_arrival("1545084650.9", Some("2018-12-17T22:10:50.900Z"));
        check_arrival("1545084650", Some("2018-12-17T22:10:50.000Z"));
        check_arrival("1545084650.9876", Some("2018-12-17T22:10:50.988Z"));
        check_arrival("1545084650.9999999999999", Some("2018-12-17T22:10:51.000Z"));
        check_arrival("1.545084650987E9", Some("2018-12-17T22:10:50.987Z"));
        check_arrival("0", Some("1970-01-01T00:00:00.000Z"));
    }

    #[test]
    fn an_arrival_that_cannot_be_read_is_absent() {
        for odd in
            ["null", "\"1545084650.987\"", "1e999", "-1e300", "1e18", "true", "[]", "{}", "\"\\ud800\""]
        {
            check_arrival(odd, None);
        }
    }

    #[track_caller]
    fn check_kinesis(raw: &str, want: bool) {
        assert_eq!(is_of_kinesis(raw), want);
    }

    #[test]
    fn a_record_is_of_kinesis_by_its_member_alone() {
        check_kinesis(r#"{"kinesis":{}}"#, true);
        check_kinesis(r#"{"kinesis":null}"#, true);
        check_kinesis(r#"{"kinesis":1,"kinesis":2}"#, true);
        check_kinesis(r#"{"messageId":"1","body":"kinesis"}"#, false);
        check_kinesis("null", false);
    }
}
