//! Lambda's invocations, with their events as they came.
//!
//! The runtime would read an event as JSON before a handler sees it, to make something of it that the handler then reads
//! once more: a fifth of all the time of a function that reads its event in place. So the runtime is told that the event
//! is of a type of which nothing has to be known, and the event goes past it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::tower::util::MapRequestLayer;
use lambda_runtime::{Context, Diagnostic, Error, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use serde::{Deserialize, Deserializer, Serialize};

/// Takes one invocation after the other from the Lambda Runtime API until the process is ended. `handle` is given an
/// event's bytes, of which nobody has seen whether they are JSON.
///
/// # Errors
/// When the Runtime API cannot be spoken to.
///
/// # Panics
/// Without the variables that Lambda sets for every function.
pub async fn run<F, A, E>(mut handle: impl FnMut(Bytes, Context) -> F) -> Result<(), Error>
where
    F: Future<Output = Result<A, E>>,
    A: Serialize,
    E: Into<Diagnostic> + Debug,
{
    // There is one invocation at a time, and its handler is called before anything else is.
    let event = Arc::new(Mutex::new(Bytes::new()));
    let taken = Arc::clone(&event);
    let take = move || std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
    let keep = MapRequestLayer::new(move |invocation: LambdaInvocation| {
        *event.lock().unwrap_or_else(PoisonError::into_inner) = invocation.body.clone();
        invocation
    });
    let handler = service_fn(move |LambdaEvent { payload: Unread, context }| handle(take(), context));
    Runtime::new(handler).layer(keep).layer(TracingLayer::new()).run().await
}

/// An event that is not looked at.
struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}
