//! JSON read in place: members, elements and scalars as the text they were carried in, nothing built.
//!
//! A value is its text, checked as it is passed over, so that what is handed out is valid JSON. What is no JSON is told
//! apart here and explained by `serde_json`, which knows line and column.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use serde::de::IgnoredAny;

mod shape;

pub use shape::{Shape, Span, Values};

/// The text is no JSON. [`why_not`] says what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson;

/// The white space that JSON has between its tokens.
pub(crate) const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What is wrong with a text in which a cursor found no JSON, with line and column.
#[must_use]
pub fn why_not(text: &str) -> String {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(IgnoredAny) => "a value of another type".into(),
        Err(why) => why.to_string(),
    }
}

/// Objects and lists in each other, as deep as which a value is passed over by recursion. What is deeper is left to
/// `serde_json`, which needs no stack for it.
const DEPTH: usize = 64;

/// A place in a text, from which one value after the other is read.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Whether there are control characters in it. Where there is none, which is known at once for all of it, no string
    /// has to be searched for them.
    has_controls: bool,
}

impl<'a> Cursor<'a> {
    /// The beginning of `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let has_controls = text.bytes().fold(false, |found, byte| found | (byte < b' '));
        Self { text, at: 0, has_controls }
    }

    /// Passes over the next value, whatever it is, and gives its text.
    ///
    /// # Errors
    /// There is no JSON value here.
    pub fn value(&mut self) -> Result<&'a str, NotJson> {
        self.space();
        let start = *self;
        self.pass(0)?;
        Ok(start.until(self))
    }

    /// The text between here and where another cursor has come to, in the same text.
    #[must_use]
    pub fn until(&self, later: &Self) -> &'a str {
        &self.text[self.at..later.at]
    }

    /// Passes over the next value.
    ///
    /// # Errors
    /// There is no JSON value here.
    pub fn skip(&mut self) -> Result<(), NotJson> {
        self.space();
        self.pass(0)
    }

    /// Passes over the next value, whatever it is, and tells where it is in the object that begins at `object`.
    ///
    /// # Errors
    /// There is no JSON value here, or it is 4 GiB away.
    pub fn span(&mut self, object: &Cursor<'_>) -> Result<Span, NotJson> {
        self.space();
        let start = *self;
        self.pass(0)?;
        Span::new(object, &start, self)
    }

    /// Reads an object: hands the name of each member to `each`, which has to pass over the value; in order, duplicates
    /// included. A name that is no text, because of half a surrogate pair in it, is given as it stands, quotes included.
    ///
    /// # Errors
    /// There is no object here, or it is not whole.
    pub fn object(
        &mut self,
        mut each: impl FnMut(&str, &mut Self) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        self.space();
        self.expect(b'{')?;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            let start = self.at;
            let has_escapes = self.string()?;
            let end = self.at;
            self.space();
            self.expect(b':')?;
            if has_escapes {
                let json = &self.text[start..end];
                each(text(json).as_deref().unwrap_or(json), self)?;
            } else {
                each(&self.text[start + 1..end - 1], self)?;
            }
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Reads a list: calls `each` before each element, which has to pass over it.
    ///
    /// # Errors
    /// There is no list here, or it is not whole.
    pub fn list(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), NotJson>) -> Result<(), NotJson> {
        self.space();
        self.expect(b'[')?;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Nothing may follow but white space.
    ///
    /// # Errors
    /// Something does.
    pub fn end(&mut self) -> Result<(), NotJson> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(NotJson) }
    }

    /// The first byte of the next value; `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        self.space();
        self.byte()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.take(byte) { Ok(()) } else { Err(NotJson) }
    }

    fn space(&mut self) {
        if self.byte().is_some_and(|byte| byte > b' ') {
            return; // as nearly everywhere
        }
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// Passes over the value that begins here.
    fn pass(&mut self, depth: usize) -> Result<(), NotJson> {
        match self.byte().ok_or(NotJson)? {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' if depth == DEPTH => self.pass_deep(),
            b'{' => self.object(|_, cursor| {
                cursor.space();
                cursor.pass(depth + 1)
            }),
            b'[' => self.list(|cursor| {
                cursor.space();
                cursor.pass(depth + 1)
            }),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn pass_deep(&mut self) -> Result<(), NotJson> {
        let mut values = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter::<IgnoredAny>();
        values.next().and_then(Result::ok).ok_or(NotJson)?;
        self.at += values.byte_offset();
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NotJson> {
        let found = self.text.as_bytes()[self.at..].starts_with(word);
        self.at += word.len();
        if found { Ok(()) } else { Err(NotJson) }
    }

    /// Passes over a string; says whether there are escapes in it.
    #[inline]
    fn string(&mut self) -> Result<bool, NotJson> {
        self.expect(b'"')?;
        let rest = &self.text.as_bytes()[self.at..];
        match quote_or_backslash(rest) {
            Some(length) if rest[length] == b'"' && !self.has_controls => {
                self.at += length + 1;
                Ok(false)
            }
            _ => self.string_with_escapes(),
        }
    }

    /// Passes over what follows a string's first quote, with all that can be in it.
    #[cold]
    fn string_with_escapes(&mut self) -> Result<bool, NotJson> {
        let bytes = self.text.as_bytes();
        let mut has_escapes = false;
        loop {
            let length = quote_or_backslash(&bytes[self.at..]).ok_or(NotJson)?;
            let end = self.at + length;
            if bytes[self.at..end].iter().any(|&byte| byte < b' ') {
                return Err(NotJson);
            }
            self.at = end;
            if self.take(b'"') {
                return Ok(has_escapes);
            }
            has_escapes = true;
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Result<(), NotJson> {
        match self.text.as_bytes()[self.at + 1..] {
            [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(u8::is_ascii_hexdigit) => self.at += 6,
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
            _ => return Err(NotJson),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), NotJson> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    /// One digit at least.
    fn digits(&mut self) -> Result<(), NotJson> {
        let rest = &self.text.as_bytes()[self.at..];
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += digits;
        if digits > 0 { Ok(()) } else { Err(NotJson) }
    }
}

/// Where the first quote or backslash is. Most strings are names and small values: those are looked at by words of eight
/// bytes, before a search is begun that is faster for long ones.
#[inline]
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is `byte`: exact for the first of them, which is the one that counts
    // (https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord).
    let is = |word: u64, byte: u8| {
        let difference = word ^ (ONES * u64::from(byte));
        difference.wrapping_sub(ONES) & !difference & HIGH
    };
    let mut rest = bytes;
    for searched in [0, 8] {
        let Some((word, behind)) = rest.split_first_chunk() else { break };
        let word = u64::from_le_bytes(*word);
        let found = is(word, b'"') | is(word, b'\\');
        if found != 0 {
            return Some(searched + found.trailing_zeros() as usize / 8);
        }
        rest = behind;
    }
    memchr2(b'"', b'\\', rest).map(|at| bytes.len() - rest.len() + at)
}

/// Hands every member of the JSON object `text` to `each`, its name (as [`Cursor::object`] gives it) and its value, in
/// order, duplicates included.
///
/// # Errors
/// The text is no JSON object.
pub fn members<'a>(text: &'a str, mut each: impl FnMut(&str, &'a str)) -> Result<(), NotJson> {
    let mut cursor = Cursor::new(text);
    cursor.object(|name, cursor| {
        each(name, cursor.value()?);
        Ok(())
    })?;
    cursor.end()
}

/// The member called `name`. Of several, the last one, as most JSON readers have it.
pub(crate) fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    members(object, |key, value| found = if key == name { Some(value) } else { found }).ok()?;
    found
}

/// The element at `index`, counted from 0.
pub(crate) fn element(array: &str, index: usize) -> Option<&str> {
    let (mut found, mut at) = (None, 0);
    Cursor::new(array)
        .list(|cursor| {
            let value = cursor.value()?;
            if at == index {
                found = Some(value);
            }
            at += 1;
            Ok(())
        })
        .ok()?;
    found
}

/// A JSON string's text, escapes resolved. `None` for another type, or when an escape stands for no character
/// (half a surrogate pair).
#[must_use]
pub fn text(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    match memchr(b'\\', inner.as_bytes()) {
        None => Some(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(value).ok().map(Cow::Owned),
    }
}

/// A string's text, or a number or boolean as it was written. `None` for null, lists and objects.
pub(crate) fn scalar(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first()? {
        b'"' => text(value),
        b'n' | b'[' | b'{' => None,
        _ => Some(Cow::Borrowed(value)),
    }
}

/// What a valid JSON value is, as an error says it: "a number", "null".
#[must_use]
pub fn kind(json: &str) -> &'static str {
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
pub(crate) fn is_null(value: &str) -> bool {
    value == "null"
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// What is taken for JSON here is what `serde_json` takes for it, and as much of the text.
    #[track_caller]
    fn check_value(text: &str) {
        let mut cursor = Cursor::new(text);
        let found = cursor.value().and_then(|value| cursor.end().map(|()| value)).ok();
        assert_eq!(found, serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get), "{text:?}");
    }

    #[test]
    fn every_kind_of_value_is_passed_over_and_nothing_else_is() {
        for json in [
            "",
            " ",
            "null",
            "nul",
            "nulll",
            "true",
            "tru",
            "false",
            " false\n",
            "\u{feff}null",
            "[",
            "{",
            "]",
        ] {
            check_value(json);
        }
        for number in
            ["0", "-0", "00", "01", "-", "1.", ".1", "1.50", "1e5", "1E+05", "1e", "1e+", "-1.5e-9x", "+1"]
        {
            check_value(number);
        }
        for string in
            [r#""""#, r#"""#, r#""a"#, "\"\t\"", "\"\u{1f}\"", "\"\u{7f}é😀\"", r#""\u00eG""#, r#""\ud800""#]
        {
            check_value(string);
        }
        for string in [r#""\"\\\/\b\f\n\r\t\u0000""#, r#""\a""#, r#""\"#, r#""\u12"#, r#""\u12é4""#] {
            check_value(string);
        }
        for nested in
            ["[]", "[1,]", "[,]", "[1 2]", "[1,2]]", "{}", "{,}", r#"{"a"}"#, r#"{"a":}"#, r#"{"a":1,}"#]
        {
            check_value(nested);
        }
        for nested in [
            r#"{"a":1 , "a":{"b":[ null ]}}"#,
            r#"{"a" : 1}x"#,
            r#"{a:1}"#,
            r#"[{"a":[1}]"#,
            r#"{"a":1;"b":2}"#,
        ] {
            check_value(nested);
        }
    }

    #[test]
    fn a_string_may_end_anywhere_among_those_looked_at_at_once() {
        for length in 0..100 {
            for end in ["\"", "\\\"\"", "\n\"", "é\"", "\\"] {
                check_value(&format!("\"{}{end}", "x".repeat(length)));
            }
        }
    }

    #[test]
    fn any_depth_is_passed_over() {
        for depth in [1, DEPTH - 1, DEPTH, DEPTH + 1, 3 * DEPTH, 100_000] {
            check_value(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            check_value(&format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
            check_value(&format!("{}{}", "[".repeat(depth), "]".repeat(depth - 1)));
            check_value(&format!("{}}}{}", "[".repeat(depth), "]".repeat(depth)));
        }
    }

    /// Texts made of JSON's own pieces, so that many of them are JSON, and most nearly.
    fn nearly_json() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "\n", "0", "1", "-", ".", "e", "true", "null",
            "\"a\":", "\"b\"", "\\u00e9", "{}", "[]", "é", "\u{0}", "1.5e-3", "\"\"",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn any_text_is_judged_as_others_judge_it(text in prop_oneof![nearly_json(), any::<String>()]) {
            check_value(&text);
        }
    }

    #[track_caller]
    fn check_member(object: &str, name: &str, want: Option<&str>) {
        assert_eq!(member(object, name), want);
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
        assert_eq!(element(array, index), want);
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
        assert!(matches!(text(r#""plain""#), Some(Cow::Borrowed("plain"))));
        assert_eq!(text(r#""\u002B\/\ud83d\ude00""#).as_deref(), Some("+/😀"));
        assert_eq!(text(r#""\ud800""#), None);
        assert_eq!(text("5"), None);
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
