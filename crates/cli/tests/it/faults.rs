//! What faults do not break. A fiftieth of `make soak`, by fixed seeds.

use crate::account::{Account, Caller, Plan};

/// Makes a run with these faults and holds that its account is in order.
#[track_caller]
fn check(faults: &'static str, batch: u32) -> Account {
    check_plan(plan(faults, batch))
}

fn plan(arguments: &'static str, batch: u32) -> Plan {
    Plan { packets: 2_000, batches: [batch, batch], arguments, caller: Caller::Http, reshards: false }
}

#[track_caller]
fn check_plan(plan: Plan) -> Account {
    let account = plan.run();
    print!("{account}");
    assert!(account.lines().iter().all(|(_, holds)| *holds), "{account}");
    account
}

#[test]
fn entries_beyond_a_shards_share_are_stored_in_order_all_the_same() {
    check("--parameter Ordering=strict --throttle --shards 1", 500);
}

#[test]
fn entries_that_fail_are_stored_in_order_all_the_same() {
    check("--parameter Ordering=strict --fail-entries 0.05", 20);
}

#[test]
fn requests_that_fail_are_stored_in_order_all_the_same() {
    check("--parameter Ordering=strict --fail-requests 0.2", 20);
}

#[test]
fn a_connection_that_breaks_before_the_request_makes_no_duplicates() {
    check("--parameter Ordering=strict --reset-before 0.2", 20);
}

#[test]
fn a_connection_that_breaks_after_the_request_makes_duplicates_and_nothing_else() {
    let account = check("--parameter Ordering=strict --reset-after 0.2", 20);
    assert!(account.times("--reset-after") > 0);
}

#[test]
fn late_answers_change_nothing() {
    check("--parameter Ordering=strict --latency 5", 100);
}

#[test]
fn killed_consumers_lose_nothing_and_killed_producers_only_what_their_callers_know_of() {
    let account = check("--parameter Ordering=strict --kill-functions 0.3 --seed 3", 20);
    assert!(account.killed_consumers() > 0, "{account}");
}

/// A bucket's aggregates hold one packet and many by turns, and go by one lane all the same.
#[test]
fn aggregates_of_one_packet_and_of_many_keep_the_order_of_keys_in_parallel() {
    let arguments = "--parameter RecordFormat=kpl --parameter AggregateBuckets=4 --parameter Ordering=strict \
                     --parameter ParallelizationFactor=4 --parameter BatchSize=1 --shards 1";
    let account = check_plan(Plan { batches: [1, 30], ..plan(arguments, 0) });
    let (single, several) = account.aggregates();
    assert!(single >= 64 && several >= 4 * 64, "{account}");
}

#[test]
fn aggregates_lose_nothing_and_reorder_nothing_under_all_faults_and_reshards() {
    let arguments = "--parameter RecordFormat=kpl --parameter ParallelizationFactor=4 \
                     --parameter Ordering=strict --shards 2 --fail-entries 0.02 --fail-requests 0.15 \
                     --reset-before 0.15 --reset-after 0.15 --latency 1 --kill-functions 0.1";
    check_plan(Plan { reshards: true, ..plan(arguments, 20) });
}

/// No request holds two aggregates of a bucket, so that nothing comes between them when a part of it fails.
#[test]
fn under_relaxed_ordering_too_aggregates_reorder_nothing_as_long_as_a_batch_fits_into_one() {
    let arguments = "--parameter RecordFormat=kpl --parameter ParallelizationFactor=4 \
                     --parameter Ordering=relaxed --shards 2 --fail-entries 0.02 --fail-requests 0.1 \
                     --reset-after 0.15 --seed 2";
    check_plan(Plan { reshards: true, ..plan(arguments, 10) });
}

#[test]
fn what_a_dead_stream_and_an_unwell_queue_do_not_take_is_in_the_log() {
    check("--fail-requests 1 --fail-queue 0.3", 1_000);
}

#[test]
fn killed_producers_lose_nothing_of_asynchronous_invocations() {
    let faults = "--kill-functions 0.3 --retry-wait 0.01 --seed 3";
    let account = check_plan(Plan { caller: Caller::Asynchronous, ..plan(faults, 20) });
    assert!(account.killed_producers() > 0, "{account}");
}

/// All but throttling: the others slow so few packets down below what a shard takes.
#[test]
fn all_faults_together_lose_nothing() {
    check(
        "--parameter Ordering=strict --fail-entries 0.02 --fail-requests 0.1 --reset-before 0.1 \
         --reset-after 0.1 --latency 1 --kill-functions 0.1",
        20,
    );
}

/// Only strict ordering keeps order within a request of which a part fails.
#[test]
fn relaxed_ordering_loses_nothing_either() {
    check("--parameter Ordering=relaxed --fail-entries 0.02 --reset-after 0.2", 20);
}
