//! The soak: 100,000 packets under each fault alone and under all together, and the account of every one of them.
//!
//! `make soak`, or `make soak ARGS='--packets 20000 --only kill'`. Exits with 1 when a line of an account fails.

#![allow(clippy::unwrap_used)] // it ends where something is not as it must be

use std::process::ExitCode;

use clap::Parser;

use account::{Caller, Plan};

#[path = "../tests/it/account.rs"]
#[allow(dead_code, reason = "some of it is for the tests alone")]
mod account;

#[path = "../tests/it/stream.rs"]
mod stream;

#[path = "../tests/it/rivulet.rs"]
#[allow(dead_code, reason = "some of it is for the tests alone")]
mod rivulet;

/// The runs: who invokes the producer, packets of a batch, and arguments of `rivulet up`.
const RUNS: [(Caller, u32, &str); 13] = [
    (Caller::Http, 250, "--parameter Ordering=strict --throttle"),
    (Caller::Http, 250, "--parameter Ordering=strict --fail-entries 0.05"),
    (Caller::Http, 250, "--parameter Ordering=strict --fail-requests 0.1"),
    (Caller::Http, 250, "--parameter Ordering=strict --reset-before 0.1"),
    (Caller::Http, 250, "--parameter Ordering=strict --reset-after 0.1"),
    (Caller::Http, 250, "--parameter Ordering=strict --latency 20"),
    (Caller::Http, 250, "--parameter Ordering=strict --kill-functions 0.35"),
    (Caller::Asynchronous, 250, "--parameter Ordering=strict --retry-wait 0.01 --kill-functions 0.35"),
    (Caller::Http, 5_000, "--fail-requests 1 --fail-queue 0.3"),
    // Their shards change meanwhile.
    (
        Caller::Http,
        100,
        "--parameter RecordFormat=kpl --parameter ParallelizationFactor=4 --parameter Ordering=strict --shards 2 \
         --fail-entries 0.01 --fail-requests 0.05 --reset-before 0.05 --reset-after 0.05 --latency 2 \
         --kill-functions 0.1",
    ),
    (
        Caller::Http,
        100,
        "--parameter RecordFormat=kpl --parameter ParallelizationFactor=4 --parameter Ordering=relaxed --shards 2 \
         --fail-entries 0.01 --fail-requests 0.05 --reset-before 0.05 --reset-after 0.05 --latency 2 \
         --kill-functions 0.1",
    ),
    // Large batches and one shard, or the other faults would slow the packets down below what the shards take.
    (
        Caller::Http,
        1_000,
        "--parameter Ordering=strict --shards 1 --throttle --fail-entries 0.01 --fail-requests 0.03 \
         --reset-before 0.03 --reset-after 0.03 --latency 2 --kill-functions 0.1",
    ),
    (
        Caller::Http,
        1_000,
        "--parameter Ordering=relaxed --shards 1 --throttle --fail-entries 0.01 --fail-requests 0.03 \
         --reset-before 0.03 --reset-after 0.03 --latency 2 --kill-functions 0.1",
    ),
];

/// Functions of each kind that have to be killed in a full run that does nothing but kill.
const KILLED: u64 = 100;

#[derive(Debug, Parser)]
struct Args {
    /// Packets of each run
    #[arg(long, default_value_t = 100_000)]
    packets: u32,
    /// Only the runs whose arguments contain this
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    only: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut failed = 0;
    for (caller, batch, arguments) in
        RUNS.into_iter().filter(|(.., arguments)| arguments.contains(&args.only))
    {
        let reshards = arguments.contains("RecordFormat=kpl");
        // So that a bucket holds one packet and many by turns.
        let batches = if reshards { [1, 2 * batch - 1] } else { [batch, batch] };
        let packets = args.packets;
        let account = Plan { packets, batches, arguments, caller, reshards }.run();
        println!("{account}");
        failed += account.lines().iter().filter(|(_, holds)| !holds).count();
        if arguments.ends_with("--kill-functions 0.35") && args.packets >= 100_000 {
            for (kind, killed) in
                [("consumers", account.killed_consumers()), ("producers", account.killed_producers())]
            {
                println!("{kind} killed {killed}, at least {KILLED} have to be");
                failed += usize::from(killed < KILLED);
            }
        }
    }
    println!(
        "{}",
        if failed == 0 { "every account is in order".to_owned() } else { format!("{failed} FAILED") }
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
