//! Namespaces.

use serde_json::{Value, json};

use super::NO_HOOKS;
use super::access::{fill, map, text};
use super::column::{AGE, Col};
use crate::kind::Hooks;
use crate::schema::cause;
use crate::status::Cause;

pub(super) const COLUMNS: &[Col] = &[
    Col::new("Status", "The status of the namespace", |object| {
        text(object, "/status/phase").into()
    }),
    AGE,
];

pub(super) const HOOKS: Hooks = Hooks {
    default: Some(default),
    validate: Some(validate),
    fields: Some(|object| vec![("status.phase", text(object, "/status/phase").to_owned())]),
    no_generation: true,
    ..NO_HOOKS
};

fn default(object: &mut Value) {
    let name = text(object, "/metadata/name").to_owned();
    if !name.is_empty() {
        let metadata = map(object, "metadata");
        if !metadata.get("labels").is_some_and(Value::is_object) {
            metadata.insert("labels".to_owned(), json!({}));
        }
        metadata["labels"]["kubernetes.io/metadata.name"] = name.into();
    }
    if object.pointer("/metadata/deletionTimestamp").is_none() {
        fill(map(object, "spec"), "finalizers", json!(["kubernetes"]));
    }
    fill(map(object, "status"), "phase", "Active");
}

/// Namespace names are DNS labels (RFC 1123), as they become parts of DNS names.
fn validate(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let name = text(object, "/metadata/name");
    if old.is_some() || is_label(name) {
        return Vec::new();
    }
    let detail = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
                  '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
                  '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    vec![cause::invalid("metadata.name", &name.into(), detail)]
}

fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
