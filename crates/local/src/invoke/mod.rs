//! Lambda's Invoke API in front of the functions, so that the AWS CLI and the SDKs can invoke them: with an answer, or
//! asynchronously, where Lambda itself takes the event over and tries again what failed.
//!
//! The API is that of <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>. What is not simulated (a client
//! context, versions other than `$LATEST`) is refused by name. `mappings` is the API of the event source mappings, at the
//! same address.

mod asynchronous;

mod mappings;

mod answer;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::Method;
use serde::de::IgnoredAny;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use asynchronous::{Asynchronous, LONGEST_AGE, MOST_RETRIES, WAIT};

use crate::gateway::{Left, Notes, Producer};
use crate::http::{self, BodyError, Request, Response};
use crate::mapping::Mapping;
use crate::queue::limits::MESSAGE_OVERHEAD;
use crate::runtime::{Function, Outcome, PAYLOAD_BYTES, Tail, request_id};
use crate::tally::{Count, Said, Tally, packets};
use answer::{Refusal, answer, not_found, refusal, set};
use asynchronous::{Accepted, End, carry};

/// Most bytes of an asynchronous invocation's event (Lambda quotas: 1 MB).
pub const ASYNCHRONOUS_BYTES: usize = 1024 * 1024;

/// Bytes of the asynchronous events that are kept at once, with what each costs besides (ours); further ones are turned
/// away as too many requests.
const KEPT_BYTES: usize = 256 << 20;

/// A function that is invoked here.
#[derive(Clone)]
pub struct Target {
    /// The function.
    pub invoked: Invoked,
    /// What holds for its asynchronous invocations.
    pub asynchronous: Asynchronous,
}

/// What a function is given.
#[derive(Clone)]
pub enum Invoked {
    /// Packets, each of which is counted.
    Producer(Producer),
    /// Anything else.
    Other(Function),
}

impl Target {
    fn function(&self) -> &Function {
        match &self.invoked {
            Invoked::Producer(producer) => producer.function(),
            Invoked::Other(function) => function,
        }
    }

    fn tally(&self) -> Option<&Tally> {
        match &self.invoked {
            Invoked::Producer(producer) => Some(producer.tally()),
            Invoked::Other(_) => None,
        }
    }

    async fn invoke(&self, request_id: &str, event: Bytes, tail: Option<&Tail>) -> (Outcome, Said) {
        match &self.invoked {
            Invoked::Producer(producer) => producer.invoke_heard(request_id, event, tail).await,
            Invoked::Other(function) => {
                (function.invoke_heard(request_id, event, tail).await, Said::NoneTaken)
            }
        }
    }
}

/// The functions that are invoked here, and the mappings that can be looked at and switched. A clone is the same.
#[derive(Clone, Default)]
pub struct Registry(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    functions: Vec<Target>,
    mappings: Vec<Mapping>,
}

impl Registry {
    /// Adds a function, or puts it in the place of the one that had its name.
    pub fn add_function(&self, target: Target) {
        let functions = &mut self.write().functions;
        functions.retain(|other| other.function().config().name != target.function().config().name);
        functions.push(target);
    }

    /// Adds a mapping.
    pub fn add_mapping(&self, mapping: Mapping) {
        self.write().mappings.push(mapping);
    }

    /// The mappings, in the order in which they were added.
    pub fn mappings(&self) -> Vec<Mapping> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).mappings.clone()
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        *self.write() = Known::default();
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The function of a name, an ARN or a part of one, as a path has it.
    fn find(&self, given: &str) -> Result<Target, Refusal> {
        let name = given.replace("%3A", ":").replace("%3a", ":").replace("%24", "$");
        let unqualified = name.strip_suffix(":$LATEST").unwrap_or(&name);
        let by_name = |target: &&Target| {
            let config = target.function().config();
            let [full, part] = [config.arn(), format!("{}:function:{}", config.account, config.name)];
            [config.name.as_str(), &full, &part].contains(&unqualified)
        };
        let functions = &self.0.read().unwrap_or_else(PoisonError::into_inner).functions;
        functions.iter().find(by_name).cloned().ok_or_else(|| {
            let names: Vec<_> =
                functions.iter().map(|target| target.function().config().name.as_str()).collect();
            not_found(&name, &format!("expected one of {}", names.join(", ")))
        })
    }
}

/// Serves invocations, and the API of the mappings, until `stop`; those under way have the grace. Gives back the asynchronous events that nobody else has.
pub async fn run(
    listener: TcpListener,
    registry: Registry,
    notes: Notes,
    stop: watch::Receiver<bool>,
    grace: Duration,
) -> Vec<Left> {
    let desk = Arc::new(Desk {
        registry,
        notes,
        kept: AtomicUsize::new(0),
        tasks: Mutex::default(),
        left: Mutex::default(),
        stop,
        grace,
    });
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
    http::serve(listener, handler, stopped, grace).await;
    let mut tasks = std::mem::take(&mut *desk.tasks());
    let mut left = desk.left.lock().unwrap_or_else(PoisonError::into_inner).split_off(0);
    while let Some(event) = tasks.join_next().await {
        left.extend(event.ok().flatten());
    }
    left
}

struct Desk {
    registry: Registry,
    notes: Notes,
    /// Bytes of the asynchronous events that are kept, with what each costs besides.
    kept: AtomicUsize,
    /// The asynchronous events; each ends with what is left of it.
    tasks: Mutex<JoinSet<Option<Left>>>,
    /// What is left of those that are over.
    left: Mutex<Vec<Left>>,
    stop: watch::Receiver<bool>,
    grace: Duration,
}

async fn respond(request: Request, desk: &Arc<Desk>) -> Response {
    let answered = if request.uri().path().starts_with(mappings::PATH) {
        mappings::respond(request, &desk.registry.mappings()).await
    } else {
        invocation(request, desk).await
    };
    match answered {
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
            &format!("{given} is neither Invoke nor about event source mappings, which is all that is here"),
        ));
    };
    let target = desk.registry.find(name)?;
    let header =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !header("x-amz-client-context").is_empty() {
        return Err(refusal(400, "InvalidParameterValueException", "ClientContext is not simulated"));
    }
    // It counts for synchronous invocations alone.
    let tail = match header("x-amz-log-type") {
        "" | "None" => None,
        "Tail" => Some(Tail::default()),
        other => {
            let message = format!("LogType is {other:?}, expected None or Tail");
            return Err(refusal(400, "InvalidParameterValueException", &message));
        }
    };
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
    let not_json = |why: &dyn std::fmt::Display| {
        let message = format!("Could not parse request body into json: {why}");
        refusal(400, "InvalidRequestContentException", &message)
    };
    // Bytes between quotes are not looked at by a parser that does not keep them, so they are made a text first.
    let event = String::from_utf8(event.into()).map_err(|error| not_json(&error))?;
    serde_json::from_str::<IgnoredAny>(&event).map_err(|error| not_json(&error))?;
    let accepted = Accepted { request_id: request_id(), event };
    match kind {
        Kind::Synchronous => Ok(synchronous(accepted, &target, tail).await),
        Kind::Asynchronous => desk.keep(accepted, target),
    }
}

enum Kind {
    Synchronous,
    Asynchronous,
}

async fn synchronous(accepted: Accepted, target: &Target, tail: Option<Tail>) -> Response {
    let packets = target.tally().map_or(0, |_| packets(accepted.event.as_bytes()));
    let (outcome, said) = target.invoke(&accepted.request_id, accepted.event.into(), tail.as_ref()).await;
    if let Some(tally) = target.tally() {
        tally.took(packets, said);
    }
    let (body, failed) = match outcome {
        Outcome::Answer(body) => (body, false),
        Outcome::FunctionError(body) => (body, true),
        Outcome::NotInvoked(why) => return refusal(502, "ServiceException", &why).into(),
    };
    let mut response = answer(200, &accepted.request_id, body);
    set(&mut response, "x-amz-executed-version", "$LATEST");
    if failed {
        set(&mut response, "x-amz-function-error", "Unhandled");
    }
    if let Some(tail) = tail {
        set(&mut response, "x-amz-log-result", &BASE64_STANDARD.encode(tail.bytes()));
    }
    response
}

impl Desk {
    /// Takes an event over.
    fn keep(self: &Arc<Self>, accepted: Accepted, target: Target) -> Result<Response, Refusal> {
        let bytes = accepted.event.len() + MESSAGE_OVERHEAD;
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
        while let Some(ended) = tasks.try_join_next() {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.extend(ended.ok().flatten());
        }
        tasks.spawn(async move {
            let left = desk.carried(&accepted, &target).await;
            desk.kept.fetch_sub(if left.is_none() { bytes } else { 0 }, Ordering::Relaxed);
            left
        });
        Ok(response)
    }

    /// Brings an event to its end; gives it back if that did not come in time, or if nobody takes what was given up.
    async fn carried(&self, accepted: &Accepted, target: &Target) -> Option<Left> {
        let packets = target.tally().map_or(0, |_| packets(accepted.event.as_bytes()));
        let count = |count: fn(&Tally) -> &Count| {
            if let Some(tally) = target.tally() {
                count(tally).add(packets);
            }
        };
        // What the last try had to say that took the packets. They are counted as received with the first such try, and
        // as given again with one behind a try that had its say.
        let mut last = None;
        let given = |last| match last {
            None => count(|tally| &tally.received),
            Some(Said::What) => count(|tally| &tally.repeated),
            Some(Said::Nothing | Said::NoneTaken) => {}
        };
        let tried = |said| {
            if said != Said::NoneTaken {
                given(last);
                last = Some(said);
            }
        };
        let mut stop = self.stop.clone();
        let too_late = async {
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(self.grace).await;
        };
        let end = tokio::select! {
            end = carry(accepted, target, tried) => Some(end),
            () = too_late => None,
        };
        let say = |words: &str| {
            let name = &target.function().config().name;
            (self.notes)(&format!("an asynchronous event for the {name} {words}"));
        };
        match end {
            Some(End::Answered) => return None,
            Some(End::Kept) => {
                if last == Some(Said::Nothing) {
                    count(|tally| &tally.undelivered);
                    count(|tally| &tally.queued);
                }
                say("was given up; the queue has it");
                return None;
            }
            Some(End::Gone(why)) => {
                say(&format!("was given up, and {why}: it is kept for the end"));
                // If the last try had its say, each packet is accounted for.
                let packets = if last == Some(Said::What) { 0 } else { packets };
                return Some(Left { event: accepted.event.clone(), packets });
            }
            None => {}
        }
        // Whoever gives it to the function again gives all of its packets.
        given(last);
        Some(Left { event: accepted.event.clone(), packets })
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<Option<Left>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
