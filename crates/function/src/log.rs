//! The log of a function: its format and level as Lambda sets them, and the lines of `tracing` and of panics.
//!
//! Lambda's own variables decide, so that what is set on the function (`LoggingConfig`) holds here too. Lines go
//! to standard output with `timestamp` (RFC 3339) and `level` first; the subscriber that ships with the Lambda
//! runtime leaves the timestamp out, and Lambda then takes every line for INFO
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>).
//!
//! What an invocation has to say about its packets goes through [`Lines`](crate::lines::Lines) instead, which is
//! JSON in either format.

mod diagnostics;

use std::io::{self, Write as _};
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::settings::{Reader, Setting};
use diagnostics::Diagnostics;

/// `AWS_LAMBDA_LOG_FORMAT`, which Lambda sets.
pub const FORMAT: Setting = Setting {
    name: "AWS_LAMBDA_LOG_FORMAT",
    default: Some("Text"),
    expected: "`JSON` or `Text`",
    meaning: "how diagnostics are written; packet and summary lines are JSON in either; set by Lambda",
};

/// `AWS_LAMBDA_LOG_LEVEL`, which Lambda sets.
pub const LEVEL: Setting = Setting {
    name: "AWS_LAMBDA_LOG_LEVEL",
    default: Some("INFO"),
    expected: "`TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`",
    meaning: "the least severe lines that are written; set by Lambda",
};

/// How the log is written, and from which level on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The form of diagnostics.
    pub format: Format,
    /// The least severe lines that are written.
    pub level: Level,
}

/// The form of diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// `timestamp LEVEL message name=value …`, for reading on a terminal.
    Text,
}

/// How severe a line is; the words are Lambda's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Paths through the code.
    Trace,
    /// Details for finding a fault.
    Debug,
    /// What was done.
    Info,
    /// Something odd, recovered from.
    Warn,
    /// A packet is lost to its reader, or a person must act.
    Error,
    /// Never a line's own level: only as a threshold, at which lines that must be written go under this name.
    Fatal,
}

impl Log {
    /// Reads [`FORMAT`] and [`LEVEL`]. A mistake is noted in `reader`, and the default stands in, because the
    /// mistakes themselves are to be logged.
    pub fn read<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> Self {
        let format = reader.required(&FORMAT, str::parse);
        let level = reader.required(&LEVEL, str::parse);
        Self { format: format.unwrap_or(Format::Text), level: level.unwrap_or(Level::Info) }
    }

    /// Sends the lines of `tracing` to standard output from here on, and logs a panic as one ERROR line.
    ///
    /// Only the first call in a process has an effect on `tracing`.
    pub fn start(self) {
        // An error means that a subscriber is there already, which then stays.
        _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Diagnostics {
            log: self,
            // A diagnostic that cannot be written has nowhere else to go.
            write: |line: &[u8]| _ = io::stdout().lock().write_all(line),
        }));
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(tracing::field::display);
            tracing::error!(location, "panicked: {}", panic.payload_as_str().unwrap_or("no text"));
        }));
    }
}

impl FromStr for Format {
    type Err = &'static str;

    /// Case does not matter. The error is empty: what is expected is in [`FORMAT`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(""),
        }
    }
}

impl Level {
    const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The level's word, in upper case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    /// What `tracing` calls it. Errors always pass: one may be the only word of why a function does not start.
    fn filter(self) -> LevelFilter {
        match self {
            Self::Trace => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error | Self::Fatal => LevelFilter::ERROR,
        }
    }
}

impl FromStr for Level {
    type Err = &'static str;

    /// Case does not matter. The error is empty: what is expected is in [`LEVEL`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text)).ok_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(vars: &[(&str, &str)], want: Log, mistakes: Option<&str>) {
        let mut reader =
            Reader::new(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        assert_eq!(Log::read(&mut reader), want);
        let noted = reader.finish(Some(())).err().map(|mistakes| mistakes.to_string());
        assert_eq!(noted.as_deref(), mistakes);
    }

    #[test]
    fn format_and_level_are_read_in_any_case_with_lambdas_defaults() {
        check(&[], Log { format: Format::Text, level: Level::Info }, None);
        check(
            &[("AWS_LAMBDA_LOG_FORMAT", "JSON"), ("AWS_LAMBDA_LOG_LEVEL", "debug")],
            Log { format: Format::Json, level: Level::Debug },
            None,
        );
        check(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")], Log { format: Format::Text, level: Level::Fatal }, None);
    }

    #[test]
    fn unknown_words_are_mistakes_and_the_log_is_there_to_report_them() {
        check(
            &[("AWS_LAMBDA_LOG_FORMAT", "yaml"), ("AWS_LAMBDA_LOG_LEVEL", "LOUD")],
            Log { format: Format::Text, level: Level::Info },
            Some(
                "AWS_LAMBDA_LOG_FORMAT: expected `JSON` or `Text`, given \"yaml\"\n\
                 AWS_LAMBDA_LOG_LEVEL: expected `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`, given \"LOUD\"",
            ),
        );
    }
}
