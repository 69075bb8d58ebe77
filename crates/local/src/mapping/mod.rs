//! The event source mapping: reads the shards of a stream and gives their records to a function in batches, as Lambda
//! does it. Shards go side by side, and within a shard the lanes of `ParallelizationFactor`, each in order.
//!
//! `machine` decides for a lane and `lanes` for a shard, this module does; `answer` reads what a function's answer means,
//! `event` writes what it is given, `failure` tells of what was given up.

mod answer;
mod event;
mod machine;

mod lanes;

mod failure;

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::runtime::{Function, Outcome, PAYLOAD_BYTES, request_id};
use crate::stream::{ErrorCode, Position, Read, Record, Shard, ShardId, Stream};
use answer::{Verdict, verdict};
use event::Origin;
use failure::Reporter;
use lanes::{Lanes, Next};
use machine::{GivenUp, Sized};

pub use failure::{Bucket, Destination, Kept};

/// How often a source that failed is asked again.
const SOURCE_PAUSE: Duration = Duration::from_secs(1);

/// The settings of a mapping, with the names and defaults of `CreateEventSourceMapping`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `BatchSize`, 1 to 10,000.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`, 0 to 300 s.
    pub window: Duration,
    /// `ParallelizationFactor`, 1 to 10: batches of one shard that may be under way at once.
    pub parallelization_factor: usize,
    /// `MaximumRetryAttempts`; none is until the records expire.
    pub attempts: Option<u32>,
    /// `MaximumRecordAgeInSeconds`; none is until the records expire.
    pub record_age: Option<Duration>,
    /// `BisectBatchOnFunctionError`.
    pub bisect: bool,
    /// `FunctionResponseTypes` holds `ReportBatchItemFailures`.
    pub partial_answers: bool,
    /// `StartingPosition`.
    pub from: Position,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_size: 100,
            window: Duration::ZERO,
            parallelization_factor: 1,
            attempts: None,
            record_age: None,
            bisect: false,
            partial_answers: false,
            from: Position::TrimHorizon,
        }
    }
}

/// A stream that a mapping can read: the local one, or one behind the Kinesis API.
pub trait Source: Send + Sync + 'static {
    /// The stream's ARN.
    fn arn(&self) -> String;

    /// Its shards.
    fn shards(&self) -> impl Future<Output = Result<Vec<Lineage>, Unreadable>> + Send;

    /// The position that `from` means now, such that it means the same later.
    fn fix(
        &self,
        shard: ShardId,
        from: Position,
    ) -> impl Future<Output = Result<Position, Unreadable>> + Send;

    /// Reads at most `most` records of a shard, waiting until there is one. An end of the shard is no records and no
    /// next position.
    fn read(
        &self,
        shard: ShardId,
        from: Position,
        most: usize,
    ) -> impl Future<Output = Result<Read, Unreadable>> + Send;
}

/// A shard and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The shard.
    pub id: ShardId,
    /// The shards that it came from by a split or a merge; they are read to their end before it.
    pub parents: Vec<ShardId>,
}

/// Why a source cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It may be soon.
    #[error("{0}")]
    Now(String),
    /// It never will be: the stream is gone.
    #[error("{0}")]
    ForGood(String),
}

/// What a mapping tells of its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The function handled so many records.
    Handled(u64),
    /// So many records were trimmed from the stream before they could be read.
    Trimmed(u64),
    /// So many records were given up; the text says why.
    Discarded(u64, String, Kept),
    /// Something failed and will be tried again.
    Trouble(String),
}

/// Where a mapping stopped in one shard.
#[derive(Clone, Debug)]
pub struct Rest {
    /// The shard.
    pub shard: ShardId,
    /// Records that were read and are not at their end, in order. With lanes, some between them may be.
    pub records: Vec<Record>,
    /// Where reading would have gone on; none behind the end of the shard.
    pub next: Option<Position>,
}

impl Rest {
    /// Before the first record that is not at its end: where a mapping would begin again. None at the end of the shard.
    pub fn checkpoint(&self) -> Option<Position> {
        let first = self.records.first().map(|record| Position::At(record.sequence_number));
        first.or(self.next)
    }
}

/// Told of every [`Event`].
pub type Listener = Arc<dyn Fn(Event) + Send + Sync>;

/// Binds `function` to `source` until `stop` says so; invocations under way are then dropped. What is given up goes to
/// `destination`. Gives back where it stopped in each shard.
pub async fn run<S: Source>(
    source: Arc<S>,
    function: Function,
    settings: Settings,
    destination: Option<Destination>,
    listener: Listener,
    mut stop: watch::Receiver<bool>,
) -> Vec<Rest> {
    let mapping = uuid::Uuid::new_v4().to_string();
    let reporter = Reporter { destination, mapping, function_arn: function.config().arn() };
    let mut pollers = JoinSet::new();
    let (mut begun, mut rests) = (HashSet::new(), Vec::new());
    let mut first: Option<HashSet<ShardId>> = None; // the shards that were there when it began
    loop {
        let shards = tokio::select! {
            shards = list(&*source, &listener) => shards,
            _ = stop.wait_for(|stop| *stop) => Vec::new(),
        };
        let known: HashSet<_> = shards.iter().map(|shard| shard.id).collect();
        let first = first.get_or_insert_with(|| known.clone());
        let ended: HashSet<_> = rests.iter().map(|rest: &Rest| rest.shard).collect();
        let ready = |shard: &&Lineage| {
            // Behind the newest records a closed parent has nothing, so that no child need wait and miss what comes.
            settings.from == Position::Latest && first.contains(&shard.id)
                // A parent that is not listed any more has nothing left to be read.
                || shard.parents.iter().all(|parent| ended.contains(parent) || !known.contains(parent))
        };
        for shard in shards.iter().filter(ready) {
            if begun.insert(shard.id) {
                // What came into being since is read whole, wherever the mapping began.
                let from = match settings.from {
                    from if first.contains(&shard.id) => from,
                    from @ Position::AtTimestamp(_) => from,
                    _ => Position::TrimHorizon,
                };
                let region = function.config().region.clone();
                let account = function.config().account.clone();
                let poller = Poller {
                    source: Arc::clone(&source),
                    function: function.clone(),
                    lanes: Lanes::new(settings.clone()),
                    next: Some(from),
                    under_way: JoinSet::new(),
                    origin: Origin { shard: shard.id, stream_arn: source.arn(), region, account },
                    reporter: reporter.clone(),
                    listener: Arc::clone(&listener),
                };
                pollers.spawn(poller.run(stop.clone()));
            }
        }
        match pollers.join_next().await {
            // A poller that panicked took its records with it; the panic is on the terminal already.
            Some(rest) => rests.extend(rest.ok()),
            None => return rests,
        }
    }
}

/// The shards, as soon as they can be listed; none of a stream that is gone.
async fn list(source: &impl Source, listener: &Listener) -> Vec<Lineage> {
    loop {
        let why = match source.shards().await {
            Ok(shards) => return shards,
            Err(Unreadable::ForGood(why)) => {
                listener(Event::Trouble(format!("the consumer gets nothing more: {why}")));
                return Vec::new();
            }
            Err(Unreadable::Now(why)) => why,
        };
        listener(Event::Trouble(format!("the shards cannot be listed: {why}")));
        tokio::time::sleep(SOURCE_PAUSE).await;
    }
}

/// One shard's loop around its lanes.
struct Poller<S> {
    source: Arc<S>,
    function: Function,
    lanes: Lanes,
    next: Option<Position>,
    under_way: JoinSet<Answered>,
    origin: Origin,
    reporter: Reporter,
    listener: Listener,
}

/// An invocation that has come to its end.
struct Answered {
    lane: usize,
    request_id: String,
    numbers: Vec<String>,
    outcome: Outcome,
}

/// A reading under way. Dropping it loses nothing: the position moves on only with what was taken.
type Reading = Pin<Box<dyn Future<Output = Result<Read, Unreadable>> + Send>>;

impl<S: Source> Poller<S> {
    async fn run(mut self, mut stop: watch::Receiver<bool>) -> Rest {
        tokio::select! {
            () = self.poll() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        // What was answered is no rest, be it seen or not.
        while let Some(answered) = self.under_way.try_join_next() {
            self.answered(answered);
        }
        self.under_way.shutdown().await;
        Rest {
            shard: self.origin.shard,
            records: self.lanes.unhandled().into_iter().cloned().collect(),
            next: self.next,
        }
    }

    /// Ends when the shard is read to its end and nothing of it is left.
    async fn poll(&mut self) {
        while let Some(from) = self.next {
            match self.source.fix(self.origin.shard, from).await {
                Ok(fixed) => {
                    self.next = Some(fixed);
                    break;
                }
                Err(why) => tokio::time::sleep(self.cannot_read(why)).await,
            }
        }
        let (mut reading, mut pause) = (None, Duration::ZERO);
        loop {
            let until = match self.lanes.step(Instant::now(), epoch_ms()) {
                Next::Invoke(lane, batch) => {
                    self.invoke(lane, batch);
                    continue;
                }
                Next::Discard(given_up) => {
                    self.discard(&given_up);
                    continue;
                }
                Next::Wait(None) if self.next.is_none() && self.under_way.is_empty() => return,
                Next::Wait(until) => until,
            };
            if reading.is_none() {
                reading = self.reading(pause);
            }
            tokio::select! {
                Some(answered) = self.under_way.join_next() => self.answered(answered),
                read = of(&mut reading) => {
                    reading = None;
                    pause = self.took(read);
                }
                () = until_then(until) => {}
            }
        }
    }

    /// Reads on after a pause; none at the end of the shard, and where there is no room for more.
    fn reading(&self, pause: Duration) -> Option<Reading> {
        let (source, shard, from, most) =
            (Arc::clone(&self.source), self.origin.shard, self.next?, self.lanes.wants());
        let read = async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            source.read(shard, from, most).await
        };
        (most > 0).then(|| Box::pin(read) as Reading)
    }

    fn invoke(&mut self, lane: usize, batch: Vec<Sized>) {
        let records: Vec<_> = batch.into_iter().map(|sized| sized.record).collect();
        let numbers = records.iter().map(|record| record.sequence_number.to_string()).collect();
        let event = event::event(&records, &self.origin);
        let (function, request_id) = (self.function.clone(), request_id());
        self.under_way.spawn(async move {
            let outcome = function.invoke_as(&request_id, event).await;
            Answered { lane, request_id, numbers, outcome }
        });
    }

    fn answered(&mut self, answered: Result<Answered, tokio::task::JoinError>) {
        let Answered { lane, request_id, numbers, outcome } = match answered {
            Ok(answered) => answered,
            // It is aborted by nobody as long as this is asked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let verdict = verdict(&outcome, &numbers, self.lanes.partial_answers());
        let (shard, listener) = (self.origin.shard, &self.listener);
        let handled = match &verdict {
            Verdict::Success => numbers.len(),
            Verdict::FailedFrom(position) => {
                let number = &numbers[*position];
                listener(Event::Trouble(format!(
                    "{shard}: the function reported {number}; retrying from there"
                )));
                *position
            }
            Verdict::Failed(why) | Verdict::FunctionError(why) | Verdict::NotInvoked(why) => {
                listener(Event::Trouble(format!("{shard}: a batch of {} failed: {why}", numbers.len())));
                0
            }
        };
        listener(Event::Handled(handled as u64));
        self.lanes.answered(lane, &verdict, &request_id, Instant::now());
    }

    fn discard(&self, given_up: &GivenUp) {
        let (shard, first) =
            (self.origin.shard, given_up.records.first().map(|sized| sized.record.sequence_number));
        let from = first.map(|first| first.to_string()).unwrap_or_default();
        let why = format!("{:?} in {shard}, from sequence number {from}", given_up.condition);
        let kept = self.reporter.report(given_up, &self.origin, epoch_ms(), &request_id());
        (self.listener)(Event::Discarded(given_up.records.len() as u64, why, kept));
    }

    /// Takes what was read; gives the pause before the next reading.
    fn took(&mut self, read: Result<Read, Unreadable>) -> Duration {
        let read = match read {
            Ok(read) => read,
            Err(why) => return self.cannot_read(why),
        };
        if read.skipped > 0 {
            (self.listener)(Event::Trimmed(read.skipped));
        }
        let origin = &self.origin;
        let sized =
            read.records.into_iter().map(|record| Sized { bytes: event::size(&record, origin), record });
        self.lanes.read(sized, Instant::now());
        self.next = read.next;
        Duration::ZERO
    }

    /// Says so; gives the pause before the next try.
    fn cannot_read(&mut self, why: Unreadable) -> Duration {
        let shard = self.origin.shard;
        match why {
            Unreadable::Now(why) => {
                (self.listener)(Event::Trouble(format!("{shard} cannot be read: {why}")));
                SOURCE_PAUSE
            }
            Unreadable::ForGood(why) => {
                (self.listener)(Event::Trouble(format!("the consumer gets nothing more of {shard}: {why}")));
                self.next = None;
                Duration::ZERO
            }
        }
    }
}

/// What a reading brings, if there is one.
async fn of(reading: &mut Option<Reading>) -> Result<Read, Unreadable> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

async fn until_then(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

impl Source for Stream {
    fn arn(&self) -> String {
        Self::arn(self).to_owned()
    }

    async fn shards(&self) -> Result<Vec<Lineage>, Unreadable> {
        let lineage = |shard: Shard| Lineage {
            id: shard.id,
            parents: shard.parent.into_iter().chain(shard.adjacent_parent).collect(),
        };
        Ok(Self::shards(self).into_iter().map(lineage).collect())
    }

    async fn fix(&self, shard: ShardId, from: Position) -> Result<Position, Unreadable> {
        // Reading at the tip gives no record and the place of the next one.
        match from {
            Position::Latest => Ok(read_now(self, shard, from, 1)?.next.unwrap_or(from)),
            lasting => Ok(lasting),
        }
    }

    async fn read(&self, shard: ShardId, from: Position, most: usize) -> Result<Read, Unreadable> {
        loop {
            let version = self.version();
            let read = read_now(self, shard, from, most)?;
            if !read.records.is_empty() || read.next.is_none() || read.skipped > 0 {
                return Ok(read);
            }
            self.changed(version).await;
        }
    }
}

fn read_now(stream: &Stream, shard: ShardId, from: Position, most: usize) -> Result<Read, Unreadable> {
    stream.read(&shard, &from, most, PAYLOAD_BYTES).map_err(|error| match error.code {
        ErrorCode::ResourceNotFound => Unreadable::ForGood(error.message),
        _ => Unreadable::Now(error.message),
    })
}

fn epoch_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}
