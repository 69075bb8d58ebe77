//! What the queue holds, and which of it can be received. No lock, no clock, no I/O: times are given, in milliseconds
//! since 1970.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use md5::{Digest, Md5};

use super::error::{ApiError, ErrorCode};
use super::limits::{IN_FLIGHT, MESSAGE_OVERHEAD};

/// The messages of a queue.
#[derive(Debug)]
pub(super) struct Store {
    /// Bytes that it may hold.
    room: usize,
    /// By the time from which each can be received, then by age.
    messages: BTreeMap<(u64, u64), Message>,
    /// Of every message's number, that time.
    visible_from: HashMap<u64, u64>,
    last_number: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Message {
    id: String,
    body: String,
    md5: String,
    sent_ms: u64,
    first_received_ms: Option<u64>,
    receipts: u64,
}

/// How many messages there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Those that can be received.
    pub visible: usize,
    /// Those that somebody has received and not deleted, and whose visibility timeout is not over.
    pub in_flight: usize,
}

/// A message as its receiver gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) id: String,
    /// What deletes it.
    pub(super) handle: String,
    pub(super) body: String,
    pub(super) md5: String,
    pub(super) sent_ms: u64,
    pub(super) first_received_ms: u64,
    /// How often it was received, this time included.
    pub(super) receipts: u64,
}

impl Store {
    /// An empty queue that holds at most so many bytes.
    pub(super) fn new(room: usize) -> Self {
        Self { room, messages: BTreeMap::new(), visible_from: HashMap::new(), last_number: 0, bytes: 0 }
    }

    /// Takes a message under an id that no other has; gives the MD5 of its body.
    pub(super) fn send(&mut self, id: String, body: String, now_ms: u64) -> Result<String, ApiError> {
        let bytes = body.len() + MESSAGE_OVERHEAD;
        if self.bytes + bytes > self.room {
            let Self { bytes: held, room, .. } = self;
            let message = format!("The local queue holds {held} bytes, at most {room} are kept");
            return Err(ApiError::new(ErrorCode::OverLimit, message));
        }
        self.bytes += bytes;
        self.last_number += 1;
        let md5 = hex(&Md5::digest(&body));
        let message =
            Message { id, body, md5: md5.clone(), sent_ms: now_ms, first_received_ms: None, receipts: 0 };
        self.place(self.last_number, now_ms, message);
        Ok(md5)
    }

    /// At most `most` of the messages that can be received, which are then hidden for a while.
    pub(super) fn receive(
        &mut self,
        most: usize,
        hidden: Duration,
        now_ms: u64,
    ) -> Result<Vec<Received>, ApiError> {
        if self.counts(now_ms).in_flight >= IN_FLIGHT {
            let message = format!("{IN_FLIGHT} messages are in flight, no more can be received");
            return Err(ApiError::new(ErrorCode::OverLimit, message));
        }
        let visible: Vec<_> =
            self.messages.range(..=(now_ms, u64::MAX)).take(most).map(|(&key, _)| key).collect();
        let hidden_ms = u64::try_from(hidden.as_millis()).unwrap_or(u64::MAX);
        let mut received = Vec::with_capacity(visible.len());
        for (from, number) in visible {
            let Some(mut message) = self.messages.remove(&(from, number)) else { continue };
            message.receipts += 1;
            let first_received_ms = *message.first_received_ms.get_or_insert(now_ms);
            received.push(Received {
                id: message.id.clone(),
                handle: Handle { number, receipt: message.receipts, id: &message.id }.seal(),
                body: message.body.clone(),
                md5: message.md5.clone(),
                sent_ms: message.sent_ms,
                first_received_ms,
                receipts: message.receipts,
            });
            self.place(number, now_ms.saturating_add(hidden_ms), message);
        }
        Ok(received)
    }

    /// Deletes the message that was received with this handle. One that has been received again since stays, and one
    /// that is gone is gone; both are no error to the service.
    pub(super) fn delete(&mut self, handle: &str) -> Result<(), ApiError> {
        let invalid = || {
            let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
            ApiError::new(ErrorCode::ReceiptHandleIsInvalid, message)
        };
        let opened = BASE64_URL_SAFE_NO_PAD.decode(handle).map_err(|_| invalid())?;
        let handle = Handle::open(&opened).ok_or_else(invalid)?;
        let Some(&from) = self.visible_from.get(&handle.number) else { return Ok(()) };
        let key = (from, handle.number);
        let is_meant = |message: &&Message| message.id == handle.id && message.receipts == handle.receipt;
        if let Some(message) = self.messages.get(&key).filter(is_meant) {
            self.bytes -= message.body.len() + MESSAGE_OVERHEAD;
            self.messages.remove(&key);
            self.visible_from.remove(&handle.number);
        }
        Ok(())
    }

    pub(super) fn counts(&self, now_ms: u64) -> Counts {
        let visible = self.messages.range(..=(now_ms, u64::MAX)).count();
        Counts { visible, in_flight: self.messages.len() - visible }
    }

    /// When the next of the hidden messages can be received again.
    pub(super) fn next_visible_ms(&self, now_ms: u64) -> Option<u64> {
        self.messages.range((now_ms.saturating_add(1), 0)..).next().map(|(&(from, _), _)| from)
    }

    /// Every body, the hidden ones too, in the order in which they were sent.
    pub(super) fn bodies(&self) -> Vec<String> {
        let mut messages: Vec<_> =
            self.messages.iter().map(|(&(_, number), message)| (number, message)).collect();
        messages.sort_unstable_by_key(|&(number, _)| number);
        messages.into_iter().map(|(_, message)| message.body.clone()).collect()
    }

    fn place(&mut self, number: u64, visible_from: u64, message: Message) {
        self.visible_from.insert(number, visible_from);
        self.messages.insert((visible_from, number), message);
    }
}

/// What stands in a receipt handle. The id is there so that the handle of an earlier queue fits none of this one's.
struct Handle<'a> {
    number: u64,
    receipt: u64,
    id: &'a str,
}

impl<'a> Handle<'a> {
    fn seal(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(format!("{}/{}/{}", self.number, self.receipt, self.id))
    }

    fn open(sealed: &'a [u8]) -> Option<Self> {
        let mut parts = str::from_utf8(sealed).ok()?.splitn(3, '/');
        let (number, receipt) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { number, receipt, id: parts.next()? })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
