//! The body that goes out is ours and not the SDK's: what it signs and announces must be that body all the same. The
//! signature is reckoned here a second time, as the AWS General Reference describes it ("Create a signed AWS API
//! request").

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpListener;

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use writer::{Kinesis, PutRecords, Record, StreamId};

const STORED: &str =
    r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000"}]}"#;

/// One request as it came over the wire: its head, and its body.
fn taken(listener: &TcpListener) -> (String, String) {
    let (mut connection, _) = listener.accept().unwrap();
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = connection.read(&mut buffer).unwrap();
        assert!(count > 0, "the connection ended within the request");
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8(request.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if body.len() >= header(head, "content-length").parse().unwrap() {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{STORED}", STORED.len());
            connection.write_all(answer.as_bytes()).unwrap();
            return (head.to_owned(), body.to_owned());
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let found = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = found.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let value = found.next().unwrap_or_else(|| panic!("no {name} in {head}")).1.trim();
    assert_eq!(found.next(), None, "{name} is there twice");
    value
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut code = Hmac::<Sha256>::new_from_slice(key).unwrap();
    code.update(text.as_bytes());
    code.finalize().into_bytes().to_vec()
}

/// The signature that belongs to this head and body.
fn signature(head: &str, body: &str, secret: &str) -> String {
    let authorization = header(head, "authorization");
    let part = |name: &str| {
        let (_, rest) =
            authorization.split_once(name).unwrap_or_else(|| panic!("no {name} in {authorization}"));
        rest.split(',').next().unwrap().trim()
    };
    let signed = part("SignedHeaders=");
    let scope = part("Credential=").split_once('/').unwrap().1;
    let headers =
        signed.split(';').fold(String::new(), |text, name| text + name + ":" + header(head, name) + "\n");
    let digest = hex(&Sha256::digest(body));
    let canonical = format!("POST\n/\n\n{headers}\n{signed}\n{digest}");
    let date = header(head, "x-amz-date");
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| keyed(&key, part));
    hex(&keyed(&key, &text))
}

#[tokio::test]
async fn what_goes_out_is_what_was_signed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || taken(&listener));
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region("eu-west-1")
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"));
    let config = writer::sdk_config(config, |_| None).await.unwrap();
    let stream = Kinesis::with_config(&config, StreamId::named("packets"));
    let answer = stream.put_records(&[&Record::new("k", b"{}")]).await.unwrap();
    assert_eq!(answer[0].as_ref().map(|stored| stored.sequence_number.as_str()), Ok("1"));
    let (head, body) = server.join().unwrap();
    assert_eq!(body, r#"{"StreamName":"packets","Records":[{"Data":"e30=","PartitionKey":"k"}]}"#);
    assert_eq!(header(&head, "content-length"), body.len().to_string());
    assert_eq!(header(&head, "content-type"), "application/x-amz-json-1.1");
    assert_eq!(header(&head, "x-amz-target"), "Kinesis_20131202.PutRecords");
    let given = header(&head, "authorization").rsplit_once("Signature=").unwrap().1;
    assert_eq!(given, signature(&head, &body, "secret"));
}
