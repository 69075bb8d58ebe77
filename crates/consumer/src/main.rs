//! The consumer function: settings, log, run.

use std::process::ExitCode;

use consumer::{Consumer, Settings};
use function::log::Log;
use function::settings::Reader;
use mimalloc::MiMalloc;

/// The system's gives the memory of a large event back after each invocation, and the kernel clears every page of it anew
/// for the next; this one keeps it for a second.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
    match consumer::run(Consumer::new(settings, log.level)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the Lambda runtime ended: {error}");
            ExitCode::FAILURE
        }
    }
}
