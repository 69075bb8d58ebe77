//! What a UDP gateway sends, and what we make of it: batches of packets, their payloads, the partition keys
//! that expressions give them, and the replies that go back. No input, output, clock or randomness:
//! everything here takes text and bytes and gives text and bytes, and no input makes it panic.
//!
//! ```
//! use packet::{KeyExpression, KeyFormatter, KeyOutcome, Packet, Replies};
//!
//! let json = r#"{"Tag":"a1b2","Remote":{"IpAddress":"203.0.113.5","Port":51234},"Data":"CgtoZWxsbw=="}"#;
//! let packet = Packet::parse(json)?;
//! assert_eq!(packet.raw(), json); // what goes into the stream is what came
//!
//! let mut scratch = Vec::new();
//! let payload = packet.payload(&mut scratch)?;
//! assert_eq!(payload, b"\x0A\x0Bhello");
//!
//! let expression = KeyExpression::parse("[0] == 0x0A ? [0:2] : Remote.IpAddress")?;
//! let mut key = String::new();
//! let outcome = expression.key(KeyFormatter::Hex, &packet, Some(payload), &mut key);
//! assert_eq!((outcome, key.as_str()), (KeyOutcome::Given { cut: false }, "0A0B"));
//!
//! let mut replies = Replies::default();
//! replies.push(packet.tag(), packet.format()?, b"OK")?;
//! assert_eq!(replies.into_json(), r#"[{"Tag":"a1b2","Data":"T0s="}]"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In reading order: `packet` (one packet's JSON), `payload` (its formats), `key` (partition keys),
//! [`expression`] (the language they are written in), `reply`, and below them `field` and [`json`] (the text between the quotes, found without building anything).
//!
//! # Where the gateway's documentation is silent
//!
//! - A packet without `Formatter` is base64; an unknown word there is an error, not a guess.
//! - Text under `ascii` and `utf8` that was not (as U+FFFD or `?`) is the payload as carried; only `base64`
//!   and `hex` bring every byte.
//! - A range beyond the payload has no value, and a packet whose expression has none is the caller's to give
//!   a [`random_key`]. So is one whose key is empty. A key of over 256 characters is cut, and says so.
//! - The language beyond the forms that the gateway's pages show: [`expression`] lists all of it.

mod packet;

mod payload;

mod key;

pub mod expression;

mod reply;

mod field;

pub mod json;

pub use expression::SyntaxError;
pub use key::{
    KeyExpression, KeyFormatter, KeyOutcome, PARTITION_KEY_CHARS, UnknownKeyFormatter, random_key,
};
pub use packet::{Address, NotAPacket, Packet, Reader};
pub use payload::{Format, PayloadError, UnknownFormat};
pub use reply::{ByteExpression, NoReply, Replies};
