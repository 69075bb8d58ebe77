//! What both Lambda functions need before and around their work: settings, the log, metrics, deadlines.
//!
//! A function's `main` is a checklist over this crate: read the settings through a [`settings::Reader`],
//! start the [`log`], stop with every mistake named, or run. While it runs, each invocation builds its lines in
//! [`lines::Lines`] and writes them with one write.
//!
//! In reading order: [`settings`] (variables, and the mistakes in them), [`log`] (format, level, diagnostics
//! from `tracing`, panics), [`lines`] (the buffer of an invocation), [`metrics`] (the summary line that is also
//! a CloudWatch metric), [`deadline`] (when writing must end), [`event`] (naming what was found in an event that
//! was not expected), [`lambda`] (invocations, with their events as they came).
//!
//! The crate knows neither packets nor Kinesis, and apart from [`log::Log::start`] and [`lambda::run`] it touches
//! nothing outside its arguments.

pub mod settings;

pub mod log;

pub mod lines;

pub mod metrics;

pub mod deadline;

pub mod event;

pub mod lambda;

mod json;
