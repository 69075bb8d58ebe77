//! Order per partition key: which records of a key come next, and whether the key may go now.

use std::collections::HashMap;
use std::time::Instant;

use crate::Ordering;

/// For every key the records that are not settled, in order, as a linked list through the records.
#[derive(Debug)]
pub(super) struct Keys {
    ordering: Ordering,
    keys: Vec<Key>,
    key_of: Vec<usize>,
    next_of: Vec<Option<usize>>,
    settled: Vec<bool>,
    /// Counts the requests that were begun: a key's cursor from an earlier one is void.
    round: u64,
    now: Instant,
}

#[derive(Debug)]
struct Key {
    first: Option<usize>,
    pause_ends: Instant,
    round: u64,
    cursor: Option<usize>,
}

impl Keys {
    /// One partition key a record, in the order given.
    pub(super) fn new<'a>(
        partition_keys: impl ExactSizeIterator<Item = &'a str>,
        ordering: Ordering,
        now: Instant,
    ) -> Self {
        let records = partition_keys.len();
        let mut known = HashMap::with_capacity(records);
        let mut keys = Vec::new();
        let mut last: Vec<usize> = Vec::new();
        let mut key_of = Vec::with_capacity(records);
        let mut next_of = vec![None; records];
        for (record, partition_key) in partition_keys.enumerate() {
            let key = *known.entry(partition_key).or_insert(keys.len());
            if key == keys.len() {
                keys.push(Key { first: Some(record), pause_ends: now, round: 0, cursor: None });
                last.push(record);
            } else {
                next_of[last[key]] = Some(record);
                last[key] = record;
            }
            key_of.push(key);
        }
        Self { ordering, keys, key_of, next_of, settled: vec![false; records], round: 0, now }
    }

    /// Forgets what was taken for a request that was not sent.
    pub(super) fn begin_request(&mut self, now: Instant) {
        self.round += 1;
        self.now = now;
    }

    /// Takes a record into the request that was begun, if its key does not pause and no older record of the key that is
    /// not settled is left out of it. One that is in flight is left out: so no key is ever in two requests at once.
    pub(super) fn take(&mut self, record: usize) -> bool {
        let key = self.key_of[record];
        if self.keys[key].pause_ends > self.now {
            return false;
        }
        if self.keys[key].round != self.round {
            let first = self.unsettled(self.keys[key].first);
            let state = &mut self.keys[key];
            (state.round, state.first, state.cursor) = (self.round, first, first);
        }
        let next = self.keys[key].cursor == Some(record);
        if next {
            self.keys[key].cursor = match self.ordering {
                Ordering::Relaxed => self.unsettled(self.next_of[record]),
                Ordering::Strict => None,
            };
        }
        next
    }

    /// Begins a request of exactly these records, or of none.
    pub(super) fn take_all(&mut self, records: &[usize], now: Instant) -> bool {
        self.begin_request(now);
        records.iter().all(|&record| self.take(record))
    }

    /// The record is acknowledged or given up: later ones of its key need not wait for it.
    pub(super) fn settled(&mut self, record: usize) {
        self.settled[record] = true;
    }

    /// The keys of these records pause until `at`.
    pub(super) fn pause_until(&mut self, records: &[usize], at: Instant) {
        for &record in records {
            self.keys[self.key_of[record]].pause_ends = at;
        }
    }

    /// When the pause of the record's key ends, or has ended.
    pub(super) fn pause_ends(&self, record: usize) -> Instant {
        self.keys[self.key_of[record]].pause_ends
    }

    fn unsettled(&self, mut record: Option<usize>) -> Option<usize> {
        while let Some(index) = record.filter(|&index| self.settled[index]) {
            record = self.next_of[index];
        }
        record
    }
}
