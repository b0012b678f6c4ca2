//! The formats against small models of their rules, and against garbage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Patch;
use crate::kind::Kind;
use crate::status::Status;

static POD: LazyLock<Kind> = LazyLock::new(|| {
    let mut kinds = crate::builtin::kinds().into_iter();
    kinds.find(|kind| kind.kind == "Pod").unwrap()
});

fn patched(media_type: &str, patch: &Value, present: &Value) -> Option<Value> {
    let media_type = format!("application/{media_type}+json");
    let patch = Patch::parse(&POD, &media_type, patch.to_string().as_bytes()).unwrap();
    Some(patch.apply(&POD, present).ok()?.value)
}

/// Any small document.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[ab]".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-c]", document(), 0..4)
        .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into())
}

/// RFC 7386, section 2.
fn merge(target: Option<Value>, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut fields = match target {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    for (name, value) in patch {
        let old = fields.remove(name);
        if !value.is_null() {
            fields.insert(name.clone(), merge(old, value));
        }
    }
    fields.into()
}

fn operation() -> impl Strategy<Value = Value> {
    let path = || {
        let token = prop_oneof![3 => "[a-c]", 2 => "[0-3]", 1 => Just("-".to_owned())];
        proptest::collection::vec(token, 1..4).prop_map(|path| format!("/{}", path.join("/")))
    };
    let name = prop_oneof![
        Just("add"),
        Just("remove"),
        Just("replace"),
        Just("move"),
        Just("copy"),
        Just("test")
    ];
    (name, path(), path(), document()).prop_map(
        |(name, path, from, value)| json!({"op": name, "path": path, "from": from, "value": value}),
    )
}

/// RFC 6902, section 4, for paths of at least one step.
fn change(root: &mut Value, operation: &Value) -> Option<()> {
    let tokens = |field: &str| -> Vec<String> {
        let path = operation[field].as_str().unwrap();
        path.split('/').skip(1).map(ToOwned::to_owned).collect()
    };
    let (path, from) = (tokens("path"), tokens("from"));
    let value = operation["value"].clone();
    match operation["op"].as_str().unwrap() {
        "add" => add(root, &path, value),
        "remove" => take(root, &path).map(drop),
        "replace" => {
            *find(root, &path)? = value;
            Some(())
        }
        "move" if path == from => find(root, &from).map(drop),
        "move" if path.starts_with(&from) => None,
        "move" => {
            let value = take(root, &from)?;
            add(root, &path, value)
        }
        "copy" => {
            let value = find(root, &from)?.clone();
            add(root, &path, value)
        }
        _ => (*find(root, &path)? == value).then_some(()),
    }
}

fn find<'a>(root: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(root, |node, token| match node {
        Value::Object(fields) => fields.get_mut(token),
        Value::Array(items) => items.get_mut(token.parse::<usize>().ok()?),
        _ => None,
    })
}

fn add(root: &mut Value, path: &[String], value: Value) -> Option<()> {
    let (last, parents) = path.split_last()?;
    match find(root, parents)? {
        Value::Object(fields) => {
            fields.insert(last.clone(), value);
        }
        Value::Array(items) => {
            let index = if last == "-" {
                items.len()
            } else {
                last.parse().ok()?
            };
            if index > items.len() {
                return None;
            }
            items.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(root: &mut Value, path: &[String]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    match find(root, parents)? {
        Value::Object(fields) => fields.remove(last),
        Value::Array(items) => {
            let index = last.parse().ok().filter(|index| *index < items.len())?;
            Some(items.remove(index))
        }
        _ => None,
    }
}

/// What a strategic merge patch can say of one container.
#[derive(Debug, Clone)]
enum Edit {
    Delete,
    /// The image, and variables to set or to delete.
    Merge(Option<String>, BTreeMap<String, Option<String>>),
}

/// What a strategic merge patch can say of a Pod.
#[derive(Debug, Clone)]
struct Edits {
    texts: BTreeMap<String, Option<String>>,
    labels: BTreeMap<String, Option<String>>,
    replaces_labels: bool,
    containers: BTreeMap<String, Edit>,
    replaces_containers: bool,
    tolerations: Option<BTreeSet<String>>,
    finalizers: BTreeSet<String>,
    no_finalizers: BTreeSet<String>,
}

fn edits() -> impl Strategy<Value = Edits> {
    use proptest::collection::{btree_map, btree_set};
    use proptest::option::of;
    let edit = prop_oneof![
        1 => Just(Edit::Delete),
        3 => (of("[0-2]"), btree_map("[XY]", of("[0-2]"), 0..3))
            .prop_map(|(image, env)| Edit::Merge(image, env)),
    ];
    (
        btree_map("hostname|subdomain", of("[ab]"), 0..3),
        btree_map("[a-c]", of("[01]"), 0..3),
        proptest::bool::weighted(0.2),
        btree_map("[a-d]", edit, 0..4),
        proptest::bool::weighted(0.2),
        of(btree_set("[ab]", 0..3)),
        btree_set("[a-c]", 0..3),
        btree_set("[a-c]", 0..3),
    )
        .prop_map(
            |(
                texts,
                labels,
                replaces_labels,
                containers,
                replaces_containers,
                tolerations,
                finalizers,
                no,
            )| {
                let no_finalizers = &no - &finalizers;
                Edits {
                    texts,
                    labels,
                    replaces_labels,
                    containers,
                    replaces_containers,
                    tolerations,
                    finalizers,
                    no_finalizers,
                }
            },
        )
}

impl Edits {
    fn patch(&self) -> Value {
        let mut containers: Vec<Value> = self
            .containers
            .iter()
            .map(|(name, edit)| match edit {
                Edit::Delete => json!({"name": name, "$patch": "delete"}),
                Edit::Merge(image, env) => {
                    let variable = |(name, value): (&String, &Option<String>)| match value {
                        Some(value) => json!({"name": name, "value": value}),
                        None => json!({"name": name, "$patch": "delete"}),
                    };
                    let env: Vec<_> = env.iter().map(variable).collect();
                    let mut container = json!({"name": name, "env": env});
                    if let Some(image) = image {
                        container["image"] = image.as_str().into();
                    }
                    container
                }
            })
            .collect();
        if self.replaces_containers {
            containers.push(json!({"$patch": "replace"}));
        }
        let mut labels = json!(self.labels);
        if self.replaces_labels {
            labels["$patch"] = "replace".into();
        }
        let mut patch = json!({
            "metadata": {"labels": labels, "finalizers": self.finalizers,
                         "$deleteFromPrimitiveList/finalizers": self.no_finalizers},
            "spec": {"containers": containers},
        });
        for (name, text) in &self.texts {
            patch["spec"][name] = json!(text);
        }
        if let Some(keys) = &self.tolerations {
            patch["spec"]["tolerations"] = keys.iter().map(|key| json!({"key": key})).collect();
        }
        patch
    }
}

/// A Pod as tables.
#[derive(Debug, Clone, Default, PartialEq)]
struct Table {
    texts: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    containers: BTreeMap<String, (Option<String>, BTreeMap<String, String>)>,
    tolerations: BTreeSet<String>,
    finalizers: BTreeSet<String>,
}

impl Table {
    fn edit(&mut self, edits: &Edits) {
        set(&mut self.texts, &edits.texts);
        if edits.replaces_labels {
            self.labels.clear();
        }
        if edits.replaces_containers {
            self.containers.clear();
        }
        set(&mut self.labels, &edits.labels);
        for (name, edit) in &edits.containers {
            match edit {
                Edit::Delete => drop(self.containers.remove(name)),
                Edit::Merge(image, env) => {
                    let (present, variables) = self.containers.entry(name.clone()).or_default();
                    if image.is_some() {
                        present.clone_from(image);
                    }
                    set(variables, env);
                }
            }
        }
        if let Some(keys) = &edits.tolerations {
            self.tolerations.clone_from(keys);
        }
        self.finalizers.extend(edits.finalizers.iter().cloned());
        self.finalizers = &self.finalizers - &edits.no_finalizers;
    }

    fn read(pod: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let optional = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let container = |container: &Value| {
            let env = items(&container["env"]);
            let env = env.iter().map(|e| (text(&e["name"]), text(&e["value"])));
            (
                text(&container["name"]),
                (optional(&container["image"]), env.collect()),
            )
        };
        let labels = pod["metadata"]["labels"].as_object();
        Self {
            texts: ["hostname", "subdomain"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), optional(&pod["spec"][name])?)))
                .collect(),
            labels: labels
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), text(v)))
                .collect(),
            containers: items(&pod["spec"]["containers"])
                .iter()
                .map(container)
                .collect(),
            tolerations: items(&pod["spec"]["tolerations"])
                .iter()
                .map(|t| text(&t["key"]))
                .collect(),
            finalizers: items(&pod["metadata"]["finalizers"])
                .iter()
                .map(text)
                .collect(),
        }
    }
}

fn set(table: &mut BTreeMap<String, String>, changes: &BTreeMap<String, Option<String>>) {
    for (name, value) in changes {
        match value {
            Some(value) => drop(table.insert(name.clone(), value.clone())),
            None => drop(table.remove(name)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_sequence_of_merge_patches_gives_what_the_rfc_gives(
        start in object(), patches in proptest::collection::vec(object(), 1..4),
    ) {
        let (mut expected, mut found) = (start.clone(), start);
        for patch in &patches {
            expected = merge(Some(expected), patch);
            found = patched("merge-patch", patch, &found).unwrap();
            prop_assert_eq!(&found, &expected);
        }
    }

    #[test]
    fn a_json_patch_does_all_of_its_steps_or_nothing(
        start in object(), operations in proptest::collection::vec(operation(), 1..5),
    ) {
        let mut expected = start.clone();
        let done = operations.iter().all(|operation| change(&mut expected, operation).is_some());
        let found = patched("json-patch", &operations.into(), &start);
        prop_assert_eq!(found, done.then_some(expected));
    }

    #[test]
    fn any_sequence_of_strategic_patches_gives_what_the_rules_give(
        sequence in proptest::collection::vec(edits(), 1..5),
    ) {
        let (mut table, mut pod) = (Table::default(), json!({"metadata": {}, "spec": {}}));
        for edits in &sequence {
            table.edit(edits);
            pod = patched("strategic-merge-patch", &edits.patch(), &pod).unwrap();
            prop_assert_eq!(&Table::read(&pod), &table, "{}", pod);
        }
    }

    #[test]
    fn the_listed_order_counts_and_others_keep_theirs(
        live in proptest::sample::subsequence(vec!["a", "b", "c", "d", "e"], 0..=5).prop_shuffle(),
        order in proptest::sample::subsequence(vec!["a", "b", "c", "d", "f"], 0..=5).prop_shuffle(),
    ) {
        let list = |names: &[&str]| -> Value {
            names.iter().map(|name| json!({"name": name})).collect()
        };
        let pod = json!({"spec": {"containers": list(&live)}});
        let patch = json!({"spec": {"$setElementOrder/containers": list(&order),
                                    "containers": list(&order)}});
        let found = patched("strategic-merge-patch", &patch, &pod).unwrap();
        let names: Vec<_> = found["spec"]["containers"].as_array().unwrap().iter()
            .map(|container| container["name"].as_str().unwrap()).collect();
        let of = |wanted: &dyn Fn(&&str) -> bool| -> Vec<&str> {
            names.iter().copied().filter(wanted).collect()
        };
        prop_assert_eq!(of(&|name| order.contains(name)), order.clone());
        let others: Vec<_> = live.iter().copied().filter(|name| !order.contains(name)).collect();
        prop_assert_eq!(of(&|name| !order.contains(name)), others);
    }

    #[test]
    fn no_patch_upsets_the_server(patch in document(), present in object(), directive in "[$a-z/]{0,12}") {
        let directives = json!({"spec": {"containers": [{"name": patch, directive.clone(): patch}],
            directive: patch, "$setElementOrder/containers": patch, "$retainKeys": patch}});
        let pod = json!({"spec": {"containers": [{"name": present}, present], "volumes": present}});
        for media_type in ["json-patch", "merge-patch", "strategic-merge-patch"] {
            for patch in [&patch, &directives, &json!([patch])] {
                let media_type = format!("application/{media_type}+json");
                if let Ok(patch) = Patch::parse(&POD, &media_type, patch.to_string().as_bytes()) {
                    let _ = patch.apply(&POD, &pod);
                }
            }
        }
    }
}

fn stepwise(operations: &Value) -> Result<Value, Status> {
    let kind = &crate::builtin::kinds()[0];
    let body = operations.to_string();
    let patch = Patch::parse(kind, "application/json-patch+json", body.as_bytes())?;
    let present = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    Ok(patch.apply(kind, &present)?.value)
}

#[test]
fn a_step_that_fails_is_named() {
    let steps = json!([
        {"op": "copy", "from": "/data/k", "path": "/data/l"},
        {"op": "test", "path": "/data/l", "value": "v"},
    ]);
    assert_eq!(
        stepwise(&steps).unwrap()["data"],
        json!({"k": "v", "l": "v"})
    );
    let mut steps = steps;
    steps[1]["value"] = "w".into();
    let refused = stepwise(&steps).unwrap_err();
    assert!(
        refused.message.contains("operation '/1' failed"),
        "{refused}"
    );
}

#[test]
fn what_is_moved_into_what_is_moved_does_not_become_endlessly_deep() {
    let nest = (0..50).fold(json!({}), |inner, _| json!({"k": inner}));
    let inside = format!("/w{}/x", "/k".repeat(50));
    let round = [
        json!({"op": "add", "path": "/w", "value": nest}),
        json!({"op": "move", "from": "/data", "path": inside}),
        json!({"op": "move", "from": "/w", "path": "/data"}),
    ];
    let rounds: Vec<_> = (0..3000).flat_map(|_| round.clone()).collect();
    let refused = stepwise(&rounds.into()).unwrap_err();
    assert!(refused.message.contains("depth"), "{refused}");
}

#[test]
fn copies_of_copies_do_not_fill_the_memory() {
    let double = |n| json!({"op": "copy", "from": "/data", "path": format!("/data/{n}")});
    let refused = stepwise(&(0..64).map(double).collect()).unwrap_err();
    assert_eq!(refused.code, StatusCode::PAYLOAD_TOO_LARGE);
}
