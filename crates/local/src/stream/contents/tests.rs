use proptest::prelude::*;

use super::*;
use crate::stream::error::ErrorCode;

/// When the streams of these tests are made, in milliseconds: late enough for a retention of a day.
const START: u64 = 1_800_000_000_000;

/// What an entry made by [`entry`] counts against the room of a stream.
const KEPT: u64 = RECORD_OVERHEAD + 3;

fn keep(age_ms: u64, bytes: u64) -> Retention {
    Retention { age: Some(Duration::from_millis(age_ms)), bytes }
}

fn stream(shards: u32, retention: Retention) -> Contents {
    Contents::new(shards, Settings::new(false, false), retention, START, START / 1000)
}

/// Two bytes of data that hold `n`, under a key of one byte.
fn entry(n: u16, hash_key: u128) -> Entry {
    Entry { partition_key: "k".into(), hash_key, data: Bytes::copy_from_slice(&n.to_be_bytes()) }
}

fn value(record: &Record) -> u16 {
    u16::from_be_bytes(record.data[..].try_into().unwrap())
}

fn put(stream: &mut Contents, now_ms: u64, values: &[u16]) -> Vec<SequenceNumber> {
    let entries = values.iter().map(|n| entry(*n, 0)).collect();
    stream.put(entries, now_ms, |_, _| Ok(())).into_iter().map(|result| result.unwrap().1).collect()
}

fn read(stream: &mut Contents, from: Position) -> Read {
    stream.read(ShardId(0), &from, 100, 1000, START).unwrap()
}

fn values(read: &Read) -> Vec<u16> {
    read.records.iter().map(value).collect()
}

#[track_caller]
fn check_ranges(shards: u32, want: &[(&str, &str)]) {
    let made = stream(shards, keep(1, 1));
    let ranges: Vec<_> = made.shards().map(|log| log.about.hash_range.clone()).collect();
    let got: Vec<_> = ranges.iter().map(|r| (r.start().to_string(), r.end().to_string())).collect();
    let want: Vec<_> = want.iter().map(|(start, end)| (start.to_string(), end.to_string())).collect();
    assert_eq!(got, want);
}

const TOP: &str = "340282366920938463463374607431768211455"; // 2^128 - 1

#[test]
fn ranges_are_those_of_the_service() {
    check_ranges(1, &[("0", TOP)]);
    check_ranges(
        2,
        &[("0", "170141183460469231731687303715884105727"), ("170141183460469231731687303715884105728", TOP)],
    );
    check_ranges(
        3,
        &[
            ("0", "113427455640312821154458202477256070484"),
            ("113427455640312821154458202477256070485", "226854911280625642308916404954512140969"),
            ("226854911280625642308916404954512140970", TOP),
        ],
    );
}

#[track_caller]
fn check_route(shards: u32, hash: u128, want: u32) {
    let mut stream = stream(shards, keep(1, 1 << 20));
    let result = stream.put(vec![entry(0, hash)], START, |_, _| Ok(())).pop().unwrap();
    assert_eq!(result.unwrap().0, ShardId(want));
}

#[test]
fn a_hash_goes_to_the_shard_whose_range_has_it() {
    check_route(1, 0, 0);
    check_route(1, u128::MAX, 0);
    check_route(2, u128::MAX / 2, 0);
    check_route(2, u128::MAX / 2 + 1, 1);
    check_route(3, 113_427_455_640_312_821_154_458_202_477_256_070_484, 0);
    check_route(3, 113_427_455_640_312_821_154_458_202_477_256_070_485, 1);
    check_route(3, u128::MAX, 2);
    check_route(20_000, u128::MAX, 19_999);
}

#[test]
fn a_partition_key_is_hashed_by_md5() {
    assert_eq!(hash_key("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    assert_eq!(hash_key(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
}

#[test]
fn every_position_starts_where_it_says() {
    let mut stream = stream(1, keep(1000, 1 << 20));
    let mut numbers = put(&mut stream, START + 10, &[0]);
    numbers.extend(put(&mut stream, START + 20, &[1, 2]));
    numbers.extend(put(&mut stream, START + 30, &[3]));
    let starting = stream.shards().next().unwrap().about.starting;
    let mut check = |from: Position, want: &[u16]| {
        assert_eq!(values(&read(&mut stream, from)), want, "{from:?}");
        let fixed = stream.fix(ShardId(0), &from, START).unwrap();
        assert_eq!(values(&read(&mut stream, fixed)), want, "{from:?}, fixed");
    };
    check(Position::TrimHorizon, &[0, 1, 2, 3]);
    check(Position::Latest, &[]);
    check(Position::At(numbers[1]), &[1, 2, 3]);
    check(Position::After(numbers[1]), &[2, 3]);
    check(Position::After(numbers[3]), &[]);
    check(Position::At(starting), &[0, 1, 2, 3]);
    check(Position::After(starting), &[0, 1, 2, 3]);
    check(Position::AtTimestamp(0), &[0, 1, 2, 3]);
    check(Position::AtTimestamp(START + 20), &[1, 2, 3]);
    check(Position::AtTimestamp(START + 21), &[3]);
    check(Position::AtTimestamp(START + 31), &[]);
}

#[test]
fn latest_is_fixed_when_it_is_asked_for() {
    let mut stream = stream(1, keep(1000, 1 << 20));
    put(&mut stream, START, &[0]);
    let fixed = stream.fix(ShardId(0), &Position::Latest, START).unwrap();
    let next = read(&mut stream, Position::Latest).next.unwrap();
    put(&mut stream, START, &[1]);
    assert_eq!(values(&read(&mut stream, fixed)), [1]);
    assert_eq!(values(&read(&mut stream, next)), [1]);
}

#[track_caller]
fn check_foreign(from: Position, shard: u32, want: NoRead) {
    let mut stream = stream(2, keep(1000, 1 << 20));
    put(&mut stream, START, &[0, 1]);
    assert_eq!(stream.read(ShardId(shard), &from, 1, 1, START).unwrap_err(), want);
    assert_eq!(stream.fix(ShardId(shard), &from, START).unwrap_err(), want);
}

#[test]
fn numbers_of_elsewhere_are_refused() {
    let made_s = START / 1000;
    let number = |made_s, shard, index| SequenceNumber::new(made_s, ShardId(shard), index, made_s);
    let other_stream = NoRead::Foreign(Foreign::OtherStream);
    check_foreign(Position::At(number(made_s, 0, 1)), 1, NoRead::Foreign(Foreign::OtherShard(ShardId(0))));
    check_foreign(Position::After(number(made_s - 1, 0, 1)), 0, other_stream);
    let other_stream = NoRead::Foreign(Foreign::OtherStream);
    check_foreign(Position::At(number(made_s, 0, 4)), 0, other_stream); // two records: the next one is 3
    check_foreign(Position::At("0".parse().unwrap()), 0, NoRead::Foreign(Foreign::OtherStream));
    check_foreign(Position::At("9".repeat(129).parse().unwrap()), 0, NoRead::Foreign(Foreign::OtherStream));
    check_foreign(Position::TrimHorizon, 2, NoRead::NoSuchShard);
}

#[track_caller]
fn check_limits(max_records: usize, max_bytes: usize, want: &[u16]) {
    let mut stream = stream(1, keep(1000, 1 << 20));
    put(&mut stream, START, &[0, 1, 2]); // of 3 bytes each
    let read = stream.read(ShardId(0), &Position::TrimHorizon, max_records, max_bytes, START).unwrap();
    assert_eq!(values(&read), want);
    let rest = stream.read(ShardId(0), &read.next.unwrap(), 3, 1000, START).unwrap();
    assert_eq!([values(&read), values(&rest)].concat(), [0, 1, 2]);
}

#[test]
fn a_read_ends_at_a_record_and_gives_at_least_one() {
    check_limits(2, 1000, &[0, 1]);
    check_limits(10, 8, &[0, 1]);
    check_limits(10, 9, &[0, 1, 2]);
    check_limits(10, 1, &[0]);
    check_limits(10, 0, &[0]);
}

#[test]
fn lag_is_the_age_of_the_next_unread_record() {
    let mut stream = stream(1, keep(10_000, 1 << 20));
    put(&mut stream, START + 100, &[0]);
    put(&mut stream, START + 400, &[1]);
    let mut lag = |from, max, now| {
        let read = stream.read(ShardId(0), &from, max, 1000, now).unwrap();
        (read.records.len(), read.millis_behind_latest)
    };
    assert_eq!(lag(Position::TrimHorizon, 1, START + 1000), (1, 600));
    assert_eq!(lag(Position::TrimHorizon, 2, START + 1000), (2, 0));
    assert_eq!(lag(Position::Latest, 1, START + 1000), (0, 0));
    assert_eq!(lag(Position::TrimHorizon, 1, START + 400), (1, 1)); // 0 would say that it has caught up
    assert_eq!(lag(Position::TrimHorizon, 1, START), (1, 1)); // a clock that was set back
}

#[test]
fn arrival_never_falls_when_the_clock_does() {
    let mut stream = stream(2, keep(10_000, 1 << 20));
    for (now, hash) in [(START + 50, 0), (START + 20, u128::MAX), (START + 60, u128::MAX)] {
        let result = stream.put(vec![entry(0, hash)], now, |_, _| Ok(())).pop().unwrap();
        assert!(result.is_ok());
    }
    let read = stream.read(ShardId(1), &Position::TrimHorizon, 9, 999, START).unwrap();
    let arrivals: Vec<_> = read.records.iter().map(|record| record.arrival_ms).collect();
    assert_eq!(arrivals, [START + 50, START + 60]);
}

/// Puts the values one millisecond apart and checks what is left at a time.
#[track_caller]
fn check_kept(retention: Retention, values_put: &[u16], at_ms: u64, want: &[u16]) {
    let mut stream = stream(1, retention);
    for (value, ms) in values_put.iter().zip(1..) {
        put(&mut stream, START + ms, &[*value]);
    }
    let read = stream.read(ShardId(0), &Position::TrimHorizon, 100, 1000, START + at_ms).unwrap();
    assert_eq!(values(&read), want);
    let (given, kept) = (values_put.len() as u64, want.len() as u64);
    let counts = Counts { records: kept, bytes: 3 * kept, appended: given, trimmed: given - kept };
    assert_eq!(stream.counts(), counts);
}

#[test]
fn the_oldest_go_by_age_and_by_room() {
    let room = 1 << 20;
    check_kept(keep(10, room), &[1, 2, 3], 11, &[1, 2, 3]); // as old as allowed
    check_kept(keep(10, room), &[1, 2, 3], 12, &[2, 3]);
    check_kept(keep(10, room), &[1, 2, 3], 1000, &[]);
    check_kept(keep(1000, 3 * KEPT), &[1, 2, 3], 3, &[1, 2, 3]);
    check_kept(keep(1000, 3 * KEPT - 1), &[1, 2, 3], 3, &[2, 3]);
    check_kept(keep(1000, 0), &[1, 2, 3], 3, &[3]); // the newest stays
    check_kept(Retention { age: None, bytes: room }, &[1, 2], 24 * 3_600_000 + 2, &[2]);
}

#[test]
fn room_is_made_from_the_oldest_of_all_shards() {
    let mut stream = stream(2, keep(1000, 3 * KEPT));
    let hashes = [0, u128::MAX, 0, u128::MAX, u128::MAX];
    let entries = hashes.iter().zip(0..).map(|(hash, n)| entry(n, *hash)).collect();
    assert!(stream.put(entries, START, |_, _| Ok(())).iter().all(Result::is_ok));
    let mut left =
        |shard| values(&stream.read(ShardId(shard), &Position::TrimHorizon, 9, 999, START).unwrap());
    assert_eq!((left(0), left(1)), (vec![2], vec![3, 4]));
}

#[test]
fn a_reader_behind_the_horizon_goes_on_at_the_oldest_and_learns_what_it_missed() {
    let mut stream = stream(1, keep(1000, 2 * KEPT));
    let numbers = put(&mut stream, START, &[0, 1, 2, 3, 4]);
    let mut check = |from: Position, skipped: u64| {
        let read = read(&mut stream, from);
        assert_eq!((values(&read), read.skipped), (vec![3, 4], skipped), "{from:?}");
    };
    check(Position::TrimHorizon, 0);
    check(Position::At(numbers[0]), 3);
    check(Position::After(numbers[0]), 2);
    check(Position::At(numbers[3]), 0);
    check(Position::After(numbers[2]), 0);
}

#[test]
fn a_closed_shard_ends() {
    let mut log = Log::new(ShardId(0), 0..=9, START, START / 1000);
    let numbers = [(); 2].map(|()| log.append("k".into(), Bytes::new(), START, false));
    log.close(START);
    assert!(log.about.ending.unwrap() > numbers[1]);
    let first = log.read(&Position::TrimHorizon, 1, 100, START).unwrap();
    assert!(first.next.is_some());
    let second = log.read(&first.next.unwrap(), 1, 100, START).unwrap();
    assert_eq!((second.records.len(), second.next), (1, None));
}

#[test]
fn entries_that_are_turned_away_leave_no_trace() {
    let mut stream = stream(1, keep(1000, 1 << 20));
    let throttled = || ApiError::new(ErrorCode::ProvisionedThroughputExceeded, "Rate exceeded");
    let entries = (0..6).map(|n| entry(n, 0)).collect();
    let results = stream.put(entries, START, |shard, entry| {
        assert_eq!(shard, ShardId(0));
        if entry.data[1] % 2 == 0 { Ok(()) } else { Err(throttled()) }
    });
    let failed: Vec<_> = results.iter().map(|result| result.as_ref().err().cloned()).collect();
    assert_eq!(failed, [None, Some(throttled()), None, Some(throttled()), None, Some(throttled())]);
    let read = read(&mut stream, Position::TrimHorizon);
    assert_eq!(values(&read), [0, 2, 4]);
    let given: Vec<_> = results.into_iter().flatten().map(|(_, number)| number).collect();
    let stored: Vec<_> = read.records.iter().map(|record| record.sequence_number).collect();
    assert_eq!(given, stored);
    assert_eq!(stream.counts(), Counts { records: 3, bytes: 9, appended: 3, trimmed: 0 });
}

#[test]
fn a_record_says_whether_the_stream_was_encrypted_then() {
    let mut stream = stream(1, keep(1000, 1 << 20));
    put(&mut stream, START, &[0]);
    stream.settings.key_id = Some("key".into());
    put(&mut stream, START, &[1]);
    let encrypted: Vec<_> =
        read(&mut stream, Position::TrimHorizon).records.iter().map(|r| r.encrypted).collect();
    assert_eq!(encrypted, [false, true]);
}

#[test]
fn a_deleted_stream_holds_nothing() {
    let mut stream = stream(1, keep(1000, 1 << 20));
    put(&mut stream, START, &[0, 1]);
    stream.delete();
    assert!(stream.deleted);
    assert_eq!(stream.counts(), Counts { records: 0, bytes: 0, appended: 2, trimmed: 2 });
}

/// One step in the life of a stream with readers.
#[derive(Debug, Clone)]
enum Step {
    /// Puts entries with these hashes.
    Put(Vec<u128>),
    /// Reader `reader` reads on in `shard`.
    Read { reader: usize, shard: u32, max_records: usize, max_bytes: usize },
    /// Time passes, or is set back.
    Time(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(any::<u128>(), 0..20).prop_map(Step::Put),
        4 => (0..READERS, 0..SHARDS, 1..10usize, 0..40usize).prop_map(|(reader, shard, max_records, max_bytes)| {
            Step::Read { reader, shard, max_records, max_bytes }
        }),
        1 => (-5..30i64).prop_map(Step::Time),
    ]
}

const READERS: usize = 3;
const SHARDS: u32 = 3;

/// A reader of one shard: where it is, what it got, and how many it was told it missed.
#[derive(Clone)]
struct Reader {
    at: Position,
    got: Vec<SequenceNumber>,
    skipped: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the order of puts, reads and trims: a tailing reader gets every record once and in order, but
    /// for those that it is told were trimmed before it came; and every record put is kept or counted as trimmed.
    #[test]
    fn readers_lose_and_repeat_nothing(
        steps in prop::collection::vec(step(), 1..120),
        age in 1..60u64,
        room in 1..60u64,
    ) {
        let mut stream = stream(SHARDS, keep(age, room * KEPT));
        let mut now = START;
        let mut put = vec![Vec::new(); SHARDS as usize];
        let start = Reader { at: Position::At(SequenceNumber::new(0, ShardId(0), 0, 0)), got: vec![], skipped: 0 };
        let mut readers: Vec<Vec<Reader>> = (0..READERS)
            .map(|_| stream.shards().map(|log| Reader { at: Position::At(log.about.starting), ..start.clone() }).collect())
            .collect();
        let drain = (0..READERS).flat_map(|reader| (0..SHARDS).map(move |shard| {
            Step::Read { reader, shard, max_records: usize::MAX, max_bytes: usize::MAX }
        }));
        for step in steps.into_iter().chain(drain) {
            match step {
                Step::Put(hashes) => {
                    let entries = hashes.iter().map(|hash| entry(0, *hash)).collect();
                    for result in stream.put(entries, now, |_, _| Ok(())) {
                        let (shard, number) = result.unwrap();
                        put[shard.0 as usize].push(number);
                    }
                }
                Step::Time(ms) => now = now.saturating_add_signed(ms),
                Step::Read { reader, shard, max_records, max_bytes } => {
                    let reader = &mut readers[reader][shard as usize];
                    let read = stream.read(ShardId(shard), &reader.at, max_records, max_bytes, now).unwrap();
                    let unread = stream.read(ShardId(shard), &read.next.unwrap(), 1, 1, now).unwrap();
                    prop_assert_eq!(read.millis_behind_latest == 0, unread.records.is_empty());
                    reader.got.extend(read.records.iter().map(|record| record.sequence_number));
                    reader.skipped += read.skipped;
                    reader.at = read.next.unwrap();
                }
            }
        }
        for (shard, put) in put.iter().enumerate() {
            prop_assert!(put.is_sorted_by(|a, b| a < b));
            for reader in readers.iter().map(|shards| &shards[shard]) {
                prop_assert_eq!(reader.got.len() as u64 + reader.skipped, put.len() as u64);
                let mut rest = put.iter(); // `got` is a part of `put`, in its order, without repeats
                prop_assert!(reader.got.iter().all(|got| rest.any(|number| number == got)));
            }
        }
        let counts = stream.counts();
        prop_assert_eq!(counts.appended, put.iter().map(|numbers| numbers.len() as u64).sum::<u64>());
        prop_assert_eq!(counts.records + counts.trimmed, counts.appended);
        prop_assert_eq!(counts.bytes, counts.records * 3);
    }
}
