//! The rules of the language, one case a line.

use super::value::NUMBER_BYTES;
use super::*;
use crate::packet::Packet;

const COUNTING: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// What the value is, for reading: bytes and numbers as hex with their width, text in quotes.
fn shown(value: &Value<'_>) -> String {
    let mut room = [0; NUMBER_BYTES];
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Truth(truth) => truth.to_string(),
        value => value.as_bytes(&mut room).iter().map(|byte| format!("{byte:02X}")).collect(),
    }
}

#[track_caller]
fn check_packet(text: &str, packet: &str, payload: Option<&[u8]>, want: Option<&str>) {
    let expression = Expression::parse(text, Fields::Known).unwrap_or_else(|error| panic!("{error}"));
    let packet = Packet::parse(packet).unwrap();
    let value = expression.evaluate(Scope::packet(&packet, payload));
    assert_eq!(value.as_ref().map(shown).as_deref(), want, "{text}");
}

/// Over a payload alone.
#[track_caller]
fn check(text: &str, payload: &[u8], want: Option<&str>) {
    check_packet(text, "{}", Some(payload), want);
}

/// Over the bytes 0 to 9.
#[track_caller]
fn counting(text: &str, want: Option<&str>) {
    check(text, COUNTING, want);
}

#[test]
fn ranges() {
    counting("[5]", Some("05"));
    counting("[2, 4]", Some("02030405"));
    counting("[2:6]", Some("02030405"));
    counting("[8:]", Some("0809"));
    counting("[:4]", Some("00010203"));
    counting("[:]", Some("00010203040506070809"));
    counting("[]", Some(""));
    counting("[4:4]", Some(""));
    counting("[4,0]", Some(""));
    counting(" [ 2 : 6 ] ", Some("02030405"));
    counting("[2\n:\t6]", Some("02030405"));
    counting("[0x02:0x6]", Some("02030405"));
}

#[test]
fn a_range_not_wholly_inside_has_no_value() {
    for payload in [&b""[..], b"\x01\x02\x03"] {
        check("[0:4]", payload, None);
    }
    check("[0:4]", b"\x01\x02\x03\x04", Some("01020304"));
    check("[0:4]", b"\x01\x02\x03\x04\x05", Some("01020304"));
    check("[2:]", b"\x01\x02", Some(""));
    check("[2:]", b"\x01", None);
    check("[0]", b"", None);
    check("[:]", b"", Some(""));
    check("[]", b"", Some(""));
    check("[0,0]", b"", Some(""));
    counting("[10]", None);
    counting("[9]", Some("09"));
    counting("[8,3]", None);
    counting("[:11]", None);
    counting("[11:11]", None);
    counting("[10:10]", Some(""));
    counting("[18446744073709551616]", None);
    counting("[18446744073709551615]", None);
    counting("[1, 18446744073709551615]", None);
}

#[test]
fn positions_can_be_computed() {
    check("[u16le[0] * 2, 4]", &[1, 0, 2, 3, 4, 5], Some("02030405"));
    check("[u8[0] + 1]", &[1, 7, 8], Some("08"));
    check("[[0]:]", &[2, 7, 8], Some("08"));
    check("[[0] ? 1 : 2 : 3]", &[1, 7, 8], Some("0708"));
    check("[[0] | [0] : 3]", &[1, 7, 8], Some("0708"));
    counting("[1 - 2]", None);
    counting("[2 - 3 : 4]", None);
    counting("[2 + 4 : 2]", None);
    counting("[0, 1 - 2]", None);
    counting("[[11]]", None);
    counting("[(2)]", Some("02"));
    counting("[!0]", Some("01"));
    counting("[9 - 18446744073709551616 + 18446744073709551616]", Some("09"));
}

#[test]
fn typed_reads() {
    let bytes = &[0xFE, 0xFF, 0x01, 0x80, 0x7F, 0, 0, 0x80];
    check("u8[0]", bytes, Some("FE"));
    check("u8[0] == 254", bytes, Some("true"));
    check("i8[0] == -2", bytes, Some("true"));
    check("u16le[0] == 65534", bytes, Some("true"));
    check("u16be[0] == 65279", bytes, Some("true"));
    check("i16le[0] == -2", bytes, Some("true"));
    check("i16be[0] == -257", bytes, Some("true"));
    check("u32le[0] == 0x8001FFFE", bytes, Some("true"));
    check("u32be[0] == 0xFEFF0180", bytes, Some("true"));
    check("i32le[0] == 0x8001FFFE - 0x100000000", bytes, Some("true"));
    check("i32be[4] == 0x7F000080", bytes, Some("true"));
    check("u64le[0] == 0x8000007F8001FFFE", bytes, Some("true"));
    check("u64be[0] == 0xFEFF01807F000080", bytes, Some("true"));
    check("i64le[0] < 0 && i64be[0] < 0", bytes, Some("true"));
    check("i64be[0] + 0x010000000000000000 == u64be[0]", bytes, Some("true")); // 9 bytes: they count as well
}

#[test]
fn a_typed_read_takes_its_own_width() {
    counting("u16le[4]", Some("0504"));
    counting("u16le[4:6]", Some("0504"));
    counting("u16le[4,2]", Some("0504"));
    counting("u16le[:2]", Some("0100"));
    counting("[4:6] | u16le[:]", Some("0504"));
    counting("u16le [4]", Some("0504"));
    counting("u16le[9]", None);
    counting("u16le[8:]", Some("0908"));
    counting("u16le[7:]", None);
    counting("u16le[9:]", None);
    counting("u16le[4:4 + 3]", None);
    counting("u16le[4, 3 - 1]", Some("0504"));
    counting("u64be[2]", Some("0203040506070809"));
    counting("u64be[3]", None);
}

#[test]
fn utf8_reads_are_bytes_that_are_text() {
    check("utf8[0:2]", "ö!".as_bytes(), Some("C3B6"));
    check("utf8[0:1]", "ö!".as_bytes(), None);
    check("utf8[0]", b"a", Some("61"));
    check("utf8[]", b"", Some(""));
    check("utf8[:] ?? 0x00", b"\xFF", Some("00"));
}

#[test]
fn literals_are_as_wide_as_written() {
    counting("0xFFFF", Some("FFFF"));
    counting("0x00", Some("00"));
    counting("0X0a", Some("0A"));
    counting("0x123", Some("0123"));
    counting("0x0000000000000001", Some("0000000000000001"));
    counting("0x000102030405060708090A0B0C0D0E0F10", Some("000102030405060708090A0B0C0D0E0F10"));
    counting("0x10203040506070809", Some("010203040506070809"));
    counting("255", Some("FF"));
    counting("256", Some("0100"));
    counting("007", Some("07"));
    counting("0", Some("00"));
}

#[test]
fn computed_numbers_take_the_smallest_width_that_holds_them() {
    counting("254 + 1", Some("FF"));
    counting("255 + 1", Some("0100"));
    counting("0xFFFF + 1", Some("00010000"));
    counting("0xFFFFFFFF + 1", Some("0000000100000000"));
    counting("0xFFFFFFFFFFFFFFFF + 1", Some("00000000000000010000000000000000"));
    counting("u16le[0] + 0 - 0", Some("0100"));
    counting("u16le[0] / 0x100", Some("01"));
    counting("-1", Some("FF"));
    counting("-128", Some("80"));
    counting("-129", Some("FF7F"));
    counting("-32769", Some("FFFF7FFF"));
    check("i16le[0]", &[0xFE, 0xFF], Some("FFFE"));
}

#[test]
fn pipes_run_from_left_to_right() {
    let bytes: Vec<u8> = (0..40).collect();
    check("[20:30] | [2:8] | [1]", &bytes, Some("17"));
    check("[10:20] | [5]", &bytes, Some("0F"));
    check("[u8[9] + 1, 10] | [5]", &bytes, Some("0F"));
    check("[39:50] | [0]", &bytes, None);
    check("[0:2] | [2]", &bytes, None);
    check("[5] | 0xFF", &bytes, Some("FF"));
    check("u16le[1] | [0]", &bytes, Some("02")); // a number's bytes are big-endian
    check("0x0A0B0C | [1:]", &bytes, Some("0B0C"));
    check("(1 == 1) | [0]", &bytes, Some("01"));
    check("0x0A0B0C | [1:] | [1]", &bytes, Some("0C"));
    check("[0:4] | ([1] | [0])", &bytes, Some("01"));
    check("[0] == 0 ? [5] | [0] : [6] | [0]", &bytes, Some("05"));
    check("([7:] | [0]) + [1]", &bytes, Some("08")); // the pipe's data ends with its parentheses
}

#[test]
fn precedence_and_grouping() {
    counting("1 + 2 * 3", Some("07"));
    counting("(1 + 2) * 3", Some("09"));
    counting("10 - 3 - 2", Some("05"));
    counting("100 / 10 / 5", Some("02"));
    counting("17 % 10 * 2", Some("0E"));
    counting("- 2 * 3 == -6", Some("true"));
    counting("--2", Some("02"));
    counting("!0 == 1", Some("true"));
    counting("1 + 1 < 3 == 1", Some("true"));
    counting("1 < 2 && 2 < 1 || 1", Some("true"));
    counting("1 || 0 && 0", Some("true"));
    counting("[99] ?? 0 || 1", Some("true"));
    counting("[99] ?? [98] ?? [3]", Some("03"));
    counting("[99] ?? 0 ? 0x0A : 0x0B", Some("0B"));
    counting("0 ? 1 : 0 ? 2 : 3", Some("03"));
    counting("1 ? 0 ? 1 : 2 : 3", Some("02"));
    counting("1 ? [3:5] : 0 | [1]", Some("04"));
    counting("1 ? [3:5] : (0 | [1])", Some("0304"));
    counting("2-1", Some("01"));
}

#[test]
fn no_value_spreads_but_for_four_operators() {
    for text in
        ["[99] + 1", "1 + [99]", "[99] == 1", "1 != [99]", "[99] < 1", "-[99]", "![99]", "[99] ? 1 : 2"]
    {
        counting(text, None);
    }
    counting("0 && [99]", Some("false"));
    counting("1 && [99]", None);
    counting("[99] && 0", None);
    counting("1 || [99]", Some("true"));
    counting("0 || [99]", None);
    counting("[99] || 1", None);
    counting("[99] ?? 5", Some("05"));
    counting("5 ?? [99]", Some("05"));
    counting("[] ?? 5", Some(""));
    counting("[99] ?? [98]", None);
    counting("1 ? 5 : [99]", Some("05"));
    counting("0 ? 5 : [99]", None);
}

#[test]
fn arithmetic_is_checked() {
    const MAX: &str = "170141183460469231731687303715884105727";
    counting(MAX, Some("7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"));
    counting(&format!("{MAX} + 1"), None);
    counting(&format!("-{MAX} - 1"), Some("80000000000000000000000000000000"));
    counting(&format!("-{MAX} - 2"), None);
    counting(&format!("-(-{MAX} - 1)"), None);
    counting(&format!("(-{MAX} - 1) / -1"), None);
    counting(&format!("(-{MAX} - 1) % -1"), None);
    counting(&format!("{MAX} * 2"), None);
    counting("1 / 0", None);
    counting("1 % 0", None);
    counting("-7 / 2 == -3", Some("true"));
    counting("-7 % 2 == -1", Some("true"));
}

#[test]
fn bytes_count_as_unsigned_big_endian() {
    counting("[1:3] + 0", Some("0102"));
    counting("[0:3] == 0x0102", Some("true"));
    counting("[1] == 1", Some("true"));
    counting("[] == 0", Some("true"));
    check("[:] + 0", &[0xFF; 16], None);
    check("[:] + 0", &[0x7F; 16], Some("7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F7F"));
    check("[:] > 1 && [:] != 1 && 1 < [:]", &[0xFF; 40], Some("true"));
    check("[:] == 1", &[&[0; 40][..], &[1]].concat(), Some("true"));
    check("[0] > -1", &[0xFF], Some("true"));
}

#[test]
fn bytes_and_bytes_compare_byte_for_byte() {
    counting("[0:2] == [0:2]", Some("true"));
    counting("[1] == [0:2]", Some("false"));
    counting("[1] != [0:2]", Some("true"));
    counting("[1] > [0:9]", Some("true"));
    counting("[1:2] < [1:3]", Some("true"));
    counting("[1:2] <= [1:2] && [1:2] >= [1:2]", Some("true"));
    counting("[0:9] == 0x000102030405060708", Some("true"));
    counting("[1:9] == 0x000102030405060708", Some("false")); // longer than 8 bytes: bytes, not a number
}

#[test]
fn what_holds_as_a_condition() {
    for text in ["1", "-1", "0x01", "[0:2]", "1 == 1", "0x000000000000000001"] {
        counting(&format!("!!({text})"), Some("true"));
    }
    for text in ["0", "0x0000", "[0]", "[]", "1 == 2", "0x000000000000000000"] {
        counting(&format!("!!({text})"), Some("false"));
    }
}

const PACKET: &str = r#"{"Tag":"007","Remote":{"IpAddress":"203.0.113.5","Port":51234,"PeerKey":"Zm9v"},
    "Local":{"Domain":"ingress-1","Port":4040,"Protocol":"wg","IpAddress":"192.0.2.7"},"Formatter":"base64",
    "ReceivedAt":"2026-11-20T09:15:27.05Z","IngressRegion":"eu-west-1","Data":"\u002B\/8=","Inner":{
    "SourceAddress":"10.0.0.1","SourcePort":1,"DestinationAddress":"10.0.0.2","DestinationPort":2,"Version":4,
    "Protocol":"udp"}}"#;

#[track_caller]
fn field(text: &str, want: Option<&str>) {
    check_packet(text, PACKET, Some(COUNTING), want);
}

#[test]
fn fields_of_the_packet_are_text() {
    field("Tag", Some(r#""007""#));
    field("Remote", Some(r#""203.0.113.5:51234""#));
    field("Remote.IpAddress", Some(r#""203.0.113.5""#));
    field("Remote.Port", Some(r#""51234""#));
    field("Remote.PeerKey", Some(r#""Zm9v""#));
    field("Local", Some(r#""ingress-1:4040""#));
    field("Local.Domain", Some(r#""ingress-1""#));
    field("Local.IpAddress", Some(r#""192.0.2.7""#));
    field("Local.Port", Some(r#""4040""#));
    field("Local.Protocol", Some(r#""wg""#));
    field("ReceivedAt", Some(r#""2026-11-20T09:15:27.05Z""#));
    field("IngressRegion", Some(r#""eu-west-1""#));
    field("Formatter", Some(r#""base64""#));
    field("Data", Some(r#""+/8=""#));
    field("Inner.SourceAddress", Some(r#""10.0.0.1""#));
    field("Inner.SourcePort", Some(r#""1""#));
    field("Inner.DestinationAddress", Some(r#""10.0.0.2""#));
    field("Inner.DestinationPort", Some(r#""2""#));
    field("Inner.Version", Some(r#""4""#));
    field("Inner.Protocol", Some(r#""udp""#));
}

#[test]
fn fields_that_are_absent_or_no_scalars_have_no_value() {
    for json in ["{}", r#"{"Tag":null}"#, r#"{"Tag":[1]}"#, r#"{"Tag":{"a":1}}"#, r#"{"Tag":"\ud800"}"#] {
        check_packet("Tag", json, None, None);
    }
    for json in ["{}", r#"{"Remote":5}"#, r#"{"Remote":{}}"#, r#"{"Remote":{"PeerKey":null}}"#] {
        check_packet("Remote.PeerKey", json, None, None);
        check_packet("Remote", json, None, None);
    }
    check_packet("Tag", r#"{"Tag":true}"#, None, Some(r#""true""#));
    check_packet("Tag", r#"{"Tag":-1.50E+2}"#, None, Some(r#""-1.50E+2""#));
    check_packet("Tag", r#"{"Tag":""}"#, None, Some(r#""""#));
    check_packet("Remote.Port", r#"{"Remote":{"Port":1,"Port":2}}"#, None, Some(r#""2""#));
}

#[test]
fn fields_are_values_like_others() {
    check_packet(
        "Remote.PeerKey ?? Remote.IpAddress",
        r#"{"Remote":{"IpAddress":"::1"}}"#,
        None,
        Some(r#""::1""#),
    );
    field("Remote.PeerKey ?? Remote.IpAddress", Some(r#""Zm9v""#));
    field("Remote.IpAddress | [0:3]", Some("323033"));
    field("Data | [0:2]", Some("2B2F"));
    field("Remote | [12:]", Some("3531323334"));
    field("Local.Port == 4040 ? [0] : [1]", Some("00"));
    field("Remote.Port % 4", Some("02"));
    field("Remote.Port > Local.Port", Some("true")); // as numbers: as text 5 > 4 as well
    field("Local.Port > Inner.SourcePort && Inner.SourcePort < Inner.DestinationPort", Some("true"));
    field("[Remote.Port - 51230]", Some("04"));
    field("Local.Protocol == 0x7767", Some("false")); // a number, which the text does not spell
    field("Local.Protocol == (0x7767 | [:])", Some("true")); // its bytes
    field("(0x7767 | utf8[:]) == Local.Protocol", Some("true"));
    field("Tag == 7", Some("false")); // leading zeros: no number as JSON writes it
    field("Tag != 7", Some("true"));
    field("Tag < 7", None);
    field("Tag + 1", None);
    field("Tag == Tag", Some("true"));
}

#[test]
fn texts_that_are_integers_compare_as_numbers() {
    let ports = r#"{"Remote":{"Port":9},"Local":{"Port":"10"}}"#;
    check_packet("Remote.Port < Local.Port", ports, None, Some("true"));
    check_packet(
        "Remote.IpAddress < Tag",
        r#"{"Remote":{"IpAddress":"b9"},"Tag":"b10"}"#,
        None,
        Some("false"),
    );
}

#[test]
fn text_holds_unless_it_is_empty_zero_or_false() {
    for (tag, want) in [("a", "true"), ("", "false"), ("0", "false"), ("00", "true"), ("false", "false")] {
        check_packet("!!Tag", &format!(r#"{{"Tag":"{tag}"}}"#), None, Some(want));
    }
    check_packet("Tag == (1 == 1)", r#"{"Tag":true}"#, None, Some("true"));
}

#[track_caller]
fn pointer(text: &str, payload: &str, want: Option<&str>) {
    check(text, payload.as_bytes(), want);
}

#[test]
fn json_pointers_reach_into_the_payload() {
    let json = r#" {"device":{"id":"d\u002D7","n":[10, 2.50, true, null, {}]},"a/b":"s","m~n":"t","":"e","a b":"q",
        "k\"\\":"x","ö":"o","dup":1,"dup":2,"device-id":"h"} "#;
    pointer("Data#/device/id", json, Some(r#""d-7""#));
    pointer("Data#/device/n/0", json, Some(r#""10""#));
    pointer("Data#/device/n/1", json, Some(r#""2.50""#));
    pointer("Data#/device/n/2", json, Some(r#""true""#));
    pointer("Data#/device/n/3", json, None);
    pointer("Data#/device/n/4", json, None);
    pointer("Data#/device/n/5", json, None);
    pointer("Data#/device/n/00", json, None);
    pointer("Data#/device/n/-", json, None);
    pointer("Data#/device/n", json, None);
    pointer("Data#/device", json, None);
    pointer("Data#/device/id/x", json, None);
    pointer("Data#/nothing", json, None);
    pointer("Data#/a~1b", json, Some(r#""s""#));
    pointer("Data#/m~0n", json, Some(r#""t""#));
    pointer("Data#/", json, Some(r#""e""#));
    pointer(r#"Data#"/a b""#, json, Some(r#""q""#));
    pointer(r#"Data#"/k\"\\""#, json, Some(r#""x""#));
    pointer("Data#/ö", json, Some(r#""o""#));
    pointer("Data#/dup", json, Some(r#""2""#));
    pointer("Data#/device-id", json, Some(r#""h""#));
    pointer("Data#/dup - 1", json, Some("01"));
    pointer("Data#/nothing ?? Data#/dup", json, Some(r#""2""#));
    pointer("(Data#/dup)==2?Data#/device/id:0", json, Some(r#""d-7""#));
    pointer("[0] | Data#/dup", json, Some(r#""2""#)); // the payload, not what the pipe made of it
}

#[test]
fn a_payload_may_be_one_json_scalar_or_none() {
    pointer("Data#", "42", Some(r#""42""#));
    pointer("Data#", r#""text""#, Some(r#""text""#));
    pointer("Data#", "[1]", None);
    pointer("Data#/a", "", None);
    pointer("Data#/a", "hello", None);
    pointer("Data#/a", r#"{"a":1"#, None);
    pointer("Data#/a", r#"{"a":1} x"#, None);
    check("Data#/a", b"{\"a\":\"\xFF\"}", None);
    pointer("Data#/0", "[7]", Some(r#""7""#));
    pointer("Data#/0", r#"{"0":7}"#, Some(r#""7""#));
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    pointer("Data#/0/0/0", &deep, None);
}

#[test]
fn what_the_gateways_examples_do() {
    const VARINT: &str = "[0] == 0xFE ? [3:5] : ([0] == 0xFD ? [5:7] : 0xFFFF)";
    check(VARINT, &[0xFE, 9, 0, 0xA2, 0xC2, 0], Some("A2C2"));
    check(VARINT, &[0xFD, 9, 0, 0, 0, 0xA2, 0xC2], Some("A2C2"));
    check(VARINT, &[1], Some("FFFF"));
    check(VARINT, &[0xFE, 9], None);
    check(VARINT, b"", None);
    const FILTER: &str = "[0] == 0xFD && [7] == 0x18 && [8] == 0x00 && [9] == 0x00 ?? 0x00";
    check(FILTER, &[0xFD, 0, 0, 0, 0, 0, 0, 0x18, 0, 0], Some("true"));
    check(FILTER, &[0xFD, 0, 0, 0, 0, 0, 0, 0x18, 0, 1], Some("false"));
    check(FILTER, &[0xFE], Some("false"));
    check(FILTER, &[0xFD], Some("00"));
    check("i32le[18:22]", &(0..30).collect::<Vec<u8>>(), Some("15141312"));
    check("u16le[34:36]", &(0..40).collect::<Vec<u8>>(), Some("2322"));
    check("[0:1]", &[0xA2, 0xC2], Some("A2"));
    check("[1:]", &[0xA2, 0xC2], Some("C2"));
}

#[test]
fn without_a_payload_only_what_reads_it_has_no_value() {
    for text in ["[]", "[:]", "u8[0]", "utf8[]", "Data#", "Data#/a"] {
        check_packet(text, PACKET, None, None);
        assert!(Expression::parse(text, Fields::Known).unwrap().reads_payload(), "{text}");
    }
    for (text, want) in [("Tag", "\"007\""), ("0xFF", "FF"), ("1 + 1", "02"), ("Data", "\"+/8=\"")] {
        check_packet(text, PACKET, None, Some(want));
        assert!(!Expression::parse(text, Fields::Known).unwrap().reads_payload(), "{text}");
    }
    check_packet("[0:4] ?? Tag", PACKET, None, Some("\"007\""));
    check_packet("Tag | [0:2]", PACKET, None, Some("3030"));
}
