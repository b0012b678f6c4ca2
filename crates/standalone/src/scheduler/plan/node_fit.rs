//! Whether a node takes a Pod, volumes aside.

use k8s_openapi::api::core::v1::{Node, NodeSelector, Pod, Taint, Toleration};

use crate::objects::claims;
use crate::objects::selectors::{Labels, node_selector_matches};

const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Why the node does not take the Pod, in the words of Kubernetes' scheduler.
pub(super) fn check(pod: &Pod, node: &Node) -> Option<String> {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref());
    let tolerations = tolerations.unwrap_or_default();
    if is_cordoned(node) && !tolerated(&cordon(), tolerations) {
        return Some("node(s) were unschedulable".to_owned());
    }
    if let Some(taint) = untolerated(node, tolerations) {
        let value = taint.value.as_deref().unwrap_or_default();
        return Some(format!(
            "node(s) had untolerated taint {{{}: {value}}}",
            taint.key
        ));
    }
    (!is_selected(pod, node))
        .then(|| "node(s) didn't match Pod's node affinity/selector".to_owned())
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
    let taints = node.spec.as_ref()?.taints.as_deref()?;
    taints.iter().find(|taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            && taint.key != UNSCHEDULABLE_TAINT
            && !tolerated(taint, tolerations)
    })
}

fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| {
        let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let exists = toleration.operator.as_deref() == Some("Exists");
        let key_fits = match set(&toleration.key) {
            Some(key) => key == taint.key,
            None => exists,
        };
        let value_fits = exists || set(&toleration.value) == set(&taint.value);
        let effect_fits = set(&toleration.effect).is_none_or(|effect| effect == taint.effect);
        key_fits && value_fits && effect_fits
    })
}

fn is_selected(pod: &Pod, node: &Node) -> bool {
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
    let affinity = pod
        .spec
        .as_ref()?
        .affinity
        .as_ref()?
        .node_affinity
        .as_ref()?;
    affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}
