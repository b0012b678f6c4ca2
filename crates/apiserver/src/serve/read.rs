//! Lists.

use std::sync::Arc;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::filter::Filter;
use super::query::Query;
use crate::convert;
use crate::kind::Kind;
use crate::meta;
use crate::status::Status;
use crate::store::{Expired, Object, Page, Store};

/// Which moment a client wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Now.
    Newest,
    /// This revision or a later one. Zero means whatever is at hand.
    NotOlderThan(u64),
    /// Exactly this revision.
    Exact(u64),
}

impl Moment {
    /// Reads `resourceVersion` and `resourceVersionMatch`.
    pub(crate) fn parse(query: &Query) -> Result<Self, Status> {
        let revision = query
            .get("resourceVersion")
            .map(|text| {
                text.parse().map_err(|_| {
                    Status::bad_request(format!("invalid resource version \"{text}\""))
                })
            })
            .transpose()?;
        match (revision, query.get("resourceVersionMatch")) {
            (None, None) => Ok(Self::Newest),
            (None, Some(_)) if query.flag("sendInitialEvents") => Ok(Self::Newest),
            (None, Some(_)) => Err(forbidden(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            )),
            (Some(0), Some("Exact")) => Err(forbidden(
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            )),
            (Some(revision), Some("Exact")) => Ok(Self::Exact(revision)),
            (Some(revision), None | Some("NotOlderThan")) => Ok(Self::NotOlderThan(revision)),
            (Some(_), Some(other)) => Err(Status::unprocessable(format!(
                "resourceVersionMatch: Unsupported value: \"{other}\": supported values: \
                 \"Exact\", \"NotOlderThan\""
            ))),
        }
    }
}

fn forbidden(detail: &str) -> Status {
    Status::unprocessable(format!("resourceVersionMatch: Forbidden: {detail}"))
}

/// Where a list goes on that was cut by `limit`.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    /// Revision of the first page, which all pages report.
    #[serde(rename = "rv")]
    revision: u64,
    namespace: String,
    name: String,
}

impl Continue {
    fn parse(token: &str) -> Result<Self, Status> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| Status::bad_request("continue key is not valid"))
    }

    fn text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }
}

/// A list, and its `ListMeta`.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) revision: u64,
    pub(crate) metadata: Value,
}

/// Lists objects of a kind as a request asks for.
///
/// Later pages show the objects of their own moment under the revision of the first page, so a
/// watch from there sees every change that fell between the pages.
pub(crate) fn list(
    store: &Store,
    kind: &Kind,
    filter: &Filter,
    query: &Query,
) -> Result<Listing, Status> {
    let moment = Moment::parse(query)?;
    let resume = query.get("continue").map(Continue::parse).transpose()?;
    let after = resume
        .as_ref()
        .map(|resume| (resume.namespace.as_str(), resume.name.as_str()));
    let page = store.list(
        &convert::storage_resource(kind),
        filter.namespace.as_deref(),
        after,
    );
    let revision = match &resume {
        Some(resume) => resumable(resume.revision, &page)?,
        None => reached(moment, &page)?,
    };

    let mut objects = page.objects;
    if filter.is_selective() {
        objects.retain(|object| filter.matches(kind, object));
    }
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    let limit = query.number::<usize>("limit")?;
    if let Some(limit) = limit.filter(|limit| *limit > 0 && *limit < objects.len()) {
        let left = objects.len() - limit;
        objects.truncate(limit);
        if let Some(last) = objects.last() {
            let last = last.value();
            let next = Continue {
                revision,
                namespace: meta::namespace(&last).into(),
                name: meta::name(&last).into(),
            };
            metadata["continue"] = next.text().into();
        }
        if !filter.is_selective() {
            metadata["remainingItemCount"] = left.into();
        }
    }
    Ok(Listing {
        objects,
        revision,
        metadata,
    })
}

fn resumable(revision: u64, page: &Page) -> Result<u64, Status> {
    if revision < page.oldest || revision > page.revision {
        return Err(Status::expired(
            "The provided continue parameter is too old to display a consistent list result. You \
             can start a new list without the continue parameter.",
        ));
    }
    Ok(revision)
}

/// The revision under which a page is shown, if it fits the wanted moment.
fn reached(moment: Moment, page: &Page) -> Result<u64, Status> {
    match moment {
        Moment::NotOlderThan(asked) | Moment::Exact(asked) if asked > page.revision => {
            Err(Status::too_large_revision(asked, page.revision))
        }
        Moment::Newest | Moment::NotOlderThan(_) => Ok(page.revision),
        // Nothing changed since, so the present state is that of the asked moment.
        Moment::Exact(asked) if asked >= page.changed => Ok(asked),
        Moment::Exact(asked) => {
            let expired = Expired {
                asked,
                oldest: page.changed,
            };
            Err(Status::expired(expired.to_string()))
        }
    }
}
