//! `rivulet up`: the local cloud as the template describes it, with both functions, from the first socket to the last
//! count.

mod failures;

mod unfinished;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use local::cloud::{CannotListen, Cloud, Config, Inputs, Port, Reached};
use local::faults::Faults;
use local::gateway::Batching;
use local::invoke::Asynchronous;
use local::mapping::{Destination, Mapping};
use local::runtime::LogSink;
use local::stream;
use local::tally::Tally;

use crate::End;
use crate::args::{UpArgs, Which};
use crate::functions::{Surroundings, configured};
use crate::remote::{self, Remote};
use crate::screen::{self, live};
use crate::template::{OnFailure, Template};

pub(crate) async fn run(args: UpArgs) -> Result<End> {
    let template = args.functions.template()?;
    let producer = args.functions.binary(Which::Producer)?;
    let consumer = args.functions.binary(Which::Consumer)?;
    let mut interrupts = Interrupts::new()?;
    let faults = args.faults.asked().map(|asked| Arc::new(Faults::new(asked)));
    let remote = match &args.endpoint_url {
        None => None,
        Some(endpoint) => tokio::select! {
            connected = remote::connect(endpoint, &args.stream) => Some(connected?),
            () = interrupts.next() => return Ok(End::Interrupted),
        },
    };
    let mut cloud = Cloud::start(config(&args, remote.as_ref(), faults.clone())).await.map_err(taken)?;
    let stream = stream_of(&args, &template, &cloud, remote)?;
    let Reached { udp, http, .. } = add_producer(&mut cloud, &args, &template, &stream, producer).await?;
    for note in &template.notes {
        screen::note(note);
    }
    if let Place::Elsewhere(_) = stream.place {
        screen::note(&format!("every packet goes to the stream {}", stream.words));
    }
    let shards = tokio::select! {
        shards = stream.shards() => shards?,
        () = interrupts.next() => return Ok(End::Interrupted),
    };
    let mapping = add_consumer(&mut cloud, &args, &template, &stream, consumer, shards);
    screen::show(&screen::welcome([udp, http, cloud.lambda_address()], &stream.words, &cloud.queue().url()));
    let tally = Arc::clone(cloud.tally());
    let live = live::Watched {
        tally: Arc::clone(&tally),
        queue: cloud.queue().clone(),
        mapping,
        stream: stream.local().cloned(),
    };
    let live = tokio::spawn(live.show());

    interrupts.next().await;
    screen::note("stopping: no more input; what is under way has two seconds (Ctrl-C again ends at once)");
    let unfinished = tokio::select! {
        unfinished = cloud.stop() => unfinished,
        () = interrupts.next() => {
            screen::clear();
            return Ok(End::Interrupted);
        }
    };
    live.abort();
    screen::clear();
    let (packets, records) = (unfinished.packets(), unfinished.records.len() as u64);
    screen::show(&screen::tally(&tally, packets, records, unfinished.messages.len() as u64));
    if let Some(faults) = &faults {
        screen::show(&screen::faults(faults));
    }
    if !unfinished.is_empty() {
        // The queue ends with this process as well.
        let file = unfinished::write(&unfinished);
        let file = file.context("what was unfinished could not be written to a file")?;
        screen::note(&format!("what was unfinished, or is left in the queue, is in {}", file.display()));
    }
    Ok(End::Done)
}

fn config(args: &UpArgs, remote: Option<&Remote>, faults: Option<Arc<Faults>>) -> Config {
    let local = stream::Config::local();
    let stream = stream::Config {
        account: remote.map_or(local.account, |remote| remote.account.clone()),
        region: remote.map_or(local.region, |remote| remote.region.clone()),
        retention: args.retention_age,
        retention_bytes: args.retention_mib << 20,
        faults,
    };
    Config {
        stream,
        kinesis: remote.is_none().then_some(args.kinesis),
        queue: args.queue,
        lambda: args.lambda,
        freeze: args.freeze,
        notes: Arc::new(screen::note),
        ..Config::default()
    }
}

/// Says which flag chooses another address.
fn taken(cannot: CannotListen) -> anyhow::Error {
    let flag = match cannot.port {
        Port::Kinesis => "--kinesis",
        Port::Queue => "--queue",
        Port::Lambda => "--lambda",
        Port::Udp => "--udp",
        Port::Http => "--http",
    };
    let words = format!("{cannot}; choose another with {flag}");
    anyhow::Error::new(cannot.error).context(words)
}

/// The stream that the packets go through.
struct Stream {
    place: Place,
    surroundings: Surroundings,
    /// What it is and where, for a person.
    words: String,
}

enum Place {
    Here(stream::Stream),
    Elsewhere(Arc<Remote>),
}

impl Stream {
    fn local(&self) -> Option<&stream::Stream> {
        match &self.place {
            Place::Here(stream) => Some(stream),
            Place::Elsewhere(_) => None,
        }
    }

    /// How many shards it has.
    async fn shards(&self) -> Result<usize> {
        match &self.place {
            Place::Here(stream) => Ok(stream.shards().len()),
            Place::Elsewhere(remote) => {
                let shards = local::mapping::Source::shards(&**remote).await;
                Ok(shards.map_err(|why| anyhow!("the stream's shards cannot be listed: {why}"))?.len())
            }
        }
    }
}

fn stream_of(args: &UpArgs, template: &Template, cloud: &Cloud, remote: Option<Remote>) -> Result<Stream> {
    let queue_url = Some(cloud.queue().url());
    if let Some(remote) = remote {
        let Remote { account, region, arn, access, .. } = &remote;
        let endpoint = args.endpoint_url.as_deref().unwrap_or_default();
        let words = format!("{} of account {account} in {region}, at {endpoint}", args.stream);
        let surroundings = Surroundings { stream_arn: arn.clone(), queue_url, access: access.clone() };
        return Ok(Stream { place: Place::Elsewhere(Arc::new(remote)), surroundings, words });
    }
    let (kinesis, encrypted) = (cloud.kinesis(), template.stream.encrypted);
    let stream = match args.shards {
        None if template.stream.on_demand => kinesis.create_on_demand_stream(&args.stream, encrypted)?,
        shards => kinesis.create_stream(&args.stream, shards.unwrap_or(template.stream.shards), encrypted)?,
    };
    stream.set_limits(template.stream.retention_hours, template.stream.max_record_kib);
    let endpoint = cloud.kinesis_url().unwrap_or_default();
    let shards = match (stream.shards().len(), args.shards.is_none() && template.stream.on_demand) {
        (count, true) => format!("{count} shards, on demand"),
        (1, false) => "1 shard".to_owned(),
        (count, false) => format!("{count} shards"),
    };
    let words = format!("{} ({shards}; Kinesis API at {endpoint})", args.stream);
    let surroundings = Surroundings { stream_arn: stream.arn().to_owned(), queue_url, access: Vec::new() };
    Ok(Stream { place: Place::Here(stream), surroundings, words })
}

async fn add_producer(
    cloud: &mut Cloud,
    args: &UpArgs,
    template: &Template,
    stream: &Stream,
    binary: PathBuf,
) -> Result<Reached> {
    let config = cloud.function_config(Which::Producer.binary(), binary);
    let concurrency = args.producer_concurrency.into();
    let config = configured(Which::Producer, template, &stream.surroundings, concurrency, config);
    let asynchronous = asynchronous(Which::Producer, args, template, cloud);
    let batching = Batching { count: args.batch_count as usize, window: args.batch_window };
    let inputs = Inputs { udp: args.udp, batching, http: args.http };
    let log = log(Arc::clone(cloud.tally()), Tally::read_producer_log);
    cloud.add_producer(config, log, asynchronous, inputs).await.map_err(taken)
}

fn add_consumer(
    cloud: &mut Cloud,
    args: &UpArgs,
    template: &Template,
    stream: &Stream,
    binary: PathBuf,
    shards: usize,
) -> Mapping {
    let config = cloud.function_config(Which::Consumer.binary(), binary);
    let concurrency = shards.saturating_mul(template.mapping.parallelization_factor);
    let config = configured(Which::Consumer, template, &stream.surroundings, concurrency, config);
    let asynchronous = asynchronous(Which::Consumer, args, template, cloud);
    let log = log(Arc::clone(cloud.tally()), Tally::read_consumer_log);
    let function = cloud.add_function(config, log, asynchronous);
    let destination = template.on_failure.map(|destination| match destination {
        OnFailure::Queue => Destination::Queue(cloud.queue().clone()),
        OnFailure::Bucket => Destination::Bucket(failures::bucket()),
    });
    let settings = template.mapping.clone();
    match &stream.place {
        Place::Here(stream) => cloud.map(stream, &function, settings, destination),
        Place::Elsewhere(remote) => cloud.map_remote(Arc::clone(remote), &function, settings, destination),
    }
}

fn asynchronous(which: Which, args: &UpArgs, template: &Template, cloud: &Cloud) -> Asynchronous {
    let settings = which.of(template).asynchronous;
    Asynchronous {
        retries: settings.retries,
        age: settings.age,
        wait: args.retry_wait,
        on_failure: settings.on_failure.then(|| cloud.queue().clone()),
    }
}

/// Shows what a function writes, and counts what that tells.
fn log(tally: Arc<Tally>, read: fn(&Tally, &[u8])) -> LogSink {
    Arc::new(move |_, lines| {
        screen::function_log(lines);
        read(&tally, lines);
    })
}

/// Ctrl-C, and the signals by which other programs and a terminal that closes ask for the same.
struct Interrupts {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Interrupts {
    fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let catch = |kind| signal(kind).context("signals cannot be caught");
        Ok(Self {
            hangup: catch(SignalKind::hangup())?,
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
