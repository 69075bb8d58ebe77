use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

fn lines(threshold: Level) -> Lines {
    let mut lines = Lines::new(threshold);
    lines.begin("2026-11-20T10:00:00.0409Z".parse().unwrap(), "r-1");
    lines
}

fn written(lines: &mut Lines) -> String {
    let mut out = Vec::new();
    lines.write_to(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn shard(line: &mut Members<'_>) {
    line.number("shard", 1);
}

#[track_caller]
fn check_level(threshold: Level, level: Level, want: Option<&str>) {
    let mut lines = lines(threshold);
    lines.push(level, "m", shard);
    let want = want.map_or_else(String::new, |level| {
        format!("{{\"timestamp\":\"2026-11-20T10:00:00.040Z\",\"level\":\"{level}\",\"message\":\"m\",\"shard\":1}}\n")
    });
    assert_eq!(lines.takes(level), !want.is_empty());
    assert_eq!(written(&mut lines), want);
}

#[test]
fn lines_below_the_threshold_are_not_taken_and_errors_always_are() {
    check_level(Level::Info, Level::Info, Some("INFO"));
    check_level(Level::Info, Level::Debug, None);
    check_level(Level::Warn, Level::Info, None);
    check_level(Level::Trace, Level::Trace, Some("TRACE"));
    check_level(Level::Error, Level::Error, Some("ERROR"));
    check_level(Level::Fatal, Level::Warn, None);
    check_level(Level::Fatal, Level::Error, Some("FATAL"));
}

#[track_caller]
fn check_contents(bytes: &[u8], want: Value) {
    let mut lines = lines(Level::Info);
    lines.whole(Level::Error, "m", bytes, shard);
    let mut line: Value = serde_json::from_str(&written(&mut lines)).unwrap();
    let members = line.as_object_mut().unwrap();
    assert_eq!(members.remove("shard"), Some(json!(1)));
    for always in ["timestamp", "level", "message"] {
        members.remove(always).unwrap();
    }
    assert_eq!(line, want);
}

#[test]
fn bytes_are_text_where_printable_and_base64_elsewhere() {
    check_contents(b"", json!({"text": ""}));
    check_contents("tab\t line\r\n é \u{2028}".as_bytes(), json!({"text": "tab\t line\r\n é \u{2028}"}));
    check_contents(b"\x1b[31m", json!({"base64": "G1szMW0=", "ascii": ".[31m"}));
    check_contents(b"\x7f", json!({"base64": "fw=="}));
    check_contents("\u{85}".as_bytes(), json!({"base64": "woU="}));
    check_contents(b"\xff\xfe", json!({"base64": "//4="}));
}

/// Puts `whole` entries together again as a reader of the log would.
fn contents(log: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, line) in log.lines().enumerate() {
        assert!(line.len() <= LINE_BYTES, "a line of {} bytes", line.len());
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["level"], &line["shard"]), (&json!("ERROR"), &json!(1)));
        if let Some(part) = line.get("part") {
            assert_eq!((part, &line["id"]), (&json!(index + 1), &json!("r-1-1")));
            assert_eq!(line["of"], json!(log.lines().count()));
        }
        match &line["text"] {
            Value::String(text) => bytes.extend(text.as_bytes()),
            _ => bytes.extend(STANDARD.decode(line["base64"].as_str().unwrap()).unwrap()),
        }
    }
    bytes
}

#[track_caller]
fn check_whole(bytes: &[u8], want_lines: usize) {
    let mut lines = lines(Level::Info);
    lines.whole(Level::Error, "m", bytes, shard);
    let log = written(&mut lines);
    assert_eq!(log.lines().count(), want_lines);
    assert!(contents(&log) == bytes, "what was put together differs from what was given");
}

#[test]
fn what_does_not_fit_a_line_comes_in_parts_that_make_it_whole_again() {
    check_whole(&vec![b'a'; LINE_BYTES - 200], 1);
    check_whole(&vec![b'a'; LINE_BYTES], 2);
    check_whole(&vec![0xff; 3 * PART_BYTES], 3);
    check_whole(&vec![0xff; 3 * PART_BYTES + 1], 4);
    check_whole("\u{2028}".repeat(50_000).as_bytes(), 2); // fits in bytes, not once escaped
    check_whole(&vec![b'"'; 4 << 20], 35);
}

#[test]
fn parts_of_several_entries_can_be_told_apart() {
    let mut lines = lines(Level::Info);
    for _ in 0..2 {
        lines.whole(Level::Error, "m", &vec![0; PART_BYTES + LINE_BYTES], shard);
    }
    let ids: Vec<_> = written(&mut lines)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["r-1-1", "r-1-1", "r-1-1", "r-1-2", "r-1-2", "r-1-2"]);
}

#[test]
fn a_rewind_takes_back_what_was_added_since_its_mark() {
    let mut lines = lines(Level::Info);
    lines.push(Level::Info, "kept", |_| ());
    let mark = lines.mark();
    lines.push(Level::Info, "dropped", |_| ());
    lines.rewind(mark);
    assert_eq!(lines.len_since(mark), 0);
    let log = written(&mut lines);
    assert!(log.contains("kept") && !log.contains("dropped"), "{log}");
}

/// Takes the given number of bytes, then fails; counts the writes.
struct Pipe {
    room: usize,
    got: Vec<u8>,
    writes: usize,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        self.got.extend(&bytes[..taken]);
        if taken == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_batch_is_one_write() {
    let mut lines = lines(Level::Info);
    for _ in 0..1_000 {
        lines.push(Level::Info, "m", shard);
    }
    let mut pipe = Pipe { room: usize::MAX, got: Vec::new(), writes: 0 };
    lines.write_to(&mut pipe).unwrap();
    assert_eq!((pipe.writes, pipe.got.iter().filter(|byte| **byte == b'\n').count()), (1, 1_000));
}

#[test]
fn a_failed_write_is_returned_and_the_torn_line_is_ended_before_the_next() {
    let mut lines = lines(Level::Info);
    lines.push(Level::Info, "first", |_| ());
    let mut pipe = Pipe { room: 10, got: Vec::new(), writes: 0 };
    assert_eq!(lines.write_to(&mut pipe).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    lines.begin(Timestamp::UNIX_EPOCH, "r-2");
    lines.push(Level::Info, "second", |_| ());
    let log = written(&mut lines);
    assert!(log.starts_with("\n{") && log.contains("second") && !log.contains("first"), "{log}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whole_is_whole(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..400),
        any::<String>().prop_map(String::into_bytes),
        (any::<u8>(), 0..500_000usize).prop_map(|(byte, count)| vec![byte; count]),
    ]) {
        let mut lines = lines(Level::Info);
        lines.whole(Level::Error, "m", &bytes, shard);
        prop_assert!(contents(&written(&mut lines)) == bytes);
    }
}
