//! What a schema says of the elements of a list.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Checker, MAP_TYPE, is_true, property, text};
use crate::schema::cause;

const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_KEYS: &str = "x-kubernetes-list-map-keys";

impl Checker {
    pub(super) fn list(&mut self, path: &str, fields: &Map<String, Value>) {
        let items = fields.get("items").filter(|items| !items.is_null());
        let array = text(fields, "type") == "array";
        if array && items.is_none() {
            self.required(path, "items", "must be specified");
        }
        let list_type = fields.get(LIST_TYPE).filter(|value| !value.is_null());
        let keys = fields.get(MAP_KEYS).filter(|keys| **keys != Value::Null);
        if keys
            .and_then(Value::as_array)
            .is_some_and(|keys| !keys.is_empty())
        {
            let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
            match list_type {
                None => self.required(path, LIST_TYPE, detail),
                Some(other) if other != "map" => self.invalid(path, LIST_TYPE, other, detail),
                Some(_) => {}
            }
        }
        let Some(list_type) = list_type else { return };
        if !array {
            let detail = "must be array if x-kubernetes-list-type is specified";
            self.wrong_type(path, fields, detail);
        }
        let items = items.and_then(Value::as_object);
        match list_type.as_str().unwrap_or_default() {
            "atomic" => {}
            "set" => self.set(path, items),
            "map" => self.list_map(path, items, keys.unwrap_or(&Value::Null)),
            _ => self.causes.push(cause::unsupported(
                format!("{path}.{LIST_TYPE}"),
                list_type,
                ["atomic", "map", "set"],
            )),
        }
    }

    /// The elements of a set are compared as a whole.
    fn set(&mut self, path: &str, items: Option<&Map<String, Value>>) {
        let Some(items) = items else { return };
        let path = format!("{path}.items");
        self.not_nullable(&path, items, "set");
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        // Lists are atomic unless they say otherwise, objects are not.
        let (name, unsaid) = match text(items, "type") {
            "array" => (LIST_TYPE, "atomic"),
            "object" => (MAP_TYPE, "granular"),
            _ => return,
        };
        let said = items.get(name).unwrap_or(&Value::Null);
        if said.as_str().unwrap_or(unsaid) != "atomic" {
            self.invalid(&path, name, said, detail);
        }
    }

    fn not_nullable(&mut self, path: &str, items: &Map<String, Value>, list_type: &str) {
        if is_true(items, "nullable") {
            let detail = format!("cannot be nullable when {LIST_TYPE} is {list_type}");
            self.forbidden(path, "nullable", &detail);
        }
    }

    fn list_map(&mut self, path: &str, items: Option<&Map<String, Value>>, keys: &Value) {
        let names: Vec<&str> = keys
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if names.is_empty() {
            let detail = "must not be empty if x-kubernetes-list-type is map";
            self.required(path, MAP_KEYS, detail);
        }
        let Some(items) = items else {
            let detail = "must have a schema if x-kubernetes-list-type is map";
            self.required(path, "items", detail);
            return;
        };
        let path_of_items = format!("{path}.items");
        let type_ = text(items, "type");
        if type_ != "object" {
            let detail = "must be object if parent array's x-kubernetes-list-type is map";
            self.invalid(&path_of_items, "type", &type_.into(), detail);
            return;
        }
        self.not_nullable(&path_of_items, items, "map");
        let mut seen = HashSet::new();
        for name in names {
            if !seen.insert(name) {
                self.invalid(path, MAP_KEYS, keys, "must not contain duplicate entries");
            } else if let Some(key) = property(items, name).and_then(Value::as_object) {
                self.map_key(&path_of_items, items, name, key);
            } else {
                let detail = "entries must all be names of item properties";
                self.invalid(path, MAP_KEYS, keys, detail);
            }
        }
    }

    /// Every element has every key, and its value can be compared.
    fn map_key(
        &mut self,
        path: &str,
        items: &Map<String, Value>,
        name: &str,
        key: &Map<String, Value>,
    ) {
        let path = format!("{path}.properties[{name}]");
        let type_ = text(key, "type");
        if matches!(type_, "array" | "object") {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            self.invalid(&path, "type", &type_.into(), detail);
        }
        let required = items.get("required").and_then(Value::as_array);
        let required = required.is_some_and(|names| names.iter().any(|required| required == name));
        if !required && key.get("default").is_none_or(Value::is_null) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a \
                          default or be a required property";
            self.required(&path, "default", detail);
        }
        if is_true(key, "nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            self.forbidden(&path, "nullable", detail);
        }
    }
}
