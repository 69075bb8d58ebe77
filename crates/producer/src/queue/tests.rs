//! Packing, and the loop around a scripted queue at a clock that only waiting moves.

use std::cell::RefCell;
use std::collections::HashMap;

use proptest::prelude::*;
use tokio::time::sleep;

use super::*;

#[track_caller]
fn check_batches(bytes: &[usize], want: &[&[usize]]) {
    assert_eq!(batches(bytes), want);
}

/// Everything in batches, each taken as it would be sent.
fn batches(bytes: &[usize]) -> Vec<Vec<usize>> {
    let mut waiting: VecDeque<_> = (0..bytes.len()).collect();
    std::iter::from_fn(|| (!waiting.is_empty()).then(|| next_batch(&mut waiting, |index| bytes[index])))
        .collect()
}

#[test]
fn a_batch_has_at_most_ten_messages_and_a_million_bytes() {
    check_batches(&[], &[]);
    check_batches(&[1; 11], &[&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[10]]);
    check_batches(&[500_000, 500_000, 1], &[&[0, 1], &[2]]);
    check_batches(&[1, 1_000_000, 1], &[&[0], &[1], &[2]]);
    check_batches(&[999_999, 2, 999_998], &[&[0], &[1, 2]]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_is_in_one_batch_in_order_and_under_the_limits(
        bytes in prop::collection::vec(prop_oneof![1..2_000_usize, 1..=MESSAGE_BYTES], 0..80),
    ) {
        let batches = batches(&bytes);
        for batch in &batches {
            prop_assert!((1..=BATCH_ENTRIES).contains(&batch.len()));
            prop_assert!(batch.iter().map(|&index| bytes[index]).sum::<usize>() <= MESSAGE_BYTES);
        }
        prop_assert_eq!(batches.concat(), (0..bytes.len()).collect::<Vec<_>>());
    }
}

/// What a scripted queue does with a batch.
#[derive(Clone, Debug)]
enum Turn {
    /// Takes it, but for entries at these places, which fail in this way.
    Take(Vec<(usize, Then)>),
    /// Refuses the whole.
    Refuse(Then),
    /// Never answers; it has taken what it was sent, or has not.
    Silent { taken: bool },
    /// Answers with fewer results than there were messages.
    Short,
}

/// A queue that goes through its turns, and from then on does what the last of them says.
struct Scripted {
    turns: RefCell<VecDeque<Turn>>,
    last: Turn,
    taken: RefCell<Vec<String>>,
    batches: RefCell<usize>,
}

impl Scripted {
    fn new(turns: &[Turn], last: Turn) -> Self {
        let turns = RefCell::new(turns.iter().cloned().collect());
        Self { turns, last, taken: RefCell::default(), batches: RefCell::default() }
    }
}

impl SendMessages for Scripted {
    async fn send_messages(&self, bodies: &[&str]) -> Answer {
        *self.batches.borrow_mut() += 1;
        let turn = self.turns.borrow_mut().pop_front().unwrap_or_else(|| self.last.clone());
        sleep(Duration::from_millis(10)).await;
        let take = |body: &str| self.taken.borrow_mut().push(body.to_owned());
        match turn {
            Turn::Take(fails) => Ok(bodies
                .iter()
                .enumerate()
                .map(|(place, body)| match fails.iter().find(|(failing, _)| *failing == place) {
                    Some((_, then)) => Err(refusal(*then)),
                    None => {
                        take(body);
                        Ok(())
                    }
                })
                .collect()),
            Turn::Refuse(then) => Err(refusal(then)),
            Turn::Silent { taken } => {
                if taken {
                    bodies.iter().for_each(|body| take(body));
                }
                std::future::pending().await
            }
            Turn::Short => {
                take(bodies[0]);
                Ok(vec![Ok(())])
            }
        }
    }
}

fn refusal(then: Then) -> Refusal {
    Refusal { code: "Code".into(), message: "because".into(), then }
}

/// How long there is for the queue.
const TIME: Duration = Duration::from_millis(1_300);

/// Gives `count` messages to the queue; says how many it has for certain, and how many batches were sent.
#[track_caller]
fn deliver_to(queue: &Scripted, count: usize) -> (Delivery, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let bodies: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        let until = Instant::now() + TIME;
        let delivery = deliver(queue, &bodies, until).await;
        assert!(Instant::now() <= until + Duration::from_millis(1), "a timer counts whole milliseconds");
        assert_eq!(delivery.taken.len(), count);
        let mut in_queue: HashMap<String, usize> = HashMap::new();
        for body in queue.taken.take() {
            *in_queue.entry(body).or_default() += 1;
        }
        for (body, taken) in bodies.iter().zip(&delivery.taken) {
            assert!(
                !taken || in_queue.contains_key(body),
                "{body} is counted as taken and is not in the queue"
            );
        }
        let batches = *queue.batches.borrow();
        (delivery, batches)
    })
}

#[track_caller]
fn check(turns: &[Turn], last: Turn, count: usize, want_taken: usize, want_batches: usize) {
    let (delivery, batches) = deliver_to(&Scripted::new(turns, last), count);
    let taken = delivery.taken.iter().filter(|taken| **taken).count();
    assert_eq!((taken, batches), (want_taken, want_batches), "{:?}", delivery.refusal);
    assert!(taken == count || delivery.refusal.is_some(), "what was not taken has a reason");
}

fn all() -> Turn {
    Turn::Take(Vec::new())
}

#[test]
fn a_queue_that_takes_everything_gets_everything_once() {
    check(&[], all(), 0, 0, 0);
    check(&[], all(), 25, 25, 3);
    check(&[], all(), 1_000, 1_000, 100);
}

#[test]
fn entries_that_failed_are_sent_again_unless_the_fault_is_theirs() {
    let fails = Turn::Take(vec![(0, Then::Again), (3, Then::GiveUp), (9, Then::Again)]);
    check(&[fails], all(), 10, 9, 2);
}

#[test]
fn a_queue_that_fails_one_entry_of_every_batch_is_not_slowed_down() {
    let (delivery, _) = deliver_to(&Scripted::new(&[], Turn::Take(vec![(0, Then::Again)])), 1_000);
    assert_eq!(
        delivery.taken.iter().filter(|taken| !**taken).count(),
        1,
        "the one that was always the first"
    );
}

#[test]
fn a_batch_that_failed_whole_is_sent_again_unless_nothing_can_come_of_it() {
    check(&[Turn::Refuse(Then::Again), Turn::Refuse(Then::Again)], all(), 10, 10, 3);
    check(&[Turn::Refuse(Then::GiveUp)], all(), 20, 10, 2);
}

#[test]
fn a_queue_that_takes_nothing_from_anybody_is_asked_no_more() {
    let (delivery, batches) = deliver_to(&Scripted::new(&[], Turn::Refuse(Then::Stop)), 1_000);
    assert!(!delivery.taken.contains(&true));
    assert_eq!(batches, IN_FLIGHT, "those that were under way");
}

#[test]
fn a_queue_without_a_word_is_left_in_time() {
    check(&[], Turn::Silent { taken: false }, 10, 0, 2);
    check(&[], Turn::Silent { taken: true }, 10, 0, 2);
}

#[test]
fn a_message_without_a_result_counts_as_not_taken() {
    check(&[Turn::Short], Turn::Take(vec![(0, Then::GiveUp)]), 3, 2, 2);
}

fn any_turn() -> impl Strategy<Value = Turn> {
    let then = || prop_oneof![Just(Then::Again), Just(Then::GiveUp)];
    prop_oneof![
        3 => prop::collection::vec((0..10_usize, then()), 0..6).prop_map(Turn::Take),
        1 => then().prop_map(Turn::Refuse),
        1 => any::<bool>().prop_map(|taken| Turn::Silent { taken }),
        1 => Just(Turn::Short),
        1 => Just(Turn::Refuse(Then::Stop)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// `deliver_to` holds that what counts as taken is in the queue, and that the time is kept.
    #[test]
    fn what_counts_as_taken_is_there_and_all_else_has_a_reason(
        turns in prop::collection::vec(any_turn(), 0..30), last in any_turn(), count in 0..200_usize,
    ) {
        let (delivery, _) = deliver_to(&Scripted::new(&turns, last), count);
        prop_assert!(!delivery.taken.contains(&false) || delivery.refusal.is_some());
    }
}
