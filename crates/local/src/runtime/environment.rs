//! One process of a function, with a Runtime API of its own.

use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::api::{Desk, Job};
use super::freezer::Freezer;
use super::log::Log;
use super::tail::{Ear, Tail};
use super::{FunctionConfig, Outcome, error_object, platform_line, seconds};
use crate::http;

/// Longest wait for the last output of a process that has ended.
const DRAIN: Duration = Duration::from_secs(1);

pub(super) struct Environment {
    config: FunctionConfig,
    log: Log,
    process: Child,
    jobs: mpsc::Sender<Job>,
    desk: Arc<Desk>,
    server: JoinHandle<()>,
    pumps: Vec<Pump>,
    ear: Ear,
    freezer: Arc<Freezer>,
    init_limit: Duration,
    initialised: bool,
}

/// Passes on what the process writes to one of its outputs.
struct Pump {
    /// Ends with the last line that it passed on.
    task: JoinHandle<Vec<u8>>,
    /// Is told when there is nothing more to be read for the moment.
    caught_up: mpsc::Sender<oneshot::Sender<()>>,
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
    /// Starts the process; an error says what could not be started and why.
    pub(super) async fn start(
        config: &FunctionConfig,
        log: Log,
        init_limit: Duration,
    ) -> Result<Self, String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(|error| format!("no port for the Runtime API: {error}"))?;
        let address =
            listener.local_addr().map_err(|error| format!("no port for the Runtime API: {error}"))?;
        let mut process = Command::new(&config.binary)
            .env_clear()
            .envs(lambda_variables(config, &address.to_string()))
            .envs(config.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal is for `rivulet up`, which ends its functions when their work is done.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", config.binary.display()))?;
        let ear = Ear::default();
        let pumps = [
            process.stdout.take().map(|output| Pump::start(output, &log, &ear)),
            process.stderr.take().map(|output| Pump::start(output, &log, &ear)),
        ];
        let freezer = Arc::new(Freezer::new(group(&process).filter(|_| config.freeze)));
        let (jobs, waiting) = mpsc::channel(1);
        let desk = Desk::new(waiting, Arc::clone(&freezer));
        let handler = {
            let desk = Arc::clone(&desk);
            move |request, _| Arc::clone(&desk).handle(request)
        };
        let server = tokio::spawn(http::serve(listener, handler, std::future::pending()));
        let pumps = pumps.into_iter().flatten().collect();
        Ok(Self {
            config: config.clone(),
            log,
            process,
            jobs,
            desk,
            server,
            pumps,
            ear,
            freezer,
            init_limit,
            initialised: false,
        })
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
        self.freezer.busy(true);
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
            self.freezer.busy(false);
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
        tokio::select! {
            _ = &mut was_taken => handed_over.store(true, Ordering::Relaxed),
            _ = self.process.wait() => {
                self.drain().await;
                return Err(Ended::BeforeTheInvocation);
            }
            // It does not ask for its next event any more.
            () = tokio::time::sleep(self.config.timeout) => {
                self.kill().await;
                return Err(Ended::BeforeTheInvocation);
            }
        }
        let (begun, faults) = (Instant::now(), self.config.faults.clone());
        let kill_at = faults.as_ref().and_then(|faults| Some(begun + faults.kill_after(&self.config.name)?));
        let status = tokio::select! {
            biased;
            outcome = &mut answer => {
                if let Some(faults) = faults {
                    faults.answered(&self.config.name, begun.elapsed(), kill_at.is_some());
                }
                return match outcome {
                    Ok(outcome) => Ok(outcome),
                    Err(_) => Err(self.fail("Runtime.ExitError", format!("RequestId: {request_id} Error: the runtime went away")).await),
                };
            }
            status = self.process.wait() => status,
            () = precisely_at(kill_at) => {
                if let Some(faults) = faults {
                    faults.killed();
                }
                self.kill_group();
                self.process.wait().await
            }
            () = tokio::time::sleep(self.config.timeout) => {
                self.kill().await;
                let after = self.config.timeout.as_secs_f64();
                return Err(self.fail("Sandbox.Timedout", format!("RequestId: {request_id} Error: Task timed out after {after:.2} seconds")).await);
            }
        };
        self.drain().await;
        // An answer that was handed in just before the end counts.
        if let Ok(outcome) = answer.try_recv() {
            return Err(Ended::With(outcome));
        }
        let how = how_it_ended(status);
        let message = format!("RequestId: {request_id} Error: Runtime exited with error: {how}");
        Err(self.fail("Runtime.ExitError", message).await)
    }

    /// Ends the process; what it has written is passed on first.
    pub(super) async fn end(mut self) {
        self.kill().await;
    }

    async fn initialise(&mut self) -> Result<(), Ended> {
        let started = Instant::now();
        tokio::select! {
            () = self.desk.ready.notified() => Ok(()),
            status = self.process.wait() => {
                let last_words = self.drain().await;
                let said = self.desk.init_error.lock().unwrap_or_else(PoisonError::into_inner).take();
                let said = said.as_deref().map_or(last_words, message_of);
                let how = format!("the function did not start ({}): {said}", how_it_ended(status));
                self.fail("Runtime.ExitError", how.clone()).await;
                Err(Ended::BeforeItStarted(how))
            }
            () = tokio::time::sleep(self.init_limit) => {
                self.kill().await;
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

    async fn kill(&mut self) {
        self.kill_group();
        let _ = self.process.wait().await;
        self.drain().await;
    }

    /// Ends the process and whatever it has started; does nothing once it has ended by itself.
    fn kill_group(&self) {
        self.freezer.leave();
        if let Some(group) = group(&self.process) {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }

    /// Waits, not for ever, until all that the process has written was passed on.
    async fn catch_up(&self) {
        for pump in &self.pumps {
            let (told, caught_up) = oneshot::channel();
            let wait = async {
                if pump.caught_up.send(told).await.is_ok() {
                    let _ = caught_up.await;
                }
            };
            let _ = tokio::time::timeout(DRAIN, wait).await;
        }
    }

    /// Waits until all that the process wrote was passed on, and gives back its last message; not for ever, as a child
    /// of its own may outlive it and keep its output open.
    async fn drain(&mut self) -> String {
        let mut last_words = String::new();
        for pump in self.pumps.drain(..) {
            let abort = pump.task.abort_handle();
            match tokio::time::timeout(DRAIN, pump.task).await {
                Ok(Ok(line)) if !line.is_empty() => last_words = message_of(&line),
                Ok(_) => {}
                Err(_) => abort.abort(),
            }
        }
        last_words
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.kill_group();
        self.server.abort();
    }
}

/// The group of a process that was started as the first of one, while it is there.
fn group(process: &Child) -> Option<Pid> {
    process.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
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

fn how_it_ended(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// What a line, or an error object, has to say: the message of a JSON one, every other as it is.
fn message_of(line: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    let message = ["message", "errorMessage"].iter().find_map(|member| json[*member].as_str());
    message.map_or_else(|| String::from_utf8_lossy(line).trim_end().to_owned(), str::to_owned)
}

/// Most bytes of a last line that are kept: an error with everything that is wrong in it.
const LAST_LINE: usize = 16 * 1024;

impl Pump {
    fn start(output: impl AsyncRead + Unpin + Send + 'static, log: &Log, ear: &Ear) -> Self {
        let (caught_up, asked) = mpsc::channel(1);
        let task = tokio::spawn(pump(output, log.clone(), ear.clone(), asked));
        Self { task, caught_up }
    }
}

/// Passes on what the process writes, whole lines at a time, and gives back the last one. A last line without an end
/// gets one.
async fn pump(
    mut output: impl AsyncRead + Unpin,
    log: Log,
    ear: Ear,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut last = Vec::new();
    loop {
        buffer.reserve(64 * 1024);
        let before = buffer.len();
        let read = tokio::select! {
            biased; // it has caught up when there is nothing to be read
            read = output.read_buf(&mut buffer) => read,
            Some(caught_up) = asked.recv() => {
                // Whoever asked may have stopped waiting.
                let _ = caught_up.send(());
                continue;
            }
        };
        match read {
            Ok(0) | Err(_) => break,
            Ok(_) => ear.hear(&buffer[before..]),
        }
        if let Some(end) = buffer.iter().rposition(|&byte| byte == b'\n') {
            let rest = buffer.split_off(end + 1);
            let start = buffer[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |before| before + 1);
            last.clear();
            last.extend_from_slice(&buffer[start..end.min(start + LAST_LINE)]);
            log.lines(std::mem::replace(&mut buffer, rest)).await;
        }
    }
    if !buffer.is_empty() {
        last.clear();
        last.extend_from_slice(&buffer[..buffer.len().min(LAST_LINE)]);
        buffer.push(b'\n');
        log.lines(buffer).await;
    }
    last
}
