//! The local cloud: what surrounds the two functions in AWS, on one machine, with the failure behaviour of the service.
//!
//! - [`cloud`]: all of it in one value, for `rivulet up` and for tests
//! - [`stream`]: Kinesis Data Streams, in memory, behind its own HTTP API
//! - [`runtime`]: Lambda's Runtime API, and the processes that speak it
//! - [`invoke`]: Lambda's Invoke API, synchronous and asynchronous
//! - [`mapping`]: the event source mapping between a stream and a function
//! - [`gateway`]: UDP and HTTP in front of a function
//! - [`faults`]: what goes wrong on request
//! - [`queue`]: an SQS queue, in memory, behind its own HTTP API
//! - [`tally`]: the counts of a run
//!
//! The parts know the formats that go between them and nothing of the functions' insides; everything listens on the
//! address that it is given and nowhere else.

pub mod cloud;

pub mod stream;

pub mod runtime;

pub mod invoke;

pub mod mapping;

pub mod gateway;

pub mod faults;

pub mod queue;

pub mod tally;

mod http;
