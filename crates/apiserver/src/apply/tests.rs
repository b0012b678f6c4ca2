//! Ownership against a model that knows nothing of trees: a table of leaves, each with its value
//! and its owners.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Element, FieldSet, Operation, Owners, Shape, Versions, Writer, fields};
use crate::kind::Kind;
use crate::schema::{Definitions, Schema};

/// A kind with a field of every layout.
static KIND: LazyLock<Kind> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let document = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "text": text,
        "map": {"type": "object", "additionalProperties": text},
        "object": {"type": "object", "properties": {"p": text, "q": text}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic",
            "additionalProperties": text},
        "list": {"type": "array", "items": text},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": text},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"],
                "properties": {"name": text, "x": text, "y": text}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}}});
    let builtin = crate::builtin::kinds().remove(0);
    Kind {
        group: "example.org".into(),
        kind: "Thing".into(),
        status_subresource: false,
        schema: Schema::from_openapi(&document).unwrap(),
        definitions: Arc::new(Definitions::new()),
        ..builtin
    }
});

fn versions() -> Versions<'static> {
    Versions {
        kind: &KIND,
        find: &|_| None,
    }
}

fn thing(spec: &Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Thing", "spec": spec,
           "metadata": {"name": "t", "uid": "1"}})
}

fn config(spec: &Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Thing", "spec": spec, "metadata": {"name": "t"}})
}

/// A spec without anything empty in it.
fn spec() -> impl Strategy<Value = Value> {
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::option::of;
    let text = || "[01]";
    let element = (of(text()), of(text()));
    (
        of(text()),
        of(btree_map("[ab]", text(), 1..3)),
        of((of(text()), text())),
        of(btree_map("[ab]", text(), 1..3)),
        of(vec(text(), 1..3)),
        of(btree_set("[abc]", 1..3)),
        of(btree_map("[abc]", element, 1..4)),
        of(btree_map("[ab]", text(), 1..3)),
    )
        .prop_map(|(text, map, object, whole, list, set, keyed, free)| {
            let keyed = keyed.map(|elements| -> Vec<Value> {
                let element = |(name, (x, y))| json!({"name": name, "x": x, "y": y});
                elements.into_iter().map(element).collect()
            });
            let object = object.map(|(p, q)| json!({"p": p, "q": q}));
            let mut spec = json!({"text": text, "map": map, "object": object, "whole": whole,
                                  "list": list, "set": set, "keyed": keyed, "free": free});
            drop_nulls(&mut spec);
            spec
        })
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// What a client does.
#[derive(Debug, Clone)]
enum Step {
    Apply(&'static str, Value, bool),
    Update(&'static str, Value),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let apply = (
        prop_oneof![Just("a0"), Just("a1"), Just("a2")],
        spec(),
        any::<bool>(),
    );
    let update = (prop_oneof![Just("u0"), Just("u1")], spec());
    let step = prop_oneof![
        3 => apply.prop_map(|(manager, spec, force)| Step::Apply(manager, spec, force)),
        1 => update.prop_map(|(manager, spec)| Step::Update(manager, spec)),
    ];
    proptest::collection::vec(step, 1..8)
}

/// Leaves by path. Elements of keyed lists are leaves too, with no value of their own.
type Leaves = BTreeMap<String, Value>;

fn leaves(spec: &Value) -> Leaves {
    let mut leaves = Leaves::new();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for (field, value) in spec.as_object().into_iter().flatten() {
        match (field.as_str(), value) {
            ("map" | "object" | "free", Value::Object(fields)) => {
                for (name, value) in fields {
                    leaves.insert(format!(".spec.{field}.{name}"), value.clone());
                }
            }
            ("set", Value::Array(items)) => {
                for item in items {
                    leaves.insert(format!(".spec.set[={item}]"), item.clone());
                }
            }
            ("keyed", Value::Array(items)) => {
                for item in items {
                    let element = format!(".spec.keyed[name={:?}]", text(&item["name"]));
                    for (name, value) in item.as_object().unwrap() {
                        leaves.insert(format!("{element}.{name}"), value.clone());
                    }
                    leaves.insert(element, Value::Null);
                }
            }
            _ => {
                leaves.insert(format!(".spec.{field}"), value.clone());
            }
        }
    }
    leaves
}

/// The rules of ownership, leaf by leaf.
#[derive(Debug, Clone, Default)]
struct Model {
    leaves: BTreeMap<String, (Value, BTreeSet<&'static str>)>,
}

impl Model {
    /// Whether the step is done, rather than refused for a conflict.
    fn step(&mut self, step: &Step) -> bool {
        match step {
            Step::Update(manager, spec) => {
                let new = leaves(spec);
                self.leaves.retain(|path, _| new.contains_key(path));
                self.set(manager, new, false);
                true
            }
            Step::Apply(manager, spec, force) => {
                let wanted = leaves(spec);
                let conflict = wanted.iter().any(|(path, value)| {
                    self.leaves.get(path).is_some_and(|(present, owners)| {
                        present != value && owners.iter().any(|owner| owner != manager)
                    })
                });
                if conflict && !force {
                    return false;
                }
                self.abandon(manager, &wanted);
                self.set(manager, wanted, true);
                true
            }
        }
    }

    fn set(&mut self, manager: &'static str, new: Leaves, shares: bool) {
        for (path, value) in new {
            let (present, owners) = self
                .leaves
                .entry(path)
                .or_insert_with(|| (json!("never"), BTreeSet::new()));
            if *present != value {
                *present = value;
                *owners = BTreeSet::from([manager]);
            } else if shares {
                owners.insert(manager);
            }
        }
    }

    fn abandon(&mut self, manager: &'static str, wanted: &Leaves) {
        let mut gone = Vec::new();
        for (path, (_, owners)) in &mut self.leaves {
            if owners.contains(manager) && !wanted.contains_key(path) {
                owners.remove(manager);
                if owners.is_empty() {
                    gone.push(path.clone());
                }
            }
        }
        for path in gone {
            // With an element goes what is in it.
            let inside = format!("{path}.");
            self.leaves
                .retain(|other, _| *other != path && !other.starts_with(&inside));
        }
    }
}

/// The code under test, in the same terms.
#[derive(Debug, Clone)]
struct Server {
    object: Value,
    owners: Owners,
    time: u32,
}

impl Server {
    fn new() -> Self {
        let object = thing(&json!({}));
        Self {
            object,
            owners: Owners::default(),
            time: 0,
        }
    }

    fn step(&mut self, step: &Step) -> bool {
        self.time += 1;
        let time = format!("2026-01-01T00:00:{:02}Z", self.time);
        let writer = |manager| Writer {
            manager,
            subresource: "",
            time: &time,
        };
        match step {
            Step::Update(manager, spec) => {
                let new = thing(spec);
                let writer = writer(manager);
                self.owners.update(&versions(), &self.object, &new, &writer);
                self.object = new;
            }
            Step::Apply(manager, spec, force) => {
                let owners = self.owners.clone();
                let writer = writer(manager);
                // Only an object that nobody has touched has no owner yet.
                let live = if owners.is_empty() {
                    json!({"metadata": {"name": "t"}})
                } else {
                    self.object.clone()
                };
                let Ok((object, owners)) =
                    owners.apply(&versions(), &live, &config(spec), &writer, *force)
                else {
                    return false;
                };
                self.object = object;
                self.object["metadata"]["uid"] = "1".into();
                self.owners = owners;
            }
        }
        true
    }

    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    fn leaves(&self) -> BTreeMap<String, (Value, BTreeSet<&'static str>)> {
        let mut found: BTreeMap<_, _> = leaves(&self.object["spec"])
            .into_iter()
            .map(|(path, value)| (path, (value, BTreeSet::new())))
            .collect();
        for owner in self.owners.iter() {
            let known = ["a0", "a1", "a2", "u0", "u1"];
            let manager = known.into_iter().find(|name| **name == *owner.manager);
            for path in owner.fields.paths() {
                if let Some((_, owners)) = found.get_mut(&path) {
                    owners.insert(manager.unwrap());
                }
            }
        }
        found
    }
}

fn paths_exist(set: &FieldSet, object: &Value) -> bool {
    let mut all = super::typed::everything(Shape::of(&KIND), object);
    let before = set.paths();
    all.intersect(set);
    all.paths() == before
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_sequence_of_writes_gives_what_the_rules_give(steps in steps()) {
        let (mut model, mut server) = (Model::default(), Server::new());
        for step in &steps {
            prop_assert_eq!(server.step(step), model.step(step), "{:?}", step);
            prop_assert_eq!(&server.leaves(), &model.leaves, "{:?}", step);
        }
    }

    #[test]
    fn every_owned_path_exists_and_survives_the_wire(steps in steps()) {
        let mut server = Server::new();
        for step in &steps {
            server.step(step);
            for owner in server.owners.iter() {
                prop_assert!(!owner.fields.is_empty());
                prop_assert!(paths_exist(&owner.fields, &server.object), "{:?}", owner);
            }
            let text = server.owners.to_value();
            let again = Owners::parse(&text).unwrap();
            prop_assert_eq!(&again.to_value(), &text);
        }
    }

    #[test]
    fn applying_again_changes_nothing(steps in steps(), wanted in spec()) {
        let mut server = Server::new();
        server.run(&steps);
        let apply = Step::Apply("a0", wanted, true);
        server.step(&apply);
        let before = server.clone();
        prop_assert!(server.step(&apply));
        prop_assert_eq!(server.object, before.object);
        prop_assert_eq!(server.owners.to_value(), before.owners.to_value());
    }

    #[test]
    fn who_wins_by_force_has_all_that_was_asked_for(steps in steps(), one in spec(), two in spec()) {
        let mut server = Server::new();
        server.run(&steps);
        server.step(&Step::Apply("a0", one.clone(), true));
        server.step(&Step::Apply("a1", two.clone(), true));
        let now = leaves(&server.object["spec"]);
        for (path, value) in leaves(&two) {
            prop_assert_eq!(now.get(&path), Some(&value));
        }
        // The first one keeps what the second did not contradict, and may have it all back.
        server.step(&Step::Apply("a0", one.clone(), true));
        let now = leaves(&server.object["spec"]);
        for (path, value) in leaves(&one) {
            prop_assert_eq!(now.get(&path), Some(&value));
        }
    }

    #[test]
    fn a_manager_that_wants_nothing_more_owns_nothing(steps in steps()) {
        let mut server = Server::new();
        server.run(&steps);
        server.step(&Step::Apply("a0", json!({}), true));
        let own = server.owners.iter().find(|owner| owner.manager == "a0");
        prop_assert_eq!(own.unwrap().fields.paths(), [".spec"]);
    }

    #[test]
    fn sets_are_sets(one in spec(), two in spec()) {
        let set = |spec: &Value| fields(Shape::of(&KIND), &thing(spec));
        let paths = |set: &FieldSet| set.paths().into_iter().collect::<BTreeSet<_>>();
        let (one, two) = (set(&one), set(&two));
        let (ours, theirs) = (paths(&one), paths(&two));
        let mut union = one.clone();
        union.unite(two.clone());
        prop_assert_eq!(paths(&union), &ours | &theirs);
        let mut difference = one.clone();
        difference.subtract(&two);
        prop_assert_eq!(paths(&difference), &ours - &theirs);
        let mut intersection = one.clone();
        intersection.intersect(&two);
        prop_assert_eq!(paths(&intersection), &ours & &theirs);
        prop_assert_eq!(FieldSet::parse(&union.to_value()), Ok(union));
    }

    #[test]
    fn no_text_upsets_the_reader_of_sets(names in proptest::collection::vec("[fkvi.:{}\"a1]{0,9}", 0..6)) {
        let mut value = json!({});
        for name in names {
            value = json!({name: value, "f:x": {}});
        }
        if let Ok(set) = FieldSet::parse(&value) {
            prop_assert_eq!(FieldSet::parse(&set.to_value()), Ok(set));
        }
    }
}

#[test]
fn paths_are_written_as_others_write_them() {
    let value = json!({"f:spec": {"f:containers": {
        "k:{\"name\":\"web\",\"at\":80}": {".": {}, "f:image": {}}, "i:2": {}},
        "f:args": {"v:\"a\"": {}}}});
    let set = FieldSet::parse(&value).unwrap();
    assert_eq!(
        set.paths(),
        [
            ".spec.args[=\"a\"]",
            ".spec.containers[at=80,name=\"web\"]",
            ".spec.containers[at=80,name=\"web\"].image",
            ".spec.containers[2]",
        ]
    );
    let canonical = "{\"f:spec\":{\"f:args\":{\"v:\\\"a\\\"\":{}},\"f:containers\":{\"i:2\":{},\
        \"k:{\\\"at\\\":80,\\\"name\\\":\\\"web\\\"}\":{\".\":{},\"f:image\":{}}}}}";
    assert_eq!(set.to_value().to_string(), canonical);
    assert!(set.has(&[
        Element::Field("spec".into()),
        Element::Field("args".into()),
        Element::Value("\"a\"".into())
    ]));
    for malformed in ["x", "x:1", "k:1", "k:{}", "v:{", "i:-1"] {
        assert!(
            FieldSet::parse(&json!({malformed: {}})).is_err(),
            "{malformed}"
        );
    }
}

#[test]
fn what_becomes_atomic_is_owned_whole() {
    let entry = json!([{"manager": "m", "operation": "Apply", "apiVersion": "example.org/v1",
        "fieldsType": "FieldsV1", "time": "2026-01-01T00:00:00Z",
        "fieldsV1": {"f:spec": {"f:list": {"v:\"a\"": {}}, "f:whole": {"f:a": {}}, "f:text": {}}}}]);
    let mut owners = Owners::parse(&entry).unwrap();
    let state = thing(&json!({"text": "0", "list": ["a"], "whole": {"a": "0"}}));
    let writer = Writer {
        manager: "u",
        subresource: "",
        time: "2026-01-01T00:00:01Z",
    };
    owners.update(&versions(), &state, &state, &writer);
    let owner = owners.iter().next().unwrap();
    assert_eq!(owner.operation, Operation::Apply);
    assert_eq!(
        owner.fields.paths(),
        [".spec.list", ".spec.text", ".spec.whole"]
    );
}

#[test]
fn live_lists_keep_what_is_not_applied_in_its_place() {
    let mut server = Server::new();
    let keyed = |names: &[&str]| {
        let elements: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"keyed": elements})
    };
    server.step(&Step::Apply("a0", keyed(&["a", "b", "c"]), false));
    server.step(&Step::Apply("a1", keyed(&["d", "b"]), false));
    let names: Vec<_> = server.object["spec"]["keyed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|element| element["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "d", "b", "c"]);
}
