//! The loop around the state machine: it sends, waits and reports back.

use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time;

use crate::{Answer, Class, Failure, Limits, Put, Record, Report, Step};

/// The seam between the writer and a stream.
pub trait PutRecords {
    /// Sends one `PutRecords` request with these entries, in this order, once: the writer alone retries.
    fn put_records(&self, entries: &[&Record<'_>]) -> impl Future<Output = Answer>;
}

/// Writes `records` to `stream` until all are acknowledged or given up, at the latest at `until`. Nothing is under way
/// any more when this returns.
pub async fn put(stream: &impl PutRecords, records: &[Record<'_>], limits: Limits, until: Instant) -> Report {
    let mut put = Put::new(records, limits, now(), until, fastrand::u64(..));
    let mut in_flight = FuturesUnordered::new();
    loop {
        match put.step(now()) {
            Step::Send(request) => in_flight.push(async move {
                let entries: Vec<_> = request.records.iter().map(|&index| &records[index]).collect();
                let answer = time::timeout_at(request.give_up_at.into(), stream.put_records(&entries)).await;
                (request, answer.unwrap_or_else(|_| Err(timed_out())))
            }),
            Step::Wait(at) => tokio::select! {
                biased;
                Some((request, answer)) = in_flight.next() => put.answered(&request, answer, now()),
                () = time::sleep_until(at.into()) => {}
            },
            Step::Done => return put.report(),
        }
    }
}

/// Tokio's clock, which tests can stop.
fn now() -> Instant {
    time::Instant::now().into_std()
}

fn timed_out() -> Failure {
    Failure {
        class: Class::TimedOut,
        code: "TimedOut".into(),
        message: "Kinesis did not answer the request in time".into(),
        may_be_stored: true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Stored;

    /// A stream that answers after a pause.
    struct Slow(Duration);

    impl PutRecords for Slow {
        async fn put_records(&self, entries: &[&Record<'_>]) -> Answer {
            time::sleep(self.0).await;
            let stored =
                |_| Ok(Stored { shard_id: "shardId-000000000000".into(), sequence_number: "1".into() });
            Ok(entries.iter().map(stored).collect())
        }
    }

    #[track_caller]
    fn check(pause: Duration, time: Duration, acknowledged: usize, requests: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let records: Vec<_> = (0..600).map(|i: u32| Record::new(i.to_string(), b"{}")).collect();
            let until = now() + time;
            let report = put(&Slow(pause), &records, Limits::default(), until).await;
            assert!(now() <= until + Duration::from_millis(1), "a timer counts whole milliseconds");
            assert_eq!(report.acknowledged.len(), acknowledged);
            assert_eq!(report.acknowledged.len() + report.undelivered.len(), records.len());
            assert_eq!(report.effort.requests, requests);
        });
    }

    #[test]
    fn a_stream_that_answers_gets_each_request_once() {
        check(Duration::from_millis(20), Duration::from_secs(18), 600, 2);
    }

    #[test]
    fn a_stream_that_does_not_answer_is_left_at_the_deadline() {
        check(Duration::from_secs(60), Duration::from_secs(4), 0, 2);
    }

    #[test]
    fn an_attempt_is_given_up_after_five_seconds_and_made_again() {
        check(Duration::from_secs(60), Duration::from_secs(9), 0, 4);
    }
}
