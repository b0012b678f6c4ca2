//! What stands inside `allOf`, `anyOf`, `oneOf` and `not`: limits, but nothing that shapes objects.

use serde_json::{Map, Value, json};

use super::{Checker, INT_OR_STRING, is_set, is_true};
use crate::schema::cause;

/// What shapes objects, and how a nested schema must leave it.
const SHAPING: [(&str, &str); 13] = [
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("title", "must be empty to be structural"),
    ("type", "must be empty to be structural"),
    (super::EMBEDDED, "must be false to be structural"),
    (INT_OR_STRING, "must be false to be structural"),
    (
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    ),
    (
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    ),
    (super::MAP_TYPE, "must be undefined to be structural"),
    (super::PRESERVE, "must be false to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

/// Where a value may be false or empty and yet be defined.
const DEFINED: [&str; 2] = ["additionalProperties", "default"];

impl Checker {
    pub(super) fn logic(&mut self, path: &str, fields: &Map<String, Value>) {
        let may_name_types = is_true(fields, INT_OR_STRING);
        let any_of = may_name_types && names_both_types(fields);
        for (place, document) in branches(fields) {
            let path = format!("{path}.{place}");
            if any_of && place.starts_with("anyOf") {
                continue;
            }
            let first = may_name_types && !any_of && place == "allOf[0]";
            self.limits(&path, document, first);
        }
    }

    /// `exempt` schemas may name both types of an int-or-string.
    fn limits(&mut self, path: &str, document: &Value, exempt: bool) {
        let Some(fields) = document.as_object() else {
            return;
        };
        for (name, detail) in SHAPING {
            let defined = DEFINED.contains(&name) && fields.get(name).is_some_and(|v| !v.is_null());
            if defined || is_set(fields, name) {
                self.forbidden(path, name, detail);
            }
        }
        self.keywords(path, fields);
        let properties = fields.get("properties").and_then(Value::as_object);
        for (name, document) in properties.into_iter().flatten() {
            if name == "metadata" {
                let detail = "must not be specified in a nested context";
                self.forbidden(path, "properties[metadata]", detail);
            }
            self.limits(&format!("{path}.properties[{name}]"), document, false);
        }
        if let Some(document) = fields.get("items") {
            self.limits(&format!("{path}.items"), document, false);
        }
        let skip_any_of = exempt && names_both_types(fields);
        for (place, document) in branches(fields) {
            if !(skip_any_of && place.starts_with("anyOf")) {
                self.limits(&format!("{path}.{place}"), document, false);
            }
        }
    }

    /// What the root limits must be shaped somewhere. Kubernetes asks this of the root alone, and
    /// there are definitions that rely on it.
    pub(super) fn complete(&mut self, path: &str, root: &Value) {
        let branches = root.as_object().into_iter().flat_map(branches);
        for (place, limits) in branches {
            self.shaped((path, Some(root)), (&format!("{path}.{place}"), limits));
        }
    }

    /// Whether `node` has a place for everything that is limited.
    fn shaped(&mut self, (path, node): (&str, Option<&Value>), (limited, limits): (&str, &Value)) {
        let Some(node) = node else {
            let detail = format!("because it is defined in {limited}");
            self.causes.push(cause::required(path, &detail));
            return;
        };
        let Some(fields) = limits.as_object() else {
            return;
        };
        for (place, limits) in branches(fields) {
            self.shaped((path, Some(node)), (&format!("{limited}.{place}"), limits));
        }
        if let Some(limits) = fields.get("items").filter(|items| !items.is_null()) {
            let node = node.get("items");
            let path = format!("{path}.items");
            self.shaped((&path, node), (&format!("{limited}.items"), limits));
        }
        let properties = fields.get("properties").and_then(Value::as_object);
        for (name, limits) in properties.into_iter().flatten() {
            let node = node.get("properties").and_then(|map| map.get(name));
            let place = format!("properties[{name}]");
            let path = format!("{path}.{place}");
            self.shaped((&path, node), (&format!("{limited}.{place}"), limits));
        }
    }
}

/// The nested schemas of one place, each with where it stands, such as `allOf[0]`.
fn branches(fields: &Map<String, Value>) -> impl Iterator<Item = (String, &Value)> {
    let lists = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|name| {
        let list = fields.get(name).and_then(Value::as_array);
        let numbered = list.into_iter().flatten().enumerate();
        numbered.map(move |(index, document)| (format!("{name}[{index}]"), document))
    });
    let not = fields
        .get("not")
        .map(|document| ("not".to_owned(), document));
    lists.chain(not)
}

/// Whether `anyOf` says nothing more than that a value is an int or a string.
fn names_both_types(fields: &Map<String, Value>) -> bool {
    fields.get("anyOf") == Some(&json!([{"type": "integer"}, {"type": "string"}]))
}
