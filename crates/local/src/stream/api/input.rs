//! Reading requests: JSON into borrowed structs, and the service's words for what is out of bounds.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::stream::error::{ApiError, ErrorCode};
use crate::stream::handle::{Kinesis, Stream, not_found};
use crate::stream::id::SequenceNumber;
use crate::stream::limits::{MAX_ARN_CHARS, MAX_NAME_CHARS};

/// Reads the body of a request.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    // Without this, a derived struct would also be read from a JSON list of its members.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::new(ErrorCode::Serialization, "The body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let text = cut(&error.to_string()).into_owned();
        match text.strip_prefix("unknown field ") {
            Some(field) => {
                let message = format!("This stream does not simulate the member {field}");
                ApiError::new(ErrorCode::Validation, message)
            }
            None => ApiError::new(ErrorCode::Serialization, text),
        }
    })
}

/// A text that points into the body where it stands there without escapes.
#[derive(Debug, Clone)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.into())))
            }
        }
        deserializer.deserialize_str(Borrowed)
    }
}

/// A time in seconds since 1970, cut to the millisecond, as clocks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timestamp {
    pub(super) ms: u64,
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A time of whole milliseconds may have become a little less on its way through binary fractions.
        let ms = (f64::deserialize(deserializer)? * 1000.0 + 0.001).floor();
        if !(0.0..=1e15).contains(&ms) {
            return Err(de::Error::custom("expected a time as seconds since 1970"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked")]
        Ok(Self { ms: ms as u64 })
    }
}

/// The members of a request that are out of bounds, to be named together.
#[derive(Debug, Default)]
pub(super) struct Violations {
    told: Vec<String>,
    count: usize,
}

/// Violations that one message spells out; the rest are only counted.
const TOLD: usize = 10;
/// Characters of what was given that a message repeats: a body may hold a value of many megabytes.
const GIVEN_CHARS: usize = 300;

impl Violations {
    /// A member with this value (`None` for null) that does not do what it "must".
    pub(super) fn add(&mut self, value: Option<&str>, member: &str, must: impl fmt::Display) {
        self.count += 1;
        if self.told.len() < TOLD {
            let value = value.map_or_else(|| "null".into(), |value| format!("'{}'", cut(value)));
            let place = format!("Value {value} at '{member}'");
            self.told.push(format!("{place} failed to satisfy constraint: Member must {must}"));
        }
    }

    /// A member that must be there.
    pub(super) fn required<T>(&mut self, member: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(None, member, "not be null");
        }
        value
    }

    /// A text of so many characters.
    pub(super) fn length(&mut self, member: &str, value: &str, chars: RangeInclusive<usize>) {
        self.size(member, value, value.chars().count(), chars);
    }

    /// A text or list, shown as `value`, of so many characters or items.
    pub(super) fn size(&mut self, member: &str, value: &str, size: usize, bounds: RangeInclusive<usize>) {
        if size < *bounds.start() {
            let must = format_args!("have length greater than or equal to {}", bounds.start());
            self.add(Some(value), member, must);
        } else if size > *bounds.end() {
            let must = format_args!("have length less than or equal to {}", bounds.end());
            self.add(Some(value), member, must);
        }
    }

    /// A number in bounds, if it is given.
    pub(super) fn number(&mut self, member: &str, value: Option<i64>, bounds: RangeInclusive<i64>) {
        let Some(value) = value.filter(|value| !bounds.contains(value)) else { return };
        let (which, bound) =
            if value < *bounds.start() { ("greater", bounds.start()) } else { ("less", bounds.end()) };
        let must = format_args!("have value {which} than or equal to {bound}");
        self.add(Some(&value.to_string()), member, must);
    }

    /// One of a few words, if it is given.
    pub(super) fn word<T: Copy>(
        &mut self,
        member: &str,
        value: Option<&str>,
        words: &[(&str, T)],
    ) -> Option<T> {
        let value = value?;
        let known = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
        if known.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let must = format_args!("satisfy enum value set: [{}]", all.join(", "));
            self.add(Some(value), member, must);
        }
        known
    }

    /// A name of a stream or the like, if it is given.
    pub(super) fn name(&mut self, member: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.length(member, value, 1..=MAX_NAME_CHARS);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !value.bytes().all(allowed) {
            self.add(Some(value), member, "satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
        }
    }

    /// A sequence number, if it is given.
    pub(super) fn sequence_number(&mut self, member: &str, value: Option<&str>) -> Option<SequenceNumber> {
        let number = value?.parse();
        let must = r"satisfy regular expression pattern: 0|([1-9]\d{0,128})";
        number.map_err(|_| self.add(value, member, must)).ok()
    }

    /// The refusal, if there is anything to refuse.
    pub(super) fn done(self) -> Result<(), ApiError> {
        if self.count == 0 {
            return Ok(());
        }
        let errors = if self.count == 1 { "error" } else { "errors" };
        let message = format!("{} validation {errors} detected: {}", self.count, self.told.join("; "));
        Err(ApiError::new(ErrorCode::Validation, message))
    }
}

impl Kinesis {
    /// The stream that a request names, by name, by ARN, or by both if they agree.
    pub(super) fn find(&self, name: Option<&Text>, arn: Option<&Text>) -> Result<Stream, ApiError> {
        let mut violations = Violations::default();
        violations.name("streamName", name.map(|name| &**name));
        if let Some(arn) = arn {
            violations.length("streamARN", arn, 1..=MAX_ARN_CHARS);
        }
        violations.done()?;
        let config = self.config();
        let by_arn = arn.map(|arn| named_by(arn, &config.account, &config.region)).transpose()?;
        let name = match (name.map(|name| &**name), by_arn) {
            (None, None) => {
                return Err(ApiError::argument("Either StreamName or StreamARN should be provided."));
            }
            (Some(name), Some(by_arn)) if name != by_arn => {
                let message = format!("StreamName {name} and StreamARN name different streams: {by_arn}");
                return Err(ApiError::argument(message));
            }
            (Some(name), _) | (None, Some(name)) => name,
        };
        self.stream(name).ok_or_else(|| not_found(name, &config.account))
    }
}

/// What a message repeats of something given.
fn cut(given: &str) -> Cow<'_, str> {
    match given.char_indices().nth(GIVEN_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}...", &given[..end])),
        None => Cow::Borrowed(given),
    }
}

/// The stream's name in its ARN, which must be of this account and region.
fn named_by<'a>(arn: &'a str, account: &str, region: &str) -> Result<&'a str, ApiError> {
    let bad = || {
        let shape = format!("arn:aws:kinesis:{region}:{account}:stream/NAME");
        ApiError::argument(format!("The ARN of the stream is {arn:?}, expected {shape}"))
    };
    let mut parts = arn.splitn(6, ':');
    let mut part = || parts.next().ok_or_else(bad);
    let (scheme, partition, service) = (part()?, part()?, part()?);
    let (in_region, of_account, resource) = (part()?, part()?, part()?);
    let name = resource.strip_prefix("stream/").filter(|name| !name.is_empty()).ok_or_else(bad)?;
    let ours = (scheme, service, in_region, of_account) == ("arn", "kinesis", region, account);
    if ours && partition.starts_with("aws") { Ok(name) } else { Err(bad()) }
}

/// Whether it is a decimal of at most 39 digits without leading zeros.
pub(super) fn is_decimal(text: &str) -> bool {
    let digits = text.as_bytes();
    (1..=39).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && (digits.len() == 1 || digits[0] != b'0')
}
