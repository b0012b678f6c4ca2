//! Work on one claim: when a worker Pod is needed, and what it says about its work.

use api::{annotations, names, storage};
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use kube::{ResourceExt, api::ObjectMeta};

use super::{
    Annotations, Notice, annotation, missing,
    pod_state::{PodState, pod_state},
};

/// What the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// A claim with import annotations.
    pub claim: &'a PersistentVolumeClaim,
    /// Its StorageClass, if it has one.
    pub class: Option<&'a StorageClass>,
    /// Its worker Pod, if there is one.
    pub pod: Option<&'a Pod>,
    /// Another Pod that has the claim mounted, or the worker's name, as `namespace/name`.
    pub other_user: Option<&'a str>,
    /// Part of the transfer that is done, such as `45.40%`, if it could be read.
    pub progress: Option<&'a str>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What to do with the worker Pod.
    pub pod: PodAction,
    /// What to write to the claim.
    pub annotations: Annotations,
    /// What to tell those who look at the claim.
    pub notices: Vec<Notice>,
    /// Whether to look again without being called: the transfer goes on, and has progress to read,
    /// or the claim is in somebody's use.
    pub look_again: bool,
}

/// What to do with the worker Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PodAction {
    /// It is as it should be.
    #[default]
    Keep,
    /// It is needed and not there.
    Create,
    /// It is there and not needed.
    Delete,
}

/// Whether the claim says that it is to be filled by a worker.
pub fn is_import(claim: &PersistentVolumeClaim) -> bool {
    annotation(&claim.metadata, annotations::SOURCE).is_some()
        || annotation(&claim.metadata, annotations::ENDPOINT).is_some()
}

/// Decides.
pub fn plan(observed: Observed<'_>) -> Plan {
    let Observed { claim, pod, .. } = observed;
    let metadata = &claim.metadata;
    let done = annotation(metadata, annotations::POD_PHASE) == Some("Succeeded")
        || annotation(metadata, annotations::POPULATED_FOR).is_some();
    let retained = annotation(metadata, annotations::RETAIN_POD) == Some("true");
    if metadata.deletion_timestamp.is_some() {
        // A Pod that uses the claim would hold it back for ever.
        let action = if pod.is_some() {
            PodAction::Delete
        } else {
            PodAction::Keep
        };
        return Plan {
            pod: action,
            ..Plan::default()
        };
    }
    match pod {
        Some(_) if done && retained => Plan::default(),
        Some(pod) if done => {
            let leaving = pod.metadata.deletion_timestamp.is_some();
            let action = if leaving {
                PodAction::Keep
            } else {
                PodAction::Delete
            };
            Plan {
                pod: action,
                ..Plan::default()
            }
        }
        Some(pod) if pod.metadata.deletion_timestamp.is_some() => Plan::default(),
        Some(pod) => follow(observed, pod),
        None if done => Plan::default(),
        None => start(observed),
    }
}

fn start(observed: Observed<'_>) -> Plan {
    let Observed {
        claim,
        class,
        other_user,
        ..
    } = observed;
    let metadata = &claim.metadata;
    let bound = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Bound");
    let immediate = annotation(metadata, annotations::IMMEDIATE_BIND).is_some();
    let waits = class.is_some_and(storage::waits_for_consumer) && !immediate;
    if !bound && (waits || !immediate) {
        return Plan::default();
    }
    if let Some(user) = other_user {
        let message = format!(
            "pod {user} using PersistentVolumeClaim {}",
            claim.name_any()
        );
        return in_use(metadata, message);
    }
    let pod = names::importer_pod(&claim.name_any());
    let wanted = [(annotations::IMPORT_POD.to_owned(), Some(pod))];
    Plan {
        pod: PodAction::Create,
        annotations: missing(metadata, wanted.into()),
        ..Plan::default()
    }
}

/// Waits until the claim is free, and tells why, once.
fn in_use(metadata: &ObjectMeta, message: String) -> Plan {
    let reason = "ImportTargetInUse";
    let wanted = [
        (annotations::RUNNING, "false"),
        (annotations::RUNNING_REASON, reason),
        (annotations::RUNNING_MESSAGE, &message),
    ];
    let wanted = wanted.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
    let annotations = missing(metadata, wanted.into());
    let told = annotations.is_empty();
    Plan {
        annotations,
        notices: if told {
            Vec::new()
        } else {
            vec![Notice::warning(reason, message)]
        },
        look_again: true,
        ..Plan::default()
    }
}

fn follow(observed: Observed<'_>, pod: &Pod) -> Plan {
    let metadata = &observed.claim.metadata;
    let state = pod_state(pod);
    let changed = missing(metadata, state_annotations(&state, observed));
    let mut notices = Vec::new();
    if state.phase == "Succeeded" && changed.contains_key(annotations::POD_PHASE) {
        notices.push(Notice::normal("ImportSucceeded", "Import Successful"));
    }
    if state.reason == "Error" && changed.contains_key(annotations::RUNNING_MESSAGE) {
        notices.push(Notice::warning("ErrImportFailed", state.message.clone()));
    }
    // A Pod that has failed as a whole, such as an evicted one, is never started again by itself.
    let failed = state.phase == "Failed";
    Plan {
        pod: if failed {
            PodAction::Delete
        } else {
            PodAction::Keep
        },
        annotations: changed,
        notices,
        look_again: state.running,
    }
}

fn state_annotations(state: &PodState, observed: Observed<'_>) -> Annotations {
    let before = annotation(&observed.claim.metadata, annotations::POD_RESTARTS);
    let before: i32 = before
        .and_then(|count| count.parse().ok())
        .unwrap_or_default();
    // A Pod that is made anew counts from zero; the user's count only rises.
    let restarts = before.max(state.restarts);
    let mut all = vec![
        (annotations::POD_PHASE, Some(state.phase.clone())),
        (annotations::POD_RESTARTS, Some(restarts.to_string())),
        (annotations::RUNNING, Some(state.running.to_string())),
        (annotations::RUNNING_MESSAGE, Some(state.message.clone())),
        (annotations::RUNNING_REASON, Some(state.reason.clone())),
        (
            annotations::POD_SCHEDULABLE,
            (!state.schedulable).then(|| "false".to_owned()),
        ),
    ];
    if state.preallocated {
        all.push((annotations::PREALLOCATION, Some("true".to_owned())));
    }
    if let Some(progress) = observed.progress {
        all.push((annotations::PROGRESS, Some(progress.to_owned())));
    }
    all.into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(phase: &str, annotations: Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": { "name": "prime-1", "annotations": annotations },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    fn pod(phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "importer-prime-1" },
            "status": { "phase": phase, "containerStatuses": [{
                "name": "importer", "image": "longshore", "imageID": "", "ready": true,
                "restartCount": 0, "state": { "running": {} },
            }] },
        }))
        .unwrap()
    }

    fn decide(claim: &PersistentVolumeClaim, pod: Option<&Pod>) -> Plan {
        let class: StorageClass = serde_json::from_value(json!({
            "provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer",
        }))
        .unwrap();
        plan(Observed {
            claim,
            class: Some(&class),
            pod,
            other_user: None,
            progress: None,
        })
    }

    #[test]
    fn a_prime_claim_gets_its_worker_before_it_is_bound() {
        let waiting = claim("Pending", json!({ annotations::SOURCE: "http" }));
        assert_eq!(decide(&waiting, None).pod, PodAction::Keep);
        let prime = claim("Pending", json!({ annotations::IMMEDIATE_BIND: "" }));
        assert_eq!(decide(&prime, None).pod, PodAction::Create);
    }

    #[test]
    fn what_the_worker_says_is_written_once() {
        let before = claim("Bound", json!({ annotations::SOURCE: "http" }));
        let first = decide(&before, Some(&pod("Running")));
        assert_eq!(
            first.annotations[annotations::RUNNING].as_deref(),
            Some("true")
        );
        assert!(first.look_again);
        let written: serde_json::Map<String, Value> = first
            .annotations
            .into_iter()
            .map(|(key, value)| (key, json!(value)))
            .collect();
        let after = claim("Bound", Value::Object(written));
        assert!(decide(&after, Some(&pod("Running"))).annotations.is_empty());
    }

    #[test]
    fn a_finished_worker_is_removed_and_not_made_again() {
        let done = claim("Bound", json!({ annotations::POD_PHASE: "Succeeded" }));
        assert_eq!(
            decide(&done, Some(&pod("Succeeded"))).pod,
            PodAction::Delete
        );
        assert_eq!(decide(&done, None).pod, PodAction::Keep);
    }

    #[test]
    fn a_worker_that_failed_for_good_is_replaced() {
        let before = claim("Bound", json!({ annotations::SOURCE: "http" }));
        let mut evicted = pod("Failed");
        let status = evicted.status.as_mut().unwrap();
        status.container_statuses = None;
        status.message = Some("The node was low on resource: memory".to_owned());
        let plan = decide(&before, Some(&evicted));
        assert_eq!(plan.pod, PodAction::Delete);
        assert_eq!(
            plan.notices[0].message,
            "The node was low on resource: memory"
        );
        let after = claim("Bound", json!({ annotations::POD_PHASE: "Failed" }));
        assert_eq!(decide(&after, None).pod, PodAction::Create);
    }

    #[test]
    fn a_claim_in_use_is_left_alone_and_that_is_told_once() {
        let free = claim("Bound", json!({ annotations::SOURCE: "http" }));
        let observe = |claim| Observed {
            other_user: Some("vms/editor"),
            ..Observed {
                claim,
                class: None,
                pod: None,
                other_user: None,
                progress: None,
            }
        };
        let first = plan(observe(&free));
        assert_eq!((first.pod, first.notices.len()), (PodAction::Keep, 1));
        let written = first
            .annotations
            .into_iter()
            .map(|(key, value)| (key, json!(value)));
        let told = claim("Bound", Value::Object(written.collect()));
        assert_eq!(plan(observe(&told)).notices, []);
    }

    #[test]
    fn a_claim_that_goes_takes_its_worker_along() {
        let mut going = claim("Bound", json!({}));
        going.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(decide(&going, Some(&pod("Running"))).pod, PodAction::Delete);
        assert_eq!(decide(&going, None).pod, PodAction::Keep);
    }
}
