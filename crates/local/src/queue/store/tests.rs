//! Visibility and handles, at times that the tests choose.

use proptest::prelude::*;

use super::*;
use crate::queue::limits::{QUEUE_BYTES, VISIBILITY};

fn store(bodies: &[&str]) -> Store {
    let mut store = Store::new(QUEUE_BYTES);
    for (number, body) in bodies.iter().enumerate() {
        store.send(format!("id-{number}"), (*body).into(), 0).unwrap();
    }
    store
}

#[track_caller]
fn check_received(store: &mut Store, most: usize, now_ms: u64, want: &[&str]) -> Vec<Received> {
    let received = store.receive(most, VISIBILITY, now_ms).unwrap();
    let bodies: Vec<_> = received.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, want);
    received
}

#[track_caller]
fn check_counts(store: &Store, now_ms: u64, visible: usize, in_flight: usize) {
    assert_eq!(store.counts(now_ms), Counts { visible, in_flight });
}

#[test]
fn an_empty_queue_gives_nothing() {
    check_received(&mut store(&[]), 10, 0, &[]);
    check_counts(&store(&[]), 0, 0, 0);
    assert_eq!(store(&[]).next_visible_ms(0), None);
}

#[test]
fn a_received_message_is_hidden_for_thirty_seconds_and_then_given_again() {
    let mut store = store(&["a", "b"]);
    let first = check_received(&mut store, 1, 5, &["a"]);
    check_counts(&store, 5, 1, 1);
    assert_eq!(store.next_visible_ms(5), Some(30_005));
    check_received(&mut store, 10, 5, &["b"]);
    check_received(&mut store, 10, 30_004, &[]);
    let again = check_received(&mut store, 1, 30_005, &["a"]);
    assert_eq!((first[0].receipts, again[0].receipts), (1, 2));
    assert_eq!((again[0].sent_ms, again[0].first_received_ms), (0, 5));
    assert_ne!(first[0].handle, again[0].handle);
}

#[test]
fn a_deleted_message_does_not_come_back_and_deleting_it_again_is_no_error() {
    let mut store = store(&["a"]);
    let received = check_received(&mut store, 1, 0, &["a"]);
    store.delete(&received[0].handle).unwrap();
    store.delete(&received[0].handle).unwrap();
    check_received(&mut store, 1, 1 << 40, &[]);
    assert_eq!((store.bytes, store.visible_from.len()), (0, 0));
}

#[test]
fn a_handle_works_after_its_time_until_the_message_is_received_again() {
    let mut store = store(&["a"]);
    let first = check_received(&mut store, 1, 0, &["a"]);
    check_received(&mut store, 1, 30_000, &["a"]);
    store.delete(&first[0].handle).unwrap();
    check_counts(&store, 30_000, 0, 1);
    let late = check_received(&mut store, 1, 60_000, &["a"]);
    store.delete(&late[0].handle).unwrap();
    check_counts(&store, 1 << 40, 0, 0);
}

#[test]
fn a_handle_of_nobody_is_invalid_and_one_of_another_queue_deletes_nothing() {
    let mut store = store(&["a"]);
    for handle in ["", "x", "MQ", "MS8x", "!", "MS94L3g"] {
        assert_eq!(store.delete(handle).unwrap_err().code, ErrorCode::ReceiptHandleIsInvalid, "{handle}");
    }
    check_received(&mut store, 1, 0, &["a"]);
    store.delete(&Handle { number: 1, receipt: 1, id: "id-of-another" }.seal()).unwrap();
    check_counts(&store, 0, 0, 1);
}

#[test]
fn a_message_that_is_not_hidden_at_all_can_be_received_at_once() {
    let mut store = store(&["a"]);
    for _ in 0..2 {
        assert_eq!(store.receive(1, Duration::ZERO, 0).unwrap().len(), 1);
    }
}

#[test]
fn what_would_not_fit_is_refused_and_nothing_else_is_lost() {
    let mut store = Store::new(2 * (100 + MESSAGE_OVERHEAD));
    let send = |store: &mut Store, id: &str, length| store.send(id.into(), "x".repeat(length), 0).map(drop);
    assert_eq!(send(&mut store, "a", 100), Ok(()));
    assert_eq!(send(&mut store, "b", 101).unwrap_err().code, ErrorCode::OverLimit);
    assert_eq!(send(&mut store, "c", 100), Ok(()));
    assert_eq!(send(&mut store, "d", 0).unwrap_err().code, ErrorCode::OverLimit);
    check_counts(&store, 0, 2, 0);
    let received = store.receive(1, VISIBILITY, 0).unwrap();
    store.delete(&received[0].handle).unwrap();
    assert_eq!(send(&mut store, "e", 100), Ok(()));
}

#[test]
fn a_receiver_that_never_deletes_is_stopped() {
    let mut store = Store::new(QUEUE_BYTES);
    for number in 0..=IN_FLIGHT {
        store.send(number.to_string(), "x".into(), 0).unwrap();
    }
    assert_eq!(store.receive(IN_FLIGHT, VISIBILITY, 0).unwrap().len(), IN_FLIGHT);
    assert_eq!(store.receive(1, VISIBILITY, 0).unwrap_err().code, ErrorCode::OverLimit);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is sent is in the queue until it is deleted, exactly once, whoever receives it how often.
    #[test]
    fn given_is_deleted_or_there_exactly_once(
        steps in prop::collection::vec((0..4_u8, 0..40_000_u64, 1..=10_usize), 0..120),
    ) {
        let mut store = Store::new(QUEUE_BYTES);
        let (mut now, mut sent) = (0, 0_usize);
        let mut handles = Vec::new();
        let mut deleted = std::collections::BTreeSet::new();
        for (step, pause, most) in steps {
            match step {
                0 | 1 => {
                    store.send(format!("id-{sent}"), sent.to_string(), now).unwrap();
                    sent += 1;
                }
                2 => handles.extend(store.receive(most, VISIBILITY, now).unwrap()),
                _ => if let Some(message) = handles.pop() {
                    let before = store.messages.len();
                    store.delete(&message.handle).unwrap();
                    if store.messages.len() < before {
                        prop_assert!(deleted.insert(message.body), "deleted twice");
                    }
                },
            }
            now += pause;
        }
        let left: Vec<_> = store.bodies();
        prop_assert_eq!(left.len() + deleted.len(), sent);
        prop_assert!(left.iter().all(|body| !deleted.contains(body)));
        let distinct: std::collections::BTreeSet<_> = left.iter().collect();
        prop_assert_eq!(distinct.len(), left.len());
        let Counts { visible, in_flight } = store.counts(now);
        prop_assert_eq!(visible + in_flight, left.len());
    }
}
