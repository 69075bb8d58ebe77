//! Errors, which the SDK must decode to the variants that it has for them.

use anyhow::{Result, bail};
use aws_sdk_kinesis::Error;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, ScalingType, ShardIteratorType, StartingPosition, StreamMode, StreamModeDetails,
};

use super::{Lab, MIDDLE, SHARD, expect};

/// Three quarters of the hash keys are below it.
const THREE_QUARTERS: &str = "255211775190703847597530955573826158592";

/// Sends a request, which must be refused as one of the SDK's modelled errors.
macro_rules! refused {
    ($request:expr, $wanted:ident) => {
        match $request.send().await.map_err(Error::from) {
            Err(Error::$wanted(_)) => {}
            Err(other) => bail!("expected {}, found {other:?}", stringify!($wanted)),
            Ok(answer) => bail!("expected {}, found {answer:?}", stringify!($wanted)),
        }
    };
}

pub(super) async fn check_each(lab: &Lab, throttling: &Lab) {
    lab.check("ResourceNotFoundException", not_found(lab)).await;
    lab.check("ResourceNotFoundException of SubscribeToShard", no_consumer(lab)).await;
    lab.check("ResourceInUseException", in_use(lab)).await;
    lab.check("ResourceInUseException of SubscribeToShard", consumer_in_use(lab)).await;
    lab.check("InvalidArgumentException", invalid(lab)).await;
    lab.check("LimitExceededException", limits(lab)).await;
    lab.check("ValidationException", validation(lab)).await;
    throttling.check("ProvisionedThroughputExceededException", throttled(throttling)).await;
}

async fn not_found(lab: &Lab) -> Result<&'static str> {
    let kinesis = &lab.kinesis;
    refused!(kinesis.describe_stream_summary().stream_name("nobody"), ResourceNotFoundException);
    refused!(kinesis.list_shards().stream_name("nobody"), ResourceNotFoundException);
    let put = kinesis.put_record().stream_name("nobody").partition_key("k").data(Blob::new([]));
    refused!(put, ResourceNotFoundException);
    let name = lab.stream(1).await?;
    let iterator = kinesis.get_shard_iterator().stream_name(&name).shard_id("shardId-000000000007");
    refused!(iterator.shard_iterator_type(ShardIteratorType::Latest), ResourceNotFoundException);
    Ok("")
}

async fn no_consumer(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    let consumer = format!("{}/consumer/nobody:1", lab.arn(&name).await?);
    let from = StartingPosition::builder().r#type(ShardIteratorType::Latest).build()?;
    let subscribe = lab.kinesis.subscribe_to_shard().consumer_arn(consumer).shard_id(SHARD);
    refused!(subscribe.starting_position(from), ResourceNotFoundException);
    Ok("")
}

async fn in_use(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    refused!(lab.kinesis.create_stream().stream_name(&name).shard_count(1), ResourceInUseException);
    lab.split(&name).await?;
    let split = || lab.kinesis.split_shard().stream_name(&name).new_starting_hash_key("7");
    split().shard_to_split("shardId-000000000001").send().await?;
    let another = split().shard_to_split("shardId-000000000002").new_starting_hash_key(THREE_QUARTERS);
    refused!(another, ResourceInUseException);
    Ok("")
}

async fn consumer_in_use(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    let consumer = lab.consumer(&name, "reader").await?;
    refused!(lab.kinesis.delete_stream().stream_name(&name), ResourceInUseException);
    let from = StartingPosition::builder().r#type(ShardIteratorType::Latest).build()?;
    let subscribe = lab.kinesis.subscribe_to_shard().consumer_arn(consumer).shard_id(SHARD);
    let subscribe = subscribe.starting_position(from);
    let _events = subscribe.clone().send().await?;
    // Two calls within a second are one too many, which is another refusal.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    refused!(subscribe, ResourceInUseException);
    Ok("")
}

async fn invalid(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    refused!(lab.kinesis.get_records().shard_iterator("AAAA"), InvalidArgumentException);
    let large = lab.kinesis.put_record().stream_name(&name).partition_key("k").data(Blob::new([0; 1 << 20]));
    refused!(large, InvalidArgumentException);
    let split = lab.kinesis.split_shard().stream_name(&name).shard_to_split(SHARD);
    refused!(split.new_starting_hash_key("9".repeat(39)), InvalidArgumentException);
    Ok("")
}

async fn limits(lab: &Lab) -> Result<&'static str> {
    let too_many = lab.kinesis.create_stream().stream_name("too-large").shard_count(1_000_000);
    refused!(too_many, LimitExceededException);
    let name = lab.stream(1).await?;
    let resize = lab.kinesis.update_shard_count().stream_name(&name).target_shard_count(3);
    refused!(resize.scaling_type(ScalingType::UniformScaling), LimitExceededException);
    Ok("")
}

async fn validation(lab: &Lab) -> Result<&'static str> {
    let zero = lab.kinesis.create_stream().stream_name("no-shards").shard_count(0);
    refused!(zero, ValidationException);
    let on_demand = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build()?;
    lab.kinesis.create_stream().stream_name("on-demand").stream_mode_details(on_demand).send().await?;
    let split = lab.kinesis.split_shard().stream_name("on-demand").shard_to_split(SHARD);
    refused!(split.new_starting_hash_key(MIDDLE), ValidationException);
    Ok("")
}

async fn throttled(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    let iterator = lab.iterator(&name).await?;
    let read = lab.kinesis.get_records().shard_iterator(iterator);
    while read.clone().send().await.is_ok() {}
    refused!(read, ProvisionedThroughputExceededException);
    let entry =
        PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new([0; 512 << 10])).build()?;
    let put = lab.kinesis.put_records().stream_name(&name).set_records(Some(vec![entry; 8])).send().await?;
    let failed = put.records.iter().filter_map(|entry| entry.error_code.as_deref());
    let failed: Vec<_> = failed.collect();
    expect("failed", put.failed_record_count, i32::try_from(failed.len()).ok())?;
    expect("some", (1..8).contains(&failed.len()), true)?;
    let throttled = |code: &&str| *code == "ProvisionedThroughputExceededException";
    expect("all of them throttled", failed.iter().all(throttled), true)?;
    Ok("whole requests and entries")
}
