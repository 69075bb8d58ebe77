//! The runtime against functions that misbehave, as real processes.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

#[allow(dead_code, reason = "some of it is for other tests")]
mod odd;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local::runtime::{Function, LogSink, Outcome, PAYLOAD_BYTES};

use odd::{function, odd};

/// Longest wait of a test for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn one_environment_serves_one_invocation_after_the_other() {
    let odd = odd(1, &[]);
    let first = odd.answer("answer").await;
    assert_eq!(odd.answer("answer").await, first, "the same process");
    assert_eq!(odd.function.cold_starts(), 1);
    odd.function.stop().await;
    assert_eq!(odd.log(), "got \"answer\"\ngot \"answer\"\n");
    assert!(matches!(odd.invoke("answer").await, Outcome::NotInvoked(_)));
}

#[tokio::test]
async fn the_deadline_is_in_epoch_milliseconds() {
    let before = jiff::Timestamp::now().as_millisecond();
    let deadline = odd(1, &[]).answer("deadline").await.as_i64().unwrap();
    let after = jiff::Timestamp::now().as_millisecond();
    assert!((before + 1500..=after + 1500).contains(&deadline));
}

#[tokio::test]
async fn a_function_sees_its_own_variables_and_lambdas_and_no_others() {
    let environment = odd(1, &[("STREAM_NAME", "packets")]).answer("environment").await;
    let environment = environment.as_str().unwrap();
    assert!(
        environment.contains("STREAM_NAME=packets ") && environment.contains("AWS_LAMBDA_FUNCTION_NAME=odd ")
    );
    assert!(!environment.contains("CARGO") && !environment.contains("HOME="), "{environment}");
}

#[tokio::test]
async fn failures_are_reported_as_lambda_reports_them_and_the_next_invocation_is_served() {
    let odd = odd(1, &[]);
    odd.check_fails("error", "Mine", "it broke").await;
    assert_eq!(odd.function.cold_starts(), 1, "an error does not end the environment");
    odd.check_fails("exit", "Runtime.ExitError", "exit status: 7").await;
    odd.check_fails("hang", "Sandbox.Timedout", "Task timed out after 1.50 seconds").await;
    odd.check_fails("huge", "Function.ResponseSizeTooLarge", "6291456").await;
    let log = odd.log();
    assert!(log.contains("going\n") && log.contains("Task timed out"), "{log}");
}

#[tokio::test]
async fn an_answer_counts_although_the_process_ends_behind_it() {
    let odd = odd(1, &[]);
    assert_eq!(odd.answer("answer and exit").await, "bye");
    assert!(odd.answer("answer").await.is_string());
}

#[tokio::test]
async fn an_environment_that_asks_for_no_more_events_is_replaced() {
    let odd = odd(1, &[]);
    assert_eq!(odd.answer("answer and sleep").await, "good night");
    assert!(odd.answer("answer").await.is_string());
    assert_eq!(odd.function.cold_starts(), 2);
}

#[tokio::test]
async fn an_invocation_under_way_ends_when_the_function_is_stopped() {
    let odd = odd(1, &[]);
    let stop = async {
        while !odd.log().contains("hang") {
            tokio::task::yield_now().await;
        }
        odd.function.stop().await;
        assert_eq!(odd.processes(), 0, "of those that had an event too");
    };
    let (under_way, waiting, ()) = tokio::join!(odd.invoke("hang"), odd.invoke("answer"), stop);
    assert!(matches!(under_way, Outcome::FunctionError(_)), "{under_way:?}");
    assert!(matches!(waiting, Outcome::NotInvoked(_)), "{waiting:?}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_invocation() {
    let odd = odd(1, &[]);
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (wait, lines) = (Mutex::new(wait), Arc::new(Mutex::new(0)));
    let sink: LogSink = {
        let lines = Arc::clone(&lines);
        Arc::new(move |_, written| {
            // Ends with the sender.
            let _ = wait.lock().unwrap().recv();
            *lines.lock().unwrap() += written.iter().filter(|&&byte| byte == b'\n').count();
        })
    };
    let function = Function::new(odd.function.config().clone(), sink);
    for _ in 0..3 {
        let answer = function.invoke("\"answer\"".into()).await;
        assert!(matches!(answer, Outcome::Answer(_)), "{answer:?}");
    }
    assert_eq!(*lines.lock().unwrap(), 0);
    drop(release);
    function.stop().await;
    assert_eq!(*lines.lock().unwrap(), 3);
}

#[tokio::test]
async fn an_answer_to_another_invocation_is_refused() {
    let refusal = odd(1, &[]).answer("stale").await;
    assert!(refusal.as_str().unwrap().contains("InvalidRequestID"), "{refusal}");
}

#[tokio::test]
async fn a_function_that_does_not_start_is_not_invoked_and_says_why() {
    let odd = odd(1, &[("START", "exit")]);
    for _ in 0..2 {
        let outcome = odd.invoke("answer").await;
        let says = |why: &String| why.contains("did not start (exit status: 3): cannot start");
        assert!(matches!(&outcome, Outcome::NotInvoked(why) if says(why)), "{outcome:?}");
    }
    odd.function.stop().await;
    assert!(odd.log().contains("cannot start\n"));
}

#[tokio::test]
async fn what_cannot_be_given_to_it_is_not_invoked() {
    let (missing, _) = function(Path::new("/no/such/bootstrap"), 1, Vec::new());
    let outcome = missing.invoke("{}".into()).await;
    assert!(
        matches!(&outcome, Outcome::NotInvoked(why) if why.contains("/no/such/bootstrap")),
        "{outcome:?}"
    );
    let odd = odd(1, &[]);
    let outcome = odd.function.invoke(vec![b' '; PAYLOAD_BYTES + 1].into()).await;
    assert!(matches!(outcome, Outcome::NotInvoked(why) if why.contains("6291457")));
    assert_eq!(odd.function.cold_starts(), 0);
}

#[tokio::test]
async fn as_many_environments_as_invocations_at_once_and_no_more_than_the_concurrency() {
    let odd = odd(3, &[]);
    let started = Instant::now();
    let hangs = (0..3).map(|_| odd.invoke("hang"));
    let outcomes = futures_util::future::join_all(hangs).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::FunctionError(_))));
    assert!(started.elapsed() < Duration::from_millis(2 * 1500), "they ran side by side");
    let answers = futures_util::future::join_all((0..20).map(|_| odd.answer("answer"))).await;
    let processes: std::collections::HashSet<_> = answers.iter().map(ToString::to_string).collect();
    assert!(processes.len() <= 3, "{processes:?}");
}

/// Whether a process is stopped, in the words of `ps`.
fn is_stopped(process: &str) -> bool {
    let state = std::process::Command::new("ps").args(["-o", "stat=", "-p", process]).output().unwrap();
    String::from_utf8_lossy(&state.stdout).starts_with('T')
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let poll = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("no {what}"));
}

/// "Lambda execution environment lifecycle": background work that was not complete when the answer was given resumes
/// if the environment is used again.
#[tokio::test]
async fn work_behind_the_answer_stops_with_a_frozen_environment_and_goes_on_with_the_next_invocation() {
    let folder = tempfile::tempdir().unwrap();
    let odd = odd(1, &[("FOLDER", folder.path().to_str().unwrap())]).frozen();
    let ticks = || std::fs::read_to_string(folder.path().join("ticks")).unwrap_or_default().len();
    let process = odd.answer("tick").await.as_str().unwrap().to_owned();
    until("stop", || is_stopped(&process)).await;
    let stopped_at = ticks();
    tokio::time::sleep(Duration::from_millis(30)).await; // a time in which nothing must come
    assert_eq!(ticks(), stopped_at);
    // An invocation may be over before there was time for any.
    let more = async {
        while ticks() == stopped_at {
            assert_eq!(odd.answer("answer").await, process.as_str(), "the same process");
        }
    };
    tokio::time::timeout(PATIENCE, more).await.expect("no more work");
    odd.function.stop().await;
    assert!(!Path::new(&format!("/proc/{process}")).exists());
}

#[tokio::test]
async fn a_frozen_environment_fails_ends_and_logs_as_any_other() {
    let odd = odd(1, &[]).frozen();
    for _ in 0..3 {
        odd.check_fails("error", "Mine", "it broke").await;
        odd.check_fails("exit", "Runtime.ExitError", "exit status: 7").await;
        odd.check_fails("hang", "Sandbox.Timedout", "Task timed out after 1.50 seconds").await;
    }
    let process = odd.answer("write").await;
    assert_eq!(process, "done");
    until("what was written before", || odd.log().contains("one of two\n")).await;
    let process = odd.answer("answer").await.as_str().unwrap().to_owned();
    until("stop", || is_stopped(&process)).await;
    odd.function.stop().await;
    assert!(!Path::new(&format!("/proc/{process}")).exists());
    let log = odd.log();
    assert!(log.contains("error of two\n") && log.contains("no end\n"), "{log}");
    assert!(matches!(odd.invoke("answer").await, Outcome::NotInvoked(_)));
}

/// "Lambda execution environment lifecycle": what a function has started does not outlive its environment.
#[tokio::test]
async fn nothing_that_a_process_has_started_outlives_it() {
    for freeze in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let odd = odd(1, &[("FOLDER", folder.path().to_str().unwrap())]);
        let odd = if freeze { odd.frozen() } else { odd };
        odd.answer("tick").await;
        odd.check_fails("exit", "Runtime.ExitError", "exit status: 7").await;
        until("end of what was started", || odd.processes() == 1).await;
        let process = odd.answer("tick").await.as_str().unwrap().to_owned();
        until("start in the background", || odd.processes() > 1).await;
        assert!(std::process::Command::new("kill").args(["-9", &process]).status().unwrap().success());
        until("end of all", || odd.processes() == 0).await;
        // Its end may be known before it is given the event, or not.
        let next = odd.invoke("answer").await;
        assert!(!matches!(next, Outcome::NotInvoked(_)), "{next:?}");
        odd.answer("tick").await;
        odd.function.stop().await;
        until("end of all", || odd.processes() == 0).await;
    }
}

/// Whoever invokes is so busy that a process has taken the event and ended before it looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_was_taken_is_given_to_no_other_process() {
    let odd = odd(1, &[]);
    const TIMES: usize = 20;
    for _ in 0..TIMES {
        let busy = async {
            loop {
                std::thread::sleep(Duration::from_millis(10));
                tokio::task::yield_now().await;
            }
        };
        let outcome = tokio::select! {
            biased;
            () = busy => unreachable!(),
            outcome = odd.invoke("exit") => outcome,
        };
        assert!(matches!(outcome, Outcome::FunctionError(_)), "{outcome:?}");
    }
    odd.function.stop().await;
    assert_eq!(odd.log().matches("got \"exit\"").count(), TIMES);
}

#[tokio::test]
async fn a_frozen_process_that_was_killed_is_replaced() {
    let odd = odd(1, &[]).frozen();
    let process = odd.answer("answer").await.as_str().unwrap().to_owned();
    until("stop", || is_stopped(&process)).await;
    assert!(std::process::Command::new("kill").args(["-9", &process]).status().unwrap().success());
    // Its end may be known before it is given the event, or not.
    let next = odd.invoke("answer").await;
    assert!(!matches!(next, Outcome::NotInvoked(_)), "{next:?}");
    assert_ne!(odd.answer("answer").await, process.as_str());
    assert_eq!(odd.function.cold_starts(), 2);
    odd.function.stop().await;
}

/// "Lambda quotas": 6 MB each for request and response of a synchronous invocation.
#[tokio::test]
async fn payloads_of_exactly_the_limit_pass_and_one_byte_more_does_not() {
    let odd = odd(1, &[]);
    for (event, bytes, passes) in [
        ("bytes", PAYLOAD_BYTES, true),
        ("bytes", PAYLOAD_BYTES + 1, false),
        ("error bytes", PAYLOAD_BYTES, true),
        ("error bytes", PAYLOAD_BYTES + 1, false),
    ] {
        match odd.invoke(&format!("{event} {bytes}")).await {
            Outcome::Answer(answer) => assert!(passes && event == "bytes" && answer.len() == bytes),
            Outcome::FunctionError(error) if passes => {
                assert_eq!((event, error.len()), ("error bytes", bytes))
            }
            Outcome::FunctionError(error) => {
                let error: serde_json::Value = serde_json::from_slice(&error).unwrap();
                assert_eq!(error["errorType"], "Function.ResponseSizeTooLarge", "{event} {bytes}");
            }
            other @ Outcome::NotInvoked(_) => panic!("{other:?}"),
        }
        let status = odd.answer("status").await;
        assert_eq!(status, if passes { "202" } else { "413" }, "{event} {bytes}: what the process was told");
    }
    let event = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES - 2));
    let given = odd.function.invoke(event.into()).await;
    assert!(!matches!(given, Outcome::NotInvoked(_)), "it is given, whatever bash makes of it in time");
}
