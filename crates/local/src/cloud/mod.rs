//! The whole cloud in one value: Kinesis, SQS and Lambda on ports of this machine, with functions, mappings and gateways
//! between them, started one by one and stopped together. `rivulet up` is one; so can a test be, of functions that know
//! nothing of Rivulet.
//!
//! ```no_run
//! use local::cloud::{Cloud, Config};
//! use local::invoke::Asynchronous;
//! use local::mapping;
//! use local::runtime::Logbook;
//! use local::stream::Entry;
//!
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let mut cloud = Cloud::start(Config::default()).await?;
//! let stream = cloud.create_stream("orders", 2)?;
//!
//! // In a test of the package that has the binary: env!("CARGO_BIN_EXE_my-consumer").
//! let consumer = cloud.function_config("my-consumer", "target/debug/my-consumer");
//! let log = Logbook::default();
//! let consumer = cloud.add_function(consumer, log.sink(), Asynchronous::default());
//! let settings = mapping::Settings { batch_size: 10, bisect: true, attempts: Some(2), ..Default::default() };
//! let refused = cloud.queue().clone(); // gets what the mapping gives up
//! cloud.map(&stream, &consumer, settings, Some(mapping::Destination::Queue(refused)));
//!
//! stream.put(vec![Entry::new("customer-7", "one order")])?;
//! tokio::time::timeout(std::time::Duration::from_secs(20), cloud.settled()).await?;
//! assert!(log.text().contains("one order"));
//! assert!(cloud.queue().bodies().is_empty());
//! cloud.stop().await;
//! # Ok(())
//! # }
//! ```

mod ending;

mod mapped;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::gateway::{self, Batching, Left, Notes, Producer, UnderWay};
use crate::invoke::{self, Asynchronous, Invoked, Registry, Target};
use crate::mapping::{self, Destination, Mapping, Rest, Source};
use crate::queue::Queue;
use crate::runtime::{Function, FunctionConfig, LogSink};
use crate::stream::{self, ApiError, Kinesis, Stream};
use crate::tally::Tally;
use mapped::{Mapped, listener};

pub use ending::Unfinished;

/// A free port of this machine.
pub const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The name of the queue.
const QUEUE: &str = "undelivered";

/// What a cloud is to be.
#[derive(Clone)]
pub struct Config {
    /// Account, region, retention and faults: of the streams, and of everything else as far as it concerns that.
    pub stream: stream::Config,
    /// Where the Kinesis API is served; nowhere, if the stream is not one of this cloud.
    pub kinesis: Option<SocketAddr>,
    /// Where the SQS API is served, with one queue.
    pub queue: SocketAddr,
    /// Where the Lambda API is served.
    pub lambda: SocketAddr,
    /// Whether functions are frozen between their invocations.
    pub freeze: bool,
    /// How long what is under way may take once the cloud is stopped.
    pub grace: Duration,
    /// Told what a person should know.
    pub notes: Notes,
}

impl Default for Config {
    /// Free ports of 127.0.0.1, two seconds of grace, and nobody who listens.
    fn default() -> Self {
        Self {
            stream: stream::Config::local(),
            kinesis: Some(FREE),
            queue: FREE,
            lambda: FREE,
            freeze: false,
            grace: Duration::from_secs(2),
            notes: Arc::new(|_| {}),
        }
    }
}

/// What listens on an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The Kinesis API.
    Kinesis,
    /// The SQS API.
    Queue,
    /// The Lambda API.
    Lambda,
    /// The gateway's datagrams.
    Udp,
    /// The gateway's HTTP requests.
    Http,
}

impl Port {
    const fn words(self) -> &'static str {
        match self {
            Self::Kinesis => "the Kinesis API",
            Self::Queue => "the queue",
            Self::Lambda => "the Lambda API",
            Self::Udp => "UDP",
            Self::Http => "HTTP",
        }
    }
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({})", .port.words())]
pub struct CannotListen {
    /// For what.
    pub port: Port,
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub error: std::io::Error,
}

/// How packets come to a producer, besides its invocations by the Lambda API.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    /// Where datagrams are received.
    pub udp: SocketAddr,
    /// How they are gathered.
    pub batching: Batching,
    /// Where HTTP requests are received.
    pub http: SocketAddr,
}

/// A producer, and where it is reached.
#[derive(Clone)]
pub struct Reached {
    /// The function.
    pub function: Function,
    /// Where datagrams are received.
    pub udp: SocketAddr,
    /// Where HTTP requests are received.
    pub http: SocketAddr,
}

/// The cloud. Dropped, it ends everything at once; [`stop`](Self::stop) lets what is under way come to its end.
pub struct Cloud {
    config: Config,
    kinesis: Kinesis,
    /// The endpoint of the Kinesis API.
    kinesis_url: Option<String>,
    queue: Queue,
    lambda: SocketAddr,
    tally: Arc<Tally>,
    registry: Registry,
    functions: Vec<Function>,
    under_way: Vec<UnderWay>,
    mappings: Vec<Mapped>,
    stop_input: watch::Sender<bool>,
    stop_rest: watch::Sender<bool>,
    inputs: JoinSet<Vec<Left>>,
    pollers: JoinSet<(Vec<Rest>, Option<Stream>)>,
    apis: JoinSet<()>,
}

impl Cloud {
    /// Starts the three APIs, without a stream or a function.
    ///
    /// # Errors
    /// [`CannotListen`] where an address is taken or is none of this machine.
    pub async fn start(config: Config) -> Result<Self, CannotListen> {
        let kinesis_port = match config.kinesis {
            None => None,
            Some(address) => Some(listen(Port::Kinesis, address).await?),
        };
        let (queue_port, queue_address) = listen(Port::Queue, config.queue).await?;
        let (lambda_port, lambda) = listen(Port::Lambda, config.lambda).await?;

        let (stop_input, input_stopped) = watch::channel(false);
        let (stop_rest, rest_stopped) = watch::channel(false);
        let mut apis = JoinSet::new();
        let kinesis = Kinesis::new(config.stream.clone());
        let mut kinesis_url = None;
        if let Some((port, address)) = kinesis_port {
            kinesis_url = Some(format!("http://{address}"));
            apis.spawn(kinesis.clone().serve(port, stopped(rest_stopped.clone())));
        }
        let queue = queue(&config.stream, queue_address);
        apis.spawn(queue.clone().serve(queue_port, stopped(rest_stopped)));
        let registry = Registry::default();
        let mut inputs = JoinSet::new();
        let (notes, grace) = (Arc::clone(&config.notes), config.grace);
        inputs.spawn(invoke::run(lambda_port, registry.clone(), notes, input_stopped, grace));
        Ok(Self {
            config,
            kinesis,
            kinesis_url,
            queue,
            lambda,
            tally: Arc::default(),
            registry,
            functions: Vec::new(),
            under_way: Vec::new(),
            mappings: Vec::new(),
            stop_input,
            stop_rest,
            inputs,
            pollers: JoinSet::new(),
            apis,
        })
    }

    /// The streams.
    pub fn kinesis(&self) -> &Kinesis {
        &self.kinesis
    }

    /// The endpoint of the Kinesis API, such as `http://127.0.0.1:4567`; none if there is none here.
    pub fn kinesis_url(&self) -> Option<&str> {
        self.kinesis_url.as_deref()
    }

    /// The queue, which knows its own endpoint.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Where the Lambda API is served.
    pub fn lambda_address(&self) -> SocketAddr {
        self.lambda
    }

    /// The counts since the start.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Makes a provisioned stream of equal shards.
    ///
    /// # Errors
    /// Those of [`Kinesis::create_stream`].
    pub fn create_stream(&self, name: &str, shards: u32) -> Result<Stream, ApiError> {
        self.kinesis.create_stream(name, shards, false)
    }

    /// A function with Lambda's defaults (128 MiB, 3 seconds, here 10 at once) that finds Kinesis, SQS and Lambda in this
    /// cloud and nowhere else, by its variables. A later variable counts before an earlier one of its name.
    pub fn function_config(&self, name: &str, binary: impl Into<PathBuf>) -> FunctionConfig {
        let mut environment = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "local".to_owned()),
            ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
            ("AWS_ENDPOINT_URL_SQS".to_owned(), self.queue.endpoint().to_owned()),
            ("AWS_ENDPOINT_URL_LAMBDA".to_owned(), format!("http://{}", self.lambda)),
        ];
        // Without a Kinesis here it is the Lambda API that turns away whatever was meant for another service.
        let endpoint = self.kinesis_url.clone().unwrap_or_else(|| format!("http://{}", self.lambda));
        environment.push(("AWS_ENDPOINT_URL".to_owned(), endpoint));
        FunctionConfig {
            name: name.to_owned(),
            binary: binary.into(),
            environment,
            timeout: Duration::from_secs(3),
            memory_mib: 128,
            concurrency: 10,
            account: self.config.stream.account.clone(),
            region: self.config.stream.region.clone(),
            faults: self.config.stream.faults.clone(),
            freeze: self.config.freeze,
        }
    }

    /// Adds a function; `log` gets what it writes.
    pub fn add_function(
        &mut self,
        config: FunctionConfig,
        log: LogSink,
        asynchronous: Asynchronous,
    ) -> Function {
        let function = Function::new(config, log);
        self.registry.add_function(Target { invoked: Invoked::Other(function.clone()), asynchronous });
        self.functions.push(function.clone());
        function
    }

    /// Adds a function that is given packets, whose fate the tally counts, and a gateway in front of it.
    ///
    /// # Errors
    /// [`CannotListen`] where an address is taken or is none of this machine.
    pub async fn add_producer(
        &mut self,
        config: FunctionConfig,
        log: LogSink,
        asynchronous: Asynchronous,
        inputs: Inputs,
    ) -> Result<Reached, CannotListen> {
        let cannot = |error| CannotListen { port: Port::Udp, address: inputs.udp, error };
        let udp = UdpSocket::bind(inputs.udp).await.map_err(cannot)?;
        gateway::udp::prepare(&udp);
        let udp_address = udp.local_addr().map_err(cannot)?;
        let (http, http_address) = listen(Port::Http, inputs.http).await?;

        let function = Function::new(config, log);
        self.functions.push(function.clone());
        let (producer, under_way) = Producer::new(function.clone(), Arc::clone(&self.tally));
        self.under_way.push(under_way);
        self.registry.add_function(Target { invoked: Invoked::Producer(producer.clone()), asynchronous });
        let stop = self.stop_input.subscribe();
        let notes = Arc::clone(&self.config.notes);
        let (batching, grace) = (inputs.batching, self.config.grace);
        self.inputs.spawn(gateway::udp::run(udp, batching, producer.clone(), notes, stop.clone(), grace));
        self.inputs.spawn(async move {
            gateway::http::run(http, producer, stopped(stop), grace).await;
            Vec::new()
        });
        Ok(Reached { function, udp: udp_address, http: http_address })
    }

    /// Binds a function to a stream of this cloud. What the mapping gives up goes to `destination`.
    pub fn map(
        &mut self,
        stream: &Stream,
        function: &Function,
        settings: mapping::Settings,
        destination: Option<Destination>,
    ) -> Mapping {
        self.bind(Arc::new(stream.clone()), Some(stream.clone()), function, settings, destination)
    }

    /// The same with a stream elsewhere.
    pub fn map_remote<S: Source>(
        &mut self,
        source: Arc<S>,
        function: &Function,
        settings: mapping::Settings,
        destination: Option<Destination>,
    ) -> Mapping {
        self.bind(source, None, function, settings, destination)
    }

    fn bind<S: Source>(
        &mut self,
        source: Arc<S>,
        stream: Option<Stream>,
        function: &Function,
        settings: mapping::Settings,
        destination: Option<Destination>,
    ) -> Mapping {
        let mapping = Mapping::new(settings);
        let listener = listener(Arc::clone(&self.tally), Arc::clone(&self.config.notes));
        self.mappings.push(Mapped { mapping: mapping.clone(), stream: stream.clone() });
        self.registry.add_mapping(mapping.clone());
        let (running, function) = (mapping.clone(), function.clone());
        let stop = self.stop_rest.subscribe();
        self.pollers
            .spawn(async move { (running.run(source, function, destination, listener, stop).await, stream) });
        mapping
    }
}

async fn listen(port: Port, address: SocketAddr) -> Result<(TcpListener, SocketAddr), CannotListen> {
    let cannot = |error| CannotListen { port, address, error };
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    Ok((listener, address))
}

fn queue(config: &stream::Config, address: SocketAddr) -> Queue {
    let stream::Config { account, region, faults, .. } = config;
    let endpoint = format!("http://{address}");
    match faults.clone() {
        None => Queue::new(QUEUE, account, region, &endpoint),
        Some(faults) => {
            Queue::admitting(QUEUE, account, region, &endpoint, Arc::new(move |_| faults.message()))
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
