//! In which form a client wants objects.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::status::Status;

/// A representation of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// Only their metadata.
    Metadata,
    /// As rows of a table for people.
    Table,
}

/// One of the media types that a client accepts.
struct MediaRange<'a> {
    essence: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl MediaRange<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| *value)
    }

    fn is_json(&self) -> bool {
        matches!(self.essence, "application/json" | "application/*" | "*/*")
    }
}

fn accepted(text: &str) -> impl Iterator<Item = MediaRange<'_>> {
    text.split(',').map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|part| part.split_once('=')).collect();
        MediaRange {
            essence,
            parameters,
        }
    })
}

fn accept(headers: &HeaderMap) -> &str {
    let text = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if text.trim().is_empty() { "*/*" } else { text }
}

/// The first form that the client accepts and that is served here.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, Status> {
    let form = |range: MediaRange<'_>| {
        if !range.is_json() {
            return None;
        }
        let is_meta = range.parameter("g") == Some("meta.k8s.io");
        match range.parameter("as") {
            None => Some(Form::Object),
            Some("Table") if is_meta => Some(Form::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if is_meta => {
                Some(Form::Metadata)
            }
            Some(_) => None,
        }
    };
    accepted(accept(headers))
        .find_map(form)
        .ok_or_else(Status::not_acceptable)
}

/// A form of `/api` and `/apis`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discovery {
    /// A list of names, with a document for each.
    Plain,
    /// All in one document, `apidiscovery.k8s.io/v2`.
    Aggregated,
    /// The same as `v2beta1`.
    AggregatedBeta,
}

/// The first form of discovery that the client accepts and that is served here.
pub(crate) fn discovery(headers: &HeaderMap) -> Result<Discovery, Status> {
    let form = |range: MediaRange<'_>| {
        if !range.is_json() {
            return None;
        }
        let is_discovery = range.parameter("g") == Some("apidiscovery.k8s.io");
        match (range.parameter("as"), range.parameter("v")) {
            (None, _) => Some(Discovery::Plain),
            (Some("APIGroupDiscoveryList"), Some("v2")) if is_discovery => {
                Some(Discovery::Aggregated)
            }
            (Some("APIGroupDiscoveryList"), Some("v2beta1")) if is_discovery => {
                Some(Discovery::AggregatedBeta)
            }
            _ => None,
        }
    };
    accepted(accept(headers))
        .find_map(form)
        .ok_or_else(Status::not_acceptable)
}

/// Makes sure that the client accepts JSON as it is.
pub(crate) fn plain(headers: &HeaderMap) -> Result<(), Status> {
    let plain = |range: &MediaRange<'_>| range.is_json() && range.parameter("as").is_none();
    match accepted(accept(headers)).find(plain) {
        Some(_) => Ok(()),
        None => Err(Status::not_acceptable()),
    }
}

/// Media type of OpenAPI v2 in protobuf.
pub(crate) const OPENAPI_2_PROTOBUF: &str =
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// An older spelling of [`OPENAPI_2_PROTOBUF`], which is not a valid media type, but in use.
const OPENAPI_2_PROTOBUF_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Whether the client prefers OpenAPI v2 in protobuf.
pub(crate) fn wants_openapi_protobuf(headers: &HeaderMap) -> Result<bool, Status> {
    accepted(accept(headers))
        .find_map(|range| match range.essence {
            OPENAPI_2_PROTOBUF | OPENAPI_2_PROTOBUF_OLD => Some(true),
            _ => range.is_json().then_some(false),
        })
        .ok_or_else(Status::not_acceptable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())])
    }

    #[test]
    fn the_first_servable_form_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(form(&headers(kubectl)).unwrap(), Form::Table);
        let typed = "application/vnd.kubernetes.protobuf, application/json";
        assert_eq!(form(&headers(typed)).unwrap(), Form::Object);
        let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(form(&headers(partial)).unwrap(), Form::Metadata);
        assert_eq!(form(&HeaderMap::new()).unwrap(), Form::Object);
        assert!(form(&headers("application/vnd.kubernetes.protobuf")).is_err());
    }

    #[test]
    fn aggregated_discovery_is_recognised() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                       application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,\
                       application/json";
        let form = |accept: &str| discovery(&headers(accept)).ok();
        assert_eq!(form(kubectl), Some(Discovery::Aggregated));
        let beta = "application/json;as=APIGroupDiscoveryList;v=v2beta1;g=apidiscovery.k8s.io";
        assert_eq!(form(beta), Some(Discovery::AggregatedBeta));
        assert_eq!(form("application/json"), Some(Discovery::Plain));
        let newer = "application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList";
        assert_eq!(form(newer), None);
        assert_eq!(form(&format!("{newer},*/*")), Some(Discovery::Plain));
    }

    #[test]
    fn openapi_is_protobuf_for_those_who_ask() {
        let kubectl = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
        assert!(wants_openapi_protobuf(&headers(kubectl)).unwrap());
        assert!(!wants_openapi_protobuf(&headers("application/json, */*")).unwrap());
        assert!(!wants_openapi_protobuf(&HeaderMap::new()).unwrap());
        assert!(wants_openapi_protobuf(&headers("text/html")).is_err());
    }
}
