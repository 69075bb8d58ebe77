//! Promises that hold for every input. Some hundred cases each: the inputs are small, and the whole file
//! should take about a second.

use packet::{ByteExpression, Format, KeyExpression, KeyFormatter, KeyOutcome, PARTITION_KEY_CHARS, Packet};
use proptest::collection::vec;
use proptest::prelude::*;

/// JSON text of any shape, with escapes, odd spacing and duplicate names as they come.
fn json() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\ud83d\ude00\/""#.to_owned()),
        Just(r#""\ud800""#.to_owned()),
    ];
    let name = prop_oneof![
        text.clone(),
        prop::sample::select(vec![
            r#""Data""#,
            r#""Tag""#,
            r#""Remote""#,
            r#""Formatter""#,
            r#""D\u0061ta""#
        ])
        .prop_map(String::from),
    ];
    let number = r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?";
    let leaf = prop_oneof![text, number, Just("true".to_owned()), Just("null".to_owned())];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        let space = "[ \n\t]{0,2}";
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            vec((name.clone(), space, inner), 0..6).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(n, s, v)| format!("{s}{n}{s}:{s}{v}{s}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Expressions that mostly parse.
fn expression() -> impl Strategy<Value = String> {
    const OPERATORS: [&str; 16] =
        ["|", "??", "||", "&&", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "?? 0 |"];
    const TYPES: [&str; 8] = ["u8", "i8", "u16le", "i16be", "u32be", "i32le", "u64le", "i64be"];
    const NAMES: [&str; 6] = ["Tag", "Remote", "Remote.Port", "Data", "Data#/a/0", "Data#"];
    let leaf = prop_oneof![
        (0..12u8).prop_map(|n| n.to_string()),
        "0x[0-9A-F]{1,20}",
        Just("170141183460469231731687303715884105727".to_owned()),
        (0..9u8, 0..5u8).prop_map(|(from, length)| format!("[{from}:{}]", from + length)),
        (0..9u8, 0..5u8).prop_map(|(from, length)| format!("[{from}, {length}]")),
        Just("[:]".to_owned()),
        Just("[]".to_owned()),
        prop::sample::select(&NAMES[..]).prop_map(String::from),
    ];
    leaf.prop_recursive(6, 48, 3, |inner| {
        prop_oneof![
            3 => (inner.clone(), prop::sample::select(&OPERATORS[..]), inner.clone())
                .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
            1 => inner.clone().prop_map(|inner| format!("({inner})")),
            1 => inner.clone().prop_map(|inner| format!("!{inner}")),
            1 => inner.clone().prop_map(|inner| format!("-({inner})")),
            1 => (prop::sample::select(&TYPES[..]), inner.clone()).prop_map(|(kind, at)| format!("{kind}[{at}]")),
            1 => inner.clone().prop_map(|from| format!("utf8[{from}:]")),
            1 => (inner.clone(), inner.clone()).prop_map(|(from, to)| format!("[({from}):({to})]")),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(condition, then, otherwise)| format!("{condition} ? {then} : {otherwise}")),
        ]
    })
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..300), json().prop_map(String::into_bytes)]
}

fn formatter() -> impl Strategy<Value = KeyFormatter> {
    use KeyFormatter::{Ascii, Base64, Hex, Utf8};
    prop::sample::select(vec![Hex, Base64, Ascii, Utf8])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn every_json_object_is_a_packet_and_carried_as_it_came(json in json()) {
        match Packet::parse(&json) {
            Ok(packet) => {
                prop_assert!(json.starts_with('{'), "{json}");
                prop_assert_eq!(packet.raw(), &json);
                // Whatever the fields hold, reading them is safe, and a payload is there or named as missing.
                let _ = (packet.tag(), packet.format(), packet.received_at(), packet.remote(), packet.local());
                prop_assert_eq!(packet.payload(&mut Vec::new()).is_err() , packet.data().is_err()
                    || packet.format().is_err()
                    || packet.format().unwrap().decode(&packet.data().unwrap(), &mut Vec::new()).is_err());
            }
            Err(error) => prop_assert!(!json.starts_with('{'), "{error}: {json}"),
        }
    }

    #[test]
    fn damaged_json_is_a_packet_only_if_it_still_is_an_object(
        json in json(),
        at in any::<prop::sample::Index>(),
        put in prop::option::of(prop::sample::select(vec!['{', '}', '"', ',', ':', '\\', '\u{1}', '0', ' '])),
    ) {
        let mut characters: Vec<char> = json.chars().collect();
        let at = at.index(characters.len());
        characters.splice(at..=at, put);
        let damaged: String = characters.into_iter().collect();
        let valid = serde_json::from_str::<serde::de::IgnoredAny>(&damaged).is_ok();
        prop_assert_eq!(Packet::parse(&damaged).is_ok(), valid && damaged.trim_start().starts_with('{'));
    }

    #[test]
    fn base64_and_hex_bring_every_byte(bytes in vec(any::<u8>(), 0..200), mixed in any::<bool>()) {
        for format in [Format::Base64, Format::Hex] {
            let mut text = String::new();
            prop_assert!(format.encode(&bytes, &mut text));
            if mixed {
                text = match format {
                    Format::Hex => text.to_lowercase(),
                    _ => text.trim_end_matches('=').replacen('+', "-", 1).replace('/', "_"),
                };
            }
            let mut back = vec![1, 2, 3];
            prop_assert_eq!(format.decode(&text, &mut back), Ok(()));
            prop_assert_eq!(&back, &bytes);
        }
    }

    #[test]
    fn decoding_never_panics(text in any::<String>(), digits in "[0-9a-zA-Z+/=_-]{0,40}") {
        for format in [Format::Base64, Format::Hex, Format::Ascii, Format::Utf8, Format::Coap] {
            let _ = format.decode(&text, &mut Vec::new());
            let _ = format.decode(&digits, &mut Vec::new());
        }
    }

    #[test]
    fn text_formats_bring_all_text(text in any::<String>()) {
        let mut back = String::new();
        prop_assert!(Format::Utf8.encode(text.as_bytes(), &mut back));
        prop_assert_eq!(back, text);
    }

    #[test]
    fn parsing_never_panics(
        text in any::<String>(),
        almost in r#"([\[\](),:?|&=!<>+*/%#"-]|0x|[0-9]{1,3}|u16le|utf8|Tag|Data| ){0,30}"#,
    ) {
        for text in [text, almost] {
            if let Err(error) = KeyExpression::parse(&text) {
                let shown = error.to_string();
                let lines: Vec<_> = shown.lines().collect();
                prop_assert!(lines.last().unwrap().trim_start() == "^", "{shown}");
            }
            let _ = ByteExpression::parse(&text);
        }
    }

    #[test]
    fn a_key_is_what_kinesis_accepts_or_there_is_none(
        text in expression(),
        formatter in formatter(),
        json in json().prop_filter("an object", |json| json.starts_with('{')),
        payload in prop::option::weighted(0.8, payload()),
    ) {
        let packet = Packet::parse(&json).unwrap();
        let Ok(expression) = KeyExpression::parse(&text) else { return Ok(()) };
        let mut key = String::from("left from before");
        let outcome = expression.key(formatter, &packet, payload.as_deref(), &mut key);
        let characters = key.chars().count();
        match outcome {
            KeyOutcome::Given { cut: false } => prop_assert!((1..=PARTITION_KEY_CHARS).contains(&characters)),
            KeyOutcome::Given { cut: true } => prop_assert_eq!(characters, PARTITION_KEY_CHARS),
            KeyOutcome::Undecodable => prop_assert!(payload.is_none() && key.is_empty()),
            KeyOutcome::NoValue | KeyOutcome::Empty => prop_assert!(key.is_empty()),
        }
        // An expression that does not read the payload gives the same without one.
        if !expression.reads_payload() {
            let mut again = String::new();
            prop_assert_eq!(expression.key(formatter, &packet, None, &mut again), outcome);
            prop_assert_eq!(again, key);
        }
    }

    #[test]
    fn a_byte_expression_is_the_key_expression_without_fields(
        text in expression(),
        payload in vec(any::<u8>(), 0..100),
    ) {
        let Ok(bytes) = ByteExpression::parse(&text) else { return Ok(()) };
        let mut scratch = Vec::new();
        let got = bytes.bytes(&payload, &mut scratch);
        let mut key = String::new();
        let packet = Packet::parse("{}").unwrap();
        let keyed = KeyExpression::parse(&text).unwrap();
        let outcome = keyed.key(KeyFormatter::Hex, &packet, Some(&payload), &mut key);
        match got {
            None => prop_assert_eq!(outcome, KeyOutcome::NoValue),
            Some([]) => prop_assert_eq!(outcome, KeyOutcome::Empty),
            Some(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                prop_assert_eq!(key, hex.chars().take(PARTITION_KEY_CHARS).collect::<String>());
            }
        }
    }

    #[test]
    fn a_range_is_the_slice_of_the_same_name(
        payload in vec(any::<u8>(), 0..200),
        from in 0..220usize,
        length in 0..220usize,
        formatter in formatter(),
    ) {
        let to = from + length;
        let whole = payload.get(from..to).map(|slice| match formatter {
            KeyFormatter::Hex => slice.iter().map(|byte| format!("{byte:02X}")).collect(),
            KeyFormatter::Base64 => base64_by_hand(slice),
            KeyFormatter::Ascii => slice.iter().map(|b| if *b < 128 { char::from(*b) } else { '?' }).collect(),
            KeyFormatter::Utf8 => String::from_utf8_lossy(slice).into_owned(),
        });
        let packet = Packet::parse("{}").unwrap();
        for text in [format!("[{from}:{to}]"), format!("[{from}, {length}]"), format!("[{from}:] | [:{length}]")] {
            let mut key = String::new();
            let expression = KeyExpression::parse(&text).unwrap();
            let outcome = expression.key(formatter, &packet, Some(&payload), &mut key);
            match &whole {
                None => prop_assert_eq!(outcome, KeyOutcome::NoValue),
                Some(whole) if whole.is_empty() => prop_assert_eq!(outcome, KeyOutcome::Empty),
                Some(whole) => {
                    let cut = whole.chars().count() > PARTITION_KEY_CHARS;
                    prop_assert_eq!(outcome, KeyOutcome::Given { cut });
                    prop_assert_eq!(&key, &whole.chars().take(PARTITION_KEY_CHARS).collect::<String>());
                }
            }
        }
    }

    #[test]
    fn a_typed_read_is_rusts_own(bytes: [u8; 8], offset in 0..8usize) {
        let mut payload = vec![0; offset];
        payload.extend(bytes);
        let decimal = |kind: &str| {
            let mut key = String::new();
            let expression = KeyExpression::parse(&format!("{kind}[{offset}]")).unwrap();
            let packet = Packet::parse("{}").unwrap();
            let outcome = expression.key(KeyFormatter::Ascii, &packet, Some(&payload), &mut key);
            assert_eq!(outcome, KeyOutcome::Given { cut: false });
            key
        };
        let [a, b, c, d, ..] = bytes;
        prop_assert_eq!(decimal("u8"), a.to_string());
        prop_assert_eq!(decimal("i8"), a.cast_signed().to_string());
        prop_assert_eq!(decimal("u16le"), u16::from_le_bytes([a, b]).to_string());
        prop_assert_eq!(decimal("u16be"), u16::from_be_bytes([a, b]).to_string());
        prop_assert_eq!(decimal("i16le"), i16::from_le_bytes([a, b]).to_string());
        prop_assert_eq!(decimal("i16be"), i16::from_be_bytes([a, b]).to_string());
        prop_assert_eq!(decimal("u32le"), u32::from_le_bytes([a, b, c, d]).to_string());
        prop_assert_eq!(decimal("u32be"), u32::from_be_bytes([a, b, c, d]).to_string());
        prop_assert_eq!(decimal("i32le"), i32::from_le_bytes([a, b, c, d]).to_string());
        prop_assert_eq!(decimal("i32be"), i32::from_be_bytes([a, b, c, d]).to_string());
        prop_assert_eq!(decimal("u64le"), u64::from_le_bytes(bytes).to_string());
        prop_assert_eq!(decimal("u64be"), u64::from_be_bytes(bytes).to_string());
        prop_assert_eq!(decimal("i64le"), i64::from_le_bytes(bytes).to_string());
        prop_assert_eq!(decimal("i64be"), i64::from_be_bytes(bytes).to_string());
    }
}

/// The oracle for base64: straight from RFC 4648.
fn base64_by_hand(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits: usize, at| bits << 8 | usize::from(*group.get(at).unwrap_or(&0)));
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= group.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}
