//! Pruning, defaulting and validation agree with each other, whatever the schema and the object.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Definitions, Schema, apply_defaults, faults, prune, validate};

/// Fields come from a few names, so that objects meet their schema.
fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "d"])
}

/// A schema of a value that has no parts, with a default that it allows.
fn scalar() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({"type": "string"}),
        json!({"type": "string", "default": "x"}),
        json!({"type": "string", "minLength": 1, "pattern": "^[a-z]*$"}),
        json!({"type": "string", "nullable": true, "default": "y"}),
        json!({"type": "string", "enum": ["x", "y"], "default": "y"}),
        json!({"type": "integer", "minimum": 0, "default": 3}),
        json!({"type": "boolean"}),
        json!({"type": "number", "nullable": true}),
        json!({"x-kubernetes-int-or-string": true, "default": 1,
            "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        json!({"x-kubernetes-preserve-unknown-fields": true}),
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
    ])
}

/// A schema whose objects have these fields.
fn object(fields: Vec<(&'static str, Value)>, required: bool, variant: u8) -> Value {
    let properties: Map<_, _> = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if required {
        // What has a default is there when it is looked for.
        schema["required"] = properties.keys().take(1).cloned().collect();
    }
    match variant {
        0 => schema["x-kubernetes-preserve-unknown-fields"] = true.into(),
        1 => schema["nullable"] = true.into(),
        _ => {}
    }
    schema
}

fn schema() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        let fields = prop::collection::vec((name(), inner.clone()), 0..4);
        prop_oneof![
            (fields, any::<bool>(), 0..4u8)
                .prop_map(|(fields, required, variant)| object(fields, required, variant)),
            inner
                .clone()
                .prop_map(|items| json!({"type": "array", "items": items})),
            inner
                .clone()
                .prop_map(|inner| json!({"type": "object", "additionalProperties": inner})),
            inner.prop_map(
                |inner| json!({"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object",
                    "required": ["k"], "properties": {"k": {"type": "string"}, "a": inner}}})
            ),
        ]
    })
}

/// Any value; most of them do not fit, so [`fitting`] makes others.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1.5),
        json!("x"),
        json!("X"),
        json!({}),
        json!([]),
    ]);
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4).prop_map(|fields| json!(fields)),
        ]
    })
}

/// A value that mostly fits a schema: what is there is chosen by the bits of `seed`.
fn fitting(schema: &Value, seed: &mut u64) -> Value {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let choice = *seed >> 60;
    if schema["nullable"] == true && choice < 3 {
        return Value::Null;
    }
    match schema["type"].as_str() {
        Some("object") => {
            let mut fields = Map::new();
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                if *seed >> 61 != 0 || schema["required"][0] == *name {
                    fields.insert(name.clone(), fitting(field, seed));
                }
            }
            if let Some(values) = schema.get("additionalProperties") {
                fields.insert("free".into(), fitting(values, seed));
            }
            if choice == 7 && schema.get("additionalProperties").is_none() {
                fields.insert("unknown".into(), json!({"more": null}));
            }
            fields.into()
        }
        Some("array") => {
            let count = if schema["x-kubernetes-list-type"].is_null() {
                choice % 3
            } else {
                1
            };
            (0..count)
                .map(|_| fitting(&schema["items"], seed))
                .collect()
        }
        Some("string") => "x".into(),
        Some("boolean") => (choice > 7).into(),
        _ => choice.into(),
    }
}

/// What a write makes of an object before it is validated, and what it does not know.
fn written(schema: &Schema, object: &Value) -> (Value, Vec<String>) {
    let mut object = object.clone();
    let unknown = prune(schema, &Definitions::new(), &mut object);
    apply_defaults(schema, &Definitions::new(), &mut object);
    (object, unknown)
}

/// The schema of a whole object whose `spec` is this.
fn root(spec: &Value) -> Schema {
    let document = json!({"type": "object", "properties": {"spec": spec}});
    let causes = faults(&document);
    assert!(causes.is_empty(), "{document}: {causes:?}");
    super::read(document)
}

fn is_valid(schema: &Schema, object: &Value) -> bool {
    validate(schema, &Definitions::new(), object, None).is_empty()
}

proptest! {
    /// A second write of the same changes nothing, knows everything, and finds no new fault.
    #[test]
    fn a_second_pass_changes_nothing(spec in schema(), value in value()) {
        let schema = root(&spec);
        let (once, _) = written(&schema, &json!({"spec": value}));
        let (twice, unknown) = written(&schema, &once);
        prop_assert_eq!(&once, &twice);
        prop_assert_eq!(unknown, Vec::<String>::new());
    }

    /// What an unchanged object had wrong before is not held against it now.
    #[test]
    fn an_unchanged_object_has_no_faults(spec in schema(), value in value()) {
        let schema = root(&spec);
        let object = json!({"spec": value});
        let causes = validate(&schema, &Definitions::new(), &object, Some(&object));
        prop_assert!(causes.is_empty(), "{:?}", causes);
    }

    /// Neither pruning nor defaults make a valid object invalid.
    #[test]
    fn a_valid_object_stays_valid(spec in schema(), value in value(), mut seed in any::<u64>()) {
        let schema = root(&spec);
        for value in [value, fitting(&spec, &mut seed)] {
            let object = json!({"spec": value});
            let (after, _) = written(&schema, &object);
            prop_assert!(!is_valid(&schema, &object) || is_valid(&schema, &after), "{after}");
        }
    }

    /// An object of the schema's shape is valid, and loses only what the schema does not know.
    #[test]
    fn an_object_of_the_schemas_shape_is_valid(spec in schema(), mut seed in any::<u64>()) {
        let schema = root(&spec);
        let object = json!({"spec": fitting(&spec, &mut seed)});
        let (after, unknown) = written(&schema, &object);
        prop_assert!(is_valid(&schema, &after), "{after}");
        prop_assert!(unknown.iter().all(|path| path.ends_with("unknown")), "{unknown:?}");
    }
}
