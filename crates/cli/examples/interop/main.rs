//! The Rust SDK against the local stream, each operation that both know: a part of `make interop`, which starts the
//! stream and reads what is said here. A line is a check: its outcome, its name, and a word on it, between tabs.
//!
//! `interop ENDPOINT THROTTLING_ENDPOINT`; both are URLs of a Kinesis API, the second of one that throttles.

mod operations;
mod refusals;
mod subscriptions;

use std::fmt::Display;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{
    ConsumerStatus, Shard, ShardIteratorType, StreamDescriptionSummary, StreamStatus,
};
use tokio::time::{sleep, timeout};

/// The first shard of a stream.
const SHARD: &str = "shardId-000000000000";
/// Half of the hash keys are below it.
const MIDDLE: &str = "170141183460469231731687303715884105728";
/// Longest time for anything; a check that needs so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let mut given = std::env::args().skip(1);
    let mut url = || given.next().context("expected the URLs of two Kinesis APIs");
    let (url, throttling) = (url()?, url()?);
    let (lab, throttling) = (Lab::new(&url).await?, Lab::new(&throttling).await?);
    operations::check_each(&lab).await;
    subscriptions::check_each(&lab).await;
    refusals::check_each(&lab, &throttling).await;
    Ok(())
}

/// A client, and streams for whoever needs one.
struct Lab {
    kinesis: Client,
    streams: AtomicU32,
}

impl Lab {
    async fn new(endpoint: &str) -> Result<Self> {
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region("us-east-1")
            .credentials_provider(Credentials::for_tests())
            .endpoint_url(endpoint)
            // A second try would hide what was answered first.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(PATIENCE).build());
        let config = writer::sdk_config(loader, |_| None).await?;
        Ok(Self { kinesis: Client::new(&config), streams: AtomicU32::new(1) })
    }

    /// Says how a check ended.
    async fn check(&self, name: &str, done: impl Future<Output = Result<impl Display>>) {
        let done = timeout(PATIENCE, done).await.context("not done in time").flatten();
        let (outcome, words) = match done {
            Ok(words) => ("ok", words.to_string()),
            Err(error) => ("FAILED", format!("{error:#}")),
        };
        println!("{outcome}\t{name}\t{}", words.replace(['\n', '\t'], " "));
    }

    /// The name of a new stream of so many shards.
    async fn stream(&self, shards: i32) -> Result<String> {
        let name = format!("sdk-{}", self.streams.fetch_add(1, Ordering::Relaxed));
        self.kinesis.create_stream().stream_name(&name).shard_count(shards).send().await?;
        self.active(&name).await?;
        Ok(name)
    }

    async fn summary(&self, stream: &str) -> Result<StreamDescriptionSummary> {
        let answer = self.kinesis.describe_stream_summary().stream_name(stream).send().await?;
        answer.stream_description_summary.context("no summary")
    }

    async fn arn(&self, stream: &str) -> Result<String> {
        Ok(self.summary(stream).await?.stream_arn)
    }

    async fn active(&self, stream: &str) -> Result<()> {
        while self.summary(stream).await?.stream_status != StreamStatus::Active {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn shards(&self, stream: &str) -> Result<Vec<Shard>> {
        let answer = self.kinesis.list_shards().stream_name(stream).send().await?;
        answer.shards.context("no shards")
    }

    async fn put(&self, stream: &str, data: impl Into<Vec<u8>>) -> Result<String> {
        let data = aws_sdk_kinesis::primitives::Blob::new(data);
        let put = self.kinesis.put_record().stream_name(stream).partition_key("k").data(data);
        Ok(put.send().await?.sequence_number)
    }

    async fn iterator(&self, stream: &str) -> Result<String> {
        let answer = self.kinesis.get_shard_iterator().stream_name(stream).shard_id(SHARD);
        let answer = answer.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
        answer.shard_iterator.context("no iterator")
    }

    /// Splits the first shard in the middle, and waits until that is done.
    async fn split(&self, stream: &str) -> Result<()> {
        let split = self.kinesis.split_shard().stream_name(stream).shard_to_split(SHARD);
        split.new_starting_hash_key(MIDDLE).send().await?;
        self.active(stream).await
    }

    /// The ARN of a new consumer of the stream, once that can be used.
    async fn consumer(&self, stream: &str, name: &str) -> Result<String> {
        let arn = self.arn(stream).await?;
        let answer =
            self.kinesis.register_stream_consumer().stream_arn(arn).consumer_name(name).send().await?;
        let arn = answer.consumer.context("no consumer")?.consumer_arn;
        loop {
            let answer = self.kinesis.describe_stream_consumer().consumer_arn(&arn).send().await?;
            let about = answer.consumer_description.context("no description")?;
            match about.consumer_status {
                ConsumerStatus::Active => return Ok(arn),
                ConsumerStatus::Creating => sleep(Duration::from_millis(20)).await,
                other => bail!("a new consumer is {other}"),
            }
        }
    }
}

/// Whether this is as it must be.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Result<()> {
    ensure!(found == wanted, "{what}: expected {wanted:?}, found {found:?}");
    Ok(())
}
