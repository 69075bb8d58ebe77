//! Lambda's Runtime API for one function at a time, with a clock on every step: the black box is what stands behind it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Longest wait for anything that a function does.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an invocation may take, as its deadline says.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The API, and what the function does with it.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    events: Sender<Arc<[u8]>>,
    asked: Receiver<Instant>,
    answers: Receiver<(Instant, Result<(), String>)>,
    desk: Arc<Desk>,
}

/// What the connections share.
struct Desk {
    events: Mutex<Receiver<Arc<[u8]>>>,
    asked: Sender<Instant>,
    answers: Sender<(Instant, Result<(), String>)>,
    closed: AtomicBool,
}

impl Api {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let (events, waiting) = channel();
        let (asked_sender, asked) = channel();
        let (answer_sender, answers) = channel();
        let (events_of, closed) = (Mutex::new(waiting), AtomicBool::new(false));
        let desk = Desk { events: events_of, asked: asked_sender, answers: answer_sender, closed };
        let desk = Arc::new(desk);
        let serving = Arc::clone(&desk);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if serving.closed.load(Ordering::Relaxed) {
                    return;
                }
                let desk = Arc::clone(&serving);
                // It ends with its connection, which ends with the function.
                thread::spawn(move || desk.connection(&socket));
            }
        });
        Ok(Self { address, events, asked, answers, desk })
    }

    /// When the function asks for its next event.
    pub(crate) fn asked(&self) -> Result<Instant> {
        self.asked.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                anyhow::anyhow!("the function did not ask for an event in {PATIENCE:?}")
            }
            RecvTimeoutError::Disconnected => anyhow::anyhow!("the Runtime API has ended"),
        })
    }

    /// Gives it one, once it has asked; when its answer came.
    pub(crate) fn answer(&self, event: &Arc<[u8]>) -> Result<Instant> {
        self.events.send(Arc::clone(event)).context("the function has left")?;
        let (at, answer) = self.answers.recv_timeout(PATIENCE).context("the function did not answer")?;
        match answer {
            Ok(()) => Ok(at),
            Err(error) => bail!("the invocation failed: {error}"),
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.desk.closed.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address); // it looks up only when somebody comes
    }
}

impl Desk {
    fn connection(&self, socket: &TcpStream) -> Option<()> {
        socket.set_nodelay(true).ok()?;
        let mut reader = BufReader::with_capacity(64 << 10, socket);
        loop {
            let (line, body) = request(&mut reader)?;
            let mut out = socket;
            if line.starts_with("GET ") {
                self.asked.send(Instant::now()).ok()?;
                let event = self.events.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()?;
                let deadline =
                    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()? + TIMEOUT;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: {}\r\n\
                     Lambda-Runtime-Deadline-Ms: {}\r\nLambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:f\r\n\
                     Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0\r\nContent-Length: {}\r\n\r\n",
                    "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
                    deadline.as_millis(),
                    event.len()
                );
                out.write_all(head.as_bytes()).ok()?;
                out.write_all(&event).ok()?;
            } else {
                let error = || String::from_utf8_lossy(&body).into_owned();
                let answer = if line.contains("/response ") { Ok(()) } else { Err(error()) };
                self.answers.send((Instant::now(), answer)).ok()?;
                out.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").ok()?;
            }
        }
    }
}

/// The request line and the body.
fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end().to_ascii_lowercase();
        match header.split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("transfer-encoding", value)) => chunked = value.contains("chunked"),
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = u64::from_str_radix(size.trim(), 16).ok()?;
            reader.take(size).read_to_end(&mut body).ok()?;
            reader.read_line(&mut String::new()).ok()?;
            if size == 0 {
                break;
            }
        }
    } else {
        reader.take(length).read_to_end(&mut body).ok()?;
    }
    Some((line, body))
}
