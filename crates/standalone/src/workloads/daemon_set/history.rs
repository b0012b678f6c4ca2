//! The templates that a DaemonSet had, as ControllerRevisions: `kubectl rollout undo` goes back to
//! one of them.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use super::super::template;
use super::super::{is_controlled_by, reference};
use crate::binder::bind::guarded;
use crate::objects::claims;
use crate::runtime::error::GoneIsDone as _;
use crate::runtime::{ApiError, Cache, Doing as _, ObjectKey};

/// Label of the Pods and the revision of one template.
pub(super) const HASH: &str = "controller-revision-hash";

pub(super) struct History {
    client: Client,
    revisions: Cache<ControllerRevision>,
}

impl History {
    pub(super) fn new(client: Client, revisions: Cache<ControllerRevision>) -> Self {
        Self { client, revisions }
    }

    /// The hash of the present template, whose revision is the newest, made if there is none.
    pub(super) async fn current(&self, set: &DaemonSet) -> Result<String, ApiError> {
        let data = data(set);
        let mine = self.of(set);
        let newest = mine.last().map_or(0, |revision| revision.revision);
        let Some(present) = mine.iter().find(|revision| has_data(revision, &data)) else {
            let made = self.create(set, data, newest + 1).await?;
            return Ok(hash_of(&made));
        };
        if present.revision < newest {
            let key = ObjectKey::of(&**present);
            let patch = Patch::Merge(guarded(&**present, json!({"revision": newest + 1})));
            let patched = self
                .api(set)
                .patch(&key.name, &PatchParams::default(), &patch)
                .await;
            self.revisions
                .record(patched.doing("renumber revision", &key)?);
        }
        Ok(hash_of(present))
    }

    async fn create(
        &self,
        set: &DaemonSet,
        data: Value,
        number: i64,
    ) -> Result<ControllerRevision, ApiError> {
        let template = set
            .spec
            .as_ref()
            .map(|spec| spec.template.clone())
            .unwrap_or_default();
        let api = self.api(set);
        let mut collisions = 0;
        loop {
            let hash = template::hash(&template, collisions);
            let name = format!("{}-{hash}", claims::name(set));
            let mut labels = template.metadata.clone().and_then(|meta| meta.labels);
            labels.get_or_insert_default().insert(HASH.to_owned(), hash);
            let revision = ControllerRevision {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    namespace: set.namespace(),
                    labels,
                    owner_references: Some(vec![reference(set)]),
                    ..ObjectMeta::default()
                },
                data: Some(RawExtension(data.clone())),
                revision: number,
            };
            let made = api.create(&PostParams::default(), &revision).await;
            match made.doing("create revision", &name) {
                Err(error) if error.is_conflict() => {
                    let taken = api.get(&name).await.doing("read revision", &name)?;
                    if is_controlled_by(&taken, set) && has_data(&taken, &data) {
                        self.revisions.record(taken.clone());
                        return Ok(taken);
                    }
                    collisions += 1;
                }
                made => {
                    let made = made?;
                    self.revisions.record(made.clone());
                    return Ok(made);
                }
            }
        }
    }

    /// Drops the oldest revisions that no Pod is of, beyond those that are kept.
    pub(super) async fn clean_up(
        &self,
        set: &DaemonSet,
        pods: &[Arc<Pod>],
    ) -> Result<(), ApiError> {
        let kept = set
            .spec
            .as_ref()
            .and_then(|spec| spec.revision_history_limit);
        let kept = usize::try_from(kept.unwrap_or(10)).unwrap_or(0);
        let live: HashSet<_> = pods
            .iter()
            .filter_map(|pod| pod.labels().get(HASH))
            .collect();
        let mut old = self.of(set);
        old.pop();
        old.retain(|revision| {
            revision
                .labels()
                .get(HASH)
                .is_none_or(|hash| !live.contains(hash))
        });
        let surplus = old.len().saturating_sub(kept);
        for revision in &old[..surplus] {
            let key = ObjectKey::of(&**revision);
            let deleted = self
                .api(set)
                .delete(&key.name, &DeleteParams::default())
                .await;
            deleted.doing("delete revision", &key).or_gone()?;
        }
        Ok(())
    }

    /// The revisions of a DaemonSet, the oldest first.
    fn of(&self, set: &DaemonSet) -> Vec<Arc<ControllerRevision>> {
        let mut mine = self.revisions.all();
        mine.retain(|revision| is_controlled_by(&**revision, set));
        mine.sort_by_key(|revision| revision.revision);
        mine
    }

    fn api(&self, set: &DaemonSet) -> Api<ControllerRevision> {
        Api::namespaced(self.client.clone(), &set.namespace().unwrap_or_default())
    }
}

fn hash_of(revision: &ControllerRevision) -> String {
    revision.labels().get(HASH).cloned().unwrap_or_default()
}

fn has_data(revision: &ControllerRevision, data: &Value) -> bool {
    revision.data.as_ref().is_some_and(|own| own.0 == *data)
}

/// A patch that brings the template back.
fn data(set: &DaemonSet) -> Value {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    let mut template = json!(template);
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}
