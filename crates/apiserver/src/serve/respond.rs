//! Writing answers.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, WARNING};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use super::negotiate::Form;
use super::query::Query;
use crate::convert;
use crate::extend::{Body, BoxError};
use crate::kind::Kind;
use crate::meta;
use crate::status::Status;
use crate::store::Object;
use crate::table::{self, IncludeObject};

/// How the objects of one answer are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) form: Form,
    pub(crate) include: IncludeObject,
}

/// `includeObject`: how much of its object each table row carries.
pub(crate) fn include(query: &Query) -> Result<IncludeObject, Status> {
    match query.get("includeObject") {
        None | Some("Metadata") => Ok(IncludeObject::Metadata),
        Some("None") => Ok(IncludeObject::None),
        Some("Object") => Ok(IncludeObject::Object),
        Some(other) => Err(Status::bad_request(format!(
            "unrecognized includeObject value: \"{other}\""
        ))),
    }
}

impl View<'_> {
    /// One object in this form.
    pub(crate) fn object(&self, stored: &Object) -> Value {
        let object = convert::served(self.kind, stored);
        match self.form {
            Form::Object => object,
            Form::Metadata => metadata_of(&object),
            Form::Table => {
                let list_meta = json!({"resourceVersion": meta::resource_version(&object)});
                table::render(self.kind, &[&object], list_meta, self.include)
            }
        }
    }

    /// Many objects in this form, as JSON text.
    pub(crate) fn list(&self, objects: &[impl AsRef<Object>], list_meta: Value) -> Vec<u8> {
        let objects = objects
            .iter()
            .map(|object| convert::served(self.kind, object.as_ref()));
        if self.form == Form::Table {
            let objects: Vec<_> = objects.collect();
            let objects: Vec<_> = objects.iter().collect();
            let table = table::render(self.kind, &objects, list_meta, self.include);
            return table.to_string().into_bytes();
        }
        let (kind, api_version) = match self.form {
            Form::Metadata => ("PartialObjectMetadataList".into(), "meta.k8s.io/v1".into()),
            _ => (self.kind.list_kind.clone(), self.kind.api_version()),
        };
        let head = json!({"kind": kind, "apiVersion": api_version, "metadata": list_meta});
        // Items are written one by one: a list may be long, and is not to be copied as a whole.
        let mut text = head.to_string().into_bytes();
        text.pop();
        text.extend_from_slice(b",\"items\":[");
        for (index, object) in objects.enumerate() {
            if index > 0 {
                text.push(b',');
            }
            let object = match self.form {
                Form::Metadata => metadata_of(&object),
                _ => object,
            };
            append(&mut text, &object);
        }
        text.extend_from_slice(b"]}");
        text
    }
}

/// Appends a value as JSON.
pub(crate) fn append(text: &mut Vec<u8>, value: &Value) {
    // Writing to memory does not fail, and values have only string keys.
    let _ = serde_json::to_writer(text, value);
}

fn metadata_of(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

/// A body that is all there.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(BoxError::from)
        .boxed_unsync()
}

/// JSON text as an answer.
pub(crate) fn json_text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = code;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A value as an answer.
pub(crate) fn value(code: StatusCode, value: &Value) -> Response<Body> {
    json_text(code, value.to_string())
}

/// Public keys as an answer (RFC 7517, section 8.5).
pub(crate) fn key_set(keys: &Value) -> Response<Body> {
    let mut response = value(StatusCode::OK, keys);
    let media_type = HeaderValue::from_static("application/jwk-set+json");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// An error as an answer.
pub(crate) fn error(status: &Status) -> Response<Body> {
    let mut response = value(status.code, &status.to_value());
    if let Some(seconds) = status.details["retryAfterSeconds"].as_u64() {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Tells the client what it should know beside the answer (RFC 7234, section 5.5).
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        let clean: String = quoted.chars().filter(|c| !c.is_control()).collect();
        if let Ok(header) = HeaderValue::from_bytes(format!("299 - \"{clean}\"").as_bytes()) {
            response.headers_mut().append(WARNING, header);
        }
    }
}

/// The answer to a deletion that is complete.
pub(crate) fn deleted(kind: &Kind, object: &Value) -> Value {
    let mut details = json!({
        "name": meta::name(object), "kind": kind.plural, "uid": meta::uid(object),
    });
    if !kind.group.is_empty() {
        details["group"] = kind.group.clone().into();
    }
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details,
    })
}
