//! The event source mapping: reads the shards of a stream and gives their records to a function in batches, as Lambda
//! does it. Shards go side by side, each in order.
//!
//! `machine` decides, this module does; `answer` reads what a function's answer means, `event` writes what it is given.

mod answer;
mod event;
mod machine;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::runtime::{Function, PAYLOAD_BYTES};
use crate::stream::{ErrorCode, Position, Read, Record, Shard, ShardId, Stream};
use answer::verdict;
use event::Origin;
use machine::{Machine, Sized, Step};

/// How often a source that failed is asked again.
const SOURCE_PAUSE: Duration = Duration::from_secs(1);

/// The settings of a mapping, with the names and defaults of `CreateEventSourceMapping`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `BatchSize`, 1 to 10,000.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`, 0 to 300 s.
    pub window: Duration,
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
    Discarded(u64, String),
    /// Something failed and will be tried again.
    Trouble(String),
}

/// Where a mapping stopped in one shard.
#[derive(Clone, Debug)]
pub struct Rest {
    /// The shard.
    pub shard: ShardId,
    /// Records that were read and are not handled.
    pub records: Vec<Record>,
    /// Where reading would have gone on; none behind the end of the shard.
    pub next: Option<Position>,
}

/// Told of every [`Event`].
pub type Listener = Arc<dyn Fn(Event) + Send + Sync>;

/// Binds `function` to `source` until `stop` says so; invocations under way are then dropped. Gives back where it
/// stopped in each shard.
pub async fn run<S: Source>(
    source: Arc<S>,
    function: Function,
    settings: Settings,
    listener: Listener,
    mut stop: watch::Receiver<bool>,
) -> Vec<Rest> {
    let mut pollers = JoinSet::new();
    let (mut begun, mut rests) = (HashSet::new(), Vec::new());
    loop {
        let shards = tokio::select! {
            shards = list(&*source, &listener) => shards,
            _ = stop.wait_for(|stop| *stop) => Vec::new(),
        };
        let known: HashSet<_> = shards.iter().map(|shard| shard.id).collect();
        let ended: HashSet<_> = rests.iter().map(|rest: &Rest| rest.shard).collect();
        let ready = |shard: &&Lineage| {
            // A parent that is not listed any more has nothing left to be read.
            shard.parents.iter().all(|parent| ended.contains(parent) || !known.contains(parent))
        };
        for shard in shards.iter().filter(ready) {
            if begun.insert(shard.id) {
                // What came into being since is read whole, wherever the mapping began.
                let child = shard.parents.iter().any(|parent| ended.contains(parent));
                let from = if child { Position::TrimHorizon } else { settings.from };
                let poller = Poller::new(shard.id, from, &source, &function, &settings, &listener);
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

/// One shard's loop around its machine.
struct Poller<S> {
    source: Arc<S>,
    function: Function,
    machine: Machine,
    next: Option<Position>,
    origin: Origin,
    listener: Listener,
}

impl<S: Source> Poller<S> {
    fn new(
        shard: ShardId,
        from: Position,
        source: &Arc<S>,
        function: &Function,
        settings: &Settings,
        listener: &Listener,
    ) -> Self {
        let config = function.config();
        let origin = Origin {
            shard,
            stream_arn: source.arn(),
            region: config.region.clone(),
            account: config.account.clone(),
        };
        Self {
            source: Arc::clone(source),
            function: function.clone(),
            machine: Machine::new(settings.clone()),
            next: Some(from),
            origin,
            listener: Arc::clone(listener),
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) -> Rest {
        tokio::select! {
            () = self.poll() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        Rest {
            shard: self.origin.shard,
            records: self.machine.unhandled().cloned().collect(),
            next: self.next,
        }
    }

    /// Ends when the shard is read to its end and handled.
    async fn poll(&mut self) {
        while let Some(from) = self.next {
            match self.source.fix(self.origin.shard, from).await {
                Ok(fixed) => {
                    self.next = Some(fixed);
                    break;
                }
                Err(why) => self.cannot_read(why).await,
            }
        }
        loop {
            match self.machine.step(Instant::now(), epoch_ms()) {
                Step::Invoke(batch) => self.invoke(batch).await,
                Step::Discard(batch, condition) => {
                    let (shard, first) =
                        (self.origin.shard, batch.first().map(|sized| sized.record.sequence_number));
                    let from = first.map(|first| first.to_string()).unwrap_or_default();
                    let why = format!("{condition:?} in {shard}, from sequence number {from}");
                    (self.listener)(Event::Discarded(batch.len() as u64, why));
                }
                Step::WaitUntil(at) if self.machine.wants() > 0 && self.next.is_some() => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {}
                        read = read(&*self.source, self.origin.shard, self.next, self.machine.wants()) => self.took(read).await,
                    }
                }
                Step::WaitUntil(at) => tokio::time::sleep_until(at.into()).await,
                Step::WaitForRecords if self.next.is_none() => return,
                Step::WaitForRecords => {
                    let read = read(&*self.source, self.origin.shard, self.next, self.machine.wants()).await;
                    self.took(read).await;
                }
            }
        }
    }

    async fn invoke(&mut self, batch: Vec<Sized>) {
        let records: Vec<_> = batch.into_iter().map(|sized| sized.record).collect();
        let numbers: Vec<_> = records.iter().map(|record| record.sequence_number.to_string()).collect();
        let outcome = self.function.invoke(event::event(&records, &self.origin)).await;
        let verdict = verdict(&outcome, &numbers, self.machine.partial_answers());
        let (shard, listener) = (self.origin.shard, &self.listener);
        let handled = match &verdict {
            answer::Verdict::Success => records.len(),
            answer::Verdict::FailedFrom(position) => {
                let number = &numbers[*position];
                listener(Event::Trouble(format!(
                    "{shard}: the function reported {number}; retrying from there"
                )));
                *position
            }
            answer::Verdict::Failed(why) | answer::Verdict::NotInvoked(why) => {
                listener(Event::Trouble(format!("{shard}: a batch of {} failed: {why}", records.len())));
                0
            }
        };
        listener(Event::Handled(handled as u64));
        self.machine.answered(&verdict, Instant::now());
    }

    async fn took(&mut self, read: Result<Read, Unreadable>) {
        match read {
            Ok(read) => {
                if read.skipped > 0 {
                    (self.listener)(Event::Trimmed(read.skipped));
                }
                let origin = &self.origin;
                let sized = read
                    .records
                    .into_iter()
                    .map(|record| Sized { bytes: event::size(&record, origin), record });
                self.machine.read(sized, Instant::now());
                self.next = read.next;
            }
            Err(why) => self.cannot_read(why).await,
        }
    }

    async fn cannot_read(&mut self, why: Unreadable) {
        let shard = self.origin.shard;
        match why {
            Unreadable::Now(why) => {
                (self.listener)(Event::Trouble(format!("{shard} cannot be read: {why}")));
                tokio::time::sleep(SOURCE_PAUSE).await;
            }
            Unreadable::ForGood(why) => {
                (self.listener)(Event::Trouble(format!("the consumer gets nothing more of {shard}: {why}")));
                self.next = None;
            }
        }
    }
}

/// Dropping this reading loses nothing: the position moves on only with what was taken.
async fn read(
    source: &impl Source,
    shard: ShardId,
    from: Option<Position>,
    most: usize,
) -> Result<Read, Unreadable> {
    match from {
        Some(from) => source.read(shard, from, most).await,
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
