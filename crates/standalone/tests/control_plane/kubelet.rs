//! What a node agent does to Pods, as far as their owners can see.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::home::Home;

/// Runs the Pods of a home until it is dropped.
pub(crate) struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Kubelet {
    /// Pods run and are ready as soon as they have a node.
    pub(crate) fn running(home: &Home) -> Self {
        let status = json!({"phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}]});
        Self::start(home, status)
    }

    /// Pods get a status as soon as they have a node.
    pub(crate) fn start(home: &Home, status: Value) -> Self {
        let api = home.api::<Pod>();
        Self(tokio::spawn(async move {
            let changes = watcher::watcher(api.clone(), watcher::Config::default());
            let mut changes = std::pin::pin!(changes.default_backoff().applied_objects());
            while let Some(pod) = changes.next().await {
                attend(&api, &pod.unwrap(), &status).await;
            }
        }))
    }
}

/// Pods come and go meanwhile, so that any of this may be too late.
async fn attend(api: &Api<Pod>, pod: &Pod, status: &Value) {
    let name = pod.name_any();
    let placed = pod
        .spec
        .as_ref()
        .is_some_and(|spec| spec.node_name.is_some());
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() {
        let _ = api
            .delete(&name, &DeleteParams::default().grace_period(0))
            .await;
    } else if placed && phase == Some("Pending") {
        let patch = Patch::Merge(json!({"status": status}));
        let _ = api
            .patch_status(&name, &PatchParams::default(), &patch)
            .await;
    }
}
