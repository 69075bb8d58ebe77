//! The counts of a run, kept by everyone who sees a packet pass, read by whoever shows them.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

/// Counts since the start; each only rises.
#[derive(Debug, Default)]
pub struct Tally {
    /// Packets that came in, by UDP or in HTTP requests.
    pub received: Count,
    /// Packets that the producer said Kinesis has stored.
    pub acknowledged: Count,
    /// Packets that the producer said it could not deliver.
    pub undelivered: Count,
    /// Of those, packets that the queue took.
    pub queued: Count,
    /// Packets given to a producer that ended without a word on them.
    pub abandoned: Count,
    /// Records that the consumer wrote to its log, whole aggregates counted by what is in them.
    pub logged: Count,
    /// Records that the mapping gave up after its attempts.
    pub discarded: Count,
    /// Records that the stream's retention removed before the mapping had read them.
    pub trimmed: Count,
    /// Replies sent back to their senders.
    pub replies: Count,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub dropped: Count,
}

/// A count that many tasks add to.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Raises it to `value`, if that is more: for counts that somebody else keeps.
    pub fn raise_to(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    /// Its value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The numbers of the functions' summary lines that concern a tally; a line has those of its own function.
#[derive(Debug, Deserialize)]
struct Summary {
    #[serde(rename = "Acknowledged", default)]
    acknowledged: u64,
    #[serde(rename = "Undelivered", default)]
    undelivered: u64,
    #[serde(rename = "Queued", default)]
    queued: u64,
    #[serde(rename = "Packets", default)]
    packets: u64,
    #[serde(rename = "NotPackets", default)]
    not_packets: u64,
    #[serde(rename = "Undecodable", default)]
    undecodable: u64,
}

impl Tally {
    /// Reads what concerns it from whole lines of the producer's log.
    pub fn read_producer_log(&self, lines: &[u8]) {
        for summary in summaries(lines) {
            self.acknowledged.add(summary.acknowledged);
            self.undelivered.add(summary.undelivered);
            self.queued.add(summary.queued);
        }
    }

    /// Reads what concerns it from whole lines of the consumer's log.
    pub fn read_consumer_log(&self, lines: &[u8]) {
        for summary in summaries(lines) {
            self.logged.add(summary.packets + summary.not_packets + summary.undecodable);
        }
    }
}

/// Only what looks like a summary is parsed: there is one for many packet lines.
fn summaries(lines: &[u8]) -> impl Iterator<Item = Summary> {
    const MARK: &[u8] = br#""CloudWatchMetrics""#;
    let lines = lines.split(|&byte| byte == b'\n');
    lines
        .filter(|line| line.windows(MARK.len()).any(|window| window == MARK))
        .filter_map(|line| serde_json::from_slice(line).ok())
}
