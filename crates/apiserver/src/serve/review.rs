//! Questions: objects that are answered and not stored.

use http::{Response, StatusCode};

use super::{Handler, ResourceRequest, body, negotiate, not_allowed, respond};
use crate::access::review::{Review, Reviewer};
use crate::extend::Body;
use crate::meta;
use crate::objects::decode;
use crate::status::Status;

impl Handler {
    pub(super) async fn review(
        &self,
        review: Review,
        request: ResourceRequest,
        body: Body,
    ) -> Result<Response<Body>, Status> {
        let (kind, path) = (&request.kind, &request.path);
        let is_new = request.parts.method == http::Method::POST && path.name.is_empty();
        if !is_new || kind.namespaced == path.namespace.is_empty() {
            return Err(not_allowed());
        }
        // An answer has no metadata, and so no other form.
        negotiate::plain(&request.parts.headers)?;
        let content = body::read(body).await?;
        let document = body::parse(&request.parts.headers, &kind.kind, &content)?;
        let validation = body::field_validation(&request.query)?;
        let mut warnings = Vec::new();
        let mut question = decode::conform(kind, document, validation, &mut warnings)?;
        let reviewer = Reviewer {
            user: &request.user,
            kind,
            namespace: &path.namespace,
            authorizer: self.objects.authorizer(),
            store: &self.objects.store,
            tokens: &self.tokens,
        };
        question["status"] = review(&reviewer, &question)?;
        meta::metadata_mut(&mut question).insert("creationTimestamp".into(), meta::now().into());
        let mut response = respond::value(StatusCode::CREATED, &question);
        respond::warn(&mut response, &warnings);
        Ok(response)
    }
}
