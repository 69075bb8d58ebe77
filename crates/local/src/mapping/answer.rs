//! What a function's answer to a batch means ("Reporting batch item failures", with the cases that its table leaves
//! out as the service was seen to treat them).

use std::collections::HashMap;

use serde_json::Value;

use crate::runtime::Outcome;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of it is handled.
    Success,
    /// What stands before this position in the batch is handled, the rest is not.
    FailedFrom(usize),
    /// None of it is handled, by the function's answer; the text says why.
    Failed(String),
    /// None of it is handled, for the function failed: an error, a timeout, a crash. The text says which.
    FunctionError(String),
    /// The function was never given it: this costs no attempt.
    NotInvoked(String),
}

impl Verdict {
    /// Whether it was an error of the function that made the invocation fail; none if it did not fail.
    pub(super) fn failure(&self) -> Option<bool> {
        match self {
            Self::Success | Self::NotInvoked(_) => None,
            Self::FailedFrom(_) | Self::Failed(_) => Some(false),
            Self::FunctionError(_) => Some(true),
        }
    }
}

/// Reads an answer to a batch of records with these sequence numbers. Partial answers count only where the mapping
/// asks for them (`ReportBatchItemFailures`).
pub(super) fn verdict(outcome: &Outcome, sequence_numbers: &[String], partial_answers: bool) -> Verdict {
    let answer = match outcome {
        Outcome::Answer(answer) => answer,
        Outcome::FunctionError(error) => return Verdict::FunctionError(words(error)),
        Outcome::NotInvoked(why) => return Verdict::NotInvoked(why.clone()),
    };
    if !partial_answers || answer.is_empty() {
        return Verdict::Success;
    }
    let failures = match serde_json::from_slice(answer) {
        Ok(Value::Object(mut answer)) => answer.remove("batchItemFailures").unwrap_or_default(),
        Ok(Value::Null) => Value::Null,
        Ok(Value::String(text)) if text.is_empty() => Value::Null,
        Ok(Value::Array(list)) if list.is_empty() => Value::Null,
        _ => return Verdict::Failed(format!("the answer is no batch answer: {}", words(answer))),
    };
    let failures = match failures {
        Value::Null => return Verdict::Success,
        Value::Array(failures) => failures,
        other => return Verdict::Failed(format!("batchItemFailures is no list: {other}")),
    };
    if failures.is_empty() {
        return Verdict::Success;
    }
    let positions: HashMap<_, _> =
        sequence_numbers.iter().enumerate().map(|(position, number)| (number.as_str(), position)).collect();
    // The lowest sequence number of those reported is the checkpoint; records are in that order.
    let mut lowest = None;
    for failure in &failures {
        let identifier = failure.get("itemIdentifier").and_then(Value::as_str).unwrap_or_default();
        match positions.get(identifier) {
            Some(&position) => lowest = Some(lowest.unwrap_or(position).min(position)),
            None => {
                return Verdict::Failed(format!("no record of the batch has the identifier of {failure}"));
            }
        }
    }
    lowest.map_or(Verdict::Success, Verdict::FailedFrom)
}

/// The beginning of what a function said, for a line of text.
fn words(answer: &[u8]) -> String {
    const CHARACTERS: usize = 300;
    String::from_utf8_lossy(answer).chars().take(CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, want: Verdict) {
        let numbers = ["10", "11", "12"].map(String::from);
        let got = verdict(&Outcome::Answer(answer.to_owned().into()), &numbers, true);
        assert_eq!(std::mem::discriminant(&got), std::mem::discriminant(&want), "{got:?}");
        if let Verdict::FailedFrom(_) = want {
            assert_eq!(got, want);
        }
    }

    fn failed() -> Verdict {
        Verdict::Failed(String::new())
    }

    // The rules are those of "Configuring partial batch response with Kinesis Data Streams and Lambda",
    // <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>.

    /// An answer that holds no failure is success of the whole batch, whichever way it says nothing.
    #[test]
    fn empty_answers_are_success() {
        for answer in
            ["", "null", "\"\"", "[]", "{}", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#]
        {
            check(answer, Verdict::Success);
        }
    }

    /// Of several failures the one with the lowest sequence number is the checkpoint: all from there on goes again.
    #[test]
    fn the_lowest_identifier_is_the_checkpoint() {
        check(r#"{"batchItemFailures":[{"itemIdentifier":"11"}]}"#, Verdict::FailedFrom(1));
        check(
            r#"{"batchItemFailures":[{"itemIdentifier":"12"},{"itemIdentifier":"10"}]}"#,
            Verdict::FailedFrom(0),
        );
        check(
            r#"{"batchItemFailures":[{"itemIdentifier":"12"},{"itemIdentifier":"12"}]}"#,
            Verdict::FailedFrom(2),
        );
    }

    /// An identifier that is empty, null, under another name, or of no record of the batch fails the whole batch.
    #[test]
    fn an_identifier_that_is_none_fails_the_batch() {
        check(r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, failed());
        check(r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, failed());
        check(r#"{"batchItemFailures":[{"foo":"11"}]}"#, failed());
        check(r#"{"batchItemFailures":[{"itemIdentifier":11}]}"#, failed());
        check(r#"{"batchItemFailures":[{"itemIdentifier":"11"},{"itemIdentifier":"99"}]}"#, failed());
        check(r#"{"batchItemFailures":5}"#, failed());
        check("hello", failed());
    }

    #[test]
    fn a_function_error_fails_the_batch_and_a_throttle_does_not_count() {
        let numbers = ["10".to_owned()];
        let error = Outcome::FunctionError("{}".into());
        assert!(matches!(verdict(&error, &numbers, true), Verdict::FunctionError(_)));
        let throttled = Outcome::NotInvoked("busy".into());
        assert!(matches!(verdict(&throttled, &numbers, true), Verdict::NotInvoked(_)));
    }

    #[test]
    fn without_partial_answers_the_body_is_ignored() {
        let answer = Outcome::Answer(r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#.into());
        assert_eq!(verdict(&answer, &["10".to_owned()], false), Verdict::Success);
    }
}
