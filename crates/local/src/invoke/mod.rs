//! Lambda's Invoke API in front of the functions, so that the AWS CLI and the SDKs can invoke them: with an answer, or
//! asynchronously, where Lambda itself takes the event over and tries again what failed.
//!
//! The API is that of <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>. What is not simulated (a log tail,
//! a client context, versions other than `$LATEST`) is refused by name.

mod asynchronous;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use asynchronous::{Asynchronous, LONGEST_AGE, MOST_RETRIES, WAIT};

use crate::http::{self, BodyError, Request, Response};
use crate::runtime::{Function, Outcome, PAYLOAD_BYTES, request_id};
use crate::tally::{Said, Tally, packets};
use asynchronous::{Accepted, End, carry};

/// Most bytes of an asynchronous invocation's event (Lambda quotas: 1 MB).
pub const ASYNCHRONOUS_BYTES: usize = 1024 * 1024;

/// Bytes of the asynchronous events that are kept at once (ours); further ones are turned away as too many requests.
const KEPT_BYTES: usize = 256 << 20;

/// A function that is invoked here.
#[derive(Clone)]
pub struct Target {
    /// The function.
    pub function: Function,
    /// What holds for its asynchronous invocations.
    pub asynchronous: Asynchronous,
    /// Where to count the packets that events bring to it, if it is a producer.
    pub tally: Option<Arc<Tally>>,
}

/// Says what a person should know.
pub type Notes = Arc<dyn Fn(&str) + Send + Sync>;

/// Serves invocations until `stop`. Those that wait for an answer get it; of the asynchronous ones, those under way have
/// the grace. Gives back the asynchronous events that were not at their end.
pub async fn run(
    listener: TcpListener,
    targets: Vec<Target>,
    notes: Notes,
    stop: watch::Receiver<bool>,
    grace: Duration,
) -> Vec<Bytes> {
    let desk =
        Arc::new(Desk { targets, notes, kept: AtomicUsize::new(0), tasks: Mutex::default(), stop, grace });
    let handler = {
        let desk = Arc::clone(&desk);
        move |request, _| {
            let desk = Arc::clone(&desk);
            async move {
                // A client that goes away ends its connection, not the function.
                let response = tokio::spawn(async move { respond(request, &desk).await });
                response
                    .await
                    .unwrap_or_else(|_| refusal(500, "ServiceException", "the invocation was lost").into())
            }
        }
    };
    let mut stopping = desk.stop.clone();
    let stopped = async move { drop(stopping.wait_for(|stop| *stop).await) };
    http::serve(listener, handler, stopped).await;
    let mut tasks = std::mem::take(&mut *desk.tasks());
    let mut unfinished = Vec::new();
    while let Some(event) = tasks.join_next().await {
        unfinished.extend(event.ok().flatten());
    }
    unfinished
}

struct Desk {
    targets: Vec<Target>,
    notes: Notes,
    /// Bytes of the asynchronous events that are kept.
    kept: AtomicUsize,
    /// The asynchronous events; each ends with itself if it was not at its end.
    tasks: Mutex<JoinSet<Option<Bytes>>>,
    stop: watch::Receiver<bool>,
    grace: Duration,
}

async fn respond(request: Request, desk: &Arc<Desk>) -> Response {
    match invocation(request, desk).await {
        Ok(response) => response,
        Err(refusal) => refusal.into(),
    }
}

async fn invocation(request: Request, desk: &Arc<Desk>) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let name = head
        .uri
        .path()
        .strip_prefix("/2015-03-31/functions/")
        .and_then(|rest| rest.strip_suffix("/invocations"));
    let Some(name) = name.filter(|_| head.method == Method::POST) else {
        let given = format!("{} {}", head.method, head.uri.path());
        return Err(refusal(
            404,
            "UnknownOperationException",
            &format!("{given} is not Invoke, which is all that is here"),
        ));
    };
    let target = desk.target(name)?;
    let header =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header("x-amz-log-type") == "Tail" || !header("x-amz-client-context").is_empty() {
        return Err(refusal(
            400,
            "InvalidParameterValueException",
            "LogType Tail and ClientContext are not simulated",
        ));
    }
    let is_latest = |query: &str| {
        query.split('&').all(|pair| matches!(pair, "" | "Qualifier=$LATEST" | "Qualifier=%24LATEST"))
    };
    if !head.uri.query().is_none_or(is_latest) {
        return Err(not_found(name, "no version or alias but $LATEST"));
    }
    let (kind, limit) = match header("x-amz-invocation-type") {
        "" | "RequestResponse" => (Kind::Synchronous, PAYLOAD_BYTES),
        "Event" => (Kind::Asynchronous, ASYNCHRONOUS_BYTES),
        "DryRun" => return Ok(answer(204, &request_id(), Bytes::new())),
        other => {
            let message = format!("InvocationType is {other:?}, expected RequestResponse, Event or DryRun");
            return Err(refusal(400, "InvalidParameterValueException", &message));
        }
    };
    let event = match http::body(body, limit).await {
        Ok(event) if event.is_empty() => Bytes::from_static(b"{}"),
        Ok(event) => event,
        Err(BodyError::TooLarge) => {
            let message =
                format!("Request must be smaller than {limit} bytes for the InvokeFunction operation");
            return Err(refusal(413, "RequestTooLargeException", &message));
        }
        Err(BodyError::Broken) => {
            return Err(refusal(400, "InvalidRequestContentException", "the body broke off"));
        }
    };
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(&event) {
        let message = format!("Could not parse request body into json: {error}");
        return Err(refusal(400, "InvalidRequestContentException", &message));
    }
    let accepted = Accepted { request_id: request_id(), event };
    match kind {
        Kind::Synchronous => Ok(synchronous(&accepted, target).await),
        Kind::Asynchronous => desk.keep(accepted, target.clone()),
    }
}

enum Kind {
    Synchronous,
    Asynchronous,
}

async fn synchronous(accepted: &Accepted, target: &Target) -> Response {
    let outcome = target.function.invoke_as(&accepted.request_id, accepted.event.clone()).await;
    if let Some(tally) = &target.tally {
        let said = Said::by(&outcome);
        let packets = packets(&accepted.event);
        tally.received.add(if said == Said::NoneTaken { 0 } else { packets });
        tally.abandoned.add(if said == Said::Nothing { packets } else { 0 });
    }
    match outcome {
        Outcome::Answer(body) => {
            let mut response = answer(200, &accepted.request_id, body);
            set(&mut response, "x-amz-executed-version", "$LATEST");
            response
        }
        Outcome::FunctionError(body) => {
            let mut response = answer(200, &accepted.request_id, body);
            set(&mut response, "x-amz-executed-version", "$LATEST");
            set(&mut response, "x-amz-function-error", "Unhandled");
            response
        }
        Outcome::NotInvoked(why) => refusal(502, "ServiceException", &why).into(),
    }
}

impl Desk {
    /// The function of a name, an ARN or a part of one, as a path has it.
    fn target(&self, given: &str) -> Result<&Target, Refusal> {
        let name = given.replace("%3A", ":").replace("%3a", ":").replace("%24", "$");
        let unqualified = name.strip_suffix(":$LATEST").unwrap_or(&name);
        let by_name = |target: &&Target| {
            let config = target.function.config();
            let [full, part] = [config.arn(), format!("{}:function:{}", config.account, config.name)];
            [config.name.as_str(), &full, &part].contains(&unqualified)
        };
        self.targets.iter().find(by_name).ok_or_else(|| {
            let names: Vec<_> =
                self.targets.iter().map(|target| target.function.config().name.as_str()).collect();
            not_found(&name, &format!("expected one of {}", names.join(", ")))
        })
    }

    /// Takes an event over.
    fn keep(self: &Arc<Self>, accepted: Accepted, target: Target) -> Result<Response, Refusal> {
        let bytes = accepted.event.len();
        let room = self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |kept| {
            (kept + bytes <= KEPT_BYTES).then_some(kept + bytes)
        });
        if room.is_err() {
            let message = format!("Rate Exceeded: {KEPT_BYTES} bytes of asynchronous events are waiting");
            return Err(refusal(429, "TooManyRequestsException", &message));
        }
        let response = answer(202, &accepted.request_id, Bytes::new());
        let desk = Arc::clone(self);
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {} // forget those at their end
        tasks.spawn(async move {
            let event = desk.carried(&accepted, &target).await;
            desk.kept.fetch_sub(bytes, Ordering::Relaxed);
            event
        });
        Ok(response)
    }

    /// Brings an event to its end; gives it back if that did not come in time.
    async fn carried(&self, accepted: &Accepted, target: &Target) -> Option<Bytes> {
        let packets = target.tally.as_ref().map_or(0, |_| packets(&accepted.event));
        let tally = |count: fn(&Tally) -> &crate::tally::Count| {
            if let Some(tally) = &target.tally {
                count(tally).add(packets);
            }
        };
        let mut last = Said::NoneTaken;
        let mut first = true;
        // The packets are counted as received when the first try tells that they are packets, and at the latest in the
        // end; they are given again only where the try before had had its say.
        let tried = |outcome: &Outcome, again: bool| {
            last = Said::by(outcome);
            if last != Said::NoneTaken && std::mem::take(&mut first) {
                tally(|tally| &tally.received);
            }
            if last == Said::What && again {
                tally(|tally| &tally.repeated);
            }
        };
        let mut stop = self.stop.clone();
        let too_late = async {
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(self.grace).await;
        };
        let end = tokio::select! {
            end = carry(accepted, &target.function, &target.asynchronous, tried) => Some(end),
            () = too_late => None,
        };
        let name = &target.function.config().name;
        match end {
            Some(End::Answered) => None,
            Some(End::Kept) => {
                if last == Said::Nothing {
                    tally(|tally| &tally.undelivered);
                    tally(|tally| &tally.queued);
                }
                (self.notes)(&format!("an asynchronous event for the {name} was given up; the queue has it"));
                None
            }
            Some(End::Gone(why)) => {
                (self.notes)(&format!("an asynchronous event for the {name} was given up: {why}"));
                if last == Said::Nothing {
                    tally(|tally| &tally.abandoned);
                }
                None
            }
            None => {
                if first {
                    tally(|tally| &tally.received);
                }
                Some(accepted.event.clone())
            }
        }
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<Option<Bytes>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error of the API: its HTTP status, its name and what there is to say.
struct Refusal {
    status: u16,
    name: &'static str,
    message: String,
}

fn refusal(status: u16, name: &'static str, message: &str) -> Refusal {
    Refusal { status, name, message: message.to_owned() }
}

fn not_found(name: &str, expected: &str) -> Refusal {
    refusal(404, "ResourceNotFoundException", &format!("Function not found: {name}; {expected}"))
}

impl From<Refusal> for Response {
    fn from(Refusal { status, name, message }: Refusal) -> Self {
        let kind = if status < 500 { "User" } else { "Server" };
        let mut response =
            answer(status, &request_id(), json!({ "Type": kind, "Message": message }).to_string());
        set(&mut response, "x-amzn-errortype", name);
        response
    }
}

fn answer(status: u16, request_id: &str, body: impl Into<Bytes>) -> Response {
    let mut response = http::answer(status, "application/json", body);
    set(&mut response, "x-amzn-requestid", request_id);
    response
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
