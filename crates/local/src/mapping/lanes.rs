//! The machine of one shard: gives its records to lanes and says what each of them is to do next. No I/O, no clock.
//!
//! There are as many lanes as `ParallelizationFactor` says. The records of one partition key are all in one lane, in
//! order, and a lane has one invocation under way at most: so the order of a key holds, whatever the other lanes do.
//! The shard's checkpoint is before its first record that is not at its end, whatever stands behind that.

use std::time::{Duration, Instant};

use super::answer::Verdict;
use super::machine::{Counts, EVENT_BYTES, GivenUp, Machine, Sized, Step};
use super::{Progress, Settings};
use crate::stream::{Position, Record, ShardId, hash_key};

/// Most records that one reading brings (Kinesis API: `GetRecords`, Limit).
const READ_RECORDS: usize = 10_000;

/// What to do next in a shard.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Invoke the function with these records of a lane, ask again meanwhile, and tell [`Lanes::answered`].
    Invoke(usize, Vec<Sized>),
    /// These are given up: tell of them, then [`Lanes::told`], and ask again.
    Discard(GivenUp),
    /// Nothing, unless there are more records or answers, before this time; none is for ever.
    Wait(Option<Instant>),
}

/// The state of one shard between its checkpoint and the records that were read.
#[derive(Debug)]
pub(super) struct Lanes {
    /// While it is not, nothing is begun and nothing is wanted; what is under way may be answered.
    pub(super) enabled: bool,
    /// Where reading goes on; none at the end of the shard.
    pub(super) next: Option<Position>,
    /// Records that were given up, and of which nobody has been told yet.
    untold: usize,
    settings: Settings,
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    machine: Machine,
    invoked: bool,
}

impl Lanes {
    pub(super) fn new(settings: Settings, enabled: bool, from: Position) -> Self {
        let lane = |_| Lane { machine: Machine::new(settings.clone()), invoked: false };
        let lanes = (0..settings.parallelization_factor.max(1)).map(lane).collect();
        Self { enabled, next: Some(from), untold: 0, settings, lanes }
    }

    /// Whether an answer may name the record from which on it failed.
    pub(super) fn partial_answers(&self) -> bool {
        self.settings.partial_answers
    }

    /// How many more records it takes now: a batch for each lane may wait. A lane that is held up can so fill all the
    /// room, and then the others wait for it.
    pub(super) fn wants(&self) -> usize {
        if !self.enabled {
            return 0;
        }
        let waiting = self.lanes.iter().map(|lane| lane.machine.waiting());
        let (records, bytes) =
            waiting.fold((0, 0), |(records, bytes), (more, size)| (records + more, bytes + size));
        if bytes >= EVENT_BYTES.saturating_mul(self.lanes.len()) {
            return 0;
        }
        let room = self.settings.batch_size.saturating_mul(self.lanes.len());
        room.saturating_sub(records).min(READ_RECORDS)
    }

    /// Records that were read and are not at their end, in the order of the shard.
    pub(super) fn unhandled(&self) -> Vec<&Record> {
        let mut records: Vec<_> = self.lanes.iter().flat_map(|lane| lane.machine.unhandled()).collect();
        records.sort_unstable_by_key(|record| record.sequence_number);
        records
    }

    /// Whether every record that was read is at its end.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.machine.unhandled().next().is_none())
    }

    /// Whether an invocation is under way.
    pub(super) fn are_invoked(&self) -> bool {
        self.lanes.iter().any(|lane| lane.invoked)
    }

    /// What they are about, at `now_ms`.
    pub(super) fn progress(&self, shard: ShardId, now_ms: u64) -> Progress {
        let machines = || self.lanes.iter().map(|lane| &lane.machine);
        let invoked = self.lanes.iter().filter(|lane| lane.invoked);
        let under_way: Vec<_> = invoked.filter_map(|lane| lane.machine.under_way()).collect();
        let records: usize = under_way.iter().map(|batch| batch.records).sum();
        let first = machines().filter_map(|machine| machine.unhandled().next());
        let first = first.min_by_key(|record| record.sequence_number);
        let count = |count: fn(&Counts) -> u64| machines().map(|machine| count(&machine.counts)).sum();
        Progress {
            shard,
            next: self.next,
            waiting: machines().map(Machine::held).sum::<usize>().saturating_sub(records) + self.untold,
            iterator_age: first.map(|first| Duration::from_millis(now_ms.saturating_sub(first.arrival_ms))),
            under_way,
            handled: count(|counts| counts.handled),
            failures: count(|counts| counts.failures),
            discarded: count(|counts| counts.discarded),
            bisects: count(|counts| counts.bisects),
        }
    }

    /// Drops the records that arrived before `kept_from_ms`, for the stream has them no more, unless they are under way;
    /// gives how many.
    pub(super) fn trim(&mut self, kept_from_ms: u64) -> u64 {
        let waiting = self.lanes.iter_mut().filter(|lane| !lane.invoked);
        waiting.map(|lane| lane.machine.trim(kept_from_ms)).sum()
    }

    /// Takes records that were read, in order.
    pub(super) fn read(&mut self, records: impl IntoIterator<Item = Sized>, now: Instant) {
        for record in records {
            let lane = lane_of(&record.record.partition_key, self.lanes.len());
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.machine.read([record], now);
            }
        }
    }

    /// Says what to do at `now`; `now_ms` is the same moment in milliseconds since 1970.
    pub(super) fn step(&mut self, now: Instant, now_ms: u64) -> Next {
        if !self.enabled {
            return Next::Wait(None);
        }
        let mut soonest: Option<Instant> = None;
        for (number, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.invoked) {
            match lane.machine.step(now, now_ms) {
                Step::Invoke(records) => {
                    lane.invoked = true;
                    return Next::Invoke(number, records);
                }
                Step::Discard(given_up) => {
                    self.untold += given_up.records.len();
                    return Next::Discard(given_up);
                }
                Step::WaitUntil(at) => soonest = Some(soonest.map_or(at, |soonest| soonest.min(at))),
                Step::WaitForRecords => {}
            }
        }
        Next::Wait(soonest)
    }

    /// Takes it that all who are to know of what was given up do.
    pub(super) fn told(&mut self) {
        self.untold = 0;
    }

    /// Takes what became of the invocation that [`Next::Invoke`] asked for.
    pub(super) fn answered(&mut self, lane: usize, verdict: &Verdict, request_id: &str, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.invoked = false;
            lane.machine.answered(verdict, request_id, now);
        }
    }
}

/// The lane of a key. All hash keys of a shard begin alike, so it is the end that tells them apart.
fn lane_of(partition_key: &str, lanes: usize) -> usize {
    let lanes = lanes.max(1) as u128;
    usize::try_from(hash_key(partition_key) % lanes).unwrap_or_default()
}

#[cfg(test)]
mod tests;
