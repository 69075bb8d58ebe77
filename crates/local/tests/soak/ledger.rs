//! What a reader got, held against what was written: nothing missing, nothing twice, everything in its order.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local::stream::{SequenceNumber, ShardId};
use serde::Deserialize;

/// Bytes of a record's data.
pub(crate) const RECORD_BYTES: usize = 100;

/// The partition key of the last record of each shard, behind which nothing comes.
pub(crate) const END: &str = "end";

/// Faults of one kind that are told of one by one.
const SHOWN: usize = 3;

/// The data of a record: its number among those of its key, the key, and what fills it up.
pub(crate) fn data(key: &str, number: u32) -> String {
    let mut data = format!("{number:08} {key} ");
    let letters = ('a'..='z').cycle().take(RECORD_BYTES.saturating_sub(data.len()));
    data.extend(letters);
    data
}

/// What sets a stored record apart from all others. Their sums are equal if what was acknowledged is what was read.
pub(crate) fn mark(shard: ShardId, at: SequenceNumber, key: &str, number: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (shard, at, key, number).hash(&mut hasher);
    hasher.finish()
}

/// A record as it comes over HTTP.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Record<'a> {
    pub(crate) sequence_number: SequenceNumber,
    #[serde(borrow)]
    pub(crate) data: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) partition_key: Cow<'a, str>,
}

/// The account of one reader.
pub(crate) struct Ledger {
    keys: HashMap<String, Key>,
    numbers: u32,
    shards: HashMap<ShardId, SequenceNumber>, // of the newest record
    got: u64,
    ends: usize,
    sum: u64,
    faults: Vec<Fault>,
}

/// What was read of a key.
#[derive(Default)]
struct Key {
    next: u32, // one above the highest number
    seen: Vec<u64>,
}

/// One rule, how often it was broken, and the first times.
struct Fault {
    rule: &'static str,
    count: u64,
    first: Vec<String>,
}

impl Ledger {
    /// An empty one, for these keys with so many records each.
    pub(crate) fn new(keys: impl Iterator<Item = String>, numbers: u32) -> Self {
        let words = numbers.div_ceil(u64::BITS) as usize;
        let keys = keys.map(|key| (key, Key { next: 0, seen: vec![0; words] })).collect();
        Self { keys, numbers, shards: HashMap::new(), got: 0, ends: 0, sum: 0, faults: Vec::new() }
    }

    /// Records read, without the last ones of the shards.
    pub(crate) fn got(&self) -> u64 {
        self.got
    }

    /// Takes the next record of a shard; says whether it is its last one.
    pub(crate) fn take(&mut self, shard: ShardId, record: &Record) -> bool {
        let at = record.sequence_number;
        if let Some(last) = self.shards.insert(shard, at).filter(|last| *last >= at) {
            self.fault("out of the shard's order", || format!("{at} behind {last} in {shard}"));
        }
        if record.partition_key == END {
            self.ends += 1;
            return true;
        }
        self.got += 1;
        let Some(number) = self.number(record) else {
            self.fault("not as written", || {
                format!("{:?} of key {:?} in {shard}", record.data, record.partition_key)
            });
            return false;
        };
        let name = &*record.partition_key;
        self.sum = self.sum.wrapping_add(mark(shard, at, name, number));
        let Some(key) = self.keys.get_mut(name) else { return false }; // it has a number, so there is one
        let (word, bit) = ((number / u64::BITS) as usize, 1 << (number % u64::BITS));
        let repeated = key.seen[word] & bit != 0;
        key.seen[word] |= bit;
        let next = key.next;
        key.next = next.max(number + 1);
        if repeated {
            self.fault("repeated", || format!("{number} of key {name} in {shard}"));
        } else if number < next {
            self.fault("out of the key's order", || {
                format!("{number} of key {name} behind {} in {shard}", next - 1)
            });
        }
        false
    }

    /// Notes what breaks a rule.
    pub(crate) fn fault(&mut self, rule: &'static str, what: impl FnOnce() -> String) {
        let place = self.faults.iter().position(|fault| fault.rule == rule).unwrap_or_else(|| {
            self.faults.push(Fault { rule, count: 0, first: Vec::new() });
            self.faults.len() - 1
        });
        let fault = &mut self.faults[place];
        fault.count += 1;
        if fault.first.len() < SHOWN {
            fault.first.push(what());
        }
    }

    /// Whether all is there, once and in order: as many shards came to their end as there are, and the marks of what
    /// was acknowledged have this sum.
    ///
    /// # Errors
    /// Each rule that was broken, how often, and the first times.
    pub(crate) fn close(mut self, ends: usize, acknowledged: u64) -> Result<(), String> {
        let mut missing = Vec::new();
        for (name, key) in &self.keys {
            let seen =
                |number: &u32| key.seen[(number / u64::BITS) as usize] & (1 << (number % u64::BITS)) != 0;
            missing.extend(
                (0..self.numbers).filter(|number| !seen(number)).map(|number| (number, name.clone())),
            );
        }
        missing.sort();
        for (number, name) in missing {
            self.fault("missed", || format!("{number} of key {name}"));
        }
        if self.ends != ends {
            let got = self.ends;
            self.fault("ends of shards", || format!("{got}, expected {ends}"));
        }
        if self.faults.is_empty() && self.sum != acknowledged {
            self.fault("elsewhere than acknowledged", || "shards or sequence numbers differ".into());
        }
        let mut said = String::new();
        for Fault { rule, count, first } in &self.faults {
            let more = if *count > first.len() as u64 { ", …" } else { "" };
            // Writing to a string does not fail.
            let _ = write!(
                said,
                "{}{count} {rule} ({}{more})",
                if said.is_empty() { "" } else { "; " },
                first.join(", ")
            );
        }
        if said.is_empty() { Ok(()) } else { Err(said) }
    }

    /// The number of a record, if it is one of those that were written.
    fn number(&self, record: &Record) -> Option<u32> {
        let bytes = STANDARD.decode(&*record.data).ok()?;
        let text = str::from_utf8(&bytes).ok()?;
        let number = text.get(..8)?.parse().ok().filter(|number| *number < self.numbers)?;
        let known = self.keys.contains_key(&*record.partition_key);
        (known && text == data(&record.partition_key, number)).then_some(number)
    }
}
