//! The local queue: as much of Amazon SQS as undelivered packets need, in memory.
//!
//! [`Queue::serve`] gives one standard queue to any AWS SDK or the AWS CLI, in SQS's JSON protocol over HTTP without
//! TLS. The limits, the visibility timeout, long polling and the results of each entry of a batch are the service's.
//! Nothing expires, nothing is written to disk, and signatures are not looked at: it belongs on a loopback address.
//!
//! What is not simulated is refused by name, never ignored: other operations, message attributes, delays, FIFO queues.
//!
//! In reading order: `store` (what the queue holds, and the rules of visibility), [`Queue`] (its lock and clock),
//! `api` (the operations), `http` (their carrier).

mod store;
pub use store::Counts;

mod handle;
pub use handle::{Admit, Queue};

mod api;

mod http;

mod error;
pub use error::{ApiError, ErrorCode};

pub mod limits;
