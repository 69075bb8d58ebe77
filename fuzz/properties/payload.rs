//! Payloads: any text decodes or says where it does not, and what was encoded comes back.

use packet::{Format, Packet, PayloadError};

const FORMATS: [(&str, Format); 5] = [
    ("base64", Format::Base64),
    ("hex", Format::Hex),
    ("ascii", Format::Ascii),
    ("utf8", Format::Utf8),
    ("coap", Format::Coap),
];

/// The input is taken three ways: as bytes to encode, as `Data` to decode in every format, and as a packet's JSON.
///
/// Nothing panics; base64 (either alphabet, padded or not) and hex (either case) bring every byte back, `utf8` all text
/// and `ascii` all ASCII; what decodes as base64 or hex means the same once written anew; an error names a character
/// that stands at the place it names; a packet has the payload that its `Data` and `Formatter` say, and is carried as
/// it came.
pub fn payload_comes_back_from_its_format(data: &[u8]) {
    for (word, format) in FORMATS {
        let mut text = String::new();
        if format.encode(data, &mut text) {
            let kept = match format {
                Format::Utf8 => str::from_utf8(data).is_ok(),
                Format::Ascii => data.is_ascii(),
                _ => true,
            };
            let back = decoded(format, &text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
            assert!(!kept || back == data, "{format:?} made {back:?} of {data:?}");
            let careless = match format {
                Format::Base64 => text.trim_end_matches('=').replace('+', "-").replace('/', "_"),
                Format::Hex => text.to_lowercase(),
                _ => text.clone(),
            };
            assert_eq!(decoded(format, &careless).as_ref(), Ok(&back), "{careless:?} is {text:?}");
            check_packet(word, &text, &back);
        }
    }
    let Ok(text) = str::from_utf8(data) else { return };
    for (word, format) in FORMATS {
        match decoded(format, text) {
            Ok(bytes) => {
                check_packet(word, text, &bytes);
                let mut again = String::new();
                if format.encode(&bytes, &mut again) && matches!(format, Format::Base64 | Format::Hex) {
                    assert_eq!(
                        decoded(format, &again).as_ref(),
                        Ok(&bytes),
                        "{text:?} written anew is {again:?}"
                    );
                }
            }
            Err(error) => check_error(text, &error),
        }
    }
    if let Ok(packet) = Packet::parse(text) {
        assert_eq!(packet.raw(), text.trim_matches([' ', '\t', '\n', '\r']));
        let _ = (packet.tag(), packet.received_at(), packet.remote(), packet.local());
        let wanted = packet.data().and_then(|data| decoded(packet.format()?, &data));
        assert_eq!(packet.payload(&mut Vec::new()).map(<[u8]>::to_vec), wanted);
    }
}

fn decoded(format: Format, text: &str) -> Result<Vec<u8>, PayloadError> {
    let mut bytes = b"left from before".to_vec();
    format.decode(text, &mut bytes).map(|()| bytes)
}

fn check_packet(word: &str, data: &str, payload: &[u8]) {
    let json = serde_json::json!({ "Formatter": word, "Data": data }).to_string();
    let packet = Packet::parse(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(packet.payload(&mut Vec::new()), Ok(payload), "{json}");
}

fn check_error(text: &str, error: &PayloadError) {
    match error {
        PayloadError::Character { character, offset, .. } => {
            assert_eq!(text.chars().nth(*offset), Some(*character), "{error}: {text:?}");
        }
        PayloadError::Length { digits, .. } => {
            assert!(*digits > 0 && *digits <= text.len(), "{error}: {text:?}")
        }
        _ => panic!("{text:?} is text in a known format: {error}"),
    }
}
