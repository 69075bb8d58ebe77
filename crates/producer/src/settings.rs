//! What the producer reads from its environment.

use function::settings::{Mistake, Reader, Setting};
use kpl::Buckets;
use packet::{ByteExpression, KeyExpression, KeyFormatter};
use writer::{Aggregation, LARGEST_RECORD_BYTES, Limits, Ordering, StreamId};

/// `STREAM_NAME`.
const STREAM_NAME: Setting = Setting {
    name: "STREAM_NAME",
    default: None,
    expected: "the name of a Kinesis stream: 1 to 128 letters, digits, `_`, `.` or `-`",
    meaning: "the stream to write to; this or `STREAM_ARN` must be set",
};

/// `STREAM_ARN`.
const STREAM_ARN: Setting = Setting {
    name: "STREAM_ARN",
    default: None,
    expected: "an ARN such as `arn:aws:kinesis:eu-west-1:123456789012:stream/packets`",
    meaning: "the stream to write to, as AWS recommends to name it",
};

/// `PARTITION_KEY_EXPRESSION`.
const PARTITION_KEY_EXPRESSION: Setting = Setting {
    name: "PARTITION_KEY_EXPRESSION",
    default: None,
    expected: "a key expression such as `[0:4]` or `Remote.IpAddress`",
    meaning: "what of a packet is its partition key; unset, every packet has a random one",
};

/// `PARTITION_KEY_FORMATTER`.
const PARTITION_KEY_FORMATTER: Setting = Setting {
    name: "PARTITION_KEY_FORMATTER",
    default: None, // `hex` is KeyFormatter's own, so that the other name can stand in when this one is unset
    expected: "`hex`, `base64`, `ascii` or `utf8`",
    meaning: "how the bytes of a partition key become text; `hex` when unset",
};

/// The name that the gateway's own example template uses for the same.
const PARTITION_KEY_EXPRESSION_FORMATTER: Setting = Setting {
    name: "PARTITION_KEY_EXPRESSION_FORMATTER",
    meaning: "another name of `PARTITION_KEY_FORMATTER`, which counts when both are set",
    ..PARTITION_KEY_FORMATTER
};

/// `MAX_RECORD_BYTES`.
const MAX_RECORD_BYTES: Setting = Setting {
    name: "MAX_RECORD_BYTES",
    default: Some("1048576"),
    expected: "a number of bytes from 1 to 4194304",
    meaning: "the largest record, data and key, that the stream takes; larger packets are undelivered at the door",
};

/// `ORDERING`.
const ORDERING: Setting = Setting {
    name: "ORDERING",
    default: Some("relaxed"),
    expected: "`relaxed` or `strict`",
    meaning: "whether records of one key may share a request, and change places when Kinesis takes a part of it",
};

/// `RECORD_FORMAT`.
const RECORD_FORMAT: Setting = Setting {
    name: "RECORD_FORMAT",
    default: Some("packet"),
    expected: "`packet` or `kpl`",
    meaning: "whether a record is a packet, or an aggregate of packets in the format of the Kinesis Producer Library",
};

/// `AGGREGATE_BUCKETS`.
const AGGREGATE_BUCKETS: Setting = Setting {
    name: "AGGREGATE_BUCKETS",
    default: Some("16"),
    expected: "a power of two from 1 to 65536",
    meaning: "with `kpl`: into how many parts the keys fall; packets of one part share aggregates, in order",
};

/// `AGGREGATE_BYTES`.
const AGGREGATE_BYTES: Setting = Setting {
    name: "AGGREGATE_BYTES",
    default: Some("25600"),
    expected: "a number of bytes from 1 to 4194304",
    meaning: "with `kpl`: the size up to which an aggregate is filled; 25 KiB is what a shard charges as one",
};

/// `REPLY_EXPRESSION`.
const REPLY_EXPRESSION: Setting = Setting {
    name: "REPLY_EXPRESSION",
    default: None,
    expected: "a byte expression such as `[0:2]` or `0x06`",
    meaning: "what an acknowledged packet's sender gets as a reply; unset, there are no replies",
};

/// `UNDELIVERED_QUEUE_URL`.
const UNDELIVERED_QUEUE_URL: Setting = Setting {
    name: "UNDELIVERED_QUEUE_URL",
    default: None,
    expected: "the URL of a standard SQS queue, such as `https://sqs.eu-west-1.amazonaws.com/123456789012/undelivered`",
    meaning: "the queue for undelivered packets, in the function's own region; unset, they are in the log alone",
};

/// Every setting of the producer.
pub const SETTINGS: &[Setting] = &[
    STREAM_ARN,
    STREAM_NAME,
    PARTITION_KEY_EXPRESSION,
    PARTITION_KEY_FORMATTER,
    PARTITION_KEY_EXPRESSION_FORMATTER,
    MAX_RECORD_BYTES,
    ORDERING,
    RECORD_FORMAT,
    AGGREGATE_BUCKETS,
    AGGREGATE_BYTES,
    REPLY_EXPRESSION,
    UNDELIVERED_QUEUE_URL,
];

/// The producer's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to write.
    pub stream: StreamId,
    /// What gives a packet its partition key; none is a random one.
    pub key: Option<KeyExpression>,
    /// How bytes become a partition key.
    pub key_formatter: KeyFormatter,
    /// The largest record, and what is promised about order.
    pub limits: Limits,
    /// How packets are gathered into aggregates; none makes each a record.
    pub aggregation: Option<Aggregation>,
    /// What an acknowledged packet's sender gets.
    pub reply: Option<ByteExpression>,
    /// Where undelivered packets go before they go to the log.
    pub undelivered_queue_url: Option<String>,
}

impl Settings {
    /// Reads the settings; `None` only after noting a mistake in `reader`.
    pub fn read<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> Option<Self> {
        let arn = reader.optional(&STREAM_ARN, stream_arn);
        let name = reader.optional(&STREAM_NAME, stream_name);
        let stream = stream(reader, arn, name);
        let key = reader.optional(&PARTITION_KEY_EXPRESSION, KeyExpression::parse);
        let key_formatter = reader.optional(&PARTITION_KEY_FORMATTER, str::parse);
        let other_name = reader.optional(&PARTITION_KEY_EXPRESSION_FORMATTER, str::parse);
        let largest = reader.required(&MAX_RECORD_BYTES, record_bytes);
        let ordering = reader.required(&ORDERING, ordering);
        let format = reader.required(&RECORD_FORMAT, format);
        let buckets = reader.required(&AGGREGATE_BUCKETS, buckets);
        let bytes = reader.required(&AGGREGATE_BYTES, record_bytes);
        let reply = reader.optional(&REPLY_EXPRESSION, ByteExpression::parse);
        let undelivered_queue_url = reader.optional(&UNDELIVERED_QUEUE_URL, queue_url);
        let key_formatter: KeyFormatter = key_formatter.or(other_name).unwrap_or_default();
        let limits = Limits { record_bytes: largest?, ordering: ordering? };
        let aggregation = Aggregation { buckets: buckets?, bytes: bytes? };
        let aggregation = (format? == Format::Kpl).then_some(aggregation);
        Some(Self { stream: stream?, key, key_formatter, limits, aggregation, reply, undelivered_queue_url })
    }
}

/// The stream that name and ARN give; both may be set, but they have to mean the same one.
fn stream<F: Fn(&str) -> Option<String>>(
    reader: &mut Reader<F>,
    arn: Option<String>,
    name: Option<String>,
) -> Option<StreamId> {
    let in_arn = arn.as_deref().and_then(|arn| arn.rsplit_once('/')).map(|(_, name)| name);
    match (in_arn, name.as_deref()) {
        (None, None) => {
            let why = "STREAM_NAME is not set either";
            reader.mistake(Mistake::new(&STREAM_ARN, None, why));
            return None;
        }
        (Some(in_arn), Some(name)) if in_arn != name => {
            let why = format!("STREAM_ARN names another stream, {in_arn}");
            reader.mistake(Mistake::new(&STREAM_NAME, Some(name), why));
        }
        _ => {}
    }
    Some(StreamId { name, arn })
}

/// The rule of the API reference for `StreamName`.
fn stream_name(text: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let valid = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
    valid.then(|| text.to_owned()).ok_or("")
}

/// The rule of the API reference for `StreamARN`: `arn:aws.*:kinesis:.*:\d{12}:stream/\S+`.
fn stream_arn(text: &str) -> Result<String, &'static str> {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    let valid = match parts.as_slice() {
        ["arn", partition, "kinesis", _, account, resource] => {
            partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && resource.strip_prefix("stream/").is_some_and(|name| stream_name(name).is_ok())
        }
        _ => false,
    };
    valid.then(|| text.to_owned()).ok_or("")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Packet,
    Kpl,
}

fn format(text: &str) -> Result<Format, &'static str> {
    match text {
        "packet" => Ok(Format::Packet),
        "kpl" => Ok(Format::Kpl),
        _ => Err(""),
    }
}

/// Most parts: with more than packets in any event, no two would share an aggregate.
const MOST_BUCKETS: u32 = 65_536;

fn buckets(text: &str) -> Result<Buckets, String> {
    let count = text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
    let buckets = Buckets::new(count).map_err(|error| error.to_string())?;
    if count <= MOST_BUCKETS { Ok(buckets) } else { Err(String::new()) }
}

fn ordering(text: &str) -> Result<Ordering, &'static str> {
    match text {
        "relaxed" => Ok(Ordering::Relaxed),
        "strict" => Ok(Ordering::Strict),
        _ => Err(""),
    }
}

/// An absolute URL with a host and the queue's path.
fn queue_url(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or("")?;
    let (host, path) = rest.split_once('/').ok_or("")?;
    if host.is_empty() || path.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("");
    }
    if path.ends_with(".fifo") {
        return Err("a FIFO queue wants a message group with every message, and gets none");
    }
    Ok(text.to_owned())
}

fn record_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
    if (1..=LARGEST_RECORD_BYTES).contains(&bytes) { Ok(bytes) } else { Err(String::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Settings, String> {
        let find =
            |name: &str| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut reader = Reader::new(find);
        let settings = Settings::read(&mut reader);
        reader.finish(settings).map_err(|mistakes| mistakes.to_string())
    }

    #[track_caller]
    fn check_mistake(vars: &[(&str, &str)], want: &str) {
        assert_eq!(read(vars).unwrap_err(), want);
    }

    const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/packets";

    #[test]
    fn a_stream_is_all_that_must_be_set() {
        let settings = read(&[("STREAM_NAME", "packets")]).unwrap();
        assert_eq!(settings.stream, StreamId::named("packets"));
        assert_eq!((settings.limits, settings.key_formatter), (Limits::default(), KeyFormatter::Hex));
        assert!(settings.key.is_none() && settings.reply.is_none());
        assert_eq!(
            read(&[("STREAM_ARN", ARN), ("STREAM_NAME", "packets")]).unwrap().stream.arn.as_deref(),
            Some(ARN)
        );
    }

    #[test]
    fn the_documented_name_of_the_formatter_wins() {
        let stream = ("STREAM_NAME", "packets");
        let other = ("PARTITION_KEY_EXPRESSION_FORMATTER", "ascii");
        assert_eq!(read(&[stream, other]).unwrap().key_formatter, KeyFormatter::Ascii);
        let both = read(&[stream, other, ("PARTITION_KEY_FORMATTER", "base64")]).unwrap();
        assert_eq!(both.key_formatter, KeyFormatter::Base64);
    }

    #[test]
    fn a_missing_stream_and_two_that_differ_are_mistakes() {
        check_mistake(
            &[],
            "STREAM_ARN: expected an ARN such as `arn:aws:kinesis:eu-west-1:123456789012:stream/packets`, but it is not set: \
             STREAM_NAME is not set either",
        );
        check_mistake(
            &[("STREAM_ARN", ARN), ("STREAM_NAME", "other")],
            "STREAM_NAME: expected the name of a Kinesis stream: 1 to 128 letters, digits, `_`, `.` or `-`, given \
             \"other\": STREAM_ARN names another stream, packets",
        );
    }

    #[test]
    fn malformed_streams_are_refused() {
        for arn in
            ["packets", "arn:aws:sqs:eu-west-1:123456789012:packets", "arn:aws:kinesis:eu-west-1:12:stream/p"]
        {
            assert!(
                read(&[("STREAM_ARN", arn)]).unwrap_err().contains("STREAM_ARN: expected an ARN"),
                "{arn}"
            );
        }
        for name in ["a b", "é", "a/b", &"a".repeat(129)] {
            assert!(read(&[("STREAM_NAME", name)]).is_err(), "{name}");
        }
    }

    #[test]
    fn aggregates_are_made_on_request() {
        let stream = ("STREAM_NAME", "packets");
        assert_eq!(read(&[stream]).unwrap().aggregation, None);
        let by_default = Aggregation { buckets: Buckets::new(16).unwrap(), bytes: 25_600 };
        assert_eq!(read(&[stream, ("RECORD_FORMAT", "kpl")]).unwrap().aggregation, Some(by_default));
        for count in ["0", "3", "131072", "-1", "x"] {
            let why = read(&[stream, ("AGGREGATE_BUCKETS", count)]).unwrap_err();
            assert!(why.contains("AGGREGATE_BUCKETS: expected a power of two from 1 to 65536"), "{why}");
        }
    }

    #[test]
    fn the_queue_is_a_url() {
        let stream = ("STREAM_NAME", "packets");
        for url in
            ["https://sqs.eu-west-1.amazonaws.com/123456789012/q", "http://127.0.0.1:9324/000000000000/q"]
        {
            let settings = read(&[stream, ("UNDELIVERED_QUEUE_URL", url)]).unwrap();
            assert_eq!(settings.undelivered_queue_url.as_deref(), Some(url));
        }
        for url in [
            "q",
            "arn:aws:sqs:eu-west-1:1:q",
            "ftp://h/q",
            "https://",
            "https://h",
            "https://h/",
            "https:///q",
            "https://h/a b",
        ] {
            let why = read(&[stream, ("UNDELIVERED_QUEUE_URL", url)]).unwrap_err();
            assert!(
                why.contains("UNDELIVERED_QUEUE_URL: expected the URL of a standard SQS queue"),
                "{url}: {why}"
            );
        }
        let fifo = read(&[stream, ("UNDELIVERED_QUEUE_URL", "https://h/1/q.fifo")]).unwrap_err();
        assert!(fifo.contains("a FIFO queue wants a message group"), "{fifo}");
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let vars = [
            ("STREAM_NAME", "packets"),
            ("PARTITION_KEY_EXPRESSION", "[0:"),
            ("PARTITION_KEY_FORMATTER", "octal"),
            ("MAX_RECORD_BYTES", "4194305"),
            ("ORDERING", "Strict"),
            ("RECORD_FORMAT", "KPL"),
            ("AGGREGATE_BUCKETS", "12"),
            ("AGGREGATE_BYTES", "0"),
            ("REPLY_EXPRESSION", "Tag"),
        ];
        let mistakes = read(&vars).unwrap_err();
        for (name, _) in &vars[1..] {
            assert!(mistakes.contains(&format!("{name}: expected ")), "{name} in {mistakes}");
        }
        assert!(mistakes.contains("[0:\n"), "the expression and a caret: {mistakes}");
    }
}
