//! What is wrong with an expression, with a caret under the place.

use std::fmt;

/// An expression that cannot be read, or that never could have a value.
///
/// Displayed as the message, the expression (of a long one the part that matters) and a caret under the
/// character at fault:
///
/// ```text
/// the range ends before it begins
///   [6:2]
///      ^
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    message: String,
    excerpt: String,
    caret: usize, // in characters from the start of the excerpt
}

/// How much of a long expression is shown on either side of the caret, in characters; a terminal's line in all.
const EXCERPT: usize = 38;

impl SyntaxError {
    /// `at` is the byte offset in `expression` of the character at fault, or its length for the end.
    pub(super) fn new(message: impl Into<String>, expression: &str, at: usize) -> Self {
        let caret = expression.char_indices().take_while(|(offset, _)| *offset < at).count();
        let first = caret.saturating_sub(EXCERPT);
        let mut excerpt = String::new();
        if first > 0 {
            excerpt.push('…');
        }
        let mut rest = expression.chars().skip(first);
        // One column a character: tabs and line breaks (folded YAML has them) would move the caret.
        let shown = rest.by_ref().take(2 * EXCERPT);
        excerpt.extend(shown.map(|character| if character.is_control() { ' ' } else { character }));
        if rest.next().is_some() {
            excerpt.push('…');
        }
        // It may quote the expression, and stays on one line like it.
        let message = message.into().replace(char::is_control, " ");
        Self { message, excerpt, caret: caret - first + usize::from(first > 0) }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}\n  {:caret$}^", self.message, self.excerpt, "", caret = self.caret)
    }
}

impl std::error::Error for SyntaxError {}
