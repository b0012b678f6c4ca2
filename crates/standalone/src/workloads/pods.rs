//! The Pods of a workload: which they are, how they do, how they come and go.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use super::{Object, controller_of, is_controlled_by, reference};
use crate::binder::bind::guarded;
use crate::events::Recorder;
use crate::objects::claims;
use crate::objects::selectors::{Labels, label_selector_matches};
use crate::runtime::error::GoneIsDone as _;
use crate::runtime::{ApiError, Caches, Doing as _, ObjectKey};

/// Longest part of an owner's name in the names of its Pods, so that these stay labels.
const BASE_MAX: usize = 57;

/// The hands of a workload's controller.
#[derive(Clone)]
pub(super) struct Pods {
    client: Client,
    caches: Caches,
    recorder: Recorder,
}

impl Pods {
    pub(super) fn new(client: Client, caches: Caches, recorder: Recorder) -> Self {
        Self {
            client,
            caches,
            recorder,
        }
    }

    /// The Pods that an owner controls. It takes those that it selects and nobody controls, and
    /// lets go of those that it no longer selects.
    pub(super) async fn of<K: Object>(
        &self,
        owner: &K,
        selector: &LabelSelector,
    ) -> Result<Vec<Arc<Pod>>, ApiError> {
        let mut mine = Vec::new();
        for pod in self.caches.pods.all() {
            if pod.metadata.namespace != owner.meta().namespace {
                continue;
            }
            let none = Labels::new();
            let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
            let selected = label_selector_matches(selector, labels);
            if is_controlled_by(&*pod, owner) {
                if selected || claims::is_deleting(&*pod) {
                    mine.push(pod);
                } else {
                    self.set_owner(&pod, None::<&K>).await?;
                }
            } else if selected
                && controller_of(&*pod).is_none()
                && is_active(&pod)
                && !claims::is_deleting(owner)
            {
                mine.push(self.set_owner(&pod, Some(owner)).await?);
            }
        }
        mine.sort_by(|a, b| claims::name(&**a).cmp(claims::name(&**b)));
        Ok(mine)
    }

    async fn set_owner<K: Object>(
        &self,
        pod: &Pod,
        owner: Option<&K>,
    ) -> Result<Arc<Pod>, ApiError> {
        let key = ObjectKey::of(pod);
        let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
        owners.retain(|reference| reference.controller != Some(true));
        owners.extend(owner.map(reference));
        let change = json!({"metadata": {"ownerReferences": owners}});
        let patch = Patch::Merge(guarded(pod, change));
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
        let patched = patched.doing("adopt or release pod", &key)?;
        self.caches.pods.record(patched.clone());
        Ok(Arc::new(patched))
    }

    /// Makes a Pod from a template, and tells how that went.
    pub(super) async fn create<K: Object>(&self, owner: &K, mut pod: Pod) -> Result<(), ApiError> {
        let key = ObjectKey::of(owner);
        pod.metadata.namespace = Some(key.namespace.clone());
        pod.metadata.owner_references = Some(vec![reference(owner)]);
        let base: String = key.name.chars().take(BASE_MAX).collect();
        pod.metadata.generate_name = Some(format!("{base}-"));
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        match api.create(&PostParams::default(), &pod).await {
            Ok(made) => {
                let message = format!("Created pod: {}", claims::name(&made));
                self.recorder.normal(owner, "SuccessfulCreate", message);
                self.caches.pods.record(made);
                Ok(())
            }
            Err(error) => {
                let why = match &error {
                    kube::Error::Api(status) => status.message.clone(),
                    other => other.to_string(),
                };
                let message = format!("Error creating: {why}");
                self.recorder.warning(owner, "FailedCreate", message);
                Err(error).doing("create a pod of", &key)
            }
        }
    }

    /// Asks for the end of a Pod, and tells of it.
    pub(super) async fn delete<K: Object>(&self, owner: &K, pod: &Pod) -> Result<(), ApiError> {
        let key = ObjectKey::of(pod);
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: None,
        });
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let deleted = api.delete(&key.name, &params).await;
        let message = format!("Deleted pod: {}", key.name);
        if let Ok(marked) = &deleted {
            self.recorder.normal(owner, "SuccessfulDelete", message);
            if let Some(marked) = marked.as_ref().left() {
                self.caches.pods.record(marked.clone());
            }
        }
        deleted.doing("delete pod", &key).or_gone()
    }
}

/// A Pod as a template describes it.
pub(super) fn from_template(template: &PodTemplateSpec) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Whether a Pod runs or is going to.
pub(super) fn is_active(pod: &Pod) -> bool {
    !claims::is_finished(pod) && !claims::is_deleting(pod)
}

pub(super) fn phase(pod: &Pod) -> &str {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase.unwrap_or_default()
}

/// Since when a Pod is ready, if it is.
pub(super) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|c| c.type_ == "Ready" && c.status == "True")?;
    let since = ready.last_transition_time.as_ref().map(|time| time.0);
    Some(since.unwrap_or(Timestamp::UNIX_EPOCH))
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// How long until a ready Pod has been so for `min_ready` seconds; zero if it has.
pub(super) fn until_available(pod: &Pod, min_ready: i32, now: Timestamp) -> Option<Duration> {
    let at = ready_since(pod)? + SignedDuration::from_secs(min_ready.into());
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

pub(super) fn is_available(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    until_available(pod, min_ready, now) == Some(Duration::ZERO)
}

pub(super) fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}
