//! What shapes the lines of readable packets: how many get one, and how much of the payload is in it.

use std::num::NonZeroU64;
use std::str::FromStr;

use function::settings::{Reader, Setting};

/// `LOG_PACKETS`.
pub const LOG_PACKETS: Setting = Setting {
    name: "LOG_PACKETS",
    default: Some("all"),
    expected: "`all`, `none`, or a share such as `1/100`",
    meaning: "which readable packets get a line of their own; all are counted",
};

/// `LOG_PAYLOAD_BYTES`.
pub const LOG_PAYLOAD_BYTES: Setting = Setting {
    name: "LOG_PAYLOAD_BYTES",
    default: Some("all"),
    expected: "`all`, or a number of bytes",
    meaning: "how much of a readable packet's payload its line shows",
};

/// Every setting of the consumer.
pub const SETTINGS: &[Setting] = &[LOG_PACKETS, LOG_PAYLOAD_BYTES];

/// The consumer's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Which readable packets get a line.
    pub log_packets: LogPackets,
    /// The most bytes of a payload that a line shows.
    pub log_payload_bytes: usize,
}

impl Settings {
    /// Reads the settings; `None` only after noting a mistake in `reader`.
    pub fn read<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> Option<Self> {
        let log_packets = reader.required(&LOG_PACKETS, str::parse);
        let log_payload_bytes = reader.required(&LOG_PAYLOAD_BYTES, |text| match text {
            "all" => Ok(usize::MAX),
            number => number.parse(),
        });
        Some(Self { log_packets: log_packets?, log_payload_bytes: log_payload_bytes? })
    }
}

/// Which readable packets get a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPackets {
    /// Every one.
    All,
    /// None.
    None,
    /// One in so many, chosen by the record's sequence number: a packet that is delivered again is chosen again.
    OneIn(NonZeroU64),
}

impl LogPackets {
    /// Whether the packet in this record gets a line, or in this user record of it. One without a sequence number does,
    /// unless none shall.
    pub fn chooses(self, sequence_number: Option<&str>, sub_sequence_number: Option<usize>) -> bool {
        match (self, sequence_number) {
            (Self::All, _) => true,
            (Self::None, _) => false,
            (Self::OneIn(_), None) => true,
            (Self::OneIn(n), Some(number)) => {
                let sub = sub_sequence_number.map_or(0, |number| number as u64);
                spread(number.as_bytes()).wrapping_add(sub).is_multiple_of(n.get())
            }
        }
    }
}

impl FromStr for LogPackets {
    type Err = &'static str;

    /// The error is empty: what is expected is in [`LOG_PACKETS`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => text
                .strip_prefix("1/")
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .map(Self::OneIn)
                .ok_or(""),
        }
    }
}

/// Spreads sequence numbers, whose digits are far from even, over all values: FNV-1a, then the mixing step of
/// MurmurHash3, since FNV's low bits alone are weak.
fn spread(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(packets: &str, bytes: &str, want: Result<(LogPackets, usize), &str>) {
        let mut reader = Reader::new(|name| match name {
            "LOG_PACKETS" => Some(packets.to_owned()),
            "LOG_PAYLOAD_BYTES" => Some(bytes.to_owned()),
            _ => None,
        });
        let settings = Settings::read(&mut reader);
        let got = reader.finish(settings).map_err(|mistakes| mistakes.to_string());
        let got = got.map(|settings| (settings.log_packets, settings.log_payload_bytes));
        assert_eq!(got, want.map_err(str::to_owned));
    }

    #[test]
    fn settings_are_read_with_everything_logged_by_default() {
        let one_in = |n| LogPackets::OneIn(NonZeroU64::new(n).unwrap());
        check("", "", Ok((LogPackets::All, usize::MAX)));
        check("all", "all", Ok((LogPackets::All, usize::MAX)));
        check("none", "0", Ok((LogPackets::None, 0)));
        check("1/100", "4096", Ok((one_in(100), 4096)));
        check("1/1", "1", Ok((one_in(1), 1)));
    }

    #[test]
    fn unknown_words_are_refused() {
        for packets in ["ALL", "some", "1/", "1/0", "1/-1", "1/+1", "2/3", "0.1", "1/ 2"] {
            let why = format!(
                "LOG_PACKETS: expected `all`, `none`, or a share such as `1/100`, given \"{packets}\""
            );
            check(packets, "all", Err(&why));
        }
        check(
            "most",
            "-1",
            Err("LOG_PACKETS: expected `all`, `none`, or a share such as `1/100`, given \"most\"\n\
                 LOG_PAYLOAD_BYTES: expected `all`, or a number of bytes, given \"-1\": invalid digit found in string"),
        );
    }

    #[test]
    fn a_share_is_even_over_sequence_numbers_and_repeats_its_choice() {
        let share = "1/10".parse::<LogPackets>().unwrap();
        for step in [1_u128, 2, 10, 16, 1_000] {
            let number = |n: u128| format!("4959033827149025660855969{:031}", n * step);
            let chosen = (0..10_000).filter(|n| share.chooses(Some(&number(*n)), None)).count();
            assert!((850..1_150).contains(&chosen), "{chosen} of 10000 in steps of {step}");
            let again = (0..10_000).filter(|n| share.chooses(Some(&number(*n)), None)).count();
            assert_eq!(chosen, again);
        }
        assert!(share.chooses(None, None));
        assert!(!LogPackets::None.chooses(None, None));
    }
}
