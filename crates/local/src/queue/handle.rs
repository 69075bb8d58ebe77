//! [`Queue`]: what the rest of the process holds. Here are the lock and the clock.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::error::{ApiError, ErrorCode};
use super::limits::{MESSAGE_BYTES, QUEUE_BYTES};
use super::store::{Counts, Received, Store};

/// Says of a message's body whether the queue takes it, before it does: for failures on request.
pub type Admit = Arc<dyn Fn(&str) -> Result<(), ApiError> + Send + Sync>;

/// One queue. A clone is the same queue.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    name: String,
    account: String,
    region: String,
    endpoint: String,
    made_ms: u64,
    admit: Admit,
    store: Mutex<Store>,
    /// Counts the messages sent, for those who wait for one.
    version: watch::Sender<u64>,
}

impl Queue {
    /// An empty queue that takes every message; `endpoint` is where it is served, such as `http://127.0.0.1:9324`.
    pub fn new(name: &str, account: &str, region: &str, endpoint: &str) -> Self {
        Self::admitting(name, account, region, endpoint, Arc::new(|_| Ok(())))
    }

    /// The same, but that every message first has to pass `admit`.
    pub fn admitting(name: &str, account: &str, region: &str, endpoint: &str, admit: Admit) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            account: account.into(),
            region: region.into(),
            endpoint: endpoint.trim_end_matches('/').into(),
            made_ms: now_ms(),
            admit,
            store: Mutex::new(Store::new(QUEUE_BYTES)),
            version: watch::Sender::new(0),
        }))
    }

    /// The URL by which the API's callers name it.
    pub fn url(&self) -> String {
        let Inner { endpoint, account, name, .. } = &*self.0;
        format!("{endpoint}/{account}/{name}")
    }

    /// Where it is served.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// Its Amazon Resource Name.
    pub fn arn(&self) -> String {
        let Inner { region, account, name, .. } = &*self.0;
        format!("arn:aws:sqs:{region}:{account}:{name}")
    }

    /// How many messages it holds.
    pub fn counts(&self) -> Counts {
        self.store().counts(now_ms())
    }

    /// The body of every message that nobody has deleted, in the order in which they were sent.
    pub fn bodies(&self) -> Vec<String> {
        self.store().bodies()
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn account(&self) -> &str {
        &self.0.account
    }

    pub(super) fn made_ms(&self) -> u64 {
        self.0.made_ms
    }

    /// Takes a message of somebody who calls the API; gives its id and the MD5 of its body.
    pub(super) fn admit(&self, body: String) -> Result<(String, String), ApiError> {
        (self.0.admit)(&body)?;
        self.send(body)
    }

    /// Takes a message, whatever goes wrong on request; gives its id and the MD5 of its body.
    pub(crate) fn send(&self, body: String) -> Result<(String, String), ApiError> {
        check_body(&body)?;
        let id = random_id();
        let md5 = self.store().send(id.clone(), body, now_ms())?;
        self.0.version.send_modify(|version| *version += 1);
        Ok((id, md5))
    }

    /// Receives messages, and waits so long for the first.
    pub(super) async fn receive(
        &self,
        most: usize,
        hidden: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, ApiError> {
        let until = Instant::now() + wait;
        loop {
            // Before the look: what is sent behind it wakes us.
            let mut version = self.0.version.subscribe();
            let (received, now_ms, next) = {
                let (mut store, now_ms) = (self.store(), now_ms());
                (store.receive(most, hidden, now_ms)?, now_ms, store.next_visible_ms(now_ms))
            };
            if !received.is_empty() || Instant::now() >= until {
                return Ok(received);
            }
            let next = next.map(|ms| Instant::now() + Duration::from_millis(ms - now_ms));
            tokio::select! {
                _ = version.changed() => {} // the sender is in `self`: it cannot close while we wait
                () = sleep_until(next.unwrap_or(until).min(until)) => {}
            }
        }
    }

    pub(super) fn delete(&self, handle: &str) -> Result<(), ApiError> {
        self.store().delete(handle)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("url", &self.url())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// Whether a body has the size and the characters that it may have: those of XML 1.0 (API: SendMessage, MessageBody).
fn check_body(body: &str) -> Result<(), ApiError> {
    if body.len() > MESSAGE_BYTES {
        let reason = format!("Message must be shorter than {MESSAGE_BYTES} bytes.");
        let message = format!("One or more parameters are invalid. Reason: {reason}");
        return Err(ApiError::new(ErrorCode::InvalidParameterValue, message));
    }
    let allowed = |character: char| matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    match body.chars().find(|&character| !allowed(character)) {
        None => Ok(()),
        Some(character) => {
            let message = format!("Invalid characters found: U+{:04X}", u32::from(character));
            Err(ApiError::new(ErrorCode::InvalidMessageContents, message))
        }
    }
}

/// A random UUID: of a message, of a request.
pub(super) fn random_id() -> String {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid().to_string()
}

/// The time of this machine, in milliseconds since 1970.
fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}
