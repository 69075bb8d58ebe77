//! What cannot work is one clear sentence and a non-zero exit.

use std::net::{TcpListener, UdpSocket};

use crate::rivulet::{FREE_PORTS, Up, command, project};

#[track_caller]
fn check(arguments: &[&str], code: i32, want: &[&str]) {
    let output = command(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    for words in want {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    if code == 1 {
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn a_port_in_use_names_the_port_and_the_flag() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let (udp, tcp) = (udp.local_addr().unwrap().to_string(), tcp.local_addr().unwrap().to_string());
    let free = "127.0.0.1:0";
    check(&["up", "--udp", &udp], 1, &[&udp, "--udp", "in use"]);
    check(&["up", "--udp", free, "--http", &tcp], 1, &[&tcp, "--http", "in use"]);
    check(&["up", "--udp", free, "--http", free, "--kinesis", &tcp], 1, &[&tcp, "--kinesis", "in use"]);
    let others = ["up", "--udp", free, "--http", free, "--kinesis", free];
    check(&[&others[..], &["--queue", &tcp]].concat(), 1, &[&tcp, "--queue", "in use"]);
}

#[test]
fn a_missing_binary_is_named_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    check(&["up", "--binaries", folder], 1, &["the producer is not built", folder]);
    check(&["invoke", "--binaries", folder, "events/consumer/batch.json"], 1, &["the consumer is not built"]);
}

#[test]
fn a_bad_flag_says_what_was_expected() {
    check(&["up", "--batch-count", "0"], 2, &["--batch-count", "1..=10000"]);
    check(&["up", "--udp", "5514"], 2, &["--udp", "invalid"]);
    check(&["up", "--parameter", "Shards"], 2, &["NAME=VALUE"]);
    check(&["up", "--nonsense"], 2, &["--nonsense"]);
    check(&["down"], 2, &["down"]);
    check(&[], 2, &["Usage"]);
}

#[test]
fn a_template_or_event_that_cannot_be_used_is_named() {
    check(&["up", "--template", "no.yaml"], 1, &["no.yaml", "cannot be read"]);
    check(&["up", "--template", "README.md"], 1, &["README.md"]);
    check(&["up", "--parameter", "Shards=2"], 1, &["no parameter Shards", "ShardCount"]);
    check(&["invoke", "no.json"], 1, &["no.json", "cannot be read"]);
}

#[test]
fn a_stream_that_cannot_be_reached_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    let mut command = command(&["up", "--endpoint-url", &url, "--stream", "s"]);
    command
        .args(FREE_PORTS.split(' '))
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "y")
        .env("AWS_REGION", "us-east-1");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains(&url) && said.contains("stream s"), "{said}");
}

/// A producer that does not start loses nothing: the packets wait, and the reason is on the screen, caret and all.
#[test]
fn a_mistaken_setting_is_shown_and_the_packets_are_kept() {
    let up = Up::start(&["--parameter", "PartitionKeyExpression=[0:"]);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", up.udp).unwrap();
    up.wait_for_word("PARTITION_KEY_EXPRESSION: expected a key expression");
    up.wait_for_word("         ^");
    let ended = up.stop();
    assert_eq!((ended.count("received"), ended.count("unfinished"), ended.count("abandoned")), (1, 1, 0));
    let file = ended
        .said
        .lines()
        .find_map(|line| line.split_once("what was unfinished, or is left in the queue, is in "))
        .unwrap()
        .1
        .to_owned();
    let kept = std::fs::read_to_string(project().join(&file)).unwrap();
    assert!(kept.starts_with(r#"{"Messages":[{"Tag":"#) && kept.contains("aGVsbG8="), "{kept}");
    std::fs::remove_file(project().join(file)).unwrap();
}
