//! The gateway: takes datagrams and HTTP requests, gives them to the producer as the real gateways do, and carries the
//! answers back.

mod producer;
pub use producer::{Producer, UnderWay};

mod batch;
pub mod http;
pub mod udp;

use std::sync::Arc;
use std::time::Duration;

/// Told what a person should know.
pub type Notes = Arc<dyn Fn(&str) + Send + Sync>;

/// How packets are gathered for an invocation: as the `Batching` of a gateway's destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Most packets of a batch.
    pub count: usize,
    /// Longest wait of a batch's first packet.
    pub window: Duration,
}

/// An event that is at no end when all is: no function was given it, or it was given up and nobody has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// JSON, to be given to the function again.
    pub event: String,
    /// How many of its packets are not accounted for.
    pub packets: u64,
}
