//! Requests that change something.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::filter::Filter;
use super::query::Query;
use super::respond::{self, View};
use super::{Handler, ResourceRequest, body, manager, not_allowed, read, view};
use crate::extend::Body;
use crate::meta;
use crate::objects::{Call, DeleteOptions, Deleted, Document, Origin, Part, Propagation};
use crate::patch::{self, Patch};
use crate::schema::{self, Type};
use crate::status::Status;

impl Handler {
    pub(super) async fn change(
        &self,
        request: &ResourceRequest,
        content: &[u8],
    ) -> Result<Response<Body>, Status> {
        let one = !request.path.name.is_empty();
        if let (Some(scale), "scale") = (&request.kind.scale, &*request.path.subresource) {
            return self.rescale(request, scale, content).await;
        }
        let part = part(request)?;
        let method = request.parts.method.clone();
        match (method, part) {
            (Method::POST, Some(Part::Main)) if !one => self.create(request, content).await,
            (Method::POST, None) if one => self.bind(request, content).await,
            (Method::PUT, Some(part)) if one => self.replace(request, part, content).await,
            (Method::PATCH, Some(part)) if one => self.patch(request, part, content).await,
            (Method::DELETE, Some(Part::Main)) if one => self.remove(request, content).await,
            (Method::DELETE, Some(Part::Main)) => self.remove_all(request, content).await,
            _ => Err(not_allowed()),
        }
    }

    async fn create(
        &self,
        request: &ResourceRequest,
        content: &[u8],
    ) -> Result<Response<Body>, Status> {
        if request.kind.namespaced && request.path.namespace.is_empty() {
            return Err(not_allowed());
        }
        let view = view(request)?;
        let mut call = call(request, Part::Main)?;
        let document = body::parse(&request.parts.headers, &request.kind.kind, content)?;
        let object = self.objects.create(&mut call, document).await?;
        Ok(answer(StatusCode::CREATED, view.text(&object), &call))
    }

    async fn replace(
        &self,
        request: &ResourceRequest,
        part: Part,
        content: &[u8],
    ) -> Result<Response<Body>, Status> {
        let view = view(request)?;
        let mut call = call(request, part)?;
        let document = body::parse(&request.parts.headers, &request.kind.kind, content)?;
        let propose = |_: &Value| Ok(document.clone());
        let object = self
            .objects
            .update(&mut call, Origin::Replacement, propose)
            .await?;
        Ok(answer(StatusCode::OK, view.text(&object), &call))
    }

    async fn patch(
        &self,
        request: &ResourceRequest,
        part: Part,
        content: &[u8],
    ) -> Result<Response<Body>, Status> {
        let view = view(request)?;
        let mut call = call(request, part)?;
        let media_type = body::media_type(&request.parts.headers);
        if media_type == patch::APPLY {
            return self.apply(request, &view, call, content).await;
        }
        let patch = Patch::parse(&request.kind, media_type, content)?;
        let propose = |present: &Value| patch.apply(&request.kind, present);
        let object = self
            .objects
            .update(&mut call, Origin::Patch, propose)
            .await?;
        Ok(answer(StatusCode::OK, view.text(&object), &call))
    }

    async fn apply(
        &self,
        request: &ResourceRequest,
        view: &View<'_>,
        mut call: Call,
        content: &[u8],
    ) -> Result<Response<Body>, Status> {
        // JSON is YAML, and quicker to read.
        let is_json = content.trim_ascii_start().first() == Some(&b'{');
        let document = if is_json {
            Document::parse(content)
        } else {
            Document::parse_yaml(content)
        };
        let document = document
            .map_err(|fault| Status::bad_request(format!("error decoding YAML: {fault}")))?;
        let force = manager::force(&request.query)?;
        let (object, is_new) = self.objects.apply(&mut call, document, force).await?;
        let code = if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Ok(answer(code, view.text(&object), &call))
    }

    /// `pods/binding`: says on which node a Pod runs.
    async fn bind(
        &self,
        request: &ResourceRequest,
        content: &[u8],
    ) -> Result<Response<Body>, Status> {
        let binding = body::parse(&request.parts.headers, "Binding", content)?.value;
        let node = meta::text(&binding, "/target/name").to_owned();
        if node.is_empty() {
            return Err(Status::bad_request("target.name: Required value"));
        }
        let wanted = meta::uid(&binding).to_owned();
        let mut call = call(request, Part::Binding)?;
        let propose = |pod: &Value| {
            let uid = meta::uid(pod);
            if !wanted.is_empty() && wanted != uid {
                let why = format!(
                    "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
                );
                return Err(Status::conflict(&request.kind, meta::name(pod), &why));
            }
            let bound = meta::text(pod, "/spec/nodeName");
            if !bound.is_empty() {
                let why = format!(
                    "pod {} is already assigned to node \"{bound}\"",
                    meta::name(pod)
                );
                return Err(Status::conflict(&request.kind, meta::name(pod), &why));
            }
            if meta::is_deleting(pod) {
                let why = format!(
                    "pod {} is being deleted, cannot be assigned",
                    meta::name(pod)
                );
                return Err(Status::conflict(&request.kind, meta::name(pod), &why));
            }
            let mut pod = pod.clone();
            pod["spec"]["nodeName"] = node.as_str().into();
            Ok(Document::from(pod))
        };
        self.objects
            .update(&mut call, Origin::Patch, propose)
            .await?;
        let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
                          "status": "Success", "code": 201});
        Ok(answer(StatusCode::CREATED, done.to_string(), &call))
    }

    async fn remove(
        &self,
        request: &ResourceRequest,
        content: &[u8],
    ) -> Result<Response<Body>, Status> {
        let view = view(request)?;
        let (options, dry_run) = delete_options(request, content)?;
        let mut call = Call {
            dry_run,
            ..call(request, Part::Main)?
        };
        let shown = match self.objects.delete(&mut call, &options).await? {
            Deleted::Gone(object) => respond::deleted(&request.kind, &object.value())
                .to_string()
                .into(),
            Deleted::Marked(object) => view.text(&object),
        };
        Ok(answer(StatusCode::OK, shown, &call))
    }

    async fn remove_all(
        &self,
        request: &ResourceRequest,
        content: &[u8],
    ) -> Result<Response<Body>, Status> {
        let kind = &request.kind;
        let everywhere = kind.namespaced && request.path.namespace.is_empty();
        if everywhere || !kind.verbs().contains(&"deletecollection") {
            return Err(not_allowed());
        }
        let view: View<'_> = view(request)?;
        let filter = Filter::parse(kind, &request.path.namespace, &request.query)?;
        let (options, dry_run) = delete_options(request, content)?;
        let listing = read::list(&self.objects.store, kind, &filter, &Query::default())?;
        let mut last = call(request, Part::Main)?;
        for object in &listing.objects {
            let name = object.name().to_owned();
            let mut call = Call {
                name,
                dry_run,
                ..call(request, Part::Main)?
            };
            match self.objects.delete(&mut call, &options).await {
                // Someone else was faster; that is what was wanted.
                Err(status) if status.code == StatusCode::NOT_FOUND => {}
                Err(status) => return Err(status),
                Ok(_) => last.warnings.append(&mut call.warnings),
            }
        }
        let mut response = view.list(listing.objects, listing.metadata);
        respond::warn(&mut response, &last.warnings);
        Ok(response)
    }
}

pub(super) fn answer(code: StatusCode, text: impl Into<Bytes>, call: &Call) -> Response<Body> {
    let mut response = respond::json_text(code, text);
    respond::warn(&mut response, &call.warnings);
    response
}

/// The part of an object that a path names; none for a Pod's binding.
fn part(request: &ResourceRequest) -> Result<Option<Part>, Status> {
    let kind = &request.kind;
    match request.path.subresource.as_str() {
        "" => Ok(Some(Part::Main)),
        "status" if kind.status_subresource => Ok(Some(Part::Status)),
        "finalize" if kind.is("", "namespaces") => Ok(Some(Part::Finalize)),
        "binding" if kind.is("", "pods") => Ok(None),
        _ => Err(Status::no_such_path()),
    }
}

pub(super) fn call(request: &ResourceRequest, part: Part) -> Result<Call, Status> {
    Ok(Call {
        kind: request.kind.clone(),
        namespace: request.path.namespace.clone(),
        name: request.path.name.clone(),
        part,
        user: Arc::clone(&request.user),
        manager: manager::of(request)?,
        dry_run: body::dry_run(&request.query)?,
        validation: body::field_validation(&request.query)?,
        warnings: Vec::new(),
    })
}

/// Reads `DeleteOptions` from the body, or else from the query; also whether it is a dry run.
fn delete_options(
    request: &ResourceRequest,
    content: &[u8],
) -> Result<(DeleteOptions, bool), Status> {
    let query = &request.query;
    let given = match content {
        [] => Value::Null,
        content => body::parse(&request.parts.headers, "DeleteOptions", content)?.value,
    };
    let text = |pointer: &str| given.pointer(pointer).and_then(Value::as_str);
    let propagation = match text("/propagationPolicy").or(query.get("propagationPolicy")) {
        Some("Orphan") => Some(Propagation::Orphan),
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some(other) => {
            return Err(Status::unprocessable(format!(
                "propagationPolicy: Unsupported value: \"{other}\": supported values: \
                 \"Foreground\", \"Background\", \"Orphan\""
            )));
        }
        None => match given.get("orphanDependents").and_then(Value::as_bool) {
            Some(true) => Some(Propagation::Orphan),
            Some(false) => Some(Propagation::Background),
            None => None,
        },
    };
    let grace_seconds = grace_seconds(&given, query)?;
    let dry_run = body::dry_run(query)? | dry_run(&given["dryRun"])?;
    let options = DeleteOptions {
        uid: precondition(&given, "uid")?,
        resource_version: precondition(&given, "resourceVersion")?,
        grace_seconds,
        propagation,
    };
    Ok((options, dry_run))
}

/// Reads `dryRun` of options; what is not understood must not become a real deletion.
fn dry_run(stages: &Value) -> Result<bool, Status> {
    match stages.as_array().map(Vec::as_slice) {
        Some([]) => Ok(false),
        Some([stage]) if stage == "All" => Ok(true),
        None if stages.is_null() => Ok(false),
        _ => Err(Status::unprocessable(format!(
            "dryRun: Unsupported value: {stages}: supported values: \"All\""
        ))),
    }
}

fn precondition(options: &Value, name: &str) -> Result<Option<String>, Status> {
    match &options["preconditions"][name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        other => Err(Status::bad_request(format!(
            "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: json: cannot \
             unmarshal {} into Go struct field Preconditions.preconditions.{name} of type string",
            schema::go_value(other, Some(Type::String))
        ))),
    }
}

fn grace_seconds(options: &Value, query: &Query) -> Result<Option<i64>, Status> {
    match options.get("gracePeriodSeconds") {
        None | Some(Value::Null) => query.number("gracePeriodSeconds"),
        Some(seconds) => seconds.as_i64().map(Some).ok_or_else(|| {
            Status::bad_request(format!(
                "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: json: \
                 cannot unmarshal {} into Go struct field DeleteOptions.gracePeriodSeconds of \
                 type int64",
                schema::go_value(seconds, Some(Type::Integer))
            ))
        }),
    }
}
