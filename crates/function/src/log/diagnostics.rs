//! Each event of `tracing` as one line, with the request id of the invocation around it.

use std::fmt::{self, Debug, Write as _};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::{Format, Log};
use crate::json;

/// The layer that makes the lines and hands each, whole, to `write`.
pub(super) struct Diagnostics<W> {
    pub(super) log: Log,
    pub(super) write: W,
}

/// The field that names the invocation, in the span that the Lambda runtime opens around it and in the lines.
const REQUEST_ID: &str = "requestId";

/// Kept with a span that has the field.
struct RequestId(String);

impl<S, W> Layer<S> for Diagnostics<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: Fn(&[u8]) + 'static,
{
    /// Spans pass down to INFO whatever the level: an ERROR without its request id is half an error.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let filter = self.log.level.filter();
        *metadata.level() <= if metadata.is_span() { filter.max(LevelFilter::INFO) } else { filter }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.log.level.filter().max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut found = FindRequestId(None);
        attributes.record(&mut found);
        if let (Some(request_id), Some(span)) = (found.0, context.span(id)) {
            span.extensions_mut().replace(RequestId(request_id));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line::new(self.log.format, metadata.level().as_str());
        event.record(&mut line);
        line.member("target", metadata.target());
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(RequestId(id)) = span.extensions().get() {
                line.member(REQUEST_ID, id.as_str());
                break;
            }
        }
        (self.write)(&line.end());
    }
}

struct FindRequestId(Option<String>);

impl Visit for FindRequestId {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == REQUEST_ID {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == REQUEST_ID {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

/// A line being built: its members in the order in which they come, `message` first as `tracing` gives it.
struct Line {
    format: Format,
    buffer: Vec<u8>,
}

impl Line {
    fn new(format: Format, level: &str) -> Self {
        let now = Timestamp::now();
        let head = match format {
            Format::Json => format!(r#"{{"timestamp":"{now:.3}","level":"{level}""#),
            Format::Text => format!("{now:.3} {level}"),
        };
        Self { format, buffer: head.into_bytes() }
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        match self.format {
            Format::Json => {
                self.buffer.push(b',');
                _ = json::append(&mut self.buffer, name); // plain values and a buffer: neither can fail
                self.buffer.push(b':');
            }
            Format::Text => {
                self.buffer.push(b' ');
                self.buffer.extend(name.as_bytes());
                self.buffer.push(b'=');
            }
        }
        _ = json::append(&mut self.buffer, value);
    }

    fn message(&mut self, message: &dyn fmt::Display) {
        match self.format {
            Format::Json => self.member("message", &Shown(message)),
            Format::Text => {
                let mut text = String::from(" ");
                _ = write!(Indented(&mut text), "{message}"); // a string takes everything
                self.buffer.extend(text.into_bytes());
            }
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.buffer.extend(match self.format {
            Format::Json => &b"}\n"[..],
            Format::Text => b"\n",
        });
        self.buffer
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format_args!("{value:?}");
        match field.name() {
            "message" => self.message(&value),
            name => self.member(name, &Shown(&value)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message(&value),
            name => self.member(name, value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field.name(), &value);
    }
}

/// A value written as the text that it shows.
struct Shown<'a>(&'a dyn fmt::Display);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// Text for a terminal: further lines are indented, so that they are seen to belong to the first (and carets
/// still point where they did), and control characters are escaped.
struct Indented<'a>(&'a mut String);

impl fmt::Write for Indented<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '\n' => self.0.push_str("\n    "),
                '\t' => self.0.push('\t'),
                _ if character.is_control() => self.0.extend(character.escape_unicode()),
                _ => self.0.push(character),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use serde_json::{Value, json};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt as _;

    /// What a piece of work logs, without the timestamps, which are checked here.
    fn logged(format: Format, level: Level, work: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&lines);
        let write = move |line: &[u8]| taken.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        let layer = Diagnostics { log: Log { format, level }, write };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let lines = std::mem::take(&mut *lines.lock().unwrap());
        let start = if format == Format::Json { r#"{"timestamp":""#.len() } else { 0 };
        let strip = |line: String| {
            let end = start + "2026-11-20T10:00:00.040Z".len();
            line[start..end].parse::<Timestamp>().unwrap();
            format!("{}{}", &line[..start], &line[end..])
        };
        lines.into_iter().map(strip).collect()
    }

    #[track_caller]
    fn check_json(work: impl FnOnce(), want: Value) {
        let lines = logged(Format::Json, Level::Info, work);
        let [line] = &lines[..] else { panic!("one line, not {lines:?}") };
        assert!(line.starts_with(r#"{"timestamp":"","level":""#) && line.ends_with("}\n"), "{line}");
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("timestamp");
        assert_eq!(line, want);
    }

    #[track_caller]
    fn check_text(work: impl FnOnce(), want: &str) {
        assert_eq!(logged(Format::Text, Level::Info, work), [want]);
    }

    #[test]
    fn json_lines_have_flat_typed_fields() {
        check_json(
            || tracing::warn!(target: "t", count = 3, share = 0.5, late = true, why = "\u{7f}", "odd {}", 1),
            json!({"level": "WARN", "message": "odd 1", "count": 3, "share": 0.5, "late": true, "why": "\u{7f}",
                   "target": "t"}),
        );
    }

    #[test]
    fn text_lines_keep_further_lines_indented_and_escape_controls() {
        check_text(
            || tracing::error!(target: "t", name = "a b", "first\nsecond \u{1b}[31m"),
            " ERROR first\n    second \\u{1b}[31m name=\"a b\" target=\"t\"\n",
        );
    }

    #[test]
    fn lines_within_an_invocation_carry_its_request_id_at_any_level() {
        let work = || {
            let invocation =
                tracing::info_span!("Lambda runtime invoke", requestId = "r-1", xrayTraceId = "x");
            invocation
                .in_scope(|| tracing::info_span!("inner").in_scope(|| tracing::error!(target: "t", "m")));
        };
        check_json(work, json!({"level": "ERROR", "message": "m", "target": "t", "requestId": "r-1"}));
        assert_eq!(logged(Format::Text, Level::Fatal, work), [" ERROR m target=\"t\" requestId=\"r-1\"\n"]);
    }

    #[track_caller]
    fn check_levels(level: Level, want: usize) {
        let work = || {
            tracing::trace!("1");
            tracing::debug!("2");
            tracing::info!("3");
            tracing::warn!("4");
            tracing::error!("5");
        };
        assert_eq!(logged(Format::Json, level, work).len(), want);
    }

    #[test]
    fn lines_below_the_level_are_left_out_and_errors_never() {
        check_levels(Level::Trace, 5);
        check_levels(Level::Info, 3);
        check_levels(Level::Error, 1);
        check_levels(Level::Fatal, 1);
    }
}
