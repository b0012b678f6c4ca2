//! The Pods of this node: one task for each, told what the watch tells.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};

use super::context::Context;
use super::folder;
use super::{pod, volumes};

/// How long a Pod rests whose task broke down: what broke it may be there still.
const REPAIR_PAUSE: Duration = Duration::from_secs(10);

/// The tasks of the Pods, by uid.
struct Pods {
    node: Arc<Context>,
    known: HashMap<String, watch::Sender<Option<Arc<Pod>>>>,
    tasks: JoinSet<()>,
    /// Which Pod a task is of, by the task's id.
    uids: HashMap<task::Id, String>,
    /// The uids of a listing that is under way.
    listed: HashSet<String>,
    is_swept: bool,
}

/// Follows the Pods that are bound to the node, for ever.
pub(super) async fn follow(node: Arc<Context>) {
    let bound_here = watcher::Config::default().fields(&format!("spec.nodeName={}", node.name));
    let all: Api<Pod> = Api::all(node.client.clone());
    let mut events = watcher::watcher(all, bound_here).default_backoff().boxed();
    let mut pods = Pods {
        node,
        known: HashMap::new(),
        tasks: JoinSet::new(),
        uids: HashMap::new(),
        listed: HashSet::new(),
        is_swept: false,
    };
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => pods.apply(event),
                Some(Err(error)) => tracing::debug!(%error, "the watch of pods is interrupted"),
                None => return,
            },
            Some(ended) = pods.tasks.join_next_with_id() => pods.conclude(ended),
        }
    }
}

impl Pods {
    fn apply(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.metadata.uid.clone());
                self.see(pod);
            }
            Event::Apply(pod) => self.see(pod),
            Event::Delete(pod) => self.lose(pod.metadata.uid.as_deref().unwrap_or_default()),
            Event::InitDone => self.complete_listing(),
        }
    }

    fn see(&mut self, pod: Pod) {
        let Some(uid) = pod.metadata.uid.clone() else {
            return;
        };
        let pod = Some(Arc::new(pod));
        if let Some(task) = self.known.get(&uid) {
            task.send_replace(pod);
            return;
        }
        let (sender, observed) = watch::channel(pod);
        self.known.insert(uid.clone(), sender);
        self.spawn(uid, pod::attend(Arc::clone(&self.node), observed));
    }

    fn spawn(&mut self, uid: String, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(task);
        self.uids.insert(task.id(), uid);
    }

    fn lose(&self, uid: &str) {
        if let Some(task) = self.known.get(uid) {
            task.send_replace(None);
        }
    }

    /// What was not listed is gone. The first time, that includes what an earlier agent left
    /// behind.
    fn complete_listing(&mut self) {
        for uid in self.known.keys().filter(|uid| !self.listed.contains(*uid)) {
            self.lose(uid);
        }
        if !self.is_swept {
            self.is_swept = true;
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let folders = folder::pods_folder(&self.node.data_dir, &self.node.name);
        match folder::names(&folders) {
            Ok(uids) => {
                for uid in uids {
                    if !self.known.contains_key(&uid) {
                        let node = Arc::clone(&self.node);
                        self.spawn(uid.clone(), sweep_one(node, uid));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "what an earlier agent left stays behind"),
        }
    }

    /// Forgets a Pod that was seen through. A task that broke down took the Pod's processes with
    /// it; another one takes the Pod up as it was last seen.
    fn conclude(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(uid) = self.uids.remove(&id) else {
            return;
        };
        let Err(error) = ended else {
            self.known.remove(&uid);
            return;
        };
        tracing::error!(%error, uid, "the task of a pod broke down");
        let Some(pod) = self.known.get(&uid) else {
            return;
        };
        let (node, observed) = (Arc::clone(&self.node), pod.subscribe());
        self.spawn(uid.clone(), async move {
            tokio::time::sleep(REPAIR_PAUSE).await;
            if observed.borrow().is_some() {
                pod::attend(node, observed).await;
            } else {
                sweep_one(node, uid).await;
            }
        });
    }
}

/// Removes what an earlier agent, or a task that broke down, left of a Pod that is gone.
async fn sweep_one(node: Arc<Context>, uid: String) {
    let folder = node.pod_folder(&uid);
    node.driver_is_ready().await;
    if let Err(error) = volumes::remove_all(&node.driver, &folder).await {
        let folder = folder.path().display();
        tracing::warn!(%folder, %error, "what an earlier agent left stays behind");
    }
}
