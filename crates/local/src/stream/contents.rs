//! What one stream holds: its shards, its settings, and what it has let go of. No lock, no clock, no I/O.
//! [`reshard`] closes shards and opens their children.

mod reshard;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest, Md5};

use super::api::About;
use super::chunks::Chunks;
use super::consumer::Consumers;
use super::error::ApiError;
use super::id::{SequenceNumber, ShardId};
use super::limits::{DEFAULT_KEY, DEFAULT_RECORD_KIB, MIN_RETENTION_HOURS, RECORD_OVERHEAD};
use super::shard::{self, Alien, Log, Position, Read, Record};
pub(super) use reshard::{Moment, NoReshard};

/// A record to be put.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its partition key, 1 to 256 characters.
    pub partition_key: Arc<str>,
    /// Where it goes: [`hash_key`] of the partition key, or an explicit one.
    pub hash_key: u128,
    /// Its bytes.
    pub data: Bytes,
}

impl Entry {
    /// A record that goes where its partition key sends it.
    pub fn new(partition_key: &str, data: impl Into<Bytes>) -> Self {
        Self { partition_key: partition_key.into(), hash_key: hash_key(partition_key), data: data.into() }
    }

    /// Its bytes and those of its key, as the limits count them.
    pub(super) fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// The place that Kinesis gives a partition key in the hash space: its MD5, read big-endian.
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

/// What became of one entry: where it is stored, or why it is not.
pub type EntryResult = Result<(ShardId, SequenceNumber), ApiError>;

/// What a stream holds and what has passed through it. `appended == records + trimmed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records kept now.
    pub records: u64,
    /// Bytes of data and keys kept now.
    pub bytes: u64,
    /// Records stored since the stream was made.
    pub appended: u64,
    /// Records dropped since then, for their age or for want of room.
    pub trimmed: u64,
}

/// How long and how much a stream keeps, where that is not up to the stream's own settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    pub(super) age: Option<Duration>,
    pub(super) bytes: u64,
}

/// What a stream was told to be.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) on_demand: bool,
    pub(super) key_id: Option<String>, // of encryption, when on
    pub(super) retention_hours: i64,
    pub(super) max_record_kib: i64,
    pub(super) metrics: BTreeSet<&'static str>, // that its shards are to have
    pub(super) about: About,
}

impl Settings {
    /// Those of a stream that asks for nothing.
    pub(super) fn new(on_demand: bool, encrypted: bool) -> Self {
        Self {
            on_demand,
            key_id: encrypted.then(|| DEFAULT_KEY.into()),
            retention_hours: MIN_RETENTION_HOURS,
            max_record_kib: DEFAULT_RECORD_KIB,
            metrics: BTreeSet::new(),
            about: About::default(),
        }
    }
}

/// The stream itself.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) settings: Settings,
    pub(super) deleted: bool,
    pub(super) consumers: Consumers,
    pub(super) mode_changed_ms: Vec<u64>, // as far as that counts
    shards: Vec<Log>,                     // by id
    open: Vec<usize>,                     // those that take records, by hash range
    order: Chunks<ShardId>,               // of every record kept, oldest first, the shard that it is in
    retention: Retention,
    counts: Counts,
    last_arrival_ms: u64,
    resharded_ms: Option<u64>, // when it last was
    resized_ms: VecDeque<u64>, // when `UpdateShardCount` did it, as far as that counts
}

/// A number that cannot belong to a shard, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    /// It is of this other shard.
    OtherShard(ShardId),
    /// It is of another stream, or was never given out.
    OtherStream,
}

/// What a read or an iterator can be refused for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRead {
    NoSuchShard,
    Foreign(Foreign),
}

impl Contents {
    /// A stream of `shards` equal shards. `made_s` sets its sequence numbers apart from other streams'.
    pub(super) fn new(
        shards: u32,
        settings: Settings,
        retention: Retention,
        made_ms: u64,
        made_s: u64,
    ) -> Self {
        let ranges = shard::even_ranges(shards).zip(0..);
        let shards: Vec<_> =
            ranges.map(|(range, id)| Log::new(ShardId(id), range, made_ms, made_s)).collect();
        Self {
            settings,
            deleted: false,
            consumers: Consumers::default(),
            mode_changed_ms: Vec::new(),
            open: (0..shards.len()).collect(),
            shards,
            order: Chunks::new(),
            retention,
            counts: Counts::default(),
            last_arrival_ms: made_ms,
            resharded_ms: None,
            resized_ms: VecDeque::new(),
        }
    }

    /// Stores the entries in their order and answers for each. `admit` is asked first, so that a shard can
    /// turn single entries away; an entry that is turned away leaves no trace.
    pub(super) fn put(
        &mut self,
        entries: Vec<Entry>,
        now_ms: u64,
        mut admit: impl FnMut(ShardId, &Entry) -> Result<(), ApiError>,
    ) -> Vec<EntryResult> {
        // Arrival never falls, whatever the clock does: finding a time is a binary search.
        let arrival_ms = now_ms.max(self.last_arrival_ms);
        self.last_arrival_ms = arrival_ms;
        let encrypted = self.settings.key_id.is_some();
        let results = entries
            .into_iter()
            .map(|entry| {
                let place = route(&self.shards, &self.open, entry.hash_key);
                let shard = &mut self.shards[place];
                let id = shard.about.id;
                admit(id, &entry)?;
                self.counts.appended += 1;
                self.counts.records += 1;
                self.counts.bytes += entry.size() as u64;
                self.order.push(id);
                Ok((id, shard.append(entry.partition_key, entry.data, arrival_ms, encrypted)))
            })
            .collect();
        self.trim(now_ms);
        results
    }

    /// Reads a shard, as [`Log::read`], after dropping what is too old.
    pub(super) fn read(
        &mut self,
        shard: ShardId,
        from: &Position,
        max_records: usize,
        max_bytes: usize,
        now_ms: u64,
    ) -> Result<Read, NoRead> {
        self.trim(now_ms);
        let log = self.log(shard).ok_or(NoRead::NoSuchShard)?;
        log.read(from, max_records, max_bytes, now_ms).map_err(|number| self.foreign(shard, number))
    }

    /// What a position stands for now, as [`Log::fix`].
    pub(super) fn fix(&mut self, shard: ShardId, from: &Position, now_ms: u64) -> Result<Position, NoRead> {
        self.trim(now_ms);
        let log = self.log(shard).ok_or(NoRead::NoSuchShard)?;
        log.fix(from).map_err(|number| self.foreign(shard, number))
    }

    /// How many records a shard has from a position on, as [`Log::unread`].
    pub(super) fn unread(&self, shard: ShardId, from: &Position) -> Result<u64, NoRead> {
        let log = self.log(shard).ok_or(NoRead::NoSuchShard)?;
        log.unread(from).map_err(|number| self.foreign(shard, number))
    }

    /// All shards, by id.
    pub(super) fn shards(&self) -> impl Iterator<Item = &Log> {
        self.shards.iter()
    }

    pub(super) fn open_shards(&self) -> usize {
        self.open.len()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The oldest time that the stream reaches back to.
    pub(super) fn horizon_ms(&self, now_ms: u64) -> u64 {
        let hours = u64::try_from(self.settings.retention_hours).unwrap_or(0);
        let age = self.retention.age.unwrap_or_else(|| Duration::from_secs(hours * 3600));
        now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    /// Drops all records at once, and the consumers: the stream is gone.
    pub(super) fn delete(&mut self) {
        self.deleted = true;
        self.consumers.clear();
        while self.drop_oldest().is_some() {}
    }

    /// Drops records from the oldest on, over all shards, until age and room are kept. The newest record
    /// stays even if it alone is too large for the room.
    pub(super) fn trim(&mut self, now_ms: u64) {
        let horizon = self.horizon_ms(now_ms);
        while let Some(oldest) = self.order.front().and_then(|id| self.log(*id)?.oldest()) {
            let kept = self.counts.bytes + self.counts.records * RECORD_OVERHEAD;
            let crowded = kept > self.retention.bytes && self.counts.records > 1;
            if oldest.arrival_ms >= horizon && !crowded {
                break;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> Option<Record> {
        let id = self.order.pop()?;
        let record = self.shards.get_mut(id.0 as usize)?.drop_oldest()?;
        self.counts.records -= 1;
        self.counts.bytes -= record.size() as u64;
        self.counts.trimmed += 1;
        Some(record)
    }

    /// Whose a number is that is not of the shard that it was used on.
    fn foreign(&self, shard: ShardId, Alien(number): Alien) -> NoRead {
        let other = self.log(number.shard()).filter(|log| log.about.id != shard);
        let other = other.filter(|log| number.same_shard(log.about.starting));
        NoRead::Foreign(other.map_or(Foreign::OtherStream, |log| Foreign::OtherShard(log.about.id)))
    }

    fn log(&self, id: ShardId) -> Option<&Log> {
        self.shards.get(id.0 as usize)
    }
}

/// The open shard whose range has the hash. The ranges of the open shards cover all hashes without a gap.
fn route(shards: &[Log], open: &[usize], hash: u128) -> usize {
    let place = open.partition_point(|shard| *shards[*shard].about.hash_range.end() < hash);
    open[place.min(open.len() - 1)]
}

#[cfg(test)]
mod tests;
