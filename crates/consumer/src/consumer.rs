//! One batch after the other: which records are handled, what is written, what is answered.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use function::event;
use function::lines::Lines;
use function::log::Level;
use function::metrics::Metric;
use jiff::Timestamp;
use packet::json::{Cursor, NotJson};

use crate::line::{self, Contents, Decoded, Kind};
use crate::log::{Log, Unwritten};
use crate::record::Reader;
use crate::{Answer, Error, Record, Settings, Undecodable};

/// The function, and the memory that it uses again from one invocation to the next.
#[derive(Debug)]
pub struct Consumer {
    settings: Settings,
    lines: Lines,
    records: Reader,
    data: Vec<u8>,
    contents: Contents,
    cold_start: bool,
}

/// What an invocation is told beside its event.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The function's name, under which its metrics are kept.
    pub function_name: &'a str,
    /// The invocation's id, for the summary line.
    pub request_id: &'a str,
    /// The moment at which it began, for the lines' timestamp and the records' age.
    pub now: Timestamp,
    /// How long after that moment records may still be taken up.
    pub work_time: Duration,
}

impl Consumer {
    /// A consumer whose lines below `level` are left out.
    pub fn new(settings: Settings, level: Level) -> Self {
        Self {
            settings,
            lines: Lines::new(level),
            records: Reader::default(),
            data: Vec::new(),
            contents: Contents::default(),
            cold_start: true,
        }
    }

    /// Handles the records of one event in their order and writes their lines to `out`: with one write, or where they
    /// are many megabytes with several, so that memory is bounded whatever the records hold. `elapsed` tells the time
    /// since the invocation began; it is asked before each record but the first.
    ///
    /// # Errors
    /// When the event is not one of Kinesis, and when the first record not handled cannot be reported. Then the
    /// whole batch has to come again.
    pub fn handle(
        &mut self,
        event: &str,
        invocation: &Invocation<'_>,
        elapsed: impl Fn() -> Duration,
        out: &mut impl Write,
    ) -> Result<Answer, Error> {
        let records = records(event, &mut self.records)?;
        let now = invocation.now;
        self.lines.begin(now, invocation.request_id);
        let late = || elapsed() >= invocation.work_time;
        let mut log = Log::new(&mut self.lines, out);
        let tally = each(&records, now, &mut log, late, |record, log| {
            let data = record.data(&mut self.data)?;
            decoded(record, data, now, log, &self.settings, &mut self.contents)
        });
        let cold_start = std::mem::take(&mut self.cold_start);
        summarize(log.lines, invocation, &records, &tally, elapsed(), cold_start);
        let handled = log.finish().unwrap_or_else(|(handled, why)| {
            let records = records.len();
            tracing::error!(records, handled, "the log could not be written: {why}");
            handled
        });
        answer(&records, handled)
    }
}

/// Most records of one event: no mapping gives more
/// (<https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>, `BatchSize`).
const MOST_RECORDS: usize = 10_000;

/// An entry of the event's `Records`: what could be read of it, and its text.
type Entry<'a> = (Record<'a>, &'a str);

/// The entries of the event's `Records`.
fn records<'a>(event: &'a str, reader: &mut Reader) -> Result<Vec<Entry<'a>>, Error> {
    let refused = |found| Err(Error::UnexpectedEvent { found });
    let (mut records, mut too_many) = (None, false);
    let mut cursor = Cursor::new(event);
    let read = cursor.object(|name, cursor| {
        if name != "Records" {
            return cursor.skip();
        }
        let mut entries = Vec::new();
        cursor.list(|cursor| {
            if entries.len() == MOST_RECORDS {
                // An event has room for millions of numbers: they need not all be kept to be refused.
                too_many = true;
                return Err(NotJson);
            }
            reader.next(cursor).map(|entry| entries.push(entry))
        })?;
        // Of two lists neither is taken: it cannot be known which is meant.
        if records.replace(entries).is_some() { Err(NotJson) } else { Ok(()) }
    });
    if too_many {
        return refused(format!("more than {MOST_RECORDS} of them"));
    }
    let Some(records) = read.and_then(|()| cursor.end()).ok().and(records) else {
        return refused(event::top_level_keys(event));
    };
    match records.first() {
        // One decides it, the others may be odd.
        Some((_, first)) if !records.iter().any(|(record, _)| record.is_of_kinesis) => {
            refused(format!("Records of which the first is {}", event::top_level_keys(first)))
        }
        _ => Ok(records),
    }
}

/// Adds the line of the invocation itself.
fn summarize(
    lines: &mut Lines,
    invocation: &Invocation<'_>,
    records: &[Entry<'_>],
    tally: &Tally,
    took: Duration,
    cold_start: bool,
) {
    let metrics = [
        Metric::count("Records", records.len()),
        Metric::count("Aggregates", tally.aggregates),
        Metric::count("UserRecords", tally.user_records),
        Metric::count("BrokenAggregates", tally.broken),
        Metric::count("Packets", tally.packets),
        Metric::count("NotPackets", tally.not_packets),
        Metric::count("Undecodable", tally.undecodable),
        Metric::count("Reported", records.len() - tally.handled),
        Metric::bytes("Bytes", tally.bytes),
        Metric::milliseconds("MaxAge", tally.max_age),
        Metric::milliseconds("Milliseconds", u64::try_from(took.as_millis()).ok()),
        Metric::count("ColdStart", usize::from(cold_start)),
    ];
    lines.summary(invocation.function_name, &metrics, |line| {
        if let Some(shard) = records.first().and_then(|(record, _)| record.shard.as_deref()) {
            line.text("shard", shard);
        }
    });
}

/// Why a record is not handled as it should be.
enum Unhandled {
    /// It never can be.
    Undecodable(Undecodable),
    /// Its lines could not be written: neither it nor anything behind it is handled.
    Unwritten,
}

impl From<Undecodable> for Unhandled {
    fn from(why: Undecodable) -> Self {
        Self::Undecodable(why)
    }
}

impl From<Unwritten> for Unhandled {
    fn from(Unwritten: Unwritten) -> Self {
        Self::Unwritten
    }
}

/// Logs what a record holds: each of its user records, if it is an aggregate, else itself.
fn decoded(
    record: &Record<'_>,
    data: &[u8],
    now: Timestamp,
    log: &mut Log<'_>,
    settings: &Settings,
    contents: &mut Contents,
) -> Result<Tally, Unhandled> {
    let mut tally = Tally { bytes: data.len(), ..Tally::default() };
    let whole = Decoded { record, user: None, data, now };
    match kpl::decode(data) {
        Ok(None) => tally.count(whole.log(log.lines, settings, contents)),
        Ok(Some(aggregate)) => {
            tally.aggregates = 1;
            for (number, user) in aggregate.records().enumerate() {
                let user = Decoded { user: Some((number, user.partition_key)), data: user.data, ..whole };
                tally.count(user.log(log.lines, settings, contents));
                tally.user_records += 1;
                log.relieve()?;
            }
        }
        Err(why) => {
            whole.broken(log.lines, &why);
            tally.broken = 1;
            tally.count(Kind::NotPacket);
        }
    }
    Ok(tally)
}

/// Handles each record, until it gets late or the log takes no more, and counts. A panic in handling one is that
/// record's affair: its half-written lines are taken back, but for those that are out already, and it is logged whole.
/// `handle` gives what the record turned out to hold.
fn each(
    records: &[Entry<'_>],
    now: Timestamp,
    log: &mut Log<'_>,
    late: impl Fn() -> bool,
    mut handle: impl FnMut(&Record<'_>, &mut Log<'_>) -> Result<Tally, Unhandled>,
) -> Tally {
    let mut tally = Tally::default();
    for (record, raw) in records {
        if tally.handled > 0 && late() {
            break;
        }
        match catch_unwind(AssertUnwindSafe(|| handle(record, log))) {
            Ok(Ok(more)) => tally.add(&more),
            Ok(Err(Unhandled::Unwritten)) => break,
            Ok(Err(Unhandled::Undecodable(why))) => {
                line::undecodable(log.lines, record, raw, &why);
                tally.undecodable += 1;
            }
            Err(panic) => {
                log.take_back();
                let why = Undecodable::panicked(&*panic);
                line::undecodable(log.lines, record, raw, &why);
                tally.undecodable += 1;
            }
        }
        tally.handled += 1;
        tally.max_age = tally.max_age.max(record.age(now));
        if log.end_record().is_err() {
            break;
        }
    }
    tally
}

fn answer(records: &[Entry<'_>], handled: usize) -> Result<Answer, Error> {
    let Some((record, _)) = records.get(handled) else { return Ok(Answer::Done) };
    match record.sequence_number.as_deref() {
        // An empty identifier would fail the batch without saying why.
        Some(number) if !number.is_empty() => Ok(Answer::From(number.to_owned())),
        _ => Err(Error::Unreportable { index: handled, records: records.len() }),
    }
}

/// What became of the records handled so far.
#[derive(Debug, Default)]
struct Tally {
    /// Records of the event that are done, whatever they hold.
    handled: usize,
    packets: usize,
    not_packets: usize,
    undecodable: usize,
    aggregates: usize,
    /// What was in the aggregates; each is a packet or none.
    user_records: usize,
    /// Records that only say they are aggregates; they are no packets.
    broken: usize,
    bytes: usize,
    max_age: Option<u64>,
}

impl Tally {
    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Packet => self.packets += 1,
            Kind::NotPacket => self.not_packets += 1,
        }
    }

    /// Adds what one record held.
    fn add(&mut self, record: &Self) {
        self.packets += record.packets;
        self.not_packets += record.not_packets;
        self.aggregates += record.aggregates;
        self.user_records += record.user_records;
        self.broken += record.broken;
        self.bytes += record.bytes;
    }
}

#[cfg(test)]
mod tests;
