//! What an expression gives, and how values count, compare and become bytes.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Deref;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'v> {
    Bytes(Bytes<'v>),
    Number(Number),
    Truth(bool),
    Text(Cow<'v, str>),
}

/// An integer and the number of bytes it takes as a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) value: i128,
    /// From 1 to [`NUMBER_BYTES`]; `value` fits in.
    pub(crate) width: usize,
}

/// The widest number, in bytes.
pub(crate) const NUMBER_BYTES: usize = size_of::<i128>();

/// Bytes that are a part of the data wherever possible.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bytes<'v> {
    Part(&'v [u8]),
    /// A part of a number, which has no place in the data. First the room, then how much of it is in use.
    Short([u8; NUMBER_BYTES], usize),
    /// A part of text that had to be built.
    Built(Vec<u8>),
}

impl Value<'_> {
    /// Whether a condition holds.
    pub(super) fn holds(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.iter().any(|byte| *byte != 0),
            Self::Number(number) => number.value != 0,
            Self::Truth(truth) => *truth,
            Self::Text(text) => spelled(text).map_or(!text.is_empty(), |value| value != 0),
        }
    }

    /// The value in arithmetic.
    pub(super) fn number(&self) -> Option<i128> {
        match self.size()? {
            Size::Of(value) => Some(value),
            Size::Beyond => None,
        }
    }

    /// Left to right, or `None` if there is no order between the two.
    pub(super) fn compare(&self, right: &Self) -> Option<Ordering> {
        match (self, right) {
            (Self::Text(left), Self::Text(right)) => Some(match (integer(left), integer(right)) {
                (Some(left), Some(right)) => left.cmp(&right),
                _ => left.cmp(right),
            }),
            (Self::Bytes(left), Self::Bytes(right)) => Some(left.cmp(right)),
            (Self::Bytes(left), Self::Text(right)) => Some((**left).cmp(right.as_bytes())),
            (Self::Text(left), Self::Bytes(right)) => Some(left.as_bytes().cmp(right)),
            // One is a number, so one at most is beyond all numbers.
            (left, right) => Some(left.size()?.cmp(&right.size()?)),
        }
    }

    /// The value as the data of a pipe or the content of a reply; `room` is for a number.
    pub(crate) fn as_bytes<'s>(&'s self, room: &'s mut [u8; NUMBER_BYTES]) -> &'s [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
            Self::Truth(truth) => {
                room[0] = u8::from(*truth);
                &room[..1]
            }
            Self::Number(number) => {
                *room = number.value.to_be_bytes();
                &room[NUMBER_BYTES - number.width..]
            }
        }
    }

    /// The same value, borrowing nothing.
    pub(super) fn detached(self) -> Value<'static> {
        match self {
            Self::Bytes(bytes) => Value::Bytes(bytes.detached()),
            Self::Number(number) => Value::Number(number),
            Self::Truth(truth) => Value::Truth(truth),
            Self::Text(text) => Value::Text(text.into_owned().into()),
        }
    }

    fn size(&self) -> Option<Size> {
        match self {
            Self::Number(number) => Some(Size::Of(number.value)),
            Self::Truth(truth) => Some(Size::Of(i128::from(*truth))),
            Self::Text(text) => spelled(text).map(Size::Of),
            Self::Bytes(bytes) => {
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                let digits = &bytes[zeros..];
                if digits.len() > NUMBER_BYTES {
                    return Some(Size::Beyond);
                }
                let value = digits.iter().fold(0, |value: u128, byte| value << 8 | u128::from(*byte));
                Some(i128::try_from(value).map_or(Size::Beyond, Size::Of))
            }
        }
    }
}

impl Number {
    /// The result of a computation, or a decimal literal: the smallest of 1, 2, 4, 8 and 16 bytes that holds
    /// it, with a sign bit only if it is negative.
    pub(super) fn computed(value: i128) -> Self {
        let unused = if value < 0 { value.leading_ones() - 1 } else { value.leading_zeros() };
        let bytes = (i128::BITS - unused).div_ceil(8).max(1);
        Self { value, width: bytes.next_power_of_two() as usize }
    }
}

impl Bytes<'_> {
    fn detached(self) -> Bytes<'static> {
        match self {
            Self::Part(part) if part.len() <= NUMBER_BYTES => {
                let mut room = [0; NUMBER_BYTES];
                room[..part.len()].copy_from_slice(part);
                Bytes::Short(room, part.len())
            }
            Self::Part(part) => Bytes::Built(part.to_vec()),
            Self::Short(room, length) => Bytes::Short(room, length),
            Self::Built(bytes) => Bytes::Built(bytes),
        }
    }
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Part(part) => part,
            Self::Short(room, length) => &room[..*length],
            Self::Built(bytes) => bytes,
        }
    }
}

/// How large a value is as a number; bytes may be larger than any number we count with.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Size {
    Of(i128),
    Beyond,
}

/// The integer or boolean that a text spells.
fn spelled(text: &str) -> Option<i128> {
    match text {
        "true" => Some(1),
        "false" => Some(0),
        _ => integer(text),
    }
}

/// The integer that a text spells, as JSON writes it: no plus sign, no leading zeros.
fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}
