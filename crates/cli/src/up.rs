//! `rivulet up`: gateway, stream, mapping and both functions, from the first socket to the last count.

mod failures;

mod ending;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use local::faults::Faults;
use local::gateway::{self, Batching, Producer};
use local::invoke::{self, Asynchronous, Invoked, Target};
use local::mapping::{self, Destination, Event, Kept, Listener, Settings, Source};
use local::queue::{Counts, Queue};
use local::runtime::{Function, LogSink};
use local::stream::{Config, Kinesis, Stream};
use local::tally::Tally;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use self::ending::{Ending, finish};
use crate::End;
use crate::args::{UpArgs, Which};
use crate::functions::{Surroundings, function, local_access};
use crate::remote::{self, Remote};
use crate::screen;
use crate::template::{OnFailure, Template};

/// How long what is in flight may take once the input has stopped.
const GRACE: Duration = Duration::from_secs(2);

/// How often the counts are shown while they change.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

/// The name of the queue for undelivered packets.
const QUEUE: &str = "undelivered";

pub(crate) async fn run(args: UpArgs) -> Result<End> {
    let template = args.functions.template()?;
    let producer = args.functions.binary(Which::Producer)?;
    let consumer = args.functions.binary(Which::Consumer)?;
    let mut interrupts = Interrupts::new()?;
    let sockets = Sockets::bind(&args).await?;
    let faults = args.faults.asked().map(|asked| Arc::new(Faults::new(asked)));
    match &args.endpoint_url {
        None => {
            let config = Config {
                retention: args.retention_age,
                retention_bytes: args.retention_mib << 20,
                faults: faults.clone(),
                ..Config::local()
            };
            let kinesis = Kinesis::new(config.clone());
            let shards = args.shards.unwrap_or(template.stream.shards);
            kinesis.create_stream(&args.stream, shards, template.stream.encrypted)?;
            let stream = kinesis.stream(&args.stream).context("the stream is not there")?;
            stream.set_limits(template.stream.retention_hours, template.stream.max_record_kib);
            let endpoint = format!("http://{}", sockets.kinesis_address);
            let surroundings = Surroundings {
                account: config.account,
                region: config.region,
                stream_arn: stream.arn().to_owned(),
                queue: None,
                access: local_access(&endpoint),
            };
            let words = format!("{} ({shards} shards, Kinesis API at {endpoint})", args.stream);
            let api = Some(kinesis);
            let run = Run { args: &args, template, producer, consumer, surroundings, words, sockets, faults };
            run.until(&mut interrupts, Arc::new(stream.clone()), api, Some(stream)).await
        }
        Some(endpoint) => {
            let (remote, surroundings) = tokio::select! {
                connected = remote::connect(endpoint, &args.stream) => connected?,
                () = interrupts.next() => return Ok(End::Interrupted),
            };
            let Surroundings { account, region, .. } = &surroundings;
            let words = format!("{} of account {account} in {region}, at {endpoint}", args.stream);
            screen::note(&format!("every packet goes to the stream {words}"));
            let run = Run { args: &args, template, producer, consumer, surroundings, words, sockets, faults };
            run.until::<Remote>(&mut interrupts, Arc::new(remote), None, None).await
        }
    }
}

/// All that listens, bound before anything is started.
struct Sockets {
    udp: UdpSocket,
    udp_address: SocketAddr,
    http: TcpListener,
    http_address: SocketAddr,
    kinesis: TcpListener,
    kinesis_address: SocketAddr,
    queue: TcpListener,
    queue_address: SocketAddr,
    lambda: TcpListener,
    lambda_address: SocketAddr,
}

impl Sockets {
    async fn bind(args: &UpArgs) -> Result<Self> {
        let (udp, http, kinesis) = (args.udp, args.http, args.kinesis);
        let taken = |what, address, flag| {
            move || format!("cannot listen on {address} ({what}); choose another with {flag}")
        };
        let udp = UdpSocket::bind(udp).await.with_context(taken("UDP", udp, "--udp"))?;
        let http = TcpListener::bind(http).await.with_context(taken("HTTP", http, "--http"))?;
        let kinesis =
            TcpListener::bind(kinesis).await.with_context(taken("the Kinesis API", kinesis, "--kinesis"))?;
        let (queue, lambda) = (args.queue, args.lambda);
        let queue = TcpListener::bind(queue).await.with_context(taken("the queue", queue, "--queue"))?;
        let lambda =
            TcpListener::bind(lambda).await.with_context(taken("the Invoke API", lambda, "--lambda"))?;
        gateway::udp::prepare(&udp);
        let (udp_address, http_address) = (udp.local_addr()?, http.local_addr()?);
        let (kinesis_address, queue_address) = (kinesis.local_addr()?, queue.local_addr()?);
        let lambda_address = lambda.local_addr()?;
        Ok(Self {
            udp,
            udp_address,
            http,
            http_address,
            kinesis,
            kinesis_address,
            queue,
            queue_address,
            lambda,
            lambda_address,
        })
    }
}

/// A run, ready to start.
struct Run<'a> {
    args: &'a UpArgs,
    template: Template,
    producer: PathBuf,
    consumer: PathBuf,
    surroundings: Surroundings,
    /// The stream in words.
    words: String,
    sockets: Sockets,
    faults: Option<Arc<Faults>>,
}

impl Run<'_> {
    /// Starts everything, waits for Ctrl-C, stops everything. `api` is served, and `local` is the stream behind it.
    async fn until<S: Source>(
        mut self,
        interrupts: &mut Interrupts,
        source: Arc<S>,
        api: Option<Kinesis>,
        local: Option<Stream>,
    ) -> Result<End> {
        for note in &self.template.notes {
            screen::note(note);
        }
        let messages = self.queue();
        self.surroundings.queue = Some(messages.clone());
        let tally = Arc::new(Tally::default());
        let shards = tokio::select! {
            shards = source.shards() => shards.map_err(|why| anyhow!("the stream's shards cannot be listed: {why}"))?.len(),
            () = interrupts.next() => return Ok(End::Interrupted),
        };
        let (stop_input, input_stopped) = watch::channel(false);
        let (stop_rest, rest_stopped) = watch::channel(false);

        let producer =
            self.function(Which::Producer, &self.producer, self.args.producer_concurrency.into(), &tally);
        let batches = shards.saturating_mul(self.template.mapping.parallelization_factor);
        let consumer = self.function(Which::Consumer, &self.consumer, batches, &tally);
        let (carrier, under_way) = Producer::new(producer.clone(), Arc::clone(&tally));
        let targets = vec![
            self.target(Which::Producer, Invoked::Producer(carrier.clone()), &messages),
            self.target(Which::Consumer, Invoked::Other(consumer.clone()), &messages),
        ];
        let addresses = [self.sockets.udp_address, self.sockets.http_address, self.sockets.lambda_address];
        let api = match api {
            Some(kinesis) => tokio::spawn(kinesis.serve(self.sockets.kinesis, stopped(rest_stopped.clone()))),
            None => tokio::spawn(async {}),
        };
        let queue = messages.clone().serve(self.sockets.queue, stopped(rest_stopped.clone()));
        let queue = tokio::spawn(queue);
        let handled = Arc::new(local::tally::Count::default());
        let listener = listener(Arc::clone(&tally), Arc::clone(&handled));
        let settings = Settings::clone(&self.template.mapping);
        let destination = self.template.on_failure.map(|destination| match destination {
            OnFailure::Queue => Destination::Queue(messages.clone()),
            OnFailure::Bucket => Destination::Bucket(failures::bucket()),
        });
        let mapping =
            mapping::run(source, consumer.clone(), settings, destination, listener, rest_stopped.clone());
        let mapping = tokio::spawn(mapping);
        let batching = Batching { count: self.args.batch_count as usize, window: self.args.batch_window };
        let udp = tokio::spawn(gateway::udp::run(
            self.sockets.udp,
            batching,
            carrier.clone(),
            Arc::new(screen::note),
            input_stopped.clone(),
            GRACE,
        ));
        let http = gateway::http::run(self.sockets.http, carrier, stopped(input_stopped.clone()));
        let http = tokio::spawn(http);
        let notes = Arc::new(screen::note);
        let invoke = invoke::run(self.sockets.lambda, targets, notes, input_stopped.clone(), GRACE);
        let invoke = tokio::spawn(invoke);
        screen::show(&screen::welcome(addresses, &self.words, &messages.url()));
        let counts = tokio::spawn(show_counts(Arc::clone(&tally), messages.clone()));

        interrupts.next().await;
        screen::note(
            "stopping: no more input; what is under way has two seconds (Ctrl-C again ends at once)",
        );
        let _ = stop_input.send(true);
        let finish = finish(Ending {
            udp,
            http,
            invoke,
            mapping,
            api,
            queue,
            stop_rest,
            local,
            handled,
            tally: Arc::clone(&tally),
            producer,
            consumer,
            under_way,
        });
        let mut unfinished = tokio::select! {
            unfinished = finish => unfinished,
            () = interrupts.next() => return Ok(End::Interrupted),
        };
        counts.abort();
        // It ends with this process.
        unfinished.messages = messages.bodies();
        let (packets, records) = (unfinished.packets(), unfinished.records.len() as u64);
        let left = unfinished.messages.len() as u64;
        screen::show(&screen::tally(&tally, packets, records, left));
        if let Some(faults) = &self.faults {
            screen::show(&screen::faults(faults));
        }
        if !unfinished.is_empty() {
            let file = unfinished.write().context("what was unfinished could not be written to a file")?;
            screen::note(&format!("what was unfinished, or is left in the queue, is in {}", file.display()));
        }
        Ok(End::Done)
    }

    /// The queue that is to be served here.
    fn queue(&self) -> Queue {
        let Surroundings { account, region, .. } = &self.surroundings;
        let endpoint = format!("http://{}", self.sockets.queue_address);
        match self.faults.clone() {
            None => Queue::new(QUEUE, account, region, &endpoint),
            Some(faults) => {
                Queue::admitting(QUEUE, account, region, &endpoint, Arc::new(move |_| faults.message()))
            }
        }
    }

    /// A function as the Invoke API reaches it.
    fn target(&self, which: Which, invoked: Invoked, queue: &Queue) -> Target {
        let settings = which.of(&self.template).asynchronous;
        let asynchronous = Asynchronous {
            retries: settings.retries,
            age: settings.age,
            wait: self.args.retry_wait,
            on_failure: settings.on_failure.then(|| queue.clone()),
        };
        Target { invoked, asynchronous }
    }

    fn function(
        &self,
        which: Which,
        binary: &std::path::Path,
        concurrency: usize,
        tally: &Arc<Tally>,
    ) -> Function {
        let tally = Arc::clone(tally);
        let log: LogSink = Arc::new(move |_, lines| {
            screen::function_log(lines);
            match which {
                Which::Producer => tally.read_producer_log(lines),
                Which::Consumer => tally.read_consumer_log(lines),
            }
        });
        function(
            which,
            &self.template,
            binary.to_owned(),
            &self.surroundings,
            concurrency,
            self.faults.clone(),
            log,
        )
    }
}

/// Counts what the mapping tells of, and passes on what a person should know.
fn listener(tally: Arc<Tally>, handled: Arc<local::tally::Count>) -> Listener {
    Arc::new(move |event| match event {
        Event::Handled(records) => handled.add(records),
        Event::Discarded(records, why, kept) => {
            handled.add(records);
            tally.discarded.add(records);
            screen::note(&match kept {
                Kept::Nowhere => format!("{records} records were discarded: {why}"),
                Kept::At(place) => {
                    tally.reported.add(records);
                    format!("a batch of {records} was given up: {why}; it is told of in {place}")
                }
                Kept::Refused(refusal) => {
                    format!(
                        "{records} records were discarded: {why}; the on-failure destination does not take them: {refusal}"
                    )
                }
            });
        }
        Event::Trimmed(records) => {
            handled.add(records);
            tally.trimmed.add(records);
            screen::note(&format!(
                "{records} records were removed by retention before the consumer had read them"
            ));
        }
        Event::Trouble(why) => screen::note(&why),
    })
}

async fn show_counts(tally: Arc<Tally>, queue: Queue) {
    let counts = || {
        let Counts { visible, in_flight } = queue.counts();
        screen::counts(&tally, (visible + in_flight) as u64)
    };
    let mut shown = counts();
    loop {
        tokio::time::sleep(COUNTS_EVERY).await;
        let now = counts();
        if now != shown {
            screen::note(&now);
            shown = now;
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
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
