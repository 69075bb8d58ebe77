//! The runtime against functions that misbehave, as real processes.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local::runtime::{Function, FunctionConfig, LogSink, Outcome, PAYLOAD_BYTES};
use serde_json::Value;

/// A function in bash: it speaks HTTP over a socket of its own and does what each event says.
const FUNCTION: &str = r#"#!/bin/bash
host=${AWS_LAMBDA_RUNTIME_API%:*} port=${AWS_LAMBDA_RUNTIME_API##*:} api=/2018-06-01/runtime/invocation
if [ "$START" = exit ]; then echo "cannot start"; exit 3; fi
exec 3<>"/dev/tcp/$host/$port"
# Reads an answer: its body is in $body, its request id in $id, its deadline in $deadline.
answer() {
    local length=0
    while IFS= read -r line <&3; do
        line=${line%$'\r'}
        case "$line" in
            [Cc]ontent-[Ll]ength:*) length=${line#*: } ;;
            lambda-runtime-aws-request-id:*) id=${line#*: } ;;
            lambda-runtime-deadline-ms:*) deadline=${line#*: } ;;
            "") break ;;
        esac
    done
    IFS= read -r -N "$length" body <&3 || true
}
post() { printf 'POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n%s' "$1" "${#2}" "$2" >&3; answer; }
while true; do
    printf 'GET %s/next HTTP/1.1\r\nHost: x\r\n\r\n' "$api" >&3
    answer
    echo "got $body"
    case "$body" in
        '"answer"') post "$api/$id/response" "\"$$\"" ;;
        '"deadline"') post "$api/$id/response" "$deadline" ;;
        '"environment"') post "$api/$id/response" "\"$(env | sort | tr '\n' ' ')\"" ;;
        '"error"') post "$api/$id/error" '{"errorType":"Mine","errorMessage":"it broke"}' ;;
        '"exit"') echo "going"; exit 7 ;;
        '"hang"') sleep 60 ;;
        '"answer and sleep"') post "$api/$id/response" '"good night"'; sleep 60 ;;
        '"answer and exit"') post "$api/$id/response" '"bye"'; exit 0 ;;
        '"stale"') post "$api/not-$id/response" '"stale"'; post "$api/$id/response" "\"${body//\"/}\"" ;;
        '"huge"') { printf 'POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 7000000\r\n\r\n' "$api/$id/response"
                   head -c 7000000 /dev/zero; } >&3; answer ;;
        *) post "$api/$id/response" '"what?"' ;;
    esac
done
"#;

struct Odd {
    function: Function,
    log: Arc<Mutex<String>>,
    _folder: tempfile::TempDir,
}

fn odd(concurrency: usize, variables: &[(&str, &str)]) -> Odd {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("bootstrap");
    std::fs::write(&binary, FUNCTION).unwrap();
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    let environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (function, log) = function(&binary, concurrency, environment);
    Odd { function, log, _folder: folder }
}

fn function(
    binary: &Path,
    concurrency: usize,
    environment: Vec<(String, String)>,
) -> (Function, Arc<Mutex<String>>) {
    let log = Arc::new(Mutex::new(String::new()));
    let sink: LogSink = {
        let log = Arc::clone(&log);
        Arc::new(move |name, lines| {
            assert_eq!(name, "odd");
            assert_eq!(lines.last(), Some(&b'\n'), "whole lines");
            log.lock().unwrap().push_str(std::str::from_utf8(lines).unwrap());
        })
    };
    let config = FunctionConfig {
        name: "odd".into(),
        binary: binary.to_owned(),
        environment,
        timeout: Duration::from_millis(1500),
        memory_mib: 128,
        concurrency,
        account: "000000000000".into(),
        region: "us-east-1".into(),
        faults: None,
    };
    (Function::new(config, sink), log)
}

impl Odd {
    async fn invoke(&self, event: &str) -> Outcome {
        self.function.invoke(format!("{event:?}").into()).await
    }

    async fn answer(&self, event: &str) -> Value {
        match self.invoke(event).await {
            Outcome::Answer(answer) => serde_json::from_slice(&answer).unwrap(),
            other => panic!("{event}: {other:?}, log: {}", self.log.lock().unwrap()),
        }
    }

    /// Holds that the invocation fails with this type, that the message says so, and that the next one succeeds.
    async fn check_fails(&self, event: &str, error_type: &str, says: &str) {
        match self.invoke(event).await {
            Outcome::FunctionError(error) => {
                let error: Value = serde_json::from_slice(&error).unwrap();
                assert_eq!(error["errorType"], error_type);
                assert!(error["errorMessage"].as_str().unwrap().contains(says), "{error}");
            }
            other => panic!("{event}: {other:?}"),
        }
        assert!(self.answer("answer").await.is_string(), "after {event}");
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

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
