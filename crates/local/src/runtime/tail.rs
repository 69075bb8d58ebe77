//! The last of what an invocation wrote: Invoke's `LogType` `Tail`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a log that an answer carries (Lambda API reference: Invoke, `X-Amz-Log-Result`: the last 4 KB).
const TAIL_BYTES: usize = 4 * 1024;

/// What one invocation wrote last. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Tail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
}

impl Tail {
    /// What was written, at most the last 4 KB.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        lock(&self.bytes).iter().copied().collect()
    }

    fn push(&self, written: &[u8]) {
        let mut bytes = lock(&self.bytes);
        let written = &written[written.len().saturating_sub(TAIL_BYTES)..];
        let surplus = (bytes.len() + written.len()).saturating_sub(TAIL_BYTES);
        bytes.drain(..surplus);
        bytes.extend(written);
    }
}

/// Whoever listens to what an environment writes, if anybody does. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Ear {
    tail: Arc<Mutex<Option<Tail>>>,
}

impl Ear {
    /// From now on it is written there.
    pub(super) fn lend(&self, tail: Option<&Tail>) {
        *lock(&self.tail) = tail.cloned();
    }

    pub(super) fn hear(&self, written: &[u8]) {
        if let Some(tail) = &*lock(&self.tail) {
            tail.push(written);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(writes: &[usize], want: usize) {
        let (tail, mut all) = (Tail::default(), Vec::new());
        for (number, length) in writes.iter().enumerate() {
            let written: Vec<_> =
                (0..*length).map(|at| ((number * 31 + at) % 251).to_le_bytes()[0]).collect();
            tail.push(&written);
            all.extend(written);
        }
        assert_eq!(tail.bytes(), all[all.len() - want..], "{writes:?}");
    }

    #[test]
    fn it_is_the_last_4_kb_in_order() {
        check(&[], 0);
        check(&[10, 0, 5], 15);
        check(&[4096], 4096);
        check(&[4095, 2], 4096);
        check(&[1000; 9], 4096);
        check(&[10, 100_000], 4096);
        check(&[100_000, 1], 4096);
    }
}
