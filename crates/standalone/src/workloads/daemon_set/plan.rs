//! Which nodes want a Pod, and what is to be done about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, Toleration,
};

use super::super::deployment::share;
use super::super::pods::{self, is_active};
use super::history::HASH;
use crate::objects::{claims, taints};
use crate::scheduler::is_selected;

/// The number of the template that a Pod is of; older clients look at it.
const GENERATION: &str = "pod-template-generation";

/// Conditions of nodes that daemons live with.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// A DaemonSet's Pods by their node.
pub(super) type Placed = BTreeMap<String, Vec<Arc<Pod>>>;

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Nodes that need a Pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Pods that ended and are to be made again.
    pub(super) failed: Vec<Arc<Pod>>,
}

/// The Pod of a node. Only that node will do for it.
pub(super) fn render(set: &DaemonSet, hash: &str, node: &str) -> Pod {
    let spec = set.spec.clone().unwrap_or_default();
    let mut pod = pods::from_template(&spec.template);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH.to_owned(), hash.to_owned());
    let generation = set.metadata.generation.unwrap_or(1).to_string();
    labels.insert(GENERATION.to_owned(), generation);
    let pod_spec = pod.spec.get_or_insert_default();
    let tolerations = pod_spec.tolerations.get_or_insert_default();
    for (key, effect) in TOLERATED {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    bind_to(pod_spec.affinity.get_or_insert_default(), node);
    pod
}

fn bind_to(affinity: &mut Affinity, node: &str) {
    let required = &mut affinity
        .node_affinity
        .get_or_insert_default()
        .required_during_scheduling_ignored_during_execution;
    let by_name = vec![NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    }];
    let selector = required.get_or_insert_with(|| NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm::default()],
    });
    for term in &mut selector.node_selector_terms {
        term.match_fields = Some(by_name.clone());
    }
}

/// The node that a Pod of a DaemonSet is on, or is for.
pub(super) fn target(pod: &Pod) -> Option<&str> {
    claims::pod_node(pod).or_else(|| {
        let affinity = pod
            .spec
            .as_ref()?
            .affinity
            .as_ref()?
            .node_affinity
            .as_ref()?;
        let required = affinity
            .required_during_scheduling_ignored_during_execution
            .as_ref()?;
        let fields = required
            .node_selector_terms
            .first()?
            .match_fields
            .as_ref()?;
        let by_name = fields.iter().find(|field| field.key == "metadata.name")?;
        by_name.values.as_ref()?.first().map(String::as_str)
    })
}

/// What a node makes of the Pods of a DaemonSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fit {
    /// It wants a new one.
    run: bool,
    /// It keeps the one that it has.
    keep: bool,
}

fn fit(set: &DaemonSet, node: &Node) -> Fit {
    let template = set
        .spec
        .as_ref()
        .map(|spec| pods::from_template(&spec.template));
    let template = template.unwrap_or_default();
    if !is_selected(&template, node) {
        return Fit {
            run: false,
            keep: false,
        };
    }
    let rendered = render(set, "", claims::name(node));
    let tolerations = rendered
        .spec
        .and_then(|spec| spec.tolerations)
        .unwrap_or_default();
    let repels = |effect: &str| {
        let mut taints = taints::of(node)
            .iter()
            .filter(|taint| taint.effect == effect);
        taints.any(|taint| !taints::is_tolerated(taint, &tolerations))
    };
    let evicted = repels("NoExecute");
    Fit {
        run: !evicted && !repels("NoSchedule"),
        keep: !evicted,
    }
}

fn is_current(pod: &Pod, hash: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(HASH))
        .is_some_and(|own| own == hash)
}

/// What brings the Pods to where they are wanted, and then to the present template.
pub(super) fn steps(
    set: &DaemonSet,
    hash: &str,
    nodes: &[Arc<Node>],
    placed: &Placed,
    now: Timestamp,
) -> Steps {
    let mut steps = Steps::default();
    for node in nodes {
        let here = placed
            .get(claims::name(&**node))
            .map(Vec::as_slice)
            .unwrap_or_default();
        let fit = fit(set, node);
        let mut active: Vec<_> = here.iter().filter(|pod| is_active(pod)).collect();
        if !fit.keep {
            steps.delete.extend(active.into_iter().cloned());
            continue;
        }
        let ended = here
            .iter()
            .filter(|pod| claims::is_finished(pod) && !claims::is_deleting(&***pod));
        steps.failed.extend(ended.cloned());
        if here.is_empty() && fit.run {
            steps.create.push(claims::name(&**node).to_owned());
        }
        // The oldest stays.
        active.sort_by_key(|pod| (!pods::is_ready(pod), pods::created(pod)));
        steps.delete.extend(active.into_iter().skip(1).cloned());
    }
    let known = |node: &String| nodes.iter().any(|known| claims::name(&**known) == node);
    let lost = placed
        .iter()
        .filter(|(node, _)| !known(node))
        .flat_map(|(_, pods)| pods);
    steps
        .delete
        .extend(lost.filter(|pod| !claims::is_deleting(&***pod)).cloned());
    if steps.create.is_empty() && steps.delete.is_empty() && steps.failed.is_empty() {
        steps.delete = outdated(set, hash, nodes, placed, now);
    }
    steps
}

/// Pods of older templates, as many as may be missing at a time.
fn outdated(
    set: &DaemonSet,
    hash: &str,
    nodes: &[Arc<Node>],
    placed: &Placed,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let spec = set.spec.clone().unwrap_or_default();
    let strategy = spec.update_strategy.unwrap_or_default();
    if strategy.type_.as_deref() == Some("OnDelete") {
        return Vec::new();
    }
    let wanting: Vec<_> = nodes.iter().filter(|node| fit(set, node).run).collect();
    let total = i32::try_from(wanting.len()).unwrap_or(i32::MAX);
    let most = strategy
        .rolling_update
        .and_then(|rolling| rolling.max_unavailable);
    let most = most
        .map_or(1, |most| share(Some(&most), total, true))
        .max(1);
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let (mut old, mut missing) = (Vec::new(), 0);
    for node in wanting {
        let here = placed
            .get(claims::name(&**node))
            .map(Vec::as_slice)
            .unwrap_or_default();
        let present = here.iter().find(|pod| is_active(pod));
        let available = present.is_some_and(|pod| pods::is_available(pod, min_ready, now));
        match present {
            // It is missing as it is.
            Some(pod) if !is_current(pod, hash) && !available => {
                missing += 1;
                old.insert(0, pod.clone());
            }
            Some(pod) if !is_current(pod, hash) => old.push(pod.clone()),
            _ if !available => missing += 1,
            _ => {}
        }
    }
    let useless = old
        .iter()
        .filter(|pod| !pods::is_available(pod, min_ready, now))
        .count();
    let room = usize::try_from(most - missing).unwrap_or(0);
    old.truncate(useless + room);
    old
}

/// The status that follows from nodes and Pods.
pub(super) fn status(
    set: &DaemonSet,
    hash: &str,
    nodes: &[Arc<Node>],
    placed: &Placed,
    now: Timestamp,
    before: DaemonSetStatus,
) -> DaemonSetStatus {
    let min_ready = set
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .unwrap_or(0);
    let (mut desired, mut current, mut stray) = (0, 0, 0);
    let (mut ready, mut available, mut updated) = (0, 0, 0);
    for node in nodes {
        let here = placed
            .get(claims::name(&**node))
            .map(Vec::as_slice)
            .unwrap_or_default();
        let oldest = here
            .iter()
            .filter(|pod| is_active(pod))
            .min_by_key(|pod| pods::created(pod));
        if !fit(set, node).run {
            stray += i32::from(oldest.is_some());
            continue;
        }
        desired += 1;
        let Some(pod) = oldest else { continue };
        current += 1;
        ready += i32::from(pods::is_ready(pod));
        available += i32::from(pods::is_available(pod, min_ready, now));
        updated += i32::from(is_current(pod, hash));
    }
    let some = |count: i32| (count > 0).then_some(count);
    DaemonSetStatus {
        current_number_scheduled: current,
        desired_number_scheduled: desired,
        number_misscheduled: stray,
        number_ready: ready,
        number_available: some(available),
        number_unavailable: some(desired - available),
        updated_number_scheduled: some(updated),
        observed_generation: set.metadata.generation,
        ..before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(template: Value, strategy: Value) -> DaemonSet {
        serde_json::from_value(json!({"metadata": {"name": "d"},
            "spec": {"selector": {}, "updateStrategy": strategy, "template": {"spec": template}}}))
        .unwrap()
    }

    fn node(name: &str, labels: Value, taints: Value) -> Arc<Node> {
        let node =
            json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
        Arc::new(serde_json::from_value(node).unwrap())
    }

    fn pod(set: &DaemonSet, hash: &str, node: &str, ready: &str) -> (String, Vec<Arc<Pod>>) {
        let mut pod = render(set, hash, node);
        pod.metadata.name = Some(format!("on-{node}"));
        pod.status = serde_json::from_value(json!({"phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}]}))
        .unwrap();
        (node.to_owned(), vec![Arc::new(pod)])
    }

    fn on(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().filter_map(|pod| target(pod)).collect()
    }

    #[test]
    fn every_node_that_fits_gets_a_pod() {
        let set = set(
            json!({"nodeSelector": {"disk": "ssd"}, "containers": []}),
            json!({}),
        );
        let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
        let ssd = || json!({"disk": "ssd"});
        let nodes = [
            node("plain", json!({}), json!([])),
            node(
                "fits",
                ssd(),
                taint("node.kubernetes.io/unschedulable", "NoSchedule"),
            ),
            node("repels", ssd(), taint("mine", "NoSchedule")),
            node("evicts", ssd(), taint("mine", "NoExecute")),
        ];
        let placed = Placed::from([
            pod(&set, "h", "plain", "True"),
            pod(&set, "h", "repels", "True"),
            pod(&set, "h", "evicts", "True"),
            pod(&set, "h", "gone", "True"),
        ]);
        let now = Timestamp::now();
        let steps = steps(&set, "h", &nodes, &placed, now);
        assert_eq!(steps.create, ["fits"]);
        assert_eq!(on(&steps.delete), ["plain", "evicts", "gone"]);
        let status = status(&set, "h", &nodes, &placed, now, DaemonSetStatus::default());
        assert_eq!(
            (status.desired_number_scheduled, status.number_misscheduled),
            (1, 3)
        );
    }

    #[test]
    fn older_pods_are_replaced_a_few_at_a_time() {
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}});
        let template = json!({"containers": []});
        let nodes = ["a", "b", "c"].map(|name| node(name, json!({}), json!([])));
        let now = Timestamp::now();
        let delete = |set: &DaemonSet, pods: [(String, Vec<Arc<Pod>>); 3]| {
            let steps = steps(set, "new", &nodes, &Placed::from(pods), now);
            on(&steps.delete).join(",")
        };
        let set_ = set(template.clone(), rolling);
        let at = |hash, node, ready| pod(&set_, hash, node, ready);
        let old = || {
            [
                at("old", "a", "True"),
                at("old", "b", "True"),
                at("old", "c", "True"),
            ]
        };
        assert_eq!(delete(&set_, old()), "a");
        let waiting = [
            at("new", "a", "False"),
            at("old", "b", "True"),
            at("old", "c", "True"),
        ];
        assert_eq!(delete(&set_, waiting), "");
        let broken = [
            at("new", "a", "True"),
            at("old", "b", "False"),
            at("old", "c", "True"),
        ];
        assert_eq!(delete(&set_, broken), "b");
        let by_hand = set(template, json!({"type": "OnDelete"}));
        assert_eq!(delete(&by_hand, old()), "");
    }
}
