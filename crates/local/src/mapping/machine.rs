//! The batch machine of one shard: takes records, verdicts and times in, gives the next step out. No I/O, no clock.
//!
//! A batch is invoked when it is full, when its window is over or when the event would grow too large. A failed batch
//! is tried again as it is; where the answer names a record, what stands before that is done and the rest is a new
//! batch with attempts of its own; where bisecting is on, a batch that failed as a whole is halved, which costs no
//! attempt. What has used up its attempts or grown too old is discarded, in order, and the shard goes on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Settings;
use super::answer::Verdict;
use crate::stream::Record;

/// Pauses between attempts: the first, and the longest. Lambda does not document its own; these are short, for a
/// person waits.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Most bytes of an invocation's event, with some room for the brackets (Lambda quotas: 6 MB).
const EVENT_BYTES: usize = crate::runtime::PAYLOAD_BYTES - 64;

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Invoke the function with these records, then tell [`Machine::answered`].
    Invoke(Vec<Sized>),
    /// These are given up; ask again.
    Discard(Vec<Sized>, Condition),
    /// Nothing before this time, unless there are more records.
    WaitUntil(Instant),
    /// Nothing before there are more records.
    WaitForRecords,
}

/// Why records were given up, in the words of Lambda's on-failure records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// `MaximumRetryAttempts`.
    RetryAttemptsExhausted,
    /// `MaximumRecordAgeInSeconds`.
    RecordAgeExceeded,
    /// The record alone makes an event that is larger than Lambda takes; AWS documents no name for this condition.
    EventTooLarge,
}

/// A record and the bytes that it takes in an event.
#[derive(Clone, Debug)]
pub(super) struct Sized {
    pub(super) record: Record,
    pub(super) bytes: usize,
}

impl PartialEq for Sized {
    fn eq(&self, other: &Self) -> bool {
        self.record.sequence_number == other.record.sequence_number
    }
}

/// The state of one shard between its horizon and the records that were read.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    /// Read, and not yet in a batch.
    buffer: VecDeque<Sized>,
    buffer_bytes: usize,
    window_ends: Option<Instant>,
    /// Batches that were begun, the next one last.
    batches: Vec<Batch>,
    retry_at: Option<Instant>,
    /// Invocations in a row that handled nothing: each makes the pause longer.
    tries: u32,
}

#[derive(Debug)]
struct Batch {
    records: Vec<Sized>,
    /// Failed invocations since its first record became the first unhandled one.
    failures: u32,
}

impl Machine {
    pub(super) fn new(settings: Settings) -> Self {
        let (buffer, batches) = (VecDeque::new(), Vec::new());
        Self { settings, buffer, buffer_bytes: 0, window_ends: None, batches, retry_at: None, tries: 0 }
    }

    /// How many more records it takes now.
    pub(super) fn wants(&self) -> usize {
        if self.buffer_bytes >= EVENT_BYTES {
            0
        } else {
            self.settings.batch_size.saturating_sub(self.buffer.len())
        }
    }

    /// Whether an answer may name the record from which on it failed.
    pub(super) fn partial_answers(&self) -> bool {
        self.settings.partial_answers
    }

    /// Records that were read and are not yet handled.
    pub(super) fn unhandled(&self) -> impl Iterator<Item = &Record> {
        let batches = self.batches.iter().rev().flat_map(|batch| &batch.records);
        batches.chain(&self.buffer).map(|sized| &sized.record)
    }

    /// Takes records that were read, in order.
    pub(super) fn read(&mut self, records: impl IntoIterator<Item = Sized>, now: Instant) {
        for record in records {
            self.window_ends.get_or_insert(now + self.settings.window);
            self.buffer_bytes += record.bytes;
            self.buffer.push_back(record);
        }
    }

    /// Says what to do at `now`; `now_ms` is the same moment in milliseconds since 1970.
    pub(super) fn step(&mut self, now: Instant, now_ms: u64) -> Step {
        if let Some(at) = self.retry_at.filter(|&at| at > now) {
            return Step::WaitUntil(at);
        }
        if self.batches.is_empty() {
            match self.window_ends {
                None => return Step::WaitForRecords,
                Some(ends) if self.wants() > 0 && ends > now => return Step::WaitUntil(ends),
                Some(_) => self.begin_batch(now),
            }
        }
        let Some(batch) = self.batches.last_mut() else { return Step::WaitForRecords };
        if let Some(age) = self.settings.record_age {
            let oldest = now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            let expired = batch.records.iter().take_while(|sized| sized.record.arrival_ms < oldest).count();
            if expired > 0 {
                let discarded = batch.records.drain(..expired).collect();
                self.drop_empty_batch();
                return Step::Discard(discarded, Condition::RecordAgeExceeded);
            }
        }
        if self.settings.attempts.is_some_and(|attempts| batch.failures > attempts) {
            let discarded = std::mem::take(&mut batch.records);
            self.drop_empty_batch();
            return Step::Discard(discarded, Condition::RetryAttemptsExhausted);
        }
        // Only a record that goes alone can be so large: a batch is made to fit.
        if batch.records.iter().map(|sized| sized.bytes).sum::<usize>() > EVENT_BYTES {
            let discarded = std::mem::take(&mut batch.records);
            self.drop_empty_batch();
            return Step::Discard(discarded, Condition::EventTooLarge);
        }
        Step::Invoke(batch.records.clone())
    }

    /// Takes what became of the invocation that [`Step::Invoke`] asked for.
    pub(super) fn answered(&mut self, verdict: &Verdict, now: Instant) {
        self.retry_at = None;
        let Some(batch) = self.batches.last_mut() else { return };
        match verdict {
            Verdict::Success => {
                self.batches.pop();
                self.tries = 0;
                return;
            }
            Verdict::FailedFrom(position) if *position > 0 => {
                self.tries = 0;
                batch.records.drain(..(*position).min(batch.records.len()));
                batch.failures = 0;
            }
            Verdict::Failed(_) if self.settings.bisect && batch.records.len() > 1 => {
                let failures = batch.failures;
                let second = batch.records.split_off(batch.records.len() / 2);
                let first = std::mem::replace(&mut batch.records, second);
                self.batches.push(Batch { records: first, failures });
            }
            Verdict::FailedFrom(_) | Verdict::Failed(_) => batch.failures += 1,
            Verdict::NotInvoked(_) => {}
        }
        self.tries += 1;
        self.retry_at = Some(now + FIRST_PAUSE.saturating_mul(1 << self.tries.min(10)).min(LONGEST_PAUSE));
    }

    fn begin_batch(&mut self, now: Instant) {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self.buffer.front() {
            let full = records.len() == self.settings.batch_size || bytes + next.bytes > EVENT_BYTES;
            if full && !records.is_empty() {
                break;
            }
            bytes += next.bytes;
            records.extend(self.buffer.pop_front());
        }
        self.buffer_bytes -= bytes;
        self.window_ends = (!self.buffer.is_empty()).then_some(now + self.settings.window);
        if !records.is_empty() {
            self.batches.push(Batch { records, failures: 0 });
        }
    }

    fn drop_empty_batch(&mut self) {
        self.batches.pop_if(|batch| batch.records.is_empty());
    }
}

#[cfg(test)]
mod tests {
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
        let mut machine = Machine::new(settings);
        let mut now = Instant::now();
        let (mut invoked, mut discarded, mut done, mut next) = (Vec::new(), Vec::new(), Vec::new(), 0);
        loop {
            let wants = u64::try_from(machine.wants()).unwrap().min(given - next);
            machine.read(records(next..next + wants), now);
            next += wants;
            match machine.step(now, 2_000) {
                Step::Invoke(batch) => {
                    let numbers: Vec<_> = batch.iter().map(last).collect();
                    let verdict = function(invoked.len(), &numbers);
                    match &verdict {
                        Verdict::Success => done.extend(&numbers),
                        Verdict::FailedFrom(position) => done.extend(&numbers[..*position]),
                        Verdict::Failed(_) | Verdict::NotInvoked(_) => {}
                    }
                    invoked.push(numbers);
                    machine.answered(&verdict, now);
                    assert!(invoked.len() < 1000, "it never ends");
                }
                Step::Discard(batch, _) => {
                    done.extend(batch.iter().map(last));
                    discarded.extend(batch.iter().map(last));
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
        Verdict::Failed(String::new())
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
        assert_eq!(machine.wants(), 0);
        assert_eq!(machine.step(now, 2_000), Step::Invoke(records(0..1)));
    }

    #[test]
    fn a_record_too_large_for_any_event_is_discarded_and_the_next_goes_on() {
        let (mut machine, now) = (Machine::new(settings()), Instant::now());
        machine.read([Sized { bytes: EVENT_BYTES * 2, ..record(0) }, record(1)], now);
        assert_eq!(machine.step(now + SECOND, 2_000), Step::Discard(records(0..1), Condition::EventTooLarge));
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

    /// Three records, three attempts, the last record always reported: once in the full batch, then four times alone.
    #[test]
    fn attempts_are_counted_anew_when_the_checkpoint_advances() {
        let settings = Settings { batch_size: 3, attempts: Some(3), partial_answers: true, ..settings() };
        let (invoked, discarded) = run(settings, 3, |_, batch| match batch {
            [0, 1, 2] => Verdict::FailedFrom(2),
            _ => Verdict::FailedFrom(0),
        });
        assert_eq!(invoked, [vec![0, 1, 2], vec![2], vec![2], vec![2], vec![2]]);
        assert_eq!(discarded, [2]);
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
        ) {
            let settings = Settings { batch_size, bisect, attempts: Some(attempts), ..settings() };
            run(settings, given, |attempt, batch| match answers.get(attempt) {
                None | Some(0) => Verdict::Success,
                Some(1) => failed(),
                Some(2) => Verdict::NotInvoked(String::new()),
                Some(position) => Verdict::FailedFrom((position - 3).min(batch.len() - 1)),
            });
        }
    }
}
