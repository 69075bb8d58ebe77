use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use proptest::prelude::ProptestConfig;

use super::super::machine::Condition;
use super::*;

fn record(number: u64, key: &str) -> Sized {
    let record = Record {
        sequence_number: format!("4960{number:052}").parse().unwrap(),
        partition_key: key.into(),
        data: "d".into(),
        arrival_ms: 1_000,
        encrypted: false,
    };
    Sized { record, bytes: 1000 }
}

fn number(record: &Record) -> u64 {
    record.sequence_number.to_string()[40..].parse().unwrap()
}

fn numbers(records: &[Sized]) -> Vec<u64> {
    records.iter().map(|sized| number(&sized.record)).collect()
}

fn settings(parallelization_factor: usize) -> Settings {
    Settings { batch_size: 2, parallelization_factor, ..Settings::default() }
}

/// A key of each lane.
fn keys(lanes: usize) -> Vec<String> {
    let key = |lane| (0..1_000).map(|n| format!("k{n}")).find(|key| lane_of(key, lanes) == lane).unwrap();
    (0..lanes).map(key).collect()
}

fn rest(lanes: &Lanes) -> Vec<u64> {
    lanes.unhandled().into_iter().map(number).collect()
}

#[test]
fn every_lane_has_keys() {
    for lanes in 1..=10 {
        assert_eq!(keys(lanes).len(), lanes);
    }
}

/// "Max concurrency = open shards x ParallelizationFactor."
#[test]
fn as_many_batches_are_under_way_as_there_are_lanes_and_never_two_of_one() {
    for factor in [1, 2, 10] {
        let (mut lanes, now) = (Lanes::new(settings(factor)), Instant::now());
        let records = |round: u64| {
            let records = keys(factor).into_iter().enumerate();
            records.map(move |(lane, key)| record(round * 10 + lane as u64, &key)).collect::<Vec<_>>()
        };
        lanes.read(records(0), now);
        for lane in 0..factor {
            let want = Next::Invoke(lane, vec![record(lane as u64, "")]);
            assert_eq!(lanes.step(now, 2_000), want);
        }
        lanes.read(records(1), now);
        assert_eq!(lanes.step(now, 2_000), Next::Wait(None), "all lanes are at work");
        lanes.answered(factor - 1, &Verdict::Success, "r", now);
        let want = Next::Invoke(factor - 1, vec![record(10 + factor as u64 - 1, "")]);
        assert_eq!(lanes.step(now, 2_000), want);
    }
}

#[test]
fn the_checkpoint_stays_before_a_record_that_is_held_up_while_other_keys_go_on() {
    let (mut lanes, now) = (Lanes::new(settings(2)), Instant::now());
    let keys = keys(2);
    lanes.read([record(0, &keys[0]), record(1, &keys[1]), record(2, &keys[0])], now);
    assert_eq!(lanes.step(now, 2_000), Next::Invoke(0, vec![record(0, ""), record(2, "")]));
    assert_eq!(lanes.step(now, 2_000), Next::Invoke(1, vec![record(1, "")]));
    assert_eq!(rest(&lanes), [0, 1, 2]);
    lanes.answered(1, &Verdict::Success, "r", now);
    assert_eq!(rest(&lanes), [0, 2], "past 1 nothing is, although it is handled");
    lanes.answered(0, &Verdict::FailedFrom(1), "r", now);
    assert_eq!(rest(&lanes), [2]);
    let Next::Wait(Some(retry)) = lanes.step(now, 2_000) else { panic!("a pause") };
    lanes.read([record(3, &keys[1])], now);
    assert_eq!(lanes.step(now, 2_000), Next::Invoke(1, vec![record(3, "")]), "the pause is that of one lane");
    assert_eq!(lanes.step(retry, 2_000), Next::Invoke(0, vec![record(2, "")]));
}

#[test]
fn a_lane_that_is_held_up_stops_the_reading_when_a_batch_a_lane_waits() {
    let (mut lanes, now) = (Lanes::new(settings(2)), Instant::now());
    let keys = keys(2);
    lanes.read([record(0, &keys[0]), record(1, &keys[0])], now);
    assert!(matches!(lanes.step(now, 2_000), Next::Invoke(0, _)));
    assert_eq!(lanes.wants(), 4);
    lanes.read((2..6).map(|number| record(number, &keys[0])), now);
    assert_eq!((lanes.wants(), lanes.step(now, 2_000)), (0, Next::Wait(None)));
    lanes.answered(0, &Verdict::Success, "r", now);
    assert_eq!(lanes.step(now, 2_000), Next::Invoke(0, vec![record(2, ""), record(3, "")]));
    assert_eq!(lanes.wants(), 2);
}

/// What a test knows of a shard under way.
#[derive(Default)]
struct Account {
    /// Records that were read, and the key of each.
    read: BTreeMap<u64, usize>,
    /// Those at their end, and whether they were handled.
    ended: BTreeMap<u64, bool>,
    /// By lane.
    under_way: BTreeMap<usize, Vec<u64>>,
}

impl Account {
    /// No record of a key is given to the function, or given up, while one before it is elsewhere and not at its end.
    #[track_caller]
    fn check_order(&self, records: &[u64]) {
        let among: HashSet<_> = records.iter().collect();
        for record in records {
            assert!(!self.ended.contains_key(record), "{record} is at its end");
            let key = self.read[record];
            let before = self.read.range(..record).filter(|(_, other)| **other == key);
            for (before, _) in before {
                assert!(
                    self.ended.contains_key(before) || among.contains(before),
                    "{record} overtakes {before}"
                );
            }
        }
        assert!(records.is_sorted());
    }

    fn end(&mut self, records: &[u64], handled: bool) {
        for &record in records {
            assert_eq!(self.ended.insert(record, handled), None, "{record} ends twice");
        }
    }
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whatever the answers are and in whatever order they come: every record ends exactly once, handled or given up;
    /// until then, and no longer, it is in the rest; and the order of each key holds.
    #[test]
    fn every_record_ends_once_and_in_the_order_of_its_key(
        choices in proptest::collection::vec(0..64_usize, 0..120),
        given in 0..60_u64,
        keys in 1..15_usize,
        batch_size in 1..6_usize,
        parallelization_factor in 1..=10_usize,
        bisect in proptest::bool::ANY,
        attempts in proptest::option::of(0..3_u32),
        age in proptest::option::of(1..4_u64),
    ) {
        let record_age = age.map(Duration::from_secs);
        let window = Duration::from_millis(300);
        let settings =
            Settings { batch_size, parallelization_factor, bisect, attempts, record_age, window, ..Settings::default() };
        let (mut lanes, mut account) = (Lanes::new(settings), Account::default());
        let began = Instant::now();
        let (mut now, mut next) = (began, 0);
        let mut choices = choices.into_iter();
        for _ in 0..5_000 {
            let elapsed = u64::try_from((now - began).as_millis()).unwrap();
            match lanes.step(now, 1_000 + elapsed) {
                Next::Invoke(lane, batch) => {
                    let batch = numbers(&batch);
                    assert!(!batch.is_empty() && batch.len() <= batch_size);
                    account.check_order(&batch);
                    assert_eq!(account.under_way.insert(lane, batch), None, "one batch of a lane at once");
                    assert!(account.under_way.len() <= parallelization_factor);
                }
                Next::Discard(given_up) => {
                    let by_age = given_up.condition == Condition::RecordAgeExceeded;
                    assert!(if by_age { age.is_some() } else { attempts.is_some() });
                    let records = numbers(&given_up.records);
                    account.check_order(&records);
                    account.end(&records, false);
                }
                Next::Wait(until) => {
                    let choice = choices.next();
                    let wants = (lanes.wants() as u64).min(given - next).min(choice.map_or(9, |choice| choice as u64 % 9));
                    for number in next..next + wants {
                        let key = usize::try_from(number * 7 % 13).unwrap() % keys;
                        lanes.read([record(number, &key.to_string())], now);
                        account.read.insert(number, key);
                    }
                    next += wants;
                    let answering = choice.unwrap_or(0) % account.under_way.len().max(1);
                    let answering = account.under_way.keys().nth(answering).copied();
                    if let Some(lane) = answering {
                        let batch = account.under_way.remove(&lane).unwrap();
                        let verdict = match choice.map_or(0, |choice| choice % 7) {
                            0 | 1 => Verdict::Success,
                            2 => Verdict::FunctionError(String::new()),
                            3 => Verdict::Failed(String::new()),
                            4 => Verdict::NotInvoked(String::new()),
                            5 => Verdict::FailedFrom(0),
                            _ => Verdict::FailedFrom(batch.len() - 1),
                        };
                        match &verdict {
                            Verdict::Success => account.end(&batch, true),
                            Verdict::FailedFrom(position) => account.end(&batch[..*position], true),
                            _ => {}
                        }
                        lanes.answered(lane, &verdict, "r", now);
                    } else if let Some(until) = until {
                        assert!(until > now, "waiting for a time that is past would spin");
                        now = until;
                    } else if wants == 0 && next == given {
                        break;
                    } else {
                        assert!(wants > 0 || lanes.wants() > 0, "nothing is under way, and nothing is read");
                    }
                }
            }
            let open: Vec<_> =
                account.read.keys().filter(|record| !account.ended.contains_key(record)).copied().collect();
            assert_eq!(rest(&lanes), open);
        }
        assert_eq!(account.ended.into_keys().collect::<BTreeSet<_>>(), (0..given).collect());
    }
}
