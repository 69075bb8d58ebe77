//! User records into aggregates of 25 KiB, and out again.

use std::hint::black_box;
use std::process::ExitCode;

use bench::events::{self, Payload};
use bench::{Case, Work, divan};
use kpl::{Aggregator, Buckets, Unsealed, UserRecord, decode};

const CASES: &[Case] = &[
    Case { name: "kpl/bucket of a key", items: 1000, prepare: bucket },
    Case { name: "kpl/encode", items: 1000, prepare: || encoding(&keys()) },
    Case { name: "kpl/encode, one key", items: 1000, prepare: || encoding(&vec![keys().remove(0); 1000]) },
    Case { name: "kpl/decode", items: 1000, prepare: decoding },
];

/// Most bytes of an aggregate: what a shard charges as one.
const AGGREGATE: usize = 25 * 1024;

fn keys() -> Vec<String> {
    (0..1000_u32).map(|number| format!("{:08X}", number.wrapping_mul(0x9E37_79B9))).collect()
}

fn bucket() -> Work {
    let (keys, buckets) = (keys(), Buckets::new(16).expect("a power of two"));
    Box::new(move || {
        let keys: Vec<_> = black_box(&keys).iter().map(String::as_str).collect();
        let numbers = buckets.of_each(&keys).into_iter().map(kpl::Bucket::number);
        assert!(numbers.sum::<u32>() > 0);
    })
}

fn encode(keys: &[String], packets: &[String]) -> Vec<Vec<u8>> {
    let (mut aggregator, mut aggregates) = (Aggregator::new(), Vec::new());
    for (partition_key, data) in keys.iter().zip(packets) {
        let record = UserRecord { partition_key, explicit_hash_key: Some(1 << 127), data: data.as_bytes() };
        if aggregator.size_with(&record) > AGGREGATE {
            aggregates.extend(aggregator.take());
        }
        aggregator.push(&record).expect("a short key");
    }
    aggregates.extend(aggregator.take());
    Unsealed::seal(aggregates)
}

fn encoding(keys: &[String]) -> Work {
    let (keys, packets) = (keys.to_vec(), events::packets(1000, Payload::Bytes));
    Box::new(move || assert!(black_box(encode(black_box(&keys), &packets)).len() > 10))
}

fn decoding() -> Work {
    let aggregates = encode(&keys(), &events::packets(1000, Payload::Bytes));
    Box::new(move || {
        let mut found = 0;
        for aggregate in black_box(&aggregates) {
            let aggregate = decode(aggregate).expect("not broken").expect("an aggregate");
            found += aggregate.records().map(black_box).count();
        }
        assert_eq!(found, 1000);
    })
}

#[divan::bench(crate = bench::divan, args = CASES)]
fn speed(bencher: divan::Bencher<'_, '_>, case: &Case) {
    case.measure(bencher);
}

fn main() -> ExitCode {
    bench::main(CASES)
}
