//! `CustomResourceDefinition` objects: their status, and the kinds they define.

use std::sync::Arc;

use serde_json::{Value, json};

use super::approval::Approval;
use crate::kind::{Cell, Column, Hooks, Kind, Scale};
use crate::meta::{self, text};
use crate::schema::{Definitions, Schema};

/// Keeps a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Whether this kind is the definition of kinds.
pub(crate) fn is_definition(kind: &Kind) -> bool {
    kind.is("apiextensions.k8s.io", "customresourcedefinitions")
}

/// Sets what the server reports about a definition. `taken` are the other kinds of the group.
pub(crate) fn report(crd: &mut Value, old: Option<&Value>, taken: &[Arc<Kind>]) {
    let old_status = old.map_or(&Value::Null, |old| &old["status"]);
    let (accepted, conflict) = accept(crd, &old_status["acceptedNames"], taken);
    let mut stored: Vec<Value> = list(&old_status["storedVersions"]).to_vec();
    let storage = Value::from(storage_version(crd));
    if !stored.contains(&storage) {
        stored.push(storage);
    }
    let established = old.is_some_and(is_established) || conflict.is_none();
    let names_accepted = match conflict {
        None => (
            "NamesAccepted",
            true,
            "NoConflicts",
            "no conflicts found".to_owned(),
        ),
        Some((reason, message)) => ("NamesAccepted", false, reason, message),
    };
    let (reason, message) = if established {
        (
            "InitialNamesAccepted",
            "the initial names have been accepted",
        )
    } else {
        ("NotAccepted", "not all names are accepted")
    };
    let established = ("Established", established, reason, message.to_owned());
    let reviewed = match Approval::of(crd) {
        Approval::Approved(link) => {
            Some(("ApprovedAnnotation", true, format!("approved in {link}")))
        }
        Approval::Unapproved(why) => Some((
            "UnapprovedAnnotation",
            false,
            format!("not approved: {why:?}"),
        )),
        Approval::NotNeeded | Approval::Missing | Approval::Unclear(_) => None,
    };
    let reviewed = reviewed.map(|(reason, conformant, message)| {
        (
            "KubernetesAPIApprovalPolicyConformant",
            conformant,
            reason,
            message,
        )
    });
    let mut conditions: Vec<_> = [names_accepted, established]
        .into_iter()
        .chain(reviewed)
        .map(|condition| self::condition(condition, old_status))
        .collect();
    // Others may add what they know.
    let own = |type_: &Value| OWN_CONDITIONS.iter().any(|own| type_ == own);
    let others = list(&old_status["conditions"]).iter();
    conditions.extend(others.filter(|condition| !own(&condition["type"])).cloned());
    crd["status"] =
        json!({"conditions": conditions, "acceptedNames": accepted, "storedVersions": stored});
    if meta::is_deleting(crd) {
        report_deletion(crd, old);
    }
}

/// The conditions that the server sets.
const OWN_CONDITIONS: [&str; 4] = [
    "NamesAccepted",
    "Established",
    "KubernetesAPIApprovalPolicyConformant",
    "Terminating",
];

/// The names that a definition gets, and why it does not get one of those that it wants.
fn accept(
    crd: &Value,
    before: &Value,
    taken: &[Arc<Kind>],
) -> (Value, Option<(&'static str, String)>) {
    let resource_taken = |name: &Value| {
        taken.iter().any(|kind| {
            let mut names = [&kind.plural, &kind.singular]
                .into_iter()
                .chain(&kind.short_names);
            names.any(|taken| name == taken)
        })
    };
    let kind_taken = |name: &Value| {
        taken
            .iter()
            .any(|kind| *name == kind.kind || *name == kind.list_kind)
    };
    let wanted = &crd["spec"]["names"];
    let mut accepted = wanted.clone();
    let mut conflict = None;
    let mut judge = |field: &str, reason, is_taken: &dyn Fn(&Value) -> bool| {
        let names = match &wanted[field] {
            Value::Array(names) => names.as_slice(),
            name => std::slice::from_ref(name),
        };
        let kept = wanted[field] == before[field];
        let Some(name) = names.iter().find(|name| !kept && is_taken(name)) else {
            return;
        };
        conflict = Some((reason, format!("{name} is already in use")));
        accepted[field] = match &before[field] {
            Value::Null if matches!(field, "plural" | "kind") => "".into(),
            before => before.clone(),
        };
    };
    judge("plural", "PluralConflict", &resource_taken);
    judge("singular", "SingularConflict", &resource_taken);
    judge("shortNames", "ShortNamesConflict", &resource_taken);
    judge("kind", "KindConflict", &kind_taken);
    judge("listKind", "ListKindConflict", &kind_taken);
    if let Some(names) = accepted.as_object_mut() {
        names.retain(|_, name| !name.is_null());
    }
    (accepted, conflict)
}

/// Adds to the status that the definition is going away.
pub(crate) fn report_deletion(crd: &mut Value, old: Option<&Value>) {
    let message = "CustomResource deletion is in progress".to_owned();
    let terminating = ("Terminating", true, "InstanceDeletionInProgress", message);
    let old_status = old.map_or(&Value::Null, |old| &old["status"]);
    let terminating = condition(terminating, old_status);
    if let Some(conditions) = crd["status"]["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] != "Terminating");
        conditions.push(terminating);
    }
}

/// A condition that keeps its transition time while its status stays.
fn condition(
    (type_, status, reason, message): (&str, bool, &str, String),
    old_status: &Value,
) -> Value {
    let status = if status { "True" } else { "False" };
    let mut old = list(&old_status["conditions"]).iter();
    let old = old.find(|c| c["type"] == type_ && c["status"] == status);
    let since = old.map_or_else(
        || meta::now().into(),
        |old| old["lastTransitionTime"].clone(),
    );
    json!({"type": type_, "status": status, "reason": reason, "message": message,
           "lastTransitionTime": since})
}

/// Whether the kinds of a definition are served.
pub(crate) fn is_established(crd: &Value) -> bool {
    has_condition(crd, "Established")
}

/// Whether a definition has all the names that it wants.
pub(crate) fn has_its_names(crd: &Value) -> bool {
    has_condition(crd, "NamesAccepted")
}

fn has_condition(crd: &Value, type_: &str) -> bool {
    let mut conditions = list(&crd["status"]["conditions"]).iter();
    conditions.any(|condition| condition["type"] == type_ && condition["status"] == "True")
}

/// What the kinds of a definition are made from.
pub(crate) fn source(crd: &Value) -> Value {
    json!([
        crd["spec"],
        crd["status"]["acceptedNames"],
        is_established(crd)
    ])
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn strings(list: &Value) -> impl Iterator<Item = String> + '_ {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
}

fn versions(crd: &Value) -> impl Iterator<Item = &Value> {
    crd.pointer("/spec/versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn storage_version(crd: &Value) -> &str {
    versions(crd)
        .find(|v| v["storage"] == true)
        .map_or("", |v| text(v, "/name"))
}

/// The kinds that a valid definition defines: one for each served version.
pub(crate) fn kinds(crd: &Value) -> Vec<Kind> {
    versions(crd)
        .filter(|v| v["served"] == true)
        .filter_map(|v| kind(crd, v))
        .collect()
}

/// The kind of the objects as they are stored, whether it is served or not.
pub(crate) fn storage_kind(crd: &Value) -> Option<Kind> {
    versions(crd)
        .find(|v| v["storage"] == true)
        .and_then(|v| kind(crd, v))
}

fn kind(crd: &Value, version: &Value) -> Option<Kind> {
    let names = &crd["status"]["acceptedNames"];
    let name = |field: &str| names[field].as_str().unwrap_or_default().to_owned();
    let schema = match Schema::from_openapi(&version["schema"]["openAPIV3Schema"]) {
        Ok(schema) => schema,
        Err(error) => {
            tracing::error!(crd = meta::name(crd), %error, "a stored definition has a bad schema");
            return None;
        }
    };
    Some(Kind {
        group: text(crd, "/spec/group").into(),
        version: text(version, "/name").into(),
        kind: name("kind"),
        list_kind: name("listKind"),
        plural: name("plural"),
        singular: name("singular"),
        short_names: strings(&names["shortNames"]).collect(),
        categories: strings(&names["categories"]).collect(),
        namespaced: text(crd, "/spec/scope") == "Namespaced",
        status_subresource: version["subresources"]["status"].is_object(),
        storage_version: storage_version(crd).into(),
        schema,
        definitions: Arc::new(Definitions::new()),
        columns: columns(version),
        scale: scale(version),
        selectable: list(&version["selectableFields"])
            .iter()
            .map(|field| text(field, "/jsonPath").to_owned())
            .collect(),
        deprecation: deprecation(crd, version),
        life: None,
        hooks: Hooks::default(),
    })
}

fn scale(version: &Value) -> Option<Scale> {
    let scale = version["subresources"]["scale"].as_object()?;
    let pointer = |name: &str| {
        let path = scale.get(name).and_then(Value::as_str)?;
        (!path.is_empty()).then(|| path.replace('.', "/"))
    };
    Some(Scale {
        replicas: pointer("specReplicasPath")?,
        status_replicas: pointer("statusReplicasPath")?,
        selector: pointer("labelSelectorPath"),
    })
}

fn deprecation(crd: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    let given = version["deprecationWarning"].as_str();
    Some(given.map_or_else(
        || {
            let version = Kind::join(text(crd, "/spec/group"), text(version, "/name"));
            format!("{version} {} is deprecated", text(crd, "/spec/names/kind"))
        },
        str::to_owned,
    ))
}

fn columns(version: &Value) -> Vec<Column> {
    let Some(columns) = version["additionalPrinterColumns"]
        .as_array()
        .filter(|c| !c.is_empty())
    else {
        return vec![Column {
            name: "Age".into(),
            type_: "date".into(),
            format: String::new(),
            description: "When the object was created".into(),
            priority: 0,
            cell: Cell::Path(".metadata.creationTimestamp".into()),
        }];
    };
    let column = |column: &Value| {
        let field = |name: &str| column[name].as_str().unwrap_or_default().to_owned();
        let priority = column["priority"]
            .as_i64()
            .and_then(|p| i32::try_from(p).ok());
        Column {
            name: field("name"),
            type_: field("type"),
            format: field("format"),
            description: field("description"),
            priority: priority.unwrap_or_default(),
            cell: Cell::Path(field("jsonPath")),
        }
    };
    columns.iter().map(column).collect()
}
