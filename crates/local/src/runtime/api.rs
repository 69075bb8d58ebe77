//! The Runtime API of one environment, as "Using the Lambda runtime API for custom runtimes" describes it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::{Notify, mpsc, oneshot};

use super::freezer::Freezer;
use super::{Outcome, PAYLOAD_BYTES, error_object};
use crate::http::{self, BodyError, Request, Response};

/// An invocation on its way to the process.
pub(super) struct Job {
    pub(super) request_id: String,
    pub(super) arn: String,
    pub(super) event: Bytes,
    pub(super) timeout: Duration,
    /// Told when the process takes the event. It does not get it where nobody listens.
    pub(super) taken: oneshot::Sender<()>,
    pub(super) outcome: oneshot::Sender<Outcome>,
}

/// Where the process picks up events and hands in answers.
pub(super) struct Desk {
    jobs: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    current: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
    /// Told when the process asks for its first event: its initialisation is over.
    pub(super) ready: Notify,
    /// What the process said of a failed initialisation.
    pub(super) init_error: Mutex<Option<Bytes>>,
    freezer: Arc<Freezer>,
}

impl Desk {
    pub(super) fn new(jobs: mpsc::Receiver<Job>, freezer: Arc<Freezer>) -> Arc<Self> {
        let (jobs, current) = (tokio::sync::Mutex::new(jobs), Mutex::new(None));
        Arc::new(Self { jobs, current, ready: Notify::new(), init_error: Mutex::new(None), freezer })
    }

    pub(super) async fn handle(self: Arc<Self>, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => self.next().await,
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
                self.hand_in(id, request, Outcome::Answer).await
            }
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
                self.hand_in(id, request, Outcome::FunctionError).await
            }
            (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
                let body = http::body(request.into_body(), PAYLOAD_BYTES).await.ok();
                *self.init_error.lock().unwrap_or_else(PoisonError::into_inner) = body;
                accepted()
            }
            (method, _) => {
                let message = format!("the Runtime API has no {method} {path}");
                http::answer(404, JSON, error_object("NotFound", &message))
            }
        }
    }

    async fn next(&self) -> Response {
        self.ready.notify_one();
        self.freezer.asks(true);
        let job = self.jobs.lock().await.recv().await;
        self.freezer.asks(false);
        let Some(job) = job else {
            return ending();
        };
        // Told before it is given: where nobody listens any more, another environment gets the event.
        if job.taken.send(()).is_err() {
            return ending();
        }
        let deadline = SystemTime::now() + job.timeout;
        let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
        let mut answer = http::answer(200, JSON, job.event);
        let headers = answer.headers_mut();
        for (name, value) in [
            ("lambda-runtime-aws-request-id", job.request_id.as_str()),
            ("lambda-runtime-deadline-ms", &deadline),
            ("lambda-runtime-invoked-function-arn", &job.arn),
            ("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0"),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        *self.current() = Some((job.request_id, job.outcome));
        answer
    }

    /// Takes an answer or an error for the invocation under way, once.
    async fn hand_in(&self, id: &str, request: Request, outcome: fn(Bytes) -> Outcome) -> Response {
        let body = http::body(request.into_body(), PAYLOAD_BYTES).await;
        let sender = self.current().take_if(|(current, _)| current == id).map(|(_, sender)| sender);
        let Some(sender) = sender else {
            return http::answer(
                400,
                JSON,
                error_object("InvalidRequestID", "the invocation is not under way"),
            );
        };
        match body {
            Ok(body) => {
                let _ = sender.send(outcome(body));
                accepted()
            }
            Err(BodyError::TooLarge) => {
                let message =
                    format!("the answer has more than {PAYLOAD_BYTES} bytes, the most that Lambda carries");
                let error = error_object("Function.ResponseSizeTooLarge", &message);
                let _ = sender.send(Outcome::FunctionError(error.clone()));
                http::answer(413, JSON, error)
            }
            // The process broke off; it will be found to have ended, or it will time out.
            Err(BodyError::Broken) => {
                *self.current() = Some((id.to_owned(), sender));
                http::answer(400, JSON, error_object("ContainerError", "the body broke off"))
            }
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<(String, oneshot::Sender<Outcome>)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const JSON: &str = "application/json";

fn ending() -> Response {
    http::answer(410, JSON, error_object("ContainerError", "the environment is ending"))
}

fn accepted() -> Response {
    http::answer(202, JSON, r#"{"status":"OK"}"#)
}
