//! Starts `rivulet up` for a test, on free ports, and ends it with the test.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest wait for anything; a test that needs so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Flags that let every part listen on a port of its own choice.
pub(crate) const FREE_PORTS: &str =
    "--udp 127.0.0.1:0 --http 127.0.0.1:0 --lambda 127.0.0.1:0 --kinesis 127.0.0.1:0 --queue 127.0.0.1:0";

/// The command that was built with this test, or beside the folder of this example.
pub(crate) fn rivulet() -> PathBuf {
    option_env!("CARGO_BIN_EXE_rivulet").map_or_else(
        || std::env::current_exe().unwrap().parent().unwrap().with_file_name("rivulet"),
        PathBuf::from,
    )
}

/// The project's folder, with `template.yaml` and the sample events.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The project's template with something else in a place.
#[track_caller]
pub(crate) fn changed_template(from: &str, to: &str) -> tempfile::NamedTempFile {
    let template = std::fs::read_to_string(project().join("template.yaml")).unwrap();
    assert!(template.contains(from), "the template has no {from}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), template.replace(from, to)).unwrap();
    file
}

/// A command line of ours, in the project's folder.
pub(crate) fn command(arguments: &[&str]) -> Command {
    for function in ["producer", "consumer"] {
        let binary = rivulet().with_file_name(function);
        assert!(binary.is_file(), "{} is not built: `make test` builds it first", binary.display());
    }
    let mut command = Command::new(rivulet());
    command.args(arguments).current_dir(project()).stdin(Stdio::null());
    command
}

/// A `rivulet up` under way.
pub(crate) struct Up {
    process: Child,
    pub(crate) udp: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Where the Invoke API is.
    pub(crate) lambda: SocketAddr,
    /// Its stream in words.
    pub(crate) stream: String,
    /// The URL of its queue.
    pub(crate) queue: String,
    out: Lines,
    err: Lines,
}

/// Lines that a process has written so far.
struct Lines {
    lines: Arc<(Mutex<Vec<String>>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn of(output: impl Read + Send + 'static) -> Self {
        let lines = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let shared = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                shared.0.lock().unwrap().push(line);
                shared.1.notify_all();
            }
        });
        Self { lines, reader: Some(reader) }
    }

    fn all(&self) -> Vec<String> {
        self.lines.0.lock().unwrap().clone()
    }

    /// Waits until the lines are as wanted.
    #[track_caller]
    fn wait<T>(&self, what: &str, mut wanted: impl FnMut(&[String]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.0.lock().unwrap();
        loop {
            if let Some(found) = wanted(&lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} in {lines:#?}");
            lines = self.lines.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The lines after the first `seen`, as soon as there is one; none if none comes in time.
    fn after(&self, seen: usize, patience: Duration) -> Vec<String> {
        let lines = self.lines.0.lock().unwrap();
        let waited = self.lines.1.wait_timeout_while(lines, patience, |lines| lines.len() <= seen);
        waited.unwrap().0[seen..].to_vec()
    }

    fn join(&mut self) -> Vec<String> {
        self.reader.take().unwrap().join().unwrap();
        self.all()
    }
}

/// What a run has left.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The functions' log lines.
    pub(crate) log: Vec<Value>,
    /// What the command itself said.
    pub(crate) said: String,
}

impl Up {
    /// Starts it with a further set of arguments and waits until it says where it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_as(command(&["up"]).args(arguments))
    }

    /// The same with a command line that the test has made.
    pub(crate) fn start_as(command: &mut Command) -> Self {
        let mut process = command
            .args(FREE_PORTS.split(' '))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Lines::of(process.stdout.take().unwrap());
        let err = Lines::of(process.stderr.take().unwrap());
        let told = |name: &str| {
            err.wait(name, |lines| {
                Some(lines.iter().find_map(|line| line.trim().strip_prefix(name))?.trim().to_owned())
            })
        };
        let address =
            |name: &str| told(name).trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        let (udp, http, stream) = (address("UDP "), address("HTTP "), told("stream "));
        let lambda =
            told("Lambda ").split(' ').next().unwrap().trim_start_matches("http://").parse().unwrap();
        let queue = told("queue ").split(' ').next().unwrap().to_owned();
        err.wait("welcome", |lines| lines.iter().any(|line| line.contains("Ctrl-C")).then_some(()));
        Self { process, udp, http, lambda, stream, queue, out, err }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the log has lines as wanted.
    #[track_caller]
    pub(crate) fn wait_for_log<T>(&self, what: &str, mut wanted: impl FnMut(&[Value]) -> Option<T>) -> T {
        self.out.wait(what, |lines| wanted(&parsed(lines)))
    }

    /// The lines of the functions' log after the first `seen`, as they came; none if none comes in time.
    pub(crate) fn log_after(&self, seen: usize, patience: Duration) -> Vec<String> {
        self.out.after(seen, patience)
    }

    /// Waits until the command itself has said this.
    pub(crate) fn wait_for_word(&self, word: &str) {
        self.wait_for_words(word, 1);
    }

    /// Waits until the command itself has said this so many times.
    pub(crate) fn wait_for_words(&self, word: &str, times: usize) {
        let said = |lines: &[String]| lines.iter().filter(|line| line.contains(word)).count() >= times;
        self.err.wait(word, |lines| said(lines).then_some(()));
    }

    /// Calls an operation of its queue.
    #[track_caller]
    pub(crate) fn ask_queue(&self, operation: &str, mut body: Value) -> Value {
        let address = self.queue.trim_start_matches("http://").split('/').next().unwrap().parse().unwrap();
        let target = format!("AmazonSQS.{operation}");
        let headers = [("Content-Type", "application/x-amz-json-1.0"), ("X-Amz-Target", target.as_str())];
        body["QueueUrl"] = json!(self.queue);
        let (status, answer) = post(address, &headers, body.to_string().as_bytes());
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Receives messages of its queue until there is nothing more; gives their bodies and their handles.
    pub(crate) fn receive_all(&self) -> (Vec<Value>, Vec<String>) {
        let (mut bodies, mut handles) = (Vec::new(), Vec::new());
        loop {
            let answer = self.ask_queue("ReceiveMessage", json!({ "MaxNumberOfMessages": 10 }));
            let Some(messages) = answer["Messages"].as_array() else { return (bodies, handles) };
            for message in messages {
                bodies.push(serde_json::from_str(message["Body"].as_str().unwrap()).unwrap());
                handles.push(message["ReceiptHandle"].as_str().unwrap().to_owned());
            }
        }
    }

    /// Invokes a function by its name, asynchronously or for the answer; gives status and answer.
    pub(crate) fn invoke(&self, function: &str, kind: &str, event: &[u8]) -> (u16, Value) {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        post_to(self.lambda, &path, &[("X-Amz-Invocation-Type", kind)], event)
    }

    /// Sends it a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// The processes that it has started.
    pub(crate) fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task", self.id());
        let tasks = std::fs::read_dir(path).unwrap();
        let children = tasks
            .map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
        children
            .flat_map(|ids| ids.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
            .collect()
    }

    /// Stops it as Ctrl-C does.
    pub(crate) fn stop(self) -> Ended {
        self.signal("INT");
        self.ended()
    }

    /// Stops it as Ctrl-C does: its status, the functions' log line by line, and what it said itself.
    pub(crate) fn stop_plainly(self) -> (ExitStatus, Vec<String>, String) {
        self.signal("INT");
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn ended(self) -> Ended {
        let (status, log, said) = self.end();
        Ended { status, log: parsed(&log), said }
    }

    fn end(mut self) -> (ExitStatus, Vec<String>, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not stop: {:#?}", self.err.all());
            std::thread::sleep(Duration::from_millis(5));
        };
        let log = self.out.join();
        let said = self.err.join().iter().fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "{line}");
            all
        });
        (status, log, said)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Ended {
    /// A count of the tally.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let line = self.said.lines().rev().find_map(|line| line.trim().strip_prefix(name));
        let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        count.unwrap_or_else(|| panic!("no count of {name} in {}", self.said))
    }

    /// The lines of one kind.
    pub(crate) fn lines(&self, message: &str) -> Vec<&Value> {
        self.log.iter().filter(|line| line["message"] == message).collect()
    }
}

/// Posts a body and reads the answer, which is JSON.
pub(crate) fn post(to: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
    post_to(to, "/a?b=c", headers, body)
}

fn post_to(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
    let mut connection = TcpStream::connect(to).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let mut head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    connection.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    connection.write_all(body).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() })
}

fn parsed(lines: &[String]) -> Vec<Value> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}
