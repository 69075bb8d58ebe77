//! JSON read in place: members, elements and scalars as the text they were carried in, nothing built.

use std::borrow::Cow;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Hands every member of the JSON object `text` to `each`, name and value raw, in order, duplicates included.
pub(crate) fn members<'a>(
    text: &'a str,
    each: impl FnMut(&'a RawValue, &'a RawValue),
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members(each))?;
    json.end()
}

/// The member called `name`. Of several, the last one, as most JSON readers have it.
pub(crate) fn member<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let mut found = None;
    let is_it = |key: &'a RawValue| text(key).is_some_and(|key| key == name);
    members(object.get(), |key, value| found = if is_it(key) { Some(value) } else { found }).ok()?;
    found
}

/// The element at `index`, counted from 0.
pub(crate) fn element(array: &RawValue, index: usize) -> Option<&RawValue> {
    serde_json::Deserializer::from_str(array.get()).deserialize_seq(Element(index)).ok()?
}

/// A JSON string's text, escapes resolved. `None` for another type, or when an escape stands for no character
/// (half a surrogate pair).
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// A string's text, or a number or boolean as it was written. `None` for null, lists and objects.
pub(crate) fn scalar(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get().as_bytes().first()? {
        b'"' => text(value),
        b'n' | b'[' | b'{' => None,
        _ => Some(Cow::Borrowed(value.get())),
    }
}

/// What a valid JSON value is, as an error says it: "a number", "null".
pub(crate) fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Whether `value` is JSON's `null`, which counts as absent wherever a field is optional.
pub(crate) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Appends `text` as a JSON string, escaping what JSON demands and nothing else.
pub(crate) fn write_text(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..='\x1f' => {
                let code = character as usize;
                out.push_str("\\u00");
                out.push(char::from(HEX[code >> 4]));
                out.push(char::from(HEX[code & 0xF]));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

struct Members<F>(F);

impl<'a, F: FnMut(&'a RawValue, &'a RawValue)> Visitor<'a> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    // Names stay raw too: a name that is no valid text (half a surrogate pair) must not cost the whole
    // packet.
    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry()? {
            (self.0)(key, value);
        }
        Ok(())
    }
}

struct Element(usize);

impl<'a> Visitor<'a> for Element {
    type Value = Option<&'a RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.0 {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = list.next_element()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[track_caller]
    fn check_member(object: &str, name: &str, want: Option<&str>) {
        assert_eq!(member(raw(object), name).map(RawValue::get), want);
    }

    #[test]
    fn a_member_is_found_by_its_unescaped_name() {
        check_member(r#"{"a":1,"b":[2, 3]}"#, "b", Some("[2, 3]"));
        check_member(r#"{"\u0061":1}"#, "a", Some("1"));
        check_member(r#"{"a":1,"a":2}"#, "a", Some("2"));
        check_member(r#"{"\ud800":1,"a":2}"#, "a", Some("2"));
        check_member("{}", "a", None);
        check_member("[1]", "a", None);
    }

    #[track_caller]
    fn check_element(array: &str, index: usize, want: Option<&str>) {
        assert_eq!(element(raw(array), index).map(RawValue::get), want);
    }

    #[test]
    fn an_element_is_found_by_its_index() {
        check_element("[1, 2.50, 3]", 1, Some("2.50"));
        check_element("[1]", 0, Some("1"));
        check_element("[1]", 1, None);
        check_element("[]", 0, None);
        check_element(r#"{"0":1}"#, 0, None);
    }

    #[test]
    fn text_is_borrowed_unless_an_escape_has_to_be_resolved() {
        assert!(matches!(text(raw(r#""plain""#)), Some(Cow::Borrowed("plain"))));
        assert_eq!(text(raw(r#""\u002B\/\ud83d\ude00""#)).as_deref(), Some("+/😀"));
        assert_eq!(text(raw(r#""\ud800""#)), None);
        assert_eq!(text(raw("5")), None);
    }

    #[test]
    fn written_text_reads_back() {
        for given in ["", "plain", "\"\\/", "\0\t\n\x1f\x7f", "größer 😀\u{2028}"] {
            let mut json = String::new();
            write_text(given, &mut json);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), given, "{json}");
        }
    }
}
