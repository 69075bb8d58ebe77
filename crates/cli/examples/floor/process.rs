//! A function as a process: started, given events, its processor time read from the kernel.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::api::Api;
use crate::share::Share;

/// What is started, and with which variables besides Lambda's own.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<PathBuf>,
    pub(crate) environment: Vec<(String, String)>,
}

/// A function that has asked for its first event.
pub(crate) struct Running {
    process: Child,
    api: Api,
    /// From its start to its first question.
    pub(crate) started_in: Duration,
    logged: Arc<AtomicU64>,
    _share: Option<Share>,
}

/// What an invocation took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// From the event to the answer.
    pub(crate) wall: Duration,
    /// Processor time of the process, to its next question.
    pub(crate) cpu: Duration,
}

impl Running {
    /// Starts it and waits until it asks for an event. From then on it has `share` of a processor; what Lambda gives to
    /// the initialisation is all of one.
    pub(crate) fn start(start: &Start, share: Option<f64>) -> Result<Self> {
        let api = Api::start()?;
        let begun = Instant::now();
        let mut process = Command::new(&start.program)
            .args(&start.arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "f")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/f")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "s")
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(start.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("{} cannot be started", start.program.display()))?;
        let logged = Arc::new(AtomicU64::new(0));
        let (out, count) = (process.stdout.take().context("no output")?, Arc::clone(&logged));
        thread::spawn(move || read(out, &count));
        let asked = api.asked().inspect_err(|_| drop(process.kill()))?;
        let share = share.map(|share| Share::of(process.id(), share)).transpose()?;
        Ok(Self { process, api, started_in: asked - begun, logged, _share: share })
    }

    /// One invocation, to the next question.
    pub(crate) fn invoke(&self, event: &Arc<[u8]>) -> Result<(Took, Vec<u8>)> {
        let (cpu, begun) = (self.cpu()?, Instant::now());
        let (answered, answer) = self.api.answer(event)?;
        self.api.asked()?;
        Ok((Took { wall: answered - begun, cpu: self.cpu()? - cpu }, answer))
    }

    /// The first invocation: from the start of the process to the answer, less what it waited for the event.
    pub(crate) fn first_answer(&self, event: &Arc<[u8]>) -> Result<Duration> {
        let (took, _) = self.invoke(event)?;
        Ok(self.started_in + took.wall)
    }

    /// Bytes that it has written to its log.
    pub(crate) fn logged(&self) -> u64 {
        self.logged.load(Ordering::Relaxed)
    }

    /// Processor time of all its threads so far, to the nanosecond.
    fn cpu(&self) -> Result<Duration> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id()))?;
        let mut spent = 0;
        for task in tasks.flatten() {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            spent += stat.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(spent))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(mut out: impl std::io::Read, count: &AtomicU64) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(bytes) = out.read(&mut buffer) {
        if bytes == 0 {
            return;
        }
        count.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
