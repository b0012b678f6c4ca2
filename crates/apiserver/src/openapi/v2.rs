//! OpenAPI v2, as far as anyone still asks for it: the schemas, and how objects are patched.
//!
//! kubectl before 1.24 explains and validates with it; later ones fall back on it when they meet a
//! kind that OpenAPI v3 does not tell of. They ask for protobuf: the message `Document` of gnostic's
//! `openapi.v2`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{GROUP_VERSION_KIND, group_version_kind, info, paths};
use crate::kind::Kind;
use crate::wire::Message;

mod definitions;

const SWAGGER: &str = "2.0";

/// `/openapi/v2` in JSON.
pub fn document(kinds: &[Arc<Kind>]) -> Value {
    let paths: Map<_, _> = kinds
        .iter()
        .map(|kind| (paths::object(kind), item(kind)))
        .collect();
    json!({"swagger": SWAGGER, "info": info(), "paths": paths,
        "definitions": definitions::of(kinds)})
}

fn item(kind: &Kind) -> Value {
    let variables: Vec<_> = paths::variables(kind)
        .iter()
        .map(|name| json!({"name": name, "in": "path", "required": true, "type": "string"}))
        .collect();
    let body = json!({"name": "body", "in": "body", "required": true, "schema": {}});
    let parameters: Vec<_> = paths::PATCH
        .iter()
        .map(|(name, type_, description)| {
            json!({"name": name, "in": "query", "description": description, "type": type_})
        })
        .chain([body])
        .collect();
    let patch = json!({
        "consumes": paths::patch_types(kind).collect::<Vec<_>>(),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        GROUP_VERSION_KIND: group_version_kind(kind),
    });
    json!({"patch": patch, "parameters": variables})
}

/// `/openapi/v2` in protobuf.
pub fn protobuf(kinds: &[Arc<Kind>]) -> Vec<u8> {
    const PATH: u64 = 2;
    let paths = kinds.iter().fold(Message::default(), |paths, kind| {
        paths.message(PATH, &named(&paths::object(kind), &item_message(kind)))
    });
    let info = info();
    let text = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
    let info = Message::default()
        .text(1, &text("title"))
        .text(2, &text("version"));
    Message::default()
        .text(1, SWAGGER)
        .message(2, &info)
        .message(8, &paths)
        .message(9, &definitions::message(&definitions::of(kinds)))
        .into_bytes()
}

/// A `PathItem`.
fn item_message(kind: &Kind) -> Message {
    const PATCH: u64 = 8;
    const PARAMETERS: u64 = 9;
    let variables = paths::variables(kind);
    variables.iter().fold(
        Message::default().message(PATCH, &patch_message(kind)),
        |item, name| item.message(PARAMETERS, &path_parameter(name)),
    )
}

/// An `Operation`.
fn patch_message(kind: &Kind) -> Message {
    const CONSUMES: u64 = 7;
    const PARAMETERS: u64 = 8;
    const RESPONSES: u64 = 9;
    const EXTENSION: u64 = 13;
    let patch = paths::patch_types(kind).fold(Message::default(), |patch, media_type| {
        patch.text(CONSUMES, media_type)
    });
    let patch = paths::PATCH.iter().fold(patch, |patch, parameter| {
        patch.message(PARAMETERS, &query_parameter(parameter))
    });
    // The value of an extension is YAML, and so may be JSON.
    let extension = Message::default().text(2, &group_version_kind(kind).to_string());
    let response = wrapped(&[1], &Message::default().text(1, "OK"));
    patch
        .message(PARAMETERS, &body_parameter())
        .message(RESPONSES, &wrapped(&[1], &named("200", &response)))
        .message(EXTENSION, &named(GROUP_VERSION_KIND, &extension))
}

/// A `ParametersItem` that is a `PathParameterSubSchema`.
fn path_parameter(name: &str) -> Message {
    let parameter = Message::default()
        .flag(1, true)
        .text(2, "path")
        .text(4, name)
        .text(5, "string");
    wrapped(&[1, 2, 4], &parameter)
}

/// A `ParametersItem` that is a `QueryParameterSubSchema`.
fn query_parameter((name, type_, description): &paths::Parameter) -> Message {
    let parameter = Message::default()
        .text(2, "query")
        .text(3, description)
        .text(4, name)
        .text(6, type_);
    wrapped(&[1, 2, 3], &parameter)
}

/// A `ParametersItem` that is a `BodyParameter` of any form.
fn body_parameter() -> Message {
    let parameter = Message::default()
        .text(2, "body")
        .text(3, "body")
        .flag(4, true)
        .message(5, &Message::default());
    wrapped(&[1, 1], &parameter)
}

/// An entry of what is a map in JSON.
fn named(name: &str, value: &Message) -> Message {
    Message::default().text(1, name).message(2, value)
}

/// A message inside messages that hold nothing else; the outermost field comes first.
fn wrapped(fields: &[u64], message: &Message) -> Message {
    fields.iter().rev().fold(message.clone(), |inner, field| {
        Message::default().message(*field, &inner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Content, Reader};

    /// The contents of a field, each time it occurs.
    fn all(message: &[u8], wanted: u64) -> Vec<&[u8]> {
        let mut reader = Reader(message);
        let mut found = Vec::new();
        while let Some((field, content)) = reader.field().unwrap() {
            match content {
                Content::Bytes(bytes) if field == wanted => found.push(bytes),
                _ => {}
            }
        }
        found
    }

    /// The only content of a field of a field of a …
    fn at<'a>(message: &'a [u8], fields: &[u64]) -> &'a [u8] {
        fields.iter().fold(message, |message, field| {
            let found = all(message, *field);
            assert_eq!(found.len(), 1, "field {field} of {fields:?}");
            found[0]
        })
    }

    #[test]
    fn both_forms_say_the_same() {
        let kinds: Vec<_> = crate::builtin::kinds().into_iter().map(Arc::new).collect();
        let json = document(&kinds);
        let message = protobuf(&kinds);
        assert_eq!(at(&message, &[1]), b"2.0");
        assert_eq!(at(&message, &[2, 1]), b"Kubernetes");
        let paths = all(at(&message, &[8]), 2);
        assert_eq!(paths.len(), json["paths"].as_object().unwrap().len());
        for path in paths {
            let name = str::from_utf8(at(path, &[1])).unwrap();
            let item = &json["paths"][name];
            let patch = at(path, &[2, 8]);
            let extension = at(patch, &[13, 2, 2]);
            assert_eq!(
                serde_json::from_slice::<Value>(extension).unwrap(),
                item["patch"][GROUP_VERSION_KIND]
            );
            let parameters = all(patch, 8);
            let expected = item["patch"]["parameters"].as_array().unwrap();
            assert_eq!(parameters.len(), expected.len());
            for (parameter, expected) in parameters.iter().zip(expected) {
                let is_query = expected["in"] == "query";
                let (fields, name): (&[_], _) = if is_query {
                    (&[1, 2, 3], 4)
                } else {
                    (&[1, 1], 2)
                };
                let parameter = at(parameter, fields);
                assert_eq!(
                    at(parameter, &[name]),
                    expected["name"].as_str().unwrap().as_bytes()
                );
            }
            assert_eq!(at(patch, &[9, 1, 1]), b"200");
            assert_eq!(
                all(patch, 7).len(),
                item["patch"]["consumes"].as_array().unwrap().len()
            );
            let variables = all(at(path, &[2]), 9);
            assert_eq!(variables.len(), name.matches('{').count(), "{name}");
            for variable in variables {
                let variable = str::from_utf8(at(variable, &[1, 2, 4, 4])).unwrap();
                assert!(name.contains(&format!("{{{variable}}}")), "{name}");
            }
        }
    }

    #[test]
    fn every_kind_tells_of_field_validation() {
        let kinds: Vec<_> = crate::builtin::kinds().into_iter().map(Arc::new).collect();
        let document = document(&kinds);
        let pods = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(
            pods[GROUP_VERSION_KIND],
            json!({"group": "", "version": "v1", "kind": "Pod"})
        );
        for (path, item) in document["paths"].as_object().unwrap() {
            let parameters = item["patch"]["parameters"].as_array().unwrap();
            assert!(
                parameters
                    .iter()
                    .any(|parameter| parameter["name"] == "fieldValidation"),
                "{path}"
            );
        }
    }
}
