//! Packets to records, and back to an account of every packet.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use function::deadline::queue_time;
use function::lines::Lines;
use function::log::Level;
use function::metrics::Metric;
use jiff::Timestamp;
use packet::{KeyOutcome, Packet, PayloadError, Replies, random_key};
use writer::{Class, PutRecords, Record, Report, StreamId};

use crate::answer::{Answer, Cause, Error, Fate, Undelivered};
use crate::input::{self, Caller, Entry, Request};
use crate::queue::{self, MESSAGE_BYTES, Message, SendMessages, Sqs};
use crate::settings::Settings;

/// The producer: its settings, the stream it writes to, the queue for what is undelivered, and the level of its log.
#[derive(Debug)]
pub struct Producer<S, Q = Sqs> {
    settings: Settings,
    stream: S,
    queue: Option<Q>,
    level: Level,
    warm: AtomicBool,
}

/// What surrounds one invocation.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The function's name, for its metrics.
    pub function_name: &'a str,
    /// The invocation's id.
    pub request_id: &'a str,
    /// The time at its start.
    pub now: Timestamp,
    /// How long writing may take.
    pub work_time: Duration,
}

/// What was noticed while keys were made.
#[derive(Debug, Default)]
struct Keys {
    random: usize,
    cut: usize,
    undecodable: usize,
}

impl<S> Producer<S> {
    /// A producer that has not been invoked, and has no queue.
    pub fn new(settings: Settings, stream: S, level: Level) -> Self {
        Self { settings, stream, queue: None, level, warm: AtomicBool::new(false) }
    }

    /// The same with this queue for undelivered packets; with none they go to the log.
    pub fn with_queue<Q>(self, queue: Option<Q>) -> Producer<S, Q> {
        let Self { settings, stream, level, warm, .. } = self;
        Producer { settings, stream, queue, level, warm }
    }
}

impl<S: PutRecords, Q: SendMessages> Producer<S, Q> {
    /// One invocation: reads the event, writes its packets, accounts for each, and writes the log to `out` with one
    /// write.
    ///
    /// # Errors
    /// An event that is none of ours, or packets undelivered that the caller should give again.
    pub async fn handle(
        &self,
        event: &str,
        invocation: &Invocation<'_>,
        out: &mut impl Write,
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        let room = input::Room::default();
        let input = match input::read(event, invocation.now, || random_key(fastrand::u128(..)), &room)? {
            Request::Write(input) => input,
            Request::Refuse(refusal) => return Ok(Answer::refusal(&refusal)),
        };
        let entries = input.entries;
        let mut keys = Keys::default();
        // Positions in `entries` of what can be written, beside the records themselves.
        let mut positions = Vec::with_capacity(entries.len());
        let mut records = Vec::with_capacity(entries.len());
        let mut scratch = Vec::new();
        for (position, entry) in entries.iter().enumerate() {
            if let Ok(packet) = &entry.packet {
                let partition_key = self.partition_key(packet, &mut scratch, &mut keys);
                records.push(Record::new(partition_key, packet.raw().as_bytes()));
                positions.push(position);
            }
        }
        let until = started + invocation.work_time;
        let limits = self.settings.limits;
        let report = match self.settings.aggregation {
            None => writer::put(&self.stream, &records, limits, until).await,
            Some(aggregation) => {
                writer::put_aggregated(&self.stream, &records, aggregation, limits, until).await
            }
        };
        let effort = report.effort;
        let mut fates = fates(&entries, &positions, report);

        let mut lines = Lines::new(self.level);
        lines.begin(invocation.now, invocation.request_id);
        let mut partition_keys = vec![None; entries.len()];
        for (&position, record) in positions.iter().zip(&records) {
            partition_keys[position] = Some(record.partition_key.as_str());
        }
        let until = started + queue_time(invocation.work_time, log_bytes(&entries, &fates));
        let queued = self.queue(&entries, &partition_keys, &mut fates, until, &mut lines).await;
        let undelivered = fates.iter().filter_map(Fate::undelivered).count();
        for ((entry, fate), partition_key) in entries.iter().zip(&fates).zip(partition_keys) {
            if let Some(why) = fate.undelivered().filter(|why| !why.queued) {
                log_undelivered(&mut lines, entry, partition_key, why);
            }
        }
        let replies = self.replies(&entries, &fates, &mut scratch);
        lines.summary(
            invocation.function_name,
            &[
                Metric::count("Packets", entries.len()),
                Metric::count("Acknowledged", entries.len() - undelivered),
                Metric::count("Undelivered", undelivered),
                Metric::count("Queued", queued),
                Metric::bytes("Bytes", entries.iter().map(|entry| entry.raw.len()).sum()),
                Metric::count("Replies", replies.len()),
                Metric::count("RandomKeys", keys.random),
                Metric::count("CutKeys", keys.cut),
                Metric::count("UndecodablePayloads", keys.undecodable),
                Metric::count("Records", whole(effort.records)),
                Metric::count("Requests", whole(effort.requests)),
                Metric::count("Retries", whole(effort.retries)),
                Metric::count("Throttled", whole(effort.throttled)),
                Metric::count("PossibleDuplicates", whole(effort.possible_duplicates)),
                Metric::milliseconds("Milliseconds", u64::try_from(started.elapsed().as_millis()).ok()),
                Metric::count("ColdStart", usize::from(!self.warm.swap(true, Ordering::Relaxed))),
            ],
            |_| (),
        );
        let logged = lines.write_to(out);
        self.end(input.caller, &entries, fates, replies, logged.is_ok())
    }

    /// The partition key of a packet, and a note of what is odd about it.
    fn partition_key(&self, packet: &Packet<'_>, scratch: &mut Vec<u8>, keys: &mut Keys) -> String {
        let Some(expression) = &self.settings.key else { return random_key(fastrand::u128(..)) };
        let payload: Option<Result<&[u8], PayloadError>> =
            expression.reads_payload().then(|| packet.payload(scratch));
        keys.undecodable += usize::from(matches!(payload, Some(Err(_))));
        let payload = payload.and_then(Result::ok);
        let mut key = String::new();
        match expression.key(self.settings.key_formatter, packet, payload, &mut key) {
            KeyOutcome::Given { cut } => {
                keys.cut += usize::from(cut);
                key
            }
            KeyOutcome::NoValue | KeyOutcome::Empty | KeyOutcome::Undecodable => {
                keys.random += 1;
                random_key(fastrand::u128(..))
            }
        }
    }

    /// Gives what is undelivered to the queue, if there is one; notes what it took, and says in the log how many that
    /// is, how many it did not take, and why.
    async fn queue(
        &self,
        entries: &[Entry<'_>],
        partition_keys: &[Option<&str>],
        fates: &mut [Fate],
        until: Instant,
        lines: &mut Lines,
    ) -> usize {
        let Some(queue) = &self.queue else { return 0 };
        let StreamId { name, arn } = &self.settings.stream;
        let stream = arn.as_deref().or(name.as_deref()).unwrap_or_default();
        let (mut undelivered, mut bodies, mut too_large) = (Vec::new(), Vec::new(), 0);
        for ((entry, fate), &partition_key) in entries.iter().zip(fates).zip(partition_keys) {
            let Fate::Undelivered(why) = fate else { continue };
            let body = serde_json::from_str(entry.raw).ok().and_then(|packet| {
                let (reason, attempts, may_be_stored) = (why.reason(), why.attempts, why.may_be_stored);
                Message { stream, partition_key, reason, attempts, may_be_stored, packet }.body()
            });
            match body {
                Some(body) => {
                    undelivered.push(why);
                    bodies.push(body);
                }
                None => too_large += 1,
            }
        }
        let delivery = queue::deliver(queue, &bodies, until.into()).await;
        for (why, &taken) in undelivered.iter_mut().zip(&delivery.taken) {
            why.queued = taken;
        }
        let (queued, refused): (Vec<_>, Vec<_>) = undelivered.into_iter().partition(|why| why.queued);
        let mut warn = |message, packets, reason: String| {
            if packets > 0 {
                lines.push(Level::Warn, message, |line| {
                    line.number("packets", packets);
                    line.text("reason", &reason);
                });
            }
        };
        warn("queued", queued.len(), queued.first().map_or_else(String::new, |why| why.reason()));
        let too_late = || "NotSent: the time for the queue was over before the packet's turn came".to_owned();
        warn(
            "not queued",
            refused.len(),
            delivery.refusal.map_or_else(too_late, |refusal| refusal.to_string()),
        );
        warn(
            "not queued",
            too_large,
            format!("MessageTooLarge: a message has at most {MESSAGE_BYTES} bytes"),
        );
        queued.len()
    }

    /// The replies to acknowledged packets; one that cannot be made or sent is left out.
    fn replies(&self, entries: &[Entry<'_>], fates: &[Fate], scratch: &mut Vec<u8>) -> Replies {
        let mut replies = Replies::default();
        let Some(expression) = &self.settings.reply else { return replies };
        let mut reply = Vec::new();
        for (entry, fate) in entries.iter().zip(fates) {
            let (Ok(packet), Fate::Acknowledged { .. }) = (&entry.packet, fate) else { continue };
            let Ok(format) = packet.format() else { continue };
            let Ok(payload) = packet.payload(scratch) else { continue };
            if let Some(bytes) = expression.bytes(payload, &mut reply) {
                // A packet without a tag, or in a format that cannot be written, gets none.
                let _ = replies.push(packet.tag(), format, bytes);
            }
        }
        replies
    }

    /// The answer; or a failure, where it makes the caller give the packets again and would cost no one a reply.
    fn end(
        &self,
        caller: Caller,
        entries: &[Entry<'_>],
        fates: Vec<Fate>,
        replies: Replies,
        logged: bool,
    ) -> Result<Answer, Error> {
        let lost: Vec<_> = fates.iter().filter_map(Fate::undelivered).filter(|why| !why.queued).collect();
        let mendable = lost.iter().any(|why| why.cause.can_be_mended_by_time());
        let answers_count = matches!(caller, Caller::Http(_)) || self.settings.reply.is_some();
        // Where even the log failed, failing is all that is left to say that packets are undelivered.
        if let Some(first) = lost.first().filter(|_| !logged || (mendable && !answers_count)) {
            let (undelivered, given, first) = (lost.len(), fates.len(), first.reason());
            return Err(Error::UndeliveredPackets { undelivered, given, first });
        }
        let packets: Vec<_> = entries.iter().map(Entry::tag).zip(fates).collect();
        Ok(Answer::new(caller, &replies.into_json(), &packets))
    }
}

impl Fate {
    fn undelivered(&self) -> Option<&Undelivered> {
        match self {
            Self::Acknowledged { .. } => None,
            Self::Undelivered(why) => Some(why),
        }
    }
}

impl Undelivered {
    fn reason(&self) -> String {
        format!("{}: {}", self.code, self.message)
    }
}

/// The fate of every entry: what the writer reports of those that were written, and of the others that they are none.
fn fates(entries: &[Entry<'_>], positions: &[usize], report: Report) -> Vec<Fate> {
    let mut fates: Vec<_> = entries.iter().map(|_| None).collect();
    for record in report.acknowledged {
        let (shard_id, sequence_number) = (record.shard_id, record.sequence_number);
        fates[positions[record.record]] = Some(Fate::Acknowledged { shard_id, sequence_number });
    }
    for record in report.undelivered {
        fates[positions[record.record]] = Some(Fate::Undelivered(Undelivered {
            code: record.reason.code.clone(),
            message: record.reason.message.clone(),
            attempts: record.attempts,
            may_be_stored: record.may_be_stored,
            cause: match record.reason.class {
                Class::TooLarge => Cause::TooLarge,
                Class::Refused => Cause::Hopeless,
                Class::Fatal => Cause::Fatal,
                Class::Throttled | Class::Failed | Class::TimedOut | Class::Broken => Cause::Passing,
            },
            queued: false,
        }));
    }
    let without_report = |entry: &Entry<'_>| {
        let message = match &entry.packet {
            Ok(_) => "the writer gave no account of the packet".to_owned(),
            Err(why) => why.to_string(),
        };
        let (code, cause) = ("NotAPacket".to_owned(), Cause::Hopeless);
        let (attempts, may_be_stored, queued) = (0, false, false);
        Fate::Undelivered(Undelivered { code, message, attempts, may_be_stored, cause, queued })
    };
    let fates = fates.into_iter().zip(entries);
    fates.map(|(fate, entry)| fate.unwrap_or_else(|| without_report(entry))).collect()
}

/// About how long the log becomes if no queue takes what is undelivered.
fn log_bytes(entries: &[Entry<'_>], fates: &[Fate]) -> usize {
    const AROUND: usize = 300; // a packet's line has this much besides the packet, its quotes escaped
    let undelivered = entries.iter().zip(fates).filter(|(_, fate)| fate.undelivered().is_some());
    undelivered.map(|(entry, _)| AROUND + entry.raw.len() * 5 / 4).sum()
}

fn log_undelivered(lines: &mut Lines, entry: &Entry<'_>, partition_key: Option<&str>, why: &Undelivered) {
    lines.whole(Level::Error, "undelivered", entry.raw.as_bytes(), |line| {
        // A tag longer than any gateway's would be repeated on every part of a long entry; the packet holds it anyway.
        if let Some(tag) = entry.tag().filter(|tag| tag.len() <= 256) {
            line.raw("tag", tag);
        }
        if let Some(partition_key) = partition_key {
            line.text("partitionKey", partition_key);
        }
        line.text("code", &why.code);
        line.text("reason", &why.message);
        line.number("attempts", why.attempts);
        line.truth("mayBeStored", why.may_be_stored);
    });
}

fn whole(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
