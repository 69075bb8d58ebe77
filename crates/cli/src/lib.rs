//! The `rivulet` command: runs both functions on one machine, with the local cloud around them.
//!
//! In reading order: `args` (what can be said on the command line), `template` (what is taken from `template.yaml`),
//! `functions` (the environment that the functions get), `up` and `invoke` (the subcommands), `remote` (another Kinesis
//! in place of the local stream), `screen` (what a person sees).

mod args;

pub mod template;

mod functions;

mod up;

mod invoke;

mod remote;

mod screen;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use args::{Args, Command};

/// Exit code of a command that a second Ctrl-C ended, as shells have it (128 + SIGINT).
const INTERRUPTED: u8 = 130;

/// Runs the command with these arguments, the command's own name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let done = runtime.block_on(async {
        match args.command {
            Command::Up(args) => up::run(*args).await,
            Command::Invoke(args) => invoke::run(args).await,
        }
    });
    // What is still under way is dropped, and with it the functions' processes.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match done {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Failed) => ExitCode::FAILURE,
        Ok(End::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => failed(&error),
    }
}

/// How a subcommand ended, if not with an error.
enum End {
    Done,
    /// It did what it was asked to, and that went wrong; it has said so.
    Failed,
    /// A second Ctrl-C ended it.
    Interrupted,
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("rivulet: {error:#}");
    ExitCode::FAILURE
}
