//! How large, and how deep, an object may be.

use std::io;

use serde_json::Value;

use crate::kind::Kind;
use crate::status::Status;

/// Most bytes of an object's JSON text: what etcd, where other servers keep their objects, takes in
/// one request by default.
pub(crate) const LIMIT: usize = 3 * 1024 * 1024 / 2;

/// Most levels of an object. JSON readers go to 128, and what is added to an object, such as the
/// record of who owns which field, is a little deeper than the object itself.
const DEPTH: usize = 100;

/// Refuses an object that is larger than [`LIMIT`] or deeper than [`DEPTH`].
pub(crate) fn check(kind: &Kind, name: &str, object: &Value) -> Result<(), Status> {
    if of(object) > LIMIT {
        return Err(Status::object_too_large(kind, name, LIMIT));
    }
    check_depth(object, 0)
}

/// Refuses a value that, so many levels down, reaches below [`DEPTH`].
pub(crate) fn check_depth(value: &Value, level: usize) -> Result<(), Status> {
    if depth(value) + level > DEPTH {
        return Err(Status::bad_request("exceeded max depth"));
    }
    Ok(())
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Object(fields) => fields.values().map(depth).max(),
        Value::Array(items) => items.iter().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

/// Bytes of a value's JSON text, which is not made for that.
pub(crate) fn of(value: &Value) -> usize {
    let mut counter = Counter(0);
    // Counting does not fail, and values have only string keys.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_depth_counts_objects_and_lists() {
        for (value, expected) in [
            (json!(1), 0),
            (json!({}), 1),
            (json!({"a": 1, "b": [{"c": []}]}), 4),
        ] {
            assert_eq!(depth(&value), expected);
        }
    }

    #[test]
    fn the_size_is_that_of_the_text() {
        let value = json!({"a": [1, 2.5, null, "\u{e9}\"\n"], "b": {}});
        assert_eq!(of(&value), value.to_string().len());
    }
}
