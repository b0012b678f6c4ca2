//! The schemas of all kinds in the dialect of OpenAPI v2: those of v3, less what v2 cannot say.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::schemas;
use super::named;
use crate::kind::Kind;
use crate::wire::Message;

/// The definitions by name.
pub(super) fn of(kinds: &[Arc<Kind>]) -> Map<String, Value> {
    let kinds: Vec<&Kind> = kinds.iter().map(Arc::as_ref).collect();
    let schemas = schemas::of(&kinds);
    let older = |(name, schema): (String, Value)| (name, older(schema));
    schemas.into_iter().map(older).collect()
}

/// A schema of v3 in the words of v2.
fn older(schema: Value) -> Value {
    let Value::Object(fields) = schema else {
        return schema;
    };
    let mut old = Map::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("nullable" | "anyOf" | "oneOf" | "not", _) => {}
            // A reference is wrapped in v3 only, so that it may have a description beside it.
            ("allOf", Value::Array(parts)) => {
                let reference = parts.first().and_then(|part| part["$ref"].as_str());
                if let Some(reference) = reference {
                    let reference = reference.replace("#/components/schemas/", "#/definitions/");
                    old.insert("$ref".to_owned(), reference.into());
                }
            }
            ("properties", Value::Object(properties)) => {
                let properties = properties.into_iter();
                let properties = properties.map(|(name, field)| (name, older(field)));
                old.insert(name, properties.collect());
            }
            ("items" | "additionalProperties", value) => {
                old.insert(name, older(value));
            }
            (_, value) => {
                old.insert(name, value);
            }
        }
    }
    Value::Object(old)
}

/// A message `Definitions`, which `Properties` is like.
pub(super) fn message(definitions: &Map<String, Value>) -> Message {
    let entries = definitions.iter();
    entries.fold(Message::default(), |all, (name, schema)| {
        all.message(1, &named(name, &schema_message(schema)))
    })
}

/// A message `Schema`.
fn schema_message(schema: &Value) -> Message {
    let fields = schema.as_object().into_iter().flatten();
    fields.fold(Message::default(), |message, (name, value)| {
        field(message, name, value)
    })
}

fn field(message: Message, name: &str, value: &Value) -> Message {
    let inner = |value: &Value| Message::default().message(1, &schema_message(value));
    match (name, value) {
        ("$ref", Value::String(text)) => message.text(1, text),
        ("format", Value::String(text)) => message.text(2, text),
        ("description", Value::String(text)) => message.text(4, text),
        ("default", value) => message.message(5, &any(value)),
        ("pattern", Value::String(text)) => message.text(13, text),
        ("required", Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            names.fold(message, |message, name| message.text(19, name))
        }
        ("enum", Value::Array(values)) => values
            .iter()
            .fold(message, |message, value| message.message(20, &any(value))),
        ("additionalProperties", value) => message.message(21, &inner(value)),
        ("type", Value::String(text)) => message.message(22, &Message::default().text(1, text)),
        ("items", value) => message.message(23, &inner(value)),
        ("properties", Value::Object(fields)) => message.message(25, &self::message(fields)),
        (extension, value) if extension.starts_with("x-") => {
            message.message(31, &named(extension, &any(value)))
        }
        (name, value) => limit(message, name, value),
    }
}

/// A field that is a limit of numbers or sizes; nothing for others.
fn limit(message: Message, name: &str, value: &Value) -> Message {
    let number = match name {
        "multipleOf" => 6,
        "maximum" => 7,
        "minimum" => 9,
        _ => 0,
    };
    let flag = match name {
        "exclusiveMaximum" => 8,
        "exclusiveMinimum" => 10,
        _ => 0,
    };
    let count = match name {
        "maxLength" => 11,
        "minLength" => 12,
        "maxItems" => 14,
        "minItems" => 15,
        "maxProperties" => 17,
        "minProperties" => 18,
        _ => 0,
    };
    match (value.as_f64(), value.as_bool(), value.as_u64()) {
        (Some(value), ..) if number > 0 => message.double(number, value),
        (_, Some(value), _) if flag > 0 => message.flag(flag, value),
        (.., Some(value)) if count > 0 => message.integer(count, value),
        _ => message,
    }
}

/// A message `Any`: its value is YAML, and so may be JSON.
fn any(value: &Value) -> Message {
    Message::default().text(2, &value.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_stand_alone_and_unions_are_left_out() {
        let schema = json!({"type": "object", "nullable": true, "properties": {
            "a": {"description": "A.", "allOf": [{"$ref": "#/components/schemas/x.Y"}]},
            "b": {"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/x.Y"}]}},
            "c": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}]}}});
        assert_eq!(
            older(schema),
            json!({"type": "object", "properties": {
                "a": {"description": "A.", "$ref": "#/definitions/x.Y"},
                "b": {"type": "array", "items": {"$ref": "#/definitions/x.Y"}},
                "c": {"x-kubernetes-int-or-string": true}}})
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let kinds: Vec<_> = crate::builtin::kinds().into_iter().map(Arc::new).collect();
        let definitions = of(&kinds);
        let text = Value::from(definitions.clone()).to_string();
        for part in text.split("#/definitions/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(definitions.contains_key(name), "{name}");
        }
        assert!(!text.contains("#/components/"));
    }
}
