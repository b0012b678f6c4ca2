//! The scheduler: gives each Pod a node, Pods of higher priority first.
//!
//! A Pod whose claims wait for their first consumer takes two steps. First its node is written on the
//! claims (`volume.kubernetes.io/selected-node`), which lets a driver or a populator start; then,
//! when all claims are bound, the Pod is assigned. Nothing is kept in between: each step follows
//! from the objects alone. Only between an assignment and the watch's word of it, a Pod is assumed to
//! be where it was put, so that the next one does not get the same room.

mod plan;
mod triggers;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Binding, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, PodCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::binder::bind;
use crate::events::{Recorder, Severity};
use crate::objects::{claims, well_known};
use crate::runtime::error::status_code;
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Caches, Doing as _, Next, ObjectKey, drive_ranked};
pub(crate) use plan::node_fit::is_selected;
use plan::{Placed, Preparation, Verdict, World};

/// The scheduler that Pods get unless they name another.
pub(crate) const NAME: &str = "default-scheduler";

/// How long a Pod waits before its volumes are tried on a node once more.
const RETRY: Limits = Limits {
    concurrency: 1,
    min_delay: Duration::from_secs(1),
    max_delay: Duration::from_secs(10),
};

/// Gives Pods their nodes.
#[derive(Clone)]
pub(crate) struct Scheduler {
    client: Client,
    caches: Caches,
    recorder: Recorder,
    /// What was tried for the Pods that wait for their volumes.
    attempts: Arc<Mutex<HashMap<ObjectKey, Attempt>>>,
    /// The nodes of Pods that were assigned a moment ago, by uid.
    assumed: Arc<Mutex<HashMap<String, String>>>,
}

#[derive(Debug, Clone)]
struct Attempt {
    /// Of the Pod.
    uid: String,
    node: String,
    count: u32,
    at: Instant,
}

impl Scheduler {
    pub(crate) fn new(client: Client, caches: Caches, recorder: &Recorder) -> Self {
        let recorder = recorder.for_component(NAME, None);
        Self {
            client,
            caches,
            recorder,
            attempts: Arc::default(),
            assumed: Arc::default(),
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        self.caches.ready().await;
        drive_ranked(
            triggers::of_pods(&self.caches),
            Limits::default(),
            |key| self.rank(key),
            |key| self.reconcile(key),
        )
        .await;
    }

    /// Higher priority first, then who waited longer.
    fn rank(&self, key: &ObjectKey) -> (Reverse<i32>, Option<Timestamp>) {
        let Some(pod) = self.caches.pods.get(key) else {
            return (Reverse(i32::MAX), None);
        };
        let priority = pod.spec.as_ref().and_then(|spec| spec.priority);
        let created = pod.metadata.creation_timestamp.as_ref();
        (
            Reverse(priority.unwrap_or_default()),
            created.map(|time| time.0),
        )
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(pod) = self
            .caches
            .pods
            .get(&key)
            .filter(|pod| plan::is_waiting(pod))
        else {
            self.attempts.lock().remove(&key);
            return Ok(Next::OnChange);
        };
        if self.assumed.lock().contains_key(claims::uid(&*pod)) {
            // Assigned; the cache is about to learn of it.
            return Ok(Next::OnChange);
        }
        let before = self.attempts.lock().get(&key).cloned();
        let before = before.filter(|attempt| attempt.uid == claims::uid(&*pod));
        match self.verdict(&pod, before.as_ref()) {
            Verdict::Assign { node } => self.assign(&pod, &node).await?,
            Verdict::Prepare { node, preparations } => {
                return self.prepare(&pod, node, preparations, before).await;
            }
            Verdict::AwaitVolumes => {}
            Verdict::Unschedulable { message } => {
                self.attempts.lock().remove(&key);
                self.refuse(&pod, message).await?;
            }
        }
        Ok(Next::OnChange)
    }

    fn verdict(&self, pod: &Pod, before: Option<&Attempt>) -> Verdict {
        let world = World {
            nodes: &self.caches.nodes.all(),
            claims: &self.caches.claims.all(),
            volumes: &self.caches.volumes.all(),
            classes: &self.caches.classes.all(),
            drivers: &self.caches.drivers.all(),
            capacities: &self.caches.capacities.all(),
            namespaces: &self.caches.namespaces.all(),
            placed: &self.placed(pod),
            avoid: before.map(|attempt| attempt.node.as_str()),
        };
        plan::verdict(pod, &world)
    }

    /// The Pods on nodes: by the cache, by what was assigned since, and those other than `decided`
    /// whose volumes are being made on a node, since they come to it.
    fn placed(&self, decided: &Pod) -> Vec<Placed> {
        let attempts = self.attempts.lock().clone();
        let expected = |pod: &Pod| {
            let attempt = attempts.get(&ObjectKey::of(pod))?;
            let uid = claims::uid(pod);
            (attempt.uid == uid && uid != claims::uid(decided)).then(|| attempt.node.clone())
        };
        let mut assumed = self.assumed.lock();
        let mut still_assumed = HashMap::new();
        let mut placed = Vec::new();
        for pod in self.caches.pods.all() {
            if claims::is_finished(&pod) {
                continue;
            }
            if let Some(node) = claims::pod_node(&pod).map(str::to_owned) {
                placed.push(Placed::new(pod, node));
            } else if let Some(node) = assumed.remove(claims::uid(&*pod)) {
                still_assumed.insert(claims::uid(&*pod).to_owned(), node.clone());
                placed.push(Placed::new(pod, node));
            } else if let Some(node) = expected(&pod) {
                placed.push(Placed::new(pod, node));
            }
        }
        *assumed = still_assumed;
        placed
    }

    async fn assign(&self, pod: &Pod, node: &str) -> Result<(), ApiError> {
        let key = ObjectKey::of(pod);
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                uid: pod.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Node".into()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PostParams::default();
        let uid = claims::uid(pod);
        self.assumed.lock().insert(uid.to_owned(), node.to_owned());
        let bound: kube::Result<serde_json::Value> = api
            .create_subresource("binding", &key.name, &params, &binding)
            .await;
        if let Err(error) = bound {
            self.assumed.lock().remove(uid);
            return match status_code(&error) {
                // Assigned or deleted meanwhile: the cache is about to learn of it.
                Some(404 | 409) => Ok(()),
                _ => Err(error).doing("assign pod", &key),
            };
        }
        self.recorder.normal(
            pod,
            "Scheduled",
            format!("Successfully assigned {key} to {node}"),
        );
        Ok(())
    }

    /// Asks for the Pod's volumes at a node; again and elsewhere, after a pause, if that was undone.
    async fn prepare(
        &self,
        pod: &Pod,
        node: String,
        preparations: Vec<Preparation>,
        before: Option<Attempt>,
    ) -> Result<Next, ApiError> {
        let count = before.as_ref().map_or(0, |attempt| attempt.count);
        if let Some(before) = &before
            && let pause = RETRY
                .delay(before.count)
                .saturating_sub(before.at.elapsed())
            && !pause.is_zero()
        {
            self.report_undone(pod, &preparations);
            return Ok(Next::After(pause));
        }
        for preparation in preparations {
            match preparation {
                Preparation::SelectNode(claim) => self.select_node(&claim, &node).await?,
                Preparation::Reserve { volume, claim } => self.reserve(&volume, &claim).await?,
            }
        }
        let attempt = Attempt {
            uid: claims::uid(pod).to_owned(),
            node,
            count: count + 1,
            at: Instant::now(),
        };
        self.attempts.lock().insert(ObjectKey::of(pod), attempt);
        Ok(Next::OnChange)
    }

    fn report_undone(&self, pod: &Pod, preparations: &[Preparation]) {
        let reset = preparations
            .iter()
            .find_map(|preparation| match preparation {
                Preparation::SelectNode(claim) => Some(claims::name(&**claim)),
                Preparation::Reserve { .. } => None,
            });
        if let Some(claim) = reset {
            let message = format!(
                "running PreBind plugin \"VolumeBinding\": binding volumes: selectedNode annotation \
                 reset for PVC {claim:?}"
            );
            self.recorder
                .announce(pod, Severity::Warning, "FailedScheduling", message);
        }
    }

    async fn select_node(&self, claim: &PersistentVolumeClaim, node: &str) -> Result<(), ApiError> {
        let key = ObjectKey::of(claim);
        let change = json!({"metadata": {"annotations": {well_known::SELECTED_NODE: node}}});
        let patch = Patch::Merge(bind::guarded(claim, change));
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &key.namespace);
        let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
        self.caches
            .claims
            .record(patched.doing("choose a node for claim", &key)?);
        Ok(())
    }

    async fn reserve(
        &self,
        volume: &PersistentVolume,
        claim: &PersistentVolumeClaim,
    ) -> Result<(), ApiError> {
        let Some(change) = bind::volume_spec(volume, claim) else {
            return Ok(());
        };
        let name = claims::name(volume);
        let patch = Patch::Merge(bind::guarded(volume, change));
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        let patched = api.patch(name, &PatchParams::default(), &patch).await;
        self.caches
            .volumes
            .record(patched.doing("reserve volume", name)?);
        Ok(())
    }

    /// Says why a Pod stays where it is, in an event and in its condition.
    async fn refuse(&self, pod: &Pod, message: String) -> Result<(), ApiError> {
        self.recorder
            .announce(pod, Severity::Warning, "FailedScheduling", message.clone());
        let status = pod.status.as_ref();
        let mut conditions = status
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        if !mark_unschedulable(&mut conditions, message, Timestamp::now()) {
            return Ok(());
        }
        let key = ObjectKey::of(pod);
        let change = json!({"status": {"conditions": conditions}});
        let patch = Patch::Merge(bind::guarded(pod, change));
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let patched = api
            .patch_status(&key.name, &PatchParams::default(), &patch)
            .await;
        self.caches
            .pods
            .record(patched.doing("update the status of pod", &key)?);
        Ok(())
    }
}

/// Sets the condition `PodScheduled`; answers whether that changed anything.
fn mark_unschedulable(conditions: &mut Vec<PodCondition>, message: String, now: Timestamp) -> bool {
    let known = conditions
        .iter()
        .position(|condition| condition.type_ == "PodScheduled");
    let mut new = PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("Unschedulable".to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    };
    let Some(old) = known.and_then(|at| conditions.get_mut(at)) else {
        conditions.push(new);
        return true;
    };
    if old.status == new.status {
        new.last_transition_time
            .clone_from(&old.last_transition_time);
    }
    new.last_probe_time.clone_from(&old.last_probe_time);
    let changed = *old != new;
    *old = new;
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiserver::extend::Extensions;
    use apiserver::{ApiServer, User};

    #[tokio::test]
    async fn a_pod_that_is_gone_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let server = ApiServer::open(folder.path(), Extensions::default())
            .await
            .unwrap();
        let client = Client::new(server.service(User::system()), "default");
        let (recorder, _events) = crate::events::channel();
        let scheduler = Scheduler::new(client, Caches::default(), &recorder);
        let key = ObjectKey::new("ns", "p");
        let attempt = Attempt {
            uid: "u".to_owned(),
            node: "n1".to_owned(),
            count: 1,
            at: Instant::now(),
        };
        scheduler.attempts.lock().insert(key.clone(), attempt);
        assert_eq!(scheduler.reconcile(key).await.unwrap(), Next::OnChange);
        assert!(scheduler.attempts.lock().is_empty());
    }
}
