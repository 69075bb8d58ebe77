//! What a person sees. The functions' logs go to standard output, line for line as they wrote them, so that a pipe gets
//! JSON and nothing else; what the command itself has to say goes to standard error.
//!
//! On a terminal the last lines are `live`, and drawn anew. All that is written goes above them, so everything here goes
//! through one lock.

pub(crate) mod live;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use local::faults::Faults;
use local::gateway::udp::DROPS_ARE_COUNTED;
use local::tally::Tally;

/// The lines that stand at the bottom of the terminal now.
static LIVE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Width that is assumed of a terminal that does not tell.
const WIDTH: usize = 80;

/// Writes lines of a function's log to standard output; on a terminal summaries step back.
pub(crate) fn function_log(lines: &[u8]) {
    // Standard output may be a pipe whose reader has left, or has stopped: the run goes on, and so does standard error.
    if !std::io::stdout().is_terminal() {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(lines);
        let _ = out.flush();
        return;
    }
    above_live(|| {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(dimmed(lines).as_bytes());
        let _ = out.flush();
    });
}

/// Writes lines of a function's log to standard error.
pub(crate) fn log(lines: &[u8]) {
    let _ = std::io::stderr().lock().write_all(lines);
}

/// Says something in passing.
pub(crate) fn note(words: &str) {
    let mark = if is_terminal() { "\u{1b}[36mrivulet\u{1b}[0m" } else { "rivulet" };
    above_live(|| drop(writeln!(std::io::stderr().lock(), "{mark}: {words}")));
}

/// Whether standard error is a terminal, whose last lines can be drawn anew.
fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Puts these lines at the bottom of the terminal, in place of those that are there; what does not fit its width is cut.
fn draw(lines: Vec<String>) {
    let width = terminal_size::terminal_size_of(std::io::stderr()).map_or(WIDTH, |(width, _)| width.0.into());
    let cut = |line: String| line.chars().take(width.saturating_sub(1)).collect();
    let lines: Vec<String> = lines.into_iter().map(cut).collect();
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    if *live == lines {
        return;
    }
    let text = erased(&live) + &drawn(&lines);
    *live = lines;
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Takes the live lines away.
pub(crate) fn clear() {
    if !LIVE.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        draw(Vec::new());
    }
}

/// Writes something where the live lines begin, and these below it.
fn above_live(write: impl FnOnce()) {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    if live.is_empty() {
        return write();
    }
    let _ = std::io::stderr().lock().write_all(erased(&live).as_bytes());
    write();
    let _ = std::io::stderr().lock().write_all(drawn(&live).as_bytes());
}

/// What takes the lines above the cursor away.
fn erased(live: &[String]) -> String {
    if live.is_empty() { String::new() } else { format!("\r\u{1b}[{}A\u{1b}[J", live.len()) }
}

fn drawn(live: &[String]) -> String {
    live.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "\u{1b}[36m{line}\u{1b}[0m");
        text
    })
}

/// What listens where, and what to type next.
pub(crate) fn welcome([udp, http, lambda]: [SocketAddr; 3], stream: &str, queue: &str) -> String {
    let (bold, plain) = if is_terminal() { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    let (host, port) = (udp.ip(), udp.port());
    format!(
        "
  {bold}rivulet is up{plain}

  UDP      {udp}
  HTTP     http://{http}/
  Lambda   http://{lambda} (Invoke API)
  stream   {stream}
  queue    {queue} (for undelivered packets)

  Send a packet and see it come out:
    {bold}printf '\\x01\\x02\\x03\\x04hello' | ncat -u -w1 {host} {port}{plain}
    {bold}curl --data-binary hello http://{http}/{plain}
  Ctrl-C stops and counts.

"
    )
}

/// Shows a whole screen.
pub(crate) fn show(text: &str) {
    above_live(|| drop(std::io::stderr().lock().write_all(text.as_bytes())));
}

fn dimmed(lines: &[u8]) -> String {
    let mut text = String::with_capacity(lines.len());
    for line in String::from_utf8_lossy(lines).lines() {
        let is = |message: &str| line.contains(&format!(r#""message":"{message}""#));
        let colour = if is("summary") {
            "2"
        } else if line.contains(r#""level":"ERROR""#) {
            "31"
        } else if line.contains(r#""level":"WARN""#) {
            "33"
        } else {
            "0"
        };
        let _ = writeln!(text, "\u{1b}[{colour}m{line}\u{1b}[0m");
    }
    text
}

/// The counts of a run in one line; `in_queue` is how many messages the queue holds.
pub(crate) fn counts(tally: &Tally, in_queue: u64) -> String {
    let others = other_counts(tally, in_queue);
    [main_counts(tally)].into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

/// The counts that every run has.
fn main_counts(tally: &Tally) -> String {
    let [received, acknowledged, logged] =
        [&tally.received, &tally.acknowledged, &tally.logged].map(local::tally::Count::get);
    format!("received {received}, acknowledged {acknowledged}, logged {logged}")
}

/// Those of what does not happen in every run, as far as it has.
fn other_counts(tally: &Tally, in_queue: u64) -> Vec<String> {
    let mut counts = Vec::new();
    for (name, count) in [
        ("replies", &tally.replies),
        ("repeated", &tally.repeated),
        ("undelivered", &tally.undelivered),
        ("queued", &tally.queued),
        ("abandoned", &tally.abandoned),
        ("discarded", &tally.discarded),
        ("reported", &tally.reported),
        ("trimmed", &tally.trimmed),
        ("dropped", &tally.dropped),
    ] {
        if count.get() > 0 {
            counts.push(format!("{name} {}", count.get()));
        }
    }
    if in_queue > 0 {
        counts.push(format!("in the queue {in_queue}"));
    }
    counts
}

/// The last word on every packet of a run.
pub(crate) fn tally(
    tally: &Tally,
    unfinished_packets: u64,
    unfinished_records: u64,
    in_queue: u64,
) -> String {
    let dropped = if DROPS_ARE_COUNTED { tally.dropped.get().to_string() } else { "unknown".to_owned() };
    let rows = [
        ("received", tally.received.get().to_string(), "packets, by UDP, HTTP and invocation"),
        (
            "repeated",
            tally.repeated.get().to_string(),
            "given again, by asynchronous retries, after a word on them",
        ),
        ("acknowledged", tally.acknowledged.get().to_string(), "of them stored by the stream"),
        ("undelivered", tally.undelivered.get().to_string(), "in the queue, or in the producer's log"),
        ("queued", tally.queued.get().to_string(), "of them taken by the queue"),
        ("in the queue", in_queue.to_string(), "messages that nobody has deleted"),
        (
            "abandoned",
            tally.abandoned.get().to_string(),
            "given to a producer that ended without a word on them",
        ),
        ("unfinished", unfinished_packets.to_string(), "waiting to be given to a producer"),
        ("logged", tally.logged.get().to_string(), "records handled by the consumer"),
        (
            "not logged",
            unfinished_records.to_string(),
            "records in the stream that the consumer had not handled",
        ),
        ("discarded", tally.discarded.get().to_string(), "records given up by the mapping"),
        ("reported", tally.reported.get().to_string(), "of them told to the on-failure destination"),
        ("trimmed", tally.trimmed.get().to_string(), "records removed by retention before they were handled"),
        ("replies", tally.replies.get().to_string(), "sent back by UDP"),
        ("dropped", dropped, "datagrams, by the kernel: its buffer was full"),
    ];
    let width = rows.iter().map(|(_, count, _)| count.len()).max().unwrap_or(0);
    let mut text = String::from("\n");
    for (name, count, meaning) in rows {
        let _ = writeln!(text, "  {name:<12} {count:>width$}  {meaning}");
    }
    text
}

/// How often each fault that was asked for happened.
pub(crate) fn faults(faults: &Faults) -> String {
    let mut text = format!("\n  faults, by seed {}:\n", faults.seed());
    for fired in faults.fired() {
        let _ = writeln!(text, "  {:<14} {:>6}  {}", fired.name, fired.times, fired.what);
    }
    text
}
