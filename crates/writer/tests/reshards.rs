//! The KCL's rule of hash keys, held against what the writer writes while shards are split and merged under it.
//!
//! The Kinesis Client Library compares every user record's hash key (the explicit one, else the MD5 of its partition
//! key) with the range of the shard that it reads from, and drops the whole aggregate, without a word, if one is
//! outside (`AggregatorUtil` of awslabs/amazon-kinesis-client). What shares a bucket has one hash key, so that it never
//! is, and what goes to one place in the hash space is read in order along one line of shards.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use kpl::{Aggregator, Buckets, UserRecord};
use proptest::prelude::*;
use writer::{
    Aggregation, Answer, Class, Failure, Limits, Ordering, PutRecords, Record, Stored, put_aggregated,
};

/// A stream's shards, open and closed, by number. A child's number is above its parents'.
#[derive(Clone, Debug)]
struct Shards(Vec<Shard>);

#[derive(Clone, Debug)]
struct Shard {
    /// Its part of the hash space, both ends included.
    low: u128,
    high: u128,
    open: bool,
    records: Vec<Vec<u8>>,
}

/// A change of the shards.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Splits the shard that holds a place, there.
    Split(u128),
    /// Merges the shard that holds a place with its right neighbour.
    Merge(u128),
    /// Puts so many equal ones in place of all.
    Resize(u32),
}

impl Shards {
    fn equal(count: u32) -> Self {
        let width = u128::MAX / u128::from(count);
        let shard = |number: u32| {
            let low = u128::from(number) * (width + u128::from(count > 1));
            let high = if number + 1 == count { u128::MAX } else { low + width };
            Shard::new(low, high)
        };
        Self((0..count).map(shard).collect())
    }

    /// The open shard that holds a place.
    fn at(&mut self, place: u128) -> usize {
        let holds = |shard: &Shard| shard.open && (shard.low..=shard.high).contains(&place);
        assert_eq!(
            self.0.iter().filter(|shard| holds(shard)).count(),
            1,
            "the open shards are all and apart"
        );
        self.0.iter().position(holds).unwrap()
    }

    /// A change that cannot be (a place at the edge) changes nothing.
    fn change(&mut self, change: Change) {
        match change {
            Change::Split(place) => {
                let parent = self.at(place);
                let Shard { low, high, .. } = self.0[parent];
                if place > low {
                    self.0[parent].open = false;
                    self.0.extend([Shard::new(low, place - 1), Shard::new(place, high)]);
                }
            }
            Change::Merge(place) => {
                let left = self.at(place);
                if let Some(next) = self.0[left].high.checked_add(1) {
                    let right = self.at(next);
                    (self.0[left].open, self.0[right].open) = (false, false);
                    self.0.push(Shard::new(self.0[left].low, self.0[right].high));
                }
            }
            Change::Resize(count) => {
                self.0.iter_mut().for_each(|shard| shard.open = false);
                self.0.extend(Self::equal(count).0);
            }
        }
    }
}

impl Shard {
    fn new(low: u128, high: u128) -> Self {
        Self { low, high, open: true, records: Vec::new() }
    }

    /// Whether the KCL gives out the user records of an aggregate in this shard.
    fn passes(&self, aggregate: &[u8]) -> bool {
        let read = kpl::decode(aggregate).unwrap().unwrap();
        read.records().all(|user| (self.low..=self.high).contains(&user.hash_key()))
    }
}

/// Shards that change before every request, of whose entries some fail.
struct Stream {
    shards: RefCell<Shards>,
    changes: RefCell<std::vec::IntoIter<Change>>,
    /// The entry to fail next, counted down.
    fails: Cell<usize>,
    /// The entries' partition keys and places so far.
    places: RefCell<HashSet<(String, u128)>>,
}

impl PutRecords for Stream {
    async fn put_records(&self, entries: &[&Record<'_>]) -> Answer {
        let mut shards = self.shards.borrow_mut();
        self.changes.borrow_mut().next().into_iter().for_each(|change| shards.change(change));
        let put = |entry: &&Record<'_>| {
            let place = entry.explicit_hash_key.expect("an aggregate has an explicit hash key");
            self.places.borrow_mut().insert((entry.partition_key.clone(), place));
            if self.fails.replace(self.fails.get().checked_sub(1).unwrap_or(7)) == 0 {
                let (class, code, message) = (Class::Throttled, "Slow".into(), String::new());
                return Err(Failure { class, code, message, may_be_stored: false });
            }
            let at = shards.at(place);
            shards.0[at].records.push(entry.data.to_vec());
            Ok(Stored { shard_id: at.to_string(), sequence_number: "7".into() })
        };
        Ok(entries.iter().map(put).collect())
    }
}

/// Writes packets of these keys, so many to an invocation, while the shards change; all get through.
fn write(shards: Shards, changes: Vec<Change>, keys: &[u16], batch: usize, buckets: Buckets) -> Stream {
    let stream = Stream {
        shards: RefCell::new(shards),
        changes: RefCell::new(changes.into_iter()),
        fails: Cell::new(5),
        places: RefCell::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let data: Vec<_> = (0..keys.len()).map(|number| number.to_be_bytes()).collect();
    let records: Vec<_> =
        keys.iter().zip(&data).map(|(key, data)| Record::new(format!("device-{key}"), data)).collect();
    runtime.unwrap().block_on(async {
        for batch in records.chunks(batch) {
            let until: Instant = tokio::time::Instant::now().into_std() + Duration::from_secs(60);
            let aggregation = Aggregation { buckets, bytes: 400 };
            let limits = Limits { ordering: Ordering::Strict, ..Limits::default() };
            let report = put_aggregated(&stream, batch, aggregation, limits, until).await;
            assert_eq!(report.acknowledged.len(), batch.len());
        }
    });
    stream
}

/// A place where something may go wrong: anywhere, or at and beside the middle or an edge of a bucket.
fn place() -> impl Strategy<Value = u128> {
    let of_a_bucket = (0..17_u32, any::<u32>(), 0..3_u128).prop_map(|(bits, number, beside)| {
        let edge = u128::from(number) << 96 >> (127 - bits) << (127 - bits);
        edge.wrapping_add(beside).wrapping_sub(1)
    });
    prop_oneof![any::<u128>(), of_a_bucket]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => place().prop_map(Change::Split),
        4 => place().prop_map(Change::Merge),
        1 => (1..9_u32).prop_map(Change::Resize),
    ]
}

/// The middle of the part of the hash space that a key falls into, of 2^bits equal parts.
fn middle(partition_key: &str, bits: u32) -> u128 {
    let half = 1 << (127 - bits);
    // All bits above the middle's own are those of the key's MD5.
    kpl::hash_key(partition_key) & !(half - 1) | half
}

/// What others do: the packets that shard by shard of the map that they know belong together share an aggregate, put
/// under the first one's partition key, without explicit hash keys.
fn mixed_keys(known: &mut Shards, keys: &[u16], batch: usize) -> Vec<(u128, Vec<u8>)> {
    let mut aggregates = Vec::new();
    for batch in keys.chunks(batch) {
        let mut by_shard: HashMap<usize, (u128, Aggregator)> = HashMap::new();
        for key in batch {
            let key = format!("device-{key}");
            let place = kpl::hash_key(&key);
            let (_, aggregator) =
                by_shard.entry(known.at(place)).or_insert_with(|| (place, Aggregator::new()));
            aggregator.push(&UserRecord { partition_key: &key, explicit_hash_key: None, data: b"" }).unwrap();
        }
        aggregates.extend(by_shard.into_values().map(|(place, mut of)| (place, of.finish().unwrap())));
    }
    aggregates
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_aggregate_passes_the_kcls_check_whatever_becomes_of_the_shards(
        shards in 1..9_u32,
        before in prop::collection::vec(change(), 0..12),
        during in prop::collection::vec(change(), 0..40),
        after in prop::collection::vec(change(), 0..12),
        keys in prop::collection::vec(0..200_u16, 1..120),
        batch in prop_oneof![Just(1), 2..60_usize],
        bits in 0..17_u32,
    ) {
        let buckets = Buckets::new(1 << bits).unwrap();
        let mut shards = Shards::equal(shards);
        before.into_iter().for_each(|change| shards.change(change));
        let stream = write(shards, during, &keys, batch, buckets);
        let Stream { shards, places, .. } = stream;
        let together = places.into_inner();
        let names: HashSet<_> = together.iter().map(|(key, _)| key).collect();
        let places: HashSet<_> = together.iter().map(|(_, place)| place).collect();
        prop_assert_eq!((names.len(), places.len()), (together.len(), together.len()), "one key for each place");
        let mut shards = shards.into_inner();
        after.into_iter().for_each(|change| shards.change(change)); // between writing and reading

        let mut read = Vec::new();
        let mut last: HashMap<String, usize> = HashMap::new();
        for shard in &shards.0 { // parents before children
            for aggregate in &shard.records {
                prop_assert!(shard.passes(aggregate));
                for user in kpl::decode(aggregate).unwrap().unwrap().records() {
                    let middle = middle(user.partition_key, bits);
                    prop_assert_eq!(user.explicit_hash_key, Some(middle));
                    prop_assert!((shard.low..=shard.high).contains(&middle), "the bucket's middle");
                    let number = usize::from_be_bytes(user.data.try_into().unwrap());
                    prop_assert_eq!(user.partition_key, format!("device-{}", keys[number]));
                    let before = last.insert(user.partition_key.to_owned(), number);
                    prop_assert!(before.is_none_or(|before| before < number), "order per key, over all shards");
                    read.push(number);
                }
            }
        }
        read.sort_unstable();
        prop_assert_eq!(read, (0..keys.len()).collect::<Vec<_>>(), "given = read, exactly once");
    }

    /// That a shard map is divided rightly by the buckets alone is not what the test above finds: an aggregator that
    /// knows the shards passes too, as long as they stay as it knows them.
    #[test]
    fn mixed_keys_pass_as_long_as_nothing_changes(
        shards in 1..9_u32, before in prop::collection::vec(change(), 0..12),
        keys in prop::collection::vec(0..200_u16, 1..120), batch in 1..60_usize,
    ) {
        let mut shards = Shards::equal(shards);
        before.into_iter().for_each(|change| shards.change(change));
        for (place, aggregate) in mixed_keys(&mut shards.clone(), &keys, batch) {
            let at = shards.at(place);
            prop_assert!(shards.0[at].passes(&aggregate));
        }
    }
}

/// So the check can fail: what others write between a split and the news of it is lost.
#[test]
fn mixed_keys_are_lost_in_a_split() {
    let keys: Vec<_> = (0..200).collect();
    let known = Shards::equal(2);
    let mut shards = known.clone();
    shards.change(Change::Split(1 << 126));
    let aggregates = mixed_keys(&mut known.clone(), &keys, 50);
    let lost = aggregates.iter().filter(|(place, aggregate)| {
        let at = shards.at(*place);
        !shards.0[at].passes(aggregate)
    });
    // Four of each shard that was: those of the left one are lost, those of the right one are not.
    assert_eq!((aggregates.len(), lost.count()), (8, 4));
}

/// Where a shard ends within a bucket, half of the bucket's keys would by themselves belong to the other one. They stay
/// together, for the explicit hash keys say so; without those the aggregate would be lost.
#[test]
fn a_shard_that_ends_within_a_bucket_takes_all_of_it_or_nothing() {
    let buckets = Buckets::new(4).unwrap();
    let keys: Vec<_> = (0..200).collect();
    for within in [1 << 125, (1 << 125) + 1, 3 << 124] {
        let mut shards = Shards::equal(1);
        shards.change(Change::Split(within));
        let mut shards = write(shards, Vec::new(), &keys, 200, buckets).shards.into_inner();
        let of_the_first = shards.at(1 << 125);
        let mut bare_lost = 0;
        for (number, shard) in shards.0.iter().enumerate() {
            for aggregate in &shard.records {
                assert!(shard.passes(aggregate));
                let read = kpl::decode(aggregate).unwrap().unwrap();
                let first = read.records().all(|user| buckets.of(user.partition_key).number() == 0);
                assert!(!first || number == of_the_first);
                let mut bare = Aggregator::new();
                for user in read.records() {
                    bare.push(&UserRecord { explicit_hash_key: None, ..user }).unwrap();
                }
                bare_lost += usize::from(!shard.passes(&bare.finish().unwrap()));
            }
        }
        assert!(bare_lost > 0, "{within:x}");
    }
}
