//! When Amazon's roots alone are trusted, as a table; and real handshakes with an authority that nobody knows.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{Answer, Class, Kinesis, PutRecords, Record, StreamId};

const NONE: &[(&str, &str)] = &[];

#[track_caller]
fn check(vars: &[(&str, &str)], region: &str, endpoints: &[&str], want: bool) {
    let named = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let region = Some(region).filter(|region| !region.is_empty());
    let endpoints: Vec<_> = endpoints.iter().map(|&url| url.to_owned()).collect();
    assert_eq!(amazon_alone(named, region, &endpoints), want, "{vars:?} {region:?} {endpoints:?}");
}

#[test]
fn amazon_alone_is_trusted_in_its_own_regions_alone() {
    for region in ["us-east-1", "eu-central-2", "ap-southeast-7", "mx-central-1", "il-central-1", "sa-east-1"]
    {
        check(NONE, region, &[], true);
    }
    for region in [
        "",
        "cn-north-1",
        "us-gov-west-1",
        "us-iso-east-1",
        "us-isob-east-1",
        "eu-isoe-west-1",
        "eusc-de-east-1",
        "us-east",
        "us-east-x",
        "xx-east-1",
        "local",
    ] {
        check(NONE, region, &[], false);
    }
}

#[test]
fn who_names_an_authority_a_proxy_or_an_endpoint_is_answered_by_others() {
    for name in OTHERS.into_iter().chain([AWS_CA_BUNDLE]) {
        check(&[(name, "x")], "us-east-1", &[], false);
    }
    check(&[("NO_PROXY", "x"), ("PATH", "x")], "us-east-1", &[], true);
    check(NONE, "us-east-1", &["https://vpce-1.kinesis.us-east-1.vpce.amazonaws.com"], false);
    check(NONE, "us-east-1", &["http://localhost:4566", "https://localhost:4566"], false);
    check(NONE, "us-east-1", &["no URL"], false);
}

#[test]
fn an_endpoint_without_tls_needs_no_authority() {
    check(NONE, "us-east-1", &["http://127.0.0.1:4566"], true);
}

#[test]
fn amazon_has_five_usable_roots() {
    let sections: Vec<_> = AMAZON.split_inclusive(END).filter(|pem| pem.contains("BEGIN")).collect();
    assert_eq!(sections.len(), 5);
    assert!(sections.into_iter().all(is_usable));
}

#[test]
fn endpoints_of_every_service_and_of_one_are_seen() {
    /// What the SDK gives for a service's own endpoint, from variable or profile.
    #[derive(Debug)]
    struct OfQueue;
    impl aws_types::service_config::LoadServiceConfig for OfQueue {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            (key.service_id() == "SQS" && key.env() == "AWS_ENDPOINT_URL" && key.profile() == "endpoint_url")
                .then(|| "https://queue".to_owned())
        }
    }
    let config = SdkConfig::builder().endpoint_url("https://all").service_config(OfQueue).build();
    assert_eq!(endpoints(&config), ["https://all", "https://queue"]);
    assert_eq!(endpoints(&SdkConfig::builder().build()), [""; 0]);
}

fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, content).unwrap();
    file
}

#[tokio::test]
async fn a_bundle_of_no_use_is_refused_by_name() {
    let named = |path: PathBuf| {
        let loader = aws_config::defaults(BehaviorVersion::latest());
        sdk_config(loader, move |name| (name == AWS_CA_BUNDLE).then(|| path.display().to_string()))
    };
    let missing = named("/no/such/file".into()).await.unwrap_err().to_string();
    assert!(missing.starts_with("AWS_CA_BUNDLE names /no/such/file, which cannot be read: "), "{missing}");
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for content in [&b""[..], b"\xff\x00", broken] {
        let file = file(content);
        let refused = named(file.path().into()).await.unwrap_err();
        assert!(matches!(&refused, BadBundle::Empty { path } if path == file.path()), "{refused}");
    }
}

/// A Kinesis behind TLS, with an authority of its own: its address, and that authority.
async fn serve() -> (SocketAddr, String) {
    const STORED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 72\r\n\r\n{\"FailedRecordCount\":0,\"Records\":[{\"SequenceNumber\":\"1\",\"ShardId\":\"s\"}]} ";
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // Who mistrusts the certificate goes away.
            let Ok(mut connection) = acceptor.accept(socket).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                connection.read_buf(&mut request).await.unwrap();
            }
            connection.write_all(STORED.as_bytes()).await.unwrap();
        }
    });
    (address, made.cert.pem())
}

/// What comes of one record for that server, whoever is trusted.
async fn put(address: SocketAddr, trusted: TrustStore) -> Answer {
    let credentials = Credentials::new("id", "secret", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(format!("https://localhost:{}", address.port()))
        .build();
    let config = connected(config, |_| None, trusted);
    Kinesis::with_config(&config, StreamId::named("packets")).put_records(&[&Record::new("k", b"{}")]).await
}

#[tokio::test]
async fn who_is_in_the_bundle_is_trusted() {
    let (address, authority) = serve().await;
    // What cannot be read stands in nobody's way.
    let pem = format!("-----BEGIN CERTIFICATE-----\nAAAA\n{END}\n{authority}");
    let file = file(pem.as_bytes());
    let answer = put(address, bundle(file.path().into()).unwrap()).await.unwrap();
    assert_eq!(answer[0].as_ref().unwrap().sequence_number, "1");
}

#[tokio::test]
async fn whom_nobody_knows_is_mistrusted_and_said_how_to_trust() {
    let (address, _) = serve().await;
    for roots in [TrustStore::default(), TrustStore::empty().with_pem_certificate(AMAZON)] {
        let failure = put(address, roots).await.unwrap_err();
        assert_eq!((failure.class, failure.may_be_stored), (Class::Fatal, false), "{failure}");
        assert!(failure.message.contains("UnknownIssuer"), "{failure}");
        assert!(failure.message.contains("SSL_CERT_FILE"), "{failure}");
    }
}
