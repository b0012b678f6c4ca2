//! Strategic merge patch: a merge patch that knows which lists are merged, and by which key.
//!
//! Semantics: Kubernetes documentation, "Update API objects in place using kubectl patch", and the
//! directives of the API conventions: `$patch`, `$retainKeys`, `$setElementOrder/…` and
//! `$deleteFromPrimitiveList/…`.

use serde_json::{Map, Value};

use crate::schema::{Definitions, Schema};
use crate::status::Status;

type Fields = Map<String, Value>;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// What a map says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

/// Applies `patch` to `original`, an object described by `schema`.
///
/// # Errors
/// 400 `BadRequest` for a patch that contradicts itself or lacks a merge key.
pub fn apply(
    original: &Value,
    patch: &Value,
    schema: &Schema,
    definitions: &Definitions,
) -> Result<Value, Status> {
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else {
        return Err(bad(
            "a strategic merge patch and what it patches must be objects",
        ));
    };
    let merger = Merger { definitions };
    Ok(Value::Object(merger.map(
        original.clone(),
        patch,
        Some(schema),
    )?))
}

struct Merger<'a> {
    definitions: &'a Definitions,
}

impl Merger<'_> {
    fn map(
        &self,
        mut original: Fields,
        patch: &Fields,
        schema: Option<&Schema>,
    ) -> Result<Fields, Status> {
        match directive(patch)? {
            Directive::Merge => {}
            Directive::Delete => return Ok(Fields::new()),
            Directive::Replace => original = Fields::new(),
        }
        retain(&mut original, patch)?;
        let ordered = patch.keys().any(|name| name.starts_with(SET_ORDER));
        let live = if ordered {
            original.clone()
        } else {
            Fields::new()
        };
        let schema = schema.map(|schema| schema.resolve(self.definitions));
        for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
            let field = schema.and_then(|schema| schema.field(name));
            if value.is_null() {
                original.remove(name);
            } else {
                let old = original.remove(name);
                original.insert(name.clone(), self.value(old, value, field)?);
            }
        }
        for (directive, values) in patch {
            if let Some(name) = directive.strip_prefix(DELETE_FROM) {
                delete_values(&mut original, name, values)?;
            }
        }
        for (directive, order) in patch {
            if let Some(name) = directive.strip_prefix(SET_ORDER) {
                let key = schema
                    .and_then(|schema| schema.field(name))
                    .and_then(merge_key);
                let order = Order::new(name, order, key)?;
                order.check(patch.get(name))?;
                order.apply(live.get(name), original.get_mut(name));
            }
        }
        Ok(original)
    }

    /// The new value of a field that `patch` mentions.
    fn value(
        &self,
        original: Option<Value>,
        patch: &Value,
        schema: Option<&Schema>,
    ) -> Result<Value, Status> {
        let merge = schema.and_then(|schema| schema.merge.as_ref());
        Ok(match (original, patch) {
            (Some(Value::Object(original)), Value::Object(patch)) => {
                Value::Object(self.map(original, patch, schema)?)
            }
            (_, Value::Object(patch)) => Value::Object(self.map(Fields::new(), patch, schema)?),
            (original, Value::Array(patch)) => {
                let original = match original {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                };
                Value::Array(match merge {
                    None => patch.clone(),
                    Some(merge) => self.merged(&original, patch, merge.key, schema)?,
                })
            }
            (_, scalar) => scalar.clone(),
        })
    }

    /// Merges a list; its elements come in the order of the patch, as far as it mentions them.
    fn merged(
        &self,
        live: &[Value],
        patch: &[Value],
        key: Option<&'static str>,
        schema: Option<&Schema>,
    ) -> Result<Vec<Value>, Status> {
        let items = schema.and_then(|schema| schema.resolve(self.definitions).items.as_deref());
        let merged = match key {
            Some(key) => self.list(live.to_vec(), patch, key, items)?,
            None => union(live.to_vec(), patch),
        };
        let set = patch.iter().filter(|element| element.get(PATCH).is_none());
        Ok(Order::of("", key, set).sorted(live, merged))
    }

    /// Merges elements of equal key; new ones go to the end.
    fn list(
        &self,
        mut original: Vec<Value>,
        patch: &[Value],
        key: &str,
        items: Option<&Schema>,
    ) -> Result<Vec<Value>, Status> {
        let mut changes = Vec::with_capacity(patch.len());
        let mut replace = false;
        for element in patch {
            let Value::Object(fields) = element else {
                return Err(bad(format!(
                    "an element of a list merged by {key} is not an object"
                )));
            };
            match directive(fields)? {
                Directive::Merge => changes.push((keyed(fields, key)?, fields)),
                Directive::Replace => {
                    replace = true;
                    if fields.contains_key(key) {
                        changes.push((keyed(fields, key)?, fields));
                    }
                }
                Directive::Delete => {
                    let gone = keyed(fields, key)?;
                    original.retain(|element| element.get(key) != Some(gone));
                }
            }
        }
        if replace {
            original.clear();
        }
        for (value, fields) in changes {
            let position = original
                .iter()
                .position(|element| element.get(key) == Some(value));
            let old = match position.map(|position| original[position].take()) {
                Some(Value::Object(old)) => old,
                _ => Fields::new(),
            };
            let merged = Value::Object(self.map(old, fields, items)?);
            match position {
                Some(position) => original[position] = merged,
                None => original.push(merged),
            }
        }
        Ok(original)
    }
}

fn merge_key(schema: &Schema) -> Option<&'static str> {
    schema.merge.as_ref().and_then(|merge| merge.key)
}

fn directive(patch: &Fields) -> Result<Directive, Status> {
    match patch.get(PATCH) {
        None => Ok(Directive::Merge),
        Some(Value::String(name)) if name == "merge" => Ok(Directive::Merge),
        Some(Value::String(name)) if name == "replace" => Ok(Directive::Replace),
        Some(Value::String(name)) if name == "delete" => Ok(Directive::Delete),
        Some(other) => Err(bad(format!("unknown patch type found: {other}"))),
    }
}

/// `$retainKeys`: of a union, only the members that are listed stay.
fn retain(original: &mut Fields, patch: &Fields) -> Result<(), Status> {
    let Some(keys) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let keys = keys
        .as_array()
        .ok_or_else(|| bad("invalid patch format of retainKeys"))?;
    let listed = |name: &str| keys.iter().any(|key| key == name);
    let set = patch
        .iter()
        .filter(|(name, value)| !name.starts_with('$') && !value.is_null());
    for (name, _) in set {
        if !listed(name) {
            return Err(bad(format!(
                "the patch sets {name}, which its $retainKeys does not list"
            )));
        }
    }
    original.retain(|name, _| listed(name));
    Ok(())
}

fn delete_values(original: &mut Fields, name: &str, values: &Value) -> Result<(), Status> {
    let values = values
        .as_array()
        .ok_or_else(|| bad(format!("{DELETE_FROM}{name} must be a list")))?;
    if let Some(Value::Array(items)) = original.get_mut(name) {
        items.retain(|item| !values.contains(item));
    }
    Ok(())
}

/// The order that a patch wants the elements of a merged list to have.
struct Order<'a> {
    field: &'a str,
    key: Option<&'static str>,
    identities: Vec<Value>,
}

impl<'a> Order<'a> {
    fn new(field: &'a str, list: &Value, key: Option<&'static str>) -> Result<Self, Status> {
        let list = list
            .as_array()
            .ok_or_else(|| bad(format!("{SET_ORDER}{field} must be a list")))?;
        Ok(Self::of(field, key, list))
    }

    fn of<'v>(
        field: &'a str,
        key: Option<&'static str>,
        elements: impl IntoIterator<Item = &'v Value>,
    ) -> Self {
        let mut order = Self {
            field,
            key,
            identities: Vec::new(),
        };
        order.identities = elements
            .into_iter()
            .map(|element| order.identity(element).clone())
            .collect();
        order
    }

    /// What tells an element apart: its merge key, or for plain values the element.
    fn identity<'v>(&self, element: &'v Value) -> &'v Value {
        self.key.and_then(|key| element.get(key)).unwrap_or(element)
    }

    fn place(&self, element: &Value) -> Option<usize> {
        self.identities
            .iter()
            .position(|known| known == self.identity(element))
    }

    /// The elements that the patch sets must be listed, in the same order.
    fn check(&self, elements: Option<&Value>) -> Result<(), Status> {
        let elements = elements.and_then(Value::as_array).into_iter().flatten();
        let set = elements.filter(|element| element.get(PATCH).is_none());
        let places: Option<Vec<_>> = set.map(|element| self.place(element)).collect();
        if places.is_some_and(|places| places.is_sorted()) {
            return Ok(());
        }
        let field = self.field;
        Err(bad(format!(
            "the order in the patch's list {field} doesn't match {SET_ORDER}{field}"
        )))
    }

    /// Sorts a list of the object.
    fn apply(&self, live: Option<&Value>, merged: Option<&mut Value>) {
        if let Some(Value::Array(merged)) = merged {
            let live = live.and_then(Value::as_array);
            *merged = self.sorted(live.map_or(&[], Vec::as_slice), std::mem::take(merged));
        }
    }

    /// Sorts `merged`. Elements that are not listed come where they were in the live list, as far
    /// as the listed ones leave room: each before the first listed one that it preceded there.
    fn sorted(&self, live: &[Value], merged: Vec<Value>) -> Vec<Value> {
        let was = |element: &Value| {
            live.iter()
                .position(|other| self.identity(other) == self.identity(element))
        };
        let mut sorted = Vec::with_capacity(merged.len());
        let (mut listed, others): (Vec<_>, Vec<_>) = merged
            .into_iter()
            .partition(|element| self.place(element).is_some());
        listed.sort_by_key(|element| self.place(element));
        let mut others = others.into_iter().peekable();
        for element in listed {
            let position = was(&element);
            while let Some(other) = others.next_if(|other| was(other) < position) {
                sorted.push(other);
            }
            sorted.push(element);
        }
        sorted.extend(others);
        sorted
    }
}

fn union(mut original: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    for value in patch {
        if !original.contains(value) {
            original.push(value.clone());
        }
    }
    original
}

fn keyed<'a>(element: &'a Fields, key: &str) -> Result<&'a Value, Status> {
    element.get(key).ok_or_else(|| {
        let element = Value::Object(element.clone());
        bad(format!(
            "map: {element} does not contain declared merge key: {key}"
        ))
    })
}

fn bad(message: impl Into<String>) -> Status {
    Status::bad_request(message)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::kind::Kind;

    fn pod() -> &'static Kind {
        static POD: LazyLock<Kind> = LazyLock::new(|| {
            crate::builtin::kinds()
                .into_iter()
                .find(|kind| kind.kind == "Pod")
                .unwrap()
        });
        &POD
    }

    fn patched(original: &Value, patch: &Value) -> Result<Value, String> {
        apply(original, patch, &pod().schema, &pod().definitions).map_err(|s| s.message)
    }

    /// Name, original spec, patch of the spec, result.
    fn cases() -> Vec<(&'static str, Value, Value, Value)> {
        vec![
            (
                "maps merge and null deletes",
                json!({"nodeSelector": {"a": "1", "b": "2"}, "hostname": "h"}),
                json!({"nodeSelector": {"b": null, "c": "3"}, "hostname": null, "none": null}),
                json!({"nodeSelector": {"a": "1", "c": "3"}}),
            ),
            (
                "lists merge by key, in the order of the patch",
                json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
                json!({"containers": [{"name": "c"}, {"name": "b", "image": "2"}]}),
                json!({"containers": [{"name": "c"}, {"name": "a", "image": "1"},
                    {"name": "b", "image": "2"}]}),
            ),
            (
                "lists inside merged elements merge too",
                json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}),
                json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]}),
                json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"},
                    {"name": "X", "value": "1"}]}]}),
            ),
            (
                "lists without a merge key are replaced",
                json!({"tolerations": [{"key": "a"}]}),
                json!({"tolerations": [{"key": "b"}]}),
                json!({"tolerations": [{"key": "b"}]}),
            ),
            (
                "elements are deleted by key",
                json!({"volumes": [{"name": "a"}, {"name": "b"}]}),
                json!({"volumes": [{"name": "a", "$patch": "delete"}]}),
                json!({"volumes": [{"name": "b"}]}),
            ),
            (
                "a merged list is replaced on demand",
                json!({"volumes": [{"name": "a"}, {"name": "b"}]}),
                json!({"volumes": [{"$patch": "replace"}, {"name": "c"}]}),
                json!({"volumes": [{"name": "c"}]}),
            ),
            (
                "a map is replaced on demand",
                json!({"nodeSelector": {"a": "1"}}),
                json!({"nodeSelector": {"$patch": "replace", "b": "2"}}),
                json!({"nodeSelector": {"b": "2"}}),
            ),
            (
                "a union keeps what is listed",
                json!({"volumes": [{"name": "a", "emptyDir": {}}]}),
                json!({"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "a",
                    "hostPath": {"path": "/"}}]}),
                json!({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}),
            ),
            (
                "new elements come before those that are not listed",
                json!({"containers": [{"name": "x"}]}),
                json!({"$setElementOrder/containers": [{"name": "n"}],
                    "containers": [{"name": "n"}]}),
                json!({"containers": [{"name": "n"}, {"name": "x"}]}),
            ),
            (
                "elements are ordered, and unknown ones keep their place",
                json!({"containers": [{"name": "a"}, {"name": "x"}, {"name": "b"}]}),
                json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                    "containers": [{"name": "b", "image": "2"}]}),
                json!({"containers": [{"name": "x"}, {"name": "b", "image": "2"}, {"name": "a"}]}),
            ),
        ]
    }

    #[test]
    fn worked_examples() {
        for (name, original, patch, expected) in cases() {
            let found = patched(&json!({"spec": original}), &json!({"spec": patch}));
            assert_eq!(found, Ok(json!({"spec": expected})), "{name}");
        }
    }

    #[test]
    fn lists_of_plain_values() {
        let original = json!({"metadata": {"finalizers": ["a", "b"]}});
        let add = json!({"metadata": {"finalizers": ["b", "c"]}});
        assert_eq!(
            patched(&original, &add),
            Ok(json!({"metadata": {"finalizers": ["a", "b", "c"]}}))
        );
        let change = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"],
            "$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]}});
        assert_eq!(
            patched(&original, &change),
            Ok(json!({"metadata": {"finalizers": ["c", "b"]}}))
        );
    }

    #[test]
    fn faults() {
        let original = json!({"spec": {"containers": [{"name": "a"}]}});
        let cases = [
            (
                json!({"spec": {"containers": [{"image": "x"}]}}),
                "declared merge key: name",
            ),
            (json!({"spec": {"$patch": "mangle"}}), "unknown patch type"),
            (
                json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "secret": {}}]}}),
                "$retainKeys",
            ),
            (
                json!({"spec": {"$setElementOrder/containers": [{"name": "b"}],
                "containers": [{"name": "a"}]}}),
                "doesn't match",
            ),
            (json!([]), "must be objects"),
        ];
        for (patch, expected) in cases {
            let error = patched(&original, &patch).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// An object with containers of distinct names.
    fn containers() -> impl Strategy<Value = Value> {
        proptest::collection::btree_map("[a-e]", "[0-9]", 0..4).prop_map(|images| {
            let list = images
                .into_iter()
                .map(|(name, image)| json!({"name": name, "image": image}));
            json!({"spec": {"containers": list.collect::<Vec<_>>()}})
        })
    }

    proptest! {
        #[test]
        fn an_object_patched_with_itself_stays(object in containers()) {
            prop_assert_eq!(patched(&object, &object), Ok(object));
        }

        #[test]
        fn a_patch_applied_twice_is_the_same_as_once(object in containers(), patch in containers()) {
            let once = patched(&object, &patch).unwrap();
            prop_assert_eq!(patched(&once, &patch), Ok(once));
        }

        #[test]
        fn every_element_of_the_patch_arrives(object in containers(), patch in containers()) {
            let found = patched(&object, &patch).unwrap();
            let found = found["spec"]["containers"].as_array().unwrap();
            for container in patch["spec"]["containers"].as_array().unwrap() {
                prop_assert!(found.contains(container));
            }
        }
    }
}
