//! DaemonSets: one Pod on each node that is eligible.

mod history;
mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;

use super::pods::{self, Pods};
use super::{Workloads, replace_status};
use crate::events::Recorder;
use crate::objects::claims;
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Cache, Caches, Next, ObjectKey};
use history::History;
use plan::Placed;

/// Pause before a Pod that failed on a node is made again there.
const RETRY: Limits = Limits {
    concurrency: 1,
    min_delay: Duration::from_secs(1),
    max_delay: Duration::from_mins(15),
};

pub(super) struct Controller {
    client: Client,
    caches: Caches,
    daemon_sets: Cache<DaemonSet>,
    history: History,
    pods: Pods,
    recorder: Recorder,
    /// How often Pods failed, by DaemonSet and node.
    failures: parking_lot::Mutex<HashMap<(ObjectKey, String), (u32, Timestamp)>>,
}

impl Controller {
    pub(super) fn new(workloads: &Workloads) -> Self {
        let recorder = workloads
            .recorder
            .for_component("daemonset-controller", None);
        let (client, caches) = (workloads.client.clone(), workloads.caches.clone());
        Self {
            client: client.clone(),
            caches: caches.clone(),
            daemon_sets: workloads.daemon_sets.clone(),
            history: History::new(client.clone(), workloads.revisions.clone()),
            pods: Pods::new(client, caches, recorder.clone()),
            recorder,
            failures: parking_lot::Mutex::default(),
        }
    }

    pub(super) async fn reconcile(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(set) = self.daemon_sets.get(&key) else {
            self.failures.lock().retain(|(set, _), _| *set != key);
            return Ok(Next::OnChange);
        };
        let Some(spec) = &set.spec else {
            return Ok(Next::OnChange);
        };
        if claims::is_deleting(&*set) {
            return Ok(Next::OnChange);
        }
        let hash = self.history.current(&set).await?;
        let mine = self.pods.of(&*set, &spec.selector).await?;
        let now = Timestamp::now();
        let retry = self.adjust(&set, &hash, &mine, now).await?;
        let mine = self.pods.of(&*set, &spec.selector).await?;
        let status = self.status(&set, &hash, &mine, now);
        if set.status.as_ref() != Some(&status) {
            let mut changed = DaemonSet::clone(&set);
            changed.status = Some(status);
            replace_status(&self.client, &self.daemon_sets, &changed).await?;
        }
        self.history.clean_up(&set, &mine).await?;
        let min_ready = spec.min_ready_seconds.unwrap_or(0);
        let waits = mine
            .iter()
            .filter_map(|pod| pods::until_available(pod, min_ready, now));
        let next = waits.filter(|wait| !wait.is_zero()).chain(retry).min();
        Ok(next.map_or(Next::OnChange, Next::After))
    }

    /// Makes and deletes Pods; returns when to look again for one that has to wait.
    async fn adjust(
        &self,
        set: &DaemonSet,
        hash: &str,
        mine: &[Arc<Pod>],
        now: Timestamp,
    ) -> Result<Option<Duration>, ApiError> {
        let placed = placed(mine);
        let steps = plan::steps(set, hash, &self.nodes(), &placed, now);
        for pod in &steps.failed {
            let node = plan::target(pod).unwrap_or_default();
            self.note_failure(ObjectKey::of(set), node, now);
            let key = ObjectKey::of(&**pod);
            let message =
                format!("Found failed daemon pod {key} on node {node}, will try to kill it");
            self.recorder.warning(set, "FailedDaemonPod", message);
        }
        for pod in steps.failed.iter().chain(&steps.delete) {
            self.pods.delete(set, pod).await?;
        }
        let mut retry = None;
        for node in &steps.create {
            let wait = self.back_off(ObjectKey::of(set), node, now);
            if wait.is_zero() {
                self.pods.create(set, plan::render(set, hash, node)).await?;
            } else {
                retry = retry.into_iter().chain([wait]).min();
            }
        }
        Ok(retry)
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        let mut nodes = self.caches.nodes.all();
        nodes.sort_by(|a, b| claims::name(&**a).cmp(claims::name(&**b)));
        nodes
    }

    fn note_failure(&self, set: ObjectKey, node: &str, now: Timestamp) {
        let mut failures = self.failures.lock();
        let entry = failures.entry((set, node.to_owned())).or_insert((0, now));
        *entry = (entry.0 + 1, now);
    }

    fn back_off(&self, set: ObjectKey, node: &str, now: Timestamp) -> Duration {
        let failures = self.failures.lock();
        let Some((count, at)) = failures.get(&(set, node.to_owned())) else {
            return Duration::ZERO;
        };
        let passed = Duration::try_from(now.duration_since(*at)).unwrap_or_default();
        RETRY.delay(*count).saturating_sub(passed)
    }

    fn status(
        &self,
        set: &DaemonSet,
        hash: &str,
        mine: &[Arc<Pod>],
        now: Timestamp,
    ) -> DaemonSetStatus {
        let before = set.status.clone().unwrap_or_default();
        plan::status(set, hash, &self.nodes(), &placed(mine), now, before)
    }
}

fn placed(mine: &[Arc<Pod>]) -> Placed {
    let mut placed = Placed::new();
    for pod in mine {
        if let Some(node) = plan::target(pod) {
            placed.entry(node.to_owned()).or_default().push(pod.clone());
        }
    }
    placed
}
