//! What namespaces, Pods, Nodes and definitions do beyond the one path.

use serde_json::{Value, json};

use super::{Call, DeleteOptions, Objects};
use crate::builtin::workload::job;
use crate::convert;
use crate::kind::Kind;
use crate::meta;
use crate::registry::crd;
use crate::status::Status;
use crate::store::{Key, Write, WriteError};

/// Namespaces that exist from the start and cannot be deleted.
pub(crate) const SYSTEM_NAMESPACES: [&str; 4] =
    ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Grace period of Pods that name none.
const POD_GRACE: u64 = 30;

/// Where a namespace is stored.
pub(super) fn namespace_key(name: &str) -> Key {
    Key {
        resource: "namespaces".into(),
        namespace: String::new(),
        name: name.into(),
    }
}

/// Fills a new object before its kind's own defaults.
pub(super) fn fill_new(kind: &Kind, object: &mut Value) {
    // A node agent registers its Node together with its status.
    if kind.status_subresource
        && !kind.is("", "nodes")
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    if kind.is("", "namespaces") {
        meta::child_mut(object, "spec").insert("finalizers".into(), json!(["kubernetes"]));
        meta::child_mut(object, "status").insert("phase".into(), "Active".into());
    }
    if crd::is_definition(kind) {
        let mut finalizers: Vec<String> = meta::finalizers(object)
            .into_iter()
            .map(Into::into)
            .collect();
        if !finalizers.iter().any(|finalizer| finalizer == crd::CLEANUP) {
            finalizers.push(crd::CLEANUP.into());
        }
        meta::metadata_mut(object).insert("finalizers".into(), json!(finalizers));
    }
}

/// Fills what depends on the name of a new object.
pub(super) fn name_new(kind: &Kind, object: &mut Value) {
    if kind.is("", "namespaces") {
        let name = Value::from(meta::name(object));
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
    if kind.is("batch", "jobs") {
        job::name_new(object);
    }
}

/// A namespace with the `spec.finalizers` of another state.
pub(super) fn with_finalizers(old: &Value, proposed: &Value) -> Value {
    let mut new = old.clone();
    let finalizers = proposed
        .pointer("/spec/finalizers")
        .cloned()
        .unwrap_or_else(|| json!([]));
    meta::child_mut(&mut new, "spec").insert("finalizers".into(), finalizers);
    new
}

/// Whether nothing holds back an object whose deletion was asked for.
pub(super) fn is_released(kind: &Kind, object: &Value) -> bool {
    let list_is_empty =
        |list: Option<&Value>| list.and_then(Value::as_array).is_none_or(Vec::is_empty);
    meta::is_deleting(object)
        && meta::finalizers(object).is_empty()
        && object["metadata"]["deletionGracePeriodSeconds"]
            .as_u64()
            .unwrap_or(0)
            == 0
        && (!kind.is("", "namespaces") || list_is_empty(object.pointer("/spec/finalizers")))
}

/// Refuses the deletion of what the server cannot be without.
pub(super) fn check_deletable(kind: &Kind, name: &str) -> Result<(), Status> {
    if kind.is("", "namespaces") && SYSTEM_NAMESPACES.contains(&name) {
        return Err(Status::forbidden(
            kind,
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// How long an object stays for its agent to end it: only Pods do that run somewhere.
pub(super) fn grace_seconds(kind: &Kind, object: &Value, asked: Option<i64>) -> u64 {
    let phase = meta::text(object, "/status/phase");
    let ended = phase == "Succeeded" || phase == "Failed";
    if !kind.is("", "pods") || ended || meta::text(object, "/spec/nodeName").is_empty() {
        return 0;
    }
    let own = object
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    // Less than nothing means one second.
    asked
        .or(own)
        .map_or(POD_GRACE, |seconds| u64::try_from(seconds).unwrap_or(1))
}

/// Shows in an object that its deletion was asked for.
pub(super) fn mark(kind: &Kind, object: &mut Value) {
    if kind.is("", "namespaces") {
        meta::child_mut(object, "status").insert("phase".into(), "Terminating".into());
    }
    if crd::is_definition(kind) {
        let old = object.clone();
        crd::report_deletion(object, Some(&old));
    }
}

impl Objects {
    /// Makes the namespaces that a new server has.
    pub(crate) async fn make_system_namespaces(&self) -> Result<(), Status> {
        let catalog = self.registry.catalog();
        let Some(kind) = catalog.get("", "v1", "namespaces") else {
            return Ok(());
        };
        for name in SYSTEM_NAMESPACES {
            if self.store.get(&namespace_key(name)).is_some() {
                continue;
            }
            let mut call = Call::system(kind, "", name);
            self.create(&mut call, json!({"metadata": {"name": name}}).into())
                .await?;
        }
        Ok(())
    }

    /// Serves the definitions that are stored, and goes on with deletions that were cut short.
    pub(crate) async fn load_definitions(&self) {
        let stored = self.store.list(&definitions(), None);
        let definitions: Vec<_> = stored.iter().map(|crd| crd.value()).collect();
        for crd in &definitions {
            self.registry.install(crd);
        }
        for crd in definitions.iter().filter(|crd| meta::is_deleting(crd)) {
            self.purge_definition(meta::name(crd)).await;
        }
    }

    /// Sets the status of a definition that is about to be stored.
    pub(super) fn report_definition(&self, definition: &mut Value, old: Option<&Value>) {
        let group = meta::text(definition, "/spec/group");
        let own = meta::name(definition);
        let mut taken = self.registry.catalog().kinds.clone();
        taken.retain(|kind| {
            kind.group == group && (kind.is_builtin() || kind.group_resource() != own)
        });
        crd::report(definition, old, &taken);
    }

    /// Makes the registry follow what is stored.
    pub(super) fn sync_definition(&self, name: &str) {
        match self.store.get(&definition_key(name)) {
            Some(crd) => self.registry.install(&crd.value()),
            None => self.registry.remove(name),
        }
    }

    /// Asks for the deletion of every object of a definition, and ends it when they are gone.
    pub(super) async fn purge_definition(&self, name: &str) {
        let Some(kind) = self.registry.stored_by(name) else {
            return;
        };
        let resource = convert::storage_resource(&kind);
        for object in self.store.list(&resource, None) {
            let mut call = Call::system(&kind, object.namespace(), object.name());
            let deleted = Box::pin(self.delete(&mut call, &DeleteOptions::default())).await;
            if let Err(error) = deleted {
                tracing::warn!(%error, "cannot delete an object of a deleted definition");
            }
        }
        self.end_definition(name).await;
    }

    /// Goes on with what waited for an object of this kind to go.
    pub(super) async fn after_removal(&self, kind: &Kind) {
        if self.registry.catalog().is_terminating(kind) {
            self.end_definition(&kind.group_resource()).await;
        }
        self.after_change(kind).await;
    }

    /// Takes the cleanup finalizer from a definition that has no objects left.
    async fn end_definition(&self, name: &str) {
        let mut ended = false;
        loop {
            let key = definition_key(name);
            let Some(stored) = self.store.get(&key) else {
                break;
            };
            let empty = self.store.list(name, None).is_empty();
            let present = stored.value();
            if !empty || !meta::is_deleting(&present) {
                break;
            }
            let mut value = present.clone();
            let left = meta::finalizers(&present)
                .into_iter()
                .filter(|f| *f != crd::CLEANUP);
            meta::set_finalizers(&mut value, &left.collect::<Vec<_>>());
            ended = meta::finalizers(&value).is_empty();
            let write = if ended {
                Write::Delete(stored.revision, value)
            } else if value == present {
                break;
            } else {
                Write::Update(stored.revision, value)
            };
            match self.store.write(key, write).await {
                Err(WriteError::Stale) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, name, "cannot end a deleted definition");
                    break;
                }
            }
        }
        self.sync_definition(name);
        if ended && let Some((_, group)) = name.split_once('.') {
            self.reconsider_definitions(group).await;
        }
    }

    /// Looks again at the definitions of a group whose names were taken.
    pub(super) async fn reconsider_definitions(&self, group: &str) {
        for stored in self.store.list(&definitions(), None) {
            let crd = stored.value();
            if meta::text(&crd, "/spec/group") == group && !crd::has_its_names(&crd) {
                self.reconsider_definition(meta::name(&crd)).await;
            }
        }
    }

    /// Looks again at one definition, as often as someone else changes it meanwhile.
    async fn reconsider_definition(&self, name: &str) {
        let key = definition_key(name);
        while let Some(stored) = self.store.get(&key) {
            let old = stored.value();
            let mut new = old.clone();
            self.report_definition(&mut new, Some(&old));
            if crd::has_its_names(&old) || new == old {
                break;
            }
            self.registry.install(&new);
            let write = Write::Update(stored.revision, new);
            match self.store.write(key.clone(), write).await {
                Err(WriteError::Stale) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, name, "cannot give a definition the names that are free");
                    break;
                }
            }
        }
        self.sync_definition(name);
    }
}

fn definitions() -> String {
    "customresourcedefinitions.apiextensions.k8s.io".into()
}

fn definition_key(name: &str) -> Key {
    Key {
        resource: definitions().into(),
        namespace: String::new(),
        name: name.into(),
    }
}
