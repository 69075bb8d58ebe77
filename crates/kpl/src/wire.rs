//! The protobuf wire format (<https://protobuf.dev/programming-guides/encoding/>), as far as three small messages need
//! it: fields one after another, each a number, a wire type and a value.

use crate::broken::Malformed;

/// How deep groups may be nested: the limit of protobuf's own readers
/// (<https://protobuf.dev/programming-guides/proto-limits/>, their recursion limit).
const GROUP_DEPTH: usize = 100;

/// The highest field number.
const FIELD_MAX: u64 = (1 << 29) - 1;

const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH: u64 = 2;
const GROUP_START: u64 = 3;
const GROUP_END: u64 = 4;
const FOUR_BYTES: u64 = 5;

/// The fields of a message. It never reads beyond its bytes; after an error nothing of use is left in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    left: &'a [u8],
    /// Where in the record `left` begins.
    offset: usize,
}

/// A field's value. Of what is neither a varint nor bytes nothing but its end matters.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes { bytes: &'a [u8], offset: usize },
    Other,
}

impl<'a> Fields<'a> {
    /// The fields of a message that begins at `offset` of the record.
    pub(crate) fn new(message: &'a [u8], offset: usize) -> Self {
        Self { left: message, offset }
    }

    /// The next field's number and value; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Error> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let start = self.offset;
        let (number, wire_type) = self.head()?;
        let value = match wire_type {
            VARINT => Value::Varint(self.varint()?),
            LENGTH => self.bytes()?,
            GROUP_END => return Err(Error { offset: start, malformed: Malformed::Group { field: number } }),
            _ => {
                self.skip(start, number, wire_type, 0)?;
                Value::Other
            }
        };
        Ok(Some((number, value)))
    }

    /// A field's number and wire type.
    fn head(&mut self) -> Result<(u32, u64), Error> {
        let start = self.offset;
        let head = self.varint()?;
        match u32::try_from(head >> 3) {
            Ok(number @ 1..) if head >> 3 <= FIELD_MAX => Ok((number, head & 7)),
            _ => Err(Error { offset: start, malformed: Malformed::FieldNumber { found: head >> 3 } }),
        }
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let start = self.offset;
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.take()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error { offset: start, malformed: Malformed::Varint })
    }

    fn bytes(&mut self) -> Result<Value<'a>, Error> {
        let start = self.offset;
        let length = self.varint()?;
        let taken = usize::try_from(length).ok().and_then(|length| self.left.split_at_checked(length));
        let Some((bytes, left)) = taken else {
            let malformed = Malformed::Length { found: length, left: self.left.len() };
            return Err(Error { offset: start, malformed });
        };
        let offset = self.offset;
        self.offset += bytes.len();
        self.left = left;
        Ok(Value::Bytes { bytes, offset })
    }

    /// Passes over a value whose head, at `start`, has been read, in `depth` groups.
    fn skip(&mut self, start: usize, number: u32, wire_type: u64, depth: usize) -> Result<(), Error> {
        match wire_type {
            VARINT => self.varint().map(drop),
            EIGHT_BYTES => self.take::<8>().map(drop),
            LENGTH => self.bytes().map(drop),
            FOUR_BYTES => self.take::<4>().map(drop),
            GROUP_START if depth == GROUP_DEPTH => {
                Err(Error { offset: start, malformed: Malformed::Depth { limit: GROUP_DEPTH } })
            }
            GROUP_START => loop {
                let inner = self.offset;
                match self.head()? {
                    (end, GROUP_END) if end == number => return Ok(()),
                    (end, GROUP_END) => {
                        return Err(Error { offset: inner, malformed: Malformed::Group { field: end } });
                    }
                    (field, wire_type) => self.skip(inner, field, wire_type, depth + 1)?,
                }
            },
            _ => Err(Error { offset: start, malformed: Malformed::WireType { found: wire_type } }),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((taken, left)) = self.left.split_first_chunk() else {
            return Err(Error { offset: self.offset, malformed: Malformed::End });
        };
        self.left = left;
        self.offset += N;
        Ok(*taken)
    }
}

/// What is not protobuf, and where in the record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Error {
    pub(crate) offset: usize,
    pub(crate) malformed: Malformed,
}

/// How many bytes [`put_number`] appends.
pub(crate) fn number_size(number: usize) -> usize {
    1 + varint_size(number)
}

/// How many bytes [`put_bytes`] appends for that many.
pub(crate) fn bytes_size(length: usize) -> usize {
    1 + varint_size(length) + length
}

/// Appends a number as a field. (Ours have numbers below 16, so that their head is one byte.)
pub(crate) fn put_number(out: &mut Vec<u8>, field: u32, number: usize) {
    put_varint(out, u64::from(field) << 3 | VARINT);
    put_varint(out, number as u64);
}

/// Appends bytes as a field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_length(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends the head of a field of that many bytes, which are to follow.
pub(crate) fn put_length(out: &mut Vec<u8>, field: u32, length: usize) {
    put_varint(out, u64::from(field) << 3 | LENGTH);
    put_varint(out, length as u64);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn varint_size(value: usize) -> usize {
    value.checked_ilog2().map_or(1, |bit| bit as usize / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_comes_back_and_has_the_size_foretold() {
        for bits in 0..usize::BITS {
            for value in [(1_usize << bits) - 1, 1 << bits, usize::MAX >> bits] {
                let mut out = Vec::new();
                put_varint(&mut out, value as u64);
                assert_eq!(out.len(), varint_size(value), "{value}");
                let read = Fields::new(&out, 0).varint().unwrap();
                assert_eq!(read, value as u64);
            }
        }
    }
}
