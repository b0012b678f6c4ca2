//! Short ways to read and fill JSON objects.

use serde_json::{Map, Value, json};

/// The text at a JSON pointer; empty where there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The list at a JSON pointer; empty where there is none.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The number of entries of the map or list at a JSON pointer.
pub(super) fn count(object: &Value, pointer: &str) -> usize {
    match object.pointer(pointer) {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(items)) => items.len(),
        _ => 0,
    }
}

/// Whether a flag is set at a JSON pointer.
pub(super) fn is_true(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer) == Some(&Value::Bool(true))
}

/// The map in the field `name`, made where there is none.
pub(super) fn map<'a>(object: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    if !object.get(name).is_some_and(Value::is_object) {
        object[name] = json!({});
    }
    match &mut object[name] {
        Value::Object(map) => map,
        _ => unreachable!("the field was made an object above"),
    }
}

/// Sets `name` unless it has a value that is not empty.
pub(super) fn fill(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    let empty = map
        .get(name)
        .is_none_or(|old| old.is_null() || old.as_str() == Some(""));
    if empty {
        map.insert(name.to_owned(), value.into());
    }
}

/// `object` without some top-level fields, to compare what is left.
pub(super) fn without(object: &Value, names: &[&str]) -> Value {
    let mut copy = object.clone();
    if let Value::Object(map) = &mut copy {
        map.retain(|name, value| !names.contains(&name.as_str()) && !value.is_null());
    }
    copy
}
