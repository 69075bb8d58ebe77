//! The producer function: settings, log, stream, queue, run.

use std::process::ExitCode;

use function::log::Log;
use function::settings::Reader;
use producer::{Producer, Settings, Sqs};
use writer::Kinesis;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut reader =
        Reader::new(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()));
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
    let stream = Kinesis::connect(settings.stream.clone()).await;
    let queue = settings.undelivered_queue_url.clone().map(Sqs::new);
    match producer::run(Producer::new(settings, stream, log.level).with_queue(queue)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the Lambda runtime ended: {error}");
            ExitCode::FAILURE
        }
    }
}
