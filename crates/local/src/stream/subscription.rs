//! A subscription to a shard: enhanced fan-out, pushed as an event stream
//! (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>).
//!
//! It reads a piece when the last one was taken, so that a slow reader costs no memory.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::error::{ApiError, ErrorCode};
use super::handle::{Stream, not_found, now_ms};
use super::id::ShardId;
use super::limits::{EVENT_BYTES, KEEP_ALIVE, SUBSCRIPTION};
use super::shard::{Position, Read};

/// Records in one event (as in one `GetRecords`).
const EVENT_RECORDS: usize = 10_000;

/// A subscription that was granted. Dropped, it is over.
pub(super) struct Subscription {
    stream: Stream,
    account: String,
    shard: ShardId,
    /// Closed when another takes its place, or the consumer is gone.
    held: watch::Receiver<()>,
    /// Where to go on; none once the end of the shard was told.
    next: Option<Position>,
    began: bool,
    ends: Instant,
    keep_alive: Instant,
    over: bool,
}

/// Why waiting for news came to an end.
enum Woke {
    News,
    KeepAlive,
    /// The five minutes are over.
    Expired,
    TakenOver,
}

impl Subscription {
    /// Of a consumer, from a position that stays.
    pub(super) fn new(
        stream: Stream,
        account: String,
        shard: ShardId,
        from: Position,
        held: watch::Receiver<()>,
    ) -> Self {
        let now = Instant::now();
        let (ends, keep_alive) = (now + SUBSCRIPTION, now + KEEP_ALIVE);
        Self { stream, account, shard, held, next: Some(from), began: false, ends, keep_alive, over: false }
    }

    /// The next message on the wire, as soon as there is one; none at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        if !self.began {
            self.began = true;
            return Some(message("event", "initial-response", b"{}".to_vec()));
        }
        // Whoever has much left to read may never have to wait.
        if self.held.has_changed().is_err() {
            return Some(self.taken_over());
        }
        let mut news_due = false;
        loop {
            let seen = self.stream.version();
            let from = self.next?;
            let read = self.stream.read_at(self.shard, &from, EVENT_RECORDS, EVENT_BYTES, now_ms());
            let read = match read {
                Ok(read) => read,
                Err(error) => return Some(self.fail(&error)),
            };
            if !read.records.is_empty() || read.next.is_none() || news_due {
                return Some(self.event(&read));
            }
            match self.wait(seen).await {
                Woke::News => {}
                Woke::KeepAlive => news_due = true,
                Woke::Expired => {
                    self.over = true;
                    return None;
                }
                Woke::TakenOver => return Some(self.taken_over()),
            }
        }
    }

    /// When its time is over, also for a reader that takes nothing.
    pub(super) fn ends(&self) -> Instant {
        self.ends
    }

    async fn wait(&mut self, seen: u64) -> Woke {
        tokio::select! {
            biased;
            _ = self.held.changed() => Woke::TakenOver, // there is nothing to be changed: its other side is gone
            () = sleep_until(self.ends) => Woke::Expired,
            () = sleep_until(self.keep_alive) => Woke::KeepAlive, // before the news, which may be of other shards
            _ = self.stream.changed(seen) => Woke::News,
        }
    }

    fn event(&mut self, read: &Read) -> Bytes {
        self.next = read.next;
        self.over = read.next.is_none() || Instant::now() >= self.ends;
        self.keep_alive = Instant::now() + KEEP_ALIVE;
        let event = super::api::subscription_event(&self.stream, self.shard, read);
        message("event", "SubscribeToShardEvent", event)
    }

    /// The end by another call, or with the consumer. A stream that was deleted took its consumers along.
    fn taken_over(&mut self) -> Bytes {
        let deleted = self.stream.contents().deleted;
        let error = if deleted {
            not_found(self.stream.name(), &self.account)
        } else {
            let message = format!(
                "The subscription to {} was ended by another call or by the deregistration of its consumer",
                self.shard
            );
            ApiError::new(ErrorCode::ResourceInUse, message)
        };
        self.fail(&error)
    }

    fn fail(&mut self, error: &ApiError) -> Bytes {
        self.over = true;
        let body = serde_json::json!({ "message": error.message }).to_string();
        message("exception", error.code.name(), body.into_bytes())
    }
}

/// A message in the encoding `vnd.amazon.eventstream`. `kind` is its type, and `name` that of its event or exception.
fn message(kind: &'static str, name: &'static str, payload: Vec<u8>) -> Bytes {
    let text = |text: &'static str| HeaderValue::String(text.into());
    let name_header = if kind == "exception" { ":exception-type" } else { ":event-type" };
    let message = Message::new(payload)
        .add_header(Header::new(":message-type", text(kind)))
        .add_header(Header::new(name_header, text(name)))
        .add_header(Header::new(":content-type", text("application/json")));
    let mut bytes = BytesMut::new();
    // It fails for what is longer than 24 MB, and no event is.
    let _ = write_message_to(&message, &mut bytes);
    bytes.freeze()
}

#[cfg(test)]
mod tests;
