//! What Pods ask for, and what a node has of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Placed, Refusal};
use crate::objects::quantity;

const CPU: &str = "cpu";
const MEMORY: &str = "memory";
const PODS: &str = "pods";

/// What a container without requests counts for when nodes are compared, as in Kubernetes.
const USUAL_CPU: u64 = 100;
const USUAL_MEMORY: u64 = 200 << 20;

/// Amounts by resource: processors in thousandths, all else in whole units.
pub(super) type Amounts = BTreeMap<String, u64>;

/// The room of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    allocatable: Amounts,
    used: Amounts,
    /// What is used when containers without requests count as usual ones.
    nonzero: Amounts,
    pods: u64,
}

impl Room {
    /// The room of a node with the Pods that are on it.
    pub(super) fn of<'a>(node: &Node, placed: impl Iterator<Item = &'a Placed>) -> Self {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|s| s.allocatable.as_ref().or(s.capacity.as_ref()));
        let mut room = Self {
            allocatable: allocatable.into_iter().flatten().map(amount).collect(),
            ..Self::default()
        };
        for placed in placed {
            add(&mut room.used, &placed.requests);
            add(&mut room.nonzero, &usual(&placed.requests));
            room.pods += 1;
        }
        room
    }

    /// Why a Pod with these requests does not fit.
    pub(super) fn refusal(&self, requests: &Amounts) -> Option<Refusal> {
        let mut reasons = Vec::new();
        let mut never = false;
        if self.pods + 1 > self.has(PODS) {
            reasons.push("Too many pods".to_owned());
        }
        for (resource, wanted) in requests.iter().filter(|(_, wanted)| **wanted > 0) {
            let used = self.used.get(resource).copied().unwrap_or_default();
            if *wanted > self.has(resource).saturating_sub(used) {
                reasons.push(format!("Insufficient {resource}"));
                never |= *wanted > self.has(resource);
            }
        }
        (!reasons.is_empty()).then_some(Refusal {
            reasons,
            is_final: never,
        })
    }

    /// How empty the node would be with the Pod, from 0 to 100: the mean of processors and memory.
    pub(super) fn emptiness(&self, requests: &Amounts) -> u64 {
        let wanted = usual(requests);
        let left = |resource: &str| {
            let has = self.has(resource);
            let used = self.nonzero.get(resource).copied().unwrap_or_default();
            let used = used + wanted.get(resource).copied().unwrap_or_default();
            has.saturating_sub(used)
                .saturating_mul(100)
                .checked_div(has)
                .unwrap_or_default()
        };
        u64::midpoint(left(CPU), left(MEMORY))
    }

    fn has(&self, resource: &str) -> u64 {
        self.allocatable.get(resource).copied().unwrap_or_default()
    }
}

/// What a Pod needs at the worst moment of its life: the containers and sidecars together, or an
/// init container with the sidecars that were started before it.
pub(super) fn requests(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else {
        return Amounts::new();
    };
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let mut moment = sidecars.clone();
        add(&mut moment, &of_container(container));
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.clone_from(&moment);
        }
        raise(&mut peak, &moment);
    }
    let mut all = sidecars;
    for container in &spec.containers {
        add(&mut all, &of_container(container));
    }
    raise(&mut all, &peak);
    let overhead = spec.overhead.iter().flatten().map(amount).collect();
    add(&mut all, &overhead);
    all
}

fn of_container(container: &Container) -> Amounts {
    let requests = container
        .resources
        .as_ref()
        .and_then(|all| all.requests.as_ref());
    requests.into_iter().flatten().map(amount).collect()
}

fn amount((resource, quantity): (&String, &Quantity)) -> (String, u64) {
    let amount = if resource == CPU {
        quantity::thousandths(quantity)
    } else {
        quantity::bytes(quantity)
    };
    // What is too large for the number fits nowhere.
    (resource.clone(), amount.unwrap_or(u64::MAX))
}

fn usual(requests: &Amounts) -> Amounts {
    let of = |resource: &str, usual| match requests.get(resource) {
        Some(0) | None => (resource.to_owned(), usual),
        Some(amount) => (resource.to_owned(), *amount),
    };
    [of(CPU, USUAL_CPU), of(MEMORY, USUAL_MEMORY)].into()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (resource, amount) in more {
        let sum = sum.entry(resource.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

fn raise(most: &mut Amounts, other: &Amounts) {
    for (resource, amount) in other {
        let most = most.entry(resource.clone()).or_default();
        *most = (*most).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    fn cpu(amount: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": amount}}})
    }

    #[test]
    fn a_pod_needs_what_its_worst_moment_needs() {
        let mut sidecar = cpu("200m");
        sidecar["restartPolicy"] = json!("Always");
        let cases = [
            (json!({"containers": [cpu("1"), cpu("500m")]}), 1500),
            (
                json!({"containers": [cpu("1")], "initContainers": [cpu("3")]}),
                3000,
            ),
            (
                json!({"containers": [cpu("1")], "initContainers": [sidecar]}),
                1200,
            ),
            (
                json!({"containers": [cpu("1")], "initContainers": [sidecar, cpu("1")],
                "overhead": {"cpu": "50m"}}),
                1250,
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(
                requests(&pod(spec.clone())).get(CPU),
                Some(&expected),
                "{spec}"
            );
        }
    }
}
