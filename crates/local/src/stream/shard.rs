//! One shard: its place in the hash space, and its records in order.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::chunks::Chunks;
use super::id::{SequenceNumber, ShardId};

/// A record as it is stored. A clone shares data and key with the store.
///
/// The data is a part of the request that brought it, which is freed with the last record of that request:
/// keeping one small record may keep up to 10 MiB.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its number: strictly rising within the shard.
    pub sequence_number: SequenceNumber,
    /// The partition key that it was put with.
    pub partition_key: Arc<str>,
    /// What was put.
    pub data: Bytes,
    /// When it was stored, in milliseconds since 1970; never falls within a stream.
    pub arrival_ms: u64,
    /// Whether the stream was encrypted then. Local records never really are.
    pub encrypted: bool,
}

impl Record {
    /// What it counts against the limits: bytes of data and key.
    pub fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// What the service tells about a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name.
    pub id: ShardId,
    /// The shard that it came from by a split or a merge.
    pub parent: Option<ShardId>,
    /// The other one, when it came from a merge.
    pub adjacent_parent: Option<ShardId>,
    /// The hash keys that it takes.
    pub hash_range: RangeInclusive<u128>,
    /// A number below that of its first record.
    pub starting: SequenceNumber,
    /// A number above those of all its records, once it is closed: then it takes no more.
    pub ending: Option<SequenceNumber>,
}

impl Shard {
    /// Whether it takes no more records.
    pub fn closed(&self) -> bool {
        self.ending.is_some()
    }
}

/// Where to read on in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// At the oldest record that is kept.
    TrimHorizon,
    /// Behind the newest record, as it is when asked.
    Latest,
    /// At the first record that arrived then or later, in milliseconds since 1970.
    AtTimestamp(u64),
    /// At the record with this number, or else the first one above it.
    At(SequenceNumber),
    /// At the first record above this number.
    After(SequenceNumber),
}

/// What one reading gave.
#[derive(Debug, Clone)]
pub struct Read {
    /// The records, oldest first, at least one if the position had any.
    pub records: Vec<Record>,
    /// Where to read on; `None` when the shard is closed and read to its end.
    pub next: Option<Position>,
    /// The age of the next unread record, at least 1; 0 when there is none.
    pub millis_behind_latest: u64,
    /// Records at the position that had been trimmed before they could be read.
    pub skipped: u64,
}

/// The hash key ranges of `count` shards of one size, as `CreateStream` makes them: the last one takes what
/// the division leaves.
pub(super) fn even_ranges(count: u32) -> impl Iterator<Item = RangeInclusive<u128>> {
    let parts = u128::from(count.max(2)); // one shard has no width to compute: it would not fit
    let width = u128::MAX / parts + (u128::MAX % parts + 1) / parts;
    (0..count).map(move |i| {
        let start = u128::from(i) * width;
        let end = if i + 1 == count { u128::MAX } else { start + (width - 1) };
        start..=end
    })
}

/// A shard with its records.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) about: Shard,
    pub(super) made_ms: u64,
    pub(super) closed_ms: Option<u64>,
    made_s: u64, // as its numbers have it
    records: Chunks<Record>,
    next: u64, // index of the next record; the first one has 1
}

/// The index in the ending number of a shard, however many records it has.
const LAST_INDEX: u64 = (1 << 63) - 1;

/// A number that is of no record of the shard that it was used on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alien(pub(super) SequenceNumber);

impl Log {
    /// An empty, open shard. `made_s` goes into its numbers and sets them apart from those of other streams.
    pub(super) fn new(id: ShardId, hash_range: RangeInclusive<u128>, made_ms: u64, made_s: u64) -> Self {
        let starting = SequenceNumber::new(made_s, id, 0, made_s);
        let about = Shard { id, parent: None, adjacent_parent: None, hash_range, starting, ending: None };
        Self { about, made_ms, closed_ms: None, made_s, records: Chunks::new(), next: 1 }
    }

    /// Numbers the record and stores it.
    pub(super) fn append(
        &mut self,
        partition_key: Arc<str>,
        data: Bytes,
        arrival_ms: u64,
        encrypted: bool,
    ) -> SequenceNumber {
        let number = SequenceNumber::new(self.made_s, self.about.id, self.next, arrival_ms / 1000);
        self.next += 1;
        self.records.push(Record { sequence_number: number, partition_key, data, arrival_ms, encrypted });
        number
    }

    /// Takes no more records. The ending number is the last one that the layout has for a shard, as in the service.
    pub(super) fn close(&mut self, at_ms: u64) {
        self.about.ending = Some(SequenceNumber::new(self.made_s, self.about.id, LAST_INDEX, at_ms / 1000));
        self.closed_ms = Some(at_ms);
    }

    pub(super) fn oldest(&self) -> Option<&Record> {
        self.records.front()
    }

    pub(super) fn drop_oldest(&mut self) -> Option<Record> {
        self.records.pop()
    }

    /// The same place as a position that stays when records come and go.
    pub(super) fn fix(&self, position: &Position) -> Result<Position, Alien> {
        Ok(Position::At(self.lowest_number(self.index_of(position)?)))
    }

    /// Reads from a position: at most `max_records`, and no more than `max_bytes` of data and keys after the
    /// first record.
    pub(super) fn read(
        &self,
        from: &Position,
        max_records: usize,
        max_bytes: usize,
        now_ms: u64,
    ) -> Result<Read, Alien> {
        let asked = self.index_of(from)?;
        let start = asked.max(self.first());
        let mut bytes = 0;
        let mut fits = |record: &&Record| {
            let first = bytes == 0;
            bytes += record.size();
            first || bytes <= max_bytes
        };
        let records: Vec<_> = (start..self.next)
            .map_while(|index| self.get(index))
            .take(max_records)
            .take_while(&mut fits)
            .cloned()
            .collect();
        let next = start + records.len() as u64;
        let unread = self.get(next).map(|record| now_ms.saturating_sub(record.arrival_ms).max(1));
        let ended = self.about.closed() && next == self.next;
        Ok(Read {
            records,
            next: (!ended).then(|| Position::At(self.lowest_number(next))),
            millis_behind_latest: unread.unwrap_or(0),
            skipped: start - asked,
        })
    }

    /// How many records there are from a position on, those included that were trimmed meanwhile.
    pub(super) fn unread(&self, from: &Position) -> Result<u64, Alien> {
        Ok(self.next.saturating_sub(self.index_of(from)?))
    }

    /// Index of the oldest record that is kept, or of the next one to come.
    fn first(&self) -> u64 {
        self.next - self.records.len() as u64
    }

    fn get(&self, index: u64) -> Option<&Record> {
        self.records.get(usize::try_from(index.checked_sub(self.first())?).ok()?)
    }

    /// The least number that a record of this index can have.
    fn lowest_number(&self, index: u64) -> SequenceNumber {
        SequenceNumber::new(self.made_s, self.about.id, index, 0)
    }

    fn index_of(&self, position: &Position) -> Result<u64, Alien> {
        match position {
            Position::TrimHorizon => Ok(self.first()),
            Position::Latest => Ok(self.next),
            Position::AtTimestamp(ms) => {
                Ok(self.first() + self.records.partition_point(|r| r.arrival_ms < *ms) as u64)
            }
            // Of a record that is gone one cannot tell its exact number: the one given is taken to be it.
            Position::At(number) => {
                let index = self.own_index(*number)?.max(1);
                let passed = self.get(index).is_some_and(|record| record.sequence_number < *number);
                Ok(index + u64::from(passed))
            }
            Position::After(number) => {
                let index = self.own_index(*number)?;
                let above = index == self.next
                    || self.get(index).is_some_and(|record| record.sequence_number > *number);
                Ok(index + u64::from(!above))
            }
        }
    }

    /// The index in a number, if the number can be one of this shard.
    fn own_index(&self, number: SequenceNumber) -> Result<u64, Alien> {
        if Some(number) == self.about.ending {
            return Ok(self.next);
        }
        let own = number.same_shard(self.about.starting) && number.index() <= self.next;
        if own { Ok(number.index()) } else { Err(Alien(number)) }
    }
}
