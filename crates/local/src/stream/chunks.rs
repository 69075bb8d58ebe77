//! A queue in chunks: appending never moves what is there already, however much that is.

use std::collections::VecDeque;

/// Items per chunk: small enough that a growing chunk is cheap to move, large enough to be rare.
const CHUNK: usize = 512;

/// A queue that one appends to at the back, takes from at the front and reads anywhere.
///
/// Every chunk between the first and the last holds exactly [`CHUNK`] items, so a place is found by division.
#[derive(Debug)]
pub(super) struct Chunks<T> {
    chunks: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Chunks<T> {
    pub(super) fn new() -> Self {
        Self { chunks: VecDeque::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, item: T) {
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => last.push_back(item),
            _ => self.chunks.push_back(VecDeque::from([item])),
        }
        self.len += 1;
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.chunks.front()?.front()
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let first = self.chunks.front_mut()?;
        let item = first.pop_front()?;
        if first.is_empty() {
            self.chunks.pop_front();
        }
        self.len -= 1;
        Some(item)
    }

    /// The item that `place` others are in front of.
    pub(super) fn get(&self, place: usize) -> Option<&T> {
        let first = self.chunks.front()?;
        match place.checked_sub(first.len()) {
            None => first.get(place),
            Some(behind) => self.chunks.get(1 + behind / CHUNK)?.get(behind % CHUNK),
        }
    }

    /// How many items, all at the front, `before` holds for.
    pub(super) fn partition_point(&self, mut before: impl FnMut(&T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(&mut before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Runs of pushes and pops, long enough to cross chunks, against the standard queue.
        #[test]
        fn behaves_as_one_queue(runs in prop::collection::vec((0..3 * CHUNK, 0..3 * CHUNK), 1..6)) {
            let (mut chunks, mut plain) = (Chunks::new(), VecDeque::new());
            for (pushes, pops) in runs {
                for _ in 0..pushes {
                    let next = plain.back().map_or(0, |last| last + 1);
                    chunks.push(next);
                    plain.push_back(next);
                }
                for _ in 0..pops {
                    prop_assert_eq!(chunks.pop(), plain.pop_front());
                }
                prop_assert_eq!(chunks.len(), plain.len());
                prop_assert_eq!(chunks.front(), plain.front());
                for place in 0..=plain.len() {
                    prop_assert_eq!(chunks.get(place), plain.get(place));
                }
                let middle = plain.get(plain.len() / 2).copied().unwrap_or_default();
                prop_assert_eq!(chunks.partition_point(|i| *i < middle), plain.partition_point(|i| *i < middle));
            }
        }
    }
}
