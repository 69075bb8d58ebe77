//! The event that Lambda gives to a function bound to a stream ("Process Amazon Kinesis Data Streams records with
//! Lambda", example event).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use crate::stream::{Record, ShardId};

/// What all records of an event have in common.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) shard: ShardId,
    pub(super) stream_arn: String,
    pub(super) region: String,
    pub(super) account: String,
}

/// Bytes of a record's envelope without data, key and ARNs, generously.
const ENVELOPE_BYTES: usize = 640;

/// Bytes that a record takes in an event, at most.
pub(super) fn size(record: &Record, origin: &Origin) -> usize {
    // An escaped character of the key takes up to six bytes.
    ENVELOPE_BYTES
        + origin.stream_arn.len()
        + record.partition_key.len() * 6
        + record.data.len().div_ceil(3) * 4
}

/// The event with these records, in this order.
pub(super) fn event(records: &[Record], origin: &Origin) -> Bytes {
    let mut text = String::with_capacity(records.iter().map(|record| size(record, origin)).sum());
    text.push_str(r#"{"Records":["#);
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let Origin { shard, stream_arn, region, account } = origin;
        let number = &record.sequence_number;
        // A string is always written as JSON.
        let key = serde_json::to_string(&*record.partition_key).unwrap_or_default();
        text.push_str(&format!(
            r#"{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":{key},"sequenceNumber":"{number}","data":""#
        ));
        BASE64_STANDARD.encode_string(&record.data, &mut text);
        let (seconds, millis) = (record.arrival_ms / 1000, record.arrival_ms % 1000);
        let encryption = if record.encrypted { r#","encryptionType":"KMS""# } else { "" };
        text.push_str(&format!(
            r#"","approximateArrivalTimestamp":{seconds}.{millis:03}{encryption}}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"{shard}:{number}","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::{account}:role/rivulet-consumer","awsRegion":"{region}","eventSourceARN":"{stream_arn}"}}"#
        ));
    }
    text.push_str("]}");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_shape_that_lambda_gives_it() {
        let shard: ShardId = "shardId-000000000006".parse().unwrap();
        let origin = Origin {
            shard,
            stream_arn: "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream".into(),
            region: "us-east-2".into(),
            account: "123456789012".into(),
        };
        let number = "49590338271490256608559692538361571095921575989136588898";
        let record = Record {
            sequence_number: number.parse().unwrap(),
            partition_key: "a\"\u{1}".into(),
            data: "Hello".into(),
            arrival_ms: 1_545_084_650_087,
            encrypted: true,
        };
        let event = event(&[record.clone(), record.clone()], &origin);
        assert!(event.len() <= 2 * size(&record, &origin));
        let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
        assert_eq!(event["Records"].as_array().unwrap().len(), 2);
        let want = serde_json::json!({
            "kinesis": {
                "kinesisSchemaVersion": "1.0", "partitionKey": "a\"\u{1}", "sequenceNumber": number,
                "data": "SGVsbG8=", "approximateArrivalTimestamp": 1_545_084_650.087, "encryptionType": "KMS",
            },
            "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": format!("shardId-000000000006:{number}"),
            "eventName": "aws:kinesis:record", "invokeIdentityArn": "arn:aws:iam::123456789012:role/rivulet-consumer",
            "awsRegion": "us-east-2", "eventSourceARN": origin.stream_arn,
        });
        assert_eq!(event["Records"][1], want);
    }
}
