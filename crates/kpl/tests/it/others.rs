//! Aggregates that other libraries made: read to the end, and the same bytes when written from what was read.
//! They are in `tests/vectors`, test data of Apache-2.0 projects:
//!
//! | file | made by | taken from |
//! | --- | --- | --- |
//! | `explicit-hash-keys` | the KPL | awslabs/kinesis-aggregation, `python/test/test_deagg.py` |
//! | `hundred-records` | the Java `RecordAggregator` | awslabs/kinesis-aggregation, `RecordAggregatorTest.java` |
//! | `three-keys` | awslabs' reference library | elastic/elastic-serverless-forwarder, its tests |

use kpl::{Aggregator, UserRecord, decode};

use crate::encoded;

const EXPLICIT_HASH_KEYS: &[u8] = include_bytes!("../vectors/explicit-hash-keys");
const HUNDRED_RECORDS: &[u8] = include_bytes!("../vectors/hundred-records");
const THREE_KEYS: &[u8] = include_bytes!("../vectors/three-keys");

/// (partition key, explicit hash key, data)
type Want<'a> = (&'a str, Option<u128>, &'a str);

#[track_caller]
fn check(aggregate: &[u8], want: &[Want<'_>]) {
    let want: Vec<_> = want
        .iter()
        .map(|(partition_key, explicit_hash_key, data)| UserRecord {
            partition_key,
            explicit_hash_key: *explicit_hash_key,
            data: data.as_bytes(),
        })
        .collect();
    let read = decode(aggregate).unwrap().unwrap();
    assert_eq!(read.records().collect::<Vec<_>>(), want);
    assert_eq!(read.len(), want.len());
    let mut left = read.records();
    for before in (0..=want.len()).rev() {
        assert_eq!(left.len(), before);
        assert_eq!(left.next().is_some(), before > 0);
    }
    assert_eq!(encoded(&want), aggregate);
}

#[test]
fn the_kpls_own() {
    check(
        EXPLICIT_HASH_KEYS,
        &[
            (
                "fc03dd88-3e79-448a-b01a-7cf1bd47b784",
                Some(38_486_495_867_508_399_078_159_723_846_051_807_020),
                "RECORD 22 peeobhczbzdmskboupgyq\n",
            ),
            (
                "cae41b1c-ea61-43f2-90be-b8755ebf88e2",
                Some(193_787_600_037_681_706_952_143_357_071_916_352_604),
                "RECORD 23 uswkxftxroeusscxsjhno\n",
            ),
            (
                "d490690c-e74d-4db2-a3c8-d8f2f184fd23",
                Some(266_880_436_964_932_424_265_466_916_734_068_684_439),
                "RECORD 24 casehdgivfaxeustlyszy\n",
            ),
            (
                "c924bc09-b85e-47f1-b32e-336522ee53c8",
                Some(339_606_600_942_967_391_854_603_552_402_021_847_292),
                "RECORD 25 nvffvpmuogdopjhamevrk\n",
            ),
        ],
    );
}

#[test]
fn the_java_aggregators() {
    let hash_key = Some(191_415_658_344_158_766_168_031_473_277_922_803_570);
    let pair =
        [("abc", hash_key, "abcdefghijklmnopqrstuvwxyz"), ("abc", hash_key, "zyxwvutsrqponmlkjihgfedcba")];
    check(HUNDRED_RECORDS, &pair.repeat(50));
}

#[test]
fn the_reference_librarys() {
    check(
        THREE_KEYS,
        &[
            ("pk-0", None, r#"{"msg":"line0"}"#),
            ("pk-1", None, r#"{"msg":"line1"}"#),
            ("pk-2", None, r#"{"msg":"line2"}"#),
        ],
    );
}

/// The KPL's `KinesisRecord::serialize`: one user record goes as its data, under its own keys.
#[test]
fn a_lone_user_record_can_be_put_as_the_kpl_puts_it() {
    let record = UserRecord { partition_key: "device-7", explicit_hash_key: Some(7), data: b"plain" };
    let mut aggregator = Aggregator::new();
    aggregator.push(&record).unwrap();
    assert_eq!(aggregator.lone(), Some(record));
    assert!(decode(record.data).unwrap().is_none());
    assert_eq!(decode(&aggregator.finish().unwrap()).unwrap().unwrap().records().next(), Some(record));
}
