//! What a worker Pod says about its work.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, Pod};
use serde::Deserialize;

/// The state of a worker Pod, as it is written to the claim that it works on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodState {
    /// The Pod's phase: `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Whether the work goes on.
    pub running: bool,
    /// One word for why it does not, or `Pod is running`.
    pub reason: String,
    /// One sentence for people; empty while all is well.
    pub message: String,
    /// How often the worker was started again.
    pub restarts: i32,
    /// False where no node can take the Pod.
    pub schedulable: bool,
    /// Whether the worker allocated the whole volume.
    pub preallocated: bool,
}

/// What a worker writes to its termination log when it ends well.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TerminationMessage {
    message: Option<String>,
    preallocation_applied: bool,
}

/// Texts that all mean that the disk is larger than the volume.
const TOO_SMALL: [&str; 4] = [
    "is larger than the reported available",
    "no space left on device",
    "file largest block is bigger than maxblock",
    "disk quota exceeded",
];

/// Reads the state of a worker Pod.
pub fn pod_state(pod: &Pod) -> PodState {
    let status = pod.status.as_ref();
    let mut state = PodState {
        phase: status
            .and_then(|s| s.phase.clone())
            .unwrap_or_else(|| "Pending".to_owned()),
        schedulable: true,
        ..PodState::default()
    };
    let conditions = status
        .and_then(|s| s.conditions.as_deref())
        .unwrap_or_default();
    let unschedulable = conditions.iter().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unschedulable {
        state.schedulable = false;
        state.reason = "Unschedulable".to_owned();
        state.message = condition.message.clone().unwrap_or_default();
    }
    let container = status
        .and_then(|s| s.container_statuses.as_ref())
        .and_then(|all| all.first());
    let Some(container) = container else {
        if state.phase == "Failed" {
            state.reason = "Error".to_owned();
            state.message = status.and_then(|s| s.message.clone()).unwrap_or_default();
        }
        return state;
    };
    state.restarts = container.restart_count;
    match &container.state {
        Some(ContainerState {
            running: Some(_), ..
        }) => {
            state.running = true;
            state.reason = "Pod is running".to_owned();
        }
        Some(ContainerState {
            terminated: Some(end),
            ..
        }) => ended(&mut state, end),
        Some(ContainerState {
            waiting: Some(waiting),
            ..
        }) => {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            let last = container
                .last_state
                .as_ref()
                .and_then(|last| last.terminated.as_ref());
            match (reason, last) {
                // Between two tries, what ended the last one is what people need to know.
                ("CrashLoopBackOff", Some(end)) => ended(&mut state, end),
                ("ImagePullBackOff" | "ErrImagePull" | "InvalidImageName", _) => {
                    state.reason = "ImagePullFailed".to_owned();
                    state.message = format!("failed to pull image: {}", container.image);
                }
                _ => {
                    state.reason = reason.to_owned();
                    state.message = waiting.message.clone().unwrap_or_default();
                }
            }
        }
        _ => {}
    }
    state
}

fn ended(state: &mut PodState, end: &ContainerStateTerminated) {
    let text = end.message.as_deref().unwrap_or_default();
    if end.exit_code == 0 {
        let said: TerminationMessage = serde_json::from_str(text).unwrap_or_default();
        state.reason = end.reason.clone().unwrap_or_else(|| "Completed".to_owned());
        state.message = said.message.unwrap_or_default();
        state.preallocated = said.preallocation_applied;
        return;
    }
    state.reason = "Error".to_owned();
    state.message = if text.is_empty() {
        killed(end)
    } else {
        simplified(text)
    };
}

/// A worker that could not say why it ended.
fn killed(end: &ContainerStateTerminated) -> String {
    match (end.reason.as_deref(), end.exit_code) {
        (Some("OOMKilled"), _) => {
            "the worker was killed because it ran out of memory; it is started again".to_owned()
        }
        (_, code) => {
            format!("the worker ended with exit code {code} without a message; it is started again")
        }
    }
}

fn simplified(text: &str) -> String {
    let lower = text.to_lowercase();
    if TOO_SMALL.iter().any(|part| lower.contains(part)) {
        // Clients look for the sentence; people need the sizes.
        let detail = text.trim().trim_start_matches("Unable to process data: ");
        return format!("DataVolume too small to contain image: {detail}");
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn state(phase: &str, container: Value) -> PodState {
        let mut container = container;
        container["name"] = "importer".into();
        container["image"] = "longshore".into();
        container["imageID"] = "".into();
        container["ready"] = false.into();
        container["restartCount"] = 2.into();
        let pod = json!({ "status": { "phase": phase, "containerStatuses": [container] } });
        pod_state(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_running_worker_runs() {
        let state = state("Running", json!({ "state": { "running": {} } }));
        assert!(state.running);
        assert_eq!(
            (state.reason.as_str(), state.restarts),
            ("Pod is running", 2)
        );
    }

    #[test]
    fn the_last_words_stand_while_it_waits_for_the_next_try() {
        let state = state(
            "Running",
            json!({
                "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
                "lastState": { "terminated": { "exitCode": 1, "message": "Unable to connect" } },
            }),
        );
        assert!(!state.running);
        assert_eq!(
            (state.reason.as_str(), state.message.as_str()),
            ("Error", "Unable to connect")
        );
    }

    #[test]
    fn every_way_of_being_too_small_is_said_alike() {
        for text in [
            "write: No space left on device",
            "5 is larger than the reported available 4",
        ] {
            let end = json!({ "terminated": { "exitCode": 1, "message": text } });
            let state = state("Running", json!({ "state": end }));
            assert!(
                state
                    .message
                    .starts_with("DataVolume too small to contain image: ")
                    && state.message.ends_with(text),
                "{}",
                state.message
            );
        }
    }

    #[test]
    fn success_is_read_from_json() {
        let message = r#"{"preallocationApplied":true,"message":"Import Complete"}"#;
        let end = json!({
            "terminated": { "exitCode": 0, "reason": "Completed", "message": message },
        });
        let state = state("Succeeded", json!({ "state": end }));
        assert_eq!(
            (state.reason.as_str(), state.message.as_str()),
            ("Completed", "Import Complete")
        );
        assert!(state.preallocated);
    }

    #[test]
    fn a_killed_worker_is_explained() {
        let end = json!({ "terminated": { "exitCode": 137 } });
        let state = state("Running", json!({ "state": end }));
        assert!(state.message.contains("exit code 137"), "{}", state.message);
    }
}
