//! The event source mapping: reads the shards of a stream and gives their records to a function in batches, as Lambda
//! does it. Shards go side by side, and within a shard the lanes of `ParallelizationFactor`, each in order.
//!
//! `machine` decides for a lane and `lanes` for a shard, `poller` does; `answer` reads what a function's answer means,
//! `event` writes what it is given, `failure` tells of what was given up.
//!
//! A [`Mapping`] can be disabled and enabled while it runs, and tells what it is about.

mod source;

mod poller;

mod lanes;

mod machine;

mod answer;

mod event;

mod failure;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::runtime::Function;
use crate::stream::{Position, Record, ShardId};
use event::Origin;
use failure::Reporter;
use lanes::Lanes;
use poller::Poller;

pub use failure::{Bucket, Destination, Kept};
pub use source::{Lineage, Source, Unreadable};

/// How often a source that failed is asked again.
const SOURCE_PAUSE: Duration = Duration::from_secs(1);

/// Longest wait, when all is stopped, for the list of shards.
const LAST_LIST: Duration = Duration::from_secs(1);

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
    /// `StartingPosition`, with `StartingPositionTimestamp`. Where the newest record was counts when the mapping begins
    /// to run, enabled or not.
    pub from: Position,
    /// `Enabled`.
    pub enabled: bool,
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
            enabled: true,
        }
    }
}

/// What a mapping tells of its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The function handled so many records.
    Handled(u64),
    /// So many records were trimmed from the stream before they were handled: they had not been read, or not been
    /// handled, when its retention was over.
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

/// Whether a mapping invokes its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Enabled,
    /// It does not any more, and the batches under way come to their answer.
    Disabling,
    /// It does not.
    Disabled,
}

/// What a mapping is about in one shard, and what it has done there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The shard.
    pub shard: ShardId,
    /// Where reading goes on; none behind the end of the shard.
    pub next: Option<Position>,
    /// Records that were read, are not at their end, and are not under way.
    pub waiting: usize,
    /// How old the first record is that was read and is not at its end; none if there is none.
    pub iterator_age: Option<Duration>,
    /// The batches that the function has now.
    pub under_way: Vec<UnderWay>,
    /// Records that the function handled.
    pub handled: u64,
    /// Invocations that failed: with an error, or with an answer that reports records. Those that never reached the
    /// function are none.
    pub failures: u64,
    /// Records that were given up.
    pub discarded: u64,
    /// How often a failed batch was halved.
    pub bisects: u64,
}

/// A batch that the function has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Its records.
    pub records: usize,
    /// Which of its attempts it is; 1 is the first. A half begins anew, and so does what a partial answer left.
    pub attempt: u32,
    /// Whether it is a part of a batch that was halved.
    pub bisected: bool,
}

/// A mapping. A handle: clones are the same mapping.
#[derive(Clone)]
pub struct Mapping {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    settings: Settings,
    /// Told to the lanes of every shard as well, under their locks: they are what it holds for.
    enabled: watch::Sender<bool>,
    modified_ms: AtomicU64,
    bound: OnceLock<Bound>,
    /// The shards that are being read, and those that were.
    shards: Mutex<BTreeMap<ShardId, Arc<Mutex<Lanes>>>>,
}

/// What a mapping that runs is bound to, as ARNs.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) stream: String,
    pub(crate) function: String,
    pub(crate) destination: Option<String>,
}

impl Mapping {
    /// A mapping with a UUID of its own, bound to nothing before it runs.
    pub fn new(settings: Settings) -> Self {
        let inner = Inner {
            id: uuid::Uuid::new_v4().to_string(),
            enabled: watch::Sender::new(settings.enabled),
            modified_ms: AtomicU64::new(epoch_ms()),
            settings,
            bound: OnceLock::new(),
            shards: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Its UUID.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// What it was made of; [`Settings::enabled`] is how it began.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Whether it invokes its function.
    pub fn state(&self) -> State {
        // The shards first, as in `switch`: the answer is of one moment.
        let shards = self.shards();
        if *self.inner.enabled.borrow() {
            State::Enabled
        } else if shards.values().any(|lanes| lock(lanes).are_invoked()) {
            State::Disabling
        } else {
            State::Disabled
        }
    }

    /// Goes on where it was disabled: with the records that it holds, and the attempts that they have left.
    pub fn enable(&self) {
        self.switch(true);
    }

    /// Begins no invocation any more and reads nothing, until it is enabled. It keeps its position, even of records that
    /// are trimmed meanwhile.
    pub fn disable(&self) {
        self.switch(false);
    }

    fn switch(&self, enabled: bool) {
        let shards = self.shards();
        for lanes in shards.values() {
            lock(lanes).enabled = enabled;
        }
        if self.inner.enabled.send_replace(enabled) != enabled {
            self.inner.modified_ms.store(epoch_ms(), Ordering::Relaxed);
        }
    }

    /// What it is about, shard by shard, by their ids. It is found out when it is asked for, and costs a batch nothing.
    pub fn progress(&self) -> Vec<Progress> {
        let now_ms = epoch_ms();
        self.shards().iter().map(|(shard, lanes)| lock(lanes).progress(*shard, now_ms)).collect()
    }

    /// When it was made, enabled or disabled last, in milliseconds since 1970.
    pub(crate) fn modified_ms(&self) -> u64 {
        self.inner.modified_ms.load(Ordering::Relaxed)
    }

    /// What it is bound to; none before it runs.
    pub(crate) fn bound(&self) -> Option<&Bound> {
        self.inner.bound.get()
    }

    /// Binds `function` to `source` until `stop` says so; invocations under way are then dropped. What is given up goes
    /// to `destination`. Gives back where it stopped in each shard. It runs once.
    pub async fn run<S: Source>(
        &self,
        source: Arc<S>,
        function: Function,
        destination: Option<Destination>,
        listener: Listener,
        mut stop: watch::Receiver<bool>,
    ) -> Vec<Rest> {
        let config = function.config();
        let bound = Bound {
            stream: source.arn(),
            function: config.arn(),
            destination: destination.as_ref().map(Destination::arn),
        };
        let reporter =
            Reporter { destination, mapping: self.id().to_owned(), function_arn: bound.function.clone() };
        let (region, account) = (config.region.clone(), config.account.clone());
        let stream_arn = self.inner.bound.get_or_init(|| bound).stream.clone();
        let settings = self.settings();
        let mut pollers = JoinSet::new();
        let (mut begun, mut rests) = (HashSet::new(), Vec::new());
        let began_ms = epoch_ms();
        let mut shards = list(&*source, &listener, &mut stop).await;
        let first = first_positions(&*source, &shards, settings.from).await;
        let beginning = |shard: &Lineage| match (first.get(&shard.id), settings.from) {
            (Some(fixed), _) => *fixed,
            (None, from @ Position::AtTimestamp(ms)) if ms > began_ms => from,
            (None, from) if first.is_empty() => from, // it was stopped before it knew of any
            // What came into being since is read whole, wherever the mapping began.
            (None, _) => shard.begins,
        };
        loop {
            let known: HashSet<_> = shards.iter().map(|shard| shard.id).collect();
            let ended: HashSet<_> = rests.iter().map(|rest: &Rest| rest.shard).collect();
            let ready = |shard: &&Lineage| {
                // Behind the newest records a closed parent has nothing, so that no child need wait and miss what comes.
                settings.from == Position::Latest && first.contains_key(&shard.id)
                    // A parent that is not listed any more has nothing left to be read.
                    || shard.parents.iter().all(|parent| ended.contains(parent) || !known.contains(parent))
            };
            for shard in shards.iter().filter(ready) {
                if begun.insert(shard.id) {
                    let poller = Poller {
                        source: Arc::clone(&source),
                        function: function.clone(),
                        enabled: self.inner.enabled.subscribe(),
                        lanes: self.begin(shard.id, beginning(shard)),
                        under_way: JoinSet::new(),
                        origin: Origin {
                            shard: shard.id,
                            stream_arn: stream_arn.clone(),
                            region: region.clone(),
                            account: account.clone(),
                        },
                        reporter: reporter.clone(),
                        listener: Arc::clone(&listener),
                    };
                    pollers.spawn(poller.run(stop.clone()));
                }
            }
            match pollers.join_next().await {
                Some(Ok(rest)) => rests.push(rest),
                // A poller that panicked took its records with it; the panic is on the terminal already.
                Some(Err(_)) => {}
                None => break,
            }
            shards = list(&*source, &listener, &mut stop).await;
        }
        self.shards().clear();
        // The children whose turn had not come are at their beginning.
        let listed = tokio::time::timeout(LAST_LIST, source.shards()).await;
        let left = listed.into_iter().flatten().flatten().filter(|shard| begun.insert(shard.id));
        rests.extend(left.map(|shard| Rest {
            shard: shard.id,
            records: Vec::new(),
            next: Some(beginning(&shard)),
        }));
        rests
    }

    /// The lanes of a shard that is read from now on.
    fn begin(&self, shard: ShardId, from: Position) -> Arc<Mutex<Lanes>> {
        let mut shards = self.shards();
        let lanes = Lanes::new(self.settings().clone(), *self.inner.enabled.borrow(), from);
        let lanes = Arc::new(Mutex::new(lanes));
        shards.insert(shard, Arc::clone(&lanes));
        lanes
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<ShardId, Arc<Mutex<Lanes>>>> {
        lock(&self.inner.shards)
    }
}

/// The shards, as soon as they can be listed; none of a stream that is gone, and none once all is stopped: a shard that
/// was stopped is not at its end, and its children are not to begin.
async fn list(source: &impl Source, listener: &Listener, stop: &mut watch::Receiver<bool>) -> Vec<Lineage> {
    loop {
        let listed = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Vec::new(),
            listed = source.shards() => listed,
        };
        let why = match listed {
            Ok(shards) => return shards,
            Err(Unreadable::ForGood(why)) => {
                listener(Event::Trouble(format!("the consumer gets nothing more: {why}")));
                return Vec::new();
            }
            Err(Unreadable::Now(why)) => why,
        };
        listener(Event::Trouble(format!("the shards cannot be listed: {why}")));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep(SOURCE_PAUSE) => {}
        }
    }
}

/// Where the shards are read from that are there when a mapping begins. For those that wait for their parents that is
/// fixed now, as they may wait for longer than their records are kept; for the others when they are read, which is at
/// once.
async fn first_positions(
    source: &impl Source,
    shards: &[Lineage],
    from: Position,
) -> HashMap<ShardId, Position> {
    let known: HashSet<_> = shards.iter().map(|shard| shard.id).collect();
    let mut positions = HashMap::new();
    for shard in shards {
        let waits = from != Position::Latest && shard.parents.iter().any(|parent| known.contains(parent));
        // What fails is tried again when it is read.
        let fixed = if waits { source.fix(shard.id, from).await.unwrap_or(from) } else { from };
        positions.insert(shard.id, fixed);
    }
    positions
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn epoch_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}
