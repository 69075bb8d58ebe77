//! `rivulet invoke`: one invocation of one function, with a stream of its own that nobody else sees.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use local::cloud::{Cloud, Config};
use local::invoke::Asynchronous;
use local::runtime::{LogSink, Outcome};

use crate::End;
use crate::args::{InvokeArgs, Which};
use crate::functions::{Surroundings, configured};
use crate::screen;
use crate::template::Stream;

const STREAM: &str = "packets";

pub(crate) async fn run(args: InvokeArgs) -> Result<End> {
    let event = read(&args.event)?;
    let which = match args.function {
        Some(which) => which,
        None => which_function(&args.event, &event)?,
    };
    let template = args.functions.template()?;
    let binary = args.functions.binary(which)?;

    let mut cloud = Cloud::start(Config::default()).await?;
    let Stream { shards, encrypted, retention_hours, max_record_kib, .. } = template.stream;
    let stream = cloud.kinesis().create_stream(STREAM, shards, encrypted)?;
    stream.set_limits(retention_hours, max_record_kib);
    let surroundings = Surroundings {
        stream_arn: stream.arn().to_owned(),
        queue_url: None, // it would end with the command, and its packets are to be seen: in the log
        access: Vec::new(),
    };
    // The log goes to standard error, so that the answer alone can be piped on.
    let log: LogSink = Arc::new(|_, lines| screen::log(lines));
    let config = cloud.function_config(which.binary(), binary);
    let config = configured(which, &template, &surroundings, 1, config);
    let function = cloud.add_function(config, log, Asynchronous::default());
    let outcome = function.invoke(event.into()).await;
    cloud.stop().await;
    let (answer, end) = match outcome {
        Outcome::Answer(answer) => (answer, End::Done),
        Outcome::FunctionError(error) => {
            screen::note(&format!("the {} failed (FunctionError: Unhandled)", which.binary()));
            (error, End::Failed)
        }
        Outcome::NotInvoked(why) => bail!(why),
    };
    println!("{}", String::from_utf8_lossy(&answer));
    Ok(end)
}

fn read(path: &Path) -> Result<String> {
    if path.as_os_str() == "-" {
        let mut event = String::new();
        std::io::stdin().read_to_string(&mut event).context("standard input cannot be read")?;
        return Ok(event);
    }
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// The function after which the sample's folder is named, else the one for which the event looks made.
fn which_function(path: &Path, event: &str) -> Result<Which> {
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    match folder {
        Some("producer") => return Ok(Which::Producer),
        Some("consumer") => return Ok(Which::Consumer),
        _ => {}
    }
    let event: serde_json::Value =
        serde_json::from_str(event).with_context(|| format!("{} is no JSON", path.display()))?;
    Ok(if event.get("Records").is_some() { Which::Consumer } else { Which::Producer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, event: &str, want: Option<Which>) {
        assert_eq!(which_function(Path::new(path), event).ok(), want);
    }

    #[test]
    fn the_folder_names_the_function_and_else_the_shape_does() {
        check("events/producer/refused-sqs.json", r#"{"Records":[]}"#, Some(Which::Producer));
        check("events/consumer/empty.json", "{}", Some(Which::Consumer));
        check("mine.json", r#"{"Records":[]}"#, Some(Which::Consumer));
        check("mine.json", r#"{"Messages":[]}"#, Some(Which::Producer));
        check("mine.json", "no JSON", None);
    }
}
