//! Replacement and patch: both propose a new state from the present one.

use std::sync::Arc;

use serde_json::Value;

use super::{Call, Document, Objects, Part, decode, refused, special};
use crate::apply::is_same_but_for_times;
use crate::convert;
use crate::extend::Operation;
use crate::kind::Kind;
use crate::meta;
use crate::registry::crd;
use crate::schema::cause;
use crate::status::Status;
use crate::store::{Change, Object, Write, WriteError};

/// How often a change is tried again when someone else was faster.
const ATTEMPTS: usize = 32;

/// Where a new state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The client sent the whole object.
    Replacement,
    /// The client sent a difference.
    Patch,
    /// The client sent what it wants of the object. The proposal says who owns what afterwards.
    Apply,
}

impl Objects {
    /// Changes an object to what `propose` makes of its present state, and returns it as it is
    /// stored.
    ///
    /// When another change comes between, the proposal is made again; a proposal that names the
    /// state it is based on then conflicts.
    pub(crate) async fn update(
        &self,
        call: &mut Call,
        origin: Origin,
        propose: impl Fn(&Value) -> Result<Document, Status> + Send + Sync,
    ) -> Result<Arc<Object>, Status> {
        let kind = Arc::clone(&call.kind);
        let _turn = self.quota_turn(call).await;
        for _ in 0..ATTEMPTS {
            let stored = self.get(&kind, &call.namespace, &call.name)?;
            let mut old = convert::served(&kind, &stored);
            call.warnings.clear();
            let document = propose(&old)?;
            let mut proposed =
                decode::conform(&kind, document, call.validation, &mut call.warnings)?;
            check_identity(call, origin, &proposed, &old)?;
            let present = meta::take_managed_fields(&mut old);
            let claimed = meta::take_managed_fields(&mut proposed);
            let mut new = self.next_state(call, proposed, &old);
            let owners = match origin {
                Origin::Apply => claimed,
                Origin::Replacement | Origin::Patch => {
                    self.owners_of_change(call, (&old, &new), &present, &claimed)
                }
            };
            if new == old && is_same_but_for_times(&owners, &present) {
                return Ok(stored);
            }
            meta::set_managed_fields(&mut old, present);
            meta::set_managed_fields(&mut new, owners);
            // That a Pod is bound is not a change that anybody may make by an update.
            let before = (call.part != Part::Binding).then_some(&old);
            super::validate(&kind, &new, before)?;
            self.check_bounds(call, &new, false)?;
            self.admit(call, Operation::Update, Some(&new), Some(&old))?;
            let charge = self.charge(call, &new, Some(&old)).await?;
            let written = self.store_changed(call, &stored, new).await;
            self.settle(charge, written.is_ok()).await;
            match written {
                Err(WriteError::Stale) => {}
                Err(error) => return Err(refused(&kind, &call.name, &error)),
                Ok(object) => {
                    self.after_change(&kind).await;
                    return Ok(object);
                }
            }
        }
        Err(Status::modified(&kind, &call.name))
    }

    /// Takes from a proposal what the request may write, and the rest from the present state.
    fn next_state(&self, call: &Call, proposed: Value, old: &Value) -> Value {
        let kind = &call.kind;
        let mut new = match call.part {
            Part::Main | Part::Binding => proposed,
            Part::Status => with_field(old, &proposed, "status"),
            Part::Finalize => special::with_finalizers(old, &proposed),
        };
        if call.part == Part::Main
            && let Some(default) = kind.hooks.default
        {
            default(&mut new);
        }
        if call.part == Part::Main && kind.status_subresource {
            new = with_field(&new, old, "status");
        }
        meta::carry_over(&mut new, old);
        if kind.is("", "namespaces") && call.part == Part::Main {
            new = special::with_finalizers(&new, old);
        }
        if crd::is_definition(kind) && call.part == Part::Main {
            self.report_definition(&mut new, Some(old));
        }
        let has_plain_status = !kind.is_builtin() && !kind.status_subresource;
        let differs = meta::spec_differs(&new, old)
            || has_plain_status && new.get("status") != old.get("status");
        if call.part != Part::Status && differs {
            meta::raise_generation(&mut new);
        }
        new
    }

    /// Stores a new state; an object that only waited for its last finalizer goes away with it.
    async fn store_changed(
        &self,
        call: &Call,
        stored: &Object,
        new: Value,
    ) -> Result<Arc<Object>, WriteError> {
        let kind = &call.kind;
        let value = convert::stored(kind, new);
        if call.dry_run {
            return Ok(Arc::new(Object::new(stored.revision, &value)));
        }
        let key = convert::key(kind, &call.namespace, &call.name);
        let (change, write) = if special::is_released(kind, &value) {
            (Change::Deleted, Write::Delete(stored.revision, value))
        } else {
            if crd::is_definition(kind) {
                self.registry.install(&value);
            }
            (Change::Modified, Write::Update(stored.revision, value))
        };
        let written = self.store.write(key, write).await;
        if crd::is_definition(kind) {
            self.sync_definition(&call.name);
            if let Some((_, group)) = call.name.split_once('.') {
                self.reconsider_definitions(group).await;
            }
        }
        if change == Change::Deleted && written.is_ok() {
            self.after_removal(kind).await;
        }
        written
    }
}

/// `base`, with one field as it is in `from`.
fn with_field(base: &Value, from: &Value, field: &str) -> Value {
    let mut object = base.clone();
    match (from.get(field), object.as_object_mut()) {
        (Some(value), Some(fields)) => fields.insert(field.into(), value.clone()),
        (None, Some(fields)) => fields.remove(field),
        (_, None) => None,
    };
    object
}

/// 400: the body is about another object than the path.
pub(super) fn other_name(name: &str, call: &Call) -> Status {
    Status::bad_request(format!(
        "the name of the object ({name}) does not match the name on the URL ({})",
        call.name
    ))
}

/// Whether a proposal is for this object, and for this state of it.
fn check_identity(
    call: &Call,
    origin: Origin,
    proposed: &Value,
    old: &Value,
) -> Result<(), Status> {
    let kind: &Kind = &call.kind;
    let (name, namespace) = (meta::name(proposed), meta::namespace(proposed));
    if name.is_empty() {
        return Err(Status::bad_request("name must be provided"));
    }
    if name != call.name {
        return Err(other_name(name, call));
    }
    if kind.namespaced && !namespace.is_empty() && namespace != call.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let (uid, present) = (meta::uid(proposed), meta::uid(old));
    if !uid.is_empty() && uid != present {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {present}"
        );
        return Err(Status::conflict(kind, name, &why));
    }
    let seen = meta::resource_version(proposed);
    if seen.is_empty() {
        if !kind.is_builtin() && origin == Origin::Replacement {
            let detail = "must be specified for an update";
            let causes = [cause::invalid(
                "metadata.resourceVersion",
                &0.into(),
                detail,
            )];
            return Err(Status::invalid(kind, name, &causes));
        }
    } else if seen != meta::resource_version(old) {
        return Err(Status::modified(kind, name));
    }
    Ok(())
}
