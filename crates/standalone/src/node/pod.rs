//! One Pod on this node, from its first sight to the removal of its last file.
//!
//! ```text
//! seen ─► volumes published ─► init containers, one by one ─► containers, all at once ─► ended
//!                                                                                          │
//!             removed ◄─ folder removed ◄─ deletion asked for, or object gone ◄─ volumes taken away
//! ```
//!
//! The task is written top-down as that line. A deletion at any point stops what runs and goes on
//! to the end. The status is written beside it, whenever the record of the Pod changes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::context::Context;
use super::files;
use super::folder::PodFolder;
use super::record::{Place, Record};
use super::status::{RestartPolicy, is_finished, pod_status};
use super::volumes::{self, Volumes};
use crate::events::Severity;
use crate::runtime::error::status_code;

/// The pause before files that could not be renewed are tried again.
const RENEWAL_RETRY: Duration = Duration::from_secs(10);

/// What the watch tells of a Pod; `None` when the object is gone.
pub(super) type Observed = watch::Receiver<Option<Arc<Pod>>>;

/// The grace of a deletion that names none, as in the Kubernetes API.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// The longest grace, whatever a deletion names.
const MAX_GRACE: Duration = Duration::from_hours(24);

/// A Pod whose containers run here.
pub(super) struct PodTask {
    pub(super) node: Arc<Context>,
    pub(super) folder: PodFolder,
    pub(super) record: watch::Sender<Record>,
    /// The grace once the Pod is to stop; it can only become shorter.
    pub(super) stopping: watch::Receiver<Option<Duration>>,
    latest: Mutex<Arc<Pod>>,
    volumes: Mutex<HashMap<String, PathBuf>>,
}

/// Sees a Pod through. Returns when nothing of it is left on the node.
pub(super) async fn attend(node: Arc<Context>, mut observed: Observed) {
    let first = observed.borrow().clone();
    let Some(pod) = first else {
        return;
    };
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let folder = node.pod_folder(&uid);
    if !is_finished(&pod) {
        live(&node, &mut observed, Arc::clone(&pod), folder.clone()).await;
    }
    take_volumes_away(&node, &folder).await;
    until_unwanted(&mut observed).await;
    remove(&node, &pod, &folder).await;
}

/// Runs the containers until all have ended for good, and writes the status that results.
async fn live(node: &Arc<Context>, observed: &mut Observed, pod: Arc<Pod>, folder: PodFolder) {
    let former = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.as_deref());
    let Some(address) = node.addresses.claim(former) else {
        node.recorder
            .warning(&*pod, "FailedCreatePodSandBox", "no pod address is free");
        return;
    };
    let (stop, stopping) = watch::channel(None);
    let task = PodTask {
        node: Arc::clone(node),
        folder,
        record: watch::Sender::new(Record::take_up(&pod, address.to_text())),
        stopping,
        latest: Mutex::new(Arc::clone(&pod)),
        volumes: Mutex::default(),
    };
    let mut status = StatusWriter::new(node, &pod);
    let work = async {
        Box::pin(task.work()).await;
        task.record.send_modify(|record| record.complete = true);
    };
    // Nobody gives up a write under way: the server may carry it out later, over what is written
    // next.
    let lived = async { tokio::join!(work, task.publish(&mut status)) };
    tokio::select! {
        ((), ()) = lived => {}
        () = task.observe(observed, &stop) => {}
        () = task.renew_volumes() => {}
    }
}

impl PodTask {
    /// The Pod as last seen.
    pub(super) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.latest.lock())
    }

    /// The machine's folders of the Pod's volumes, by name.
    pub(super) fn volumes(&self) -> HashMap<String, PathBuf> {
        self.volumes.lock().clone()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Waits, but not on when the Pod is stopping.
    pub(super) async fn pause(&self, pause: Duration) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(Option::is_some) => {}
        }
    }

    /// Changes the record of a container.
    pub(super) fn update(&self, place: Place, change: impl FnOnce(&mut ContainerStatus)) {
        self.record.send_modify(|record| {
            if let Some(status) = record.container_mut(place) {
                change(status);
            }
        });
    }

    async fn work(&self) {
        if !self.publish_volumes().await {
            return;
        }
        let spec = self.pod().spec.clone().unwrap_or_default();
        let policy = RestartPolicy::of(&self.pod());
        for index in 0..spec.init_containers.as_ref().map_or(0, Vec::len) {
            let place = Place::Init(index);
            self.run_container(place, policy.for_init()).await;
            let succeeded = self
                .record
                .borrow()
                .container(place)
                .is_some_and(super::record::has_succeeded);
            if !succeeded {
                return;
            }
        }
        self.record.send_modify(|record| record.initialized = true);
        let containers =
            (0..spec.containers.len()).map(|index| self.run_container(Place::Main(index), policy));
        futures::future::join_all(containers).await;
    }

    /// Publishes the volumes, however long it takes; false when the Pod was stopped before.
    async fn publish_volumes(&self) -> bool {
        let mut backoff = Backoff::missing();
        let mut stopping = self.stopping.clone();
        loop {
            let pod = self.pod();
            let node = &self.node;
            let address = self.record.borrow().address.clone();
            let published = async {
                node.driver_is_ready().await;
                self.volume_maker(&address).publish(&pod).await
            };
            let published = tokio::select! {
                published = published => published,
                _ = stopping.wait_for(Option::is_some) => return false,
            };
            match published {
                Ok(paths) => {
                    *self.volumes.lock() = paths;
                    return true;
                }
                Err(error) => {
                    node.recorder
                        .announce(&*pod, Severity::Warning, "FailedMount", chain(&error));
                    self.pause(backoff.pause()).await;
                }
            }
        }
    }

    fn volume_maker<'a>(&'a self, address: &'a str) -> Volumes<'a> {
        Volumes {
            client: &self.node.client,
            driver: &self.node.driver,
            folder: &self.folder,
            address,
        }
    }

    /// Renews the files that end before the Pod does, for ever.
    async fn renew_volumes(&self) {
        let Some(pause) = volumes::of_pod(&self.pod())
            .filter_map(files::renewal)
            .min()
        else {
            return std::future::pending().await;
        };
        let mut wait = pause.max(RENEWAL_RETRY);
        loop {
            tokio::time::sleep(wait).await;
            let address = self.record.borrow().address.clone();
            let renewed = self.volume_maker(&address).renew(&self.pod()).await;
            wait = match renewed {
                Ok(()) => pause.max(RENEWAL_RETRY),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a pod's token is not renewed yet");
                    RENEWAL_RETRY
                }
            };
        }
    }

    /// Writes the status whenever the record changes, one write after the other. Ends when the
    /// complete record is written; without it nobody would learn how the Pod ended.
    async fn publish(&self, status: &mut StatusWriter) {
        let mut changes = self.record.subscribe();
        changes.mark_changed();
        let mut backoff = Backoff::missing();
        while changes.changed().await.is_ok() {
            let record = changes.borrow_and_update().clone();
            match status.write(&self.pod(), &record).await {
                Ok(()) if record.complete => return,
                Ok(()) => backoff = Backoff::missing(),
                Err(error) => {
                    tracing::warn!(pod = status.name, %error, "a pod's status is not written yet");
                    tokio::time::sleep(backoff.pause()).await;
                    changes.mark_changed();
                }
            }
        }
    }

    /// Notes what the watch tells, and asks the containers to stop when the Pod is unwanted.
    async fn observe(&self, observed: &mut Observed, stop: &watch::Sender<Option<Duration>>) {
        loop {
            let seen = observed.borrow_and_update().clone();
            let grace = grace(seen.as_deref());
            if let Some(pod) = seen {
                *self.latest.lock() = pod;
            }
            if let Some(grace) = grace {
                let is_shorter = stop.borrow().is_none_or(|known| grace < known);
                if is_shorter {
                    self.say_killing();
                    stop.send_replace(Some(grace));
                }
            }
            if observed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn say_killing(&self) {
        let pod = self.pod();
        let record = self.record.borrow();
        let running = |status: &&ContainerStatus| {
            status
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some())
        };
        for status in record.init.iter().chain(&record.main).filter(running) {
            let message = format!("Stopping container {}", status.name);
            self.node.recorder.normal(&*pod, "Killing", message);
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// How long the containers of an unwanted Pod may take to end; `None` while it is wanted.
fn grace(pod: Option<&Pod>) -> Option<Duration> {
    let Some(pod) = pod else {
        return Some(Duration::ZERO);
    };
    pod.metadata.deletion_timestamp.as_ref()?;
    let seconds = pod.metadata.deletion_grace_period_seconds;
    Some(seconds.map_or(DEFAULT_GRACE, |seconds| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(MAX_GRACE)
    }))
}

/// Waits until the Pod is to be deleted or is gone.
async fn until_unwanted(observed: &mut Observed) {
    let unwanted = |pod: &Option<Arc<Pod>>| grace(pod.as_deref()).is_some();
    if observed.wait_for(unwanted).await.is_err() {
        // The watch is gone, and with it soon this task.
        std::future::pending::<()>().await;
    }
}

/// A Pod that has ended holds no volume, so that its claims can be deleted and used elsewhere.
async fn take_volumes_away(node: &Context, folder: &PodFolder) {
    let mut backoff = Backoff::missing();
    loop {
        node.driver_is_ready().await;
        match volumes::unpublish(&node.driver, folder).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(error = chain(&error), "a volume stays published for now"),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Removes the folder and then the object, which is what tells everybody else that the Pod is gone.
async fn remove(node: &Context, pod: &Pod, folder: &PodFolder) {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let pods = node.pods(pod.metadata.namespace.as_deref().unwrap_or_default());
    let uid = pod.metadata.uid.clone();
    let preconditions = Some(Preconditions {
        uid,
        resource_version: None,
    });
    let at_once = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions,
        ..DeleteParams::default()
    };
    let mut backoff = Backoff::missing();
    loop {
        if let Err(error) = volumes::remove_all(&node.driver, folder).await {
            tracing::warn!(
                pod = name,
                error = chain(&error),
                "a pod's folder stays for now"
            );
        } else {
            match pods.delete(name, &at_once).await {
                Ok(_) => return,
                Err(error) if is_gone(&error) => return,
                Err(error) => tracing::warn!(pod = name, %error, "a pod stays for now"),
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Whether the object is not there any more, or another one has its name.
fn is_gone(error: &kube::Error) -> bool {
    matches!(status_code(error), Some(404 | 409))
}

/// Writes the status of one Pod, only when it changed.
struct StatusWriter {
    pods: Api<Pod>,
    name: String,
    uid: Option<String>,
    written: Option<PodStatus>,
    is_gone: bool,
}

impl StatusWriter {
    fn new(node: &Context, pod: &Pod) -> Self {
        Self {
            pods: node.pods(pod.metadata.namespace.as_deref().unwrap_or_default()),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone(),
            written: None,
            is_gone: false,
        }
    }

    async fn write(&mut self, pod: &Pod, record: &Record) -> kube::Result<()> {
        let mut status = pod_status(pod, record);
        if let Some(written) = &self.written {
            keep_times(&mut status, written);
        }
        if self.is_gone || self.written.as_ref() == Some(&status) {
            return Ok(());
        }
        let change = Patch::Merge(json!({ "metadata": { "uid": self.uid }, "status": status }));
        match self
            .pods
            .patch_status(&self.name, &PatchParams::default(), &change)
            .await
        {
            Ok(_) => self.written = Some(status),
            Err(error) if is_gone(&error) => self.is_gone = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What was written last may not have come back by the watch: its transition times stay.
fn keep_times(status: &mut PodStatus, written: &PodStatus) {
    for condition in status.conditions.iter_mut().flatten() {
        let known = written
            .conditions
            .iter()
            .flatten()
            .find(|known| known.type_ == condition.type_ && known.status == condition.status);
        if let Some(known) = known {
            condition
                .last_transition_time
                .clone_from(&known.last_transition_time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deleted_with(grace: i64) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "deletionTimestamp": "2026-01-01T00:00:00Z",
                "deletionGracePeriodSeconds": grace,
            },
        }))
        .unwrap()
    }

    #[test]
    fn every_grace_is_a_time_that_can_be_waited_for() {
        for (seconds, expected) in [
            (-1, Duration::ZERO),
            (0, Duration::ZERO),
            (45, Duration::from_secs(45)),
            (i64::MAX, MAX_GRACE),
        ] {
            assert_eq!(grace(Some(&deleted_with(seconds))), Some(expected));
        }
        assert_eq!(grace(Some(&Pod::default())), None);
        assert_eq!(grace(None), Some(Duration::ZERO));
    }
}
