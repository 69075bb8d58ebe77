//! Naming what was found in an event that was not expected, for an error that a person can act upon.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// The most keys that are named; what is beyond is counted.
const KEYS_NAMED: usize = 20;

/// The most characters of a key that are shown.
const KEY_CHARS: usize = 60;

/// Describes a JSON text by its kind and its top-level keys, in a text of bounded length.
///
/// ```
/// use function::event::top_level_keys;
///
/// assert_eq!(top_level_keys(r#"{"Records":[],"foo":1}"#), "an object with the keys Records, foo");
/// assert_eq!(top_level_keys("[1]"), "a list");
/// assert_eq!(top_level_keys("{"), "a text that is not JSON");
/// ```
pub fn top_level_keys(json: &str) -> String {
    match kind(json) {
        "an object" => {
            let mut reader = serde_json::Deserializer::from_str(json);
            let keys = reader.deserialize_map(Keys);
            keys.and_then(|keys| reader.end().map(|()| keys)).unwrap_or_else(|_| NOT_JSON.to_owned())
        }
        kind => kind.to_owned(),
    }
}

/// The text of an event, which is JSON or not.
///
/// # Errors
/// It is no text: what was found, for an error as [`top_level_keys`] describes the others.
pub fn text(event: &[u8]) -> Result<&str, String> {
    str::from_utf8(event)
        .map_err(|why| format!("bytes that are not UTF-8, from byte {} on", why.valid_up_to()))
}

/// What kind of value a JSON text holds, with its article: `an object`, `a list`, `a string`, `a number`,
/// `true`, `false`, `null`; told by the first character.
pub fn kind(json: &str) -> &'static str {
    match json.trim_ascii_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b'-' | b'0'..=b'9') => "a number",
        Some(b't') => "true",
        Some(b'f') => "false",
        Some(b'n') => "null",
        _ => NOT_JSON,
    }
}

const NOT_JSON: &str = "a text that is not JSON";

/// Reads an object's keys, skips its values, and writes the description.
struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let mut text = String::from("an object with ");
        let mut count = 0;
        while let Some((key, _)) = map.next_entry::<Cow<'de, str>, IgnoredAny>()? {
            count += 1;
            if count > KEYS_NAMED {
                continue;
            }
            text.push_str(if count == 1 { "the keys " } else { ", " });
            match key.char_indices().nth(KEY_CHARS) {
                Some((end, _)) => text.extend([key[..end].trim_end(), "…"]),
                None => text.push_str(&key),
            }
        }
        match count.checked_sub(KEYS_NAMED) {
            _ if count == 0 => text.push_str("no keys"),
            Some(more @ 1..) => _ = write!(text, " and {more} more"),
            _ => {}
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(json: &str, want: &str) {
        assert_eq!(top_level_keys(json), want);
    }

    #[test]
    fn an_object_is_described_by_its_keys_and_not_its_values() {
        check("{}", "an object with no keys");
        check(r#" {"a":{"b":1}} "#, "an object with the keys a");
        check(r#"{"Records":[{"s3":1}],"x y":null}"#, "an object with the keys Records, x y");
        check(r#"{"a\u0062":1,"a":1,"a":2}"#, "an object with the keys ab, a, a");
    }

    #[test]
    fn anything_else_is_described_by_its_kind() {
        check("[]", "a list");
        check("\"x\"", "a string");
        check("-1", "a number");
        check("true", "true");
        check("null", "null");
        check("", "a text that is not JSON");
        check("{\"a\":1", "a text that is not JSON");
        check("{\"a\":1} x", "a text that is not JSON");
        check("what", "a text that is not JSON");
    }

    #[test]
    fn many_keys_and_long_keys_are_cut() {
        let many: Vec<_> = (0..25).map(|n| format!("\"k{n}\":0")).collect();
        let named: Vec<_> = (0..20).map(|n| format!("k{n}")).collect();
        check(
            &format!("{{{}}}", many.join(",")),
            &format!("an object with the keys {} and 5 more", named.join(", ")),
        );
        check(
            &format!("{{\"{}\":0}}", "é".repeat(61)),
            &format!("an object with the keys {}…", "é".repeat(60)),
        );
    }

    #[test]
    fn nesting_of_any_depth_is_passed_over() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        check(&deep, "an object with the keys a");
    }

    proptest! {
        #[test]
        fn any_text_is_described_within_bounds(text in r#"[{"]?.{0,40}"#) {
            prop_assert!(top_level_keys(&text).chars().count() < 60 + KEYS_NAMED * (KEY_CHARS + 3));
        }
    }
}
