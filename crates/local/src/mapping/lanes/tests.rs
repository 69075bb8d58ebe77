use super::super::UnderWay;
use super::*;

mod laws;

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
        let (mut lanes, now) = (Lanes::new(settings(factor), true, Position::TrimHorizon), Instant::now());
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
    let (mut lanes, now) = (Lanes::new(settings(2), true, Position::TrimHorizon), Instant::now());
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
    let (mut lanes, now) = (Lanes::new(settings(2), true, Position::TrimHorizon), Instant::now());
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

/// "Enabled", and that disabling keeps the position (`UpdateEventSourceMapping`).
#[test]
fn while_it_is_disabled_nothing_is_begun_or_read_and_then_it_goes_on_where_it_was() {
    let settings = Settings { attempts: Some(1), bisect: true, ..settings(1) };
    let (mut lanes, now) = (Lanes::new(settings, false, Position::TrimHorizon), Instant::now());
    assert_eq!((lanes.wants(), lanes.step(now, 2_000)), (0, Next::Wait(None)));
    lanes.read([record(0, "k"), record(1, "k"), record(2, "k")], now);
    assert_eq!(lanes.step(now, 2_000), Next::Wait(None));
    lanes.enabled = true;
    assert_eq!(lanes.step(now, 2_000), Next::Invoke(0, vec![record(0, ""), record(1, "")]));
    lanes.enabled = false;
    assert!(lanes.are_invoked(), "it comes to its answer");
    lanes.answered(0, &Verdict::FunctionError(String::new()), "r", now);
    let later = now + Duration::from_secs(3_600);
    assert_eq!((lanes.step(later, 2_000), lanes.are_invoked()), (Next::Wait(None), false));
    assert_eq!(rest(&lanes), [0, 1, 2]);
    lanes.enabled = true;
    assert_eq!(lanes.step(later, 2_000), Next::Invoke(0, vec![record(0, "")]), "its halves are still to go");
}

#[test]
fn progress_is_what_waits_what_is_under_way_and_what_became_of_the_rest() {
    let settings = Settings { attempts: Some(1), bisect: true, partial_answers: true, ..settings(2) };
    let (mut lanes, now, keys) = (Lanes::new(settings, true, Position::TrimHorizon), Instant::now(), keys(2));
    let shard: ShardId = "shardId-000000000007".parse().unwrap();
    let failed = Verdict::FunctionError(String::new());
    assert_eq!((lanes.progress(shard, 5_000).iterator_age, lanes.is_empty()), (None, true));
    lanes.read((0..5).map(|number| record(number, &keys[usize::from(number == 4)])), now);
    assert!(matches!(lanes.step(now, 2_000), Next::Invoke(0, _)));
    assert!(matches!(lanes.step(now, 2_000), Next::Invoke(1, _)));
    let batch = |records, attempt, bisected| UnderWay { records, attempt, bisected };
    let mut want = Progress {
        shard,
        next: Some(Position::TrimHorizon),
        waiting: 2,
        iterator_age: Some(Duration::from_secs(4)),
        under_way: vec![batch(2, 1, false), batch(1, 1, false)],
        handled: 0,
        failures: 0,
        discarded: 0,
        bisects: 0,
    };
    assert_eq!(lanes.progress(shard, 5_000), want);
    lanes.answered(1, &Verdict::Success, "r", now);
    lanes.answered(0, &failed, "r", now);
    let later = now + Duration::from_secs(60);
    assert!(matches!(lanes.step(later, 2_000), Next::Invoke(0, _)));
    want = Progress {
        waiting: 3,
        under_way: vec![batch(1, 1, true)],
        handled: 1,
        failures: 1,
        bisects: 1,
        ..want
    };
    assert_eq!(lanes.progress(shard, 5_000), want);
    lanes.answered(0, &failed, "r", later);
    let later = later + Duration::from_secs(60);
    assert!(matches!(lanes.step(later, 2_000), Next::Invoke(0, _)));
    want = Progress { under_way: vec![batch(1, 2, true)], failures: 2, ..want };
    assert_eq!(lanes.progress(shard, 5_000), want);
    lanes.answered(0, &failed, "r", later);
    let later = later + Duration::from_secs(60);
    assert!(matches!(lanes.step(later, 2_000), Next::Discard(_)));
    want = Progress { waiting: 4, under_way: vec![], failures: 3, discarded: 1, ..want };
    assert_eq!(lanes.progress(shard, 5_000), want, "it is not told yet");
    lanes.told();
    want = Progress { waiting: 3, ..want };
    assert_eq!(lanes.progress(shard, 5_000), want);
    assert!(!lanes.is_empty());
}

/// A record is in the stream for its retention and no longer, whoever has not handled it by then.
#[test]
fn what_retention_removed_is_dropped_unless_it_is_under_way() {
    let (mut lanes, now) = (Lanes::new(settings(1), true, Position::TrimHorizon), Instant::now());
    let arrived = |number, arrival_ms| {
        let mut record = record(number, "k");
        record.record.arrival_ms = arrival_ms;
        record
    };
    lanes.read([arrived(0, 1_000), arrived(1, 1_100), arrived(2, 1_200), arrived(3, 1_300)], now);
    assert!(matches!(lanes.step(now, 2_000), Next::Invoke(0, _)));
    assert_eq!(
        (lanes.trim(1_250), rest(&lanes)),
        (0, vec![0, 1, 2, 3]),
        "the function has it, and more may follow"
    );
    lanes.answered(0, &Verdict::FailedFrom(0), "r", now);
    assert_eq!((lanes.trim(1_100), rest(&lanes)), (1, vec![1, 2, 3]));
    assert_eq!((lanes.trim(1_250), rest(&lanes)), (2, vec![3]));
    let later = now + Duration::from_secs(60);
    assert_eq!(lanes.step(later, 2_000), Next::Invoke(0, vec![record(3, "")]));
    lanes.answered(0, &Verdict::NotInvoked(String::new()), "r", later);
    assert_eq!((lanes.trim(9_000), rest(&lanes), lanes.is_empty()), (1, vec![], true));
    assert_eq!(lanes.step(later + Duration::from_secs(60), 2_000), Next::Wait(None));
}

/// The failures of a batch are those of its first record: they go with it.
#[test]
fn what_stands_behind_a_trimmed_record_has_all_its_attempts() {
    let settings = Settings { attempts: Some(1), ..settings(1) };
    let (mut lanes, mut now) = (Lanes::new(settings, true, Position::TrimHorizon), Instant::now());
    let mut second = record(1, "k");
    second.record.arrival_ms += 1;
    lanes.read([record(0, "k"), second.clone()], now);
    for attempt in 0..3 {
        assert!(matches!(lanes.step(now, 2_000), Next::Invoke(0, _)), "attempt {attempt}");
        lanes.answered(0, &Verdict::FunctionError(String::new()), "r", now);
        if attempt == 0 {
            assert_eq!(lanes.trim(second.record.arrival_ms), 1);
        }
        now += Duration::from_secs(60);
    }
    assert!(matches!(lanes.step(now, 2_000), Next::Discard(_)));
}
