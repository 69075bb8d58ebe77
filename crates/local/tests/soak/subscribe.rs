//! A reader with enhanced fan-out: a subscription to each shard that can be read, all at once, cut off at random.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use aws_smithy_eventstream::smithy::parse_response_headers;
use aws_smithy_types::event_stream::Message;
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use local::stream::{SequenceNumber, ShardId};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::{Client, Failure, parse};
use super::crew::Member;
use super::ledger::{Ledger, Record};
use super::lineage::{Lineage, Shard};
use super::poll::{Passes, list};
use super::{Error, STREAM};

/// Consumers that the reader goes round: the same one may not subscribe to a shard again within five seconds (API:
/// SubscribeToShard). As many as may be in the making at once (API: RegisterStreamConsumer).
const CONSUMERS: usize = 5;

/// One in so many events is followed by a cut.
const CUTS: u32 = 12;

/// How long to wait for a consumer to be active.
const PAUSE: Duration = Duration::from_millis(50);

/// How long to wait when none may subscribe: each may ask once a second (API: SubscribeToShard).
const REFUSED: Duration = Duration::from_millis(1100);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    stream_description_summary: StreamArn,
}

#[derive(Deserialize)]
struct StreamArn {
    #[serde(rename = "StreamARN")]
    stream_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Registered {
    consumer: Named,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    consumer_description: Status,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "ConsumerARN")]
    consumer_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    consumer_status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    #[serde(borrow)]
    records: Vec<Record<'a>>,
    continuation_sequence_number: Option<SequenceNumber>,
    child_shards: Option<Vec<Shard>>,
}

/// What all subscriptions of the reader share.
struct Reader {
    port: u16,
    consumers: Vec<String>,
    ledger: Mutex<Ledger>,
    me: Arc<Member>,
}

/// Reads until every shard has ended; counts one pass when it can begin.
pub(crate) async fn subscribe(
    port: u16,
    ledger: Ledger,
    me: Arc<Member>,
    passes: watch::Sender<Passes>,
) -> Result<Ledger, Error> {
    let mut client = Client::connect(port).await?;
    let consumers = register(&mut client).await?;
    let mut lineage = Lineage::default();
    lineage.offer(list(&mut client, Some("AT_TRIM_HORIZON")).await?);
    passes.send_modify(|passes| passes.all += 1);
    let reader = Arc::new(Reader { port, consumers, ledger: Mutex::new(ledger), me });
    let mut subscriptions = JoinSet::new();
    loop {
        for shard in lineage.ready() {
            let reader = Arc::clone(&reader);
            subscriptions.spawn(async move { reader.read(shard).await.map(|children| (shard, children)) });
        }
        reader.me.does(format!("is subscribed to {}", lineage.reading()));
        let Some(ended) = subscriptions.join_next().await else { break };
        let (shard, children) = ended??;
        lineage.end(shard);
        lineage.offer(children);
    }
    let waiting = lineage.waiting();
    let mut ledger = Arc::into_inner(reader)
        .ok_or("a subscription goes on")?
        .ledger
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if !waiting.is_empty() {
        ledger.fault("shards with parents that it never saw", || waiting);
    }
    Ok(ledger)
}

/// Makes the consumers; gives their ARNs once all are active.
async fn register(client: &mut Client) -> Result<Vec<String>, Error> {
    let body = client.call("DescribeStreamSummary", &json!({ "StreamName": STREAM })).await?;
    let stream = parse::<Summary>("DescribeStreamSummary", &body)?.stream_description_summary.stream_arn;
    let mut arns = Vec::new();
    for number in 0..CONSUMERS {
        let input = json!({ "StreamARN": stream, "ConsumerName": format!("soak-{number}") });
        let body = client.call("RegisterStreamConsumer", &input).await?;
        arns.push(parse::<Registered>("RegisterStreamConsumer", &body)?.consumer.consumer_arn);
    }
    for arn in &arns {
        loop {
            let body = client.call("DescribeStreamConsumer", &json!({ "ConsumerARN": arn })).await?;
            let described: Described = parse("DescribeStreamConsumer", &body)?;
            if described.consumer_description.consumer_status == "ACTIVE" {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(arns)
}

impl Reader {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a shard to its end; gives those that come from it.
    async fn read(&self, shard: ShardId) -> Result<Vec<Shard>, Error> {
        let mut after = None;
        let mut turn = fastrand::usize(..CONSUMERS);
        loop {
            let mut subscription = self.open(shard, after, &mut turn).await?;
            while let Some(message) = subscription.next().await? {
                let Some(event) = event(&message)? else { continue };
                let mut ended = false;
                {
                    let mut ledger = self.ledger();
                    for record in &event.records {
                        if ended {
                            ledger.fault("behind the end", || format!("{} in {shard}", record.partition_key));
                        }
                        ended |= ledger.take(shard, record);
                    }
                    self.me.at(ledger.got());
                    let newest = event.records.last().map(|record| record.sequence_number).max(after);
                    if event.continuation_sequence_number.is_some_and(|number| Some(number) < newest) {
                        ledger.fault("continuation behind what was read", || format!("in {shard}"));
                    }
                }
                if let Some(children) = event.child_shards.filter(|children| !children.is_empty()) {
                    return Ok(children);
                }
                if ended {
                    return Ok(Vec::new());
                }
                after = event.continuation_sequence_number.or(after);
                if fastrand::u32(..CUTS) == 0 {
                    break; // which drops the connection, and what is on it
                }
            }
        }
    }

    /// Subscribes behind a number, or from the first record on, under the next consumer that may.
    async fn open(
        &self,
        shard: ShardId,
        after: Option<SequenceNumber>,
        turn: &mut usize,
    ) -> Result<Subscription, Error> {
        let position = match after {
            None => json!({ "Type": "TRIM_HORIZON" }),
            Some(number) => json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number }),
        };
        loop {
            for _ in 0..CONSUMERS {
                *turn = (*turn + 1) % CONSUMERS;
                let consumer = &self.consumers[*turn];
                let input =
                    json!({ "ConsumerARN": consumer, "ShardId": shard, "StartingPosition": position });
                let mut client = Client::connect(self.port).await?;
                match client.open("SubscribeToShard", &input).await {
                    Ok(body) => return Ok(Subscription::new(client, body)),
                    Err(Failure::Refused { error, .. })
                        if ["ResourceInUseException", "LimitExceededException"].contains(&error.as_str()) => {
                    }
                    Err(failure) => return Err(failure.into()),
                }
            }
            tokio::time::sleep(REFUSED).await;
        }
    }
}

/// An answer that goes on. Its connection closes with it.
struct Subscription {
    body: Incoming,
    buffer: BytesMut,
    decoder: MessageFrameDecoder,
    _client: Client,
}

impl Subscription {
    fn new(client: Client, body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new(), decoder: MessageFrameDecoder::new(), _client: client }
    }

    /// The next message; `None` at the end of the answer.
    async fn next(&mut self) -> Result<Option<Message>, Error> {
        loop {
            if let DecodedFrame::Complete(message) = self.decoder.decode_frame(&mut self.buffer)? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err("the answer broke off in a message".into())
                };
            };
            if let Ok(data) = frame?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

/// The event in a message, unless it is the one that opens the answer.
fn event(message: &Message) -> Result<Option<Event<'_>>, Error> {
    let headers = parse_response_headers(message)?;
    match (headers.message_type.as_str(), headers.smithy_type.as_str()) {
        ("event", "initial-response") => Ok(None),
        ("event", "SubscribeToShardEvent") => Ok(Some(parse("SubscribeToShard", message.payload())?)),
        (kind, name) => Err(format!("{kind} {name}: {}", String::from_utf8_lossy(message.payload())).into()),
    }
}
