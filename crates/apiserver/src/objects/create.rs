//! Creation.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::{Call, Document, Objects, Origin, decode, refused, special};
use crate::convert;
use crate::extend::Operation;
use crate::kind::Kind;
use crate::meta;
use crate::registry::crd;
use crate::status::Status;
use crate::store::{Object, Write, WriteError};

/// How often another random name is tried when one is taken.
const NAME_ATTEMPTS: usize = 8;

impl Objects {
    /// Stores a new object, and returns it as it is stored.
    pub(crate) async fn create(
        &self,
        call: &mut Call,
        document: Document,
    ) -> Result<Arc<Object>, Status> {
        self.create_from(call, Origin::Replacement, document).await
    }

    /// Stores a new object that comes from a request of some origin.
    pub(super) async fn create_from(
        &self,
        call: &mut Call,
        origin: Origin,
        document: Document,
    ) -> Result<Arc<Object>, Status> {
        let kind = Arc::clone(&call.kind);
        let mut object = decode::conform(&kind, document, call.validation, &mut call.warnings)?;
        check_identity(call, &object)?;
        self.check_home(&kind, &call.namespace, meta::name(&object))?;
        let pattern = meta::text(&object, "/metadata/generateName").to_owned();
        let generated = meta::name(&object).is_empty() && !pattern.is_empty();

        let claimed = meta::take_managed_fields(&mut object);
        meta::fill_new(&mut object, &kind, &call.namespace);
        special::fill_new(&kind, &mut object);
        if let Some(default) = kind.hooks.default {
            default(&mut object);
        }
        self.complete(call, &mut object)?;
        let owners = match origin {
            Origin::Apply => claimed,
            Origin::Replacement | Origin::Patch => self.owners_of_new(call, &object, &claimed),
        };
        meta::set_managed_fields(&mut object, owners);
        for _ in 0..NAME_ATTEMPTS {
            if generated {
                object["metadata"]["name"] = meta::generated_name(&pattern).into();
            }
            let mut object = object.clone();
            special::name_new(&kind, &mut object);
            super::validate(&kind, &object, None)?;
            self.check_bounds(call, &object, true)?;
            self.admit(call, Operation::Create, Some(&object), None)?;
            let charge = self.charge(call, &object, None).await?;
            let written = self.store_new(call, object).await;
            self.settle(charge, written.is_ok()).await;
            match written {
                Err(WriteError::Exists) if generated => {}
                Err(error) => return Err(refused(&kind, &name_of(call, &pattern), &error)),
                Ok(object) => {
                    self.after_change(&kind).await;
                    return Ok(object);
                }
            }
        }
        Err(Status::already_exists(&kind, &pattern))
    }

    async fn store_new(
        &self,
        call: &mut Call,
        mut object: Value,
    ) -> Result<Arc<Object>, WriteError> {
        let kind = &call.kind;
        meta::name(&object).clone_into(&mut call.name);
        let key = convert::key(kind, &call.namespace, &call.name);
        if crd::is_definition(kind) {
            self.report_definition(&mut object, None);
        }
        if call.dry_run {
            return match self.store.get(&key) {
                Some(_) => Err(WriteError::Exists),
                None => Ok(Arc::new(Object::new(0, &convert::stored(kind, object)))),
            };
        }
        // A definition is served before anyone can read that it is established.
        if crd::is_definition(kind) && self.store.get(&key).is_none() {
            self.registry.install(&object);
        }
        let written = self
            .store
            .write(key, Write::Create(convert::stored(kind, object)))
            .await;
        if crd::is_definition(kind) && written.is_err() {
            self.sync_definition(&call.name);
        }
        written
    }

    /// Whether the namespace and the kind take new objects.
    fn check_home(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Status> {
        if self.registry.catalog().is_terminating(kind) {
            return Err(Status::method_not_allowed(
                "create not allowed while custom resource definition is terminating",
            ));
        }
        if !kind.namespaced {
            return Ok(());
        }
        let key = special::namespace_key(namespace);
        match self.store.get(&key) {
            None => Err(Status {
                details: json!({"name": namespace, "kind": "namespaces"}),
                ..Status::new(
                    StatusCode::NOT_FOUND,
                    "NotFound",
                    format!("namespaces \"{namespace}\" not found"),
                )
            }),
            Some(home) if meta::is_deleting(&home.value()) => {
                Err(Status::namespace_terminating(kind, name, namespace))
            }
            Some(_) => Ok(()),
        }
    }
}

fn name_of(call: &Call, pattern: &str) -> String {
    if call.name.is_empty() {
        pattern.into()
    } else {
        call.name.clone()
    }
}

/// What the body says about itself must fit the path.
fn check_identity(call: &Call, object: &Value) -> Result<(), Status> {
    let namespace = meta::namespace(object);
    if call.kind.namespaced && !namespace.is_empty() && namespace != call.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !meta::resource_version(object).is_empty() {
        return Err(Status::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    Ok(())
}
