//! The whole: the real command, the real functions, real sockets on free ports.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

mod rivulet;

mod stream;

mod account;

mod errors;

mod invoke;

mod packets;

mod queue;

mod faults;

mod stop;
