//! Documents that describe the API: discovery, OpenAPI, version.

use std::collections::HashMap;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
};
use http::{HeaderMap, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::negotiate::{self, Discovery, OPENAPI_2_PROTOBUF};
use super::path::Path;
use super::query::Query;
use super::respond;
use crate::discovery::{self, Subresource};
use crate::extend::Body;
use crate::openapi;
use crate::registry::Catalog;
use crate::status::Status;

const JSON: &str = "application/json";

/// Media type of aggregated discovery.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The same as it was before it was stable.
const AGGREGATED_BETA: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// Kubernetes release whose API is served.
const GIT_VERSION: &str = "v1.33.0+longshore";

/// The documents of one catalog, kept until the catalog changes.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    cache: Mutex<Cache>,
    subresources: Vec<Subresource>,
}

#[derive(Debug, Default)]
struct Cache {
    generation: u64,
    contents: HashMap<String, Bytes>,
}

impl Documents {
    /// Subresources beside `status` that discovery tells of.
    pub(crate) fn new(subresources: Vec<Subresource>) -> Self {
        Self {
            subresources,
            ..Self::default()
        }
    }

    /// Answers a request for a document.
    pub(crate) fn get(
        &self,
        catalog: &Catalog,
        path: &Path,
        query: &Query,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Status> {
        let kinds = &catalog.kinds;
        let form = match path {
            Path::CoreVersions | Path::Groups => negotiate::discovery(headers)?,
            Path::Group(_) | Path::Resources { .. } | Path::Root | Path::Version => {
                negotiate::plain(headers)?;
                Discovery::Plain
            }
            _ => Discovery::Plain,
        };
        match path {
            Path::Version => Ok(respond::value(StatusCode::OK, &version())),
            Path::Root => Ok(respond::value(StatusCode::OK, &discovery::paths(kinds))),
            Path::CoreVersions | Path::Groups if form != Discovery::Plain => {
                let core = *path == Path::CoreVersions;
                let (version, media_type) = match form {
                    Discovery::AggregatedBeta => ("v2beta1", AGGREGATED_BETA),
                    _ => ("v2", AGGREGATED),
                };
                let text = self.cached(catalog, &format!("aggregated {version} {core}"), || {
                    Some(json_bytes(&if core {
                        discovery::aggregated_core(kinds, &self.subresources, version)
                    } else {
                        discovery::aggregated(kinds, &self.subresources, version)
                    }))
                })?;
                Ok(tagged(text, media_type, headers))
            }
            Path::CoreVersions => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok());
                let versions = discovery::core_versions(kinds, host.unwrap_or_default());
                Ok(respond::value(StatusCode::OK, &versions))
            }
            Path::Groups => Ok(respond::value(
                StatusCode::OK,
                &discovery::group_list(kinds),
            )),
            Path::Group(name) => {
                let group = discovery::group(kinds, name).ok_or_else(Status::no_such_path)?;
                Ok(respond::value(StatusCode::OK, &group))
            }
            Path::Resources { group, version } => {
                let list = discovery::resource_list(kinds, &self.subresources, group, version);
                let list = list.ok_or_else(Status::no_such_path)?;
                Ok(respond::value(StatusCode::OK, &list))
            }
            _ => self.openapi(catalog, path, query, headers),
        }
    }

    fn openapi(
        &self,
        catalog: &Catalog,
        path: &Path,
        query: &Query,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Status> {
        let kinds = &catalog.kinds;
        match path {
            Path::OpenApi2 if negotiate::wants_openapi_protobuf(headers)? => {
                let make = || Some(openapi::v2::protobuf(kinds).into());
                let message = self.cached(catalog, "openapi v2 protobuf", make)?;
                Ok(tagged(message, OPENAPI_2_PROTOBUF, headers))
            }
            Path::OpenApi2 => {
                let make = || Some(json_bytes(&openapi::v2::document(kinds)));
                let text = self.cached(catalog, "openapi v2", make)?;
                Ok(tagged(text, JSON, headers))
            }
            Path::OpenApi3 => {
                let make = || Some(json_bytes(&openapi::index(kinds, &self.subresources)));
                let text = self.cached(catalog, "openapi v3", make)?;
                Ok(tagged(text, JSON, headers))
            }
            Path::OpenApi3Of { group, version } => {
                let name = format!("openapi v3 {group}/{version}");
                let make = || {
                    openapi::document(kinds, &self.subresources, group, version)
                        .as_ref()
                        .map(json_bytes)
                };
                let document = self.cached(catalog, &name, make)?;
                let Some(asked) = query.get("hash") else {
                    return Ok(tagged(document, JSON, headers));
                };
                let url = openapi::url(group, version, &document);
                if !url.ends_with(&format!("={asked}")) {
                    return Ok(moved(&url));
                }
                let mut response = tagged(document, JSON, headers);
                let for_ever = HeaderValue::from_static("public, immutable");
                response.headers_mut().insert(CACHE_CONTROL, for_ever);
                Ok(response)
            }
            _ => Err(Status::no_such_path()),
        }
    }

    fn cached(
        &self,
        catalog: &Catalog,
        name: &str,
        make: impl FnOnce() -> Option<Bytes>,
    ) -> Result<Bytes, Status> {
        let mut cache = self.cache.lock();
        if cache.generation != catalog.generation {
            *cache = Cache {
                generation: catalog.generation,
                contents: HashMap::new(),
            };
        }
        if let Some(content) = cache.contents.get(name) {
            return Ok(content.clone());
        }
        let content = make().ok_or_else(Status::no_such_path)?;
        cache.contents.insert(name.into(), content.clone());
        Ok(content)
    }
}

/// Sends a client to the present address of a document.
fn moved(url: &str) -> Response<Body> {
    let mut response = Response::new(respond::full(Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(url) = HeaderValue::from_str(url) {
        response.headers_mut().insert(LOCATION, url);
    }
    response
}

/// A document that a client need not take twice.
fn tagged(document: Bytes, media_type: &'static str, headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{:016X}\"", discovery::fnv1a(&document));
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let mut response = if known == Some(tag.as_str()) {
        let mut unchanged = Response::new(respond::full(Bytes::new()));
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        let mut changed = Response::new(respond::full(document));
        let media_type = HeaderValue::from_static(media_type);
        changed.headers_mut().insert(CONTENT_TYPE, media_type);
        changed
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn json_bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": GIT_VERSION, "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "",
        "compiler": "rustc", "platform": format!("linux/{}", std::env::consts::ARCH),
    })
}
