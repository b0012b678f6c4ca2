//! What an embedding program adds: admission checks, and subresources with a life of their own.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Response};
use serde_json::Value;

use crate::access::{Authorizer, User};
use crate::discovery;
use crate::kind::Kind;
use crate::serve::query::Query;
use crate::status::Status;

/// Body of an answer.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed, by an update or a patch of itself or of a subresource.
    Update,
    /// Its deletion is asked for.
    Delete,
}

/// A change that is about to be stored.
#[derive(Debug)]
pub struct AdmissionRequest<'a> {
    /// Kind of the object, in the version of the request.
    pub kind: &'a Kind,
    /// What is done.
    pub operation: Operation,
    /// The subresource that is written, such as `status`; empty for the object itself.
    pub subresource: &'a str,
    /// The new state; none for a deletion.
    pub object: Option<&'a Value>,
    /// The present state; none for a creation.
    pub old_object: Option<&'a Value>,
    /// Who asks.
    pub user: &'a User,
    /// Namespace; empty where there is none.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// Answers what else a user may do.
    pub authorizer: Authorizer<'a>,
}

/// A check of changes that looks at more than the object's own schema.
pub trait Admission: Send + Sync {
    /// Lets a change pass, with warnings for the client, or refuses it.
    fn review(&self, request: &AdmissionRequest<'_>) -> Result<Vec<String>, Status>;
}

/// A request to a subresource that an embedder serves.
#[derive(Debug)]
pub struct SubresourceRequest {
    /// Who asks.
    pub user: User,
    /// HTTP method.
    pub method: Method,
    /// Namespace; empty where there is none.
    pub namespace: String,
    /// Name of the object, which exists.
    pub name: String,
    /// The object.
    pub object: Value,
    /// Parameters behind the `?`.
    pub query: Query,
    /// The request's body, at most 3 MiB.
    pub body: Bytes,
}

/// Serves a subresource, such as `pods/log`.
pub trait Subresource: Send + Sync {
    /// Answers one request. The body may stream; one of open length ends when the port closes.
    fn call(
        &self,
        request: SubresourceRequest,
    ) -> BoxFuture<'static, Result<Response<Body>, Status>>;
}

/// All extensions of one server.
#[derive(Clone, Default)]
pub struct Extensions {
    admissions: Vec<Arc<dyn Admission>>,
    subresources: Vec<(discovery::Subresource, Arc<dyn Subresource>)>,
}

impl Extensions {
    /// Adds a check; checks run in the order in which they were added.
    #[must_use]
    pub fn admission(mut self, admission: impl Admission + 'static) -> Self {
        self.admissions.push(Arc::new(admission));
        self
    }

    /// Serves a subresource, and tells of it in discovery.
    #[must_use]
    pub fn subresource(
        mut self,
        about: discovery::Subresource,
        handler: impl Subresource + 'static,
    ) -> Self {
        self.subresources.push((about, Arc::new(handler)));
        self
    }

    pub(crate) fn handler(&self, kind: &Kind, name: &str) -> Option<Arc<dyn Subresource>> {
        let wanted = |about: &discovery::Subresource| {
            kind.is(&about.group, &about.resource) && about.subresource == name
        };
        let found = self.subresources.iter().find(|(about, _)| wanted(about));
        found.map(|(_, handler)| Arc::clone(handler))
    }

    /// What discovery tells of beside the resources themselves.
    pub(crate) fn told(&self) -> Vec<discovery::Subresource> {
        let own = [
            ("namespaces", "finalize", "Namespace", "update"),
            ("pods", "binding", "Binding", "create"),
            ("serviceaccounts", "token", "TokenRequest", "create"),
        ];
        let own = own.map(
            |(resource, subresource, kind, verb)| discovery::Subresource {
                group: String::new(),
                resource: resource.into(),
                subresource: subresource.into(),
                kind: kind.into(),
                verbs: vec![verb.into()],
            },
        );
        own.into_iter()
            .chain(self.subresources.iter().map(|(about, _)| about.clone()))
            .collect()
    }

    pub(crate) fn review(&self, request: &AdmissionRequest<'_>) -> Result<Vec<String>, Status> {
        let mut warnings = Vec::new();
        for admission in &self.admissions {
            warnings.extend(admission.review(request)?);
        }
        Ok(warnings)
    }
}

impl std::fmt::Debug for Extensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extensions")
            .field("admissions", &self.admissions.len())
            .field("subresources", &self.subresources.len())
            .finish()
    }
}
