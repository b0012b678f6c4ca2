//! In whose name a request sets fields.

use http::Method;
use http::header::USER_AGENT;

use super::query::Query;
use super::{ResourceRequest, body};
use crate::patch;
use crate::schema::cause;
use crate::status::{Cause, Status};

/// Longest name of a manager, in bytes.
const NAME_MAX: usize = 128;

/// The name of the manager: `fieldManager`, or else what the client calls itself, or else the user.
pub(super) fn of(request: &ResourceRequest) -> Result<String, Status> {
    let options = match request.parts.method {
        Method::POST => "CreateOptions",
        Method::PUT => "UpdateOptions",
        Method::PATCH => "PatchOptions",
        _ => return Ok(String::new()),
    };
    let given = request.query.get("fieldManager").unwrap_or_default();
    let mut causes = faults(given);
    if options == "PatchOptions" {
        let is_apply = body::media_type(&request.parts.headers) == patch::APPLY;
        if is_apply && given.is_empty() {
            causes.push(cause::required(
                "fieldManager",
                "is required for apply patch",
            ));
        }
        if !is_apply && request.query.get("force").is_some() {
            let detail = "may not be specified for non-apply patch";
            causes.push(cause::forbidden("force", detail));
        }
    }
    if !causes.is_empty() {
        return Err(Status::invalid_options(options, &causes));
    }
    if !given.is_empty() {
        return Ok(given.to_owned());
    }
    let agent = request.parts.headers.get(USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    let product = agent.and_then(|agent| agent.split('/').next());
    let name = product.filter(|name| !name.is_empty());
    Ok(printable(name.unwrap_or(&request.user.name)))
}

/// Whether an apply takes fields from their owners.
pub(super) fn force(query: &Query) -> Result<bool, Status> {
    match query.get("force") {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(other) => Err(Status::bad_request(format!(
            "invalid value \"{other}\" of parameter force"
        ))),
    }
}

fn faults(name: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if name.len() > NAME_MAX {
        causes.push(cause::too_long("fieldManager", NAME_MAX as u64));
    }
    for (position, character) in name.char_indices().filter(|(_, c)| c.is_control()) {
        let code = u32::from(character);
        let detail = format!("invalid character U+{code:04X} (at position {position})");
        causes.push(cause::invalid("fieldManager", &name.into(), &detail));
    }
    causes
}

fn printable(name: &str) -> String {
    let end = name.floor_char_boundary(name.len().min(NAME_MAX));
    name[..end].chars().filter(|c| !c.is_control()).collect()
}
