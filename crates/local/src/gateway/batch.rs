//! A batch of packets in the making: the gateway's JSON, written as the packets arrive.

use std::fmt::Write;
use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;

use crate::runtime::PAYLOAD_BYTES;

/// Bytes of a packet's JSON besides its payload, generously.
const ENVELOPE_BYTES: usize = 320;

const OPENING: &str = r#"{"Messages":["#;
const CLOSING: &str = "]}";

/// Packets of one listener on their way into one event.
#[derive(Debug)]
pub(super) struct Batch {
    text: String,
    /// Who sent each packet, and its tag.
    pub(super) senders: Vec<(u64, SocketAddr)>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { text: OPENING.into(), senders: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.senders.len()
    }

    /// Whether a payload of `bytes` bytes still goes into one event with what is here. The first one always does: a
    /// datagram is far smaller than an event.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        let size = self.text.len() + ENVELOPE_BYTES + bytes.div_ceil(3) * 4 + CLOSING.len();
        self.senders.is_empty() || size <= PAYLOAD_BYTES
    }

    /// Adds a packet as the gateway writes it with its default formatter.
    pub(super) fn push(
        &mut self,
        tag: u64,
        remote: SocketAddr,
        local_port: u16,
        at: Timestamp,
        payload: &[u8],
    ) {
        if !self.senders.is_empty() {
            self.text.push(',');
        }
        let (ip, port) = (remote.ip().to_canonical(), remote.port());
        // Seven digits of a second, as .NET writes times. Writing to a string does not fail.
        let _ = write!(
            self.text,
            r#"{{"Tag":"{tag:016x}","Remote":{{"IpAddress":"{ip}","Port":{port}}},"Local":{{"Domain":"localhost","Port":{local_port},"Protocol":"udp"}},"ReceivedAt":"{at:.7}","IngressRegion":"local","Formatter":"base64","Data":""#
        );
        BASE64_STANDARD.encode_string(payload, &mut self.text);
        self.text.push_str(r#""}"#);
        self.senders.push((tag, remote));
    }

    /// The event for the producer.
    pub(super) fn event(&self) -> String {
        [self.text.as_str(), CLOSING].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_written_as_the_gateway_writes_them() {
        let at = "2026-03-11T14:23:01.412Z".parse().unwrap();
        let mut batch = Batch::new();
        batch.push(0xA1, "203.0.113.5:51234".parse().unwrap(), 5514, at, b"hello");
        batch.push(0xA2, "[2001:db8::1]:5".parse().unwrap(), 5514, at, b"");
        batch.push(0xA3, "[::ffff:203.0.113.5]:5".parse().unwrap(), 5514, at, b"");
        let event: serde_json::Value = serde_json::from_str(&batch.event()).unwrap();
        let local = serde_json::json!({"Domain": "localhost", "Port": 5514, "Protocol": "udp"});
        let want = serde_json::json!({
            "Tag": "00000000000000a1", "Remote": {"IpAddress": "203.0.113.5", "Port": 51234}, "Local": local,
            "ReceivedAt": "2026-03-11T14:23:01.4120000Z", "IngressRegion": "local", "Formatter": "base64",
            "Data": "aGVsbG8=",
        });
        assert_eq!(event["Messages"][0], want);
        assert_eq!(event["Messages"][1]["Remote"]["IpAddress"], "2001:db8::1");
        assert_eq!(event["Messages"][1]["Data"], "");
        assert_eq!(event["Messages"][2]["Remote"]["IpAddress"], "203.0.113.5");
    }

    #[test]
    fn a_batch_stays_below_what_lambda_carries() {
        let (mut batch, at, remote) = (Batch::new(), Timestamp::UNIX_EPOCH, "203.0.113.5:1".parse().unwrap());
        let payload = [0; 65_507];
        while batch.has_room_for(payload.len()) {
            batch.push(0, remote, 5514, at, &payload);
        }
        assert_eq!(batch.len(), 71);
        assert!(batch.event().len() <= PAYLOAD_BYTES);
    }
}
