//! The producer function: settings, log, stream, queue, run.

use std::process::ExitCode;

use function::log::Log;
use function::settings::Reader;
use mimalloc::MiMalloc;
use producer::{Producer, Settings, Sqs};
use writer::Kinesis;

/// The system's gives the memory of a large event back after each invocation, and the kernel clears every page of it anew
/// for the next; this one keeps it for a second.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let var = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let mut reader = Reader::new(var);
    let log = Log::read(&mut reader);
    log.start();
    let settings = Settings::read(&mut reader);
    let settings = match reader.finish(settings) {
        Ok(settings) => settings,
        Err(mistakes) => {
            tracing::error!("the settings are mistaken\n{mistakes}");
            return ExitCode::FAILURE;
        }
    };
    let config = match writer::sdk_config_from_env(var) {
        Ok(config) => config,
        Err(mistake) => {
            tracing::error!("the settings are mistaken\n{mistake}");
            return ExitCode::FAILURE;
        }
    };
    let stream = Kinesis::with_config(&config, settings.stream.clone());
    let queue = settings.undelivered_queue_url.clone().map(|url| Sqs::new(url, config));
    match producer::run(Producer::new(settings, stream, log.level).with_queue(queue)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the Lambda runtime ended: {error}");
            ExitCode::FAILURE
        }
    }
}
