//! Ctrl-C: what is in flight comes to its end, everything is counted, nothing is left running.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::rivulet::{FREE_PORTS, PATIENCE, Up, command};

fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Waits until none of these processes is there.
#[track_caller]
fn assert_gone(processes: &[u32]) {
    let deadline = Instant::now() + PATIENCE;
    while let Some(left) = processes.iter().find(|id| Path::new(&format!("/proc/{id}")).exists()) {
        assert!(Instant::now() < deadline, "{left} is still running");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Packets that a busy run was sent.
const SENT: u64 = 2_001;

/// A run that has both functions started and many packets on their way.
fn busy() -> Up {
    let up = Up::start(&["--batch-window", "0.02"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"\x01\x02\x03\x04first", up.udp).unwrap();
    up.wait_for_log("packet", |log| log.iter().any(|line| line["message"] == "packet").then_some(()));
    for number in 1..u32::try_from(SENT).unwrap() {
        socket.send_to(&number.to_be_bytes(), up.udp).unwrap();
    }
    up
}

#[test]
fn a_run_that_is_stopped_accounts_for_every_packet_it_received() {
    let up = busy();
    let children = up.children();
    assert!(children.len() >= 2, "both functions are running");
    let ended = up.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert_gone(&children);
    let count = |name| ended.count(name);
    let ends = count("acknowledged") + count("undelivered") + count("abandoned") + count("unfinished");
    assert_eq!(count("received"), ends, "{}", ended.said);
    assert_eq!(count("received") + count("dropped"), SENT, "{}", ended.said);
    assert_eq!(count("acknowledged"), count("logged") + count("not logged"), "{}", ended.said);
    assert_eq!(ended.lines("packet").len() as u64, count("logged"), "{}", ended.said);
}

/// Its functions are stopped in their tracks, so that the first interrupt has to wait for them.
#[test]
fn a_second_interrupt_ends_it_at_once() {
    let up = busy();
    let children = up.children();
    for child in &children {
        signal(*child, "STOP");
    }
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"last", up.udp).unwrap();
    up.signal("INT");
    up.wait_for_word("stopping");
    let second = Instant::now();
    up.signal("INT");
    let ended = up.ended();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.said);
    assert!(second.elapsed() < Duration::from_millis(1900), "it waited for the two seconds");
    assert_gone(&children);
}

/// Whoever reads the log may have stopped reading: input is taken and Ctrl-C works all the same.
#[test]
fn a_log_that_nobody_reads_does_not_keep_it_from_stopping() {
    use std::io::{BufRead, BufReader};
    let mut command = command(&["up"]);
    let mut process =
        command.args(FREE_PORTS.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let udp = said.find_map(|line| Some(line.trim().strip_prefix("UDP ")?.trim().to_owned())).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..3_000_u32 {
        socket.send_to(&[&number.to_be_bytes()[..], &[b'x'; 400]].concat(), &udp).unwrap();
    }
    std::thread::sleep(Duration::from_secs(2)); // until the pipe is full
    signal(process.id(), "INT");
    let deadline = Instant::now() + PATIENCE;
    while process.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it does not stop");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_functions_end_with_a_command_that_is_killed() {
    let up = busy();
    let children = up.children();
    up.signal("KILL");
    up.ended();
    assert_gone(&children);
}

#[test]
fn it_stops_when_it_is_asked_politely() {
    let up = Up::start(&[]);
    up.signal("TERM");
    assert!(up.ended().status.success());
}
