//! What a Deployment says about its rollout.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Sets, plan};
use crate::objects::claims;

/// Reason of a rollout that has come to its end.
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// The status that follows from the ReplicaSets.
pub(super) fn of(deployment: &Deployment, sets: &Sets, now: Timestamp) -> DeploymentStatus {
    let before = deployment.status.clone().unwrap_or_default();
    let all = sets.all();
    let some = |count: i32| (count > 0).then_some(count);
    let sum = |count: fn(&ReplicaSetStatus) -> i32| {
        all.iter()
            .filter_map(|set| Some(count(set.status.as_ref()?)))
            .sum::<i32>()
    };
    let available = sum(|status| status.available_replicas.unwrap_or(0));
    let total: i32 = all.iter().map(|set| plan::size(set)).sum();
    let updated = sets
        .new
        .as_ref()
        .and_then(|new| Some(new.status.as_ref()?.replicas));
    let mut status = DeploymentStatus {
        available_replicas: some(available),
        collision_count: before.collision_count,
        conditions: None,
        observed_generation: deployment.metadata.generation,
        ready_replicas: some(sum(|status| status.ready_replicas.unwrap_or(0))),
        replicas: some(sum(|status| status.replicas)),
        unavailable_replicas: some(total - available),
        updated_replicas: updated.and_then(some),
        ..DeploymentStatus::default()
    };
    let known = before.conditions.as_deref().unwrap_or_default();
    let mut conditions = vec![availability(deployment, available)];
    conditions.extend(progress(deployment, sets, &before, &status, now));
    conditions.extend(failure(&all));
    for condition in &mut conditions {
        settle(condition, known, now);
    }
    status.conditions = Some(conditions);
    status
}

fn condition(type_: &str, status: &str, reason: &str, message: String) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..DeploymentCondition::default()
    }
}

/// Takes the times from the condition of before, as far as it is the same.
fn settle(condition: &mut DeploymentCondition, known: &[DeploymentCondition], now: Timestamp) {
    let before = known.iter().find(|known| known.type_ == condition.type_);
    let same_status = before.filter(|before| before.status == condition.status);
    let transition = same_status.and_then(|before| before.last_transition_time.clone());
    condition.last_transition_time = transition.or(Some(Time(now)));
    if condition.last_update_time.is_none() {
        let same = same_status.filter(|before| {
            before.reason == condition.reason && before.message == condition.message
        });
        let update = same.and_then(|before| before.last_update_time.clone());
        condition.last_update_time = update.or(Some(Time(now)));
    }
}

fn availability(deployment: &Deployment, available: i32) -> DeploymentCondition {
    let spec = deployment.spec.clone().unwrap_or_default();
    if available >= plan::wanted(&spec) - plan::bounds(&spec).unavailable {
        let message = "Deployment has minimum availability.".to_owned();
        return condition("Available", "True", "MinimumReplicasAvailable", message);
    }
    let message = "Deployment does not have minimum availability.".to_owned();
    condition("Available", "False", "MinimumReplicasUnavailable", message)
}

/// How the rollout goes. A step ahead starts the time anew in which the next one has to come.
fn progress(
    deployment: &Deployment,
    sets: &Sets,
    before: &DeploymentStatus,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<DeploymentCondition> {
    let spec = deployment.spec.as_ref()?;
    spec.progress_deadline_seconds?;
    let known = before
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Progressing");
    if spec.paused == Some(true) {
        let message = "Deployment is paused".to_owned();
        return Some(condition(
            "Progressing",
            "Unknown",
            "DeploymentPaused",
            message,
        ));
    }
    let name = sets.new.as_ref().map(|new| claims::name(&**new).to_owned());
    let about = match &name {
        Some(name) => format!("ReplicaSet {name:?}"),
        None => format!("Deployment {:?}", claims::name(deployment)),
    };
    if is_complete(plan::wanted(spec), status) {
        let message = format!("{about} has successfully progressed.");
        return Some(condition("Progressing", "True", COMPLETE, message));
    }
    let updated = |status: &DeploymentStatus| status.updated_replicas.unwrap_or(0);
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - updated(status);
    let ahead = updated(status) > updated(before)
        || old(status) < old(before)
        || status.ready_replicas > before.ready_replicas
        || status.available_replicas > before.available_replicas;
    let new_template = before.observed_generation != deployment.metadata.generation;
    let Some(known) = known.filter(|known| {
        !new_template
            || !matches!(
                known.reason.as_deref(),
                Some("DeploymentPaused" | TIMED_OUT)
            )
    }) else {
        let message = format!("Created new replica set {:?}", name.unwrap_or_default());
        return Some(condition(
            "Progressing",
            "True",
            "NewReplicaSetCreated",
            message,
        ));
    };
    if ahead || new_template || known.reason.as_deref() == Some(COMPLETE) {
        let message = format!("{about} is progressing.");
        let mut condition = condition("Progressing", "True", "ReplicaSetUpdated", message);
        condition.last_update_time = Some(Time(now));
        return Some(condition);
    }
    if remaining(deployment, known, now).is_some_and(|left| left.is_zero()) {
        let message = format!("{about} has timed out progressing.");
        return Some(condition("Progressing", "False", TIMED_OUT, message));
    }
    Some(known.clone())
}

fn is_complete(wanted: i32, status: &DeploymentStatus) -> bool {
    let all = [
        status.updated_replicas,
        status.replicas,
        status.available_replicas,
    ];
    all.iter().all(|count| count.unwrap_or(0) == wanted)
}

/// What keeps a ReplicaSet from having its Pods does so for the Deployment.
fn failure(sets: &[std::sync::Arc<ReplicaSet>]) -> Option<DeploymentCondition> {
    let conditions = sets
        .iter()
        .rev()
        .filter_map(|set| set.status.as_ref()?.conditions.as_ref());
    let mut failures = conditions.flatten().filter(|c| c.type_ == "ReplicaFailure");
    let failure = failures.next()?;
    let reason = failure.reason.as_deref().unwrap_or_default();
    let message = failure.message.clone().unwrap_or_default();
    Some(condition(
        "ReplicaFailure",
        &failure.status,
        reason,
        message,
    ))
}

fn remaining(
    deployment: &Deployment,
    condition: &DeploymentCondition,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = deployment.spec.as_ref()?.progress_deadline_seconds?;
    let start = condition.last_update_time.as_ref()?.0;
    let end = start + SignedDuration::from_secs(deadline.into());
    Some(Duration::try_from(end.duration_since(now)).unwrap_or_default())
}

/// How long until a rollout that makes no step ahead counts as stuck.
pub(super) fn until_deadline(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let conditions = status.conditions.as_ref()?.iter();
    let mut pending = conditions.filter(|condition| {
        condition.type_ == "Progressing"
            && condition.status == "True"
            && condition.reason.as_deref() != Some(COMPLETE)
    });
    // Times of conditions are whole seconds.
    Some(remaining(deployment, pending.next()?, now)? + Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn deployment(status: &DeploymentStatus) -> Deployment {
        let mut deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": "d", "generation": 1},
            "spec": {"replicas": 2, "progressDeadlineSeconds": 60, "selector": {}, "template": {}}}))
        .unwrap();
        deployment.status = Some(status.clone());
        deployment
    }

    fn sets(replicas: i32, available: i32) -> Sets {
        let new = json!({"metadata": {"name": "d-1"}, "spec": {"replicas": 2, "selector": {}},
            "status": {"replicas": replicas, "availableReplicas": available}});
        Sets {
            new: Some(Arc::new(serde_json::from_value(new).unwrap())),
            old: Vec::new(),
        }
    }

    fn said(status: &DeploymentStatus) -> Vec<String> {
        let conditions = status.conditions.iter().flatten();
        conditions
            .map(|c| format!("{}={}", c.type_, c.reason.clone().unwrap()))
            .collect()
    }

    #[test]
    fn a_rollout_is_told_from_its_start_to_its_end() {
        let now = Timestamp::UNIX_EPOCH;
        let start = of(&deployment(&DeploymentStatus::default()), &sets(0, 0), now);
        let unavailable = "Available=MinimumReplicasUnavailable";
        assert_eq!(
            said(&start),
            [unavailable, "Progressing=NewReplicaSetCreated"]
        );
        let half = of(&deployment(&start), &sets(2, 1), now);
        assert_eq!(said(&half), [unavailable, "Progressing=ReplicaSetUpdated"]);
        assert_eq!(
            (half.updated_replicas, half.unavailable_replicas),
            (Some(2), Some(1))
        );
        let end = of(&deployment(&half), &sets(2, 2), now);
        let available = "Available=MinimumReplicasAvailable";
        assert_eq!(
            said(&end),
            [available, "Progressing=NewReplicaSetAvailable"]
        );
        assert_eq!(until_deadline(&deployment(&end), &end, now), None);
    }

    #[test]
    fn a_rollout_that_stands_still_times_out() {
        let now = Timestamp::UNIX_EPOCH;
        let start = of(&deployment(&DeploymentStatus::default()), &sets(2, 0), now);
        let wait = until_deadline(&deployment(&start), &start, now).unwrap();
        assert_eq!(wait, Duration::from_secs(61));
        let later = now + SignedDuration::from_secs(61);
        let stuck = of(&deployment(&start), &sets(2, 0), later);
        assert!(said(&stuck)[1].ends_with(TIMED_OUT), "{:?}", said(&stuck));
        let still = of(&deployment(&stuck), &sets(2, 0), later);
        assert_eq!(said(&still), said(&stuck));
    }
}
