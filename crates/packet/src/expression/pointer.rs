//! JSON Pointer (RFC 6901) into a payload.

use std::borrow::Cow;

use crate::json;

/// A pointer taken apart; without steps it means the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    name: String,
    /// The name as an array index: digits without a leading zero.
    index: Option<usize>,
}

pub(super) struct PointerError {
    pub(super) message: &'static str,
    /// The place of the character at fault, as it came with it.
    pub(super) at: usize,
}

impl Pointer {
    /// Reads a pointer from its characters, each of which has its place beside it.
    pub(super) fn parse(characters: &[(usize, char)]) -> Result<Self, PointerError> {
        let mut steps: Vec<String> = Vec::new();
        let mut characters = characters.iter().copied();
        while let Some((at, character)) = characters.next() {
            if character == '/' {
                steps.push(String::new());
                continue;
            }
            let Some(name) = steps.last_mut() else {
                return Err(PointerError { message: "a JSON Pointer begins with `/`", at });
            };
            name.push(match character {
                '~' => match characters.next() {
                    Some((_, '0')) => '~',
                    Some((_, '1')) => '/',
                    _ => {
                        let message = "in a JSON Pointer `~` is written `~0`, and a `/` in a name `~1`";
                        return Err(PointerError { message, at });
                    }
                },
                _ => character,
            });
        }
        Ok(Self(steps.into_iter().map(Step::new).collect()))
    }

    /// The text of the value it points to: a string's own, a number or boolean as written. `None` if
    /// `payload` is not JSON, or has no such value there.
    pub(super) fn read<'a>(&self, payload: &'a [u8]) -> Option<Cow<'a, str>> {
        let mut cursor = json::Cursor::new(str::from_utf8(payload).ok()?);
        let mut value = cursor.value().ok()?;
        cursor.end().ok()?;
        for step in &self.0 {
            value = match (json::kind(value), step.index) {
                ("an object", _) => json::member(value, &step.name)?,
                ("an array", Some(index)) => json::element(value, index)?,
                _ => return None,
            };
        }
        json::scalar(value)
    }
}

impl Step {
    fn new(name: String) -> Self {
        let digits =
            name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
        Self { index: if digits { name.parse().ok() } else { None }, name }
    }
}
