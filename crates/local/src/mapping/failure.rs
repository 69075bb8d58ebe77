//! What tells of records that a mapping gave up, and who gets it ("Retain discarded batch records for a Kinesis data
//! stream event source in Lambda", <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>).

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::event::{Origin, event};
use super::machine::{Condition, GivenUp};
use crate::queue::Queue;

/// Takes an object of a bucket, its key and its text, and says where a person finds it.
pub type Bucket = Arc<dyn Fn(&str, &str) -> std::io::Result<String> + Send + Sync>;

/// Who gets what a mapping gives up: `DestinationConfig`, `OnFailure`.
#[derive(Clone)]
pub enum Destination {
    /// A queue: it is told which records they were.
    Queue(Queue),
    /// A bucket: it gets the records themselves as well, under the key that Lambda gives to the object.
    Bucket(Bucket),
}

impl Destination {
    /// Its ARN. The local bucket has no name that it could have from anywhere.
    pub(super) fn arn(&self) -> String {
        match self {
            Self::Queue(queue) => queue.arn(),
            Self::Bucket(_) => "arn:aws:s3:::failures".into(),
        }
    }
}

/// Where what was given up is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The mapping has no destination.
    Nowhere,
    /// The destination has it, in this place.
    At(String),
    /// The destination did not take it; the text says why.
    Refused(String),
}

/// What is the same in all records of a mapping.
#[derive(Clone)]
pub(super) struct Reporter {
    pub(super) destination: Option<Destination>,
    /// The mapping's UUID.
    pub(super) mapping: String,
    pub(super) function_arn: String,
}

impl Reporter {
    /// Tells the destination of what was given up at `now_ms`, in milliseconds since 1970; `id` is a new UUID.
    pub(super) fn report(&self, given_up: &GivenUp, origin: &Origin, now_ms: u64, id: &str) -> Kept {
        let told = match &self.destination {
            None => return Kept::Nowhere,
            Some(Destination::Queue(queue)) => {
                let sent = queue.send(self.record(given_up, origin, now_ms, id, None));
                let place = |(message, _)| format!("the queue's message {message}");
                sent.map(place).map_err(|error| error.to_string())
            }
            Some(Destination::Bucket(bucket)) => {
                let records: Vec<_> = given_up.records.iter().map(|sized| sized.record.clone()).collect();
                let payload = event(&records, origin);
                let payload = String::from_utf8_lossy(&payload);
                let record = self.record(given_up, origin, now_ms, id, Some(&payload));
                bucket(&self.key(origin, now_ms, id), &record).map_err(|error| error.to_string())
            }
        };
        told.map_or_else(Kept::Refused, Kept::At)
    }

    /// The key of an object: `aws/lambda/<mapping>/<shard>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<uuid>`, in UTC.
    fn key(&self, origin: &Origin, now_ms: u64, id: &str) -> String {
        let time = timestamp(now_ms).to_zoned(TimeZone::UTC).strftime("%Y/%m/%d/%Y-%m-%dT%H.%M.%S");
        format!("aws/lambda/{}/{}/{time}-{id}", self.mapping, origin.shard)
    }

    fn record(
        &self,
        given_up: &GivenUp,
        origin: &Origin,
        now_ms: u64,
        id: &str,
        payload: Option<&str>,
    ) -> String {
        let GivenUp { records, condition, failures, last } = given_up;
        let first = records.first().map(|sized| &sized.record);
        let last_record = records.last().map(|sized| &sized.record);
        let number = |record: &crate::stream::Record| record.sequence_number.to_string();
        let arrival = |record: &crate::stream::Record| format!("{:.3}", timestamp(record.arrival_ms));
        // Of what has grown too old it is not said how the function answered.
        let response = last.as_ref().filter(|_| *condition == Condition::RetryAttemptsExhausted);
        let record = FailureRecord {
            request_context: RequestContext {
                request_id: last.as_ref().map_or(id, |last| &last.request_id),
                function_arn: &self.function_arn,
                condition: *condition,
                approximate_invoke_count: *failures,
            },
            response_context: response.map(|last| ResponseContext {
                status_code: 200,
                executed_version: "$LATEST",
                function_error: last.function_error.then_some("Unhandled"),
            }),
            version: "1.0",
            timestamp: format!("{:.3}", timestamp(now_ms)),
            batch: BatchInfo {
                shard_id: origin.shard.to_string(),
                start_sequence_number: first.map(number).unwrap_or_default(),
                end_sequence_number: last_record.map(number).unwrap_or_default(),
                approximate_arrival_of_first_record: first.map(arrival).unwrap_or_default(),
                approximate_arrival_of_last_record: last_record.map(arrival).unwrap_or_default(),
                batch_size: records.len(),
                stream_arn: &origin.stream_arn,
            },
            payload,
        };
        // Texts and numbers are always written as JSON.
        serde_json::to_string(&record).unwrap_or_default()
    }
}

/// Texts and times as they are on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureRecord<'a> {
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext>,
    version: &'static str,
    timestamp: String,
    #[serde(rename = "KinesisBatchInfo")]
    batch: BatchInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: &'a str,
    condition: Condition,
    approximate_invoke_count: u32,
}

/// `functionError` is `null` where the function answered and reported records.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: u16,
    executed_version: &'static str,
    function_error: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo<'a> {
    shard_id: String,
    start_sequence_number: String,
    end_sequence_number: String,
    approximate_arrival_of_first_record: String,
    approximate_arrival_of_last_record: String,
    batch_size: usize,
    stream_arn: &'a str,
}

fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
