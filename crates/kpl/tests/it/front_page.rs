//! The front page's table of what is odd, row by row: each has an example that becomes what the row says, and no
//! example is without a row.

use kpl::{MAGIC, decode};

use crate::framed;

const FRONT_PAGE: &str = include_str!("../../src/lib.rs");

/// What the record becomes.
enum Becomes<'a> {
    NoAggregate,
    /// Broken, by the name of its reason.
    Broken(&'a str),
    /// Read: the data of all user records.
    Read(&'a [&'a [u8]]),
}

use Becomes::{Broken, NoAggregate, Read};

/// Both cells of every row.
fn rows() -> Vec<(&'static str, &'static str)> {
    let table = FRONT_PAGE.split("//! | the record | is |\n").nth(1).unwrap();
    let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"));
    rows.map(|row| row.split_once(" | ").unwrap()).collect()
}

/// The row that begins so, and records that are like that.
type Example<'a> = (&'a str, &'a [(Vec<u8>, Becomes<'a>)]);

#[test]
fn every_row_has_an_example_and_every_example_its_row() {
    let long = [b"\x0A\x81\x02".as_slice(), &[b'x'; 257], b"\x1A\x05\x08\x00\x1A\x01A"].concat();
    let inner = framed(b"\x0A\x02k0\x1A\x05\x08\x00\x1A\x01A");
    let nested = [b"\x0A\x02k0\x1A\x23\x08\x00\x1A\x1F", inner.as_slice()].concat();
    let a_key = b"\x0A\x02k0".as_slice();
    let behind_a_key = |rest: &[u8]| framed(&[a_key, rest].concat());
    // Those with a name beside them are what every reader of the format should be tried with.
    let examples: &[Example<'_>] = &[
        (
            "does not begin with the magic number",
            &[(b"text".to_vec(), NoAggregate), (MAGIC[..3].to_vec(), NoAggregate)],
        ),
        ("ends before a digest could", &[(MAGIC.to_vec(), Broken("Short"))]), // magic_only
        (
            "does not match its digest",
            // bad_md5
            &[(
                [
                    &MAGIC,
                    b"\x0A\x02k0\x0A\x02k1\x1A\x05\x08\x00\x1A\x01A\x1A\x05\x08\x01\x1A\x01B".as_slice(),
                    &[0; 16],
                ]
                .concat(),
                Broken("Digest"),
            )],
        ),
        (
            "matches its digest and is no protobuf",
            // truncated_pb_valid_md5
            &[(behind_a_key(b"\x0A\x02k1\x1A\x05\x08\x00\x1A\x01A\x1A\x05\x08\x01\x1AA"), Broken("Message"))],
        ),
        ("holds no user record", &[(framed(a_key), Broken("NoRecords"))]), // zero_records
        (
            "a user record without index or data, or a tag without key",
            &[
                (behind_a_key(b"\x1A\x03\x1A\x01A"), Broken("Missing")),
                (behind_a_key(b"\x1A\x02\x08\x00"), Broken("Missing")),
                (behind_a_key(b"\x1A\x07\x08\x00\x1A\x01A\x22\x00"), Broken("Missing")),
            ],
        ),
        (
            "an index beyond its table",
            // pk_index_oob_second
            &[(
                behind_a_key(b"\x1A\x05\x08\x00\x1A\x01A\x1A\x05\x08\x09\x1A\x01B\x1A\x05\x08\x00\x1A\x01C"),
                Broken("Index"),
            )],
        ),
        (
            "a key or tag that is not UTF-8",
            &[(framed(b"\x0A\x01\xFF\x1A\x05\x08\x00\x1A\x01A"), Broken("NotText"))],
        ),
        ("a partition key of over", &[(framed(&long), Broken("PartitionKey"))]),
        (
            "an explicit hash key that is no number",
            &[(behind_a_key(b"\x12\x01x\x1A\x05\x08\x00\x1A\x01A"), Broken("ExplicitHashKey"))],
        ),
        (
            "user records before the tables",
            &[(framed(b"\x1A\x05\x08\x00\x1A\x01A\x0A\x02k0"), Read(&[b"A"]))],
        ),
        (
            "the same key twice in a table",
            &[
                (
                    behind_a_key(b"\x0A\x02k0\x0A\x02k1\x1A\x05\x08\x00\x1A\x01A\x1A\x05\x08\x01\x1A\x01B"),
                    Read(&[b"A", b"B"]),
                ),
                (framed(b"\x0A\x00\x1A\x05\x08\x00\x1A\x01A"), Read(&[b"A"])),
            ],
        ),
        (
            "fields that we do not know",
            &[(behind_a_key(b"\x2B\x28\x07\x2C\x1A\x05\x08\x00\x1A\x01A"), Read(&[b"A"]))],
        ),
        (
            "a field twice where one belongs",
            &[(behind_a_key(b"\x1A\x08\x08\x00\x1A\x01A\x1A\x01B"), Read(&[b"B"]))],
        ),
        // empty_data_record
        (
            "empty data",
            &[(behind_a_key(b"\x1A\x04\x08\x00\x1A\x00\x1A\x05\x08\x00\x1A\x01B"), Read(&[b"", b"B"]))],
        ),
        // tags
        (
            "tags",
            &[(
                behind_a_key(b"\x1A\x12\x08\x00\x1A\x01A\x22\x06\x0A\x01t\x12\x01v\x22\x03\x0A\x01u"),
                Read(&[b"A"]),
            )],
        ),
        ("data that is itself an aggregate", &[(framed(&nested), Read(&[&inner]))]),
    ];
    let rows = rows();
    assert_eq!(rows.len(), examples.len(), "rows and examples");
    for ((what, is), (start, records)) in rows.into_iter().zip(examples) {
        assert!(what.starts_with(start), "{what} is not {start}");
        for (record, becomes) in *records {
            let decoded = decode(record);
            match (decoded, becomes) {
                (Ok(None), NoAggregate) => assert!(is.contains("`Ok(None)`"), "{what}: {is}"),
                (Err(error), Broken(name)) => {
                    let debug = format!("{error:?}");
                    let variant = debug.split([' ', '(', '{']).next().unwrap();
                    assert_eq!(variant, *name, "{what}");
                    assert!(is.starts_with(&format!("[`Broken::{name}`]")), "{what}: {is}");
                }
                (Ok(Some(aggregate)), Read(want)) => {
                    assert_eq!(
                        aggregate.records().map(|user| user.data).collect::<Vec<_>>(),
                        *want,
                        "{what}"
                    );
                    assert!(!is.contains("Broken") && !is.contains("None"), "{what}: {is}");
                }
                (decoded, _) => panic!("{what}: {decoded:?}"),
            }
        }
    }
}
