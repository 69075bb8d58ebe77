//! Splits, merges, and the even spread of `UpdateShardCount`. A shard never changes its range: it is closed, and its
//! children take what comes from then on.

use std::ops::{Range, RangeInclusive};

use super::Contents;
use crate::stream::id::ShardId;
use crate::stream::limits::{MAX_RESIZES, MAX_SIZE, RESHARD_MS, RESIZE_PERIOD_MS};
use crate::stream::shard::{Log, even_ranges};

/// Why the shards stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stream) enum NoReshard {
    NoSuchShard(ShardId),
    /// It was split or merged before.
    Closed(ShardId),
    /// The hash key lies outside of this range of the shard, or too near at its ends.
    OutOfRange(RangeInclusive<u128>),
    /// The second shard does not begin where the first one ends, or one of them is closed.
    NotAdjacent,
    /// The shards are being changed.
    Updating,
    /// The stream has so many open shards: too few for twice, or too many for half of them.
    TooFarUp(usize),
    TooFarDown(usize),
    /// No stream may be scaled to so many.
    TooMany,
    /// It has been resized too often.
    TooOften,
}

/// A time, and the seconds for the numbers of the shards that are made then: each greater than any before.
pub(in crate::stream) struct Moment<'a> {
    pub(in crate::stream) now_ms: u64,
    pub(in crate::stream) second: &'a mut dyn FnMut() -> u64,
}

impl Contents {
    /// Whether the shards are being changed. They are changed at once; only the status takes its time, as in the
    /// service, where nothing else can be done to the shards meanwhile.
    pub(in crate::stream) fn updating(&self, now_ms: u64) -> bool {
        self.resharded_ms.is_some_and(|at| (at..at.saturating_add(RESHARD_MS)).contains(&now_ms))
    }

    /// The shards that came from this one.
    pub(in crate::stream) fn children(&self, of: ShardId) -> impl Iterator<Item = &Log> {
        let id = Some(of);
        self.shards.iter().filter(move |log| log.about.parent == id || log.about.adjacent_parent == id)
    }

    /// Splits a shard: its second child begins at the hash key `at`.
    pub(in crate::stream) fn split(
        &mut self,
        shard: ShardId,
        at: u128,
        mut moment: Moment,
    ) -> Result<(), NoReshard> {
        let log = self.log(shard).ok_or(NoReshard::NoSuchShard(shard))?;
        let range = log.about.hash_range.clone();
        if at <= range.start().saturating_add(1) || at >= *range.end() {
            return Err(NoReshard::OutOfRange(range));
        }
        let place = self.place(shard).ok_or(NoReshard::Closed(shard))?;
        self.check_active(moment.now_ms)?;
        self.cut(place, at, &mut moment);
        self.resharded_ms = Some(moment.now_ms);
        Ok(())
    }

    /// Merges a shard with the one behind it in the hash space.
    pub(in crate::stream) fn merge(
        &mut self,
        shard: ShardId,
        adjacent: ShardId,
        mut moment: Moment,
    ) -> Result<(), NoReshard> {
        if let Some(missing) = [shard, adjacent].into_iter().find(|id| self.log(*id).is_none()) {
            return Err(NoReshard::NoSuchShard(missing));
        }
        let places = self.place(shard).zip(self.place(adjacent));
        let (first, _) = places.filter(|(a, b)| a + 1 == *b).ok_or(NoReshard::NotAdjacent)?;
        self.check_active(moment.now_ms)?;
        self.join(first, &mut moment);
        self.resharded_ms = Some(moment.now_ms);
        Ok(())
    }

    /// Splits and merges until there are `count` open shards of one size; those in between live for no time.
    pub(in crate::stream) fn resize(&mut self, count: u32, mut moment: Moment) -> Result<(), NoReshard> {
        self.check_active(moment.now_ms)?;
        let (open, target) = (self.open.len(), count as usize);
        if target > MAX_SIZE {
            return Err(NoReshard::TooMany);
        } else if target > open * 2 {
            return Err(NoReshard::TooFarUp(open));
        } else if target * 2 < open {
            return Err(NoReshard::TooFarDown(open));
        }
        let since = moment.now_ms.saturating_sub(RESIZE_PERIOD_MS);
        self.resized_ms.retain(|at| *at > since);
        if self.resized_ms.len() >= MAX_RESIZES {
            return Err(NoReshard::TooOften);
        }
        for range in even_ranges(count) {
            let end = *range.end();
            let place = self.open.partition_point(|shard| self.end(*shard) < end);
            if self.open.get(place).is_some_and(|shard| self.end(*shard) != end) {
                self.cut(place, end + 1, &mut moment);
            }
        }
        for (place, range) in even_ranges(count).enumerate() {
            while self.open.get(place).is_some_and(|shard| self.end(*shard) < *range.end()) {
                self.join(place, &mut moment);
            }
        }
        self.resized_ms.push_back(moment.now_ms);
        self.resharded_ms = Some(moment.now_ms);
        Ok(())
    }

    fn check_active(&self, now_ms: u64) -> Result<(), NoReshard> {
        if self.updating(now_ms) { Err(NoReshard::Updating) } else { Ok(()) }
    }

    /// Where a shard stands among the open ones.
    fn place(&self, shard: ShardId) -> Option<usize> {
        self.open.iter().position(|open| self.shards[*open].about.id == shard)
    }

    fn end(&self, shard: usize) -> u128 {
        *self.shards[shard].about.hash_range.end()
    }

    fn cut(&mut self, place: usize, at: u128, moment: &mut Moment) {
        let (start, end) = self.shards[self.open[place]].about.hash_range.clone().into_inner();
        self.replace(place..place + 1, [start..=at - 1, at..=end], moment);
    }

    fn join(&mut self, place: usize, moment: &mut Moment) {
        let start = *self.shards[self.open[place]].about.hash_range.start();
        let end = self.end(self.open[place + 1]);
        self.replace(place..place + 2, [start..=end], moment);
    }

    /// Closes the open shards at these places, and opens others with their hash keys.
    fn replace<const N: usize>(
        &mut self,
        places: Range<usize>,
        ranges: [RangeInclusive<u128>; N],
        moment: &mut Moment,
    ) {
        // As arrival, these times never fall.
        let at_ms = moment.now_ms.max(self.last_arrival_ms);
        self.last_arrival_ms = at_ms;
        let made_s = (moment.second)();
        let parents: Vec<_> = self.open[places.clone()]
            .iter()
            .map(|open| {
                self.shards[*open].close(at_ms);
                self.shards[*open].about.id
            })
            .collect();
        let children = ranges.map(|range| {
            let place = self.shards.len();
            let id = ShardId(u32::try_from(place).unwrap_or(u32::MAX));
            let mut child = Log::new(id, range, at_ms, made_s);
            child.about.parent = parents.first().copied();
            child.about.adjacent_parent = parents.get(1).copied();
            self.shards.push(child);
            place
        });
        self.open.splice(places, children);
    }
}

#[cfg(test)]
mod tests;
