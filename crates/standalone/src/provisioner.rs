//! Makes and removes volumes through the nodes' CSI drivers, as CSI's external-provisioner does when
//! it runs once per node.
//!
//! A claim for the driver, with a node chosen, leads to `CreateVolume` at that node's socket and then
//! to a `PersistentVolume` reserved for the claim; the [binder](crate::binder) does the rest. A
//! released volume with the reclaim policy `Delete` leads to `DeleteVolume` and then out of the API.
//! Both calls are idempotent by name, so a crash between a call and its object repeats the call. A claim
//! that is deleted in between [stays](crate::protection) until its volume is removed.

mod capacity;
mod driver;
mod error;
mod plan;
mod render;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::binder::bind::guarded;
use crate::binder::matching;
use crate::csi_client::DRIVER_NAME;
use crate::events::{Recorder, Severity};
use crate::objects::{claims, well_known};
use crate::runtime::error::{GoneIsDone as _, status_code};
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Caches, Change, Doing as _, Next, ObjectKey, drive};
pub(crate) use capacity::CapacityPublisher;
pub(crate) use driver::Drivers;
use error::{DriverError, Outcome, ProvisionError};
use plan::{ClaimStep, VolumeStep};

/// As many calls at a time as the external-provisioner makes.
const LIMITS: Limits = Limits {
    concurrency: 100,
    min_delay: Duration::from_secs(1),
    max_delay: Duration::from_mins(5),
};

/// A node and the socket of its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSocket {
    /// Name of the node, also its value of the topology key.
    pub name: String,
    /// Unix socket of the CSI driver.
    pub socket: PathBuf,
}

/// Makes and removes volumes.
#[derive(Clone)]
pub(crate) struct Provisioner {
    client: Client,
    caches: Caches,
    recorder: Recorder,
    drivers: Drivers,
    /// Names this process in the volumes that it makes.
    identity: Arc<str>,
    /// Claims with a call whose outcome is not known, by uid. Such a call is repeated to its end
    /// even if the claim goes away, since there may be a volume.
    unsettled: Arc<Mutex<HashMap<String, Arc<PersistentVolumeClaim>>>>,
}

impl Provisioner {
    pub(crate) fn new(
        client: Client,
        caches: Caches,
        recorder: &Recorder,
        drivers: Drivers,
    ) -> Self {
        let unique = uuid::Uuid::new_v4();
        let recorder = recorder.for_component(&format!("{DRIVER_NAME}_{unique}"), None);
        let started = jiff::Timestamp::now().as_millisecond();
        let identity = format!("{started}-{}-{DRIVER_NAME}", unique.as_fields().0);
        let unsettled = Arc::default();
        Self {
            client,
            caches,
            recorder,
            drivers,
            identity: identity.into(),
            unsettled,
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        self.caches.ready().await;
        let claims = drive(self.claim_triggers(), LIMITS, |key| {
            self.reconcile_claim(key)
        });
        let volumes = drive(self.volume_triggers(), LIMITS, |key| {
            self.reconcile_volume(key)
        });
        tokio::join!(claims, volumes);
    }

    fn claim_triggers(&self) -> impl Stream<Item = ObjectKey> + use<> {
        let own = self
            .caches
            .claims
            .changes()
            .map(|change| ObjectKey::of(&**change.object()));
        let claims = self.caches.claims.clone();
        let by_class = self.caches.classes.changes().flat_map(move |change| {
            let class = claims::name(&**change.object()).to_owned();
            let mut waiting = claims.all();
            waiting.retain(|claim| {
                claims::volume_name(claim).is_none() && claims::claim_class(claim) == class
            });
            stream::iter(waiting).map(|claim| ObjectKey::of(&*claim))
        });
        stream::select(own, by_class).boxed()
    }

    fn volume_triggers(&self) -> impl Stream<Item = ObjectKey> + use<> {
        let changes = self.caches.volumes.changes();
        changes.filter_map(|change| async move {
            match change {
                Change::Applied(volume) => Some(ObjectKey::of(&*volume)),
                Change::Deleted(_) => None,
            }
        })
    }

    async fn reconcile_claim(&self, key: ObjectKey) -> Result<Next, ProvisionError> {
        let unsettled = self.unsettled_claim(&key);
        let is_unsettled = unsettled.is_some();
        let Some(claim) = unsettled.or_else(|| self.caches.claims.get(&key)) else {
            return Ok(Next::OnChange);
        };
        if claims::is_deleting(&*claim)
            && let Some(node) = claims::volume_in_making(&claim)
        {
            self.discard(&claim, node).await?;
            return Ok(Next::OnChange);
        }
        let Some(class) = self.caches.class(Some(claims::claim_class(&claim))) else {
            return Ok(Next::OnChange);
        };
        match plan::claim_step(&claim, &class, is_unsettled) {
            ClaimStep::Nothing => {}
            ClaimStep::LeaveToPopulator => self.leave_to_populator(&claim).await?,
            ClaimStep::ChooseNode => self.choose_node(&claim, &class).await?,
            ClaimStep::Provision { node } => {
                if !self.volume_exists(&claim) {
                    self.provision(&claim, &class, &node).await?;
                }
                self.unsettled.lock().remove(claims::uid(&*claim));
                if is_unsettled {
                    // There may be a new claim of the same name by now.
                    return Ok(Next::After(Duration::ZERO));
                }
            }
        }
        Ok(Next::OnChange)
    }

    fn unsettled_claim(&self, key: &ObjectKey) -> Option<Arc<PersistentVolumeClaim>> {
        let unsettled = self.unsettled.lock();
        let mut claims = unsettled.values();
        claims
            .find(|claim| ObjectKey::of(&***claim) == *key)
            .cloned()
    }

    fn volume_exists(&self, claim: &PersistentVolumeClaim) -> bool {
        let name = render::volume_name(claim);
        self.caches.volumes.get(&ObjectKey::cluster(name)).is_some()
    }

    /// Removes what may have been made for a claim that is being deleted, and lets the claim go.
    async fn discard(
        &self,
        claim: &PersistentVolumeClaim,
        node: &str,
    ) -> Result<(), ProvisionError> {
        if !self.volume_exists(claim) && self.drivers.has(node) {
            // The driver's handle of a volume is the name that it was asked for.
            let handle = render::volume_name(claim);
            if let Err(error) = self.drivers.delete(node, &handle).await {
                self.recorder
                    .warning(claim, "VolumeFailedDelete", error.detail());
                return Err(error.into());
            }
        }
        Ok(self.set_selected_node(claim, None).await?)
    }

    async fn leave_to_populator(&self, claim: &PersistentVolumeClaim) -> Result<(), ApiError> {
        self.recorder.announce(
            claim,
            Severity::Normal,
            "Provisioning",
            "Assuming an external populator will provision the volume",
        );
        match claims::annotation(claim, well_known::SELECTED_NODE) {
            // The scheduler is to choose again.
            Some(node) if !self.drivers.has(node) => self.set_selected_node(claim, None).await,
            _ => Ok(()),
        }
    }

    /// A claim that need not wait for a Pod goes to the node with the most room.
    async fn choose_node(
        &self,
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
    ) -> Result<(), ProvisionError> {
        let wanted = claims::requested_bytes(claim);
        let mut best: Option<(u64, &str)> = None;
        let mut refusal = DriverError::no_room(wanted);
        let allowed = |node: &&str| matching::is_allowed(class, &plan::bare_node(node));
        for node in self.drivers.nodes().filter(allowed) {
            match self.drivers.capacity(node, class).await {
                Ok(room) if room.available < wanted => {}
                Ok(room) => best = best.max(Some((room.available, node))),
                Err(error) => refusal = error,
            }
        }
        let Some((_, node)) = best else {
            return Err(self.report(claim, class, refusal.into()));
        };
        self.set_selected_node(claim, Some(node)).await?;
        Ok(())
    }

    async fn provision(
        &self,
        claim: &Arc<PersistentVolumeClaim>,
        class: &StorageClass,
        node: &str,
    ) -> Result<(), ProvisionError> {
        let key = ObjectKey::of(&**claim);
        let request = render::create_request(claim, class, node)
            .map_err(|error| self.report(claim, class, error))?;
        self.recorder.normal(
            &**claim,
            "Provisioning",
            format!("External provisioner is provisioning volume for claim \"{key}\""),
        );
        self.unsettled
            .lock()
            .insert(claims::uid(&**claim).to_owned(), claim.clone());
        let volume = match self.drivers.create(node, request).await {
            Ok(made) => render::volume(claim, class, &self.identity, &made),
            Err(error) => return self.provision_failed(claim, class, error).await,
        };
        self.save(volume).await?;
        let name = render::volume_name(claim);
        self.recorder.normal(
            &**claim,
            "ProvisioningSucceeded",
            format!("Successfully provisioned volume {name}"),
        );
        Ok(())
    }

    async fn provision_failed(
        &self,
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
        error: DriverError,
    ) -> Result<(), ProvisionError> {
        let outcome = error.outcome();
        let error = self.report(claim, class, error.into());
        if outcome != Outcome::Unknown {
            self.unsettled.lock().remove(claims::uid(claim));
        }
        if outcome == Outcome::NoRoom {
            self.set_selected_node(claim, None).await?;
        }
        Err(error)
    }

    /// Tells the claim's owner.
    fn report(
        &self,
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
        error: ProvisionError,
    ) -> ProvisionError {
        let class = claims::name(class);
        self.recorder.warning(
            claim,
            "ProvisioningFailed",
            format!(
                "failed to provision volume with StorageClass {class:?}: {}",
                error.detail()
            ),
        );
        error
    }

    async fn set_selected_node(
        &self,
        claim: &PersistentVolumeClaim,
        node: Option<&str>,
    ) -> Result<(), ApiError> {
        let key = ObjectKey::of(claim);
        let change = json!({"metadata": {
            "uid": claim.metadata.uid,
            "annotations": {well_known::SELECTED_NODE: node},
        }});
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &key.namespace);
        let patched = api
            .patch(&key.name, &PatchParams::default(), &Patch::Merge(change))
            .await;
        match patched.doing("choose a node for claim", &key) {
            Ok(claim) => self.caches.claims.record(claim),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn save(&self, volume: PersistentVolume) -> Result<(), ApiError> {
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        match api.create(&PostParams::default(), &volume).await {
            Ok(volume) => self.caches.volumes.record(volume),
            Err(error) if status_code(&error) == Some(409) => {}
            Err(error) => return Err(error).doing("create volume", claims::name(&volume)),
        }
        Ok(())
    }

    async fn reconcile_volume(&self, key: ObjectKey) -> Result<Next, ProvisionError> {
        let Some(volume) = self.caches.volumes.get(&key) else {
            return Ok(Next::OnChange);
        };
        match plan::volume_step(&volume, self.drivers.nodes()) {
            VolumeStep::Nothing => {}
            VolumeStep::Forget => self.drop_finalizer(&volume).await?,
            VolumeStep::Delete { node, handle } => {
                if let Err(error) = self.drivers.delete(&node, &handle).await {
                    self.recorder
                        .warning(&*volume, "VolumeFailedDelete", error.detail());
                    return Err(error.into());
                }
                self.drop_finalizer(&volume).await?;
                self.remove(&volume).await?;
            }
        }
        Ok(Next::OnChange)
    }

    async fn drop_finalizer(&self, volume: &PersistentVolume) -> Result<(), ApiError> {
        if !claims::has_finalizer(volume, well_known::PROVISIONER_FINALIZER) {
            return Ok(());
        }
        let others: Vec<&String> = volume.metadata.finalizers.iter().flatten().collect();
        let others: Vec<_> = others
            .into_iter()
            .filter(|name| *name != well_known::PROVISIONER_FINALIZER)
            .collect();
        let change: Value = json!({"metadata": {"finalizers": others}});
        let patch = Patch::Merge(guarded(volume, change));
        let name = claims::name(volume);
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        match api.patch(name, &PatchParams::default(), &patch).await {
            Err(error) if status_code(&error) == Some(404) => Ok(()),
            outcome => outcome.map(drop).doing("release volume", name),
        }
    }

    async fn remove(&self, volume: &PersistentVolume) -> Result<(), ApiError> {
        let name = claims::name(volume);
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: volume.metadata.uid.clone(),
            resource_version: None,
        });
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        api.delete(name, &params)
            .await
            .doing("delete volume", name)
            .or_gone()
    }
}
