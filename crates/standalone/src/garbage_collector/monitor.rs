//! The watches that feed the graph.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::Collection;
use super::graph::{Object, Uid};
use crate::resources::{Removal, Served};

/// Too many, too short-lived, and without dependents.
const IGNORED_KIND: &str = "Event";

/// One watch per resource.
pub(super) struct Monitors {
    collection: Collection,
    /// Resources that are not listed yet.
    pending: watch::Sender<HashSet<Arc<Served>>>,
    complete: watch::Sender<bool>,
}

impl Monitors {
    pub(super) fn new(collection: Collection) -> Self {
        let pending = watch::Sender::new(HashSet::new());
        Self {
            collection,
            pending,
            complete: watch::Sender::new(false),
        }
    }

    /// Whether every resource is listed.
    pub(super) fn complete(&self) -> watch::Receiver<bool> {
        self.complete.subscribe()
    }

    /// Starts and ends watches as resources come and go, for ever.
    pub(super) async fn follow(self) {
        let mut served = self.collection.resources.subscribe();
        let mut pending = self.pending.subscribe();
        let mut watches = JoinSet::new();
        let mut running: HashMap<Arc<Served>, AbortHandle> = HashMap::new();
        loop {
            let wanted = served.borrow_and_update().clone();
            self.adjust(&wanted, &mut running, &mut watches);
            let complete = !wanted.is_empty() && pending.borrow_and_update().is_empty();
            if self.complete.send_replace(complete) != complete && complete {
                // Owners of a kind that was not served may be found now, or found to be gone.
                let unsure = self.collection.graph.lock().with_unknown_owners();
                self.collection.look_at(unsure);
            }
            tokio::select! {
                Ok(()) = served.changed() => {}
                Ok(()) = pending.changed() => {}
                Some(ended) = watches.join_next() => log_end(&ended),
            }
        }
    }

    fn adjust(
        &self,
        wanted: &[Arc<Served>],
        running: &mut HashMap<Arc<Served>, AbortHandle>,
        watches: &mut JoinSet<()>,
    ) {
        let wanted: HashSet<_> = wanted
            .iter()
            .filter(|resource| resource.api.kind != IGNORED_KIND)
            .collect();
        running.retain(|resource, watch| {
            let keep = wanted.contains(resource) && !watch.is_finished();
            if !keep {
                watch.abort();
                self.pending
                    .send_if_modified(|pending| pending.remove(resource));
                forget(&self.collection, resource, &HashSet::new());
            }
            keep
        });
        for resource in wanted {
            running.entry(resource.clone()).or_insert_with(|| {
                self.pending.send_modify(|pending| {
                    pending.insert(resource.clone());
                });
                let (collection, pending) = (self.collection.clone(), self.pending.clone());
                watches.spawn(follow_one(collection, resource.clone(), pending))
            });
        }
    }
}

fn log_end(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a watch of the garbage collector failed");
    }
}

async fn follow_one(
    collection: Collection,
    resource: Arc<Served>,
    pending: watch::Sender<HashSet<Arc<Served>>>,
) {
    let api = resource.all_metadata(collection.client.clone());
    let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                let object = Object::new(&resource, object.metadata);
                listed.insert(object.uid.clone());
                apply(&collection, object);
            }
            Ok(Event::InitDone) => {
                forget(&collection, &resource, &listed);
                let removal = Removal::new(resource.group_resource(), None);
                collection.resources.removed(removal);
                listed = HashSet::new();
                pending.send_if_modified(|pending| pending.remove(&resource));
            }
            Ok(Event::Apply(object)) => {
                apply(&collection, Object::new(&resource, object.metadata));
            }
            Ok(Event::Delete(object)) => {
                let uid = Uid::from(object.metadata.uid.unwrap_or_default());
                let attention = collection.graph.lock().remove(&uid);
                collection.look_at(attention);
                let namespace = object.metadata.namespace;
                let removal = Removal::new(resource.group_resource(), namespace);
                collection.resources.removed(removal);
            }
            Err(error) => {
                tracing::debug!(%error, resource = resource.group_resource(), "watch interrupted");
            }
        }
    }
}

fn apply(collection: &Collection, object: Object) {
    let attention = collection.graph.lock().apply(object);
    collection.look_at(attention);
}

/// Drops the objects of a resource that are not among those listed.
fn forget(collection: &Collection, resource: &Arc<Served>, listed: &HashSet<Uid>) {
    let mut attention = Vec::new();
    {
        let mut graph = collection.graph.lock();
        for uid in graph.of_resource(resource) {
            if !listed.contains(&uid) {
                attention.extend(graph.remove(&uid));
            }
        }
    }
    collection.look_at(attention);
}
