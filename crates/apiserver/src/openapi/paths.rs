//! The operations of a group and version.

use serde_json::{Map, Value, json};

use super::{GROUP_VERSION_KIND, group_version_kind, place, reference, schemas};
use crate::kind::Kind;

/// An operation: HTTP method, what Kubernetes calls it, and what it takes.
struct Operation {
    method: &'static str,
    action: &'static str,
    parameters: &'static [Parameter],
    body: Body,
}

/// A query parameter: name, type and meaning.
pub(super) type Parameter = (&'static str, &'static str, &'static str);

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
/// What a patch takes beside its body.
pub(super) const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
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
        if kind.hooks.review.is_some() {
            paths.insert(
                collection(kind),
                item(kind, &ON_COLLECTION[1..2], &variables(kind)[1..]),
            );
            continue;
        }
        if kind.namespaced {
            // Across namespaces there is only reading.
            let all = format!("/{}/{}", place(&kind.group, &kind.version), kind.plural);
            paths.insert(all, item(kind, &ON_COLLECTION[..1], &[]));
        }
        let variables = variables(kind);
        let object = object(kind);
        if kind.status_subresource {
            let status = format!("{object}/status");
            paths.insert(status, item(kind, &ON_OBJECT[..3], variables));
        }
        paths.insert(object, item(kind, &ON_OBJECT, variables));
        paths.insert(
            collection(kind),
            item(kind, &ON_COLLECTION, &variables[1..]),
        );
    }
    paths
}

/// The path of the objects of a kind, in one namespace where they live in such.
fn collection(kind: &Kind) -> String {
    let base = place(&kind.group, &kind.version);
    if kind.namespaced {
        format!("/{base}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("/{base}/{}", kind.plural)
    }
}

/// The path of one object of a kind.
pub(super) fn object(kind: &Kind) -> String {
    format!("{}/{{name}}", collection(kind))
}

/// The variables in the path of one object.
pub(super) fn variables(kind: &Kind) -> &'static [&'static str] {
    if kind.namespaced {
        &["name", "namespace"]
    } else {
        &["name"]
    }
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
        GROUP_VERSION_KIND: group_version_kind(kind),
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
    patch_types(kind)
        .map(|type_| (type_.to_owned(), json!({"schema": {}})))
        .collect()
}

/// The media types of the patches that a kind takes.
pub(super) fn patch_types(kind: &Kind) -> impl Iterator<Item = &'static str> + use<> {
    let strategic = kind
        .is_builtin()
        .then_some("application/strategic-merge-patch+json");
    let types = [
        "application/json-patch+json",
        "application/merge-patch+json",
    ];
    types.into_iter().chain(strategic)
}
