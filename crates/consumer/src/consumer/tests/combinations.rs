//! Every kind of record beside every other, with time for all of them or for some, and a log that can be written or
//! cannot: what is handled, what is logged and what is answered is what the rules say.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Packet,
    NotPacket,
    /// Its data is not base64.
    Undecodable,
    /// It is handled half, and then handling it panics.
    Panics,
    /// A packet in a record without a sequence number.
    Unnumbered,
    /// The same with a number that is no text, which makes it undecodable.
    OddlyNumbered,
    /// A panic in handling a record without a sequence number.
    PanicsUnnumbered,
    NoRecord,
}

use Is::*;

const KINDS: [Is; 8] =
    [Packet, NotPacket, Undecodable, Panics, Unnumbered, OddlyNumbered, PanicsUnnumbered, NoRecord];

const DEADLY: &[u8] = br#"{"Data":"ZGVhZGx5"}"#;

impl Is {
    fn entry(self, number: usize) -> String {
        let packet = br#"{"Data":"eA=="}"#;
        let numbered = |data: &[u8], with: &str| {
            entry(number, data).replace(&format!(r#""sequenceNumber":"{number:056}""#), with)
        };
        match self {
            Packet => entry(number, packet),
            NotPacket => entry(number, b"text"),
            Undecodable => entry(number, packet).replace(r#""data":""#, r#""data":"*"#),
            Panics => entry(number, DEADLY),
            Unnumbered => numbered(packet, r#""sequenceNumber":null"#),
            OddlyNumbered => numbered(packet, r#""sequenceNumber":5"#),
            PanicsUnnumbered => numbered(DEADLY, r#""sequenceNumber":"""#),
            NoRecord => format!("[{number}]"),
        }
    }

    fn has_number(self) -> bool {
        matches!(self, Packet | NotPacket | Undecodable | Panics)
    }

    fn panics(self) -> bool {
        matches!(self, Panics | PanicsUnnumbered)
    }

    /// Level, message and the start of the reason of its one line.
    fn line(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Packet | Unnumbered => ("INFO", "packet", ""),
            NotPacket => ("INFO", "record", ""),
            Undecodable => ("ERROR", "undecodable", "data is not base64"),
            Panics | PanicsUnnumbered => ("ERROR", "undecodable", "panicked: as asked"),
            OddlyNumbered => ("ERROR", "undecodable", "sequenceNumber must be a string, found a number"),
            NoRecord => ("ERROR", "undecodable", "a record must be an object, found a list"),
        }
    }
}

/// Handles a batch as the consumer does, but that some records are deadly; time runs out after `in_time` of them.
fn run(entries: &[String], in_time: usize) -> (Result<Answer, Error>, Vec<Value>) {
    let event = event(entries);
    let records = records(&event, &mut Reader::default()).unwrap();
    let (mut lines, now) = (Lines::new(Level::Info), NOW.parse().unwrap());
    lines.begin(now, "r-1");
    let (mut data, mut contents, mut out) = (Vec::new(), Contents::default(), Vec::new());
    let asked = Cell::new(0);
    let late = || {
        asked.set(asked.get() + 1);
        asked.get() >= in_time
    };
    let mut log = Log::new(&mut lines, &mut out);
    let tally = each(&records, now, &mut log, late, |record, log| {
        let data = record.data(&mut data)?;
        let tally = decoded(record, data, now, log, &ALL, &mut contents);
        assert!(data != DEADLY, "as asked");
        tally
    });
    assert_eq!(log.finish().unwrap(), tally.handled);
    let lines = String::from_utf8(out).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (answer(&records, tally.handled), lines)
}

#[track_caller]
fn check(all: &[Is], in_time: usize) {
    let case = format!("{all:?}, time for {in_time}");
    let entries: Vec<_> = all.iter().enumerate().map(|(number, is)| is.entry(number)).collect();
    let from = |handled: usize| match all.get(handled) {
        None => Ok(Answer::Done),
        Some(is) if is.has_number() => Ok(Answer::From(format!("{handled:056}"))),
        Some(_) => Err(Error::Unreportable { index: handled, records: all.len() }),
    };

    // One is handled whatever the time; each handled has its line, in order, and no other has any.
    let handled = in_time.clamp(1, all.len());
    let (answer, lines) = run(&entries, in_time);
    assert_eq!(answer, from(handled), "{case}");
    assert_eq!(lines.len(), handled, "{case}");
    for ((line, is), entry) in lines.iter().zip(all).zip(&entries) {
        let (level, message, reason) = is.line();
        assert_eq!((&line["level"], &line["message"]), (&json!(level), &json!(message)), "{case}");
        assert!(line["reason"].as_str().unwrap_or_default().starts_with(reason), "{case}: {line}");
        if message == "undecodable" {
            assert_eq!(&line["text"], entry, "{case}: whole");
        }
    }

    if all.iter().any(|is| is.panics()) {
        return;
    }
    // And so it is under the consumer's own roof.
    let outcome = Outcome::of(ALL, Level::Info, &event(&entries), in_time);
    outcome.accounts_for(all.len());
    assert_eq!((&outcome.answer, &outcome.lines[..handled]), (&answer, &lines[..]), "{case}");
    // What was not logged was not handled.
    let elapsed = || Duration::ZERO;
    let full = &mut Full { room: 100 };
    let answer =
        Consumer::new(ALL, Level::Info).handle(&event(&entries), &invocation(Duration::MAX), elapsed, full);
    assert_eq!(answer, from(0), "{case}");
}

#[test]
fn every_kind_of_record_before_behind_and_between_every_other() {
    for first in KINDS {
        for second in KINDS {
            for third in KINDS {
                let all = [first, second, third];
                if all == [NoRecord; 3] {
                    continue; // no event of Kinesis
                }
                for in_time in 0..=all.len() {
                    check(&all, in_time);
                }
            }
        }
    }
}
