//! The state machine: takes answers and times in, gives the next step out. It never sends, sleeps or looks at a clock,
//! so that "throttled twice, then the deadline" is a test of microseconds.
//!
//! # Order
//! A key is never in two requests in flight at once, and a request takes from each key the oldest records that are
//! not settled, in order: as many as there are ([`Ordering::Relaxed`](crate::Ordering)), so that an inversion can arise
//! only inside a request of which some entries fail, which then go again before any later record of their key; or one
//! ([`Ordering::Strict`](crate::Ordering)), so that none can arise. Requests that have no key in common fly together.
//!
//! # Refusals
//! A request refused whole as invalid holds a guilty entry, or is refused for what all requests share. It is split
//! into pieces that are tried one after another: what is accepted is innocent, a piece of one entry that is refused
//! is guilty, other refused pieces are split again. When the pieces are all refused alike, nothing in the request is
//! to blame more than the rest, and the refusal is fatal for all of it.

mod keys;
mod probe;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{
    Acknowledged, Class, Effort, Failure, Limits, REQUEST_BYTES, REQUEST_ENTRIES, Record, Report, Undelivered,
};
use keys::Keys;
use probe::Probe;

/// Longest wait for the answer to one request. A healthy answer takes tens of milliseconds; a connection that died
/// silently must not eat the whole time of the function.
pub const ATTEMPT: Duration = Duration::from_secs(5);

/// No request starts with less time left than this: it would most likely end with an unknown outcome.
pub const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

/// Most requests under way at once.
pub const IN_FLIGHT: usize = 8;

/// The pause before attempt `n + 1` is drawn evenly from nothing to `PAUSE_BASE * 2^n`, at most `PAUSE_MOST`
/// ("full jitter", as the AWS Architecture Blog recommends). A shard's capacity is counted by the second.
const PAUSE_BASE: Duration = Duration::from_millis(50);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// The writing of some records, from the first request to the last answer.
#[derive(Debug)]
pub struct Put {
    until: Instant,
    entries: Vec<Entry>,
    keys: Keys,
    /// Entries that wait for a request, in the order given.
    waiting: Vec<usize>,
    probe: Probe,
    in_flight: Vec<Request>,
    next_id: u64,
    fatal: Option<Arc<Failure>>,
    jitter: fastrand::Rng,
    effort: Effort,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Send these entries, tell [`Put::answered`] what came back, and ask again at once: there may be more to send.
    Send(Request),
    /// Nothing to send now. Ask again after an answer, or at this time, whichever comes first.
    Wait(Instant),
    /// Every record is settled; [`Put::report`] says how.
    Done,
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    id: u64,
    /// Positions of its records in what was given, in the order in which they go.
    pub records: Vec<usize>,
    /// When to stop waiting for an answer; the answer is then a failure of class [`Class::TimedOut`]. The put may be
    /// over before.
    pub give_up_at: Instant,
}

/// An entry that Kinesis stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Such as `shardId-000000000000`.
    pub shard_id: String,
    /// Decimal digits, rising within a shard.
    pub sequence_number: String,
}

/// What came back: a result for each entry, in the order of the request, or a failure of the whole.
pub type Answer = Result<Vec<Result<Stored, Failure>>, Failure>;

#[derive(Debug)]
struct Entry {
    bytes: usize,
    attempts: u32,
    may_be_stored: bool,
    /// A connection broke under it.
    broke: bool,
    last_failure: Option<Arc<Failure>>,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
enum Outcome {
    Acknowledged(Stored),
    Undelivered(Arc<Failure>),
}

impl Put {
    /// Begins to write `records`, ending at `until` at the latest. `seed` chooses the pauses.
    pub fn new(records: &[Record<'_>], limits: Limits, now: Instant, until: Instant, seed: u64) -> Self {
        let keys =
            Keys::new(records.iter().map(|record| record.partition_key.as_str()), limits.ordering, now);
        let mut put = Self {
            until,
            entries: Vec::with_capacity(records.len()),
            keys,
            waiting: Vec::with_capacity(records.len()),
            probe: Probe::default(),
            in_flight: Vec::new(),
            next_id: 0,
            fatal: None,
            jitter: fastrand::Rng::with_seed(seed),
            effort: Effort { records: records.len() as u64, ..Effort::default() },
        };
        for (index, record) in records.iter().enumerate() {
            let bytes = record.bytes();
            let outcome = (bytes > limits.record_bytes)
                .then(|| Outcome::Undelivered(too_large(bytes, limits.record_bytes)));
            match outcome {
                None => put.waiting.push(index),
                Some(_) => put.keys.settled(index),
            }
            put.entries.push(Entry {
                bytes,
                attempts: 0,
                may_be_stored: false,
                broke: false,
                last_failure: None,
                outcome,
            });
        }
        put
    }

    /// Says what to do at `now`.
    pub fn step(&mut self, now: Instant) -> Step {
        if now >= self.until {
            self.give_up_what_is_in_flight();
        }
        let too_late = now + SHORTEST_ATTEMPT > self.until;
        if !too_late
            && self.fatal.is_none()
            && let Some(request) = self.next_request(now)
        {
            return Step::Send(request);
        }
        let wake_up = if too_late || self.fatal.is_some() { None } else { self.wake_up(now) };
        match wake_up {
            Some(at) => Step::Wait(at),
            None if !self.in_flight.is_empty() => Step::Wait(self.until),
            None => {
                self.give_up_what_waits();
                Step::Done
            }
        }
    }

    /// Takes the answer to `request`. An answer to a request that was given up already changes nothing.
    pub fn answered(&mut self, request: &Request, answer: Answer, now: Instant) {
        let Some(position) = self.in_flight.iter().position(|sent| sent.id == request.id) else { return };
        let records = self.in_flight.swap_remove(position).records;
        match answer {
            Ok(results) => {
                self.probe.accepted(request.id);
                self.take_results(&records, results, now);
            }
            Err(failure) => self.take_failure(request.id, records, Arc::new(failure), now),
        }
    }

    /// The account, once [`Step::Done`] was given; before that it lists only what is settled.
    pub fn report(self) -> Report {
        let mut report = Report { effort: self.effort, ..Report::default() };
        for (record, entry) in self.entries.into_iter().enumerate() {
            match entry.outcome {
                Some(Outcome::Acknowledged(Stored { shard_id, sequence_number })) => {
                    report.acknowledged.push(Acknowledged { record, shard_id, sequence_number });
                }
                Some(Outcome::Undelivered(reason)) => report.undelivered.push(Undelivered {
                    record,
                    reason,
                    attempts: entry.attempts,
                    may_be_stored: entry.may_be_stored,
                }),
                None => {}
            }
        }
        report
    }

    /// The next request that may go now, if any: a suspected piece first, else as many waiting entries as fit.
    fn next_request(&mut self, now: Instant) -> Option<Request> {
        if self.in_flight.len() == IN_FLIGHT {
            return None;
        }
        self.next_id += 1;
        if let Some(piece) = self.probe.next_piece(self.next_id, |records| self.keys.take_all(records, now)) {
            return Some(self.send(piece, now));
        }
        self.keys.begin_request(now);
        let mut records = Vec::new();
        let mut bytes = 0;
        let (entries, keys) = (&self.entries, &mut self.keys);
        self.waiting.retain(|&index| {
            let size = entries[index].bytes;
            let fits = records.len() < REQUEST_ENTRIES && bytes + size <= REQUEST_BYTES;
            // A record that does not fit keeps the later ones of its key out as well: `take` goes key by key in order.
            if !fits || !keys.take(index) {
                return true;
            }
            bytes += size;
            records.push(index);
            false
        });
        (!records.is_empty()).then(|| self.send(records, now))
    }

    fn send(&mut self, records: Vec<usize>, now: Instant) -> Request {
        for &index in &records {
            let entry = &mut self.entries[index];
            self.effort.retries += u64::from(entry.attempts > 0);
            self.effort.possible_duplicates += u64::from(entry.may_be_stored);
            entry.attempts += 1;
        }
        self.effort.requests += 1;
        let request = Request { id: self.next_id, records, give_up_at: now + ATTEMPT };
        self.in_flight.push(request.clone());
        request
    }

    /// Entries that failed one by one are retried whatever their error's name: Kinesis names only two causes, both of
    /// which pass, and a new one had better be tried again than given up.
    fn take_results(&mut self, records: &[usize], results: Vec<Result<Stored, Failure>>, now: Instant) {
        let mut results = results.into_iter();
        let mut failed = Vec::new();
        for &index in records {
            match results.next() {
                Some(Ok(stored)) => {
                    self.entries[index].outcome = Some(Outcome::Acknowledged(stored));
                    self.keys.settled(index);
                }
                Some(Err(failure)) => {
                    self.entry_failed(index, Arc::new(failure));
                    failed.push(index);
                }
                None => {
                    self.entry_failed(index, Arc::new(no_result()));
                    failed.push(index);
                }
            }
        }
        self.pause(&failed, now);
        self.wait_again(failed);
    }

    fn take_failure(&mut self, id: u64, records: Vec<usize>, failure: Arc<Failure>, now: Instant) {
        // A refusal says nothing yet of any one entry among several.
        if failure.class != Class::Refused || records.len() == 1 {
            for &index in &records {
                self.entry_failed(index, Arc::clone(&failure));
            }
        }
        match failure.class {
            Class::Fatal => {
                self.fatal.get_or_insert_with(|| Arc::clone(&failure));
                self.undelivered(&records, &failure);
            }
            Class::Refused | Class::TooLarge => {
                if records.len() == 1 {
                    self.undelivered(&records, &failure);
                }
                let refused_alike = self.probe.refused(id, &records, &failure);
                self.undelivered(&refused_alike, &Arc::new(failure.of_every_record()));
            }
            Class::Throttled | Class::Failed | Class::TimedOut | Class::Broken => {
                // Every connection that was kept alive may have died with a freeze, so each record has one such retry.
                let at_once = failure.class == Class::Broken && self.broke_for_the_first_time(&records);
                if !at_once {
                    self.pause(&records, now);
                }
                if let Some(records) = self.probe.again(id, records) {
                    self.wait_again(records);
                }
            }
        }
    }

    fn entry_failed(&mut self, index: usize, failure: Arc<Failure>) {
        let entry = &mut self.entries[index];
        entry.may_be_stored |= failure.may_be_stored;
        self.effort.throttled += u64::from(failure.class == Class::Throttled);
        entry.last_failure = Some(failure);
    }

    /// The failed records of one request pause together, so that they can share the next one.
    fn pause(&mut self, records: &[usize], now: Instant) {
        let Some(attempts) = records.iter().map(|&index| self.entries[index].attempts).max() else { return };
        let most = PAUSE_BASE.saturating_mul(1 << attempts.min(10)).min(PAUSE_MOST);
        let pause = most.mul_f64(self.jitter.f64());
        self.keys.pause_until(records, now + pause);
    }

    fn broke_for_the_first_time(&mut self, records: &[usize]) -> bool {
        let mut first = true;
        for &index in records {
            first &= !std::mem::replace(&mut self.entries[index].broke, true);
        }
        first
    }

    fn wait_again(&mut self, records: Vec<usize>) {
        if !records.is_empty() {
            self.waiting.extend(records);
            self.waiting.sort_unstable();
        }
    }

    fn undelivered(&mut self, records: &[usize], reason: &Arc<Failure>) {
        for &index in records {
            self.entries[index].outcome = Some(Outcome::Undelivered(Arc::clone(reason)));
            self.keys.settled(index);
        }
    }

    /// The next time at which a pause ends for something that waits. What could go now but for another request is
    /// left out: that request's answer wakes it.
    fn wake_up(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.iter().chain(self.probe.waiting());
        let ends = waiting.map(|&index| self.keys.pause_ends(index)).filter(|&at| at > now);
        ends.min().filter(|&at| at + SHORTEST_ATTEMPT <= self.until)
    }

    fn give_up_what_is_in_flight(&mut self) {
        for request in std::mem::take(&mut self.in_flight) {
            let reason = Arc::new(no_answer());
            for &index in &request.records {
                self.entry_failed(index, Arc::clone(&reason));
            }
            self.undelivered(&request.records, &reason);
        }
    }

    fn give_up_what_waits(&mut self) {
        let never_sent = Arc::new(never_sent());
        for entry in self.entries.iter_mut().filter(|entry| entry.outcome.is_none()) {
            let reason = self.fatal.as_ref().or(entry.last_failure.as_ref()).unwrap_or(&never_sent);
            entry.outcome = Some(Outcome::Undelivered(Arc::clone(reason)));
        }
    }
}

fn too_large(bytes: usize, limit: usize) -> Arc<Failure> {
    Arc::new(Failure {
        class: Class::TooLarge,
        code: "RecordTooLarge".into(),
        message: format!("the record and its partition key have {bytes} bytes, at most {limit} are allowed"),
        may_be_stored: false,
    })
}

fn no_result() -> Failure {
    Failure {
        class: Class::Failed,
        code: "NoResult".into(),
        message: "the answer held fewer results than the request held entries".into(),
        may_be_stored: true,
    }
}

fn no_answer() -> Failure {
    Failure {
        class: Class::TimedOut,
        code: "TimedOut".into(),
        message: "Kinesis had not answered when the time for writing was over".into(),
        may_be_stored: true,
    }
}

fn never_sent() -> Failure {
    Failure {
        class: Class::TimedOut,
        code: "NotSent".into(),
        message: "the time for writing was over before the record's turn came".into(),
        may_be_stored: false,
    }
}

#[cfg(test)]
mod tests;
