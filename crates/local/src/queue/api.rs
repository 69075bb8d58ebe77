//! The operations of the SQS API: JSON in, JSON out.
//!
//! Member names and shapes are those of the API reference
//! (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/>). A member that an operation here does not
//! know is refused by name: it would ask for something that is not done.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{ApiError, ErrorCode};
use super::handle::Queue;
use super::limits::{
    BATCH_ENTRIES, ENTRY_ID_CHARS, MESSAGE_BYTES, RECEIVE_MESSAGES, VISIBILITY, VISIBILITY_SECONDS,
    WAIT_SECONDS,
};
use super::store::Received;

/// What comes before the operation in `X-Amz-Target`.
const TARGET: &str = "AmazonSQS.";

impl Queue {
    /// Does one operation. `target` is the `X-Amz-Target` of the request; the answer is a JSON body, empty where the
    /// operation answers nothing.
    pub(super) async fn call(&self, target: &str, body: &[u8]) -> Result<Vec<u8>, ApiError> {
        let unknown = |message| ApiError::new(ErrorCode::UnknownOperation, message);
        let Some(operation) = target.strip_prefix(TARGET) else {
            return Err(unknown(format!("X-Amz-Target is {target:?}, expected {TARGET} and an operation")));
        };
        match operation {
            "SendMessage" => self.send_message(parse(body)?),
            "SendMessageBatch" => self.send_message_batch(parse(body)?),
            "ReceiveMessage" => self.receive_message(parse(body)?).await,
            "DeleteMessage" => self.delete_message(parse(body)?),
            "DeleteMessageBatch" => self.delete_message_batch(parse(body)?),
            "GetQueueAttributes" => self.get_queue_attributes(parse(body)?),
            "GetQueueUrl" => self.get_queue_url(parse(body)?),
            _ => Err(unknown(format!("Operation {operation:?} is not implemented by the local queue"))),
        }
    }

    /// Only the path counts: a queue goes by as many hosts as its machine has names.
    fn check_url(&self, url: Option<&str>) -> Result<(), ApiError> {
        let url = required("QueueUrl", url)?;
        let mut path = url.rsplit('/');
        if (path.next(), path.next()) == (Some(self.name()), Some(self.account())) {
            return Ok(());
        }
        Err(no_such_queue())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SendMessage {
    queue_url: Option<String>,
    message_body: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Sent {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>, // of the entry
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    md5: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SendMessageBatch {
    queue_url: Option<String>,
    #[serde(default)]
    entries: Vec<SendEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SendEntry {
    id: Option<String>,
    message_body: Option<String>,
}

/// The results of a batch's entries.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Results<T> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    successful: Vec<T>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    id: String,
    sender_fault: bool,
    code: &'static str,
    message: String,
}

impl Queue {
    fn send_message(&self, input: SendMessage) -> Result<Vec<u8>, ApiError> {
        self.check_url(input.queue_url.as_deref())?;
        let body = required("MessageBody", input.message_body.filter(|body| !body.is_empty()))?;
        let (message_id, md5) = self.admit(body)?;
        json(&Sent { id: None, message_id, md5 })
    }

    fn send_message_batch(&self, input: SendMessageBatch) -> Result<Vec<u8>, ApiError> {
        self.check_url(input.queue_url.as_deref())?;
        let ids = input.entries.iter().map(|entry| entry.id.as_deref());
        check_batch("SendMessageBatchRequestEntry", ids)?;
        for (number, entry) in (1..).zip(&input.entries) {
            let member = format!("SendMessageBatchRequestEntry.{number}.MessageBody");
            required(&member, entry.message_body.as_deref().filter(|body| !body.is_empty()))?;
        }
        let bytes: usize =
            input.entries.iter().filter_map(|entry| Some(entry.message_body.as_ref()?.len())).sum();
        if bytes > MESSAGE_BYTES {
            let sent = format!("You have sent {bytes} bytes.");
            let message = format!("Batch requests cannot be longer than {MESSAGE_BYTES} bytes. {sent}");
            return Err(ApiError::new(ErrorCode::BatchRequestTooLong, message));
        }
        let entries = input.entries.into_iter();
        let entries =
            entries.map(|entry| (entry.id.unwrap_or_default(), entry.message_body.unwrap_or_default()));
        json(&Results::of(entries, |id, body| {
            let (message_id, md5) = self.admit(body)?;
            Ok(Sent { id: Some(id), message_id, md5 })
        }))
    }
}

impl<T> Results<T> {
    /// What `act` makes of each entry, given its id and what is in it.
    fn of<U>(
        entries: impl Iterator<Item = (String, U)>,
        mut act: impl FnMut(String, U) -> Result<T, ApiError>,
    ) -> Self {
        let mut results = Self { successful: Vec::new(), failed: Vec::new() };
        for (id, given) in entries {
            match act(id.clone(), given) {
                Ok(done) => results.successful.push(done),
                Err(ApiError { code, message }) => results.failed.push(Failed {
                    id,
                    sender_fault: code.is_senders_fault(),
                    code: code.name(),
                    message,
                }),
            }
        }
        results
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ReceiveMessage {
    queue_url: Option<String>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    /// The older name of the next.
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    /// No message has any, so whichever are asked for, all are given.
    #[serde(default, rename = "MessageAttributeNames")]
    _message_attribute_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Messages {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Message>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    message_id: String,
    receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    md5: String,
    body: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
}

impl Queue {
    async fn receive_message(&self, input: ReceiveMessage) -> Result<Vec<u8>, ApiError> {
        self.check_url(input.queue_url.as_deref())?;
        let most = number("MaxNumberOfMessages", input.max_number_of_messages, 1..=RECEIVE_MESSAGES)?;
        let hidden = number("VisibilityTimeout", input.visibility_timeout, 0..=VISIBILITY_SECONDS)?;
        let wait = number("WaitTimeSeconds", input.wait_time_seconds, 0..=WAIT_SECONDS)?;
        let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(1);
        let hidden = hidden.map_or(VISIBILITY, Duration::from_secs);
        let received = self.receive(most, hidden, Duration::from_secs(wait.unwrap_or(0))).await?;
        let mut names = input.attribute_names;
        names.extend(input.message_system_attribute_names);
        let asked = |name: &str| names.iter().any(|asked| asked == name || asked == "All");
        let message = |received: Received| {
            let attributes = [
                ("ApproximateFirstReceiveTimestamp", received.first_received_ms.to_string()),
                ("ApproximateReceiveCount", received.receipts.to_string()),
                ("SenderId", self.account().to_owned()),
                ("SentTimestamp", received.sent_ms.to_string()),
            ];
            Message {
                message_id: received.id,
                receipt_handle: received.handle,
                md5: received.md5,
                body: received.body,
                attributes: attributes.into_iter().filter(|(name, _)| asked(name)).collect(),
            }
        };
        json(&Messages { messages: received.into_iter().map(message).collect() })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeleteMessage {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeleteMessageBatch {
    queue_url: Option<String>,
    #[serde(default)]
    entries: Vec<DeleteEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeleteEntry {
    id: Option<String>,
    receipt_handle: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
    id: String,
}

impl Queue {
    fn delete_message(&self, input: DeleteMessage) -> Result<Vec<u8>, ApiError> {
        self.check_url(input.queue_url.as_deref())?;
        self.delete(&required("ReceiptHandle", input.receipt_handle)?)?;
        Ok(Vec::new())
    }

    fn delete_message_batch(&self, input: DeleteMessageBatch) -> Result<Vec<u8>, ApiError> {
        self.check_url(input.queue_url.as_deref())?;
        let ids = input.entries.iter().map(|entry| entry.id.as_deref());
        check_batch("DeleteMessageBatchRequestEntry", ids)?;
        for (number, entry) in (1..).zip(&input.entries) {
            let member = format!("DeleteMessageBatchRequestEntry.{number}.ReceiptHandle");
            required(&member, entry.receipt_handle.as_deref())?;
        }
        let entries = input.entries.into_iter();
        let entries =
            entries.map(|entry| (entry.id.unwrap_or_default(), entry.receipt_handle.unwrap_or_default()));
        json(&Results::of(entries, |id, handle| self.delete(&handle).map(|()| Deleted { id })))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetQueueAttributes {
    queue_url: Option<String>,
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
}

/// Attributes that a queue may have and this one has not (API: GetQueueAttributes).
const ATTRIBUTES_UNSET: &[&str] =
    &["KmsDataKeyReusePeriodSeconds", "KmsMasterKeyId", "Policy", "RedriveAllowPolicy", "RedrivePolicy"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetQueueUrl {
    queue_name: Option<String>,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    account: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct QueueUrl {
    queue_url: String,
}

impl Queue {
    fn get_queue_attributes(&self, input: GetQueueAttributes) -> Result<Vec<u8>, ApiError> {
        self.check_url(input.queue_url.as_deref())?;
        let (counts, made_s) = (self.counts(), self.made_ms() / 1000);
        let all = [
            ("ApproximateNumberOfMessages", counts.visible.to_string()),
            ("ApproximateNumberOfMessagesDelayed", 0.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
            ("CreatedTimestamp", made_s.to_string()),
            ("DelaySeconds", 0.to_string()),
            ("LastModifiedTimestamp", made_s.to_string()),
            ("MaximumMessageSize", MESSAGE_BYTES.to_string()),
            ("QueueArn", self.arn()),
            ("ReceiveMessageWaitTimeSeconds", 0.to_string()),
            ("SqsManagedSseEnabled", false.to_string()),
            ("VisibilityTimeout", VISIBILITY.as_secs().to_string()),
        ];
        let known = |asked: &&String| {
            *asked == "All"
                || ATTRIBUTES_UNSET.contains(&asked.as_str())
                || all.iter().any(|(name, _)| name == *asked)
        };
        if let Some(unknown) = input.attribute_names.iter().find(|asked| !known(asked)) {
            let message = format!("Unknown Attribute {unknown}.");
            return Err(ApiError::new(ErrorCode::InvalidAttributeName, message));
        }
        let asked = |name: &str| input.attribute_names.iter().any(|asked| asked == name || asked == "All");
        json(&Attributes { attributes: all.into_iter().filter(|(name, _)| asked(name)).collect() })
    }

    fn get_queue_url(&self, input: GetQueueUrl) -> Result<Vec<u8>, ApiError> {
        let name = required("QueueName", input.queue_name)?;
        if name != self.name() || input.account.is_some_and(|account| account != self.account()) {
            return Err(no_such_queue());
        }
        json(&QueueUrl { queue_url: self.url() })
    }
}

/// Reads the body of a request.
fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    // Without this, a derived struct would also be read from a JSON list of its members.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::new(ErrorCode::Serialization, "The body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        match text.strip_prefix("unknown field ") {
            Some(field) => {
                let message = format!("This queue does not simulate the member {field}");
                ApiError::new(ErrorCode::UnsupportedOperation, message)
            }
            None => ApiError::new(ErrorCode::Serialization, text),
        }
    })
}

fn json(output: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(output).map_err(|error| ApiError::new(ErrorCode::InternalError, error.to_string()))
}

fn no_such_queue() -> ApiError {
    ApiError::new(ErrorCode::QueueDoesNotExist, "The specified queue does not exist.")
}

fn invalid(message: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidParameterValue, message)
}

fn required<T>(member: &str, value: Option<T>) -> Result<T, ApiError> {
    value.ok_or_else(|| {
        let message = format!("The request must contain the parameter {member}.");
        ApiError::new(ErrorCode::MissingParameter, message)
    })
}

/// A number in bounds, if it is given.
fn number(member: &str, value: Option<i64>, bounds: RangeInclusive<i64>) -> Result<Option<u64>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    let (least, most) = (bounds.start(), bounds.end());
    u64::try_from(value).ok().filter(|_| bounds.contains(&value)).map(Some).ok_or_else(|| {
        let reason = format!("Reason: Must be between {least} and {most}, if provided.");
        invalid(format!("Value {value} for parameter {member} is invalid. {reason}"))
    })
}

/// What holds of the entries of every batch: how many there are, and their ids.
fn check_batch<'a>(entry: &str, ids: impl ExactSizeIterator<Item = Option<&'a str>>) -> Result<(), ApiError> {
    if ids.len() == 0 {
        let message = format!("There should be at least one {entry} in the request.");
        return Err(ApiError::new(ErrorCode::EmptyBatchRequest, message));
    }
    if ids.len() > BATCH_ENTRIES {
        let sent = format!("You have sent {}.", ids.len());
        let message = format!("Maximum number of entries per request are {BATCH_ENTRIES}. {sent}");
        return Err(ApiError::new(ErrorCode::TooManyEntriesInBatchRequest, message));
    }
    let mut seen = HashSet::new();
    for (number, id) in (1..).zip(ids) {
        let id = required(&format!("{entry}.{number}.Id"), id)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !(1..=ENTRY_ID_CHARS).contains(&id.len()) || !id.bytes().all(allowed) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
                           It can be at most 80 letters long.";
            return Err(ApiError::new(ErrorCode::InvalidBatchEntryId, message));
        }
        if !seen.insert(id) {
            return Err(ApiError::new(ErrorCode::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
