//! The registered consumers of a stream, and which of its shards each is subscribed to. No lock, no clock, no I/O.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::watch;
use tokio::time::Instant;

use super::api::About;
use super::error::{ApiError, ErrorCode};
use super::id::ShardId;
use super::limits::{CONSUMER_MS, MAX_CONSUMERS, MAX_CONSUMERS_CREATING, RESUBSCRIBE, SUBSCRIBE_EVERY};

/// The consumers of one stream.
#[derive(Debug, Default)]
pub(super) struct Consumers(BTreeMap<String, Consumer>); // by name

/// A consumer. Dropped, it ends its subscriptions.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) made_ms: u64,
    pub(super) about: About,
    calls: HashMap<ShardId, Calls>,
}

/// What a consumer asked of a shard.
#[derive(Debug, Default)]
struct Calls {
    last: Option<Instant>,
    subscribed: Option<Subscribed>,
}

/// A subscription that was begun; dropped, it ends.
#[derive(Debug)]
struct Subscribed {
    begun: Instant,
    _holds: watch::Sender<()>,
}

impl Consumer {
    /// Whether it is not ready yet.
    pub(super) fn is_creating(&self, now_ms: u64) -> bool {
        now_ms < self.made_ms + CONSUMER_MS
    }

    /// Subscribes to a shard at `now`. The subscription holds for as long as the sender of what is given back is there.
    ///
    /// # Errors
    /// `ResourceInUse` before the last one is five seconds old, from when on a new one takes its place; `LimitExceeded`
    /// for more than a call a second (API: SubscribeToShard).
    pub(super) fn subscribe(
        &mut self,
        shard: ShardId,
        now: Instant,
    ) -> Result<watch::Receiver<()>, ApiError> {
        let arn = &self.arn;
        let calls = self.calls.entry(shard).or_default();
        let too_soon = calls.last.is_some_and(|last| now < last + SUBSCRIBE_EVERY);
        if calls.subscribed.as_ref().is_some_and(|subscribed| now < subscribed.begun + RESUBSCRIBE) {
            let message = format!(
                "Another active subscription exists for this consumer: {arn} was subscribed to {shard} less than {} \
                 seconds ago",
                RESUBSCRIBE.as_secs()
            );
            calls.last = Some(now);
            return Err(ApiError::new(ErrorCode::ResourceInUse, message));
        }
        // Such a call is none, or whoever keeps on calling would never be let in.
        if too_soon {
            let message = format!("Rate exceeded for consumer {arn} and {shard}: it is one call a second");
            return Err(ApiError::new(ErrorCode::LimitExceeded, message));
        }
        calls.last = Some(now);
        let (holds, held) = watch::channel(());
        calls.subscribed = Some(Subscribed { begun: now, _holds: holds });
        Ok(held)
    }
}

impl Consumers {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those behind this name, by name.
    pub(super) fn after<'a>(&'a self, name: Option<&'a str>) -> impl Iterator<Item = &'a Consumer> {
        self.0.values().filter(move |consumer| name.is_none_or(|name| &*consumer.name > name))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Consumer> {
        self.0.get(name)
    }

    /// The one with this ARN.
    pub(super) fn by_arn(&mut self, arn: &str) -> Option<&mut Consumer> {
        self.0.values_mut().find(|consumer| consumer.arn == arn)
    }

    /// Registers a consumer of the stream with this ARN.
    ///
    /// # Errors
    /// `ResourceInUse` for a name that is there, `LimitExceeded` for too many (API: RegisterStreamConsumer).
    pub(super) fn register(
        &mut self,
        stream: &str,
        name: &str,
        now_ms: u64,
    ) -> Result<&mut Consumer, ApiError> {
        if self.0.contains_key(name) {
            let message = format!("Consumer {name} of {stream} already exists.");
            return Err(ApiError::new(ErrorCode::ResourceInUse, message));
        }
        let creating = self.0.values().filter(|consumer| consumer.is_creating(now_ms)).count();
        for (count, most, what) in [
            (self.0.len(), MAX_CONSUMERS, "registered consumers"),
            (creating, MAX_CONSUMERS_CREATING, "consumers that are being created"),
        ] {
            if count >= most {
                let message = format!("{stream} has {count} {what}, which is as many as it may have");
                return Err(ApiError::new(ErrorCode::LimitExceeded, message));
            }
        }
        let arn = format!("{stream}/consumer/{name}:{}", now_ms / 1000);
        let consumer = Consumer {
            name: name.into(),
            arn,
            made_ms: now_ms,
            about: About::default(),
            calls: HashMap::new(),
        };
        Ok(self.0.entry(name.into()).or_insert(consumer))
    }

    /// Removes a consumer; its subscriptions end.
    pub(super) fn deregister(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Removes all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

    #[test]
    fn a_consumer_is_named_by_its_stream_its_name_and_its_second() {
        let mut consumers = Consumers::default();
        let consumer = consumers.register(ARN, "c", 1_700_000_000_999).unwrap();
        assert_eq!(consumer.arn, format!("{ARN}/consumer/c:1700000000"));
        assert!(
            consumer.is_creating(1_700_000_000_999) && !consumer.is_creating(1_700_000_000_999 + CONSUMER_MS)
        );
        assert_eq!(consumers.register(ARN, "c", 0).unwrap_err().code, ErrorCode::ResourceInUse);
    }

    #[test]
    fn there_are_twenty_at_most_and_five_at_once_in_the_making() {
        let mut consumers = Consumers::default();
        let mut registered = |number: u64, at| consumers.register(ARN, &format!("c{number}"), at).map(drop);
        for number in 0..5 {
            registered(number, 0).unwrap();
        }
        assert_eq!(registered(5, 0).unwrap_err().code, ErrorCode::LimitExceeded);
        for number in 5..20 {
            registered(number, number * CONSUMER_MS).unwrap();
        }
        assert_eq!(registered(20, 1_000_000).unwrap_err().code, ErrorCode::LimitExceeded);
    }

    /// What comes of calls at these seconds: subscribed, in use, or too many calls.
    #[track_caller]
    fn check(seconds: &[f64], want: &str) {
        let mut consumers = Consumers::default();
        let arn = consumers.register(ARN, "c", 0).unwrap().arn.clone();
        let (consumer, begin) = (consumers.by_arn(&arn).unwrap(), Instant::now());
        let mut held = Vec::new();
        let came = seconds.iter().map(|at| {
            match consumer.subscribe(ShardId(0), begin + Duration::from_secs_f64(*at)) {
                Ok(subscription) => {
                    held.push(subscription);
                    's'
                }
                Err(error) if error.code == ErrorCode::ResourceInUse => 'u',
                Err(_) => 'l',
            }
        });
        assert_eq!(came.collect::<String>(), want);
        let ended: Vec<_> = held.iter().map(|held| held.has_changed().is_err()).collect();
        assert!(ended.iter().rev().skip(1).all(|ended| *ended), "the earlier ones have ended");
        assert_eq!(ended.last(), Some(&false));
        drop(consumers);
        assert!(held.iter().all(|held| held.has_changed().is_err()), "all end with the consumer");
    }

    #[test]
    fn a_subscription_is_taken_over_after_five_seconds_and_not_before() {
        check(&[0.0, 0.1, 1.2, 4.9], "suuu");
        check(&[0.0, 5.0, 9.0, 10.0], "ssus");
        check(&[0.0, 4.5, 5.2, 5.3, 5.5], "sulls");
    }
}
