//! The queues of a template, for all of which one stands here.

use anyhow::{Result, bail};
use local::queue::limits::MESSAGE_BYTES;
use serde_json::Value;

use super::Members;
use super::members::check_attributes;
use super::resolve::Resolver;

const QUEUE: Members = Members {
    known: &[
        "FifoQueue",
        "KmsDataKeyReusePeriodSeconds",
        "KmsMasterKeyId",
        "MaximumMessageSize",
        "QueueName",
        "SqsManagedSseEnabled",
        "Tags",
    ],
    without_effect: &[
        "ContentBasedDeduplication",
        "DeduplicationScope",
        "DelaySeconds",
        "FifoThroughputLimit",
        "MessageRetentionPeriod",
        "ReceiveMessageWaitTimeSeconds",
        "RedriveAllowPolicy",
        "RedrivePolicy",
        "VisibilityTimeout",
    ],
};

/// Shortest `MaximumMessageSize`, in bytes (SQS API reference: SetQueueAttributes).
const LEAST_MESSAGE_BYTES: i64 = 1024;

/// Refuses what no queue of the producer's may be, and says what has no effect.
pub(super) fn check(root: &Value, resolver: &Resolver, notes: &mut Vec<String>) -> Result<()> {
    let resources = root["Resources"].as_object().into_iter().flatten();
    let queues: Vec<_> = resources.filter(|(_, resource)| resource["Type"] == "AWS::SQS::Queue").collect();
    for (name, queue) in &queues {
        check_attributes(name, queue)?;
        QUEUE.note(name, &queue["Properties"], notes)?;
        let of = queue["Properties"].as_object().cloned().unwrap_or_default();
        if resolver.truth(&of, "FifoQueue")? {
            bail!("{name} is a FifoQueue, expected a standard queue, which is what the producer writes to");
        }
        let most = i64::try_from(MESSAGE_BYTES).unwrap_or(i64::MAX);
        let bytes = resolver.within(name, &of, "MaximumMessageSize", most, LEAST_MESSAGE_BYTES..=most)?;
        if bytes != most {
            notes.push(format!("MaximumMessageSize of the template's {name}: here it is {most} bytes"));
        }
    }
    if queues.len() > 1 {
        let names: Vec<_> = queues.iter().map(|(name, _)| name.as_str()).collect();
        notes.push(format!("one queue stands for {}", names.join(" and ")));
    }
    Ok(())
}
