//! The names of shards and records: [`ShardId`] and [`SequenceNumber`].
//!
//! A sequence number here has the layout of the real ones: 188 bits that begin with a 2, which is why they
//! all have 56 digits and, until 2055, begin with 49. From the top: format (4 bits), second in which the shard was made
//! (36), low digit of the shard (4), index of the record (64), zero (8), second of arrival (36), shard (32),
//! format (4). So within a shard they order by index, and no two shards share one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A shard of a stream, printed as `shardId-000000000000`. Numbered from 0 in order of making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub(super) u32);

/// A text that is no shard id.
#[derive(Debug, thiserror::Error)]
#[error("expected a shard id such as shardId-000000000000, got {0:?}")]
pub struct NotAShardId(String);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shardId-{:012}", self.0)
    }
}

impl FromStr for ShardId {
    type Err = NotAShardId;

    fn from_str(text: &str) -> Result<Self, NotAShardId> {
        text.strip_prefix("shardId-")
            .filter(|digits| digits.len() <= 12 && digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| NotAShardId(text.into()))
    }
}

impl Serialize for ShardId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ShardId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The place of a record in its shard: compares as the number that it prints as.
///
/// Read from text it takes any decimal of up to 129 digits, as the API does; what does not fit 192 bits
/// becomes the greatest number, which no record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber([u64; 3]); // most significant first

/// A text that is no sequence number.
#[derive(Debug, thiserror::Error)]
#[error("expected a decimal number of at most {MAX_DIGITS} digits without leading zeros, got {0:?}")]
pub struct NotASequenceNumber(String);

/// Digits that the API takes for a sequence number (API reference: GetShardIterator).
const MAX_DIGITS: usize = 129;
/// The format that real numbers have had since 2014, at both ends of the layout.
const FORMAT: u64 = 2;
/// The most digits that one limb gives off at a time.
const TEN_19: u64 = 10_000_000_000_000_000_000;

impl SequenceNumber {
    /// The number of record `index` of `shard`. Seconds are those since 1970; only 36 bits are kept.
    pub(super) fn new(made_s: u64, shard: ShardId, index: u64, arrival_s: u64) -> Self {
        let shard = u64::from(shard.0);
        Self([
            FORMAT << 56 | (made_s & MASK_36) << 20 | (shard & 0xf) << 16 | index >> 48,
            index << 16 | (arrival_s & MASK_36) >> 28,
            arrival_s << 36 | shard << 4 | FORMAT,
        ])
    }

    /// Which record of its shard this is, from 1; 0 is the shard's own starting number.
    pub(super) fn index(self) -> u64 {
        self.0[0] << 48 | self.0[1] >> 16
    }

    /// The shard that the number names.
    pub(super) fn shard(self) -> ShardId {
        ShardId(u32::try_from(self.0[2] >> 4 & u64::from(u32::MAX)).unwrap_or(u32::MAX))
    }

    /// Whether both numbers are of one shard of one stream, whatever their index.
    pub(super) fn same_shard(self, other: Self) -> bool {
        self.0[0] >> 16 == other.0[0] >> 16 && self.shard() == other.shard()
    }
}

const MASK_36: u64 = (1 << 36) - 1;

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rest, low) = divide(self.0);
        let (rest, middle) = divide(rest);
        let (rest, high) = divide(rest);
        match (rest[2], high, middle) {
            // 2^192 has 58 digits: three times 19 leaves at most one
            (0, 0, 0) => write!(f, "{low}"),
            (0, 0, _) => write!(f, "{middle}{low:019}"),
            (0, _, _) => write!(f, "{high}{middle:019}{low:019}"),
            (rest, _, _) => write!(f, "{rest}{high:019}{middle:019}{low:019}"),
        }
    }
}

impl FromStr for SequenceNumber {
    type Err = NotASequenceNumber;

    fn from_str(text: &str) -> Result<Self, NotASequenceNumber> {
        let digits = text.as_bytes();
        let decimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if !decimal || digits.len() > MAX_DIGITS || digits.len() > 1 && digits[0] == b'0' {
            let start: String = text.chars().take(MAX_DIGITS + 1).collect();
            return Err(NotASequenceNumber(start));
        }
        let mut limbs = [0; 3];
        for chunk in digits.chunks(19) {
            let value = chunk.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
            let scale = chunk.iter().fold(1, |scale: u64, _| scale * 10);
            let Some(next) = multiply_add(limbs, scale, value) else { return Ok(Self([u64::MAX; 3])) };
            limbs = next;
        }
        Ok(Self(limbs))
    }
}

impl Serialize for SequenceNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SequenceNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The upper and the lower half.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn split(number: u128) -> (u64, u64) {
    ((number >> 64) as u64, number as u64)
}

/// Quotient and remainder by 10^19.
fn divide(limbs: [u64; 3]) -> ([u64; 3], u64) {
    let mut rest = 0;
    let quotient = limbs.map(|limb| {
        let part = u128::from(rest) << 64 | u128::from(limb);
        rest = split(part % u128::from(TEN_19)).1;
        split(part / u128::from(TEN_19)).1
    });
    (quotient, rest)
}

/// `limbs * scale + add`, unless it does not fit.
fn multiply_add(limbs: [u64; 3], scale: u64, add: u64) -> Option<[u64; 3]> {
    let mut carry = add;
    let mut out = limbs;
    for limb in out.iter_mut().rev() {
        (carry, *limb) = split(u128::from(*limb) * u128::from(scale) + u128::from(carry));
    }
    (carry == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> SequenceNumber {
        text.parse().unwrap()
    }

    /// A number that AWS made: its parts are what this layout reads from it.
    #[test]
    fn the_layout_is_the_real_one() {
        let real = number("49590338271490256608559692538361571095921575989136588898");
        assert_eq!(real.shard(), ShardId(6));
        assert_eq!(real, SequenceNumber::new(0x5bf4_e5c2, ShardId(6), 0x6764_8a17, 0x5c18_1eea));
        assert_eq!(real.index(), 0x6764_8a17);
    }

    #[track_caller]
    fn refused(text: &str) {
        assert!(text.parse::<SequenceNumber>().is_err(), "{text:?} should be refused");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        ["", "-1", "+1", "01", "1.0", "0x1", " 1", "1 ", "٣", &"9".repeat(130)].into_iter().for_each(refused);
    }

    #[test]
    fn beyond_192_bits_is_the_greatest() {
        let greatest = SequenceNumber([u64::MAX; 3]);
        let printed = "6277101735386680763835789423207666416102355444464034512895"; // 2^192 - 1
        assert_eq!(greatest.to_string(), printed);
        assert_eq!(number(printed), greatest);
        assert_eq!(number("6277101735386680763835789423207666416102355444464034512896"), greatest);
        assert_eq!(number(&"9".repeat(129)), greatest);
    }

    #[track_caller]
    fn check_shard(text: &str, want: Option<u32>) {
        assert_eq!(text.parse::<ShardId>().ok(), want.map(ShardId), "{text:?}");
    }

    #[test]
    fn shard_ids() {
        check_shard("shardId-000000000000", Some(0));
        check_shard("shardId-000000012345", Some(12345));
        check_shard("shardId-7", Some(7));
        check_shard("shardId-", None);
        check_shard("shardId-+00000000001", None);
        check_shard("shardId-0000000000001", None);
        check_shard("shardId-999999999999", None);
        check_shard("000000000000", None);
        assert_eq!(ShardId(12345).to_string(), "shardId-000000012345");
    }

    proptest! {
        #[test]
        fn printing_and_reading_give_the_same_number(limbs: [u64; 3], used in 1usize..=3) {
            let mut limbs = limbs;
            limbs[..3 - used].fill(0);
            let given = SequenceNumber(limbs);
            prop_assert_eq!(number(&given.to_string()), given);
        }

        #[test]
        fn order_is_that_of_the_printed_numbers(a: [u64; 3], b: [u64; 3]) {
            let (a, b) = (SequenceNumber(a), SequenceNumber(b));
            let (a_text, b_text) = (a.to_string(), b.to_string());
            prop_assert_eq!(a.cmp(&b), (a_text.len(), a_text).cmp(&(b_text.len(), b_text)));
        }

        #[test]
        fn parts_come_out_as_they_went_in(made in 0..2_690_000_000u64, shard: u32, index: u64, arrival in 0..1u64 << 36) {
            let given = SequenceNumber::new(made, ShardId(shard), index, arrival);
            prop_assert_eq!((given.shard(), given.index()), (ShardId(shard), index));
            prop_assert_eq!(given.to_string().len(), 56);
            prop_assert!(given.to_string().starts_with("49"));
        }

        #[test]
        fn a_later_index_is_a_greater_number(made in 0..1u64 << 36, shard: u32, a: u64, b: u64, times: (u64, u64)) {
            let early = SequenceNumber::new(made, ShardId(shard), a.min(b), times.0);
            let late = SequenceNumber::new(made, ShardId(shard), a.max(b), times.1);
            prop_assert!(a == b || early < late);
            prop_assert!(early.same_shard(late));
        }
    }
}
