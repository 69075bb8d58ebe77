//! What can go wrong with a request or an entry, sorted by what the writer does about it.

use std::fmt;

/// A failure as the service, the network or the clock gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to do about it.
    pub class: Class,
    /// The AWS error's own name, such as `ProvisionedThroughputExceededException`, or one of ours where AWS gave none.
    pub code: String,
    /// The service's own words, or a sentence on what happened.
    pub message: String,
    /// The records may have been stored all the same: the request went out and its outcome is unknown.
    pub may_be_stored: bool,
}

/// The classes of failure; each has its own treatment in [`Put`](crate::Put).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Larger than a record may be: never sent.
    TooLarge,
    /// A shard, the stream or the key service has no capacity left: tried again after a pause.
    Throttled,
    /// The service failed: tried again after a pause.
    Failed,
    /// No answer in time: tried again after a pause.
    TimedOut,
    /// The connection broke: the first time tried again at once (a thawed function finds its kept-alive
    /// connections closed), then after a pause.
    Broken,
    /// Refused as invalid: the request is split to find the guilty entry, the guilty entry is given up.
    Refused,
    /// Nothing will be taken until a person changes something (no such stream, access denied): the put ends at once.
    Fatal,
}

impl Failure {
    /// The same where no record is more to blame than another: a person has to change something.
    pub(crate) fn of_every_record(&self) -> Self {
        let advice =
            "every record was refused alike: check STREAM_ARN or STREAM_NAME, and the stream's settings";
        Self { class: Class::Fatal, message: format!("{} ({advice})", self.message), ..self.clone() }
    }
}

impl Class {
    /// Whether the same record may well be taken later, unchanged. True of a fatal failure too: the permission or the
    /// stream that lacks is put right by a person, while a record that is refused or too large stays so.
    pub fn can_be_mended_by_time(self) -> bool {
        !matches!(self, Self::TooLarge | Self::Refused)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}

/// Sorts an AWS error by its name and HTTP status. Names are those of the API reference of PutRecords and of the
/// common errors of AWS services; what is known by neither name nor status is fatal, for retrying it might do harm.
pub fn classify(code: &str, status: u16) -> Class {
    match code {
        "ProvisionedThroughputExceededException"
        | "KMSThrottlingException"
        | "LimitExceededException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException" => Class::Throttled,
        "InternalFailure"
        | "InternalFailureException"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Class::Failed,
        "RequestTimeout" | "RequestTimeoutException" => Class::TimedOut,
        "InvalidArgumentException" | "ValidationException" | "ValidationError" | "SerializationException" => {
            Class::Refused
        }
        _ => match status {
            413 => Class::Refused,
            429 => Class::Throttled,
            408 => Class::TimedOut,
            500..=599 => Class::Failed,
            _ => Class::Fatal,
        },
    }
}

/// What a person should look at first after a fatal error of this name.
pub fn advice(code: &str) -> &'static str {
    match code {
        "ResourceNotFoundException" => "check STREAM_ARN or STREAM_NAME, and the region",
        "AccessDeniedException" | "AccessDenied" => {
            "check that the role allows kinesis:PutRecords on this stream"
        }
        "KMSAccessDeniedException" => {
            "check that role and key policy allow kms:GenerateDataKey with the stream's key"
        }
        "KMSDisabledException" => "enable the stream's KMS key",
        "KMSInvalidStateException" => "check the state of the stream's KMS key",
        "KMSNotFoundException" => "check that the stream's KMS key still exists",
        "KMSOptInRequired" => "check that the account may use KMS",
        "ExpiredTokenException"
        | "ExpiredToken"
        | "InvalidSignatureException"
        | "UnrecognizedClientException" => "check the credentials, and the clock",
        _ => "check the stream, the region, the endpoint and the function's role",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &str, status: u16, want: Class) {
        assert_eq!(classify(code, status), want);
    }

    #[test]
    fn throttling_is_retried_whoever_throttles() {
        check("ProvisionedThroughputExceededException", 400, Class::Throttled);
        check("KMSThrottlingException", 400, Class::Throttled); // the SDK's own list lacks this one
        check("LimitExceededException", 400, Class::Throttled);
        check("Unheard", 429, Class::Throttled);
    }

    #[test]
    fn failures_of_the_service_are_retried() {
        check("InternalFailure", 500, Class::Failed);
        check("InternalFailureException", 400, Class::Failed);
        check("", 503, Class::Failed);
        check("Unheard", 599, Class::Failed);
        check("RequestTimeout", 400, Class::TimedOut);
    }

    #[test]
    fn invalid_requests_are_split() {
        check("InvalidArgumentException", 400, Class::Refused);
        check("ValidationException", 400, Class::Refused);
        check("", 413, Class::Refused);
    }

    #[test]
    fn everything_else_needs_a_person() {
        for code in ["ResourceNotFoundException", "AccessDeniedException", "KMSAccessDeniedException"] {
            check(code, 400, Class::Fatal);
        }
        for code in
            ["KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException", "KMSOptInRequired"]
        {
            check(code, 400, Class::Fatal);
        }
        check("ExpiredTokenException", 400, Class::Fatal);
        check("UnrecognizedClientException", 400, Class::Fatal);
        check("Unheard", 400, Class::Fatal);
        check("", 403, Class::Fatal);
    }
}
