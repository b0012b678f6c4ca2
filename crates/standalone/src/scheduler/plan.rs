//! Where a Pod goes: objects in, one verdict out.
//!
//! Every node is asked the questions of `node_fit`, `resources`, `neighbours` and `volume_fit`, in
//! that order, and the first refusal counts. Of the nodes that are left, `score` finds the best.

mod message;
mod neighbours;
pub(super) mod node_fit;
mod ports;
mod resources;
mod score;
mod volume_fit;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSIDriver, CSIStorageCapacity, StorageClass};

use super::NAME;
use crate::objects::claims;
use neighbours::Neighbours;
use resources::{Amounts, Room};
use volume_fit::Wanted;

/// All that a verdict looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct World<'a> {
    pub(super) nodes: &'a [Arc<Node>],
    pub(super) claims: &'a [Arc<PersistentVolumeClaim>],
    pub(super) volumes: &'a [Arc<PersistentVolume>],
    pub(super) classes: &'a [Arc<StorageClass>],
    pub(super) drivers: &'a [Arc<CSIDriver>],
    /// The room that drivers have for new volumes.
    pub(super) capacities: &'a [Arc<CSIStorageCapacity>],
    pub(super) namespaces: &'a [Arc<Namespace>],
    /// The Pods that are on nodes and have not ended.
    pub(super) placed: &'a [Placed],
    /// A node where the Pod's volumes could not be made: the last choice.
    pub(super) avoid: Option<&'a str>,
}

/// A Pod on a node.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) pod: Arc<Pod>,
    pub(super) node: String,
    requests: Amounts,
}

impl Placed {
    pub(super) fn new(pod: Arc<Pod>, node: impl Into<String>) -> Self {
        let requests = resources::requests(&pod);
        let node = node.into();
        Self {
            pod,
            node,
            requests,
        }
    }
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

/// Why a node does not take a Pod, in the words of Kubernetes' scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    reasons: Vec<String>,
    /// Whether it would stand if Pods left the node.
    is_final: bool,
}

impl Refusal {
    /// One that no departing Pod changes.
    fn for_good(reason: impl Into<String>) -> Self {
        Self {
            reasons: vec![reason.into()],
            is_final: true,
        }
    }

    /// One that is due to Pods on the node.
    fn for_now(reason: impl Into<String>) -> Self {
        Self {
            is_final: false,
            ..Self::for_good(reason)
        }
    }
}

/// A node that takes the Pod.
#[derive(Debug)]
struct Candidate<'a> {
    node: &'a Node,
    room: Room,
    preparations: Vec<Preparation>,
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
    let unschedulable = |message| Verdict::Unschedulable { message };
    if world.nodes.is_empty() {
        return unschedulable(message::NO_NODES.to_owned());
    }
    let wanted = match volume_fit::wanted(pod, world) {
        Ok(wanted) => wanted,
        Err(why) => return unschedulable(message::of_pod(world.nodes.len(), &why)),
    };
    let requests = resources::requests(pod);
    let neighbours = Neighbours::of(pod, world);
    let mut refusals = Vec::new();
    let mut candidates = Vec::new();
    for node in world.nodes {
        match check(pod, node, &requests, &neighbours, &wanted, world) {
            Ok(candidate) => candidates.push(candidate),
            Err(refusal) => refusals.push(refusal),
        }
    }
    let Some(best) = score::best(pod, candidates, &requests, &neighbours, world) else {
        return unschedulable(message::of_nodes(&refusals));
    };
    let node = claims::name(best.node).to_owned();
    if !best.preparations.is_empty() {
        let preparations = best.preparations;
        Verdict::Prepare { node, preparations }
    } else if wanted.is_complete() {
        Verdict::Assign { node }
    } else {
        Verdict::AwaitVolumes
    }
}

fn check<'a>(
    pod: &Pod,
    node: &'a Node,
    requests: &Amounts,
    neighbours: &Neighbours<'_>,
    wanted: &Wanted<'_>,
    world: &World<'_>,
) -> Result<Candidate<'a>, Refusal> {
    let refused = |refusal: Option<Refusal>| refusal.map_or(Ok(()), Err);
    let here = || {
        let name = claims::name(node);
        world
            .placed
            .iter()
            .filter(move |placed| placed.node == name)
    };
    refused(node_fit::refusal(pod, node))?;
    if here().any(|placed| ports::conflict(pod, &placed.pod)) {
        return Err(Refusal::for_now(
            "node(s) didn't have free ports for the requested pod ports",
        ));
    }
    let room = Room::of(node, here());
    refused(room.refusal(requests))?;
    let preparations = volume_fit::at_node(wanted, node, world)?;
    refused(neighbours.refusal(node))?;
    Ok(Candidate {
        node,
        room,
        preparations,
    })
}

#[cfg(test)]
mod tests;
