//! The real queue: `SendMessageBatch` through the AWS SDK, with its retries off.

use std::sync::OnceLock;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message_batch::{SendMessageBatchError, SendMessageBatchOutput};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use super::{Answer, Refusal, SendMessages, Then, no_result};

/// A queue in Amazon SQS, or in whatever speaks its API at the endpoint that the SDK was told of.
#[derive(Debug)]
pub struct Sqs {
    url: String,
    config: SdkConfig,
    client: OnceLock<Client>,
}

impl Sqs {
    /// The queue of this URL. Most invocations have nothing for it, so that the client is made only when there is.
    pub fn new(url: String, config: SdkConfig) -> Self {
        Self { url, config, client: OnceLock::new() }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            let config = aws_sdk_sqs::config::Builder::from(&self.config)
                .retry_config(RetryConfig::disabled())
                // Every attempt is timed by its caller.
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
                .build();
            Client::from_conf(config)
        })
    }
}

impl SendMessages for Sqs {
    async fn send_messages(&self, bodies: &[&str]) -> Answer {
        let entries = bodies.iter().enumerate().map(|(index, body)| {
            SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(*body).build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| Refusal {
            code: "InvalidRequest".into(),
            message: error.to_string(),
            then: Then::GiveUp,
        })?;
        let sent =
            self.client().send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await;
        sent.map(|output| results(bodies.len(), output)).map_err(|error| refusal(&error))
    }
}

/// The results in the order of the batch; its entries' ids are their places.
fn results(count: usize, output: SendMessageBatchOutput) -> Vec<Result<(), Refusal>> {
    let mut results = vec![Err(no_result()); count];
    let place = |id: &str| id.parse().ok().filter(|&place: &usize| place < count);
    for taken in output.successful {
        if let Some(place) = place(&taken.id) {
            results[place] = Ok(());
        }
    }
    for failed in output.failed {
        if let Some(place) = place(&failed.id) {
            results[place] = Err(Refusal {
                code: failed.code,
                message: failed.message.unwrap_or_default(),
                then: if failed.sender_fault { Then::GiveUp } else { Then::Again },
            });
        }
    }
    results
}

fn refusal(error: &SdkError<SendMessageBatchError, HttpResponse>) -> Refusal {
    let words = || DisplayErrorContext(error).to_string();
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let code = context.err().code().unwrap_or_default();
            Refusal {
                code: if code.is_empty() { format!("Http{status}") } else { code.into() },
                message: context.err().message().map_or_else(words, Into::into),
                then: after(code, status),
            }
        }
        SdkError::TimeoutError(_) => refused("TimedOut", words(), Then::Again),
        SdkError::ResponseError(_) => refused("ConnectionBroken", words(), Then::Again),
        SdkError::DispatchFailure(_) if writer::is_mistrusted(error) => {
            refused("NotSent", format!("{} ({})", words(), writer::MISTRUSTED), Then::Stop)
        }
        // A connection that closes instead of answering, as a thawed function's may, is none of the SDK's own kinds of
        // failure, but has a kind: that of what passes.
        SdkError::DispatchFailure(failure)
            if failure.is_io() || failure.is_timeout() || failure.as_other().is_some() =>
        {
            refused("ConnectionBroken", words(), Then::Again)
        }
        // Credentials that cannot be had, a configuration that makes no request.
        _ => refused("NotSent", words(), Then::Stop),
    }
}

fn refused(code: &str, message: String, then: Then) -> Refusal {
    Refusal { code: code.into(), message, then }
}

/// What to do after an error of this name and HTTP status. Names are those of the API reference of SendMessageBatch and
/// of the common errors of AWS services; the older protocol's stand behind a prefix.
fn after(code: &str, status: u16) -> Then {
    match code.trim_start_matches("AWS.SimpleQueueService.") {
        "RequestThrottled"
        | "KmsThrottled"
        | "KMS.ThrottlingException"
        | "Throttling"
        | "ThrottlingException" => Then::Again,
        // What is wrong with one batch need not be wrong with the next.
        "BatchRequestTooLong" | "InvalidMessageContents" | "InvalidParameterValue" => Then::GiveUp,
        _ if matches!(status, 408 | 429 | 500..=599) => Then::Again,
        _ => Then::Stop,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use aws_config::BehaviorVersion;
    use aws_sdk_sqs::config::Credentials;
    use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchResultEntry};

    use super::*;

    /// What the real client makes of a server that answers each connection's first request with this and closes it.
    async fn refusal_of(answer: &'static str) -> Refusal {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let (mut request, mut buffer) = (String::new(), [0; 4096]);
            // The one message ends the body; what is left unread would make of the end a reset.
            while !request.ends_with('}') {
                let count = connection.read(&mut buffer).unwrap();
                request.push_str(str::from_utf8(&buffer[..count]).unwrap());
            }
            connection.write_all(answer.as_bytes()).unwrap();
        });
        let refusal = ask(&url).await;
        server.join().unwrap();
        refusal
    }

    async fn ask(url: &str) -> Refusal {
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region("us-east-1")
            .endpoint_url(url)
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"));
        let config = writer::sdk_config(loader, |_| None).await.unwrap();
        let queue = Sqs::new(format!("{url}/0/q"), config);
        queue.send_messages(&["body"]).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_no_reason_to_stop() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for refusal in [
            refusal_of("").await,
            refusal_of("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await,
            ask(&format!("http://{closed}")).await,
        ] {
            assert_eq!((refusal.code.as_str(), refusal.then), ("ConnectionBroken", Then::Again), "{refusal}");
        }
    }

    #[track_caller]
    fn check(code: &str, status: u16, want: Then) {
        assert_eq!(after(code, status), want, "{code} {status}");
    }

    #[test]
    fn what_passes_is_sent_again_what_does_not_is_given_up() {
        check("RequestThrottled", 403, Then::Again);
        check("KMS.ThrottlingException", 400, Then::Again);
        check("InternalError", 500, Then::Again);
        check("", 503, Then::Again);
        check("AWS.SimpleQueueService.BatchRequestTooLong", 400, Then::GiveUp);
        for code in [
            "QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
            "AccessDenied",
            "KmsDisabled",
            "",
        ] {
            check(code, 400, Then::Stop);
        }
    }

    #[test]
    fn results_are_told_apart_by_their_ids_and_the_missing_ones_are_none() {
        let taken = |id: &str| {
            let entry =
                SendMessageBatchResultEntry::builder().id(id).message_id("m").md5_of_message_body("5");
            entry.build().unwrap()
        };
        let failed = |id: &str, fault| {
            BatchResultErrorEntry::builder().id(id).code("C").sender_fault(fault).build().unwrap()
        };
        let output = SendMessageBatchOutput::builder()
            .set_successful(Some(vec![taken("3"), taken("0"), taken("9"), taken("x")]))
            .set_failed(Some(vec![failed("1", false), failed("2", true), failed("7", true)]))
            .build()
            .unwrap();
        let results = results(5, output);
        let then = |index: usize| results[index].as_ref().map_err(|refusal| refusal.then).err();
        assert_eq!((then(0), then(3)), (None, None));
        assert_eq!((then(1), then(2)), (Some(Then::Again), Some(Then::GiveUp)));
        assert_eq!(results[4], Err(no_result()));
    }
}
