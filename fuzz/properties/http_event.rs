//! The producer's event as API Gateway, a function URL or a load balancer sends it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use packet::Packet;
use serde_json::Value;

use super::invocation::Run;
use super::json;

/// The input is an event; what stands behind a NUL is put into it as its body, so that bodies need no escapes.
///
/// Nothing panics; an HTTP request is always answered as one: with 405 unless it is POST or PUT, with 400 if its body
/// is not what it says, and else with a status that goes with what became of its packets: those of its `Messages`, or
/// one whose payload is the body, to the byte. Each packet is in the stream or in the log, once, and in the answer, in
/// order, as what it is.
pub fn http_event_accounts_for_every_packet(data: &[u8]) {
    let Some(event) = event(data) else { return };
    for run in Run::each(&event) {
        if let Some(request) = Request::read(&event) {
            check(&request, &run);
        }
    }
}

fn event(data: &[u8]) -> Option<String> {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let event = str::from_utf8(parts.next()?).ok()?;
    let Some(body) = parts.next() else { return Some(event.to_owned()) };
    let mut members: serde_json::Map<String, Value> = serde_json::from_str(event).ok()?;
    let text = str::from_utf8(body);
    let carried = text.map_or_else(|_| BASE64_STANDARD.encode(body), str::to_owned);
    members.insert("body".into(), carried.into());
    members.insert("isBase64Encoded".into(), text.is_err().into());
    Some(Value::from(members).to_string())
}

/// What an event asks for, read the simple way: into values, which fails for some that the producer can read.
struct Request {
    method: String,
    /// None: not what the request says.
    body: Option<Vec<u8>>,
}

impl Request {
    fn read(event: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(event).ok()?;
        if event.get("Messages").is_some() {
            return None; // the gateway's
        }
        let method = event.get("requestContext")?["http"]["method"].as_str();
        let method = method.or_else(|| event["httpMethod"].as_str())?.to_owned();
        let body = match &event["body"] {
            Value::Null => Some(Vec::new()),
            Value::String(text) if event["isBase64Encoded"] == true => BASE64_STANDARD.decode(text).ok(),
            Value::String(text) => Some(text.clone().into_bytes()),
            _ => None,
        };
        Some(Self { method, body })
    }
}

fn check(request: &Request, run: &Run) {
    let answer =
        run.answer.as_ref().unwrap_or_else(|error| panic!("an HTTP request was not answered: {error}"));
    let answer = json::object(answer).unwrap_or_else(|| panic!("no object: {answer}"));
    let status = &answer["statusCode"];
    assert_eq!(&answer["isBase64Encoded"], "false");
    assert!(
        answer.get("headers").is_some() != answer.get("multiValueHeaders").is_some(),
        "headers of one kind"
    );
    let body = answer.text("body").expect("an answer's body is text");
    let body = json::object(&body).unwrap_or_else(|| panic!("no object: {body}"));

    let given = match &request.body {
        _ if request.method != "POST" && request.method != "PUT" => return check_refused(status, "405", run),
        None => return check_refused(status, "400", run),
        Some(given) => given,
    };
    let batch = str::from_utf8(given).ok().and_then(json::object);
    if batch.as_ref().is_some_and(|batch| batch.count("Messages") > 1) {
        return check_refused(status, "400", run);
    }
    let packets = match batch.and_then(|batch| json::list(batch.get("Messages")?)) {
        Some(packets) => packets,
        None => vec![one_packet(run, given)],
    };
    run.check_given(&packets);
    run.check_replies(&body["Replies"]);
    run.check_records(&body["Records"], &packets);
    let statuses: &[&str] = match (run.stored.len(), run.undelivered.len()) {
        (_, 0) => &["200"],
        (0, _) => &["413", "500", "503"],
        _ => &["207"],
    };
    assert!(statuses.contains(&status), "status {status}, expected one of {statuses:?}");
}

fn check_refused(status: &str, wanted: &str, run: &Run) {
    assert_eq!(status, wanted);
    run.check_given(&[]);
}

/// The packet that was made of a request.
fn one_packet<'r>(run: &'r Run, body: &[u8]) -> &'r str {
    let mut packets = run.stored.iter().chain(&run.undelivered);
    let packet = packets.next().expect("a request without Messages is one packet");
    let read = Packet::parse(packet).unwrap_or_else(|error| panic!("{error}: {packet}"));
    assert_eq!(read.payload(&mut Vec::new()), Ok(body), "the payload is the body");
    assert!(read.tag().is_some() && read.received_at().is_some() && read.local().is_some(), "{packet}");
    packet
}
