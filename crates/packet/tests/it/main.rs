//! The crate from outside: promises over arbitrary input, and the repository's sample events.

// A test may unwrap; clippy.toml's exception does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod events;
mod promises;
