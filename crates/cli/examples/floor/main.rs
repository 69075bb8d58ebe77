//! How far the functions are from the floor of the runtime itself: start-up, processor time, log, beside a handler that
//! does nothing and beside the same functions in Node.js and Python, as black boxes behind Lambda's Runtime API.
//!
//! `make bench-floor`. What is compared stands in one row of one run, measured in turns; the machine may be slow, the
//! ratios hold. Who is not installed is left out, and so are the shares of a processor where control groups cannot be
//! made. Whoever does not do all of its work, seen in the stream and in the log, ends the run.

mod api;
mod contestants;
mod measure;
mod process;
mod share;
mod table;
mod tls;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bench::events::{self, Payload};
use clap::Parser;
use local::faults::{Asked, Faults};
use local::stream::{Config, Kinesis, Stream};
use tokio::net::TcpListener;

use contestants::{Contestant, contestants};
use measure::{Load, Proof, busy, first_answer, first_question, logged};
use process::Start;
use share::{MIB_OF_A_PROCESSOR, Share};
use table::Table;

/// How long the stream takes for a `PutRecords`.
const LATENCY: Duration = Duration::from_millis(5);

/// The share of a processor with which a function has to make do that has 128 MiB.
const SMALL: f64 = 128.0 / MIB_OF_A_PROCESSOR;

#[derive(Debug, Parser)]
struct Args {
    /// Where producer, consumer and the example `nothing` are, as they are deployed
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,
    /// How long each figure is measured, seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The rows with these words in their names alone
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _entered = runtime.enter();
    let (stream, endpoint) = runtime.block_on(serve())?;
    let (tls_endpoint, authority) = runtime.block_on(tls::serve(endpoint))?;
    let contestants = contestants(&args.binaries, endpoint)?;
    let mut table = Table::new(&contestants, &args.only);
    let floor = Floor { contestants, stream, time: Duration::from_secs_f64(args.seconds) };
    floor.busy(&mut table)?;
    floor.start(&mut table)?;
    floor.first_answer(&mut table, &tls_endpoint, authority.path())?;
    if Share::possible() {
        floor.small(&mut table)?;
    } else {
        eprintln!("no control groups can be made here: the rows of 128 MB are left out");
    }
    floor.size(&mut table)?;
    println!("\n{}", machine(&floor.contestants));
    table.show();
    Ok(())
}

/// What the rows are measured with.
struct Floor {
    contestants: Vec<Contestant>,
    stream: Stream,
    /// For each figure.
    time: Duration,
}

/// One of the two functions.
type Which = fn(&Contestant) -> &Start;
const PRODUCER: Which = |contestant| &contestant.producer;
const CONSUMER: Which = |contestant| &contestant.consumer;

impl Floor {
    /// Processor time of a function that is not let alone.
    fn busy(&self, table: &mut Table) -> Result<()> {
        let all = self.all(PRODUCER);
        for (packets, most) in [(1000, 2.0), (100, 5.0)] {
            table.row(&format!("producer, CPU µs a packet, {packets} an event"), most, || {
                let items = f64::from(packets);
                Ok(figures(busy(&all, &self.packets(packets, None))?, |busy| busy.cpu / items))
            })?;
        }
        let mut ours = vec![None; all.len()];
        ours[0] = Some(self.contestants[0].producer.with("RECORD_FORMAT", "kpl"));
        table.row("producer, aggregates, CPU µs a packet, 1000 an event", 1.5, || {
            // How many records the packets become is the aggregates' affair.
            let load = Load { proof: Proof::None, ..self.packets(1000, None) };
            Ok(figures(busy(&ours, &load)?, |busy| busy.cpu / 1000.0))
        })?;
        table.row("consumer, CPU µs a record, 1000 an event", 2.0, || {
            Ok(figures(busy(&self.all(CONSUMER), &self.records(None))?, |busy| busy.cpu / 1000.0))
        })
    }

    /// What comes before the first event.
    fn start(&self, table: &mut Table) -> Result<()> {
        for (name, which, most) in [("producer", PRODUCER, 3.2), ("consumer", CONSUMER, 3.0)] {
            table.row(&format!("{name}, ms to its first question"), most, || {
                Ok(figures(first_question(&self.all(which))?, |us| us / 1e3))
            })?;
        }
        Ok(())
    }

    /// A cold start as AWS sees it: the connection to Kinesis is a part of it.
    fn first_answer(&self, table: &mut Table, endpoint: &str, authority: &Path) -> Result<()> {
        let at_work = self.all(PRODUCER).into_iter().map(|start| start.filter(|start| start.works));
        let starts: Vec<_> =
            at_work.map(|start| start.map(|start| over_tls(&start, endpoint, authority))).collect();
        let one = batch(1);
        table.row("producer, ms to its first answer, TLS", 15.0, || {
            Ok(figures(first_answer(&starts, &one, None)?, |us| us / 1e3))
        })?;
        if Share::possible() {
            table.row("the same with 128 MB", 60.0, || {
                Ok(figures(first_answer(&starts, &one, Some(SMALL))?, |us| us / 1e3))
            })?;
        }
        Ok(())
    }

    /// What a caller waits for where a processor is scarce.
    fn small(&self, table: &mut Table) -> Result<()> {
        table.row("producer, 128 MB, 1000 an event, ms", 50.0, || {
            Ok(figures(busy(&self.all(PRODUCER), &self.packets(1000, Some(SMALL)))?, |busy| busy.wall / 1e3))
        })?;
        table.row("consumer, 128 MB, 1000 an event, ms", 50.0, || {
            Ok(figures(busy(&self.all(CONSUMER), &self.records(Some(SMALL)))?, |busy| busy.wall / 1e3))
        })
    }

    /// What is loaded to start, and what is paid for by the byte.
    fn size(&self, table: &mut Table) -> Result<()> {
        for (name, which, most) in [("producer", PRODUCER, 5.0), ("consumer", CONSUMER, 3.0)] {
            table.row(&format!("{name}, MB of the executable"), most, || {
                self.contestants.iter().map(|contestant| megabytes(which(contestant))).collect()
            })?;
        }
        table.row("consumer, bytes of log a packet", 350.0, || {
            let event = self.records(None).event;
            #[expect(clippy::cast_precision_loss, reason = "few")]
            let a_packet = |start: Option<Start>| match start.filter(|start| start.works) {
                Some(start) => Ok(Some(logged(&start, &event)? as f64 / 1000.0)),
                None => Ok(None),
            };
            self.all(CONSUMER).into_iter().map(a_packet).collect()
        })
    }

    fn all(&self, which: Which) -> Vec<Option<Start>> {
        self.contestants.iter().map(|contestant| Some(which(contestant).clone())).collect()
    }

    fn packets(&self, packets: u32, share: Option<f64>) -> Load<'_> {
        let proof = Proof::Stored(&self.stream, u64::from(packets));
        Load { event: batch(packets as usize), time: self.time, share, proof }
    }

    /// A thousand.
    fn records(&self, share: Option<f64>) -> Load<'_> {
        let event = events::records(&events::packets(1000, Payload::Bytes)).into_bytes().into();
        // A line for each, and the summary.
        Load { event, time: self.time, share, proof: Proof::Logged(1001) }
    }
}

/// A gateway's event, as it goes over the wire.
fn batch(packets: usize) -> Arc<[u8]> {
    events::batch(&events::packets(packets, Payload::Bytes)).into_bytes().into()
}

fn figures<T>(measured: Vec<Option<T>>, figure: impl Fn(T) -> f64) -> Vec<Option<f64>> {
    measured.into_iter().map(|measured| measured.map(&figure)).collect()
}

/// The stream: the local one, with some latency.
async fn serve() -> Result<(Stream, std::net::SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let faults = Faults::new(Asked { latency: LATENCY, ..Asked::default() });
    let config = Config { faults: Some(Arc::new(faults)), retention_bytes: 64 << 20, ..Config::local() };
    let kinesis = Kinesis::new(config);
    let stream = kinesis.create_stream("packets", 4, false)?;
    tokio::spawn(kinesis.serve(listener, std::future::pending()));
    Ok((stream, address))
}

/// The same function, with a stream behind TLS.
fn over_tls(start: &Start, endpoint: &str, authority: &Path) -> Start {
    let authority = authority.display().to_string();
    let start = start.with("AWS_ENDPOINT_URL", endpoint);
    let trusting = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "AWS_CA_BUNDLE"];
    trusting.iter().fold(start, |start, name| start.with(name, &authority))
}

/// Megabytes of the program, where that is all of the function.
fn megabytes(start: &Start) -> Result<Option<f64>> {
    if !start.arguments.is_empty() {
        return Ok(None);
    }
    let bytes = std::fs::metadata(&start.program).with_context(|| start.program.display().to_string())?.len();
    #[expect(clippy::cast_precision_loss, reason = "few")]
    Ok(Some(bytes as f64 / 1e6))
}

/// What the figures are of.
fn machine(contestants: &[Contestant]) -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("without a name", |(_, model)| model);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let others = contestants.iter().filter(|contestant| !contestant.producer.arguments.is_empty());
    let others: String =
        others.map(|other| format!(", {} {}", other.name, version(&other.producer))).collect();
    format!("{processors} processors {model}{others}. x: of what does nothing, or else of the first.")
}

fn version(start: &Start) -> String {
    let said = std::process::Command::new(&start.program).arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    said.trim().trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned()
}
