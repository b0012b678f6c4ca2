//! Pods.

use serde_json::{Value, json};

use super::NO_HOOKS;
use super::access::{is_true, list, text};
use super::column::{AGE, Col};
use crate::kind::Hooks;
use crate::table::age;

mod defaults;
mod paths;
mod rules;

pub(crate) use defaults::qos_class;
pub(super) use defaults::spec as default_spec;
pub(super) use rules::new as validate_new;

pub(super) const COLUMNS: &[Col] = &[
    Col::new("Ready", "Containers that are ready, of all.", |pod| {
        Summary::of(pod).ready.into()
    }),
    Col::new("Status", "The state of the Pod, in one word.", |pod| {
        Summary::of(pod).reason.into()
    }),
    Col::new(
        "Restarts",
        "How often containers were started again.",
        |pod| Summary::of(pod).restarts.into(),
    ),
    AGE,
    Col::new("IP", "Address of the Pod.", |pod| {
        or_none(text(pod, "/status/podIP"))
    })
    .wide(),
    Col::new("Node", "Where the Pod runs.", |pod| {
        or_none(text(pod, "/spec/nodeName"))
    })
    .wide(),
    Col::new("Nominated Node", "Where the Pod will run.", |pod| {
        or_none(text(pod, "/status/nominatedNodeName"))
    })
    .wide(),
    Col::new("Readiness Gates", "Gates that are open, of all.", |pod| {
        gates(pod).into()
    })
    .wide(),
];

pub(super) const HOOKS: Hooks = Hooks {
    default: Some(defaults::default),
    validate: Some(rules::validate),
    fields: Some(|pod| {
        vec![
            ("spec.nodeName", text(pod, "/spec/nodeName").to_owned()),
            (
                "spec.restartPolicy",
                text(pod, "/spec/restartPolicy").to_owned(),
            ),
            (
                "spec.schedulerName",
                text(pod, "/spec/schedulerName").to_owned(),
            ),
            (
                "spec.serviceAccountName",
                text(pod, "/spec/serviceAccountName").to_owned(),
            ),
            (
                "spec.hostNetwork",
                is_true(pod, "/spec/hostNetwork").to_string(),
            ),
            ("status.phase", text(pod, "/status/phase").to_owned()),
            ("status.podIP", text(pod, "/status/podIP").to_owned()),
            (
                "status.nominatedNodeName",
                text(pod, "/status/nominatedNodeName").to_owned(),
            ),
        ]
    }),
    no_generation: true,
    ..NO_HOOKS
};

fn or_none(text: &str) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

fn gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = |gate: &&Value| {
        list(pod, "/status/conditions")
            .iter()
            .any(|c| c["type"] == gate["conditionType"] && c["status"] == "True")
    };
    format!("{}/{}", gates.iter().filter(open).count(), gates.len())
}

/// What `kubectl get pods` says about a Pod.
struct Summary {
    ready: String,
    reason: String,
    restarts: String,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let mut reason = text(pod, "/status/phase").to_owned();
        let own = text(pod, "/status/reason");
        if !own.is_empty() {
            own.clone_into(&mut reason);
        }
        let gated = |c: &Value| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated";
        if list(pod, "/status/conditions").iter().any(gated) {
            "SchedulingGated".clone_into(&mut reason);
        }
        let statuses = list(pod, "/status/containerStatuses");
        let ready = statuses
            .iter()
            .filter(|s| is_true(s, "/ready") && s.pointer("/state/running").is_some());
        let ready = ready.count();
        let initializing = initialization(pod);
        let counted = if initializing.is_some() {
            list(pod, "/status/initContainerStatuses")
        } else {
            statuses
        };
        match initializing {
            Some(initializing) => reason = initializing,
            None => reason = containers(pod, statuses, reason),
        }
        if pod.pointer("/metadata/deletionTimestamp").is_some()
            && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
        {
            let lost = text(pod, "/status/reason") == "NodeLost";
            reason = if lost { "Unknown" } else { "Terminating" }.to_owned();
        }
        let total = list(pod, "/spec/containers").len();
        Self {
            ready: format!("{ready}/{total}"),
            reason,
            restarts: restarts(counted),
        }
    }
}

/// The reason while init containers run; none once they are through.
fn initialization(pod: &Value) -> Option<String> {
    let total = list(pod, "/spec/initContainers").len();
    for (index, status) in list(pod, "/status/initContainerStatuses")
        .iter()
        .enumerate()
    {
        if let Some(terminated) = status.pointer("/state/terminated") {
            if terminated["exitCode"] == 0 {
                continue;
            }
            return Some(format!("Init:{}", ended(terminated)));
        }
        return Some(match text(status, "/state/waiting/reason") {
            "" | "PodInitializing" => format!("Init:{index}/{total}"),
            waiting => format!("Init:{waiting}"),
        });
    }
    None
}

/// The reason of the first container that has one.
fn containers(pod: &Value, statuses: &[Value], phase: String) -> String {
    let mut reason = phase;
    let mut running = false;
    for status in statuses.iter().rev() {
        let waiting = text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut reason);
        } else if let Some(terminated) = status.pointer("/state/terminated") {
            reason = ended(terminated);
        } else if is_true(status, "/ready") && status.pointer("/state/running").is_some() {
            running = true;
        }
    }
    if reason == "Completed" && running {
        let ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
        let ready = list(pod, "/status/conditions").iter().any(ready);
        reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
    reason
}

fn ended(terminated: &Value) -> String {
    let reason = text(terminated, "/reason");
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match terminated.get("signal").and_then(Value::as_i64) {
        Some(signal) if signal != 0 => format!("Signal:{signal}"),
        _ => format!(
            "ExitCode:{}",
            terminated.get("exitCode").unwrap_or(&json!(0))
        ),
    }
}

fn restarts(statuses: &[Value]) -> String {
    let total: i64 = statuses
        .iter()
        .filter_map(|s| s["restartCount"].as_i64())
        .sum();
    let last = statuses
        .iter()
        .map(|s| text(s, "/lastState/terminated/finishedAt"))
        .max();
    match last.filter(|last| !last.is_empty() && total > 0) {
        Some(last) => format!("{total} ({} ago)", age::since(last)),
        None => total.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(pod: &Value) -> [String; 3] {
        let Summary {
            ready,
            reason,
            restarts,
        } = Summary::of(pod);
        [ready, reason, restarts]
    }

    #[test]
    fn one_line_for_each_state() {
        let spec = json!({"containers": [{"name": "a"}]});
        let cases = [
            (
                json!({"spec": spec, "status": {"phase": "Pending"}}),
                ["0/1", "Pending", "0"],
            ),
            (
                json!({"spec": spec, "status": {"phase": "Running", "containerStatuses": [
                    {"ready": true, "restartCount": 0, "state": {"running": {}}}]}}),
                ["1/1", "Running", "0"],
            ),
            (
                json!({"spec": spec, "status": {"phase": "Pending", "containerStatuses": [
                    {"ready": false, "restartCount": 2,
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
                ["0/1", "CrashLoopBackOff", "2"],
            ),
            (
                json!({"spec": spec, "status": {"phase": "Succeeded", "containerStatuses": [
                    {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}}),
                ["0/1", "Completed", "0"],
            ),
            (
                json!({"spec": spec, "status": {"phase": "Failed", "containerStatuses": [
                    {"state": {"terminated": {"exitCode": 3}}}]}}),
                ["0/1", "ExitCode:3", "0"],
            ),
            (
                json!({"spec": {"containers": [{}], "initContainers": [{}, {}]},
                    "status": {"phase": "Pending", "initContainerStatuses": [
                        {"state": {"terminated": {"exitCode": 0}}},
                        {"state": {"running": {}}}]}}),
                ["0/1", "Init:1/2", "0"],
            ),
            (
                json!({"metadata": {"deletionTimestamp": "x"}, "spec": spec,
                    "status": {"phase": "Running"}}),
                ["0/1", "Terminating", "0"],
            ),
        ];
        for (pod, expected) in cases {
            assert_eq!(summary(&pod), expected, "{pod}");
        }
    }
}
