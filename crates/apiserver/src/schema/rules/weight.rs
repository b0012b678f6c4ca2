//! How large values are, told without looking at more of them than may be paid for.

use std::mem::discriminant;

use kube_cel::cel::Value;
use kube_cel::cel::objects::{Key, OptionalValue};

use super::cost::scan;
use super::library::inside;

/// Bytes of a text, or entries of a collection.
pub(super) fn extent(value: &Value) -> u64 {
    let size = match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.map.len(),
        _ => 1,
    };
    size as u64
}

/// The same with all that is inside, for operations that look at everything; `limit` at most.
pub(super) fn weight(value: &Value, limit: u64) -> u64 {
    let mut left = limit;
    weigh(value, &mut left);
    limit - left
}

fn weigh(value: &Value, left: &mut u64) {
    let value = opened(value);
    *left = left.saturating_sub(extent(value));
    let mut visit = |inner: &Value| {
        weigh(inner, left);
        *left > 0
    };
    // Both stop when nothing is left.
    match value {
        Value::List(items) => drop(items.iter().all(&mut visit)),
        Value::Map(map) => drop(map.map.values().all(&mut visit)),
        _ => {}
    }
}

/// How much a comparison for equality looks at; `limit` at most.
pub(super) fn likeness(a: &Value, b: &Value, limit: u64) -> u64 {
    let mut left = limit;
    compare(a, b, &mut left);
    limit - left
}

/// Whether there is something left.
fn compare(a: &Value, b: &Value, left: &mut u64) -> bool {
    let (a, b) = (opened(a), opened(b));
    let (x, y) = (extent(a), extent(b));
    *left = left.saturating_sub(x.min(y).max(1));
    // Values of other sizes differ, and nobody looks into them.
    if x == y && discriminant(a) == discriminant(b) {
        match (a, b) {
            (Value::List(a), Value::List(b)) => {
                return a.iter().zip(b.iter()).all(|(a, b)| compare(a, b, left));
            }
            (Value::Map(a), Value::Map(b)) => {
                return a.map.iter().all(|(key, a)| {
                    *left = left.saturating_sub(key_extent(key));
                    b.map.get(key).is_none_or(|b| compare(a, b, left))
                });
            }
            _ => {}
        }
    }
    *left > 0
}

fn key_extent(key: &Key) -> u64 {
    match key {
        Key::String(text) => text.len() as u64,
        _ => 1,
    }
}

/// The work of looking for a value in a list; hardly more than `limit`.
pub(super) fn search(sought: &Value, items: &[Value], limit: u64) -> u64 {
    let mut total = 0_u64;
    for item in items {
        total += scan(likeness(sought, item, limit.saturating_mul(10)));
        if total > limit {
            break;
        }
    }
    total
}

/// What is inside of optionals.
fn opened(mut value: &Value) -> &Value {
    while let Some(inner) = inside(value).and_then(OptionalValue::value) {
        value = inner;
    }
    value
}
