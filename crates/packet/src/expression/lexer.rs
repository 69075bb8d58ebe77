//! From text to tokens.

use super::error::SyntaxError;
use super::pointer::Pointer;
use super::value::Number;

/// The widest `0x` literal that is a number, in bytes: that of the widest typed read. A longer one is bytes.
const MAX_NUMBER_BYTES: usize = 8;

/// One token and where it begins, as a byte offset.
#[derive(Debug)]
pub(super) struct Token<'e> {
    pub(super) kind: Kind<'e>,
    pub(super) at: usize,
}

#[derive(Debug, PartialEq)]
pub(super) enum Kind<'e> {
    Number(Number),
    Bytes(Vec<u8>),
    Name(&'e str),
    /// `#/a/b`, the part after `Data`.
    Pointer(Pointer),
    Sign(&'static str),
    End,
}

/// The longer before the shorter they begin with.
const SIGNS: [&str; 23] = [
    "==", "!=", "<=", ">=", "&&", "||", "??", "[", "]", "(", ")", ",", ":", "?", "|", "<", ">", "!", "+",
    "-", "*", "/", "%",
];

/// All tokens of `text`, the last one [`Kind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, length) = match first {
            _ if first.is_whitespace() => {
                at += first.len_utf8();
                continue;
            }
            '0'..='9' => number(text, at)?,
            'A'..='Z' | 'a'..='z' | '_' => {
                let name = run(rest, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
                (Kind::Name(name), name.len())
            }
            '#' => pointer(text, at)?,
            _ => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
                Some(sign) => (Kind::Sign(sign), sign.len()),
                None => return Err(SyntaxError::new(stranger(first), text, at)),
            },
        };
        tokens.push(Token { kind, at });
        at += length;
    }
    tokens.push(Token { kind: Kind::End, at });
    Ok(tokens)
}

fn stranger(character: char) -> String {
    match character {
        '=' => "`=` is no operator; `==` compares".into(),
        '&' => "`&` is no operator; `&&` is".into(),
        '\'' | '"' => "text cannot be written here; bytes can, as in 0x4F4B".into(),
        _ => format!("{character:?} has no meaning here"),
    }
}

/// A decimal number, or a `0x` literal: hex digits that are as many bytes as they need.
fn number(text: &str, at: usize) -> Result<(Kind<'static>, usize), SyntaxError> {
    let rest = &text[at..];
    let word = run(rest, |c| c.is_alphanumeric() || c == '_');
    let (prefix, digits, radix) = match word.get(..2) {
        Some("0x" | "0X") => (2, &word[2..], 16),
        _ => (0, word, 10),
    };
    if let Some((offset, stranger)) = digits.char_indices().find(|(_, c)| !c.is_digit(radix)) {
        let base = if radix == 16 { "hexadecimal" } else { "decimal" };
        let message = format!("{stranger:?} is no {base} digit");
        return Err(SyntaxError::new(message, text, at + prefix + offset));
    }
    if digits.is_empty() {
        return Err(SyntaxError::new("hexadecimal digits must follow `0x`", text, at + prefix));
    }
    let kind = if radix == 10 {
        let value =
            digits.parse().map_err(|_| SyntaxError::new("the number is beyond 128 bits", text, at))?;
        Kind::Number(Number::computed(value))
    } else {
        let bytes = hex_bytes(digits);
        if bytes.len() > MAX_NUMBER_BYTES {
            Kind::Bytes(bytes)
        } else {
            let value = bytes.iter().fold(0, |value, byte| value << 8 | i128::from(*byte));
            Kind::Number(Number { value, width: bytes.len() })
        }
    };
    Ok((kind, word.len()))
}

/// Hex digits as bytes; with an odd number of digits the first one stands for a byte alone.
fn hex_bytes(digits: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(digits.len().div_ceil(2));
    let mut odd = digits.len() % 2 == 1;
    let mut high = 0;
    for digit in digits.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()) {
        if odd {
            bytes.push(high << 4 | digit);
            high = 0;
        } else {
            high = digit;
        }
        odd = !odd;
    }
    bytes
}

/// `#/a/b` or `#"/a b"`, from the `#` on.
fn pointer(text: &str, at: usize) -> Result<(Kind<'static>, usize), SyntaxError> {
    let start = at + 1;
    let quoted = text[start..].strip_prefix('"');
    // The pointer's characters, each with its place, so that a caret can point into it.
    let mut characters = Vec::new();
    let mut end = start;
    match quoted {
        None => {
            let plain = |c: char| c.is_alphanumeric() || "/~_-.@$".contains(c);
            let word = run(&text[start..], plain);
            characters.extend(word.char_indices().map(|(offset, c)| (start + offset, c)));
            end += word.len();
        }
        Some(inside) => {
            let mut inside = inside.char_indices().map(|(offset, c)| (start + 1 + offset, c));
            loop {
                match inside.next() {
                    Some((offset, '"')) => break end = offset + 1,
                    Some((offset, '\\')) => match inside.next() {
                        Some((_, escaped @ ('"' | '\\'))) => characters.push((offset, escaped)),
                        _ => {
                            let message = "a backslash stands before `\"` or `\\` only";
                            return Err(SyntaxError::new(message, text, offset));
                        }
                    },
                    Some(plain) => characters.push(plain),
                    None => return Err(SyntaxError::new("the closing quote is missing", text, text.len())),
                }
            }
        }
    }
    let pointer =
        Pointer::parse(&characters).map_err(|error| SyntaxError::new(error.message, text, error.at))?;
    Ok((Kind::Pointer(pointer), end - at))
}

/// The characters at the start of `text` that `belong`.
fn run(text: &str, belong: impl Fn(char) -> bool) -> &str {
    text.find(|c| !belong(c)).map_or(text, |end| &text[..end])
}
