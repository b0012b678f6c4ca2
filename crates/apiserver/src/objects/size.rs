//! How large an object may be.

use std::io;

use serde_json::Value;

use crate::kind::Kind;
use crate::status::Status;

/// Most bytes of an object's JSON text: what etcd, where other servers keep their objects, takes in
/// one request by default.
pub(crate) const LIMIT: usize = 3 * 1024 * 1024 / 2;

/// Refuses an object that is larger than [`LIMIT`].
pub(crate) fn check(kind: &Kind, name: &str, object: &Value) -> Result<(), Status> {
    if of(object) > LIMIT {
        return Err(Status::object_too_large(kind, name, LIMIT));
    }
    Ok(())
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
    fn the_size_is_that_of_the_text() {
        let value = json!({"a": [1, 2.5, null, "\u{e9}\"\n"], "b": {}});
        assert_eq!(of(&value), value.to_string().len());
    }
}
