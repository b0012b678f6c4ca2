//! What a claim or a volume needs next: objects in, one step out.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use super::matching;
use crate::events::Severity;
use crate::objects::claims;
use crate::objects::well_known::{self, phase};

/// What a decision about a claim looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) volumes: &'a [Arc<PersistentVolume>],
    pub(super) classes: &'a [Arc<StorageClass>],
    pub(super) pods: &'a [Arc<Pod>],
}

/// The next step of a claim.
#[derive(Debug, PartialEq)]
pub(super) enum ClaimStep {
    /// All is as it should be.
    Nothing,
    /// It named no class: it gets the default one.
    SetClass(String),
    /// This volume is its.
    Bind(Arc<PersistentVolume>),
    /// It stays `Pending`, for this reason.
    Wait {
        severity: Severity,
        reason: &'static str,
        message: String,
    },
    /// A driver must make a volume.
    Provision { provisioner: String },
    /// It was bound and its volume is not its any more.
    Lose {
        reason: &'static str,
        message: &'static str,
    },
}

/// The next step of a volume.
#[derive(Debug, PartialEq)]
pub(super) enum VolumeStep {
    Nothing,
    Phase(&'static str),
    /// Its claim took another volume.
    Unbind,
    /// It is released, to be deleted or emptied, and nothing here can.
    Fail {
        reason: &'static str,
        message: String,
    },
    /// It is reserved for a claim of another mode.
    Mismatch {
        for_volume: String,
        for_claim: String,
    },
}

/// Decides about a claim.
pub(super) fn claim_step(claim: &PersistentVolumeClaim, around: &Surroundings<'_>) -> ClaimStep {
    if claims::has_annotation(claim, well_known::BIND_COMPLETED) {
        return bound_claim_step(claim, around.volumes);
    }
    match claims::volume_name(claim) {
        Some(name) => named_volume_step(claim, name, around.volumes),
        None => unbound_claim_step(claim, around),
    }
}

fn volume_named<'a>(
    name: &str,
    volumes: &'a [Arc<PersistentVolume>],
) -> Option<&'a Arc<PersistentVolume>> {
    volumes
        .iter()
        .find(|volume| claims::name(&***volume) == name)
}

/// A claim that was bound before: its volume must still be its.
fn bound_claim_step(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>]) -> ClaimStep {
    let lose = |reason, message| match claims::claim_phase(claim) {
        phase::LOST => ClaimStep::Nothing,
        _ => ClaimStep::Lose { reason, message },
    };
    let Some(name) = claims::volume_name(claim) else {
        return lose(
            "ClaimLost",
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
        );
    };
    let Some(volume) = volume_named(name, volumes) else {
        return lose(
            "ClaimLost",
            "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        );
    };
    match claims::claim_ref(volume) {
        Some(reference) if reference.uid.as_deref() != Some(claims::uid(claim)) => lose(
            "ClaimMisbound",
            "Two claims are bound to the same volume, this one is bound incorrectly",
        ),
        _ => bind_unless_done(volume, claim),
    }
}

fn bind_unless_done(volume: &Arc<PersistentVolume>, claim: &PersistentVolumeClaim) -> ClaimStep {
    let done = claims::claim_phase(claim) == phase::BOUND
        && claims::volume_phase(volume) == phase::BOUND
        && claims::claim_ref(volume).is_some();
    if done {
        ClaimStep::Nothing
    } else {
        ClaimStep::Bind(volume.clone())
    }
}

/// A claim whose owner chose the volume.
fn named_volume_step(
    claim: &PersistentVolumeClaim,
    name: &str,
    volumes: &[Arc<PersistentVolume>],
) -> ClaimStep {
    let warn = |reason, message| ClaimStep::Wait {
        severity: Severity::Warning,
        reason,
        message,
    };
    let Some(volume) = volume_named(name, volumes) else {
        return ClaimStep::Wait {
            severity: Severity::Normal,
            reason: "FailedBinding",
            message: format!("volume {name:?} not found."),
        };
    };
    if claims::is_for_claim(volume, claim) {
        return ClaimStep::Bind(volume.clone());
    }
    if claims::claim_ref(volume).is_some() {
        let message = format!("volume {name:?} already bound to a different claim.");
        return warn("FailedBinding", message);
    }
    match matching::mismatch(volume, claim) {
        Some(why) => warn(
            "VolumeMismatch",
            format!("Cannot bind to requested volume {name:?}: {why}"),
        ),
        None => ClaimStep::Bind(volume.clone()),
    }
}

fn unbound_claim_step(claim: &PersistentVolumeClaim, around: &Surroundings<'_>) -> ClaimStep {
    let class_name = claims::claim_class(claim);
    let class = around
        .classes
        .iter()
        .find(|class| claims::name(&***class) == class_name);
    let delayed = class.is_some_and(|class| claims::waits_for_consumer(class))
        && claims::annotation(claim, well_known::SELECTED_NODE).is_none();
    if let Some(volume) = matching::best(claim, around.volumes, delayed) {
        return ClaimStep::Bind(volume.clone());
    }
    if claims::is_deleting(claim) {
        return ClaimStep::Nothing;
    }
    // Claims from before there was a default class.
    if claims::names_no_class(claim)
        && let Some(default) = default_class(around.classes)
    {
        return ClaimStep::SetClass(default);
    }
    match class {
        _ if delayed => wait_for_pod(claim, around.pods),
        Some(class) => provision(class),
        None if class_name.is_empty() => ClaimStep::Wait {
            severity: Severity::Normal,
            reason: "FailedBinding",
            message: "no persistent volumes available for this claim and no storage class is set"
                .to_owned(),
        },
        None => ClaimStep::Wait {
            severity: Severity::Warning,
            reason: "ProvisioningFailed",
            message: format!("storageclass.storage.k8s.io {class_name:?} not found"),
        },
    }
}

/// The newest default class; of equally new ones, the first by name.
fn default_class(classes: &[Arc<StorageClass>]) -> Option<String> {
    let defaults = classes
        .iter()
        .filter(|class| claims::annotation(&***class, well_known::DEFAULT_CLASS) == Some("true"));
    let newest = defaults.max_by(|a, b| {
        let age = |class: &StorageClass| class.metadata.creation_timestamp.as_ref().map(|t| t.0);
        age(a)
            .cmp(&age(b))
            .then_with(|| b.metadata.name.cmp(&a.metadata.name))
    })?;
    newest.metadata.name.clone()
}

fn provision(class: &StorageClass) -> ClaimStep {
    if class.provisioner.starts_with("kubernetes.io/") {
        return ClaimStep::Wait {
            severity: Severity::Warning,
            reason: "ProvisioningFailed",
            message: format!("no volume plugin matched name: {}", class.provisioner),
        };
    }
    ClaimStep::Provision {
        provisioner: class.provisioner.clone(),
    }
}

fn wait_for_pod(claim: &PersistentVolumeClaim, pods: &[Arc<Pod>]) -> ClaimStep {
    let mut waiting: Vec<&str> = pods
        .iter()
        .filter(|pod| pod.metadata.namespace == claim.metadata.namespace)
        .filter(|pod| claims::pod_node(pod).is_none() && !claims::is_finished(pod))
        .filter(|pod| claims::pod_claims(pod).any(|name| name == claims::name(claim)))
        .map(|pod| claims::name(&**pod))
        .collect();
    waiting.sort_unstable();
    let (reason, message) = match waiting.as_slice() {
        [] => (
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding".to_owned(),
        ),
        [pod] => (
            "WaitForPodScheduled",
            format!("waiting for pod {pod} to be scheduled"),
        ),
        pods => (
            "WaitForPodScheduled",
            format!("waiting for pods {} to be scheduled", pods.join(",")),
        ),
    };
    ClaimStep::Wait {
        severity: Severity::Normal,
        reason,
        message,
    }
}

/// Decides about a volume. `claim` is the very claim that it refers to, if that still exists.
pub(super) fn volume_step(
    volume: &PersistentVolume,
    claim: Option<&PersistentVolumeClaim>,
) -> VolumeStep {
    let Some(reference) = claims::claim_ref(volume) else {
        return in_phase(volume, phase::AVAILABLE);
    };
    let reserved_by_name = reference.uid.as_deref().is_none_or(str::is_empty);
    match claim {
        None if reserved_by_name => in_phase(volume, phase::AVAILABLE),
        None => released_step(volume),
        Some(claim) => claimed_step(volume, claim, reserved_by_name),
    }
}

fn claimed_step(
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
    reserved_by_name: bool,
) -> VolumeStep {
    match claims::volume_name(claim) {
        // Its claim's own reconcile completes the binding.
        None if claims::volume_mode(volume) == claims::claim_mode(claim) => {
            if reserved_by_name {
                in_phase(volume, phase::AVAILABLE)
            } else {
                VolumeStep::Nothing
            }
        }
        None => VolumeStep::Mismatch {
            for_volume: format!(
                "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to \
                 incompatible volumeMode.",
                claims::name(claim),
            ),
            for_claim: format!(
                "Cannot bind PersistentVolume {:?} to requested PersistentVolumeClaim due to \
                 incompatible volumeMode.",
                claims::name(volume),
            ),
        },
        Some(name) if name == claims::name(volume) => {
            if reserved_by_name {
                VolumeStep::Nothing
            } else {
                in_phase(volume, phase::BOUND)
            }
        }
        Some(_) if is_made_for_claim(volume) => released_step(volume),
        Some(_) if reserved_by_name => in_phase(volume, phase::AVAILABLE),
        Some(_) => VolumeStep::Unbind,
    }
}

/// A volume that a driver made for one claim is of no use to another.
fn is_made_for_claim(volume: &PersistentVolume) -> bool {
    claims::has_annotation(volume, well_known::PROVISIONED_BY)
        && claims::reclaim_policy(volume) == "Delete"
}

fn released_step(volume: &PersistentVolume) -> VolumeStep {
    if !matches!(
        claims::volume_phase(volume),
        phase::RELEASED | phase::FAILED
    ) {
        return VolumeStep::Phase(phase::RELEASED);
    }
    // Only who made a volume removes it, and says so from the start.
    let has_driver = claims::has_annotation(volume, well_known::PROVISIONED_BY);
    match claims::reclaim_policy(volume) {
        _ if claims::volume_phase(volume) == phase::FAILED => VolumeStep::Nothing,
        "Delete" if !has_driver => VolumeStep::Fail {
            reason: "VolumeFailedDelete",
            message: format!(
                "error getting deleter volume plugin for volume {:?}: no deletable volume plugin \
                 matched",
                claims::name(volume),
            ),
        },
        "Recycle" => VolumeStep::Fail {
            reason: "VolumeFailedRecycle",
            message: "No recycler plugin found for the volume!".to_owned(),
        },
        _ => VolumeStep::Nothing,
    }
}

fn in_phase(volume: &PersistentVolume, phase: &'static str) -> VolumeStep {
    if claims::volume_phase(volume) == phase {
        VolumeStep::Nothing
    } else {
        VolumeStep::Phase(phase)
    }
}

#[cfg(test)]
mod tests;
