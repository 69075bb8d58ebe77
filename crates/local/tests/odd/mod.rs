//! A function that does what its events say, as a real process.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::runtime::{Function, FunctionConfig, LogSink, Outcome};
use serde_json::Value;

/// A function in bash: it speaks HTTP over a socket of its own and does what each event says.
const FUNCTION: &str = include_str!("bootstrap.sh");

pub(crate) struct Odd {
    pub(crate) function: Function,
    pub(crate) log: Arc<Mutex<String>>,
    folder: tempfile::TempDir,
}

pub(crate) fn odd(concurrency: usize, variables: &[(&str, &str)]) -> Odd {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("bootstrap");
    std::fs::write(&binary, FUNCTION).unwrap();
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    let environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (function, log) = function(&binary, concurrency, environment);
    Odd { function, log, folder }
}

pub(crate) fn function(
    binary: &Path,
    concurrency: usize,
    environment: Vec<(String, String)>,
) -> (Function, Arc<Mutex<String>>) {
    started(FunctionConfig {
        name: "odd".into(),
        binary: binary.to_owned(),
        environment,
        timeout: Duration::from_millis(1500),
        memory_mib: 128,
        concurrency,
        account: "000000000000".into(),
        region: "us-east-1".into(),
        faults: None,
        freeze: false,
    })
}

fn started(config: FunctionConfig) -> (Function, Arc<Mutex<String>>) {
    let log = Arc::new(Mutex::new(String::new()));
    let sink: LogSink = {
        let log = Arc::clone(&log);
        Arc::new(move |name, lines| {
            assert_eq!(name, "odd");
            assert_eq!(lines.last(), Some(&b'\n'), "whole lines");
            log.lock().unwrap().push_str(std::str::from_utf8(lines).unwrap());
        })
    };
    (Function::new(config, sink), log)
}

impl Odd {
    /// Where the function is, for another to be made of it.
    pub(crate) fn binary(&self) -> PathBuf {
        self.folder.path().join("bootstrap")
    }

    /// How many processes of the function there are.
    pub(crate) fn processes(&self) -> usize {
        let path = self.binary().to_str().unwrap().to_owned();
        let runs_it = |process: &std::fs::DirEntry| {
            let line = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            line.split('\0').any(|word| word == path)
        };
        std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(runs_it).count()
    }

    /// The same function, frozen between its invocations.
    pub(crate) fn frozen(self) -> Self {
        let config = FunctionConfig { freeze: true, ..self.function.config().clone() };
        let (function, log) = started(config);
        Self { function, log, ..self }
    }

    pub(crate) async fn invoke(&self, event: &str) -> Outcome {
        self.function.invoke(format!("{event:?}").into()).await
    }

    pub(crate) async fn answer(&self, event: &str) -> Value {
        match self.invoke(event).await {
            Outcome::Answer(answer) => serde_json::from_slice(&answer).unwrap(),
            other => panic!("{event}: {other:?}, log: {}", self.log.lock().unwrap()),
        }
    }

    /// Holds that the invocation fails with this type, that the message says so, and that the next one succeeds.
    pub(crate) async fn check_fails(&self, event: &str, error_type: &str, says: &str) {
        match self.invoke(event).await {
            Outcome::FunctionError(error) => {
                let error: Value = serde_json::from_slice(&error).unwrap();
                assert_eq!(error["errorType"], error_type);
                assert!(error["errorMessage"].as_str().unwrap().contains(says), "{error}");
            }
            other => panic!("{event}: {other:?}"),
        }
        assert!(self.answer("answer").await.is_string(), "after {event}");
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}
