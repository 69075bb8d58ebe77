//! What goes into an aggregate and comes out of it, and the numbers of the format.

use crate::digest::digest;

/// What every aggregate begins with. (The KPL's aggregation-format.md.)
pub const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// The most characters of a partition key: Kinesis's own limit, as in its API reference under `PutRecords`.
pub const PARTITION_KEY_CHARACTERS: usize = 256;

/// The numbers of the fields: three of `AggregatedRecord`, four of `Record`, two of `Tag`.
pub(crate) mod field {
    pub(crate) const PARTITION_KEY_TABLE: u32 = 1;
    pub(crate) const EXPLICIT_HASH_KEY_TABLE: u32 = 2;
    pub(crate) const RECORDS: u32 = 3;

    pub(crate) const PARTITION_KEY_INDEX: u32 = 1;
    pub(crate) const EXPLICIT_HASH_KEY_INDEX: u32 = 2;
    pub(crate) const DATA: u32 = 3;
    pub(crate) const TAGS: u32 = 4;

    pub(crate) const TAG_KEY: u32 = 1;
    pub(crate) const TAG_VALUE: u32 = 2;
}

/// One record of a producer's user, as it goes into an aggregate and comes out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserRecord<'a> {
    /// 1 to [`PARTITION_KEY_CHARACTERS`] characters; one that is read may be empty.
    pub partition_key: &'a str,
    /// Where in the hash space the record belongs, if not where its partition key says.
    pub explicit_hash_key: Option<u128>,
    /// Any bytes, also none.
    pub data: &'a [u8],
}

impl UserRecord<'_> {
    /// Where in the hash space the record belongs: its explicit hash key, or that of its partition key.
    ///
    /// The KCL holds every user record against the range of the shard that it reads from, and drops the *whole*
    /// aggregate, without a word, if one of them is outside. (`AggregatorUtil` of awslabs/amazon-kinesis-client.)
    #[must_use]
    pub fn hash_key(&self) -> u128 {
        self.explicit_hash_key.unwrap_or_else(|| hash_key(self.partition_key))
    }
}

/// Where in the hash space a partition key lies: the MD5 digest of its UTF-8, as a 128-bit number, the first byte
/// the highest. (Kinesis's API reference, `PutRecord`.)
#[must_use]
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(digest(partition_key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_key_lies_where_its_md5_says() {
        // RFC 1321, A.5
        assert_eq!(hash_key(""), 0xD41D_8CD9_8F00_B204_E980_0998_ECF8_427E);
        assert_eq!(hash_key("abc"), 0x9001_5098_3CD2_4FB0_D696_3F7D_28E1_7F72);
    }

    #[test]
    fn the_explicit_hash_key_wins() {
        let record = UserRecord { partition_key: "abc", explicit_hash_key: None, data: b"" };
        assert_eq!(record.hash_key(), hash_key("abc"));
        assert_eq!(UserRecord { explicit_hash_key: Some(0), ..record }.hash_key(), 0);
    }
}
