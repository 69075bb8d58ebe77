//! Writing: user records are gathered in an [`Aggregator`], which knows its size to the byte at any time.
//!
//! Fields come by number and each key stands once, where it first appeared, as the KPL has it; so its bytes and
//! ours are the same for the same user records.

use std::collections::BTreeMap;

use crate::digest::{DIGEST_BYTES, digests};
use crate::record::{MAGIC, PARTITION_KEY_CHARACTERS, UserRecord, field};
use crate::wire;

/// Gathers user records into one aggregate after another; what it has allocated serves the next one too.
///
/// Which user records may go together is the caller's to know ([`Bucket`](crate::Bucket) is one answer): whoever puts
/// the aggregate gives it an explicit hash key with which each of them lands in the same shard, see
/// [`UserRecord::hash_key`].
#[derive(Debug, Clone, Default)]
pub struct Aggregator {
    /// The keys so far and their places in the tables. Ordered, because a hash map would draw on randomness.
    partition_keys: BTreeMap<Box<str>, usize>,
    explicit_hash_keys: BTreeMap<u128, usize>,
    /// Both tables and the records, as they will stand in the message.
    partition_key_table: Vec<u8>,
    explicit_hash_key_table: Vec<u8>,
    records: Vec<u8>,
    count: usize,
    /// How many bytes of data the last record has: they are the last of `records`.
    last: usize,
}

impl Aggregator {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many user records it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it holds no user record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The exact length of what [`finish`](Self::finish) would give, in bytes; 0 if it is empty.
    #[must_use]
    pub fn size(&self) -> usize {
        if self.is_empty() { 0 } else { FRAME_BYTES + self.message_size() }
    }

    /// What [`size`](Self::size) would be with one more user record, whether or not it may be pushed. The size of an
    /// aggregate of that one alone is what an empty aggregator says.
    #[must_use]
    pub fn size_with(&self, record: &UserRecord<'_>) -> usize {
        FRAME_BYTES + self.message_size() + self.place(record).grows()
    }

    /// Adds a user record, behind the others. There is no limit but that of memory: a caller with one asks
    /// [`size_with`](Self::size_with) first.
    ///
    /// # Errors
    ///
    /// A partition key that Kinesis would not take; nothing is added.
    pub fn push(&mut self, record: &UserRecord<'_>) -> Result<(), BadPartitionKey> {
        let characters = record.partition_key.chars().count();
        if !(1..=PARTITION_KEY_CHARACTERS).contains(&characters) {
            return Err(BadPartitionKey { characters });
        }
        let place = self.place(record);
        if place.partition_key.is_new() {
            let key = record.partition_key;
            self.partition_keys.insert(key.into(), place.partition_key.index);
            wire::put_bytes(&mut self.partition_key_table, field::PARTITION_KEY_TABLE, key.as_bytes());
        }
        if let (Some(key), Some(entry)) = (record.explicit_hash_key, place.explicit_hash_key)
            && entry.is_new()
        {
            self.explicit_hash_keys.insert(key, entry.index);
            let table = &mut self.explicit_hash_key_table;
            wire::put_bytes(table, field::EXPLICIT_HASH_KEY_TABLE, key.to_string().as_bytes());
        }
        let out = &mut self.records;
        wire::put_length(out, field::RECORDS, place.body);
        wire::put_number(out, field::PARTITION_KEY_INDEX, place.partition_key.index);
        if let Some(entry) = place.explicit_hash_key {
            wire::put_number(out, field::EXPLICIT_HASH_KEY_INDEX, entry.index);
        }
        wire::put_bytes(out, field::DATA, record.data);
        self.last = record.data.len();
        self.count += 1;
        Ok(())
    }

    /// The only user record, if there is exactly one. The KPL puts that one plain, as its data alone under its own
    /// keys; who wants that puts what is given here and then [clears](Self::clear), in place of
    /// [`finish`](Self::finish). Two things speak against it: data that begins with [`MAGIC`] would be read as an
    /// aggregate, and a partition key that varies with the company is another lane for whoever reads in parallel.
    #[must_use]
    pub fn lone(&self) -> Option<UserRecord<'_>> {
        if self.count != 1 {
            return None;
        }
        let (partition_key, _) = self.partition_keys.first_key_value()?;
        let explicit_hash_key = self.explicit_hash_keys.first_key_value().map(|(key, _)| *key);
        let data = self.records.get(self.records.len().checked_sub(self.last)?..)?;
        Some(UserRecord { partition_key, explicit_hash_key, data })
    }

    /// The aggregate of all user records pushed, also of a single one; `None` if there are none. It is empty then.
    #[must_use = "the user records are in there and nowhere else"]
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        Unsealed::seal(vec![self.take()?]).pop()
    }

    /// What [`finish`](Self::finish) gives, but for its digest: where there are several aggregates, those of all of them
    /// are reckoned in less time [together](Unsealed::seal).
    #[must_use = "the user records are in there and nowhere else"]
    pub fn take(&mut self) -> Option<Unsealed> {
        if self.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(self.size());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.partition_key_table);
        out.extend_from_slice(&self.explicit_hash_key_table);
        out.extend_from_slice(&self.records);
        self.clear();
        Some(Unsealed(out))
    }

    /// Forgets all user records.
    pub fn clear(&mut self) {
        self.partition_keys.clear();
        self.explicit_hash_keys.clear();
        self.partition_key_table.clear();
        self.explicit_hash_key_table.clear();
        self.records.clear();
        self.count = 0;
        self.last = 0;
    }

    fn message_size(&self) -> usize {
        self.partition_key_table.len() + self.explicit_hash_key_table.len() + self.records.len()
    }

    /// Where a user record's keys are or would be, and how long it is.
    fn place(&self, record: &UserRecord<'_>) -> Place {
        let partition_key = match self.partition_keys.get(record.partition_key) {
            Some(index) => Entry { index: *index, grows: 0 },
            None => Entry {
                index: self.partition_keys.len(),
                grows: wire::bytes_size(record.partition_key.len()),
            },
        };
        let explicit_hash_key = record.explicit_hash_key.map(|key| match self.explicit_hash_keys.get(&key) {
            Some(index) => Entry { index: *index, grows: 0 },
            None => Entry { index: self.explicit_hash_keys.len(), grows: wire::bytes_size(digits(key)) },
        });
        let body = wire::number_size(partition_key.index)
            + explicit_hash_key.map_or(0, |entry| wire::number_size(entry.index))
            + wire::bytes_size(record.data.len());
        Place { partition_key, explicit_hash_key, body }
    }
}

/// An aggregate without its digest.
#[derive(Debug)]
pub struct Unsealed(Vec<u8>);

impl Unsealed {
    /// The aggregates, in their order.
    #[must_use = "the user records are in there and nowhere else"]
    pub fn seal(these: Vec<Self>) -> Vec<Vec<u8>> {
        let messages: Vec<_> =
            these.iter().map(|Self(bytes)| bytes.get(MAGIC.len()..).unwrap_or_default()).collect();
        let digests = digests(&messages);
        let sealed = |(Self(mut bytes), digest): (Self, [u8; DIGEST_BYTES])| {
            bytes.extend_from_slice(&digest);
            bytes
        };
        these.into_iter().zip(digests).map(sealed).collect()
    }
}

/// A partition key that Kinesis would not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a partition key must have 1 to {PARTITION_KEY_CHARACTERS} characters, found {characters}")]
pub struct BadPartitionKey {
    /// How many Unicode characters it has.
    pub characters: usize,
}

/// Of every aggregate: the magic number and the digest.
const FRAME_BYTES: usize = MAGIC.len() + DIGEST_BYTES;

/// Where a user record stands, or would.
struct Place {
    partition_key: Entry,
    explicit_hash_key: Option<Entry>,
    /// The length of its `Record`, without the field's own head.
    body: usize,
}

impl Place {
    /// By how many bytes the message grows.
    fn grows(&self) -> usize {
        let tables = self.partition_key.grows + self.explicit_hash_key.map_or(0, |entry| entry.grows);
        tables + wire::bytes_size(self.body)
    }
}

/// A key in its table.
#[derive(Clone, Copy)]
struct Entry {
    index: usize,
    /// By how many bytes the table grows: none, if the key is there already.
    grows: usize,
}

impl Entry {
    fn is_new(&self) -> bool {
        self.grows > 0
    }
}

/// How many digits a number has in decimal.
fn digits(number: u128) -> usize {
    number.checked_ilog10().map_or(1, |power| power as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: UserRecord<'_> = UserRecord { partition_key: "k", explicit_hash_key: None, data: b"data" };

    #[track_caller]
    fn check_message(records: &[UserRecord<'_>], want: &[u8]) {
        let mut aggregator = Aggregator::new();
        records.iter().for_each(|record| aggregator.push(record).unwrap());
        let aggregate = aggregator.finish().unwrap();
        assert_eq!(&aggregate[4..aggregate.len() - 16], want);
    }

    #[test]
    fn fields_come_by_number_and_each_key_once() {
        check_message(&[RECORD], b"\x0A\x01k\x1A\x08\x08\x00\x1A\x04data");
        let hashed = UserRecord { explicit_hash_key: Some(10), data: b"", ..RECORD };
        check_message(&[hashed], b"\x0A\x01k\x12\x0210\x1A\x06\x08\x00\x10\x00\x1A\x00");
        let other = UserRecord { partition_key: "\u{E9}", ..hashed };
        check_message(
            &[hashed, other, RECORD],
            b"\x0A\x01k\x0A\x02\xC3\xA9\x12\x0210\
              \x1A\x06\x08\x00\x10\x00\x1A\x00\x1A\x06\x08\x01\x10\x00\x1A\x00\x1A\x08\x08\x00\x1A\x04data",
        );
    }

    #[test]
    fn a_hash_key_takes_as_many_bytes_as_it_has_digits() {
        for number in [0, 1, 9, 10, 99, 100, u128::MAX / 2, u128::MAX] {
            assert_eq!(digits(number), number.to_string().len(), "{number}");
        }
    }

    #[test]
    fn what_is_empty_gives_no_aggregate() {
        let mut aggregator = Aggregator::new();
        assert_eq!((aggregator.size(), aggregator.len(), aggregator.finish()), (0, 0, None));
        aggregator.push(&RECORD).unwrap();
        aggregator.clear();
        assert!(aggregator.is_empty());
        assert_eq!((aggregator.size(), aggregator.finish()), (0, None));
    }

    #[test]
    fn what_was_finished_leaves_no_trace_in_the_next() {
        let mut aggregator = Aggregator::new();
        let hashed = UserRecord { partition_key: "first", explicit_hash_key: Some(1), data: b"1" };
        aggregator.push(&hashed).unwrap();
        let _ = aggregator.finish();
        aggregator.push(&RECORD).unwrap();
        let mut fresh = Aggregator::new();
        fresh.push(&RECORD).unwrap();
        assert_eq!(aggregator.lone(), Some(RECORD));
        assert_eq!(aggregator.finish(), fresh.finish());
    }

    #[test]
    fn one_user_record_is_lone_and_none_or_two_are_not() {
        for explicit_hash_key in [None, Some(0), Some(u128::MAX)] {
            for data in [b"".as_slice(), b"some"] {
                let record = UserRecord { explicit_hash_key, data, ..RECORD };
                let mut aggregator = Aggregator::new();
                assert_eq!(aggregator.lone(), None);
                aggregator.push(&record).unwrap();
                assert_eq!(aggregator.lone(), Some(record));
                aggregator.push(&record).unwrap();
                assert_eq!(aggregator.lone(), None);
            }
        }
    }

    #[test]
    fn a_partition_key_has_1_to_256_characters() {
        #[track_caller]
        fn check(partition_key: &str, want: Result<(), &str>) {
            let mut aggregator = Aggregator::new();
            let record = UserRecord { partition_key, ..RECORD };
            let pushed = aggregator.push(&record).map_err(|error| error.to_string());
            assert_eq!(pushed, want.map_err(str::to_owned));
            assert_eq!(aggregator.len(), usize::from(want.is_ok()));
        }
        check("", Err("a partition key must have 1 to 256 characters, found 0"));
        check("x", Ok(()));
        check(&"\u{1F980}".repeat(256), Ok(()));
        check(&"x".repeat(257), Err("a partition key must have 1 to 256 characters, found 257"));
    }
}
