//! Batches that become far more lines than they are bytes: what is gathered in memory is bounded, and every record is
//! accounted for, also where the log fails on the way.

use std::collections::HashMap;

use serde::Deserialize;

use super::*;
use crate::log::PIECE_BYTES;

/// What the largest user record of these tests adds to a full piece.
const LAST_LINE: usize = 4_000;

/// Counts lines and remembers the largest write; one write may fail, and those behind it would do again.
struct Counting {
    writes: usize,
    /// Which write fails, from 0.
    fails: usize,
    largest: usize,
    bytes: usize,
    /// Lines by their message.
    lines: HashMap<String, usize>,
    /// The last sequence and sub-sequence number seen, and how often they did not rise.
    last: (usize, Option<u64>),
    inversions: usize,
}

impl Counting {
    fn new(fails: usize) -> Self {
        Self { writes: 0, fails, largest: 0, bytes: 0, lines: HashMap::new(), last: (0, None), inversions: 0 }
    }

    fn lines(&self, message: &str) -> usize {
        self.lines.get(message).copied().unwrap_or_default()
    }
}

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        if self.writes > self.fails {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.largest = self.largest.max(bytes.len());
        self.bytes += bytes.len();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // Lines are never torn between writes.
            let line = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
            let line: Line = line.unwrap_or_else(|| Line { message: "torn".into(), ..Line::default() });
            if let Some(number) = line.sequence_number {
                let place = (number.parse().unwrap(), line.sub_sequence_number);
                self.inversions += usize::from(self.last != (0, None) && self.last >= place);
                self.last = place;
            }
            *self.lines.entry(line.message).or_default() += 1;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    message: String,
    sequence_number: Option<String>,
    sub_sequence_number: Option<u64>,
}

/// An aggregate of that many user records without data and of one long key, which JSON makes six times as long.
fn swelling(count: usize) -> Vec<u8> {
    let partition_key = &"\u{1}".repeat(kpl::PARTITION_KEY_CHARACTERS);
    let mut aggregator = kpl::Aggregator::new();
    for _ in 0..count {
        aggregator.push(&kpl::UserRecord { partition_key, explicit_hash_key: None, data: b"" }).unwrap();
    }
    aggregator.finish().unwrap()
}

#[track_caller]
fn check(entries: &[String], fails: usize, want: Result<Answer, Error>) -> Counting {
    let mut out = Counting::new(fails);
    let mut consumer = Consumer::new(ALL, Level::Info);
    let got = consumer.handle(&event(entries), &invocation(Duration::MAX), || Duration::ZERO, &mut out);
    assert_eq!(got, want);
    // Asserted here, because a panic within a record would be that record's affair.
    assert!(out.writes.saturating_sub(1) <= out.fails, "what is written behind a gap is not in order");
    assert_eq!((out.inversions, out.lines("torn")), (0, 0));
    assert!(out.largest < PIECE_BYTES + LAST_LINE, "{} bytes at once", out.largest);
    out
}

fn from(number: usize) -> Result<Answer, Error> {
    Ok(Answer::From(format!("{number:056}")))
}

#[test]
fn an_aggregate_that_swells_is_written_in_pieces_and_every_user_record_has_its_line() {
    let count = 20_000; // an eighth of what fits into 1 MiB, which takes a test as long as it is
    let data = swelling(count);
    let out =
        check(&[entry(0, b"before"), entry(1, &data), entry(2, b"behind")], usize::MAX, Ok(Answer::Done));
    assert!(out.bytes > 250 * data.len(), "{} bytes of lines from {}", out.bytes, data.len());
    assert_eq!((out.lines("record"), out.lines("summary"), out.lines.len()), (count + 2, 1, 2));
}

/// A batch of many records is bounded too, and one that is small is still one write.
#[test]
fn a_batch_is_one_write_until_it_is_large() {
    let batch = |count: usize| (0..count).map(|number| entry(number, &[b'"'; 900])).collect::<Vec<_>>();
    let one = check(&batch(1_000), usize::MAX, Ok(Answer::Done));
    assert_eq!((one.writes, one.lines("record"), one.lines("summary")), (1, 1_000, 1));
    let several = check(&batch(6_000), usize::MAX, Ok(Answer::Done));
    assert_eq!((several.lines("record"), several.lines("summary")), (6_000, 1));
    assert_eq!(several.writes, several.bytes.div_ceil(PIECE_BYTES));
}

/// What is written is handled and no more; the summary, which comes last, is not there to say otherwise.
#[test]
fn where_a_piece_cannot_be_written_the_first_record_not_wholly_written_is_reported() {
    let long = swelling(4_000); // more than a piece, less than two
    let entries = [entry(3, b"first"), entry(4, &long), entry(5, &long), entry(6, b"last")];
    for (fails, want, records) in [(0, from(3), 0..1), (1, from(4), 1..4_001), (2, from(5), 4_001..8_001)] {
        let out = check(&entries, fails, want);
        assert!(records.contains(&out.lines("record")), "{}", out.lines("record"));
        assert_eq!(out.lines("summary"), 0);
    }
    let out = check(&entries, 4, Ok(Answer::Done));
    assert_eq!((out.lines("record"), out.lines("summary")), (8_002, 1));
}

/// The lines that are out stay out; the rest is taken back, and nothing of a neighbour with it.
#[test]
fn a_panic_behind_a_piece_takes_back_only_what_is_not_written() {
    let entries = [entry(0, b"x"), entry(1, b"x"), entry(2, b"x")];
    let event = event(&entries);
    let records = records(&event, &mut Reader::default()).unwrap();
    let (mut lines, now) = (Lines::new(Level::Info), NOW.parse().unwrap());
    lines.begin(now, "r-1");
    let mut out = Counting::new(usize::MAX);
    let mut log = Log::new(&mut lines, &mut out);
    let mut seen = 0;
    let tally = each(
        &records,
        now,
        &mut log,
        || false,
        |_, log| {
            seen += 1;
            for _ in 0..if seen == 2 { PIECE_BYTES / 50 } else { 1 } {
                log.lines.push(Level::Info, "begun", |_| ());
                log.relieve()?;
            }
            assert!(seen != 2, "too much");
            Ok(Tally { packets: 1, ..Tally::default() })
        },
    );
    assert_eq!((tally.handled, tally.packets, tally.undecodable), (3, 2, 1));
    assert_eq!(log.finish().unwrap(), 3);
    let line = format!(r#"{{"timestamp":"{NOW}","level":"INFO","message":"begun"}}"#).len() + 1;
    assert_eq!((out.lines("begun"), out.lines("undecodable")), (PIECE_BYTES.div_ceil(line) + 1, 1));
}
