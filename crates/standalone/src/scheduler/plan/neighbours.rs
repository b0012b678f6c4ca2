//! Which Pods want to be, or must not be, together: affinity and anti-affinity between Pods.
//!
//! A term speaks of a domain: all nodes that have the same value of one label, the topology key.

use k8s_openapi::api::core::v1::{Node, Pod, PodAffinityTerm};

use super::{Placed, Refusal, World};
use crate::objects::claims;
use crate::objects::selectors::{Labels, label_selector_matches};

/// What the Pods that are placed mean for one that waits.
#[derive(Debug)]
pub(super) struct Neighbours<'a> {
    world: &'a World<'a>,
    pod: &'a Pod,
    /// Pods that satisfy all of the Pod's affinity terms at once.
    friends: Vec<&'a Placed>,
    /// The Pod's own affinity terms would accept it.
    is_first_of_its_kind: bool,
}

impl<'a> Neighbours<'a> {
    pub(super) fn of(pod: &'a Pod, world: &'a World<'a>) -> Self {
        let terms = affinity(pod);
        let friend = |other: &Pod| terms.iter().all(|term| selects(term, pod, other, world));
        let mut friends: Vec<_> = world.placed.iter().collect();
        friends.retain(|placed| !terms.is_empty() && friend(&placed.pod));
        Self {
            world,
            pod,
            is_first_of_its_kind: friends.is_empty() && friend(pod),
            friends,
        }
    }

    /// Why the Pod must not go to a node.
    pub(super) fn refusal(&self, node: &Node) -> Option<Refusal> {
        if !self.has_friends(node) {
            return Some(Refusal::for_good("node(s) didn't match pod affinity rules"));
        }
        let mut placed = self.world.placed.iter();
        let is_near = |term: &PodAffinityTerm, other: &Placed| {
            self.world
                .same_domain(&term.topology_key, node, &other.node)
        };
        let avoids = |other: &Placed| {
            anti_affinity(self.pod)
                .iter()
                .any(|term| is_near(term, other) && self.selects(term, self.pod, &other.pod))
        };
        if placed.clone().any(avoids) {
            return Some(Refusal::for_now(
                "node(s) didn't match pod anti-affinity rules",
            ));
        }
        let is_avoided = |other: &Placed| {
            anti_affinity(&other.pod)
                .iter()
                .any(|term| is_near(term, other) && self.selects(term, &other.pod, self.pod))
        };
        placed
            .any(is_avoided)
            .then(|| Refusal::for_now("node(s) didn't satisfy existing pods anti-affinity rules"))
    }

    fn has_friends(&self, node: &Node) -> bool {
        affinity(self.pod).iter().all(|term| {
            let near = |friend: &&Placed| {
                self.world
                    .same_domain(&term.topology_key, node, &friend.node)
            };
            // The first of a group that wants to be together has nobody to join.
            let may_start =
                || self.is_first_of_its_kind && label(node, &term.topology_key).is_some();
            self.friends.iter().any(near) || may_start()
        })
    }

    /// How much the Pod prefers a node for its neighbours; negative for those that it avoids.
    pub(super) fn preference(&self, node: &Node) -> i64 {
        let affinity = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.affinity.as_ref());
        let wanted = affinity
            .and_then(|all| all.pod_affinity.as_ref())
            .and_then(|own| {
                own.preferred_during_scheduling_ignored_during_execution
                    .as_deref()
            });
        let unwanted = affinity
            .and_then(|all| all.pod_anti_affinity.as_ref())
            .and_then(|own| {
                own.preferred_during_scheduling_ignored_during_execution
                    .as_deref()
            });
        let terms = wanted.unwrap_or_default().iter().map(|each| (1, each));
        let terms = terms.chain(unwanted.unwrap_or_default().iter().map(|each| (-1, each)));
        terms
            .map(|(sign, preferred)| {
                let term = &preferred.pod_affinity_term;
                let near = |other: &&Placed| {
                    self.world
                        .same_domain(&term.topology_key, node, &other.node)
                        && self.selects(term, self.pod, &other.pod)
                };
                let near = self.world.placed.iter().filter(near).count();
                sign * i64::from(preferred.weight) * i64::try_from(near).unwrap_or(i64::MAX >> 16)
            })
            .sum()
    }

    fn selects(&self, term: &PodAffinityTerm, owner: &Pod, other: &Pod) -> bool {
        selects(term, owner, other, self.world)
    }
}

impl World<'_> {
    /// Whether a node shares the domain of the node named so.
    fn same_domain(&self, key: &str, node: &Node, other: &str) -> bool {
        let Some(value) = label(node, key) else {
            return false;
        };
        let other = self
            .nodes
            .iter()
            .find(|node| claims::name(&***node) == other);
        other.is_some_and(|other| label(other, key) == Some(value))
    }
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn affinity(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let own = affinity.and_then(|all| all.pod_affinity.as_ref());
    own.and_then(|own| {
        own.required_during_scheduling_ignored_during_execution
            .as_deref()
    })
    .unwrap_or_default()
}

fn anti_affinity(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let own = affinity.and_then(|all| all.pod_anti_affinity.as_ref());
    own.and_then(|own| {
        own.required_during_scheduling_ignored_during_execution
            .as_deref()
    })
    .unwrap_or_default()
}

/// Whether a term of one Pod is about another.
fn selects(term: &PodAffinityTerm, owner: &Pod, other: &Pod, world: &World<'_>) -> bool {
    let none = Labels::new();
    let labels = other.metadata.labels.as_ref().unwrap_or(&none);
    let selected = term
        .label_selector
        .as_ref()
        .is_some_and(|selector| label_selector_matches(selector, labels));
    selected && is_in_scope(term, owner, other, world)
}

/// Without namespaces and a selector for them, a term is about its own namespace.
fn is_in_scope(term: &PodAffinityTerm, owner: &Pod, other: &Pod, world: &World<'_>) -> bool {
    let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
    let named = term.namespaces.as_deref().unwrap_or_default();
    let Some(selector) = &term.namespace_selector else {
        return if named.is_empty() {
            owner.metadata.namespace == other.metadata.namespace
        } else {
            named.iter().any(|name| name == namespace)
        };
    };
    let none = Labels::new();
    let known = world
        .namespaces
        .iter()
        .find(|known| claims::name(&***known) == namespace);
    let labels = known
        .and_then(|known| known.metadata.labels.as_ref())
        .unwrap_or(&none);
    named.iter().any(|name| name == namespace) || label_selector_matches(selector, labels)
}
