//! The limits and defaults of Amazon SQS, each with where it comes from.
//!
//! "API" is the SQS API reference (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/>), "quotas"
//! the developer guide's page
//! (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>), "ours" a bound
//! that only this local queue has.

use std::time::Duration;

/// Entries in a batch (quotas: batched message entries).
pub const BATCH_ENTRIES: usize = 10;

/// Bytes of one message, and of all messages of a batch together (quotas: message size).
pub const MESSAGE_BYTES: usize = 1024 * 1024;

/// Characters in the id of a batch's entry, at least 1 (API: SendMessageBatchRequestEntry, Id).
pub const ENTRY_ID_CHARS: usize = 80;

/// Most messages that one `ReceiveMessage` gives; it gives 1 if it is not asked for more (API: ReceiveMessage).
pub const RECEIVE_MESSAGES: i64 = 10;

/// Longest wait of a `ReceiveMessage`, in seconds (API: ReceiveMessage, WaitTimeSeconds).
pub const WAIT_SECONDS: i64 = 20;

/// How long a received message stays hidden if nothing else is asked (API: CreateQueue, VisibilityTimeout).
pub const VISIBILITY: Duration = Duration::from_secs(30);

/// Longest visibility timeout, in seconds: 12 hours (API: ReceiveMessage, VisibilityTimeout).
pub const VISIBILITY_SECONDS: i64 = 43_200;

/// Messages of a standard queue that may be hidden at once (quotas: in-flight messages per queue).
pub const IN_FLIGHT: usize = 120_000;

/// Bytes of the messages that the queue holds at once (ours).
pub const QUEUE_BYTES: usize = 256 << 20;

/// What a message costs beside its body (ours): without it, bodies of one byte would count for a hundredth of the
/// memory that they take.
pub const MESSAGE_OVERHEAD: usize = 320;

/// Bytes of an HTTP body (ours). A full batch, were each of its characters escaped, is 6 MiB.
pub const BODY_BYTES: usize = 8 << 20;
