//! The expression language: the gateway's Binary Range Expressions, and packet fields beside them.
//!
//! Known of the gateway's own language are the forms of its reference page
//! (<https://www.proxylity.com/docs/destinations/brex-syntax.html>) and those in its examples
//! (<https://github.com/proxylity/examples>); each of them means here what it means there. The rest is chosen
//! as a reader of C, Rust or C# would expect. Everything that is not listed is refused when the expression is
//! parsed.
//!
//! # Bytes
//!
//! | form | gives |
//! | --- | --- |
//! | `[5]` | the byte at offset 5 |
//! | `[2, 4]` | 4 bytes from offset 2 |
//! | `[2:6]` `[2:]` `[:4]` `[:]` | from offset 2 up to, not including, 6; an end left out is the data's own |
//! | `[]` | no bytes (an empty range, which is a value) |
//! | `u16le[34:36]` `u16le[34]` | a number; with one offset the type's own width is taken |
//! | `utf8[0:8]` | those bytes, if they are valid UTF-8 |
//! | `0xFFFF` | up to 8 bytes: a number as wide as written; more: bytes |
//! | `A \| B` | B, on the bytes of A |
//!
//! Every position may be an expression: `[u16le[0] * 2, 4]`. A range that is not wholly inside the data is
//! *no value*; nothing is clamped. A range that can never be right (`[6:2]`, `[-1]`, `u32le[0:2]`) is refused
//! at once. The types are `u8 i8` and `u16 i16 u32 i32 u64 i64` followed by `le` or `be`.
//!
//! # The packet
//!
//! `Tag`, `Remote` (address and port), `Remote.IpAddress`, `Remote.Port`, `Remote.PeerKey`, `Local` (domain
//! or address, and port), `Local.Domain`, `Local.IpAddress`, `Local.Port`, `Local.Protocol`, `ReceivedAt`,
//! `IngressRegion`, `Formatter`, `Data` (undecoded), `Inner.SourceAddress`, `Inner.SourcePort`,
//! `Inner.DestinationAddress`, `Inner.DestinationPort`, `Inner.Version`, `Inner.Protocol` are text: a JSON
//! string's own, a number or boolean as it was written. Anything else is no value.
//!
//! `Data#/device/id` is a JSON Pointer (RFC 6901) into the packet's payload (not into what a pipe made of
//! it), with the same rule for its result. Unquoted it holds letters, digits and `/ ~ _ - . @ $`; others need
//! quotes, `Data#"/a b"`, in which `\"` and `\\` stand for the quote and the backslash.
//!
//! # Operators, from the loosest
//!
//! `|` · `? :` · `??` · `||` · `&&` · `== !=` · `< <= > >=` · `+ -` · `* / %` · `! -`, the second and third
//! grouping to the right, the binary others to the left; parentheses.
//!
//! - *No value* on either side makes no value. Exceptions: `A ?? B` is B when A has no value; `&&` and `||`
//!   do not look at their right side when the left one decides; `? :` looks only at the branch it takes.
//! - Bytes and bytes, text and text, bytes and text compare byte for byte; two texts that are integers as
//!   numbers. Next to a number, bytes count as one unsigned big-endian integer of any length (none at all as
//!   0), text as the integer or boolean it spells, a boolean as 1 or 0. Text that spells none is unequal to
//!   every number, and has no order with it (no value).
//! - Arithmetic is done on the same terms, in 128 bits with a sign; overflow, division by zero and text that
//!   is no number give no value. `/` rounds toward zero, `%` has the sign of its left side.
//! - A condition holds unless it is 0, false, empty, all zero bytes, or text that spells 0 or `false`.

mod error;
mod evaluate;
mod lexer;
mod node;
mod parser;
mod pointer;
mod value;

#[cfg(test)]
mod refusals;
#[cfg(test)]
mod tests;

pub use error::SyntaxError;
pub(crate) use evaluate::Scope;
pub(crate) use value::Value;

use node::Node;

/// The longest expression, in characters. Lambda gives a function 4 KB of environment, all variables together
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>): no longer one can arrive.
const MAX_CHARS: usize = 4096;

/// How deep parentheses, brackets and operators may lie in one another. A choice: far beyond what a reader
/// could follow, and far below what the stack of a thread holds.
const MAX_DEPTH: usize = 100;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    root: Node,
    reads_payload: bool,
}

/// Whether an expression may name packet fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fields {
    Known,
    Refused,
}

impl Expression {
    pub(crate) fn parse(text: &str, fields: Fields) -> Result<Self, SyntaxError> {
        let (root, reads_payload) = parser::parse(text, fields)?;
        Ok(Self { root, reads_payload })
    }

    /// Whether the payload can make a difference to the result.
    pub(crate) fn reads_payload(&self) -> bool {
        self.reads_payload
    }

    /// The value, or `None` for *no value*.
    pub(crate) fn evaluate<'v>(&'v self, scope: Scope<'v>) -> Option<Value<'v>> {
        evaluate::evaluate(&self.root, scope)
    }
}
