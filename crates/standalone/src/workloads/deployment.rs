//! Deployments: one ReplicaSet for each template, and the way from the old ones to the new one.
//!
//! A reconcile takes one step: make the new ReplicaSet, give ReplicaSets other sizes, or drop old
//! ones. The change leads back here for the next one.

mod plan;
mod status;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::template::{self, DEPLOYMENT_HASH};
use super::{Workloads, controller_of, is_controlled_by, names, reference, replace_status};
use crate::binder::bind::guarded;
use crate::events::Recorder;
use crate::objects::claims;
use crate::objects::selectors::{Labels, label_selector_matches};
use crate::runtime::error::GoneIsDone as _;
use crate::runtime::{ApiError, Cache, Caches, Doing as _, Next, ObjectKey};
pub(super) use plan::share;
use plan::{Scaling, is_active};

/// Number of a ReplicaSet among those of its Deployment, and of the one that is rolled out.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Size of the Deployment when a ReplicaSet was last given its own.
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations that are about the Deployment alone.
const OWN: [&str; 4] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    DESIRED,
    MAX,
];

pub(super) struct Controller {
    client: Client,
    caches: Caches,
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    recorder: Recorder,
}

/// The ReplicaSets of a Deployment.
struct Sets {
    new: Option<Arc<ReplicaSet>>,
    /// The oldest first.
    old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    fn all(&self) -> Vec<Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new).cloned().collect()
    }

    fn highest_revision(&self) -> u64 {
        self.old.iter().map(|set| revision(set)).max().unwrap_or(0)
    }
}

impl Controller {
    pub(super) fn new(workloads: &Workloads) -> Self {
        Self {
            client: workloads.client.clone(),
            caches: workloads.caches.clone(),
            deployments: workloads.deployments.clone(),
            sets: workloads.replica_sets.clone(),
            recorder: workloads
                .recorder
                .for_component("deployment-controller", None),
        }
    }

    pub(super) async fn reconcile(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(deployment) = self.deployments.get(&key) else {
            return Ok(Next::OnChange);
        };
        let sets = self.sets_of(&deployment).await?;
        let now = Timestamp::now();
        if !claims::is_deleting(&*deployment) && self.step(&deployment, &sets).await? {
            // The cache has the outcome already.
            let deployment = self.deployments.get(&key).unwrap_or(deployment);
            let sets = self.sets_of(&deployment).await?;
            self.report(&deployment, &sets, now).await?;
            return Ok(Next::After(Duration::ZERO));
        }
        self.report(&deployment, &sets, now).await
    }

    /// Does the next thing there is to do; answers whether there was one.
    async fn step(&self, deployment: &Deployment, sets: &Sets) -> Result<bool, ApiError> {
        let spec = deployment.spec.clone().unwrap_or_default();
        if spec.paused == Some(true) {
            return self.scale(deployment, plan::resize(&spec, sets)).await;
        }
        let Some(new) = &sets.new else {
            if spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("Recreate")
                && self.are_old_pods_left(sets)
            {
                return self.scale(deployment, plan::empty(&sets.old)).await;
            }
            self.create_new(deployment, sets).await?;
            return Ok(true);
        };
        let number = revision(new).max(sets.highest_revision() + 1);
        if revision(new) < number {
            self.annotate_set(new, REVISION, number).await?;
            return Ok(true);
        }
        if revision_of(deployment.annotations().get(REVISION)) != number {
            self.annotate(deployment, number).await?;
            return Ok(true);
        }
        if self
            .scale(
                deployment,
                plan::roll(&spec, sets, self.are_old_pods_left(sets)),
            )
            .await?
        {
            return Ok(true);
        }
        self.clean_up(deployment, sets).await
    }

    async fn sets_of(&self, deployment: &Deployment) -> Result<Sets, ApiError> {
        let spec = deployment.spec.clone().unwrap_or_default();
        let mut mine = Vec::new();
        for set in self.sets.all() {
            let none = Labels::new();
            let labels = set.metadata.labels.as_ref().unwrap_or(&none);
            if set.metadata.namespace != deployment.metadata.namespace {
                continue;
            }
            if is_controlled_by(&*set, deployment) {
                mine.push(set);
            } else if controller_of(&*set).is_none()
                && label_selector_matches(&spec.selector, labels)
                && !claims::is_deleting(deployment)
                && !claims::is_deleting(&*set)
            {
                let owners = json!({"metadata": {"ownerReferences": [reference(deployment)]}});
                mine.push(self.patch_set(&set, owners).await?);
            }
        }
        mine.sort_by_key(|set| (set.creation_timestamp().map(|time| time.0), set.name_any()));
        let new = mine
            .iter()
            .find(|set| has_template(set, deployment))
            .cloned();
        if let Some(new) = &new {
            mine.retain(|set| !Arc::ptr_eq(set, new));
        }
        Ok(Sets { new, old: mine })
    }

    fn are_old_pods_left(&self, sets: &Sets) -> bool {
        let old = names(sets.old.iter().map(|set| &**set));
        self.caches.pods.all().iter().any(|pod| {
            controller_of(&**pod).is_some_and(|owner| old.contains(&*owner.name))
                && !claims::is_finished(pod)
                && sets.old.iter().any(|set| is_controlled_by(&**pod, &**set))
        })
    }

    async fn create_new(&self, deployment: &Deployment, sets: &Sets) -> Result<(), ApiError> {
        let collisions = deployment
            .status
            .as_ref()
            .and_then(|status| status.collision_count);
        let set = render(deployment, sets, collisions.unwrap_or(0));
        let key = ObjectKey::of(&set);
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
        match api
            .create(&PostParams::default(), &set)
            .await
            .doing("create", &key)
        {
            Ok(made) => {
                self.tell_size(deployment, &made, 0, plan::size(&made));
                self.sets.record(made);
                Ok(())
            }
            Err(error) if error.is_conflict() => self.avoid(deployment, &key).await,
            Err(error) => Err(error),
        }
    }

    /// The name is taken: by another Deployment's template of the same hash, or by our own that the
    /// cache does not know of yet.
    async fn avoid(&self, deployment: &Deployment, taken: &ObjectKey) -> Result<(), ApiError> {
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &taken.namespace);
        let found = api.get(&taken.name).await.doing("read", taken)?;
        if is_controlled_by(&found, deployment) && has_template(&found, deployment) {
            self.sets.record(found);
            return Ok(());
        }
        let mut changed = deployment.clone();
        let status = changed.status.get_or_insert_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        replace_status(&self.client, &self.deployments, &changed).await
    }

    async fn scale(
        &self,
        deployment: &Deployment,
        scalings: Vec<Scaling>,
    ) -> Result<bool, ApiError> {
        let any = !scalings.is_empty();
        for Scaling { set, to } in scalings {
            let annotations = sizes(deployment);
            let change =
                json!({"metadata": {"annotations": annotations}, "spec": {"replicas": to}});
            let from = plan::size(&set);
            let scaled = self.patch_set(&set, change).await?;
            self.tell_size(deployment, &scaled, from, to);
        }
        Ok(any)
    }

    fn tell_size(&self, deployment: &Deployment, set: &ReplicaSet, from: i32, to: i32) {
        if from != to {
            let direction = if from < to { "up" } else { "down" };
            let name = claims::name(set);
            let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
            self.recorder
                .normal(deployment, "ScalingReplicaSet", message);
        }
    }

    async fn annotate_set(&self, set: &ReplicaSet, key: &str, value: u64) -> Result<(), ApiError> {
        let change = json!({"metadata": {"annotations": {key: value.to_string()}}});
        self.patch_set(set, change).await.map(drop)
    }

    async fn patch_set(
        &self,
        set: &ReplicaSet,
        change: Value,
    ) -> Result<Arc<ReplicaSet>, ApiError> {
        let key = ObjectKey::of(set);
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = Patch::Merge(guarded(set, change));
        let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
        let patched = patched.doing("change replica set", &key)?;
        self.sets.record(patched.clone());
        Ok(Arc::new(patched))
    }

    async fn annotate(&self, deployment: &Deployment, revision: u64) -> Result<(), ApiError> {
        let key = ObjectKey::of(deployment);
        let change = json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
        let patch = Patch::Merge(guarded(deployment, change));
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &key.namespace);
        let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
        self.deployments
            .record(patched.doing("annotate deployment", &key)?);
        Ok(())
    }

    /// Drops old ReplicaSets beyond those that are kept for a way back.
    async fn clean_up(&self, deployment: &Deployment, sets: &Sets) -> Result<bool, ApiError> {
        let kept = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.revision_history_limit);
        let mut idle: Vec<_> = sets.old.iter().filter(|set| !is_active(set)).collect();
        idle.sort_by_key(|set| revision(set));
        let kept = usize::try_from(kept.unwrap_or(10)).unwrap_or(0);
        let surplus = idle.len().saturating_sub(kept);
        for set in &idle[..surplus] {
            if claims::is_deleting(&***set) {
                continue;
            }
            let key = ObjectKey::of(&***set);
            let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
            let params = DeleteParams::background().preconditions(Preconditions {
                uid: set.metadata.uid.clone(),
                resource_version: set.metadata.resource_version.clone(),
            });
            let deleted = api.delete(&key.name, &params).await;
            deleted.doing("delete replica set", &key).or_gone()?;
        }
        Ok(false)
    }

    async fn report(
        &self,
        deployment: &Deployment,
        sets: &Sets,
        now: Timestamp,
    ) -> Result<Next, ApiError> {
        let status = status::of(deployment, sets, now);
        let wait = status::until_deadline(deployment, &status, now);
        if deployment.status.as_ref() != Some(&status) {
            let mut changed = deployment.clone();
            changed.status = Some(status);
            replace_status(&self.client, &self.deployments, &changed).await?;
        }
        Ok(wait.map_or(Next::OnChange, Next::After))
    }
}

/// Whether a ReplicaSet makes the Pods that the Deployment now describes.
fn has_template(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let wanted = deployment
        .spec
        .as_ref()
        .map(|spec| template::plain(&spec.template));
    template.map(template::plain) == wanted
}

/// The ReplicaSet of the present template.
fn render(deployment: &Deployment, sets: &Sets, collisions: i32) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let hash = template::hash(&spec.template, collisions);
    let mut template = spec.template.clone();
    let labels = &mut template.metadata.get_or_insert_default().labels;
    labels
        .get_or_insert_default()
        .insert(DEPLOYMENT_HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    let exact = selector.match_labels.get_or_insert_default();
    exact.insert(DEPLOYMENT_HASH.to_owned(), hash.clone());
    let mut annotations = deployment.annotations().clone();
    annotations.retain(|key, _| !OWN.contains(&key.as_str()));
    annotations.extend(sizes(deployment));
    let revision = sets.highest_revision() + 1;
    annotations.insert(REVISION.to_owned(), revision.to_string());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", claims::name(deployment))),
            namespace: deployment.meta().namespace.clone(),
            labels,
            annotations: Some(annotations),
            owner_references: Some(vec![reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(plan::first_size(&spec, sets)),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

fn sizes(deployment: &Deployment) -> Labels {
    let spec = deployment.spec.clone().unwrap_or_default();
    let wanted = plan::wanted(&spec);
    let most = wanted + plan::bounds(&spec).surge;
    Labels::from([
        (DESIRED.to_owned(), wanted.to_string()),
        (MAX.to_owned(), most.to_string()),
    ])
}

fn revision(set: &ReplicaSet) -> u64 {
    revision_of(set.annotations().get(REVISION))
}

fn revision_of(annotation: Option<&String>) -> u64 {
    annotation
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}
