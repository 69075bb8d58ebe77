//! Faults as their victims see them: over real connections, and as real processes.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use local::faults::{Asked, Faults};
use local::runtime::{Function, FunctionConfig, LogSink, Outcome};
use local::stream::{Config, Kinesis};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

/// A stream under faults, on a port of its own.
struct Server {
    kinesis: Kinesis,
    port: u16,
    faults: Arc<Faults>,
}

impl Server {
    async fn start(asked: Asked) -> Self {
        let faults = Arc::new(Faults::new(asked));
        let kinesis = Kinesis::new(Config { faults: Some(Arc::clone(&faults)), ..Config::local() });
        kinesis.create_stream("s", 1, false).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(kinesis.clone().serve(listener, std::future::pending()));
        Self { kinesis, port, faults }
    }

    /// One request on a connection of its own: status and body, or none if the connection broke.
    async fn call(&self, version: u8, operation: &str, body: &Value) -> Option<(u16, Value)> {
        let request = Request::post(format!("http://127.0.0.1:{}/", self.port))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let socket = TokioIo::new(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap());
        let response = if version == 1 {
            let (mut send, connection) = http1::handshake(socket).await.unwrap();
            tokio::spawn(connection);
            send.send_request(request).await
        } else {
            let (mut send, connection) = http2::handshake(TokioExecutor::new(), socket).await.unwrap();
            tokio::spawn(connection);
            send.send_request(request).await
        };
        let response = response.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).unwrap()))
    }

    async fn put(&self, version: u8) -> Option<(u16, Value)> {
        let entry = json!({ "Data": "aGk=", "PartitionKey": "k" });
        self.call(version, "PutRecords", &json!({ "StreamName": "s", "Records": [entry, entry] })).await
    }

    fn stored(&self) -> u64 {
        self.kinesis.stream("s").unwrap().counts().appended
    }

    fn fired(&self) -> Vec<(&'static str, u64)> {
        self.faults.fired().into_iter().map(|fired| (fired.name, fired.times)).collect()
    }
}

#[tokio::test]
async fn a_connection_broken_before_the_request_leaves_nothing_behind() {
    let server = Server::start(Asked { reset_before: 1.0, ..Asked::default() }).await;
    for version in [1, 2] {
        assert_eq!(server.put(version).await, None);
    }
    assert_eq!((server.stored(), server.fired()), (0, vec![("reset-before", 2)]));
}

#[tokio::test]
async fn a_connection_broken_after_the_request_leaves_all_of_it_behind() {
    let server = Server::start(Asked { reset_after: 1.0, ..Asked::default() }).await;
    for version in [1, 2] {
        assert_eq!(server.put(version).await, None);
    }
    assert_eq!((server.stored(), server.fired()), (4, vec![("reset-after", 2)]));
}

#[tokio::test]
async fn a_request_that_is_refused_leaves_nothing_behind() {
    let server = Server::start(Asked { fail_requests: 1.0, ..Asked::default() }).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        let (status, body) = server.put(1).await.unwrap();
        seen.push((status, body["__type"].as_str().unwrap().to_owned()));
    }
    seen.sort();
    seen.dedup();
    let both = [(400, "ProvisionedThroughputExceededException"), (500, "InternalFailure")];
    assert_eq!(seen, both.map(|(status, name)| (status, name.to_owned())));
    assert_eq!((server.stored(), server.fired()), (0, vec![("fail-requests", 20)]));
}

#[tokio::test]
async fn an_entry_that_fails_says_so_and_leaves_nothing_behind() {
    let server = Server::start(Asked { fail_entries: 1.0, ..Asked::default() }).await;
    let (status, body) = server.put(1).await.unwrap();
    let failed = json!({ "ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure." });
    assert_eq!((status, body), (200, json!({ "FailedRecordCount": 2, "Records": [failed, failed] })));
    assert_eq!((server.stored(), server.fired()), (0, vec![("fail-entries", 2)]));
}

#[tokio::test]
async fn answers_are_held_back() {
    let server = Server::start(Asked { latency: Duration::from_millis(50), ..Asked::default() }).await;
    let started = Instant::now();
    assert_eq!(server.put(1).await.unwrap().0, 200);
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!((server.stored(), server.fired()), (2, vec![("latency", 1)]));
}

#[tokio::test]
async fn faults_are_for_put_records_alone() {
    let all = Asked { throttle: true, fail_entries: 1.0, fail_requests: 1.0, ..Asked::default() };
    let all = Asked { reset_before: 1.0, reset_after: 1.0, latency: Duration::from_secs(60), ..all };
    let server = Server::start(all).await;
    let put = json!({ "StreamName": "s", "Data": "aGk=", "PartitionKey": "k" });
    assert_eq!(server.call(1, "PutRecord", &put).await.unwrap().0, 200);
    assert_eq!(server.call(2, "ListShards", &json!({ "StreamName": "s" })).await.unwrap().0, 200);
    assert!(server.fired().iter().all(|(_, times)| *times == 0), "{:?}", server.fired());
}

/// Takes one event, says so, and never answers.
const HANGS: &str = r#"#!/bin/bash
exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API##*:}"
printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n' >&3
read -r line <&3
printf 'half a li'
sleep 60
"#;

#[tokio::test]
async fn an_invocation_is_killed_and_its_caller_told() {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("bootstrap");
    std::fs::write(&binary, HANGS).unwrap();
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    let faults = Arc::new(Faults::new(Asked { kill_functions: 1.0, ..Asked::default() }));
    let config = FunctionConfig {
        name: "victim".into(),
        binary,
        environment: Vec::new(),
        timeout: Duration::from_secs(50),
        memory_mib: 128,
        concurrency: 1,
        account: "000000000000".into(),
        region: "us-east-1".into(),
        faults: Some(Arc::clone(&faults)),
        freeze: false,
    };
    let log = Arc::new(Mutex::new(String::new()));
    let sink: LogSink = {
        let log = Arc::clone(&log);
        Arc::new(move |_, lines| log.lock().unwrap().push_str(std::str::from_utf8(lines).unwrap()))
    };
    let function = Function::new(config, sink);
    let started = Instant::now();
    for _ in 0..2 {
        let Outcome::FunctionError(error) = function.invoke("{}".into()).await else { panic!("it answered") };
        let error: Value = serde_json::from_slice(&error).unwrap();
        assert_eq!(error["errorType"], "Runtime.ExitError");
        assert!(error["errorMessage"].as_str().unwrap().ends_with("signal: 9 (SIGKILL)"), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(40), "it was not waited for");
    function.stop().await;
    assert_eq!(faults.fired()[0].times, 2);
    let log = log.lock().unwrap();
    assert!(log.lines().all(|line| line == "half a li" || line.starts_with('{')), "{log}");
    assert_eq!(log.matches("SIGKILL").count(), 2);
}
