//! From tokens to the tree, by recursive descent, and the refusals that can be known without a packet.

use crate::field::Field;

use super::error::SyntaxError;
use super::lexer::{self, Kind, Token};
use super::node::{Node, Operator, Range, TYPES, Type};
use super::{Fields, MAX_CHARS, MAX_DEPTH};

/// The tree, and whether anything in it reads the payload.
pub(super) fn parse(text: &str, fields: Fields) -> Result<(Node, bool), SyntaxError> {
    if let Some((at, _)) = text.char_indices().nth(MAX_CHARS) {
        let message = format!("the expression is longer than {MAX_CHARS} characters");
        return Err(SyntaxError::new(message, text, at));
    }
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser { text, fields, tokens, next: 0, depth: 0, reads_payload: false };
    if *parser.peek() == Kind::End {
        return Err(parser.error("the expression is empty"));
    }
    let root = parser.expression()?;
    if *parser.peek() != Kind::End {
        return Err(parser.expected("an operator or the end"));
    }
    // Operators in a row nest too, without the parser's having gone any deeper.
    if root.depth() > MAX_DEPTH {
        return Err(SyntaxError::new(too_deep(), text, 0));
    }
    Ok((root, parser.reads_payload))
}

fn too_deep() -> String {
    format!("the expression nests more than {MAX_DEPTH} deep")
}

/// Binary operators that group to the left, from the loosest to the tightest.
const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[("==", Operator::Equal), ("!=", Operator::NotEqual)],
    &[
        ("<", Operator::Less),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        (">=", Operator::GreaterOrEqual),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

struct Parser<'e> {
    text: &'e str,
    fields: Fields,
    tokens: Vec<Token<'e>>,
    next: usize,
    /// How deep the parser has called itself.
    depth: usize,
    reads_payload: bool,
}

type Parsed = Result<Node, SyntaxError>;

impl<'e> Parser<'e> {
    /// `A | B`, the loosest of all: a whole expression.
    fn expression(&mut self) -> Parsed {
        let mut left = self.choice()?;
        while self.take("|") {
            left = Node::Binary(Operator::Pipe, Box::new([left, self.choice()?]));
        }
        Ok(left)
    }

    /// `A ? B : C`. As in C, B stands between marks and may be anything.
    fn choice(&mut self) -> Parsed {
        self.deeper(|parser| {
            let condition = parser.coalescence()?;
            if !parser.take("?") {
                return Ok(condition);
            }
            let then = parser.expression()?;
            parser.demand(":")?;
            Ok(Node::Choose(Box::new([condition, then, parser.choice()?])))
        })
    }

    /// `A ?? B`
    fn coalescence(&mut self) -> Parsed {
        self.deeper(|parser| {
            let left = parser.binary(0)?;
            if !parser.take("??") {
                return Ok(left);
            }
            Ok(Node::Binary(Operator::Coalesce, Box::new([left, parser.coalescence()?])))
        })
    }

    /// Operators of this level and tighter ones.
    fn binary(&mut self, level: usize) -> Parsed {
        let mut left = self.unary()?;
        while let Some((tighter, operator)) = self.operator(level) {
            self.next += 1;
            left = Node::Binary(operator, Box::new([left, self.binary(tighter + 1)?]));
        }
        Ok(left)
    }

    /// The operator that comes next, if it is of this level or tighter, with its level.
    fn operator(&self, level: usize) -> Option<(usize, Operator)> {
        let Kind::Sign(sign) = self.peek() else { return None };
        let mut known = LEVELS.iter().enumerate().skip(level);
        known.find_map(|(level, signs)| Some((level, signs.iter().find(|(known, _)| known == sign)?.1)))
    }

    fn unary(&mut self) -> Parsed {
        self.deeper(|parser| {
            if parser.take("!") {
                Ok(Node::Not(Box::new(parser.unary()?)))
            } else if parser.take("-") {
                Ok(Node::Negate(Box::new(parser.unary()?)))
            } else {
                parser.primary()
            }
        })
    }

    fn primary(&mut self) -> Parsed {
        let at = self.next;
        self.next += 1;
        match &mut self.tokens[at].kind {
            Kind::Number(number) => Ok(Node::Number(*number)),
            Kind::Bytes(bytes) => Ok(Node::Bytes(std::mem::take(bytes))),
            Kind::Sign("(") => {
                let inner = self.expression()?;
                self.demand(")")?;
                Ok(inner)
            }
            Kind::Sign("[") => Ok(Node::Range(self.range()?)),
            Kind::Name(name) => {
                let name = *name;
                self.named(name)
            }
            _ => {
                self.next = at;
                Err(self.expected("a value"))
            }
        }
    }

    /// What begins with a name: a typed read, a field of the packet, a pointer into the payload.
    fn named(&mut self, name: &'e str) -> Parsed {
        let at = self.tokens[self.next - 1].at;
        if let Some(kind) = Type::named(name) {
            let bracket = self.tokens[self.next].at;
            self.demand("[")?;
            let range = self.range()?;
            self.check_width(kind, &range, bracket)?;
            return Ok(Node::Read(kind, range));
        }
        if name == "utf8" {
            self.demand("[")?;
            return Ok(Node::Utf8(self.range()?));
        }
        let refuse = |message| Err(SyntaxError::new(message, self.text, at));
        let Some(field) = Field::named(name) else {
            // Only types have digits in their names.
            let typed = name.contains(|c: char| c.is_ascii_digit()) || self.fields == Fields::Refused;
            let known =
                if typed { TYPES.map(|kind| kind.name).join(", ") + ", utf8" } else { Field::near(name) };
            return refuse(format!("unknown name `{name}`, expected one of {known}"));
        };
        if self.fields == Fields::Refused {
            return refuse("fields of the packet cannot be used here, only bytes of its payload".into());
        }
        let Kind::Pointer(pointer) = self.peek() else { return Ok(Node::Field(field)) };
        if field != Field::Data {
            return Err(self.error("a JSON Pointer goes with `Data` only"));
        }
        let pointer = pointer.clone();
        self.next += 1;
        self.reads_payload = true;
        Ok(Node::Pointer(pointer))
    }

    /// A range, from behind its opening bracket on.
    fn range(&mut self) -> Result<Range, SyntaxError> {
        self.reads_payload = true;
        if self.take("]") {
            return Ok(Range::Empty);
        }
        let from = if *self.peek() == Kind::Sign(":") { None } else { Some(Box::new(self.position()?)) };
        let second = self.tokens[self.next + 1..].first().map_or(self.text.len(), |token| token.at);
        let range = match from {
            Some(offset) if self.take(",") => Range::Span(Box::new([*offset, self.position()?])),
            Some(offset) if *self.peek() == Kind::Sign("]") => Range::At(offset),
            from => {
                if !self.take(":") {
                    return Err(self.expected("`,`, `:` or `]`"));
                }
                let open = *self.peek() == Kind::Sign("]");
                Range::Between(from, if open { None } else { Some(Box::new(self.position()?)) })
            }
        };
        self.demand("]")?;
        if range.literal().is_some_and(|(from, to)| from > to) {
            return Err(SyntaxError::new("the range ends before it begins", self.text, second));
        }
        Ok(range)
    }

    fn position(&mut self) -> Parsed {
        let at = self.tokens[self.next].at;
        let node = self.expression()?;
        if node.literal().is_some_and(|position| position < 0) {
            let message = "a position is counted from the start and cannot be negative";
            return Err(SyntaxError::new(message, self.text, at));
        }
        Ok(node)
    }

    fn check_width(&self, kind: Type, range: &Range, at: usize) -> Result<(), SyntaxError> {
        let Some((from, to)) = range.literal() else { return Ok(()) };
        let (given, width, name) = (to - from, kind.width, kind.name);
        if usize::try_from(given) == Ok(width) {
            return Ok(());
        }
        let message =
            format!("{name} takes {width} {}, not {given}", if width == 1 { "byte" } else { "bytes" });
        Err(SyntaxError::new(message, self.text, at))
    }

    /// Runs one level of the descent, unless it would go too deep.
    fn deeper(&mut self, level: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        // Each pair of parentheses, or brackets, passes three levels.
        if self.depth == 3 * MAX_DEPTH {
            return Err(self.error(too_deep()));
        }
        self.depth += 1;
        let node = level(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn peek(&self) -> &Kind<'e> {
        &self.tokens[self.next].kind
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Kind::Sign(next) if *next == sign);
        self.next += usize::from(found);
        found
    }

    fn demand(&mut self, sign: &str) -> Result<(), SyntaxError> {
        if self.take(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    fn expected(&self, wanted: &str) -> SyntaxError {
        let at = self.tokens[self.next].at;
        self.error(match self.tokens.get(self.next + 1) {
            None => format!("expected {wanted}, found the end"),
            Some(after) => format!("expected {wanted}, found `{}`", self.text[at..after.at].trim_end()),
        })
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(message, self.text, self.tokens[self.next].at)
    }
}
