//! What aggregates save: the writer against a local stream of one shard that takes what a real one does, a packet a
//! record and in aggregates by turns, and how fast the format is written and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use kpl::{Aggregator, Buckets, UserRecord};
use local::faults::{Asked, Faults};
use local::stream::{Config, Counts, Kinesis};
use tokio::net::TcpListener;
use writer::{Aggregation, Limits, Record, Report, StreamId};

/// Bytes of a packet's payload.
const PAYLOADS: [usize; 2] = [64, 500];

/// Packets of an invocation.
const EVENTS: [usize; 2] = [100, 1_000];

/// A packet a record, or so many buckets.
const FORMATS: [Option<u32>; 4] = [None, Some(1), Some(16), Some(64)];

/// Up to how many bytes an aggregate is filled: the default of `AGGREGATE_BYTES`.
const AGGREGATE_BYTES: usize = 25 * 1024;

/// Bytes of a packet's JSON around its payload, as the gateway writes it.
const AROUND_PAYLOAD: usize = 242;

/// Invocations at once, so that the shard always has something to refuse.
const CALLERS: usize = 6;

/// A shard gives what it has saved up in a second first; it is measured after that.
const WARM_UP: Duration = Duration::from_millis(1_200);
const MEASURED: Duration = Duration::from_secs(3);

/// How long the format alone is measured, in each direction.
const CODEC: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<()> {
    println!("One shard: 1,000 records/s and 1 MiB/s. Random keys.\n");
    println!(
        "{:>8} {:>7} {:>12} {:>15} {:>13} {:>6} {:>18} {:>6}",
        "payload", "packets", "format", "packets/record", "bytes/packet", "", "packets/s a shard", ""
    );
    println!(
        "{:>8} {:>7} {:>12} {:>15} {:>13} {:>6} {:>18} {:>6}",
        "B", "/event", "", "", "in the stream", "ratio", "", "ratio"
    );
    for payload in PAYLOADS {
        for event in EVENTS {
            let mut plain = None;
            for format in FORMATS {
                let line = measure(payload, event, format).await?;
                let plain = plain.get_or_insert(line);
                let name = format.map_or_else(|| "packet".to_owned(), |buckets| format!("kpl, {buckets}"));
                println!(
                    "{payload:>8} {event:>7} {name:>12} {:>15.1} {:>13.0} {:>6.2} {:>18.0} {:>6.2}",
                    line.packets_a_record,
                    line.bytes_a_packet,
                    line.bytes_a_packet / plain.bytes_a_packet,
                    line.packets_a_second,
                    line.packets_a_second / plain.packets_a_second,
                );
            }
        }
    }
    println!("\n{:>8} {:>14} {:>14}   MB/s of aggregates, one thread", "payload", "encode", "decode");
    for payload in PAYLOADS {
        let (encode, decode) = codec(payload)?;
        println!("{payload:>8} {encode:>14.0} {decode:>14.0}");
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Line {
    packets_a_record: f64,
    bytes_a_packet: f64,
    packets_a_second: f64,
}

/// Several callers write one event after the other for a while.
async fn measure(payload: usize, event: usize, format: Option<u32>) -> Result<Line> {
    let faults = Arc::new(Faults::new(Asked { throttle: true, ..Asked::default() }));
    let kinesis = Kinesis::new(Config { faults: Some(faults), ..Config::local() });
    kinesis.create_stream("packets", 1, false)?;
    let stream = kinesis.stream("packets").context("no stream")?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let config = sdk_config(&format!("http://{}", listener.local_addr()?)).await?;
    let server = tokio::spawn(kinesis.serve(listener, std::future::pending()));

    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (over, writer) =
                (Arc::clone(&over), writer::Kinesis::with_config(&config, StreamId::named("packets")));
            tokio::spawn(async move {
                let (mut packets, mut records) = (0, 0);
                while !over.load(Ordering::Relaxed) {
                    let report = put(&writer, payload, event, format).await?;
                    packets += report.acknowledged.len();
                    records += report.effort.records;
                }
                anyhow::Ok((packets, records))
            })
        })
        .collect();
    tokio::time::sleep(WARM_UP).await;
    let (from, Counts { appended: before, .. }) = (Instant::now(), stream.counts());
    tokio::time::sleep(MEASURED).await;
    let (took, Counts { appended: after, .. }) = (from.elapsed(), stream.counts());
    over.store(true, Ordering::Relaxed);
    let (mut packets, mut records) = (0, 0);
    for caller in callers {
        let (more_packets, more_records) = caller.await??;
        packets += more_packets;
        records += more_records;
    }
    let Counts { bytes, appended, trimmed, .. } = stream.counts();
    server.abort();
    anyhow::ensure!(appended == records && trimmed == 0, "{appended} records in the stream, not {records}");
    let packets_a_record = packets as f64 / records as f64;
    Ok(Line {
        packets_a_record,
        bytes_a_packet: bytes as f64 / packets as f64,
        packets_a_second: (after - before) as f64 * packets_a_record / took.as_secs_f64(),
    })
}

/// Writes one event of random keys; all of it gets through.
async fn put(writer: &writer::Kinesis, payload: usize, event: usize, format: Option<u32>) -> Result<Report> {
    let data = vec![b'x'; json_bytes(payload)];
    let records: Vec<_> = (0..event).map(|_| Record::new(random_key(), &data)).collect();
    let (limits, until) = (Limits::default(), Instant::now() + Duration::from_secs(60));
    let report = match format {
        None => writer::put(writer, &records, limits, until).await,
        Some(buckets) => {
            let aggregation = Aggregation { buckets: Buckets::new(buckets)?, bytes: AGGREGATE_BYTES };
            writer::put_aggregated(writer, &records, aggregation, limits, until).await
        }
    };
    let lost = report.undelivered.first().map(|lost| lost.reason.to_string());
    (report.acknowledged.len() == event).then_some(report).context(lost.unwrap_or_default())
}

/// The format alone, in MB/s of aggregates: what it takes to write and to read full ones of random keys.
fn codec(payload: usize) -> Result<(f64, f64)> {
    let data = vec![b'x'; json_bytes(payload)];
    let keys: Vec<_> = (0..1_000).map(|_| random_key()).collect();
    let hash_key = Buckets::new(1)?.of("").hash_key();
    let records = keys.iter().map(|partition_key| UserRecord {
        partition_key,
        explicit_hash_key: Some(hash_key),
        data: &data,
    });
    let mut aggregates = Vec::new();
    let mut aggregator = Aggregator::new();
    let (started, mut written) = (Instant::now(), 0);
    while started.elapsed() < CODEC {
        aggregates.clear();
        for record in records.clone() {
            if aggregator.size_with(&record) > AGGREGATE_BYTES {
                aggregates.extend(aggregator.finish());
            }
            aggregator.push(&record)?;
        }
        aggregates.extend(aggregator.finish());
        written += aggregates.iter().map(Vec::len).sum::<usize>();
    }
    let encode = written as f64 / started.elapsed().as_secs_f64() / 1e6;
    let (started, mut read) = (Instant::now(), 0);
    while started.elapsed() < CODEC {
        let mut seen = 0;
        for aggregate in &aggregates {
            let users = kpl::decode(aggregate)?.context("no aggregate")?;
            seen += users.records().filter(|user| user.data.len() == data.len()).count();
            read += aggregate.len();
        }
        anyhow::ensure!(seen == keys.len(), "{seen} user records of {}", keys.len());
    }
    Ok((encode, read as f64 / started.elapsed().as_secs_f64() / 1e6))
}

fn json_bytes(payload: usize) -> usize {
    AROUND_PAYLOAD + payload.div_ceil(3) * 4
}

/// Four bytes in hex, as the template's expression makes them.
fn random_key() -> String {
    format!("{:08X}", fastrand::u32(..))
}

async fn sdk_config(endpoint: &str) -> Result<SdkConfig> {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region("us-east-1")
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("local", "local", None, None, "local"));
    Ok(writer::sdk_config(loader, |_| None).await?)
}
