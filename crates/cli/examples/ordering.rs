//! What strict ordering costs: the writer against a local stream, events of a thousand packets, relaxed and strict by
//! turns in one run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use local::stream::{Config, Kinesis};
use tokio::net::TcpListener;
use writer::{Limits, Ordering, Record, StreamId};

const STREAM: &str = "packets";

/// Packets of one event.
const EVENT: u32 = 1_000;

/// Bytes of a packet's JSON with a payload of 64 B.
const PACKET: &[u8] = &[b'x'; 330];

/// How long each line is measured, in turns.
const TURN: Duration = Duration::from_millis(400);
const TURNS: u32 = 5;

#[tokio::main]
async fn main() -> Result<()> {
    let kinesis = Kinesis::new(Config { retention_bytes: 64 << 20, ..Config::local() });
    kinesis.create_stream(STREAM, 4, false)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(kinesis.serve(listener, std::future::pending()));
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region("us-east-1")
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("local", "local", None, None, "local"));
    let config = writer::sdk_config(loader, |_| None).await?;
    let stream = writer::Kinesis::with_config(&config, StreamId::named(STREAM));

    println!("{EVENT} packets an event, {} B each\n", PACKET.len());
    println!(
        "{:>6}  {:>12} {:>14}  {:>12} {:>14}  {:>6}",
        "keys", "relaxed/s", "requests/event", "strict/s", "requests/event", "ratio"
    );
    for keys in [1, 16, 256, 4096] {
        let mut measured = [(0, 0, Duration::ZERO); 2];
        for _ in 0..TURNS {
            for (ordering, (packets, requests, time)) in
                [Ordering::Relaxed, Ordering::Strict].into_iter().zip(&mut measured)
            {
                let started = Instant::now();
                while started.elapsed() < TURN {
                    *requests += event(&stream, keys, ordering).await?;
                    *packets += EVENT;
                }
                *time += started.elapsed();
            }
        }
        let [relaxed, strict] = measured.map(|(packets, requests, time)| {
            (f64::from(packets) / time.as_secs_f64(), requests as f64 / f64::from(packets / EVENT))
        });
        println!(
            "{keys:>6}  {:>12.0} {:>14.1}  {:>12.0} {:>14.1}  {:>6.2}",
            relaxed.0,
            relaxed.1,
            strict.0,
            strict.1,
            strict.0 / relaxed.0
        );
    }
    Ok(())
}

/// Writes one event; says how many requests it took.
async fn event(stream: &writer::Kinesis, keys: u32, ordering: Ordering) -> Result<u64> {
    let records: Vec<_> =
        (0..EVENT).map(|number| Record::new(format!("{:08X}", number % keys), PACKET)).collect();
    let limits = Limits { ordering, ..Limits::default() };
    let report = writer::put(stream, &records, limits, Instant::now() + Duration::from_secs(60)).await;
    let first = report.undelivered.first().map(|lost| lost.reason.to_string());
    (report.acknowledged.len() == records.len())
        .then_some(report.effort.requests)
        .context(first.unwrap_or_default())
}
