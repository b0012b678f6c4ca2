//! `CustomResourceDefinition` objects: their status, and the kinds they define.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kind::{Cell, Column, Hooks, Kind};
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
    let conflict = conflict(crd, taken);
    let names = crd["spec"]["names"].clone();
    let old_status = old.map(|old| &old["status"]);
    let accepted = match (&conflict, old_status) {
        (None, _) => names,
        (Some(_), Some(old)) if old["acceptedNames"].is_object() => old["acceptedNames"].clone(),
        (Some(_), _) => json!({"kind": "", "plural": ""}),
    };
    let mut stored: Vec<Value> = old_status
        .and_then(|status| status["storedVersions"].as_array())
        .cloned()
        .unwrap_or_default();
    let storage = Value::from(storage_version(crd));
    if !stored.contains(&storage) {
        stored.push(storage);
    }
    let names_accepted = match &conflict {
        None => (
            "NamesAccepted",
            true,
            "NoConflicts",
            "no conflicts found".to_owned(),
        ),
        Some((reason, message)) => ("NamesAccepted", false, *reason, message.clone()),
    };
    let established = match &conflict {
        None => (
            "Established",
            true,
            "InitialNamesAccepted",
            "the initial names have been accepted",
        ),
        Some(_) => (
            "Established",
            false,
            "NotAccepted",
            "not all names are accepted",
        ),
    };
    let established = (
        established.0,
        established.1,
        established.2,
        established.3.to_owned(),
    );
    let conditions: Vec<_> = [names_accepted, established]
        .into_iter()
        .map(|c| condition(c, old_status))
        .collect();
    crd["status"] =
        json!({"conditions": conditions, "acceptedNames": accepted, "storedVersions": stored});
    if meta::is_deleting(crd) {
        report_deletion(crd, old);
    }
}

/// Adds to the status that the definition is going away.
pub(crate) fn report_deletion(crd: &mut Value, old: Option<&Value>) {
    let message = "CustomResource deletion is in progress".to_owned();
    let terminating = ("Terminating", true, "InstanceDeletionInProgress", message);
    let terminating = condition(terminating, old.map(|old| &old["status"]));
    if let Some(conditions) = crd["status"]["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] != "Terminating");
        conditions.push(terminating);
    }
}

/// A condition that keeps its transition time while its status stays.
fn condition(
    (type_, status, reason, message): (&str, bool, &str, String),
    old_status: Option<&Value>,
) -> Value {
    let status = if status { "True" } else { "False" };
    let old = old_status
        .and_then(|old| old["conditions"].as_array())
        .and_then(|list| {
            list.iter()
                .find(|c| c["type"] == type_ && c["status"] == status)
        });
    let since = old.map_or_else(
        || meta::now().into(),
        |old| old["lastTransitionTime"].clone(),
    );
    json!({"type": type_, "status": status, "reason": reason, "message": message,
           "lastTransitionTime": since})
}

/// Finds a name that another kind of the group has already.
fn conflict(crd: &Value, taken: &[Arc<Kind>]) -> Option<(&'static str, String)> {
    let names = &crd["spec"]["names"];
    let resource_names = |kind: &Kind| {
        let mut all = vec![kind.plural.clone(), kind.singular.clone()];
        all.extend(kind.short_names.iter().cloned());
        all
    };
    let is_taken = |name: &str| {
        taken
            .iter()
            .any(|k| resource_names(k).iter().any(|n| n == name))
    };
    let kind_taken = |name: &str| taken.iter().any(|k| k.kind == name || k.list_kind == name);
    let message = |name: &str| format!("\"{name}\" is already in use");
    for (field, reason) in [
        ("plural", "PluralConflict"),
        ("singular", "SingularConflict"),
    ] {
        let name = names[field].as_str().unwrap_or_default();
        if is_taken(name) {
            return Some((reason, message(name)));
        }
    }
    if let Some(name) = strings(&names["shortNames"]).find(|name| is_taken(name)) {
        return Some(("ShortNamesConflict", message(&name)));
    }
    for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        let name = names[field].as_str().unwrap_or_default();
        if kind_taken(name) {
            return Some((reason, message(name)));
        }
    }
    None
}

pub(crate) fn is_established(crd: &Value) -> bool {
    let conditions = crd["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Established" && c["status"] == "True")
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

fn kind(crd: &Value, version: &Value) -> Option<Kind> {
    let names = &crd["spec"]["names"];
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
        hooks: Hooks::default(),
    })
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
