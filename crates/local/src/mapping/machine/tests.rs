//! What the settings of a mapping mean, each beside the test that holds it here. The pages are CreateEventSourceMapping
//! (<https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>), "Configuring partial batch
//! response with Kinesis Data Streams and Lambda" (services-kinesis-batchfailurereporting), "Process Amazon Kinesis
//! records with Lambda" (with-kinesis) and "Retain discarded batch records" (kinesis-on-failure-destination) of the
//! developer guide. What an answer means stands in `answer`.
//!
//! | setting | what it does (page) | test |
//! | --- | --- | --- |
//! | BatchSize | the most records of an invocation (API) | [`a_batch_goes_when_it_is_full_or_its_window_is_over`] |
//! | MaximumBatchingWindowInSeconds | how long a batch that is not full waits; 0 is not at all (API) | [`a_lone_record_waits_for_its_window`], [`without_a_window_what_is_there_goes_at_once`] |
//! | the event's 6 MB | a batch goes before it would be larger; a record that alone is too large goes to the destination (with-kinesis) | [`an_event_never_grows_past_what_lambda_carries`], [`a_record_too_large_for_any_event_is_discarded_and_the_next_goes_on`] |
//! | ParallelizationFactor | so many batches of a shard at once, the order of a partition key kept (with-kinesis) | `lanes`: as_many_batches_are_under_way_as_there_are_lanes_and_never_two_of_one |
//! | StartingPosition | the oldest record, the newest, or a time (API) | tests/mapping.rs: reading_begins_where_the_starting_position_says |
//! | MaximumRetryAttempts | how often a batch goes again; -1 is until the records expire (API) | [`a_failed_batch_is_tried_again_as_often_as_the_attempts_say`], [`without_a_number_of_attempts_nothing_is_given_up`] |
//! | | throttles and errors of the service are no attempts (with-kinesis) | [`what_was_not_invoked_costs_no_attempt`], [`what_cannot_be_invoked_is_given_up_by_age_alone`] |
//! | | the count begins anew when the checkpoint advances (seen in the service) | [`attempts_are_counted_anew_when_the_checkpoint_advances`] |
//! | MaximumRecordAgeInSeconds | older records are given up; -1 is until they expire (API) | [`what_has_grown_too_old_is_discarded_and_the_rest_goes_on`], [`of_attempts_and_age_the_first_to_be_over_counts`] |
//! | BisectBatchOnFunctionError | a failed batch is halved, which is no attempt (with-kinesis) | [`bisecting_costs_no_attempt_and_isolates_the_poison`] |
//! | ReportBatchItemFailures | the rest goes again from the reported record on; beside bisecting, that is where it is cut (batchfailurereporting) | [`a_partial_answer_splits_at_its_number_and_not_in_the_middle`], [`an_error_halves_the_batch_whether_or_not_answers_may_be_partial`] |
//! | DestinationConfig, OnFailure | is told of what was given up (kinesis-on-failure-destination) | `failure`: its tests |
//! | Enabled | disabled, it keeps its position (API) | `lanes`: while_it_is_disabled_nothing_is_begun_or_read_and_then_it_goes_on_where_it_was |
//! | FilterCriteria, TumblingWindowInSeconds and others | refused by name | `cli`, template: what_would_change_what_happens_to_records_is_refused_by_name |
//!
//! Each alone and each with each other they are held to the laws of `lanes`, in laws.rs.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    Settings { batch_size: 4, window: SECOND, ..Settings::default() }
}

fn record(number: u64) -> Sized {
    let record = Record {
        sequence_number: format!("4960{number:052}").parse().unwrap(),
        partition_key: "k".into(),
        data: "d".into(),
        arrival_ms: 1_000 + number,
        encrypted: false,
    };
    Sized { record, bytes: 1000 }
}

fn records(numbers: std::ops::Range<u64>) -> Vec<Sized> {
    numbers.map(record).collect()
}

fn last(sized: &Sized) -> u64 {
    let digits = sized.record.sequence_number.to_string();
    digits[40..].parse().unwrap()
}

/// Runs a machine over `given` records until it waits for more; the function is a closure over the numbers it is
/// given. Says what was invoked and what was discarded, and holds that nothing is skipped or handled twice in a row.
#[track_caller]
fn run(
    settings: Settings,
    given: u64,
    function: impl Fn(usize, &[u64]) -> Verdict,
) -> (Vec<Vec<u64>>, Vec<u64>) {
    let (invoked, given_up) = run_and_tell(settings, given, function);
    (invoked, given_up.iter().flat_map(|given_up| &given_up.records).map(last).collect())
}

/// The same, and says how each was given up. The first step is at 2,000 ms; time goes on while the machine waits.
#[track_caller]
fn run_and_tell(
    settings: Settings,
    given: u64,
    function: impl Fn(usize, &[u64]) -> Verdict,
) -> (Vec<Vec<u64>>, Vec<GivenUp>) {
    let batch_size = settings.batch_size;
    let mut machine = Machine::new(settings);
    let began = Instant::now();
    let mut now = began;
    let (mut invoked, mut discarded, mut done, mut next) = (Vec::new(), Vec::new(), Vec::new(), 0);
    loop {
        let room = batch_size.saturating_sub(machine.waiting().0);
        let wants = u64::try_from(room).unwrap().min(given - next);
        machine.read(records(next..next + wants), now);
        next += wants;
        match machine.step(now, 2_000 + u64::try_from((now - began).as_millis()).unwrap()) {
            Step::Invoke(batch) => {
                let numbers: Vec<_> = batch.iter().map(last).collect();
                let verdict = function(invoked.len(), &numbers);
                match &verdict {
                    Verdict::Success => done.extend(&numbers),
                    Verdict::FailedFrom(position) => done.extend(&numbers[..*position]),
                    Verdict::Failed(_) | Verdict::FunctionError(_) | Verdict::NotInvoked(_) => {}
                }
                invoked.push(numbers);
                machine.answered(&verdict, &format!("request {}", invoked.len()), now);
                assert!(invoked.len() < 1000, "it never ends");
            }
            Step::Discard(given_up) => {
                assert!(!given_up.records.is_empty(), "nothing is no news");
                done.extend(given_up.records.iter().map(last));
                discarded.push(given_up);
            }
            Step::WaitUntil(at) => {
                assert!(at > now, "waiting for a time that is past would spin");
                now = at;
            }
            Step::WaitForRecords => break,
        }
    }
    assert_eq!(machine.unhandled().count(), 0);
    assert_eq!(done, (0..given).collect::<Vec<_>>(), "every record ends once, in order");
    (invoked, discarded)
}

fn failed() -> Verdict {
    Verdict::FunctionError(String::new())
}

#[test]
fn a_batch_goes_when_it_is_full_or_its_window_is_over() {
    let (invoked, _) = run(settings(), 10, |_, _| Verdict::Success);
    assert_eq!(invoked, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
}

#[test]
fn a_lone_record_waits_for_its_window() {
    let (mut machine, now) = (Machine::new(settings()), Instant::now());
    machine.read([record(0)], now);
    assert_eq!(machine.step(now, 2_000), Step::WaitUntil(now + SECOND));
    machine.read([record(1)], now + SECOND / 2);
    assert_eq!(machine.step(now + SECOND, 2_000), Step::Invoke(records(0..2)));
}

#[test]
fn without_a_window_what_is_there_goes_at_once() {
    let (mut machine, now) =
        (Machine::new(Settings { window: Duration::ZERO, ..settings() }), Instant::now());
    machine.read([record(0)], now);
    assert_eq!(machine.step(now, 2_000), Step::Invoke(records(0..1)));
}

#[test]
fn an_event_never_grows_past_what_lambda_carries() {
    let (mut machine, now) = (Machine::new(settings()), Instant::now());
    let large = |number| Sized { bytes: EVENT_BYTES / 2 + 1, ..record(number) };
    machine.read([large(0), large(1)], now);
    assert!(machine.is_full());
    assert_eq!(machine.step(now, 2_000), Step::Invoke(records(0..1)));
}

#[test]
fn a_record_too_large_for_any_event_is_discarded_and_the_next_goes_on() {
    let (mut machine, now) = (Machine::new(settings()), Instant::now());
    machine.read([Sized { bytes: EVENT_BYTES * 2, ..record(0) }, record(1)], now);
    let (records_given_up, condition) = (records(0..1), Condition::EventTooLarge);
    let given_up = GivenUp { records: records_given_up, condition, failures: 0, last: None };
    assert_eq!(machine.step(now + SECOND, 2_000), Step::Discard(given_up));
    assert_eq!(machine.step(now + SECOND * 2, 2_000), Step::Invoke(records(1..2)));
}

#[test]
fn a_failed_batch_is_tried_again_as_often_as_the_attempts_say() {
    let settings = Settings { attempts: Some(2), ..settings() };
    let (invoked, discarded) =
        run(settings, 5, |_, batch| if batch[0] == 0 { failed() } else { Verdict::Success });
    assert_eq!(invoked, [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![4]]);
    assert_eq!(discarded, [0, 1, 2, 3]);
}

/// Three records, three attempts, the last record always reported: once in the full batch, then four times alone, and the
/// service was seen to tell of four.
#[test]
fn attempts_are_counted_anew_when_the_checkpoint_advances() {
    let settings = Settings { batch_size: 3, attempts: Some(3), partial_answers: true, ..settings() };
    let (invoked, given_up) = run_and_tell(settings, 3, |_, batch| match batch {
        [0, 1, 2] => Verdict::FailedFrom(2),
        _ => Verdict::FailedFrom(0),
    });
    assert_eq!(invoked, [vec![0, 1, 2], vec![2], vec![2], vec![2], vec![2]]);
    let last = Some(Failure { request_id: "request 5".into(), function_error: false });
    let condition = Condition::RetryAttemptsExhausted;
    assert_eq!(given_up, [GivenUp { records: records(2..3), condition, failures: 4, last }]);
}

#[test]
fn failures_before_the_checkpoint_advanced_do_not_count_after_it() {
    let settings = Settings { batch_size: 3, attempts: Some(1), partial_answers: true, ..settings() };
    let (invoked, discarded) = run(settings, 3, |attempt, _| match attempt {
        0 => failed(),
        1 => Verdict::FailedFrom(2),
        _ => Verdict::FailedFrom(0),
    });
    assert_eq!(invoked, [vec![0, 1, 2], vec![0, 1, 2], vec![2], vec![2]]);
    assert_eq!(discarded, [2]);
}

#[test]
fn bisecting_costs_no_attempt_and_isolates_the_poison() {
    let settings = Settings { attempts: Some(1), bisect: true, ..settings() };
    let (invoked, discarded) =
        run(settings, 4, |_, batch| if batch.contains(&2) { failed() } else { Verdict::Success });
    assert_eq!(invoked, [vec![0, 1, 2, 3], vec![0, 1], vec![2, 3], vec![2], vec![2], vec![3]]);
    assert_eq!(discarded, [2]);
}

/// An error halves; that answers may report records makes no difference to it.
#[test]
fn an_error_halves_the_batch_whether_or_not_answers_may_be_partial() {
    for partial_answers in [false, true] {
        let settings = Settings { bisect: true, partial_answers, ..settings() };
        let answer = |attempt, _: &[u64]| if attempt == 0 { failed() } else { Verdict::Success };
        assert_eq!(run(settings, 4, answer).0, [vec![0, 1, 2, 3], vec![0, 1], vec![2, 3]]);
    }
}

/// What the answer names is where the batch is cut, and what stands before it does not come again.
#[test]
fn a_partial_answer_splits_at_its_number_and_not_in_the_middle() {
    let settings = Settings { bisect: true, partial_answers: true, attempts: Some(0), ..settings() };
    let answer = |attempt, _: &[u64]| if attempt == 0 { Verdict::FailedFrom(1) } else { Verdict::Success };
    assert_eq!(run(settings, 4, answer), (vec![vec![0, 1, 2, 3], vec![1, 2, 3]], vec![]));
}

/// There is nothing before the first record to be split off: the batch goes again whole, which is an attempt.
#[test]
fn a_partial_answer_that_names_the_first_record_costs_an_attempt() {
    let settings = Settings { bisect: true, partial_answers: true, attempts: Some(1), ..settings() };
    let (invoked, discarded) = run(settings, 2, |_, _| Verdict::FailedFrom(0));
    assert_eq!((invoked, discarded), (vec![vec![0, 1], vec![0, 1]], vec![0, 1]));
}

#[test]
fn the_second_half_counts_its_failures_itself() {
    let settings = Settings { bisect: true, partial_answers: true, attempts: Some(1), ..settings() };
    let answer = |attempt, _: &[u64]| if attempt == 1 { failed() } else { Verdict::FailedFrom(0) };
    let (invoked, discarded) = run(settings, 4, answer);
    assert_eq!(invoked, [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![0, 1], vec![2, 3], vec![2, 3]]);
    assert_eq!(discarded, [0, 1, 2, 3]);
}

/// Then only expiry ends it.
#[test]
fn without_a_number_of_attempts_nothing_is_given_up() {
    let (invoked, discarded) =
        run(settings(), 4, |attempt, _| if attempt < 500 { failed() } else { Verdict::Success });
    assert_eq!((invoked.len(), discarded), (501, vec![]));
}

/// Attempts are those of the function, which never had them.
#[test]
fn what_cannot_be_invoked_is_given_up_by_age_alone() {
    let age = Duration::from_secs(60);
    let settings = Settings { attempts: Some(0), record_age: Some(age), ..settings() };
    let (invoked, given_up) = run_and_tell(settings, 1, |_, _| Verdict::NotInvoked(String::new()));
    assert!(invoked.len() > 10, "{invoked:?}");
    let condition = Condition::RecordAgeExceeded;
    assert_eq!(given_up, [GivenUp { records: records(0..1), condition, failures: 0, last: None }]);
}

#[test]
fn of_attempts_and_age_the_first_to_be_over_counts() {
    let check = |attempts, age, want| {
        let record_age = Some(Duration::from_secs(age));
        let settings = Settings { attempts: Some(attempts), record_age, ..settings() };
        let (_, given_up) = run_and_tell(settings, 1, |_, _| failed());
        assert_eq!(given_up[0].condition, want, "{attempts} attempts, {age} s");
        let function_error = given_up[0].last.as_ref().map(|last| last.function_error);
        assert_eq!(function_error, Some(true));
    };
    check(3, 3_600, Condition::RetryAttemptsExhausted);
    check(1_000, 60, Condition::RecordAgeExceeded);
}

#[test]
fn what_follows_an_old_record_has_all_its_attempts() {
    let settings = Settings {
        batch_size: 2,
        window: Duration::ZERO,
        attempts: Some(1),
        record_age: Some(Duration::from_millis(1_000)),
        ..settings()
    };
    let mut machine = Machine::new(settings);
    let now = Instant::now();
    machine.read([record(0), record(500)], now);
    assert!(matches!(machine.step(now, 2_000), Step::Invoke(batch) if batch.len() == 2));
    machine.answered(&failed(), "r", now);
    let later = now + SECOND;
    assert!(matches!(machine.step(later, 2_100), Step::Discard(old) if old.failures == 1));
    assert_eq!(machine.step(later, 2_100), Step::Invoke(vec![record(500)]));
    machine.answered(&failed(), "r", later);
    assert_eq!(machine.step(later + SECOND, 2_100), Step::Invoke(vec![record(500)]), "one attempt is left");
}

#[test]
fn what_was_not_invoked_costs_no_attempt() {
    let settings = Settings { attempts: Some(0), ..settings() };
    let (invoked, discarded) = run(settings, 1, |attempt, _| match attempt {
        0..5 => Verdict::NotInvoked(String::new()),
        _ => Verdict::Success,
    });
    assert_eq!((invoked.len(), discarded), (6, vec![]));
}

#[test]
fn what_has_grown_too_old_is_discarded_and_the_rest_goes_on() {
    let settings = Settings { record_age: Some(Duration::from_millis(998)), ..settings() };
    let (invoked, discarded) = run(settings, 4, |_, _| Verdict::Success); // it is 2,000 ms, they came from 1,000 on
    assert_eq!((invoked, discarded), (vec![vec![2, 3]], vec![0, 1]));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// `run` holds that every record ends exactly once, in order, whatever the answers are.
    #[test]
    fn no_answers_skip_a_record(
        answers in proptest::collection::vec(0..6_usize, 0..40),
        given in 0..40_u64,
        batch_size in 1..10_usize,
        bisect in proptest::bool::ANY,
        attempts in 0..4_u32,
        age in proptest::option::of(900..3_000_u64),
    ) {
        let record_age = age.map(Duration::from_millis);
        let settings = Settings { batch_size, bisect, attempts: Some(attempts), record_age, ..settings() };
        run(settings, given, |attempt, batch| match answers.get(attempt) {
            None | Some(0) => Verdict::Success,
            Some(1) => failed(),
            Some(2) => Verdict::NotInvoked(String::new()),
            Some(position) => Verdict::FailedFrom((position - 3).min(batch.len() - 1)),
        });
    }
}
