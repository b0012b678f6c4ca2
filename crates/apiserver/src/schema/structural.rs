//! Whether a CRD's `openAPIV3Schema` is structural.
//!
//! Rules: Kubernetes documentation, "Specifying a structural schema".

use serde_json::{Map, Value};

use super::{Pattern, Type, cause};
use crate::status::Cause;

/// Every place where `document` is not structural; the paths start at `openAPIV3Schema`.
pub(super) fn check(document: &Value) -> Vec<Cause> {
    let mut checker = Checker { causes: Vec::new() };
    let root = "openAPIV3Schema";
    match document.get("type").and_then(Value::as_str) {
        Some("object") => {}
        None | Some("") => {
            let detail = "must not be empty at the root";
            checker
                .causes
                .push(cause::required(format!("{root}.type"), detail));
        }
        Some(other) => {
            let detail = "must be object at the root";
            checker.causes.push(cause::invalid(
                format!("{root}.type"),
                &other.into(),
                detail,
            ));
        }
    }
    checker.root_metadata(root, document);
    checker.node(root, document, "fields");
    checker.causes
}

struct Checker {
    causes: Vec<Cause>,
}

impl Checker {
    /// `metadata` is implied; only its `name` and `generateName` may be restricted.
    fn root_metadata(&mut self, root: &str, document: &Value) {
        let Some(metadata) = document.pointer("/properties/metadata") else {
            return;
        };
        let fields = metadata.get("properties").and_then(Value::as_object);
        let allowed = |name: &String| matches!(name.as_str(), "name" | "generateName");
        if fields.is_some_and(|fields| !fields.keys().all(allowed)) {
            self.causes.push(cause::forbidden(
                format!("{root}.properties[metadata]"),
                "must not specify anything other than name and generateName, but metadata is \
                 implicitly specified",
            ));
        }
    }

    /// `place` completes "must not be empty for specified …".
    fn node(&mut self, path: &str, document: &Value, place: &str) {
        let Some(fields) = document.as_object() else {
            self.causes
                .push(cause::invalid(path, document, "must be an object"));
            return;
        };
        if fields.contains_key("$ref") {
            self.causes.push(cause::forbidden(
                format!("{path}.$ref"),
                "$ref is not supported",
            ));
        }
        self.type_(path, fields, place);
        self.values(path, fields);
        self.pattern(path, fields);
        self.list(path, fields);
        self.extensions(path, fields);
        self.children(path, fields);
        self.logic(path, fields);
    }

    fn type_(&mut self, path: &str, fields: &Map<String, Value>, place: &str) {
        let type_ = fields
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let int_or_string = is_true(fields, "x-kubernetes-int-or-string");
        let free = is_true(fields, "x-kubernetes-preserve-unknown-fields");
        let path_of_type = format!("{path}.type");
        if int_or_string && !type_.is_empty() {
            let detail = "must be empty if x-kubernetes-int-or-string is true";
            self.causes
                .push(cause::invalid(path_of_type, &type_.into(), detail));
        } else if type_.is_empty() {
            if !int_or_string && !free && path != "openAPIV3Schema" {
                let detail = format!("must not be empty for specified {place}");
                self.causes.push(cause::required(path_of_type, &detail));
            }
        } else if Type::from_name(type_).is_none() {
            let known = ["array", "boolean", "integer", "number", "object", "string"];
            self.causes
                .push(cause::unsupported(path_of_type, &type_.into(), known));
        }
    }

    fn values(&mut self, path: &str, fields: &Map<String, Value>) {
        if is_true(fields, "uniqueItems") {
            self.causes.push(cause::forbidden(
                format!("{path}.uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ));
        }
        if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
            let path = format!("{path}.additionalProperties");
            self.causes.push(cause::forbidden(
                path,
                "additionalProperties cannot be set to false",
            ));
        }
        if let Some(default) = fields.get("default").filter(|default| default.is_null())
            && !is_true(fields, "nullable")
        {
            let detail = "must not be null unless nullable is true";
            self.causes
                .push(cause::invalid(format!("{path}.default"), default, detail));
        }
    }

    fn pattern(&mut self, path: &str, fields: &Map<String, Value>) {
        let Some(pattern) = fields.get("pattern").and_then(Value::as_str) else {
            return;
        };
        if let Err(error) = Pattern::new(pattern) {
            let detail = format!("must be a valid regular expression, but isn't: {error}");
            self.causes.push(cause::invalid(
                format!("{path}.pattern"),
                &pattern.into(),
                &detail,
            ));
        }
    }

    fn list(&mut self, path: &str, fields: &Map<String, Value>) {
        let array = fields.get("type").and_then(Value::as_str) == Some("array");
        if array && !fields.contains_key("items") {
            self.causes.push(cause::required(
                format!("{path}.items"),
                "must be specified",
            ));
        }
        let Some(list_type) = fields.get("x-kubernetes-list-type").and_then(Value::as_str) else {
            return;
        };
        let keys = fields
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array);
        if !array {
            let detail = "must be array if x-kubernetes-list-type is specified";
            let type_ = fields.get("type").unwrap_or(&Value::Null);
            self.causes
                .push(cause::invalid(format!("{path}.type"), type_, detail));
        }
        match list_type {
            "atomic" | "set" => {}
            "map" if keys.is_none_or(Vec::is_empty) => self.causes.push(cause::required(
                format!("{path}.x-kubernetes-list-map-keys"),
                "must not be empty if x-kubernetes-list-type is map",
            )),
            "map" => self.map_keys(path, fields, keys.into_iter().flatten()),
            other => self.causes.push(cause::unsupported(
                format!("{path}.x-kubernetes-list-type"),
                &other.into(),
                ["atomic", "map", "set"],
            )),
        }
    }

    fn map_keys<'a>(
        &mut self,
        path: &str,
        fields: &Map<String, Value>,
        keys: impl Iterator<Item = &'a Value>,
    ) {
        let properties = fields
            .get("items")
            .and_then(|items| items.get("properties"));
        for (index, key) in keys.enumerate() {
            let known = key.as_str().and_then(|key| properties?.get(key));
            if known.is_none() {
                self.causes.push(cause::invalid(
                    format!("{path}.x-kubernetes-list-map-keys[{index}]"),
                    key,
                    "entries must all be names of item properties",
                ));
            }
        }
    }

    fn extensions(&mut self, path: &str, fields: &Map<String, Value>) {
        let preserve = "x-kubernetes-preserve-unknown-fields";
        if let Some(value) = fields
            .get(preserve)
            .filter(|value| *value == &Value::Bool(false))
        {
            let path = format!("{path}.{preserve}");
            self.causes
                .push(cause::invalid(path, value, "must be true or undefined"));
        }
        let embedded = is_true(fields, "x-kubernetes-embedded-resource");
        if embedded && !is_true(fields, preserve) && !fields.contains_key("properties") {
            self.causes.push(cause::required(
                format!("{path}.properties"),
                "must not be empty if x-kubernetes-embedded-resource is true without \
                 x-kubernetes-preserve-unknown-fields",
            ));
        }
    }

    fn children(&mut self, path: &str, fields: &Map<String, Value>) {
        let properties = fields.get("properties").and_then(Value::as_object);
        let additional = fields.get("additionalProperties");
        if properties.is_some_and(|map| !map.is_empty()) && additional.is_some() {
            self.causes.push(cause::forbidden(
                format!("{path}.additionalProperties"),
                "additionalProperties and properties are mutual exclusive",
            ));
        }
        for (name, document) in properties.into_iter().flatten() {
            self.node(
                &format!("{path}.properties[{name}]"),
                document,
                "object fields",
            );
        }
        if let Some(document) = additional.filter(|document| document.is_object()) {
            self.node(
                &format!("{path}.additionalProperties"),
                document,
                "object fields",
            );
        }
        if let Some(document) = fields.get("items") {
            self.node(&format!("{path}.items"), document, "array items");
        }
    }

    /// Inside `allOf` and the like there may be limits, but nothing that shapes the object.
    fn logic(&mut self, path: &str, fields: &Map<String, Value>) {
        let int_or_string = is_true(fields, "x-kubernetes-int-or-string");
        for name in ["allOf", "anyOf", "oneOf"] {
            let documents = fields.get(name).and_then(Value::as_array);
            for (index, document) in documents.into_iter().flatten().enumerate() {
                self.limits(&format!("{path}.{name}[{index}]"), document, int_or_string);
            }
        }
        if let Some(document) = fields.get("not") {
            self.limits(&format!("{path}.not"), document, int_or_string);
        }
    }

    fn limits(&mut self, path: &str, document: &Value, int_or_string: bool) {
        let Some(fields) = document.as_object() else {
            return;
        };
        let shaping = [
            "additionalProperties",
            "default",
            "description",
            "nullable",
            "type",
        ];
        for name in shaping
            .into_iter()
            .filter(|name| fields.contains_key(*name))
        {
            if !(name == "type" && int_or_string) {
                let path = format!("{path}.{name}");
                self.causes
                    .push(cause::forbidden(path, "must be empty to be structural"));
            }
        }
        self.pattern(path, fields);
        let properties = fields.get("properties").and_then(Value::as_object);
        for (name, document) in properties.into_iter().flatten() {
            self.limits(&format!("{path}.properties[{name}]"), document, false);
        }
        if let Some(document) = fields.get("items") {
            self.limits(&format!("{path}.items"), document, false);
        }
        self.logic(path, fields);
    }
}

fn is_true(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(document: &Value) -> Vec<String> {
        check(document)
            .into_iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect()
    }

    #[test]
    fn every_fault_is_found_with_its_path() {
        let document = json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"labels": {"type": "object"}}},
            "a": {},
            "b": {"type": "strnig"},
            "c": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}},
            "d": {"type": "object", "properties": {"x": {"type": "string", "pattern": "("}},
                "additionalProperties": {"type": "string"}},
            "e": {"type": "string", "anyOf": [{"type": "string"}]}}});
        let found = faults(&document);
        let expected = [
            "openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            "openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields",
            "openAPIV3Schema.properties[b].type: Unsupported value: \"strnig\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
            "openAPIV3Schema.properties[c].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            "openAPIV3Schema.properties[d].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            "openAPIV3Schema.properties[e].anyOf[0].type: Forbidden: must be empty to be structural",
        ];
        for line in expected {
            assert!(
                found.iter().any(|found| found == line),
                "{line}\nnot in {found:#?}"
            );
        }
        let pattern = "openAPIV3Schema.properties[d].properties[x].pattern: Invalid value: \"(\": must be a valid regular expression";
        assert!(found.iter().any(|found| found.starts_with(pattern)));
        assert_eq!(found.len(), expected.len() + 1);
    }

    #[test]
    fn the_root_must_be_an_object() {
        assert_eq!(
            faults(&json!({})),
            ["openAPIV3Schema.type: Required value: must not be empty at the root"]
        );
        assert_eq!(
            faults(&json!({"type": "string"})),
            ["openAPIV3Schema.type: Invalid value: \"string\": must be object at the root"]
        );
    }

    #[test]
    fn what_generators_emit_is_structural() {
        let document = json!({"type": "object", "required": ["spec"], "properties": {
            "metadata": {"type": "object"},
            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"size": {"x-kubernetes-int-or-string": true, "pattern": "^a",
                    "anyOf": [{"type": "integer"}, {"type": "string"}]}}}}});
        assert_eq!(faults(&document), Vec::<String>::new());
    }
}
