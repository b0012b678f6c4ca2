//! The kinds that more than one controller reads.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSIDriver, CSIStorageCapacity, StorageClass};
use kube::{Api, Client};

use super::{Cache, ObjectKey};

/// One cache per kind; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caches {
    pub(crate) claims: Cache<PersistentVolumeClaim>,
    pub(crate) volumes: Cache<PersistentVolume>,
    pub(crate) classes: Cache<StorageClass>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) nodes: Cache<Node>,
    pub(crate) namespaces: Cache<Namespace>,
    pub(crate) drivers: Cache<CSIDriver>,
    pub(crate) capacities: Cache<CSIStorageCapacity>,
}

impl Caches {
    /// Follows all kinds for ever.
    pub(crate) async fn follow(self, client: Client) {
        tokio::join!(
            self.claims.follow(Api::all(client.clone())),
            self.volumes.follow(Api::all(client.clone())),
            self.classes.follow(Api::all(client.clone())),
            self.pods.follow(Api::all(client.clone())),
            self.nodes.follow(Api::all(client.clone())),
            self.namespaces.follow(Api::all(client.clone())),
            self.drivers.follow(Api::all(client.clone())),
            self.capacities.follow(Api::all(client)),
        );
    }

    /// Returns once all kinds are listed.
    pub(crate) async fn ready(&self) {
        tokio::join!(
            self.claims.ready(),
            self.volumes.ready(),
            self.classes.ready(),
            self.pods.ready(),
            self.nodes.ready(),
            self.namespaces.ready(),
            self.drivers.ready(),
            self.capacities.ready(),
        );
    }

    /// The class that a claim or volume names; none for the empty name.
    pub(crate) fn class(&self, name: Option<&str>) -> Option<Arc<StorageClass>> {
        let name = name.filter(|name| !name.is_empty())?;
        self.classes.get(&ObjectKey::cluster(name))
    }
}
