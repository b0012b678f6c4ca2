//! One container of a Pod: started, watched, started again.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::backoff::Backoff;
use super::environment::{self, Surroundings};
use super::folder::{self, ContainerFolder};
use super::logs;
use super::plan::{self, Problem};
use super::pod::PodTask;
use super::record::{self, CRASH_LOOP, Place};
use super::sandbox::{Sandbox, StartError, Started};
use super::status::RestartPolicy;
use crate::events::Severity;

/// The longest termination message in bytes (Kubernetes API, `terminationMessagePath`).
const MAX_MESSAGE: u64 = 4096;

/// How much of a failed container's log is its message when it left none.
const LAST_LINES: usize = 80;
const LAST_BYTES: usize = 2048;

/// The logs kept of one container: the present start's and the previous one's.
const KEPT_LOGS: usize = 2;

/// A container whose program runs.
struct Running {
    sandbox: Sandbox,
    capture: JoinHandle<()>,
    log: PathBuf,
    id: String,
    started_at: Time,
}

impl PodTask {
    /// Runs a container until it has ended for good: its policy wants no restart, or the Pod is
    /// stopping.
    pub(super) async fn run_container(&self, place: Place, policy: RestartPolicy) {
        let mut restarts = Backoff::restarts();
        let mut missing = Backoff::missing();
        let Some(mut attempt) = self.first_attempt(place, policy) else {
            return;
        };
        while !self.is_stopping() {
            let running = match self.start(place, attempt).await {
                Ok(running) => running,
                Err(problem) => {
                    self.hold_back(place, &problem);
                    self.pause(missing.pause()).await;
                    continue;
                }
            };
            missing = Backoff::missing();
            let terminated = self.attend(place, running).await;
            let (exit_code, ran) = (terminated.exit_code, record::ran_for(&terminated));
            self.update(place, |status| record::end(status, terminated));
            if self.is_stopping() || !policy.restarts(exit_code) {
                return;
            }
            let pause = restarts.pause_after(ran);
            if attempt > 0 {
                self.back_off(place, pause);
            }
            self.pause(pause).await;
            attempt += 1;
        }
    }

    /// Which start of the container comes first; `None` when it has ended for good under an earlier
    /// agent.
    fn first_attempt(&self, place: Place, policy: RestartPolicy) -> Option<i32> {
        let record = self.record.borrow();
        let status = record.container(place)?;
        match record::ended(status) {
            Some(terminated) if !policy.restarts(terminated.exit_code) => None,
            _ if status.container_id.is_some() => Some(status.restart_count + 1),
            _ => Some(0),
        }
    }

    async fn start(&self, place: Place, attempt: i32) -> Result<Running, Problem> {
        let pod = self.pod();
        let spec = pod.spec.clone().unwrap_or_default();
        let Some(container) = place.of(&spec) else {
            return Err(Problem::new(
                "CreateContainerError",
                "the pod has lost the container",
            ));
        };
        let address = self.record.borrow().address.clone();
        let around = Surroundings {
            client: &self.node.client,
            pod: &pod,
            address: &address,
            api: self.node.api,
        };
        let environment = environment::resolve(&around, container).await?;
        let folder = self.container_folder(container)?;
        let sandbox = plan::sandbox(&pod, container, environment, &self.volumes(), &folder)?;
        let image = container.image.as_deref().unwrap_or_default();
        let say = |reason, message| self.say(&pod, place, Severity::Normal, reason, message);
        if attempt == 0 {
            say(
                "Pulled",
                format!("Container image \"{image}\" already present on machine"),
            );
        }
        prepare(&folder)
            .map_err(|error| Problem::new("CreateContainerError", error.to_string()))?;
        say("Created", format!("Created container: {}", container.name));
        let started = Sandbox::start(&self.node.program, &sandbox)
            .await
            .map_err(not_started)?;
        let running = self.capture(folder.path(), started, attempt)?;
        self.update(place, |status| {
            record::run(status, running.id.clone(), attempt);
        });
        say("Started", format!("Started container {}", container.name));
        Ok(running)
    }

    fn container_folder(&self, container: &Container) -> Result<ContainerFolder, Problem> {
        self.folder
            .container(&container.name)
            .map_err(|error| Problem::config(format!("a container cannot be named so: {error}")))
    }

    fn capture(&self, folder: &Path, started: Started, attempt: i32) -> Result<Running, Problem> {
        let log = logs::log_file(folder, attempt);
        let Started {
            sandbox,
            stdout,
            stderr,
        } = started;
        let capture = logs::capture(&self.node.logs, log.clone(), stdout, stderr)
            .and_then(|capture| logs::forget_old(folder, KEPT_LOGS).map(|()| capture))
            .map_err(|error| Problem::new("CreateContainerError", error.to_string()))?;
        let id = format!("longshore://{}", Uuid::new_v4().simple());
        Ok(Running {
            sandbox,
            capture,
            log,
            id,
            started_at: Time(Timestamp::now()),
        })
    }

    /// Waits for the container's end, and brings it about when the Pod is stopping.
    async fn attend(&self, place: Place, mut running: Running) -> ContainerStateTerminated {
        let mut stopping = self.stopping.clone();
        let mut deadline = None;
        let exit = loop {
            let kill = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                exit = running.sandbox.wait() => break exit,
                () = kill => {
                    deadline = None;
                    running.sandbox.kill();
                }
                grace = next_grace(&mut stopping) => {
                    if deadline.is_none() {
                        running.sandbox.terminate().await;
                    }
                    deadline = Some(Instant::now() + grace);
                }
            }
        };
        // Every writer of the pipes is dead, so they end.
        if let Err(error) = running.capture.await {
            tracing::warn!(log = %running.log.display(), %error, "the end of a log is lost");
        }
        let exit_code = exit.unwrap_or_else(|error| {
            tracing::warn!(container = running.id, %error, "the exit status is lost");
            record::LOST
        });
        let pod = self.pod();
        let container = pod.spec.as_ref().and_then(|spec| place.of(spec));
        let message =
            container.and_then(|container| self.last_word(container, &running.log, exit_code));
        ContainerStateTerminated {
            container_id: Some(running.id),
            exit_code,
            started_at: Some(running.started_at),
            finished_at: Some(Time(Timestamp::now())),
            reason: Some(if exit_code == 0 { "Completed" } else { "Error" }.to_owned()),
            message,
            signal: None,
        }
    }

    /// The termination message: what the container wrote to its file, or the end of its log where
    /// the Pod wants that.
    fn last_word(&self, container: &Container, log: &Path, exit_code: i32) -> Option<String> {
        let folder = self.folder.container(&container.name).ok()?;
        let left = read_message(&folder.termination_log()).unwrap_or_default();
        if !left.is_empty() {
            return Some(left);
        }
        let wants_log =
            container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        let words = if wants_log && exit_code != 0 {
            logs::last_words(log, LAST_LINES, LAST_BYTES)
        } else {
            String::new()
        };
        (!words.is_empty()).then_some(words)
    }

    /// The container cannot start yet.
    fn hold_back(&self, place: Place, problem: &Problem) {
        let pod = self.pod();
        self.update(place, |status| {
            record::wait(status, problem.reason, &problem.message);
        });
        self.node
            .recorder
            .announce(&*pod, Severity::Warning, "Failed", &problem.message);
    }

    /// The container has failed more than once and rests.
    fn back_off(&self, place: Place, pause: Duration) {
        let pod = self.pod();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let container = pod.spec.as_ref().and_then(|spec| place.of(spec));
        let container = container
            .map(|container| container.name.as_str())
            .unwrap_or_default();
        let about = format!("failed container={container} pod={name}_{namespace}({uid})");
        let message = format!("back-off {}s restarting {about}", pause.as_secs());
        self.update(place, |status| record::wait(status, CRASH_LOOP, &message));
        let message = format!("Back-off restarting {about}");
        self.say(&pod, place, Severity::Warning, "BackOff", message);
    }

    fn say(
        &self,
        pod: &Pod,
        place: Place,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let mut about = crate::events::reference(pod);
        let container = pod.spec.as_ref().and_then(|spec| place.of(spec));
        about.field_path = container.map(|container| place.field_path(&container.name));
        self.node.recorder.publish(about, severity, reason, message);
    }
}

/// The grace of a stop that was not seen yet; never comes back when there will be none.
async fn next_grace(stopping: &mut tokio::sync::watch::Receiver<Option<Duration>>) -> Duration {
    loop {
        if stopping.has_changed().is_err() && stopping.borrow().is_none() {
            std::future::pending::<()>().await;
        }
        if stopping.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(grace) = *stopping.borrow_and_update() {
            return grace;
        }
    }
}

fn not_started(error: StartError) -> Problem {
    let reason = match &error {
        StartError::Refused { .. } => "RunContainerError",
        StartError::Spawn { .. } | StartError::Conversation { .. } => "CreateContainerError",
    };
    let mut message = error.to_string();
    if let Some(cause) = std::error::Error::source(&error) {
        message = format!("{message}: {cause}");
    }
    Problem::new(reason, message)
}

/// The folders of a new start, and an empty file that every user may leave a last word in.
fn prepare(folder: &ContainerFolder) -> io::Result<()> {
    folder::create(&folder.root())?;
    let path = folder.termination_log();
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o666)
        .open(&path)?;
    file.set_permissions(fs::Permissions::from_mode(0o666))
}

fn read_message(path: &Path) -> io::Result<String> {
    let mut content = Vec::new();
    fs::File::open(path)?
        .take(MAX_MESSAGE)
        .read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}
