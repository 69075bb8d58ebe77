//! Invocations that nobody waits for: Lambda keeps the event, tries again what failed, and in the end gives the event
//! away whole ("How Lambda handles errors and retries with asynchronous invocation",
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>).

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Target;
use crate::queue::Queue;
use crate::runtime::Outcome;
use crate::tally::Said;

/// Most times that an event is given to a function again, and how often it is where nothing is said (API:
/// `FunctionEventInvokeConfig`, `MaximumRetryAttempts`).
pub const MOST_RETRIES: u32 = 2;

/// Longest time that Lambda keeps an event, and how long it does where nothing is said (API:
/// `FunctionEventInvokeConfig`, `MaximumEventAgeInSeconds`).
pub const LONGEST_AGE: Duration = Duration::from_secs(21_600);

/// How long Lambda waits before the second try; before the third, twice as long.
pub const WAIT: Duration = Duration::from_secs(60);

/// How long it waits after an event that the function could not be given, and the longest that this grows to.
const NOT_INVOKED_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// What holds for the asynchronous invocations of a function: its `EventInvokeConfig`.
#[derive(Clone, Debug)]
pub struct Asynchronous {
    /// How often an event is given to the function again after an error of the function, at most.
    pub retries: u32,
    /// How old an event may be when it is given to the function.
    pub age: Duration,
    /// How long to wait before the second try; twice as long before the third.
    pub wait: Duration,
    /// Who gets the event that was given up; without, it is gone.
    pub on_failure: Option<Queue>,
}

impl Default for Asynchronous {
    /// What Lambda does where nothing is said.
    fn default() -> Self {
        Self { retries: MOST_RETRIES, age: LONGEST_AGE, wait: WAIT, on_failure: None }
    }
}

/// An event that Lambda has taken over.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) request_id: String,
    /// JSON.
    pub(super) event: String,
}

/// How an event is at its end.
#[derive(Debug)]
pub(super) enum End {
    /// The function has answered.
    Answered,
    /// It was given up; the queue has it.
    Kept,
    /// It was given up and there is nobody to have it, or he does not take it: why.
    Gone(String),
}

/// Why an event was given up, in the words of the record that tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Condition {
    RetriesExhausted,
    EventAgeExceeded,
}

/// The tries at an event so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tries {
    /// Those that ended with an error of the function.
    failed: u32,
    /// Those in a row that never reached it.
    not_invoked: u32,
}

/// What comes after a try.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    Done,
    Again(Duration),
    GiveUp(Condition),
}

impl Tries {
    /// Decides by how a try ended; `age` is how old the event was then.
    fn next(&mut self, settings: &Asynchronous, outcome: &Outcome, age: Duration) -> Next {
        let wait = match outcome {
            Outcome::Answer(_) => return Next::Done,
            Outcome::FunctionError(_) => {
                self.failed += 1;
                self.not_invoked = 0;
                if self.failed > settings.retries {
                    return Next::GiveUp(Condition::RetriesExhausted);
                }
                settings.wait * self.failed
            }
            Outcome::NotInvoked(_) => {
                let (first, longest) = NOT_INVOKED_WAIT;
                let wait = first * 2_u32.saturating_pow(self.not_invoked.min(16));
                self.not_invoked += 1;
                wait.min(longest)
            }
        };
        if age + wait > settings.age { Next::GiveUp(Condition::EventAgeExceeded) } else { Next::Again(wait) }
    }
}

/// Gives an event to the function until it is at its end. `tried` is told what each try said of the event's packets.
/// Dropping this leaves the event where it was before the try under way.
pub(super) async fn carry(accepted: &Accepted, target: &Target, mut tried: impl FnMut(Said)) -> End {
    let (began, mut tries) = (tokio::time::Instant::now(), Tries::default());
    loop {
        let (outcome, said) = target.invoke(&accepted.request_id, accepted.event.clone().into(), None).await;
        let next = tries.next(&target.asynchronous, &outcome, began.elapsed());
        tried(said);
        match next {
            Next::Done => return End::Answered,
            Next::Again(wait) => tokio::time::sleep(wait).await,
            Next::GiveUp(condition) => {
                let Some(queue) = &target.asynchronous.on_failure else {
                    return End::Gone("the function has no on-failure destination".into());
                };
                let arn = target.function().config().arn();
                let record = record(accepted, &arn, condition, &tries, &outcome);
                let sent = record.map_err(|error| error.to_string());
                return match sent.and_then(|record| queue.send(record).map_err(|error| error.to_string())) {
                    Ok(_) => End::Kept,
                    Err(error) => End::Gone(format!("the queue does not take it: {error}")),
                };
            }
        }
    }
}

/// The record of an event that was given up, as a destination gets it ("Capturing records of Lambda asynchronous
/// invocations", <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext<'a>,
    request_payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_payload: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: String,
    condition: Condition,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: u16,
    executed_version: &'static str,
    function_error: &'static str,
}

fn record(
    accepted: &Accepted,
    function: &str,
    condition: Condition,
    tries: &Tries,
    outcome: &Outcome,
) -> serde_json::Result<String> {
    let response = match outcome {
        Outcome::FunctionError(error) => serde_json::from_slice::<&RawValue>(error).ok(),
        Outcome::Answer(_) | Outcome::NotInvoked(_) => None,
    };
    let record = Record {
        version: "1.0",
        timestamp: format!("{:.3}", Timestamp::now()),
        request_context: RequestContext {
            request_id: &accepted.request_id,
            function_arn: format!("{function}:$LATEST"),
            condition,
            approximate_invoke_count: tries.failed,
        },
        request_payload: serde_json::from_str(&accepted.event)?,
        response_context: response.map(|_| ResponseContext {
            status_code: 200,
            executed_version: "$LATEST",
            function_error: "Unhandled",
        }),
        response_payload: response,
    };
    Ok(escaped(serde_json::to_string(&record)?))
}

/// JSON without the characters that a message must not have: they can only be in its texts, where an escape means the
/// same.
fn escaped(json: String) -> String {
    if !json.contains(['\u{FFFE}', '\u{FFFF}']) {
        return json;
    }
    json.replace('\u{FFFE}', "\\uFFFE").replace('\u{FFFF}', "\\uFFFF")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Asynchronous {
        Asynchronous { retries: 2, age: Duration::from_secs(3_600), wait: WAIT, on_failure: None }
    }

    /// The waits between tries of these outcomes, and how it ends; every try takes a second.
    fn run(settings: &Asynchronous, outcome: impl Fn(u32) -> Outcome) -> (Vec<u64>, Next) {
        let (mut tries, mut waits, mut age) = (Tries::default(), Vec::new(), Duration::ZERO);
        for number in 0.. {
            age += Duration::from_secs(1);
            match tries.next(settings, &outcome(number), age) {
                Next::Again(wait) => {
                    waits.push(wait.as_secs());
                    age += wait;
                }
                end => return (waits, end),
            }
        }
        unreachable!("an event ends")
    }

    fn failed(_: u32) -> Outcome {
        Outcome::FunctionError("{}".into())
    }

    fn not_invoked(_: u32) -> Outcome {
        Outcome::NotInvoked("no".into())
    }

    fn answered() -> Outcome {
        Outcome::Answer("{}".into())
    }

    #[test]
    fn an_error_of_the_function_is_tried_twice_more_after_one_minute_and_after_two() {
        assert_eq!(run(&settings(), failed), (vec![60, 120], Next::GiveUp(Condition::RetriesExhausted)));
        let none = Asynchronous { retries: 0, ..settings() };
        assert_eq!(run(&none, failed), (vec![], Next::GiveUp(Condition::RetriesExhausted)));
    }

    #[test]
    fn an_answer_is_the_end() {
        assert_eq!(run(&settings(), |_| answered()), (vec![], Next::Done));
        let third = |number| if number < 2 { failed(number) } else { answered() };
        assert_eq!(run(&settings(), third), (vec![60, 120], Next::Done));
    }

    #[test]
    fn a_function_that_cannot_be_invoked_is_waited_for_ever_longer_until_the_event_is_too_old() {
        let minute = Asynchronous { age: Duration::from_secs(60), ..settings() };
        let (waits, end) = run(&minute, not_invoked);
        assert_eq!((waits, end), (vec![1, 2, 4, 8, 16], Next::GiveUp(Condition::EventAgeExceeded)));
        let (waits, _) = run(&Asynchronous { age: LONGEST_AGE, ..settings() }, not_invoked);
        assert_eq!(waits.iter().max(), Some(&300));
        assert!(waits.iter().sum::<u64>() <= LONGEST_AGE.as_secs());
    }

    #[test]
    fn an_event_that_would_be_too_old_at_its_next_try_is_given_up_at_once() {
        let young = Asynchronous { age: Duration::from_secs(100), ..settings() };
        assert_eq!(run(&young, failed), (vec![60], Next::GiveUp(Condition::EventAgeExceeded)));
    }

    #[test]
    fn the_record_holds_the_event_as_it_came() {
        let event = "{\"Messages\": [1e300, \"\u{FFFF}\"]}";
        let accepted = Accepted { request_id: "r".into(), event: event.into() };
        let tries = Tries { failed: 3, not_invoked: 0 };
        let error = Outcome::FunctionError(r#"{"errorType":"Mine"}"#.into());
        let record = record(&accepted, "arn:f", Condition::RetriesExhausted, &tries, &error).unwrap();
        assert!(record.contains(r#""requestPayload":{"Messages": [1e300, "\uFFFF"]}"#), "{record}");
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!(
            record["requestContext"],
            serde_json::json!({
                "requestId": "r", "functionArn": "arn:f:$LATEST", "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            })
        );
        assert_eq!(record["responsePayload"]["errorType"], "Mine");
        assert_eq!(record["responseContext"]["functionError"], "Unhandled");
    }
}
