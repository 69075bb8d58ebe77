//! The real client against servers that answer badly, or not at all: what each comes to is what the writer decides by.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use writer::{Class, Failure, Kinesis, Limits, PutRecords, Record, StreamId};

const STORED: &str =
    r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000"}]}"#;

/// What a server does with one request after it has read it whole.
#[derive(Clone, Copy)]
enum Then {
    /// Says nothing, and waits for the connection to be closed.
    Silence,
    Answer(u16, &'static str),
    Close,
    HalfAnAnswer,
}

/// A server that does this with one request after the other, each on whatever connection it comes; it tells how many
/// it has read.
fn serve(script: &'static [Then]) -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (read, requests) = mpsc::channel();
    std::thread::spawn(move || {
        let mut script = script.iter();
        while let Ok((mut connection, _)) = listener.accept() {
            while read_request(&mut connection) {
                let _ = read.send(());
                match script.next() {
                    Some(Then::Answer(status, body)) => {
                        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                        connection.write_all((head + body).as_bytes()).unwrap();
                    }
                    Some(Then::HalfAnAnswer) => {
                        connection.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{\"Rec").unwrap();
                        break;
                    }
                    Some(Then::Close) => break,
                    Some(Then::Silence) => {
                        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                        let ended = connection.read(&mut [0]).map_err(|error| error.kind());
                        assert!(matches!(ended, Ok(0) | Err(ErrorKind::ConnectionReset)), "{ended:?}");
                        let _ = read.send(());
                        return;
                    }
                    None => return,
                }
            }
        }
    });
    (address, requests)
}

fn read_request(connection: &mut TcpStream) -> bool {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.split_once("content-length: ").map_or("0", |(_, rest)| rest.split('\r').next().unwrap());
            if body.len() >= length.parse().unwrap() {
                return true;
            }
        }
        match connection.read(&mut buffer) {
            Ok(1..) => {}
            _ => return false,
        }
        request.extend_from_slice(&buffer[..]);
    }
}

/// A provider that has none, as in a function without a role.
#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("there are none")))
    }
}

async fn stream(address: SocketAddr, credentials: bool) -> Kinesis {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region("us-east-1")
        .endpoint_url(format!("http://{address}"));
    let config = if credentials {
        config.credentials_provider(Credentials::new("id", "secret", None, None, "test"))
    } else {
        config.credentials_provider(NoCredentials)
    };
    Kinesis::with_config(&writer::sdk_config(config, |_| None).await.unwrap(), StreamId::named("packets"))
}

fn record() -> Record<'static> {
    Record::new("k", b"{}")
}

/// What one request comes to.
async fn check(script: &'static [Then], class: Class, code: &str, may_be_stored: bool) -> Failure {
    let (address, _) = serve(script);
    let failure = stream(address, true).await.put_records(&[&record()]).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.code.as_str(), failure.may_be_stored),
        (class, code, may_be_stored),
        "{failure}"
    );
    failure
}

#[tokio::test]
async fn an_answer_gives_a_result_for_each_entry() {
    const TWO: &str = r#"{"FailedRecordCount":1,"Records":[{"SequenceNumber":"1","ShardId":"s"},
        {"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"slow"},{}]}"#;
    let (address, _) = serve(&[Then::Answer(200, TWO)]);
    let results = stream(address, true).await.put_records(&[&record()]).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap().sequence_number, "1");
    let throttled = results[1].as_ref().unwrap_err();
    assert_eq!((throttled.class, throttled.message.as_str()), (Class::Throttled, "slow"));
    assert_eq!(results[2].as_ref().unwrap_err().code, "NoSequenceNumber");
}

#[tokio::test]
async fn errors_of_the_service_keep_their_name_and_words() {
    const NO_STREAM: &str = r#"{"__type":"ResourceNotFoundException","message":"Stream packets not found."}"#;
    let failure =
        check(&[Then::Answer(400, NO_STREAM)], Class::Fatal, "ResourceNotFoundException", false).await;
    assert_eq!(
        failure.message,
        "Stream packets not found. (check STREAM_ARN or STREAM_NAME, and the region)"
    );
    const INVALID: &str =
        r#"{"__type":"com.amazonaws.kinesis#InvalidArgumentException","message":"too long"}"#;
    check(&[Then::Answer(400, INVALID)], Class::Refused, "InvalidArgumentException", false).await;
    check(&[Then::Answer(500, "{}")], Class::Failed, "Http500", true).await;
    check(&[Then::Answer(503, "busy")], Class::Failed, "Http503", true).await;
    check(&[Then::Answer(413, "")], Class::Refused, "Http413", false).await;
}

/// Each of these ends the put at once: whoever reads of it should know where to look first.
#[tokio::test]
async fn every_fatal_error_says_what_to_check() {
    async fn advised(script: &'static [Then], code: &str, want: &str) {
        let failure = check(script, Class::Fatal, code, false).await;
        assert!(failure.message.ends_with(want) && failure.message.contains("(check "), "{failure}");
    }
    const DENIED: &str = r#"{"__type":"AccessDeniedException","Message":"not authorized"}"#;
    advised(&[Then::Answer(400, DENIED)], "AccessDeniedException", "kinesis:PutRecords on this stream)")
        .await;
    const KMS: &str = r#"{"__type":"KMSAccessDeniedException","message":"no key"}"#;
    advised(
        &[Then::Answer(400, KMS)],
        "KMSAccessDeniedException",
        "kms:GenerateDataKey with the stream's key)",
    )
    .await;
    const EXPIRED: &str = r#"{"__type":"ExpiredTokenException","message":"too old"}"#;
    advised(&[Then::Answer(400, EXPIRED)], "ExpiredTokenException", "the credentials, and the clock)").await;
    const NEW: &str = r#"{"__type":"SomethingNewException","message":"sorry"}"#;
    advised(&[Then::Answer(400, NEW)], "SomethingNewException", "and the function's role)").await;
    advised(&[Then::Answer(403, "<html>")], "Http403", "and the function's role)").await;
}

#[tokio::test]
async fn a_connection_that_closes_instead_of_answering_may_have_carried_the_request() {
    check(&[Then::Close], Class::Broken, "ConnectionBroken", true).await;
    check(&[Then::HalfAnAnswer], Class::Broken, "ConnectionBroken", true).await;
}

#[tokio::test]
async fn a_connection_that_is_refused_carried_nothing() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = stream(closed, true).await.put_records(&[&record()]).await.unwrap_err();
    assert_eq!((failure.class, failure.may_be_stored), (Class::Broken, false), "{failure}");
}

#[tokio::test]
async fn missing_credentials_are_fatal_and_nothing_was_sent() {
    let (address, requests) = serve(&[Then::Answer(200, STORED)]);
    let failure = stream(address, false).await.put_records(&[&record()]).await.unwrap_err();
    assert_eq!((failure.class, failure.may_be_stored), (Class::Fatal, false), "{failure}");
    assert!(
        failure.message.ends_with("(check the function's role, its credentials and the region)"),
        "{failure}"
    );
    assert!(requests.try_recv().is_err());
}

/// A function that thaws finds its kept-alive connection closed: the record is written all the same, at once.
#[tokio::test]
async fn a_record_survives_a_connection_that_died_and_is_counted_as_a_possible_duplicate() {
    let (address, requests) = serve(&[Then::Answer(200, STORED), Then::Close, Then::Answer(200, STORED)]);
    let stream = stream(address, true).await;
    for possible_duplicates in [0, 1] {
        let until = Instant::now() + Duration::from_secs(20);
        let report = writer::put(&stream, &[record()], Limits::default(), until).await;
        assert_eq!((report.acknowledged.len(), report.undelivered.len()), (1, 0));
        assert_eq!(report.effort.possible_duplicates, possible_duplicates);
    }
    assert_eq!(requests.try_iter().count(), 3);
}

/// What is given up is over: the connection that carried it is closed, so that nothing more of it can go out.
#[tokio::test]
async fn a_request_that_is_given_up_at_the_deadline_leaves_no_connection_behind() {
    let (address, requests) = serve(&[Then::Silence]);
    let stream = stream(address, true).await;
    let until = Instant::now() + Duration::from_millis(300);
    let report = writer::put(&stream, &[record()], Limits::default(), until).await;
    assert_eq!(report.undelivered[0].reason.code, "TimedOut");
    assert!(report.undelivered[0].may_be_stored);
    let sent_and_closed = tokio::task::spawn_blocking(move || requests.iter().count());
    assert_eq!(sent_and_closed.await.unwrap(), 2);
}
