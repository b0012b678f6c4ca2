//! Whether a node takes a Pod by what both say of themselves: taints, labels, names.

use k8s_openapi::api::core::v1::{Node, NodeAffinity, NodeSelector, Pod, Taint, Toleration};

use super::Refusal;
use crate::objects::selectors::{Labels, node_selector_matches, node_term_matches};
use crate::objects::{claims, taints};

const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Why the node does not take the Pod.
pub(super) fn refusal(pod: &Pod, node: &Node) -> Option<Refusal> {
    let tolerations = tolerations(pod);
    if is_cordoned(node) && !taints::is_tolerated(&cordon(), tolerations) {
        return Some(Refusal::for_good("node(s) were unschedulable"));
    }
    if let Some(taint) = untolerated(node, tolerations) {
        let value = taint.value.as_deref().unwrap_or_default();
        return Some(Refusal::for_good(format!(
            "node(s) had untolerated taint {{{}: {value}}}",
            taint.key
        )));
    }
    (!is_selected(pod, node))
        .then(|| Refusal::for_good("node(s) didn't match Pod's node affinity/selector"))
}

/// How many taints of the node ask Pods like this to stay away if they can.
pub(super) fn disliked_taints(pod: &Pod, node: &Node) -> usize {
    taints::of(node)
        .iter()
        .filter(|taint| taint.effect == "PreferNoSchedule")
        .filter(|taint| !taints::is_tolerated(taint, tolerations(pod)))
        .count()
}

/// The sum of the weights of the Pod's preferences that the node satisfies.
pub(super) fn preference(pod: &Pod, node: &Node) -> i64 {
    let affinity = node_affinity(pod);
    let preferred = affinity.and_then(|all| {
        all.preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let none = Labels::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    preferred
        .into_iter()
        .flatten()
        .filter(|term| node_term_matches(&term.preference, claims::name(node), labels))
        .map(|term| i64::from(term.weight))
        .sum()
}

fn tolerations(pod: &Pod) -> &[Toleration] {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default()
}

fn is_cordoned(node: &Node) -> bool {
    node.spec
        .as_ref()
        .is_some_and(|spec| spec.unschedulable == Some(true))
}

fn cordon() -> Taint {
    Taint {
        key: UNSCHEDULABLE_TAINT.to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    }
}

fn untolerated<'a>(node: &'a Node, tolerations: &[Toleration]) -> Option<&'a Taint> {
    taints::of(node).iter().find(|taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            && taint.key != UNSCHEDULABLE_TAINT
            && !taints::is_tolerated(taint, tolerations)
    })
}

/// Whether the node is among those that the Pod asks for.
pub(crate) fn is_selected(pod: &Pod, node: &Node) -> bool {
    let none = Labels::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let Some(spec) = &pod.spec else { return true };
    let plain = spec.node_selector.iter().flatten();
    let required = required_affinity(pod);
    plain
        .into_iter()
        .all(|(key, value)| labels.get(key) == Some(value))
        && required.is_none_or(|terms| node_selector_matches(terms, claims::name(node), labels))
}

fn required_affinity(pod: &Pod) -> Option<&NodeSelector> {
    node_affinity(pod)?
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}

fn node_affinity(pod: &Pod) -> Option<&NodeAffinity> {
    pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}
