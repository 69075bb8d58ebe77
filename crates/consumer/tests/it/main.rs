//! The real binary against a Runtime API on loopback: what is deployed, as Lambda runs it.

#![allow(clippy::unwrap_used)] // tests may; what clippy.toml allows does not reach their helpers

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

/// What Lambda sets for every function, beside the address of the Runtime API.
const LAMBDA: [(&str, &str); 3] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "consumer-under-test"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
];

/// The function with these variables and no others.
fn function(runtime_api: &str, variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_consumer"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A request's path and body.
fn request(stream: &mut BufReader<TcpStream>) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the connection ended within a request");
        if line.trim().is_empty() {
            break;
        }
        head.push(line.to_ascii_lowercase());
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    (head[0].split(' ').nth(1).unwrap().to_owned(), body)
}

fn respond(stream: &mut BufReader<TcpStream>, status: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    write!(stream.get_mut(), "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n").unwrap();
    stream.get_mut().write_all(body).unwrap();
}

/// Hands the events to a function one after the other; gives the last part of the path and the body of what
/// each came to, and the lines of its log. `deadline` is that of each invocation, from now.
fn invoke(
    events: &[&[u8]],
    deadline: Duration,
    settings: &[(&str, &str)],
) -> (Vec<(String, Value)>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let variables = [&LAMBDA, settings].concat();
    let mut child = function(&listener.local_addr().unwrap().to_string(), &variables);
    let mut answers = Vec::new();
    let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + deadline;
    let headers = format!(
        "lambda-runtime-aws-request-id: r-1\r\nlambda-runtime-deadline-ms: {}\r\n\
         lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:f\r\n",
        deadline.as_millis()
    );
    let mut stream = BufReader::new(listener.accept().unwrap().0);
    let mut events = events.iter();
    loop {
        let (path, body) = request(&mut stream);
        if path.ends_with("/next") {
            let Some(event) = events.next() else { break };
            respond(&mut stream, "200 OK", &headers, event);
        } else {
            let end = path.rsplit('/').next().unwrap().to_owned();
            answers.push((end, serde_json::from_slice(&body).unwrap()));
            respond(&mut stream, "202 Accepted", "", b"{}");
        }
    }
    child.kill().unwrap();
    let log = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    (answers, log.lines().map(str::to_owned).collect())
}

fn sample(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/consumer");
    std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap()
}

#[test]
fn invocations_are_answered_and_logged_and_a_wrong_event_fails_its_own_alone() {
    let (batch, wrong) = (sample("batch"), sample("refused-sqs"));
    let (answers, log) = invoke(
        &[batch.as_bytes(), wrong.as_bytes(), batch.as_bytes()],
        Duration::from_secs(60),
        &[("AWS_LAMBDA_LOG_FORMAT", "JSON"), ("LOG_PACKETS", "")],
    );
    let [first, refused, last] = &answers[..] else { panic!("{answers:?}") };
    let done = ("response".to_owned(), json!({"batchItemFailures": []}));
    assert_eq!((first, last), (&done, &done));
    assert_eq!((refused.0.as_str(), &refused.1["errorType"]), ("error", &json!("UnexpectedEvent")));

    let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let records = serde_json::from_str::<Value>(&batch).unwrap()["Records"].as_array().unwrap().len();
    let of = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    assert_eq!((of("packet") + of("record"), of("undecodable"), of("summary")), (2 * records, 0, 2));
    let summaries: Vec<_> = lines.iter().filter(|line| line["message"] == "summary").collect();
    assert_eq!((&summaries[0]["ColdStart"], &summaries[1]["ColdStart"]), (&json!(1), &json!(0)));
    assert_eq!(summaries[0]["FunctionName"], "consumer-under-test");
    let [error] = &lines.iter().filter(|line| line["level"] == "ERROR").collect::<Vec<_>>()[..] else {
        panic!("one error, not {log:?}")
    };
    assert_eq!(error["requestId"], "r-1");
}

#[test]
fn an_event_that_is_no_json_or_no_text_fails_its_own_invocation_alone() {
    let batch = sample("batch");
    let cut = &batch.as_bytes()[..batch.len() / 2];
    let events = [cut, b"", b"{\"Records\":[\xFF]}", batch.as_bytes()];
    let (answers, _) = invoke(&events, Duration::from_secs(60), &[]);
    let words: Vec<_> = answers.iter().map(|(end, body)| (end.as_str(), &body["errorMessage"])).collect();
    let [cut, empty, bytes, whole] = &words[..] else { panic!("{answers:?}") };
    for (of, word) in [(cut, "not JSON"), (empty, "not JSON"), (bytes, "not UTF-8, from byte 12 on")] {
        assert!(of.0 == "error" && of.1.as_str().unwrap().contains(word), "{word}: {of:?}");
    }
    assert_eq!(whole.0, "response");
}

#[test]
fn past_the_deadline_one_record_is_handled_and_the_next_reported() {
    let batch = sample("batch");
    let (answers, _) = invoke(&[batch.as_bytes()], Duration::ZERO, &[]);
    let second = &serde_json::from_str::<Value>(&batch).unwrap()["Records"][1]["kinesis"]["sequenceNumber"];
    let want = json!({"batchItemFailures": [{"itemIdentifier": second}]});
    assert_eq!(answers, [("response".to_owned(), want)]);
}

#[track_caller]
fn check_refused_start(variables: &[(&str, &str)], want: &str) {
    let Output { status, stdout, stderr } = function("127.0.0.1:9", variables).wait_with_output().unwrap();
    assert!(!status.success());
    let log = String::from_utf8(stdout).unwrap();
    assert_eq!((log.contains(want), stderr.len()), (true, 0), "{log}");
}

#[test]
fn mistaken_settings_are_all_named_before_the_function_ends() {
    check_refused_start(
        &[("LOG_PACKETS", "some"), ("LOG_PAYLOAD_BYTES", "few")],
        " ERROR the settings are mistaken\n    \
         LOG_PACKETS: expected `all`, `none`, or a share such as `1/100`, given \"some\"\n    \
         LOG_PAYLOAD_BYTES: expected `all`, or a number of bytes, given \"few\": invalid digit found in string",
    );
    check_refused_start(
        &[("AWS_LAMBDA_LOG_FORMAT", "JSON"), ("AWS_LAMBDA_LOG_LEVEL", "FATAL"), ("LOG_PACKETS", "1/0")],
        r#""level":"ERROR","message":"the settings are mistaken\nLOG_PACKETS: expected"#,
    );
}

#[test]
fn a_panic_is_one_line_of_the_log() {
    // Without Lambda's variables the runtime panics.
    check_refused_start(
        &[("AWS_LAMBDA_LOG_FORMAT", "JSON")],
        r#""level":"ERROR","message":"panicked: Missing AWS_LAMBDA"#,
    );
    check_refused_start(&[], " ERROR panicked: Missing AWS_LAMBDA_FUNCTION_NAME");
}
