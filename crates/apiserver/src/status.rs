//! `Status`: how a Kubernetes API server says no.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::kind::Kind;

/// One fault of an object: `field` is its path, such as `spec.resources.requests[storage]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Machine-readable: `FieldValueRequired`, `FieldValueInvalid`, `FieldValueNotSupported`, …
    pub reason: &'static str,
    /// For people, such as `Required value: …` or `Invalid value: "x": …`.
    pub message: String,
    /// Path of the field.
    pub field: String,
}

/// An error answer (Kubernetes API conventions, "Response Status Kind").
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP code.
    pub code: StatusCode,
    /// Machine-readable reason, such as `NotFound`.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
    /// `details`: name, group, kind, uid, causes, retryAfterSeconds; `Null` where there are none.
    pub details: Value,
    /// Where an expired list can go on; empty for all other errors.
    pub continue_token: String,
}

impl Status {
    /// The JSON document that goes over the wire.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        });
        if !self.continue_token.is_empty() {
            status["metadata"]["continue"] = self.continue_token.as_str().into();
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }

    /// An answer without details.
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
            continue_token: String::new(),
        }
    }

    fn about(kind: &Kind, name: &str) -> Value {
        let mut details = json!({"name": name, "kind": kind.plural});
        if !kind.group.is_empty() {
            details["group"] = kind.group.clone().into();
        }
        details
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: the client did not say who it is.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403 about one object.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", kind.group_resource());
        let details = Self::about(kind, name);
        Self {
            details,
            ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
        }
    }

    /// 403 for creating into a namespace that is going away.
    pub fn namespace_terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut status = Self::forbidden(kind, name, &why);
        status.details["causes"] = json!([{
            "reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": format!("namespace {namespace} is being terminated"),
        }]);
        status
    }

    /// 404: no such object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.group_resource());
        let details = Self::about(kind, name);
        Self {
            details,
            ..Self::new(StatusCode::NOT_FOUND, "NotFound", message)
        }
    }

    /// 404: no such resource, or no such path at all.
    pub fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self {
            details: json!({}),
            ..Self::new(StatusCode::NOT_FOUND, "NotFound", message)
        }
    }

    /// 405: the resource has no such verb.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 406: the client accepts nothing that is served here.
    pub fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 409: the name is taken.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.group_resource());
        let details = Self::about(kind, name);
        Self {
            details,
            ..Self::new(StatusCode::CONFLICT, "AlreadyExists", message)
        }
    }

    /// 409: the change does not fit the object's present state.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = kind.group_resource();
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        let details = Self::about(kind, name);
        Self {
            details,
            ..Self::new(StatusCode::CONFLICT, "Conflict", message)
        }
    }

    /// 409: someone else was faster.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(kind, name, why)
    }

    /// 410: the history asked for is forgotten.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 413: the body is too large.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            message,
        )
    }

    /// 413: the object is larger than what is stored.
    pub fn object_too_large(kind: &Kind, name: &str, limit: usize) -> Self {
        let message = format!(
            "{} \"{name}\" is too large: an object is at most {limit} bytes of JSON",
            kind.group_resource()
        );
        let details = Self::about(kind, name);
        Self {
            details,
            ..Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                message,
            )
        }
    }

    /// 415: the body is in a format that is not served here.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            message,
        )
    }

    /// 422: the object breaks rules; each cause is one of them.
    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let group_kind = match kind.group.as_str() {
            "" => kind.kind.clone(),
            group => format!("{}.{group}", kind.kind),
        };
        let message = format!("{group_kind} \"{name}\" is invalid: {}", joined(causes));
        let mut details = Self::about(kind, name);
        details["kind"] = kind.kind.clone().into();
        details["causes"] = json!(causes);
        Self {
            details,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
        }
    }

    /// 422: the parameters of a request break rules; `kind` is that of the options, such as
    /// `PatchOptions`.
    pub fn invalid_options(kind: &str, causes: &[Cause]) -> Self {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}", joined(causes));
        Self {
            details: json!({"group": "meta.k8s.io", "kind": kind, "causes": causes}),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
        }
    }

    /// 422: a patch cannot be applied to the object.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// 429: more is asked for at a time than is worked on at a time.
    pub fn too_many_requests() -> Self {
        let message = "Too many requests, please try again later.";
        Self {
            details: json!({"retryAfterSeconds": 1}),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
        }
    }

    /// 500: the server failed.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 503: not now; nothing was done.
    pub fn unavailable(message: impl std::fmt::Display) -> Self {
        Self {
            details: json!({"retryAfterSeconds": 1}),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                message.to_string(),
            )
        }
    }

    /// 504: it is not known what became of it.
    pub fn timeout(message: impl std::fmt::Display) -> Self {
        let message = format!("Timeout: {message}");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
    }

    /// 504: a revision was asked for that has not been given out.
    pub fn too_large_revision(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let details = json!({"retryAfterSeconds": 1, "causes": [{
            "reason": "ResourceVersionTooLarge", "message": "Too large resource version",
        }]});
        Self {
            details,
            ..Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
        }
    }
}

fn joined(causes: &[Cause]) -> String {
    let texts: Vec<_> = causes
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect();
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
