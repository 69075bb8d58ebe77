//! The body of a `PutRecords` request and the results in its answer, as JSON.
//!
//! An invocation brings hundreds of records, and the SDK's model of them costs more than everything else that is done
//! with them: two allocations an entry on the way out, a tree of options on the way in. So the body is written into one
//! buffer and put in place of the one that the SDK made of an empty list; signing, endpoint, connection and errors are
//! the SDK's as ever. The form is that of the API reference (`PutRecords`, request and response syntax).

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aws_sdk_kinesis::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::engine::{Simd, general_purpose::PAD};
use bytes::Bytes;
use serde::Deserialize;

use super::StreamId;
use crate::{Class, Failure, Record, Stored, classify};

/// The standard alphabet, padded.
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// What an entry has beside its data and its keys: names, quotes, the digits of a hash key.
const AROUND: usize = 100;

/// The request's body.
pub(super) fn body(stream: &StreamId, entries: &[&Record<'_>]) -> Vec<u8> {
    let sizes = entries.iter().map(|entry| entry.data.len() * 4 / 3 + entry.partition_key.len() + AROUND);
    let mut out = Vec::with_capacity(AROUND + sizes.sum::<usize>());
    for (member, value) in [("{\"StreamName\":", &stream.name), ("{\"StreamARN\":", &stream.arn)] {
        if let Some(value) = value {
            out.extend_from_slice(
                if out.is_empty() { member } else { member.trim_start_matches('{') }.as_bytes(),
            );
            text(value, &mut out);
            out.push(b',');
        }
    }
    out.extend_from_slice(if out.is_empty() { b"{\"Records\":[" } else { b"\"Records\":[" });
    for (index, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"Data\":\"" } else { b",{\"Data\":\"" });
        let start = out.len();
        out.resize(start + entry.data.len().div_ceil(3) * 4, b'=');
        let written = BASE64.encode_slice(entry.data, &mut out[start..]);
        debug_assert_eq!(written.ok(), Some(out.len() - start));
        out.extend_from_slice(b"\",\"PartitionKey\":");
        text(&entry.partition_key, &mut out);
        if let Some(hash_key) = entry.explicit_hash_key {
            out.extend_from_slice(b",\"ExplicitHashKey\":\"");
            out.extend_from_slice(hash_key.to_string().as_bytes());
            out.push(b'"');
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// Puts our body in the place of the SDK's, and takes the answer's, if it is one of success, out of its hands.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Shared with the request that carries it.
    body: Bytes,
    answer: Slot,
}

/// Where the answer's body is left.
type Slot = Arc<Mutex<Option<SdkBody>>>;

impl Exchange {
    /// The exchange for one request with this body, and where to find what is answered.
    pub(super) fn new(body: Vec<u8>) -> (Self, Slot) {
        let answer = Slot::default();
        (Self { body: body.into(), answer: answer.clone() }, answer)
    }
}

impl Intercept for Exchange {
    fn name(&self) -> &'static str {
        "PutRecordsBody"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.headers_mut().insert("content-length", self.body.len().to_string());
        *request.body_mut() = SdkBody::from(self.body.clone());
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        if response.status().is_success() {
            let body = std::mem::replace(response.body_mut(), SdkBody::from(r#"{"Records":[]}"#));
            *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
        Ok(())
    }
}

/// Reads the results, one for each entry, in the order of the request.
///
/// # Errors
/// The text is none of an answer; the parser's reason.
pub(super) fn results(answer: &[u8]) -> serde_json::Result<Vec<Result<Stored, Failure>>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, rename = "Records")]
        records: Vec<Entry<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry<'a> {
        #[serde(borrow)]
        shard_id: Option<Cow<'a, str>>,
        #[serde(borrow)]
        sequence_number: Option<Cow<'a, str>>,
        #[serde(borrow)]
        error_code: Option<Cow<'a, str>>,
        #[serde(borrow)]
        error_message: Option<Cow<'a, str>>,
    }
    let Answer { records } = serde_json::from_slice(answer)?;
    let result = |entry: Entry<'_>| match (entry.error_code, entry.shard_id, entry.sequence_number) {
        (None, Some(shard_id), Some(sequence_number)) => {
            Ok(Stored { shard_id: shard_id.into_owned(), sequence_number: sequence_number.into_owned() })
        }
        (Some(code), ..) => Err(Failure {
            class: classify(&code, 0),
            message: entry.error_message.unwrap_or_default().into_owned(),
            code: code.into_owned(),
            may_be_stored: false,
        }),
        (None, ..) => Err(Failure {
            class: Class::Failed,
            code: "NoSequenceNumber".into(),
            message: "the result of the entry held neither an error code nor shard and sequence number"
                .into(),
            may_be_stored: true,
        }),
    };
    Ok(records.into_iter().map(result).collect())
}

fn text(text: &str, out: &mut Vec<u8>) {
    // A text does not refuse to be written, and neither does a buffer.
    _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn parsed(stream: &StreamId, records: &[Record<'_>]) -> Value {
        let entries: Vec<_> = records.iter().collect();
        serde_json::from_slice(&body(stream, &entries)).unwrap()
    }

    #[test]
    fn a_body_names_the_stream_as_it_was_named_and_every_entry_in_order() {
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/packets";
        let both = StreamId { name: Some("packets".into()), arn: Some(arn.into()) };
        let hashed = Record { explicit_hash_key: Some(u128::MAX), ..Record::new("k\"\n", b"{}") };
        assert_eq!(
            parsed(&both, &[hashed, Record::new("ü", b"")]),
            json!({"StreamName": "packets", "StreamARN": arn, "Records": [
                {"Data": "e30=", "PartitionKey": "k\"\n", "ExplicitHashKey": "340282366920938463463374607431768211455"},
                {"Data": "", "PartitionKey": "ü"},
            ]})
        );
        let by_arn = StreamId { name: None, arn: Some("a".into()) };
        assert_eq!(parsed(&by_arn, &[]), json!({"StreamARN": "a", "Records": []}));
        assert_eq!(parsed(&StreamId::default(), &[]), json!({"Records": []}));
    }

    proptest! {
        #[test]
        fn data_and_keys_come_through(given in prop::collection::vec((any::<Vec<u8>>(), any::<String>()), 0..20)) {
            let records: Vec<_> = given.iter().map(|(data, key)| Record::new(key.clone(), data)).collect();
            let body = parsed(&StreamId::named("s"), &records);
            let read = |entry: &Value| {
                let data = base64::prelude::BASE64_STANDARD.decode(entry["Data"].as_str().unwrap()).unwrap();
                (data, entry["PartitionKey"].as_str().unwrap().to_owned())
            };
            prop_assert_eq!(body["Records"].as_array().unwrap().iter().map(read).collect::<Vec<_>>(), given);
        }
    }

    #[track_caller]
    fn check_results(answer: &str, want: &[Result<&str, &str>]) {
        let results = results(answer.as_bytes()).unwrap();
        let shown: Vec<_> = results
            .iter()
            .map(|result| match result {
                Ok(stored) => Ok(format!("{} {}", stored.shard_id, stored.sequence_number)),
                Err(why) => Err(format!("{:?} {why} {}", why.class, why.may_be_stored)),
            })
            .collect();
        let shown: Vec<_> = shown.iter().map(|result| result.as_deref().map_err(String::as_str)).collect();
        assert_eq!(shown, want);
    }

    #[test]
    fn every_result_is_read() {
        check_results(r#"{"Records":[],"FailedRecordCount":0}"#, &[]);
        check_results(
            r#"{"FailedRecordCount":1,"EncryptionType":"KMS","Records":[
                {"ShardId":"s-0","SequenceNumber":"4\u0039"},
                {"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate \"exceeded\""},
                {"ErrorCode":"InternalFailure","ErrorMessage":null,"ShardId":null,"New":{"x":[1]}}]}"#,
            &[
                Ok("s-0 49"),
                Err("Throttled ProvisionedThroughputExceededException: Rate \"exceeded\" false"),
                Err("Failed InternalFailure:  false"),
            ],
        );
        let nothing = "Failed NoSequenceNumber: the result of the entry held neither an error code nor shard and sequence number true";
        check_results(r#"{"Records":[{"ShardId":"s-0"}]}"#, &[Err(nothing)]);
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        for text in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"Records":null}"#,
            r#"{"Records":[5]}"#,
            r#"{"Records":[]"#,
            "<html>",
        ] {
            assert!(results(text.as_bytes()).is_err(), "{text}");
        }
    }
}
