//! From a document to an object that has the shape of its kind.

use serde_json::Value;

use super::Document;
use crate::kind::Kind;
use crate::schema;
use crate::status::Status;

/// What becomes of fields that a kind does not have, or that come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, and the client is told.
    #[default]
    Warn,
    /// The request is refused.
    Strict,
}

/// Makes a document an object of `kind`: right types, known fields only, defaults filled in.
pub(crate) fn conform(
    kind: &Kind,
    document: Document,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let Document {
        value: mut object,
        duplicates,
    } = document;
    check_type(kind, &mut object)?;
    let unknown = schema::prune(&kind.schema, &kind.definitions, &mut object);
    let faults = unknown
        .into_iter()
        .map(|path| format!("unknown field \"{path}\""))
        .chain(duplicates);
    match validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => warnings.extend(faults),
        FieldValidation::Strict => {
            let faults: Vec<_> = faults.collect();
            if !faults.is_empty() {
                let (name, version) = (&kind.kind, &kind.version);
                return Err(Status::bad_request(format!(
                    "{name} in version \"{version}\" cannot be handled as a {name}: strict \
                     decoding error: {}",
                    faults.join(", ")
                )));
            }
        }
    }
    schema::decode(kind, &mut object)?;
    schema::apply_defaults(&kind.schema, &kind.definitions, &mut object);
    Ok(object)
}

/// Checks that the object says it is of the kind, where it says anything.
fn check_type(kind: &Kind, object: &mut Value) -> Result<(), Status> {
    let Some(fields) = object.as_object_mut() else {
        return Err(Status::bad_request(
            "the body of the request must be a JSON object",
        ));
    };
    let api_version = kind.api_version();
    for (field, what, expected) in [
        ("apiVersion", "API version", &api_version),
        ("kind", "kind", &kind.kind),
    ] {
        match fields
            .get(field)
            .and_then(Value::as_str)
            .filter(|found| !found.is_empty())
        {
            None => {
                fields.insert(field.into(), expected.as_str().into());
            }
            Some(found) if found == expected => {}
            Some(found) => {
                return Err(Status::bad_request(format!(
                    "the {what} in the data ({found}) does not match the expected {what} \
                     ({expected})"
                )));
            }
        }
    }
    Ok(())
}
