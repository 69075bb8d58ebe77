//! Each operation that the stream simulates, under its own name. What the answers hold is looked at a little: that the
//! SDK reads them is what is to be shown.

use anyhow::{Context, Result};
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    EncryptionType, MetricsName, PutRecordsRequestEntry, ScalingType, ShardFilter, ShardFilterType,
    ShardIteratorType, StreamMode, StreamModeDetails,
};

use super::{Lab, SHARD, expect};

const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;

pub(super) async fn check_each(lab: &Lab) {
    lab.check("CreateStream, DeleteStream", streams(lab)).await;
    lab.check("ListStreams", list_streams(lab)).await;
    lab.check("DescribeStream, DescribeStreamSummary, DescribeLimits", describe(lab)).await;
    lab.check("PutRecord, PutRecords, GetShardIterator, GetRecords", records(lab)).await;
    lab.check("ListShards", list_shards(lab)).await;
    lab.check("SplitShard, MergeShards, UpdateShardCount", reshard(lab)).await;
    lab.check("IncreaseStreamRetentionPeriod, DecreaseStreamRetentionPeriod", retention(lab)).await;
    lab.check("StartStreamEncryption, StopStreamEncryption", encryption(lab)).await;
    lab.check("AddTagsToStream, RemoveTagsFromStream, ListTagsForStream", tags_of_stream(lab)).await;
    lab.check("TagResource, UntagResource, ListTagsForResource", tags(lab)).await;
    lab.check("EnableEnhancedMonitoring, DisableEnhancedMonitoring", monitoring(lab)).await;
    lab.check("UpdateStreamMode, UpdateMaxRecordSize", modes(lab)).await;
    lab.check("PutResourcePolicy, GetResourcePolicy, DeleteResourcePolicy", policy(lab)).await;
    lab.check("RegisterStreamConsumer, DescribeStreamConsumer", register(lab)).await;
    lab.check("ListStreamConsumers, DeregisterStreamConsumer", consumers(lab)).await;
}

async fn streams(lab: &Lab) -> Result<&'static str> {
    let on_demand = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build()?;
    lab.kinesis.create_stream().stream_name("growing").stream_mode_details(on_demand).send().await?;
    expect("shards", lab.shards("growing").await?.len(), 4)?;
    lab.kinesis.delete_stream().stream_name("growing").enforce_consumer_deletion(true).send().await?;
    expect("it is gone", lab.summary("growing").await.is_err(), true)?;
    Ok("")
}

async fn list_streams(lab: &Lab) -> Result<String> {
    let made = [lab.stream(1).await?, lab.stream(1).await?, lab.stream(1).await?];
    let mut pages = lab.kinesis.list_streams().limit(2).into_paginator().send();
    let (mut found, mut count) = (Vec::new(), 0);
    while let Some(page) = pages.next().await {
        found.extend(page?.stream_names);
        count += 1;
    }
    expect("each new one", made.iter().all(|name| found.contains(name)), true)?;
    expect("pages", count, found.len().div_ceil(2))?;
    Ok(format!("{count} pages"))
}

async fn describe(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(3).await?;
    let answer = lab.kinesis.describe_stream().stream_name(&name).limit(2).send().await?;
    let about = answer.stream_description.context("no description")?;
    expect("a page", (about.shards.len(), about.has_more_shards), (2, true))?;
    let summary = lab.summary(&name).await?;
    expect("one stream", &summary.stream_arn, &about.stream_arn)?;
    expect("mode", summary.stream_mode_details.map(|mode| mode.stream_mode), Some(StreamMode::Provisioned))?;
    let limits = lab.kinesis.describe_limits().send().await?;
    expect("open shards", limits.open_shard_count >= 3, true)?;
    Ok("")
}

async fn records(lab: &Lab) -> Result<String> {
    let name = lab.stream(1).await?;
    let arn = lab.arn(&name).await?;
    let mut given = vec![Vec::new()];
    let first = lab.put(&name, b"".as_slice()).await?;
    let mut entries = Vec::new();
    for n in 0..200_u8 {
        let data = vec![n; usize::from(n)];
        given.push(data.clone());
        let entry = PutRecordsRequestEntry::builder().data(Blob::new(data)).partition_key("\u{1f600}");
        entries.push(entry.explicit_hash_key(n.to_string()).build()?);
    }
    let put = lab.kinesis.put_records().stream_arn(&arn).set_records(Some(entries)).send().await?;
    expect("failed", put.failed_record_count, Some(0))?;
    let shard = lab.kinesis.get_shard_iterator().stream_arn(&arn).shard_id(SHARD);
    let at_first = shard.clone().shard_iterator_type(ShardIteratorType::AtSequenceNumber);
    let mut iterator = at_first.starting_sequence_number(first).send().await?.shard_iterator;
    lab.split(&name).await?;
    let mut found = Vec::new();
    let mut children = Vec::new();
    while let Some(at) = iterator {
        let answer = lab.kinesis.get_records().shard_iterator(at).limit(70).send().await?;
        found.extend(answer.records.into_iter().map(|record| record.data.into_inner()));
        iterator = answer.next_shard_iterator;
        children = answer.child_shards.unwrap_or_default();
    }
    expect("given = read, in order", found == given, true)?;
    expect("children", children.len(), 2)?;
    let early = shard.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_secs(0));
    let early = early.send().await?.shard_iterator.context("no iterator")?;
    let answer = lab.kinesis.get_records().shard_iterator(early).send().await?;
    expect("from the beginning of time", answer.records.len(), given.len())?;
    Ok(format!("{} records", given.len()))
}

async fn list_shards(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    lab.split(&name).await?;
    let mut page = lab.kinesis.list_shards().stream_name(&name).max_results(1).send().await?;
    let mut found = page.shards.unwrap_or_default();
    while let Some(token) = page.next_token {
        page = lab.kinesis.list_shards().next_token(token).max_results(1).send().await?;
        found.extend(page.shards.unwrap_or_default());
    }
    expect("page by page", &found, &lab.shards(&name).await?)?;
    expect("parents", found.iter().filter(|shard| shard.parent_shard_id.is_some()).count(), 2)?;
    let latest = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build()?;
    let open = lab.kinesis.list_shards().stream_name(&name).shard_filter(latest).send().await?;
    expect("open", open.shards().len(), 2)?;
    Ok("")
}

async fn reshard(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    lab.split(&name).await?;
    let merge = lab.kinesis.merge_shards().stream_name(&name).shard_to_merge("shardId-000000000001");
    merge.adjacent_shard_to_merge("shardId-000000000002").send().await?;
    lab.active(&name).await?;
    expect("open", lab.summary(&name).await?.open_shard_count, 1)?;
    let resize =
        lab.kinesis.update_shard_count().stream_name(&name).scaling_type(ScalingType::UniformScaling);
    let answer = resize.target_shard_count(2).send().await?;
    let counts = (answer.current_shard_count, answer.target_shard_count);
    expect("counts", counts, (Some(1), Some(2)))?;
    Ok("")
}

async fn retention(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    let more = lab.kinesis.increase_stream_retention_period().stream_name(&name);
    more.retention_period_hours(48).send().await?;
    lab.active(&name).await?;
    expect("hours", lab.summary(&name).await?.retention_period_hours, 48)?;
    let less = lab.kinesis.decrease_stream_retention_period().stream_name(&name);
    less.retention_period_hours(24).send().await?;
    Ok("")
}

async fn encryption(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    let start = lab.kinesis.start_stream_encryption().stream_name(&name).key_id("alias/aws/kinesis");
    start.encryption_type(EncryptionType::Kms).send().await?;
    lab.active(&name).await?;
    expect("type", lab.summary(&name).await?.encryption_type, Some(EncryptionType::Kms))?;
    let stop = lab.kinesis.stop_stream_encryption().stream_name(&name).key_id("alias/aws/kinesis");
    stop.encryption_type(EncryptionType::Kms).send().await?;
    Ok("")
}

async fn tags_of_stream(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    let add = lab.kinesis.add_tags_to_stream().stream_name(&name);
    add.tags("a", "1").tags("b", "2").send().await?;
    lab.kinesis.remove_tags_from_stream().stream_name(&name).tag_keys("a").send().await?;
    let left = lab.kinesis.list_tags_for_stream().stream_name(&name).send().await?;
    expect("tags", left.tags().iter().map(|tag| tag.key()).collect(), vec!["b"])?;
    Ok("")
}

async fn tags(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    for resource in [lab.arn(&name).await?, lab.consumer(&name, "c").await?] {
        lab.kinesis.tag_resource().resource_arn(&resource).tags("a", "1").tags("b", "2").send().await?;
        lab.kinesis.untag_resource().resource_arn(&resource).tag_keys("a").send().await?;
        let left = lab.kinesis.list_tags_for_resource().resource_arn(&resource).send().await?;
        expect("tags", left.tags().iter().map(|tag| tag.key()).collect(), vec!["b"])?;
    }
    Ok("of a stream and of a consumer")
}

async fn monitoring(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    let enable = lab.kinesis.enable_enhanced_monitoring().stream_name(&name);
    let answer = enable.shard_level_metrics(MetricsName::IncomingBytes).send().await?;
    expect("wanted", answer.desired_shard_level_metrics(), &[MetricsName::IncomingBytes][..])?;
    lab.active(&name).await?;
    let disable = lab.kinesis.disable_enhanced_monitoring().stream_name(&name);
    let answer = disable.shard_level_metrics(MetricsName::All).send().await?;
    expect("left", answer.desired_shard_level_metrics(), &[][..])?;
    Ok("")
}

async fn modes(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    let arn = lab.arn(&name).await?;
    let on_demand = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build()?;
    lab.kinesis.update_stream_mode().stream_arn(&arn).stream_mode_details(on_demand).send().await?;
    lab.active(&name).await?;
    lab.kinesis.update_max_record_size().stream_arn(&arn).max_record_size_in_kib(2048).send().await?;
    lab.active(&name).await?;
    let about = lab.summary(&name).await?;
    let mode = about.stream_mode_details.map(|details| details.stream_mode);
    expect("mode and size", (mode, about.max_record_size_in_kib), (Some(StreamMode::OnDemand), Some(2048)))?;
    Ok("")
}

async fn policy(lab: &Lab) -> Result<&'static str> {
    let arn = lab.arn(&lab.stream(1).await?).await?;
    lab.kinesis.put_resource_policy().resource_arn(&arn).policy(POLICY).send().await?;
    let answer = lab.kinesis.get_resource_policy().resource_arn(&arn).send().await?;
    expect("policy", answer.policy(), POLICY)?;
    lab.kinesis.delete_resource_policy().resource_arn(&arn).send().await?;
    Ok("")
}

async fn register(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    let consumer = lab.consumer(&name, "reader").await?;
    let (kinesis, arn) = (&lab.kinesis, lab.arn(&name).await?);
    let answer = kinesis.describe_stream_consumer().stream_arn(&arn).consumer_name("reader").send().await?;
    let about = answer.consumer_description.context("no description")?;
    expect("ARNs", (about.consumer_arn, about.stream_arn), (consumer, arn))?;
    Ok("")
}

async fn consumers(lab: &Lab) -> Result<&'static str> {
    let name = lab.stream(1).await?;
    let mut made = Vec::new();
    for consumer in ["a", "b", "c"] {
        made.push(lab.consumer(&name, consumer).await?);
    }
    let list = lab.kinesis.list_stream_consumers().stream_arn(lab.arn(&name).await?);
    let mut pages = list.clone().max_results(2).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        found.extend(page?.consumers.unwrap_or_default().into_iter().map(|consumer| consumer.consumer_arn));
    }
    expect("by paginator", &found, &made)?;
    lab.kinesis.deregister_stream_consumer().consumer_arn(&made[0]).send().await?;
    while list.clone().send().await?.consumers().len() > 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok("")
}
