//! Reading what a client sends.

use bytes::Bytes;
use futures::FutureExt as _;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::protobuf::{self, ProtobufError};
use super::query::Query;
use crate::extend::Body;
use crate::objects::{Document, FieldValidation, Malformed};
use crate::status::Status;

/// Most bytes of a request's body.
pub(crate) const LIMIT: usize = 3 * 1024 * 1024;

/// Media type of YAML.
const YAML: &str = "application/yaml";

/// Takes in a whole body.
pub(crate) async fn read(body: Body) -> Result<Bytes, Status> {
    if body.size_hint().lower() > LIMIT as u64 {
        return Err(Status::too_large(LIMIT));
    }
    // Boxed, because the compiler cannot see through the limit's bound on its error type.
    match Limited::new(body, LIMIT).collect().boxed().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(LIMIT)),
        Err(error) => Err(Status::bad_request(format!(
            "cannot read the request's body: {error}"
        ))),
    }
}

/// The media type of a body, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// Reads an object of `kind` from a body in any format that is taken.
pub(crate) fn parse(headers: &HeaderMap, kind: &str, body: &[u8]) -> Result<Document, Status> {
    let document = match media_type(headers) {
        // Clients without a content type mean JSON.
        "" | "application/json" | "*/*" => Document::parse(body),
        YAML => Document::parse_yaml(body),
        protobuf::MEDIA_TYPE => {
            return protobuf::decode(body)
                .map(Document::from)
                .map_err(|error| match error {
                    ProtobufError::Malformed(_) => Status::bad_request(error.to_string()),
                    ProtobufError::Unsupported => Status::unsupported_media_type(error.to_string()),
                });
        }
        _ => {
            return Err(Status::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
    };
    document.map_err(|fault| malformed(kind, &fault, body))
}

/// 400 for a body that cannot be read at all, with its beginning.
fn malformed(kind: &str, fault: &Malformed, body: &[u8]) -> Status {
    const SHOWN: usize = 30;
    let start = &body[..body.len().min(SHOWN)];
    let more = if body.len() > SHOWN { " ..." } else { "" };
    let summary = match start {
        [] => "<empty>".to_owned(),
        [b'{', ..] => format!("{}{more}", String::from_utf8_lossy(start)),
        start => {
            let hex = |byte: &u8| format!("{byte:02x}");
            format!("{}{more}", start.iter().map(hex).collect::<String>())
        }
    };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {fault} ({summary})"
    ))
}

/// `fieldValidation`: what becomes of unknown and duplicate fields.
pub(crate) fn field_validation(query: &Query) -> Result<FieldValidation, Status> {
    match query.get("fieldValidation") {
        None => Ok(FieldValidation::default()),
        Some("Ignore") => Ok(FieldValidation::Ignore),
        Some("Warn") => Ok(FieldValidation::Warn),
        Some("Strict") => Ok(FieldValidation::Strict),
        Some(other) => Err(Status::unprocessable(format!(
            "fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \
             \"Strict\", \"Warn\""
        ))),
    }
}

/// `dryRun`: whether nothing shall be stored.
pub(crate) fn dry_run(query: &Query) -> Result<bool, Status> {
    let mut stages = query.all("dryRun").filter(|stage| !stage.is_empty());
    match stages.clone().find(|stage| *stage != "All") {
        None => Ok(stages.next().is_some()),
        Some(other) => Err(Status::unprocessable(format!(
            "dryRun: Unsupported value: \"{other}\": supported values: \"All\""
        ))),
    }
}
