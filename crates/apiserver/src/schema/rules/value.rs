//! JSON → the values that rules compute with.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map};
use serde_json::Value;

use crate::schema::{Schema, Type};

/// Words that cannot be field names in an expression.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name of a field in rules; none if rules cannot name it.
pub(super) fn escape(name: &str) -> Option<Cow<'_, str>> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__").into());
    }
    let letter = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '.' | '-' | '/');
    let mut chars = name.chars();
    if !chars.next().is_some_and(letter) || !chars.all(|c| letter(c) || c.is_ascii_digit()) {
        return None;
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return Some(name.into());
    }
    let escaped = name
        .replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__");
    Some(escaped.into())
}

/// What rules see of a value; `resource` says that it is a whole object.
pub(super) fn convert(schema: &Schema, resource: bool, value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(bool) => Cel::Bool(*bool),
        Value::Number(number) => match (schema.type_, number.as_i64()) {
            (Some(Type::Number), _) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
            (_, Some(int)) => Cel::Int(int),
            (_, None) => whole(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => string(schema, text),
        Value::Array(items) => {
            let schema = schema.items.as_deref().unwrap_or(&NOTHING);
            let items = items.iter().map(|item| convert(schema, false, item));
            Cel::List(Arc::new(items.collect()))
        }
        Value::Object(fields) => match schema.additional_properties.as_deref() {
            Some(values) => map(fields
                .iter()
                .map(|(name, value)| (name.clone(), convert(values, false, value)))),
            None => object(schema, resource || schema.embedded_resource, fields),
        },
    }
}

/// An object shows the fields of its schema only; null is the same as not being there.
fn object(schema: &Schema, resource: bool, fields: &serde_json::Map<String, Value>) -> Cel {
    let known = schema.properties.iter().filter_map(|(name, schema)| {
        if resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            return None;
        }
        let value = fields.get(name).filter(|value| !value.is_null())?;
        Some((escape(name)?.into_owned(), convert(schema, false, value)))
    });
    if !resource {
        return map(known);
    }
    let text = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        Cel::String(Arc::new(text.to_owned()))
    };
    let metadata = fields.get("metadata");
    let names = ["name", "generateName"].into_iter().filter_map(|name| {
        let value = metadata.and_then(|metadata| metadata.get(name))?;
        Some((name.to_owned(), text(Some(value))))
    });
    let envelope = [
        ("apiVersion".to_owned(), text(fields.get("apiVersion"))),
        ("kind".to_owned(), text(fields.get("kind"))),
        ("metadata".to_owned(), map(names)),
    ];
    map(known.chain(envelope))
}

fn map(entries: impl Iterator<Item = (String, Cel)>) -> Cel {
    let map: HashMap<_, _> = entries
        .map(|(name, value)| (Key::from(name), value))
        .collect();
    Cel::Map(Map { map: Arc::new(map) })
}

fn whole(number: f64) -> Cel {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a whole number within the range"
    )]
    if number.fract() == 0.0 && number.abs() < 9e18 {
        Cel::Int(number as i64)
    } else {
        Cel::Float(number)
    }
}

/// Text, or what its format makes of it.
fn string(schema: &Schema, text: &str) -> Cel {
    let plain = || Cel::String(Arc::new(text.to_owned()));
    if schema.int_or_string {
        return plain();
    }
    let function = match schema.format.as_deref() {
        Some("byte") => {
            let bytes = BASE64.decode(text);
            return bytes.map_or_else(|_| plain(), |bytes| Cel::Bytes(Arc::new(bytes)));
        }
        Some("date-time" | "datetime") => "timestamp",
        Some("date") => {
            let midnight = Cel::String(Arc::new(format!("{text}T00:00:00Z")));
            return super::library::call("timestamp", None, &[midnight])
                .unwrap_or_else(|_| plain());
        }
        Some("duration") => "duration",
        _ => return plain(),
    };
    super::library::call(function, None, &[plain()]).unwrap_or_else(|_| plain())
}

/// The schema of what has none.
static NOTHING: std::sync::LazyLock<Schema> = std::sync::LazyLock::new(Schema::default);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_identifiers_are_escaped() {
        let cases = [
            ("spec", Some("spec")),
            ("my_field", Some("my_field")),
            ("my__field", Some("my__underscores__field")),
            ("namespace", Some("__namespace__")),
            ("a-b.c/d", Some("a__dash__b__dot__c__slash__d")),
            ("x y", None),
            ("1a", None),
            ("", None),
        ];
        for (name, escaped) in cases {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
        }
    }
}
