//! The faults of an object, in the words of a Kubernetes API server.

use serde_json::Value;

use crate::status::Cause;

/// A field is missing or empty; `detail` may be empty.
pub(crate) fn required(field: impl Into<String>, detail: &str) -> Cause {
    cause("FieldValueRequired", field, join("Required value", detail))
}

/// A value is not acceptable.
pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Cause {
    let message = join(&format!("Invalid value: {}", show(value)), detail);
    cause("FieldValueInvalid", field, message)
}

/// A value has the wrong JSON type or format.
pub(crate) fn type_invalid(field: impl Into<String>, value: &Value, detail: &str) -> Cause {
    Cause {
        reason: "FieldValueTypeInvalid",
        ..invalid(field, value, detail)
    }
}

/// A value is none of those that are known.
pub(crate) fn unsupported(
    field: impl Into<String>,
    value: &Value,
    supported: impl IntoIterator<Item = impl AsRef<str>>,
) -> Cause {
    let supported: Vec<_> = supported
        .into_iter()
        .map(|value| quote(value.as_ref()))
        .collect();
    let detail = format!("supported values: {}", supported.join(", "));
    let message = join(&format!("Unsupported value: {}", show(value)), &detail);
    cause("FieldValueNotSupported", field, message)
}

/// A value occurs twice where it may occur once.
pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Cause {
    cause(
        "FieldValueDuplicate",
        field,
        format!("Duplicate value: {}", show(value)),
    )
}

/// A field may not be set, or not be changed.
pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Cause {
    cause("FieldValueForbidden", field, join("Forbidden", detail))
}

/// A string is longer than `max`.
pub(crate) fn too_long(field: impl Into<String>, max: u64) -> Cause {
    let unit = if max == 1 { "byte" } else { "bytes" };
    cause(
        "FieldValueTooLong",
        field,
        format!("Too long: may not be more than {max} {unit}"),
    )
}

/// A list or map has more than `max` entries.
pub(crate) fn too_many(field: impl Into<String>, actual: usize, max: u64) -> Cause {
    let unit = if max == 1 { "item" } else { "items" };
    let message = format!("Too many: {actual}: must have at most {max} {unit}");
    cause("FieldValueTooMany", field, message)
}

fn cause(reason: &'static str, field: impl Into<String>, message: String) -> Cause {
    Cause {
        reason,
        message,
        field: field.into(),
    }
}

fn join(head: &str, detail: &str) -> String {
    if detail.is_empty() {
        head.to_owned()
    } else {
        format!("{head}: {detail}")
    }
}

/// A value as Go's `%#v` prints it, which is what clients are used to.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(show).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{}:{}", quote(key), show(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// A string in double quotes, escaped as JSON does it.
pub(crate) fn quote(text: &str) -> String {
    Value::from(text).to_string()
}
