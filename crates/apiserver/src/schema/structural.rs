//! Whether a CRD's `openAPIV3Schema` is structural.
//!
//! Every place of the document is either a *node*, which shapes the objects, or stands inside
//! `allOf`, `anyOf`, `oneOf` or `not` and may only limit what the nodes allow: see [`nested`]. What
//! is said of lists is in [`lists`].
//!
//! Rules: Kubernetes documentation, "Specifying a structural schema".

mod lists;
mod nested;

use serde_json::{Map, Value};

use super::{Pattern, Type, cause};
use crate::status::Cause;

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const MAP_TYPE: &str = "x-kubernetes-map-type";

/// JSON Schema's keywords that CRDs do not have.
const UNSUPPORTED: [&str; 6] = [
    "$ref",
    "additionalItems",
    "definitions",
    "dependencies",
    "id",
    "patternProperties",
];

/// Every place where `document` is not structural; the paths start at `openAPIV3Schema`.
pub(super) fn check(document: &Value) -> Vec<Cause> {
    let mut checker = Checker { causes: Vec::new() };
    let root = "openAPIV3Schema";
    checker.node(root, document, Level::Root);
    checker.complete(root, document);
    checker.causes
}

/// What a node is the schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

impl Level {
    fn without_type(self) -> &'static str {
        match self {
            Self::Root => "must not be empty at the root",
            Self::Field => "must not be empty for specified object fields",
            Self::Item => "must not be empty for specified array items",
        }
    }
}

struct Checker {
    causes: Vec<Cause>,
}

impl Checker {
    fn required(&mut self, path: &str, field: &str, detail: &str) {
        self.causes
            .push(cause::required(format!("{path}.{field}"), detail));
    }

    fn forbidden(&mut self, path: &str, field: &str, detail: &str) {
        self.causes
            .push(cause::forbidden(format!("{path}.{field}"), detail));
    }

    fn invalid(&mut self, path: &str, field: &str, value: &Value, detail: &str) {
        self.causes
            .push(cause::invalid(format!("{path}.{field}"), value, detail));
    }

    fn node(&mut self, path: &str, document: &Value, level: Level) {
        let Some(fields) = document.as_object() else {
            self.causes
                .push(cause::invalid(path, document, "must be an object"));
            return;
        };
        self.type_(path, fields, level);
        self.keywords(path, fields);
        self.default(path, fields);
        self.list(path, fields);
        self.map(path, fields);
        self.extensions(path, fields);
        if level == Level::Root || is_true(fields, EMBEDDED) {
            self.envelope(path, fields, level);
        }
        self.children(path, fields, level);
        self.logic(path, fields);
    }

    fn type_(&mut self, path: &str, fields: &Map<String, Value>, level: Level) {
        let type_ = text(fields, "type");
        let int_or_string = is_true(fields, INT_OR_STRING);
        let embedded = "must be object if x-kubernetes-embedded-resource is true";
        if is_true(fields, EMBEDDED) && type_ != "object" {
            self.wrong_type(path, fields, embedded);
        } else if type_.is_empty() {
            if !int_or_string && !is_true(fields, PRESERVE) {
                self.required(path, "type", level.without_type());
            }
        } else if int_or_string {
            let detail = "must be empty if x-kubernetes-int-or-string is true";
            self.wrong_type(path, fields, detail);
        } else if type_ == "null" {
            let detail = "type cannot be set to null, use nullable as an alternative";
            self.forbidden(path, "type", detail);
        } else if Type::from_name(type_).is_none() {
            let known = ["array", "boolean", "integer", "number", "object", "string"];
            self.causes.push(cause::unsupported(
                format!("{path}.type"),
                &type_.into(),
                known,
            ));
        } else if level == Level::Root && type_ != "object" {
            self.wrong_type(path, fields, "must be object at the root");
        }
    }

    /// A type that is missing, or that does not go with something else.
    fn wrong_type(&mut self, path: &str, fields: &Map<String, Value>, detail: &str) {
        match text(fields, "type") {
            "" => self.required(path, "type", detail),
            type_ => self.invalid(path, "type", &type_.into(), detail),
        }
    }

    /// What may not be said anywhere, nested or not.
    fn keywords(&mut self, path: &str, fields: &Map<String, Value>) {
        for name in UNSUPPORTED {
            if is_set(fields, name) {
                self.forbidden(path, name, &format!("{name} is not supported"));
            }
        }
        if is_true(fields, "uniqueItems") {
            let detail =
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.forbidden(path, "uniqueItems", detail);
        }
        if let Some(value) = fields.get(PRESERVE).filter(|value| **value == false) {
            self.invalid(path, PRESERVE, value, "must be true or undefined");
        }
        if fields.get("items").is_some_and(Value::is_array) {
            let detail = "items must be a schema object and not an array";
            self.forbidden(path, "items", detail);
        }
        let pattern = text(fields, "pattern");
        if !pattern.is_empty()
            && let Err(error) = Pattern::new(pattern)
        {
            let detail = format!("must be a valid regular expression, but isn't: {error}");
            self.invalid(path, "pattern", &pattern.into(), &detail);
        }
    }

    fn default(&mut self, path: &str, fields: &Map<String, Value>) {
        if let Some(default) = fields.get("default").filter(|default| default.is_null())
            && !is_true(fields, "nullable")
        {
            let detail = "must not be null unless nullable is true";
            self.invalid(path, "default", default, detail);
        }
    }

    fn map(&mut self, path: &str, fields: &Map<String, Value>) {
        let Some(map_type) = fields.get(MAP_TYPE).filter(|value| !value.is_null()) else {
            return;
        };
        if text(fields, "type") != "object" {
            let detail = "must be object if x-kubernetes-map-type is specified";
            self.wrong_type(path, fields, detail);
        }
        if map_type != "atomic" && map_type != "granular" {
            self.causes.push(cause::unsupported(
                format!("{path}.{MAP_TYPE}"),
                map_type,
                ["atomic", "granular"],
            ));
        }
    }

    fn extensions(&mut self, path: &str, fields: &Map<String, Value>) {
        if is_true(fields, INT_OR_STRING) {
            for name in [PRESERVE, EMBEDDED] {
                if is_true(fields, name) {
                    let detail = "must be false if x-kubernetes-int-or-string is true";
                    self.invalid(path, name, &true.into(), detail);
                }
            }
        }
        if !is_true(fields, EMBEDDED) {
            return;
        }
        if !is_true(fields, PRESERVE) && !is_set(fields, "properties") {
            let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                          x-kubernetes-preserve-unknown-fields";
            self.required(path, "properties", detail);
        }
        if fields.contains_key("additionalProperties") {
            let detail = "must not be used if x-kubernetes-embedded-resource is set";
            self.forbidden(path, "additionalProperties", detail);
        }
    }

    /// What every resource has is implied, and may be restricted only a little.
    fn envelope(&mut self, path: &str, fields: &Map<String, Value>, level: Level) {
        let types = [
            ("apiVersion", "string"),
            ("kind", "string"),
            ("metadata", "object"),
        ];
        for (name, expected) in types {
            let Some(field) = property(fields, name) else {
                continue;
            };
            let type_ = field.get("type").and_then(Value::as_str);
            if let Some(type_) = type_.filter(|type_| !type_.is_empty() && *type_ != expected) {
                let path = format!("{path}.properties[{name}]");
                let detail = format!("must be {expected}");
                self.invalid(&path, "type", &type_.into(), &detail);
            }
        }
        let metadata = property(fields, "metadata").and_then(Value::as_object);
        if level == Level::Root && metadata.is_some_and(says_too_much) {
            self.forbidden(
                path,
                "properties[metadata]",
                "must not specify anything other than name and generateName, but metadata is \
                 implicitly specified",
            );
        }
    }

    fn children(&mut self, path: &str, fields: &Map<String, Value>, level: Level) {
        let properties = fields.get("properties").and_then(Value::as_object);
        self.additional(path, fields, level);
        for (name, document) in properties.into_iter().flatten() {
            let path = format!("{path}.properties[{name}]");
            self.node(&path, document, Level::Field);
        }
        if let Some(document) = fields.get("additionalProperties").filter(|d| d.is_object()) {
            let path = format!("{path}.additionalProperties");
            self.node(&path, document, Level::Field);
        }
        if let Some(document) = fields.get("items").filter(|items| !items.is_array()) {
            self.node(&format!("{path}.items"), document, Level::Item);
        }
    }

    fn additional(&mut self, path: &str, fields: &Map<String, Value>, level: Level) {
        let name = "additionalProperties";
        let Some(additional) = fields.get(name).filter(|value| !value.is_null()) else {
            return;
        };
        if level == Level::Root {
            self.forbidden(path, name, "must not be used at the root");
        }
        if is_set(fields, "properties") && *additional != true {
            let detail = "additionalProperties and properties are mutual exclusive";
            self.forbidden(path, name, detail);
        } else if *additional == false {
            let detail = "additionalProperties cannot be set to false";
            self.forbidden(path, name, detail);
        }
    }
}

/// Whether a schema of `metadata` shapes more than `name` and `generateName`.
fn says_too_much(metadata: &Map<String, Value>) -> bool {
    let shaping = ["additionalProperties", "nullable", PRESERVE, EMBEDDED];
    let fields = metadata.get("properties").and_then(Value::as_object);
    let allowed = |name: &String| matches!(name.as_str(), "name" | "generateName");
    fields.is_some_and(|fields| !fields.keys().all(allowed))
        || shaping.into_iter().any(|name| is_set(metadata, name))
}

fn property<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get("properties")?.get(name)
}

fn is_true(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name) == Some(&Value::Bool(true))
}

/// A text, which is empty where there is none.
fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a field is there and says something: clients write out empty fields as well.
fn is_set(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name).is_some_and(|value| match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Number(_) => true,
    })
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
    fn lists_and_maps_say_what_their_elements_are_told_apart_by() {
        let list = |type_: &str, more: Value| {
            let mut list = json!({"type": "array", "x-kubernetes-list-type": type_});
            list.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            list
        };
        let document = json!({"type": "object", "properties": {
            "a": list("map", json!({"x-kubernetes-list-map-keys": ["k", "l", "o", "l", "none"],
                "items": {"type": "object", "nullable": true, "required": ["l", "o"], "properties": {
                    "k": {"type": "string"}, "l": {"type": "string", "nullable": true},
                    "o": {"type": "object"}}}})),
            "b": list("map", json!({"x-kubernetes-list-map-keys": ["k"], "items": {"type": "string"}})),
            "c": list("set", json!({"items": {"type": "object"}})),
            "d": list("set", json!({"items": {"type": "array", "x-kubernetes-list-type": "set",
                "items": {"type": "string", "nullable": true}}})),
            "e": list("atomic", json!({"x-kubernetes-list-map-keys": ["k"], "items": {"type": "string"}})),
            "f": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-map-keys": ["k"]},
            "g": {"type": "string", "x-kubernetes-map-type": "flat", "x-kubernetes-list-type": "bag"}}});
        let keys = r#"[]interface {}{"k", "l", "o", "l", "none"}"#;
        let expected = [
            format!("a].x-kubernetes-list-map-keys: Invalid value: {keys}: must not contain duplicate entries"),
            format!("a].x-kubernetes-list-map-keys: Invalid value: {keys}: entries must all be names of item properties"),
            "a].items.properties[o].type: Invalid value: \"object\": must be a scalar type if parent array's x-kubernetes-list-type is map".into(),
            "a].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is map".into(),
            "a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property".into(),
            "a].items.properties[l].nullable: Forbidden: this property is in x-kubernetes-list-map-keys, so it cannot be nullable".into(),
            "b].items.type: Invalid value: \"string\": must be object if parent array's x-kubernetes-list-type is map".into(),
            "c].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set".into(),
            "d].items.x-kubernetes-list-type: Invalid value: \"set\": must be atomic as item of a list with x-kubernetes-list-type=set".into(),
            "d].items.items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set".into(),
            "e].x-kubernetes-list-type: Invalid value: \"atomic\": must be map if x-kubernetes-list-map-keys is non-empty".into(),
            "f].x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty".into(),
            "g].type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified".into(),
            "g].x-kubernetes-list-type: Unsupported value: \"bag\": supported values: \"atomic\", \"map\", \"set\"".into(),
            "g].type: Invalid value: \"string\": must be object if x-kubernetes-map-type is specified".into(),
            "g].x-kubernetes-map-type: Unsupported value: \"flat\": supported values: \"atomic\", \"granular\"".into(),
        ]
        .map(|line: String| format!("openAPIV3Schema.properties[{line}"));
        let mut found = faults(&document);
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_of_the_dialect_is_refused_anywhere() {
        for path in ["", ".not"] {
            let keywords = json!({"$ref": "#/x", "additionalItems": {"pattern": "a"}, "id": "x",
                "definitions": {"x": {}}, "dependencies": {"x": ["y"]}, "uniqueItems": true,
                "patternProperties": {"x": {}}});
            let document = match path {
                "" => {
                    let mut document = keywords;
                    document["type"] = "object".into();
                    document
                }
                _ => json!({"type": "object", "not": keywords}),
            };
            let found = faults(&document);
            assert_eq!(found.len(), 7, "{found:#?}");
            let line = format!("openAPIV3Schema{path}.id: Forbidden: id is not supported");
            assert!(found.contains(&line), "{found:#?}");
        }
        let document = json!({"type": "object", "id": "", "definitions": {}, "uniqueItems": false,
            "additionalItems": null, "nullable": false});
        assert_eq!(faults(&document), Vec::<String>::new());
    }

    #[test]
    fn what_is_limited_must_be_shaped_elsewhere() {
        let document = json!({"type": "object",
            "anyOf": [{"properties": {"a": {"minLength": 1}, "b": {"properties": {"c": {}}}}},
                {"properties": {"none": {}}, "required": ["none"]}],
            "not": {"items": {}, "properties": {"metadata": {}}},
            "properties": {"metadata": {"type": "object"}, "a": {"type": "string"},
                "b": {"type": "object"}}});
        let mut found = faults(&document);
        found.sort();
        assert_eq!(
            found,
            [
                "openAPIV3Schema.items: Required value: because it is defined in openAPIV3Schema.not.items",
                "openAPIV3Schema.not.properties[metadata]: Forbidden: must not be specified in a nested context",
                "openAPIV3Schema.properties[b].properties[c]: Required value: because it is defined in openAPIV3Schema.anyOf[0].properties[b].properties[c]",
                "openAPIV3Schema.properties[none]: Required value: because it is defined in openAPIV3Schema.anyOf[1].properties[none]",
            ]
        );
    }

    #[test]
    fn nothing_nested_shapes_the_object() {
        let nested = json!({"type": "object", "description": "d", "default": {}, "nullable": true,
            "additionalProperties": {}, "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-list-type": "set", "x-kubernetes-validations": [{"rule": "true"}]});
        let document = json!({"type": "object", "properties": {"a": {"type": "object",
            "oneOf": [nested]}}});
        let found = faults(&document);
        assert_eq!(found.len(), 8, "{found:#?}");
        let empty = json!({"type": "", "description": "", "nullable": false, "title": ""});
        let document = json!({"type": "object", "allOf": [empty]});
        assert_eq!(faults(&document), Vec::<String>::new());
    }

    #[test]
    fn an_embedded_resource_is_an_object() {
        let embedded = |type_: Value| {
            faults(
                &json!({"type": "object", "properties": {"a": {"type": type_,
                "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true}}}),
            )
        };
        assert_eq!(embedded(json!("object")), Vec::<String>::new());
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        let path = "openAPIV3Schema.properties[a].type";
        assert_eq!(
            embedded(Value::Null),
            [format!("{path}: Required value: {detail}")]
        );
        assert_eq!(
            embedded(json!("array"))[0],
            format!("{path}: Invalid value: \"array\": {detail}")
        );
    }

    #[test]
    fn what_generators_emit_is_structural() {
        let document = json!({"type": "object", "required": ["spec"], "properties": {
            "metadata": {"type": "object"},
            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {
                    "size": {"x-kubernetes-int-or-string": true, "pattern": "^a",
                        "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "port": {"x-kubernetes-int-or-string": true, "allOf": [
                        {"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "^a"}]},
                    "lists": {"type": "array", "x-kubernetes-list-type": "set",
                        "items": {"type": "array", "items": {"type": "string"}}},
                    "selector": {"type": "object", "x-kubernetes-map-type": "atomic"},
                    "ports": {"type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["port", "protocol"],
                        "items": {"type": "object", "required": ["port"], "properties": {
                            "port": {"type": "integer"},
                            "protocol": {"type": "string", "default": "TCP"}}}},
                    "either": {"type": "object", "additionalProperties": {"type": "string"},
                        "oneOf": [{"required": ["a"], "properties": {"a": {"minLength": 1}}},
                            {"required": ["b"]}]}}}}});
        assert_eq!(faults(&document), Vec::<String>::new());
    }
}
