//! What becomes of the owners by a write.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use http::StatusCode;
use serde_json::{Value, json};

use super::typed::{Changes, compare, everything, reconcile, with_parents};
use super::{FieldSet, Operation, Owner, Owners, Shape, fields, merge};
use crate::convert;
use crate::kind::Kind;
use crate::meta;
use crate::schema;
use crate::status::Status;

/// The manager whose client-side applies are taken over by its server-side ones.
const KUBECTL: &str = "kubectl";
/// Where kubectl keeps what it applied on the client's side.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager of all that was there before ownership was tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// What nobody owns, because it says which object this is or because the server decides it.
static NOBODYS: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_names(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// The status, which only its subresource sets.
static STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_names(&[&["status"]]));

/// Who writes, and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// Name of the manager.
    pub manager: &'a str,
    /// The subresource through which it writes; empty for the object itself.
    pub subresource: &'a str,
    /// The present moment, in the form of `metav1.Time`.
    pub time: &'a str,
}

impl Writer<'_> {
    fn owner(&self, operation: Operation, kind: &Kind, fields: FieldSet) -> Owner {
        Owner {
            manager: self.manager.to_owned(),
            operation,
            api_version: kind.api_version(),
            time: Some(self.time.to_owned()),
            subresource: self.subresource.to_owned(),
            fields,
        }
    }

    /// Takes out of a set what this write cannot own.
    fn trim(&self, kind: &Kind, fields: &mut FieldSet) {
        fields.subtract(&NOBODYS);
        if self.subresource.is_empty() && kind.status_subresource {
            fields.cut(&STATUS);
        }
    }
}

/// The versions in which an object can be had.
#[derive(Clone, Copy)]
pub struct Versions<'a> {
    /// The one of the request.
    pub kind: &'a Kind,
    /// Finds another by `apiVersion`.
    pub find: &'a (dyn Fn(&str) -> Option<Arc<Kind>> + Sync),
}

impl Versions<'_> {
    fn with<R>(&self, api_version: &str, run: impl FnOnce(&Kind) -> R) -> Option<R> {
        if self.kind.api_version() == api_version {
            return Some(run(self.kind));
        }
        (self.find)(api_version).map(|kind| run(&kind))
    }

    /// Whether a version names the fields as the request's does.
    fn is_alike(&self, api_version: &str) -> bool {
        let stored_as = |kind: &Kind| kind.hooks.stored_as.is_some();
        self.with(api_version, stored_as) == Some(stored_as(self.kind))
    }

    fn changes(&self, api_version: &str, old: &Value, new: &Value) -> Option<Changes> {
        self.with(api_version, |kind| {
            if kind.hooks.stored_as.is_none() && self.kind.hooks.stored_as.is_none() {
                return compare(Shape::of(kind), old, new);
            }
            let [old, new] = [old, new].map(|v| convert::between(self.kind, kind, v.clone()));
            compare(Shape::of(kind), &old, &new)
        })
    }
}

impl std::fmt::Debug for Versions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Versions").field(&self.kind.kind).finish()
    }
}

/// Fields that an apply would change although another manager owns them.
#[derive(Debug, Clone)]
pub struct Conflict {
    owner: Owner,
    fields: FieldSet,
}

/// Why an apply without force is refused.
#[derive(Debug, Clone)]
pub struct Conflicts(Vec<Conflict>);

impl Owners {
    /// The owners of an object that a writer has just made.
    pub fn of_new(kind: &Kind, object: &Value, writer: &Writer<'_>) -> Self {
        let mut owners = Self::default();
        owners.take(kind, everything(Shape::of(kind), object), writer);
        owners
    }

    fn take(&mut self, kind: &Kind, mut fields: FieldSet, writer: &Writer<'_>) {
        fields.member = false;
        writer.trim(kind, &mut fields);
        if !fields.is_empty() {
            self.give(writer.owner(Operation::Update, kind, fields));
        }
        self.tidy();
    }

    /// Gives what differs between two states to the writer, and takes it from all others.
    pub fn update(
        &mut self,
        versions: &Versions<'_>,
        old: &Value,
        new: &Value,
        writer: &Writer<'_>,
    ) {
        self.fit(versions);
        // By force nothing conflicts.
        if let Ok(changes) = self.settle(versions, old, new, true) {
            self.take(versions.kind, changes.set, writer);
        }
    }

    /// Makes of the live state what a configuration wants, and returns it with its owners.
    ///
    /// # Errors
    /// [`Conflicts`] with the owners of fields that would change, unless by `force`.
    pub fn apply(
        mut self,
        versions: &Versions<'_>,
        live: &Value,
        config: &Value,
        writer: &Writer<'_>,
        force: bool,
    ) -> Result<(Value, Self), Conflicts> {
        self.fit(versions);
        if self.is_empty() && !meta::uid(live).is_empty() {
            let before = Writer {
                manager: BEFORE_FIRST_APPLY,
                ..*writer
            };
            self = Self::of_new(versions.kind, live, &before);
        }
        let applied = match self.clone().merged(versions, live, config, writer, force) {
            Err(conflicts) if writer.manager == KUBECTL => {
                let rest = conflicts.without(&still_applied(versions.kind, live));
                if !rest.0.is_empty() {
                    return Err(rest);
                }
                self.merged(versions, live, config, writer, true)
            }
            applied => applied,
        };
        let (mut object, owners) = applied?;
        if writer.manager == KUBECTL {
            keep_last_applied(&mut object, config);
        }
        Ok((object, owners))
    }

    fn merged(
        mut self,
        versions: &Versions<'_>,
        live: &Value,
        config: &Value,
        writer: &Writer<'_>,
        force: bool,
    ) -> Result<(Value, Self), Conflicts> {
        let kind = versions.kind;
        let shape = Shape::of(kind);
        // A null asks for nothing to be there, so nothing of it is owned.
        let mut wanted = config.clone();
        schema::prune(&kind.schema, &kind.definitions, &mut wanted);
        let mut owner = writer.owner(Operation::Apply, kind, fields(shape, &wanted));
        let last = self.0.iter().position(|other| other.is_same(&owner));
        let last = last.map(|position| self.0.remove(position));

        let mut object = merge::merge(shape, Some(live), config);
        if let Some(last) = last
            .as_ref()
            .filter(|last| versions.is_alike(&last.api_version))
        {
            let owned = self.owned(versions, &owner.fields);
            let mut gone = with_parents(shape, last.fields.clone());
            gone.subtract(&with_parents(shape, owned.clone()));
            merge::remove(shape, &mut object, &gone, Some(&owned));
        }
        self.settle(versions, live, &object, force)?;
        writer.trim(kind, &mut owner.fields);
        if let Some(last) = last
            && last.fields == owner.fields
            && object == *live
        {
            owner.time = last.time;
        }
        self.give(owner);
        self.tidy();
        Ok((object, self))
    }

    /// What a manager owns now, and what all others do.
    fn owned(&self, versions: &Versions<'_>, now: &FieldSet) -> FieldSet {
        let mut owned = now.clone();
        for owner in &self.0 {
            if versions.is_alike(&owner.api_version) {
                owned.unite(owner.fields.clone());
            }
        }
        owned
    }

    /// Forgets owners in versions that are gone, and fits the others to what has become atomic.
    fn fit(&mut self, versions: &Versions<'_>) {
        self.0.retain_mut(|owner| {
            let fit = |kind: &Kind| reconcile(Shape::of(kind), &mut owner.fields);
            versions.with(&owner.api_version, fit).is_some()
        });
    }

    /// Takes from all owners what differs between two states, and returns the difference.
    fn settle(
        &mut self,
        versions: &Versions<'_>,
        old: &Value,
        new: &Value,
        force: bool,
    ) -> Result<Changes, Conflicts> {
        let own = versions.kind.api_version();
        let mut changes =
            BTreeMap::from([(own.clone(), compare(Shape::of(versions.kind), old, new))]);
        for owner in &self.0 {
            if !changes.contains_key(&owner.api_version)
                && let Some(found) = versions.changes(&owner.api_version, old, new)
            {
                changes.insert(owner.api_version.clone(), found);
            }
        }
        let mut conflicts = Vec::new();
        for owner in &mut self.0 {
            let Some(changes) = changes.get(&owner.api_version) else {
                continue;
            };
            let mut lost = owner.fields.clone();
            lost.intersect(&changes.set);
            if !lost.is_empty() {
                let owner = owner.clone();
                conflicts.push(Conflict {
                    owner,
                    fields: lost,
                });
            }
            owner.fields.subtract(&changes.set);
            owner.fields.subtract(&changes.removed);
        }
        if !force && !conflicts.is_empty() {
            return Err(Conflicts(conflicts));
        }
        self.0.retain(|owner| !owner.fields.is_empty());
        Ok(changes.remove(&own).unwrap_or_default())
    }
}

/// The fields that kubectl applied on the client's side and that nobody has changed since.
fn still_applied(kind: &Kind, live: &Value) -> FieldSet {
    let text = live["metadata"]["annotations"][LAST_APPLIED].as_str();
    let last: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
    let Some(last) = last.filter(|last| last["apiVersion"] == kind.api_version().as_str()) else {
        return FieldSet::default();
    };
    let shape = Shape::of(kind);
    let changes = compare(shape, &last, live);
    let mut kept = fields(shape, &last);
    kept.subtract(&changes.set);
    kept.subtract(&changes.removed);
    kept
}

/// Keeps kubectl's note of what it applied true, so that people can go back to applying on the
/// client's side.
fn keep_last_applied(object: &mut Value, config: &Value) {
    let Some(note) = object
        .pointer_mut("/metadata/annotations")
        .and_then(|annotations| annotations.as_object_mut()?.get_mut(LAST_APPLIED))
    else {
        return;
    };
    let mut config = config.clone();
    if let Some(Value::Object(annotations)) = config.pointer_mut("/metadata/annotations") {
        annotations.remove(LAST_APPLIED);
    }
    *note = format!("{config}\n").into();
}

impl Conflicts {
    /// All conflicts but those about some fields.
    fn without(mut self, fields: &FieldSet) -> Self {
        for conflict in &mut self.0 {
            conflict.fields.subtract(fields);
        }
        self.0.retain(|conflict| !conflict.fields.is_empty());
        self
    }
}

/// 409, with a cause for every field.
impl From<Conflicts> for Status {
    fn from(Conflicts(mut conflicts): Conflicts) -> Self {
        conflicts.sort_by_cached_key(|conflict| conflict.owner.to_string());
        let mut causes = Vec::new();
        let mut lines = Vec::new();
        for Conflict { owner, fields } in &conflicts {
            lines.push(format!("conflicts with {owner}:"));
            for path in fields.paths() {
                lines.push(format!("- {path}"));
                let message = format!("conflict with {owner}");
                causes.push(json!({
                    "reason": "FieldManagerConflict", "message": message, "field": path,
                }));
            }
        }
        let message = match causes.as_slice() {
            [one] => format!(
                "Apply failed with 1 conflict: {}: {}",
                one["message"].as_str().unwrap_or_default(),
                one["field"].as_str().unwrap_or_default()
            ),
            several => format!(
                "Apply failed with {} conflicts: {}",
                several.len(),
                lines.join("\n")
            ),
        };
        Self {
            details: json!({"causes": causes}),
            ..Self::new(StatusCode::CONFLICT, "Conflict", message)
        }
    }
}

/// As in messages: `"kubectl-edit" using v1`.
impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        if self.operation == Operation::Update {
            write!(f, " using {}", self.api_version)?;
        }
        Ok(())
    }
}
