//! The parsed expression, as a tree.

use crate::field::Field;

use super::pointer::Pointer;
use super::value::Number;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Number(Number),
    Bytes(Vec<u8>),
    Range(Range),
    /// A typed read of a range.
    Read(Type, Range),
    /// A range that has to be valid UTF-8.
    Utf8(Range),
    Field(Field),
    Pointer(Pointer),
    Not(Box<Self>),
    Negate(Box<Self>),
    Binary(Operator, Box<[Self; 2]>),
    /// Condition, then, else.
    Choose(Box<[Self; 3]>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Range {
    /// `[]`
    Empty,
    /// `[5]`
    At(Box<Node>),
    /// `[2, 4]`: offset and length.
    Span(Box<[Node; 2]>),
    /// `[2:6]`, either end optional.
    Between(Option<Box<Node>>, Option<Box<Node>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Pipe,
    Coalesce,
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// An integer type as it lies in the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) name: &'static str,
    pub(super) signed: bool,
    pub(super) little_endian: bool,
    /// In bytes.
    pub(super) width: usize,
}

impl Type {
    /// The type of this name: `u8`, `i32le`.
    pub(super) fn named(name: &str) -> Option<Self> {
        TYPES.into_iter().find(|known| known.name == name)
    }
}

pub(super) const TYPES: [Type; 14] = [
    int("u8", false, false, 1),
    int("i8", true, false, 1),
    int("u16le", false, true, 2),
    int("u16be", false, false, 2),
    int("i16le", true, true, 2),
    int("i16be", true, false, 2),
    int("u32le", false, true, 4),
    int("u32be", false, false, 4),
    int("i32le", true, true, 4),
    int("i32be", true, false, 4),
    int("u64le", false, true, 8),
    int("u64be", false, false, 8),
    int("i64le", true, true, 8),
    int("i64be", true, false, 8),
];

const fn int(name: &'static str, signed: bool, little_endian: bool, width: usize) -> Type {
    Type { name, signed, little_endian, width }
}

impl Range {
    /// Where the range lies if it is written in plain numbers: first byte and byte after the last.
    /// `None` where an end is computed or the data's own.
    pub(super) fn literal(&self) -> Option<(i128, i128)> {
        match self {
            Self::Empty => Some((0, 0)),
            Self::At(_) | Self::Between(_, None) => None,
            Self::Span(span) => {
                let offset = span[0].literal()?;
                Some((offset, offset.checked_add(span[1].literal()?)?))
            }
            Self::Between(from, Some(to)) => {
                Some((from.as_ref().map_or(Some(0), |from| from.literal())?, to.literal()?))
            }
        }
    }
}

impl Node {
    /// The number that is written there, a minus sign included.
    pub(super) fn literal(&self) -> Option<i128> {
        match self {
            Self::Number(number) => Some(number.value),
            Self::Negate(node) => node.literal()?.checked_neg(),
            _ => None,
        }
    }

    /// How many nodes lie on the longest way down, this one included.
    pub(super) fn depth(&self) -> usize {
        let deepest = |nodes: &[Self]| nodes.iter().map(Self::depth).max().unwrap_or(0);
        1 + match self {
            Self::Number(_) | Self::Bytes(_) | Self::Field(_) | Self::Pointer(_) => 0,
            Self::Range(range) | Self::Read(_, range) | Self::Utf8(range) => match range {
                Range::Empty => 0,
                Range::At(node) => node.depth(),
                Range::Span(span) => deepest(&span[..]),
                Range::Between(from, to) => from.iter().chain(to).map(|node| node.depth()).max().unwrap_or(0),
            },
            Self::Not(node) | Self::Negate(node) => node.depth(),
            Self::Binary(_, sides) => deepest(&sides[..]),
            Self::Choose(parts) => deepest(&parts[..]),
        }
    }
}
