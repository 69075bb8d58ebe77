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
    /// Whether it does what it is asked to.
    pub(crate) works: bool,
}

impl Start {
    /// The same with one variable more.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut start = self.clone();
        start.environment.push((name.to_owned(), value.to_owned()));
        start
    }
}

/// A function that has asked for its first event.
pub(crate) struct Running {
    name: String,
    // The process ends first, its share, which can go only then, last.
    process: Killed,
    api: Api,
    /// From its start to its first question.
    pub(crate) started_in: Duration,
    log: Arc<Log>,
    _share: Option<Share>,
}

/// What a function has written so far.
#[derive(Debug, Default)]
pub(crate) struct Log {
    bytes: AtomicU64,
    lines: AtomicU64,
}

impl Log {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Takes what is written, to its end.
    fn read(&self, mut out: impl std::io::Read) {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(bytes @ 1..) = out.read(&mut buffer) {
            let lines = buffer[..bytes].iter().filter(|byte| **byte == b'\n').count();
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            self.lines.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }
}

/// A process that ends with this value.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
        let process = Command::new(&start.program)
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
        let mut process = Killed(process);
        let log = Arc::new(Log::default());
        let (out, reader) = (process.0.stdout.take().context("no output")?, Arc::clone(&log));
        thread::spawn(move || reader.read(out));
        let name = [&start.program].into_iter().chain(&start.arguments).filter_map(|path| path.file_name());
        let name = name.map(|name| name.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let asked = api.asked().with_context(|| name.clone())?;
        let share = share.map(|share| Share::of(process.0.id(), share)).transpose()?;
        Ok(Self { name, process, api, started_in: asked - begun, log, _share: share })
    }

    /// One invocation, to the next question.
    pub(crate) fn invoke(&self, event: &Arc<[u8]>) -> Result<Took> {
        let (cpu, begun) = (self.cpu()?, Instant::now());
        let answered = self.api.answer(event).with_context(|| self.name.clone())?;
        self.api.asked().with_context(|| self.name.clone())?;
        Ok(Took { wall: answered - begun, cpu: self.cpu()? - cpu })
    }

    /// The program, and what it runs.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it has written.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Processor time of all its threads so far, to the nanosecond.
    fn cpu(&self) -> Result<Duration> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.0.id()))?;
        let mut spent = 0;
        for task in tasks.flatten() {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            spent += stat.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(spent))
    }
}
