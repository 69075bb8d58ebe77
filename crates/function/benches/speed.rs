//! Lines of the log: as a packet's are, and as what is too long for one is.

use std::hint::black_box;
use std::io;
use std::process::ExitCode;

use bench::events::{self, PAYLOAD, Payload};
use bench::{Case, Work, divan};
use function::lines::{Lines, Members};
use function::log::Level;
use jiff::Timestamp;

const CASES: &[Case] = &[
    Case { name: "function/a line with 64 bytes", items: 1000, prepare: || lines(&[0x80; PAYLOAD]) },
    Case { name: "function/a line with 64 letters", items: 1000, prepare: || lines(&[b'a'; PAYLOAD]) },
    Case {
        name: "function/a packet's JSON, whole",
        items: 1000,
        prepare: || whole(packet().as_bytes(), 1000),
    },
    Case { name: "function/1 MiB, whole", items: 1, prepare: || whole(&vec![0x80; 1 << 20], 1) },
];

/// Members as lines have them.
fn members(line: &mut Members<'_>) {
    line.text("shard", "shardId-000000000000");
    line.text("sequenceNumber", "49680363157354442056107869981092935442408585585010000000");
    line.text("partitionKey", "0A0B0C0D");
    line.number("age", 1000);
}

fn packet() -> String {
    events::packets(1, Payload::Text).concat()
}

fn lines(bytes: &[u8]) -> Work {
    let bytes = bytes.to_vec();
    writing(1000, move |lines| {
        lines.push(Level::Info, "packet", |line| {
            members(line);
            line.contents(black_box(&bytes), None);
        });
    })
}

fn whole(bytes: &[u8], times: usize) -> Work {
    let bytes = bytes.to_vec();
    writing(times, move |lines| lines.whole(Level::Error, "undelivered", black_box(&bytes), members))
}

fn writing(times: usize, add: impl Fn(&mut Lines) + 'static) -> Work {
    let now = Timestamp::from_millisecond(1_795_166_128_413).expect("a time");
    let mut lines = Lines::new(Level::Info);
    Box::new(move || {
        lines.begin(now, "8476a536-e9f4-11e8-9739-2dfe598c3fcd");
        let start = lines.mark();
        (0..times).for_each(|_| add(&mut lines));
        assert!(lines.len_since(start) > 100 * times);
        lines.write_to(&mut io::sink()).expect("a sink takes everything");
    })
}

#[divan::bench(crate = bench::divan, args = CASES)]
fn speed(bencher: divan::Bencher<'_, '_>, case: &Case) {
    case.measure(bencher);
}

fn main() -> ExitCode {
    bench::main(CASES)
}
