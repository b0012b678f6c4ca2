//! The schemas of a group and version, with all that they refer to.

use serde_json::{Map, Value, json};

use super::{GROUP_VERSION_KIND, group_version_kind, reference};
use crate::kind::Kind;
use crate::schema::{Bounds, Definitions, Logic, Merge, Schema, meta};

type Fields = Map<String, Value>;

/// The schemas by name.
pub(super) fn of(kinds: &[&Kind]) -> Fields {
    let mut schemas = Fields::new();
    for kind in kinds {
        let mut document = render(&kind.schema);
        let definitions = if kind.is_builtin() {
            &*kind.definitions
        } else {
            document["properties"] = with_envelope(document["properties"].take());
            let (metadata, definitions) = meta::object_meta();
            collect(metadata, definitions, &mut schemas);
            definitions
        };
        document[GROUP_VERSION_KIND] = json!([group_version_kind(kind)]);
        if !kind.selectable.is_empty() {
            let field = |path: &String| json!({"fieldPath": path.trim_start_matches('.')});
            let fields: Vec<_> = kind.selectable.iter().map(field).collect();
            document["x-kubernetes-selectable-fields"] = fields.into();
        }
        collect(&kind.schema, definitions, &mut schemas);
        schemas.insert(name(kind), document);
        if kind.hooks.review.is_none() {
            schemas.insert(list_name(kind), list(kind));
        }
    }
    for (name, schema) in meta::shared() {
        if !schemas.contains_key(name) {
            schemas.insert(name.clone(), render(schema));
        }
    }
    schemas
}

/// `io.k8s.api.core.v1.Pod`, or for custom resources the group's domain turned round:
/// `io.kubevirt.cdi.v1beta1.DataVolume`.
pub(super) fn name(kind: &Kind) -> String {
    full_name(kind, &kind.kind)
}

/// The same for a list of the objects: `io.k8s.api.core.v1.PodList`.
pub(super) fn list_name(kind: &Kind) -> String {
    full_name(kind, &kind.list_kind)
}

fn full_name(kind: &Kind, name: &str) -> String {
    if kind.is_builtin() {
        return builtin_name(&kind.group, &kind.version, name);
    }
    let package: Vec<_> = kind.group.rsplit('.').collect();
    format!("{}.{}.{name}", package.join("."), kind.version)
}

/// The name of the schema of something that Kubernetes itself defines.
pub(super) fn builtin_name(group: &str, version: &str, kind: &str) -> String {
    let package = match group.split('.').next().unwrap_or_default() {
        "" => "io.k8s.api.core".to_owned(),
        "apiextensions" => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions".to_owned(),
        group => format!("io.k8s.api.{group}"),
    };
    format!("{package}.{version}.{kind}")
}

/// The schema of a list of objects.
fn list(kind: &Kind) -> Value {
    let list_kind = json!({"group": kind.group, "version": kind.version, "kind": kind.list_kind});
    let items = json!({"type": "array", "description": "The objects.",
        "items": {"allOf": [{"$ref": reference(&name(kind))}]}});
    let mut properties = with_envelope(json!({"items": items}));
    properties["metadata"] = json!({"allOf": [{"$ref": reference(meta::LIST_META)}],
        "description": "Of which moment the list is, and where it goes on."});
    json!({"description": format!("{} is a list of {}.", kind.list_kind, kind.kind),
        "type": "object", "required": ["items"], "properties": properties,
        GROUP_VERSION_KIND: [list_kind]})
}

/// Adds what every object has, for kinds whose own schema need not say it.
fn with_envelope(properties: Value) -> Value {
    let Value::Object(mut properties) = properties else {
        return with_envelope(json!({}));
    };
    properties.insert(
        "apiVersion".to_owned(),
        json!({"type": "string", "description": "Group and version that the object is written in."}),
    );
    properties.insert(
        "kind".to_owned(),
        json!({"type": "string", "description": "What the object is, in CamelCase."}),
    );
    properties.insert(
        "metadata".to_owned(),
        json!({"allOf": [{"$ref": reference(meta::OBJECT_META)}],
            "description": "Name, labels, annotations and the like."}),
    );
    Value::Object(properties)
}

/// Adds the definitions that `schema` refers to, and those that these refer to.
fn collect(schema: &Schema, definitions: &Definitions, schemas: &mut Fields) {
    if let Some(name) = &schema.reference
        && !schemas.contains_key(name)
        && let Some(definition) = definitions.get(name)
    {
        schemas.insert(name.clone(), render(definition));
        collect(definition, definitions, schemas);
    }
    let parts = [
        schema.items.as_deref(),
        schema.additional_properties.as_deref(),
    ];
    for part in parts
        .into_iter()
        .flatten()
        .chain(schema.properties.values())
    {
        collect(part, definitions, schemas);
    }
}

/// One schema as a document.
fn render(schema: &Schema) -> Value {
    let mut fields = Fields::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    set("description", schema.description.clone().map(Value::from));
    if let Some(name) = &schema.reference {
        // Beside a `$ref` nothing else counts, so it is wrapped.
        set("allOf", Some(json!([{"$ref": reference(name)}])));
    }
    set("type", schema.type_.map(|type_| type_.as_str().into()));
    set("format", schema.format.clone().map(Value::from));
    if !schema.properties.is_empty() {
        let properties: Fields = schema
            .properties
            .iter()
            .map(|(name, field)| (name.clone(), render(field)))
            .collect();
        set("properties", Some(properties.into()));
    }
    set(
        "required",
        (!schema.required.is_empty()).then(|| json!(schema.required)),
    );
    set(
        "additionalProperties",
        schema.additional_properties.as_deref().map(render),
    );
    set("items", schema.items.as_deref().map(render));
    set(
        "enum",
        (!schema.enumeration.is_empty()).then(|| json!(schema.enumeration)),
    );
    set("default", schema.default.clone());
    set("nullable", schema.nullable.then_some(true.into()));
    set(
        "pattern",
        schema
            .pattern
            .as_ref()
            .map(|pattern| pattern.as_str().into()),
    );
    extensions(schema, &mut fields);
    if let Some(bounds) = &schema.bounds {
        limits(bounds, &mut fields);
    }
    if let Some(logic) = &schema.logic {
        combinations(logic, &mut fields);
    }
    Value::Object(fields)
}

fn extensions(schema: &Schema, fields: &mut Fields) {
    let flags = [
        // Of the built-in kinds, free-form objects are just objects.
        (
            "preserve-unknown-fields",
            schema.preserve_unknown && schema.reference.is_none(),
        ),
        ("int-or-string", schema.int_or_string),
        ("embedded-resource", schema.embedded_resource),
    ];
    for (name, set) in flags {
        if set {
            fields.insert(format!("x-kubernetes-{name}"), true.into());
        }
    }
    let mut set = |name: &str, value: Value| fields.insert(format!("x-kubernetes-{name}"), value);
    if let Some(list_type) = schema.list_type {
        set("list-type", list_type.as_str().into());
    }
    if !schema.list_map_keys.is_empty() {
        set("list-map-keys", json!(schema.list_map_keys));
    }
    if let Some(atomic) = schema.atomic_map {
        set(
            "map-type",
            if atomic { "atomic" } else { "granular" }.into(),
        );
    }
    if !schema.rules.is_empty() {
        let rules: Vec<_> = schema.rules.iter().map(|rule| &rule.document).collect();
        set("validations", json!(rules));
    }
    if let Some(Merge { key, retain_keys }) = &schema.merge {
        let strategy = if *retain_keys {
            "merge,retainKeys"
        } else {
            "merge"
        };
        set("patch-strategy", strategy.into());
        if let Some(key) = key {
            set("patch-merge-key", (*key).into());
        }
    }
}

fn limits(bounds: &Bounds, fields: &mut Fields) {
    let numbers = [
        ("minimum", bounds.minimum),
        ("maximum", bounds.maximum),
        ("multipleOf", bounds.multiple_of),
    ];
    let counts = [
        ("minLength", bounds.min_length),
        ("maxLength", bounds.max_length),
        ("minItems", bounds.min_items),
        ("maxItems", bounds.max_items),
        ("minProperties", bounds.min_properties),
        ("maxProperties", bounds.max_properties),
    ];
    let flags = [
        ("exclusiveMinimum", bounds.exclusive_minimum),
        ("exclusiveMaximum", bounds.exclusive_maximum),
    ];
    let numbers = numbers
        .into_iter()
        .filter_map(|(name, limit)| Some((name, json!(limit?))));
    let counts = counts
        .into_iter()
        .filter_map(|(name, limit)| Some((name, json!(limit?))));
    let flags = flags
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| (name, json!(true)));
    fields.extend(
        numbers
            .chain(counts)
            .chain(flags)
            .map(|(name, v)| (name.to_owned(), v)),
    );
}

fn combinations(logic: &Logic, fields: &mut Fields) {
    let lists = [
        ("allOf", &logic.all_of),
        ("anyOf", &logic.any_of),
        ("oneOf", &logic.one_of),
    ];
    for (name, schemas) in lists {
        if !schemas.is_empty() {
            fields.insert(name.to_owned(), schemas.iter().map(render).collect());
        }
    }
    if let Some(schema) = &logic.not {
        fields.insert("not".to_owned(), render(schema));
    }
}
