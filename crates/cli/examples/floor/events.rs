//! The events: packets of 64 bytes as a gateway gives them, and as Kinesis's mapping brings them out again.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Bytes of a packet's payload.
const PAYLOAD: usize = 64;

/// One packet, about 325 bytes of JSON.
fn packet(random: &mut fastrand::Rng) -> String {
    let payload: Vec<u8> = (0..PAYLOAD).map(|_| random.u8(..)).collect();
    format!(
        r#"{{"Tag":"{:016x}","Remote":{{"IpAddress":"203.0.113.{}","Port":{}}},"Local":{{"Domain":"ingress-1","Port":4040}},"ReceivedAt":"2026-11-20T09:15:27.{:07}Z","IngressRegion":"eu-west-1","Formatter":"base64","Data":"{}"}}"#,
        random.u64(..),
        random.u8(1..255),
        random.u16(1024..),
        random.u32(..10_000_000),
        BASE64_STANDARD.encode(payload)
    )
}

/// A gateway's batch.
pub(crate) fn batch(packets: usize) -> Arc<[u8]> {
    let mut random = fastrand::Rng::with_seed(packets as u64);
    let packets: Vec<_> = (0..packets).map(|_| packet(&mut random)).collect();
    format!(r#"{{"Messages":[{}]}}"#, packets.join(",")).into_bytes().into()
}

/// A mapping's event.
pub(crate) fn records(records: usize) -> Arc<[u8]> {
    let mut random = fastrand::Rng::with_seed(records as u64);
    let mut event = String::from(r#"{"Records":["#);
    for number in 0..records {
        let data = BASE64_STANDARD.encode(packet(&mut random));
        let sequence = format!("4968036315735444205610786998109293544240858558501{number:07}");
        let _ = write!(
            event,
            r#"{}{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"{:08X}","sequenceNumber":"{sequence}","data":"{data}","approximateArrivalTimestamp":1795166127.413}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000000:{sequence}","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/rivulet-consumer","awsRegion":"eu-west-1","eventSourceARN":"arn:aws:kinesis:eu-west-1:123456789012:stream/rivulet"}}"#,
            if number == 0 { "" } else { "," },
            random.u32(..)
        );
    }
    event.push_str("]}");
    event.into_bytes().into()
}
