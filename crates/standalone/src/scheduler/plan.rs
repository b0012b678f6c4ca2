//! Where a Pod goes: objects in, one verdict out.

mod node_fit;
mod volume_fit;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use super::NAME;
use crate::objects::claims;

/// All that a verdict looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct World<'a> {
    pub(super) nodes: &'a [Arc<Node>],
    pub(super) claims: &'a [Arc<PersistentVolumeClaim>],
    pub(super) volumes: &'a [Arc<PersistentVolume>],
    pub(super) classes: &'a [Arc<StorageClass>],
    pub(super) pods: &'a [Arc<Pod>],
    /// A node where the Pod's volumes could not be made: the last choice.
    pub(super) avoid: Option<&'a str>,
}

/// What to do with a Pod.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Everything is there.
    Assign { node: String },
    /// Its volumes must be asked for at this node first.
    Prepare {
        node: String,
        preparations: Vec<Preparation>,
    },
    /// Its volumes are asked for.
    AwaitVolumes,
    /// No node will do.
    Unschedulable { message: String },
}

/// What to write so that a claim gets a volume at the chosen node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Preparation {
    /// Its driver or populator is to make one there.
    SelectNode(Arc<PersistentVolumeClaim>),
    /// This one is there already.
    Reserve {
        volume: Arc<PersistentVolume>,
        claim: Arc<PersistentVolumeClaim>,
    },
}

/// Whether a Pod is for this scheduler and has no node yet.
pub(super) fn is_waiting(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec
        .scheduler_name
        .as_deref()
        .is_none_or(|name| name == NAME || name.is_empty());
    let gated = spec
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty());
    ours && !gated
        && claims::pod_node(pod).is_none()
        && !claims::is_finished(pod)
        && !claims::is_deleting(pod)
}

/// Decides about a Pod that waits.
pub(super) fn verdict(pod: &Pod, world: &World<'_>) -> Verdict {
    if world.nodes.is_empty() {
        return Verdict::Unschedulable {
            message: "no nodes available to schedule pods".into(),
        };
    }
    let wanted = match volume_fit::wanted(pod, world) {
        Ok(wanted) => wanted,
        Err(why) => return unschedulable(world.nodes.len(), &why),
    };
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    let mut fitting = Vec::new();
    for node in world.nodes {
        let fit = node_fit::check(pod, node).map_or_else(
            || volume_fit::at_node(&wanted, node, world).map_err(str::to_owned),
            Err,
        );
        match fit {
            Ok(preparations) => fitting.push((node, preparations)),
            Err(why) => *refusals.entry(why).or_default() += 1,
        }
    }
    let best = fitting
        .into_iter()
        .min_by_key(|(node, _)| rank(claims::name(&***node), world));
    let Some((node, preparations)) = best else {
        let reasons: Vec<_> = refusals
            .into_iter()
            .map(|(why, nodes)| format!("{nodes} {why}"))
            .collect();
        return unschedulable(world.nodes.len(), &reasons.join(", "));
    };
    let node = claims::name(&**node).to_owned();
    if !preparations.is_empty() {
        Verdict::Prepare { node, preparations }
    } else if wanted.is_complete() {
        Verdict::Assign { node }
    } else {
        Verdict::AwaitVolumes
    }
}

/// Nodes that failed before come last, then the one with the fewest Pods first, then by name.
fn rank<'a>(node: &'a str, world: &World<'_>) -> (bool, usize, &'a str) {
    let here = |pod: &&Arc<Pod>| claims::pod_node(pod) == Some(node) && !claims::is_finished(pod);
    (
        world.avoid == Some(node),
        world.pods.iter().filter(here).count(),
        node,
    )
}

fn unschedulable(nodes: usize, why: &str) -> Verdict {
    let message = format!(
        "0/{nodes} nodes are available: {why}. preemption: 0/{nodes} nodes are available: {nodes} \
         Preemption is not helpful for scheduling."
    );
    Verdict::Unschedulable { message }
}

#[cfg(test)]
mod tests;
