//! How far the functions are from the floor of the runtime itself: start-up, processor time, log, beside a handler that
//! does nothing and beside the same functions in Node.js and Python, as black boxes behind Lambda's Runtime API.
//!
//! `make bench`. What is compared stands in one row of one run; the machine may be slow, the ratios hold. Node.js and
//! Python are left out where they are missing, and the shares of a processor where control groups cannot be made.

mod api;
mod events;
mod process;
mod share;
mod table;
mod tls;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use local::faults::{Asked, Faults};
use local::stream::{Config, Kinesis};
use tokio::net::TcpListener;

use process::{Running, Start};
use share::{MIB_OF_A_PROCESSOR, Share};
use table::{Cell, Table};

/// How long the stream takes for a `PutRecords`.
const LATENCY: Duration = Duration::from_millis(5);

/// How often something is started that is measured from its start.
const STARTS: usize = 11;

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

/// One implementation of both functions.
struct Contestant {
    name: &'static str,
    producer: Start,
    consumer: Start,
}

fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _entered = runtime.enter();
    let plain = runtime.block_on(serve())?;
    let (tls, authority) = runtime.block_on(tls::serve(plain))?;
    let contestants = contestants(args, plain)?;
    let names: Vec<_> = contestants.iter().map(|contestant| contestant.name).collect();
    let mut table = Table::new(&names, &args.only);
    let for_time = Duration::from_secs_f64(args.seconds);

    for (packets, most) in [(1000, 2.0), (100, 5.0)] {
        let event = events::batch(packets);
        table.row(&format!("producer, CPU µs a packet, {packets} an event"), most, |place| {
            let start = &contestants[place].producer;
            Ok(Cell::Us(busy(start, &event, for_time, None)?.cpu / packets as f64))
        })?;
    }
    let event = events::batch(1000);
    table.row("producer, aggregates, CPU µs a packet, 1000 an event", 1.5, |place| {
        if place != 0 {
            return Ok(Cell::None);
        }
        let start = with(&contestants[place].producer, "RECORD_FORMAT", "kpl");
        Ok(Cell::Us(busy(&start, &event, for_time, None)?.cpu / 1000.0))
    })?;
    let records = events::records(1000);
    table.row("consumer, CPU µs a record, 1000 an event", 2.0, |place| {
        Ok(Cell::Us(busy(&contestants[place].consumer, &records, for_time, None)?.cpu / 1000.0))
    })?;
    table.row("producer, ms to its first question", 3.2, |place| starts(&contestants[place].producer))?;
    table.row("consumer, ms to its first question", 3.0, |place| starts(&contestants[place].consumer))?;
    let one = events::batch(1);
    table.row("producer, ms to its first answer, TLS", 15.0, |place| {
        if contestants[place].name == "nothing" {
            return Ok(Cell::None);
        }
        first_answer(&over_tls(&contestants[place].producer, &tls, &authority), &one, None)
    })?;
    if Share::possible() {
        let share = Some(128.0 / MIB_OF_A_PROCESSOR);
        table.row("the same with 128 MB", 60.0, |place| {
            if contestants[place].name == "nothing" {
                return Ok(Cell::None);
            }
            first_answer(&over_tls(&contestants[place].producer, &tls, &authority), &one, share)
        })?;
        table.row("producer, 128 MB, 1000 an event, ms, median", 50.0, |place| {
            Ok(Cell::Ms(busy(&contestants[place].producer, &event, for_time, share)?.wall))
        })?;
        table.row("consumer, 128 MB, 1000 an event, ms, median", 50.0, |place| {
            Ok(Cell::Ms(busy(&contestants[place].consumer, &records, for_time, share)?.wall))
        })?;
    } else {
        eprintln!("no control groups can be made here: the rows of 128 MB are left out");
    }
    table.row("producer, MB of the executable", 5.0, |place| size(&contestants[place].producer.program))?;
    table.row("consumer, MB of the executable", 3.0, |place| size(&contestants[place].consumer.program))?;
    table.row("consumer, bytes of log a packet", 350.0, |place| {
        let running = Running::start(&contestants[place].consumer, None)?;
        running.invoke(&records)?;
        let before = settled(&running);
        running.invoke(&records)?;
        #[expect(clippy::cast_precision_loss, reason = "few")]
        Ok(Cell::Number((settled(&running) - before) as f64 / 1000.0))
    })?;
    table.show();
    Ok(())
}

/// What has come of the log, once no more comes.
fn settled(running: &Running) -> u64 {
    let mut seen = 0;
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let now = running.logged();
        if now == seen {
            return now;
        }
        seen = now;
    }
}

/// The stream: the local one, with some latency.
async fn serve() -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let faults = Faults::new(Asked { latency: LATENCY, ..Asked::default() });
    let config = Config { faults: Some(Arc::new(faults)), retention_bytes: 64 << 20, ..Config::local() };
    let kinesis = Kinesis::new(config);
    kinesis.create_stream("packets", 4, false)?;
    tokio::spawn(kinesis.serve(listener, std::future::pending()));
    Ok(address)
}

fn contestants(args: &Args, kinesis: std::net::SocketAddr) -> Result<Vec<Contestant>> {
    let environment = vec![
        ("STREAM_NAME".to_owned(), "packets".to_owned()),
        ("PARTITION_KEY_EXPRESSION".to_owned(), "[0:4]".to_owned()),
        ("AWS_ENDPOINT_URL".to_owned(), format!("http://{kinesis}")),
    ];
    let start = |program: PathBuf, arguments: &[&Path]| -> Result<Start> {
        let absolute = |path: &Path| std::path::absolute(path).with_context(|| path.display().to_string());
        let arguments = arguments.iter().map(|path| absolute(path)).collect::<Result<_>>()?;
        Ok(Start { program: absolute(&program)?, arguments, environment: environment.clone() })
    };
    let ours = |name: &str| start(args.binaries.join(name), &[]);
    let nothing = start(args.binaries.join("examples/nothing"), &[])?;
    let mut contestants = vec![
        Contestant { name: "rivulet", producer: ours("producer")?, consumer: ours("consumer")? },
        Contestant { name: "nothing", producer: nothing.clone(), consumer: nothing },
    ];
    let others = [
        ("Node.js", "node", "bench/node/node_modules", "bench/node/producer.mjs", "bench/node/consumer.mjs"),
        (
            "Python",
            ".tools/bench/bin/python",
            ".tools/bench",
            "bench/python/producer.py",
            "bench/python/consumer.py",
        ),
    ];
    for (name, program, installed, producer, consumer) in others {
        let program = if program.contains('/') { Some(PathBuf::from(program)) } else { on_the_path(program) };
        match program.filter(|program| program.exists() && Path::new(installed).exists()) {
            None => eprintln!("{name} is left out: it is not installed (make bench does that where it can)"),
            Some(program) => contestants.push(Contestant {
                name,
                producer: start(program.clone(), &[Path::new(producer)])?,
                consumer: start(program, &[Path::new(consumer)])?,
            }),
        }
    }
    Ok(contestants)
}

fn on_the_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|program| program.is_file())
}

fn with(start: &Start, name: &str, value: &str) -> Start {
    let mut start = start.clone();
    start.environment.push((name.to_owned(), value.to_owned()));
    start
}

fn over_tls(start: &Start, endpoint: &str, authority: &Path) -> Start {
    let start = with(start, "AWS_ENDPOINT_URL", endpoint);
    let start = with(&start, "NODE_EXTRA_CA_CERTS", &authority.display().to_string());
    let start = with(&start, "SSL_CERT_FILE", &authority.display().to_string());
    with(&start, "AWS_CA_BUNDLE", &authority.display().to_string())
}

/// Medians over many invocations, µs of processor time and ms of wall time.
struct Busy {
    cpu: f64,
    wall: f64,
}

/// Invokes it again and again, the first few uncounted.
fn busy(start: &Start, event: &Arc<[u8]>, for_time: Duration, share: Option<f64>) -> Result<Busy> {
    let running = Running::start(start, share)?;
    for _ in 0..5 {
        running.invoke(event)?;
    }
    let (begun, mut cpu, mut wall) = (Instant::now(), Vec::new(), Vec::new());
    while begun.elapsed() < for_time || cpu.len() < 15 {
        let (took, _) = running.invoke(event)?;
        cpu.push(took.cpu.as_secs_f64() * 1e6);
        wall.push(took.wall.as_secs_f64() * 1e3);
    }
    // Threads beside the main one (a collector's) do their part at any time: of processor time the mean is what is paid.
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let mean = cpu.iter().sum::<f64>() / cpu.len() as f64;
    Ok(Busy { cpu: mean, wall: median(wall) })
}

fn starts(start: &Start) -> Result<Cell> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(Running::start(start, None)?.started_in.as_secs_f64() * 1e3);
    }
    Ok(Cell::Ms(median(times)))
}

fn first_answer(start: &Start, event: &Arc<[u8]>, share: Option<f64>) -> Result<Cell> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let running = Running::start(start, share)?;
        times.push(running.first_answer(event)?.as_secs_f64() * 1e3);
    }
    Ok(Cell::Ms(median(times)))
}

#[expect(clippy::cast_precision_loss, reason = "few")]
fn size(program: &Path) -> Result<Cell> {
    let bytes = std::fs::metadata(program).with_context(|| program.display().to_string())?.len();
    let interpreted = program.ends_with("node") || program.ends_with("python");
    Ok(if interpreted { Cell::None } else { Cell::Number(bytes as f64 / 1e6) })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
