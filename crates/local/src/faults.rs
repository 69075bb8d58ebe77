//! Faults on request: what goes wrong with which `PutRecords` and `GetRecords`, with which message to the queue and with which invocation,
//! and how often it did.
//!
//! It decides, others do. Times come in and the seed is the only randomness, so that the same questions in the same
//! order get the same answers. Each kind of fault draws from a source of its own: asking for one more does not move
//! the others.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use crate::queue;
use crate::stream::limits::{SHARD_BYTES, SHARD_READ_BYTES, SHARD_READS, SHARD_RECORDS};
use crate::stream::{ApiError, ErrorCode, ShardId};
use crate::tally::Count;

/// What is to go wrong. Probabilities are from 0 to 1; the default is nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// Each shard takes a second's share of records and bytes in a second, as the real one does, and gives so much to
    /// `GetRecords`, in so many calls.
    pub throttle: bool,
    /// How probably an entry of a `PutRecords` fails.
    pub fail_entries: f64,
    /// How probably a whole `PutRecords` is refused, and nothing of it stored.
    pub fail_requests: f64,
    /// How probably the connection breaks before a `PutRecords` is carried out.
    pub reset_before: f64,
    /// How probably it is carried out, and the connection breaks in place of the answer.
    pub reset_after: f64,
    /// How long every answer to a `PutRecords` is held back.
    pub latency: Duration,
    /// How probably a message that is sent to the queue is not taken.
    pub fail_queue: f64,
    /// How probably an invocation's process is killed while it is under way.
    pub kill_functions: f64,
    /// Chooses among the runs that are possible.
    pub seed: u64,
}

/// The faults of one run.
#[derive(Debug)]
pub struct Faults {
    asked: Asked,
    state: Mutex<State>,
    throttled: Count,
    throttled_reads: Count,
    failed_entries: Count,
    failed_requests: Count,
    resets_before: Count,
    resets_after: Count,
    delayed: Count,
    failed_messages: Count,
    killed: Count,
}

#[derive(Debug)]
struct State {
    requests: Rng,
    entries: Rng,
    kills: Rng,
    messages: Rng,
    shards: HashMap<(String, ShardId), Share>,
    readings: HashMap<(String, ShardId), Share>,
    functions: HashMap<String, Victim>,
}

/// What happens to a `PutRecords`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it is carried out and answered.
    CarriedOut,
    /// It is not carried out, and this is the answer.
    Refused(ApiError),
    /// It is not carried out, and the connection breaks.
    BrokenBefore,
    /// It is carried out, and the connection breaks in place of the answer.
    BrokenAfter,
}

/// A fault of which a run had some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// The fault, by the name of its flag.
    pub name: &'static str,
    /// How often it happened.
    pub times: u64,
    /// What was counted.
    pub what: &'static str,
}

impl Faults {
    /// Those asked for.
    pub fn new(asked: Asked) -> Self {
        let mut seeds = Rng::with_seed(asked.seed);
        let state = State {
            requests: seeds.fork(),
            entries: seeds.fork(),
            kills: seeds.fork(),
            messages: seeds.fork(),
            shards: HashMap::new(),
            readings: HashMap::new(),
            functions: HashMap::new(),
        };
        Self {
            asked,
            state: Mutex::new(state),
            throttled: Count::default(),
            throttled_reads: Count::default(),
            failed_entries: Count::default(),
            failed_requests: Count::default(),
            resets_before: Count::default(),
            resets_after: Count::default(),
            delayed: Count::default(),
            failed_messages: Count::default(),
            killed: Count::default(),
        }
    }

    /// What happens to a `PutRecords` that has just come in.
    pub fn request(&self) -> Fate {
        let asked = &self.asked;
        let mut state = self.state();
        let chances = [asked.reset_before, asked.fail_requests, asked.reset_after];
        // All are drawn every time, so that none of them moves the others.
        let [before, refused, after] = chances.map(|chance| state.requests.f64() < chance);
        let of_the_service = state.requests.bool();
        if before {
            self.resets_before.add(1);
            Fate::BrokenBefore
        } else if refused {
            self.failed_requests.add(1);
            Fate::Refused(if of_the_service {
                ApiError::new(ErrorCode::InternalFailure, FAILED)
            } else {
                ApiError::new(ErrorCode::ProvisionedThroughputExceeded, "Rate exceeded for the stream.")
            })
        } else if after {
            self.resets_after.add(1);
            Fate::BrokenAfter
        } else {
            Fate::CarriedOut
        }
    }

    /// Whether a shard takes an entry of so many bytes, data and key, at a time in milliseconds since 1970.
    ///
    /// # Errors
    /// The result of the entry, where it does not.
    pub fn entry(
        &self,
        stream: &str,
        account: &str,
        shard: ShardId,
        bytes: usize,
        now_ms: u64,
    ) -> Result<(), ApiError> {
        let mut state = self.state();
        if state.entries.f64() < self.asked.fail_entries {
            self.failed_entries.add(1);
            return Err(ApiError::new(ErrorCode::InternalFailure, FAILED));
        }
        if !self.asked.throttle {
            return Ok(());
        }
        let share =
            state.shards.entry((stream.to_owned(), shard)).or_insert_with(|| Share::whole(WRITTEN, now_ms));
        if share.take(bytes, now_ms) {
            return Ok(());
        }
        self.throttled.add(1);
        Err(exceeded(stream, account, shard))
    }

    /// Whether a shard answers a `GetRecords` at a time in milliseconds since 1970. What it then gives is told to
    /// [`Faults::have_read`].
    ///
    /// # Errors
    /// The answer, where it does not.
    pub fn reading(&self, stream: &str, account: &str, shard: ShardId, now_ms: u64) -> Result<(), ApiError> {
        if !self.asked.throttle {
            return Ok(());
        }
        let mut state = self.state();
        let share = state.readings.entry((stream.to_owned(), shard));
        // A byte has to be there: what the calls before gave is paid for first.
        if share.or_insert_with(|| Share::whole(READ, now_ms)).take(1, now_ms) {
            return Ok(());
        }
        self.throttled_reads.add(1);
        Err(exceeded(stream, account, shard))
    }

    /// A shard gave so many bytes to a `GetRecords`.
    pub fn have_read(&self, stream: &str, shard: ShardId, bytes: usize) {
        if let Some(share) = self.state().readings.get_mut(&(stream.to_owned(), shard)) {
            share.gave(bytes);
        }
    }

    /// How long to hold back the answer to a `PutRecords`.
    pub fn latency(&self) -> Duration {
        self.delayed.add(u64::from(!self.asked.latency.is_zero()));
        self.asked.latency
    }

    /// Whether the queue takes a message that has just come in.
    ///
    /// # Errors
    /// What the queue says where it does not.
    pub fn message(&self) -> Result<(), queue::ApiError> {
        if self.state().messages.f64() < self.asked.fail_queue {
            self.failed_messages.add(1);
            return Err(queue::ApiError::new(queue::ErrorCode::InternalError, FAILED));
        }
        Ok(())
    }

    /// Whether an invocation that begins now is to be cut short, and how long after its beginning. If it is quicker
    /// than that, [`Faults::answered`] has to be told, else [`Faults::killed`].
    pub fn kill_after(&self, function: &str) -> Option<Duration> {
        if self.asked.kill_functions <= 0.0 {
            return None;
        }
        let State { kills, functions, .. } = &mut *self.state();
        let victim = functions.entry(function.to_owned()).or_insert_with(|| Victim::new(kills.fork()));
        victim.due += u64::from(victim.chance.f64() < self.asked.kill_functions);
        victim.due = victim.due.checked_sub(1)?;
        Some(victim.usual.mul_f64(victim.chance.f64()))
    }

    /// An invocation answered after this time. If it was `due` to be killed, the next one is in its place: else those
    /// that are quick would be spared.
    pub fn answered(&self, function: &str, took: Duration, due: bool) {
        if let Some(victim) = self.state().functions.get_mut(function) {
            victim.usual = took;
            victim.due += u64::from(due);
        }
    }

    /// An invocation was cut short.
    pub fn killed(&self) {
        self.killed.add(1);
    }

    /// How often each of those asked for happened.
    pub fn fired(&self) -> Vec<Fired> {
        let asked = &self.asked;
        let all = [
            (asked.throttle, "throttle", &self.throttled, "entries beyond their shard's share"),
            (
                asked.throttle && self.throttled_reads.get() > 0,
                "throttle-reads",
                &self.throttled_reads,
                "GetRecords beyond their shard's share",
            ),
            (asked.fail_entries > 0.0, "fail-entries", &self.failed_entries, "entries failed"),
            (asked.fail_requests > 0.0, "fail-requests", &self.failed_requests, "requests refused whole"),
            (
                asked.reset_before > 0.0,
                "reset-before",
                &self.resets_before,
                "connections broken, nothing stored",
            ),
            (asked.reset_after > 0.0, "reset-after", &self.resets_after, "connections broken, all stored"),
            (!asked.latency.is_zero(), "latency", &self.delayed, "answers held back"),
            (asked.fail_queue > 0.0, "fail-queue", &self.failed_messages, "messages not taken by the queue"),
            (asked.kill_functions > 0.0, "kill-functions", &self.killed, "invocations killed"),
        ];
        all.into_iter()
            .filter(|(asked, ..)| *asked)
            .map(|(_, name, times, what)| Fired { name, times: times.get(), what })
            .collect()
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.asked.seed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service's words for a failure of its own (API: PutRecords).
const FAILED: &str = "Internal service failure.";

fn exceeded(stream: &str, account: &str, shard: ShardId) -> ApiError {
    let message = format!("Rate exceeded for shard {shard} in stream {stream} under account {account}.");
    ApiError::new(ErrorCode::ProvisionedThroughputExceeded, message)
}

/// A second's share of a shard: records or calls, and bytes.
type Second = (i64, i64);

const WRITTEN: Second = (SHARD_RECORDS, SHARD_BYTES);
const READ: Second = (SHARD_READS, SHARD_READ_BYTES);

/// What a shard has left of its share, in thousandths of a record (or call) and of a byte: a second gives it whole, and
/// never more than a second's is saved up.
#[derive(Debug)]
struct Share {
    second: Second,
    at_ms: u64,
    records: i64,
    bytes: i64,
}

const MILLI: i64 = 1000;

impl Share {
    fn whole(second: Second, now_ms: u64) -> Self {
        Self { second, at_ms: now_ms, records: second.0 * MILLI, bytes: second.1 * MILLI }
    }

    /// Takes a record out of it, if that is there. A record larger than the whole passes when all is there, and what
    /// it took too much has to come in again first.
    fn take(&mut self, bytes: usize, now_ms: u64) -> bool {
        let passed = i64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(i64::MAX);
        self.at_ms = self.at_ms.max(now_ms);
        let grown = |left: i64, a_second: i64| {
            left.saturating_add(passed.saturating_mul(a_second)).min(a_second * MILLI)
        };
        self.records = grown(self.records, self.second.0);
        self.bytes = grown(self.bytes, self.second.1);
        let needed = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(MILLI);
        if self.records < MILLI || self.bytes < needed.min(self.second.1 * MILLI) {
            return false;
        }
        self.records -= MILLI;
        self.owe(bytes);
        true
    }

    /// Counts what was given without asking first. More than the whole is paid for whole, whatever was saved up: 10 MiB
    /// in one answer are five seconds without another (API: GetRecords).
    fn gave(&mut self, bytes: usize) {
        if i64::try_from(bytes).is_ok_and(|bytes| bytes > self.second.1) {
            self.bytes = self.bytes.min(0);
        }
        self.owe(bytes);
    }

    fn owe(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(MILLI);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// What is known of a function whose invocations are to be killed.
#[derive(Debug)]
struct Victim {
    chance: Rng,
    /// How long its last invocation took that came to its end.
    usual: Duration,
    /// Kills that were drawn and have not happened.
    due: u64,
}

impl Victim {
    fn new(chance: Rng) -> Self {
        Self { chance, usual: Duration::from_millis(10), due: 0 } // before anything is known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u32) -> ShardId {
        format!("shardId-{number:012}").parse().unwrap()
    }

    fn throttled() -> Faults {
        Faults::new(Asked { throttle: true, ..Asked::default() })
    }

    /// Of `entries`, how many a shard takes at this time.
    fn takes(faults: &Faults, shard: ShardId, entries: u64, bytes: usize, now_ms: u64) -> u64 {
        (0..entries)
            .map(|_| u64::from(faults.entry("packets", "000000000000", shard, bytes, now_ms).is_ok()))
            .sum()
    }

    fn times(faults: &Faults, name: &str) -> Option<u64> {
        faults.fired().into_iter().find(|fired| fired.name == name).map(|fired| fired.times)
    }

    #[test]
    fn a_shard_takes_a_thousand_records_a_second() {
        let faults = throttled();
        assert_eq!(takes(&faults, shard(0), 1_500, 10, 5_000), 1_000);
        assert_eq!(takes(&faults, shard(0), 1_500, 10, 5_000), 0);
        assert_eq!(takes(&faults, shard(0), 1_500, 10, 5_250), 250);
        assert_eq!(takes(&faults, shard(0), 1_500, 10, 4_000), 0, "the clock went back");
        assert_eq!(
            takes(&faults, shard(0), 1_500, 10, u64::MAX),
            1_000,
            "no more than a second's is saved up"
        );
        assert_eq!(times(&faults, "throttle"), Some(5 * 1_500 - 2_250));
    }

    #[test]
    fn a_shard_takes_a_mebibyte_a_second() {
        let faults = throttled();
        assert_eq!(takes(&faults, shard(0), 20, 100 * 1024, 0), 10);
        assert_eq!(takes(&faults, shard(0), 20, 100 * 1024, 1_000), 10);
    }

    #[test]
    fn a_record_larger_than_a_seconds_share_passes_and_is_paid_for() {
        let faults = throttled();
        assert_eq!(takes(&faults, shard(0), 2, 3 << 20, 0), 1);
        assert_eq!(takes(&faults, shard(0), 1, 1, 2_000), 0);
        assert_eq!(takes(&faults, shard(0), 1, 1, 2_001), 1);
        assert_eq!(takes(&faults, shard(0), 1, usize::MAX, u64::MAX), 1);
    }

    #[test]
    fn shards_do_not_share() {
        let faults = throttled();
        assert_eq!(takes(&faults, shard(0), 1_500, 10, 0), 1_000);
        assert_eq!(takes(&faults, shard(1), 1_500, 10, 0), 1_000);
    }

    /// Asks a shard in a thousandth of a second each; the calls that were answered, each with so many bytes.
    fn reads(faults: &Faults, bytes: usize, from_ms: u64, to_ms: u64) -> usize {
        let asked = from_ms..to_ms;
        asked
            .filter(|now| {
                let answered = faults.reading("s", "0", shard(0), *now).is_ok();
                if answered {
                    faults.have_read("s", shard(0), bytes);
                }
                answered
            })
            .count()
    }

    #[test]
    fn a_shard_answers_five_get_records_a_second() {
        let faults = throttled();
        assert_eq!(reads(&faults, 0, 0, 100), 5);
        assert_eq!(reads(&faults, 0, 100, 1100), 5);
        assert!(faults.reading("s", "0", shard(1), 1100).is_ok(), "shards do not share");
        let fired = faults.fired();
        assert_eq!((fired.len(), fired[1].times), (2, 1090));
        assert_eq!(reads(&Faults::new(Asked::default()), 0, 0, 100), 100, "nor does anybody wait unasked");
    }

    #[test]
    fn ten_mebibytes_read_at_once_are_five_seconds_of_a_shard() {
        let faults = throttled();
        assert_eq!(reads(&faults, 10 << 20, 0, 5000), 1);
        assert!(faults.reading("s", "0", shard(0), 5001).is_ok());
        let faults = throttled();
        assert_eq!(reads(&faults, 2 << 20, 0, 2900), 1 + 3, "a second's share was saved up");
    }

    #[test]
    fn the_throttled_are_told_in_the_services_words() {
        let faults = throttled();
        takes(&faults, shard(0), 1_000, 10, 0);
        let error = faults.entry("packets", "000000000000", shard(0), 10, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ProvisionedThroughputExceededException: Rate exceeded for shard shardId-000000000000 in stream packets \
             under account 000000000000."
        );
    }

    #[track_caller]
    fn check_share(asked: Asked, name: &str, happen: impl Fn(&Faults)) {
        let faults = Faults::new(asked);
        (0..10_000).for_each(|_| happen(&faults));
        let fired = faults.fired();
        assert_eq!(fired.len(), 1, "only what was asked for is told");
        assert_eq!(fired[0].name, name);
        assert!((900..1_100).contains(&fired[0].times), "{fired:?}");
    }

    #[test]
    fn each_fault_happens_as_often_as_was_asked() {
        let nothing = Asked::default();
        let request = |faults: &Faults| drop(faults.request());
        let kill = |faults: &Faults| match faults.kill_after("f") {
            None => faults.answered("f", Duration::from_millis(7), false),
            Some(after) => {
                assert!(after <= Duration::from_millis(10));
                faults.killed();
            }
        };
        check_share(Asked { fail_entries: 0.1, ..nothing.clone() }, "fail-entries", |faults| {
            let _ = faults.entry("s", "1", shard(0), 1, 0);
        });
        check_share(Asked { fail_requests: 0.1, ..nothing.clone() }, "fail-requests", request);
        check_share(Asked { reset_before: 0.1, ..nothing.clone() }, "reset-before", request);
        check_share(Asked { reset_after: 0.1, ..nothing.clone() }, "reset-after", request);
        check_share(Asked { fail_queue: 0.1, ..nothing.clone() }, "fail-queue", |faults| {
            let _ = faults.message();
        });
        check_share(Asked { kill_functions: 0.1, ..nothing }, "kill-functions", kill);
    }

    #[test]
    fn nothing_happens_unasked() {
        let faults = Faults::new(Asked::default());
        for _ in 0..1_000 {
            assert_eq!(faults.request(), Fate::CarriedOut);
            assert_eq!(faults.entry("s", "1", shard(0), usize::MAX, 0), Ok(()));
            assert_eq!(faults.kill_after("f"), None);
            assert_eq!(faults.message(), Ok(()));
            assert_eq!(faults.latency(), Duration::ZERO);
        }
        assert_eq!(faults.fired(), []);
    }

    #[test]
    fn one_seed_is_one_run() {
        let run = |seed| {
            let chance = 0.2;
            let asked = Asked {
                fail_requests: chance,
                reset_before: chance,
                reset_after: chance,
                seed,
                ..Asked::default()
            };
            let faults = Faults::new(asked);
            (0..100).map(|_| faults.request()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn a_kill_that_came_too_late_is_made_up_for() {
        let faults = Faults::new(Asked { kill_functions: 0.1, ..Asked::default() });
        let due = (0..1_000).find(|_| faults.kill_after("f").is_some());
        assert!(due.is_some());
        for _ in 0..5 {
            faults.answered("f", Duration::from_millis(1), true);
            assert!(faults.kill_after("f").is_some_and(|after| after <= Duration::from_millis(1)));
        }
    }
}
