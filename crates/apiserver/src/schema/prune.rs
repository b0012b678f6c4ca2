//! Removal of unknown fields.

use serde_json::{Map, Value};

use super::path::Path;
use super::{Definitions, Schema, meta};

/// Removes what the schema does not know and nulls that it does not allow; returns the paths of the
/// unknown fields, such as `spec.ports[0].foo`.
///
/// `object` is a whole object: `apiVersion`, `kind` and `metadata` are known, here and in embedded
/// resources.
pub fn prune(schema: &Schema, definitions: &Definitions, object: &mut Value) -> Vec<String> {
    let mut pruner = Pruner {
        definitions,
        path: Path::default(),
        unknown: Vec::new(),
    };
    let root = schema.resolve(definitions);
    if let Value::Object(fields) = object {
        pruner.resource(root, fields);
    }
    pruner.unknown
}

/// The same for a part of an object, such as a default.
pub(super) fn prune_part(schema: &Schema, value: &mut Value) -> Vec<String> {
    let mut pruner = Pruner {
        definitions: &Definitions::new(),
        path: Path::default(),
        unknown: Vec::new(),
    };
    pruner.value(schema, value);
    pruner.unknown
}

struct Pruner<'a> {
    definitions: &'a Definitions,
    path: Path,
    unknown: Vec<String>,
}

impl Pruner<'_> {
    fn value(&mut self, schema: &Schema, value: &mut Value) {
        let schema = schema.resolve(self.definitions);
        match value {
            Value::Object(fields) if schema.embedded_resource => self.resource(schema, fields),
            Value::Object(fields) => self.object(schema, fields),
            Value::Array(items) => {
                let Some(schema) = &schema.items else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    let mark = self.path.enter_index(index);
                    self.value(schema, item);
                    self.path.leave(mark);
                }
            }
            _ => {}
        }
    }

    /// An object with its own `apiVersion`, `kind` and `metadata`.
    fn resource(&mut self, schema: &Schema, fields: &mut Map<String, Value>) {
        let envelope: Vec<_> = ["apiVersion", "kind", "metadata"]
            .into_iter()
            .filter_map(|name| fields.remove_entry(name))
            .collect();
        self.object(schema, fields);
        for (name, mut value) in envelope {
            if name == "metadata" {
                self.metadata(&mut value);
            }
            if !value.is_null() {
                fields.insert(name, value);
            }
        }
    }

    fn metadata(&mut self, value: &mut Value) {
        let (schema, definitions) = meta::object_meta();
        let mut inner = Pruner {
            definitions,
            path: std::mem::take(&mut self.path),
            unknown: std::mem::take(&mut self.unknown),
        };
        let mark = inner.path.enter("metadata");
        inner.value(schema, value);
        inner.path.leave(mark);
        (self.path, self.unknown) = (inner.path, inner.unknown);
    }

    fn object(&mut self, schema: &Schema, fields: &mut Map<String, Value>) {
        // A node that says nothing about its fields keeps them only if it does not claim to.
        let open = schema.preserve_unknown || schema.type_.is_none();
        fields.retain(|name, value| {
            let Some(known) = schema.field(name) else {
                if !open {
                    self.unknown.push(self.path.child(name));
                }
                return open;
            };
            if value.is_null() {
                return keeps_null(known.resolve(self.definitions));
            }
            let mark = self.path.enter(name);
            self.value(known, value);
            self.path.leave(mark);
            true
        });
    }
}

fn keeps_null(schema: &Schema) -> bool {
    schema.nullable || (schema.type_.is_none() && schema.preserve_unknown)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pruned(schema: &Value, mut object: Value) -> (Value, Vec<String>) {
        let schema = Schema::from_openapi(schema).unwrap();
        let unknown = prune(&schema, &Definitions::new(), &mut object);
        (object, unknown)
    }

    #[test]
    fn unknown_fields_are_dropped_and_named() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"ports": {"type": "array", "items": {"type": "object",
                "properties": {"port": {"type": "integer"}}}}}}}});
        let (object, unknown) = pruned(
            &schema,
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "nam": "b"},
                "spec": {"ports": [{"port": 1, "foo": 2}], "extra": {}}, "more": 1}),
        );
        assert_eq!(
            object,
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"},
                "spec": {"ports": [{"port": 1}]}})
        );
        assert_eq!(
            unknown,
            ["more", "spec.extra", "spec.ports[0].foo", "metadata.nam"]
        );
    }

    #[test]
    fn preserved_parts_and_maps_are_kept() {
        let schema = json!({"type": "object", "properties": {
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"typed": {"type": "object", "properties": {}}}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "any": {"x-kubernetes-preserve-unknown-fields": true}}});
        let object = json!({"free": {"a": {"b": null}, "typed": {"c": 1}}, "map": {"k": "v"},
            "any": [{"x": 1}]});
        let (object, unknown) = pruned(&schema, object);
        assert_eq!(
            object,
            json!({"free": {"a": {"b": null}, "typed": {}}, "map": {"k": "v"}, "any": [{"x": 1}]})
        );
        assert_eq!(unknown, ["free.typed.c"]);
    }

    #[test]
    fn embedded_resources_keep_their_envelope() {
        let schema = json!({"type": "object", "properties": {"template": {"type": "object",
            "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}}});
        let object = json!({"template": {"apiVersion": "v1", "kind": "Y",
            "metadata": {"labels": {"a": "b"}, "x": 1}, "spec": {}, "status": {}}});
        let (object, unknown) = pruned(&schema, object);
        assert_eq!(
            object["template"]["metadata"],
            json!({"labels": {"a": "b"}})
        );
        assert_eq!(unknown, ["template.status", "template.metadata.x"]);
    }

    #[test]
    fn nulls_are_dropped_where_they_are_not_allowed() {
        let schema = json!({"type": "object", "properties": {
            "no": {"type": "string"}, "yes": {"type": "string", "nullable": true}}});
        let (object, unknown) = pruned(&schema, json!({"no": null, "yes": null}));
        assert_eq!(object, json!({"yes": null}));
        assert_eq!(unknown, Vec::<String>::new());
    }
}
