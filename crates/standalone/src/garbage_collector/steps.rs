//! The collector's requests. Each is bound to the state that it was decided from.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use serde_json::{Value, json};

use super::graph::{Object, Uid};
use super::{Collection, OwnerState};
use crate::events::Severity;
use crate::objects::{claims, well_known};
use crate::runtime::error::GoneIsDone as _;
use crate::runtime::{ApiError, Doing as _};

impl Collection {
    /// Tells of owners that are in another namespace, which owners cannot be.
    pub(super) fn report_misplaced(&self, dependent: &Uid) {
        let graph = self.graph.lock();
        let Some(object) = graph.object(dependent) else {
            return;
        };
        for owner in graph.misplaced_owners(object) {
            let namespace = &object.namespace;
            let owner = format!(
                "[{}/{}, namespace: {namespace}, name: {}, uid: {}]",
                owner.api_version, owner.kind, owner.name, owner.uid
            );
            let about = ObjectReference {
                api_version: Some(object.resource.api.api_version.clone()),
                kind: Some(object.resource.api.kind.clone()),
                namespace: Some(namespace.clone()).filter(|name| !name.is_empty()),
                name: Some(object.name.clone()),
                uid: Some(object.uid.to_string()),
                ..ObjectReference::default()
            };
            let message = format!("ownerRef {owner} does not exist in namespace {namespace:?}");
            self.recorder.publish(
                about,
                Severity::Warning,
                "OwnerRefInvalidNamespace",
                message,
            );
        }
    }

    /// Asks the API server for an owner that no watch has shown.
    pub(super) async fn look_up(
        &self,
        dependent: &Uid,
        owner: &OwnerReference,
    ) -> Result<OwnerState, ApiError> {
        let Some(namespace) = self
            .graph
            .lock()
            .object(dependent)
            .map(|object| object.namespace.clone())
        else {
            return Ok(OwnerState::Present);
        };
        let group = owner
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group);
        let served = self.resources.current().await;
        let resource = served
            .iter()
            .find(|served| served.api.group == group && served.api.kind == owner.kind);
        let Some(resource) = resource else {
            // Nothing can be said of a kind that is not served: its definition may come back.
            return Ok(OwnerState::Present);
        };
        if resource.namespaced && namespace.is_empty() {
            tracing::debug!(
                owner = owner.name,
                "cluster-scoped object names a namespaced owner"
            );
            return Ok(OwnerState::Present);
        }
        let api = resource.metadata(self.client.clone(), &namespace);
        let found = api
            .get_opt(&owner.name)
            .await
            .doing("look up owner", &owner.name)?;
        Ok(match found {
            Some(found) if claims::uid(&found) == owner.uid => {
                let first = claims::is_deleting(&found)
                    && claims::has_finalizer(&found, well_known::FOREGROUND_DELETION);
                if first {
                    OwnerState::GoingFirst
                } else {
                    OwnerState::Present
                }
            }
            _ => OwnerState::Absent,
        })
    }

    pub(super) async fn delete(
        &self,
        object: &Object,
        propagation: PropagationPolicy,
    ) -> Result<(), ApiError> {
        let params = DeleteParams {
            propagation_policy: Some(propagation),
            preconditions: Some(Preconditions {
                uid: Some(object.uid.to_string()),
                resource_version: Some(object.revision.clone()),
            }),
            ..DeleteParams::default()
        };
        let api = object
            .resource
            .metadata(self.client.clone(), &object.namespace);
        let deleted = api.delete(&object.name, &params).await;
        match deleted.doing("collect", describe(object)) {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    pub(super) async fn drop_owners(
        &self,
        object: &Object,
        owners: &[Uid],
    ) -> Result<(), ApiError> {
        let is_dropped = |reference: &&OwnerReference| owners.iter().any(|o| **o == *reference.uid);
        let kept: Vec<_> = object
            .owners
            .iter()
            .filter(|each| !is_dropped(each))
            .collect();
        if kept.len() == object.owners.len() {
            return Ok(());
        }
        self.patch(object, json!({"ownerReferences": kept})).await
    }

    pub(super) async fn drop_finalizer(
        &self,
        object: &Object,
        finalizer: &str,
    ) -> Result<(), ApiError> {
        let kept: Vec<_> = object
            .finalizers
            .iter()
            .filter(|each| *each != finalizer)
            .collect();
        self.patch(object, json!({"finalizers": kept})).await
    }

    pub(super) async fn unblock(&self, object: &Object) -> Result<(), ApiError> {
        let mut owners = object.owners.clone();
        for owner in &mut owners {
            owner.block_owner_deletion = Some(false);
        }
        self.patch(object, json!({"ownerReferences": owners})).await
    }

    async fn patch(&self, object: &Object, mut metadata: Value) -> Result<(), ApiError> {
        metadata["uid"] = json!(&*object.uid);
        metadata["resourceVersion"] = json!(object.revision);
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let api = object
            .resource
            .metadata(self.client.clone(), &object.namespace);
        let patched = api
            .patch(&object.name, &PatchParams::default(), &patch)
            .await;
        match patched.doing("release", describe(object)) {
            Err(error) if error.is_conflict() => Err(error),
            outcome => outcome.or_gone(),
        }
    }
}

fn describe(object: &Object) -> String {
    format!(
        "{} {}/{}",
        object.resource.group_resource(),
        object.namespace,
        object.name
    )
}
