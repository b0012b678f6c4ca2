//! Between the form in which an object is stored and the version in which it is asked for.
//!
//! Versions of a CRD differ in `apiVersion` (conversion strategy `None`), and each shows what its own
//! schema knows and fills in. Of the built-in
//! kinds, the two forms of Event share one storage.

mod event;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::kind::{Kind, StoredAs};
use crate::schema;
use crate::store::{Key, Object};

/// How `events.k8s.io/v1` Events are kept: as Events of the core group.
pub(crate) const EVENTS: StoredAs = StoredAs {
    resource: "events",
    to_storage: event::to_core,
    from_storage: event::from_core,
};

/// The name under which a kind's objects are stored.
pub(crate) fn storage_resource(kind: &Kind) -> Arc<str> {
    match kind.hooks.stored_as {
        Some(stored) => stored.resource.into(),
        None => kind.group_resource().into(),
    }
}

/// Where an object of a kind is stored.
pub(crate) fn key(kind: &Kind, namespace: &str, name: &str) -> Key {
    let namespace = if kind.namespaced {
        namespace.into()
    } else {
        String::new()
    };
    Key {
        resource: storage_resource(kind),
        namespace,
        name: name.into(),
    }
}

/// The text of a stored object, where that is what the kind serves.
pub(crate) fn as_stored<'a>(kind: &Kind, stored: &'a Object) -> Option<&'a Bytes> {
    if !kind.is_builtin() {
        // Its definition may show it otherwise than it was stored.
        return None;
    }
    // The fields of an object are stored in their order, so this one comes first.
    let version = stored.text().strip_prefix(b"{\"apiVersion\":\"")?;
    let version = match kind.group.as_bytes() {
        b"" => version,
        group => version.strip_prefix(group)?.strip_prefix(b"/")?,
    };
    let rest = version.strip_prefix(kind.version.as_bytes())?;
    rest.starts_with(b"\"").then(|| stored.text())
}

/// A stored object in the form of a kind.
pub(crate) fn served(kind: &Kind, stored: &Object) -> Value {
    in_form(kind, stored.value())
}

fn in_form(kind: &Kind, mut value: Value) -> Value {
    let api_version = kind.api_version();
    if value["apiVersion"] != api_version.as_str() {
        if let Some(stored_as) = kind.hooks.stored_as {
            (stored_as.from_storage)(&mut value);
        }
        value["apiVersion"] = api_version.into();
    }
    if !kind.is_builtin() {
        // The definition may have changed since the object was stored.
        schema::prune(&kind.schema, &kind.definitions, &mut value);
        schema::apply_defaults(&kind.schema, &kind.definitions, &mut value);
    }
    value
}

/// An object of one kind in the form of another one with the same storage.
pub(crate) fn between(from: &Kind, to: &Kind, value: Value) -> Value {
    in_form(to, stored(from, value))
}

/// An object of a kind in the form to be stored.
pub(crate) fn stored(kind: &Kind, mut value: Value) -> Value {
    if let Some(stored_as) = kind.hooks.stored_as {
        (stored_as.to_storage)(&mut value);
    } else if kind.storage_version != kind.version {
        let storage = Kind::join(&kind.group, &kind.storage_version);
        value["apiVersion"] = storage.into();
    }
    value
}
