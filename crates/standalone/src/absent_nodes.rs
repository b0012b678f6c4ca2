//! Nodes that this process does not run, as after a start with fewer of them.
//!
//! Such a node keeps its object and its volumes, and everything goes on when it is started again. Until
//! then it takes no Pods, its Pods are deleted when they no longer tolerate that, and those that are
//! being deleted go at once: their processes ended with the process that ran the node.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use crate::binder::bind::guarded;
use crate::objects::claims;
use crate::runtime::error::GoneIsDone as _;
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Caches, Doing as _, Next, ObjectKey, drive};

/// Kubernetes' taint of nodes that it cannot reach.
const TAINT: &str = "node.kubernetes.io/unreachable";

/// No Pod comes, and those that are there leave.
const EFFECTS: [&str; 2] = ["NoSchedule", "NoExecute"];

/// Marks the nodes that are away, and ends what cannot end there.
#[derive(Clone)]
pub(crate) struct AbsentNodes {
    client: Client,
    caches: Caches,
    /// Nodes that this process runs.
    present: Arc<BTreeSet<String>>,
}

impl AbsentNodes {
    pub(crate) fn new(
        client: Client,
        caches: Caches,
        present: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            client,
            caches,
            present: Arc::new(present.into_iter().collect()),
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        self.caches.ready().await;
        let nodes = self.caches.nodes.changes();
        let nodes = nodes.map(|change| ObjectKey::of(&**change.object()));
        let pods = self.caches.pods.changes();
        let pods = pods.map(|change| ObjectKey::of(&**change.object()));
        tokio::join!(
            drive(nodes, Limits::default(), |key| self.mark(key)),
            drive(pods, Limits::default(), |key| self.end(key)),
        );
    }

    async fn mark(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(node) = self.caches.nodes.get(&key) else {
            return Ok(Next::OnChange);
        };
        let away = !self.present.contains(&key.name);
        let api: Api<Node> = Api::all(self.client.clone());
        let params = PatchParams::default();
        if let Some(taints) = taints(&node, away, Timestamp::now()) {
            let change = json!({"spec": {"taints": taints}});
            let patch = Patch::Merge(guarded(&*node, change));
            let patched = api.patch(&key.name, &params, &patch).await;
            let patched = patched.doing("update the taints of node", &key)?;
            self.caches.nodes.record(patched);
            // The change leads here again.
        } else if away && let Some(conditions) = unknown(&node, Timestamp::now()) {
            let change = json!({"status": {"conditions": conditions}});
            let patch = Patch::Merge(guarded(&*node, change));
            let patched = api.patch_status(&key.name, &params, &patch).await;
            let patched = patched.doing("update the status of node", &key)?;
            self.caches.nodes.record(patched);
        }
        Ok(Next::OnChange)
    }

    async fn end(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let pod = self.caches.pods.get(&key);
        if let Some(pod) = pod.filter(|pod| is_left_behind(pod, &self.present)) {
            let params = DeleteParams::default()
                .grace_period(0)
                .preconditions(Preconditions {
                    uid: pod.metadata.uid.clone(),
                    resource_version: None,
                });
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
            let deleted = api.delete(&key.name, &params).await;
            deleted.doing("delete pod", &key).or_gone()?;
        }
        Ok(Next::OnChange)
    }
}

/// The new taints of a node, if they must change.
fn taints(node: &Node, away: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let mut all = crate::objects::taints::of(node).to_vec();
    let marks = all.iter().filter(|taint| taint.key == TAINT).count();
    if marks == if away { EFFECTS.len() } else { 0 } {
        return None;
    }
    all.retain(|taint| taint.key != TAINT);
    if away {
        all.extend(EFFECTS.map(|effect| Taint {
            key: TAINT.to_owned(),
            effect: effect.to_owned(),
            time_added: Some(Time(now)),
            value: None,
        }));
    }
    Some(all)
}

/// The conditions of a node that is away, if they must change.
fn unknown(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let status = node.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.clone());
    let mut conditions = conditions.unwrap_or_default();
    let ready = conditions.iter().find(|each| each.type_ == "Ready");
    if ready.is_some_and(|ready| ready.status == "Unknown") {
        return None;
    }
    let condition = NodeCondition {
        type_: "Ready".to_owned(),
        status: "Unknown".to_owned(),
        reason: Some("NodeStatusUnknown".to_owned()),
        message: Some("this node is not among those that were started".to_owned()),
        last_heartbeat_time: ready.and_then(|ready| ready.last_heartbeat_time.clone()),
        last_transition_time: Some(Time(now)),
    };
    conditions.retain(|each| each.type_ != "Ready");
    conditions.push(condition);
    Some(conditions)
}

/// Whether a Pod waits for a node that is away to end it.
fn is_left_behind(pod: &Pod, present: &BTreeSet<String>) -> bool {
    claims::is_deleting(pod)
        && pod.metadata.deletion_grace_period_seconds != Some(0)
        && claims::pod_node(pod).is_some_and(|node| !present.contains(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_the_own_taint_comes_and_goes() {
        let now = Timestamp::UNIX_EPOCH;
        let own = |effect: &str| json!({"key": TAINT, "effect": effect, "timeAdded": "1970-01-01T00:00:00Z"});
        let own = [own("NoSchedule"), own("NoExecute")];
        let other = json!({"key": "other", "effect": "NoSchedule"});
        let node = |taints| object::<Node>(json!({"spec": {"taints": taints}}));
        let wanted = |taints| object::<Option<Vec<Taint>>>(taints);
        let marked = json!([other, own[0], own[1]]);
        let (bare, older) = (node(json!([other])), node(json!([other, own[0]])));
        assert_eq!(taints(&bare, true, now), wanted(marked.clone()));
        assert_eq!(taints(&older, true, now), wanted(marked.clone()));
        let marked = node(marked);
        assert_eq!(taints(&marked, true, now), None);
        assert_eq!(taints(&marked, false, now), wanted(json!([other])));
        assert_eq!(taints(&bare, false, now), None);
    }

    #[test]
    fn readiness_becomes_unknown_once() {
        let mut node: Node = object(json!({"status": {"conditions": [
            {"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}]}}));
        let conditions = unknown(&node, Timestamp::UNIX_EPOCH).unwrap();
        let kinds: Vec<_> = conditions.iter().map(|c| (&*c.type_, &*c.status)).collect();
        assert_eq!(kinds, [("DiskPressure", "False"), ("Ready", "Unknown")]);
        node.status.as_mut().unwrap().conditions = Some(conditions);
        assert_eq!(unknown(&node, Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn only_deleted_pods_of_absent_nodes_are_left_behind() {
        let present = BTreeSet::from(["n1".to_owned()]);
        let pod = |node: &str, grace: Option<i64>| {
            let deleted = grace.map(|_| "2026-01-01T00:00:00Z");
            let pod: Pod = object(json!({
                "metadata": {"deletionTimestamp": deleted, "deletionGracePeriodSeconds": grace},
                "spec": {"nodeName": node, "containers": []},
            }));
            is_left_behind(&pod, &present)
        };
        assert!(pod("n2", Some(30)));
        assert!(!pod("n2", Some(0)));
        assert!(!pod("n2", None));
        assert!(!pod("n1", Some(30)));
        assert!(!pod("", Some(30)));
    }
}
