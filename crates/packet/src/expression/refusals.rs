//! What is refused when an expression is parsed, and how it is shown.

use super::*;

/// The message, and the excerpt and caret lines joined by a line break.
#[track_caller]
fn check(text: &str, message: &str, caret: &str) {
    let error = Expression::parse(text, Fields::Known).expect_err(text).to_string();
    let shown = text.replace(['\t', '\n'], " ");
    assert_eq!(error, format!("{message}\n  {shown}\n  {caret}"));
}

#[test]
fn ranges_that_can_never_be_right() {
    check("[6:2]", "the range ends before it begins", "   ^");
    check("[ 6 : 2 ]", "the range ends before it begins", "      ^");
    check("[0] + [0x6:2]", "the range ends before it begins", "           ^");
    const NEGATIVE: &str = "a position is counted from the start and cannot be negative";
    check("[-1]", NEGATIVE, " ^");
    check("[:-1]", NEGATIVE, "  ^");
    check("[-1:]", NEGATIVE, " ^");
    check("[2, -1]", NEGATIVE, "    ^");
    check("[(-1)]", NEGATIVE, " ^");
}

#[test]
fn typed_reads_of_another_width() {
    check("u16le[0:4]", "u16le takes 2 bytes, not 4", "     ^");
    check("u16le[:4]", "u16le takes 2 bytes, not 4", "     ^");
    check("u32be[3, 2]", "u32be takes 4 bytes, not 2", "     ^");
    check("u8[]", "u8 takes 1 byte, not 0", "  ^");
}

#[test]
fn names_that_are_none() {
    check(
        "remote",
        "unknown name `remote`, expected one of Remote, Remote.IpAddress, Remote.Port, Remote.PeerKey",
        "^",
    );
    check(
        "[0] == 1 ? Local.Address : 0",
        "unknown name `Local.Address`, expected one of Local, Local.Domain, Local.IpAddress, Local.Port, \
         Local.Protocol",
        "           ^",
    );
    check(
        "Timestamp",
        "unknown name `Timestamp`, expected one of Tag, Remote, Remote.IpAddress, Remote.Port, Remote.PeerKey, \
         Local, Local.Domain, Local.IpAddress, Local.Port, Local.Protocol, ReceivedAt, IngressRegion, Formatter, \
         Data, Inner.SourceAddress, Inner.SourcePort, Inner.DestinationAddress, Inner.DestinationPort, \
         Inner.Version, Inner.Protocol",
        "^",
    );
    const TYPES: &str =
        "u8, i8, u16le, u16be, i16le, i16be, u32le, u32be, i32le, i32be, u64le, u64be, i64le, i64be";
    check("u16[0]", &format!("unknown name `u16`, expected one of {TYPES}, utf8"), "^");
}

#[test]
fn what_does_not_fit_together() {
    check("", "the expression is empty", "^");
    check("  ", "the expression is empty", "  ^");
    check("[0", "expected `,`, `:` or `]`, found the end", "  ^");
    check("[0:", "expected a value, found the end", "   ^");
    check("[0:1", "expected `]`, found the end", "    ^");
    check("[0:1:2]", "expected `]`, found `:`", "    ^");
    check("[0,]", "expected a value, found `]`", "   ^");
    check("[,4]", "expected a value, found `,`", " ^");
    check("[0] [1]", "expected an operator or the end, found `[`", "    ^");
    check("[0:4]:hex", "expected an operator or the end, found `:`", "     ^");
    check("(1", "expected `)`, found the end", "  ^");
    check(")", "expected a value, found `)`", "^");
    check("1 +", "expected a value, found the end", "   ^");
    check("1 ? 2", "expected `:`, found the end", "     ^");
    check("1 ? : 2", "expected a value, found `:`", "    ^");
    check("u16le", "expected `[`, found the end", "     ^");
    check("utf8 + 1", "expected `[`, found `+`", "     ^");
    check("[0] | | [1]", "expected a value, found `|`", "      ^");
    check("Tag Remote.Port", "expected an operator or the end, found `Remote.Port`", "    ^");
}

#[test]
fn characters_without_a_meaning() {
    check("[0] = 5", "`=` is no operator; `==` compares", "    ^");
    check("[0] & 5", "`&` is no operator; `&&` is", "    ^");
    check("Tag == 'a'", "text cannot be written here; bytes can, as in 0x4F4B", "       ^");
    check("[0] ^ 5", "'^' has no meaning here", "    ^");
    check("1.5", "'.' has no meaning here", " ^");
    check("größer", "'ö' has no meaning here", "  ^");
    check("\u{1F600}", "'😀' has no meaning here", "^");
    check("Data#\"/ö😀\" = 1", "`=` is no operator; `==` compares", "           ^"); // counted in characters
    check("[0]\n\t= 5", "`=` is no operator; `==` compares", "     ^");
}

#[test]
fn numbers_that_are_none() {
    check("12ab", "'a' is no decimal digit", "  ^");
    check("0xFG", "'G' is no hexadecimal digit", "   ^");
    check("[0x]", "hexadecimal digits must follow `0x`", "   ^");
    check("1_000", "'_' is no decimal digit", " ^");
    check("[0] + 170141183460469231731687303715884105728", "the number is beyond 128 bits", "      ^");
}

#[test]
fn pointers_that_are_none() {
    check("Data#a", "a JSON Pointer begins with `/`", "     ^");
    check("Data#\"a b\"", "a JSON Pointer begins with `/`", "      ^");
    const TILDE: &str = "in a JSON Pointer `~` is written `~0`, and a `/` in a name `~1`";
    check("Data#/a~b", TILDE, "       ^");
    check("Data#/a~", TILDE, "       ^");
    check("Data#\"/a", "the closing quote is missing", "        ^");
    check(r#"Data#"/\n""#, r#"a backslash stands before `"` or `\` only"#, "       ^");
    check(r#"Data#"/\"#, r#"a backslash stands before `"` or `\` only"#, "       ^");
    check("Remote#/a", "a JSON Pointer goes with `Data` only", "      ^");
    check("#/a", "expected a value, found `#/a`", "^");
}

#[test]
fn where_only_bytes_are_known_fields_are_refused() {
    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(Expression::parse(text, Fields::Refused).expect_err(text).to_string(), want);
    }
    const REFUSED: &str = "fields of the packet cannot be used here, only bytes of its payload";
    check("Tag", &format!("{REFUSED}\n  Tag\n  ^"));
    check("[0] | Data#/a", &format!("{REFUSED}\n  [0] | Data#/a\n        ^"));
    check(
        "ack",
        "unknown name `ack`, expected one of u8, i8, u16le, u16be, i16le, i16be, u32le, u32be, i32le, i32be, \
         u64le, u64be, i64le, i64be, utf8\n  ack\n  ^",
    );
    assert!(Expression::parse("u16le[0] ?? 0x4F4B", Fields::Refused).is_ok());
}

#[test]
fn expressions_have_a_length() {
    let fits = format!("1{}", " ".repeat(MAX_CHARS - 1));
    assert!(Expression::parse(&fits, Fields::Known).is_ok());
    let error = Expression::parse(&format!("{fits}2"), Fields::Known).unwrap_err();
    let shown = format!("the expression is longer than {MAX_CHARS} characters\n  …{}2\n  ", " ".repeat(38));
    assert_eq!(error.to_string(), format!("{shown}{}^", " ".repeat(39)));
    // Characters, not bytes: this one is within the limit and fails for another reason.
    let error = Expression::parse(&"ö".repeat(MAX_CHARS), Fields::Known).unwrap_err();
    assert!(error.to_string().starts_with("'ö' has no meaning here"), "{error}");
}

#[test]
fn expressions_have_a_depth() {
    #[track_caller]
    fn check(text: &str, fits: bool) {
        let got = Expression::parse(text, Fields::Known).map(|_| ()).map_err(|error| error.to_string());
        let too_deep = format!("the expression nests more than {MAX_DEPTH} deep");
        assert_eq!(got.as_ref().is_err_and(|error| error.starts_with(&too_deep)), !fits, "{got:?}");
        assert_eq!(got.is_ok(), fits, "{got:?}");
    }
    let nested = |open: &str, close: &str, times| format!("{}1{}", open.repeat(times), close.repeat(times));
    check(&nested("(", ")", MAX_DEPTH - 1), true);
    check(&nested("(", ")", 2000), false);
    check(&nested("[", "]", MAX_DEPTH - 1), true);
    check(&nested("[", "]", 2000), false);
    check(&nested("!", "", MAX_DEPTH - 1), true);
    check(&nested("!", "", 4000), false);
    check(&nested("", "+1", MAX_DEPTH - 1), true);
    check(&nested("", "+(1)", MAX_DEPTH - 1), true); // side by side is not deep
    check(&nested("", "+1", MAX_DEPTH), false);
    check(&nested("", "+1", 2000), false);
    check(&nested("", "|1", 2000), false);
    check(&nested("1?", ":1", 1000), false);
    check(&nested("[0,", "]", 1000), false);
    check(&nested("1??", "", 1300), false);
    check(&nested("", "?1:1", MAX_DEPTH + 1), false);
    check(&nested("", "??1", MAX_DEPTH - 1), true);
}

#[test]
fn a_long_expression_is_shown_around_the_caret() {
    let text = format!("{}= {}", "[0] + ".repeat(10), "+ 1".repeat(40));
    let error = Expression::parse(&text, Fields::Known).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines[1], format!("  …{}…", &text[60 - 38..60 + 38]));
    assert_eq!(lines[2], format!("  {}^", " ".repeat(39)));
    assert_eq!(lines[1].chars().nth(2 + 39), Some('='));
}
