//! ReplicaSets: so many Pods of one template.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;

use super::pods::{self, Pods, is_active};
use super::{Workloads, replace_status};
use crate::objects::claims;
use crate::objects::selectors::{Labels, label_selector_matches};
use crate::runtime::{ApiError, Cache, Next, ObjectKey};

/// Pods made or deleted in one go.
const BURST: usize = 500;
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

pub(super) struct Controller {
    client: Client,
    sets: Cache<ReplicaSet>,
    pods: Pods,
}

impl Controller {
    pub(super) fn new(workloads: &Workloads) -> Self {
        let recorder = workloads
            .recorder
            .for_component("replicaset-controller", None);
        Self {
            client: workloads.client.clone(),
            sets: workloads.replica_sets.clone(),
            pods: Pods::new(workloads.client.clone(), workloads.caches.clone(), recorder),
        }
    }

    pub(super) async fn reconcile(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(set) = self.sets.get(&key) else {
            return Ok(Next::OnChange);
        };
        let Some(spec) = &set.spec else {
            return Ok(Next::OnChange);
        };
        let mine = self.pods.of(&*set, &spec.selector).await?;
        let mut done = Ok(());
        if !claims::is_deleting(&*set) {
            done = self.adjust(&set, &mine).await;
        }
        let mine = self.pods.of(&*set, &spec.selector).await?;
        let now = Timestamp::now();
        let status = status(&set, &mine, done.as_ref().err(), now);
        if set.status.as_ref() != Some(&status) {
            let mut changed = ReplicaSet::clone(&set);
            changed.status = Some(status);
            replace_status(&self.client, &self.sets, &changed).await?;
        }
        done?;
        let min_ready = spec.min_ready_seconds.unwrap_or(0);
        let waits = mine
            .iter()
            .filter_map(|pod| pods::until_available(pod, min_ready, now));
        let next = waits.filter(|wait| !wait.is_zero()).min();
        Ok(next.map_or(Next::OnChange, Next::After))
    }

    async fn adjust(&self, set: &ReplicaSet, mine: &[Arc<Pod>]) -> Result<(), ApiError> {
        match plan(set, mine) {
            Step::Nothing => {}
            Step::Create(count) => {
                let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
                for _ in 0..count {
                    let pod = template.map(pods::from_template).unwrap_or_default();
                    self.pods.create(set, pod).await?;
                }
            }
            Step::Delete(victims) => {
                for pod in victims {
                    self.pods.delete(set, &pod).await?;
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

fn wanted(set: &ReplicaSet) -> usize {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
    usize::try_from(replicas.unwrap_or(1)).unwrap_or(0)
}

fn plan(set: &ReplicaSet, mine: &[Arc<Pod>]) -> Step {
    let mut active: Vec<_> = mine.iter().filter(|pod| is_active(pod)).cloned().collect();
    let wanted = wanted(set);
    if active.len() < wanted {
        return Step::Create((wanted - active.len()).min(BURST));
    }
    if active.len() == wanted {
        return Step::Nothing;
    }
    active.sort_by_cached_key(|pod| worth(pod));
    active.truncate((active.len() - wanted).min(BURST));
    Step::Delete(active)
}

/// What is worth least goes first: Pods without a node, then such that do not run, are not ready,
/// are said to be cheap, have been ready for a short time, or are young.
fn worth(pod: &Pod) -> impl Ord + use<> {
    let progress = match pods::phase(pod) {
        "Running" => 2,
        "Pending" => 0,
        _ => 1,
    };
    let cost = claims::annotation(pod, DELETION_COST).and_then(|cost| cost.parse::<i32>().ok());
    (
        claims::pod_node(pod).is_some(),
        progress,
        pods::is_ready(pod),
        cost.unwrap_or(0),
        Reverse(pods::ready_since(pod)),
        Reverse(pods::created(pod)),
    )
}

fn status(
    set: &ReplicaSet,
    mine: &[Arc<Pod>],
    failure: Option<&ApiError>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let none = Labels::new();
    let labels = spec
        .template
        .as_ref()
        .and_then(|t| t.metadata.as_ref()?.labels.as_ref());
    let labels = labels.unwrap_or(&none);
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let active: Vec<_> = mine.iter().filter(|pod| is_active(pod)).collect();
    let count = |counts: &dyn Fn(&Pod) -> bool| {
        let count = active.iter().filter(|pod| counts(pod)).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    };
    let some = |count: i32| (count > 0).then_some(count);
    let labelled = count(&|pod| {
        let own = pod.metadata.labels.as_ref().unwrap_or(&none);
        labels
            .iter()
            .all(|(key, value)| own.get(key) == Some(value))
            && label_selector_matches(&spec.selector, own)
    });
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: some(labelled),
        ready_replicas: some(count(&pods::is_ready)),
        available_replicas: some(count(&|pod| pods::is_available(pod, min_ready, now))),
        observed_generation: set.metadata.generation,
        conditions: conditions(set, failure, now),
        ..ReplicaSetStatus::default()
    }
}

/// `ReplicaFailure` stands while Pods cannot be made or deleted.
fn conditions(
    set: &ReplicaSet,
    failure: Option<&ApiError>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let failure = failure.filter(|failure| !failure.is_conflict())?;
    let message = failure.answer();
    let known = set
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let known = known.and_then(|all| all.iter().find(|c| c.type_ == "ReplicaFailure"));
    let since = known.and_then(|known| known.last_transition_time.clone());
    Some(vec![ReplicaSetCondition {
        type_: "ReplicaFailure".to_owned(),
        status: "True".to_owned(),
        reason: Some("FailedCreate".to_owned()),
        message: Some(message),
        last_transition_time: since.or(Some(Time(now))),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(json!({"spec": {"replicas": replicas,
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}}}}))
        .unwrap()
    }

    fn pod(name: &str, node: &str, status: Value) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": name, "labels": {"app": "x"}},
            "spec": {"nodeName": node, "containers": []}, "status": status});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn running(name: &str, ready: &str) -> Arc<Pod> {
        pod(
            name,
            "n",
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}),
        )
    }

    #[test]
    fn missing_pods_are_made_and_the_least_worth_go() {
        let ended = pod("ended", "n", json!({"phase": "Failed"}));
        let (good, fresh) = (running("good", "True"), running("fresh", "False"));
        let waiting = pod("waiting", "", json!({"phase": "Pending"}));
        let all = [good, ended, fresh.clone(), waiting.clone()];
        assert_eq!(plan(&set(5), &all), Step::Create(2));
        assert_eq!(plan(&set(3), &all), Step::Nothing);
        assert_eq!(plan(&set(1), &all), Step::Delete(vec![waiting, fresh]));
    }

    #[test]
    fn the_status_counts() {
        let all = [running("a", "True"), running("b", "False")];
        let status = status(&set(2), &all, None, Timestamp::now());
        assert_eq!((status.replicas, status.ready_replicas), (2, Some(1)));
        assert_eq!(
            (status.available_replicas, status.conditions),
            (Some(1), None)
        );
    }
}
