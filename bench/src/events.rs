//! The events: packets of 64 bytes as a gateway gives them, and as Kinesis's mapping brings them out again. The same
//! ones each time: what is random in them has a fixed seed.

use std::fmt::Write as _;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fastrand::Rng;

/// Bytes of a packet's payload.
pub const PAYLOAD: usize = 64;

/// What the packets carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Bytes of any value.
    Bytes,
    /// Lower-case letters, as many.
    Text,
}

impl Payload {
    fn make(self, random: &mut Rng) -> Vec<u8> {
        let byte = |_| match self {
            Self::Bytes => random.u8(..),
            Self::Text => random.u8(b'a'..=b'z'),
        };
        (0..PAYLOAD).map(byte).collect()
    }
}

/// Packets, about 325 bytes of JSON each.
pub fn packets(count: usize, payload: Payload) -> Vec<String> {
    let mut random = Rng::with_seed(count as u64);
    (0..count).map(|_| packet(&mut random, payload)).collect()
}

fn packet(random: &mut Rng, payload: Payload) -> String {
    format!(
        r#"{{"Tag":"{:016x}","Remote":{{"IpAddress":"203.0.113.{}","Port":{}}},"Local":{{"Domain":"ingress-1","Port":4040}},"ReceivedAt":"2026-11-20T09:15:27.{:07}Z","IngressRegion":"eu-west-1","Formatter":"base64","Data":"{}"}}"#,
        random.u64(..),
        random.u8(1..255),
        random.u16(1024..),
        random.u32(..10_000_000),
        BASE64_STANDARD.encode(payload.make(random))
    )
}

/// A gateway's event with these packets.
pub fn batch(packets: &[String]) -> String {
    format!(r#"{{"Messages":[{}]}}"#, packets.join(","))
}

/// A mapping's event with these records' data, which arrived in November 2026.
pub fn records<D: AsRef<[u8]>>(data: &[D]) -> String {
    let mut random = Rng::with_seed(data.len() as u64);
    let mut event = String::from(r#"{"Records":["#);
    for (number, data) in data.iter().enumerate() {
        let data = BASE64_STANDARD.encode(data);
        let sequence = format!("4968036315735444205610786998109293544240858558501{number:07}");
        let _ = write!(
            event,
            r#"{}{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"{:08X}","sequenceNumber":"{sequence}","data":"{data}","approximateArrivalTimestamp":1795166127.413}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000000:{sequence}","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/rivulet-consumer","awsRegion":"eu-west-1","eventSourceARN":"arn:aws:kinesis:eu-west-1:123456789012:stream/rivulet"}}"#,
            if number == 0 { "" } else { "," },
            random.u32(..)
        );
    }
    event.push_str("]}");
    event
}
