//! One record of a Kinesis event, read alone.
//!
//! The types are our own, because a record must never fail its batch: AWS documents that `partitionKey` may be
//! null (<https://docs.aws.amazon.com/streams/latest/dev/service-managed-pk-integrations-lambda.html>), the time
//! of arrival comes with any number of decimals, and a field of the wrong type is this record's affair. What is
//! not needed (`encryptionType`, versions, ARNs) is not looked at.

use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::{Simd, general_purpose::PAD};
use jiff::Timestamp;
use packet::json::{self, Cursor, NotJson, Shape, Values};

/// The standard alphabet, padded, as Lambda writes it.
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// One entry of an event's `Records`, as far as it could be read.
#[derive(Debug)]
pub struct Record<'a> {
    /// Whether it is an entry of a Kinesis event: it has a member `kinesis`, be it ever so odd. Entries of SQS, S3 or
    /// DynamoDB events have other members.
    pub(crate) is_of_kinesis: bool,
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
    /// The entry is no JSON, which in an event that is some does not happen; the parser's reason.
    #[error("a record must be an object, found text that is not JSON: {0}")]
    NotJson(String),
    /// Its `kinesis` is JSON of another type.
    #[error("kinesis must be an object, found {0}")]
    Kinesis(&'static str),
    /// A member that is needed is there several times, and which of them is meant is not known.
    #[error("the record has {0} several times")]
    Several(&'static str),
    /// A member is absent or null.
    #[error("the record has no {0}")]
    Missing(&'static str),
    /// A member is a JSON string with an escape that is half a surrogate pair.
    #[error("{0} holds an escape that stands for no character")]
    NotText(&'static str),
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
        let mut cursor = Cursor::new(raw);
        match Reader::default().next(&mut cursor).and_then(|(record, _)| cursor.end().map(|()| record)) {
            Ok(record) => record,
            Err(NotJson) => Self::unreadable(Undecodable::NotJson(json::why_not(raw))),
        }
    }

    /// Decodes the record's data into `scratch`, replacing what was there.
    ///
    /// # Errors
    /// Why the record can never be handled.
    pub fn data<'b>(&self, scratch: &'b mut Vec<u8>) -> Result<&'b [u8], Undecodable> {
        let data = self.data.as_ref().map_err(Clone::clone)?;
        scratch.clear();
        BASE64.decode_vec(&**data, scratch).map_err(|why| Undecodable::Base64(why.to_string()))?;
        Ok(scratch)
    }

    /// How long ago Kinesis took the record, in milliseconds: 0 where its clock is ahead of ours.
    pub fn age(&self, now: Timestamp) -> Option<u64> {
        let age = now.as_millisecond().saturating_sub(self.arrival?.as_millisecond());
        Some(u64::try_from(age).unwrap_or(0))
    }

    /// The record of these values. All are read before the first verdict: a record that is undecodable may still have to
    /// be reported.
    fn of(entry: &'a str, values: &Values<VALUES>, is_of_kinesis: bool, odd: Option<Undecodable>) -> Self {
        let text = |value: usize| text(values, values.json(entry, value), NAMES[value]);
        let shard = text(EVENT_ID).ok().flatten().and_then(shard);
        let sequence_number = text(SEQUENCE_NUMBER);
        let partition_key = text(PARTITION_KEY);
        let data = text(DATA).and_then(|data| data.ok_or(Undecodable::Missing("data")));
        let verdict = odd.or_else(|| {
            [&sequence_number, &partition_key].into_iter().find_map(|text| text.as_ref().err().cloned())
        });
        Self {
            is_of_kinesis,
            shard,
            sequence_number: sequence_number.ok().flatten(),
            partition_key: partition_key.ok().flatten(),
            arrival: values.json(entry, ARRIVAL).and_then(arrival),
            data: verdict.map_or(data, Err),
        }
    }

    fn unreadable(why: Undecodable) -> Self {
        Self {
            is_of_kinesis: false,
            shard: None,
            sequence_number: None,
            partition_key: None,
            arrival: None,
            data: Err(why),
        }
    }
}

/// Reads one record after the other: those of an event are all of one [`Shape`].
#[derive(Debug, Default)]
pub(crate) struct Reader {
    shape: Shape<VALUES>,
}

impl Reader {
    /// Reads the entry that begins here, and passes over it; gives its text too.
    pub(crate) fn next<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<(Record<'a>, &'a str), NotJson> {
        let start = *cursor;
        let record = guarded(cursor, |cursor| self.read(cursor))?;
        Ok((record, start.until(cursor).trim_ascii_start()))
    }

    fn read<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Record<'a>, NotJson> {
        if cursor.peek() != Some(b'{') {
            let kind = function::event::kind(cursor.value()?);
            return Ok(Record::unreadable(Undecodable::NotAnObject(kind)));
        }
        let start = *cursor;
        if let Some(values) = self.shape.next(cursor) {
            return Ok(Record::of(start.until(cursor), &values, true, None));
        }
        let mut found = Found::default();
        found.read(cursor)?;
        if found.odd.is_none() {
            self.shape.learn(&start, cursor, &found.values);
        }
        Ok(Record::of(start.until(cursor), &found.values, found.kinesis.is_some(), found.odd))
    }
}

/// What `read` makes of the entry that begins here; where that panics, the entry is passed over.
fn guarded<'a>(
    cursor: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<Record<'a>, NotJson>,
) -> Result<Record<'a>, NotJson> {
    let mut ahead = *cursor;
    match catch_unwind(AssertUnwindSafe(|| read(&mut ahead))) {
        Ok(record) => {
            *cursor = ahead;
            record
        }
        Err(panic) => {
            cursor.skip()?;
            Ok(Record::unreadable(Undecodable::panicked(&*panic)))
        }
    }
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
    let milliseconds = (seconds.parse::<f64>().ok()? * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "what is beyond any time stays beyond it")]
    Timestamp::from_millisecond(milliseconds as i64).ok()
}

/// The values that are needed of an entry: `eventID`, and members of `kinesis`, each of which is there once.
const NAMES: [&str; VALUES] =
    ["eventID", "sequenceNumber", "partitionKey", "data", "approximateArrivalTimestamp"];

const EVENT_ID: usize = 0;
const SEQUENCE_NUMBER: usize = 1;
const PARTITION_KEY: usize = 2;
const DATA: usize = 3;
const ARRIVAL: usize = 4;
const VALUES: usize = 5;

/// What is needed of an entry, as it stands there.
#[derive(Default)]
struct Found<'a> {
    kinesis: Option<&'a str>,
    /// Those of [`NAMES`].
    values: Values<VALUES>,
    /// The first reason for which it can be no record.
    odd: Option<Undecodable>,
}

impl<'a> Found<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<(), NotJson> {
        let entry = *cursor;
        cursor.object(|name, cursor| match name {
            "kinesis" if cursor.peek() == Some(b'{') => {
                self.set_kinesis("{");
                self.read_kinesis(cursor, &entry)
            }
            "kinesis" => {
                let value = cursor.value()?;
                if value != "null" {
                    self.odd.get_or_insert_with(|| Undecodable::Kinesis(function::event::kind(value)));
                }
                self.set_kinesis(value);
                Ok(())
            }
            "eventID" => {
                self.values.set(EVENT_ID, cursor.span(&entry)?);
                Ok(())
            }
            _ => cursor.skip(),
        })?;
        if self.kinesis.is_none_or(|value| value == "null") {
            self.odd.get_or_insert(Undecodable::Missing("kinesis"));
        }
        Ok(())
    }

    fn set_kinesis(&mut self, value: &'a str) {
        if self.kinesis.replace(value).is_some() {
            self.odd.get_or_insert(Undecodable::Several("kinesis"));
        }
    }

    fn read_kinesis(&mut self, cursor: &mut Cursor<'a>, entry: &Cursor<'a>) -> Result<(), NotJson> {
        cursor.object(|name, cursor| {
            let value = NAMES.iter().position(|known| *known == name).filter(|value| *value != EVENT_ID);
            let Some(value) = value else { return cursor.skip() };
            if self.values.has(value) {
                self.odd.get_or_insert(Undecodable::Several(NAMES[value]));
            }
            self.values.set(value, cursor.span(entry)?);
            Ok(())
        })
    }
}

/// The text of a member that should be a string and may be anything.
fn text<'a>(
    values: &Values<VALUES>,
    member: Option<&'a str>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, Undecodable> {
    match member {
        None | Some("null") => Ok(None),
        Some(value) if value.starts_with('"') => {
            values.text(value).map(Some).ok_or(Undecodable::NotText(name))
        }
        Some("true" | "false") => Err(Undecodable::NotAString { name, found: "a boolean" }),
        Some(value) => Err(Undecodable::NotAString { name, found: function::event::kind(value) }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        check_odd(r#""data":"\ud800""#, "data holds an escape that stands for no character");
        check_odd(r#""data":"","data":"""#, "the record has data several times");
        check_odd(r#""data":5,"data":"""#, "the record has data several times");
    }

    #[test]
    fn what_is_not_a_record_is_a_verdict_on_it_too() {
        check_data("null", Err("a record must be an object, found null"));
        check_data("5", Err("a record must be an object, found a number"));
        check_data("[]", Err("a record must be an object, found a list"));
        check_data("{}", Err("the record has no kinesis"));
        check_data(r#"{"kinesis":null}"#, Err("the record has no kinesis"));
        check_data(r#"{"kinesis":5}"#, Err("kinesis must be an object, found a number"));
        check_data(r#"{"kinesis":{},"kinesis":{}}"#, Err("the record has kinesis several times"));
    }

    proptest! {
        #[test]
        fn records_in_a_row_are_read_as_each_alone(
            order in prop::collection::vec((0..16_usize, "[0-9]{1,3}"), 1..30),
        ) {
            let kinds = [
                r#"{"kinesis":{"partitionKey":"k7","sequenceNumber":"7","data":"AA7="},"eventID":"s:7"}"#,
                r#"{"kinesis":{"partitionKey":"k\u00e97","sequenceNumber":"7","data":"AA7="},"eventID":"s:7"}"#,
                r#"{"kinesis":{"partitionKey":null,"data":"7","approximateArrivalTimestamp":7.5},"eventID":"s"}"#,
                r#"{"kinesis":{"sequenceNumber":7,"data":"7","x":{"data":"7"}},"eventID":"s:7"}"#,
                r#"{"kinesis":{"data":"7","data":"7"},"eventID":"s:7"}"#,
                r#"{"kinesis":{"data":"7"},"kinesis":{"data":"7"}}"#,
                r#"{"kinesis":null,"data":"7","eventID":"s:7"}"#,
                r#"{"kinesis":7,"eventID":"s:7"}"#,
                r#"{"kinesis":{},"eventID":"s:7"}"#,
                r#"{"kinesis":{"data":"7","partitionKey":"\ud800"},"eventID":"s:7"}"#,
                r#"{"kinesis":{"data":"7"},"eventID":"s:7","eventID":"t:7"}"#,
                r#"{"messageId":"7","body":"7"}"#,
                r#"{"kinesis":{"partitionKey":"k7","sequenceNumber":"7","data":"AA7="},"eventID":7}"#,
                "[7]",
                "null",
                r#" { "kinesis" : { "data" : "7" } } "#,
            ];
            let mut reader = Reader::default();
            for (kind, digits) in order {
                let text = kinds[kind].replace('7', &digits);
                let (row, raw) = reader.next(&mut Cursor::new(&text)).unwrap_or_else(|NotJson| {
                    (Record::parse(&text), text.trim())
                });
                prop_assert_eq!(format!("{row:?}"), format!("{:?}", Record::parse(&text)), "{}", text);
                prop_assert_eq!(raw, text.trim());
            }
        }
    }

    #[test]
    fn a_panic_in_reading_it_is_a_verdict_on_the_record_too() {
        let mut cursor = Cursor::new("[1,{}] 5");
        let record =
            guarded(&mut cursor, |cursor| cursor.peek().map(|_| panic!("{} is too much", 7)).ok_or(NotJson))
                .unwrap();
        let why = record.data(&mut Vec::new()).unwrap_err();
        assert_eq!((why.to_string(), record.sequence_number), ("panicked: 7 is too much".to_owned(), None));
        assert_eq!(cursor.value(), Ok("5"));
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
        assert_eq!(Record::parse(raw).is_of_kinesis, want);
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
