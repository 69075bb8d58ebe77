//! The codec as a filter, for programs in other languages to be compared with: a line in, a line out.
//!
//! A line `D` and bytes is decoded, to `A` and the user records, to `N` if it is no aggregate, or to `X` and what is
//! broken about it. A line `E` and user records is encoded, to the bytes of the aggregate. Bytes are in hexadecimal. A
//! user record is its partition key, its explicit hash key or `-`, and its data, with commas between; spaces separate.
//!
//! ```sh
//! echo E 6b,-,68656c6c6f | cargo run -q -p kpl --example codec
//! ```

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, Write};

use kpl::{Aggregator, UserRecord, decode};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("D", bytes) => writeln!(out, "{}", decoded(&unhex(bytes)?))?,
            ("E", records) => writeln!(out, "{}", encoded(records)?)?,
            _ => return Err(format!("expected D or E and a space, found {line:?}").into()),
        }
    }
    Ok(out.flush()?)
}

fn decoded(bytes: &[u8]) -> String {
    let aggregate = match decode(bytes) {
        Ok(Some(aggregate)) => aggregate,
        Ok(None) => return "N".into(),
        Err(broken) => return format!("X {broken}"),
    };
    let mut line = String::from("A");
    for record in aggregate.records() {
        let hash = record.explicit_hash_key.map_or_else(|| "-".into(), |hash| hash.to_string());
        // Writing to a string cannot fail.
        let _ = write!(line, " {},{hash},{}", hex(record.partition_key.as_bytes()), hex(record.data));
    }
    line
}

fn encoded(records: &str) -> Result<String, Box<dyn Error>> {
    let mut aggregator = Aggregator::new();
    for record in records.split(' ').filter(|record| !record.is_empty()) {
        let mut parts = record.split(',');
        let mut part = || parts.next().ok_or_else(|| format!("expected key,hash,data, found {record:?}"));
        let (key, hash, data) = (part()?, part()?, part()?);
        let partition_key = String::from_utf8(unhex(key)?)?;
        let explicit_hash_key = (hash != "-").then(|| hash.parse()).transpose()?;
        let data = unhex(data)?;
        let record = UserRecord { partition_key: &partition_key, explicit_hash_key, data: &data };
        aggregator.push(&record).map_err(|refused| format!("{refused:?}"))?;
    }
    Ok(hex(&aggregator.finish().ok_or("expected a user record, found none")?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?));
    bytes
        .collect::<Option<_>>()
        .ok_or_else(|| format!("expected pairs of hexadecimal digits, found {text:?}").into())
}
