//! A batch of records, from the event to the lines of its packets.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use bench::events::{self, Payload};
use bench::{Case, Work, divan};
use consumer::{Answer, Consumer, Invocation, LogPackets, Settings};
use function::log::Level;
use jiff::Timestamp;
use kpl::{Aggregator, UserRecord};
use mimalloc::MiMalloc;

/// As the function itself has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const CASES: &[Case] = &[
    Case { name: "consumer/1000 packets", items: 1000, prepare: || handling(&packets(Payload::Bytes)) },
    Case {
        name: "consumer/1000 packets of text",
        items: 1000,
        prepare: || handling(&packets(Payload::Text)),
    },
    Case { name: "consumer/1000 packets in 20 aggregates", items: 1000, prepare: || handling(&aggregates()) },
    Case { name: "consumer/1000 records that are no packets", items: 1000, prepare: || handling(&others()) },
];

fn packets(payload: Payload) -> Vec<Vec<u8>> {
    events::packets(1000, payload).into_iter().map(String::into_bytes).collect()
}

fn aggregates() -> Vec<Vec<u8>> {
    let mut aggregator = Aggregator::new();
    let aggregate = |packets: &[Vec<u8>]| {
        for (number, data) in packets.iter().enumerate() {
            let partition_key = &format!("{number:08X}");
            let record = UserRecord { partition_key, explicit_hash_key: Some(1 << 127), data };
            aggregator.push(&record).expect("a short key");
        }
        aggregator.finish().expect("not empty")
    };
    packets(Payload::Bytes).chunks(50).map(aggregate).collect()
}

fn others() -> Vec<Vec<u8>> {
    (0..1000)
        .map(|number| format!("a line of text that no gateway wrote, number {number}").into_bytes())
        .collect()
}

fn handling(data: &[Vec<u8>]) -> Work {
    let event = events::records(data);
    let settings = Settings { log_packets: LogPackets::All, log_payload_bytes: usize::MAX };
    let mut consumer = Consumer::new(settings, Level::Info);
    let invocation = Invocation {
        function_name: "consumer",
        request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        now: Timestamp::from_millisecond(1_795_166_128_413).expect("a time"),
        work_time: Duration::from_secs(10),
    };
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        let answer = consumer.handle(black_box(&event), &invocation, || Duration::ZERO, &mut out);
        assert_eq!(answer, Ok(Answer::Done));
        black_box(&out);
    })
}

#[divan::bench(crate = bench::divan, args = CASES)]
fn speed(bencher: divan::Bencher<'_, '_>, case: &Case) {
    case.measure(bencher);
}

fn main() -> ExitCode {
    bench::main(CASES)
}
