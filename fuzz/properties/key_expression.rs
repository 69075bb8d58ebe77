//! Key expressions: any text parses or says where it does not, and what parses gives keys that Kinesis takes.

use packet::{ByteExpression, KeyExpression, KeyFormatter, KeyOutcome, PARTITION_KEY_CHARS, Packet};

const FORMATTERS: [KeyFormatter; 4] =
    [KeyFormatter::Hex, KeyFormatter::Base64, KeyFormatter::Ascii, KeyFormatter::Utf8];

/// The input is an expression, then, each after a NUL and if there, a packet's JSON and a payload; without the latter
/// the packet's own counts.
///
/// Parsing and evaluating never panic; a syntax error is three lines with the caret below the expression; a key that is
/// given has 1 to 256 characters, and what is no key leaves none behind; an expression that says it does not read the
/// payload gives the same without; a byte expression is the key expression without fields.
pub fn key_expression_gives_keys_that_kinesis_takes(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part_of_text = || parts.next().map(str::from_utf8);
    let Some(Ok(text)) = part_of_text() else { return };
    let json = part_of_text().and_then(Result::ok).filter(|json| Packet::parse(json).is_ok()).unwrap_or("{}");
    let packet = Packet::parse(json).expect("it has been parsed before");
    let mut scratch = Vec::new();
    let payload = parts.next().or_else(|| packet.payload(&mut scratch).ok());

    let bytes = ByteExpression::parse(text);
    let expression = match KeyExpression::parse(text) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(bytes.is_err(), "a byte expression that is no key expression: {text:?}");
            return check_error(text, &error.to_string());
        }
    };
    for formatter in FORMATTERS {
        let with = key(&expression, formatter, &packet, payload);
        assert_eq!(with, key(&expression, formatter, &packet, payload), "the same again");
        let without = key(&expression, formatter, &packet, None);
        if !expression.reads_payload() {
            assert_eq!(with, without, "{text:?} says that it does not read the payload");
        }
        if let (Ok(bytes), Some(payload)) = (&bytes, payload) {
            check_bytes(bytes.bytes(payload, &mut Vec::new()), formatter, &with);
        }
    }
}

fn key(
    expression: &KeyExpression,
    formatter: KeyFormatter,
    packet: &Packet<'_>,
    payload: Option<&[u8]>,
) -> (KeyOutcome, String) {
    let mut key = String::from("left from before");
    let outcome = expression.key(formatter, packet, payload, &mut key);
    let characters = key.chars().count();
    match outcome {
        KeyOutcome::Given { cut: false } => {
            assert!((1..=PARTITION_KEY_CHARS).contains(&characters), "{key:?}")
        }
        KeyOutcome::Given { cut: true } => assert_eq!(characters, PARTITION_KEY_CHARS, "{key:?}"),
        KeyOutcome::NoValue | KeyOutcome::Empty => assert_eq!(key, ""),
        KeyOutcome::Undecodable => {
            assert!(payload.is_none() && expression.reads_payload(), "undecodable is a payload that is read");
            assert_eq!(key, "");
        }
    }
    (outcome, key)
}

fn check_bytes(bytes: Option<&[u8]>, formatter: KeyFormatter, (outcome, key): &(KeyOutcome, String)) {
    match bytes {
        None => assert_eq!(*outcome, KeyOutcome::NoValue),
        Some([]) => assert_eq!(*outcome, KeyOutcome::Empty),
        Some(bytes) if formatter == KeyFormatter::Hex => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            assert_eq!(*key, hex.chars().take(PARTITION_KEY_CHARS).collect::<String>());
        }
        Some(_) => assert!(matches!(outcome, KeyOutcome::Given { .. })),
    }
}

fn check_error(text: &str, shown: &str) {
    let lines: Vec<_> = shown.split('\n').collect();
    let [message, excerpt, caret] = lines[..] else {
        panic!("{text:?}: expected three lines, found {shown:?}")
    };
    assert!(!message.is_empty() && !shown.replace('\n', "").contains(char::is_control), "{shown:?}");
    assert_eq!(caret.trim_start(), "^", "{shown}");
    // Behind the last character when it is the end that came too soon.
    assert!(caret.chars().count() <= excerpt.chars().count() + 1, "the caret is beyond the text:\n{shown}");
}
