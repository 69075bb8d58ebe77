//! One packet as the gateway sends it: JSON that stays raw, and the few fields of it that matter.

use std::borrow::Cow;
use std::fmt;

use crate::field::{FIELDS, Field, Named};
use crate::json::{self, Cursor, NotJson, Shape, Span};
use crate::payload::{Format, PayloadError, UnknownFormat, is_written_base64};

/// One entry of the gateway's `Messages`, and the content of one record: a JSON object, seen through the
/// fields that matter here. The JSON itself is carried as it came: unknown fields, big integers, key order,
/// escapes.
///
/// Every field is optional, and none of an unexpected type makes a packet unreadable. Where a name occurs
/// twice, the last one counts here (as most JSON readers have it) and both are carried. The fields are those
/// of the gateway's examples, <https://github.com/proxylity/examples>.
#[derive(Debug, Clone)]
pub struct Packet<'a> {
    raw: &'a str,
    values: Values,
}

/// Where each field is.
type Values = json::Values<{ Field::COUNT }>;

/// Reads packets that come one after the other, in half the time where they were all written by one gateway: then a packet
/// has the [`Shape`] of the one before.
#[derive(Debug, Default)]
pub struct Reader {
    shape: Shape<{ Field::COUNT }>,
}

impl Reader {
    /// Reads one JSON value, as [`Packet::parse`] does.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn parse<'a>(&mut self, raw: &'a str) -> Result<Packet<'a>, NotAPacket> {
        whole(raw, |cursor| self.next(cursor))
    }

    /// Reads the value that begins here, and passes over it: a packet, or the text of a value of another type.
    ///
    /// # Errors
    /// There is no JSON value here.
    pub fn next<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Result<Packet<'a>, &'a str>, NotJson> {
        next(cursor, |cursor| {
            if let Some(values) = self.shape.next(cursor) {
                return Ok(values);
            }
            let start = *cursor;
            let values = read(cursor)?;
            self.shape.learn(&start, cursor, &values);
            Ok(values)
        })
    }
}

/// Reads a text that is one value.
fn whole<'a>(
    raw: &'a str,
    next: impl FnOnce(&mut Cursor<'a>) -> Result<Result<Packet<'a>, &'a str>, NotJson>,
) -> Result<Packet<'a>, NotAPacket> {
    let mut cursor = Cursor::new(raw);
    match next(&mut cursor).and_then(|found| cursor.end().map(|()| found)) {
        Ok(found) => found.map_err(|other| NotAPacket::NotAnObject { found: json::kind(other) }),
        Err(NotJson) => Err(NotAPacket::NotJson(json::why_not(raw.trim_matches(json::SPACE)))),
    }
}

fn next<'a>(
    cursor: &mut Cursor<'a>,
    object: impl FnOnce(&mut Cursor<'a>) -> Result<Values, NotJson>,
) -> Result<Result<Packet<'a>, &'a str>, NotJson> {
    if cursor.peek() != Some(b'{') {
        return cursor.value().map(Err);
    }
    let start = *cursor;
    let values = object(cursor)?;
    Ok(Ok(Packet { raw: start.until(cursor), values }))
}

/// Passes over an object by its members' names.
fn read(cursor: &mut Cursor<'_>) -> Result<Values, NotJson> {
    let mut values = Values::default();
    read_members(cursor, &cursor.clone(), FIELDS, &mut values)?;
    Ok(values)
}

fn read_members(
    cursor: &mut Cursor<'_>,
    packet: &Cursor<'_>,
    fields: &[Named],
    values: &mut Values,
) -> Result<(), NotJson> {
    cursor.object(|name, cursor| {
        let Some(named) = fields.iter().find(|named| named.name == name) else { return cursor.skip() };
        for member in named.members {
            values.set(member.field as usize, Span::default()); // of an object of the same name that came before
        }
        let is_object = cursor.peek() == Some(b'{');
        let start = *cursor;
        let span = match named.members {
            members @ [_, ..] if is_object => {
                read_members(cursor, packet, members, values)?;
                Span::new(packet, &start, cursor)?
            }
            _ => cursor.span(packet)?,
        };
        values.set(named.field as usize, span);
        Ok(())
    })
}

impl<'a> Packet<'a> {
    /// Reads one JSON value, which has to be an object.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(raw: &'a str) -> Result<Self, NotAPacket> {
        whole(raw, |cursor| next(cursor, read))
    }

    /// The JSON as it was given, without white space around it.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// A field as the JSON text of whatever type.
    pub(crate) fn field(&self, field: Field) -> Option<&'a str> {
        self.values.json(self.raw, field as usize)
    }

    /// A field's text, or a number or boolean as it was written.
    pub(crate) fn scalar(&self, field: Field) -> Option<Cow<'a, str>> {
        let value = self.field(field)?;
        if value.starts_with('"') { self.values.text(value) } else { json::scalar(value) }
    }

    /// `Tag` as the JSON text of whatever type, to be echoed as it came.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.field(Field::Tag)
    }

    /// `ReceivedAt` if it is text: an ISO 8601 time, of a precision that the gateway does not promise.
    #[must_use]
    pub fn received_at(&self) -> Option<Cow<'a, str>> {
        self.values.text(self.field(Field::ReceivedAt)?)
    }

    /// Who sent the packet: `Remote.IpAddress` and `Remote.Port`.
    #[must_use]
    pub fn remote(&self) -> Option<Address<'a>> {
        self.address(&[Field::RemoteIpAddress], Field::RemotePort)
    }

    /// Where it arrived: `Local.Domain` (or, where there is none, `Local.IpAddress`) and `Local.Port`.
    #[must_use]
    pub fn local(&self) -> Option<Address<'a>> {
        self.address(&[Field::LocalDomain, Field::LocalIpAddress], Field::LocalPort)
    }

    /// The first of the hosts that has a value, and the port.
    fn address(&self, hosts: &[Field], port: Field) -> Option<Address<'a>> {
        let host = hosts.iter().find_map(|host| self.scalar(*host))?;
        Some(Address { host, port: self.scalar(port) })
    }

    /// What `Formatter` says of `Data`; missing or null, it is base64.
    pub fn format(&self) -> Result<Format, UnknownFormat> {
        let Some(formatter) = self.field(Field::Formatter).filter(|value| !json::is_null(value)) else {
            return Ok(Format::Base64);
        };
        match self.values.text(formatter) {
            Some(word) => word.parse(),
            None => Err(UnknownFormat { found: json::kind(formatter).into() }),
        }
    }

    /// `Data` if it is a JSON string, escapes resolved, still in its format.
    pub fn data(&self) -> Result<Cow<'a, str>, PayloadError> {
        let data =
            self.field(Field::Data).filter(|value| !json::is_null(value)).ok_or(PayloadError::Missing)?;
        self.values.text(data).ok_or_else(|| match json::kind(data) {
            "a string" => PayloadError::NotText,
            found => PayloadError::NotAString { found },
        })
    }

    /// The payload: `Data` decoded as `Formatter` says, in a buffer that the caller may use again.
    pub fn payload<'b>(&self, scratch: &'b mut Vec<u8>) -> Result<&'b [u8], PayloadError> {
        let data = self.data()?;
        self.format()?.decode(&data, scratch)?;
        Ok(scratch)
    }

    /// `Data` as it stands, where it is the packet's `payload` in standard base64 with padding, so that nobody has to
    /// encode that again.
    #[must_use]
    pub fn base64(&self, payload: &[u8]) -> Option<Cow<'a, str>> {
        let data = self.data().ok()?;
        (self.format() == Ok(Format::Base64) && is_written_base64(&data, payload)).then_some(data)
    }
}

/// Why a text is no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPacket {
    /// It is JSON, but of another type.
    #[error("a packet must be a JSON object, found {found}")]
    NotAnObject {
        /// The type found: "null", "a number", "an array".
        found: &'static str,
    },
    /// It is not JSON; the parser's reason with line and column.
    #[error("a packet must be a JSON object, found text that is not JSON: {0}")]
    NotJson(String),
}

/// A host and a port as a packet names them. Displayed as `203.0.113.5:51234`, `[2001:db8::1]:5`,
/// `ingress-1:4040`; without a port the host alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address<'a> {
    /// The address or domain as carried.
    pub host: Cow<'a, str>,
    /// The port as carried.
    pub port: Option<Cow<'a, str>>,
}

impl Address<'_> {
    /// The pieces of its text, for who wants it without the cost of formatting.
    #[must_use]
    pub fn pieces(&self) -> [&str; 4] {
        let Some(port) = &self.port else { return [&self.host, "", "", ""] };
        let (open, close) = if self.host.contains(':') { ("[", "]:") } else { ("", ":") };
        [open, &self.host, close, port]
    }
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces().into_iter().try_for_each(|piece| f.write_str(piece))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(json: &str) -> Packet<'_> {
        Packet::parse(json).unwrap()
    }

    #[track_caller]
    fn check_refused(json: &str, want: &str) {
        assert_eq!(Packet::parse(json).unwrap_err().to_string(), want);
    }

    #[test]
    fn only_an_object_is_a_packet() {
        check_refused("null", "a packet must be a JSON object, found null");
        check_refused(" 42 ", "a packet must be a JSON object, found a number");
        check_refused("-1.5e3", "a packet must be a JSON object, found a number");
        check_refused(r#""{}""#, "a packet must be a JSON object, found a string");
        check_refused("true", "a packet must be a JSON object, found a boolean");
        check_refused("[{}]", "a packet must be a JSON object, found an array");
    }

    #[test]
    fn what_is_not_json_says_where() {
        const NOT: &str = "a packet must be a JSON object, found text that is not JSON: ";
        check_refused("", &format!("{NOT}EOF while parsing a value at line 1 column 0"));
        check_refused("hello", &format!("{NOT}expected value at line 1 column 1"));
        check_refused(r#"{"Data":"#, &format!("{NOT}EOF while parsing a value at line 1 column 8"));
        check_refused("{} {}", &format!("{NOT}trailing characters at line 1 column 4"));
        check_refused("{'Data':1}", &format!("{NOT}key must be a string at line 1 column 2"));
    }

    #[track_caller]
    fn check_raw(json: &str) {
        assert_eq!(packet(json).raw(), json);
        assert_eq!(packet(&format!(" \t\r\n{json}\n")).raw(), json);
    }

    #[test]
    fn the_json_is_carried_as_it_came() {
        check_raw("{}");
        check_raw(r#"{ "b" : 1, "a" : 123456789012345678901234567890 , "c":1.500E+2, "Data":"\u002B\/" }"#);
        check_raw(r#"{"Data":"a","Data":"b","\ud800":"\udc00"}"#);
        check_raw(&format!("{{\"deep\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)));
    }

    #[test]
    fn of_two_fields_with_one_name_the_last_counts() {
        assert_eq!(packet(r#"{"Data":"a","Data":"b"}"#).data().unwrap(), "b");
        assert_eq!(packet(r#"{"Data":"a","\u0044ata":"b"}"#).data().unwrap(), "b");
    }

    #[test]
    fn a_tag_of_any_type_is_echoed_as_it_came() {
        let tag = |json| packet(json).tag().map(|tag| tag.to_owned());
        assert_eq!(tag(r#"{"Tag":"a\u0062"}"#).as_deref(), Some(r#""a\u0062""#));
        assert_eq!(tag(r#"{"Tag": {"a" : 1.0} }"#).as_deref(), Some(r#"{"a" : 1.0}"#));
        assert_eq!(tag(r#"{"Tag":null}"#).as_deref(), Some("null"));
        assert_eq!(tag("{}"), None);
    }

    #[track_caller]
    fn check_format(json: &str, want: Result<Format, &str>) {
        assert_eq!(packet(json).format().map_err(|e| e.to_string()), want.map_err(String::from));
    }

    #[test]
    fn formats_are_known_by_their_word() {
        check_format("{}", Ok(Format::Base64));
        check_format(r#"{"Formatter":null}"#, Ok(Format::Base64));
        check_format(r#"{"Formatter":"base64"}"#, Ok(Format::Base64));
        check_format(r#"{"Formatter":"hex"}"#, Ok(Format::Hex));
        check_format(r#"{"Formatter":"Ascii"}"#, Ok(Format::Ascii));
        check_format(r#"{"Formatter":"UTF8"}"#, Ok(Format::Utf8));
        check_format(r#"{"Formatter":"co\u0061p"}"#, Ok(Format::Coap));
        const EXPECTED: &str = "expected base64, hex, ascii, utf8 or coap";
        check_format(r#"{"Formatter":"rot13"}"#, Err(&format!("unknown Formatter `rot13`, {EXPECTED}")));
        check_format(r#"{"Formatter":""}"#, Err(&format!("unknown Formatter ``, {EXPECTED}")));
        check_format(r#"{"Formatter":7}"#, Err(&format!("unknown Formatter a number, {EXPECTED}")));
    }

    #[track_caller]
    fn check_payload(json: &str, want: Result<&[u8], &str>) {
        let mut scratch = b"left from before".to_vec();
        assert_eq!(packet(json).payload(&mut scratch).map_err(|e| e.to_string()), want.map_err(String::from));
    }

    #[test]
    fn a_payload_is_data_decoded_as_formatter_says() {
        check_payload(r#"{"Data":""}"#, Ok(b""));
        check_payload(r#"{"Data":"aGVsbG8="}"#, Ok(b"hello"));
        check_payload(r#"{"Data":"\u002B\/8="}"#, Ok(b"\xFB\xFF"));
        check_payload(r#"{"Data":"FE09","Formatter":"hex"}"#, Ok(b"\xFE\x09"));
        check_payload(
            r#"{"Data":"gr\u00f6\u00dfer \ud83d\ude00","Formatter":"utf8"}"#,
            Ok("größer 😀".as_bytes()),
        );
        check_payload(r#"{"Data":"\u0000","Formatter":"ascii"}"#, Ok(b"\0"));
        check_payload(r#"{"Data":"{\"Path\":\"/a\"}","Formatter":"coap"}"#, Ok(br#"{"Path":"/a"}"#));
    }

    #[track_caller]
    fn check_base64(data: &str, is_as_written: bool) {
        let json = format!(r#"{{"Data":"{data}"}}"#);
        let (packet, mut payload) = (packet(&json), Vec::new());
        packet.payload(&mut payload).unwrap();
        assert_eq!(packet.base64(&payload).as_deref(), is_as_written.then_some(data));
        let mut written = String::new();
        assert!(Format::Base64.encode(&payload, &mut written));
        assert_eq!(written == data, is_as_written, "{data}");
    }

    #[test]
    fn base64_that_is_as_we_write_it_need_not_be_written_again() {
        for data in ["", "AA==", "gA==", "AAA=", "//8=", "AAAA", "+/+/AQ=="] {
            check_base64(data, true);
        }
        for data in ["AA", "AAA", "AB==", "/f==", "AAB=", "-_-_", "-_-_AQ==", "AAAA-w=="] {
            check_base64(data, false);
        }
        let hex = packet(r#"{"Data":"0000","Formatter":"hex"}"#);
        assert_eq!(hex.base64(&[0, 0, 0]), None);
    }

    #[test]
    fn a_packet_without_a_payload_says_why() {
        check_payload("{}", Err("the packet has no Data"));
        check_payload(r#"{"Data":null}"#, Err("the packet has no Data"));
        check_payload(r#"{"Data":5}"#, Err("Data must be a string, found a number"));
        check_payload(r#"{"Data":["AA=="]}"#, Err("Data must be a string, found an array"));
        check_payload(r#"{"Data":"\ud800"}"#, Err("Data holds an escape that stands for no character"));
        check_payload(
            r#"{"Data":"AA==","Formatter":{}}"#,
            Err("unknown Formatter an object, expected base64, hex, ascii, utf8 or coap"),
        );
    }

    #[track_caller]
    fn check_addresses(json: &str, remote: Option<&str>, local: Option<&str>) {
        let packet = packet(json);
        assert_eq!(packet.remote().map(|address| address.to_string()).as_deref(), remote);
        assert_eq!(packet.local().map(|address| address.to_string()).as_deref(), local);
    }

    #[test]
    fn addresses_are_shown_as_host_and_port() {
        check_addresses("{}", None, None);
        check_addresses(r#"{"Remote":"203.0.113.5","Local":null}"#, None, None);
        check_addresses(r#"{"Remote":{"Port":5},"Local":{"Port":5}}"#, None, None);
        check_addresses(
            r#"{"Remote":{"IpAddress":"203.0.113.5","Port":51234},"Local":{"Domain":"ingress-1","Port":4040}}"#,
            Some("203.0.113.5:51234"),
            Some("ingress-1:4040"),
        );
        check_addresses(
            r#"{"Remote":{"IpAddress":"2001:db8::1","Port":0},"Local":{"IpAddress":"::1","Port":65535}}"#,
            Some("[2001:db8::1]:0"),
            Some("[::1]:65535"),
        );
        check_addresses(
            r#"{"Remote":{"IpAddress":"2001:db8::1"},"Local":{"Domain":null,"IpAddress":"192.0.2.1","Port":null}}"#,
            Some("2001:db8::1"),
            Some("192.0.2.1"),
        );
        let twice = r#"{"Remote":{"IpAddress":"192.0.2.1","Port":1},"Remote":{"IpAddress":"192.0.2.2"},"Local":{"Port":1},"Local":5}"#;
        check_addresses(twice, Some("192.0.2.2"), None);
    }

    /// Packets as different gateways write them, and what is none.
    fn entry() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "Tag",
            "Remote",
            "Local",
            "Inner",
            "Data",
            "IpAddress",
            "Port",
            "Version",
            "x",
            "\\u0054ag",
        ]);
        let scalar = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "[0-9]{1,4}",
            "\"[a-z]{0,20}\"",
            "\"(\\\\n|\\\\u00e9|é|\\\\\"|x){0,4}\"",
            "\"\\\\ud800\"",
        ];
        let value = scalar.prop_recursive(3, 12, 4, move |inner| {
            let member = (name.clone(), inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
            let list = prop::collection::vec(inner, 0..3);
            prop_oneof![
                4 => prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
                1 => list.prop_map(|list| format!("[{}]", list.join(", "))),
            ]
        });
        (value, prop::sample::select(vec!["", " ", "\n"]))
            .prop_map(|(value, space)| format!("{value}{space}"))
    }

    proptest! {
        #[test]
        fn packets_in_a_row_are_read_as_each_alone(
            entries in prop::collection::vec(entry(), 1..4),
            order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..30),
        ) {
            let mut reader = Reader::default();
            for (entry, changed) in order {
                // The same one with other digits and letters is of the same shape.
                let changes = |c: char| match c { '1'..='3' | '6'..='8' => '9', 'j' | 'k' | 'w' => 'z', other => other };
                let entry = entry.get(&entries);
                let entry: String = if changed { entry.chars().map(changes).collect() } else { entry.clone() };
                match (reader.parse(&entry), Packet::parse(&entry)) {
                    (Ok(row), Ok(alone)) => {
                        prop_assert_eq!(row.raw, alone.raw);
                        for field in 0..Field::COUNT {
                            let json = row.values.json(row.raw, field);
                            prop_assert_eq!(json, alone.values.json(alone.raw, field), "{}", entry);
                            prop_assert_eq!(json.map(|json| row.values.text(json)), json.map(json::text));
                        }
                    }
                    (row, alone) => prop_assert_eq!(row.err(), alone.err(), "{}", entry),
                }
            }
        }
    }

    #[test]
    fn the_time_of_arrival_is_opaque_text() {
        let json = r#"{"ReceivedAt":"2026-11-20T09:15:27.0500000Z"}"#;
        assert_eq!(packet(json).received_at().as_deref(), Some("2026-11-20T09:15:27.0500000Z"));
        assert_eq!(packet(r#"{"ReceivedAt":5}"#).received_at(), None);
    }
}
