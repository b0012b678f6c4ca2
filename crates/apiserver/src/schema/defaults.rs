//! Defaults that schemas declare.

use serde_json::{Map, Value};

use super::{Definitions, Schema};

/// Fills missing fields that have a default, at every depth.
///
/// Objects that are missing and have no default of their own stay missing, whatever is inside them.
pub fn apply_defaults(schema: &Schema, definitions: &Definitions, value: &mut Value) {
    let schema = schema.resolve(definitions);
    match value {
        Value::Object(fields) => object(schema, definitions, fields),
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                apply_defaults(schema, definitions, item);
            }
        }
        _ => {}
    }
}

fn object(schema: &Schema, definitions: &Definitions, fields: &mut Map<String, Value>) {
    for (name, field) in &schema.properties {
        let Some(default) = &field.default else {
            continue;
        };
        let missing = match fields.get(name) {
            None => true,
            Some(value) => value.is_null() && !field.nullable,
        };
        if missing {
            fields.insert(name.clone(), default.clone());
        }
    }
    for (name, value) in fields {
        if let Some(schema) = schema.field(name) {
            apply_defaults(schema, definitions, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_defaults_apply_inside_defaulted_objects_and_lists() {
        let schema = Schema::from_openapi(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "default": {}, "properties": {
                "mode": {"type": "string", "default": "fast"},
                "deep": {"type": "object", "properties": {"x": {"type": "integer", "default": 1}}},
                "list": {"type": "array", "items": {"type": "object", "properties": {
                    "proto": {"type": "string", "default": "TCP"}}}}}},
            "keep": {"type": "string", "nullable": true, "default": "d"}}}))
        .unwrap();
        let mut object = json!({"keep": null});
        apply_defaults(&schema, &Definitions::new(), &mut object);
        assert_eq!(object, json!({"spec": {"mode": "fast"}, "keep": null}));

        let mut object = json!({"spec": {"mode": null, "deep": {}, "list": [{}]}});
        apply_defaults(&schema, &Definitions::new(), &mut object);
        assert_eq!(
            object,
            json!({"keep": "d", "spec": {"mode": "fast", "deep": {"x": 1},
                "list": [{"proto": "TCP"}]}})
        );
    }
}
