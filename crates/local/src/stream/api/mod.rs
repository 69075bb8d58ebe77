//! The operations of the Kinesis API: JSON in, JSON out, over the streams of a [`Kinesis`].
//!
//! Member names and shapes are those of the API reference
//! (<https://docs.aws.amazon.com/kinesis/latest/APIReference/>). A member that an operation here does not
//! know is refused by name: it would ask for something that is not done.

mod capacity;
mod consumers;
mod input;
mod read;
mod reshard;
mod resources;
mod settings;
mod shards;
mod streams;
mod write;

use serde::Serialize;

pub(super) use consumers::{subscribe, subscription_event};
pub(super) use resources::About;
pub(super) use streams::check_new_stream;

use super::error::{ApiError, ErrorCode};
use super::handle::Kinesis;

/// What comes before the operation in `X-Amz-Target`.
pub(super) const TARGET: &str = "Kinesis_20131202.";

impl Kinesis {
    /// Does one operation at the given time, in milliseconds since 1970. `target` is the `X-Amz-Target` of
    /// the request. The answer is a JSON body, empty where the operation answers nothing.
    ///
    /// # Errors
    /// Those of the operation, and `UnknownOperation` for what is not simulated.
    pub fn call(&self, target: &str, body: &[u8], now_ms: u64) -> Result<Vec<u8>, ApiError> {
        let Some(operation) = target.strip_prefix(TARGET) else {
            let message = format!("X-Amz-Target is {target:?}, expected {TARGET} and an operation");
            return Err(ApiError::new(ErrorCode::UnknownOperation, message));
        };
        match operation {
            "PutRecords" => write::put_records(self, body, now_ms),
            "PutRecord" => write::put_record(self, body, now_ms),
            "GetRecords" => read::get_records(self, body, now_ms),
            "GetShardIterator" => read::get_shard_iterator(self, body, now_ms),
            "CreateStream" => streams::create_stream(self, body, now_ms),
            "DeleteStream" => streams::delete_stream(self, body),
            "ListStreams" => streams::list_streams(self, body, now_ms),
            "DescribeStream" => streams::describe_stream(self, body, now_ms),
            "DescribeStreamSummary" => streams::describe_stream_summary(self, body, now_ms),
            "DescribeLimits" => reshard::describe_limits(self, body),
            "ListShards" => shards::list_shards(self, body, now_ms),
            "SplitShard" => reshard::split_shard(self, body, now_ms),
            "MergeShards" => reshard::merge_shards(self, body, now_ms),
            "UpdateShardCount" => reshard::update_shard_count(self, body, now_ms),
            "RegisterStreamConsumer" => consumers::register(self, body, now_ms),
            "DeregisterStreamConsumer" => consumers::deregister(self, body),
            "DescribeStreamConsumer" => consumers::describe(self, body, now_ms),
            "ListStreamConsumers" => consumers::list(self, body, now_ms),
            "StartStreamEncryption" => settings::start_encryption(self, body),
            "StopStreamEncryption" => settings::stop_encryption(self, body),
            "IncreaseStreamRetentionPeriod" => settings::increase_retention(self, body),
            "DecreaseStreamRetentionPeriod" => settings::decrease_retention(self, body),
            "UpdateStreamMode" => capacity::update_mode(self, body, now_ms),
            "UpdateMaxRecordSize" => capacity::update_max_record_size(self, body),
            "EnableEnhancedMonitoring" => capacity::enable_monitoring(self, body),
            "DisableEnhancedMonitoring" => capacity::disable_monitoring(self, body),
            "TagResource" => resources::tag(self, body),
            "UntagResource" => resources::untag(self, body),
            "ListTagsForResource" => resources::list_tags(self, body),
            "PutResourcePolicy" => resources::put_policy(self, body),
            "GetResourcePolicy" => resources::get_policy(self, body),
            "DeleteResourcePolicy" => resources::delete_policy(self, body),
            "AddTagsToStream" => settings::add_tags(self, body),
            "RemoveTagsFromStream" => settings::remove_tags(self, body),
            "ListTagsForStream" => settings::list_tags(self, body),
            _ => Err(ApiError::new(
                ErrorCode::UnknownOperation,
                format!("Operation {operation:?} is not implemented by the local stream"),
            )),
        }
    }
}

fn json(output: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(output).map_err(|e| ApiError::new(ErrorCode::InternalFailure, e.to_string()))
}

/// Seconds since 1970 with a fraction, as the API gives and takes times.
#[expect(clippy::cast_precision_loss, reason = "milliseconds fit the 53 bits until the year 287396")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests;
