//! The persistent volume binder: gives each claim its volume and each volume its phase.
//!
//! ```text
//! claim   Pending ──match, or a driver makes a volume──▶ Bound ──volume gone or given away──▶ Lost
//! volume  Available ──claim found──▶ Bound ──claim gone──▶ Released ──(Delete) its driver──▶ removed
//! ```
//!
//! Claims and volumes are bound in four writes, in this order: the volume names the claim, the volume
//! is `Bound`, the claim names the volume, the claim is `Bound`. Every write is guarded by the resource
//! version that the decision was made from, and each can be the last before a crash: the next
//! reconcile finds what is missing.
//!
//! To hand a volume to another claim, change `spec.claimRef` of the volume: the binder binds the new
//! claim and the old one becomes `Lost`. This is how populators deliver a filled volume.

pub(crate) mod bind;
pub(crate) mod matching;
mod plan;
mod triggers;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::events::{Recorder, Severity};
use crate::objects::claims;
use crate::objects::well_known::phase;
use crate::runtime::queue::Limits;
use crate::runtime::{ApiError, Caches, Doing as _, Next, ObjectKey, drive};
use plan::{ClaimStep, Surroundings, VolumeStep};

/// Binds claims and volumes.
#[derive(Clone)]
pub(crate) struct Binder {
    client: Client,
    caches: Caches,
    recorder: Recorder,
}

impl Binder {
    pub(crate) fn new(client: Client, caches: Caches, recorder: &Recorder) -> Self {
        let recorder = recorder.for_component("persistentvolume-controller", None);
        Self {
            client,
            caches,
            recorder,
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(self) {
        self.caches.ready().await;
        let claims = drive(
            triggers::of_claims(&self.caches),
            Limits::default(),
            |key| self.reconcile_claim(key),
        );
        let volumes = drive(
            triggers::of_volumes(&self.caches),
            Limits::default(),
            |key| self.reconcile_volume(key),
        );
        tokio::join!(claims, volumes);
    }

    async fn reconcile_claim(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(claim) = self.caches.claims.get(&key) else {
            return Ok(Next::OnChange);
        };
        let volumes = self.caches.volumes.all();
        let classes = self.caches.classes.all();
        let pods = self.caches.pods.all();
        let surroundings = Surroundings {
            volumes: &volumes,
            classes: &classes,
            pods: &pods,
        };
        match plan::claim_step(&claim, &surroundings) {
            ClaimStep::Nothing => {}
            ClaimStep::SetClass(class) => {
                self.patch_claim(&claim, json!({"spec": {"storageClassName": class}}))
                    .await?;
            }
            ClaimStep::Bind(volume) => self.bind(&volume, &claim).await?,
            ClaimStep::Wait {
                severity,
                reason,
                message,
            } => {
                self.recorder.announce(&*claim, severity, reason, message);
                self.set_claim_phase(&claim, phase::PENDING).await?;
            }
            ClaimStep::Provision { provisioner } => self.ask(&claim, &provisioner).await?,
            ClaimStep::Lose { reason, message } => {
                self.set_claim_phase(&claim, phase::LOST).await?;
                self.recorder.warning(&*claim, reason, message);
            }
        }
        Ok(Next::OnChange)
    }

    /// Asks a driver outside of the binder for a volume.
    async fn ask(&self, claim: &PersistentVolumeClaim, provisioner: &str) -> Result<(), ApiError> {
        if let Some(change) = bind::ask_provisioner(claim, provisioner) {
            self.patch_claim(claim, change).await?;
        }
        self.recorder.announce(
            claim,
            Severity::Normal,
            "ExternalProvisioning",
            format!(
                "Waiting for a volume to be created either by the external provisioner \
                 '{provisioner}' or manually by the system administrator. If volume creation is \
                 delayed, please verify that the provisioner is running and correctly registered."
            ),
        );
        self.set_claim_phase(claim, phase::PENDING).await
    }

    async fn bind(
        &self,
        volume: &Arc<PersistentVolume>,
        claim: &Arc<PersistentVolumeClaim>,
    ) -> Result<(), ApiError> {
        let mut volume = PersistentVolume::clone(volume);
        let mut claim = PersistentVolumeClaim::clone(claim);
        if let Some(change) = bind::volume_spec(&volume, &claim) {
            volume = self.patch_volume(&volume, change).await?;
        }
        if let Some(change) = bind::volume_phase(&volume, phase::BOUND, None) {
            volume = self.patch_volume_status(&volume, change).await?;
        }
        if let Some(change) = bind::claim_spec(&claim, &volume) {
            claim = self.patch_claim(&claim, change).await?;
        }
        if let Some(change) = bind::claim_status(&claim, &volume) {
            self.patch_claim_status(&claim, change).await?;
        }
        Ok(())
    }

    async fn reconcile_volume(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(volume) = self.caches.volumes.get(&key) else {
            return Ok(Next::OnChange);
        };
        let claim = self.claim_of(&volume).await?;
        match plan::volume_step(&volume, claim.as_deref()) {
            VolumeStep::Nothing => {}
            VolumeStep::Phase(phase) => self.set_volume_phase(&volume, phase, None).await?,
            VolumeStep::Unbind => {
                self.patch_volume(&volume, bind::unbind(&volume)).await?;
            }
            VolumeStep::Fail { reason, message } => {
                self.set_volume_phase(&volume, phase::FAILED, Some(&message))
                    .await?;
                self.recorder
                    .announce(&*volume, Severity::Warning, reason, message);
            }
            VolumeStep::Mismatch {
                for_volume,
                for_claim,
            } => {
                let (recorder, reason) = (&self.recorder, "VolumeMismatch");
                if let Some(claim) = claim {
                    recorder.announce(&*claim, Severity::Warning, reason, for_claim);
                }
                recorder.announce(&*volume, Severity::Warning, reason, for_volume);
            }
        }
        Ok(Next::OnChange)
    }

    /// The claim that a volume refers to, if that very claim still exists. Volumes are released and
    /// then deleted on the word of this, so a cache that misses the claim is not believed.
    async fn claim_of(
        &self,
        volume: &PersistentVolume,
    ) -> Result<Option<Arc<PersistentVolumeClaim>>, ApiError> {
        let Some(reference) = claims::claim_ref(volume) else {
            return Ok(None);
        };
        let key = claims::claim_ref_key(reference);
        let is_it = |claim: &PersistentVolumeClaim| claims::is_for_claim(volume, claim);
        if let Some(claim) = self.caches.claims.get(&key)
            && is_it(&claim)
        {
            return Ok(Some(claim));
        }
        let claim = self
            .claims_api(&key.namespace)
            .get_opt(&key.name)
            .await
            .doing("read claim", &key)?;
        Ok(claim.filter(is_it).map(Arc::new))
    }

    async fn set_claim_phase(
        &self,
        claim: &PersistentVolumeClaim,
        phase: &str,
    ) -> Result<(), ApiError> {
        // Another write of this reconcile may have come before: its answer is in the cache.
        let fresh = self.caches.claims.get(&ObjectKey::of(claim));
        let claim = fresh.as_deref().unwrap_or(claim);
        match bind::claim_phase(claim, phase) {
            Some(change) => self.patch_claim_status(claim, change).await,
            None => Ok(()),
        }
    }

    async fn set_volume_phase(
        &self,
        volume: &PersistentVolume,
        phase: &str,
        message: Option<&str>,
    ) -> Result<(), ApiError> {
        if let Some(change) = bind::volume_phase(volume, phase, message) {
            self.patch_volume_status(volume, change).await?;
        }
        Ok(())
    }

    fn claims_api(&self, namespace: &str) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn patch_claim(
        &self,
        claim: &PersistentVolumeClaim,
        change: Value,
    ) -> Result<PersistentVolumeClaim, ApiError> {
        let key = ObjectKey::of(claim);
        let patch = Patch::Merge(bind::guarded(claim, change));
        let api = self.claims_api(&key.namespace);
        let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
        let patched = patched.doing("update claim", &key)?;
        self.caches.claims.record(patched.clone());
        Ok(patched)
    }

    async fn patch_claim_status(
        &self,
        claim: &PersistentVolumeClaim,
        change: Value,
    ) -> Result<(), ApiError> {
        let key = ObjectKey::of(claim);
        let patch = Patch::Merge(bind::guarded(claim, change));
        let api = self.claims_api(&key.namespace);
        let patched = api
            .patch_status(&key.name, &PatchParams::default(), &patch)
            .await;
        self.caches
            .claims
            .record(patched.doing("update the status of claim", &key)?);
        Ok(())
    }

    async fn patch_volume(
        &self,
        volume: &PersistentVolume,
        change: Value,
    ) -> Result<PersistentVolume, ApiError> {
        let name = claims::name(volume);
        let patch = Patch::Merge(bind::guarded(volume, change));
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        let patched = api.patch(name, &PatchParams::default(), &patch).await;
        let patched = patched.doing("update volume", name)?;
        self.caches.volumes.record(patched.clone());
        Ok(patched)
    }

    async fn patch_volume_status(
        &self,
        volume: &PersistentVolume,
        change: Value,
    ) -> Result<PersistentVolume, ApiError> {
        let name = claims::name(volume);
        let patch = Patch::Merge(bind::guarded(volume, change));
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        let patched = api
            .patch_status(name, &PatchParams::default(), &patch)
            .await;
        let patched = patched.doing("update the status of volume", name)?;
        self.caches.volumes.record(patched.clone());
        Ok(patched)
    }
}
