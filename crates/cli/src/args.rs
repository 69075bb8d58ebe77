//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Effects};
use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use local::faults::Asked;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default());

/// Packets into Amazon Kinesis and out again, on this machine: the functions that are deployed, and the cloud around
/// them.
#[derive(Debug, Parser)]
#[command(name = "rivulet", version, styles = STYLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts the gateway, the stream and both functions, until Ctrl-C
    #[command(after_help = UP_EXAMPLES)]
    Up(Box<UpArgs>),
    /// Invokes one of the functions once, with an event from a file
    #[command(after_help = INVOKE_EXAMPLES)]
    Invoke(InvokeArgs),
}

const UP_EXAMPLES: &str = "\
Examples:
  rivulet up
  rivulet up --udp 127.0.0.1:0 --shards 2 --batch-count 500
  rivulet up --parameter 'ReplyExpression=[0:4]'
  rivulet up --endpoint-url http://127.0.0.1:4566 --stream packets
  rivulet up --parameter Ordering=strict --fail-entries 0.05 --reset-after 0.05 --seed 7

Send it a packet:
  printf '\\x01\\x02\\x03\\x04hello' | ncat -u -w1 127.0.0.1 5514";

const INVOKE_EXAMPLES: &str = "\
Examples:
  rivulet invoke events/producer/one-packet.json
  rivulet invoke events/consumer/batch.json
  rivulet invoke --function consumer my-event.json";

/// What both subcommands take to know the functions.
#[derive(Debug, Group)]
pub(crate) struct FunctionArgs {
    /// The SAM template with the functions' settings
    #[arg(long, value_name = "FILE", default_value = "template.yaml")]
    pub(crate) template: PathBuf,
    /// A value for one of the template's parameters, in place of its default; may be repeated
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) parameters: Vec<(String, String)>,
    /// Where the functions' binaries are [default: the folder of this command]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) binaries: Option<PathBuf>,
}

#[derive(Debug, Group)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) functions: FunctionArgs,
    /// Where datagrams are received; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5514")]
    pub(crate) udp: SocketAddr,
    /// Where HTTP requests are received
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    /// Where the Kinesis API is served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4567")]
    pub(crate) kinesis: SocketAddr,
    /// Where the queue for undelivered packets is served, with the SQS API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9324")]
    pub(crate) queue: SocketAddr,
    /// Where Lambda's Invoke API is served, in front of both functions
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3001")]
    pub(crate) lambda: SocketAddr,
    /// How long an asynchronous invocation that failed waits for its second try; for the third, twice as long
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) retry_wait: Duration,
    /// The stream's name
    #[arg(long, value_name = "NAME", default_value = "packets")]
    pub(crate) stream: String,
    /// The stream's shards [default: the template's]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) shards: Option<u32>,
    /// Most packets of a batch
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch_count: u32,
    /// How long a batch's first packet waits for others
    #[arg(long, value_name = "SECONDS", default_value = "0.1", value_parser = seconds)]
    pub(crate) batch_window: Duration,
    /// Producers at once; more than one gives up order between batches, as a gateway in AWS does
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) producer_concurrency: u16,
    /// How long the local stream keeps records [default: the template's RetentionPeriodHours]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) retention_age: Option<Duration>,
    /// How much memory the local stream may fill with records; the oldest go first
    #[arg(long, value_name = "MIB", default_value = "256", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub(crate) retention_mib: u64,
    /// Another Kinesis in place of the local stream: its URL. It is used with your own AWS credentials and region
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint_url: Option<String>,
    /// Freeze the functions' processes between invocations, as Lambda does: what a function leaves to be done after its
    /// answer then stops, and goes on with its next invocation or never
    #[arg(long)]
    pub(crate) freeze: bool,
    #[command(flatten)]
    pub(crate) faults: FaultArgs,
}

/// What is to go wrong: with the `PutRecords` of the local stream, with what is sent to the queue, with the functions.
#[derive(Debug, Group)]
#[command(next_help_heading = "Faults on request")]
pub(crate) struct FaultArgs {
    /// Each shard takes 1,000 records and 1 MiB a second, as in AWS; entries beyond that are refused
    #[arg(long, conflicts_with = "endpoint_url")]
    throttle: bool,
    /// How probably an entry of a PutRecords fails, from 0 to 1
    #[arg(long, value_name = "P", value_parser = probability, conflicts_with = "endpoint_url")]
    fail_entries: Option<f64>,
    /// How probably a whole PutRecords is refused
    #[arg(long, value_name = "P", value_parser = probability, conflicts_with = "endpoint_url")]
    fail_requests: Option<f64>,
    /// How probably the connection breaks before a PutRecords is carried out
    #[arg(long, value_name = "P", value_parser = probability, conflicts_with = "endpoint_url")]
    reset_before: Option<f64>,
    /// How probably a PutRecords is carried out and the connection breaks in place of the answer
    #[arg(long, value_name = "P", value_parser = probability, conflicts_with = "endpoint_url")]
    reset_after: Option<f64>,
    /// How long every answer to a PutRecords is held back
    #[arg(long, value_name = "MS", conflicts_with = "endpoint_url")]
    latency: Option<u32>,
    /// How probably a message that is sent to the queue is not taken
    #[arg(long, value_name = "P", value_parser = probability)]
    fail_queue: Option<f64>,
    /// How probably a function's process is killed while an invocation is under way
    #[arg(long, value_name = "P", value_parser = probability)]
    kill_functions: Option<f64>,
    /// Another seed makes other faults
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    seed: u64,
}

impl FaultArgs {
    /// What is to go wrong, if anything is.
    pub(crate) fn asked(&self) -> Option<Asked> {
        let asked = Asked {
            throttle: self.throttle,
            fail_entries: self.fail_entries.unwrap_or_default(),
            fail_requests: self.fail_requests.unwrap_or_default(),
            reset_before: self.reset_before.unwrap_or_default(),
            reset_after: self.reset_after.unwrap_or_default(),
            latency: Duration::from_millis(self.latency.unwrap_or_default().into()),
            fail_queue: self.fail_queue.unwrap_or_default(),
            kill_functions: self.kill_functions.unwrap_or_default(),
            seed: self.seed,
        };
        (asked != Asked { seed: self.seed, ..Asked::default() }).then_some(asked)
    }
}

#[derive(Debug, Group)]
pub(crate) struct InvokeArgs {
    #[command(flatten)]
    pub(crate) functions: FunctionArgs,
    /// The function [default: the one after which the event's folder is named, else the one that the event's shape fits]
    #[arg(long, value_enum, value_name = "FUNCTION")]
    pub(crate) function: Option<Which>,
    /// The event, a JSON file; - for standard input
    pub(crate) event: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    Producer,
    Consumer,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn probability(text: &str) -> Result<f64, String> {
    let expected = || "expected a probability from 0 to 1 such as 0.05".to_owned();
    text.parse().ok().filter(|probability| (0.0..=1.0).contains(probability)).ok_or_else(expected)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds such as 0.5".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if duration <= Duration::from_secs(86_400 * 365) {
        Ok(duration)
    } else {
        Err("expected at most a year".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn probabilities_are_from_0_to_1() {
        for (text, want) in [("0", 0.0), ("0.05", 0.05), ("1", 1.0)] {
            assert_eq!(probability(text), Ok(want));
        }
        for text in ["", "-0.1", "1.01", "NaN", "inf", "5%"] {
            assert!(probability(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_fault_comes_unasked() {
        let asked = |line: &str| match Args::parse_from(line.split_whitespace()).command {
            Command::Up(args) => args.faults.asked(),
            Command::Invoke(_) => None,
        };
        assert_eq!(asked("rivulet up"), None);
        assert_eq!(asked("rivulet up --seed 7 --fail-entries 0"), None);
        let want = Asked { latency: Duration::from_millis(20), seed: 7, ..Asked::default() };
        assert_eq!(asked("rivulet up --seed 7 --latency 20"), Some(want));
        let remote = ["rivulet", "up", "--endpoint-url", "http://127.0.0.1:1", "--throttle"];
        assert!(Args::try_parse_from(remote).is_err(), "another Kinesis has no faults of ours");
    }

    #[track_caller]
    fn check_seconds(text: &str, want: Option<Duration>) {
        assert_eq!(seconds(text).ok(), want, "{text}");
    }

    #[test]
    fn seconds_may_be_fractions_and_nothing_else() {
        check_seconds("0.05", Some(Duration::from_millis(50)));
        check_seconds("0", Some(Duration::ZERO));
        for text in ["", "-1", "NaN", "inf", "1e300", "5s"] {
            check_seconds(text, None);
        }
    }
}
