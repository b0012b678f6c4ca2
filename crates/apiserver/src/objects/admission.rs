//! What objects get, and what they are refused, because of other objects: the defaults and bounds
//! of `LimitRange`s, the priority of a class, the room that `ResourceQuota`s leave, the default
//! storage class, a token of their account.

mod furnish;
mod limits;
mod priority;
mod quota;

use std::sync::Arc;

use serde_json::Value;

use super::{Call, Objects, Part};
use crate::meta;
use crate::status::Status;
use crate::store::Object;
pub(crate) use quota::Turns;

impl Objects {
    /// Completes a new object.
    pub(super) fn complete(&self, call: &Call, object: &mut Value) -> Result<(), Status> {
        if call.kind.is("", "pods") {
            for range in self.in_namespace("limitranges", &call.namespace) {
                limits::fill(object, &range.value());
            }
            self.prioritize(call, object)?;
        }
        self.furnish(&call.kind, object);
        Ok(())
    }

    /// Checks a complete object, or the new state of an old one, against what else there is.
    pub(super) fn check_bounds(
        &self,
        call: &Call,
        object: &Value,
        is_new: bool,
    ) -> Result<(), Status> {
        let kind = &call.kind;
        let bounded = kind.is("", "pods") && is_new || kind.is("", "persistentvolumeclaims");
        if bounded && call.part == Part::Main && !meta::is_deleting(object) {
            for range in self.in_namespace("limitranges", &call.namespace) {
                if let Some(why) = limits::fault(kind, object, &range.value()) {
                    return Err(Status::forbidden(kind, name(object), &why));
                }
            }
        }
        if kind.is("scheduling.k8s.io", "priorityclasses") {
            self.check_default_class(call, object)?;
        }
        Ok(())
    }

    fn in_namespace(&self, resource: &str, namespace: &str) -> Vec<Arc<Object>> {
        self.store.list(resource, Some(namespace))
    }
}

/// The name by which a refusal calls an object that may not have one yet.
fn name(object: &Value) -> &str {
    match meta::name(object) {
        "" => meta::text(object, "/metadata/generateName"),
        name => name,
    }
}
