//! What changes the stream: eight writers, splits and merges, and in the end the last record of each shard.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use local::stream::limits::RESHARD_MS;
use local::stream::{Kinesis, SequenceNumber, Shard, ShardId, Stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use super::client::{Client, Failure, parse};
use super::crew::Member;
use super::ledger::{END, data, mark};
use super::poll::Passes;
use super::{BATCH, Error, Plan, STREAM, WRITERS, now_ms, stored};

/// The partition key number `index` of a writer.
pub(crate) fn key(writer: u32, index: u32) -> String {
    format!("{writer}-{index}")
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecords<'a> {
    stream_name: &'a str,
    records: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    data: String,
    partition_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    explicit_hash_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    records: Vec<Stored>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    shard_id: Option<ShardId>,
    sequence_number: Option<SequenceNumber>,
}

/// Writes one record of each of its keys in every request, and what failed again before the next one. Gives the sum of
/// the marks of what was acknowledged.
///
/// It keeps in step with a reader that makes these `passes`, which shall meet records as they come, and not a stream that
/// was written long ago. Every second request it makes while no other writer does, which takes all the `turns`, and when
/// that reader has nothing left to read: if then a request does not wake it, nothing does.
pub(crate) async fn write(
    port: u16,
    writer: u32,
    plan: Plan,
    me: &Member,
    mut passes: watch::Receiver<Passes>,
    turns: &Semaphore,
) -> Result<u64, Error> {
    let mut client = Client::connect(port).await?;
    let mut sum = 0u64;
    for number in 0..plan.requests() {
        me.at(u64::from(number * BATCH));
        me.does("waits for its turn");
        let alone = number % 2 == 1;
        let _turn = turns.acquire_many(if alone { WRITERS } else { 1 }).await?;
        let seen = *passes.borrow();
        let mut open: Vec<_> = (0..BATCH).map(|index| key(writer, index)).collect();
        while !open.is_empty() {
            me.does(format!("PutRecords of {} records with number {number}", open.len()));
            let entry = |key: &String| Entry {
                data: STANDARD.encode(data(key, number)),
                partition_key: key.clone(),
                explicit_hash_key: None,
            };
            let input = PutRecords { stream_name: STREAM, records: open.iter().map(entry).collect() };
            let body = client.call("PutRecords", &input).await?;
            let answer: Answer = parse("PutRecords", &body)?;
            if answer.records.len() != open.len() {
                return Err(format!("{} entries have {} results", open.len(), answer.records.len()).into());
            }
            let mut results = answer.records.into_iter();
            open.retain(|key| {
                let stored = results.next().and_then(|result| result.shard_id.zip(result.sequence_number));
                sum = stored.map_or(sum, |(shard, at)| sum.wrapping_add(mark(shard, at, key, number)));
                stored.is_none()
            });
        }
        me.does("waits for the tailing reader");
        // Two passes are sure: one that was under way, or was woken, and the next one.
        let more = fastrand::u64(1..=2);
        let enough = |passes: &Passes| {
            if alone { passes.empty > seen.empty } else { passes.all >= seen.all + more }
        };
        if passes.wait_for(enough).await.is_err() {
            return Err("the tailing reader has ended before the writers".into());
        }
    }
    me.at(u64::from(plan.requests() * BATCH));
    Ok(sum)
}

/// Splits and merges, each as soon as its share of the records is stored. By a clock of its own, which runs ahead: the
/// stream need not be waited for until it is active again.
pub(crate) async fn reshard(
    kinesis: &Kinesis,
    stream: &Stream,
    plan: Plan,
    me: &Member,
) -> Result<(), Error> {
    let mut random = Rng::with_seed(u64::from(plan.records));
    let mut at_ms = now_ms();
    for step in 0..plan.reshards {
        me.at(step.into());
        me.does("waits for records to be stored");
        let share = u64::from(plan.records) * u64::from(step + 1) / u64::from(plan.reshards + 1);
        stored(stream, share).await;
        let (operation, input) = change(stream, &mut random);
        me.does(operation);
        at_ms = now_ms().max(at_ms + RESHARD_MS);
        let target = format!("Kinesis_20131202.{operation}");
        kinesis.call(&target, input.to_string().as_bytes(), at_ms)?;
    }
    me.at(plan.reshards.into());
    Ok(())
}

/// A change that is possible now: the fewer shards there are, the likelier is a split.
fn change(stream: &Stream, random: &mut Rng) -> (&'static str, Value) {
    let open = open_shards(stream);
    let split = match open.len() {
        ..=2 => true,
        3..=7 => random.bool(),
        _ => false,
    };
    if split {
        // The widest: a narrow one has no room for two.
        let width = |shard: &&Shard| shard.hash_range.end() - shard.hash_range.start();
        let mut widest: Vec<_> = open.iter().collect();
        widest.sort_by_key(width);
        let shard = widest[widest.len() - 1 - random.usize(..widest.len().min(2))];
        let quarter = width(&shard) / 4;
        let at = shard.hash_range.start() + random.u128(quarter..3 * quarter);
        let input =
            json!({ "StreamName": STREAM, "ShardToSplit": shard.id, "NewStartingHashKey": at.to_string() });
        ("SplitShard", input)
    } else {
        let place = random.usize(..open.len() - 1);
        let (shard, adjacent) = (open[place].id, open[place + 1].id);
        let input = json!({ "StreamName": STREAM, "ShardToMerge": shard, "AdjacentShardToMerge": adjacent });
        ("MergeShards", input)
    }
}

/// The shards that take records, by hash key.
fn open_shards(stream: &Stream) -> Vec<Shard> {
    let mut open = stream.shards();
    open.retain(|shard| !shard.closed());
    open.sort_by_key(|shard| *shard.hash_range.start());
    open
}

/// Puts the last record into every shard that is open; says into how many.
pub(crate) async fn end(port: u16, stream: &Stream) -> Result<usize, Error> {
    let open = open_shards(stream);
    let entry = |shard: &Shard| Entry {
        data: STANDARD.encode(END),
        partition_key: END.into(),
        explicit_hash_key: Some(shard.hash_range.start().to_string()),
    };
    let input = PutRecords { stream_name: STREAM, records: open.iter().map(entry).collect() };
    let body = Client::connect(port).await?.call("PutRecords", &input).await?;
    let answer: Answer = parse("PutRecords", &body)?;
    if answer.records.iter().map(|result| result.shard_id).ne(open.iter().map(|shard| Some(shard.id))) {
        let why = "the last records did not go to the shards that they were put to".into();
        return Err(Failure::Broken { operation: "PutRecords", why }.into());
    }
    Ok(open.len())
}
