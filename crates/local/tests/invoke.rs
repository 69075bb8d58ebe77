//! Lambda's Invoke API over real sockets, in front of a function that misbehaves.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "some of it is for other tests")]
mod odd;

mod http;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use local::gateway::{Left, Producer};
use local::invoke::{
    self, ASYNCHRONOUS_BYTES, Asynchronous, Invoked, LONGEST_AGE, MOST_RETRIES, Registry, Target,
};
use local::mapping::{Destination, Mapping, Settings, State};
use local::queue::Queue;
use local::stream::{Config, Kinesis};
use local::tally::Tally;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use http::{Answer, exchange};
use odd::{Odd, odd};

/// A packet that ends every process it is given to.
const EXIT: &str = r#"{"Data":"exit"}"#;

struct Lambda {
    odd: Odd,
    queue: Queue,
    tally: Arc<Tally>,
    notes: Arc<Mutex<Vec<String>>>,
    mappings: Vec<Mapping>,
    port: u16,
    stop: watch::Sender<bool>,
    server: JoinHandle<Vec<Left>>,
}

impl Lambda {
    async fn start(wait: Duration, keeps_failures: bool) -> Self {
        let odd = odd(1, &[]);
        let queue = Queue::new("q", "000000000000", "us-east-1", "http://127.0.0.1:1");
        let (retries, age) = (MOST_RETRIES, LONGEST_AGE);
        let on_failure = keeps_failures.then(|| queue.clone());
        let asynchronous = Asynchronous { retries, age, wait, on_failure };
        let tally = Arc::new(Tally::default());
        let (producer, _) = Producer::new(odd.function.clone(), Arc::clone(&tally));
        let registry = Registry::default();
        registry.add_function(Target { invoked: Invoked::Producer(producer), asynchronous });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let notes = Arc::new(Mutex::new(Vec::new()));
        let say = {
            let notes = Arc::clone(&notes);
            Arc::new(move |words: &str| notes.lock().unwrap().push(words.to_owned()))
        };
        let mappings = vec![Mapping::new(Settings { attempts: Some(3), ..Settings::default() })];
        registry.add_mapping(mappings[0].clone());
        let (stop, stopped) = watch::channel(false);
        let grace = Duration::from_millis(50);
        let server = tokio::spawn(invoke::run(listener, registry, say, stopped, grace));
        Self { odd, queue, tally, notes, mappings, port, stop, server }
    }

    async fn invoke(&self, name: &str, kind: &str, event: &str) -> Answer {
        self.invoke_bytes(name, kind, event.as_bytes()).await
    }

    async fn mapping_api(&self, line: &str, body: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let line = format!("{method} /2015-03-31/event-source-mappings/{path}");
        exchange(self.port, &line, "", body.as_bytes()).await
    }

    async fn invoke_bytes(&self, name: &str, kind: &str, event: &[u8]) -> Answer {
        let line = format!("POST /2015-03-31/functions/{name}/invocations");
        exchange(self.port, &line, &format!("X-Amz-Invocation-Type: {kind}\r\n"), event).await
    }

    /// Waits until the function's log has this.
    async fn log_has(&self, wanted: &str) {
        until(wanted, || self.odd.log().contains(wanted)).await;
    }

    /// Stops it; gives the events that were not at their end.
    async fn stop(self) -> Vec<Left> {
        self.stop.send_replace(true);
        let unfinished = self.server.await.unwrap();
        self.odd.function.stop().await;
        unfinished
    }
}

/// Waits until it is so.
async fn until(what: &str, is: impl Fn() -> bool) {
    let poll = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), poll).await.unwrap_or_else(|_| panic!("no {what}"));
}

#[tokio::test]
async fn a_synchronous_invocation_brings_the_answer() {
    let lambda = Lambda::start(Duration::ZERO, true).await;
    for name in [
        "odd",
        "odd:$LATEST",
        "000000000000%3Afunction%3Aodd",
        "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Aodd",
    ] {
        let answer = lambda.invoke(name, "RequestResponse", r#""answer""#).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        assert!(answer.body.is_string() && !answer.head.contains("x-amz-function-error"));
        assert!(answer.head.contains("x-amz-executed-version: $latest"), "{}", answer.head);
    }
    let failed = lambda.invoke("odd", "RequestResponse", r#""error""#).await;
    assert_eq!((failed.status, &failed.body["errorType"]), (200, &json!("Mine")));
    assert!(failed.head.contains("x-amz-function-error: unhandled"), "{}", failed.head);
    let dry = lambda.invoke("odd", "DryRun", "{}").await;
    assert_eq!((dry.status, dry.body), (204, Value::Null));
    assert_eq!(lambda.stop().await, []);
}

#[tokio::test]
async fn what_is_no_invocation_is_refused_by_name() {
    let lambda = Lambda::start(Duration::ZERO, true).await;
    let check = async |status: u16, error: &str, answer: Answer| {
        assert_eq!(answer.status, status, "{}", answer.body);
        let error = format!("x-amzn-errortype: {}", error.to_ascii_lowercase());
        assert!(answer.head.contains(&error), "{}", answer.head);
        assert!(answer.body["Message"].is_string());
    };
    check(404, "ResourceNotFoundException", lambda.invoke("even", "Event", "{}").await).await;
    check(404, "ResourceNotFoundException", lambda.invoke("odd:7", "Event", "{}").await).await;
    check(400, "InvalidRequestContentException", lambda.invoke("odd", "Event", "{").await).await;
    check(400, "InvalidParameterValueException", lambda.invoke("odd", "Maybe", "{}").await).await;
    let bytes = b"{\"Data\":\"\xFF\"}";
    check(400, "InvalidRequestContentException", lambda.invoke_bytes("odd", "Event", bytes).await).await;
    let large = format!("\"{}\"", "x".repeat(ASYNCHRONOUS_BYTES));
    check(413, "RequestTooLargeException", lambda.invoke("odd", "Event", &large).await).await;
    let path = "POST /2015-03-31/functions/odd/invocations?Qualifier=7";
    check(404, "ResourceNotFoundException", exchange(lambda.port, path, "", b"{}").await).await;
    let path = "POST /2015-03-31/functions/odd/invocations";
    for header in ["X-Amz-Log-Type: Head\r\n", "X-Amz-Client-Context: e30=\r\n"] {
        check(400, "InvalidParameterValueException", exchange(lambda.port, path, header, b"{}").await).await;
    }
    check(404, "UnknownOperationException", exchange(lambda.port, "GET /functions", "", b"").await).await;
    assert_eq!(lambda.odd.function.cold_starts(), 0, "the function has seen nothing of it");
}

#[tokio::test]
async fn an_asynchronous_invocation_is_tried_again_until_it_is_answered() {
    let lambda = Lambda::start(Duration::ZERO, true).await;
    let accepted = lambda.invoke("odd", "Event", r#""error once""#).await;
    assert_eq!((accepted.status, accepted.body), (202, Value::Null));
    lambda.log_has("got \"error once\"\ngot \"error once\"\n").await;
    // The environment serves one at a time: with this answer the event before is at its end.
    lambda.invoke("odd", "RequestResponse", r#""answer""#).await;
    assert_eq!(lambda.queue.bodies(), Vec::<String>::new());
    assert_eq!(lambda.stop().await, []);
}

/// Of an event that kills every process it is given to.
#[tokio::test]
async fn an_asynchronous_event_that_fails_three_times_is_in_the_queue_whole_and_once() {
    let lambda = Lambda::start(Duration::ZERO, true).await;
    lambda.invoke("odd", "Event", EXIT).await;
    until("a message", || lambda.queue.counts().visible > 0).await;
    let bodies = lambda.queue.bodies();
    let record: Value = serde_json::from_str(&bodies[0]).unwrap();
    assert_eq!((bodies.len(), &record["requestPayload"]), (1, &json!({ "Data": "exit" })));
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(record["responsePayload"]["errorType"], "Runtime.ExitError");
    assert_eq!(lambda.odd.log().matches(&format!("got {EXIT}")).count(), 3);
    let tally = Arc::clone(&lambda.tally);
    assert_eq!(lambda.stop().await, []);
    let counts = [&tally.received, &tally.repeated, &tally.undelivered, &tally.queued, &tally.abandoned];
    assert_eq!(counts.map(local::tally::Count::get), [1, 0, 1, 1, 0], "no try had its say: the queue has it");
}

/// The first try has its say, and the process is gone; no further one begins.
#[tokio::test]
async fn packets_are_given_again_only_by_a_try_that_takes_them() {
    let lambda = Lambda::start(Duration::ZERO, true).await;
    lambda.invoke("odd", "Event", r#"{"Data":"undelivered and gone"}"#).await;
    until("a second start", || lambda.odd.function.cold_starts() > 1).await;
    let tally = Arc::clone(&lambda.tally);
    assert_eq!([&tally.received, &tally.repeated].map(local::tally::Count::get), [1, 0]);
    let left = lambda.stop().await;
    // Whoever gives what is left to the function gives it again.
    assert_eq!((left.len(), left[0].packets), (1, 1));
    assert_eq!([&tally.received, &tally.repeated].map(local::tally::Count::get), [1, 1]);
    assert_eq!(tally.abandoned.get(), 0);
}

#[tokio::test]
async fn without_a_destination_an_event_that_was_given_up_is_kept_for_the_end() {
    let lambda = Lambda::start(Duration::ZERO, false).await;
    lambda.invoke("odd", "Event", EXIT).await;
    until("a note", || !lambda.notes.lock().unwrap().is_empty()).await;
    let tally = Arc::clone(&lambda.tally);
    assert!(lambda.notes.lock().unwrap()[0].contains("no on-failure destination"));
    assert_eq!(lambda.stop().await, [Left { event: EXIT.into(), packets: 1 }]);
    assert_eq!((tally.received.get(), tally.abandoned.get()), (1, 0));
}

/// A message has room for about as much as an event, but not for the words around it too.
#[tokio::test]
async fn an_event_that_is_too_large_for_the_queue_is_kept_for_the_end() {
    let lambda = Lambda::start(Duration::ZERO, true).await;
    let large = format!(r#"{{"Data":"exit","Pad":"{}"}}"#, "x".repeat(ASYNCHRONOUS_BYTES - 25));
    lambda.invoke("odd", "Event", &large).await;
    until("a note", || !lambda.notes.lock().unwrap().is_empty()).await;
    assert!(lambda.queue.bodies().is_empty());
    assert_eq!(lambda.stop().await, [Left { event: large, packets: 1 }]);
}

/// One waits for its second try, one is with the function, one for its turn.
#[tokio::test]
async fn what_was_not_at_its_end_comes_back_when_all_is_stopped() {
    let lambda = Lambda::start(Duration::from_secs(60), true).await;
    let events = [r#"{"Data":"error"}"#, r#"{"Data":"hang"}"#, r#"{"Data":"answer"}"#];
    for (number, event) in events.into_iter().enumerate() {
        lambda.invoke("odd", "Event", event).await;
        if number < 2 {
            lambda.log_has(&format!("got {event}\n")).await;
        }
    }
    let tally = Arc::clone(&lambda.tally);
    let left = lambda.stop().await;
    for event in events {
        assert!(left.contains(&Left { event: event.into(), packets: 1 }), "{left:?}");
    }
    assert_eq!((left.len(), tally.received.get(), tally.abandoned.get()), (3, 3, 0));
}

/// "Invoke", `LogType`: the last 4 KB of the log, in base64, of a synchronous invocation.
#[tokio::test]
async fn a_tail_is_what_this_invocation_wrote() {
    let lambda = Lambda::start(Duration::ZERO, true).await;
    let tail = async |event: &str, kind: &str| {
        let line = "POST /2015-03-31/functions/odd/invocations";
        let headers = format!("X-Amz-Log-Type: Tail\r\nX-Amz-Invocation-Type: {kind}\r\n");
        let answer = exchange(lambda.port, line, &headers, event.as_bytes()).await;
        let log = answer.head.lines().find_map(|line| line.strip_prefix("x-amz-log-result: "));
        log.map(str::to_owned)
    };
    // The head is in lower case, so what base64 makes of the text is compared, and not the text.
    let of = |text: &str| Some(BASE64_STANDARD.encode(text).to_ascii_lowercase());
    lambda.invoke("odd", "RequestResponse", r#""answer""#).await;
    assert_eq!(tail(r#""error""#, "RequestResponse").await, of("got \"error\"\n"), "of a failed one too");
    assert_eq!(tail(r#""answer""#, "RequestResponse").await, of("got \"answer\"\n"), "and no other's");
    let long = format!("\"{}\"", "x".repeat(5000));
    let last = format!("{}\"\n", "x".repeat(4094));
    assert_eq!(tail(&long, "RequestResponse").await, of(&last));
    assert_eq!(tail(r#""answer""#, "Event").await, None);
    let died = tail(EXIT, "RequestResponse").await.unwrap();
    assert!(died.starts_with(&of(&format!("got {EXIT}\ngoing\n")).unwrap()[..20]), "{died}");
    let plain = lambda.invoke("odd", "RequestResponse", r#""answer""#).await;
    assert!(!plain.head.contains("x-amz-log-result"));
}

#[tokio::test]
async fn a_mapping_is_listed_described_disabled_and_enabled() {
    let lambda = Lambda::start(Duration::ZERO, true).await;
    let (mapping, id) = (lambda.mappings[0].clone(), lambda.mappings[0].id().to_owned());
    let made = lambda.mapping_api(&format!("GET {id}"), "").await;
    assert_eq!((made.status, &made.body["State"]), (200, &json!("Creating")), "it is not bound yet");

    let kinesis = Kinesis::new(Config::local());
    kinesis.create_stream("s", 1, false).unwrap();
    let stream = kinesis.stream("s").unwrap();
    let (stop, stopped) = watch::channel(false);
    let run = {
        let (mapping, function, stream) = (mapping.clone(), lambda.odd.function.clone(), stream.clone());
        let destination = Some(Destination::Queue(lambda.queue.clone()));
        async move { mapping.run(Arc::new(stream), function, destination, Arc::new(|_| {}), stopped).await }
    };
    let run = tokio::spawn(run);
    until("a shard", || !mapping.progress().is_empty()).await;

    let all = lambda.mapping_api("GET ", "").await.body["EventSourceMappings"].clone();
    let [one] = &all.as_array().unwrap()[..] else { panic!("{all}") };
    let function = "arn:aws:lambda:us-east-1:000000000000:function:odd";
    for (member, want) in [
        ("UUID", json!(id)),
        ("EventSourceArn", json!(stream.arn())),
        ("FunctionArn", json!(function)),
        (
            "EventSourceMappingArn",
            json!(format!("arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{id}")),
        ),
        ("State", json!("Enabled")),
        ("BatchSize", json!(100)),
        ("MaximumRetryAttempts", json!(3)),
        ("MaximumRecordAgeInSeconds", json!(-1)),
        ("StartingPosition", json!("TRIM_HORIZON")),
        ("FunctionResponseTypes", json!([])),
        ("DestinationConfig", json!({ "OnFailure": { "Destination": lambda.queue.arn() } })),
    ] {
        assert_eq!(one[member], want, "{member}");
    }
    assert!(one["LastModified"].as_f64().unwrap() > 1.7e9);
    let source = stream.arn().replace(':', "%3A").replace('/', "%2f");
    for (query, want) in [
        (format!("EventSourceArn={source}&FunctionName=odd"), 1),
        ("FunctionName=arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Aodd&MaxItems=1".into(), 1),
        ("FunctionName=000000000000:function:odd".into(), 1),
        ("FunctionName=even".into(), 0),
        (format!("EventSourceArn={source}x"), 0),
        ("Marker=1".into(), 0),
    ] {
        let listed = lambda.mapping_api(&format!("GET ?{query}"), "").await;
        assert_eq!(listed.body["EventSourceMappings"].as_array().unwrap().len(), want, "{query}");
        assert_eq!(listed.body.get("NextMarker"), None, "{query}");
    }

    let put = format!("PUT {id}");
    let update = async |body: &str| {
        let answer = lambda.mapping_api(&put, body).await;
        (answer.status, answer.body["State"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(update(r#"{"Enabled":false}"#).await, (202, "Disabling".into()));
    assert_eq!(mapping.state(), State::Disabled);
    assert_eq!(update(r#"{"Enabled":false}"#).await, (202, "Disabled".into()));
    assert_eq!(update("{}").await, (202, "Disabled".into()));
    assert_eq!(lambda.mapping_api(&format!("GET {id}"), "").await.body["State"], "Disabled");
    assert_eq!(update(r#"{"Enabled":true}"#).await, (202, "Enabling".into()));
    assert_eq!(mapping.state(), State::Enabled);
    stop.send_replace(true);
    run.await.unwrap();
}

#[tokio::test]
async fn what_a_mapping_cannot_is_refused_by_name() {
    let lambda = Lambda::start(Duration::ZERO, true).await;
    let id = lambda.mappings[0].id();
    for (status, error, line, body, says) in [
        (404, "ResourceNotFoundException", "GET 7", "", "the UUID 7"),
        (404, "ResourceNotFoundException", "PUT 7", r#"{"Enabled":false}"#, "the UUID 7"),
        (404, "UnknownOperationException", "POST ", "{}", "CreateEventSourceMapping"),
        (404, "UnknownOperationException", &format!("DELETE {id}"), "", "DeleteEventSourceMapping"),
        (400, "InvalidParameterValueException", &format!("PUT {id}"), r#"{"BatchSize":7}"#, "BatchSize"),
        (400, "InvalidParameterValueException", &format!("PUT {id}"), r#"{"Enabled":"no"}"#, "Enabled is"),
        (400, "InvalidRequestContentException", &format!("PUT {id}"), "", "no JSON"),
        (400, "InvalidParameterValueException", "GET ?MaxItems=0", "", "MaxItems"),
        (400, "InvalidParameterValueException", "GET ?Marker=x", "", "Marker"),
        (400, "InvalidParameterValueException", "GET ?Function=odd", "", "Function is not known"),
    ] {
        let answer = lambda.mapping_api(line, body).await;
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        let named = format!("x-amzn-errortype: {}", error.to_ascii_lowercase());
        assert!(answer.head.contains(&named), "{line}: {}", answer.head);
        assert!(answer.body["Message"].as_str().unwrap().contains(says), "{line}: {}", answer.body);
    }
    assert_eq!(lambda.mappings[0].state(), State::Enabled, "nothing of it was done");
}
