//! What a claim or a volume needs from a driver: objects in, one step out.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ObjectMeta;

use crate::binder::matching;
use crate::csi_client::{DRIVER_NAME, TOPOLOGY_KEY};
use crate::objects::claims;
use crate::objects::well_known::{self, phase};

/// The next step of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClaimStep {
    Nothing,
    /// Its data come from something that brings its own volume.
    LeaveToPopulator,
    /// It may be made anywhere and no node is chosen yet.
    ChooseNode,
    Provision {
        node: String,
    },
}

/// The next step of a volume.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VolumeStep {
    Nothing,
    /// Its bytes are to be kept: only the object goes, when someone deletes it.
    Forget,
    Delete {
        node: String,
        handle: String,
    },
}

/// Decides about a claim. `unsettled` is one with a call whose outcome is not known.
pub(super) fn claim_step(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    unsettled: bool,
) -> ClaimStep {
    let asked = claims::annotation(claim, well_known::STORAGE_PROVISIONER);
    if class.provisioner != DRIVER_NAME
        || asked != Some(DRIVER_NAME)
        || claims::volume_name(claim).is_some()
        || claims::claim_phase(claim) == phase::LOST
        || (claims::is_deleting(claim) && !unsettled)
    {
        return ClaimStep::Nothing;
    }
    if claims::has_populator(claim) {
        return ClaimStep::LeaveToPopulator;
    }
    if !claims::has_finalizer(claim, well_known::PVC_PROTECTION) {
        // It could vanish unnoticed and leave its volume behind.
        return ClaimStep::Nothing;
    }
    match claims::annotation(claim, well_known::SELECTED_NODE) {
        Some(node) => ClaimStep::Provision {
            node: node.to_owned(),
        },
        None if claims::waits_for_consumer(class) => ClaimStep::Nothing,
        None => ClaimStep::ChooseNode,
    }
}

/// Decides about a volume; `nodes` are those with a driver.
pub(super) fn volume_step<'a>(
    volume: &PersistentVolume,
    mut nodes: impl Iterator<Item = &'a str>,
) -> VolumeStep {
    let made_here = claims::annotation(volume, well_known::PROVISIONED_BY) == Some(DRIVER_NAME);
    let Some(source) = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref()) else {
        return VolumeStep::Nothing;
    };
    if !made_here || source.driver != DRIVER_NAME {
        return VolumeStep::Nothing;
    }
    if claims::reclaim_policy(volume) != "Delete" {
        return if claims::has_finalizer(volume, well_known::PROVISIONER_FINALIZER) {
            VolumeStep::Forget
        } else {
            VolumeStep::Nothing
        };
    }
    let released = claims::volume_phase(volume) == phase::RELEASED
        || (claims::is_deleting(volume) && claims::volume_phase(volume) == phase::AVAILABLE);
    let node = nodes.find(|node| matching::is_reachable(volume, &bare_node(node)));
    match node {
        Some(node) if released => VolumeStep::Delete {
            node: node.to_owned(),
            handle: source.volume_handle.clone(),
        },
        _ => VolumeStep::Nothing,
    }
}

/// A node as its driver's topology describes it; the Node object may be away.
pub(super) fn bare_node(name: &str) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(TOPOLOGY_KEY.to_owned(), name.to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..Node::default()
    }
}

#[cfg(test)]
mod tests;
