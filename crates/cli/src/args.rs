//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Effects};
use clap::{Args as Group, Parser, Subcommand, ValueEnum};

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
    Up(UpArgs),
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
    /// How long the local stream keeps records [default: as its retention period says, 24 hours]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) retention_age: Option<Duration>,
    /// How much memory the local stream may fill with records; the oldest go first
    #[arg(long, value_name = "MIB", default_value = "256", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub(crate) retention_mib: u64,
    /// Another Kinesis in place of the local stream: its URL. It is used with your own AWS credentials and region
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint_url: Option<String>,
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
