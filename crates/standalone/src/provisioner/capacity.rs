//! Tells the API how much room each node has for each class, as `CSIStorageCapacity` objects.

use std::collections::HashMap;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::storage::v1::{CSIStorageCapacity, StorageClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::driver::{Drivers, Room};
use crate::csi_client::{DRIVER_NAME, TOPOLOGY_KEY};
use crate::objects::{claims, quantity};
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Caches, Doing as _};

/// Where the objects stand.
const NAMESPACE: &str = "kube-system";
const DRIVER_LABEL: &str = "csi.storage.k8s.io/drivername";
const MANAGER_LABEL: &str = "csi.storage.k8s.io/managed-by";
const MANAGER: &str = "external-provisioner";
/// Free space changes without any object changing.
const INTERVAL: Duration = Duration::from_mins(1);
/// Pauses before drivers that did not answer are asked again. They are short at first: no Pod is
/// placed with a new volume before the drivers, which are starting as well, have told their room.
const RETRY: Limits = Limits {
    min_delay: Duration::from_millis(50),
    max_delay: Duration::from_secs(5),
    ..Limits::DEFAULT
};
/// Changes that come together are published together.
const SETTLE: Duration = Duration::from_millis(200);

/// Publishes the room on the nodes.
#[derive(Clone)]
pub(crate) struct CapacityPublisher {
    client: Client,
    caches: Caches,
    drivers: Drivers,
}

/// Which drivers told their room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    All,
    Some,
}

/// The class and node that an object is about.
type Place = (String, String);

impl CapacityPublisher {
    pub(crate) fn new(client: Client, caches: Caches, drivers: Drivers) -> Self {
        Self {
            client,
            caches,
            drivers,
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        self.caches.ready().await;
        let classes = self.caches.classes.changes().map(drop);
        let volumes = self.caches.volumes.changes().map(drop);
        let mut changes = stream::select(classes.boxed(), volumes.boxed()).ready_chunks(1024);
        let mut failures = 0;
        loop {
            let answers = self.publish().await;
            if let Err(error) = &answers {
                tracing::warn!(%error, "storage capacity not published");
            }
            let is_complete = matches!(answers, Ok(Answers::All));
            failures = if is_complete { 0 } else { failures + 1 };
            let interval = if is_complete {
                INTERVAL
            } else {
                RETRY.delay(failures)
            };
            // Ends early on a change, after a moment for what changes with it.
            if tokio::time::timeout(interval, changes.next()).await.is_ok() {
                tokio::time::sleep(SETTLE).await;
            }
        }
    }

    async fn publish(&self) -> Result<Answers, ApiError> {
        let api: Api<CSIStorageCapacity> = Api::namespaced(self.client.clone(), NAMESPACE);
        let ours = format!("{DRIVER_LABEL}={DRIVER_NAME},{MANAGER_LABEL}={MANAGER}");
        let listed = api.list(&ListParams::default().labels(&ours)).await;
        let mut known = HashMap::new();
        let mut stale = Vec::new();
        for object in listed.doing("list", "storage capacities")? {
            match place_of(&object) {
                Some(place) if self.is_wanted(&place) => drop(known.insert(place, object)),
                _ => stale.push(object),
            }
        }
        for object in stale {
            let name = claims::name(&object);
            api.delete(name, &DeleteParams::default())
                .await
                .doing("delete", name)?;
        }
        let mut answers = Answers::All;
        for class in self.classes() {
            for node in self.drivers.nodes() {
                // A driver that does not answer leaves what was known of it.
                let Ok(room) = self.drivers.capacity(node, &class).await else {
                    answers = Answers::Some;
                    continue;
                };
                let place = (claims::name(&*class).to_owned(), node.to_owned());
                self.publish_one(&api, known.get(&place), &place, room)
                    .await?;
            }
        }
        Ok(answers)
    }

    fn classes(&self) -> Vec<std::sync::Arc<StorageClass>> {
        let mut classes = self.caches.classes.all();
        classes.retain(|class| class.provisioner == DRIVER_NAME);
        classes
    }

    fn is_wanted(&self, (class, node): &Place) -> bool {
        self.drivers.nodes().any(|known| known == node)
            && self
                .classes()
                .iter()
                .any(|known| claims::name(&**known) == class)
    }

    async fn publish_one(
        &self,
        api: &Api<CSIStorageCapacity>,
        known: Option<&CSIStorageCapacity>,
        (class, node): &Place,
        room: Room,
    ) -> Result<(), ApiError> {
        let capacity = Some(quantity::from_bytes(room.available));
        let maximum_volume_size = room.largest_volume.map(quantity::from_bytes);
        let Some(known) = known else {
            let labels = [(DRIVER_LABEL, DRIVER_NAME), (MANAGER_LABEL, MANAGER)];
            let object = CSIStorageCapacity {
                metadata: ObjectMeta {
                    generate_name: Some("csisc-".to_owned()),
                    labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
                    ..ObjectMeta::default()
                },
                node_topology: Some(LabelSelector {
                    match_labels: Some([(TOPOLOGY_KEY.to_owned(), node.clone())].into()),
                    ..LabelSelector::default()
                }),
                storage_class_name: class.clone(),
                capacity,
                maximum_volume_size,
            };
            api.create(&PostParams::default(), &object)
                .await
                .doing("publish room on", node)?;
            return Ok(());
        };
        if known.capacity == capacity && known.maximum_volume_size == maximum_volume_size {
            return Ok(());
        }
        let name = claims::name(known);
        let change = json!({"capacity": capacity, "maximumVolumeSize": maximum_volume_size});
        let patched = api
            .patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await;
        patched.map(drop).doing("update room on", node)
    }
}

fn place_of(object: &CSIStorageCapacity) -> Option<Place> {
    let labels = object.node_topology.as_ref()?.match_labels.as_ref()?;
    Some((
        object.storage_class_name.clone(),
        labels.get(TOPOLOGY_KEY)?.clone(),
    ))
}
