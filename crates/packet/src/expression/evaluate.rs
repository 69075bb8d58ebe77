//! The value of an expression for one packet. `None` is *no value* throughout.

use std::borrow::Cow;

use crate::packet::Packet;

use super::node::{Node, Operator, Range, Type};
use super::value::{Bytes, NUMBER_BYTES, Number, Value};

/// What an expression can see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'v> {
    /// The packet, for its fields.
    packet: Option<&'v Packet<'v>>,
    /// The packet's decoded payload, for JSON Pointers; `None` if it does not decode.
    payload: Option<&'v [u8]>,
    /// What ranges are taken from: the payload, or what a pipe made of it.
    data: Option<&'v [u8]>,
}

impl<'v> Scope<'v> {
    pub(crate) fn packet(packet: &'v Packet<'v>, payload: Option<&'v [u8]>) -> Self {
        Self { packet: Some(packet), payload, data: payload }
    }

    pub(crate) fn payload(payload: &'v [u8]) -> Self {
        Self { packet: None, payload: Some(payload), data: Some(payload) }
    }
}

pub(super) fn evaluate<'v>(node: &'v Node, scope: Scope<'v>) -> Option<Value<'v>> {
    match node {
        Node::Number(number) => Some(Value::Number(*number)),
        Node::Bytes(bytes) => Some(Value::Bytes(Bytes::Part(bytes))),
        Node::Range(range) => Some(Value::Bytes(Bytes::Part(part(range, 1, scope)?))),
        Node::Read(kind, range) => read(*kind, part(range, kind.width, scope)?).map(Value::Number),
        Node::Utf8(range) => {
            let part = part(range, 1, scope)?;
            std::str::from_utf8(part).ok()?;
            Some(Value::Bytes(Bytes::Part(part)))
        }
        Node::Field(field) => field.read(scope.packet?).map(Value::Text),
        Node::Pointer(pointer) => pointer.read(scope.payload?).map(Value::Text),
        Node::Not(node) => Some(Value::Truth(!evaluate(node, scope)?.holds())),
        Node::Negate(node) => computed(evaluate(node, scope)?.number()?.checked_neg()),
        Node::Binary(operator, sides) => binary(*operator, &sides[0], &sides[1], scope),
        Node::Choose(parts) => {
            let [condition, then, otherwise] = &**parts;
            evaluate(if evaluate(condition, scope)?.holds() { then } else { otherwise }, scope)
        }
    }
}

fn binary<'v>(operator: Operator, left: &'v Node, right: &'v Node, scope: Scope<'v>) -> Option<Value<'v>> {
    let left = evaluate(left, scope);
    let truth = |truth| Some(Value::Truth(truth));
    match operator {
        Operator::Pipe => return pipe(left?, right, scope),
        Operator::Coalesce => return left.or_else(|| evaluate(right, scope)),
        Operator::Or if left.as_ref()?.holds() => return truth(true),
        Operator::And if !left.as_ref()?.holds() => return truth(false),
        _ => {}
    }
    let (left, right) = (left?, evaluate(right, scope)?);
    let order = || left.compare(&right);
    let numbers = || Some((left.number()?, right.number()?));
    match operator {
        Operator::Pipe | Operator::Coalesce => None, // answered above
        Operator::Or | Operator::And => truth(right.holds()),
        Operator::Equal => truth(order().is_some_and(|order| order.is_eq())),
        Operator::NotEqual => truth(order().is_none_or(|order| order.is_ne())),
        Operator::Less => truth(order()?.is_lt()),
        Operator::LessOrEqual => truth(order()?.is_le()),
        Operator::Greater => truth(order()?.is_gt()),
        Operator::GreaterOrEqual => truth(order()?.is_ge()),
        Operator::Add => computed(numbers().and_then(|(left, right)| left.checked_add(right))),
        Operator::Subtract => computed(numbers().and_then(|(left, right)| left.checked_sub(right))),
        Operator::Multiply => computed(numbers().and_then(|(left, right)| left.checked_mul(right))),
        Operator::Divide => computed(numbers().and_then(|(left, right)| left.checked_div(right))),
        Operator::Remainder => computed(numbers().and_then(|(left, right)| left.checked_rem(right))),
    }
}

fn computed(value: Option<i128>) -> Option<Value<'static>> {
    value.map(|value| Value::Number(Number::computed(value)))
}

fn pipe<'v>(left: Value<'v>, right: &'v Node, scope: Scope<'v>) -> Option<Value<'v>> {
    match left {
        Value::Bytes(Bytes::Part(part)) => evaluate(right, Scope { data: Some(part), ..scope }),
        Value::Text(Cow::Borrowed(text)) => evaluate(right, Scope { data: Some(text.as_bytes()), ..scope }),
        // Bytes that lie nowhere but here, so what is taken from them has to be carried out.
        left => {
            let mut room = [0; NUMBER_BYTES];
            let data = Some(left.as_bytes(&mut room));
            evaluate(right, Scope { data, ..scope }).map(Value::detached)
        }
    }
}

/// The part of the data that `range` names, if the data has all of it. `width` is what a lone offset takes.
fn part<'v>(range: &'v Range, width: usize, scope: Scope<'v>) -> Option<&'v [u8]> {
    let data = scope.data?;
    let position = |node| usize::try_from(evaluate(node, scope)?.number()?).ok();
    let (from, to) = match range {
        Range::Empty => (0, 0),
        Range::At(offset) => {
            let offset = position(offset)?;
            (offset, offset.checked_add(width)?)
        }
        Range::Span(span) => {
            let offset = position(&span[0])?;
            (offset, offset.checked_add(position(&span[1])?)?)
        }
        Range::Between(from, to) => (
            from.as_ref().map_or(Some(0), |from| position(from))?,
            to.as_ref().map_or(Some(data.len()), |to| position(to))?,
        ),
    };
    data.get(from..to)
}

/// The number that lies in `bytes`, which have to be as many as the type has.
fn read(kind: Type, bytes: &[u8]) -> Option<Number> {
    if bytes.len() != kind.width {
        return None;
    }
    let shift = |value: i128, byte: &u8| value << 8 | i128::from(*byte);
    let value =
        if kind.little_endian { bytes.iter().rev().fold(0, shift) } else { bytes.iter().fold(0, shift) };
    let bits = 8 * kind.width;
    let negative = kind.signed && value >> (bits - 1) != 0;
    Some(Number { value: if negative { value - (1 << bits) } else { value }, width: kind.width })
}
