//! `SubscribeToShard`, through the SDK's own event stream.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::types::{
    ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};

use super::{Lab, SHARD, expect};

pub(super) async fn check_each(lab: &Lab) {
    lab.check("SubscribeToShard to the end of a split shard", to_the_end(lab)).await;
    lab.check("SubscribeToShard again from the continuation", again(lab)).await;
}

/// Records put before and while subscribed, then the children, each of them read as well.
async fn to_the_end(lab: &Lab) -> Result<String> {
    let name = lab.stream(1).await?;
    let consumer = lab.consumer(&name, "reader").await?;
    let mut given = vec![vec![1], vec![2]];
    for data in &given {
        lab.put(&name, data.clone()).await?;
    }
    let mut events = subscribe(lab, &consumer, SHARD, start(ShardIteratorType::TrimHorizon, None)?).await?;
    let mut found = Vec::new();
    while found.len() < 2 {
        found.extend(data(&next(&mut events).await?.context("the stream of events ended")?));
    }
    for n in 3..=10 {
        given.push(vec![n]);
        lab.put(&name, vec![n]).await?;
    }
    lab.split(&name).await?;
    let mut children = Vec::new();
    while let Some(event) = next(&mut events).await? {
        found.extend(data(&event));
        children.extend(event.child_shards.unwrap_or_default());
    }
    expect("given = read, in order", &found, &given)?;
    expect("children", children.len(), 2)?;
    lab.put(&name, vec![11]).await?;
    let mut last = Vec::new();
    for child in children {
        expect("parents", child.parent_shards, vec![SHARD.to_owned()])?;
        let from = start(ShardIteratorType::TrimHorizon, None)?;
        let mut events = subscribe(lab, &consumer, &child.shard_id, from).await?;
        last.extend(data(&next(&mut events).await?.context("the child gave nothing")?));
    }
    expect("of the children", last, vec![vec![11]])?;
    Ok(format!("{} records, 2 children", given.len() + 1))
}

/// A reader that goes away after each event and comes back has each record once.
async fn again(lab: &Lab) -> Result<String> {
    let name = lab.stream(1).await?;
    let consumer = lab.consumer(&name, "reader").await?;
    let mut from = start(ShardIteratorType::Latest, None)?;
    let (mut found, mut subscribed) = (Vec::new(), 0);
    while found.len() < 3 {
        let mut events = subscribe(lab, &consumer, SHARD, from).await?;
        subscribed += 1;
        lab.put(&name, vec![subscribed]).await?;
        let continuation = loop {
            let event = next(&mut events).await?.context("the stream of events ended")?;
            found.extend(data(&event));
            if !event.records.is_empty() {
                break event.continuation_sequence_number;
            }
        };
        from = start(ShardIteratorType::AfterSequenceNumber, Some(continuation))?;
        drop(events);
        // A consumer may subscribe to a shard anew five seconds after it did.
        tokio::time::sleep(Duration::from_millis(5100)).await;
    }
    expect("each once", found, vec![vec![1], vec![2], vec![3]])?;
    Ok(format!("{subscribed} subscriptions"))
}

async fn subscribe(
    lab: &Lab,
    consumer: &str,
    shard: &str,
    from: StartingPosition,
) -> Result<SubscribeToShardOutput> {
    let subscribe = lab.kinesis.subscribe_to_shard().consumer_arn(consumer).shard_id(shard);
    Ok(subscribe.starting_position(from).send().await?)
}

fn start(kind: ShardIteratorType, number: Option<String>) -> Result<StartingPosition> {
    Ok(StartingPosition::builder().r#type(kind).set_sequence_number(number).build()?)
}

async fn next(events: &mut SubscribeToShardOutput) -> Result<Option<SubscribeToShardEvent>> {
    match events.event_stream.recv().await? {
        Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => Ok(Some(event)),
        Some(other) => bail!("an event that the SDK does not know: {other:?}"),
        None => Ok(None),
    }
}

fn data(event: &SubscribeToShardEvent) -> Vec<Vec<u8>> {
    event.records.iter().map(|record| record.data.as_ref().to_vec()).collect()
}
