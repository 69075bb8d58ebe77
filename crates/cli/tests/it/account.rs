//! One run of `rivulet up` under faults: batches go in, by HTTP one after the other or as asynchronous invocations, and in
//! the end the answers, the stream, the queue and the log have to agree on every packet.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::rivulet::{Up, changed_template, post};
use crate::stream::{Changes, Resharder, Stored, Stream};

/// Keys over which the packets of a run go.
pub(crate) const KEYS: u32 = 256;

/// Packets of these runs that fit into one aggregate with the default of `AGGREGATE_BYTES`, 25,600 bytes: each takes
/// about half a hundred.
const IN_ONE_AGGREGATE: u32 = 250;

/// How often a run asks for a change of its shards, where it is to: not more than ten resizes a day are to be had
/// (Kinesis API, `UpdateShardCount`), and every third change is one.
const CHANGES: u32 = 24;

/// Longest wait for one more line of the log: longer than the mapping's longest pause.
const LOG_PATIENCE: Duration = Duration::from_secs(20);

/// How often to look into the queue while there is none.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A run to be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Packets in all.
    pub(crate) packets: u32,
    /// Packets of a batch, by turns.
    pub(crate) batches: [u32; 2],
    /// Whether shards are split, merged and resized meanwhile.
    pub(crate) reshards: bool,
    /// The arguments of `rivulet up`, faults included.
    pub(crate) arguments: &'static str,
    /// Who invokes the producer.
    pub(crate) caller: Caller,
}

/// How batches come to the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// By HTTP: each waits for the answer to the one before.
    Http,
    /// As asynchronous invocations, which Lambda tries again.
    Asynchronous,
}

/// What became of one packet, as its caller was told.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    Acknowledged {
        shard: String,
        sequence_number: String,
    },
    Undelivered,
    /// Its invocation was killed.
    Abandoned,
    /// Lambda has taken its event over.
    Kept,
    /// The answer does not tell.
    Silent,
}

/// What the records of the stream come to.
#[derive(Default)]
struct InStream {
    /// Packets and where they stand: shard, sequence number, number.
    places: HashSet<(String, String, u32)>,
    /// The packets' numbers in the order of the stream, shard by shard.
    numbers: Vec<u32>,
    distinct: HashSet<u32>,
    /// Records of which every packet had been there before.
    repeated: u64,
    /// Records of one packet, and of several.
    single: u32,
    several: u32,
    /// Packets whose key went under another partition key before.
    moved: u32,
}

/// What the functions' log said.
#[derive(Default)]
struct Log {
    lines: usize,
    torn: u32,
    /// Packets in the order of their lines.
    logged: Vec<u32>,
    distinct: HashSet<u32>,
    /// Packets that came back whole because no queue took them.
    undelivered: HashSet<u32>,
    requests: u64,
    possible_duplicates: u64,
    consumer_invocations: u64,
    /// Producers that ended while they had an event.
    killed_producers: u64,
}

/// A fault of a run: how often it happened, and how often it could be expected to.
struct Fired {
    name: &'static str,
    times: u64,
    expected: f64,
}

/// What a run came to.
pub(crate) struct Account {
    plan: Plan,
    took: Duration,
    acknowledged: u32,
    undelivered: u32,
    abandoned: u32,
    /// Packets of asynchronous events, and those of them that are in the queue.
    kept: u32,
    queued: usize,
    /// Those that are neither in the queue nor whole in the log.
    nowhere: usize,
    silent: u32,
    lost: u32,
    inversions: u32,
    duplicates: usize,
    in_stream: InStream,
    changes: Changes,
    unlogged: usize,
    log_inversions: u32,
    log: Log,
    fired: Vec<Fired>,
    ended_well: bool,
    tally_agrees: bool,
    /// What the tally has received and not accounted for.
    balance: i64,
}

impl Plan {
    /// Makes the run.
    pub(crate) fn run(&self) -> Account {
        let mut arguments: Vec<_> = self.arguments.split_whitespace().collect();
        // Each batch takes all the time that its producer has.
        let template = self.is_dead().then(|| changed_template("Timeout: 20", "Timeout: 3"));
        if let Some(template) = &template {
            arguments.extend(["--template", template.path().to_str().unwrap()]);
        }
        let up = Up::start(&arguments);
        let started = Instant::now();
        let mut fates = Vec::with_capacity(self.packets as usize);
        let resharder = self.reshards.then(|| Resharder::of(Stream::of(&up)));
        let (mut changes_asked, mut batches) = (0, self.batches.into_iter().cycle());
        while let Some(first) = u32::try_from(fates.len()).ok().filter(|first| *first < self.packets) {
            if let Some(resharder) =
                resharder.as_ref().filter(|_| first >= changes_asked * self.packets / CHANGES)
            {
                resharder.change();
                changes_asked += 1;
            }
            let numbers = first..(first + batches.next().unwrap()).min(self.packets);
            fates.extend(match self.caller {
                Caller::Http => send(&up, numbers),
                Caller::Asynchronous => hand_over(&up, numbers),
            });
        }
        let took = started.elapsed();
        let changes = resharder.map(Resharder::stop).unwrap_or_default();
        let awaited = positions(&fates, |fate| matches!(fate, Fate::Acknowledged { .. } | Fate::Kept));
        let (mut log, mut queued, mut idle) = (Log::default(), HashSet::new(), Duration::ZERO);
        let missing = |log: &Log, queued: &HashSet<u32>| {
            awaited.iter().filter(|number| !log.distinct.contains(number) && !queued.contains(number)).count()
        };
        while missing(&log, &queued) > 0 && idle < LOG_PATIENCE {
            let more = up.log_after(log.lines, LOOK_EVERY);
            idle = if more.is_empty() { idle + LOOK_EVERY } else { Duration::ZERO };
            log.read(&more);
            if self.caller == Caller::Asynchronous {
                queued.extend(packets_in(&up.receive_all().0));
            }
        }
        if self.is_dead() {
            queued.extend(packets_in(&up.receive_all().0));
        }
        let unlogged = missing(&log, &queued);
        let in_stream = InStream::of(&Stream::of(&up).read());
        let (status, lines, said) = up.stop_plainly();
        log.read(&lines[log.lines..]);

        let abandoned = positions(&fates, |fate| *fate == Fate::Abandoned);
        let is_lost = |(number, fate): (u32, &Fate)| match fate {
            Fate::Acknowledged { shard, sequence_number } => {
                !in_stream.places.contains(&(shard.clone(), sequence_number.clone(), number))
            }
            Fate::Kept => !in_stream.distinct.contains(&number) && !queued.contains(&number),
            Fate::Undelivered | Fate::Abandoned | Fate::Silent => false,
        };
        // What a killed invocation had sent belongs to nobody's order.
        let awaited = |number: &u32| !abandoned.contains(number);
        let count = |wanted: fn(&Fate) -> bool| number(fates.iter().filter(|fate| wanted(fate)).count());
        let fired = self.fired(&said, &log, &in_stream, queued.len());
        let kills =
            fired.iter().find(|fired| fired.name == "--kill-functions").map_or(0, |fired| fired.times);
        let acknowledged = count(|fate| matches!(fate, Fate::Acknowledged { .. }));
        Account {
            plan: self.clone(),
            took,
            acknowledged,
            undelivered: count(|fate| *fate == Fate::Undelivered),
            abandoned: number(abandoned.len()),
            kept: count(|fate| *fate == Fate::Kept),
            nowhere: fates.len() - queued.union(&log.undelivered).count(),
            queued: queued.len(),
            silent: count(|fate| *fate == Fate::Silent),
            lost: number((0..).zip(&fates).filter(|packet| is_lost(*packet)).count()),
            inversions: inversions(in_stream.numbers.iter().copied().filter(awaited)),
            duplicates: in_stream.numbers.len() - in_stream.distinct.len(),
            in_stream,
            changes,
            unlogged,
            log_inversions: inversions(log.logged.iter().copied().filter(awaited)),
            fired,
            ended_well: status.success(),
            // A killed producer may have counted packets of which its caller never heard.
            balance: balance(&said),
            tally_agrees: tally(&said, "received") == Some(self.packets.into())
                && (kills > 0 || tally(&said, "acknowledged") == Some(acknowledged.into())),
            log,
        }
    }

    /// The value of an argument, if it is given.
    fn value(&self, name: &str) -> Option<f64> {
        let mut words = self.arguments.split_whitespace().skip_while(|word| *word != name);
        words.next()?;
        Some(words.next().and_then(|value| value.parse().ok()).unwrap_or(1.0))
    }

    /// Whether the stream takes nothing.
    fn is_dead(&self) -> bool {
        self.value("--fail-requests") == Some(1.0)
    }

    fn is_aggregated(&self) -> bool {
        self.arguments.contains("RecordFormat=kpl")
    }

    fn is_strict(&self) -> bool {
        self.arguments.contains("Ordering=strict")
    }

    /// Whether every key is to be in order: also under relaxed ordering where no request holds two records of a key.
    fn keeps_order(&self) -> bool {
        let one_aggregate =
            self.is_aggregated() && self.batches.iter().all(|batch| *batch <= IN_ONE_AGGREGATE);
        self.is_strict() || one_aggregate
    }

    fn fired(&self, said: &str, log: &Log, in_stream: &InStream, queued: usize) -> Vec<Fired> {
        let packets = f64::from(self.packets);
        let batches = packets * 2.0 / f64::from(self.batches[0] + self.batches[1]);
        // What a killed producer sent is not in its log.
        let requests = float(log.requests).max(batches);
        let chances = [
            // How many are too many depends on the machine's speed.
            ("--throttle", packets / 100.0),
            ("--fail-entries", f64::from(in_stream.single + in_stream.several)),
            ("--fail-requests", requests),
            // How many messages there is time for depends on the machine's speed.
            ("--fail-queue", float(queued as u64)),
            ("--reset-before", requests),
            ("--reset-after", requests),
            ("--kill-functions", batches + float(log.consumer_invocations)),
        ];
        let fired = chances.into_iter().filter_map(|(name, chances)| {
            let expected = chances * self.value(name)?;
            Some(Fired { name, times: tally(said, &name[2..]).unwrap_or_default(), expected })
        });
        let known = |word: &str| !word.starts_with("--fail") || chances.iter().any(|(name, _)| *name == word);
        assert!(self.arguments.split_whitespace().all(known), "a fault of which nothing is expected");
        let latency = self.value("--latency").map(|_| Fired {
            name: "--latency",
            times: tally(said, "latency").unwrap_or_default(),
            expected: requests,
        });
        fired.chain(latency).collect()
    }
}

impl Account {
    /// Every line that has to hold, and whether it does.
    pub(crate) fn lines(&self) -> Vec<(String, bool)> {
        let told = self.acknowledged + self.undelivered + self.abandoned + self.kept;
        let resets = self.times("--reset-after");
        let kills = self.times("--kill-functions");
        let stream = &self.in_stream;
        let mut lines = vec![
            ("the run ends well".to_owned(), self.ended_well),
            ("its tally says what its callers heard".to_owned(), self.tally_agrees),
            (
                format!("silent {}: no word on them", self.silent),
                self.silent == 0 && told == self.plan.packets,
            ),
            (
                format!("lost {}: acknowledged and not in the stream, or kept and nowhere", self.lost),
                self.lost == 0,
            ),
            (
                format!("balance {}: received and not accounted for in the tally", self.balance),
                self.balance == 0,
            ),
            (
                format!("duplicates {}: only behind broken answers", self.duplicates),
                self.duplicates == 0 || resets + kills > 0,
            ),
            (
                format!(
                    "repeated {} of {} records that may be",
                    stream.repeated, self.log.possible_duplicates
                ),
                stream.repeated <= self.log.possible_duplicates || kills > 0,
            ),
            (format!("moved {}: under another partition key than before", stream.moved), stream.moved == 0),
            (format!("unlogged {}: acknowledged and not in the log", self.unlogged), self.unlogged == 0),
            (
                format!(
                    "logged {} of {} in the stream: more only behind killed consumers",
                    self.log.logged.len(),
                    stream.numbers.len()
                ),
                self.log.logged.len() <= stream.numbers.len() || self.killed_consumers() > 0,
            ),
            (
                format!("torn {}: lines cut short, only where functions were killed", self.log.torn),
                self.log.torn == 0 || kills > 0,
            ),
        ];
        if self.kept > 0 {
            let words = format!("kept {} by Lambda, of them {} in the queue", self.kept, self.queued);
            lines.push((words, self.killed_producers() > 0));
        } else {
            let killed = self.killed_producers();
            let words = format!("abandoned {}: by {killed} of {kills} killed", self.abandoned);
            lines.push((words, killed <= kills && (self.abandoned == 0 || killed > 0)));
        }
        if self.plan.is_dead() {
            let logged = self.log.undelivered.len();
            let words = format!(
                "undelivered {}: {} in the queue, {logged} whole in the log, {} in neither",
                self.undelivered, self.queued, self.nowhere
            );
            let holds = self.nowhere == 0 && self.queued > 0 && self.undelivered == self.plan.packets;
            lines.push((words, holds && (self.queued + logged) as u64 == u64::from(self.plan.packets)));
        } else {
            let words = format!("undelivered {}: time and capacity were enough", self.undelivered);
            lines.push((words, self.undelivered == 0));
        }
        if self.plan.is_aggregated() {
            let InStream { single, several, .. } = stream;
            let words = format!("aggregates: {single} of one packet, {several} of several");
            lines.push((words, *single > 0 && *several > 0));
        } else {
            let words = format!("aggregates {}: none were asked for", stream.several);
            lines.push((words, stream.several == 0));
        }
        if self.plan.reshards {
            let Changes { splits, merges, resizes } = self.changes;
            let words = format!("reshards: {splits} splits, {merges} merges, {resizes} resizes");
            lines.push((words, splits > 0 && merges > 0 && resizes > 0));
        }
        if self.kept == 0 && self.plan.keeps_order() {
            lines.push((format!("inversions {} in the stream", self.inversions), self.inversions == 0));
            lines.push((format!("inversions {} in the log", self.log_inversions), self.log_inversions == 0));
        }
        for Fired { name, times, expected } in &self.fired {
            let words = format!("{name} fired {times} times, expected {expected:.0}");
            lines.push((words, *times > 0 && float(*times) >= expected / 2.0));
        }
        lines
    }

    /// How often a fault happened.
    pub(crate) fn times(&self, name: &str) -> u64 {
        self.fired.iter().find(|fired| fired.name == name).map_or(0, |fired| fired.times)
    }

    /// Records of one packet, and of several.
    pub(crate) fn aggregates(&self) -> (u32, u32) {
        (self.in_stream.single, self.in_stream.several)
    }

    /// How many of the killed were producers.
    pub(crate) fn killed_producers(&self) -> u64 {
        self.log.killed_producers
    }

    /// How many of the killed were consumers.
    pub(crate) fn killed_consumers(&self) -> u64 {
        self.times("--kill-functions").saturating_sub(self.killed_producers())
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let Plan { packets, arguments, .. } = self.plan;
        let rate = f64::from(packets) / seconds;
        writeln!(f, "{packets} packets over {KEYS} keys, rivulet up {arguments}")?;
        writeln!(
            f,
            "  {seconds:.1} s, {rate:.0} a second; acknowledged {}, {} requests, inversions {}, logged {} lines, \
             consumers killed {}, producers {}",
            self.acknowledged,
            self.log.requests,
            self.inversions,
            self.log.logged.len(),
            self.killed_consumers(),
            self.killed_producers()
        )?;
        for (line, holds) in self.lines() {
            writeln!(f, "  {} {line}", if holds { "ok    " } else { "FAILED" })?;
        }
        Ok(())
    }
}

fn batch(numbers: std::ops::Range<u32>) -> Vec<u8> {
    let packet =
        |number: u32| json!({ "Tag": number.to_string(), "Data": BASE64_STANDARD.encode(payload(number)) });
    json!({ "Messages": numbers.map(packet).collect::<Vec<_>>() }).to_string().into_bytes()
}

/// Hands a batch over as an asynchronous event.
fn hand_over(up: &Up, numbers: std::ops::Range<u32>) -> Vec<Fate> {
    let (status, _) = up.invoke("producer", "Event", &batch(numbers.clone()));
    numbers.map(|_| if status == 202 { Fate::Kept } else { Fate::Silent }).collect()
}

/// The packets of events that were given up, and of undelivered ones, from messages of the queue.
fn packets_in(messages: &[Value]) -> Vec<u32> {
    let given_up = messages.iter().filter_map(|message| message["requestPayload"]["Messages"].as_array());
    let packets = given_up.flatten().chain(messages.iter().map(|message| &message["Packet"]));
    packets.filter_map(|packet| number_in(packet["Data"].as_str()?)).collect()
}

/// Sends a batch and reads what its answer says of each packet.
fn send(up: &Up, numbers: std::ops::Range<u32>) -> Vec<Fate> {
    let (status, answer) = post(up.http, &[("Content-Type", "application/json")], &batch(numbers.clone()));
    let fate = |number: u32| {
        let record = &answer["Records"][(number - numbers.start) as usize];
        match (record["ShardId"].as_str(), record["SequenceNumber"].as_str(), record["ErrorCode"].as_str()) {
            _ if status == 502 => Fate::Abandoned,
            _ if record["Tag"].as_str().and_then(|tag| tag.parse().ok()) != Some(number) => Fate::Silent,
            (Some(shard), Some(sequence_number), None) => {
                Fate::Acknowledged { shard: shard.to_owned(), sequence_number: sequence_number.to_owned() }
            }
            (_, _, Some(_)) => Fate::Undelivered,
            _ => Fate::Silent,
        }
    };
    numbers.clone().map(fate).collect()
}

impl InStream {
    fn of(records: &[Stored]) -> Self {
        let (mut these, mut keys) = (Self::default(), HashMap::new());
        for record in records {
            let mut is_new = false;
            for packet in &record.packets {
                let number = packet_number(packet).unwrap();
                is_new |= these.distinct.insert(number);
                these.numbers.push(number);
                these.places.insert((record.shard.clone(), record.sequence_number.clone(), number));
                let known = keys.entry(key(number)).or_insert(&record.partition_key);
                these.moved += u32::from(*known != &record.partition_key);
            }
            these.repeated += u64::from(!is_new);
            *if record.packets.len() == 1 { &mut these.single } else { &mut these.several } += 1;
        }
        these
    }
}

impl Log {
    /// Reads further lines. One that is no JSON was cut short by the end of its process.
    fn read(&mut self, lines: &[String]) {
        self.lines += lines.len();
        for line in lines {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                self.torn += 1;
                continue;
            };
            match line["message"].as_str() {
                Some("packet") => {
                    let number = line["base64"].as_str().and_then(number_in);
                    self.logged.extend(number);
                    self.distinct.extend(number);
                }
                Some("undelivered") => {
                    let packet: Value = serde_json::from_str(line["text"].as_str().unwrap()).unwrap();
                    self.undelivered.extend(packet["Data"].as_str().and_then(number_in));
                }
                Some("summary") if line["Requests"].is_u64() => {
                    self.requests += line["Requests"].as_u64().unwrap_or_default();
                    self.possible_duplicates += line["PossibleDuplicates"].as_u64().unwrap_or_default();
                }
                Some("summary") => self.consumer_invocations += 1,
                _ if line["errorType"] == "Runtime.ExitError" && line["function"] == "producer" => {
                    self.killed_producers += 1;
                }
                _ => {}
            }
        }
    }
}

/// The key of a packet: spread, so that a batch holds some keys several times and others not at all.
fn key(number: u32) -> u32 {
    let mixed = (number ^ 0x9E37_79B9).wrapping_mul(0x85EB_CA6B);
    ((mixed ^ (mixed >> 15)).wrapping_mul(0xC2B2_AE35) >> 16) % KEYS
}

/// What a packet carries: its key, of which the template makes its partition key, and its number.
fn payload(number: u32) -> [u8; 8] {
    let mut payload = [0; 8];
    payload[..4].copy_from_slice(&key(number).to_be_bytes());
    payload[4..].copy_from_slice(&number.to_be_bytes());
    payload
}

fn packet_number(packet: &[u8]) -> Option<u32> {
    let packet: Value = serde_json::from_slice(packet).ok()?;
    number_in(packet["Data"].as_str()?)
}

fn number_in(base64: &str) -> Option<u32> {
    let payload = BASE64_STANDARD.decode(base64).ok()?;
    let number = u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?);
    (payload == self::payload(number)).then_some(number)
}

/// How many packets appear, for the first time, behind a later one of their key.
fn inversions(numbers: impl Iterator<Item = u32>) -> u32 {
    let (mut seen, mut last, mut inversions) = (HashSet::new(), HashMap::new(), 0);
    for number in numbers.filter(|number| seen.insert(*number)) {
        let last = last.entry(key(number)).or_insert(number);
        inversions += u32::from(number < *last);
        *last = number.max(*last);
    }
    inversions
}

/// The numbers of the packets whose fate is as wanted.
fn positions(fates: &[Fate], wanted: impl Fn(&Fate) -> bool) -> HashSet<u32> {
    (0..).zip(fates).filter(|(_, fate)| wanted(fate)).map(|(number, _)| number).collect()
}

/// A count that the command gave at its end.
fn tally(said: &str, name: &str) -> Option<u64> {
    let mut rows = said.lines().rev().map(str::split_whitespace);
    rows.find_map(|mut row| (row.next()? == name).then(|| row.next()?.parse().ok())?)
}

/// What was given to producers, less what is told of it.
fn balance(said: &str) -> i64 {
    let count = |name| i64::try_from(tally(said, name).unwrap()).unwrap();
    count("received") + count("repeated")
        - count("acknowledged")
        - count("undelivered")
        - count("abandoned")
        - count("unfinished")
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn float(count: u64) -> f64 {
    count as f64
}
