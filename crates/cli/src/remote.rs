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
use aws_sdk_kinesis::types::ShardIteratorType;
use local::mapping::{Lineage, Source, Unreadable};
use local::stream::{Position, Read, Record, ShardId};

use crate::functions::access;

/// How often a shard without news is asked: well below its five reads a second, which others share.
const POLL: Duration = Duration::from_millis(500);

/// Longest wait for one answer: ten megabytes of records over a slow line.
const PATIENCE: Duration = Duration::from_secs(20);

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
    let config =
        aws_config::defaults(BehaviorVersion::latest()).endpoint_url(endpoint).timeout_config(patience);
    let config = config.load().await;
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
        let ask = self.client.get_shard_iterator().stream_arn(&self.arn).shard_id(shard.to_string());
        let ask = match from {
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
        };
        let given = ask.send().await.map_err(|error| unreadable(&error))?;
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
                shards.push(Lineage { id: shard_id(&shard.shard_id)?, parents });
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(shards);
            }
        }
    }

    /// Left as it is: reading keeps the iterator that was made first.
    async fn fix(&self, _: ShardId, from: Position) -> Result<Position, Unreadable> {
        Ok(from)
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
