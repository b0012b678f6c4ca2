//! Which part of the old state a part of the new state stands for.
//!
//! Fields are found by their name and elements of a list of type `map` by their keys. Elements of
//! other lists, and what is inside an atomic map, have no old state of their own.

use std::collections::HashMap;

use serde_json::Value;

use super::{ListType, Schema};

/// The old state of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Old<'a> {
    pub(super) value: &'a Value,
    /// Whether the new state is the same.
    pub(super) unchanged: bool,
}

impl<'a> Old<'a> {
    /// The old state of a whole.
    pub(super) fn of(new: &Value, value: &'a Value) -> Self {
        let unchanged = new == value;
        Self { value, unchanged }
    }

    /// The old state of a field.
    pub(super) fn field(&self, schema: &Schema, name: &str, new: &Value) -> Option<Self> {
        if schema.atomic_map == Some(true) {
            return None;
        }
        self.value.get(name).map(|old| self.part(new, old))
    }

    /// The old states of the elements of a list.
    pub(super) fn items(&self, schema: &Schema, new: &[Value]) -> Vec<Option<Self>> {
        let old = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        if schema.list_type != Some(ListType::Map) {
            return vec![None; new.len()];
        }
        let name = |item: &Value| keys(schema, item).to_string();
        let known: HashMap<_, _> = old.iter().map(|item| (name(item), item)).collect();
        new.iter()
            .map(|new| known.get(&name(new)).map(|old| self.part(new, old)))
            .collect()
    }

    fn part(&self, new: &Value, old: &'a Value) -> Self {
        Self {
            value: old,
            unchanged: self.unchanged || new == old,
        }
    }
}

/// The identity of an element of a list of type `map`; missing keys count as their default.
pub(super) fn keys(schema: &Schema, item: &Value) -> Value {
    let default = |key: &String| {
        let items = schema.items.as_ref();
        let field = items.and_then(|items| items.properties.get(key));
        field.and_then(|field| field.default.clone())
    };
    let keys = schema.list_map_keys.iter().filter_map(|key| {
        let value = item.get(key).cloned().or_else(|| default(key))?;
        Some((key.clone(), value))
    });
    Value::Object(keys.collect())
}
