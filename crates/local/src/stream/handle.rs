//! [`Kinesis`] and [`Stream`]: what the rest of the process holds. Here are the locks and the clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::contents::{
    Contents, Counts, Entry, EntryResult, Foreign, Moment, NoRead, NoReshard, Retention, Settings,
};
use super::error::{ApiError, ErrorCode};
use super::id::ShardId;
use super::limits::{MAX_GET_BYTES, ON_DEMAND_SHARDS};
use super::shard::{Position, Read, Shard};
use crate::faults::Faults;

/// What a local Kinesis is to be.
#[derive(Debug, Clone)]
pub struct Config {
    /// The account in ARNs and messages, 12 digits.
    pub account: String,
    /// The region in ARNs.
    pub region: String,
    /// How long records are kept; `None` is each stream's own retention period.
    pub retention: Option<Duration>,
    /// How much memory each stream may fill with records, in bytes; the oldest go first.
    pub retention_bytes: u64,
    /// What is to go wrong with `PutRecords` and `GetRecords`; nothing, if there are none.
    pub faults: Option<Arc<Faults>>,
}

impl Config {
    /// Account 000000000000 in us-east-1, retention as each stream says, and 256 MiB for each stream.
    pub fn local() -> Self {
        Self {
            account: "000000000000".into(),
            region: "us-east-1".into(),
            retention: None,
            retention_bytes: 256 << 20,
            faults: None,
        }
    }
}

/// The streams of one account in one region. A clone is the same Kinesis.
#[derive(Debug, Clone)]
pub struct Kinesis(Arc<Account>);

#[derive(Debug)]
struct Account {
    config: Config,
    streams: RwLock<BTreeMap<String, Stream>>, // by name
    seconds: Arc<Seconds>,
}

/// Gives shards the seconds in their numbers: each greater than any before, so that no number of a deleted stream is
/// one of its successor's, and a child's numbers are above its parents'.
#[derive(Debug, Default)]
struct Seconds(AtomicU64);

impl Seconds {
    fn next(&self, now_ms: u64) -> u64 {
        let after = |last: u64| (last + 1).max(now_ms / 1000);
        // It is always updated: both ends give what was there before.
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last)));
        last.map_or_else(after, after)
    }
}

/// One stream. A clone is the same stream.
#[derive(Debug, Clone)]
pub struct Stream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    arn: String,
    account: String,
    made_ms: u64,
    contents: Mutex<Contents>,
    seconds: Arc<Seconds>,
    version: watch::Sender<u64>,
}

impl Kinesis {
    /// A Kinesis without streams.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Account { config, streams: RwLock::default(), seconds: Arc::default() }))
    }

    /// Makes a provisioned stream of equal shards, ready at once.
    ///
    /// # Errors
    /// `InvalidArgument` for a name or a number of shards that cannot be, `ResourceInUse` if there is one of
    /// that name.
    pub fn create_stream(&self, name: &str, shards: u32, encrypted: bool) -> Result<Stream, ApiError> {
        super::api::check_new_stream(name, shards)?;
        self.create(name, shards, Settings::new(false, encrypted), now_ms())
    }

    /// Makes an on-demand stream, ready at once. It has four shards, as in AWS, and does not grow.
    ///
    /// # Errors
    /// As [`create_stream`](Self::create_stream).
    pub fn create_on_demand_stream(&self, name: &str, encrypted: bool) -> Result<Stream, ApiError> {
        super::api::check_new_stream(name, ON_DEMAND_SHARDS)?;
        self.create(name, ON_DEMAND_SHARDS, Settings::new(true, encrypted), now_ms())
    }

    /// The stream of that name.
    pub fn stream(&self, name: &str) -> Option<Stream> {
        self.streams(|streams| streams.get(name).cloned())
    }

    pub(super) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(super) fn streams<T>(&self, read: impl FnOnce(&BTreeMap<String, Stream>) -> T) -> T {
        read(&self.0.streams.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn create(
        &self,
        name: &str,
        shards: u32,
        settings: Settings,
        now: u64,
    ) -> Result<Stream, ApiError> {
        let config = self.config();
        let mut streams = self.0.streams.write().unwrap_or_else(PoisonError::into_inner);
        if streams.contains_key(name) {
            let message = format!("Stream {name} under account {} already exists.", config.account);
            return Err(ApiError::new(ErrorCode::ResourceInUse, message));
        }
        let made_s = self.0.seconds.next(now);
        let retention = Retention { age: config.retention, bytes: config.retention_bytes };
        let inner = Inner {
            name: name.into(),
            arn: format!("arn:aws:kinesis:{}:{}:stream/{name}", config.region, config.account),
            account: config.account.clone(),
            made_ms: now,
            contents: Mutex::new(Contents::new(shards, settings, retention, now, made_s)),
            seconds: Arc::clone(&self.0.seconds),
            version: watch::Sender::new(0),
        };
        let stream = Stream(Arc::new(inner));
        streams.insert(name.into(), stream.clone());
        Ok(stream)
    }

    /// Removes the stream; one that has consumers, only `with_consumers`. Whoever waits for it wakes, and finds it gone.
    pub(super) fn delete(&self, stream: &Stream, with_consumers: bool) -> Result<(), ApiError> {
        let mut contents = stream.living()?;
        let consumers = contents.consumers.len();
        if consumers > 0 && !with_consumers {
            let message = format!(
                "Stream {} has {consumers} registered consumers, expected EnforceConsumerDeletion to be true",
                stream.name()
            );
            return Err(ApiError::new(ErrorCode::ResourceInUse, message));
        }
        contents.delete();
        drop(contents);
        let mut streams = self.0.streams.write().unwrap_or_else(PoisonError::into_inner);
        // Another may have been quicker, and made a new stream of that name since.
        if streams.get(stream.name()).is_some_and(|named| Arc::ptr_eq(&named.0, &stream.0)) {
            streams.remove(stream.name());
        }
        drop(streams);
        stream.bump();
        Ok(())
    }
}

impl Stream {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its Amazon Resource Name.
    pub fn arn(&self) -> &str {
        &self.0.arn
    }

    /// Sets how many hours it keeps records, and the largest record that its API takes, in KiB, data and key; a new
    /// stream has 24 hours and 1,024 KiB. Within [`limits`](super::limits), which is the caller's to see to.
    pub fn set_limits(&self, retention_hours: i64, max_record_kib: i64) {
        let mut contents = self.contents();
        contents.settings.retention_hours = retention_hours;
        contents.settings.max_record_kib = max_record_kib;
    }

    /// Records that arrived before this moment, in milliseconds since 1970, are not kept any more.
    pub fn kept_from_ms(&self) -> u64 {
        self.contents().horizon_ms(now_ms())
    }

    /// Its shards, by id.
    pub fn shards(&self) -> Vec<Shard> {
        self.contents().shards().map(|log| log.about.clone()).collect()
    }

    /// What it holds and what has passed through it.
    pub fn counts(&self) -> Counts {
        let mut contents = self.contents();
        contents.trim(now_ms());
        contents.counts()
    }

    /// Stores the entries in their order, under one lock, and answers for each. For tests and for whoever
    /// is in this process: the limits of the API are not checked.
    ///
    /// # Errors
    /// `ResourceNotFound` if the stream has been deleted; then nothing is stored.
    pub fn put(&self, entries: Vec<Entry>) -> Result<Vec<EntryResult>, ApiError> {
        self.put_if(entries, now_ms(), |_, _| Ok(())).map(|put| put.results)
    }

    /// Reads a shard from a position: at most `max_records`, at least one if there is any, and no more than
    /// `max_bytes` of data and keys after the first.
    ///
    /// # Errors
    /// `ResourceNotFound` for a stream that has been deleted or a shard that is not there,
    /// `InvalidArgument` for a sequence number of another shard.
    pub fn read(
        &self,
        shard: &ShardId,
        from: &Position,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Read, ApiError> {
        self.read_at(*shard, from, max_records.max(1), max_bytes, now_ms())
    }

    /// How many records a shard has from a position on, those included that retention removed meanwhile: what a reader
    /// who stands there is behind by.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn unread(&self, shard: &ShardId, from: &Position) -> Result<u64, ApiError> {
        let unread = self.living()?.unread(*shard, from);
        unread.map_err(|why| self.no_read(*shard, from, &why))
    }

    /// Counts the changes of this stream: goes up whenever records were stored, when its shards change, and when it is
    /// deleted.
    pub fn version(&self) -> u64 {
        *self.0.version.borrow()
    }

    /// Resolves with the version of the stream as soon as that is above `seen`. A reader takes the version,
    /// reads, and waits with the version that it took: then nothing comes unnoticed.
    pub async fn changed(&self, seen: u64) -> u64 {
        let mut version = self.0.version.subscribe();
        // The sender is in `self`: it cannot close while we wait.
        version.wait_for(|now| *now > seen).await.map_or(seen, |now| *now)
    }

    pub(super) fn made_ms(&self) -> u64 {
        self.0.made_ms
    }

    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Stream::put`] where `admit` may turn single entries away, as [`Contents::put`].
    pub(super) fn put_if(
        &self,
        entries: Vec<Entry>,
        now_ms: u64,
        admit: impl FnMut(ShardId, &Entry) -> Result<(), ApiError>,
    ) -> Result<Put, ApiError> {
        let put = {
            let mut contents = self.living()?;
            let encrypted = contents.settings.key_id.is_some();
            Put { results: contents.put(entries, now_ms, admit), encrypted }
        };
        self.bump();
        Ok(put)
    }

    /// Changes the shards, as `change` does it.
    pub(super) fn reshard(
        &self,
        now_ms: u64,
        change: impl FnOnce(&mut Contents, Moment) -> Result<(), NoReshard>,
    ) -> Result<Result<(), NoReshard>, ApiError> {
        let mut second = || self.0.seconds.next(now_ms);
        let done = change(&mut *self.living()?, Moment { now_ms, second: &mut second });
        self.bump();
        Ok(done)
    }

    pub(super) fn read_at(
        &self,
        shard: ShardId,
        from: &Position,
        max_records: usize,
        max_bytes: usize,
        now_ms: u64,
    ) -> Result<Read, ApiError> {
        let max_bytes = max_bytes.min(MAX_GET_BYTES);
        let read = self.living()?.read(shard, from, max_records, max_bytes, now_ms);
        read.map_err(|why| self.no_read(shard, from, &why))
    }

    /// The same position as one that stays when records come and go.
    pub(crate) fn fix(&self, shard: ShardId, from: &Position, now_ms: u64) -> Result<Position, ApiError> {
        let fixed = self.living()?.fix(shard, from, now_ms);
        fixed.map_err(|why| self.no_read(shard, from, &why))
    }

    /// The contents, unless the stream was deleted while its caller held the handle.
    pub(super) fn living(&self) -> Result<MutexGuard<'_, Contents>, ApiError> {
        let contents = self.contents();
        if contents.deleted { Err(not_found(&self.0.name, &self.0.account)) } else { Ok(contents) }
    }

    fn bump(&self) {
        self.0.version.send_modify(|version| *version += 1);
    }

    fn no_read(&self, shard: ShardId, from: &Position, why: &NoRead) -> ApiError {
        let Inner { name, account, .. } = &*self.0;
        let number = match from {
            Position::At(number) | Position::After(number) => number.to_string(),
            Position::TrimHorizon | Position::Latest | Position::AtTimestamp(_) => String::new(),
        };
        match why {
            NoRead::NoSuchShard => ApiError::new(
                ErrorCode::ResourceNotFound,
                format!("Shard {shard} in stream {name} under account {account} does not exist"),
            ),
            NoRead::Foreign(Foreign::OtherShard(other)) => ApiError::argument(format!(
                "Invalid StartingSequenceNumber. It encodes {other}, while it was used in a call to a shard with {shard}"
            )),
            NoRead::Foreign(Foreign::OtherStream) => ApiError::argument(format!(
                "StartingSequenceNumber {number} used on shard {shard} in stream {name} under account {account} \
                 is invalid because it did not come from this stream."
            )),
        }
    }
}

/// What became of a put.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) results: Vec<EntryResult>,
    pub(super) encrypted: bool,
}

pub(super) fn not_found(stream: &str, account: &str) -> ApiError {
    let message = format!("Stream {stream} under account {account} not found.");
    ApiError::new(ErrorCode::ResourceNotFound, message)
}

/// The time of this machine, in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
