//! What happens to objects: one path for every kind.
//!
//! * `apply`: server-side apply, and who owns what a write changes
//! * `document`, `decode`: a request's body becomes a document, and that an object of a kind
//! * `create`, `update`, `delete`: the three ways to change the store
//! * `size`: how large an object may be
//! * `roles`: the roles of every server, and those that are made of others
//! * `special`: what namespaces, Pods and definitions do beyond the rest

mod admission;
mod apply;
mod create;
pub(crate) mod decode;
mod delete;
mod document;
mod restore;
mod roles;
pub(crate) mod size;
mod special;
mod update;

use std::sync::Arc;

use serde_json::Value;

use crate::access::{Policies, User, escalation};
use crate::convert;
use crate::extend::{AdmissionRequest, Extensions, Operation};
use crate::kind::Kind;
use crate::meta;
use crate::registry::Registry;
use crate::schema;
use crate::status::Status;
use crate::store::{Object, Store, WriteError};

pub(crate) use admission::Turns;
pub(crate) use decode::FieldValidation;
pub(crate) use delete::{DeleteOptions, Deleted, Propagation};
pub(crate) use document::{Document, Malformed};
pub(crate) use update::Origin;

/// The manager of what the server writes on its own account.
const SYSTEM_MANAGER: &str = "longshore";

/// Which part of an object a request writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but the status, where that has a subresource.
    Main,
    /// `status` only.
    Status,
    /// `spec.finalizers` of a namespace only.
    Finalize,
    /// `spec.nodeName` of a Pod only.
    Binding,
}

impl Part {
    /// The subresource that it is written through; empty for the object itself.
    pub(crate) fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Finalize => "finalize",
            Self::Binding => "binding",
        }
    }
}

/// One writing request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: String,
    /// Empty when a new object brings its own.
    pub(crate) name: String,
    pub(crate) part: Part,
    pub(crate) user: Arc<User>,
    /// Who is to own the fields that it sets.
    pub(crate) manager: String,
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    /// What the client should be told beside the answer.
    pub(crate) warnings: Vec<String>,
}

impl Call {
    /// A request that the server makes of itself.
    fn system(kind: &Arc<Kind>, namespace: &str, name: &str) -> Self {
        Self {
            kind: Arc::clone(kind),
            namespace: namespace.into(),
            name: name.into(),
            part: Part::Main,
            user: Arc::new(User::system()),
            manager: SYSTEM_MANAGER.into(),
            dry_run: false,
            validation: FieldValidation::Ignore,
            warnings: Vec::new(),
        }
    }
}

/// The objects of one server.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) extensions: Extensions,
    pub(crate) turns: Turns,
    pub(crate) policies: Policies,
}

impl Objects {
    /// An object as it is stored.
    pub(crate) fn get(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Object>, Status> {
        let key = convert::key(kind, namespace, name);
        self.store
            .get(&key)
            .ok_or_else(|| Status::not_found(kind, name))
    }

    fn admit(
        &self,
        call: &mut Call,
        operation: Operation,
        object: Option<&Value>,
        old_object: Option<&Value>,
    ) -> Result<(), Status> {
        let authorizer = self.authorizer();
        if let Some(object) = object {
            escalation::check(authorizer, &call.user, &call.kind, object, old_object)?;
        }
        let warnings = self.extensions.review(&AdmissionRequest {
            kind: &call.kind,
            operation,
            subresource: call.part.subresource(),
            object,
            old_object,
            user: &call.user,
            namespace: &call.namespace,
            name: object.or(old_object).map_or("", meta::name),
            dry_run: call.dry_run,
            authorizer,
        })?;
        call.warnings.extend(warnings);
        Ok(())
    }
}

/// Every check of a new state that needs no other object.
fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Result<(), Status> {
    size::check(kind, meta::name(object), object)?;
    let mut causes = meta::validate(kind, object, old);
    causes.extend(aside(kind, || schema::check(kind, object, old)));
    if let Some(validate) = kind.hooks.validate {
        causes.extend(validate(object, old));
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(kind, meta::name(object), &causes))
}

/// Runs a check; one with rules, whose work is bounded but can be long, lets others have the thread.
fn aside<T>(kind: &Kind, check: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let several =
        || Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    if kind.schema.has_rules && several() {
        tokio::task::block_in_place(check)
    } else {
        check()
    }
}

/// The answer where nothing can be written.
fn unwritten(error: &WriteError) -> Status {
    match error {
        WriteError::Disk(_) => Status::unavailable(error),
        WriteError::Unknown(_) => Status::timeout(error),
        _ => Status::internal(error),
    }
}

/// The answer to a write that the store refused for good.
fn refused(kind: &Kind, name: &str, error: &WriteError) -> Status {
    match error {
        WriteError::Exists => Status::already_exists(kind, name),
        WriteError::Missing => Status::not_found(kind, name),
        WriteError::Stale => Status::modified(kind, name),
        WriteError::Disk(_) | WriteError::Unknown(_) | WriteError::Closed => unwritten(error),
    }
}
