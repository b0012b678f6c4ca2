//! The status of a Pod: a pure function of the Pod and what the agent knows of it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::record::{Record, ended, has_succeeded};

/// The address of every node: the machine itself.
pub(super) const HOST_ADDRESS: &str = "127.0.0.1";

/// What happens to containers that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestartPolicy {
    /// They are started again.
    Always,
    /// They are started again if they failed.
    OnFailure,
    /// Nothing.
    Never,
}

impl RestartPolicy {
    /// The policy of a Pod's containers.
    pub(super) fn of(pod: &Pod) -> Self {
        match pod
            .spec
            .as_ref()
            .and_then(|spec| spec.restart_policy.as_deref())
        {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }

    /// The policy of its init containers, which end by nature.
    pub(super) fn for_init(self) -> Self {
        match self {
            Self::Never => Self::Never,
            Self::Always | Self::OnFailure => Self::OnFailure,
        }
    }

    /// Whether a container with this exit code is started again.
    pub(super) fn restarts(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// Whether a Pod has ended for good.
pub(super) fn is_finished(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The status that the Pod should have now.
pub(super) fn pod_status(pod: &Pod, record: &Record) -> PodStatus {
    let phase = phase(RestartPolicy::of(pod), record);
    let known = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    PodStatus {
        conditions: Some(conditions(&known, phase, record)),
        phase: Some(phase.to_owned()),
        start_time: Some(record.started.clone()),
        host_ip: Some(HOST_ADDRESS.to_owned()),
        host_ips: Some(vec![HostIP {
            ip: HOST_ADDRESS.to_owned(),
        }]),
        pod_ip: Some(record.address.clone()),
        pod_ips: Some(vec![PodIP {
            ip: record.address.clone(),
        }]),
        init_container_statuses: (!record.init.is_empty()).then(|| record.init.clone()),
        container_statuses: Some(record.main.clone()),
        qos_class: pod
            .status
            .as_ref()
            .and_then(|status| status.qos_class.clone()),
        ..PodStatus::default()
    }
}

/// What counts of a container for the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    NeverRan,
    Running,
    Succeeded,
    Failed,
}

fn progress(status: &ContainerStatus) -> Progress {
    let state = status.state.as_ref();
    let was_running = status
        .last_state
        .as_ref()
        .is_some_and(|last| last.terminated.is_some());
    if state.is_some_and(|state| state.running.is_some()) {
        Progress::Running
    } else if has_succeeded(status) {
        Progress::Succeeded
    } else if ended(status).is_some() || was_running {
        Progress::Failed
    } else {
        Progress::NeverRan
    }
}

/// The Pod's place in its life, from its containers (Kubernetes documentation, "Pod phase").
fn phase(policy: RestartPolicy, record: &Record) -> &'static str {
    if !record.initialized {
        let init_failed = record
            .init
            .iter()
            .any(|status| progress(status) == Progress::Failed);
        return if init_failed && policy == RestartPolicy::Never {
            "Failed"
        } else {
            "Pending"
        };
    }
    let all: Vec<Progress> = record.main.iter().map(progress).collect();
    if all.contains(&Progress::NeverRan) {
        "Pending"
    } else if all.contains(&Progress::Running) || policy == RestartPolicy::Always {
        "Running"
    } else if all.iter().all(|progress| *progress == Progress::Succeeded) {
        "Succeeded"
    } else if policy == RestartPolicy::Never {
        "Failed"
    } else {
        "Running"
    }
}

fn conditions(known: &[PodCondition], phase: &str, record: &Record) -> Vec<PodCondition> {
    let unready: Vec<&str> = record
        .main
        .iter()
        .filter(|status| !status.ready)
        .map(|status| status.name.as_str())
        .collect();
    let (ready, reason, message) = if phase == "Succeeded" {
        (false, Some("PodCompleted"), None)
    } else if unready.is_empty() {
        (true, None, None)
    } else {
        let message = format!("containers with unready status: [{}]", unready.join(" "));
        (false, Some("ContainersNotReady"), Some(message))
    };
    let initialized = if record.initialized {
        (true, None, None)
    } else {
        let waiting: Vec<&str> = record
            .init
            .iter()
            .filter(|status| !has_succeeded(status))
            .map(|status| status.name.as_str())
            .collect();
        let message = format!("containers with incomplete status: [{}]", waiting.join(" "));
        (false, Some("ContainersNotInitialized"), Some(message))
    };
    [
        ("Initialized", initialized),
        ("Ready", (ready, reason, message.clone())),
        ("ContainersReady", (ready, reason, message)),
        ("PodScheduled", (true, None, None)),
    ]
    .into_iter()
    .map(|(kind, (holds, reason, message))| condition(known, kind, holds, reason, message))
    .collect()
}

/// The condition; the time of its last change stays while it does not change.
fn condition(
    known: &[PodCondition],
    kind: &str,
    holds: bool,
    reason: Option<&str>,
    message: Option<String>,
) -> PodCondition {
    let status = if holds { "True" } else { "False" };
    let since = known
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == status)
        .and_then(|condition| condition.last_transition_time.clone())
        .unwrap_or_else(|| Time(Timestamp::now()));
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message,
        last_transition_time: Some(since),
        ..PodCondition::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, PodSpec};

    use super::*;
    use crate::node::record;

    fn pod(policy: &str, init: &[&str], main: &[&str]) -> Pod {
        let containers = |names: &[&str]| -> Vec<Container> {
            names
                .iter()
                .map(|name| Container {
                    name: (*name).to_owned(),
                    ..Container::default()
                })
                .collect()
        };
        Pod {
            spec: Some(PodSpec {
                restart_policy: Some(policy.to_owned()),
                init_containers: Some(containers(init)),
                containers: containers(main),
                ..PodSpec::default()
            }),
            ..Pod::default()
        }
    }

    fn taken_up(pod: &Pod) -> Record {
        Record::take_up(pod, "127.64.0.1".to_owned())
    }

    fn exit(status: &mut ContainerStatus, exit_code: i32) {
        record::run(status, "id".to_owned(), status.restart_count);
        record::end(
            status,
            ContainerStateTerminated {
                exit_code,
                ..Default::default()
            },
        );
    }

    fn phase_of(pod: &Pod, record: &Record) -> String {
        pod_status(pod, record).phase.unwrap()
    }

    #[test]
    fn a_new_pod_is_pending_and_waits_for_its_containers() {
        let pod = pod("Always", &[], &["a"]);
        let status = pod_status(&pod, &taken_up(&pod));
        assert_eq!(status.phase.as_deref(), Some("Pending"));
        let containers = status.container_statuses.unwrap();
        let waiting = containers[0]
            .state
            .as_ref()
            .unwrap()
            .waiting
            .as_ref()
            .unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("ContainerCreating"));
        let ready = status
            .conditions
            .unwrap()
            .into_iter()
            .find(|c| c.type_ == "Ready")
            .unwrap();
        assert_eq!(
            ready.message.as_deref(),
            Some("containers with unready status: [a]")
        );
    }

    #[test]
    fn the_end_depends_on_the_restart_policy() {
        for (policy, exit_code, expected) in [
            ("Always", 0, "Running"),
            ("OnFailure", 0, "Succeeded"),
            ("OnFailure", 1, "Running"),
            ("Never", 0, "Succeeded"),
            ("Never", 1, "Failed"),
        ] {
            let pod = pod(policy, &[], &["a"]);
            let mut record = taken_up(&pod);
            exit(&mut record.main[0], exit_code);
            assert_eq!(phase_of(&pod, &record), expected, "{policy} {exit_code}");
        }
    }

    #[test]
    fn a_crash_loop_keeps_the_last_state_and_the_phase() {
        let pod = pod("OnFailure", &[], &["a"]);
        let mut record = taken_up(&pod);
        exit(&mut record.main[0], 1);
        record::wait(&mut record.main[0], record::CRASH_LOOP, "back-off");
        assert_eq!(phase_of(&pod, &record), "Running");
        let last = record.main[0]
            .last_state
            .as_ref()
            .unwrap()
            .terminated
            .as_ref()
            .unwrap();
        assert_eq!(last.exit_code, 1);
    }

    #[test]
    fn a_pod_is_pending_until_it_is_initialized() {
        let pod = pod("Never", &["i"], &["a"]);
        let mut record = taken_up(&pod);
        assert_eq!(phase_of(&pod, &record), "Pending");
        exit(&mut record.init[0], 1);
        assert_eq!(phase_of(&pod, &record), "Failed");
    }

    #[test]
    fn what_ran_under_an_earlier_agent_is_lost() {
        let mut pod = pod("OnFailure", &[], &["a"]);
        let mut record = taken_up(&pod);
        record::run(&mut record.main[0], "id".to_owned(), 2);
        pod.status = Some(pod_status(&pod, &record));
        let again = taken_up(&pod);
        let terminated = ended(&again.main[0]).unwrap();
        assert_eq!(terminated.exit_code, record::LOST);
        assert_eq!(again.main[0].restart_count, 2);
        assert_eq!(again.started, record.started);
    }

    #[test]
    fn conditions_remember_when_they_changed() {
        let mut pod = pod("Always", &[], &["a"]);
        let record = taken_up(&pod);
        pod.status = Some(pod_status(&pod, &record));
        assert_eq!(
            pod_status(&pod, &record).conditions,
            pod.status.unwrap().conditions
        );
    }
}
