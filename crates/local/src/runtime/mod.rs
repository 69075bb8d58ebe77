//! Lambda's Runtime API and the environments behind it: the real binaries, started as processes, given one invocation
//! at a time, ended when they take too long.
//!
//! As in Lambda, a function has as many environments as it has invocations at once, up to its concurrency; an
//! environment is kept for the next invocation, one that crashed or was ended is replaced by the next.

mod environment;

mod process;

mod api;
mod freezer;
mod living;
mod log;
mod output;
mod tail;

mod logbook;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::faults::Faults;
use environment::{Ended, Environment};
use living::Living;
use log::Log;

pub use logbook::Logbook;
pub(crate) use tail::Tail;

/// Most bytes of a synchronous invocation's event, and of its answer (Lambda quotas: 6 MB each).
pub const PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// Longest initialisation of an environment, before it is tried once more with the function's timeout as its limit
/// ("Lambda execution environment lifecycle": Init phase,
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>).
pub const INIT_LIMIT: Duration = Duration::from_secs(10);

/// How many environments one event is offered to: one that was idle may have ended meanwhile, and so may the next.
const STARTS: usize = 3;

/// Longest wait for a sink to take what was written.
const FLUSH: Duration = Duration::from_secs(1);

/// Longest wait, at the end, for processes that were ended: for longer than for what they wrote last.
const GONE: Duration = Duration::from_secs(3);

/// Takes whole lines of what a function writes to its standard output and error; the first argument is its name.
pub type LogSink = Arc<dyn Fn(&str, &[u8]) + Send + Sync>;

/// What a function is and what surrounds it.
#[derive(Clone, Debug)]
pub struct FunctionConfig {
    /// Its name in `AWS_LAMBDA_FUNCTION_NAME`.
    pub name: String,
    /// The executable that Lambda would find as `bootstrap`.
    pub binary: PathBuf,
    /// Its variables, besides those that Lambda sets. It sees no others.
    pub environment: Vec<(String, String)>,
    /// After this time an invocation is ended with its process.
    pub timeout: Duration,
    /// What `AWS_LAMBDA_FUNCTION_MEMORY_SIZE` says; not enforced.
    pub memory_mib: u32,
    /// Most environments at once; further invocations wait their turn.
    pub concurrency: usize,
    /// Account in its ARN.
    pub account: String,
    /// Region in its ARN and in `AWS_REGION`.
    pub region: String,
    /// What is to go wrong with its invocations; nothing, if there are none.
    pub faults: Option<Arc<Faults>>,
    /// Whether its processes are stopped between invocations, as Lambda freezes them.
    pub freeze: bool,
}

impl FunctionConfig {
    /// The function's ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:function:{}", self.region, self.account, self.name)
    }
}

/// A function that can be invoked. A handle: clones are the same function.
#[derive(Clone)]
pub struct Function {
    inner: Arc<Inner>,
}

struct Inner {
    config: FunctionConfig,
    log: Log,
    turn: Semaphore,
    idle: Mutex<Vec<Environment>>,
    cold_starts: AtomicU64,
    stopping: watch::Sender<bool>,
    living: Living,
    init_limit: Duration,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function's answer, as it gave it.
    Answer(Bytes),
    /// What Lambda reports with `FunctionError: Unhandled`: a JSON object with `errorType` and `errorMessage`. The
    /// function returned an error, took too long or crashed.
    FunctionError(Bytes),
    /// The event was never given to the function: it did not start, it was stopped, the event is too large. The text
    /// says why. (Of a function that does not start Lambda says `FunctionError` too; here whoever invokes it is told
    /// that nothing was lost.)
    NotInvoked(String),
}

impl Function {
    /// Nothing is started before the first invocation.
    pub fn new(config: FunctionConfig, log: LogSink) -> Self {
        Self::limited(config, log, INIT_LIMIT)
    }

    fn limited(config: FunctionConfig, log: LogSink, init_limit: Duration) -> Self {
        let turn = Semaphore::new(config.concurrency.max(1));
        let log = Log::start(config.name.clone(), log);
        let (idle, cold_starts, stopping) = (Mutex::default(), AtomicU64::new(0), watch::Sender::new(false));
        let living = Living::default();
        Self { inner: Arc::new(Inner { config, log, turn, idle, cold_starts, stopping, living, init_limit }) }
    }

    /// What it was made of.
    pub fn config(&self) -> &FunctionConfig {
        &self.inner.config
    }

    /// Environments started so far.
    pub fn cold_starts(&self) -> u64 {
        self.inner.cold_starts.load(Ordering::Relaxed)
    }

    /// Invokes it when an environment is free, and waits for the outcome; invocations are served in the order in which
    /// they came. Dropped, it ends the environment that has the event.
    pub async fn invoke(&self, event: Bytes) -> Outcome {
        self.invoke_as(&request_id(), event).await
    }

    /// The same under a request id that is known already: an asynchronous invocation keeps its id from try to try.
    pub async fn invoke_as(&self, request_id: &str, event: Bytes) -> Outcome {
        self.invoke_heard(request_id, event, None).await
    }

    /// The same, and what it wrote is heard by the tail.
    pub(crate) async fn invoke_heard(&self, request_id: &str, event: Bytes, tail: Option<&Tail>) -> Outcome {
        if event.len() > PAYLOAD_BYTES {
            let (given, limit) = (event.len(), PAYLOAD_BYTES);
            return Outcome::NotInvoked(format!("the event has {given} bytes, Lambda takes at most {limit}"));
        }
        // Counted before it looks whether all is stopped; whoever stops looks at the count afterwards.
        let _alive = self.inner.living.one_more();
        let taken = AtomicBool::new(false);
        let mut stopping = self.inner.stopping.subscribe();
        tokio::select! {
            biased;
            outcome = self.serve(request_id, &event, &taken, tail) => outcome,
            // The environment is dropped with its invocation, and the process ends with it.
            _ = stopping.wait_for(|stopping| *stopping) => {
                let message = "the function was stopped";
                if taken.load(Ordering::Relaxed) {
                    Outcome::FunctionError(error_object("Runtime.ExitError", message))
                } else {
                    Outcome::NotInvoked(message.into())
                }
            }
        }
    }

    async fn serve(
        &self,
        request_id: &str,
        event: &Bytes,
        taken: &AtomicBool,
        tail: Option<&Tail>,
    ) -> Outcome {
        let (mut init_limit, mut timed_out) = (self.inner.init_limit, false);
        let Ok(_turn) = self.inner.turn.acquire().await else {
            return Outcome::NotInvoked("the function was stopped".into());
        };
        for _ in 0..STARTS {
            let idle = self.idle().pop();
            let mut environment = match idle {
                Some(environment) => environment,
                None => match self.start(init_limit).await {
                    Ok(environment) => environment,
                    Err(error) => {
                        // Whoever looks at the log alone is to see it too.
                        self.inner
                            .log
                            .lines(platform_line(&self.inner.config.name, "Runtime.ExitError", &error))
                            .await;
                        return Outcome::NotInvoked(error);
                    }
                },
            };
            match environment.invoke(request_id, event, taken, tail).await {
                Ok(outcome) => {
                    self.keep(environment);
                    return outcome;
                }
                // Once more, as Lambda does.
                Err(Ended::InitTimedOut(_)) if !timed_out => {
                    (init_limit, timed_out) = (self.inner.config.timeout, true);
                }
                Err(Ended::BeforeItStarted(why) | Ended::InitTimedOut(why)) => {
                    return Outcome::NotInvoked(why);
                }
                Err(Ended::BeforeTheInvocation) => {}
                Err(Ended::With(outcome)) => return outcome,
            }
        }
        Outcome::NotInvoked(format!("{STARTS} environments ended before they took the event"))
    }

    /// Waits, not for ever, until all that was written by invocations at their end has been passed on.
    pub(crate) async fn flush_log(&self) {
        let outputs: Vec<_> = self.idle().iter().flat_map(Environment::outputs).cloned().collect();
        let all = async {
            for output in outputs {
                output.catch_up().await;
            }
        };
        let _ = timeout(FLUSH, all).await;
        self.inner.log.flush(FLUSH).await;
    }

    /// Takes no more invocations, ends those under way and all processes, and waits, not for ever, until they are gone
    /// and what they wrote has been passed on.
    pub async fn stop(&self) {
        self.inner.turn.close();
        self.inner.stopping.send_replace(true);
        let idle = std::mem::take(&mut *self.idle());
        drop(idle); // ends them
        let _ = timeout(GONE, self.inner.living.none_left()).await;
        self.inner.log.flush(FLUSH).await;
    }

    async fn start(&self, init_limit: Duration) -> Result<Environment, String> {
        self.inner.cold_starts.fetch_add(1, Ordering::Relaxed);
        let alive = self.inner.living.one_more();
        Environment::start(&self.inner.config, self.inner.log.clone(), init_limit, alive).await
    }

    /// Keeps an environment for the next invocation; ends it if there is to be none.
    fn keep(&self, environment: Environment) {
        let mut idle = self.idle();
        if !*self.inner.stopping.borrow() {
            idle.push(environment);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Environment>> {
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of an invocation.
pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The error object that Lambda answers with.
fn error_object(error_type: &str, message: &str) -> Bytes {
    json!({ "errorType": error_type, "errorMessage": message }).to_string().into()
}

/// A line of a function's log that is not the function's own.
fn platform_line(function: &str, error_type: &str, message: &str) -> Vec<u8> {
    let time = jiff::Timestamp::now();
    let line = json!({
        "timestamp": format!("{time:.3}"), "level": "ERROR", "type": "platform",
        "function": function, "errorType": error_type, "message": message,
    });
    format!("{line}\n").into_bytes()
}

/// How long something took, for the words of a report.
fn seconds(since: Instant) -> String {
    format!("{:.2} seconds", since.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests;
