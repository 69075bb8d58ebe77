//! The producer: a Lambda function that takes packets from a UDP gateway, from HTTP or from a direct invocation, and
//! writes each as one record of a Kinesis stream.
//!
//! A packet given to an invocation that gets to answer ends in exactly one of two places: acknowledged by Kinesis, or
//! named as undelivered, in the answer, and whole in the queue or the log. The record is the packet: its JSON goes into the stream
//! as it came.
//!
//! In reading order: [`Settings`], `input` (what an event is, told by its shape), [`Producer`] (packets to records and
//! back to an account of each), `queue` (what is undelivered, to SQS), `answer` (the account in the words of whoever asked), [`run`] (under Lambda).
//!
//! # The log
//!
//! Every line is a JSON object with `timestamp`, `level` and `message` first.
//!
//! - `queued` and `not queued` (WARN): how many of the undelivered `packets` the queue took or did not take, with the
//!   `reason` of one of them.
//! - `undelivered` (ERROR), one for each packet that no queue took: `tag`, `partitionKey`, `code` and `reason`, `attempts`, `mayBeStored`,
//!   and the packet whole, in `text` or `base64`, in numbered lines where it is too long for one.
//! - `summary`, one for each invocation and written whatever the level, is also a CloudWatch metric: `Packets` =
//!   `Acknowledged` + `Undelivered`, `Queued` (undelivered, and taken by the queue), `Bytes` (of the packets' JSON), `Replies`, `RandomKeys` (the expression gave
//!   none), `CutKeys` (longer than 256 characters), `UndecodablePayloads`, `Requests`, `Retries`, `Throttled`,
//!   `PossibleDuplicates`, `Milliseconds`, `ColdStart`.

mod settings;
pub use settings::{SETTINGS, Settings};

mod input;

mod produce;
pub use produce::{Invocation, Producer};

mod queue;
pub use queue::{Answer as QueueAnswer, Refusal, SendMessages, Sqs, Then};

mod answer;
pub use answer::{Answer, Error};

mod lambda;
pub use lambda::run;
