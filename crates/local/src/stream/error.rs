//! What the stream answers when it refuses, in the service's own words.

use std::fmt;

/// A refusal, as the caller of the API sees it: a type and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
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

    /// An argument that has the right form and yet cannot be.
    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }
}

/// The error types of the Kinesis API that this stream knows, for a whole request or for one entry of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// No such stream or shard.
    ResourceNotFound,
    /// The stream exists already.
    ResourceInUse,
    /// A value that cannot be, such as a foreign sequence number.
    InvalidArgument,
    /// A value outside the bounds that the API sets for its member.
    Validation,
    /// A body that is not the JSON that the operation takes.
    Serialization,
    /// More than an account may have.
    LimitExceeded,
    /// A shard iterator older than five minutes.
    ExpiredIterator,
    /// A page token older than five minutes.
    ExpiredNextToken,
    /// A shard's share is used up: the one that callers meet for single entries.
    ProvisionedThroughputExceeded,
    /// No such operation, or one that is not simulated.
    UnknownOperation,
    /// The stream itself failed.
    InternalFailure,
}

impl ErrorCode {
    /// The name on the wire, in `__type` and `ErrorCode`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::InvalidArgument => "InvalidArgumentException",
            Self::Validation => "ValidationException",
            Self::Serialization => "SerializationException",
            Self::LimitExceeded => "LimitExceededException",
            Self::ExpiredIterator => "ExpiredIteratorException",
            Self::ExpiredNextToken => "ExpiredNextTokenException",
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::InternalFailure => "InternalFailure",
        }
    }

    /// The HTTP status that it travels with.
    pub fn status(self) -> u16 {
        if self == Self::InternalFailure { 500 } else { 400 }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
