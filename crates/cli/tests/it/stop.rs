//! Ctrl-C: what is in flight comes to its end, everything is counted, nothing is left running.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::rivulet::{PATIENCE, Up};

/// Waits until none of these processes is there.
#[track_caller]
fn assert_gone(processes: &[u32]) {
    let deadline = Instant::now() + PATIENCE;
    while let Some(left) = processes.iter().find(|id| Path::new(&format!("/proc/{id}")).exists()) {
        assert!(Instant::now() < deadline, "{left} is still running");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A run that has both functions started and many packets on their way.
fn busy() -> Up {
    let up = Up::start(&["--batch-window", "0.02"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"\x01\x02\x03\x04first", up.udp).unwrap();
    up.wait_for_log("packet", |log| log.iter().any(|line| line["message"] == "packet").then_some(()));
    for number in 0..2_000_u32 {
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
    assert_eq!(count("acknowledged"), count("logged") + count("not logged"), "{}", ended.said);
    assert_eq!(ended.lines("packet").len() as u64, count("logged"), "{}", ended.said);
}

#[test]
fn a_second_interrupt_ends_it_at_once() {
    let up = busy();
    let children = up.children();
    up.signal("INT");
    up.signal("INT");
    let ended = up.ended();
    assert!(matches!(ended.status.code(), Some(0 | 130)), "{:?} {}", ended.status, ended.said);
    assert_gone(&children);
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
