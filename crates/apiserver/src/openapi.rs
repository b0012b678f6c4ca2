//! OpenAPI v3: one document for each group and version, found through an index.
//!
//! Clients use it to explain fields, to learn how lists are merged, and to find out whether the
//! server validates fields. The last of these also stands in [`v2`], for clients that look there.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::discovery::{Subresource, fnv1a};
use crate::kind::Kind;

mod paths;
mod schemas;
pub mod v2;

/// The mark by which clients find the kind of an operation or schema.
const GROUP_VERSION_KIND: &str = "x-kubernetes-group-version-kind";

/// `/openapi/v3`: where the documents are. The hash in an address changes with its document, so
/// that clients can keep what they have read.
pub fn index(kinds: &[Arc<Kind>], extra: &[Subresource]) -> Value {
    let mut index = Map::new();
    for kind in kinds {
        let place = place(&kind.group, &kind.version);
        if index.contains_key(&place) {
            continue;
        }
        if let Some(document) = document(kinds, extra, &kind.group, &kind.version) {
            let text = document.to_string();
            let url = url(&kind.group, &kind.version, text.as_bytes());
            index.insert(place, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": index})
}

/// The present address of a document.
pub(crate) fn url(group: &str, version: &str, document: &[u8]) -> String {
    let (place, hash) = (place(group, version), fnv1a(document));
    format!("/openapi/v3/{place}?hash={hash:016X}")
}

/// `/openapi/v3/api/v1` and `/openapi/v3/apis/{group}/{version}`; `None` if nothing of that version
/// is served.
pub fn document(
    kinds: &[Arc<Kind>],
    extra: &[Subresource],
    group: &str,
    version: &str,
) -> Option<Value> {
    let served: Vec<&Kind> = kinds
        .iter()
        .map(Arc::as_ref)
        .filter(|kind| kind.group == group && kind.version == version)
        .collect();
    if served.is_empty() {
        return None;
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths::of(&served, extra),
        "components": {"schemas": schemas::of(&served)},
    }))
}

/// `api/v1` or `apis/{group}/{version}`.
fn place(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// What every document says about the whole API.
fn info() -> Value {
    json!({"title": "Kubernetes", "version": "v1.33.0"})
}

/// The value of [`GROUP_VERSION_KIND`].
fn group_version_kind(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

/// The value of a `$ref`.
fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Definitions, Schema};

    fn kinds() -> Vec<Arc<Kind>> {
        let mut kinds: Vec<_> = crate::builtin::kinds().into_iter().map(Arc::new).collect();
        let mut custom = (*kinds[4]).clone();
        "example.org".clone_into(&mut custom.group);
        "Disk".clone_into(&mut custom.kind);
        "disks".clone_into(&mut custom.plural);
        custom.definitions = Arc::new(Definitions::new());
        custom.schema = Schema::from_openapi(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "description": "What is wanted.", "required": ["size"],
                "properties": {"size": {"x-kubernetes-int-or-string": true,
                    "anyOf": [{"type": "integer"}, {"type": "string"}]}}}}}))
        .unwrap();
        kinds.push(Arc::new(custom));
        kinds
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let kinds = kinds();
        let extra = crate::extend::Extensions::default().told();
        let index = index(&kinds, &extra);
        let places = index["paths"].as_object().unwrap();
        assert!(places.contains_key("apis/example.org/v1"), "{places:?}");
        for place in places.keys() {
            let mut parts = place.split('/').skip(1).collect::<Vec<_>>();
            if parts.len() == 1 {
                parts.insert(0, "");
            }
            let document = document(&kinds, &extra, parts[0], parts[1]).unwrap();
            let text = document.to_string();
            for found in text.split("#/components/schemas/").skip(1) {
                let name = &found[..found.find('"').unwrap()];
                assert!(
                    document["components"]["schemas"].get(name).is_some(),
                    "{place} {name}"
                );
            }
        }
    }

    #[test]
    fn the_kind_is_found_by_path_and_the_schema_by_kind() {
        let document = document(&kinds(), &[], "", "v1").unwrap();
        let get = &document["paths"]["/api/v1/namespaces/{namespace}/pods"]["get"];
        let kind = &get["x-kubernetes-group-version-kind"];
        assert_eq!(*kind, json!({"group": "", "version": "v1", "kind": "Pod"}));
        let schema = &document["components"]["schemas"]["io.k8s.api.core.v1.Pod"];
        assert_eq!(schema["x-kubernetes-group-version-kind"], json!([kind]));
        let spec = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"];
        let containers = &spec["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(
            spec["properties"]["volumes"]["x-kubernetes-patch-strategy"],
            "merge,retainKeys"
        );
    }

    #[test]
    fn operations_say_what_they_take_and_give() {
        let extra = crate::extend::Extensions::default().told();
        let kinds = kinds();
        let core = document(&kinds, &extra, "", "v1").unwrap();
        let apps = document(&kinds, &extra, "apps", "v1").unwrap();
        let shape = |document: &Value, path: &str, method: &str, code: &str| {
            let operation = &document["paths"][path][method];
            let name = |part: &Value| {
                let schema = &part["content"]["application/json"]["schema"]["$ref"];
                let name = schema.as_str().unwrap_or_default();
                name.rsplit('.').next().unwrap_or_default().to_owned()
            };
            let taken = name(&operation["requestBody"]);
            let given = name(&operation["responses"][code]);
            assert!(operation["responses"]["401"].is_object(), "{method} {path}");
            (taken, given)
        };
        let pods = "/api/v1/namespaces/{namespace}/pods";
        let pod = format!("{pods}/{{name}}");
        let account = "/api/v1/namespaces/{namespace}/serviceaccounts/{name}";
        let deployment = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
        for (document, path, method, code, taken, given) in [
            (&core, "/api/v1/pods", "get", "200", "", "PodList"),
            (&core, pods, "post", "201", "Pod", "Pod"),
            (&core, pods, "delete", "200", "DeleteOptions", "Status"),
            (&core, &*pod, "put", "201", "Pod", "Pod"),
            (&core, &*pod, "delete", "202", "DeleteOptions", "Status"),
            (&core, &*format!("{pod}/status"), "patch", "200", "", "Pod"),
            (
                &core,
                &*format!("{pod}/binding"),
                "post",
                "201",
                "Binding",
                "Binding",
            ),
            (
                &core,
                &*format!("{account}/token"),
                "post",
                "201",
                "TokenRequest",
                "TokenRequest",
            ),
            (
                &core,
                "/api/v1/namespaces/{name}/finalize",
                "put",
                "200",
                "Namespace",
                "Namespace",
            ),
            (
                &apps,
                &*format!("{deployment}/scale"),
                "put",
                "200",
                "Scale",
                "Scale",
            ),
            (&apps, deployment, "get", "200", "", "Deployment"),
        ] {
            let found = shape(document, path, method, code);
            assert_eq!(
                found,
                (taken.to_owned(), given.to_owned()),
                "{method} {path}"
            );
        }
    }

    /// So that `kubectl explain` has something to say about every one.
    #[test]
    fn every_field_of_every_kind_is_described() {
        fn check(schema: &Value, path: &str, bare: &mut Vec<String>) {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                if field["description"].as_str().is_none_or(str::is_empty) {
                    bare.push(path.clone());
                }
                check(field, &path, bare);
            }
            for part in ["items", "additionalProperties"] {
                if schema[part].is_object() {
                    check(&schema[part], &format!("{path}.{part}"), bare);
                }
            }
        }
        let kinds: Vec<_> = crate::builtin::kinds().into_iter().map(Arc::new).collect();
        let mut bare = Vec::new();
        for kind in &kinds {
            let document = document(&kinds, &[], &kind.group, &kind.version).unwrap();
            for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
                // The words of JSON Schema, which Kubernetes leaves to its specification.
                let known = ["JSONSchemaProps", "ExternalDocumentation"];
                if known.iter().all(|known| !name.ends_with(known)) {
                    check(schema, name, &mut bare);
                }
            }
        }
        bare.sort();
        bare.dedup();
        assert_eq!(bare, Vec::<String>::new());
    }

    #[test]
    fn custom_resources_have_metadata_and_no_strategic_merge() {
        let document = document(&kinds(), &[], "example.org", "v1").unwrap();
        let schema = &document["components"]["schemas"]["org.example.v1.Disk"];
        assert_eq!(
            schema["properties"]["spec"]["description"],
            "What is wanted."
        );
        assert!(schema["properties"]["metadata"]["allOf"][0]["$ref"].is_string());
        let item = "/apis/example.org/v1/namespaces/{namespace}/disks/{name}";
        let patch = &document["paths"][item]["patch"];
        let content = patch["requestBody"]["content"].as_object().unwrap();
        assert!(!content.contains_key("application/strategic-merge-patch+json"));
        let parameters = patch["parameters"].as_array().unwrap();
        assert!(
            parameters
                .iter()
                .any(|parameter| parameter["name"] == "fieldValidation")
        );
    }
}
