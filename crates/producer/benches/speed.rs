//! A batch of packets, from the event to the answer, with a stream that takes everything at once.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use bench::events::{self, Payload};
use bench::{Case, Work, divan};
use function::log::Level;
use function::settings::Reader;
use jiff::Timestamp;
use mimalloc::MiMalloc;
use producer::{Invocation, Producer, Settings};
use writer::{Answer, PutRecords, Record, Stored};

/// As the function itself has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const CASES: &[Case] = &[
    Case { name: "producer/1000 packets", items: 1000, prepare: || handling(&[]) },
    Case {
        name: "producer/1000 packets, strict",
        items: 1000,
        prepare: || handling(&[("ORDERING", "strict")]),
    },
    Case {
        name: "producer/1000 packets in aggregates",
        items: 1000,
        prepare: || handling(&[("RECORD_FORMAT", "kpl")]),
    },
];

/// A stream without a network.
struct Willing;

impl PutRecords for Willing {
    async fn put_records(&self, entries: &[&Record<'_>]) -> Answer {
        let stored = |number| Stored {
            shard_id: "shardId-000000000000".to_owned(),
            sequence_number: format!("4968036315735444205610786998109293544240858558501{number:07}"),
        };
        Ok((0..entries.len()).map(stored).map(Ok).collect())
    }
}

fn handling(settings: &[(&str, &str)]) -> Work {
    fastrand::seed(1); // nothing here shall differ from one time to the next
    let always = [("STREAM_NAME", "packets"), ("PARTITION_KEY_EXPRESSION", "[0:4]")];
    let mut reader = Reader::new(|name| {
        let mut all = settings.iter().chain(&always);
        all.find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    });
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).expect("no mistake");
    let producer = Producer::new(settings, Willing, Level::Info);
    let event = events::batch(&events::packets(1000, Payload::Bytes));
    let invocation = Invocation {
        function_name: "producer",
        request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        now: Timestamp::from_millisecond(1_795_166_128_413).expect("a time"),
        work_time: Duration::from_secs(10),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        let handled = producer.handle(black_box(&event), &invocation, &mut out);
        let answer = runtime.block_on(handled).expect("an answer");
        assert!(find(&out, br#""Acknowledged":1000,"#), "{}", String::from_utf8_lossy(&out));
        black_box(answer);
    })
}

fn find(within: &[u8], what: &[u8]) -> bool {
    within.windows(what.len()).any(|window| window == what)
}

#[divan::bench(crate = bench::divan, args = CASES)]
fn speed(bencher: divan::Bencher<'_, '_>, case: &Case) {
    case.measure(bencher);
}

fn main() -> ExitCode {
    bench::main(CASES)
}
