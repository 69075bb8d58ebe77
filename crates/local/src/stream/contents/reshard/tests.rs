use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Entry, Foreign, NoRead, Retention, Settings};
use super::*;
use crate::stream::id::SequenceNumber;
use crate::stream::shard::Position;

const START: u64 = 1_800_000_000_000;

/// A stream, the time, and the seconds for its shards.
struct Tried {
    contents: Contents,
    now_ms: u64,
    second: u64,
}

impl Tried {
    fn new(shards: u32) -> Self {
        let retention = Retention { age: None, bytes: 1 << 20 };
        let contents = Contents::new(shards, Settings::new(false, false), retention, START, START / 1000);
        Self { contents, now_ms: START, second: START / 1000 }
    }

    /// Reshards once the stream is active.
    fn change(
        &mut self,
        change: impl FnOnce(&mut Contents, Moment) -> Result<(), NoReshard>,
    ) -> Result<(), NoReshard> {
        self.now_ms += RESHARD_MS;
        self.second += 1;
        let seconds = &mut self.second;
        let mut second = || {
            *seconds += 1;
            *seconds
        };
        change(&mut self.contents, Moment { now_ms: self.now_ms, second: &mut second })
    }

    fn split(&mut self, shard: u32, at: u128) -> Result<(), NoReshard> {
        self.change(|contents, moment| contents.split(ShardId(shard), at, moment))
    }

    fn merge(&mut self, shard: u32, adjacent: u32) -> Result<(), NoReshard> {
        self.change(|contents, moment| contents.merge(ShardId(shard), ShardId(adjacent), moment))
    }

    fn resize(&mut self, count: u32) -> Result<(), NoReshard> {
        self.change(|contents, moment| contents.resize(count, moment))
    }

    fn put(&mut self, hash_key: u128) -> (ShardId, SequenceNumber) {
        let entry = Entry { partition_key: "k".into(), hash_key, data: Bytes::new() };
        self.contents.put(vec![entry], self.now_ms, |_, _| Ok(())).pop().unwrap().unwrap()
    }

    /// The ranges of the open shards, in order.
    fn ranges(&self) -> Vec<RangeInclusive<u128>> {
        self.contents.open.iter().map(|open| self.contents.shards[*open].about.hash_range.clone()).collect()
    }

    fn check_rules(&self) {
        let ranges = self.ranges();
        assert_eq!((*ranges[0].start(), *ranges[ranges.len() - 1].end()), (0, u128::MAX));
        assert!(ranges.is_sorted_by(|a, b| a.end() + 1 == *b.start()), "a gap: {ranges:?}");
        let open = self.contents.shards().filter(|log| !log.about.closed()).count();
        assert_eq!(open, self.contents.open_shards());
        for log in self.contents.shards() {
            assert_eq!(log.about.closed(), self.contents.children(log.about.id).next().is_some());
            for parent in log.about.parent.into_iter().chain(log.about.adjacent_parent) {
                let parent = self.contents.log(parent).unwrap();
                assert!(parent.about.ending.unwrap() < log.about.starting, "children have greater numbers");
                assert!(parent.closed_ms == Some(log.made_ms));
            }
        }
    }
}

const HALF: u128 = 1 << 127;

#[test]
fn a_split_closes_the_shard_and_its_children_take_what_comes() {
    let mut tried = Tried::new(1);
    let before = tried.put(7);
    tried.split(0, HALF).unwrap();
    assert_eq!((tried.put(HALF - 1).0, tried.put(HALF).0), (ShardId(1), ShardId(2)));
    assert!(before.1 < tried.put(0).1);
    let parent = tried.contents.read(ShardId(0), &Position::TrimHorizon, 9, 9, START).unwrap();
    assert_eq!((parent.records.len(), parent.next), (1, None), "it stays readable, and ends");
    tried.check_rules();
}

#[test]
fn a_merge_closes_both_shards_and_names_them() {
    let mut tried = Tried::new(3);
    tried.merge(1, 2).unwrap();
    let child = tried.contents.log(ShardId(3)).unwrap().about.clone();
    assert_eq!((child.parent, child.adjacent_parent), (Some(ShardId(1)), Some(ShardId(2))));
    assert_eq!(tried.put(u128::MAX).0, ShardId(3));
    tried.check_rules();
}

#[test]
fn a_closed_shard_is_empty_behind_its_ending_number_and_others_numbers_are_refused() {
    let mut tried = Tried::new(1);
    tried.put(0);
    tried.split(0, HALF).unwrap();
    let (_, of_child) = tried.put(0);
    let ending = tried.contents.log(ShardId(0)).unwrap().about.ending.unwrap();
    for from in [Position::At(ending), Position::After(ending)] {
        let read = tried.contents.read(ShardId(0), &from, 9, 9, START).unwrap();
        assert_eq!((read.records.len(), read.next, read.skipped), (0, None, 0));
    }
    let refused = tried.contents.fix(ShardId(0), &Position::At(of_child), START).unwrap_err();
    assert_eq!(refused, NoRead::Foreign(Foreign::OtherShard(ShardId(1))));
}

#[track_caller]
fn check_split(at: u128, want: Result<(), NoReshard>) {
    let mut tried = Tried::new(2);
    assert_eq!(tried.split(1, at), want, "{at}");
    assert_eq!(tried.contents.open_shards(), 2 + usize::from(want.is_ok()), "{at}");
}

#[test]
fn a_hash_key_to_split_at_lies_well_within_the_shard() {
    let outside = || Err(NoReshard::OutOfRange(HALF..=u128::MAX));
    check_split(0, outside());
    check_split(HALF, outside());
    check_split(HALF + 1, outside());
    check_split(HALF + 2, Ok(()));
    check_split(u128::MAX - 1, Ok(()));
    check_split(u128::MAX, outside());
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let mut tried = Tried::new(4);
    assert_eq!(tried.split(4, HALF), Err(NoReshard::NoSuchShard(ShardId(4))));
    assert_eq!(tried.merge(0, 9), Err(NoReshard::NoSuchShard(ShardId(9))));
    assert_eq!(tried.merge(0, 2), Err(NoReshard::NotAdjacent));
    assert_eq!(tried.merge(1, 0), Err(NoReshard::NotAdjacent));
    assert_eq!(tried.merge(1, 1), Err(NoReshard::NotAdjacent));
    tried.merge(0, 1).unwrap();
    assert_eq!(tried.split(0, 1 << 100), Err(NoReshard::Closed(ShardId(0))));
    assert_eq!(tried.merge(1, 2), Err(NoReshard::NotAdjacent), "the first one is closed");
    tried.check_rules();
}

#[test]
fn nothing_else_is_done_while_the_shards_are_changed() {
    let mut tried = Tried::new(2);
    tried.split(0, 1 << 100).unwrap();
    let changed_ms = tried.now_ms;
    assert!(tried.contents.updating(changed_ms) && tried.contents.updating(changed_ms + RESHARD_MS - 1));
    assert!(!tried.contents.updating(changed_ms + RESHARD_MS));
    assert!(!tried.contents.updating(changed_ms - 1), "a clock that was set back does not hold it up");
    tried.now_ms -= 1;
    assert_eq!(tried.split(1, HALF + (1 << 100)), Err(NoReshard::Updating));
    tried.now_ms -= RESHARD_MS;
    assert_eq!(tried.merge(2, 3), Err(NoReshard::Updating));
    tried.now_ms -= RESHARD_MS;
    assert_eq!(tried.resize(4), Err(NoReshard::Updating));
    assert_eq!(tried.contents.open_shards(), 3);
}

#[track_caller]
fn check_resize(from: u32, to: u32, want: Result<(), NoReshard>) {
    let mut tried = Tried::new(from);
    assert_eq!(tried.resize(to), want, "{from} to {to}");
    let shards = if want.is_ok() { to } else { from };
    assert_eq!(tried.ranges(), even_ranges(shards).collect::<Vec<_>>(), "{from} to {to}");
    tried.check_rules();
}

#[test]
fn a_stream_is_resized_to_between_half_and_twice_its_open_shards() {
    check_resize(1, 1, Ok(()));
    check_resize(1, 2, Ok(()));
    check_resize(1, 3, Err(NoReshard::TooFarUp(1)));
    check_resize(2, 3, Ok(()));
    check_resize(3, 2, Ok(()));
    check_resize(3, 1, Err(NoReshard::TooFarDown(3)));
    check_resize(4, 2, Ok(()));
    check_resize(5, 10, Ok(()));
    check_resize(7, 5, Ok(()));
    check_resize(6000, 10_001, Err(NoReshard::TooMany));
    check_resize(501, 1000, Ok(()));
}

#[test]
fn a_stream_is_resized_ten_times_in_a_day() {
    let mut tried = Tried::new(2);
    for time in 0..10 {
        tried.resize(if time % 2 == 0 { 3 } else { 2 }).unwrap();
    }
    assert_eq!(tried.resize(3), Err(NoReshard::TooOften));
    tried.now_ms = START + RESIZE_PERIOD_MS; // the next change is a day behind the first one
    assert_eq!(tried.resize(3), Ok(()));
}

#[derive(Debug, Clone)]
enum Change {
    Split(prop::sample::Index, u128),
    Merge(prop::sample::Index),
    Resize(u32),
    Put(u128),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u128>()).prop_map(|(shard, at)| Change::Split(shard, at)),
        any::<prop::sample::Index>().prop_map(Change::Merge),
        (1..20u32).prop_map(Change::Resize),
        any::<u128>().prop_map(Change::Put),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is done, in whatever order: the open shards cover all hash keys once, a record goes to the open shard
    /// that has its hash key, and the numbers of a hash key rise through splits and merges.
    #[test]
    fn shards_cover_all_and_order_holds(changes in prop::collection::vec(change(), 1..40), hash: u128) {
        let mut tried = Tried::new(2);
        let mut numbers = Vec::new();
        for change in changes {
            let open = tried.contents.open.len();
            let id = |tried: &Tried, place: usize| {
 let open = tried.contents.open.get(place);
 open.map_or(0, |open| tried.contents.shards[*open].about.id.0)
 };
            let _ = match change {
                Change::Split(shard, at) => {
                    let shard = id(&tried, shard.index(open));
                    tried.split(shard, at)
                }
                Change::Merge(shard) => {
                    let place = shard.index(open);
                    let (shard, adjacent) = (id(&tried, place), id(&tried, place + 1));
                    tried.merge(shard, adjacent)
                }
                Change::Resize(count) => tried.resize(count),
                Change::Put(hash) => {
                    let (shard, _) = tried.put(hash);
                    let about = &tried.contents.log(shard).unwrap().about;
                    prop_assert!(!about.closed() && about.hash_range.contains(&hash));
                    Ok(())
                }
            };
            numbers.push(tried.put(hash).1);
            tried.check_rules();
        }
        prop_assert!(numbers.is_sorted_by(|a, b| a < b));
    }
}
