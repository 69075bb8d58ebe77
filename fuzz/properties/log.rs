//! The lines that a function wrote in one invocation, read back. What is promised of every line is held here.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use function::lines::LINE_BYTES;

use super::json::{self, Object};

/// What was logged of one thing: a line, or the numbered lines of what is too long for one.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// The members of its first line.
    pub(crate) members: Object<'a>,
    /// Its `text` or `base64`, put together.
    pub(crate) contents: Option<Vec<u8>>,
}

impl Entry<'_> {
    pub(crate) fn message(&self) -> String {
        self.text("message").expect("every line has a message")
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.members.text(name)
    }

    /// The value of a metric, or of another member that counts.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.members[name].parse().unwrap_or_else(|error| panic!("{name} is no count: {error}"))
    }

    pub(crate) fn is_in_parts(&self) -> bool {
        self.members.get("part").is_some()
    }
}

/// The entries of a log, in order, and its summary, which is the last line; neither where nothing was written.
pub(crate) fn read(out: &[u8]) -> (Vec<Entry<'_>>, Option<Entry<'_>>) {
    let text = str::from_utf8(out).expect("a log is UTF-8");
    let mut lines = text.split_inclusive('\n').peekable();
    let mut entries = Vec::new();
    while let Some(first) = lines.next() {
        let mut entry = line(first);
        if entry.is_in_parts() {
            let (id, of) = (entry.text("id"), entry.count("of"));
            assert_eq!(entry.count("part"), 1);
            for part in 2..=of {
                let more = line(lines.next().unwrap_or_else(|| panic!("part {part} of {of} is missing")));
                assert_eq!((more.text("id"), more.count("part"), more.count("of")), (id.clone(), part, of));
                let bytes = more.contents.into_iter().flatten();
                entry.contents.get_or_insert_default().extend(bytes);
            }
        }
        entries.push(entry);
    }
    let summary = entries.pop();
    assert!(summary.iter().all(|last| last.message() == "summary"), "the last line is the summary");
    assert!(entries.iter().all(|entry| entry.message() != "summary"), "there is one summary");
    (entries, summary)
}

/// One line: an object that begins as Lambda wants it, in which nothing can move a cursor or end a line.
fn line(line: &str) -> Entry<'_> {
    assert!(line.len() <= LINE_BYTES, "a line of {} bytes", line.len());
    let line = line.strip_suffix('\n').expect("every line is ended");
    let raw = |character: char| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
    assert!(!line.contains(raw), "a control character in {line:?}");
    assert!(line.starts_with(r#"{"timestamp":"2026-11-20T10:00:00.000Z","level":""#), "{line}");
    let members = json::object(line).unwrap_or_else(|| panic!("no JSON object: {line}"));
    let text = members.text("text").map(String::into_bytes);
    let base64 = members
        .text("base64")
        .map(|base64| BASE64_STANDARD.decode(base64).unwrap_or_else(|error| panic!("{error}: {line}")));
    assert!(text.is_none() || base64.is_none(), "contents twice: {line}");
    Entry { members, contents: text.or(base64) }
}
