//! How fast the stream is and how much memory it takes: one client over one HTTP connection, and a million records in a
//! process of its own.
//!
//! `make bench` runs it; by itself: `cargo run --profile local -p local --example stream_bench`.

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use local::stream::limits::MAX_PUT_RECORDS;
use local::stream::{Config, Kinesis};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use client::{Client, parse};

#[path = "../tests/soak/client.rs"]
#[allow(dead_code, reason = "some of it is for the soak alone")]
mod client;

const RECORDS: usize = 1_000_000;
const RECORD_BYTES: usize = 200;
const SHARDS: u32 = 4;

/// The argument that makes this program the stream.
const SERVE: &str = "serve";

/// Records in the answers that are timed: at the tip, in a small batch, and all that one answer may have.
const ANSWERS: [usize; 3] = [0, 100, 10_000];

/// How long each of them is asked for.
const SPAN: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let done = if std::env::args().nth(1).as_deref() == Some(SERVE) { serve() } else { bench() };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stream_bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Is a stream until the standard input ends; says its port first.
fn serve() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let kinesis = Kinesis::new(Config { retention_bytes: 1 << 30, ..Config::local() });
    kinesis.create_stream("bench", SHARDS, false)?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    println!("{}", listener.local_addr()?.port());
    let server = runtime.spawn(kinesis.serve(listener, std::future::pending()));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.abort();
    Ok(())
}

/// The stream's process. It ends with its standard input, so also with this one.
struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    port: u16,
}

impl Server {
    fn start() -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("the stream has no output")?).read_line(&mut line)?;
        Ok(Self { child, stdin, port: line.trim().parse()? })
    }

    /// The memory that it takes now, in bytes; none where there is no /proc.
    fn memory(&self) -> Option<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kib| kib * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait(); // it has nothing to say
    }
}

fn bench() -> Result<(), Box<dyn Error>> {
    let server = Server::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::connect(server.port).await?;
        put(&server, &mut client).await?;
        for records in ANSWERS {
            get(&mut client, records).await?;
        }
        Ok(())
    })
}

/// Stores the million records.
async fn put(server: &Server, client: &mut Client) -> Result<(), Box<dyn Error>> {
    let key = |i| format!("device-{i:05}");
    let records: Vec<_> = (0..MAX_PUT_RECORDS)
        .map(|i| {
            let data: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(RECORD_BYTES).collect();
            json!({ "Data": STANDARD.encode(data), "PartitionKey": key(i) })
        })
        .collect();
    let body = Bytes::from(json!({ "StreamName": "bench", "Records": records }).to_string());
    let requests = RECORDS / MAX_PUT_RECORDS;
    let before = server.memory();
    let begun = Instant::now();
    for _ in 0..requests {
        let answer = client.exchange("PutRecords", body.clone()).await?;
        if !answer.starts_with(br#"{"FailedRecordCount":0,"#) {
            return Err(format!("not all was stored: {}", String::from_utf8_lossy(&answer)).into());
        }
    }
    let took = begun.elapsed();
    let rate = per_second(requests, took);
    let what = format!("PutRecords, {MAX_PUT_RECORDS} x {RECORD_BYTES} B");
    println!("{what:32} {rate:>9.0} requests a second, {:>9.0} records", rate * MAX_PUT_RECORDS as f64);
    match before.zip(server.memory()) {
        None => println!("memory: not known without /proc"),
        Some((before, after)) => {
            let each = (after - before) as f64 / RECORDS as f64;
            let beside = each - (RECORD_BYTES + key(0).len()) as f64;
            let what = format!("memory, {RECORDS} x {RECORD_BYTES} B");
            let mib = |bytes: usize| bytes >> 20;
            println!("{what:32} {:>9} MiB, from {} MiB", mib(after), mib(before));
            println!("{:32} {beside:>9.0} B a record, beside its data and key", "memory, what storing adds");
        }
    }
    Ok(())
}

/// Asks for so many records again and again: at the tip if for none, else from the oldest one on.
async fn get(client: &mut Client, records: usize) -> Result<(), Box<dyn Error>> {
    let from = if records == 0 { "LATEST" } else { "TRIM_HORIZON" };
    let start =
        json!({ "StreamName": "bench", "ShardId": "shardId-000000000000", "ShardIteratorType": from });
    let answer = client.call("GetShardIterator", &start).await?;
    let iterator = parse::<Value>("GetShardIterator", &answer)?["ShardIterator"].take();
    let body = Bytes::from(json!({ "ShardIterator": iterator, "Limit": records.max(1) }).to_string());
    let answer = client.exchange("GetRecords", body.clone()).await?;
    let got = parse::<Value>("GetRecords", &answer)?["Records"].as_array().map_or(0, Vec::len);
    if got != records {
        return Err(format!("GetRecords gave {got} records, expected {records}").into());
    }
    let (begun, mut calls) = (Instant::now(), 0);
    while begun.elapsed() < SPAN {
        client.exchange("GetRecords", body.clone()).await?;
        calls += 1;
    }
    let rate = per_second(calls, begun.elapsed());
    let what = format!("GetRecords, {records} records");
    println!("{what:32} {rate:>9.0} requests a second, {:>9.0} records", rate * records as f64);
    Ok(())
}

fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
