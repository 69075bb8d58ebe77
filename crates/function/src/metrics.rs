//! The summary of an invocation: one line that is also a CloudWatch metric.
//!
//! The line is in Embedded Metric Format
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>):
//! CloudWatch makes the metrics from the log, so measuring costs no request. It is written whatever the log
//! level, and under the threshold's own level where that is above INFO, else Lambda's filter would drop it.

use serde::{Serialize, Serializer};

use crate::lines::{Lines, Members};
use crate::log::Level;

/// The CloudWatch namespace of every metric.
pub const NAMESPACE: &str = "Rivulet";

/// The one dimension of every metric: the function's name.
pub const DIMENSION: &str = "FunctionName";

/// What a metric's value counts, by CloudWatch's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// How many.
    Count,
    /// Bytes.
    Bytes,
    /// Thousandths of a second.
    Milliseconds,
}

/// One value of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The metric's name, also the name of the line's member.
    pub name: &'static str,
    /// What the value counts.
    pub unit: Unit,
    /// The value; a `None` is left out, because there was nothing to measure.
    pub value: Option<u64>,
}

impl Metric {
    /// A number of things.
    pub fn count(name: &'static str, value: usize) -> Self {
        Self { name, unit: Unit::Count, value: u64::try_from(value).ok() }
    }

    /// A number of bytes.
    pub fn bytes(name: &'static str, value: usize) -> Self {
        Self { name, unit: Unit::Bytes, value: u64::try_from(value).ok() }
    }

    /// A time in milliseconds.
    pub fn milliseconds(name: &'static str, value: impl Into<Option<u64>>) -> Self {
        Self { name, unit: Unit::Milliseconds, value: value.into() }
    }
}

impl Lines {
    /// Adds the summary line (`message` is `summary`): `requestId`, the metrics, and the members that `add` gives it,
    /// which are no metrics.
    pub fn summary(&mut self, function_name: &str, metrics: &[Metric], add: impl FnOnce(&mut Members<'_>)) {
        let request_id = self.request_id().to_owned();
        let directive = Directive {
            timestamp: self.now().as_millisecond(),
            metrics: [MetricSet {
                namespace: NAMESPACE,
                dimensions: [[DIMENSION]],
                metrics: Definitions(metrics),
            }],
        };
        self.push_always(Level::Info, "summary", |line| {
            line.text("requestId", &request_id);
            line.json("_aws", &directive);
            line.text(DIMENSION, function_name);
            for metric in metrics {
                if let Some(value) = metric.value {
                    line.number(metric.name, value);
                }
            }
            add(line);
        });
    }
}

#[derive(Serialize)]
struct Directive<'a> {
    /// Milliseconds since 1970.
    #[serde(rename = "Timestamp")]
    timestamp: i64,
    #[serde(rename = "CloudWatchMetrics")]
    metrics: [MetricSet<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricSet<'a> {
    namespace: &'static str,
    dimensions: [[&'static str; 1]; 1],
    metrics: Definitions<'a>,
}

/// Names and units: a metric that is defined must have a value, so those without one are not.
struct Definitions<'a>(&'a [Metric]);

impl Serialize for Definitions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Definition {
            name: &'static str,
            unit: Unit,
        }
        let measured = self.0.iter().filter(|metric| metric.value.is_some());
        serializer.collect_seq(measured.map(|metric| Definition { name: metric.name, unit: metric.unit }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn summary(threshold: Level, metrics: &[Metric]) -> Value {
        let mut lines = Lines::new(threshold);
        lines.begin("2026-11-20T10:00:00.040Z".parse().unwrap(), "r-1");
        lines.summary("consumer", metrics, |line| line.number("shard", 1));
        let mut out = Vec::new();
        lines.write_to(&mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_measured_value_is_defined_with_its_unit_and_given() {
        let metrics =
            [Metric::count("Records", 2), Metric::bytes("Bytes", 300), Metric::milliseconds("MaxAge", None)];
        assert_eq!(
            summary(Level::Info, &metrics),
            json!({
                "timestamp": "2026-11-20T10:00:00.040Z", "level": "INFO", "message": "summary", "requestId": "r-1",
                "_aws": {"Timestamp": 1_795_168_800_040_i64, "CloudWatchMetrics": [{
                    "Namespace": "Rivulet", "Dimensions": [["FunctionName"]],
                    "Metrics": [{"Name": "Records", "Unit": "Count"}, {"Name": "Bytes", "Unit": "Bytes"}],
                }]},
                "FunctionName": "consumer", "Records": 2, "Bytes": 300, "shard": 1,
            })
        );
    }

    #[track_caller]
    fn check_level(threshold: Level, want: &str) {
        assert_eq!(summary(threshold, &[])["level"], want);
    }

    #[test]
    fn the_summary_passes_every_threshold() {
        check_level(Level::Trace, "INFO");
        check_level(Level::Info, "INFO");
        check_level(Level::Warn, "WARN");
        check_level(Level::Fatal, "FATAL");
    }
}
