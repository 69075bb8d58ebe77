//! Why a record that begins as an aggregate is none.

use std::fmt;

use crate::record::PARTITION_KEY_CHARACTERS;
use crate::wire;

/// Why a record that begins as an aggregate is none that can be read. User records are counted from 0, offsets are in
/// bytes from the start of the Kinesis record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It ends before a digest could.
    #[error("an aggregate has at least 20 bytes, found {length}")]
    Short {
        /// Its length in bytes.
        length: usize,
    },
    /// The message is not the one that the digest was made of.
    #[error("the aggregate ends in MD5 {}, its message has {}", Hex(found), Hex(computed))]
    Digest {
        /// The last 16 bytes.
        found: [u8; 16],
        /// What they would have to be.
        computed: [u8; 16],
    },
    /// What matches the digest is not protobuf.
    #[error("the message is not protobuf at offset {offset}: {malformed}")]
    Message {
        /// Where.
        offset: usize,
        /// In which way.
        malformed: Malformed,
    },
    /// There is no user record in it.
    #[error("the aggregate holds no user record")]
    NoRecords,
    /// A required field is not there.
    #[error("user record {record} has no {field}")]
    Missing {
        /// Which user record.
        record: usize,
        /// The field's name in the format: `partition_key_index`, `data` or, of a tag, `tags.key`.
        field: &'static str,
    },
    /// An index has no entry in its table.
    #[error("user record {record} names {table} {index}, the table has {length}")]
    Index {
        /// Which user record.
        record: usize,
        /// Which table.
        table: Table,
        /// What it names, from 0.
        index: u64,
        /// How many keys there are.
        length: usize,
    },
    /// A key or a tag is not UTF-8.
    #[error("the {what} at offset {offset} is not UTF-8")]
    NotText {
        /// "partition key", "explicit hash key" or "tag".
        what: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// A partition key is longer than Kinesis has any.
    #[error(
        "partition key {index} has {characters} characters, at most {PARTITION_KEY_CHARACTERS} are allowed"
    )]
    PartitionKey {
        /// Which of the table, from 0.
        index: usize,
        /// How many Unicode characters it has.
        characters: usize,
    },
    /// An explicit hash key is no place in the hash space.
    #[error("explicit hash key {index} is not a decimal number below 2^128, found {found:?}")]
    ExplicitHashKey {
        /// Which of the table, from 0.
        index: usize,
        /// Its first 40 characters.
        found: String,
    },
}

impl From<wire::Error> for Broken {
    fn from(error: wire::Error) -> Self {
        Self::Message { offset: error.offset, malformed: error.malformed }
    }
}

/// A table of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Field 1.
    PartitionKeys,
    /// Field 2.
    ExplicitHashKeys,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PartitionKeys => "partition key",
            Self::ExplicitHashKeys => "explicit hash key",
        })
    }
}

/// What is not protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end within a field.
    #[error("it ends within a field")]
    End,
    /// A varint of more than 64 bits.
    #[error("a varint of more than 64 bits")]
    Varint,
    /// A field number that there is not.
    #[error("a field number must be 1 to 536870911, found {found}")]
    FieldNumber {
        /// The number.
        found: u64,
    },
    /// One of the two wire types that mean nothing.
    #[error("a wire type must be 0 to 5, found {found}")]
    WireType {
        /// 6 or 7.
        found: u64,
    },
    /// A length beyond the end of what it is in.
    #[error("a length of {found} where {left} bytes are left")]
    Length {
        /// The length.
        found: u64,
        /// How many bytes there are.
        left: usize,
    },
    /// The end of a group that has not begun.
    #[error("the end of a group of field {field}, which is not open")]
    Group {
        /// Its field number.
        field: u32,
    },
    /// Groups within groups within groups.
    #[error("groups more than {limit} deep")]
    Depth {
        /// How many are allowed.
        limit: usize,
    },
}

/// Shown as lower-case hex, as `md5sum` does.
struct Hex<'a>(&'a [u8; 16]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
