//! The producer's event as the gateway sends it, or whoever gives one bare packet.

use super::invocation::Run;
use super::json::{self, Object};

/// The input is an event.
///
/// Nothing panics; an event with one list in `Messages`, one with `Data` and an empty one are answered, or fail over
/// packets that are named; everything else is refused and nothing of it written; every entry is in the stream or in
/// the log, once and as it came; the answer names exactly the undelivered ones, in their order, and replies to none of
/// them.
pub fn gateway_event_accounts_for_every_entry(data: &[u8]) {
    let Ok(event) = str::from_utf8(data) else { return };
    for run in Run::each(event) {
        check(event, &run);
    }
}

fn check(event: &str, run: &Run) {
    let Some(members) = json::object(event) else { return check_refused(run, "UnexpectedEvent") };
    // `null` beside a packet's own members is one more member of a packet.
    let batch =
        members.get("Messages").filter(|messages| *messages != "null" || members.get("Data").is_none());
    if let Some(messages) = batch {
        return match json::list(messages) {
            Some(entries) if members.count("Messages") == 1 => check_gateway(run, &entries),
            _ => check_refused(run, "MessagesNotAList"),
        };
    }
    if members.get("requestContext").is_some() {
        return; // the other property's
    }
    if members.get("Data").is_some() {
        check_direct(run, event.trim());
    } else if members.is_empty() {
        check_gateway(run, &[]);
    } else {
        check_refused(run, "UnexpectedEvent");
    }
}

fn check_refused(run: &Run, error_type: &str) {
    let refusal = run.answer.as_ref().map_err(producer::Error::error_type);
    assert_eq!(refusal.err(), Some(error_type));
    run.check_given(&[]);
}

fn check_gateway(run: &Run, entries: &[&str]) {
    run.check_given(entries);
    let Some(answer) = answered(run) else { return };
    run.check_replies(&answer["Replies"]);
    let named = answer
        .get("Undelivered")
        .map_or_else(Vec::new, |named| json::list(named).unwrap_or_else(|| panic!("no list: {named}")));
    assert_eq!(named.len(), run.undelivered.len(), "the answer names what is undelivered");
    for (named, packet) in named.into_iter().zip(&run.undelivered) {
        let named = json::object(named).unwrap_or_else(|| panic!("no object: {named}"));
        assert_eq!(&named["Tag"], json::tag(packet));
        assert!(named.text("Error").is_some_and(|error| !error.is_empty()));
    }
}

fn check_direct(run: &Run, packet: &str) {
    run.check_given(&[packet]);
    let Some(answer) = answered(run) else { return };
    run.check_replies(&answer["Replies"]);
    run.check_records(&answer["Records"], &[packet]);
}

/// The answer's members; none where the invocation failed, which it may over undelivered packets alone.
fn answered(run: &Run) -> Option<Object<'_>> {
    match &run.answer {
        Ok(answer) => Some(json::object(answer).unwrap_or_else(|| panic!("no object: {answer}"))),
        Err(error) => {
            assert_eq!(error.error_type(), "UndeliveredPackets", "{error}");
            None
        }
    }
}
