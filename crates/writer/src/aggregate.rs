//! Records gathered into aggregates in the format of the Kinesis Producer Library, and the report of what became of them
//! spread over what is in them.
//!
//! Which records share an aggregate is a matter of their partition keys alone: the hash space is cut into buckets
//! ([`kpl::Buckets`]), and a bucket's records follow each other in its aggregates, in the order given. Even a single one
//! is framed, so that a bucket's aggregates all have one partition key: to the stream, to a mapping's lanes and to the
//! retry machine they are the records of one key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use kpl::{Aggregator, Bucket, Buckets, Unsealed, UserRecord};

use crate::{Acknowledged, Class, Failure, Limits, PutRecords, Record, Report, Undelivered, put};

/// How records are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregation {
    /// Which records may share an aggregate.
    pub buckets: Buckets,
    /// Most bytes of an aggregate that holds more than one record, its partition key included.
    pub bytes: usize,
}

/// Writes `records` as [`put()`] does, but gathered into aggregates; the report is of the records themselves. An
/// aggregate is acknowledged or given up as a whole.
pub async fn put_aggregated(
    stream: &impl PutRecords,
    records: &[Record<'_>],
    aggregation: Aggregation,
    limits: Limits,
    until: Instant,
) -> Report {
    let aggregates = Aggregates::of(records, aggregation, limits.record_bytes);
    let report = put(stream, &aggregates.records(), limits, until).await;
    aggregates.spread(report)
}

/// Records in their aggregates.
#[derive(Debug, Default)]
struct Aggregates {
    /// In the order of the first record of each.
    aggregates: Vec<Aggregate>,
    /// Records that no aggregate can hold, and why.
    refused: Vec<(usize, String)>,
}

#[derive(Debug)]
struct Aggregate {
    bucket: Bucket,
    data: Vec<u8>,
    /// Positions of its records in what was given, in order.
    members: Vec<usize>,
}

/// An aggregate that is being filled.
#[derive(Default)]
struct Open {
    aggregator: Aggregator,
    members: Vec<usize>,
}

impl Open {
    /// Takes what is in it, if there is anything.
    fn close(&mut self, bucket: Bucket) -> Option<Closed> {
        let data = self.aggregator.take()?;
        Some(Closed { bucket, data, members: std::mem::take(&mut self.members) })
    }
}

/// An aggregate that is full, or the last of its bucket.
struct Closed {
    bucket: Bucket,
    data: Unsealed,
    members: Vec<usize>,
}

impl Aggregates {
    fn of(records: &[Record<'_>], aggregation: Aggregation, record_bytes: usize) -> Self {
        let (mut refused, mut closed) = (Vec::new(), Vec::new());
        let mut open = BTreeMap::<Bucket, Open>::new();
        let keys: Vec<_> = records.iter().map(|record| &*record.partition_key).collect();
        let buckets = aggregation.buckets.of_each(&keys);
        for ((position, record), bucket) in records.iter().enumerate().zip(buckets) {
            let filling = open.entry(bucket).or_default();
            let explicit_hash_key = Some(bucket.hash_key());
            let user =
                UserRecord { partition_key: &record.partition_key, explicit_hash_key, data: record.data };
            let most = aggregation.bytes.min(record_bytes).saturating_sub(partition_key(bucket).len());
            if filling.aggregator.size_with(&user) > most {
                closed.extend(filling.close(bucket));
            }
            match filling.aggregator.push(&user) {
                Ok(()) => filling.members.push(position),
                Err(why) => refused.push((position, why.to_string())),
            }
        }
        closed.extend(open.into_iter().filter_map(|(bucket, mut filling)| filling.close(bucket)));
        closed.sort_unstable_by_key(|closed| closed.members.first().copied());
        // The digests of all at once.
        let (data, places): (Vec<_>, Vec<_>) =
            closed.into_iter().map(|Closed { bucket, data, members }| (data, (bucket, members))).unzip();
        let sealed = Unsealed::seal(data).into_iter().zip(places);
        let aggregates =
            sealed.map(|(data, (bucket, members))| Aggregate { bucket, data, members }).collect();
        Self { aggregates, refused }
    }

    /// The aggregates as records of the stream.
    fn records(&self) -> Vec<Record<'_>> {
        let record =
            |aggregate: &'_ Aggregate| (partition_key(aggregate.bucket), aggregate.bucket.hash_key());
        let records = self.aggregates.iter().map(|aggregate| {
            let (partition_key, hash_key) = record(aggregate);
            Record { partition_key, explicit_hash_key: Some(hash_key), data: &aggregate.data }
        });
        records.collect()
    }

    /// The report of aggregates as one of the records in them.
    fn spread(self, report: Report) -> Report {
        let mut spread = Report { effort: report.effort, ..Report::default() };
        for Acknowledged { record, shard_id, sequence_number } in report.acknowledged {
            let members = self.aggregates[record].members.iter();
            spread.acknowledged.extend(members.map(|&record| Acknowledged {
                record,
                shard_id: shard_id.clone(),
                sequence_number: sequence_number.clone(),
            }));
        }
        for undelivered in report.undelivered {
            let members = self.aggregates[undelivered.record].members.iter();
            spread.undelivered.extend(members.map(|&record| Undelivered { record, ..undelivered.clone() }));
        }
        spread.undelivered.extend(self.refused.into_iter().map(|(record, message)| Undelivered {
            record,
            reason: Arc::new(Failure {
                class: Class::Refused,
                code: "InvalidPartitionKey".into(),
                message,
                may_be_stored: false,
            }),
            attempts: 0,
            may_be_stored: false,
        }));
        spread.acknowledged.sort_unstable_by_key(|acknowledged| acknowledged.record);
        spread.undelivered.sort_unstable_by_key(|undelivered| undelivered.record);
        spread
    }
}

/// The partition key of a bucket's aggregates: it names the bucket.
fn partition_key(bucket: Bucket) -> String {
    format!("bucket-{}", bucket.number())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{Answer, Ordering, Stored};

    fn aggregation(count: u32, bytes: usize) -> Aggregation {
        Aggregation { buckets: Buckets::new(count).unwrap(), bytes }
    }

    /// The positions in each aggregate, after holding what is promised of every aggregate.
    #[track_caller]
    fn gathered(records: &[Record<'_>], aggregation: Aggregation, record_bytes: usize) -> Vec<Vec<usize>> {
        let aggregates = Aggregates::of(records, aggregation, record_bytes);
        let written = aggregates.records();
        for (aggregate, record) in aggregates.aggregates.iter().zip(&written) {
            let read = kpl::decode(&aggregate.data).unwrap().expect("an aggregate");
            assert_eq!(read.len(), aggregate.members.len());
            assert!(aggregate.members.is_sorted());
            for (user, &position) in read.records().zip(&aggregate.members) {
                assert_eq!(
                    (user.partition_key, user.data),
                    (&*records[position].partition_key, records[position].data)
                );
                assert_eq!(
                    user.hash_key(),
                    record.explicit_hash_key.unwrap(),
                    "all are where the aggregate is"
                );
                assert_eq!(aggregation.buckets.of(user.partition_key), aggregate.bucket);
            }
            let fits = record.bytes() <= aggregation.bytes.min(record_bytes);
            assert!(fits || aggregate.members.len() == 1, "{} bytes", record.bytes());
        }
        let mut all: Vec<_> =
            aggregates.aggregates.iter().flat_map(|aggregate| aggregate.members.clone()).collect();
        all.extend(aggregates.refused.iter().map(|(position, _)| *position));
        all.sort_unstable();
        assert_eq!(all, (0..records.len()).collect::<Vec<_>>(), "given = gathered, exactly once");
        aggregates.aggregates.into_iter().map(|aggregate| aggregate.members).collect()
    }

    #[test]
    fn what_shares_a_bucket_shares_an_aggregate_as_long_as_it_fits() {
        let records: Vec<_> = (0..6).map(|_| Record::new("abc", &[b'x'; 100])).collect();
        assert_eq!(gathered(&records, aggregation(16, 25_600), 1 << 20), [vec![0, 1, 2, 3, 4, 5]]);
        let halves = gathered(&records, aggregation(16, 420), 1 << 20);
        assert_eq!(halves, [vec![0, 1, 2], vec![3, 4, 5]]);
        let by_record_limit = gathered(&records, aggregation(16, 25_600), 420);
        assert_eq!(by_record_limit, halves, "no aggregate is larger than a record may be");
        // "a" and "abc" are of buckets 0 and 9 of 16 (MD5 0x0c… and 0x90…), and of one if there is only one.
        let two = [Record::new("abc", b"1"), Record::new("a", b"2"), Record::new("abc", b"3")];
        assert_eq!(gathered(&two, aggregation(16, 25_600), 1 << 20), [vec![0, 2], vec![1]]);
        assert_eq!(gathered(&two, aggregation(1, 25_600), 1 << 20), [vec![0, 1, 2]]);
    }

    #[test]
    fn a_record_too_large_for_company_goes_alone_and_in_its_place() {
        let records = [Record::new("abc", b"1"), Record::new("abc", &[0; 1_000]), Record::new("abc", b"3")];
        assert_eq!(gathered(&records, aggregation(16, 500), 1 << 20), [vec![0], vec![1], vec![2]]);
    }

    /// A stream that fails whole aggregates by what they hold.
    struct Scripted {
        stored: RefCell<Vec<(String, Vec<u8>)>>,
        fails: fn(&[u8]) -> bool,
    }

    impl PutRecords for Scripted {
        async fn put_records(&self, entries: &[&Record<'_>]) -> Answer {
            let result = |entry: &&Record<'_>| {
                if (self.fails)(entry.data) {
                    let (class, code, message) = (Class::Throttled, "Slow".into(), String::new());
                    return Err(Failure { class, code, message, may_be_stored: false });
                }
                self.stored.borrow_mut().push((entry.partition_key.clone(), entry.data.to_vec()));
                Ok(Stored { shard_id: "shardId-000000000000".into(), sequence_number: "7".into() })
            };
            Ok(entries.iter().map(result).collect())
        }
    }

    fn write(records: &[Record<'_>], ordering: Ordering, fails: fn(&[u8]) -> bool) -> (Report, Vec<Vec<u8>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let stream = Scripted { stored: RefCell::default(), fails };
            let limits = Limits { ordering, record_bytes: 2_000 };
            let until = tokio::time::Instant::now().into_std() + Duration::from_secs(3);
            let report = put_aggregated(&stream, records, aggregation(4, 300), limits, until).await;
            (report, stream.stored.into_inner().into_iter().map(|(_, data)| data).collect())
        })
    }

    #[test]
    fn a_key_that_kinesis_would_not_take_is_that_records_affair() {
        let records = [Record::new("abc", b"1"), Record::new("", b"2"), Record::new("a", b"3")];
        let (report, _) = write(&records, Ordering::Strict, |_| false);
        assert_eq!(report.acknowledged.iter().map(|done| done.record).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(
            (report.undelivered[0].record, &*report.undelivered[0].reason.code),
            (1, "InvalidPartitionKey")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        /// Aggregates that hold the byte 0xFF are throttled for ever, others never; each record is either in the stream
        /// or undelivered, and those of a key are in the stream in order.
        #[test]
        fn every_record_is_accounted_for_and_in_order_per_key(
            given in prop::collection::vec((0..20_u8, prop_oneof![9 => 0..200_u8, 1 => Just(0xFF)], 0..250_usize), 0..80),
            strict in any::<bool>(),
        ) {
            let data: Vec<Vec<u8>> = given.iter().enumerate().map(|(position, (_, byte, length))| {
                let mut data = u32::try_from(position).unwrap().to_be_bytes().to_vec();
                data.extend(vec![*byte; *length + 1]);
                data
            }).collect();
            let records: Vec<_> =
                given.iter().zip(&data).map(|((key, ..), data)| Record::new(format!("k{key}"), data)).collect();
            gathered(&records, aggregation(4, 300), 2_000);
            let ordering = if strict { Ordering::Strict } else { Ordering::Relaxed };
            let (report, stored) = write(&records, ordering, |aggregate| {
                kpl::decode(aggregate).unwrap().unwrap().records().any(|user| user.data.last() == Some(&0xFF))
            });
            let mut accounted: Vec<_> = report.acknowledged.iter().map(|done| done.record).collect();
            prop_assert!(accounted.is_sorted());
            accounted.extend(report.undelivered.iter().map(|lost| lost.record));
            accounted.sort_unstable();
            prop_assert_eq!(accounted, (0..records.len()).collect::<Vec<_>>(), "given = accounted for, exactly once");
            let mut last = HashMap::new();
            let mut in_stream = Vec::new();
            for aggregate in &stored {
                for user in kpl::decode(aggregate).unwrap().unwrap().records() {
                    let position = u32::from_be_bytes(user.data[..4].try_into().unwrap());
                    prop_assert!(last.insert(user.partition_key.to_owned(), position).is_none_or(|last| last < position));
                    in_stream.push(usize::try_from(position).unwrap());
                }
            }
            in_stream.sort_unstable();
            prop_assert_eq!(in_stream, report.acknowledged.iter().map(|done| done.record).collect::<Vec<_>>());
        }
    }
}
