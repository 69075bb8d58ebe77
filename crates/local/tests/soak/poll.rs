//! A reader with `GetRecords`: shard after shard over one connection, each child behind all its parents.

use std::borrow::Cow;
use std::time::Duration;

use local::stream::{SequenceNumber, ShardId, Stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::client::{Client, parse};
use super::crew::Member;
use super::ledger::{Ledger, Record};
use super::lineage::{Lineage, Shard};
use super::{Error, STREAM};

/// How long a reader pauses when it has seen all there is, if it does not wait to be woken.
const PAUSE: Duration = Duration::from_millis(20);

/// Shards that one page of `ListShards` is asked for: few, so that there are pages.
const PAGE: u32 = 400;

/// One in so many iterators is got anew from the last sequence number, as by a reader that starts again.
const RESTARTS: u32 = 8;

/// What sets the readers apart.
pub(crate) struct Poll {
    /// Where it begins in the shards that it finds.
    pub(crate) from: Start,
    /// The largest `Limit` of a `GetRecords`; each has one of its own, at random.
    pub(crate) most: u32,
    /// How it learns of new shards.
    pub(crate) children: Children,
    /// What it does when it has seen all there is.
    pub(crate) idle: Idle,
}

pub(crate) enum Start {
    Latest,
    TrimHorizon,
}

pub(crate) enum Children {
    /// By the `ChildShards` of one that has ended.
    Named,
    /// By `ListShards`, again whenever one has ended.
    Listed,
}

pub(crate) enum Idle {
    /// Waits until the stream says that it has changed.
    Woken,
    /// Looks again after a while.
    Pauses,
}

/// How often a reader has looked into all that it is reading, and how often it found nothing.
#[derive(Clone, Copy, Default)]
pub(crate) struct Passes {
    pub(crate) all: u64,
    pub(crate) empty: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    shard_iterator: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Records<'a> {
    #[serde(borrow)]
    records: Vec<Record<'a>>,
    #[serde(borrow)]
    next_shard_iterator: Option<Cow<'a, str>>,
    child_shards: Option<Vec<Shard>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    shards: Vec<Shard>,
    next_token: Option<String>,
}

/// A shard that is being read.
struct Place {
    shard: ShardId,
    iterator: String,
    last: Option<SequenceNumber>,
    pace: u32,   // it is looked into about once in so many passes
    ended: bool, // its last record is read
}

/// Reads until every shard has ended. Counts its passes, and one for having found where to begin.
pub(crate) async fn poll(
    port: u16,
    stream: &Stream,
    how: Poll,
    mut ledger: Ledger,
    me: &Member,
    passes: watch::Sender<Passes>,
) -> Result<Ledger, Error> {
    let mut client = Client::connect(port).await?;
    let mut lineage = Lineage::default();
    let (mut from, filter) = match how.from {
        Start::Latest => ("LATEST", "AT_LATEST"),
        Start::TrimHorizon => ("TRIM_HORIZON", "AT_TRIM_HORIZON"),
    };
    lineage.offer(list(&mut client, Some(filter)).await?);
    let mut reading = Vec::new();
    let mut first = true;
    loop {
        let seen = stream.version();
        for shard in lineage.ready() {
            let iterator = iterator(&mut client, shard, from, None).await?;
            // Where parents take very different times, a child that is read too early is seen.
            let pace = match how.idle {
                Idle::Woken => 1, // it looks into all, or a wake-up would pass it by
                Idle::Pauses => fastrand::choice([1, 8]).unwrap_or(1),
            };
            reading.push(Place { shard, iterator, last: None, pace, ended: false });
        }
        from = "TRIM_HORIZON"; // of the shards that come from these, all is read
        if std::mem::take(&mut first) {
            passes.send_modify(|passes| passes.all += 1);
            if let Idle::Woken = how.idle {
                // What comes between an iterator and its first use belongs to it.
                stream.changed(seen).await;
            }
        }
        if reading.is_empty() {
            break;
        }
        let mut came = false;
        for mut place in std::mem::take(&mut reading) {
            if fastrand::u32(..place.pace) != 0 {
                reading.push(place);
                came = true; // who knows
                continue;
            }
            me.does(format!("GetRecords of {} behind {:?}", place.shard, place.last));
            let limit = fastrand::u32(1..=how.most);
            let input = json!({ "ShardIterator": place.iterator, "Limit": limit });
            let body = client.call("GetRecords", &input).await?;
            let answer: Records = parse("GetRecords", &body)?;
            let looked_behind = place.ended;
            came |= looked_behind || !answer.records.is_empty() || answer.next_shard_iterator.is_none();
            for record in &answer.records {
                if place.ended {
                    ledger.fault("behind the end", || format!("{} in {}", record.partition_key, place.shard));
                }
                place.ended |= ledger.take(place.shard, record);
                place.last = Some(record.sequence_number);
            }
            me.at(ledger.got());
            match answer.next_shard_iterator {
                None => {
                    lineage.end(place.shard);
                    let listed = match how.children {
                        Children::Named => answer.child_shards.unwrap_or_default(),
                        Children::Listed => list(&mut client, None).await?,
                    };
                    lineage.offer(listed);
                }
                Some(_) if looked_behind => {} // all is read, and once more
                Some(next) => {
                    place.iterator = match place.last {
                        Some(last) if fastrand::u32(..RESTARTS) == 0 => {
                            iterator(&mut client, place.shard, "AFTER_SEQUENCE_NUMBER", Some(last)).await?
                        }
                        _ => next.into_owned(),
                    };
                    reading.push(place);
                }
            }
        }
        passes.send_modify(|passes| {
            passes.all += 1;
            passes.empty += u64::from(!came);
        });
        if !came {
            me.does(format!("waits for more of {}", lineage.reading()));
            match how.idle {
                Idle::Woken => drop(stream.changed(seen).await),
                Idle::Pauses => tokio::time::sleep(PAUSE).await,
            }
        }
    }
    let waiting = lineage.waiting();
    if !waiting.is_empty() {
        ledger.fault("shards with parents that it never saw", || waiting);
    }
    Ok(ledger)
}

async fn iterator(
    client: &mut Client,
    shard: ShardId,
    from: &str,
    number: Option<SequenceNumber>,
) -> Result<String, Error> {
    let mut input = json!({ "StreamName": STREAM, "ShardId": shard, "ShardIteratorType": from });
    if let Some(number) = number {
        input["StartingSequenceNumber"] = number.to_string().into();
    }
    let body = client.call("GetShardIterator", &input).await?;
    Ok(parse::<Issued>("GetShardIterator", &body)?.shard_iterator)
}

/// All shards, or those that the filter lets pass.
pub(crate) async fn list(client: &mut Client, filter: Option<&str>) -> Result<Vec<Shard>, Error> {
    let mut input = json!({ "StreamName": STREAM, "MaxResults": PAGE });
    if let Some(filter) = filter {
        input["ShardFilter"] = json!({ "Type": filter });
    }
    let mut shards = Vec::new();
    loop {
        let body = client.call("ListShards", &input).await?;
        let page: Page = parse("ListShards", &body)?;
        shards.extend(page.shards);
        let Some(token) = page.next_token else { return Ok(shards) };
        input = Value::Null;
        input["NextToken"] = token.into();
        input["MaxResults"] = PAGE.into();
    }
}
