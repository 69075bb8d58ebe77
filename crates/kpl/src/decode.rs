//! Reading: the whole aggregate is checked first, then its user records are read from the same bytes as they are
//! asked for.

use std::iter::FusedIterator;

use crate::broken::{Broken, Table};
use crate::digest::{DIGEST_BYTES, digest};
use crate::record::{MAGIC, PARTITION_KEY_CHARACTERS, UserRecord, field};
use crate::wire::{Fields, Value};

/// Reads a Kinesis record's data (decoded, not base64). `None` if it does not begin as an aggregate; it is an ordinary
/// record then, and all of it.
///
/// # Errors
///
/// It begins as an aggregate and any part of it cannot be read: no user record is given out then. The KCL takes most
/// such records for ordinary ones, the front page lists [what is odd](crate#what-becomes-of-what-is-odd).
pub fn decode(record: &[u8]) -> Result<Option<Aggregate<'_>>, Broken> {
    let Some(rest) = record.strip_prefix(&MAGIC) else { return Ok(None) };
    let Some((message, found)) = rest.split_last_chunk::<DIGEST_BYTES>() else {
        return Err(Broken::Short { length: record.len() });
    };
    let computed = digest(message);
    if *found != computed {
        return Err(Broken::Digest { found: *found, computed });
    }
    Aggregate::check(Fields::new(message, MAGIC.len())).map(Some)
}

/// An aggregate that has been checked to its end.
#[derive(Debug, Clone)]
pub struct Aggregate<'a> {
    message: Fields<'a>,
    tables: Tables<'a>,
    count: usize,
}

impl<'a> Aggregate<'a> {
    /// Its user records in order; the place of each, from 0, is its sub-sequence number.
    #[must_use]
    pub fn records(&self) -> UserRecords<'a, '_> {
        UserRecords { fields: self.message, tables: &self.tables, left: self.count }
    }

    /// How many user records there are: at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it would always be false")]
    pub fn len(&self) -> usize {
        self.count
    }

    fn check(message: Fields<'a>) -> Result<Self, Broken> {
        let tables = Tables::read(message)?;
        let mut fields = message;
        let mut count = 0;
        while let Some(body) = next_record(&mut fields)? {
            read_record(body, &tables, count)?;
            count += 1;
        }
        if count == 0 { Err(Broken::NoRecords) } else { Ok(Self { message, tables, count }) }
    }
}

/// The user records of an [`Aggregate`].
#[derive(Debug, Clone)]
pub struct UserRecords<'a, 'b> {
    fields: Fields<'a>,
    tables: &'b Tables<'a>,
    left: usize,
}

impl<'a> Iterator for UserRecords<'a, '_> {
    type Item = UserRecord<'a>;

    fn next(&mut self) -> Option<UserRecord<'a>> {
        // There are no errors here: the check has read the same bytes in the same way.
        let body = next_record(&mut self.fields).ok()??;
        let record = read_record(body, self.tables, 0).ok()?;
        self.left = self.left.saturating_sub(1);
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for UserRecords<'_, '_> {}

impl FusedIterator for UserRecords<'_, '_> {}

/// Both tables of keys.
#[derive(Debug, Clone)]
struct Tables<'a> {
    partition_keys: Vec<&'a str>,
    explicit_hash_keys: Vec<u128>,
}

impl<'a> Tables<'a> {
    /// Reads them, wherever they stand in the message. They are counted first: a vector that grows by itself would
    /// take up to three times what it ends with.
    fn read(message: Fields<'a>) -> Result<Self, Broken> {
        let (mut partition_keys, mut explicit_hash_keys) = (0, 0);
        let mut fields = message;
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (field::PARTITION_KEY_TABLE, Value::Bytes { .. }) => partition_keys += 1,
                (field::EXPLICIT_HASH_KEY_TABLE, Value::Bytes { .. }) => explicit_hash_keys += 1,
                _ => {}
            }
        }
        let mut tables = Self {
            partition_keys: Vec::with_capacity(partition_keys),
            explicit_hash_keys: Vec::with_capacity(explicit_hash_keys),
        };
        let mut fields = message;
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (field::PARTITION_KEY_TABLE, Value::Bytes { bytes, offset }) => {
                    let key = partition_key(bytes, offset, tables.partition_keys.len())?;
                    tables.partition_keys.push(key);
                }
                (field::EXPLICIT_HASH_KEY_TABLE, Value::Bytes { bytes, offset }) => {
                    let key = explicit_hash_key(bytes, offset, tables.explicit_hash_keys.len())?;
                    tables.explicit_hash_keys.push(key);
                }
                _ => {}
            }
        }
        Ok(tables)
    }
}

fn partition_key(bytes: &[u8], offset: usize, index: usize) -> Result<&str, Broken> {
    let key = text(bytes, offset, "partition key")?;
    let characters = if key.len() <= PARTITION_KEY_CHARACTERS { key.len() } else { key.chars().count() };
    if characters > PARTITION_KEY_CHARACTERS {
        return Err(Broken::PartitionKey { index, characters });
    }
    Ok(key)
}

fn explicit_hash_key(bytes: &[u8], offset: usize, index: usize) -> Result<u128, Broken> {
    let text = text(bytes, offset, "explicit hash key")?;
    let number = if text.starts_with('+') { None } else { text.parse().ok() };
    number.ok_or_else(|| Broken::ExplicitHashKey { index, found: text.chars().take(40).collect() })
}

fn text<'a>(bytes: &'a [u8], offset: usize, what: &'static str) -> Result<&'a str, Broken> {
    str::from_utf8(bytes).map_err(|_| Broken::NotText { what, offset })
}

/// The next `Record`'s own fields; `None` behind the last one.
fn next_record<'a>(fields: &mut Fields<'a>) -> Result<Option<Fields<'a>>, Broken> {
    while let Some((number, value)) = fields.next()? {
        if let (field::RECORDS, Value::Bytes { bytes, offset }) = (number, value) {
            return Ok(Some(Fields::new(bytes, offset)));
        }
    }
    Ok(None)
}

/// One `Record`, the one of that number, with the keys that it names.
fn read_record<'a>(
    mut fields: Fields<'a>,
    tables: &Tables<'a>,
    record: usize,
) -> Result<UserRecord<'a>, Broken> {
    let (mut partition_key, mut explicit_hash_key, mut data) = (None, None, None);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (field::PARTITION_KEY_INDEX, Value::Varint(index)) => partition_key = Some(index),
            (field::EXPLICIT_HASH_KEY_INDEX, Value::Varint(index)) => explicit_hash_key = Some(index),
            (field::DATA, Value::Bytes { bytes, .. }) => data = Some(bytes),
            (field::TAGS, Value::Bytes { bytes, offset }) => check_tag(Fields::new(bytes, offset), record)?,
            _ => {}
        }
    }
    let partition_key = partition_key.ok_or(Broken::Missing { record, field: "partition_key_index" })?;
    Ok(UserRecord {
        partition_key: look_up(&tables.partition_keys, Table::PartitionKeys, partition_key, record)?,
        explicit_hash_key: explicit_hash_key
            .map(|index| look_up(&tables.explicit_hash_keys, Table::ExplicitHashKeys, index, record))
            .transpose()?,
        data: data.ok_or(Broken::Missing { record, field: "data" })?,
    })
}

fn check_tag(mut fields: Fields<'_>, record: usize) -> Result<(), Broken> {
    let mut has_key = false;
    while let Some((number, value)) = fields.next()? {
        if let (field::TAG_KEY | field::TAG_VALUE, Value::Bytes { bytes, offset }) = (number, value) {
            text(bytes, offset, "tag")?;
            has_key |= number == field::TAG_KEY;
        }
    }
    if has_key { Ok(()) } else { Err(Broken::Missing { record, field: "tags.key" }) }
}

fn look_up<K: Copy>(keys: &[K], table: Table, index: u64, record: usize) -> Result<K, Broken> {
    let key = usize::try_from(index).ok().and_then(|at| keys.get(at));
    key.copied().ok_or(Broken::Index { record, table, index, length: keys.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The front page's promise about memory, at its worst: keys of no bytes, and hash keys of one digit.
    #[test]
    fn the_tables_take_at_most_eight_times_the_input() {
        for entry in [b"\x0A\x00".as_slice(), b"\x12\x010", b"\x0A\x01k", b"\x0A\x00\x12\x010"] {
            let message = [&entry.repeat(10_000), b"\x0A\x00\x1A\x04\x08\x00\x1A\x00".as_slice()].concat();
            let aggregate = Aggregate::check(Fields::new(&message, MAGIC.len())).unwrap();
            let Tables { partition_keys, explicit_hash_keys } = &aggregate.tables;
            let taken = 16 * (partition_keys.capacity() + explicit_hash_keys.capacity());
            assert!(taken <= 8 * message.len(), "{taken} for {}", message.len());
        }
    }
}
