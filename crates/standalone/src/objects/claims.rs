//! What claims, volumes and classes say, read in one place.

use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, Pod,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Resource;

use super::{quantity, well_known};
use crate::csi_client::DRIVER_NAME;
use crate::runtime::ObjectKey;

/// The value of an annotation, if set and not empty.
pub(crate) fn annotation<'a>(object: &'a impl Resource, key: &str) -> Option<&'a str> {
    let value = object.meta().annotations.as_ref()?.get(key)?;
    (!value.is_empty()).then_some(value.as_str())
}

/// Whether an annotation is set, even to nothing.
pub(crate) fn has_annotation(object: &impl Resource, key: &str) -> bool {
    object
        .meta()
        .annotations
        .as_ref()
        .is_some_and(|all| all.contains_key(key))
}

pub(crate) fn has_finalizer(object: &impl Resource, finalizer: &str) -> bool {
    object
        .meta()
        .finalizers
        .iter()
        .flatten()
        .any(|each| each == finalizer)
}

pub(crate) fn is_deleting(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

pub(crate) fn uid(object: &impl Resource) -> &str {
    object.meta().uid.as_deref().unwrap_or_default()
}

pub(crate) fn name(object: &impl Resource) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

/// The volume that a claim names, if it names one.
pub(crate) fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim
        .spec
        .as_ref()?
        .volume_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

pub(crate) fn claim_phase(claim: &PersistentVolumeClaim) -> &str {
    claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

pub(crate) fn volume_phase(volume: &PersistentVolume) -> &str {
    volume
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// The class of a claim; empty when it wants none. The annotation is the older way to give it.
pub(crate) fn claim_class(claim: &PersistentVolumeClaim) -> &str {
    let spec = claim.spec.as_ref();
    annotation(claim, well_known::BETA_STORAGE_CLASS)
        .or_else(|| spec.and_then(|spec| spec.storage_class_name.as_deref()))
        .unwrap_or_default()
}

/// Whether a claim leaves its class open, as against wanting none.
pub(crate) fn names_no_class(claim: &PersistentVolumeClaim) -> bool {
    let spec = claim.spec.as_ref();
    !has_annotation(claim, well_known::BETA_STORAGE_CLASS)
        && spec.is_none_or(|spec| spec.storage_class_name.is_none())
}

/// The class of a volume; empty when it has none.
pub(crate) fn volume_class(volume: &PersistentVolume) -> &str {
    let spec = volume.spec.as_ref();
    annotation(volume, well_known::BETA_STORAGE_CLASS)
        .or_else(|| spec.and_then(|spec| spec.storage_class_name.as_deref()))
        .unwrap_or_default()
}

/// `Filesystem` unless said otherwise.
pub(crate) fn mode(volume_mode: Option<&String>) -> &str {
    volume_mode.map_or("Filesystem", String::as_str)
}

pub(crate) fn claim_mode(claim: &PersistentVolumeClaim) -> &str {
    mode(
        claim
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_mode.as_ref()),
    )
}

pub(crate) fn volume_mode(volume: &PersistentVolume) -> &str {
    mode(
        volume
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_mode.as_ref()),
    )
}

/// The bytes that a claim asks for.
pub(crate) fn requested_bytes(claim: &PersistentVolumeClaim) -> u64 {
    let request = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let storage = request.and_then(|resources| resources.requests.as_ref()?.get("storage"));
    storage.and_then(quantity::bytes).unwrap_or(0)
}

/// The bytes that a volume has.
pub(crate) fn capacity_bytes(volume: &PersistentVolume) -> u64 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
    capacity
        .and_then(|all| quantity::bytes(all.get("storage")?))
        .unwrap_or(0)
}

pub(crate) fn claim_access_modes(claim: &PersistentVolumeClaim) -> &[String] {
    claim
        .spec
        .as_ref()
        .and_then(|spec| spec.access_modes.as_deref())
        .unwrap_or_default()
}

pub(crate) fn volume_access_modes(volume: &PersistentVolume) -> &[String] {
    volume
        .spec
        .as_ref()
        .and_then(|spec| spec.access_modes.as_deref())
        .unwrap_or_default()
}

pub(crate) fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// The claim that a volume's reference names.
pub(crate) fn claim_ref_key(reference: &ObjectReference) -> ObjectKey {
    ObjectKey::new(
        reference.namespace.clone().unwrap_or_default(),
        reference.name.clone().unwrap_or_default(),
    )
}

/// Whether a volume is reserved for, or bound to, this claim; a reference without uid fits by name.
pub(crate) fn is_for_claim(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_ref(volume).is_some_and(|reference| {
        let uid_fits = reference
            .uid
            .as_deref()
            .is_none_or(|wanted| wanted.is_empty() || wanted == uid(claim));
        claim_ref_key(reference) == ObjectKey::of(claim) && uid_fits
    })
}

/// The node whose driver may have, or be about to have, a volume that this claim does not name yet.
/// While the claim says so it stays, since nothing else tells of that volume.
pub(crate) fn volume_in_making(claim: &PersistentVolumeClaim) -> Option<&str> {
    let asked = annotation(claim, well_known::STORAGE_PROVISIONER) == Some(DRIVER_NAME);
    (asked && volume_name(claim).is_none() && !has_populator(claim))
        .then(|| annotation(claim, well_known::SELECTED_NODE))?
}

/// `Delete`, `Retain` or `Recycle`.
pub(crate) fn reclaim_policy(volume: &PersistentVolume) -> &str {
    let policy = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.persistent_volume_reclaim_policy.as_ref());
    policy.map_or("Retain", String::as_str)
}

pub(crate) fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some(well_known::WAIT_FOR_FIRST_CONSUMER)
}

/// Whether something other than a CSI driver fills the volume of this claim: its data source is of a
/// kind that no driver knows.
pub(crate) fn has_populator(claim: &PersistentVolumeClaim) -> bool {
    let source = claim.spec.as_ref().and_then(data_source);
    source.is_some_and(|source| !is_drivers(source))
}

/// Whether a CSI driver is to fill the volume of this claim from another claim or a snapshot.
pub(crate) fn copies_a_volume(claim: &PersistentVolumeClaim) -> bool {
    claim
        .spec
        .as_ref()
        .and_then(data_source)
        .is_some_and(is_drivers)
}

fn is_drivers(source: (&str, &str)) -> bool {
    matches!(
        source,
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

fn data_source(spec: &PersistentVolumeClaimSpec) -> Option<(&str, &str)> {
    let reference = spec
        .data_source_ref
        .as_ref()
        .map(|r| (r.api_group.as_deref(), &*r.kind));
    let older = || {
        spec.data_source
            .as_ref()
            .map(|r| (r.api_group.as_deref(), &*r.kind))
    };
    reference
        .or_else(older)
        .map(|(group, kind)| (group.unwrap_or_default(), kind))
}

/// The names of the claims that a Pod mounts.
pub(crate) fn pod_claims(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

/// The node that a Pod was given to.
pub(crate) fn pod_node(pod: &Pod) -> Option<&str> {
    pod.spec
        .as_ref()?
        .node_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

/// Whether none of a Pod's processes will run again.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// A reference to a claim as it stands in `spec.claimRef`.
pub(crate) fn reference_to(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        namespace: claim.metadata.namespace.clone(),
        name: claim.metadata.name.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        ..ObjectReference::default()
    }
}
