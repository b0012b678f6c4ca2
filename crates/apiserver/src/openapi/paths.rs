//! The operations of a group and version.

use serde_json::{Map, Value, json};

use super::{group_version_kind, place, reference, schemas};
use crate::kind::Kind;

/// An operation: HTTP method, what Kubernetes calls it, and what it takes.
struct Operation {
    method: &'static str,
    action: &'static str,
    parameters: &'static [Parameter],
    body: Body,
}

/// A query parameter: name, type and meaning.
type Parameter = (&'static str, &'static str, &'static str);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Object,
    Patch,
}

const DRY_RUN: Parameter = ("dryRun", "string", "With `All` nothing is stored.");
const FIELD_MANAGER: Parameter = ("fieldManager", "string", "Who makes the changes.");
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields: `Ignore` drops them, `Warn` drops them with a \
     warning, `Strict` refuses the request.",
);
const FORCE: Parameter = (
    "force",
    "boolean",
    "Whether to take fields over from their managers.",
);

const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
const LIST: &[Parameter] = &[
    (
        "allowWatchBookmarks",
        "boolean",
        "Whether a watch may say how far it is.",
    ),
    (
        "continue",
        "string",
        "Where to go on, as the last part of the list said.",
    ),
    ("fieldSelector", "string", "Restricts the list by fields."),
    ("labelSelector", "string", "Restricts the list by labels."),
    ("limit", "integer", "How many objects to return at most."),
    ("resourceVersion", "string", "From which state on."),
    (
        "resourceVersionMatch",
        "string",
        "How `resourceVersion` is meant.",
    ),
    (
        "sendInitialEvents",
        "boolean",
        "Whether a watch starts with what is there.",
    ),
    ("timeoutSeconds", "integer", "How long the call may take."),
    (
        "watch",
        "boolean",
        "Whether to send changes as they happen.",
    ),
];
const DELETE: &[Parameter] = &[
    DRY_RUN,
    (
        "gracePeriodSeconds",
        "integer",
        "How long the object may take to end.",
    ),
    ("propagationPolicy", "string", "What becomes of dependents."),
];

const ON_COLLECTION: [Operation; 3] = [
    Operation {
        method: "get",
        action: "list",
        parameters: LIST,
        body: Body::None,
    },
    Operation {
        method: "post",
        action: "post",
        parameters: WRITE,
        body: Body::Object,
    },
    Operation {
        method: "delete",
        action: "deletecollection",
        parameters: LIST,
        body: Body::None,
    },
];
const ON_OBJECT: [Operation; 4] = [
    Operation {
        method: "get",
        action: "get",
        parameters: &[],
        body: Body::None,
    },
    Operation {
        method: "put",
        action: "put",
        parameters: WRITE,
        body: Body::Object,
    },
    Operation {
        method: "patch",
        action: "patch",
        parameters: PATCH,
        body: Body::Patch,
    },
    Operation {
        method: "delete",
        action: "delete",
        parameters: DELETE,
        body: Body::None,
    },
];

/// The paths of all kinds.
pub(super) fn of(kinds: &[&Kind]) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in kinds {
        let base = format!("/{}", place(&kind.group, &kind.version));
        let collection = if kind.namespaced {
            // Across namespaces there is only reading.
            let all = format!("{base}/{}", kind.plural);
            paths.insert(all, item(kind, &ON_COLLECTION[..1], &[]));
            format!("{base}/namespaces/{{namespace}}/{}", kind.plural)
        } else {
            format!("{base}/{}", kind.plural)
        };
        let namespace: &[&str] = if kind.namespaced { &["namespace"] } else { &[] };
        let named = [&["name"], namespace].concat();
        let object = format!("{collection}/{{name}}");
        if kind.status_subresource {
            paths.insert(
                format!("{object}/status"),
                item(kind, &ON_OBJECT[..3], &named),
            );
        }
        paths.insert(object, item(kind, &ON_OBJECT, &named));
        paths.insert(collection, item(kind, &ON_COLLECTION, namespace));
    }
    paths
}

fn item(kind: &Kind, operations: &[Operation], variables: &[&str]) -> Value {
    let variables: Vec<_> = variables
        .iter()
        .map(|name| {
            json!({"name": name, "in": "path", "required": true,
                "schema": {"type": "string", "uniqueItems": true}})
        })
        .collect();
    let mut item = Map::new();
    for one in operations {
        item.insert(one.method.to_owned(), operation(kind, one));
    }
    item.insert("parameters".to_owned(), variables.into());
    Value::Object(item)
}

fn operation(kind: &Kind, operation: &Operation) -> Value {
    let parameters: Vec<_> = operation
        .parameters
        .iter()
        .map(|(name, type_, description)| {
            json!({"name": name, "in": "query", "description": description,
                "schema": {"type": type_, "uniqueItems": true}})
        })
        .collect();
    let object = json!({"$ref": reference(&schemas::name(kind))});
    let mut document = json!({
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": group_version_kind(kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
    });
    let content = match operation.body {
        Body::None => return document,
        Body::Object => json!({"application/json": {"schema": object}}),
        Body::Patch => patch_content(kind),
    };
    document["requestBody"] = json!({"content": content, "required": true});
    document
}

fn patch_content(kind: &Kind) -> Value {
    let strategic = kind
        .is_builtin()
        .then_some("application/strategic-merge-patch+json");
    let types = [
        "application/json-patch+json",
        "application/merge-patch+json",
    ];
    let content = types.into_iter().chain(strategic);
    content
        .map(|type_| (type_.to_owned(), json!({"schema": {}})))
        .collect()
}
