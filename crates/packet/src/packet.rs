//! One packet as the gateway sends it: JSON that stays raw, and the few fields of it that matter.

use std::borrow::Cow;
use std::fmt;

use crate::json::{self, Cursor, NotJson};
use crate::payload::{Format, PayloadError, UnknownFormat};

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
    pub(crate) tag: Option<&'a str>,
    pub(crate) remote: Option<&'a str>,
    pub(crate) local: Option<&'a str>,
    pub(crate) received_at: Option<&'a str>,
    pub(crate) ingress_region: Option<&'a str>,
    pub(crate) formatter: Option<&'a str>,
    pub(crate) inner: Option<&'a str>,
    pub(crate) data: Option<&'a str>,
}

impl<'a> Packet<'a> {
    /// Reads one JSON value, which has to be an object.
    pub fn parse(raw: &'a str) -> Result<Self, NotAPacket> {
        let mut cursor = Cursor::new(raw);
        match Self::next(&mut cursor).and_then(|found| cursor.end().map(|()| found)) {
            Ok(found) => found.map_err(|other| NotAPacket::NotAnObject { found: json::kind(other) }),
            Err(NotJson) => Err(NotAPacket::NotJson(json::why_not(raw.trim_matches(json::SPACE)))),
        }
    }

    /// Reads the value that begins here, and passes over it: a packet, or the text of a value of another type.
    ///
    /// # Errors
    /// There is no JSON value here.
    pub fn next(cursor: &mut Cursor<'a>) -> Result<Result<Self, &'a str>, NotJson> {
        if cursor.peek() != Some(b'{') {
            return cursor.value().map(Err);
        }
        let start = *cursor;
        let mut packet = Packet {
            raw: "",
            tag: None,
            remote: None,
            local: None,
            received_at: None,
            ingress_region: None,
            formatter: None,
            inner: None,
            data: None,
        };
        cursor.object(|name, cursor| {
            let field = match name {
                "Tag" => &mut packet.tag,
                "Remote" => &mut packet.remote,
                "Local" => &mut packet.local,
                "ReceivedAt" => &mut packet.received_at,
                "IngressRegion" => &mut packet.ingress_region,
                "Formatter" => &mut packet.formatter,
                "Inner" => &mut packet.inner,
                "Data" => &mut packet.data,
                _ => return cursor.skip(),
            };
            *field = Some(cursor.value()?);
            Ok(())
        })?;
        packet.raw = start.until(cursor);
        Ok(Ok(packet))
    }

    /// The JSON as it was given, without white space around it.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// `Tag` as the JSON text of whatever type, to be echoed as it came.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.tag
    }

    /// `ReceivedAt` if it is text: an ISO 8601 time, of a precision that the gateway does not promise.
    #[must_use]
    pub fn received_at(&self) -> Option<Cow<'a, str>> {
        json::text(self.received_at?)
    }

    /// Who sent the packet: `Remote.IpAddress` and `Remote.Port`.
    #[must_use]
    pub fn remote(&self) -> Option<Address<'a>> {
        Address::read(self.remote?, &["IpAddress"])
    }

    /// Where it arrived: `Local.Domain` (or, where there is none, `Local.IpAddress`) and `Local.Port`.
    #[must_use]
    pub fn local(&self) -> Option<Address<'a>> {
        Address::read(self.local?, &["Domain", "IpAddress"])
    }

    /// What `Formatter` says of `Data`; missing or null, it is base64.
    pub fn format(&self) -> Result<Format, UnknownFormat> {
        let Some(formatter) = self.formatter.filter(|value| !json::is_null(value)) else {
            return Ok(Format::Base64);
        };
        match json::text(formatter) {
            Some(word) => word.parse(),
            None => Err(UnknownFormat { found: json::kind(formatter).into() }),
        }
    }

    /// `Data` if it is a JSON string, escapes resolved, still in its format.
    pub fn data(&self) -> Result<Cow<'a, str>, PayloadError> {
        let data = self.data.filter(|value| !json::is_null(value)).ok_or(PayloadError::Missing)?;
        json::text(data).ok_or_else(|| match json::kind(data) {
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

impl<'a> Address<'a> {
    /// The first of at most two names that has a value is the host's.
    fn read(object: &'a str, host_names: &[&str]) -> Option<Self> {
        let (mut hosts, mut port) = ([None; 2], None);
        json::members(object, |name, value| {
            if name == "Port" {
                port = Some(value);
            } else if let Some(rank) = host_names.iter().position(|known| *known == name) {
                hosts[rank] = Some(value);
            }
        })
        .ok()?;
        let host = hosts.into_iter().flatten().find_map(json::scalar)?;
        Some(Self { host, port: port.and_then(json::scalar) })
    }
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(port) = &self.port else { return f.write_str(&self.host) };
        let (open, close) = if self.host.contains(':') { ("[", "]:") } else { ("", ":") };
        [open, &self.host, close, port].into_iter().try_for_each(|piece| f.write_str(piece))
    }
}

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn the_time_of_arrival_is_opaque_text() {
        let json = r#"{"ReceivedAt":"2026-11-20T09:15:27.0500000Z"}"#;
        assert_eq!(packet(json).received_at().as_deref(), Some("2026-11-20T09:15:27.0500000Z"));
        assert_eq!(packet(r#"{"ReceivedAt":5}"#).received_at(), None);
    }
}
