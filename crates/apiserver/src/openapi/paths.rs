//! The operations of a group and version.

use serde_json::{Map, Value, json};

use super::{GROUP_VERSION_KIND, group_version_kind, place, reference, schemas};
use crate::discovery::{self, Subresource};
use crate::kind::Kind;
use crate::schema::meta;

/// An operation: HTTP method, what Kubernetes calls it, what it takes and gives.
struct Operation {
    method: &'static str,
    action: &'static str,
    parameters: &'static [&'static [Parameter]],
    takes: Body,
    gives: Body,
    /// Codes of success, and what they are called.
    codes: &'static [(&'static str, &'static str)],
}

/// A query parameter: name, type and meaning.
pub(super) type Parameter = (&'static str, &'static str, &'static str);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Object,
    List,
    Patch,
    DeleteOptions,
    Status,
}

/// What the operations of a path are about.
struct About {
    /// Value of [`GROUP_VERSION_KIND`].
    kind: Value,
    /// Name of the object's schema; none where that is left to an embedder.
    object: Option<String>,
    list: String,
    patches: Vec<&'static str>,
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
const SELECT: &[Parameter] = &[
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
];
const WATCH: &[Parameter] = &[
    (
        "allowWatchBookmarks",
        "boolean",
        "Whether a watch may say how far it is.",
    ),
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

const OK: (&str, &str) = ("200", "OK");
const CREATED: (&str, &str) = ("201", "Created");
const ACCEPTED: (&str, &str) = ("202", "Accepted");

const LIST: Operation = Operation {
    method: "get",
    action: "list",
    parameters: &[SELECT, WATCH],
    takes: Body::None,
    gives: Body::List,
    codes: &[OK],
};
const POST: Operation = Operation {
    method: "post",
    action: "post",
    parameters: &[WRITE],
    takes: Body::Object,
    gives: Body::Object,
    codes: &[OK, CREATED, ACCEPTED],
};
const DELETE_ALL: Operation = Operation {
    method: "delete",
    action: "deletecollection",
    parameters: &[SELECT, DELETE],
    takes: Body::DeleteOptions,
    gives: Body::Status,
    codes: &[OK],
};
const GET: Operation = Operation {
    method: "get",
    action: "get",
    parameters: &[],
    takes: Body::None,
    gives: Body::Object,
    codes: &[OK],
};
const PUT: Operation = Operation {
    method: "put",
    action: "put",
    parameters: &[WRITE],
    takes: Body::Object,
    gives: Body::Object,
    codes: &[OK, CREATED],
};
const PATCH_ONE: Operation = Operation {
    method: "patch",
    action: "patch",
    parameters: &[PATCH],
    takes: Body::Patch,
    gives: Body::Object,
    codes: &[OK, CREATED],
};
const DELETE_ONE: Operation = Operation {
    method: "delete",
    action: "delete",
    parameters: &[DELETE],
    takes: Body::DeleteOptions,
    gives: Body::Status,
    codes: &[OK, ACCEPTED],
};

/// The paths of all kinds, and of what is below their objects.
pub(super) fn of(kinds: &[&Kind], extra: &[Subresource]) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in kinds {
        let about = About::objects(kind);
        let variables = variables(kind);
        if kind.hooks.review.is_some() {
            paths.insert(collection(kind), item(&about, &[POST], &variables[1..]));
            continue;
        }
        if kind.namespaced {
            // Across namespaces there is only reading.
            let all = format!("/{}/{}", place(&kind.group, &kind.version), kind.plural);
            paths.insert(all, item(&about, &[LIST], &[]));
        }
        for (name, response, verbs) in discovery::below(kind, extra) {
            let about = About::below(kind, name, response);
            let operations: Vec<_> = verbs.into_iter().filter_map(operation_of).collect();
            let path = format!("{}/{name}", object(kind));
            paths.insert(path, item(&about, &operations, variables));
        }
        let on_object = [GET, PUT, PATCH_ONE, DELETE_ONE];
        paths.insert(object(kind), item(&about, &on_object, variables));
        let on_all = [LIST, POST, DELETE_ALL];
        paths.insert(collection(kind), item(&about, &on_all, &variables[1..]));
    }
    paths
}

/// What a verb is on a subresource.
fn operation_of(verb: &str) -> Option<Operation> {
    match verb {
        "create" => Some(POST),
        "get" => Some(GET),
        "patch" => Some(PATCH_ONE),
        "update" => Some(PUT),
        _ => None,
    }
}

impl About {
    fn objects(kind: &Kind) -> Self {
        Self {
            kind: group_version_kind(kind),
            object: Some(schemas::name(kind)),
            list: schemas::list_name(kind),
            patches: patch_types(kind).collect(),
        }
    }

    /// About a subresource, and what is read and written there.
    fn below(kind: &Kind, name: &str, response: &str) -> Self {
        let (group, version) =
            discovery::elsewhere(response).unwrap_or((&kind.group, &kind.version));
        let schema = schemas::builtin_name(group, version, response);
        Self {
            kind: json!({"group": group, "version": version, "kind": response}),
            object: match name {
                "status" | "finalize" => Some(schemas::name(kind)),
                _ => meta::shared().contains_key(&schema).then_some(schema),
            },
            ..Self::objects(kind)
        }
    }

    /// What goes over the wire, by media type.
    fn content(&self, body: Body) -> Option<Value> {
        let schema = match body {
            Body::None => return None,
            Body::Object => self.object.as_ref()?,
            Body::List => &self.list,
            Body::DeleteOptions => meta::DELETE_OPTIONS,
            Body::Status => meta::STATUS,
            Body::Patch => {
                let patches = self.patches.iter();
                let any = patches.map(|type_| ((*type_).to_owned(), json!({"schema": {}})));
                return Some(any.collect());
            }
        };
        Some(json!({"application/json": {"schema": {"$ref": reference(schema)}}}))
    }
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

fn item(about: &About, operations: &[Operation], variables: &[&str]) -> Value {
    let variables: Vec<_> = variables
        .iter()
        .map(|name| {
            json!({"name": name, "in": "path", "required": true,
                "schema": {"type": "string", "uniqueItems": true}})
        })
        .collect();
    let mut item = Map::new();
    for one in operations {
        item.insert(one.method.to_owned(), operation(about, one));
    }
    item.insert("parameters".to_owned(), variables.into());
    Value::Object(item)
}

fn operation(about: &About, operation: &Operation) -> Value {
    let parameters: Vec<_> = operation
        .parameters
        .concat()
        .into_iter()
        .map(|(name, type_, description)| {
            json!({"name": name, "in": "query", "description": description,
                "schema": {"type": type_, "uniqueItems": true}})
        })
        .collect();
    let mut document = json!({
        "x-kubernetes-action": operation.action,
        GROUP_VERSION_KIND: about.kind,
        "parameters": parameters,
        "responses": responses(about, operation),
    });
    if let Some(content) = about.content(operation.takes) {
        // Without options, deletion goes its usual way.
        let required = operation.takes != Body::DeleteOptions;
        document["requestBody"] = json!({"content": content, "required": required});
    }
    document
}

fn responses(about: &About, operation: &Operation) -> Value {
    let content = about.content(operation.gives);
    let mut responses = json!({"401": {"description": "Unauthorized"}});
    for (code, description) in operation.codes {
        responses[code] = json!({"description": description});
        if let Some(content) = &content {
            responses[code]["content"] = content.clone();
        }
    }
    responses
}

/// The media types of the patches that a kind takes.
pub(super) fn patch_types(kind: &Kind) -> impl Iterator<Item = &'static str> + use<> {
    let strategic = kind
        .is_builtin()
        .then_some("application/strategic-merge-patch+json");
    let types = [
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
    ];
    types.into_iter().chain(strategic)
}
