//! What keeps Pods running: Deployments, ReplicaSets, DaemonSets and Jobs.
//!
//! Each controller reads its own kind and the Pods (or ReplicaSets) that belong to it, has a pure
//! `plan` say what is to be done, and does it. What belongs to what stands in owner references.

mod daemon_set;
mod deployment;
mod job;
mod pods;
mod replica_set;
mod template;

use std::collections::HashSet;
use std::fmt::Debug;

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::events::Recorder;
use crate::objects::claims;
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Cache, Caches, Change, Doing as _, ObjectKey, drive};

/// The controllers of all workloads.
#[derive(Clone)]
pub(crate) struct Workloads {
    client: Client,
    caches: Caches,
    deployments: Cache<Deployment>,
    replica_sets: Cache<ReplicaSet>,
    daemon_sets: Cache<DaemonSet>,
    revisions: Cache<ControllerRevision>,
    jobs: Cache<Job>,
    recorder: Recorder,
}

impl Workloads {
    pub(crate) fn new(client: Client, caches: Caches, recorder: &Recorder) -> Self {
        Self {
            client,
            caches,
            deployments: Cache::default(),
            replica_sets: Cache::default(),
            daemon_sets: Cache::default(),
            revisions: Cache::default(),
            jobs: Cache::default(),
            recorder: recorder.clone(),
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        tokio::join!(self.follow(), self.work());
    }

    async fn follow(&self) {
        let client = || self.client.clone();
        tokio::join!(
            self.deployments.clone().follow(Api::all(client())),
            self.replica_sets.clone().follow(Api::all(client())),
            self.daemon_sets.clone().follow(Api::all(client())),
            self.revisions.clone().follow(Api::all(client())),
            self.jobs.clone().follow(Api::all(client())),
        );
    }

    async fn work(&self) {
        self.caches.ready().await;
        tokio::join!(
            self.deployments.ready(),
            self.replica_sets.ready(),
            self.daemon_sets.ready(),
            self.revisions.ready(),
            self.jobs.ready(),
        );
        let deployments = deployment::Controller::new(self);
        let replica_sets = replica_set::Controller::new(self);
        let daemon_sets = daemon_set::Controller::new(self);
        let jobs = job::Controller::new(self);
        let deployment_triggers = stream::select_all([
            own(&self.deployments).boxed(),
            dependents(&self.replica_sets, &self.deployments).boxed(),
            self.with_pods_gone().boxed(),
        ]);
        let nodes = self.caches.nodes.changes();
        let all_daemon_sets = self.daemon_sets.clone();
        let by_node = nodes.flat_map(move |_| stream::iter(keys(&all_daemon_sets)));
        let daemon_triggers = stream::select_all([
            own(&self.daemon_sets).boxed(),
            dependents(&self.caches.pods, &self.daemon_sets).boxed(),
            by_node.boxed(),
        ]);
        tokio::join!(
            drive(deployment_triggers, Limits::default(), |key| deployments
                .reconcile(key),),
            drive(
                self.with_pods(&self.replica_sets),
                Limits::default(),
                |key| { replica_sets.reconcile(key) }
            ),
            drive(daemon_triggers, Limits::default(), |key| daemon_sets
                .reconcile(key)),
            drive(self.with_pods(&self.jobs), Limits::default(), |key| jobs
                .reconcile(key)),
        );
    }

    /// Deployments that have a Pod less: some wait for the last one of an older template.
    fn with_pods_gone(&self) -> impl Stream<Item = ObjectKey> + use<> {
        let sets = self.replica_sets.clone();
        self.caches.pods.changes().filter_map(move |change| {
            let key = match &change {
                Change::Deleted(pod) => grand_owner(pod, &sets),
                Change::Applied(_) => None,
            };
            async move { key }
        })
    }

    /// Objects of a kind when they or their Pods change.
    fn with_pods<K: Object>(&self, cache: &Cache<K>) -> impl Stream<Item = ObjectKey> + use<K> {
        stream::select(
            own(cache).boxed(),
            dependents(&self.caches.pods, cache).boxed(),
        )
    }
}

/// What a workload is as a type.
trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}
impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

fn keys<K: Object>(cache: &Cache<K>) -> Vec<ObjectKey> {
    cache
        .all()
        .iter()
        .map(|object| ObjectKey::of(&**object))
        .collect()
}

fn own<K: Object>(cache: &Cache<K>) -> impl Stream<Item = ObjectKey> + use<K> {
    cache
        .changes()
        .map(|change| ObjectKey::of(&**change.object()))
}

/// The owners of what changes; for what has none, all owners of its namespace, which may adopt it.
fn dependents<D: Object, O: Object>(
    dependents: &Cache<D>,
    owners: &Cache<O>,
) -> impl Stream<Item = ObjectKey> + use<D, O> {
    let owners = owners.clone();
    dependents.changes().flat_map(move |change| {
        let dependent = change.object();
        let namespace = dependent.meta().namespace.clone().unwrap_or_default();
        let keys = match (controller_of(&**dependent), &change) {
            (Some(owner), _) if owner.kind == O::kind(&()) => {
                vec![ObjectKey::new(namespace, owner.name.clone())]
            }
            (None, Change::Applied(_)) => {
                let mut all = keys(&owners);
                all.retain(|key| key.namespace == namespace);
                all
            }
            _ => Vec::new(),
        };
        stream::iter(keys)
    })
}

/// The owner that cares for an object.
fn controller_of(object: &impl Resource) -> Option<&OwnerReference> {
    let owners = object.meta().owner_references.as_ref()?;
    owners.iter().find(|owner| owner.controller == Some(true))
}

/// The controller of a Pod's ReplicaSet.
fn grand_owner(pod: &Pod, sets: &Cache<ReplicaSet>) -> Option<ObjectKey> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let set = sets.get(&ObjectKey::new(&*namespace, &*controller_of(pod)?.name))?;
    let owner = controller_of(&*set)?.name.clone();
    Some(ObjectKey::new(namespace, owner))
}

fn is_controlled_by(object: &impl Resource, owner: &impl Resource) -> bool {
    controller_of(object).is_some_and(|reference| reference.uid == claims::uid(owner))
}

/// The reference with which an object names its controller.
fn reference<K: Object>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: claims::name(owner).to_owned(),
        uid: claims::uid(owner).to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Writes the status of an object that was read, unless it changed since.
async fn replace_status<K: Object>(
    client: &Client,
    cache: &Cache<K>,
    object: &K,
) -> Result<(), ApiError> {
    let key = ObjectKey::of(object);
    let api: Api<K> = Api::namespaced(client.clone(), &key.namespace);
    let replaced = api
        .replace_status(&key.name, &PostParams::default(), object)
        .await;
    cache.record(replaced.doing("update the status of", &key)?);
    Ok(())
}

/// The names of some objects, for comparing.
fn names<'a, K: Resource + 'a>(objects: impl IntoIterator<Item = &'a K>) -> HashSet<&'a str> {
    objects.into_iter().map(claims::name).collect()
}
