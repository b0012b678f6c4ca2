//! Which Pods to look at when something changes.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;

use super::plan;
use crate::objects::claims;
use crate::runtime::{Cache, Caches, ObjectKey};

/// Pods to reconcile.
pub(super) fn of_pods(caches: &Caches) -> impl Stream<Item = ObjectKey> + use<> {
    let own = caches
        .pods
        .changes()
        .map(|change| ObjectKey::of(&**change.object()));
    let pods = caches.pods.clone();
    let by_claim = caches.claims.changes().flat_map(move |change| {
        let claim = ObjectKey::of(&**change.object());
        let users = waiting(&pods)
            .into_iter()
            .filter(move |pod| uses(pod, &claim));
        stream::iter(users.map(|pod| ObjectKey::of(&*pod)))
    });
    let others = stream::select_all([
        caches.volumes.changes().map(drop).boxed(),
        caches.nodes.changes().map(drop).boxed(),
        caches.classes.changes().map(drop).boxed(),
        caches.drivers.changes().map(drop).boxed(),
        caches.capacities.changes().map(drop).boxed(),
        caches.namespaces.changes().map(drop).boxed(),
        settled(caches).boxed(),
    ]);
    let pods = caches.pods.clone();
    let by_others =
        others.flat_map(move |()| stream::iter(waiting(&pods)).map(|pod| ObjectKey::of(&*pod)));
    stream::select_all([own.boxed(), by_claim.boxed(), by_others.boxed()])
}

/// Pods that were given a node, ended, or went: they leave room to others, or are what others wait
/// to be near to.
fn settled(caches: &Caches) -> impl Stream<Item = ()> + use<> {
    caches.pods.changes().filter_map(|change| async move {
        let is_placed = claims::pod_node(change.object()).is_some();
        is_placed.then_some(())
    })
}

fn waiting(pods: &Cache<Pod>) -> Vec<Arc<Pod>> {
    let mut waiting = pods.all();
    waiting.retain(|pod| plan::is_waiting(pod));
    waiting
}

fn uses(pod: &Pod, claim: &ObjectKey) -> bool {
    pod.metadata.namespace.as_deref().unwrap_or_default() == claim.namespace
        && claims::pod_claims(pod).any(|name| name == claim.name)
}
