//! Pods leave nodes with a `NoExecute` taint: at once, or when the time is over that they tolerate it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use parking_lot::Mutex;

use crate::events::{Recorder, Severity};
use crate::objects::{claims, taints};
use crate::runtime::error::GoneIsDone as _;
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Caches, Doing as _, Next, ObjectKey, drive};

/// Ends the Pods that may not stay where they are.
#[derive(Clone)]
pub(crate) struct TaintEviction {
    client: Client,
    caches: Caches,
    recorder: Recorder,
    /// Since when Pods, named with their uids, have only borne their nodes' taints.
    bearing: Arc<Mutex<HashMap<ObjectKey, (String, Timestamp)>>>,
}

impl TaintEviction {
    pub(crate) fn new(client: Client, caches: Caches, recorder: &Recorder) -> Self {
        let recorder = recorder.for_component("taint-eviction-controller", None);
        Self {
            client,
            caches,
            recorder,
            bearing: Arc::default(),
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        self.caches.ready().await;
        let (pods, limits) = (self.triggers(), Limits::default());
        drive(pods, limits, |key| self.reconcile(key)).await;
    }

    fn triggers(&self) -> impl Stream<Item = ObjectKey> + use<> {
        let own = self.caches.pods.changes();
        let own = own.map(|change| ObjectKey::of(&**change.object()));
        let pods = self.caches.pods.clone();
        let by_node = self.caches.nodes.changes().flat_map(move |change| {
            let node = claims::name(&**change.object()).to_owned();
            let there = pods.all().into_iter();
            let there = there.filter(move |pod| claims::pod_node(pod) == Some(&node));
            stream::iter(there.map(|pod| ObjectKey::of(&*pod)))
        });
        stream::select(own, by_node).boxed()
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let pod = self.caches.pods.get(&key);
        let Some(pod) = pod.filter(|pod| !claims::is_deleting(&**pod)) else {
            self.bearing.lock().remove(&key);
            return Ok(Next::OnChange);
        };
        let node = claims::pod_node(&pod).map(ObjectKey::cluster);
        let Some(node) = node.and_then(|node| self.caches.nodes.get(&node)) else {
            return Ok(Next::OnChange);
        };
        let now = Timestamp::now();
        match deadline(&pod, &node, self.bearing_since(&key, &pod, now)) {
            None => {
                self.bearing.lock().remove(&key);
                Ok(Next::OnChange)
            }
            Some(due) if due > now => Ok(Next::After(
                Duration::try_from(due.duration_since(now)).unwrap_or_default(),
            )),
            Some(_) => self.evict(&pod, &key).await,
        }
    }

    /// When a Pod was first seen to bear a taint; now, if it was not yet.
    fn bearing_since(&self, key: &ObjectKey, pod: &Pod, now: Timestamp) -> Timestamp {
        let mut bearing = self.bearing.lock();
        let (uid, since) = bearing.entry(key.clone()).or_default();
        if uid != claims::uid(pod) {
            (*uid, *since) = (claims::uid(pod).to_owned(), now);
        }
        *since
    }

    async fn evict(&self, pod: &Pod, key: &ObjectKey) -> Result<Next, ApiError> {
        let message = format!("Marking for deletion Pod {key}");
        self.recorder
            .announce(pod, Severity::Normal, "TaintManagerEviction", message);
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: None,
        });
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let deleted = api.delete(&key.name, &params).await;
        deleted.doing("evict pod", key).or_gone()?;
        Ok(Next::OnChange)
    }
}

/// When a Pod must leave its node; `None` when it may stay. Taints that do not say when they were
/// added count from `seen`.
fn deadline(pod: &Pod, node: &Node, seen: Timestamp) -> Option<Timestamp> {
    let spec = pod.spec.as_ref();
    let tolerations = spec.and_then(|spec| spec.tolerations.as_deref());
    let tolerations = tolerations.unwrap_or_default();
    taints::of(node)
        .iter()
        .filter(|taint| taint.effect == "NoExecute")
        .filter_map(|taint| limit(taint, tolerations, seen))
        .min()
}

/// How long one taint is tolerated; `None` for ever.
fn limit(taint: &Taint, tolerations: &[Toleration], seen: Timestamp) -> Option<Timestamp> {
    let since = taint.time_added.as_ref().map_or(seen, |time| time.0);
    let own = tolerations.iter();
    let mut own = own
        .filter(|toleration| taints::tolerates(toleration, taint))
        .peekable();
    if own.peek().is_none() {
        return Some(seen);
    }
    let seconds = own
        .filter_map(|toleration| toleration.toleration_seconds)
        .min()?;
    since
        .checked_add(SignedDuration::from_secs(seconds.max(0)))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates_every_taint() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let deadline = |taints: Value, tolerations: Value| {
            let node: Node = serde_json::from_value(json!({"spec": {"taints": taints}})).unwrap();
            let pod = json!({"spec": {"containers": [], "tolerations": tolerations}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            super::deadline(&pod, &node, now).map(|due| due.to_string())
        };
        let taint = |key: &str| json!({"key": key, "effect": "NoExecute", "timeAdded": "2026-01-01T00:59:00Z"});
        let tolerates = |key: &str, seconds: Value| {
            json!({"key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": seconds})
        };
        let at = |text: &str| Some(text.to_owned());
        let (away, other) = (taint("away"), taint("other"));
        let five = tolerates("away", json!(300));
        assert_eq!(deadline(json!([]), json!([])), None);
        assert_eq!(
            deadline(json!([away]), json!([])),
            at("2026-01-01T01:00:00Z")
        );
        assert_eq!(
            deadline(json!([away]), json!([five])),
            at("2026-01-01T01:04:00Z")
        );
        assert_eq!(
            deadline(json!([away]), json!([tolerates("away", Value::Null)])),
            None
        );
        assert_eq!(
            deadline(json!([away, other]), json!([five])),
            at("2026-01-01T01:00:00Z")
        );
        let timeless = json!({"key": "away", "effect": "NoExecute"});
        assert_eq!(
            deadline(json!([timeless]), json!([five])),
            at("2026-01-01T01:05:00Z"),
            "counted from when it was seen"
        );
        let soft = json!({"key": "away", "effect": "NoSchedule"});
        assert_eq!(deadline(json!([soft]), json!([])), None);
    }
}
