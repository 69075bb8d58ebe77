//! What is done with each packet: its JSON read, its payload decoded, its key and its reply made.

use std::hint::black_box;
use std::process::ExitCode;

use bench::events::{self, PAYLOAD, Payload};
use bench::{Case, Work, divan};
use packet::{ByteExpression, Format, KeyExpression, KeyFormatter, KeyOutcome, Packet, Reader, Replies};

const CASES: &[Case] = &[
    Case { name: "packet/parse", items: 1000, prepare: parse },
    Case { name: "packet/parse one after the other", items: 1000, prepare: parse_alike },
    Case {
        name: "packet/payload of base64, 64 bytes",
        items: 1000,
        prepare: || decode(Format::Base64, PAYLOAD),
    },
    Case {
        name: "packet/payload of base64, 1400 bytes",
        items: 1000,
        prepare: || decode(Format::Base64, 1400),
    },
    Case { name: "packet/payload of hex, 64 bytes", items: 1000, prepare: || decode(Format::Hex, PAYLOAD) },
    Case { name: "packet/key [0:4]", items: 1000, prepare: || key("[0:4]") },
    Case { name: "packet/key Remote.IpAddress", items: 1000, prepare: || key("Remote.IpAddress") },
    Case { name: "packet/key u16be[0] % 64", items: 1000, prepare: || key("u16be[0] % 64") },
    Case { name: "packet/reply [0:2]", items: 1000, prepare: reply },
];

fn parse() -> Work {
    let packets = events::packets(1000, Payload::Bytes);
    Box::new(move || {
        for raw in black_box(&packets) {
            let packet = Packet::parse(raw).expect("a packet");
            assert_eq!(black_box(packet).raw().len(), raw.len());
        }
    })
}

fn parse_alike() -> Work {
    let (packets, mut reader) = (events::packets(1000, Payload::Bytes), Reader::default());
    Box::new(move || {
        for raw in black_box(&packets) {
            let packet = reader.parse(raw).expect("a packet");
            assert_eq!(black_box(packet).raw().len(), raw.len());
        }
    })
}

fn decode(format: Format, bytes: usize) -> Work {
    let (mut payload, mut data) = (Vec::new(), String::new());
    payload.extend((0..bytes).map(|place| u8::try_from(place * 7 % 256).unwrap_or_default()));
    assert!(format.encode(&payload, &mut data));
    let mut decoded = Vec::new();
    Box::new(move || {
        for _ in 0..1000 {
            format.decode(black_box(&data), &mut decoded).expect("what was encoded");
            assert_eq!(black_box(&decoded).len(), payload.len());
        }
    })
}

/// Packets that live as long as the process.
fn parsed() -> Vec<Packet<'static>> {
    let packets = events::packets(1000, Payload::Bytes).into_iter();
    packets.map(|raw| Packet::parse(raw.leak()).expect("a packet")).collect()
}

/// The key, and the payload decoded where the key needs it.
fn key(expression: &str) -> Work {
    let packets = parsed();
    let expression = KeyExpression::parse(expression).expect("an expression");
    let (mut scratch, mut out) = (Vec::new(), String::new());
    Box::new(move || {
        for packet in black_box(&packets) {
            let payload = expression.reads_payload().then(|| packet.payload(&mut scratch).expect("base64"));
            let outcome = expression.key(KeyFormatter::Hex, packet, payload, &mut out);
            assert_eq!(outcome, KeyOutcome::Given { cut: false });
            black_box(&out);
        }
    })
}

fn reply() -> Work {
    let packets = parsed();
    let expression = ByteExpression::parse("[0:2]").expect("an expression");
    let payload = [7; PAYLOAD];
    let mut scratch = Vec::new();
    Box::new(move || {
        let mut replies = Replies::default();
        for packet in black_box(&packets) {
            let bytes = expression.bytes(black_box(&payload), &mut scratch).expect("a value");
            replies.push(packet.tag(), Format::Base64, bytes).expect("a tag");
        }
        assert_eq!(replies.len(), packets.len());
        black_box(replies.into_json());
    })
}

#[divan::bench(crate = bench::divan, args = CASES)]
fn speed(bencher: divan::Bencher<'_, '_>, case: &Case) {
    case.measure(bencher);
}

fn main() -> ExitCode {
    bench::main(CASES)
}
