//! The state machine against scripted streams, with a clock that the test moves.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::Ordering;

const LATENCY: Duration = Duration::from_millis(10);
const RECORD_BYTES: usize = crate::DEFAULT_RECORD_BYTES;
const RELAXED: Limits = Limits { record_bytes: RECORD_BYTES, ordering: Ordering::Relaxed };
const STRICT: Limits = Limits { record_bytes: RECORD_BYTES, ordering: Ordering::Strict };

/// What a scripted stream does with a request: it is given the attempt's number and the record positions.
enum Reply {
    Answer(Answer),
    Silence,
}

/// What was seen while a put ran to its end.
struct Run {
    report: Report,
    /// The requests, in the order sent.
    requests: Vec<Vec<usize>>,
    /// What the stream accepted, in order, repeats included.
    stored: Vec<usize>,
    took: Duration,
}

impl Run {
    #[track_caller]
    fn acknowledged(&self) -> Vec<usize> {
        self.report.acknowledged.iter().map(|acknowledged| acknowledged.record).collect()
    }

    fn undelivered(&self) -> Vec<(usize, &str)> {
        self.report.undelivered.iter().map(|lost| (lost.record, lost.reason.code.as_str())).collect()
    }
}

/// Runs a put to its end, and holds on the way that no key is in two requests at once and that every record given is
/// accounted for exactly once.
#[track_caller]
fn run(keys: &[&str], time: Duration, stream: impl FnMut(usize, &[usize]) -> Reply) -> Run {
    run_with(RELAXED, keys, time, stream)
}

#[track_caller]
fn run_with(
    limits: Limits,
    keys: &[&str],
    time: Duration,
    mut stream: impl FnMut(usize, &[usize]) -> Reply,
) -> Run {
    let records: Vec<_> = keys.iter().map(|key| record(key, 100)).collect();
    run_records(limits, &records, time, &mut stream)
}

#[track_caller]
fn run_records(
    limits: Limits,
    records: &[Record<'_>],
    time: Duration,
    stream: &mut dyn FnMut(usize, &[usize]) -> Reply,
) -> Run {
    let start = Instant::now();
    let (mut now, until) = (start, start + time);
    let mut put = Put::new(records, limits, now, until, 7);
    let mut in_flight: Vec<(Instant, Request, Reply)> = Vec::new();
    let (mut requests, mut stored) = (Vec::new(), Vec::new());
    let report = loop {
        match put.step(now) {
            Step::Send(request) => {
                for (_, other, _) in &in_flight {
                    let shared =
                        |a: &usize| other.records.iter().any(|b| key_of(records, *a) == key_of(records, *b));
                    assert!(!request.records.iter().any(shared), "a key is in two requests in flight");
                }
                assert!(request.records.len() <= REQUEST_ENTRIES && !request.records.is_empty());
                assert!(request.records.iter().map(|&i| records[i].bytes()).sum::<usize>() <= REQUEST_BYTES);
                let reply = stream(requests.len(), &request.records);
                if let Reply::Answer(Ok(results)) = &reply {
                    let accepted = request.records.iter().zip(results).filter(|(_, result)| result.is_ok());
                    stored.extend(accepted.map(|(&index, _)| index));
                }
                let at = if matches!(reply, Reply::Silence) { request.give_up_at } else { now + LATENCY };
                requests.push(request.records.clone());
                in_flight.push((at, request, reply));
            }
            Step::Wait(wake_up) => {
                assert!(wake_up > now, "waiting for a time that is past would spin");
                let soonest = in_flight
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, (at, ..))| *at)
                    .map(|(i, (at, ..))| (i, *at));
                match soonest {
                    Some((index, at)) if at <= wake_up => {
                        let (at, request, reply) = in_flight.remove(index);
                        now = at;
                        let answer = match reply {
                            Reply::Answer(answer) => answer,
                            Reply::Silence => Err(failure(Class::TimedOut, "TimedOut", true)),
                        };
                        put.answered(&request, answer, now);
                    }
                    _ => now = wake_up,
                }
            }
            Step::Done => break put.report(),
        }
    };
    assert!(now <= until, "the put went on after its time");
    let mut accounted: Vec<_> = report.acknowledged.iter().map(|acknowledged| acknowledged.record).collect();
    accounted.extend(report.undelivered.iter().map(|undelivered| undelivered.record));
    accounted.sort_unstable();
    assert_eq!(accounted, (0..records.len()).collect::<Vec<_>>(), "given = accounted for, exactly once");
    Run { report, requests, stored, took: now - start }
}

fn record(key: &str, bytes: usize) -> Record<'static> {
    static ZEROS: [u8; 5 * 1024 * 1024] = [0; 5 * 1024 * 1024];
    Record::new(key, &ZEROS[..bytes])
}

fn key_of<'a>(records: &'a [Record<'_>], index: usize) -> &'a str {
    &records[index].partition_key
}

fn failure(class: Class, code: &str, may_be_stored: bool) -> Failure {
    Failure { class, code: code.into(), message: String::new(), may_be_stored }
}

fn throttled() -> Failure {
    failure(Class::Throttled, "ProvisionedThroughputExceededException", false)
}

fn refused() -> Failure {
    failure(Class::Refused, "InvalidArgumentException", false)
}

fn stored(index: usize) -> Result<Stored, Failure> {
    Ok(Stored { shard_id: "shardId-000000000000".into(), sequence_number: index.to_string() })
}

fn all(records: &[usize]) -> Reply {
    Reply::Answer(Ok(records.iter().map(|&index| stored(index)).collect()))
}

fn whole(failure: Failure) -> Reply {
    Reply::Answer(Err(failure))
}

const ENOUGH: Duration = Duration::from_secs(18);

#[test]
fn nothing_given_is_nothing_sent() {
    let run = run(&[], ENOUGH, |_, records| all(records));
    assert_eq!(run.report.effort, Effort::default());
}

#[test]
fn one_request_carries_all_that_fit() {
    let run = run(&["a", "b", "a"], ENOUGH, |_, records| all(records));
    assert_eq!(run.requests, [[0, 1, 2]]);
}

#[track_caller]
fn check_requests(records: &[Record<'_>], want: &[usize]) {
    let run = run_records(RELAXED, records, ENOUGH, &mut |_, records| all(records));
    assert_eq!(run.requests.iter().map(Vec::len).collect::<Vec<_>>(), want);
}

#[test]
fn at_most_500_entries_a_request() {
    let of = |n: usize| (0..n).map(|i| record(&i.to_string(), 1)).collect::<Vec<_>>();
    check_requests(&of(499), &[499]);
    check_requests(&of(500), &[500]);
    check_requests(&of(501), &[500, 1]);
    check_requests(&of(1001), &[500, 500, 1]);
}

#[test]
fn at_most_10_mib_a_request_keys_included() {
    let mib = 1024 * 1024;
    let of = |n: usize, key: &str| (0..n).map(|_| record(key, mib - key.len())).collect::<Vec<_>>();
    check_requests(&of(10, "k"), &[10]);
    check_requests(&of(11, "k"), &[10, 1]);
    let mut one_byte_over = of(10, "k");
    one_byte_over.push(record("", 1));
    check_requests(&one_byte_over, &[10, 1]);
}

#[test]
fn requests_without_common_keys_fly_together() {
    let keys: Vec<_> = (0..1500).map(|i| i.to_string()).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    assert_eq!(run(&keys, ENOUGH, |_, records| all(records)).took, LATENCY);
    assert_eq!(run(&["hot"; 1500], ENOUGH, |_, records| all(records)).took, LATENCY * 3);
}

#[test]
fn too_large_is_stopped_at_the_door_and_blocks_nothing() {
    let records = [record("k", 10), record("k", RECORD_BYTES), record("k", 10)];
    let run = run_records(RELAXED, &records, ENOUGH, &mut |_, records| all(records));
    assert_eq!((run.acknowledged(), run.undelivered()), (vec![0, 2], vec![(1, "RecordTooLarge")]));
    assert_eq!(run.report.undelivered[0].attempts, 0);
    let exact = [record("k", RECORD_BYTES - 1)];
    assert_eq!(run_records(RELAXED, &exact, ENOUGH, &mut |_, records| all(records)).acknowledged(), [0]);
}

#[test]
fn only_the_failed_entries_go_again() {
    let run = run(&["a", "b", "c"], ENOUGH, |attempt, records| match attempt {
        0 => Reply::Answer(Ok(vec![stored(0), Err(throttled()), stored(2)])),
        _ => all(records),
    });
    assert_eq!(run.requests, [vec![0, 1, 2], vec![1]]);
    assert_eq!(
        run.report.effort,
        Effort { records: 3, requests: 2, retries: 1, throttled: 1, possible_duplicates: 0 }
    );
}

#[test]
fn failed_entries_go_again_before_later_ones_of_their_key() {
    let mut keys = vec!["a"; 500];
    keys.extend(["a", "b"]);
    let run = run(&keys, ENOUGH, |_, records| match records {
        [0, ..] if records.len() == 500 => {
            let refuse = |&index: &usize| if index % 2 == 0 { Err(throttled()) } else { stored(index) };
            Reply::Answer(Ok(records.iter().map(refuse).collect()))
        }
        _ => all(records),
    });
    let again = (0..=500).filter(|i| i % 2 == 0).collect::<Vec<_>>();
    assert_eq!(run.requests[1], [501]); // another key does not wait
    assert_eq!(run.requests[2], again);
}

#[test]
fn an_unknown_error_of_an_entry_is_retried() {
    let run = run(&["a"], ENOUGH, |attempt, records| match attempt {
        0 => Reply::Answer(Ok(vec![Err(failure(Class::Fatal, "SomethingNew", false))])),
        _ => all(records),
    });
    assert_eq!(run.acknowledged(), [0]);
}

#[test]
fn an_answer_that_is_too_short_leaves_the_rest_to_be_tried_again() {
    let run = run(&["a", "b"], ENOUGH, |attempt, records| match attempt {
        0 => Reply::Answer(Ok(vec![stored(0)])),
        _ => all(records),
    });
    assert_eq!(run.requests, [vec![0, 1], vec![1]]);
    assert_eq!(run.report.effort.possible_duplicates, 1);
}

#[test]
fn throttled_for_ever_ends_before_the_deadline_with_the_reason() {
    let run = run(&["a", "b"], Duration::from_secs(3), |_, _| whole(throttled()));
    let code = "ProvisionedThroughputExceededException";
    assert_eq!(run.undelivered(), [(0, code), (1, code)]);
    assert!(run.report.undelivered.iter().all(|lost| lost.attempts > 3 && !lost.may_be_stored));
}

#[test]
fn silence_ends_in_undelivered_that_may_be_stored() {
    let run = run(&["a"], Duration::from_secs(12), |_, _| Reply::Silence);
    assert_eq!(run.undelivered(), [(0, "TimedOut")]);
    assert!(run.report.undelivered[0].may_be_stored);
    assert_eq!(run.requests.len(), 3); // 5 s, 5 s, and what was left
}

#[test]
fn an_answer_to_a_request_that_was_given_up_changes_nothing() {
    let (start, records) = (Instant::now(), [record("a", 100)]);
    let until = start + Duration::from_secs(1);
    let mut put = Put::new(&records, RELAXED, start, until, 7);
    let Step::Send(request) = put.step(start) else { panic!("there is a record to send") };
    assert!(matches!(put.step(until), Step::Done));
    put.answered(&request, Ok(vec![stored(0)]), until);
    let report = put.report();
    assert_eq!((report.acknowledged.len(), report.undelivered.len()), (0, 1), "its caller was told already");
    assert!(report.undelivered[0].may_be_stored);
}

#[test]
fn what_was_stored_in_doubt_stays_marked_after_later_clear_refusals() {
    let run = run(&["a"], Duration::from_secs(7), |attempt, _| match attempt {
        0 => Reply::Silence,
        _ => whole(throttled()),
    });
    assert!(run.report.undelivered[0].may_be_stored);
    assert_eq!(run.report.undelivered[0].reason.class, Class::Throttled);
}

#[test]
fn no_time_left_sends_nothing() {
    let run = run(&["a"], SHORTEST_ATTEMPT / 2, |_, records| all(records));
    assert_eq!((run.undelivered(), run.requests.len()), (vec![(0, "NotSent")], 0));
    assert!(!run.report.undelivered[0].may_be_stored);
}

#[test]
fn a_broken_connection_is_tried_again_at_once_and_then_with_pauses() {
    let broken = || whole(failure(Class::Broken, "ConnectionBroken", true));
    let keys: Vec<_> = (0..1500).map(|i| i.to_string()).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let thawed = run(&keys, ENOUGH, |attempt, records| if attempt < 3 { broken() } else { all(records) });
    assert_eq!(thawed.took, LATENCY * 2, "each of the connections that died");
    let run = run(&["a"], ENOUGH, |attempt, records| if attempt == 0 { broken() } else { all(records) });
    assert_eq!(run.took, LATENCY * 2);
    let run = self::run(&["a"], ENOUGH, |attempt, records| if attempt < 2 { broken() } else { all(records) });
    assert!(run.took > LATENCY * 3);
}

#[test]
fn a_fatal_error_ends_the_put_at_once() {
    let mut keys = vec!["hot"; 600];
    keys[0] = "cold";
    let run = run(&keys, ENOUGH, |_, _| whole(failure(Class::Fatal, "AccessDeniedException", false)));
    assert_eq!(run.requests.len(), 1);
    assert_eq!(run.report.undelivered.len(), 600);
    assert!(run.report.undelivered.iter().all(|lost| lost.reason.code == "AccessDeniedException"));
    assert_eq!(run.took, LATENCY);
}

#[track_caller]
fn check_guilty(given: usize, guilty: &[usize], most_requests: usize) {
    let keys: Vec<_> = (0..given).map(|i| (i % 7).to_string()).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let run = run(&keys, ENOUGH, |_, records| {
        if records.iter().any(|index| guilty.contains(index)) { whole(refused()) } else { all(records) }
    });
    let want: Vec<_> = guilty.iter().map(|&index| (index, "InvalidArgumentException")).collect();
    assert_eq!(run.undelivered(), want);
    assert!(run.report.undelivered.iter().all(|lost| lost.reason.class == Class::Refused));
    assert!(run.requests.len() <= most_requests, "{} requests", run.requests.len());
    assert_in_order(&keys, &run.stored);
}

#[test]
fn a_guilty_entry_is_found_and_its_neighbours_are_written_in_order() {
    check_guilty(1, &[0], 1);
    check_guilty(2, &[1], 3);
    check_guilty(500, &[0], 50);
    check_guilty(500, &[499], 50);
    check_guilty(500, &[250, 251], 50);
    check_guilty(500, &[3, 77, 200, 431], 150);
    check_guilty(1001, &[3, 1000], 60);
}

#[test]
fn when_all_pieces_are_refused_alike_the_refusal_is_fatal_for_all() {
    let run = run(&["a"; 500], ENOUGH, |_, _| whole(refused()));
    // 500, 32, 2 and the two single ones of each pair, until sixteen were refused alone.
    assert_eq!(run.requests.len(), 3 + 16 + 7);
    assert!(run.report.undelivered.iter().all(|lost| lost.reason.class == Class::Fatal));
}

/// However few they are; only of a single record nobody can tell.
#[test]
fn a_few_that_are_all_refused_alike_are_not_to_blame_either() {
    for (given, want) in [(1, Class::Refused), (2, Class::Fatal), (16, Class::Fatal), (17, Class::Fatal)] {
        let run = run(&["a"; 20][..given], ENOUGH, |_, _| whole(refused()));
        let advised = |reason: &Failure| reason.message.contains("check STREAM_ARN or STREAM_NAME");
        for lost in &run.report.undelivered {
            assert_eq!((lost.reason.class, advised(&lost.reason)), (want, want == Class::Fatal), "{given}");
        }
    }
    let run = run(&["a", "b"], ENOUGH, |_, records| match records {
        [0] => whole(failure(Class::Refused, "ValidationException", false)),
        _ => whole(refused()),
    });
    assert!(run.report.undelivered.iter().all(|lost| lost.reason.class == Class::Refused), "two errors");
}

#[test]
fn a_guilty_entry_is_found_through_throttling() {
    let run = run(&["a", "b", "c", "d"], ENOUGH, |attempt, records| match attempt {
        2 => whole(throttled()),
        _ if records.contains(&2) => whole(refused()),
        _ => all(records),
    });
    assert_eq!(
        (run.acknowledged(), run.undelivered()),
        (vec![0, 1, 3], vec![(2, "InvalidArgumentException")])
    );
}

/// First appearances of each key's records are in order.
#[track_caller]
fn assert_in_order(keys: &[&str], stored: &[usize]) {
    let mut seen = std::collections::HashSet::new();
    let mut last: HashMap<&str, usize> = HashMap::new();
    for &index in stored.iter().filter(|&&index| seen.insert(index)) {
        if let Some(before) = last.insert(keys[index], index) {
            assert!(before < index, "record {index} of key {} came after {before}", keys[index]);
        }
    }
}

#[test]
fn strict_sends_one_record_of_a_key_at_a_time_and_no_other_key_waits() {
    let mut keys = vec!["hot"; 5];
    keys.extend(["a", "b"]);
    let run = run_with(STRICT, &keys, ENOUGH, |_, records| all(records));
    assert_eq!(run.requests, [vec![0, 5, 6], vec![1], vec![2], vec![3], vec![4]]);
}

#[test]
fn strict_goes_on_with_a_key_when_a_record_of_it_is_given_up() {
    let run = run_with(STRICT, &["a", "a", "b"], ENOUGH, |_, records| {
        if records == [0] || records.len() > 1 { whole(refused()) } else { all(records) }
    });
    assert_eq!((run.acknowledged(), run.undelivered()), (vec![1, 2], vec![(0, "InvalidArgumentException")]));
}

/// Every way in which the first requests of a few records can go, for both promises: nothing is lost, and under strict
/// nothing changes places.
#[test]
fn small_cases_hold_exhaustively() {
    const FATES: [Fate; 7] = [
        Fate::Taken,
        Fate::Partly(0b01),
        Fate::Partly(0b10),
        Fate::Throttled,
        Fate::Broken,
        Fate::Silent,
        Fate::Refused,
    ];
    for keys in [&["a", "a"][..], &["a", "b"], &["a", "a", "b"], &["a", "b", "a"], &["a", "a", "a"]] {
        for code in 0..FATES.len().pow(4) {
            let fates: Vec<_> =
                (0..4).map(|at| FATES[code / FATES.len().pow(at) % FATES.len()].clone()).collect();
            for limits in [RELAXED, STRICT] {
                let run = run_with(limits, keys, ENOUGH, |attempt, records| script(&fates, attempt, records));
                if limits == STRICT {
                    assert_in_order(keys, &run.stored);
                }
            }
        }
    }
}

/// One request's fate, drawn at random.
#[derive(Clone, Debug)]
enum Fate {
    Taken,
    /// Entries fail where the bit (position modulo 64) is set.
    Partly(u64),
    Throttled,
    Broken,
    Silent,
    Short,
    Refused,
}

fn fates(fate: impl Strategy<Value = Fate>) -> impl Strategy<Value = Vec<Fate>> {
    prop::collection::vec(fate, 0..12)
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Taken),
        3 => any::<u64>().prop_map(Fate::Partly),
        1 => Just(Fate::Throttled),
        1 => Just(Fate::Broken),
        1 => Just(Fate::Silent),
        1 => Just(Fate::Short),
        1 => Just(Fate::Refused),
    ]
}

fn script(fates: &[Fate], attempt: usize, records: &[usize]) -> Reply {
    match fates.get(attempt) {
        None | Some(Fate::Taken) => all(records),
        Some(Fate::Partly(bits)) => {
            let result = |(i, &index): (usize, &usize)| {
                if bits >> (i % 64) & 1 == 1 { Err(throttled()) } else { stored(index) }
            };
            Reply::Answer(Ok(records.iter().enumerate().map(result).collect()))
        }
        Some(Fate::Throttled) => whole(throttled()),
        Some(Fate::Broken) => whole(failure(Class::Broken, "ConnectionBroken", true)),
        Some(Fate::Silent) => Reply::Silence,
        Some(Fate::Short) => {
            Reply::Answer(Ok(records.iter().take(records.len() / 2).map(|&i| stored(i)).collect()))
        }
        Some(Fate::Refused) => whole(refused()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// `run` holds the account; what is acknowledged was stored, and what was stored is acknowledged unless in doubt.
    #[test]
    fn every_record_is_accounted_for_whatever_happens(
        keys in prop::collection::vec(0..40_u8, 0..1200),
        fates in fates(any_fate()),
        millis in 50..30_000_u64,
    ) {
        let keys: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let run = run(&keys, Duration::from_millis(millis), |attempt, records| script(&fates, attempt, records));
        for index in run.acknowledged() {
            prop_assert!(run.stored.contains(&index));
        }
    }

    /// With whole-request failures alone, nothing is ever out of order.
    #[test]
    fn whole_failures_never_reorder(
        keys in prop::collection::vec(0..20_u8, 0..1200),
        fates in fates(prop_oneof![Just(Fate::Taken), Just(Fate::Throttled), Just(Fate::Broken), Just(Fate::Refused)]),
    ) {
        let keys: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let run = run(&keys, ENOUGH, |attempt, records| script(&fates, attempt, records));
        assert_in_order(&keys, &run.stored);
    }

    /// Under strict, nothing whatever reorders first appearances.
    #[test]
    fn strict_never_reorders(
        keys in prop::collection::vec(0..40_u8, 0..600),
        fates in fates(any_fate()),
    ) {
        let keys: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let run = run_with(STRICT, &keys, ENOUGH, |attempt, records| script(&fates, attempt, records));
        assert_in_order(&keys, &run.stored);
    }

    /// Partial failures may reorder inside their own request, and nowhere else: a record is stored after a later one
    /// of its key only if both were in one request.
    #[test]
    fn an_inversion_arises_only_inside_a_partly_failed_request(
        keys in prop::collection::vec(0..20_u8, 0..1200),
        fates in fates(any_fate().prop_filter("keeps order", |fate| !matches!(fate, Fate::Silent))),
    ) {
        let names: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let run = run(&names, ENOUGH, |attempt, records| script(&fates, attempt, records));
        let shared = |a: usize, b: usize| run.requests.iter().any(|sent| sent.contains(&a) && sent.contains(&b));
        let mut last: HashMap<u8, usize> = HashMap::new();
        for &index in &run.stored {
            if let Some(&before) = last.get(&keys[index]).filter(|&&before| before > index) {
                prop_assert!(shared(before, index), "{index} after {before}");
            }
            last.insert(keys[index], index);
        }
    }

    /// A stream that fails for ever gets nothing, and the account is ready before the deadline.
    #[test]
    fn a_stream_that_fails_for_ever_gets_nothing(
        keys in prop::collection::vec(0..40_u8, 1..600),
        fate in prop_oneof![Just(Fate::Throttled), Just(Fate::Broken), Just(Fate::Silent), Just(Fate::Refused)],
        strict in any::<bool>(),
    ) {
        let names: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let limits = if strict { STRICT } else { RELAXED };
        let fates = vec![fate; 20_000];
        let run = run_with(limits, &names, ENOUGH, |attempt, records| script(&fates, attempt, records));
        prop_assert_eq!(run.report.undelivered.len(), names.len());
    }

    /// A stream that fails at a rate, with time enough, gets everything.
    #[test]
    fn with_time_enough_all_is_acknowledged(keys in prop::collection::vec(0..200_u8, 1..800), seed in any::<u64>(), strict in any::<bool>()) {
        let names: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut chance = fastrand::Rng::with_seed(seed);
        let limits = if strict { STRICT } else { RELAXED };
        let run = run_with(limits, &names, Duration::from_secs(20), |_, records| {
            if chance.f64() < 0.1 {
                return whole(throttled());
            }
            let result = |&index: &usize| if chance.f64() < 0.1 { Err(throttled()) } else { stored(index) };
            Reply::Answer(Ok(records.iter().map(result).collect()))
        });
        prop_assert_eq!(run.report.acknowledged.len(), names.len());
    }
}
