//! Object metadata: what the server fills in, keeps, and checks for every kind alike.

pub mod names;

use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::schema::cause;
use crate::status::Cause;

/// Longest name that `generateName` may lead to, less the random part.
const GENERATED_BASE_MAX: usize = 58;
/// Most bytes of all annotations together.
const ANNOTATIONS_MAX: u64 = 256 * 1024;

/// The text at a JSON pointer, or nothing.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`; empty where there is none.
pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// `metadata.resourceVersion`; empty where the client gave none.
pub fn resource_version(object: &Value) -> &str {
    text(object, "/metadata/resourceVersion")
}

/// Whether deletion has been asked for.
pub fn is_deleting(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(Value::is_string)
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Replaces `metadata.finalizers`.
pub fn set_finalizers(object: &mut Value, finalizers: &[&str]) {
    let metadata = metadata_mut(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), json!(finalizers));
    }
}

/// Takes `metadata.managedFields` out of an object; null where there are none.
pub(crate) fn take_managed_fields(object: &mut Value) -> Value {
    metadata_mut(object)
        .remove("managedFields")
        .unwrap_or_default()
}

/// Puts `metadata.managedFields` into an object, unless there are none.
pub(crate) fn set_managed_fields(object: &mut Value, owners: Value) {
    if owners.as_array().is_some_and(|owners| !owners.is_empty()) {
        metadata_mut(object).insert("managedFields".into(), owners);
    }
}

/// `metadata`, made where it is missing.
pub(crate) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_mut(object, "metadata")
}

/// A field that is an object, made where it is missing or something else.
pub(crate) fn child_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let child = &mut object[field];
    if !child.is_object() {
        *child = json!({});
    }
    #[expect(clippy::expect_used, reason = "made an object above")]
    child.as_object_mut().expect("an object")
}

/// A moment in the form of `metav1.Time`: UTC, whole seconds.
pub fn timestamp(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The present moment as [`timestamp`].
pub fn now() -> String {
    timestamp(jiff::Timestamp::now())
}

/// Gives a new object what the server decides about it, and a name if it asks for one.
pub fn fill_new(object: &mut Value, kind: &Kind, namespace: &str) {
    let metadata = metadata_mut(object);
    metadata.retain(|_, value| !value.is_null());
    for field in [
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
        "generation",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), now().into());
    if !kind.hooks.no_generation {
        metadata.insert("generation".into(), 1.into());
    }
    if kind.namespaced {
        metadata.insert("namespace".into(), namespace.into());
    } else {
        metadata.remove("namespace");
    }
    drop_empty(metadata);
}

fn drop_empty(metadata: &mut Map<String, Value>) {
    metadata.retain(|_, value| {
        !value.as_object().is_some_and(Map::is_empty)
            && !value.as_array().is_some_and(Vec::is_empty)
            && !value.is_null()
    });
}

/// A name made of `metadata.generateName` and five random characters.
pub fn generated_name(base: &str) -> String {
    // No vowels and no look-alikes, so that no words come out.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let end = base.floor_char_boundary(base.len().min(GENERATED_BASE_MAX));
    let random = uuid::Uuid::new_v4();
    let suffix = random
        .as_bytes()
        .iter()
        .take(5)
        .map(|b| char::from(ALPHABET[usize::from(*b) % 27]));
    base[..end].chars().chain(suffix).collect()
}

/// Gives a changed object what clients cannot change about it.
pub fn carry_over(object: &mut Value, old: &Value) {
    const KEPT: [&str; 8] = [
        "name",
        "namespace",
        "uid",
        "generateName",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    let metadata = metadata_mut(object);
    for field in KEPT {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.into(), value.clone()),
            None => metadata.remove(field),
        };
    }
    metadata.insert(
        "resourceVersion".into(),
        old["metadata"]["resourceVersion"].clone(),
    );
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    drop_empty(metadata);
}

/// Raises `metadata.generation`, where the kind has one.
pub fn raise_generation(object: &mut Value) {
    if let Some(generation) = object
        .pointer("/metadata/generation")
        .and_then(Value::as_i64)
    {
        object["metadata"]["generation"] = (generation + 1).into();
    }
}

/// Whether two states differ in more than metadata and status.
pub fn spec_differs(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a != b;
    };
    let described = |field: &str| field != "metadata" && field != "status";
    let differs = |a: &Map<String, Value>, b: &Map<String, Value>| {
        a.iter()
            .any(|(field, value)| described(field) && b.get(field) != Some(value))
    };
    differs(a, b) || differs(b, a)
}

/// Checks the metadata of a new or changed object.
pub fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if old.is_none() {
        validate_name(kind, object, &mut causes);
    }
    validate_labels(object, &mut causes);
    validate_finalizers(object, old, &mut causes);
    validate_owners(object, &mut causes);
    causes
}

fn validate_name(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let rule = if kind.is("", "namespaces") {
        names::dns_label
    } else if kind.is("", "services") {
        names::host_label
    } else if kind.group == "rbac.authorization.k8s.io" {
        names::path_segment
    } else {
        names::subdomain
    };
    let mut check = |field: &str, text: &str, told: &str| {
        let told = Value::from(told);
        let of = |fault: &String| cause::invalid(field, &told, fault);
        causes.extend(rule(text).iter().map(of));
    };
    let base = text(object, "/metadata/generateName");
    if !base.is_empty() {
        // More characters follow, so that a dash is not at the end.
        let begun = match base.strip_suffix('-') {
            Some(front) => format!("{front}a"),
            None => base.to_owned(),
        };
        check("metadata.generateName", &begun, base);
    }
    let name = name(object);
    if name.is_empty() {
        let detail = "name or generateName is required";
        causes.push(cause::required("metadata.name", detail));
    } else {
        check("metadata.name", name, name);
    }
}

fn validate_labels(object: &Value, causes: &mut Vec<Cause>) {
    let entries = |field: &str| {
        let map = object["metadata"].get(field).and_then(Value::as_object);
        map.into_iter().flatten()
    };
    for (key, value) in entries("labels") {
        let faults = names::qualified_name(key);
        let key = Value::from(key.as_str());
        causes.extend(
            faults
                .iter()
                .map(|fault| cause::invalid("metadata.labels", &key, fault)),
        );
        let faults = names::label_value(value.as_str().unwrap_or_default());
        causes.extend(
            faults
                .iter()
                .map(|fault| cause::invalid("metadata.labels", value, fault)),
        );
    }
    let mut size = 0_u64;
    for (key, value) in entries("annotations") {
        size += (key.len() + value.as_str().map_or(0, str::len)) as u64;
        let faults = names::qualified_name(&key.to_lowercase());
        let key = Value::from(key.as_str());
        let of = |fault: &String| cause::invalid("metadata.annotations", &key, fault);
        causes.extend(faults.iter().map(of));
    }
    if size > ANNOTATIONS_MAX {
        causes.push(cause::too_long("metadata.annotations", ANNOTATIONS_MAX));
    }
}

fn validate_finalizers(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let present = finalizers(object);
    for finalizer in &present {
        let value = Value::from(*finalizer);
        let faults = names::qualified_name(finalizer);
        let of = |fault: &String| cause::invalid("metadata.finalizers", &value, fault);
        causes.extend(faults.iter().map(of));
    }
    let Some(old) = old.filter(|old| is_deleting(old)) else {
        return;
    };
    let before = finalizers(old);
    let added: Vec<_> = present.iter().filter(|f| !before.contains(f)).collect();
    if !added.is_empty() {
        let list = added
            .iter()
            .map(|f| format!("{f:?}"))
            .collect::<Vec<_>>()
            .join(", ");
        causes.push(cause::forbidden(
            "metadata.finalizers",
            &format!(
                "no new finalizers can be added if the object is being deleted, found new \
                 finalizers []string{{{list}}}"
            ),
        ));
    }
}

fn validate_owners(object: &Value, causes: &mut Vec<Cause>) {
    let owners = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let mut controllers = 0;
    for (index, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner
                .get(field)
                .and_then(Value::as_str)
                .is_none_or(str::is_empty)
            {
                let path = format!("metadata.ownerReferences[{index}].{field}");
                causes.push(cause::required(path, "must not be empty"));
            }
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        let detail =
            format!("Only one reference can have Controller set to true. Found {controllers}");
        let value = object["metadata"]["ownerReferences"].clone();
        causes.push(cause::invalid("metadata.ownerReferences", &value, &detail));
    }
}
