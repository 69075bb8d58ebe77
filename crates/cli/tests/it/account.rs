//! One run of `rivulet up` under faults: batches go in, by HTTP one after the other or as asynchronous invocations, and in
//! the end the answers, the stream, the queue and the log have to agree on every packet.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::rivulet::{Up, changed_template, post};

/// Keys over which the packets of a run go.
pub(crate) const KEYS: u32 = 256;

/// Longest wait for one more line of the log: longer than the mapping's longest pause.
const LOG_PATIENCE: Duration = Duration::from_secs(20);

/// How often to look into the queue while there is none.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A run to be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Packets in all.
    pub(crate) packets: u32,
    /// Packets of a batch.
    pub(crate) batch: u32,
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

/// A record of the stream: where it stands, and its packet's number.
struct Stored {
    shard: String,
    sequence_number: String,
    number: u32,
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
        while let Some(first) = u32::try_from(fates.len()).ok().filter(|first| *first < self.packets) {
            let numbers = first..(first + self.batch).min(self.packets);
            fates.extend(match self.caller {
                Caller::Http => send(&up, numbers),
                Caller::Asynchronous => hand_over(&up, numbers),
            });
        }
        let took = started.elapsed();
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
        let stored = read_stream(&up);
        let (status, lines, said) = up.stop_plainly();
        log.read(&lines[log.lines..]);

        let abandoned = positions(&fates, |fate| *fate == Fate::Abandoned);
        let in_stream: HashSet<_> = stored
            .iter()
            .map(|stored| (stored.shard.as_str(), stored.sequence_number.as_str(), stored.number))
            .collect();
        let distinct: HashSet<_> = stored.iter().map(|stored| stored.number).collect();
        let is_lost = |(number, fate): (u32, &Fate)| match fate {
            Fate::Acknowledged { shard, sequence_number } => {
                !in_stream.contains(&(shard.as_str(), sequence_number.as_str(), number))
            }
            Fate::Kept => !distinct.contains(&number) && !queued.contains(&number),
            Fate::Undelivered | Fate::Abandoned | Fate::Silent => false,
        };
        // What a killed invocation had sent belongs to nobody's order.
        let awaited = |number: &u32| !abandoned.contains(number);
        let count = |wanted: fn(&Fate) -> bool| number(fates.iter().filter(|fate| wanted(fate)).count());
        let fired = self.fired(&said, &log, queued.len());
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
            inversions: inversions(stored.iter().map(|stored| stored.number).filter(awaited)),
            duplicates: stored.len() - distinct.len(),
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

    fn fired(&self, said: &str, log: &Log, queued: usize) -> Vec<Fired> {
        let packets = f64::from(self.packets);
        let batches = packets / f64::from(self.batch);
        // What a killed producer sent is not in its log.
        let requests = float(log.requests).max(batches);
        let chances = [
            // How many are too many depends on the machine's speed.
            ("--throttle", packets / 100.0),
            ("--fail-entries", packets),
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
                format!("duplicates {} of {} possible", self.duplicates, self.log.possible_duplicates),
                // Of aggregates, that is how many, whatever they hold.
                self.duplicates as u64 <= self.log.possible_duplicates
                    || kills > 0
                    || self.plan.is_aggregated(),
            ),
            (format!("unlogged {}: acknowledged and not in the log", self.unlogged), self.unlogged == 0),
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
        if self.kept == 0 && self.plan.is_strict() {
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

/// Every record of the stream, shard by shard, as anybody may read them.
fn read_stream(up: &Up) -> Vec<Stored> {
    let address = up.stream.split_once("http://").unwrap().1.trim_end_matches(')').parse().unwrap();
    let name = up.stream.split_whitespace().next().unwrap();
    let call = |operation: &str, body: Value| {
        let target = format!("Kinesis_20131202.{operation}");
        let headers = [("X-Amz-Target", target.as_str()), ("Content-Type", "application/x-amz-json-1.1")];
        let (status, answer) = post(address, &headers, body.to_string().as_bytes());
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    };
    let mut stored = Vec::new();
    for shard in call("ListShards", json!({ "StreamName": name }))["Shards"].as_array().unwrap() {
        let shard = shard["ShardId"].as_str().unwrap();
        let ask = json!({ "StreamName": name, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        let mut iterator = call("GetShardIterator", ask)["ShardIterator"].clone();
        loop {
            let mut got = call("GetRecords", json!({ "ShardIterator": iterator }));
            let records = got["Records"].as_array().unwrap();
            if records.is_empty() && got["MillisBehindLatest"] == 0 {
                break;
            }
            for record in records {
                let data = BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
                let aggregate = kpl::decode(&data).unwrap();
                let users = aggregate.iter().flat_map(|aggregate| aggregate.records().map(|user| user.data));
                let packets = users.chain(aggregate.is_none().then_some(&*data));
                stored.extend(packets.map(|packet| Stored {
                    shard: shard.to_owned(),
                    sequence_number: record["SequenceNumber"].as_str().unwrap().to_owned(),
                    number: packet_number(packet).unwrap(),
                }));
            }
            iterator = got["NextShardIterator"].take();
        }
    }
    stored
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
