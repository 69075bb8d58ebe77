//! A fiftieth of what `make soak` does to the local stream: writers, splits and merges, and readers of every kind, at once.

use std::time::Duration;

#[path = "soak/run.rs"]
mod run;

#[test]
fn four_readers_get_every_record_once_and_in_order_while_the_stream_is_written_split_and_merged() {
    let plan = run::Plan {
        records: 20_000,
        reshards: 40,
        patience: Duration::from_secs(20),
        limit: Duration::from_secs(60),
    };
    match run::run(plan, |_| {}) {
        Ok(figures) => println!("{figures}"),
        Err(why) => panic!("{why}"),
    }
}
