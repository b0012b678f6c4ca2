//! The writes of the binder, as merge patches. Each function answers `None` when the object already
//! says so: nothing is written that changes nothing.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Resource;
use serde_json::{Map, Value, json};

use crate::objects::{claims, well_known};

/// A patch that fails unless the object is still in the state that the decision was made from.
pub(crate) fn guarded(object: &impl Resource, mut change: Value) -> Value {
    if let Some(change) = change.as_object_mut()
        && let Value::Object(metadata) = change
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new()))
    {
        let meta = object.meta();
        metadata.insert("resourceVersion".to_owned(), json!(meta.resource_version));
        metadata.insert("uid".to_owned(), json!(meta.uid));
    }
    change
}

/// The volume names the claim.
pub(crate) fn volume_spec(
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
) -> Option<Value> {
    let reference = claims::claim_ref(volume);
    let bound =
        reference.is_some_and(|reference| reference.uid.as_deref() == Some(claims::uid(claim)));
    if bound && claims::is_for_claim(volume, claim) {
        return None;
    }
    let mut change = json!({"spec": {"claimRef": claims::reference_to(claim)}});
    if reference.is_none() {
        change["metadata"]["annotations"] = json!({well_known::BOUND_BY_CONTROLLER: "yes"});
    }
    Some(change)
}

/// The volume is in a phase, with the reason when it failed.
pub(super) fn volume_phase(
    volume: &PersistentVolume,
    phase: &str,
    message: Option<&str>,
) -> Option<Value> {
    let current = volume
        .status
        .as_ref()
        .and_then(|status| status.message.as_deref());
    if claims::volume_phase(volume) == phase && current == message {
        return None;
    }
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Some(json!({"status": {
        "phase": phase,
        "message": message,
        "lastPhaseTransitionTime": now,
    }}))
}

/// The claim names the volume, for good.
pub(super) fn claim_spec(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> Option<Value> {
    let chosen_here = claims::volume_name(claim).is_none();
    if !chosen_here && claims::has_annotation(claim, well_known::BIND_COMPLETED) {
        return None;
    }
    let mut annotations = Map::new();
    annotations.insert(well_known::BIND_COMPLETED.to_owned(), json!("yes"));
    if chosen_here {
        annotations.insert(well_known::BOUND_BY_CONTROLLER.to_owned(), json!("yes"));
    }
    Some(json!({
        "metadata": {"annotations": annotations},
        "spec": {"volumeName": claims::name(volume)},
    }))
}

/// The claim is `Bound`, with the size and access modes that it got. A claim that already was keeps
/// its capacity: growing a volume changes that one in its own steps.
pub(super) fn claim_status(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> Option<Value> {
    if claims::claim_phase(claim) == well_known::phase::BOUND {
        return None;
    }
    let spec = volume.spec.as_ref()?;
    Some(json!({"status": {
        "phase": well_known::phase::BOUND,
        "accessModes": spec.access_modes,
        "capacity": spec.capacity,
    }}))
}

/// The claim is in a phase without a volume.
pub(super) fn claim_phase(claim: &PersistentVolumeClaim, phase: &str) -> Option<Value> {
    (claims::claim_phase(claim) != phase)
        .then(|| json!({"status": {"phase": phase, "accessModes": null, "capacity": null}}))
}

/// The claim names the driver that is to make its volume.
pub(super) fn ask_provisioner(claim: &PersistentVolumeClaim, provisioner: &str) -> Option<Value> {
    let known = claims::annotation(claim, well_known::STORAGE_PROVISIONER);
    (known != Some(provisioner)).then(|| {
        json!({"metadata": {"annotations": {
            well_known::STORAGE_PROVISIONER: provisioner,
            well_known::BETA_STORAGE_PROVISIONER: provisioner,
        }}})
    })
}

/// The volume no longer is for a claim that took another one. What a person reserved stays reserved
/// for the claim of that name.
pub(super) fn unbind(volume: &PersistentVolume) -> Value {
    if claims::has_annotation(volume, well_known::BOUND_BY_CONTROLLER) {
        json!({
            "metadata": {"annotations": {well_known::BOUND_BY_CONTROLLER: null}},
            "spec": {"claimRef": null},
        })
    } else {
        json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}})
    }
}
