//! The batch machine of one lane: takes records, verdicts and times in, gives the next step out. No I/O, no clock.
//!
//! A batch is invoked when it is full, when its window is over or when the event would grow too large. A failed batch
//! is tried again as it is; where the answer names a record, what stands before that is done and the rest is a new
//! batch with attempts of its own; where bisecting is on, a batch that failed as a whole is halved, which costs no
//! attempt. What has used up its attempts or grown too old is given up, in order, and the lane goes on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::answer::Verdict;
use super::{Settings, UnderWay};
use crate::stream::Record;

/// Pauses between attempts: the first, and the longest. Lambda does not document its own; these are short, for a
/// person waits.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Most bytes of an invocation's event, with some room for the brackets (Lambda quotas: 6 MB).
pub(super) const EVENT_BYTES: usize = crate::runtime::PAYLOAD_BYTES - 64;

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Invoke the function with these records, then tell [`Machine::answered`]; until then there is nothing to ask.
    Invoke(Vec<Sized>),
    /// These are given up; ask again.
    Discard(GivenUp),
    /// Nothing before this time, unless there are more records.
    WaitUntil(Instant),
    /// Nothing before there are more records.
    WaitForRecords,
}

/// Records that are at their end without having been handled.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GivenUp {
    /// At least one, in order.
    pub(super) records: Vec<Sized>,
    pub(super) condition: Condition,
    /// Failed invocations since the first of them became the first unhandled one.
    pub(super) failures: u32,
    /// The last invocation that failed with them; none if the function was never given them.
    pub(super) last: Option<Failure>,
}

/// An invocation that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) request_id: String,
    /// Whether it ended with an error; it may also have reported records in its answer.
    pub(super) function_error: bool,
}

/// Why records were given up, in the words of Lambda's on-failure records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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

/// What became of records so far, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Records that the function handled.
    pub(super) handled: u64,
    /// Invocations that failed.
    pub(super) failures: u64,
    /// Records that were given up.
    pub(super) discarded: u64,
    /// Batches that were halved.
    pub(super) bisects: u64,
}

/// The state of one lane: the records that were read for it and are not at their end.
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
    pub(super) counts: Counts,
}

#[derive(Debug)]
struct Batch {
    records: Vec<Sized>,
    /// Failed invocations since its first record became the first unhandled one.
    failures: u32,
    last: Option<Failure>,
    /// Whether it is a part of a batch that was halved.
    bisected: bool,
}

impl Batch {
    /// The first `count` are given up. What stands behind them is first now, so its failures are counted anew.
    fn give_up(&mut self, count: usize, condition: Condition) -> Step {
        let failures = std::mem::take(&mut self.failures);
        let records = self.records.drain(..count).collect();
        Step::Discard(GivenUp { records, condition, failures, last: self.last.clone() })
    }
}

impl Machine {
    pub(super) fn new(settings: Settings) -> Self {
        let (buffer, batches) = (VecDeque::new(), Vec::new());
        Self {
            settings,
            buffer,
            buffer_bytes: 0,
            window_ends: None,
            batches,
            retry_at: None,
            tries: 0,
            counts: Counts::default(),
        }
    }

    /// Whether what waits makes a whole batch.
    fn is_full(&self) -> bool {
        self.buffer_bytes >= EVENT_BYTES || self.buffer.len() >= self.settings.batch_size
    }

    /// Records that are not in a batch yet, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.buffer.len(), self.buffer_bytes)
    }

    /// How many records were read and are not at their end.
    pub(super) fn held(&self) -> usize {
        self.batches.iter().map(|batch| batch.records.len()).sum::<usize>() + self.buffer.len()
    }

    /// The batch that [`Step::Invoke`] gave, until it is answered.
    pub(super) fn under_way(&self) -> Option<UnderWay> {
        self.batches.last().map(|batch| UnderWay {
            records: batch.records.len(),
            attempt: batch.failures + 1,
            bisected: batch.bisected,
        })
    }

    /// Drops the records that arrived before `kept_from_ms` and gives how many they were; not while a batch is under way.
    pub(super) fn trim(&mut self, kept_from_ms: u64) -> u64 {
        let before = self.held();
        // Arrival times rise, so that what is gone stands in front.
        let kept = |sized: &Sized| sized.record.arrival_ms >= kept_from_ms;
        while let Some(batch) = self.batches.last_mut()
            && !batch.records.first().is_some_and(kept)
        {
            let gone = batch.records.iter().take_while(|sized| !kept(sized)).count();
            batch.records.drain(..gone);
            batch.failures = 0; // what stands behind them is first now
            self.batches.pop_if(|batch| batch.records.is_empty());
        }
        while let Some(gone) = self.buffer.pop_front_if(|sized| !kept(sized)) {
            self.buffer_bytes -= gone.bytes;
        }
        if self.buffer.is_empty() {
            self.window_ends = None;
        }
        (before - self.held()) as u64
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
                Some(ends) if !self.is_full() && ends > now => return Step::WaitUntil(ends),
                Some(_) => self.begin_batch(now),
            }
        }
        let Some(batch) = self.batches.last_mut() else { return Step::WaitForRecords };
        let Some((count, condition)) = self.settings.given_up(batch, now_ms) else {
            return Step::Invoke(batch.records.clone());
        };
        let step = batch.give_up(count, condition);
        self.batches.pop_if(|batch| batch.records.is_empty());
        self.counts.discarded += count as u64;
        step
    }

    /// Takes what became of the invocation that [`Step::Invoke`] asked for.
    pub(super) fn answered(&mut self, verdict: &Verdict, request_id: &str, now: Instant) {
        self.retry_at = None;
        let Some(batch) = self.batches.last_mut() else { return };
        if let Some(function_error) = verdict.failure() {
            self.counts.failures += 1;
            batch.last = Some(Failure { request_id: request_id.to_owned(), function_error });
        }
        match verdict {
            Verdict::Success => {
                self.counts.handled += batch.records.len() as u64;
                self.batches.pop();
                self.tries = 0;
                return;
            }
            Verdict::FailedFrom(position) if *position > 0 => {
                self.tries = 0;
                let handled = (*position).min(batch.records.len());
                self.counts.handled += handled as u64;
                batch.records.drain(..handled);
                batch.failures = 0;
            }
            Verdict::Failed(_) | Verdict::FunctionError(_)
                if self.settings.bisect && batch.records.len() > 1 =>
            {
                let second = batch.records.split_off(batch.records.len() / 2);
                // Once the second is first, the checkpoint has advanced.
                let second = Batch { records: second, failures: 0, last: batch.last.clone(), bisected: true };
                let first = Batch { bisected: true, ..std::mem::replace(batch, second) };
                self.counts.bisects += 1;
                self.batches.push(first);
            }
            Verdict::FailedFrom(_) | Verdict::Failed(_) | Verdict::FunctionError(_) => batch.failures += 1,
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
            self.batches.push(Batch { records, failures: 0, last: None, bisected: false });
        }
    }
}

impl Settings {
    /// How many of a batch's first records are to be given up now, and why.
    fn given_up(&self, batch: &Batch, now_ms: u64) -> Option<(usize, Condition)> {
        if let Some(age) = self.record_age {
            let oldest = now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            let expired = batch.records.iter().take_while(|sized| sized.record.arrival_ms < oldest).count();
            if expired > 0 {
                return Some((expired, Condition::RecordAgeExceeded));
            }
        }
        if self.attempts.is_some_and(|attempts| batch.failures > attempts) {
            return Some((batch.records.len(), Condition::RetryAttemptsExhausted));
        }
        // Only a record that goes alone can be so large: a batch is made to fit.
        let bytes = batch.records.iter().map(|sized| sized.bytes).sum::<usize>();
        (bytes > EVENT_BYTES).then_some((batch.records.len(), Condition::EventTooLarge))
    }
}

#[cfg(test)]
mod tests;
