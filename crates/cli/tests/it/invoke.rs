//! `rivulet invoke` with every sample event.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::rivulet::{command, project};

#[test]
fn every_sample_event_is_invoked_and_answered() {
    let mut samples = 0;
    for function in ["producer", "consumer"] {
        for file in std::fs::read_dir(project().join("events").join(function)).unwrap() {
            let path = file.unwrap().path();
            let output = command(&["invoke", path.to_str().unwrap()]).output().unwrap();
            let (name, log) = (path.display(), String::from_utf8_lossy(&output.stderr));
            let answer: Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{name}: {log}"));
            let refused = path.file_name().unwrap().to_str().unwrap().starts_with("refused-");
            assert_eq!(output.status.success(), !refused, "{name}: {log}");
            assert_eq!(answer.get("errorType").is_some(), refused, "{name}: {answer}");
            samples += 1;
        }
    }
    assert!(samples > 30, "only {samples} samples");
}

/// Nearly all that Lambda carries, from standard input: every packet is acknowledged.
#[test]
fn an_event_of_six_megabytes_is_written_whole() {
    let packet = format!(r#"{{"Tag":"t","Data":"{}"}}"#, "QUJD".repeat(110));
    let packets = vec![packet.as_str(); 13_000];
    let event = format!(r#"{{"Messages":[{}]}}"#, packets.join(","));
    assert!((5_900_000..6_291_456).contains(&event.len()), "{}", event.len());
    let mut command = command(&["invoke", "--function", "producer", "-"]);
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(event.as_bytes()).unwrap();
    drop(stdin);
    let output = process.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), r#"{"Replies":[]}"#);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains(r#""Packets":13000,"Acknowledged":13000,"Undelivered":0"#), "{log}");
}
