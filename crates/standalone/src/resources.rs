//! Every resource that the API server serves, kept current as definitions come and go.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::discovery::{Discovery, Scope};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::{broadcast, watch};

/// The metadata of any object.
pub(crate) type Metadata = PartialObjectMeta<DynamicObject>;

/// One resource, in the version that its group prefers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Served {
    pub(crate) api: ApiResource,
    pub(crate) namespaced: bool,
}

impl Served {
    /// `plural` or `plural.group`.
    pub(crate) fn group_resource(&self) -> String {
        if self.api.group.is_empty() {
            self.api.plural.clone()
        } else {
            format!("{}.{}", self.api.plural, self.api.group)
        }
    }

    /// Access to the metadata of objects; `namespace` does not matter to cluster-scoped ones.
    pub(crate) fn metadata(&self, client: Client, namespace: &str) -> Api<Metadata> {
        if self.namespaced {
            Api::namespaced_with(client, namespace, &self.api)
        } else {
            Api::all_with(client, &self.api)
        }
    }

    /// Access to the metadata of all objects in all namespaces.
    pub(crate) fn all_metadata(&self, client: Client) -> Api<Metadata> {
        Api::all_with(client, &self.api)
    }
}

/// Removals that a slow reader may be behind.
const REMOVALS: usize = 1024;

/// Word that objects went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removal {
    /// `plural` or `plural.group`.
    pub(crate) resource: String,
    /// None if it is not known where.
    pub(crate) namespace: Option<String>,
}

impl Removal {
    pub(crate) fn new(resource: impl Into<String>, namespace: Option<String>) -> Self {
        Self {
            resource: resource.into(),
            namespace,
        }
    }
}

/// The resources that can be listed, watched and deleted; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Resources {
    served: watch::Sender<Arc<Vec<Arc<Served>>>>,
    removals: broadcast::Sender<Removal>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            served: watch::Sender::new(Arc::default()),
            removals: broadcast::Sender::new(REMOVALS),
        }
    }
}

impl Resources {
    /// What is served, and whenever that changes. Empty until the first discovery is done.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Vec<Arc<Served>>>> {
        self.served.subscribe()
    }

    /// What is served, once that is known.
    pub(crate) async fn current(&self) -> Arc<Vec<Arc<Served>>> {
        let mut served = self.subscribe();
        match served.wait_for(|served| !served.is_empty()).await {
            Ok(served) => served.clone(),
            // The sender lives in `self`.
            Err(_) => Arc::default(),
        }
    }

    /// Tells of objects that went; whoever watches all of them does.
    pub(crate) fn removed(&self, removal: Removal) {
        // Nobody may be listening.
        let _ = self.removals.send(removal);
    }

    /// Objects of any resource that went, from now on. A reader that falls behind misses some.
    pub(crate) fn removals(&self) -> impl Stream<Item = Removal> + use<> {
        stream::unfold(self.removals.subscribe(), |mut removals| async move {
            loop {
                match removals.recv().await {
                    Ok(removal) => return Some((removal, removals)),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        tracing::debug!(missed, "removals missed");
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
    }

    /// Follows the definitions for ever.
    pub(crate) async fn follow(self, client: Client) {
        let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
        let changes = watcher::watcher(api, watcher::Config::default()).default_backoff();
        let relevant = |change: Result<watcher::Event<_>, watcher::Error>| async move {
            matches!(
                change,
                Ok(watcher::Event::InitDone | watcher::Event::Apply(_) | watcher::Event::Delete(_))
            )
            .then_some(())
        };
        // Definitions often come many at a time.
        let mut changes = std::pin::pin!(changes.filter_map(relevant).ready_chunks(1024));
        while changes.next().await.is_some() {
            match discover(&client).await {
                Ok(found) => {
                    self.served.send_if_modified(|served| {
                        let changed = **served != found;
                        if changed {
                            *served = Arc::new(found);
                        }
                        changed
                    });
                }
                Err(error) => tracing::warn!(%error, "discovery failed"),
            }
        }
    }
}

async fn discover(client: &Client) -> kube::Result<Vec<Arc<Served>>> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut found = Vec::new();
    for group in discovery.groups_alphabetical() {
        for (api, capabilities) in group.recommended_resources() {
            let usable = ["list", "watch", "delete"]
                .iter()
                .all(|verb| capabilities.supports_operation(verb));
            if usable {
                let namespaced = capabilities.scope == Scope::Namespaced;
                found.push(Arc::new(Served { api, namespaced }));
            }
        }
    }
    Ok(found)
}
