//! The queue for undelivered packets: one message a packet, in batches under the limits of SQS, and the result of every
//! entry read. What the queue does not take goes to the log; nothing is given up here without a word.

mod message;
pub(crate) use message::Message;

mod sqs;
pub use sqs::Sqs;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Entries of one batch (SQS quotas, batched message entries).
const BATCH_ENTRIES: usize = 10;

/// Bytes of one message, and of a batch's messages together. SQS takes 1,048,576 (SQS quotas, message size); what is
/// left is room for whatever stands between, such as a redrive that adds attributes.
pub(crate) const MESSAGE_BYTES: usize = 1_000_000;

/// Longest wait for the answer to one batch.
const ATTEMPT: Duration = Duration::from_secs(1);

/// No batch starts with less time left than this: it would most likely end with an unknown outcome.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

/// Most batches under way at once.
const IN_FLIGHT: usize = 8;

/// The pause after the n-th failure in a row is drawn evenly from nothing to `PAUSE_BASE * 2^n`, at most `PAUSE_MOST`.
const PAUSE_BASE: Duration = Duration::from_millis(25);
const PAUSE_MOST: Duration = Duration::from_millis(500);

/// The seam between the producer and a queue.
pub trait SendMessages {
    /// Sends one batch of messages with these bodies, once: whoever calls retries. The answer has a result for each
    /// body, in order, or is a refusal of the whole.
    fn send_messages(&self, bodies: &[&str]) -> impl Future<Output = Answer>;
}

/// What came back of a batch.
pub type Answer = Result<Vec<Result<(), Refusal>>, Refusal>;

/// Why a message, or a whole batch, was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The AWS error's own name, or one of ours where AWS gave none.
    pub code: String,
    /// The service's own words, or a sentence on what happened.
    pub message: String,
    /// What to do about it.
    pub then: Then,
}

/// What to do after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Send the same again after a pause: the queue failed or has no capacity left.
    Again,
    /// Nothing: the queue will never take this.
    GiveUp,
    /// Send nothing any more: no message will be taken until a person changes something.
    Stop,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// What became of some messages.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Of each body given, whether the queue has it for certain.
    pub(crate) taken: Vec<bool>,
    /// The last reason why not all of them were taken at once.
    pub(crate) refusal: Option<Refusal>,
}

/// Gives messages to the queue until it has taken or refused each, at the latest at `until`. Nothing is under way any
/// more when this returns. No body may be larger than [`MESSAGE_BYTES`].
pub(crate) async fn deliver(queue: &impl SendMessages, bodies: &[String], until: Instant) -> Delivery {
    let mut delivery = Delivery { taken: vec![false; bodies.len()], refusal: None };
    let mut waiting: VecDeque<usize> = (0..bodies.len()).collect();
    let mut in_flight = FuturesUnordered::new();
    let (mut resume, mut failures, mut stopped) = (Instant::now(), 0_u32, false);
    loop {
        let next_start = resume.max(Instant::now());
        if stopped || next_start + SHORTEST_ATTEMPT > until {
            waiting.clear();
        }
        let may_send = !waiting.is_empty() && in_flight.len() < IN_FLIGHT;
        if may_send && Instant::now() >= resume {
            let batch = next_batch(&mut waiting, |index| bodies[index].len());
            in_flight.push(async move {
                let bodies: Vec<_> = batch.iter().map(|&index| bodies[index].as_str()).collect();
                let give_up_at = until.min(Instant::now() + ATTEMPT);
                let answer = timeout_at(give_up_at, queue.send_messages(&bodies)).await;
                (batch, answer.unwrap_or_else(|_| Err(no_answer())))
            });
            continue;
        }
        tokio::select! {
            biased;
            Some((batch, answer)) = in_flight.next() => {
                stopped |= matches!(&answer, Err(refusal) if refusal.then == Then::Stop);
                let given = batch.len();
                let again = delivery.answered(batch, answer);
                // A queue that takes a part of a batch is at work: what it did not take goes again behind the others.
                failures = if again.len() < given { 0 } else { failures + 1 };
                if failures > 0 {
                    let most = PAUSE_BASE.saturating_mul(1 << failures.min(10)).min(PAUSE_MOST);
                    resume = Instant::now() + most.mul_f64(fastrand::f64());
                }
                waiting.extend(again);
            }
            () = sleep_until(resume), if may_send => {}
            else => return delivery,
        }
    }
}

impl Delivery {
    /// Takes the answer to a batch; says which of it to send again.
    fn answered(&mut self, batch: Vec<usize>, answer: Answer) -> Vec<usize> {
        let mut results = match answer {
            Ok(results) => results.into_iter(),
            Err(refusal) => vec![Err(refusal); batch.len()].into_iter(),
        };
        let mut again = Vec::new();
        for index in batch {
            match results.next().unwrap_or_else(|| Err(no_result())) {
                Ok(()) => self.taken[index] = true,
                Err(refusal) => {
                    if refusal.then == Then::Again {
                        again.push(index);
                    }
                    self.refusal = Some(refusal);
                }
            }
        }
        again
    }
}

/// Takes from the front of what waits as much as one batch may hold; `bytes` says how large each is.
fn next_batch(waiting: &mut VecDeque<usize>, bytes: impl Fn(usize) -> usize) -> Vec<usize> {
    let mut total = 0;
    let fits = waiting.iter().take(BATCH_ENTRIES).take_while(|&&index| {
        total += bytes(index);
        total <= MESSAGE_BYTES
    });
    // One that alone is too large must not wait for ever: it goes, and is refused.
    let count = fits.count().max(1).min(waiting.len());
    waiting.drain(..count).collect()
}

fn no_answer() -> Refusal {
    Refusal { code: "TimedOut".into(), message: "the queue did not answer in time".into(), then: Then::Again }
}

fn no_result() -> Refusal {
    Refusal {
        code: "NoResult".into(),
        message: "the queue's answer held no result for the message".into(),
        then: Then::Again,
    }
}

#[cfg(test)]
mod tests;
