//! Keeps what is in use: a claim while a Pod on a node mounts it or a driver makes its volume, a volume
//! while it is bound.
//!
//! Both carry a finalizer from the start, which is taken off when they are being deleted and free.

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde_json::{Value, json};

use crate::binder::bind::guarded;
use crate::objects::claims;
use crate::objects::well_known::{PV_PROTECTION, PVC_PROTECTION, phase};
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Caches, Doing as _, Next, ObjectKey, drive};

/// Adds and removes the protection finalizers.
#[derive(Clone)]
pub(crate) struct Protection {
    client: Client,
    caches: Caches,
}

impl Protection {
    pub(crate) fn new(client: Client, caches: Caches) -> Self {
        Self { client, caches }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        self.caches.ready().await;
        let claims = drive(self.claim_triggers(), Limits::default(), |key| {
            self.protect_claim(key)
        });
        let volumes = self
            .caches
            .volumes
            .changes()
            .map(|change| ObjectKey::of(&**change.object()));
        let volumes = drive(volumes, Limits::default(), |key| self.protect_volume(key));
        tokio::join!(claims, volumes);
    }

    fn claim_triggers(&self) -> impl Stream<Item = ObjectKey> + use<> {
        let own = self
            .caches
            .claims
            .changes()
            .map(|change| ObjectKey::of(&**change.object()));
        let by_pod = self.caches.pods.changes().flat_map(|change| {
            let pod = change.object();
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let used: Vec<_> = claims::pod_claims(pod)
                .map(|name| ObjectKey::new(namespace.clone(), name))
                .collect();
            stream::iter(used)
        });
        stream::select(own, by_pod).boxed()
    }

    async fn protect_claim(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(claim) = self.caches.claims.get(&key) else {
            return Ok(Next::OnChange);
        };
        let in_use = claims::volume_in_making(&claim).is_some()
            || self.caches.pods.all().iter().any(|pod| uses(pod, &key));
        let Some(change) = step(&*claim, PVC_PROTECTION, in_use) else {
            return Ok(Next::OnChange);
        };
        if claims::is_deleting(&*claim) && self.is_used_really(&key).await? {
            return Ok(Next::OnChange);
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = Patch::Merge(guarded(&*claim, change));
        let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
        patched.doing("protect or release claim", &key)?;
        Ok(Next::OnChange)
    }

    /// Asks the API server: a Pod newer than the cache counts as well.
    async fn is_used_really(&self, key: &ObjectKey) -> Result<bool, ApiError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let pods = pods
            .list(&ListParams::default())
            .await
            .doing("list the users of claim", key)?;
        Ok(pods.iter().any(|pod| uses(pod, key)))
    }

    async fn protect_volume(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(volume) = self.caches.volumes.get(&key) else {
            return Ok(Next::OnChange);
        };
        let in_use = claims::volume_phase(&volume) == phase::BOUND;
        if let Some(change) = step(&*volume, PV_PROTECTION, in_use) {
            let api: Api<PersistentVolume> = Api::all(self.client.clone());
            let patch = Patch::Merge(guarded(&*volume, change));
            let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
            patched.doing("protect or release volume", &key)?;
        }
        Ok(Next::OnChange)
    }
}

/// Whether a Pod holds a claim. One without a node has nothing mounted, and gets none for a claim
/// that is being deleted.
fn uses(pod: &Pod, claim: &ObjectKey) -> bool {
    pod.metadata.namespace.as_deref().unwrap_or_default() == claim.namespace
        && claims::pod_node(pod).is_some()
        && !claims::is_finished(pod)
        && claims::pod_claims(pod).any(|name| name == claim.name)
}

/// The new finalizers of an object, if they must change.
fn step(object: &impl Resource, finalizer: &str, in_use: bool) -> Option<Value> {
    let present = claims::has_finalizer(object, finalizer);
    let mut all: Vec<&str> = object
        .meta()
        .finalizers
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    match (claims::is_deleting(object), present) {
        (false, false) => all.push(finalizer),
        (true, true) if !in_use => all.retain(|each| *each != finalizer),
        _ => return None,
    }
    Some(json!({"metadata": {"finalizers": all}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(deleting: bool, finalizers: &[&str]) -> PersistentVolumeClaim {
        let time = deleting.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "ns",
            "deletionTimestamp": time, "finalizers": finalizers}}))
        .unwrap()
    }

    #[test]
    fn the_finalizer_stays_while_in_use_and_others_stay_always() {
        let finalizers = |list: &[&str]| Some(json!({"metadata": {"finalizers": list}}));
        let step = |claim: &_, in_use| step(claim, PVC_PROTECTION, in_use);
        assert_eq!(
            step(&claim(false, &["x"]), false),
            finalizers(&["x", PVC_PROTECTION])
        );
        assert_eq!(step(&claim(false, &[PVC_PROTECTION]), false), None);
        assert_eq!(step(&claim(true, &["x", PVC_PROTECTION]), true), None);
        assert_eq!(
            step(&claim(true, &["x", PVC_PROTECTION]), false),
            finalizers(&["x"])
        );
        assert_eq!(step(&claim(true, &["x"]), false), None);
    }

    #[test]
    fn finished_and_unplaced_pods_hold_nothing() {
        let pod = |node: &str, phase: &str, namespace: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"namespace": namespace},
                "spec": {"nodeName": node, "containers": [],
                    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
                "status": {"phase": phase},
            }))
            .unwrap()
        };
        let claim = ObjectKey::new("ns", "c");
        assert!(uses(&pod("n1", "Running", "ns"), &claim));
        assert!(!uses(&pod("", "Pending", "ns"), &claim));
        assert!(!uses(&pod("n1", "Succeeded", "ns"), &claim));
        assert!(!uses(&pod("n1", "Running", "other"), &claim));
    }
}
