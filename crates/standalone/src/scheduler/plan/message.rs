//! Why a Pod stays where it is, in the words of Kubernetes' scheduler, which people and programs
//! search for.

use std::collections::BTreeMap;

use super::Refusal;

pub(super) const NO_NODES: &str = "no nodes available to schedule pods";

/// It is the Pod itself that can be placed nowhere.
pub(super) fn of_pod(nodes: usize, why: &str) -> String {
    let helpless = format!("{nodes} Preemption is not helpful for scheduling.");
    format!(
        "0/{nodes} nodes are available: {why}. preemption: 0/{nodes} nodes are available: {helpless}"
    )
}

/// Each node has its own reasons.
pub(super) fn of_nodes(refusals: &[Refusal]) -> String {
    let nodes = refusals.len();
    let reasons = refusals.iter().flat_map(|refusal| &refusal.reasons);
    let outlooks = refusals.iter().map(|refusal| {
        if refusal.is_final {
            "Preemption is not helpful for scheduling"
        } else {
            "No preemption victims found for incoming pod"
        }
    });
    let reasons = counted(reasons.map(String::as_str));
    let outlooks = counted(outlooks);
    format!(
        "0/{nodes} nodes are available: {reasons}. preemption: 0/{nodes} nodes are available: \
         {outlooks}."
    )
}

/// `2 this, 1 that`, in the order of that text.
fn counted<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    let mut counted: Vec<_> = counts
        .into_iter()
        .map(|(text, count)| format!("{count} {text}"))
        .collect();
    counted.sort_unstable();
    counted.join(", ")
}
