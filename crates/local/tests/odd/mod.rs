//! A function that does what its events say, as a real process.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::runtime::{Function, FunctionConfig, LogSink, Outcome};
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
    body=${body#'{"Data":'} body=${body%\}} # a packet does what its data says
    case "$body" in
        *'"data":"ZXJyb3I="'*) post "$api/$id/error" '{"errorType":"Mine","errorMessage":"it broke"}' ;; # a record: error
        *'"data":"aGFuZw=="'*) sleep 60 ;; # a record: hang
        '"answer"') post "$api/$id/response" "\"$$\"" ;;
        '"deadline"') post "$api/$id/response" "$deadline" ;;
        '"environment"') post "$api/$id/response" "\"$(env | sort | tr '\n' ' ')\"" ;;
        '"error"') post "$api/$id/error" '{"errorType":"Mine","errorMessage":"it broke"}' ;;
        '"error once"') if [ "$tried" ]; then post "$api/$id/response" "\"at last\""; else
                tried=1; post "$api/$id/error" '{"errorType":"Mine","errorMessage":"not yet"}'; fi ;;
        '"exit"'*) echo "going"; exit 7 ;;
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

pub(crate) struct Odd {
    pub(crate) function: Function,
    pub(crate) log: Arc<Mutex<String>>,
    _folder: tempfile::TempDir,
}

pub(crate) fn odd(concurrency: usize, variables: &[(&str, &str)]) -> Odd {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("bootstrap");
    std::fs::write(&binary, FUNCTION).unwrap();
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    let environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (function, log) = function(&binary, concurrency, environment);
    Odd { function, log, _folder: folder }
}

pub(crate) fn function(
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
    pub(crate) async fn invoke(&self, event: &str) -> Outcome {
        self.function.invoke(format!("{event:?}").into()).await
    }

    pub(crate) async fn answer(&self, event: &str) -> Value {
        match self.invoke(event).await {
            Outcome::Answer(answer) => serde_json::from_slice(&answer).unwrap(),
            other => panic!("{event}: {other:?}, log: {}", self.log.lock().unwrap()),
        }
    }

    /// Holds that the invocation fails with this type, that the message says so, and that the next one succeeds.
    pub(crate) async fn check_fails(&self, event: &str, error_type: &str, says: &str) {
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

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}
