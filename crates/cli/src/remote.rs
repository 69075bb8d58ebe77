//! Another Kinesis in place of the local stream: AWS itself, or an emulator.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::ProvideCredentials;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_shard_iterator::GetShardIteratorOutput;
use aws_sdk_kinesis::operation::get_shard_iterator::builders::GetShardIteratorFluentBuilder;
use aws_sdk_kinesis::types::ShardIteratorType;
use local::mapping::{Lineage, Source, Unreadable};
use local::stream::{Position, Read, Record, ShardId};

use crate::functions::access;

/// How often a shard without news is asked: well below its five reads a second, which others share.
const POLL: Duration = Duration::from_millis(500);

/// Longest wait for one answer: ten megabytes of records over a slow line.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much earlier than the clock here says a time is tried that the service takes for one to come: at first, and at
/// most. Requests of a clock that is five minutes wrong are refused in any case, unless the SDK corrects it.
const FIRST_BACK: Duration = Duration::from_secs(1);
const FURTHEST_BACK: Duration = Duration::from_secs(1024);

/// A stream behind the Kinesis API.
pub(crate) struct Remote {
    client: Client,
    pub(crate) arn: String,
    pub(crate) account: String,
    pub(crate) region: String,
    /// Variables that lead a function to it.
    pub(crate) access: Vec<(String, String)>,
    iterators: Mutex<HashMap<ShardId, (Position, String)>>,
}

/// Finds the stream, with the credentials and the region of whoever runs the command.
pub(crate) async fn connect(endpoint: &str, stream: &str) -> Result<Remote> {
    let patience = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).build();
    let loader =
        aws_config::defaults(BehaviorVersion::latest()).endpoint_url(endpoint).timeout_config(patience);
    // As the loader itself does for all the rest.
    let var = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let config = writer::sdk_config(loader, var).await?;
    let client = Client::new(&config);
    let described = client.describe_stream_summary().stream_name(stream).send().await;
    let described = described.map_err(|error| anyhow!(words(&error)));
    let described =
        described.with_context(|| format!("there is no stream {stream} to be used at {endpoint}"))?;
    let summary = described.stream_description_summary.context("the stream's description is empty")?;
    let arn = summary.stream_arn;
    let parts: Vec<_> = arn.split(':').collect();
    let (region, account) = match parts.as_slice() {
        [_, _, _, region, account, _] => ((*region).to_owned(), (*account).to_owned()),
        _ => return Err(anyhow!("the stream's ARN is {arn}, expected one of six parts")),
    };
    let access = credentials(&config, endpoint).await?;
    Ok(Remote { client, arn, account, region, access, iterators: Mutex::default() })
}

async fn credentials(config: &SdkConfig, endpoint: &str) -> Result<Vec<(String, String)>> {
    let provider = config.credentials_provider().context("there are no AWS credentials")?;
    let found = provider.provide_credentials().await.context("there are no AWS credentials")?;
    Ok(access(endpoint, found.access_key_id(), found.secret_access_key(), found.session_token()))
}

impl Remote {
    async fn iterator(&self, shard: ShardId, from: Position) -> Result<String, Unreadable> {
        if let Some((position, iterator)) = self.kept().get(&shard)
            && *position == from
        {
            return Ok(iterator.clone());
        }
        let given = self.asking(shard, from).send().await.map_err(|error| unreadable(&error))?;
        self.keep(shard, from, given)
    }

    /// A position that `now_ms` means, as far as the service has come: it refuses a time that is to come, and a clock here
    /// may be ahead of its own. Then it is a time before, so that nothing is missed and something may come that was there.
    async fn since(&self, shard: ShardId, now_ms: u64) -> Result<Position, Unreadable> {
        let mut back = Duration::ZERO;
        loop {
            let ms = now_ms.saturating_sub(u64::try_from(back.as_millis()).unwrap_or(u64::MAX));
            let from = Position::AtTimestamp(ms);
            match self.asking(shard, from).send().await {
                Ok(given) => {
                    self.keep(shard, from, given)?;
                    return Ok(from);
                }
                Err(error) if error.code() == Some("InvalidArgumentException") && back < FURTHEST_BACK => {
                    back = (4 * back).max(FIRST_BACK);
                }
                Err(error) => return Err(unreadable(&error)),
            }
        }
    }

    fn asking(&self, shard: ShardId, from: Position) -> GetShardIteratorFluentBuilder {
        let ask = self.client.get_shard_iterator().stream_arn(&self.arn).shard_id(shard.to_string());
        match from {
            Position::TrimHorizon => ask.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Position::Latest => ask.shard_iterator_type(ShardIteratorType::Latest),
            Position::AtTimestamp(ms) => ask.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(
                aws_sdk_kinesis::primitives::DateTime::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)),
            ),
            Position::At(number) => ask
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(number.to_string()),
            Position::After(number) => ask
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number.to_string()),
        }
    }

    fn keep(
        &self,
        shard: ShardId,
        from: Position,
        given: GetShardIteratorOutput,
    ) -> Result<String, Unreadable> {
        let iterator =
            given.shard_iterator.ok_or_else(|| Unreadable::Now("the answer held no iterator".into()))?;
        self.kept().insert(shard, (from, iterator.clone()));
        Ok(iterator)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<ShardId, (Position, String)>> {
        self.iterators.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Remote {
    fn arn(&self) -> String {
        self.arn.clone()
    }

    async fn shards(&self) -> Result<Vec<Lineage>, Unreadable> {
        let (mut shards, mut next) = (Vec::new(), None);
        loop {
            let ask = self.client.list_shards();
            // A page is asked for by its token alone.
            let ask = if next.is_some() { ask.set_next_token(next) } else { ask.stream_arn(&self.arn) };
            let page = ask.send().await.map_err(|error| unreadable(&error))?;
            for shard in page.shards.unwrap_or_default() {
                let parents = shard.parent_shard_id.into_iter().chain(shard.adjacent_parent_shard_id);
                let parents = parents.map(|id| shard_id(&id)).collect::<Result<_, _>>()?;
                // What was trimmed is not told of, so the oldest record that is left will do.
                let begins = Position::TrimHorizon;
                shards.push(Lineage { id: shard_id(&shard.shard_id)?, parents, begins });
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(shards);
            }
        }
    }

    /// The end of a shard becomes the time that it is: an iterator would keep its place too, but not for longer than five
    /// minutes, and not beyond a read that failed.
    async fn fix(&self, shard: ShardId, from: Position) -> Result<Position, Unreadable> {
        match from {
            Position::Latest => {
                let now_ms = jiff::Timestamp::now().as_millisecond();
                self.since(shard, u64::try_from(now_ms).unwrap_or_default()).await
            }
            lasting => Ok(lasting),
        }
    }

    async fn read(&self, shard: ShardId, from: Position, most: usize) -> Result<Read, Unreadable> {
        let most = i32::try_from(most.clamp(1, 10_000)).unwrap_or(10_000);
        let mut iterator = self.iterator(shard, from).await?;
        loop {
            let got = self
                .client
                .get_records()
                .stream_arn(&self.arn)
                .shard_iterator(&iterator)
                .limit(most)
                .send()
                .await;
            let got = got.map_err(|error| {
                self.kept().remove(&shard); // it may have expired
                unreadable(&error)
            })?;
            let records = got
                .records
                .into_iter()
                .map(record)
                .collect::<Result<Vec<_>, _>>()
                .map_err(Unreadable::Now)?;
            let at = records.last().map_or(from, |record| Position::After(record.sequence_number));
            let next = got.next_shard_iterator;
            if let Some(next) = &next {
                self.kept().insert(shard, (at, next.clone()));
            }
            let behind = got.millis_behind_latest.unwrap_or_default();
            match next {
                Some(next) if records.is_empty() => {
                    if behind == 0 {
                        tokio::time::sleep(POLL).await;
                    }
                    iterator = next;
                }
                next => {
                    let millis_behind_latest = u64::try_from(behind).unwrap_or_default();
                    return Ok(Read { records, next: next.map(|_| at), millis_behind_latest, skipped: 0 });
                }
            }
        }
    }
}

fn unreadable<E>(error: &SdkError<E>) -> Unreadable
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let words = words(error);
    if error.code() == Some("ResourceNotFoundException") {
        Unreadable::ForGood(words)
    } else {
        Unreadable::Now(words)
    }
}

/// An error and what caused it, from the outside in.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn shard_id(text: &str) -> Result<ShardId, Unreadable> {
    text.parse().map_err(|_| Unreadable::Now(format!("{text} is no shard id")))
}

fn record(record: aws_sdk_kinesis::types::Record) -> Result<Record, String> {
    let number = &record.sequence_number;
    Ok(Record {
        sequence_number: number.parse().map_err(|_| format!("{number} is no sequence number"))?,
        partition_key: record.partition_key.unwrap_or_default().into(),
        data: record.data.into_inner().into(),
        arrival_ms: record
            .approximate_arrival_timestamp
            .and_then(|time| time.to_millis().ok())
            .and_then(|ms| u64::try_from(ms).ok())
            .unwrap_or_default(),
        encrypted: record.encryption_type.is_some_and(|kind| kind.as_str() == "KMS"),
    })
}

#[cfg(test)]
mod tests {
    use local::stream::{Config, Entry, Kinesis, Stream};

    use super::*;

    /// A stream that holds one record, behind the API of this machine; and the time, behind that of the record.
    async fn behind_the_api() -> (Stream, ShardId, Remote, u64) {
        let kinesis = Kinesis::new(Config::local());
        let stream = kinesis.create_stream("s", 1, false).unwrap();
        let shard = stream.shards()[0].id;
        put(&stream, "early");
        let arrival_ms = stream.read(&shard, &Position::TrimHorizon, 1, 1).unwrap().records[0].arrival_ms;
        while now_ms() <= arrival_ms {
            tokio::task::yield_now().await;
        }
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(kinesis.serve(listener, std::future::pending()));
        let var = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
            "AWS_REGION" => Some("us-east-1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
            _ => None,
        };
        let config = writer::sdk_config_from_env(var).unwrap();
        let remote = Remote {
            client: Client::new(&config),
            arn: stream.arn().to_owned(),
            account: "000000000000".into(),
            region: "us-east-1".into(),
            access: Vec::new(),
            iterators: Mutex::default(),
        };
        (stream, shard, remote, now_ms())
    }

    fn put(stream: &Stream, data: &'static str) {
        stream.put(vec![Entry::new("k", data)]).unwrap();
    }

    fn now_ms() -> u64 {
        u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap()
    }

    async fn data(remote: &Remote, shard: ShardId, from: Position) -> Vec<Vec<u8>> {
        let read = tokio::time::timeout(PATIENCE, remote.read(shard, from, 10)).await;
        let records = read.expect("nothing comes").unwrap().records;
        records.iter().map(|record| record.data.to_vec()).collect()
    }

    /// "GetRecords": an iterator expires after five minutes; and one that a read failed with is not trusted any more.
    #[tokio::test]
    async fn what_comes_behind_the_newest_record_is_read_although_a_read_failed_before() {
        let (stream, shard, remote, _) = behind_the_api().await;
        let from = remote.fix(shard, Position::Latest).await.unwrap();
        put(&stream, "late");
        remote.kept().insert(shard, (from, "no iterator".into()));
        assert!(matches!(remote.read(shard, from, 10).await, Err(Unreadable::Now(_))));
        assert_eq!(data(&remote, shard, from).await, [b"late"]);
        assert_eq!(remote.fix(shard, from).await, Ok(from));
    }

    #[tokio::test]
    async fn a_clock_that_is_ahead_of_the_services_misses_nothing() {
        for ahead_ms in [900, 2_500, 30_000, 290_000] {
            let (stream, shard, remote, now_ms) = behind_the_api().await;
            let from = remote.since(shard, now_ms + ahead_ms).await.unwrap();
            put(&stream, "late");
            let data = data(&remote, shard, from).await;
            assert_eq!(data.last().unwrap(), b"late", "{ahead_ms}");
            let Position::AtTimestamp(from_ms) = from else { panic!("{from:?}") };
            assert!(
                from_ms + 3 * ahead_ms.max(1_000) >= now_ms,
                "{ahead_ms}: it goes no further back than it must"
            );
        }
        let (_stream, shard, remote, now_ms) = behind_the_api().await;
        assert!(remote.since(shard, now_ms + 7_200_000).await.is_err());
    }
}
