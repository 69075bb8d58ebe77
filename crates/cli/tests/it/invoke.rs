//! `rivulet invoke` with every sample event.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::rivulet::{Up, command, project};

fn samples(function: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(project().join("events").join(function)).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn every_sample_event_is_invoked_and_answered() {
    let mut invoked = 0;
    for function in ["producer", "consumer"] {
        for path in samples(function) {
            let output = command(&["invoke", path.to_str().unwrap()]).output().unwrap();
            let (name, log) = (path.display(), String::from_utf8_lossy(&output.stderr));
            let answer: Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{name}: {log}"));
            let refused = path.file_name().unwrap().to_str().unwrap().starts_with("refused-");
            assert_eq!(output.status.success(), !refused, "{name}: {log}");
            assert_eq!(answer.get("errorType").is_some(), refused, "{name}: {answer}");
            invoked += 1;
        }
    }
    assert!(invoked > 30, "only {invoked} samples");
}

/// Nearly all that Lambda carries, from standard input: every packet is acknowledged.
#[test]
fn an_event_of_six_megabytes_is_written_whole() {
    let packet = format!(r#"{{"Tag":"t","Data":"{}"}}"#, "QUJD".repeat(110));
    let packets = vec![packet.as_str(); 13_000];
    let event = format!(r#"{{"Messages":[{}]}}"#, packets.join(","));
    assert!((5_900_000..6_291_456).contains(&event.len()), "{}", event.len());
    let output = invoke_producer(&event);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), r#"{"Replies":[]}"#);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains(r#""Packets":13000,"Acknowledged":13000,"Undelivered":0"#), "{log}");
}

/// Packets of 1 MiB and 3 MiB that neither stream nor queue takes stand in the log, in parts, byte for byte.
#[test]
fn what_nobody_takes_comes_back_from_the_log_byte_for_byte() {
    let packet = |tag: &str, mib: usize| {
        let data: String = (0_u32..).map(|n| format!("{n:08x}")).take(mib * 1024 * 1024 / 8).collect();
        format!(r#"{{"Tag":"{tag}","Formatter":"utf8","Data":"\u00e9 {data}"}}"#)
    };
    let packets = [packet("one", 1), packet("three", 3)];
    let event = format!(r#"{{"Messages":[{}]}}"#, packets.join(","));
    let output = invoke_producer(&event);
    let mut found: HashMap<String, Vec<u8>> = HashMap::new();
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        if line["message"] == "undelivered" {
            let bytes = BASE64_STANDARD.decode(line["base64"].as_str().unwrap()).unwrap();
            let whole = found.entry(line["tag"].as_str().unwrap().to_owned()).or_default();
            assert_eq!(
                line["part"].as_u64().unwrap(),
                (whole.len() / 120_000 + 1) as u64,
                "parts are in order"
            );
            whole.extend(bytes);
        }
    }
    assert_eq!(found.len(), 2);
    for (tag, packet) in ["one", "three"].iter().zip(&packets) {
        assert!(found[*tag] == packet.as_bytes(), "packet {tag} is not as it was");
    }
}

/// Invokes the producer with an event from standard input.
fn invoke_producer(event: &str) -> Output {
    let mut command = command(&["invoke", "--function", "producer", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    // Dropped at once: the end of the input is the end of the event.
    process.stdin.take().unwrap().write_all(event.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

/// `rivulet up` is given each of them twice: for the answer, and asynchronously.
#[test]
fn every_sample_event_is_counted_as_the_producer_counts_it() {
    let up = Up::start(&["--retry-wait", "0.01"]);
    let mut failing = 0;
    for path in samples("producer") {
        let event = std::fs::read_to_string(&path).unwrap();
        let (status, answer) = up.invoke("producer", "RequestResponse", event.as_bytes());
        assert_eq!(status, 200, "{}: {answer}", path.display());
        failing += usize::from(answer.get("errorType").is_some());
        assert_eq!(up.invoke("producer", "Event", event.as_bytes()).0, 202, "{}", path.display());
    }
    up.wait_for_words("was given up; the queue has it", failing);
    let ended = up.stop();
    let summaries = ended.lines("summary");
    let of_the_producer = summaries.iter().filter(|line| line["Acknowledged"].is_u64());
    let packets: u64 = of_the_producer.map(|line| line["Packets"].as_u64().unwrap()).sum();
    assert!(packets > 0 && failing > 0);
    assert_eq!(ended.count("received"), packets, "{}", ended.said);
    assert_eq!(ended.count("acknowledged") + ended.count("undelivered"), packets, "{}", ended.said);
    assert_eq!(ended.count("in the queue"), failing as u64 + ended.count("queued"), "{}", ended.said);
}
