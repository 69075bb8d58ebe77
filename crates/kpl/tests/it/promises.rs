//! Promises that hold for every input. Some hundred cases each, so that the whole file takes about a second.

use kpl::{Aggregator, Buckets, MAGIC, UserRecord, decode, hash_key};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{encoded, framed};

type Owned = (String, Option<u128>, Vec<u8>);

/// A user record; keys are often the same, and lengths often where a varint grows by a byte.
fn owned() -> impl Strategy<Value = Owned> {
    let key = prop_oneof![
        4 => "[a-d]",
        1 => any::<String>().prop_filter("1 to 256 characters", |key| (1..=256).contains(&key.chars().count())),
        1 => (1..=256_usize).prop_map(|length| "x".repeat(length)),
    ];
    let hash = prop_oneof![0..3_u128, any::<u128>(), (0..128_u32).prop_map(|bit| 1 << bit)];
    let data = prop_oneof![
        4 => vec(any::<u8>(), 0..40),
        1 => (100..160_usize).prop_map(|length| vec![b'x'; length]),
        1 => (16_300..16_400_usize).prop_map(|length| vec![b'y'; length]),
    ];
    (key, option::of(hash), data)
}

fn records(owned: &[Owned]) -> Vec<UserRecord<'_>> {
    let each = owned.iter();
    each.map(|(partition_key, explicit_hash_key, data)| UserRecord {
        partition_key,
        explicit_hash_key: *explicit_hash_key,
        data,
    })
    .collect()
}

#[track_caller]
fn check_comes_back(records: &[UserRecord<'_>]) {
    let aggregate = encoded(records);
    let read = decode(&aggregate).unwrap().unwrap();
    assert_eq!(read.records().collect::<Vec<_>>(), records);
    assert_eq!(read.len(), records.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// `encoded` holds every size against what was foretold.
    #[test]
    fn what_is_written_comes_back_in_the_size_foretold(owned in vec(owned(), 1..40)) {
        check_comes_back(&records(&owned));
    }

    /// Filling up to a limit: no aggregate is over it but one of a single user record, none could have taken the next
    /// one too, and every user record is in exactly one of them, in order.
    #[test]
    fn filling_to_a_limit_gives_every_record_once(owned in vec(owned(), 0..60), limit in 20..2_000_usize) {
        let given = records(&owned);
        let mut aggregator = Aggregator::new();
        let mut aggregates = Vec::new();
        for record in &given {
            if !aggregator.is_empty() && aggregator.size_with(record) > limit {
                aggregates.extend(aggregator.finish());
            }
            aggregator.push(record).unwrap();
        }
        aggregates.extend(aggregator.finish());
        let mut read = Vec::new();
        for aggregate in &aggregates {
            let aggregate_read = decode(aggregate).unwrap().unwrap();
            prop_assert!(aggregate.len() <= limit || aggregate_read.len() == 1);
            let before = read.len();
            read.extend(aggregate_read.records());
            if let Some(next) = given.get(read.len()) {
                prop_assert!(encoded(&[&read[before..], &[*next]].concat()).len() > limit);
            }
        }
        prop_assert_eq!(read.len(), given.len());
        prop_assert_eq!(encoded_each(&read), encoded_each(&given));
    }

    #[test]
    fn no_bytes_make_it_panic_nor_give_less_than_they_hold(message in vec(any::<u8>(), 0..80)) {
        check_whole_or_refused(&framed(&message));
        check_whole_or_refused(&[&MAGIC, message.as_slice()].concat());
        check_whole_or_refused(&message);
    }

    /// The digest guards the frame; so the message is spoilt and framed anew, as a careless writer would.
    #[test]
    fn no_spoilt_message_makes_it_panic_nor_gives_less_than_it_holds(
        owned in vec(owned(), 1..6), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let whole = encoded(&records(&owned));
        let mut message = whole[4..whole.len() - 16].to_vec();
        let at = at.index(message.len());
        if cut { message.truncate(at) } else { message[at] = byte }
        check_whole_or_refused(&framed(&message));
    }

    /// The front page's promise to those who use buckets: the KCL's check of hash keys holds for all of an aggregate.
    #[test]
    fn a_bucket_is_the_part_of_the_hash_space_that_its_keys_and_its_hash_key_are_in(key in ".*", bits in 0..32_u32) {
        let bucket = Buckets::new(1 << bits).unwrap().of(&key);
        let part = |hash_key: u128| hash_key.checked_shr(128 - bits).unwrap_or(0);
        prop_assert_eq!(u128::from(bucket.number()), part(hash_key(&key)));
        prop_assert_eq!(u128::from(bucket.number()), part(bucket.hash_key()));
        prop_assert_eq!(bucket.hash_key().trailing_zeros(), 127 - bits);
    }
}

/// Each alone, so that a difference says which.
fn encoded_each(records: &[UserRecord<'_>]) -> Vec<Vec<u8>> {
    records.iter().map(|record| encoded(&[*record])).collect()
}

/// What is read is as much as it says, has its place in the input, and comes back when written.
#[track_caller]
fn check_whole_or_refused(record: &[u8]) {
    match decode(record) {
        Ok(None) => assert!(!record.starts_with(&MAGIC)),
        Err(error) => assert!(record.starts_with(&MAGIC), "{error}"),
        Ok(Some(aggregate)) => {
            let read: Vec<_> = aggregate.records().collect();
            assert_eq!(read.len(), aggregate.len());
            let range = record.as_ptr_range();
            for user in &read {
                let data = user.data.as_ptr_range();
                assert!(
                    range.start <= data.start && data.end <= range.end,
                    "data is not a view of the input"
                );
            }
            if read.iter().all(|user| !user.partition_key.is_empty()) {
                check_comes_back(&read);
            }
        }
    }
}

const SAMPLE: [UserRecord<'_>; 4] = [
    UserRecord { partition_key: "a", explicit_hash_key: None, data: b"one" },
    UserRecord { partition_key: "b", explicit_hash_key: Some(u128::MAX), data: b"" },
    UserRecord { partition_key: "a", explicit_hash_key: Some(7), data: &[b'x'; 200] },
    UserRecord { partition_key: "\u{E9}", explicit_hash_key: Some(7), data: b"\xF3\x89\x9A\xC2" },
];

#[test]
fn every_truncation_is_refused() {
    let whole = encoded(&SAMPLE);
    for length in 0..whole.len() {
        match decode(&whole[..length]) {
            Ok(read) => assert!(length < 4 && read.is_none(), "{length} bytes"),
            Err(_) => assert!(length >= 4, "{length} bytes"),
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let whole = encoded(&SAMPLE);
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match decode(&flipped) {
            Ok(read) => assert!(bit < 32 && read.is_none(), "bit {bit}"),
            Err(error) => assert!(bit >= 32 && matches!(error, kpl::Broken::Digest { .. }), "{error}"),
        }
    }
}

/// With the digest made to fit: what could be lost is lost whole.
#[test]
fn every_truncation_of_the_message_is_refused_or_read_as_the_records_before() {
    let whole = encoded(&SAMPLE);
    let message = &whole[4..whole.len() - 16];
    for length in 0..message.len() {
        if let Ok(read) = decode(&framed(&message[..length])) {
            let read: Vec<_> = read.unwrap().records().collect();
            assert!(!read.is_empty() && read.len() < SAMPLE.len());
            assert_eq!(read, SAMPLE[..read.len()], "{length} bytes");
        }
        check_whole_or_refused(&framed(&message[..length]));
    }
}

#[test]
fn as_many_keys_and_records_as_fit_into_the_largest_record_come_back() {
    // 10 MiB: the most that a record of Kinesis may be made to hold (its quotas page).
    let keys: Vec<_> = (0..300_000_u32).map(|number| number.to_string()).collect();
    let data = [b'z'; 16];
    let records: Vec<_> = keys
        .iter()
        .map(|key| UserRecord { partition_key: key, explicit_hash_key: None, data: &data })
        .collect();
    let mut aggregator = Aggregator::new();
    records.iter().for_each(|record| aggregator.push(record).unwrap());
    let size = aggregator.size();
    let aggregate = aggregator.finish().unwrap();
    assert_eq!(aggregate.len(), size);
    assert!(decode(&aggregate).unwrap().unwrap().records().eq(records));
}
