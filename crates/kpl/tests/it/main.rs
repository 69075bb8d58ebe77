//! The crate from outside: other libraries' aggregates, broken ones, and promises over arbitrary input.

// A test may unwrap; clippy.toml's exception does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod front_page;
mod hostile;
mod others;
mod promises;

use kpl::{Aggregator, MAGIC, UserRecord};
use md5::{Digest, Md5};

/// A message as an aggregate carries it.
fn framed(message: &[u8]) -> Vec<u8> {
    [&MAGIC, message, &Md5::digest(message)].concat()
}

/// Some user records as one aggregate; the size is held against what was foretold.
#[track_caller]
fn encoded(records: &[UserRecord<'_>]) -> Vec<u8> {
    let mut aggregator = Aggregator::new();
    for (before, record) in records.iter().enumerate() {
        assert_eq!(aggregator.len(), before);
        let size = aggregator.size_with(record);
        aggregator.push(record).unwrap();
        assert_eq!(aggregator.size(), size);
    }
    let size = aggregator.size();
    let aggregate = aggregator.finish().unwrap();
    assert_eq!(aggregate.len(), size);
    aggregate
}
