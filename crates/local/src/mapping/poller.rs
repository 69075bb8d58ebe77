//! One shard's loop around its lanes: reads, invokes, waits, and does what the lanes say.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::answer::{Verdict, verdict};
use super::event::{self, Origin};
use super::failure::Reporter;
use super::lanes::{Lanes, Next};
use super::machine::{GivenUp, Sized};
use super::source::{Source, Unreadable};
use super::{Event, Listener, Rest, SOURCE_PAUSE, epoch_ms, lock};
use crate::runtime::{Function, Outcome, request_id};
use crate::stream::{Position, Read};

/// One shard's loop around its lanes.
pub(super) struct Poller<S> {
    pub(super) source: Arc<S>,
    pub(super) function: Function,
    /// Changes when the mapping is enabled or disabled; the lanes know it by then.
    pub(super) enabled: watch::Receiver<bool>,
    pub(super) lanes: Arc<Mutex<Lanes>>,
    pub(super) under_way: JoinSet<Answered>,
    pub(super) origin: Origin,
    pub(super) reporter: Reporter,
    pub(super) listener: Listener,
}

/// An invocation that has come to its end.
pub(super) struct Answered {
    lane: usize,
    request_id: String,
    numbers: Vec<String>,
    outcome: Outcome,
}

/// A reading under way. Dropping it loses nothing: the position moves on only with what was taken.
type Reading = Pin<Box<dyn Future<Output = Result<Read, Unreadable>> + Send>>;

impl<S: Source> Poller<S> {
    /// Ends when nothing of the shard is left, or when it is told to stop; says where that was.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Rest {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.poll() => {}
        }
        // What was answered is no rest, be it seen or not.
        self.under_way.abort_all();
        while let Some(ended) = self.under_way.join_next().await {
            if !ended.as_ref().is_err_and(JoinError::is_cancelled) {
                self.answered(ended);
            }
        }
        let lanes = lock(&self.lanes);
        let records = lanes.unhandled().into_iter().cloned().collect();
        Rest { shard: self.origin.shard, records, next: lanes.next }
    }

    /// Ends when the shard is read to its end and nothing of it is left.
    async fn poll(&mut self) {
        while let Some(from) = self.next() {
            match self.source.fix(self.origin.shard, from).await {
                Ok(fixed) => {
                    lock(&self.lanes).next = Some(fixed);
                    break;
                }
                Err(why) => tokio::time::sleep(self.cannot_read(why)).await,
            }
        }
        let (mut reading, mut pause) = (None, Duration::ZERO);
        loop {
            let until = match self.step() {
                Next::Invoke(lane, batch) => {
                    self.invoke(lane, batch);
                    continue;
                }
                Next::Discard(given_up) => {
                    self.discard(&given_up);
                    continue;
                }
                Next::Wait(_) if self.next().is_none() && lock(&self.lanes).is_empty() => return,
                Next::Wait(until) => until,
            };
            if reading.is_none() {
                reading = self.reading(pause);
            }
            tokio::select! {
                Some(answered) = self.under_way.join_next() => self.answered(answered),
                read = of(&mut reading) => {
                    reading = None;
                    pause = self.took(read);
                }
                Ok(()) = self.enabled.changed() => {
                    // What is read while it is disabled would only wait here.
                    reading = None;
                }
                () = until_then(until) => {}
            }
        }
    }

    /// Where reading goes on.
    fn next(&self) -> Option<Position> {
        lock(&self.lanes).next
    }

    /// What is to be done now.
    fn step(&self) -> Next {
        let kept_from_ms = self.source.kept_from_ms();
        let mut lanes = lock(&self.lanes);
        let trimmed = kept_from_ms.map_or(0, |kept_from_ms| lanes.trim(kept_from_ms));
        let next = lanes.step(Instant::now(), epoch_ms());
        drop(lanes);
        if trimmed > 0 {
            (self.listener)(Event::Trimmed(trimmed));
        }
        next
    }

    /// Reads on after a pause; none at the end of the shard, and where there is no room for more.
    fn reading(&self, pause: Duration) -> Option<Reading> {
        let (source, shard) = (Arc::clone(&self.source), self.origin.shard);
        let (from, most) = (self.next()?, lock(&self.lanes).wants());
        let read = async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            source.read(shard, from, most).await
        };
        (most > 0).then(|| Box::pin(read) as Reading)
    }

    fn invoke(&mut self, lane: usize, batch: Vec<Sized>) {
        let records: Vec<_> = batch.into_iter().map(|sized| sized.record).collect();
        let numbers = records.iter().map(|record| record.sequence_number.to_string()).collect();
        let event = event::event(&records, &self.origin);
        let (function, request_id) = (self.function.clone(), request_id());
        self.under_way.spawn(async move {
            let outcome = function.invoke_as(&request_id, event).await;
            Answered { lane, request_id, numbers, outcome }
        });
    }

    fn answered(&mut self, answered: Result<Answered, JoinError>) {
        let Answered { lane, request_id, numbers, outcome } = match answered {
            Ok(answered) => answered,
            // What was aborted is not passed on to here.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let partial_answers = lock(&self.lanes).partial_answers();
        let verdict = verdict(&outcome, &numbers, partial_answers);
        let (shard, listener) = (self.origin.shard, &self.listener);
        let handled = match &verdict {
            Verdict::Success => numbers.len(),
            Verdict::FailedFrom(position) => {
                let number = &numbers[*position];
                listener(Event::Trouble(format!(
                    "{shard}: the function reported {number}; retrying from there"
                )));
                *position
            }
            Verdict::Failed(why) | Verdict::FunctionError(why) | Verdict::NotInvoked(why) => {
                listener(Event::Trouble(format!("{shard}: a batch of {} failed: {why}", numbers.len())));
                0
            }
        };
        listener(Event::Handled(handled as u64));
        lock(&self.lanes).answered(lane, &verdict, &request_id, Instant::now());
    }

    fn discard(&self, given_up: &GivenUp) {
        let (shard, first) =
            (self.origin.shard, given_up.records.first().map(|sized| sized.record.sequence_number));
        let from = first.map(|first| first.to_string()).unwrap_or_default();
        let why = format!("{:?} in {shard}, from sequence number {from}", given_up.condition);
        let kept = self.reporter.report(given_up, &self.origin, epoch_ms(), &request_id());
        (self.listener)(Event::Discarded(given_up.records.len() as u64, why, kept));
        lock(&self.lanes).told();
    }

    /// Takes what was read; gives the pause before the next reading.
    fn took(&mut self, read: Result<Read, Unreadable>) -> Duration {
        let read = match read {
            Ok(read) => read,
            Err(why) => return self.cannot_read(why),
        };
        if read.skipped > 0 {
            (self.listener)(Event::Trimmed(read.skipped));
        }
        let origin = &self.origin;
        let sized =
            read.records.into_iter().map(|record| Sized { bytes: event::size(&record, origin), record });
        // At once, so that no record is neither read nor to be read.
        let mut lanes = lock(&self.lanes);
        lanes.read(sized, Instant::now());
        lanes.next = read.next;
        Duration::ZERO
    }

    /// Says so; gives the pause before the next try.
    fn cannot_read(&mut self, why: Unreadable) -> Duration {
        let shard = self.origin.shard;
        match why {
            Unreadable::Now(why) => {
                (self.listener)(Event::Trouble(format!("{shard} cannot be read: {why}")));
                SOURCE_PAUSE
            }
            Unreadable::ForGood(why) => {
                (self.listener)(Event::Trouble(format!("the consumer gets nothing more of {shard}: {why}")));
                lock(&self.lanes).next = None;
                Duration::ZERO
            }
        }
    }
}

/// What a reading brings, if there is one.
async fn of(reading: &mut Option<Reading>) -> Result<Read, Unreadable> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

async fn until_then(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
