//! From a request to an answer.
//!
//! * `path`, `query`, `negotiate`, `body`: what the request says
//! * `filter`, `read`, `watch`: what it gets to see
//! * `write`: what it changes, and `manager`: in whose name
//! * `token`, `review`: what it is given without a change
//! * `in_flight`: how much of all that at a time
//! * `documents`: what describes the API itself; `health`, `metrics`: how the server does
//! * `backup`: all objects as a file, and back
//! * `respond`: the answer; `items`: a long list; `compress`: its compression; `closing`: its end
//!   when the server stops

mod backup;
mod body;
mod closing;
mod compress;
mod documents;
mod filter;
mod health;
mod in_flight;
mod items;
mod manager;
mod metrics;
mod negotiate;
pub(crate) mod path;
mod protobuf;
pub(crate) mod query;
mod read;
mod respond;
mod review;
mod scale;
mod token;
pub(crate) mod watch;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};

use crate::access::token::{self as tokens, Tokens};
use crate::access::{Attempt, Decision, User, authenticate, impersonate};
use crate::extend::{Body, SubresourceRequest};
use crate::kind::Kind;
use crate::objects::Objects;
use crate::status::Status;
use closing::Closing;
pub(crate) use closing::closed;
use documents::Documents;
use filter::Filter;
use in_flight::InFlight;
use metrics::{About, Metrics};
use path::{Path, ResourcePath};
use query::Query;
use respond::View;

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) objects: Objects,
    documents: Documents,
    tokens: Tokens,
    in_flight: InFlight,
    metrics: Metrics,
}

/// One request to a resource, understood.
#[derive(Debug)]
struct ResourceRequest {
    user: Arc<User>,
    kind: Arc<Kind>,
    path: ResourcePath,
    query: Query,
    parts: Parts,
}

impl Handler {
    pub(crate) fn new(objects: Objects, tokens: Tokens) -> Self {
        let documents = Documents::new(objects.extensions.told());
        Self {
            objects,
            documents,
            tokens,
            in_flight: InFlight::default(),
            metrics: Metrics::default(),
        }
    }

    /// Answers one request. Who asks stands in its extensions as an [`Arc`] of a [`User`], unless
    /// they show a token.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let compress = compress::is_accepted(request.headers());
        let is_head = request.method() == Method::HEAD;
        let begun = Instant::now();
        let mut about = About::default();
        let answer = Arc::clone(&self).answer(request, &mut about).await;
        let mut response = answer.unwrap_or_else(|status| respond::error(&status));
        self.metrics
            .observe(about, response.status(), begun.elapsed());
        if is_head {
            // HTTP/2 takes a body here for a broken stream.
            *response.body_mut() = respond::full("");
        } else if compress {
            return compress::compressed(response);
        }
        response
    }

    /// The same for clients that may be slow to say what they want.
    pub(crate) async fn handle_within(
        self: Arc<Self>,
        limit: Duration,
        request: Request<Body>,
    ) -> Response<Body> {
        let answer = tokio::time::timeout(limit, self.handle(request)).await;
        answer.unwrap_or_else(|_| {
            let why = "request did not complete within the allotted timeout";
            respond::error(&Status::timeout(why))
        })
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Body>,
        about: &mut About,
    ) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let path = Path::parse(parts.uri.path());
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let user = self.admitted(&parts, path.as_ref(), &query)?;
        let path = match path.ok_or_else(Status::no_such_path)? {
            Path::Resource(path) => path,
            Path::Backup => return self.backup(&parts.method).await,
            Path::Restore => return self.restore(&parts.method, body).await,
            document => {
                *about = About::document();
                return self.document(&document, &query, &parts);
            }
        };
        let catalog = self.objects.registry.catalog();
        let kind = catalog.get(&path.group, &path.version, &path.resource);
        let kind = Arc::clone(kind.ok_or_else(Status::no_such_path)?);
        if !kind.namespaced && !path.namespace.is_empty() {
            return Err(Status::no_such_path());
        }
        path.check()?;
        let deprecation = kind.deprecation.clone();
        let request = ResourceRequest {
            user,
            kind,
            path,
            query,
            parts,
        };
        *about = About::resource(&request);
        let mut response = self.resource(request, body).await?;
        respond::warn(&mut response, deprecation.as_slice());
        Ok(response)
    }

    /// Answers about the API and the server themselves.
    fn document(
        &self,
        path: &Path,
        query: &Query,
        parts: &Parts,
    ) -> Result<Response<Body>, Status> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(not_allowed());
        }
        let store = &self.objects.store;
        match path {
            Path::OpenId => Ok(respond::value(StatusCode::OK, &tokens::discovery())),
            Path::KeySet => Ok(respond::key_set(&self.tokens.key_set())),
            Path::Health { endpoint, check } => {
                health::answer(store, endpoint, check.as_deref(), query)
            }
            Path::Metrics => {
                let text = self.metrics.text(store, &self.in_flight);
                Ok(health::text(StatusCode::OK, text))
            }
            path => {
                let catalog = self.objects.registry.catalog();
                self.documents.get(&catalog, path, query, &parts.headers)
            }
        }
    }

    /// Who sends a request, if they may do what it asks for.
    fn admitted(
        &self,
        parts: &Parts,
        path: Option<&Path>,
        query: &Query,
    ) -> Result<Arc<User>, Status> {
        let authorizer = self.objects.authorizer();
        let is_public = matches!(path, Some(Path::Health { .. } | Path::Version));
        let user = match authenticate::user(parts, &self.tokens, &self.objects.store)? {
            Some(user) => user,
            None if is_public => Arc::new(User::anonymous()),
            None => return Err(Status::unauthorized()),
        };
        let user = match impersonate::impersonated(&parts.headers, &user, authorizer)? {
            Some(other) => Arc::new(other),
            None => user,
        };
        let attempt = Attempt::of(parts, path, query);
        match authorizer.decide(&user, &attempt) {
            Decision::Allowed(_) => Ok(user),
            Decision::Denied(reason) => Err(attempt.refusal(&user, &reason)),
        }
    }

    async fn resource(
        self: Arc<Self>,
        request: ResourceRequest,
        body: Body,
    ) -> Result<Response<Body>, Status> {
        let path = &request.path;
        let one = !path.name.is_empty();
        let kind = &request.kind;
        if let Some(review) = kind.hooks.review {
            return self.review(review, request, body).await;
        }
        if one && kind.namespaced && path.namespace.is_empty() {
            return Err(Status::no_such_path());
        }
        let method = &request.parts.method;
        let is_stream = request.query.flag("watch") && method == Method::GET;
        let _place = if is_stream || self.is_extended(&request) {
            None
        } else {
            self.in_flight.enter(&request.user, method)?
        };
        match (method.as_str(), path.subresource.as_str()) {
            ("GET", "") if !one || request.query.flag("watch") => self.collection(&request),
            ("GET", "") => self.object(&request),
            ("GET", "status") if kind.status_subresource => self.object(&request),
            ("GET", "scale") if kind.scale.is_some() => self.scale(&request),
            (
                "POST" | "PUT" | "PATCH" | "DELETE",
                "" | "status" | "scale" | "finalize" | "binding",
            ) => {
                // A task of its own: a client that hangs up does not leave half a change behind.
                let content = body::read(body).await?;
                let change = tokio::spawn(async move { self.change(&request, &content).await });
                change
                    .await
                    .unwrap_or_else(|panic| Err(Status::internal(panic)))
            }
            ("POST", "token") if kind.is("", "serviceaccounts") => {
                self.issue_token(request, body).await
            }
            (_, "") => Err(not_allowed()),
            (_, _) => self.extended(request, body).await,
        }
    }

    fn object(&self, request: &ResourceRequest) -> Result<Response<Body>, Status> {
        let view = view(request)?;
        read::check_reached(&self.objects.store, &request.query)?;
        let ResourcePath {
            namespace, name, ..
        } = &request.path;
        let object = self.objects.get(&request.kind, namespace, name)?;
        Ok(respond::json_text(StatusCode::OK, view.text(&object)))
    }

    fn collection(&self, request: &ResourceRequest) -> Result<Response<Body>, Status> {
        let ResourceRequest {
            kind,
            path,
            query,
            parts,
            ..
        } = request;
        let filter = Filter::parse(kind, &path.namespace, query)?.with_name(&path.name);
        let view = view(request)?;
        let store = &self.objects.store;
        if query.flag("watch") {
            let closing = parts.extensions.get::<Closing>().cloned();
            return watch::start(
                store,
                kind,
                filter,
                (view.form, view.include),
                query,
                closing,
            );
        }
        let listing = read::list(store, kind, &filter, query)?;
        Ok(view.list(listing.objects, listing.metadata))
    }

    /// Whether an embedder's subresource is meant, which may stream.
    fn is_extended(&self, request: &ResourceRequest) -> bool {
        let handlers = &self.objects.extensions;
        handlers
            .handler(&request.kind, &request.path.subresource)
            .is_some()
    }

    /// Hands a request to the embedder's handler of the subresource.
    async fn extended(
        &self,
        request: ResourceRequest,
        body: Body,
    ) -> Result<Response<Body>, Status> {
        let ResourceRequest {
            user,
            kind,
            path,
            query,
            parts,
        } = request;
        let handler = self.objects.extensions.handler(&kind, &path.subresource);
        let handler = handler.ok_or_else(Status::no_such_path)?;
        let object = self.objects.get(&kind, &path.namespace, &path.name)?;
        let request = SubresourceRequest {
            user: User::clone(&user),
            method: parts.method,
            namespace: path.namespace,
            name: path.name,
            object: crate::convert::served(&kind, &object),
            query,
            body: body::read(body).await?,
        };
        let response = handler.call(request).await?;
        Ok(match parts.extensions.get::<Closing>() {
            Some(closing) => closing::ending_with(closing.clone(), response),
            None => response,
        })
    }
}

fn view(request: &ResourceRequest) -> Result<View<'_>, Status> {
    Ok(View {
        kind: &request.kind,
        form: negotiate::form(&request.parts.headers)?,
        include: respond::include(&request.query)?,
    })
}

fn not_allowed() -> Status {
    Status::method_not_allowed("the server does not allow this method on the requested resource")
}
