//! The gateway: takes datagrams and HTTP requests, gives them to the producer as the real gateways do, and carries the
//! answers back.

mod batch;
pub mod http;
pub mod udp;

use std::time::Duration;

/// Error type with which the producer fails an invocation after it has accounted for every packet itself.
const ACCOUNTED_FOR: &str = "UndeliveredPackets";

/// Whether the producer, failing with this error object, had first named what became of its packets.
fn accounted_for(error: &[u8]) -> bool {
    let error: serde_json::Value = serde_json::from_slice(error).unwrap_or_default();
    error["errorType"] == ACCOUNTED_FOR
}

/// How packets are gathered for an invocation: as the `Batching` of a gateway's destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Most packets of a batch.
    pub count: usize,
    /// Longest wait of a batch's first packet.
    pub window: Duration,
}
