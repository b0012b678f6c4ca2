//! The formats in which a client describes a change (Kubernetes API concepts, "PATCH").

pub mod strategic;
#[cfg(test)]
mod tests;

use json_patch::PatchOperation;
use serde_json::Value;

use crate::kind::Kind;
use crate::meta;
use crate::objects::{Document, size};
use crate::status::Status;

/// Media type of a configuration to apply, which is no change by itself.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

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
            _ => Err(unsupported(kind)),
        }
    }

    /// Applies it to the present state of an object.
    pub(crate) fn apply(&self, kind: &Kind, present: &Value) -> Result<Document, Status> {
        match self {
            Self::Json(patch) => apply_json(kind, patch, present.clone()).map(Document::from),
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

/// 415, with what is taken for a kind.
fn unsupported(kind: &Kind) -> Status {
    let strategic = if kind.is_builtin() {
        "application/strategic-merge-patch+json, "
    } else {
        ""
    };
    Status::unsupported_media_type(format!(
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, {strategic}{APPLY}"
    ))
}

/// Applies a JSON patch step by step, because copies of copies grow without bound, and so does the
/// depth of what is moved into what is moved.
fn apply_json(kind: &Kind, patch: &json_patch::Patch, mut value: Value) -> Result<Value, Status> {
    let mut moved = 0;
    for (index, operation) in patch.0.iter().enumerate() {
        let (part, path) = match operation {
            PatchOperation::Add(add) => (Some(&add.value), &add.path),
            PatchOperation::Replace(replace) => (Some(&replace.value), &replace.path),
            PatchOperation::Copy(copy) => (copy.from.resolve(&value).ok(), &copy.path),
            PatchOperation::Move(relocate) => (relocate.from.resolve(&value).ok(), &relocate.path),
            PatchOperation::Test(test) => (None, &test.path),
            PatchOperation::Remove(remove) => (None, &remove.path),
        };
        if let Some(part) = part {
            size::check_depth(part, path.tokens().count())?;
            if matches!(operation, PatchOperation::Copy(_) | PatchOperation::Move(_)) {
                moved += size::of(part);
            }
            if moved > size::LIMIT {
                let name = meta::name(&value);
                return Err(Status::object_too_large(kind, name, size::LIMIT));
            }
        }
        json_patch::patch(&mut value, std::slice::from_ref(operation)).map_err(|mut error| {
            error.operation = index;
            Status::unprocessable(format!("the patch cannot be applied: {error}"))
        })?;
    }
    Ok(value)
}
