//! Whether a Pod's claims have, or can get, their volumes at a node.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSIStorageCapacity, StorageClass};

use super::{Preparation, Refusal, World};
use crate::binder::matching;
use crate::objects::selectors::{Labels, label_selector_matches};
use crate::objects::well_known::{self, phase};
use crate::objects::{claims, quantity};

const CONFLICT: &str = "node(s) had volume node affinity conflict";
const NOT_FOUND: &str = "node(s) didn't find available persistent volumes to bind";
const NO_ROOM: &str = "node(s) did not have enough free storage";
const IN_USE: &str =
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";

/// The claims of a Pod.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    bound: Vec<&'a Arc<PersistentVolume>>,
    /// Waiting for their first consumer, which is this Pod.
    unbound: Vec<&'a Arc<PersistentVolumeClaim>>,
    /// One of them is for a single Pod, and another Pod has it.
    is_taken: bool,
}

impl Wanted<'_> {
    pub(super) fn is_complete(&self) -> bool {
        self.unbound.is_empty()
    }
}

/// Finds a Pod's claims, or what is wrong with them wherever the Pod goes.
pub(super) fn wanted<'a>(pod: &Pod, world: &World<'a>) -> Result<Wanted<'a>, String> {
    let mut wanted = Wanted::default();
    let mut waits_in_vain = false;
    for name in claims::pod_claims(pod) {
        let of_pod = |claim: &&Arc<PersistentVolumeClaim>| {
            claims::name(&***claim) == name && claim.metadata.namespace == pod.metadata.namespace
        };
        let claim = world.claims.iter().find(of_pod);
        let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
        if claims::is_deleting(&**claim) {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        wanted.is_taken |= is_for_one_pod(claim) && has_user(claim, world);
        let volume_name = claims::volume_name(claim).unwrap_or_default();
        let volume = world
            .volumes
            .iter()
            .find(|volume| claims::name(&***volume) == volume_name);
        let lost = || {
            format!(
                "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume_name:?}"
            )
        };
        if claims::claim_phase(claim) == phase::LOST {
            return Err(lost());
        } else if is_bound(claim) {
            wanted.bound.push(volume.ok_or_else(lost)?);
        } else if waits_for_consumer(claim, world) {
            wanted.unbound.push(claim);
        } else {
            waits_in_vain = true;
        }
    }
    if waits_in_vain {
        return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
    }
    Ok(wanted)
}

fn is_for_one_pod(claim: &PersistentVolumeClaim) -> bool {
    let modes = claims::claim_access_modes(claim);
    modes.iter().any(|mode| mode == "ReadWriteOncePod")
}

fn has_user(claim: &PersistentVolumeClaim, world: &World<'_>) -> bool {
    let name = claims::name(claim);
    world.placed.iter().any(|placed| {
        placed.pod.metadata.namespace == claim.metadata.namespace
            && claims::pod_claims(&placed.pod).any(|used| used == name)
    })
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claims::volume_name(claim).is_some()
        && claims::has_annotation(claim, well_known::BIND_COMPLETED)
}

fn waits_for_consumer(claim: &PersistentVolumeClaim, world: &World<'_>) -> bool {
    let name = claims::claim_class(claim);
    let class = world
        .classes
        .iter()
        .find(|class| claims::name(&***class) == name);
    claims::volume_name(claim).is_none()
        && class.is_some_and(|class| claims::waits_for_consumer(class))
}

/// What to write so that the claims get their volumes at the node; nothing if that is done.
pub(super) fn at_node(
    wanted: &Wanted<'_>,
    node: &Node,
    world: &World<'_>,
) -> Result<Vec<Preparation>, Refusal> {
    if wanted.is_taken {
        return Err(Refusal::for_now(IN_USE));
    }
    if !wanted
        .bound
        .iter()
        .all(|volume| matching::is_reachable(volume, node))
    {
        return Err(Refusal::for_good(CONFLICT));
    }
    let mut preparations = Vec::new();
    let mut free = world.volumes.to_vec();
    for claim in &wanted.unbound {
        if let Some(preparation) = prepare(claim, node, &free, world).map_err(Refusal::for_good)? {
            if let Preparation::Reserve { volume, .. } = &preparation {
                free.retain(|other| !Arc::ptr_eq(other, volume));
            }
            preparations.push(preparation);
        }
    }
    Ok(preparations)
}

fn prepare(
    claim: &Arc<PersistentVolumeClaim>,
    node: &Node,
    free: &[Arc<PersistentVolume>],
    world: &World<'_>,
) -> Result<Option<Preparation>, &'static str> {
    if let Some(reserved) = world
        .volumes
        .iter()
        .find(|v| claims::is_for_claim(v, claim))
    {
        return matching::is_reachable(reserved, node)
            .then_some(None)
            .ok_or(CONFLICT);
    }
    match claims::annotation(&**claim, well_known::SELECTED_NODE) {
        Some(selected) if selected == claims::name(node) => return Ok(None),
        Some(_) => return Err(NOT_FOUND),
        None => {}
    }
    if let Some(volume) = matching::on_node(claim, free, node) {
        let (volume, claim) = (volume.clone(), claim.clone());
        return Ok(Some(Preparation::Reserve { volume, claim }));
    }
    let class_name = claims::claim_class(claim);
    let class = world
        .classes
        .iter()
        .find(|class| claims::name(&***class) == class_name);
    match class {
        Some(class) if can_make(class, node) => {
            let has_room = has_room(class, claim, node, world);
            let select = Preparation::SelectNode((*claim).clone());
            has_room.then_some(Some(select)).ok_or(NO_ROOM)
        }
        _ => Err(NOT_FOUND),
    }
}

/// Whether the class makes volumes for such a node.
fn can_make(class: &StorageClass, node: &Node) -> bool {
    class.provisioner != well_known::NO_PROVISIONER && matching::is_allowed(class, node)
}

/// Whether the class's driver has told of enough room that the node reaches. A driver that does not
/// tell is believed to have it.
fn has_room(
    class: &StorageClass,
    claim: &PersistentVolumeClaim,
    node: &Node,
    world: &World<'_>,
) -> bool {
    let tells = world.drivers.iter().any(|driver| {
        claims::name(&**driver) == class.provisioner && driver.spec.storage_capacity == Some(true)
    });
    let wanted = claims::requested_bytes(claim);
    let none = Labels::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let suffices = |told: &Arc<CSIStorageCapacity>| {
        let room = told.maximum_volume_size.as_ref().or(told.capacity.as_ref());
        told.storage_class_name == claims::name(class)
            && room
                .and_then(quantity::bytes)
                .is_some_and(|room| room >= wanted)
            && told
                .node_topology
                .as_ref()
                .is_some_and(|topology| label_selector_matches(topology, labels))
    };
    !tells || world.capacities.iter().any(suffices)
}
