//! Aggregated records: nothing is read by half, and what is written comes back.

use kpl::{Aggregator, MAGIC, UserRecord, decode};
use md5::{Digest, Md5};

/// The input is taken three ways: as a Kinesis record, as what follows the magic number, and as the message within a
/// frame that is as it should be (nobody makes up a digest that fits).
///
/// Nothing panics. What begins with the magic number is read or has a reason, anything else is no aggregate. What is
/// read has as many user records as it says, at least one; their data are views of the input; none was passed over;
/// and written anew they come back. A byte more or less at the end is refused, and another digest.
pub fn aggregate_is_read_whole_or_not_at_all(data: &[u8]) {
    check_record(data);
    check_record(&[&MAGIC, data].concat());
    let mut record = framed(data);
    if check_record(&record) {
        assert_eq!(read(&record).len(), records_in(data));
        assert!(decode(&record[..record.len() - 1]).is_err(), "a byte less");
        record.push(0);
        assert!(decode(&record).is_err(), "a byte more");
        record.pop();
        record[MAGIC.len() + data.len()] ^= 1;
        assert!(decode(&record).is_err(), "a digest of another message");
    }
}

/// The input says which user records to write: a byte for the partition key, one for the explicit hash key, two for
/// the length of the data, and the data, until there is no more.
///
/// The size of an aggregate is what was foretold before every user record and after it; whatever the limit, filling up
/// to it gives every user record exactly once and in order, in aggregates within the limit but for those of a single
/// one; and what is alone is what was pushed.
pub fn user_records_come_back_from_their_aggregates(data: &[u8]) {
    let Some((limit, script)) = data.split_first_chunk::<2>() else { return };
    let limit = usize::from(u16::from_le_bytes(*limit));
    let keys: Vec<_> =
        (0..=u8::MAX).map(|byte| char::from(byte).to_string().repeat(usize::from(byte) + 1)).collect();
    let given = scripted(script, &keys);
    let mut aggregator = Aggregator::new();
    let mut aggregates = Vec::new();
    for record in &given {
        if !aggregator.is_empty() && aggregator.size_with(record) > limit {
            finish(&mut aggregator, limit, &mut aggregates);
        }
        let size = aggregator.size_with(record);
        aggregator.push(record).unwrap_or_else(|error| panic!("{error}: {record:?}"));
        assert_eq!(aggregator.size(), size);
        assert_eq!(aggregator.lone(), Some(*record).filter(|_| aggregator.len() == 1));
    }
    finish(&mut aggregator, limit, &mut aggregates);
    let read: Vec<_> = aggregates.iter().map(|aggregate| read(aggregate)).collect();
    let read: Vec<_> = read.iter().flat_map(|aggregate| aggregate.records()).collect();
    assert_eq!(read, given);
}

fn finish(aggregator: &mut Aggregator, limit: usize, aggregates: &mut Vec<Vec<u8>>) {
    let (size, count) = (aggregator.size(), aggregator.len());
    match aggregator.finish() {
        Some(aggregate) => {
            assert_eq!(aggregate.len(), size);
            assert!(
                size <= limit || count == 1,
                "{size} bytes of {count} user records, the limit is {limit}"
            );
            aggregates.push(aggregate);
        }
        None => assert_eq!((size, count), (0, 0)),
    }
    assert!(aggregator.is_empty());
}

fn scripted<'a>(mut script: &'a [u8], keys: &'a [String]) -> Vec<UserRecord<'a>> {
    let mut given = Vec::new();
    while let Some(([key, hash, low, high], rest)) = script.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (data, rest) = rest.split_at(length);
        let partition_key = keys[usize::from(*key)].as_str();
        // as long as a number may be, and short ones too
        let explicit_hash_key = hash.checked_sub(1).map(|hash| u128::MAX >> (hash / 2));
        given.push(UserRecord { partition_key, explicit_hash_key, data });
        script = rest;
    }
    given
}

/// Whether it is an aggregate that can be read.
fn check_record(record: &[u8]) -> bool {
    let aggregate = match decode(record) {
        Ok(Some(aggregate)) => aggregate,
        Ok(None) => {
            assert!(!record.starts_with(&MAGIC), "an aggregate was taken for none: {record:?}");
            return false;
        }
        Err(error) => {
            assert!(record.starts_with(&MAGIC), "{error}: {record:?}");
            assert!(error.to_string().len() < 500, "{error}");
            return false;
        }
    };
    let records: Vec<_> = aggregate.records().collect();
    assert!(!records.is_empty());
    assert_eq!(records.len(), aggregate.len());
    let input = record.as_ptr_range();
    for record in &records {
        let data = record.data.as_ptr_range();
        assert!(input.start <= data.start && data.end <= input.end, "data that is not the input's");
    }
    let mut aggregator = Aggregator::new();
    // Only an empty key may be read and not written.
    for record in records.iter().filter(|record| !record.partition_key.is_empty()) {
        aggregator.push(record).unwrap_or_else(|error| panic!("{error}: {record:?}"));
    }
    if let Some(again) = aggregator.finish() {
        let written = records.iter().copied().filter(|record| !record.partition_key.is_empty());
        assert!(read(&again).records().eq(written), "what was written anew is not the same: {records:?}");
    }
    true
}

/// How many user records a message holds that is known to be protobuf: counted in another way than the crate's.
fn records_in(mut message: &[u8]) -> usize {
    let (mut records, mut groups) = (0, 0_usize);
    while !message.is_empty() {
        let head = varint(&mut message);
        let skipped = match head & 7 {
            0 => {
                varint(&mut message);
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)).unwrap_or(usize::MAX),
            3 => {
                groups += 1;
                0
            }
            4 => {
                groups -= 1;
                0
            }
            _ => 4,
        };
        records += usize::from(head == 3 << 3 | 2 && groups == 0);
        message = &message[skipped..];
    }
    records
}

fn varint(message: &mut &[u8]) -> u64 {
    let length = message.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let (bytes, rest) = message.split_at(length);
    *message = rest;
    bytes.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7F))
}

#[track_caller]
fn read(aggregate: &[u8]) -> kpl::Aggregate<'_> {
    match decode(aggregate) {
        Ok(Some(read)) => read,
        other => panic!("{other:?}: {aggregate:?}"),
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&MAGIC, message, &Md5::digest(message)].concat()
}
