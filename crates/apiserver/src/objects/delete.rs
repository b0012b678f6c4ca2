//! Deletion, at once or in steps: grace period, finalizers, namespaces' contents.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Call, Objects, refused, special};
use crate::convert;
use crate::extend::Operation;
use crate::kind::Kind;
use crate::meta;
use crate::registry::crd;
use crate::status::Status;
use crate::store::{Object, Write, WriteError};

/// What becomes of the objects that an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They stay, without their owner.
    Orphan,
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
}

/// How a deletion is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) grace_seconds: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
}

/// What came of a deletion.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Object>),
    /// It is marked, and goes when its finalizers or its grace period end.
    Marked(Arc<Object>),
}

impl Objects {
    /// Deletes an object, or marks it for deletion.
    pub(crate) async fn delete(
        &self,
        call: &mut Call,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let kind = Arc::clone(&call.kind);
        special::check_deletable(&kind, &call.name)?;
        loop {
            let stored = self.get(&kind, &call.namespace, &call.name)?;
            let old = convert::served(&kind, &stored);
            check_preconditions(&kind, &call.name, &old, options)?;
            self.admit(call, Operation::Delete, None, Some(&old))?;
            match self.store_deletion(call, &stored, options).await {
                Err(WriteError::Stale) => {}
                Err(error) => return Err(refused(&kind, &call.name, &error)),
                Ok(deleted) => {
                    if crd::is_definition(&kind) && !call.dry_run {
                        Box::pin(self.purge_definition(&call.name)).await;
                    }
                    return Ok(deleted);
                }
            }
        }
    }

    async fn store_deletion(
        &self,
        call: &Call,
        stored: &Arc<Object>,
        options: &DeleteOptions,
    ) -> Result<Deleted, WriteError> {
        let kind = &call.kind;
        let present = stored.value();
        let marked = mark(kind, &present, options);
        let released = special::is_released(kind, &marked);
        if call.dry_run {
            let object = Arc::new(Object::new(stored.revision, &marked));
            return Ok(if released {
                Deleted::Gone(object)
            } else {
                Deleted::Marked(object)
            });
        }
        if marked == present && !released {
            return Ok(Deleted::Marked(Arc::clone(stored)));
        }
        let key = convert::key(kind, &call.namespace, &call.name);
        if released {
            // What goes at once was never seen waiting.
            let last = if meta::is_deleting(&present) {
                marked
            } else {
                present
            };
            let gone = self
                .store
                .write(key, Write::Delete(stored.revision, last))
                .await?;
            if crd::is_definition(kind) {
                self.sync_definition(&call.name);
            }
            self.after_removal(kind).await;
            return Ok(Deleted::Gone(gone));
        }
        let written = self
            .store
            .write(key, Write::Update(stored.revision, marked))
            .await?;
        if crd::is_definition(kind) {
            self.sync_definition(&call.name);
        }
        Ok(Deleted::Marked(written))
    }
}

fn check_preconditions(
    kind: &Kind,
    name: &str,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    for (what, wanted, found) in [
        ("UID", &options.uid, meta::uid(object)),
        (
            "ResourceVersion",
            &options.resource_version,
            meta::resource_version(object),
        ),
    ] {
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: \
                 {found}"
            );
            return Err(Status::conflict(kind, name, &why));
        }
    }
    Ok(())
}

/// The state of an object whose deletion is asked for.
fn mark(kind: &Kind, object: &Value, options: &DeleteOptions) -> Value {
    let mut marked = object.clone();
    let grace = special::grace_seconds(kind, object, options.grace_seconds);
    let finalizers = finalizers(object, options.propagation);
    meta::set_finalizers(
        &mut marked,
        &finalizers.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let pending = object
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_u64);
    let shorter = pending.is_none_or(|pending| grace < pending);
    if !meta::is_deleting(object) || shorter {
        let seconds = i64::try_from(grace)
            .unwrap_or(i64::MAX)
            .min(i64::from(u32::MAX));
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        marked["metadata"]["deletionTimestamp"] = meta::timestamp(at).into();
        marked["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        if !meta::is_deleting(object) {
            meta::raise_generation(&mut marked);
        }
    }
    special::mark(kind, &mut marked);
    marked
}

/// The finalizers that a propagation policy leads to. The garbage collector acts on them.
fn finalizers(object: &Value, propagation: Option<Propagation>) -> Vec<String> {
    const ORPHAN: &str = "orphan";
    const FOREGROUND: &str = "foregroundDeletion";
    let mut list: Vec<String> = meta::finalizers(object)
        .into_iter()
        .map(Into::into)
        .collect();
    if let Some(propagation) = propagation {
        list.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
        match propagation {
            Propagation::Orphan => list.push(ORPHAN.into()),
            Propagation::Foreground => list.push(FOREGROUND.into()),
            Propagation::Background => {}
        }
    }
    list
}
