//! Taints of nodes, and Pods' tolerations of them.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

/// The taints of a node.
pub(crate) fn of(node: &Node) -> &[Taint] {
    let spec = node.spec.as_ref();
    spec.and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default()
}

/// Whether any of the tolerations is for the taint.
pub(crate) fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations
        .iter()
        .any(|toleration| tolerates(toleration, taint))
}

/// Whether a toleration is for a taint. One without a key and with `Exists` is for all.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let exists = toleration.operator.as_deref() == Some("Exists");
    let key_fits = match set(&toleration.key) {
        Some(key) => key == taint.key,
        None => exists,
    };
    let value_fits = exists || set(&toleration.value) == set(&taint.value);
    let effect_fits = set(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    key_fits && value_fits && effect_fits
}
