//! Schema documents → [`Schema`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Bounds, ListType, Logic, Pattern, Rule, Schema, Type, rules};

/// Reads a document that is known to be sound; what is not understood is left out.
pub(crate) fn read(document: Value) -> Schema {
    let mut schema = node(document);
    rules::parse(&mut schema);
    schema
}

fn node(document: Value) -> Schema {
    let Value::Object(mut fields) = document else {
        return Schema::default();
    };
    let fields = &mut fields;
    let schema = Schema {
        reference: reference(fields),
        description: string(fields, "description"),
        type_: string(fields, "type").and_then(|name| Type::from_name(&name)),
        format: string(fields, "format"),
        properties: match fields.remove("properties") {
            Some(Value::Object(map)) => map.into_iter().map(|(k, v)| (k, node(v))).collect(),
            _ => BTreeMap::new(),
        },
        required: strings(fields, "required"),
        additional_properties: additional_properties(fields),
        items: fields.remove("items").map(|items| Box::new(node(items))),
        enumeration: list(fields, "enum"),
        default: fields.remove("default"),
        nullable: flag(fields, "nullable"),
        pattern: string(fields, "pattern").and_then(|source| Pattern::new(&source).ok()),
        bounds: bounds(fields),
        logic: logic(fields),
        preserve_unknown: flag(fields, "x-kubernetes-preserve-unknown-fields"),
        int_or_string: flag(fields, "x-kubernetes-int-or-string"),
        embedded_resource: flag(fields, "x-kubernetes-embedded-resource"),
        list_type: string(fields, "x-kubernetes-list-type").and_then(|name| match name.as_str() {
            "atomic" => Some(ListType::Atomic),
            "set" => Some(ListType::Set),
            "map" => Some(ListType::Map),
            _ => None,
        }),
        list_map_keys: strings(fields, "x-kubernetes-list-map-keys"),
        atomic_map: string(fields, "x-kubernetes-map-type").map(|name| name == "atomic"),
        merge: None,
        rules: list(fields, "x-kubernetes-validations")
            .into_iter()
            .map(Rule::read)
            .collect(),
        has_rules: false,
    };
    let mut below = schema
        .properties
        .values()
        .chain(schema.additional_properties.as_deref())
        .chain(schema.items.as_deref());
    Schema {
        has_rules: !schema.rules.is_empty() || below.any(|schema| schema.has_rules),
        ..schema
    }
}

fn reference(fields: &mut Map<String, Value>) -> Option<String> {
    let reference = string(fields, "$ref")?;
    Some(reference.rsplit('/').next().unwrap_or_default().to_owned())
}

/// `additionalProperties` may be a schema or `true`, which means anything.
fn additional_properties(fields: &mut Map<String, Value>) -> Option<Box<Schema>> {
    match fields.remove("additionalProperties")? {
        Value::Bool(true) => Some(Box::new(Schema {
            preserve_unknown: true,
            ..Schema::default()
        })),
        schema @ Value::Object(_) => Some(Box::new(node(schema))),
        _ => None,
    }
}

fn bounds(fields: &Map<String, Value>) -> Option<Box<Bounds>> {
    let float = |name: &str| fields.get(name).and_then(Value::as_f64);
    let count = |name: &str| fields.get(name).and_then(Value::as_u64);
    let flag = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    };
    let bounds = Bounds {
        minimum: float("minimum"),
        maximum: float("maximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: float("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
    };
    (bounds != Bounds::default()).then(|| Box::new(bounds))
}

fn logic(fields: &mut Map<String, Value>) -> Option<Box<Logic>> {
    let mut schemas = |name: &str| {
        list(fields, name)
            .into_iter()
            .map(node)
            .collect::<Vec<Schema>>()
    };
    let logic = Logic {
        all_of: schemas("allOf"),
        any_of: schemas("anyOf"),
        one_of: schemas("oneOf"),
        not: fields.remove("not").map(node),
    };
    (logic != Logic::default()).then(|| Box::new(logic))
}

fn flag(fields: &Map<String, Value>, name: &str) -> bool {
    fields
        .get(name)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

fn string(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    match fields.remove(name)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn list(fields: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match fields.remove(name) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn strings(fields: &mut Map<String, Value>, name: &str) -> Vec<String> {
    let text = |value| {
        if let Value::String(text) = value {
            Some(text)
        } else {
            None
        }
    };
    list(fields, name).into_iter().filter_map(text).collect()
}
