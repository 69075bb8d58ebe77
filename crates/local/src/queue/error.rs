//! What the queue answers when it refuses, in the service's own words.

/// A refusal, of a request or of one entry of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .code.name())]
pub struct ApiError {
    /// Which refusal.
    pub code: ErrorCode,
    /// What was given, and what was expected.
    pub message: String,
}

impl ApiError {
    /// A refusal of this kind with this text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The errors of the SQS API that this queue knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// No queue of that name.
    QueueDoesNotExist,
    /// A batch without entries.
    EmptyBatchRequest,
    /// A batch of more than ten entries.
    TooManyEntriesInBatchRequest,
    /// Two entries of one id.
    BatchEntryIdsNotDistinct,
    /// An entry's id with characters that it may not have, or too many.
    InvalidBatchEntryId,
    /// Bodies that are too large together.
    BatchRequestTooLong,
    /// A body with characters that XML does not know.
    InvalidMessageContents,
    /// A member that is out of bounds.
    InvalidParameterValue,
    /// A member that is not there.
    MissingParameter,
    /// An attribute's name that is none.
    InvalidAttributeName,
    /// A receipt handle that this queue has not given out.
    ReceiptHandleIsInvalid,
    /// The queue holds as much as it may, or has handed out as many messages as it may.
    OverLimit,
    /// A member of a request that is not simulated.
    UnsupportedOperation,
    /// A body that is not the JSON that the operation takes.
    Serialization,
    /// No such operation, or one that is not simulated.
    UnknownOperation,
    /// The queue itself failed: the same again may well be taken.
    InternalError,
}

impl ErrorCode {
    /// The name in `__type`, and in `Code` of an entry's result.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueDoesNotExist => "QueueDoesNotExist",
            Self::EmptyBatchRequest => "EmptyBatchRequest",
            Self::TooManyEntriesInBatchRequest => "TooManyEntriesInBatchRequest",
            Self::BatchEntryIdsNotDistinct => "BatchEntryIdsNotDistinct",
            Self::InvalidBatchEntryId => "InvalidBatchEntryId",
            Self::BatchRequestTooLong => "BatchRequestTooLong",
            Self::InvalidMessageContents => "InvalidMessageContents",
            Self::InvalidParameterValue => "InvalidParameterValue",
            Self::MissingParameter => "MissingParameter",
            Self::InvalidAttributeName => "InvalidAttributeName",
            Self::ReceiptHandleIsInvalid => "ReceiptHandleIsInvalid",
            Self::OverLimit => "OverLimit",
            Self::UnsupportedOperation => "UnsupportedOperation",
            Self::Serialization => "SerializationException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::InternalError => "InternalError",
        }
    }

    /// The name in the `x-amzn-query-error` header: the older protocol's, which clients show and match on still
    /// (API: the "awsQueryError" trait of the service's model).
    pub(super) fn query_name(self) -> String {
        match self {
            Self::QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue".into(),
            Self::EmptyBatchRequest
            | Self::TooManyEntriesInBatchRequest
            | Self::BatchEntryIdsNotDistinct
            | Self::InvalidBatchEntryId
            | Self::BatchRequestTooLong
            | Self::UnsupportedOperation => format!("AWS.SimpleQueueService.{}", self.name()),
            _ => self.name().into(),
        }
    }

    /// Whether the caller has to change something before it asks again.
    pub fn is_senders_fault(self) -> bool {
        self != Self::InternalError
    }

    /// The HTTP status that it travels with.
    pub(super) fn status(self) -> u16 {
        if self.is_senders_fault() { 400 } else { 500 }
    }
}
