//! Which partition keys may share an aggregate, so that its readers find it whole and in order whatever becomes of the
//! stream's shards: the hash space is cut into equal parts, *buckets*, and what is in a bucket goes to its middle.

use crate::digest::digests;
use crate::record::hash_key;

/// A division of the hash space into equal parts.
///
/// All keys of a bucket take its [hash key](Bucket::hash_key): it is the explicit hash key of the aggregate and of every
/// user record in it. They are one point in the hash space, and so in one shard before and after any split or merge;
/// each key's records stay in order, and the KCL's check ([`UserRecord::hash_key`](crate::UserRecord::hash_key)) holds
/// for all of an aggregate or for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    /// How many bits of a hash key say the bucket: 0 to 31.
    bits: u32,
}

impl Buckets {
    /// That many buckets.
    ///
    /// # Errors
    ///
    /// It is not a power of two: 1, 2, 4 and so on to 2^31.
    pub fn new(count: u32) -> Result<Self, NotAPowerOfTwo> {
        if !count.is_power_of_two() {
            return Err(NotAPowerOfTwo { found: count });
        }
        Ok(Self { bits: count.trailing_zeros() })
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> u32 {
        1 << self.bits
    }

    /// The bucket of a partition key: the highest bits of its [`hash_key`].
    #[must_use]
    pub fn of(self, partition_key: &str) -> Bucket {
        self.holding(hash_key(partition_key))
    }

    /// The bucket of each partition key, in their order: what [`of`](Self::of) says, in a third of the time where they are
    /// many.
    #[must_use]
    pub fn of_each(self, partition_keys: &[&str]) -> Vec<Bucket> {
        let keys: Vec<_> = partition_keys.iter().map(|key| key.as_bytes()).collect();
        digests(&keys).into_iter().map(|digest| self.holding(u128::from_be_bytes(digest))).collect()
    }

    /// The bucket that holds a hash key.
    fn holding(self, hash_key: u128) -> Bucket {
        // Shifting by all 128 bits is no shift at all.
        let number = hash_key.checked_shr(u128::BITS - self.bits).unwrap_or(0);
        Bucket { number: u32::try_from(number).unwrap_or(0), bits: self.bits }
    }
}

/// One of [`Buckets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    number: u32,
    bits: u32,
}

impl Bucket {
    /// From 0, in the order of the hash space, to one less than there are.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// The middle of its part of the hash space.
    #[must_use]
    pub fn hash_key(self) -> u128 {
        // 2n + 1 halves of a bucket, each 2^(127 - bits) wide.
        (2 * u128::from(self.number) + 1) << (u128::BITS - 1 - self.bits)
    }
}

/// A number of buckets that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the number of buckets must be a power of two, found {found}")]
pub struct NotAPowerOfTwo {
    /// What was given.
    pub found: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(count: u32, partition_key: &str, number: u32, hash_key: u128) {
        let buckets = Buckets::new(count).unwrap();
        let bucket = buckets.of(partition_key);
        assert_eq!((buckets.count(), bucket.number(), bucket.hash_key()), (count, number, hash_key));
        assert_eq!(buckets.of_each(&["", partition_key, "x"]), [buckets.of(""), bucket, buckets.of("x")]);
        assert_eq!(buckets.of_each(&[partition_key; 40]), [bucket; 40]);
    }

    #[test]
    fn the_highest_bits_of_its_md5_are_a_keys_bucket_and_the_middle_its_hash_key() {
        // MD5 of "abc" begins 0x90015098, that of "a" 0x0cc175b9, that of "message digest" 0xf96b697d (RFC 1321, A.5).
        check(1, "abc", 0, 1 << 127);
        check(2, "a", 0, 1 << 126);
        check(2, "abc", 1, 3 << 126);
        check(16, "a", 0, 1 << 123);
        check(16, "abc", 9, 0x98 << 120);
        check(16, "message digest", 15, 0xF8 << 120);
        check(1 << 31, "abc", 0x9001_5098 >> 1, (0x9001_5098_u128 | 1) << 96);
    }

    #[test]
    fn every_bucket_holds_its_own_hash_key_and_the_middle_is_as_far_from_both_ends() {
        for bits in 0..10 {
            let width = if bits == 0 { None } else { Some(1_u128 << (128 - bits)) };
            for number in 0..1 << bits {
                let low = width.map_or(0, |width| u128::from(number) * width);
                let half = 1_u128 << (127 - bits);
                assert_eq!(Bucket { number, bits }.hash_key(), low + half);
            }
        }
    }

    #[test]
    fn a_number_of_buckets_is_a_power_of_two() {
        for found in [0, 3, 6, 12, u32::MAX] {
            let error = Buckets::new(found).unwrap_err();
            let want = format!("the number of buckets must be a power of two, found {found}");
            assert_eq!(error.to_string(), want);
        }
    }
}
