//! Objects that one program wrote one after the other: they differ in their strings and numbers, and in nothing else.

use std::borrow::Cow;

use super::{Cursor, NotJson, text};

/// Objects with more strings and numbers than this have no shape that is worth keeping: they are no packets of a gateway,
/// and no records of a mapping.
const MOST_SCALARS: usize = 64;

/// The same for the bytes of everything else in them.
const MOST_BYTES: usize = 4096;

/// So many objects in a row have to be of another shape before one of them is taken for what the next will be like; then
/// twice as many, and so on. Learning costs as much as reading, and where every object is another it would be for nothing.
/// So where objects of two shapes take turns, those of one are read by their names, and looked at before that for nothing.
const PATIENCE: u32 = 4;

/// Where in an object a value of it is, in bytes; the default is that it is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    from: u32,
    to: u32,
}

impl Span {
    /// What is between two places of an object that begins at `object`.
    ///
    /// # Errors
    /// They are 4 GiB away, which no packet and no record has.
    pub fn new(object: &Cursor<'_>, from: &Cursor<'_>, to: &Cursor<'_>) -> Result<Self, NotJson> {
        let offset = |place: &Cursor<'_>| u32::try_from(place.at - object.at).map_err(|_| NotJson);
        Ok(Self { from: offset(from)?, to: offset(to)? })
    }

    fn of(self, object: &str) -> Option<&str> {
        let Self { from, to } = self;
        if to == 0 { None } else { object.get(from as usize..to as usize) }
    }
}

/// Where in an object those of its values are that somebody is after, `N` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Values<const N: usize> {
    spans: [Span; N],
    /// Whether a string may have escapes: where it is known that none has, they are not looked for.
    may_have_escapes: bool,
}

impl<const N: usize> Default for Values<N> {
    fn default() -> Self {
        Self { spans: [Span::default(); N], may_have_escapes: true }
    }
}

impl<const N: usize> Values<N> {
    /// Whether a value is there.
    #[must_use]
    pub fn has(&self, value: usize) -> bool {
        self.spans[value] != Span::default()
    }

    /// Notes where a value is, or that it is not there.
    pub fn set(&mut self, value: usize, span: Span) {
        self.spans[value] = span;
    }

    /// The JSON text of a value.
    #[must_use]
    pub fn json<'a>(&self, object: &'a str, value: usize) -> Option<&'a str> {
        self.spans[value].of(object)
    }

    /// The text of a value of which the JSON text is known, as [`text`] gives it.
    #[must_use]
    pub fn text<'a>(&self, json: &'a str) -> Option<Cow<'a, str>> {
        if self.may_have_escapes {
            return text(json);
        }
        json.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
    }
}

/// What an object looks like beside its strings and numbers, and where in it some values are. An object of the same shape
/// is passed over by comparing what is between its scalars, and its values are then known without looking at a name.
///
/// `N` is how many values those who read are after.
#[derive(Debug)]
pub struct Shape<const N: usize> {
    /// What is between the scalars, one behind the other: punctuation, names, white space, `true`, `false` and `null`.
    between: Vec<u8>,
    /// Each scalar: how many bytes of `between` come before it and behind the one before, and of which kind it is.
    scalars: Vec<Scalar>,
    /// The values that are there: which one it is, where it begins and where it ends.
    values: Vec<(usize, [Place; 2])>,
    /// Where the scalars of an object end that is passed over, from its beginning on.
    ends: [u32; MOST_SCALARS],
    /// Objects in a row that were of another shape.
    misses: u32,
}

#[derive(Debug, Clone, Copy)]
struct Scalar {
    before: usize,
    is_string: bool,
}

/// A place in an object: so many bytes behind the end of its scalar of that index, or behind its beginning.
#[derive(Debug, Clone, Copy)]
struct Place {
    scalar: Option<usize>,
    bytes: u32,
}

impl<const N: usize> Default for Shape<N> {
    fn default() -> Self {
        let (between, scalars, values) = (Vec::new(), Vec::new(), Vec::new());
        Self { between, scalars, values, ends: [0; MOST_SCALARS], misses: 0 }
    }
}

impl<const N: usize> Shape<N> {
    /// Passes over the object that begins here, if it is of this shape, and tells where its values are. If it is not, the
    /// cursor stays where it is.
    pub fn next(&mut self, cursor: &mut Cursor<'_>) -> Option<Values<N>> {
        let mut ahead = *cursor;
        let is_learnt = !self.between.is_empty();
        let Some(may_have_escapes) = is_learnt.then(|| self.pass(&mut ahead).ok()).flatten() else {
            self.misses = self.misses.saturating_add(1);
            return None;
        };
        *cursor = ahead;
        self.misses = 0;
        let mut values = Values { may_have_escapes, ..Values::default() };
        let at = |place: Place| place.scalar.map_or(0, |scalar| self.ends[scalar]) + place.bytes;
        for (value, [from, to]) in &self.values {
            values.set(*value, Span { from: at(*from), to: at(*to) });
        }
        Some(values)
    }

    /// Whether one of the strings has escapes.
    fn pass(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, NotJson> {
        let start = *cursor;
        let mut have_escapes = false;
        let mut between = &self.between[..];
        for (scalar, end) in self.scalars.iter().zip(&mut self.ends) {
            let (before, behind) = between.split_at(scalar.before);
            cursor.word(before)?;
            between = behind;
            if scalar.is_string {
                have_escapes |= cursor.string()?;
            } else {
                cursor.number()?;
            }
            *end = u32::try_from(cursor.at - start.at).map_err(|_| NotJson)?;
        }
        cursor.word(between).map(|()| have_escapes)
    }

    /// Told of the object between two places, which [`next`](Self::next) did not pass over, and of the values in it: now
    /// and then this becomes the shape to look for.
    pub fn learn(&mut self, from: &Cursor<'_>, to: &Cursor<'_>, values: &Values<N>) {
        let is_first = self.between.is_empty() && self.misses <= 1;
        let is_time = is_first || (self.misses >= PATIENCE && self.misses.is_power_of_two());
        if is_time && let Some(shape) = Self::of(from.until(to), values) {
            *self = Self { misses: if is_first { 0 } else { self.misses }, ..shape };
        }
    }

    /// The shape of an object, if it has one.
    fn of(object: &str, values: &Values<N>) -> Option<Self> {
        let mut shape = Self::default();
        shape.add(&mut Cursor::new(object), 0).ok()?;
        shape.put_between(&object.as_bytes()[shape.last_end()..]).ok()?;
        let ends = &shape.ends[..shape.scalars.len()];
        let place = |at: u32| {
            let scalar = ends.iter().rposition(|end| *end <= at);
            Place { scalar, bytes: at - scalar.map_or(0, |scalar| ends[scalar]) }
        };
        let there = values.spans.iter().enumerate().filter(|(value, _)| values.has(*value));
        shape.values = there.map(|(value, span)| (value, [place(span.from), place(span.to)])).collect();
        Some(shape)
    }

    fn put_between(&mut self, text: &[u8]) -> Result<(), NotJson> {
        self.between.extend_from_slice(text);
        if self.between.len() > MOST_BYTES { Err(NotJson) } else { Ok(()) }
    }

    fn last_end(&self) -> usize {
        self.scalars.len().checked_sub(1).map_or(0, |last| self.ends[last] as usize)
    }

    /// Adds the value that comes here: its scalars, and what is between them.
    fn add(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), NotJson> {
        match cursor.peek().ok_or(NotJson)? {
            b'{' if depth < super::DEPTH => cursor.object(|_, cursor| self.add(cursor, depth + 1)),
            b'[' if depth < super::DEPTH => cursor.list(|cursor| self.add(cursor, depth + 1)),
            b'{' | b'[' => Err(NotJson),
            b't' | b'f' | b'n' => cursor.skip(),
            first => {
                let before = &cursor.text.as_bytes()[self.last_end()..cursor.at];
                if self.scalars.len() == MOST_SCALARS {
                    return Err(NotJson);
                }
                cursor.skip()?;
                self.ends[self.scalars.len()] = u32::try_from(cursor.at).map_err(|_| NotJson)?;
                self.put_between(before)?;
                self.scalars.push(Scalar { before: before.len(), is_string: first == b'"' });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the members `a` and `b`, the last of each.
    fn long_way(cursor: &mut Cursor<'_>) -> Result<Values<2>, NotJson> {
        let (object, mut values) = (*cursor, Values::default());
        cursor.object(|name, cursor| {
            let value = cursor.span(&object)?;
            match name {
                "a" => values.set(0, value),
                "b" => values.set(1, value),
                _ => (),
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// Holds that an object of the shape that `like` has is read as if it were read the long way, to the same place; and
    /// that it is of that shape, or is not.
    #[track_caller]
    fn check(like: &str, text: &str, is_alike: bool) {
        let mut shape = Shape::default();
        let (start, mut end) = (Cursor::new(like), Cursor::new(like));
        let values = long_way(&mut end).unwrap();
        shape.learn(&start, &end, &values);

        let mut short = Cursor::new(text);
        let found = shape.next(&mut short);
        assert_eq!(found.is_some(), is_alike, "{like} and {text}");
        let Some(found) = found else { return assert_eq!(short.at, 0) };
        let mut long = Cursor::new(text);
        let want = long_way(&mut long).unwrap();
        assert_eq!((found.spans, short.at), (want.spans, long.at), "{like} and {text}");
        for json in (0..2).filter_map(|value| found.json(text, value)) {
            assert_eq!(found.text(json), super::text(json), "{like} and {text}");
        }
    }

    #[test]
    fn what_differs_in_strings_and_numbers_is_alike() {
        check(r#"{"a":1,"b":"x"}"#, r#"{"a":-2.5e+9,"b":"\"\\, longer"}, and more"#, true);
        check(r#"{"a":{"c":1},"b":[1,"",{}]}"#, r#"{"a":{"c":123},"b":[1,"é",{}]}"#, true);
        check(r#"{ "c" : 1 , "a":[[ ]] }"#, r#"{ "c" : 100 , "a":[[ ]] }"#, true);
        check(r#"{"a":true,"b":null}"#, r#"{"a":true,"b":null}"#, true);
        check(r#"{"a":1,"a":"x","\u0062":""}"#, r#"{"a":1,"a":"y","\u0062":"z"}"#, true);
        check("{}", "{}", true);
    }

    #[test]
    fn what_differs_in_anything_else_is_not() {
        let like = r#"{"a":1,"b":"x"}"#;
        for other in [
            "",
            "{",
            "{}",
            r#"{"b":1,"a":"x"}"#,
            r#"{"a":"1","b":"x"}"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":1,"b":null}"#,
            r#"{"a":1, "b":"x"}"#,
            r#"{"a":1,"b":"x","c":1}"#,
            r#"{"a":01,"b":"x"}"#,
            r#"{"a":,"b":"x"}"#,
            r#"{"a":-,"b":"x"}"#,
            r#"{"a":1,"b":"x}"#,
            r#"{"a":1,"b":"\x"}"#,
            "{\"a\":1,\"b\":\"\n\"}",
            r#"{"a":1,"b":"x""#,
        ] {
            check(like, other, false);
        }
        check(r#"{"a":true}"#, r#"{"a":false}"#, false);
        check(r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, false);
    }

    #[test]
    fn what_is_large_or_deep_has_no_shape() {
        let scalars = |count| format!(r#"{{"a":[0{}]}}"#, ",1".repeat(count - 1));
        check(&scalars(MOST_SCALARS), &scalars(MOST_SCALARS), true);
        check(&scalars(MOST_SCALARS + 1), &scalars(MOST_SCALARS + 1), false);
        let named = |length| format!(r#"{{"{}":1}}"#, "n".repeat(length));
        check(&named(MOST_BYTES / 2), &named(MOST_BYTES / 2), true);
        check(&named(MOST_BYTES), &named(MOST_BYTES), false);
        let words = format!(r#"{{"a":1,"b":[{}true]}}"#, "true,".repeat(MOST_BYTES / 5));
        check(&words, &words, false);
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(2000), "]".repeat(2000));
        check(&deep, &deep, false);
        let long = |length| format!(r#"{{"a":"{}"}}"#, "x".repeat(length));
        check(&long(100_000), &long(200_000), true);
    }

    /// How many of these are read the short way, and learnt from, one after the other.
    fn read(shape: &mut Shape<2>, objects: &[&str]) -> usize {
        let is_short = |object: &&&str| {
            let start = Cursor::new(object);
            let mut cursor = start;
            let found = shape.next(&mut cursor);
            let is_short = found.is_some();
            let found = found.unwrap_or_else(|| {
                let values = long_way(&mut cursor).unwrap();
                shape.learn(&start, &cursor, &values);
                values
            });
            assert_eq!(found.spans, long_way(&mut Cursor::new(object)).unwrap().spans);
            is_short
        };
        objects.iter().filter(is_short).count()
    }

    #[test]
    fn one_odd_object_does_not_spoil_it_and_a_change_is_learnt() {
        let (one, other) = (r#"{"a":1}"#, r#"{"b":1}"#);
        let mut shape = Shape::default();
        assert_eq!(read(&mut shape, &[one; 10]), 9);
        assert_eq!(read(&mut shape, &[other, one, one]), 2);
        assert_eq!(read(&mut shape, &[other; 10]), 6);
        assert_eq!(read(&mut shape, &[one, other].repeat(10)), 10);
    }

    #[test]
    fn where_many_shapes_take_turns_learning_does_not_go_on_and_on() {
        let five = [r#"{"a":1}"#, r#"{"b":1}"#, r#"{"c":1}"#, r#"{"d":1}"#, r#"{"e":1}"#];
        assert!(read(&mut Shape::default(), &five.repeat(20)) > 0, "each was learnt and none recognised");
    }

    #[test]
    fn what_has_no_shape_is_not_tried_again_each_time() {
        let large = format!(r#"{{"a":[0{}]}}"#, ",1".repeat(MOST_SCALARS));
        let mut shape = Shape::default();
        assert_eq!(read(&mut shape, &[&*large; 5]), 0);
        // The third of the small ones is the eighth in a row that is not known, when it is time again.
        assert_eq!(read(&mut shape, &[r#"{"a":1}"#; 5]), 2);
    }

    #[test]
    fn an_odd_beginning_does_not_spoil_it_either() {
        let mut shape = Shape::default();
        assert_eq!(read(&mut shape, &["{}"]), 0);
        assert_eq!(read(&mut shape, &[r#"{"a":1}"#; 10]), 6);
    }
}
