//! The subresource `scale`: the number of replicas of an object, in a form that is the same for all
//! kinds (`autoscaling/v1` Scale).

use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::write::{answer, call};
use super::{Handler, ResourceRequest, body, not_allowed, respond};
use crate::extend::Body;
use crate::kind::Scale;
use crate::meta;
use crate::objects::{Document, Origin, Part};
use crate::patch::Patch;
use crate::status::Status;

impl Handler {
    /// Shows the scale of an object.
    pub(super) fn scale(&self, request: &ResourceRequest) -> Result<Response<Body>, Status> {
        let (kind, path) = (&request.kind, &request.path);
        let scale = kind.scale.as_ref().ok_or_else(Status::no_such_path)?;
        let stored = self.objects.get(kind, &path.namespace, &path.name)?;
        let object = crate::convert::served(kind, &stored);
        Ok(respond::value(StatusCode::OK, &read(scale, &object)?))
    }

    /// Writes the wanted number of replicas of an object.
    pub(super) async fn rescale(
        &self,
        request: &ResourceRequest,
        scale: &Scale,
        content: &[u8],
    ) -> Result<Response<Body>, Status> {
        let headers = &request.parts.headers;
        let change = match request.parts.method {
            Method::PUT => Change::Whole(body::parse(headers, "Scale", content)?.value),
            Method::PATCH => {
                let media_type = body::media_type(headers);
                Change::Patch(Patch::parse(&request.kind, media_type, content)?)
            }
            _ => return Err(not_allowed()),
        };
        let mut call = call(request, Part::Main)?;
        let propose = |present: &Value| {
            let before = read(scale, present)?;
            let after = match &change {
                Change::Whole(after) => after.clone(),
                Change::Patch(patch) => patch.apply(&request.kind, &before)?.value,
            };
            let object = write(request, scale, present, &after)?;
            Ok(Document::from(object))
        };
        let stored = self
            .objects
            .update(&mut call, Origin::Patch, propose)
            .await?;
        let object = crate::convert::served(&request.kind, &stored);
        Ok(answer(
            StatusCode::OK,
            read(scale, &object)?.to_string(),
            &call,
        ))
    }
}

/// What a client sent.
enum Change {
    Whole(Value),
    Patch(Patch),
}

/// The scale of an object.
fn read(scale: &Scale, object: &Value) -> Result<Value, Status> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let Some(replicas) = number(&scale.replicas) else {
        let path = scale.replicas.replace('/', ".");
        return Err(Status::internal(format!(
            "the spec replicas field \"{path}\" does not exist"
        )));
    };
    let mut status = json!({"replicas": number(&scale.status_replicas).unwrap_or_default()});
    let selector = scale
        .selector
        .as_ref()
        .and_then(|path| object.pointer(path));
    if let Some(selector) = selector.map(selector_text).filter(|text| !text.is_empty()) {
        status["selector"] = selector.into();
    }
    let mut metadata = json!({});
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    Ok(
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": replicas}, "status": status}),
    )
}

/// An object with the replicas of a scale.
fn write(
    request: &ResourceRequest,
    scale: &Scale,
    present: &Value,
    wanted: &Value,
) -> Result<Value, Status> {
    let (kind, name) = (&request.kind, meta::name(present));
    let given = meta::name(wanted);
    if !given.is_empty() && given != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    let seen = meta::resource_version(wanted);
    if !seen.is_empty() && seen != meta::resource_version(present) {
        return Err(Status::modified(kind, name));
    }
    let replicas = match &wanted["spec"]["replicas"] {
        Value::Null => 0,
        value => value
            .as_i64()
            .and_then(|replicas| i32::try_from(replicas).ok())
            .ok_or_else(|| {
                Status::bad_request(format!(
                    "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal \
                     {} into Go struct field ScaleSpec.spec.replicas of type int32",
                    crate::schema::go_value(value, Some(crate::schema::Type::Integer))
                ))
            })?,
    };
    if replicas < 0 {
        let mut status = Status::unprocessable(format!(
            "Scale.autoscaling \"{name}\" is invalid: spec.replicas: Invalid value: {replicas}: \
             must be greater than or equal to 0"
        ));
        status.reason = "Invalid";
        return Err(status);
    }
    let mut object = present.clone();
    let mut place = &mut object;
    for step in scale.replicas.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[step];
    }
    *place = replicas.into();
    Ok(object)
}

/// A selector as text; a `LabelSelector` becomes what `kubectl get -l` takes.
fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = selector["matchLabels"].as_object();
    let mut terms: Vec<_> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    for term in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let key = text(&term["key"]);
        let values = term["values"].as_array().into_iter().flatten().map(text);
        let values = values.collect::<Vec<_>>().join(",");
        terms.push(match text(&term["operator"]).as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key,
        });
    }
    terms.join(",")
}
