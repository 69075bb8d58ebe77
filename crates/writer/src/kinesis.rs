//! The real stream: `PutRecords` through the AWS SDK, with its retries off.

mod wire;

use std::sync::PoisonError;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::PutRecordsError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;

use crate::trust::{MISTRUSTED, is_mistrusted};
use crate::{Answer, Class, Failure, PutRecords, Record, advice, classify};
use wire::Exchange;

/// Which stream: by name, by ARN, or by both where they must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamId {
    /// Such as `packets`, in the account and region of the credentials.
    pub name: Option<String>,
    /// Such as `arn:aws:kinesis:eu-west-1:123456789012:stream/packets`; what AWS recommends to give.
    pub arn: Option<String>,
}

impl StreamId {
    /// A stream known by its name alone.
    pub fn named(name: &str) -> Self {
        Self { name: Some(name.into()), arn: None }
    }
}

/// A stream in Amazon Kinesis, or in whatever speaks its API at the endpoint that the SDK was told of.
#[derive(Clone, Debug)]
pub struct Kinesis {
    client: Client,
    stream: StreamId,
}

impl Kinesis {
    /// The stream as this configuration, such as [`sdk_config`](crate::sdk_config) makes it, leads to it. No connection
    /// is made yet.
    pub fn with_config(config: &SdkConfig, stream: StreamId) -> Self {
        let config = aws_sdk_kinesis::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            // The writer times every attempt itself; a second judge of slow streams would only add a second error.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self { client: Client::from_conf(config), stream }
    }
}

impl PutRecords for Kinesis {
    async fn put_records(&self, entries: &[&Record<'_>]) -> Answer {
        let (exchange, answer) = Exchange::new(wire::body(&self.stream, entries));
        let sent = self
            .client
            .put_records()
            .set_stream_name(self.stream.name.clone())
            .set_stream_arn(self.stream.arn.clone())
            .set_records(Some(Vec::new())) // which the exchange replaces
            .customize()
            .interceptor(exchange)
            .send()
            .await;
        if let Err(error) = sent {
            return Err(failure(&error));
        }
        let body =
            answer.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(SdkBody::empty);
        // The request was carried out, or was about to be, and its answer cannot be read.
        let unreadable = |why: &(dyn std::error::Error + 'static)| broken(words(why), true);
        let answer = ByteStream::new(body).collect().await.map_err(|why| unreadable(&why))?.into_bytes();
        wire::results(&answer).map_err(|why| unreadable(&why))
    }
}

fn failure(error: &SdkError<PutRecordsError, HttpResponse>) -> Failure {
    let words = || words(error);
    match error {
        SdkError::ServiceError(context) => {
            let message = context.err().message().map_or_else(words, Into::into);
            answered(context.raw().status().as_u16(), context.err().code().unwrap_or_default(), message)
        }
        // An error in a form that is not Kinesis's own, as a proxy's page.
        SdkError::ResponseError(context) if !context.raw().status().is_success() => {
            answered(context.raw().status().as_u16(), "", words())
        }
        // The request was carried out, or was about to be, and its answer cannot be read.
        SdkError::ResponseError(_) => broken(words(), true),
        SdkError::TimeoutError(_) => {
            Failure { class: Class::TimedOut, code: "TimedOut".into(), message: words(), may_be_stored: true }
        }
        SdkError::DispatchFailure(_) if is_mistrusted(error) => Failure {
            class: Class::Fatal,
            code: "NotSent".into(),
            message: format!("{} ({MISTRUSTED})", words()),
            may_be_stored: false,
        },
        // A connection that was never made carried nothing; one that closed instead of answering may have.
        SdkError::DispatchFailure(failure) if !failure.is_user() && !is_about_credentials(error) => {
            broken(words(), !was_never_connected(error))
        }
        // Credentials that cannot be had, a configuration that makes no request: nothing was sent.
        _ => Failure {
            class: Class::Fatal,
            code: "NotSent".into(),
            message: format!("{} (check the function's role, its credentials and the region)", words()),
            may_be_stored: false,
        },
    }
}

fn answered(status: u16, code: &str, message: String) -> Failure {
    let class = classify(code, status);
    let may_be_stored = matches!(class, Class::Failed | Class::TimedOut);
    let message = match class {
        Class::Fatal => format!("{message} ({})", advice(code)),
        _ => message,
    };
    let code = if code.is_empty() { format!("Http{status}") } else { code.into() };
    Failure { class, code, message, may_be_stored }
}

fn broken(message: String, may_be_stored: bool) -> Failure {
    Failure { class: Class::Broken, code: "ConnectionBroken".into(), message, may_be_stored }
}

/// A connection that could not be made (refused, timed out, no such host) carried no request.
fn was_never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error)
        .filter_map(|error| error.downcast_ref::<hyper_util::client::legacy::Error>())
        .any(|e| e.is_connect())
}

fn is_about_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|error| error.is::<CredentialsError>())
}

/// An error's text and those of its causes.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}
