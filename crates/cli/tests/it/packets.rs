//! Packets in, lines out: each exactly once, in order, and nowhere else.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::rivulet::{PATIENCE, Up, command, post, project};

/// The payload that a packet line shows.
fn payload(line: &Value) -> Vec<u8> {
    match (line["text"].as_str(), line["base64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(base64)) => BASE64_STANDARD.decode(base64).unwrap(),
        (None, None) => panic!("no payload in {line}"),
    }
}

#[test]
fn a_datagram_comes_out_as_one_line() {
    let up = Up::start(&[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"\x01\x02\x03\x04hello", up.udp).unwrap();
    let line = up.wait_for_log("packet", |log| log.iter().find(|line| line["message"] == "packet").cloned());
    assert_eq!(line["partitionKey"], "01020304");
    assert_eq!((&line["size"], &line["ascii"]), (&json!(9), &json!("....hello")));
    assert_eq!(line["remote"], socket.local_addr().unwrap().to_string());
    assert!(line["shard"].as_str().unwrap().starts_with("shardId-"));
    assert_eq!(line["sequenceNumber"].as_str().unwrap().len(), 56);
    assert!(line["arrival"].is_string() && line["age"].is_u64());
    let ended = up.stop();
    assert!(ended.status.success());
    for name in ["received", "acknowledged", "logged"] {
        assert_eq!(ended.count(name), 1, "{name}");
    }
}

#[test]
fn http_requests_are_answered_with_their_records() {
    let up = Up::start(&[]);
    let (status, one) = post(up.http, &[], b"\x01\x02\x03\x04\xFFone");
    assert_eq!(status, 200);
    assert!(one["Records"][0]["ShardId"].is_string() && one["Records"][0]["SequenceNumber"].is_string());
    let (status, batch) =
        post(up.http, &[], br#"{"Messages":[{"Tag":"a","Data":"AQID"},null,{"Tag":"b","Data":"AQIE"}]}"#);
    assert_eq!((status, batch["Records"].as_array().unwrap().len()), (207, 3));
    assert_eq!(batch["Records"][1]["ErrorCode"], "NotAPacket");
    let (status, empty) = post(up.http, &[], b"");
    assert_eq!((status, empty["Records"].as_array().unwrap().len()), (200, 1));
    let large = vec![b'x'; 7 * 1024 * 1024];
    assert_eq!(post(up.http, &[], &large).0, 413);
    let ended = up.stop();
    assert_eq!((ended.count("received"), ended.count("acknowledged"), ended.count("undelivered")), (5, 4, 1));
    assert_eq!((ended.count("logged"), ended.lines("packet").len()), (4, 4));
}

/// One run's stream in place of another's own: both consumers see the packet, each in its own log.
#[test]
fn another_kinesis_takes_the_place_of_the_local_stream() {
    let first = Up::start(&[]);
    let url = first.stream.split_once("http://").unwrap().1.trim_end_matches(')');
    let url = format!("http://{url}");
    let mut command = command(&["up", "--endpoint-url", &url]);
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y").env("AWS_REGION", "us-east-1");
    let second = Up::start_as(&mut command);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"\x01\x02\x03\x04", second.udp).unwrap();
    let lines = [&first, &second].map(|up| {
        up.wait_for_log("packet", |log| log.iter().find(|line| line["message"] == "packet").cloned())
    });
    assert_eq!(lines[0]["sequenceNumber"], lines[1]["sequenceNumber"]);
    let (second, first) = (second.stop(), first.stop());
    assert!(
        second.said.contains("every packet goes to the stream packets of account 000000000000 in us-east-1")
    );
    assert_eq!((second.count("acknowledged"), second.count("logged"), first.count("received")), (1, 1, 0));
}

/// A mapping that begins at the newest record delivers what comes after it.
#[test]
fn a_mapping_from_the_latest_record_on_delivers_what_comes_then() {
    let template = std::fs::read_to_string(project().join("template.yaml")).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(template.replace("StartingPosition: TRIM_HORIZON", "StartingPosition: LATEST").as_bytes())
        .unwrap();
    let up = Up::start(&["--template", file.path().to_str().unwrap()]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // The mapping begins a moment after the gateway: what comes before that moment is not its own.
    let logged = |log: &[Value]| log.iter().any(|line| line["message"] == "packet").then_some(());
    for number in 0..3_u32 {
        socket.send_to(&number.to_be_bytes(), up.udp).unwrap();
        if number == 0 {
            up.wait_for_log("summary of the producer", |log| {
                log.iter().any(|line| line["FunctionName"] == "producer").then_some(())
            });
        }
    }
    up.wait_for_log("packet", logged);
    let ended = up.stop();
    assert!((2..=3).contains(&ended.count("logged")), "{}", ended.said);
}

/// A client that does not wait for the answer takes nothing away from its packets.
#[test]
fn a_client_that_goes_away_loses_no_packet_and_none_is_left_out_of_the_account() {
    let up = Up::start(&[]);
    let packets = vec![r#"{"Tag":"t","Data":"AQIDBGhlbGxv"}"#; 15_000].join(",");
    let body = format!(r#"{{"Messages":[{packets}]}}"#);
    let mut connection = TcpStream::connect(up.http).unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(body.as_bytes()).unwrap();
    drop(connection);
    up.wait_for_log("the producer's summary", |log| {
        log.iter().any(|line| line["FunctionName"] == "producer").then_some(())
    });
    let ended = up.stop();
    assert_eq!((ended.count("received"), ended.count("acknowledged")), (15_000, 15_000), "{}", ended.said);
    assert_eq!(ended.count("abandoned"), 0, "{}", ended.said);
}

const SENDERS: u32 = 64;
const PACKETS: u32 = 10_000;

/// What one sender's packet holds: who, which, and something to carry.
fn numbered(sender: u32, number: u32) -> Vec<u8> {
    [&sender.to_be_bytes()[..], &number.to_be_bytes(), b" and what it says"].concat()
}

/// 64 senders, each waiting for the reply to one packet before it sends the next.
#[test]
fn ten_thousand_packets_are_acknowledged_and_logged_once_and_in_order() {
    // Whoever runs this has credentials and endpoints in the environment; a connection to this one would show a leak.
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let trapped = format!("http://{}", trap.local_addr().unwrap());
    let parameter = ["--parameter", "ReplyExpression=[0:8]", "--batch-window", "0.005"];
    let mut command = command(&["up"]);
    command.args(parameter);
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("AWS_SESSION_TOKEN", "a-real-looking-token"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_PROFILE", "production"),
        ("AWS_ENDPOINT_URL", &trapped),
        ("AWS_ENDPOINT_URL_KINESIS", &trapped),
        ("HTTP_PROXY", &trapped),
        ("HTTPS_PROXY", &trapped),
        ("STREAM_NAME", "production"),
    ] {
        command.env(name, value);
    }
    let up = Up::start_as(&mut command);
    let done = AtomicBool::new(false);
    let watched = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peers = 0;
            while !done.load(Ordering::Relaxed) {
                peers += assert_all_on_loopback(&up);
                std::thread::sleep(Duration::from_millis(50));
            }
            peers
        });
        let up = &up;
        let senders: Vec<_> = (0..SENDERS).map(|sender| scope.spawn(move || converse(up, sender))).collect();
        let replies: u32 = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        done.store(true, Ordering::Relaxed);
        assert_eq!(replies, PACKETS);
        watch.join().unwrap()
    });
    assert!(watched > 0, "the functions' connections were never seen");
    let children = up.children();
    assert!(children.len() >= 2, "both functions are running");
    for child in children {
        let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment);
        assert!(!environment.contains("EXAMPLE") && !environment.contains("production"), "{environment}");
    }
    let ended = up.stop();
    assert!(trap.accept().is_err(), "something went where the environment pointed");
    for name in ["received", "acknowledged", "logged", "replies"] {
        assert_eq!(ended.count(name), u64::from(PACKETS), "{name} in {}", ended.said);
    }
    for name in ["undelivered", "abandoned", "unfinished", "not logged", "discarded", "trimmed", "dropped"] {
        assert_eq!(ended.count(name), 0, "{name} in {}", ended.said);
    }
    assert_each_once_and_in_order(&ended.lines("packet"));
}

/// Sends a sender's share, one packet after the reply to the last; says how many were replied to.
fn converse(up: &Up, sender: u32) -> u32 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let share = (sender..PACKETS).step_by(SENDERS as usize);
    share.fold(0, |replies, number| {
        let packet = numbered(sender, number);
        socket.send_to(&packet, up.udp).unwrap();
        let mut reply = [0; 16];
        let length = socket.recv(&mut reply).unwrap();
        assert_eq!(reply[..length], packet[..8], "the reply to another packet");
        replies + 1
    })
}

#[track_caller]
fn assert_each_once_and_in_order(lines: &[&Value]) {
    let mut times: HashMap<Vec<u8>, u32> = HashMap::new();
    // The stream's order is that of the sequence numbers in each shard.
    let mut shards: BTreeMap<(&str, &str), Vec<u8>> = BTreeMap::new();
    for line in lines {
        let packet = payload(line);
        assert_eq!(
            line["partitionKey"],
            format!("{:08X}", u32::from_be_bytes(packet[..4].try_into().unwrap()))
        );
        *times.entry(packet.clone()).or_default() += 1;
        shards.insert((line["shard"].as_str().unwrap(), line["sequenceNumber"].as_str().unwrap()), packet);
    }
    for number in 0..PACKETS {
        assert_eq!(times.remove(&numbered(number % SENDERS, number)), Some(1), "packet {number}");
    }
    assert!(times.is_empty(), "lines that nobody sent: {times:?}");
    let mut last: HashMap<&[u8], u32> = HashMap::new();
    for packet in shards.values() {
        let number = u32::from_be_bytes(packet[4..8].try_into().unwrap());
        if let Some(before) = last.insert(&packet[..4], number) {
            assert!(before < number, "packet {number} came after {before}");
        }
    }
}

/// Every TCP and UDP socket of the command and its functions is on the loopback interface; says how many of them are
/// the functions' own.
fn assert_all_on_loopback(up: &Up) -> usize {
    let mut inodes = HashMap::new();
    for id in up.children().into_iter().chain([up.id()]) {
        // A process may have ended since it was listed.
        let Ok(files) = std::fs::read_dir(format!("/proc/{id}/fd")) else { continue };
        for file in files.flatten() {
            let target = std::fs::read_link(file.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'));
            inodes.extend(inode.map(|inode| (inode.to_owned(), id)));
        }
    }
    let mut seen = 0;
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        for row in std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default().lines().skip(1) {
            let columns: Vec<_> = row.split_whitespace().collect();
            let Some(owner) = columns.get(9).and_then(|inode| inodes.get(*inode)) else { continue };
            seen += usize::from(*owner != up.id());
            // 127.0.0.1 in the kernel's hexadecimal; a socket that listens has no other side.
            let on_loopback = |address: &str| address.starts_with("0100007F:");
            let nowhere = |address: &str| address.trim_start_matches(['0', ':']).is_empty();
            let (local, remote) = (columns[1], columns[2]);
            assert!(on_loopback(local) && (on_loopback(remote) || nowhere(remote)), "{table}: {row}");
        }
    }
    seen
}
