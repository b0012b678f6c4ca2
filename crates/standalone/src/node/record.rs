//! What the agent knows of a Pod it runs: the states of its containers, in the words of the API.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, Pod, PodSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The exit code of a container that was lost with the agent: 128 and SIGKILL.
pub(super) const LOST: i32 = 137;

/// Waiting for volumes.
pub(super) const CONTAINER_CREATING: &str = "ContainerCreating";
/// Waiting for the init containers.
pub(super) const POD_INITIALIZING: &str = "PodInitializing";
/// Waiting out a pause before the next start.
pub(super) const CRASH_LOOP: &str = "CrashLoopBackOff";

/// Which list of the Pod a container stands in, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One of `initContainers`.
    Init(usize),
    /// One of `containers`.
    Main(usize),
}

impl Place {
    /// The container at this place.
    pub(super) fn of(self, spec: &PodSpec) -> Option<&Container> {
        match self {
            Self::Init(index) => spec.init_containers.as_ref()?.get(index),
            Self::Main(index) => spec.containers.get(index),
        }
    }

    /// The container as an Event's `fieldPath` names it.
    pub(super) fn field_path(self, container: &str) -> String {
        match self {
            Self::Init(_) => format!("spec.initContainers{{{container}}}"),
            Self::Main(_) => format!("spec.containers{{{container}}}"),
        }
    }
}

/// A Pod that the agent runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// When the agent took it up.
    pub(super) started: Time,
    /// Its address.
    pub(super) address: String,
    /// Whether every init container has succeeded.
    pub(super) initialized: bool,
    /// The init containers, in order.
    pub(super) init: Vec<ContainerStatus>,
    /// The containers, in order.
    pub(super) main: Vec<ContainerStatus>,
    /// Whether nothing here changes any more.
    pub(super) complete: bool,
}

impl Record {
    /// Takes up a Pod: a new one, or one that an earlier agent ran. What ran then was lost with
    /// that agent.
    pub(super) fn take_up(pod: &Pod, address: String) -> Self {
        let now = Time(Timestamp::now());
        let status = pod.status.clone().unwrap_or_default();
        let spec = pod.spec.clone().unwrap_or_default();
        let init = spec.init_containers.unwrap_or_default();
        let reason = if init.is_empty() {
            CONTAINER_CREATING
        } else {
            POD_INITIALIZING
        };
        let init = take_up(
            &init,
            status.init_container_statuses,
            CONTAINER_CREATING,
            &now,
        );
        let initialized = init.iter().all(has_succeeded);
        Self {
            started: status.start_time.unwrap_or_else(|| now.clone()),
            address,
            initialized,
            init,
            main: take_up(&spec.containers, status.container_statuses, reason, &now),
            complete: false,
        }
    }

    pub(super) fn container(&self, place: Place) -> Option<&ContainerStatus> {
        match place {
            Place::Init(index) => self.init.get(index),
            Place::Main(index) => self.main.get(index),
        }
    }

    pub(super) fn container_mut(&mut self, place: Place) -> Option<&mut ContainerStatus> {
        match place {
            Place::Init(index) => self.init.get_mut(index),
            Place::Main(index) => self.main.get_mut(index),
        }
    }
}

fn take_up(
    containers: &[Container],
    statuses: Option<Vec<ContainerStatus>>,
    reason: &str,
    now: &Time,
) -> Vec<ContainerStatus> {
    let statuses = statuses.unwrap_or_default();
    let known = |container: &Container| {
        statuses
            .iter()
            .find(|status| status.name == container.name)
            .cloned()
    };
    containers
        .iter()
        .map(|container| match known(container) {
            Some(mut status) => {
                lose(&mut status, now);
                status
            }
            None => ContainerStatus {
                name: container.name.clone(),
                image: container.image.clone().unwrap_or_default(),
                state: Some(waiting_state(reason, "")),
                started: Some(false),
                ..ContainerStatus::default()
            },
        })
        .collect()
}

/// A container that still ran when the agent was last seen does not run any more.
fn lose(status: &mut ContainerStatus, now: &Time) {
    let running = status
        .state
        .as_ref()
        .and_then(|state| state.running.as_ref());
    if let Some(running) = running {
        let terminated = ContainerStateTerminated {
            container_id: status.container_id.clone(),
            exit_code: LOST,
            started_at: running.started_at.clone(),
            finished_at: Some(now.clone()),
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some(
                "The container ended together with the node agent that ran it".to_owned(),
            ),
            ..ContainerStateTerminated::default()
        };
        end(status, terminated);
    }
}

/// Whether the container has ended well.
pub(super) fn has_succeeded(status: &ContainerStatus) -> bool {
    ended(status).is_some_and(|terminated| terminated.exit_code == 0)
}

/// How the container ended, if that is its present state.
pub(super) fn ended(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

/// The container waits.
pub(super) fn wait(status: &mut ContainerStatus, reason: &str, message: &str) {
    keep_last_state(status);
    status.state = Some(waiting_state(reason, message));
    status.ready = false;
    status.started = Some(false);
}

/// The container runs, as its `restarts`-th repetition.
pub(super) fn run(status: &mut ContainerStatus, id: String, restarts: i32) {
    keep_last_state(status);
    let started_at = Some(Time(Timestamp::now()));
    status.state = Some(ContainerState {
        running: Some(ContainerStateRunning { started_at }),
        ..ContainerState::default()
    });
    status.container_id = Some(id);
    status.image_id.clone_from(&status.image);
    status.restart_count = restarts;
    status.ready = true;
    status.started = Some(true);
}

/// The container has ended.
pub(super) fn end(status: &mut ContainerStatus, terminated: ContainerStateTerminated) {
    status.state = Some(ContainerState {
        terminated: Some(terminated),
        ..ContainerState::default()
    });
    status.ready = false;
    status.started = Some(false);
}

/// How long a container that has ended had run.
pub(super) fn ran_for(terminated: &ContainerStateTerminated) -> Duration {
    let times = terminated
        .started_at
        .as_ref()
        .zip(terminated.finished_at.as_ref());
    times
        .and_then(|(started, finished)| {
            Duration::try_from(finished.0.duration_since(started.0)).ok()
        })
        .unwrap_or_default()
}

fn waiting_state(reason: &str, message: &str) -> ContainerState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message,
        }),
        ..ContainerState::default()
    }
}

/// What ended becomes the last state when something new begins.
fn keep_last_state(status: &mut ContainerStatus) {
    if let Some(terminated) = ended(status).cloned() {
        status.last_state = Some(ContainerState {
            terminated: Some(terminated),
            ..ContainerState::default()
        });
    }
}
