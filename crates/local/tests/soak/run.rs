//! A local stream under everything at once: eight writers, splits and merges, and four readers over HTTP, each of which
//! has to get every record once and in its order.
//!
//! - **tailing**: from `LATEST` before the first record, by `ChildShards`; sleeps until the stream wakes it
//! - **polling**: from `TRIM_HORIZON`, by `ChildShards`
//! - **listing**: from `TRIM_HORIZON`, by `ListShards`, and with new iterators
//! - **fan-out**: subscriptions that break off at random
//!
//! The two in the middle begin when a third is stored, read in small pieces, and some shards more slowly than others: a
//! child that is read before its parents are is seen.
//!
//! In the end each shard that is open gets a last record: whoever has read all of these has nothing to wait for.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use local::stream::{Config, Kinesis, Stream};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use crew::{Member, watch};
use ledger::{Ledger, RECORD_BYTES};
use poll::{Children, Idle, Passes, Poll, Start};

mod crew;

mod write;

mod poll;
mod subscribe;

mod ledger;
mod lineage;

mod client;

type Error = Box<dyn std::error::Error + Send + Sync>;

const STREAM: &str = "soak";
const WRITERS: u32 = 8;

/// Records of a `PutRecords`, one of each key of its writer.
#[expect(clippy::cast_possible_truncation, reason = "it is 500")]
const BATCH: u32 = local::stream::limits::MAX_PUT_RECORDS as u32;

/// Records of one round of the writers: what a run has is a multiple of it.
pub(crate) const ROUND: u32 = WRITERS * BATCH;

/// Shards in the beginning.
const SHARDS: u32 = 4;

const READERS: [&str; 4] = ["tailing", "polling", "listing", "fan-out"];
const TAILING: usize = 0;
const LATE: RangeInclusive<usize> = 1..=2;
const FAN_OUT: usize = 3;

/// What a run is to be.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Records in all: a multiple of [`ROUND`].
    pub(crate) records: u32,
    /// Splits and merges while they are written.
    pub(crate) reshards: u32,
    /// How long one may stand still.
    pub(crate) patience: Duration,
    /// How long all may take.
    pub(crate) limit: Duration,
}

impl Plan {
    fn requests(&self) -> u32 {
        self.records / ROUND
    }
}

/// What a run was.
pub(crate) struct Figures {
    records: u32,
    reshards: u32,
    took: Duration,
    rates: Vec<(String, f64)>, // records a second
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, reshards, took, .. } = self;
        write!(
            f,
            "{records} records of {RECORD_BYTES} B, {reshards} reshards, {:.1} s; records a second:",
            took.as_secs_f64()
        )?;
        for (i, (name, rate)) in self.rates.iter().enumerate() {
            write!(f, "{} {name} {rate:.0}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Makes a run; `show` is told again and again how long it has taken and how far each reader is.
///
/// # Errors
/// Whatever is not as it must be, and who found it.
pub(crate) fn run(plan: Plan, show: impl Fn(&str)) -> Result<Figures, String> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime does not start: {error}"))?;
    let crew = Crew::new(plan);
    let (done, result) = mpsc::channel();
    let members = crew.all();
    let written = members[..WRITERS as usize].to_vec();
    let readers = crew.readers.clone();
    runtime.spawn(async move {
        let _ = done.send(soak(plan, crew).await.map_err(|error| error.to_string()));
    });
    let verdict = watch(&members, &result, plan.patience, plan.limit, |since| {
        let count: u64 = written.iter().map(|writer| writer.count()).sum();
        let readers: String =
            readers.iter().map(|reader| format!(", {} {}", reader.name(), reader.count())).collect();
        show(&format!("{:>4} s: written {count}{readers}", since.as_secs()));
    });
    runtime.shutdown_background(); // it may be stuck
    verdict
}

/// All who take part.
struct Crew {
    writers: Vec<Arc<Member>>,
    resharder: Arc<Member>,
    readers: [Arc<Member>; READERS.len()],
}

impl Crew {
    fn new(plan: Plan) -> Self {
        let writer = |i| Member::new(format!("writer {i}"), (plan.records / WRITERS).into());
        Self {
            writers: (0..WRITERS).map(writer).collect(),
            resharder: Member::new("splits and merges", plan.reshards.into()),
            readers: READERS.map(|name| Member::new(name, plan.records.into())),
        }
    }

    fn all(&self) -> Vec<Arc<Member>> {
        let others = [&self.resharder].into_iter().chain(&self.readers);
        self.writers.iter().chain(others).cloned().collect()
    }
}

/// A part of the run as it ends: a writer with the sum of its marks, a reader with its account.
enum Ended {
    Writer(u64),
    Resharder,
    Reader { place: usize, ledger: Box<Ledger>, at: Instant },
}

impl Ended {
    fn reader(place: usize, ledger: Result<Ledger, Error>, me: &Member) -> Result<Self, Error> {
        me.ends();
        let ledger = ledger.map_err(|error| format!("{}: {error}", me.name()))?;
        Ok(Self::Reader { place, ledger: Box::new(ledger), at: Instant::now() })
    }
}

async fn soak(plan: Plan, crew: Crew) -> Result<Figures, Error> {
    let room = u64::from(plan.records) * 512 + (1 << 20); // twice what the records count for, and more
    let kinesis = Kinesis::new(Config { retention_bytes: room, ..Config::local() });
    kinesis.create_stream(STREAM, SHARDS, false)?;
    let stream = kinesis.stream(STREAM).ok_or("the stream is not there")?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(kinesis.clone().serve(listener, async { drop(stopped.await) }));

    let mut parts = JoinSet::new();
    let passes = read(&mut parts, plan, &crew, port, &stream).await;
    let begun = Instant::now();
    write(&mut parts, plan, &crew, port, &kinesis, &stream, &passes);

    let mut changing = WRITERS + 1; // who still changes the stream
    let (mut acknowledged, mut ends) = (0u64, 0);
    let mut written = begun;
    let mut ledgers = Vec::new();
    while let Some(ended) = parts.join_next().await {
        match ended?? {
            Ended::Reader { place, ledger, at } => {
                ledgers.push((place, ledger, at));
                continue;
            }
            Ended::Writer(sum) => acknowledged = acknowledged.wrapping_add(sum),
            Ended::Resharder => {}
        }
        changing -= 1;
        if changing == 0 {
            written = Instant::now();
            ends = write::end(port, &stream).await?;
        }
    }
    let took = begun.elapsed();

    let mut faults = Vec::new();
    let rate = |at: Instant| f64::from(plan.records) / at.duration_since(begun).as_secs_f64();
    let mut rates = vec![("written".to_owned(), rate(written))];
    ledgers.sort_by_key(|(place, ..)| *place);
    for (place, ledger, at) in ledgers {
        let name = crew.readers[place].name();
        rates.push((name.to_owned(), rate(at)));
        faults.extend(ledger.close(ends, acknowledged).err().map(|fault| format!("{name}: {fault}")));
    }
    let counts = stream.counts();
    let want = u64::from(plan.records) + ends as u64;
    if (counts.appended, counts.records, counts.trimmed) != (want, want, 0) {
        faults.push(format!("the stream: {counts:?}, expected {want} records"));
    }
    let _ = stop.send(()); // a server that is gone is an error of its own
    server.await?;
    if !faults.is_empty() {
        return Err(faults.join("\n").into());
    }
    Ok(Figures { records: plan.records, reshards: plan.reshards, took, rates })
}

/// Starts the readers. Comes back when those that are to read from the beginning have begun, with the passes of the
/// tailing one.
async fn read(
    parts: &mut JoinSet<Result<Ended, Error>>,
    plan: Plan,
    crew: &Crew,
    port: u16,
    stream: &Stream,
) -> watch::Receiver<Passes> {
    let ledger = || {
        let keys = (0..WRITERS).flat_map(|writer| (0..BATCH).map(move |index| write::key(writer, index)));
        Ledger::new(keys, plan.requests())
    };
    let ways = [
        Poll { from: Start::Latest, most: 10_000, children: Children::Named, idle: Idle::Woken },
        Poll { from: Start::TrimHorizon, most: 100, children: Children::Named, idle: Idle::Pauses },
        Poll { from: Start::TrimHorizon, most: 100, children: Children::Listed, idle: Idle::Pauses },
    ];
    let mut begun = Vec::new();
    for (place, how) in ways.into_iter().enumerate() {
        let (passes, seen) = watch::channel(Passes::default());
        begun.push(seen);
        let (me, stream, ledger) = (Arc::clone(&crew.readers[place]), stream.clone(), ledger());
        let from = if LATE.contains(&place) { u64::from(plan.records) / 3 } else { 0 };
        parts.spawn(async move {
            stored(&stream, from).await;
            Ended::reader(place, poll::poll(port, &stream, how, ledger, &me, passes).await, &me)
        });
    }
    let (passes, seen) = watch::channel(Passes::default());
    begun.push(seen);
    let (me, ledger) = (Arc::clone(&crew.readers[FAN_OUT]), ledger());
    parts.spawn(async move {
        let ledger = subscribe::subscribe(port, ledger, Arc::clone(&me), passes).await;
        Ended::reader(FAN_OUT, ledger, &me)
    });
    for (_, seen) in begun.iter_mut().enumerate().filter(|(place, _)| !LATE.contains(place)) {
        let _ = seen.wait_for(|passes| passes.all > 0).await; // one that has failed says why when it is joined
    }
    begun.swap_remove(TAILING)
}

/// Starts the writers, which keep in step with the tailing reader, and the splits and merges.
fn write(
    parts: &mut JoinSet<Result<Ended, Error>>,
    plan: Plan,
    crew: &Crew,
    port: u16,
    kinesis: &Kinesis,
    stream: &Stream,
    passes: &watch::Receiver<Passes>,
) {
    let turns = Arc::new(Semaphore::new(crew.writers.len()));
    for (writer, me) in (0..WRITERS).zip(&crew.writers) {
        let (me, passes, turns) = (Arc::clone(me), passes.clone(), Arc::clone(&turns));
        parts.spawn(async move {
            let sum = write::write(port, writer, plan, &me, passes, &turns).await;
            me.ends();
            sum.map(Ended::Writer).map_err(|error| format!("{}: {error}", me.name()).into())
        });
    }
    let (me, kinesis, stream) = (Arc::clone(&crew.resharder), kinesis.clone(), stream.clone());
    parts.spawn(async move {
        let done = write::reshard(&kinesis, &stream, plan, &me).await;
        me.ends();
        done.map(|()| Ended::Resharder).map_err(|error| format!("{}: {error}", me.name()).into())
    });
}

/// Waits until so many records have been stored.
async fn stored(stream: &Stream, count: u64) {
    let mut seen = stream.version();
    while stream.counts().appended < count {
        seen = stream.changed(seen).await;
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
