//! What holds whatever the settings are and whatever happens: every record ends exactly once, as handled, given up or
//! trimmed; before that it may be repeated, and it is never skipped; the records of a key keep their order.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::ProptestConfig;

use super::super::super::answer::verdict;
use super::super::super::event::Origin;
use super::super::super::failure::{Destination, Kept, Reporter};
use super::super::super::machine::Condition;
use super::*;
use crate::queue::Queue;
use crate::runtime::Outcome;

/// How a record is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Handled,
    GivenUp,
    Trimmed,
}

/// What is known of a shard under way, apart from what the lanes say.
struct Account {
    settings: Settings,
    lanes: Lanes,
    /// Records that were read.
    read: BTreeMap<u64, Sized>,
    ended: BTreeMap<u64, End>,
    /// By lane.
    under_way: BTreeMap<usize, Vec<Sized>>,
    /// Invocations that failed, by record.
    failed: HashMap<u64, u32>,
    now: Instant,
    now_ms: u64,
    reporter: Reporter,
    queue: Queue,
}

/// The moment at which the first record arrives; each arrives 40 ms after the one before.
const FIRST_MS: u64 = 1_000_000;

/// Some records are alone too large for an event, and some fill most of one.
fn made(number: u64, keys: u64) -> Sized {
    let mut sized = record(number, &format!("k{}", number * 7 % 13 % keys));
    sized.record.arrival_ms = FIRST_MS + number * 40;
    sized.bytes = match number % 11 {
        5 => EVENT_BYTES + 1,
        7 | 8 => EVENT_BYTES / 2,
        _ => 1_000,
    };
    sized
}

impl Account {
    fn new(settings: Settings) -> Self {
        let queue = Queue::new("q", "0", "r", "http://127.0.0.1:1");
        let destination = Some(Destination::Queue(queue.clone()));
        let reporter = Reporter { destination, mapping: "m".into(), function_arn: "f".into() };
        Self {
            lanes: Lanes::new(settings.clone(), settings.enabled, Position::TrimHorizon),
            settings,
            read: BTreeMap::new(),
            ended: BTreeMap::new(),
            under_way: BTreeMap::new(),
            failed: HashMap::new(),
            now: Instant::now(),
            now_ms: FIRST_MS + 5_000,
            reporter,
            queue,
        }
    }

    fn end(&mut self, records: &[Sized], end: End) {
        for record in records {
            let number = number(&record.record);
            assert_eq!(self.ended.insert(number, end), None, "{number} ends twice");
        }
    }

    /// No record is given to the function, or given up, while one before it of its key is elsewhere and not at its end.
    fn check_order(&self, records: &[Sized]) {
        let among: HashSet<_> = numbers(records).into_iter().collect();
        assert!(numbers(records).is_sorted() && among.len() == records.len());
        for record in records {
            let number = number(&record.record);
            assert!(!self.ended.contains_key(&number), "{number} is at its end");
            for (before, other) in self.read.range(..number) {
                let overtakes = other.record.partition_key == record.record.partition_key
                    && !self.ended.contains_key(before)
                    && !among.contains(before);
                assert!(!overtakes, "{number} overtakes {before}");
            }
        }
    }

    fn is_too_old(&self, record: &Sized) -> bool {
        let age = Duration::from_millis(self.now_ms.saturating_sub(record.record.arrival_ms));
        self.settings.record_age.is_some_and(|most| age > most)
    }

    fn invoked(&mut self, lane: usize, batch: Vec<Sized>) {
        assert!(self.lanes.enabled, "nothing is begun while it is disabled");
        assert!(!batch.is_empty() && batch.len() <= self.settings.batch_size);
        assert!(batch.iter().map(|sized| sized.bytes).sum::<usize>() <= EVENT_BYTES);
        assert!(batch.iter().all(|record| !self.is_too_old(record)));
        self.check_order(&batch);
        assert_eq!(self.under_way.insert(lane, batch), None, "one batch of a lane at once");
        assert!(self.under_way.len() <= self.settings.parallelization_factor);
    }

    fn given_up(&mut self, given_up: &GivenUp) {
        assert!(self.lanes.enabled, "nothing is given up while it is disabled");
        let GivenUp { records, condition, .. } = given_up;
        self.check_order(records);
        match condition {
            Condition::RecordAgeExceeded => assert!(records.iter().all(|record| self.is_too_old(record))),
            Condition::EventTooLarge => assert!(matches!(&records[..], [one] if one.bytes > EVENT_BYTES)),
            Condition::RetryAttemptsExhausted => {
                let most = self.settings.attempts.expect("without a number there is no end of attempts");
                let plain = !self.settings.bisect && !self.settings.partial_answers;
                for record in numbers(records) {
                    let failed = self.failed.get(&record).copied().unwrap_or_default();
                    assert!(failed > most, "{record} failed {failed} times, {most} retries were allowed");
                    assert!(!plain || failed == most + 1, "{record} failed {failed} times");
                }
            }
        }
        self.end(records, End::GivenUp);
        let shard = "shardId-000000000000".parse().unwrap();
        let origin = Origin { shard, stream_arn: "s".into(), region: "r".into(), account: "0".into() };
        assert!(matches!(self.reporter.report(given_up, &origin, self.now_ms, "id"), Kept::At(_)));
    }

    /// Answers the batch of a lane as `choice` says; a crash and a timeout are errors of the function too.
    fn answer(&mut self, lane: usize, choice: u32) {
        let batch = self.under_way.remove(&lane).unwrap();
        let sequence_numbers: Vec<_> =
            batch.iter().map(|sized| sized.record.sequence_number.to_string()).collect();
        let reported = |number: &str| {
            let answer = format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{number}"}}]}}"#);
            Outcome::Answer(answer.into())
        };
        let partial = self.settings.partial_answers;
        let (outcome, handled, failed) = match choice % 9 {
            0..=2 => (Outcome::Answer("".into()), batch.len(), false),
            3 | 4 => (Outcome::FunctionError("{}".into()), 0, true),
            5 => (Outcome::NotInvoked("throttled".into()), 0, false),
            6 => (reported("nonsense"), if partial { 0 } else { batch.len() }, partial),
            _ => {
                let position = choice as usize / 9 % batch.len();
                let handled = if partial { position } else { batch.len() };
                (reported(&sequence_numbers[position]), handled, partial)
            }
        };
        self.end(&batch[..handled], End::Handled);
        if failed {
            for record in numbers(&batch[handled..]) {
                *self.failed.entry(record).or_default() += 1;
            }
        }
        let verdict = verdict(&outcome, &sequence_numbers, partial);
        self.lanes.answered(lane, &verdict, "r", self.now);
    }

    /// The stream drops what arrived before `kept_from_ms`.
    fn trim(&mut self, kept_from_ms: u64) {
        let held = |sized: &Sized| self.under_way.values().flatten().any(|other| other == sized);
        let gone = self.read.iter().filter(|(number, sized)| {
            let old = sized.record.arrival_ms < kept_from_ms;
            // Behind a record of its lane that is under way it waits for the answer.
            let lane = lane_of(&sized.record.partition_key, self.settings.parallelization_factor);
            old && !self.ended.contains_key(number) && !held(sized) && !self.under_way.contains_key(&lane)
        });
        let gone: Vec<_> = gone.map(|(_, sized)| sized.clone()).collect();
        assert_eq!(self.lanes.trim(kept_from_ms), gone.len() as u64);
        self.end(&gone, End::Trimmed);
    }

    fn check_rest(&self) {
        let open = self.read.keys().filter(|number| !self.ended.contains_key(number));
        assert_eq!(rest(&self.lanes), open.copied().collect::<Vec<_>>(), "until its end it is in the rest");
    }
}

/// Leads `given` records of so many keys to their ends; after the choices all goes well.
fn lead(settings: Settings, given: u64, keys: u64, choices: &[u32]) -> BTreeMap<u64, End> {
    let mut account = Account::new(settings);
    let (mut choices, mut next) = (choices.iter().copied(), 0);
    for _ in 0..20_000 {
        let until = match account.lanes.step(account.now, account.now_ms) {
            Next::Invoke(lane, batch) => {
                account.invoked(lane, batch);
                continue;
            }
            Next::Discard(given_up) => {
                account.given_up(&given_up);
                account.lanes.told();
                continue;
            }
            Next::Wait(until) => until,
        };
        account.check_rest();
        let choice = choices.next();
        match choice.map(|choice| choice % 12) {
            Some(0) => account.lanes.enabled = !account.lanes.enabled,
            Some(1) => account.trim(FIRST_MS + u64::from(choice.unwrap_or_default() / 12 % 80) * 40),
            Some(_) => {}
            None if !account.lanes.enabled => {
                account.lanes.enabled = true;
                continue;
            }
            None => {}
        }
        let wants = account.lanes.wants() as u64;
        let reads = wants.min(given - next).min(choice.map_or(9, |choice| u64::from(choice % 5)));
        let records: Vec<_> = (next..next + reads).map(|number| made(number, keys)).collect();
        account.read.extend((next..).zip(records.iter().cloned()));
        account.lanes.read(records, account.now);
        next += reads;
        let lane = choice.unwrap_or_default() as usize % account.under_way.len().max(1);
        if let Some(lane) = account.under_way.keys().nth(lane).copied() {
            account.answer(lane, choice.map_or(0, |choice| choice / 12));
        } else if let Some(until) = until {
            assert!(until > account.now, "waiting for a time that is past would spin");
            account.now_ms += u64::try_from((until - account.now).as_millis()).unwrap();
            account.now = until;
        } else if choice.is_none() && next == given && reads == 0 {
            break;
        }
    }
    assert_eq!(account.ended.len() as u64, given, "every record ends");
    let of = |end| account.ended.values().filter(|&&how| how == end).count() as u64;
    let progress = account.lanes.progress("shardId-000000000000".parse().unwrap(), 0);
    assert_eq!((progress.handled, progress.discarded), (of(End::Handled), of(End::GivenUp)));
    assert_eq!((progress.waiting, progress.under_way), (0, vec![]));
    let told = account.queue.bodies();
    let told = told.iter().map(|body| serde_json::from_str::<serde_json::Value>(body).unwrap());
    let told: u64 = told.map(|told| told["KinesisBatchInfo"]["batchSize"].as_u64().unwrap()).sum();
    assert_eq!(told, of(End::GivenUp), "each that was given up is reported, once");
    account.ended
}

/// Each setting alone, and each with each other, through the same hundred runs.
#[test]
fn the_laws_hold_for_each_setting_and_each_pair_of_settings() {
    type Change = fn(&mut Settings);
    let changes: [(&str, Change); 14] = [
        ("BatchSize 1", |settings| settings.batch_size = 1),
        ("BatchSize 7", |settings| settings.batch_size = 7),
        ("BatchSize 10,000", |settings| settings.batch_size = 10_000),
        ("window", |settings| settings.window = Duration::from_secs(300)),
        ("a short window", |settings| settings.window = Duration::from_millis(50)),
        ("ParallelizationFactor 3", |settings| settings.parallelization_factor = 3),
        ("ParallelizationFactor 10", |settings| settings.parallelization_factor = 10),
        ("MaximumRetryAttempts 0", |settings| settings.attempts = Some(0)),
        ("MaximumRetryAttempts 2", |settings| settings.attempts = Some(2)),
        ("MaximumRecordAgeInSeconds", |settings| settings.record_age = Some(Duration::from_secs(60))),
        ("a short age", |settings| settings.record_age = Some(Duration::from_secs(4))),
        ("BisectBatchOnFunctionError", |settings| settings.bisect = true),
        ("ReportBatchItemFailures", |settings| settings.partial_answers = true),
        ("Enabled", |settings| settings.enabled = false),
    ];
    let mut random = fastrand::Rng::with_seed(5);
    for (_, first) in &changes {
        for (_, second) in &changes {
            let mut settings = Settings::default();
            first(&mut settings);
            second(&mut settings);
            let choices: Vec<_> = (0..100).map(|_| random.u32(..)).collect();
            lead(settings, 40, 6, &choices);
        }
    }
}

/// What the laws allow is not all that ever happens: each end is one that the runs come to.
#[test]
fn the_runs_come_to_every_end() {
    let settings = Settings { batch_size: 3, attempts: Some(0), ..Settings::default() };
    let mut random = fastrand::Rng::with_seed(5);
    let choices: Vec<_> = (0..200).map(|_| random.u32(..)).collect();
    let ended = lead(settings, 60, 6, &choices);
    for end in [End::Handled, End::GivenUp, End::Trimmed] {
        assert!(ended.values().any(|&how| how == end), "{end:?}");
    }
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_laws_hold_for_all_settings_and_whatever_happens(
        choices in proptest::collection::vec(proptest::num::u32::ANY, 0..160),
        given in 0..60_u64,
        keys in 1..14_u64,
        batch_size in 1..6_usize,
        window in 0..400_u64,
        parallelization_factor in 1..=10_usize,
        (bisect, partial_answers, enabled) in proptest::prelude::any::<(bool, bool, bool)>(),
        attempts in proptest::option::of(0..3_u32),
        age in proptest::option::of(3_000..9_000_u64),
    ) {
        let (window, record_age) = (Duration::from_millis(window), age.map(Duration::from_millis));
        let settings = Settings {
            batch_size, window, parallelization_factor, attempts, record_age, bisect, partial_answers, enabled,
            ..Settings::default()
        };
        lead(settings, given, keys, &choices);
    }
}
