//! The soak of the stream: a million records, eight writers, splits and merges under way, four readers over HTTP.
//!
//! `make soak` runs it; `cargo run --profile local -p local --example stream_soak 200000` makes it shorter. Exits with 1
//! when a reader misses, repeats or disorders a record, or when somebody is stuck.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

#[path = "../tests/soak/run.rs"]
mod run;

/// Records of a run that is asked for none in particular.
const RECORDS: u32 = 1_000_000;

fn main() -> ExitCode {
    let records = match std::env::args().nth(1).map_or(Ok(RECORDS), |given| given.parse()) {
        Ok(records) if records >= run::ROUND => records / run::ROUND * run::ROUND,
        _ => {
            eprintln!("expected a number of records, at least {}", run::ROUND);
            return ExitCode::FAILURE;
        }
    };
    let plan = run::Plan {
        records,
        reshards: records / 1000,
        patience: Duration::from_secs(60),
        limit: Duration::from_secs(600),
    };
    let terminal = std::io::stderr().is_terminal();
    let verdict = run::run(plan, |progress| {
        if terminal {
            eprint!("\r{progress}\x1b[K");
            let _ = std::io::stderr().flush(); // progress that is not shown is no fault of the stream
        }
    });
    if terminal {
        eprint!("\r\x1b[K");
    }
    match verdict {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAILED {why}");
            ExitCode::FAILURE
        }
    }
}
