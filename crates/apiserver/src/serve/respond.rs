//! Writing answers.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, WARNING};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use super::items::Items;
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

    /// One object in this form, as JSON text.
    pub(crate) fn text(&self, stored: &Object) -> Bytes {
        let same = convert::as_stored(self.kind, stored).filter(|_| self.form == Form::Object);
        match same {
            Some(text) => text.clone(),
            None => self.object(stored).to_string().into(),
        }
    }

    /// Many objects in this form, as an answer.
    pub(crate) fn list(&self, objects: Vec<Arc<Object>>, list_meta: Value) -> Response<Body> {
        let same = |object: &Arc<Object>| convert::as_stored(self.kind, object).is_some();
        let body = if self.form == Form::Object && objects.iter().all(same) {
            let items = Items::new(self.list_head(list_meta).into(), objects);
            items.map_err(BoxError::from).boxed_unsync()
        } else {
            full(self.list_text(&objects, list_meta))
        };
        json_body(StatusCode::OK, body)
    }

    /// A list up to its first item.
    fn list_head(&self, list_meta: Value) -> Vec<u8> {
        let (kind, api_version) = match self.form {
            Form::Metadata => ("PartialObjectMetadataList".into(), "meta.k8s.io/v1".into()),
            _ => (self.kind.list_kind.clone(), self.kind.api_version()),
        };
        let head = json!({"kind": kind, "apiVersion": api_version, "metadata": list_meta});
        let mut text = head.to_string().into_bytes();
        text.pop();
        text.extend_from_slice(b",\"items\":[");
        text
    }

    fn list_text(&self, objects: &[Arc<Object>], list_meta: Value) -> Vec<u8> {
        let objects = objects
            .iter()
            .map(|object| convert::served(self.kind, object));
        if self.form == Form::Table {
            let objects: Vec<_> = objects.collect();
            let objects: Vec<_> = objects.iter().collect();
            let table = table::render(self.kind, &objects, list_meta, self.include);
            return table.to_string().into_bytes();
        }
        let mut text = self.list_head(list_meta);
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
    json_body(code, full(text))
}

/// JSON that may still be in the making as an answer.
pub(crate) fn json_body(code: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
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
