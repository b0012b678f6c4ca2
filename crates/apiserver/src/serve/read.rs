//! Lists: of which moment, and cut into which pages.

use std::sync::Arc;

use base64::DecodeError;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::filter::Filter;
use super::query::{Query, number_fault};
use crate::convert;
use crate::kind::Kind;
use crate::schema::cause;
use crate::status::Status;
use crate::store::{Object, Span, Store};

/// Which moment a client wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Now.
    Newest,
    /// This revision or a later one. Zero means whatever is at hand.
    NotOlderThan(u64),
    /// Exactly this revision.
    Exact(u64),
}

/// Reads `resourceVersion`.
pub(crate) fn revision(query: &Query) -> Result<Option<u64>, Status> {
    let parse = |text: &str| {
        text.parse().map_err(|error| {
            Status::bad_request(format!(
                "invalid resource version: resourceVersion: Invalid value: {text:?}: {}",
                number_fault("ParseUint", text, &error)
            ))
        })
    };
    query.get("resourceVersion").map(parse).transpose()
}

/// Refuses a `resourceVersion` that is none, or that has not been given out.
pub(crate) fn check_reached(store: &Store, query: &Query) -> Result<(), Status> {
    let (asked, now) = (revision(query)?.unwrap_or(0), store.revision());
    if asked > now {
        return Err(Status::too_large_revision(asked, now));
    }
    Ok(())
}

/// Refuses parameters of a list that contradict each other.
fn check_options(query: &Query) -> Result<(), Status> {
    const MATCH: &str = "resourceVersionMatch";
    let mut causes = Vec::new();
    let mut forbid = |field: &str, detail: &str| causes.push(cause::forbidden(field, detail));
    if query.get("sendInitialEvents").is_some() {
        let detail = "sendInitialEvents is forbidden for list";
        forbid("sendInitialEvents", detail);
    }
    if let Some(given) = query.get(MATCH) {
        if query.get("resourceVersion").is_none() {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            forbid(MATCH, detail);
        }
        if query.get("continue").is_some() {
            forbid(MATCH, "resourceVersionMatch is forbidden for continue");
        }
        if given == "Exact" && query.get("resourceVersion") == Some("0") {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            forbid(MATCH, detail);
        }
        if !["Exact", "NotOlderThan"].contains(&given) {
            let supported = ["Exact", "NotOlderThan", ""];
            causes.push(cause::unsupported(MATCH, &given.into(), supported));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid_options("ListOptions", &causes))
}

fn moment(query: &Query, limit: Option<usize>) -> Result<Moment, Status> {
    Ok(
        match (revision(query)?, query.get("resourceVersionMatch")) {
            (None, _) => Moment::Newest,
            (Some(revision), Some("Exact")) => Moment::Exact(revision),
            // A first page is of the moment that its author knows.
            (Some(revision), None) if revision > 0 && limit.is_some() => Moment::Exact(revision),
            (Some(revision), _) => Moment::NotOlderThan(revision),
        },
    )
}

/// Where a list goes on that was cut by `limit`.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    #[serde(rename = "v")]
    version: String,
    /// Revision of the first page, whose moment all pages show; -1 for the present one.
    #[serde(rename = "rv")]
    revision: i64,
    /// Place of the first object that is still to come, or one before it.
    start: String,
}

impl Continue {
    const VERSION: &str = "meta.k8s.io/v1";

    /// Behind an object.
    fn after(object: &Object, revision: u64) -> Self {
        Self {
            version: Self::VERSION.into(),
            revision: revision.cast_signed(),
            start: format!("{}\0", object.place()),
        }
    }

    fn parse(token: &str) -> Result<Self, Status> {
        let invalid = |why: String| {
            let message = format!("invalid continue token: continue key is not valid: {why}");
            Status::bad_request(message)
        };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|error| {
            let at = match error {
                DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
                DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => token.len(),
            };
            invalid(format!("illegal base64 data at input byte {at}"))
        })?;
        let token: Self =
            serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        let version = &token.version;
        if version != Self::VERSION {
            let why = format!("server does not recognize this encoded version {version}");
            return Err(invalid(why));
        }
        if token.revision == 0 {
            let why = format!("incorrect encoded start resourceVersion (version {version})");
            return Err(invalid(why));
        }
        if token.start.is_empty() {
            let why = format!("encoded start key empty (version {version})");
            return Err(invalid(why));
        }
        Ok(token)
    }

    fn text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    fn moment(&self) -> Moment {
        u64::try_from(self.revision).map_or(Moment::Newest, Moment::Exact)
    }

    /// The answer when the first page's moment is forgotten: the client may start anew, or take
    /// the rest as it is now.
    fn expired(self) -> Status {
        let now = Self {
            revision: -1,
            ..self
        };
        Status {
            continue_token: now.text(),
            ..Status::expired(
                "The provided continue parameter is too old to display a consistent list result. \
                 You can start a new list without the continue parameter, or use the continue \
                 token in this response to retrieve the remainder of the results. Continuing with \
                 the provided token results in an inconsistent list - objects that were created, \
                 modified, or deleted between the time the first chunk was returned and now may \
                 show up in the list.",
            )
        }
    }
}

/// A list, and its `ListMeta`.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) metadata: Value,
}

/// Lists objects of a kind as a request asks for. All pages show the moment of the first one.
pub(crate) fn list(
    store: &Store,
    kind: &Kind,
    filter: &Filter,
    query: &Query,
) -> Result<Listing, Status> {
    check_options(query)?;
    // As elsewhere, a limit below nothing is none.
    let limit = query.number::<i64>("limit")?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.filter(|limit| *limit > 0);
    let resume = query.get("continue").map(Continue::parse).transpose()?;
    let moment = match &resume {
        None => moment(query, limit)?,
        Some(_) if query.get("resourceVersion").is_some_and(|text| text != "0") => {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Some(resume) => resume.moment(),
    };
    let now = store.revision();
    let at = match (moment, &resume) {
        (Moment::NotOlderThan(asked) | Moment::Exact(asked), None) if asked > now => {
            return Err(Status::too_large_revision(asked, now));
        }
        (Moment::Newest | Moment::NotOlderThan(_), _) => None,
        (Moment::Exact(asked), _) => Some(asked),
    };
    let span = Span {
        namespace: filter.namespace.as_deref(),
        start: resume.as_ref().map_or("", |resume| &resume.start),
        limit: limit.filter(|_| !filter.is_selective()),
        at,
    };
    let Ok(page) = store.page(&convert::storage_resource(kind), &span) else {
        return Err(resume.map_or_else(too_old, Continue::expired));
    };
    let (mut objects, mut left) = (page.objects, page.left);
    if filter.is_selective() {
        objects.retain(|object| filter.matches(kind, object));
        let taken = limit.unwrap_or(usize::MAX).min(objects.len());
        left = objects.len() - taken;
        objects.truncate(taken);
    }
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(last) = objects.last().filter(|_| left > 0) {
        metadata["continue"] = Continue::after(last, page.revision).text().into();
        if !filter.is_selective() {
            metadata["remainingItemCount"] = left.into();
        }
    }
    Ok(Listing { objects, metadata })
}

fn too_old() -> Status {
    Status::expired("The resourceVersion for the provided list is too old.")
}

/// The objects that are there now, and the revision of now, which must have reached `least`.
pub(crate) fn present(
    store: &Store,
    kind: &Kind,
    filter: &Filter,
    least: u64,
) -> Result<(Vec<Arc<Object>>, u64), Status> {
    let span = Span {
        namespace: filter.namespace.as_deref(),
        ..Span::default()
    };
    let page = store.page(&convert::storage_resource(kind), &span);
    let mut page = page.map_err(|_| too_old())?;
    if least > page.revision {
        return Err(Status::too_large_revision(least, page.revision));
    }
    if filter.is_selective() {
        page.objects.retain(|object| filter.matches(kind, object));
    }
    Ok((page.objects, page.revision))
}
