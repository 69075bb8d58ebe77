//! What an invocation ends with: a place in the stream, or an error.

use std::fmt;

use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// The answer to the event source mapping, `{"batchItemFailures":[…]}`: everything was handled, or everything
/// before one record.
///
/// It names one identifier at most, because the mapping takes the lowest and tries everything from there
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    /// Every record was handled.
    Done,
    /// The record with this sequence number, copied as it came, was not handled, and nothing behind it was.
    From(String),
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Item<'a> {
            item_identifier: &'a str,
        }
        let items: &[Item<'_>] = match self {
            Self::Done => &[],
            Self::From(sequence_number) => &[Item { item_identifier: sequence_number }],
        };
        let mut answer = serializer.serialize_struct("Answer", 1)?;
        answer.serialize_field("batchItemFailures", items)?;
        answer.end()
    }
}

/// Why an invocation fails, and its whole batch with it.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The event is not one of Kinesis. It is refused, because an event that was meant for another function must
    /// not be taken for handled.
    #[error("expected a Kinesis event, an object with a list of Kinesis records in Records; found {found}")]
    UnexpectedEvent {
        /// What was found, by its keys.
        found: String,
    },
    /// The first record not handled has no sequence number by which it could be reported.
    #[error(
        "record {index} of {records} could not be handled in this invocation, and has no sequence number to report it by"
    )]
    Unreportable {
        /// Its place in the event, from 0.
        index: usize,
        /// How many records the event has.
        records: usize,
    },
}

impl Error {
    /// The error type that Lambda shows, for whoever counts or alarms by it.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::UnexpectedEvent { .. } => "UnexpectedEvent",
            Self::Unreportable { .. } => "Unreportable",
        }
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.error_type().to_owned(), error_message: error.to_string() }
    }
}

/// Type and text, because this form is what the Lambda runtime writes to the log.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.error_type())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &Answer, want: &str) {
        assert_eq!(serde_json::to_string(answer).unwrap(), want);
    }

    #[test]
    fn an_answer_names_no_record_or_one() {
        check(&Answer::Done, r#"{"batchItemFailures":[]}"#);
        check(&Answer::From("0049".into()), r#"{"batchItemFailures":[{"itemIdentifier":"0049"}]}"#);
    }

    #[test]
    fn an_error_has_a_stable_type_and_says_what_was_found() {
        let error = Error::UnexpectedEvent { found: "a list".into() };
        let want = Diagnostic {
            error_type: "UnexpectedEvent".into(),
            error_message:
                "expected a Kinesis event, an object with a list of Kinesis records in Records; found a list"
                    .into(),
        };
        assert_eq!(format!("{error:?}"), format!("UnexpectedEvent: {}", want.error_message));
        assert_eq!(Diagnostic::from(error), want);
    }
}
