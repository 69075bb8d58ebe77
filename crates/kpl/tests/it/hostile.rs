//! What is broken is refused whole, with its reason; what is merely odd is read as protobuf says.

use kpl::{MAGIC, UserRecord, decode};

use crate::{encoded, framed};

/// A whole Kinesis record, and its reason.
#[track_caller]
fn check_record(record: &[u8], want: &str) {
    let error = decode(record).expect_err("it is broken");
    assert_eq!(error.to_string(), want);
}

/// A message that is framed as it should be, and why it is broken.
#[track_caller]
fn check_broken(message: &[u8], want: &str) {
    check_record(&framed(message), want);
}

/// A message that is odd, and its user records: (partition key, explicit hash key, data).
#[track_caller]
fn check_read(message: &[u8], want: &[(&str, Option<u128>, &[u8])]) {
    let record = framed(message);
    let aggregate = decode(&record).unwrap().unwrap();
    let read: Vec<_> = aggregate.records().map(|r| (r.partition_key, r.explicit_hash_key, r.data)).collect();
    assert_eq!(read, want);
    assert_eq!(aggregate.len(), want.len());
}

const A: (&str, Option<u128>, &[u8]) = ("k0", None, b"A");
const B: (&str, Option<u128>, &[u8]) = ("k0", None, b"B");

#[test]
fn what_does_not_begin_with_the_magic_number_is_no_aggregate() {
    let late = [b" ".as_slice(), &framed(b"\x0A\x02k0\x1A\x05\x08\x00\x1A\x01A")].concat();
    for record in [b"".as_slice(), b"\xF3", b"\xF3\x89\x9A", b"{\"Data\":\"\"}", b"\xC2\x9A\x89\xF3", &late] {
        assert!(decode(record).unwrap().is_none(), "{record:?}");
    }
}

#[test]
fn the_frame_is_whole() {
    check_record(&MAGIC, "an aggregate has at least 20 bytes, found 4");
    check_record(&[&MAGIC[..], &[0; 15]].concat(), "an aggregate has at least 20 bytes, found 19");
    check_record(
        &[&MAGIC[..], &[0; 16]].concat(),
        "the aggregate ends in MD5 00000000000000000000000000000000, \
         its message has d41d8cd98f00b204e9800998ecf8427e",
    );
    check_record(
        &[
            &MAGIC,
            b"\x0A\x02k0\x0A\x02k1\x1A\x05\x08\x00\x1A\x01A\x1A\x05\x08\x01\x1A\x01B".as_slice(),
            &[0; 16],
        ]
        .concat(),
        "the aggregate ends in MD5 00000000000000000000000000000000, \
         its message has 79d2721eba8bccd4e4fc24764eb00e8b",
    );
    let behind = [&framed(b"\x0A\x02k0\x1A\x05\x08\x00\x1A\x01A"), b"\n".as_slice()].concat();
    assert!(matches!(decode(&behind), Err(kpl::Broken::Digest { .. })));
}

#[test]
fn there_is_a_user_record() {
    check_broken(b"", "the aggregate holds no user record");
    check_broken(b"\x0A\x02k0", "the aggregate holds no user record");
    check_broken(b"\x0A\x02k0\x18\x00", "the aggregate holds no user record");
}

#[test]
fn every_index_has_its_key() {
    let second = b"\x0A\x02k0\x1A\x05\x08\x00\x1A\x01A\x1A\x05\x08\x09\x1A\x01B\x1A\x05\x08\x00\x1A\x01C";
    check_broken(second, "user record 1 names partition key 9, the table has 1");
    check_broken(b"\x1A\x05\x08\x00\x1A\x01A", "user record 0 names partition key 0, the table has 0");
    check_broken(
        b"\x0A\x02k0\x12\x017\x1A\x07\x08\x00\x10\x01\x1A\x01A",
        "user record 0 names explicit hash key 1, the table has 1",
    );
    check_broken(
        b"\x0A\x02k0\x1A\x0E\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x1A\x01A",
        "user record 0 names partition key 18446744073709551615, the table has 1",
    );
    // 2^32, which would be 0 in 32 bits
    check_broken(
        b"\x0A\x02k0\x1A\x09\x08\x80\x80\x80\x80\x10\x1A\x01A",
        "user record 0 names partition key 4294967296, the table has 1",
    );
}

#[test]
fn what_is_required_is_there() {
    check_broken(b"\x0A\x02k0\x1A\x00", "user record 0 has no partition_key_index");
    check_broken(b"\x0A\x02k0\x1A\x03\x1A\x01A", "user record 0 has no partition_key_index");
    check_broken(b"\x0A\x02k0\x1A\x05\x08\x00\x1A\x01A\x1A\x02\x08\x00", "user record 1 has no data");
    check_broken(b"\x0A\x02k0\x1A\x0A\x08\x00\x1A\x01A\x22\x03\x12\x01v", "user record 0 has no tags.key");
    check_broken(b"\x0A\x02k0\x1A\x07\x08\x00\x1A\x01A\x22\x00", "user record 0 has no tags.key");
    // data as a varint is another field, which is not known
    check_broken(b"\x0A\x02k0\x1A\x04\x08\x00\x18\x00", "user record 0 has no data");
}

#[test]
fn the_message_is_protobuf() {
    let message = |at: &str, what: &str| format!("the message is not protobuf at offset {at}: {what}");
    #[track_caller]
    fn check(message: &[u8], want: &str) {
        check_broken(&[b"\x0A\x02k0\x1A\x05\x08\x00\x1A\x01A".as_slice(), message].concat(), want);
    }
    // offsets are the record's: 4 bytes of magic number and 11 before what is wrong
    check(b"\x1A\x05\x08\x01\x1A\x41", &message("16", "a length of 5 where 4 bytes are left"));
    check(b"\x1A\x05\x08\x00\x1A\x41A", &message("20", "a length of 65 where 1 bytes are left"));
    check(
        b"\x1A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
        &message("16", "a length of 18446744073709551615 where 0 bytes are left"),
    );
    check(b"\x1A", &message("16", "it ends within a field"));
    check(b"\x08\x80", &message("17", "it ends within a field"));
    check(b"\x81", &message("16", "it ends within a field"));
    check(b"\x29\0\0\0\0\0\0\0", &message("16", "it ends within a field"));
    check(b"\x2D\0\0\0", &message("16", "it ends within a field"));
    check(b"\x28\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", &message("16", "a varint of more than 64 bits"));
    check(
        b"\x28\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
        &message("16", "a varint of more than 64 bits"),
    );
    check(b"\x00", &message("15", "a field number must be 1 to 536870911, found 0"));
    check(b"\x80\x80\x80\x80\x10", &message("15", "a field number must be 1 to 536870911, found 536870912"));
    check(
        b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
        &message("15", "a field number must be 1 to 536870911, found 2305843009213693951"),
    );
    check(b"\x2E", &message("15", "a wire type must be 0 to 5, found 6"));
    check(b"\x2F", &message("15", "a wire type must be 0 to 5, found 7"));
    check(b"\x2C", &message("15", "the end of a group of field 5, which is not open"));
    check(b"\x2B\x34", &message("16", "the end of a group of field 6, which is not open"));
    check(b"\x2B\x2F", &message("16", "a wire type must be 0 to 5, found 7"));
    check(b"\x2B\x28\x00", &message("18", "it ends within a field"));
    check(&[0x2B; 101], &message("115", "groups more than 100 deep"));
    check(&[0x2B; 1_000_000], &message("115", "groups more than 100 deep"));
}

#[test]
fn keys_and_tags_are_text() {
    check_broken(b"\x0A\x02k\xFF\x1A\x05\x08\x00\x1A\x01A", "the partition key at offset 6 is not UTF-8");
    check_broken(
        b"\x0A\x02k0\x12\x01\x80\x1A\x05\x08\x00\x1A\x01A",
        "the explicit hash key at offset 10 is not UTF-8",
    );
    check_broken(
        b"\x0A\x02k0\x1A\x0A\x08\x00\x1A\x01A\x22\x03\x0A\x01\xC3",
        "the tag at offset 19 is not UTF-8",
    );
}

#[test]
fn partition_keys_have_256_characters_at_most() {
    let long = |length: usize, character: &str| {
        let key = character.repeat(length);
        let mut message = vec![0x0A];
        let size = key.len();
        message.extend([(size % 128) | 0x80, size / 128].map(|byte| u8::try_from(byte).unwrap()));
        message.extend(key.as_bytes());
        message.extend(b"\x0A\x02k0\x1A\x05\x08\x01\x1A\x01A");
        message
    };
    check_read(&long(256, "x"), &[A]);
    check_read(&long(256, "\u{1F980}"), &[A]);
    check_broken(&long(257, "x"), "partition key 0 has 257 characters, at most 256 are allowed");
    check_broken(&long(257, "\u{E9}"), "partition key 0 has 257 characters, at most 256 are allowed");
}

#[test]
fn explicit_hash_keys_are_decimal_numbers_below_2_to_the_128() {
    #[track_caller]
    fn check(text: &str, want: Option<u128>) {
        let head = b"\x0A\x02k0\x12".as_slice();
        let record = b"\x1A\x07\x08\x00\x10\x00\x1A\x01A";
        let message = [head, &[u8::try_from(text.len()).unwrap()], text.as_bytes(), record].concat();
        match want {
            Some(_) => check_read(&message, &[("k0", want, b"A")]),
            None => {
                let found: String = text.chars().take(40).collect();
                let want =
                    format!("explicit hash key 0 is not a decimal number below 2^128, found {found:?}");
                check_broken(&message, &want);
            }
        }
    }
    check("0", Some(0));
    check("007", Some(7));
    check("340282366920938463463374607431768211455", Some(u128::MAX));
    check("340282366920938463463374607431768211456", None);
    check(&"9".repeat(100), None);
    check("", None);
    check("-1", None);
    check("+1", None);
    check(" 1", None);
    check("0x1", None);
    check("\u{663}", None);
}

#[test]
fn tags_are_passed_over() {
    check_read(b"\x0A\x02k0\x1A\x12\x08\x00\x1A\x01A\x22\x06\x0A\x01t\x12\x01v\x22\x03\x0A\x01u", &[A]);
}

#[test]
fn data_may_be_empty_and_keys_too() {
    let message = b"\x0A\x02k0\x1A\x04\x08\x00\x1A\x00\x1A\x05\x08\x00\x1A\x01B";
    check_read(message, &[("k0", None, b""), B]);
    check_read(b"\x0A\x00\x1A\x05\x08\x00\x1A\x01A", &[("", None, b"A")]);
}

#[test]
fn an_aggregate_in_an_aggregate_is_data() {
    let inner = encoded(&[UserRecord { partition_key: "k0", explicit_hash_key: None, data: b"A" }]);
    let outer = encoded(&[UserRecord { partition_key: "k1", explicit_hash_key: None, data: &inner }]);
    let read = decode(&outer).unwrap().unwrap();
    let record = read.records().next().unwrap();
    assert_eq!((record.partition_key, record.data), ("k1", inner.as_slice()));
    let within = decode(record.data).unwrap().unwrap();
    assert_eq!(within.records().map(|record| record.data).collect::<Vec<_>>(), [b"A"]);
}

#[test]
fn the_order_of_fields_does_not_matter_but_that_of_user_records_does() {
    check_read(b"\x1A\x05\x1A\x01B\x08\x00\x1A\x05\x08\x00\x1A\x01A\x0A\x02k0", &[B, A]);
    check_read(
        b"\x1A\x05\x08\x01\x1A\x01A\x0A\x02k1\x1A\x05\x08\x00\x1A\x01B\x0A\x02k0",
        &[A, ("k1", None, b"B")],
    );
}

#[test]
fn the_same_key_may_stand_twice_and_one_that_nobody_names_too() {
    check_read(b"\x0A\x02k0\x0A\x02k0\x0A\x02k1\x1A\x05\x08\x00\x1A\x01A\x1A\x05\x08\x01\x1A\x01B", &[A, B]);
    check_read(b"\x0A\x02k0\x12\x017\x1A\x05\x08\x00\x1A\x01A", &[A]);
}

#[test]
fn of_a_field_twice_the_last_counts() {
    check_read(
        b"\x0A\x02k1\x0A\x02k0\x12\x017\x12\x018\x1A\x0E\x08\x00\x10\x00\x1A\x01B\x08\x01\x10\x01\x1A\x01A",
        &[("k0", Some(8), b"A")],
    );
    // also when only the first would do
    check_broken(
        b"\x0A\x02k0\x1A\x07\x08\x00\x08\x01\x1A\x01A",
        "user record 0 names partition key 1, the table has 1",
    );
}

#[test]
fn unknown_fields_are_passed_over() {
    let unknown: [&[u8]; 8] = [
        b"\x28\x07",                 // a varint
        b"\x29\0\0\0\0\0\0\0\0",     // eight bytes
        b"\x2A\x03abc",              // bytes
        b"\x2D\0\0\0\0",             // four bytes
        b"\x2B\x2B\x2C\x30\x01\x2C", // a group in a group
        b"\x2B\x0A\x02k1\x2C",       // a key within a group is none
        b"\x0D\0\0\0\0",             // a known field in another wire type
        b"\xF8\xFF\xFF\xFF\x0F\x00", // the highest field number
    ];
    for field in unknown {
        let inner = [b"\x08\x00", field, b"\x1A\x01A".as_slice()].concat();
        let record = [&[0x1A, u8::try_from(inner.len()).unwrap()], inner.as_slice()].concat();
        check_read(&[field, b"\x0A\x02k0", field, &record, field].concat(), &[A]);
    }
    let deep = [&[0x2B; 100][..], &[0x2C; 100], b"\x0A\x02k0\x1A\x05\x08\x00\x1A\x01A"].concat();
    check_read(&deep, &[A]);
}

#[test]
fn a_varint_may_be_longer_than_it_has_to() {
    check_read(b"\x8A\x00\x82\x00k0\x1A\x06\x08\x80\x00\x1A\x01A", &[A]);
}
