//! Which volume fits a claim.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::objects::selectors::{Labels, label_selector_matches, node_selector_matches};
use crate::objects::{claims, well_known};

/// The volume to bind to a claim: the one reserved for it, otherwise the smallest that is available
/// and fits. While binding is delayed, only a reserved one.
pub(super) fn best<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
    binding_is_delayed: bool,
) -> Option<&'a Arc<PersistentVolume>> {
    let reserved = volumes.iter().find(|volume| {
        claims::is_for_claim(volume, claim)
            && !claims::is_deleting(&***volume)
            && claims::volume_mode(volume) == claims::claim_mode(claim)
            && claims::capacity_bytes(volume) >= claims::requested_bytes(claim)
    });
    if reserved.is_some() || binding_is_delayed {
        return reserved;
    }
    smallest(claim, volumes.iter())
}

/// The smallest available volume that fits a claim and can be reached from a node.
pub(crate) fn on_node<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
    node: &Node,
) -> Option<&'a Arc<PersistentVolume>> {
    smallest(
        claim,
        volumes.iter().filter(|volume| is_reachable(volume, node)),
    )
}

/// Whether a volume can be used on a node.
pub(crate) fn is_reachable(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else {
        return true;
    };
    let none = Labels::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    node_selector_matches(required, claims::name(node), labels)
}

/// Whether a class may make volumes for a node.
pub(crate) fn is_allowed(class: &StorageClass, node: &Node) -> bool {
    let none = Labels::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let Some(terms) = class
        .allowed_topologies
        .as_ref()
        .filter(|terms| !terms.is_empty())
    else {
        return true;
    };
    terms.iter().any(|term| {
        let mut expressions = term.match_label_expressions.iter().flatten();
        expressions.all(|wanted| {
            labels
                .get(&wanted.key)
                .is_some_and(|value| wanted.values.contains(value))
        })
    })
}

fn smallest<'a>(
    claim: &PersistentVolumeClaim,
    volumes: impl Iterator<Item = &'a Arc<PersistentVolume>>,
) -> Option<&'a Arc<PersistentVolume>> {
    let fitting = volumes.filter(|volume| {
        claims::volume_phase(volume) == well_known::phase::AVAILABLE
            && claims::claim_ref(volume).is_none()
            && !claims::is_deleting(&***volume)
            && is_selected(claim, volume)
            && mismatch(volume, claim).is_none()
    });
    fitting.min_by(|a, b| {
        let size = claims::capacity_bytes(a).cmp(&claims::capacity_bytes(b));
        size.then_with(|| claims::name(&***a).cmp(claims::name(&***b)))
    })
}

fn is_selected(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let none = Labels::new();
    let labels = volume.metadata.labels.as_ref().unwrap_or(&none);
    selector.is_none_or(|selector| label_selector_matches(selector, labels))
}

/// What of a claim a volume does not satisfy, in words for the claim's owner.
pub(super) fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    if claims::capacity_bytes(volume) < claims::requested_bytes(claim) {
        return Some("requested PV is too small".to_owned());
    }
    if claims::volume_class(volume) != claims::claim_class(claim) {
        return Some("storageClassName does not match".to_owned());
    }
    if claims::volume_mode(volume) != claims::claim_mode(claim) {
        return Some("incompatible volumeMode".to_owned());
    }
    let offered = claims::volume_access_modes(volume);
    let wanted = claims::claim_access_modes(claim);
    (!wanted.iter().all(|mode| offered.contains(mode)))
        .then(|| "incompatible accessMode".to_owned())
}

#[cfg(test)]
mod tests;
