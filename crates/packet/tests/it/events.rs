//! The repository's sample events: every entry of every batch is a packet or named as none, exactly once.

use packet::{KeyExpression, KeyFormatter, KeyOutcome, Packet};
use serde_json::value::RawValue;

/// The raw entries of an event's `Messages`.
fn entries(event: &str) -> Vec<&RawValue> {
    #[derive(serde::Deserialize)]
    struct Batch<'a> {
        #[serde(rename = "Messages", borrow)]
        messages: Vec<&'a RawValue>,
    }
    serde_json::from_str::<Batch<'_>>(event).unwrap().messages
}

/// For each entry the key that `expression` gives it in hex, or what it is instead.
#[track_caller]
fn check(event: &str, expression: &str, want: &[&str]) {
    let expression = KeyExpression::parse(expression).unwrap();
    let (mut scratch, mut key) = (Vec::new(), String::new());
    let mut got = Vec::new();
    for entry in entries(event) {
        let packet = match Packet::parse(entry.get()) {
            Ok(packet) => packet,
            Err(error) => {
                got.push(error.to_string());
                continue;
            }
        };
        assert_eq!(packet.raw(), entry.get());
        let payload = packet.payload(&mut scratch);
        let outcome = expression.key(KeyFormatter::Hex, &packet, payload.as_ref().ok().copied(), &mut key);
        got.push(match (outcome, payload) {
            (KeyOutcome::Given { .. }, _) => key.clone(),
            (KeyOutcome::Undecodable, Err(error)) => error.to_string(),
            (other, _) => format!("{other:?}"),
        });
    }
    assert_eq!(got, want);
}

#[test]
fn one_packet() {
    check(include_str!("../../../../events/producer/one-packet.json"), "[0:4]", &["01020304"]);
}

#[test]
fn addresses() {
    check(
        include_str!("../../../../events/producer/ipv6.json"),
        "Remote",
        &["[2001:db8::1]:51234", "[2001:db8:0:1:a:b:c:d]:65535", "[::ffff:203.0.113.5]:0"],
    );
}

#[test]
fn entries_that_are_no_packets_or_have_no_payload() {
    const NO: &str = "a packet must be a JSON object, found";
    check(
        include_str!("../../../../events/producer/bad-entries.json"),
        "[0:4]",
        &[
            "00000001",
            &format!("{NO} null"),
            &format!("{NO} a number"),
            &format!("{NO} a string"),
            &format!("{NO} a boolean"),
            &format!("{NO} an array"),
            "the packet has no Data",
            "the packet has no Data",
            "the packet has no Data",
            "Data must be a string, found a number",
            "Data is not base64: '*' at offset 3",
            "Data is not hex: a digit left over (length 7)",
            "Data is not hex: ' ' at offset 2",
            "6772C3B6",
            "unknown Formatter `rot13`, expected base64, hex, ascii, utf8 or coap",
            "unknown Formatter a number, expected base64, hex, ascii, utf8 or coap",
            "00000002",
        ],
    );
}
