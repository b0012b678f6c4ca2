//! The formats in which a client describes a change (Kubernetes API concepts, "PATCH").

pub mod strategic;

use serde_json::Value;

use crate::kind::Kind;
use crate::objects::Document;
use crate::status::Status;

/// Most operations of one JSON patch.
const OPERATIONS_MAX: usize = 10_000;

/// A change, still to be applied.
#[derive(Debug)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Document),
    /// A merge patch that knows lists with keys.
    Strategic(Document),
}

impl Patch {
    /// Reads a patch of a media type.
    pub(crate) fn parse(kind: &Kind, media_type: &str, body: &[u8]) -> Result<Self, Status> {
        let document = || {
            Document::parse(body)
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))
        };
        match media_type {
            "application/json-patch+json" => {
                let patch: json_patch::Patch = serde_json::from_slice(body).map_err(|error| {
                    Status::bad_request(format!("error decoding patch: {error}"))
                })?;
                if patch.0.len() > OPERATIONS_MAX {
                    return Err(Status::too_large(OPERATIONS_MAX));
                }
                Ok(Self::Json(patch))
            }
            "application/merge-patch+json" => Ok(Self::Merge(document()?)),
            "application/strategic-merge-patch+json" if kind.is_builtin() => {
                Ok(Self::Strategic(document()?))
            }
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
                Err(Status::unsupported_media_type(
                    "server-side apply is not supported by this server; apply on the client side \
                     (kubectl apply without --server-side), or send a merge patch",
                ))
            }
            _ => Err(Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json{}",
                if kind.is_builtin() {
                    ", application/strategic-merge-patch+json"
                } else {
                    ""
                }
            ))),
        }
    }

    /// Applies it to the present state of an object.
    pub(crate) fn apply(&self, kind: &Kind, present: &Value) -> Result<Document, Status> {
        match self {
            Self::Json(patch) => {
                let mut value = present.clone();
                json_patch::patch(&mut value, &patch.0).map_err(|error| {
                    Status::unprocessable(format!("the patch cannot be applied: {error}"))
                })?;
                Ok(value.into())
            }
            Self::Merge(patch) => {
                let mut value = present.clone();
                json_patch::merge(&mut value, &patch.value);
                Ok(Document {
                    value,
                    duplicates: patch.duplicates.clone(),
                })
            }
            Self::Strategic(patch) => {
                let value =
                    strategic::apply(present, &patch.value, &kind.schema, &kind.definitions)?;
                Ok(Document {
                    value,
                    duplicates: patch.duplicates.clone(),
                })
            }
        }
    }
}
