//! One process of a function, with a Runtime API of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::api::{Desk, Job};
use super::living::Alive;
use super::log::Log;
use super::output::Output;
use super::process::Process;
use super::tail::{Ear, Tail};
use super::{FunctionConfig, Outcome, error_object, platform_line, seconds};
use crate::http;

/// Longest wait for what a process has written and nobody has read.
const CATCH_UP: Duration = Duration::from_secs(1);

pub(super) struct Environment {
    config: FunctionConfig,
    log: Log,
    process: Process,
    jobs: mpsc::Sender<Job>,
    desk: Arc<Desk>,
    server: JoinHandle<()>,
    ear: Ear,
    init_limit: Duration,
    initialised: bool,
}

/// The environment is gone.
pub(super) enum Ended {
    /// It never came so far as to ask for an event; the text says why.
    BeforeItStarted(String),
    /// The same, for it took too long.
    InitTimedOut(String),
    /// It ended before it took the event: another one may take it.
    BeforeTheInvocation,
    /// It ended, and the invocation with it.
    With(Outcome),
}

impl Environment {
    /// Starts the process, which holds `alive`; an error says what could not be started and why.
    pub(super) async fn start(
        config: &FunctionConfig,
        log: Log,
        init_limit: Duration,
        alive: Alive,
    ) -> Result<Self, String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(|error| format!("no port for the Runtime API: {error}"))?;
        let address =
            listener.local_addr().map_err(|error| format!("no port for the Runtime API: {error}"))?;
        let mut command = Command::new(&config.binary);
        command
            .env_clear()
            .envs(lambda_variables(config, &address.to_string()))
            .envs(config.environment.iter().map(|(name, value)| (name, value)));
        let ear = Ear::default();
        let process = Process::start(command, config.freeze, &log, &ear, alive)
            .map_err(|error| format!("{} cannot be started: {error}", config.binary.display()))?;
        let (jobs, waiting) = mpsc::channel(1);
        let desk = Desk::new(waiting, Arc::clone(&process.freezer));
        let handler = {
            let desk = Arc::clone(&desk);
            move |request, _| Arc::clone(&desk).handle(request)
        };
        let server = tokio::spawn(http::serve(listener, handler, std::future::pending(), Duration::ZERO));
        let config = config.clone();
        Ok(Self { config, log, process, jobs, desk, server, ear, init_limit, initialised: false })
    }

    /// The outputs of its process.
    pub(super) fn outputs(&self) -> &[Output] {
        self.process.outputs()
    }

    /// Gives it one event and waits for what becomes of it. `handed_over` is set when the process has the event; the
    /// tail hears what it writes from then on.
    pub(super) async fn invoke(
        &mut self,
        request_id: &str,
        event: &Bytes,
        handed_over: &AtomicBool,
        tail: Option<&Tail>,
    ) -> Result<Outcome, Ended> {
        self.process.freezer.busy(true);
        if !self.initialised {
            self.initialise().await?;
            self.initialised = true;
        }
        if tail.is_some() {
            self.catch_up().await;
            self.ear.lend(tail);
        }
        let outcome = self.carry(request_id, event, handed_over).await;
        if tail.is_some() {
            self.catch_up().await;
            self.ear.lend(None);
        }
        if outcome.is_ok() {
            self.process.freezer.busy(false);
        }
        outcome
    }

    async fn carry(
        &mut self,
        request_id: &str,
        event: &Bytes,
        handed_over: &AtomicBool,
    ) -> Result<Outcome, Ended> {
        let (taken, mut was_taken) = oneshot::channel();
        let (outcome, mut answer) = oneshot::channel();
        let job = Job {
            request_id: request_id.to_owned(),
            arn: self.config.arn(),
            event: event.clone(),
            timeout: self.config.timeout,
            taken,
            outcome,
        };
        if self.jobs.send(job).await.is_err() {
            return Err(Ended::BeforeTheInvocation);
        }
        let taken = tokio::select! {
            biased;
            taken = &mut was_taken => taken.is_ok(),
            _ = self.process.ended() => false,
            // It does not ask for its next event any more.
            () = tokio::time::sleep(self.config.timeout) => false,
        };
        // What is not taken by now is not taken any more, and what is taken is given to no other.
        was_taken.close();
        if !taken && was_taken.try_recv().is_err() {
            self.process.kill().await;
            return Err(Ended::BeforeTheInvocation);
        }
        handed_over.store(true, Ordering::Relaxed);
        let (begun, faults) = (Instant::now(), self.config.faults.clone());
        let kill_at = faults.as_ref().and_then(|faults| Some(begun + faults.kill_after(&self.config.name)?));
        let end = tokio::select! {
            biased;
            outcome = &mut answer => {
                if let Some(faults) = faults {
                    faults.answered(&self.config.name, begun.elapsed(), kill_at.is_some());
                }
                return match outcome {
                    Ok(outcome) => Ok(outcome),
                    Err(_) => {
                        self.process.kill().await;
                        Err(self.fail("Runtime.ExitError", format!("RequestId: {request_id} Error: the runtime went away")).await)
                    }
                };
            }
            end = self.process.ended() => end,
            () = precisely_at(kill_at) => {
                if let Some(faults) = faults {
                    faults.killed();
                }
                self.process.kill().await
            }
            () = tokio::time::sleep(self.config.timeout) => {
                self.process.kill().await;
                let after = self.config.timeout.as_secs_f64();
                return Err(self.fail("Sandbox.Timedout", format!("RequestId: {request_id} Error: Task timed out after {after:.2} seconds")).await);
            }
        };
        // An answer that was handed in just before the end counts.
        if let Ok(outcome) = answer.try_recv() {
            return Err(Ended::With(outcome));
        }
        let message = format!("RequestId: {request_id} Error: Runtime exited with error: {}", end.how);
        Err(self.fail("Runtime.ExitError", message).await)
    }

    async fn initialise(&mut self) -> Result<(), Ended> {
        let started = Instant::now();
        tokio::select! {
            biased;
            () = self.desk.ready.notified() => Ok(()),
            end = self.process.ended() => {
                let said = self.desk.init_error.lock().unwrap_or_else(PoisonError::into_inner).take();
                let said = message_of(said.as_deref().unwrap_or(&end.last_words));
                let how = format!("the function did not start ({}): {said}", end.how);
                self.fail("Runtime.ExitError", how.clone()).await;
                Err(Ended::BeforeItStarted(how))
            }
            () = tokio::time::sleep(self.init_limit) => {
                self.process.kill().await;
                let how = format!("the function had not started after {}", seconds(started));
                self.fail("Sandbox.Timedout", how.clone()).await;
                Err(Ended::InitTimedOut(how))
            }
        }
    }

    /// Says in the function's log, as Lambda does, what became of the environment.
    async fn fail(&self, error_type: &str, message: String) -> Ended {
        let line = platform_line(&self.config.name, error_type, &message);
        self.ear.hear(&line);
        self.log.lines(line).await;
        Ended::With(Outcome::FunctionError(error_object(error_type, &message)))
    }

    /// Waits, not for ever, until all that the process has written was passed on.
    async fn catch_up(&self) {
        let all = async {
            for output in self.outputs() {
                output.catch_up().await;
            }
        };
        let _ = timeout(CATCH_UP, all).await;
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What Lambda itself puts into a function's environment ("Defined runtime environment variables").
fn lambda_variables(config: &FunctionConfig, runtime_api: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.into()),
        ("AWS_LAMBDA_FUNCTION_NAME", config.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", config.memory_mib.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", config.name)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", format!("local/[$LATEST]{}", uuid::Uuid::new_v4().simple())),
        ("AWS_REGION", config.region.clone()),
        ("AWS_DEFAULT_REGION", config.region.clone()),
        ("_HANDLER", "bootstrap".into()),
        ("LAMBDA_TASK_ROOT", "/var/task".into()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".into()),
        ("LANG", "en_US.UTF-8".into()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
        ("TZ", ":UTC".into()),
    ]
}

/// Waits until `at`, or for ever. Timers count whole milliseconds, and an invocation may take less than one.
async fn precisely_at(at: Option<Instant>) {
    const TIMER: Duration = Duration::from_millis(2);
    let Some(at) = at else { return std::future::pending().await };
    tokio::time::sleep(at.saturating_duration_since(Instant::now()).saturating_sub(TIMER)).await;
    while Instant::now() < at {
        tokio::task::yield_now().await;
    }
}

/// What a line, or an error object, has to say: the message of a JSON one, every other as it is.
fn message_of(line: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    let message = ["message", "errorMessage"].iter().find_map(|member| json[*member].as_str());
    message.map_or_else(|| String::from_utf8_lossy(line).trim_end().to_owned(), str::to_owned)
}
